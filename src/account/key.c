/* key.c - Keys and teams as objects: copies, counts, the check of what people
 * write, and secrets. A secret itself is never kept, only its SHA-256. */
#include "account/key.h"

#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>

#include "account/rate.h"
#include "base/arena.h"
#include "base/digest.h"
#include "base/utf8.h"

/* Most bytes of one glob, of a metadata name and of its value. */
#define GLOB_MAX       128
#define META_NAME_MAX  64
#define META_VALUE_MAX 256

/* Memory of one key: first block, and the most it may take. */
#define KEY_ARENA_FIRST 1024
#define KEY_ARENA_MAX   (256u << 10)

/* Random characters of a key id. */
#define ID_RANDOM_LEN 16

_Static_assert(KEY_DIGEST_LEN == DIGEST_BYTES, "SHA-256");

/* A key, its count and its memory. */
struct key_box {
    struct key key; /* first, so that a key leads to its box */
    atomic_uint refs;
    struct arena *arena; /* holds the box itself */
};

/* A team, its count and its memory. */
struct team_box {
    struct team team;
    atomic_uint refs;
    struct arena *arena;
};

/* Keys are handed out const; only their count changes. */
static struct key_box *box_of(const struct key *key)
{
    union {
        const struct key *in;
        struct key_box *out;
    } u = {.in = key};

    return u.out;
}

static struct team_box *team_box_of(const struct team *team)
{
    union {
        const struct team *in;
        struct team_box *out;
    } u = {.in = team};

    return u.out;
}

const struct key *key_ref(const struct key *key)
{
    atomic_fetch_add_explicit(&box_of(key)->refs, 1, memory_order_relaxed);
    return key;
}

void key_unref(const struct key *key)
{
    if (!key)
        return;
    struct key_box *box = box_of(key);
    if (atomic_fetch_sub_explicit(&box->refs, 1, memory_order_acq_rel) != 1)
        return;
    rate_unref(box->key.rate);
    arena_free(box->arena);
}

const struct team *team_ref(const struct team *team)
{
    atomic_fetch_add_explicit(&team_box_of(team)->refs, 1,
                              memory_order_relaxed);
    return team;
}

void team_unref(const struct team *team)
{
    if (!team)
        return;
    struct team_box *box = team_box_of(team);
    if (atomic_fetch_sub_explicit(&box->refs, 1, memory_order_acq_rel) != 1)
        return;
    rate_unref(box->team.rate);
    arena_free(box->arena);
}

/* Copying; <ok> turns false when memory ends. */
struct copier {
    struct arena *arena;
    bool ok;
};

static struct str copy_str(struct copier *c, struct str s)
{
    const struct str d = arena_dup(c->arena, s);

    c->ok = c->ok && d.p;
    return d;
}

static void *copy_array(struct copier *c, const void *p, size_t n, size_t size)
{
    void *d = arena_alloc(c->arena, n * size + 1);

    c->ok = c->ok && d;
    if (d && n > 0)
        memcpy(d, p, n * size);
    return d;
}

static struct key_spec copy_spec(struct copier *c, const struct key_spec *s)
{
    struct key_spec d = *s;
    struct str *models = copy_array(c, s->models, s->n_models, sizeof(*models));
    struct key_meta *meta = copy_array(c, s->meta, s->n_meta, sizeof(*meta));

    d.name = copy_str(c, s->name);
    d.team = copy_str(c, s->team);
    d.budgets = copy_array(c, s->budgets, s->n_budgets, sizeof(*s->budgets));
    for (size_t i = 0; models && i < s->n_models; i++)
        models[i] = copy_str(c, s->models[i]);
    for (size_t i = 0; meta && i < s->n_meta; i++) {
        meta[i].name = copy_str(c, s->meta[i].name);
        meta[i].value = copy_str(c, s->meta[i].value);
    }
    d.models = models;
    d.meta = meta;
    return d;
}

struct key *key_new(const struct key *model)
{
    struct copier c = {.arena = arena_new(KEY_ARENA_FIRST, KEY_ARENA_MAX),
                       .ok = true};
    struct key_box *box = c.arena ? arena_alloc(c.arena, sizeof(*box)) : NULL;

