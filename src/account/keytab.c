/* keytab.c - The key table: maps from digest, id and name to immutable keys.
 * Decides who is let in and why not. Changes are made in a fixed order:
 *
 *   change lock -> build the new key -> writer: durable -> maps, under the
 *   write lock -> done
 *
 * so that nothing is seen that a crash could take back, and lookups wait for
 * a few stores at most, never for the disk. */
#include <stdlib.h>

#include "account/keytab_priv.h"
#include "account/rate.h"
#include "base/digest.h"
#include "store/writer.h"

/* Longest secret that is worth hashing. */
#define SECRET_MAX 512

static const char *const verdict_names[KEY_VERDICT_COUNT] = {
    [KEY_OK] = "ok",           [KEY_MISSING] = "missing",
    [KEY_UNKNOWN] = "unknown", [KEY_BLOCKED] = "blocked",
    [KEY_EXPIRED] = "expired",
};

const char *key_verdict_name(enum key_verdict v)
{
    return (unsigned)v < KEY_VERDICT_COUNT ? verdict_names[v] : "unknown";
}

static struct entry *entry_by_id(struct keytab *tab, struct str id)
{
    struct entry *e = NULL;

    if (id.len > 0)
        HASH_FIND(h_id, tab->by_id, id.p, id.len, e);
    return e;
}

static struct entry *entry_by_name(struct keytab *tab, struct str name)
{
    struct entry *e = NULL;

    if (name.len > 0)
        HASH_FIND(h_name, tab->by_name, name.p, name.len, e);
    return e;
}

static struct entry *entry_by_digest(struct keytab *tab, const struct digest *d)
{
    struct entry *e = NULL;

    HASH_FIND(hh, tab->by_digest, d->b, KEY_DIGEST_LEN, e);
    return e;
}

static enum key_verdict judge(struct keytab *tab, const struct key *k,
                              int64_t now_wall_ms)
{
    const struct team_entry *te = keytab_team_entry(tab, k->spec.team);

    if (k->spec.blocked || (te && te->team->spec.blocked))
        return KEY_BLOCKED;
    if (k->spec.expires_wall_ms != 0 && now_wall_ms >= k->spec.expires_wall_ms)
        return KEY_EXPIRED;
    return KEY_OK;
}

enum key_verdict keytab_check(struct keytab *tab, struct str secret,
                              int64_t now_wall_ms, const struct key **key_out)
{
    enum key_verdict verdict = KEY_UNKNOWN;

    *key_out = NULL;
    if (secret.len == 0)
        return KEY_MISSING;
    if (secret.len > SECRET_MAX)
        return KEY_UNKNOWN;
    const struct digest d = digest_sha256(secret.p, secret.len);
    pthread_rwlock_rdlock(&tab->lock);
    struct entry *e = entry_by_digest(tab, &d);
    if (!e) {
        HASH_FIND(h_old, tab->by_old, d.b, KEY_DIGEST_LEN, e);
        if (e && now_wall_ms >= e->key->old_until_wall_ms)
            e = NULL;
    }
    if (e) {
        verdict = judge(tab, e->key, now_wall_ms);
        *key_out = key_ref(e->key);
    }
    pthread_rwlock_unlock(&tab->lock);
    return verdict;
}

const struct key *keytab_anonymous(struct keytab *tab)
{
    return key_ref(tab->anonymous);
}

/* The entry <ref> names, whatever way. The secret before the last rotation
 * names its key too: it may be the one that leaked. */
static struct entry *resolve(struct keytab *tab, struct str ref)
{
    struct entry *e = entry_by_id(tab, ref);

    if (!e)
        e = entry_by_name(tab, ref);
    if (!e && ref.len > 0 && ref.len <= SECRET_MAX) {
        const struct digest d = digest_sha256(ref.p, ref.len);

        e = entry_by_digest(tab, &d);
        if (!e)
            HASH_FIND(h_old, tab->by_old, d.b, KEY_DIGEST_LEN, e);
    }
    return e;
}

const struct key *keytab_find(struct keytab *tab, struct str ref)
{
    pthread_rwlock_rdlock(&tab->lock);
    const struct entry *e = resolve(tab, ref);
    const struct key *k = e ? key_ref(e->key) : NULL;
    pthread_rwlock_unlock(&tab->lock);
    return k;
}

size_t keytab_count(struct keytab *tab)
{
    pthread_rwlock_rdlock(&tab->lock);
    const size_t n = HASH_COUNT(tab->by_digest);
    pthread_rwlock_unlock(&tab->lock);
    return n;
}

static int by_age(const void *a, const void *b)
{
    const struct key *x = *(const struct key *const *)a;
    const struct key *y = *(const struct key *const *)b;

    if (x->created_wall_ms != y->created_wall_ms)
        return x->created_wall_ms < y->created_wall_ms ? -1 : 1;
    return strncmp(x->id.p, y->id.p, KEY_ID_MAX);
}

