/* keytab_maps.c - The maps of the key table: linking, exchanging and loading
 * what stands in them. An entry leaves every map before its key is exchanged,
 * since the maps point into the key. */
#include <stdlib.h>

#include "account/keytab_priv.h"
#include "account/rate.h"
#include "base/clock.h"
#include "base/panic.h"

struct team_entry *keytab_team_entry(struct keytab *tab, struct str name)
{
    struct team_entry *te = NULL;

    if (name.len > 0)
        HASH_FIND(hh, tab->teams, name.p, name.len, te);
    return te;
}

/* Link <e>, whose key is set, into every map. Memory that ends here ends the
 * process: the change is durable already and must not be half seen. */
static void link_entry(struct keytab *tab, struct entry *e)
{
    const struct key *k = e->key;
    struct team_entry *te = keytab_team_entry(tab, k->spec.team);

    HASH_ADD_KEYPTR(hh, tab->by_digest, k->digest, KEY_DIGEST_LEN, e);
    HASH_ADD_KEYPTR(h_id, tab->by_id, k->id.p, k->id.len, e);
    HASH_ADD_KEYPTR(h_name, tab->by_name, k->spec.name.p, k->spec.name.len, e);
    e->h_old.tbl = NULL;
    if (k->old_until_wall_ms != 0) {
        HASH_ADD_KEYPTR(h_old, tab->by_old, k->old_digest, KEY_DIGEST_LEN, e);
        if (!e->h_old.tbl)
            PANIC("no memory for the key table");
    }
    if (!e->hh.tbl || !e->h_id.tbl || !e->h_name.tbl)
        PANIC("no memory for the key table");
    if (te)
        te->n_keys++;
}

void keytab_unlink(struct keytab *tab, struct entry *e)
{
    struct team_entry *te = keytab_team_entry(tab, e->key->spec.team);

    HASH_DELETE(hh, tab->by_digest, e);
    HASH_DELETE(h_id, tab->by_id, e);
    HASH_DELETE(h_name, tab->by_name, e);
    if (e->key->old_until_wall_ms != 0)
        HASH_DELETE(h_old, tab->by_old, e);
    if (te)
        te->n_keys--;
}

/* Put <key>, whose reference moves here, in the place of what <e> holds; <e>
 * NULL makes a new entry. *key_out gets a reference of its own. */
void keytab_show_key(struct keytab *tab, struct entry *e, struct entry *fresh,
                     const struct key *key, const struct key **key_out)
{
    const struct key *old = NULL;

    if (key_out)
        *key_out = key_ref(key);
    pthread_rwlock_wrlock(&tab->lock);
    if (e) {
        old = e->key;
        keytab_unlink(tab, e);
    } else {
        e = fresh;
    }
    e->key = key;
    link_entry(tab, e);
    rate_set(key->rate, &key->spec.limits, clock_now_us());
    pthread_rwlock_unlock(&tab->lock);
    key_unref(old);
}

/* Link <te>, in place of itself when it is linked already. */
void keytab_show_team(struct keytab *tab, struct team_entry *te,
                      const struct team *team, bool is_new,
                      const struct team **team_out)
{
    const struct team *old = is_new ? NULL : te->team;

    if (team_out)
        *team_out = team_ref(team);
    pthread_rwlock_wrlock(&tab->lock);
    if (!is_new)
        HASH_DELETE(hh, tab->teams, te);
    te->team = team;
    HASH_ADD_KEYPTR(hh, tab->teams, team->spec.name.p, team->spec.name.len, te);
    if (!MAP_ADDED(te))
        PANIC("no memory for the team table");
    rate_set(team->rate, &team->spec.limits, clock_now_us());
    pthread_rwlock_unlock(&tab->lock);
    team_unref(old);
}

static enum err load_team(void *arg, struct str name, struct str payload)
{
    struct keytab *tab = arg;
    struct team *team;
    enum err err = team_decode(payload, &team);

    if (err != ERR_OK)
        return err;
    struct team_entry *te = calloc(1, sizeof(*te));
    team->rate = rate_new(&team->spec.limits);
    if (!te || !team->rate || !str_eq(name, team->spec.name)) {
        err = te && team->rate ? ERR_CORRUPT : ERR_NOMEM;
        free(te);
        team_unref(team);
        return err;
    }
    keytab_show_team(tab, te, team, true, NULL);
    return ERR_OK;
}

static enum err load_key(void *arg, struct str id, struct str payload)
{
    struct keytab *tab = arg;
    struct key *key;
    enum err err = key_decode(payload, &key);

    if (err != ERR_OK)
        return err;
    struct entry *e = calloc(1, sizeof(*e));
    key->rate = rate_new(&key->spec.limits);
    if (!e || !key->rate || !str_eq(id, key->id)) {
        err = e && key->rate ? ERR_CORRUPT : ERR_NOMEM;
        free(e);
        key_unref(key);
        return err;
    }
    keytab_show_key(tab, NULL, e, key, NULL);
    return ERR_OK;
}

static void init_locks(struct keytab *tab)
{
    if (pthread_mutex_init(&tab->change, NULL) != 0 ||
        pthread_rwlock_init(&tab->lock, NULL) != 0)
        PANIC("no mutex");
}

enum err keytab_open(struct ledger *ledger, struct keytab **tab_out,
                     struct buf *why)
{
    const struct key nobody = {.id = STR("anonymous"),
                               .spec = {.name = STR("anonymous")}};
    struct ledger_db *db = ledger_database(ledger);
    struct keytab *tab = calloc(1, sizeof(*tab));
    enum err err = ERR_OK;

    if (!tab)
        return ERR_NOMEM;
    tab->ledger = ledger;
    init_locks(tab);
    tab->anonymous = key_new(&nobody);
    if (!tab->anonymous)
        err = ERR_NOMEM;
    if (err == ERR_OK)
        err = ldb_each(db, LDB_TEAMS, load_team, tab, why);
    if (err == ERR_OK)
        err = ldb_each(db, LDB_KEYS, load_key, tab, why);
    if (err != ERR_OK) {
        keytab_close(tab);
        return err;
    }
    *tab_out = tab;
    return ERR_OK;
}

void keytab_close(struct keytab *tab)
{
    if (!tab)
        return;
    struct entry *e = tab->by_digest;
    while (e) {
        struct entry *next = e->hh.next;

        keytab_unlink(tab, e);
        key_unref(e->key);
        free(e);
        e = next;
    }
    struct team_entry *te = tab->teams;
    while (te) {
        struct team_entry *next = te->hh.next;

        HASH_DELETE(hh, tab->teams, te);
        team_unref(te->team);
        free(te);
        te = next;
    }
    key_unref(tab->anonymous);
    pthread_mutex_destroy(&tab->change);
    pthread_rwlock_destroy(&tab->lock);
    free(tab);
}