    if (!box) {
        arena_free(c.arena);
        return NULL;
    }
    box->key = *model;
    box->key.id = copy_str(&c, model->id);
    box->key.spec = copy_spec(&c, &model->spec);
    box->arena = c.arena;
    atomic_init(&box->refs, 1);
    if (!c.ok) {
        arena_free(c.arena);
        return NULL;
    }
    if (model->rate)
        rate_ref(model->rate);
    return &box->key;
}

struct team *team_new(const struct team *model)
{
    struct copier c = {.arena = arena_new(KEY_ARENA_FIRST, KEY_ARENA_MAX),
                       .ok = true};
    struct team_box *box = c.arena ? arena_alloc(c.arena, sizeof(*box)) : NULL;

    if (!box) {
        arena_free(c.arena);
        return NULL;
    }
    box->team = *model;
    box->team.spec = copy_spec(&c, &model->spec);
    box->arena = c.arena;
    atomic_init(&box->refs, 1);
    if (!c.ok) {
        arena_free(c.arena);
        return NULL;
    }
    if (model->rate)
        rate_ref(model->rate);
    return &box->team;
}

bool key_may_use(const struct key *key, struct str model)
{
    for (size_t i = 0; i < key->spec.n_models; i++) {
        if (str_glob(key->spec.models[i], model))
            return true;
    }
    return key->spec.n_models == 0;
}

/* Text that can stand in a table, a log line and a URL's query: UTF-8 without
 * control characters or spaces at its ends. */
static bool is_plain(struct str s, size_t min, size_t max)
{
    if (s.len < min || s.len > max || !utf8_is_valid(s))
        return false;
    for (size_t i = 0; i < s.len; i++) {
        if ((unsigned char)s.p[i] < 0x20 || s.p[i] == 0x7f)
            return false;
    }
    return s.len == 0 || (s.p[0] != ' ' && s.p[s.len - 1] != ' ');
}

static enum err refuse(struct buf *why, const char *sentence)
{
    const enum err err = buf_put_str(why, str_from(sentence));

    return err == ERR_OK || err == ERR_NOMEM ? ERR_BAD_PARAM : err;
}

static enum err check_lists(const struct key_spec *spec, struct buf *why)
{
    for (size_t i = 0; i < spec->n_models; i++) {
        if (!is_plain(spec->models[i], 1, GLOB_MAX))
            return refuse(why, "a model pattern must be 1 to 128 plain "
                               "characters");
    }
    for (size_t i = 0; i < spec->n_budgets; i++) {
        if (spec->budgets[i].amount < 0)
            return refuse(why, "a budget cannot be negative");
    }
    for (size_t i = 0; i < spec->n_meta; i++) {
        if (!is_plain(spec->meta[i].name, 1, META_NAME_MAX) ||
            !is_plain(spec->meta[i].value, 0, META_VALUE_MAX))
            return refuse(why, "metadata needs a name of 1 to 64 and a value "
                               "of at most 256 plain characters");
    }
    return ERR_OK;
}

enum err key_spec_check(const struct key_spec *spec, struct buf *why)
{
    if (!is_plain(spec->name, 1, KEY_NAME_MAX))
        return refuse(why, "a name must be 1 to 64 plain characters without "
                           "spaces at its ends");
    if (str_starts(spec->name, STR("key_")) ||
        str_starts(spec->name, STR("sk-")) ||
        str_eq(spec->name, STR("anonymous")))
        return refuse(why, "a name cannot be \"anonymous\" or begin with "
                           "\"key_\" or \"sk-\"");
    if (!is_plain(spec->team, 0, KEY_NAME_MAX))
        return refuse(why, "a team's name has at most 64 plain characters");
    if (spec->n_models > KEY_LIST_MAX || spec->n_budgets > KEY_LIST_MAX ||
        spec->n_meta > KEY_LIST_MAX)
        return refuse(why, "at most 64 model patterns, budgets and metadata "
                           "pairs each");
    if (spec->expires_wall_ms < 0)
        return refuse(why, "the expiry lies before 1970");
    return check_lists(spec, why);
}

void key_secret_make(char secret_out[KEY_SECRET_LEN + 1])
{
    const size_t head = sizeof(KEY_SECRET_PREFIX) - 1;

    memcpy(secret_out, KEY_SECRET_PREFIX, head);
    digest_base62(secret_out + head, KEY_SECRET_LEN - head);
}

void key_id_make(char id_out[KEY_ID_MAX + 1])
{
    memcpy(id_out, "key_", 4);
    digest_base62(id_out + 4, ID_RANDOM_LEN);
}