enum err keytab_list(struct keytab *tab, const struct key ***keys_out,
                     size_t *n_out)
{
    size_t n = 0;

    pthread_rwlock_rdlock(&tab->lock);
    const struct key **keys =
        calloc(HASH_COUNT(tab->by_digest) + 1, sizeof(*keys));
    for (const struct entry *e = tab->by_digest; keys && e;
         e = (const struct entry *)e->hh.next)
        keys[n++] = key_ref(e->key);
    pthread_rwlock_unlock(&tab->lock);
    if (!keys)
        return ERR_NOMEM;
    qsort(keys, n, sizeof(*keys), by_age);
    *keys_out = keys;
    *n_out = n;
    return ERR_OK;
}

/* A record to be stored, or deleted when the payload is NULL. */
struct change {
    struct wjob job;
    enum ldb_table table;
    struct str name;
    struct str payload;
};

static enum err change_run(struct txn *t, struct wjob *job)
{
    const struct change *c = (const struct change *)(const void *)job;
    enum err err;

    if (c->payload.p)
        return ldb_put(t, c->table, c->name, c->payload);
    err = ldb_del(t, c->table, c->name);
    return err == ERR_NOT_FOUND ? ERR_OK : err;
}

/* Make a record durable, or its absence. */
enum err keytab_make_durable(struct keytab *tab, enum ldb_table table,
                             struct str name, const struct buf *payload,
                             struct buf *why)
{
    struct change c = {.job = {.run = change_run},
                       .table = table,
                       .name = name,
                       .payload =
                           payload ? buf_str(payload) : (struct str){NULL, 0}};
    const enum err err = writer_call(ledger_writer(tab->ledger), &c.job);

    if (err == ERR_OK)
        return ERR_OK;
    env_say(why, "the ledger cannot be written, nothing was changed: ");
    writer_trouble(ledger_writer(tab->ledger), why);
    return ERR_LEDGER;
}

/* Append a sentence; when there is no room for it the code says enough. */
static enum err refuse(struct buf *why, enum err err, const char *before,
                       struct str what, const char *after)
{
    env_say(why, "%s%.*s%s", before, STR_ARG(what), after);
    return err;
}

/* Take from <spec> what <fields> names. */
void keytab_apply(struct key_spec *to, unsigned fields,
                  const struct key_spec *spec)
{
    if (fields & KEY_SET_NAME)
        to->name = spec->name;
    if (fields & KEY_SET_TEAM)
        to->team = spec->team;
    if (fields & KEY_SET_MODELS) {
        to->models = spec->models;
        to->n_models = spec->n_models;
    }
    if (fields & KEY_SET_BUDGETS) {
        to->budgets = spec->budgets;
        to->n_budgets = spec->n_budgets;
    }
    if (fields & KEY_SET_META) {
        to->meta = spec->meta;
        to->n_meta = spec->n_meta;
    }
    if (fields & KEY_SET_RPM)
        to->limits.rpm = spec->limits.rpm;
    if (fields & KEY_SET_TPM)
        to->limits.tpm = spec->limits.tpm;
    if (fields & KEY_SET_PARALLEL)
        to->limits.parallel = spec->limits.parallel;
    if (fields & KEY_SET_EXPIRES)
        to->expires_wall_ms = spec->expires_wall_ms;
    if (fields & KEY_SET_BLOCKED)
        to->blocked = spec->blocked;
}

static enum err store_key(struct keytab *tab, const struct key *key,
                          struct buf *why)
{
    struct buf payload;

    buf_init(&payload, REC_PAYLOAD_MAX);
    enum err err = key_encode(key, &payload);
    if (err == ERR_OK)
        err = keytab_make_durable(tab, LDB_KEYS, key->id, &payload, why);
    buf_fini(&payload);
    return err;
}

/* Check names against the table: <own> is the entry that may have it. */
static enum err check_names(struct keytab *tab, const struct key_spec *spec,
                            const struct entry *own, struct buf *why)
{
    const struct entry *same = entry_by_name(tab, spec->name);

    if (same && same != own)
        return refuse(why, ERR_EXISTS, "there is a key named \"", spec->name,
                      "\" already");
    if (spec->team.len > 0 && !keytab_team_entry(tab, spec->team))
        return refuse(why, ERR_NOT_FOUND, "there is no team named \"",
                      spec->team, "\"; make it with tollctl team create");
    return key_spec_check(spec, why);
}

/* Build and store the successor of <e> (NULL: a first key) from <model>, whose
 * rate a first key does not have yet. */
static enum err replace(struct keytab *tab, struct entry *e,
                        const struct key *model, const struct key **key_out,
                        struct buf *why)
{
    enum err err = check_names(tab, &model->spec, e, why);
    struct entry *fresh = e ? NULL : calloc(1, sizeof(*fresh));
    struct key *key = err == ERR_OK ? key_new(model) : NULL;

