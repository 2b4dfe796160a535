/* key_rec.c - Bytes of a key and of a team. Decides the order of their
 * fields, which is for ever; new fields go to the end. */
#include "account/key.h"

#include "store/rec.h"

/* Longest payload: 64 globs, 64 budgets and 64 pairs at their longest. */
#define PAYLOAD_MAX (40u << 10)

/* Bits of the flags byte. */
#define FLAG_BLOCKED 1

static void put_spec(struct rec_out *o, const struct key_spec *s)
{
    rec_put_text(o, s->name, KEY_NAME_MAX);
    rec_put_text(o, s->team, KEY_NAME_MAX);
    rec_put_int(o, s->blocked ? FLAG_BLOCKED : 0, 1);
    rec_put_int(o, (uint64_t)s->expires_wall_ms, 8);
    rec_put_int(o, s->limits.rpm, 8);
    rec_put_int(o, s->limits.tpm, 8);
    rec_put_int(o, s->limits.parallel, 8);
    rec_put_int(o, s->n_models, 2);
    for (size_t i = 0; i < s->n_models; i++)
        rec_put_text(o, s->models[i], UINT16_MAX);
    rec_put_int(o, s->n_budgets, 2);
    for (size_t i = 0; i < s->n_budgets; i++) {
        rec_put_int(o, (uint64_t)s->budgets[i].amount, 8);
        rec_put_int(o, (uint64_t)s->budgets[i].unit, 1);
        rec_put_int(o, (uint64_t)s->budgets[i].window, 1);
        rec_put_int(o, s->budgets[i].soft, 1);
    }
    rec_put_int(o, s->n_meta, 2);
    for (size_t i = 0; i < s->n_meta; i++) {
        rec_put_text(o, s->meta[i].name, UINT16_MAX);
        rec_put_text(o, s->meta[i].value, UINT16_MAX);
    }
}

static enum err finish(const struct rec_out *o, struct buf *out)
{
    return o->full ? ERR_RANGE : buf_put(out, o->p, o->len);
}

enum err key_encode(const struct key *key, struct buf *out)
{
    uint8_t bytes[PAYLOAD_MAX];
    struct rec_out o = {.p = bytes, .room = sizeof(bytes)};

    rec_put_text(&o, key->id, KEY_ID_MAX);
    rec_put_int(&o, (uint64_t)key->created_wall_ms, 8);
    rec_put_raw(&o, key->digest, KEY_DIGEST_LEN);
    rec_put_raw(&o, key->old_digest, KEY_DIGEST_LEN);
    rec_put_int(&o, (uint64_t)key->old_until_wall_ms, 8);
    put_spec(&o, &key->spec);
    return finish(&o, out);
}

enum err team_encode(const struct team *team, struct buf *out)
{
    uint8_t bytes[PAYLOAD_MAX];
    struct rec_out o = {.p = bytes, .room = sizeof(bytes)};

    rec_put_int(&o, (uint64_t)team->created_wall_ms, 8);
    put_spec(&o, &team->spec);
    return finish(&o, out);
}

/* Where a spec is decoded to; its slices borrow from the bytes. */
struct parts {
    struct str models[KEY_LIST_MAX];
    struct budget_spec budgets[KEY_LIST_MAX];
    struct key_meta meta[KEY_LIST_MAX];
};

/* A list's length; too long a list is not ours. */
static size_t get_count(struct rec_in *in)
{
    const uint64_t n = rec_get_int(in, 2);

    if (n > KEY_LIST_MAX) {
        in->bad = true;
        return 0;
    }
    return (size_t)n;
}

static void get_budget(struct rec_in *in, struct budget_spec *b)
{
    const int64_t amount = (int64_t)rec_get_int(in, 8);
    const uint64_t unit = rec_get_int(in, 1);
    const uint64_t window = rec_get_int(in, 1);

    if (amount < 0 || unit >= BUDGET_UNIT_COUNT ||
        window >= BUDGET_WINDOW_COUNT)
        in->bad = true;
    b->amount = amount;
    b->unit = (enum budget_unit)unit;
    b->window = (enum budget_window)window;
    b->soft = rec_get_int(in, 1) != 0;
}

static void get_spec(struct rec_in *in, struct parts *p, struct key_spec *s)
{
    s->name = rec_get_text(in);
    s->team = rec_get_text(in);
    s->blocked = (rec_get_int(in, 1) & FLAG_BLOCKED) != 0;
    s->expires_wall_ms = (int64_t)rec_get_int(in, 8);
    s->limits.rpm = rec_get_int(in, 8);
    s->limits.tpm = rec_get_int(in, 8);
    s->limits.parallel = rec_get_int(in, 8);
    s->n_models = get_count(in);
    for (size_t i = 0; i < s->n_models; i++)
        p->models[i] = rec_get_text(in);
    s->n_budgets = get_count(in);
    for (size_t i = 0; i < s->n_budgets; i++)
        get_budget(in, &p->budgets[i]);
    s->n_meta = get_count(in);
    for (size_t i = 0; i < s->n_meta; i++) {
        p->meta[i].name = rec_get_text(in);
        p->meta[i].value = rec_get_text(in);
    }
    s->models = p->models;
    s->budgets = p->budgets;
    s->meta = p->meta;
    if (s->name.len == 0 || s->name.len > KEY_NAME_MAX ||
        s->team.len > KEY_NAME_MAX || s->expires_wall_ms < 0)
        in->bad = true;
}

enum err key_decode(struct str bytes, struct key **key_out)
{
    struct rec_in in = {.p = (const uint8_t *)bytes.p, .left = bytes.len};
    struct parts parts;
    struct key k = {.id = rec_get_text(&in)};

    k.created_wall_ms = (int64_t)rec_get_int(&in, 8);
    const struct str now = rec_get_raw(&in, KEY_DIGEST_LEN);
    const struct str old = rec_get_raw(&in, KEY_DIGEST_LEN);
    k.old_until_wall_ms = (int64_t)rec_get_int(&in, 8);
    get_spec(&in, &parts, &k.spec);
    if (in.bad || k.id.len == 0 || k.id.len > KEY_ID_MAX)
        return ERR_CORRUPT;
    memcpy(k.digest, now.p, KEY_DIGEST_LEN);
    memcpy(k.old_digest, old.p, KEY_DIGEST_LEN);
    struct key *key = key_new(&k);
    if (!key)
        return ERR_NOMEM;
    *key_out = key;
    return ERR_OK;
}

enum err team_decode(struct str bytes, struct team **team_out)
{
    struct rec_in in = {.p = (const uint8_t *)bytes.p, .left = bytes.len};
    struct parts parts;
    struct team t = {.created_wall_ms = (int64_t)rec_get_int(&in, 8)};

    get_spec(&in, &parts, &t.spec);
    if (in.bad)
        return ERR_CORRUPT;
    struct team *team = team_new(&t);
    if (!team)
        return ERR_NOMEM;
    *team_out = team;
    return ERR_OK;
}