    if (key && !key->rate)
        key->rate = rate_new(&key->spec.limits);
    if (key && !key->rate)
        err = ERR_NOMEM;
    if (err == ERR_OK && (!key || (!e && !fresh)))
        err = ERR_NOMEM;
    if (err == ERR_OK)
        err = store_key(tab, key, why);
    if (err != ERR_OK) {
        key_unref(key);
        free(fresh);
        return err;
    }
    keytab_show_key(tab, e, fresh, key, key_out);
    return ERR_OK;
}

static void set_digest(struct key *key, const char *secret)
{
    const struct digest d = digest_sha256(secret, KEY_SECRET_LEN);

    memcpy(key->digest, d.b, KEY_DIGEST_LEN);
}

enum err keytab_create(struct keytab *tab, const struct key_spec *spec,
                       int64_t now_wall_ms, char secret_out[KEY_SECRET_LEN + 1],
                       const struct key **key_out, struct buf *why)
{
    char secret[KEY_SECRET_LEN + 1];
    char id[KEY_ID_MAX + 1];
    struct key model = {.spec = *spec, .created_wall_ms = now_wall_ms};

    key_secret_make(secret);
    key_id_make(id);
    set_digest(&model, secret);
    model.id = str_from(id);
    pthread_mutex_lock(&tab->change);
    const enum err err = replace(tab, NULL, &model, key_out, why);
    pthread_mutex_unlock(&tab->change);
    if (err == ERR_OK)
        memcpy(secret_out, secret, sizeof(secret));
    digest_wipe(secret, sizeof(secret));
    return err;
}

/* Under the change lock the maps do not move, so they may be read without
 * the other. */
static struct entry *must_find(struct keytab *tab, struct str ref,
                               struct buf *why)
{
    struct entry *e = resolve(tab, ref);

    if (!e && str_starts(ref, STR("sk-")))
        env_say(why, "there is no key with this secret");
    else if (!e)
        env_say(why, "there is no key \"%.*s\"", STR_ARG(ref));
    return e;
}

enum err keytab_update(struct keytab *tab, struct str ref, unsigned fields,
                       const struct key_spec *spec, const struct key **key_out,
                       struct buf *why)
{
    enum err err = ERR_NOT_FOUND;

    pthread_mutex_lock(&tab->change);
    struct entry *e = must_find(tab, ref, why);
    if (e) {
        struct key model = *e->key;

        keytab_apply(&model.spec, fields, spec);
        err = replace(tab, e, &model, key_out, why);
    }
    pthread_mutex_unlock(&tab->change);
    return err;
}

enum err keytab_block(struct keytab *tab, struct str ref, bool blocked,
                      const struct key **key_out, struct buf *why)
{
    const struct key_spec spec = {.blocked = blocked};

    return keytab_update(tab, ref, KEY_SET_BLOCKED, &spec, key_out, why);
}

enum err keytab_rotate(struct keytab *tab, struct str ref,
                       struct key_rotation when,
                       char secret_out[KEY_SECRET_LEN + 1],
                       const struct key **key_out, struct buf *why)
{
    char secret[KEY_SECRET_LEN + 1];
    enum err err = ERR_NOT_FOUND;

    key_secret_make(secret);
    pthread_mutex_lock(&tab->change);
    struct entry *e = must_find(tab, ref, why);
    if (e) {
        struct key model = *e->key;

        memset(model.old_digest, 0, KEY_DIGEST_LEN);
        model.old_until_wall_ms = 0;
        if (when.grace_ms > 0) {
            memcpy(model.old_digest, e->key->digest, KEY_DIGEST_LEN);
            model.old_until_wall_ms = when.now_wall_ms + when.grace_ms;
        }
        set_digest(&model, secret);
        err = replace(tab, e, &model, key_out, why);
    }
    pthread_mutex_unlock(&tab->change);
    if (err == ERR_OK)
        memcpy(secret_out, secret, sizeof(secret));
    digest_wipe(secret, sizeof(secret));
    return err;
}

enum err keytab_delete(struct keytab *tab, struct str ref, struct buf *why)
{
    enum err err = ERR_NOT_FOUND;

    pthread_mutex_lock(&tab->change);
    struct entry *e = must_find(tab, ref, why);
    if (e)
        err = keytab_make_durable(tab, LDB_KEYS, e->key->id, NULL, why);
    if (err == ERR_OK) {
        pthread_rwlock_wrlock(&tab->lock);
        keytab_unlink(tab, e);
        pthread_rwlock_unlock(&tab->lock);
        key_unref(e->key);
        free(e);
    }
    pthread_mutex_unlock(&tab->change);
    return err;
}
