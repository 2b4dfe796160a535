/* control_keys.c - Admin commands on keys and teams. Each returns when the
 * change is on disk and the next request sees it. */
#include "daemon/control_keys.h"

#include <stdio.h>
#include <stdlib.h>

#include "account/accounts.h"
#include "account/keytab.h"
#include "account/rate.h"
#include "base/clock.h"
#include "base/log.h"
#include "daemon/control_args.h"
#include "daemon/control_budget.h"
#include "daemon/daemon.h"

#define SPEC_BYTES_MAX (256 * 1024)

/* ---- to JSON ----------------------------------------------------------- */

json_t *control_limits_json(const struct key_limits *l)
{
    return json_pack("{s:I, s:I, s:I}", "rpm", (json_int_t)l->rpm, "tpm",
                     (json_int_t)l->tpm, "parallel", (json_int_t)l->parallel);
}

/* What is left of <level>; null where there is no limit. */
static json_t *left_json(const struct rate_level *level)
{
    return level->limit > 0 ? json_integer((json_int_t)level->left)
                            : json_null();
}

/* How far limits are used now. */
static json_t *rate_json(struct rate *r)
{
    struct rate_view v;

    clock_update();
    rate_see(r, clock_mono_us(), &v);
    return json_pack("{s:I, s:o, s:o}", "running", (json_int_t)rate_running(r),
                     "requests_left", left_json(&v.of[RATE_REQUESTS]),
                     "tokens_left", left_json(&v.of[RATE_TOKENS]));
}

static json_t *meta_json(const struct key_spec *s)
{
    json_t *o = json_object();

    for (size_t i = 0; i < s->n_meta; i++) {
        char name[72];

        snprintf(name, sizeof(name), "%.*s", STR_ARG(s->meta[i].name));
        json_object_set_new(o, name, json_text(s->meta[i].value));
    }
    return o;
}

static json_t *models_json(const struct key_spec *s)
{
    json_t *list = json_array();

    for (size_t i = 0; i < s->n_models; i++)
        json_array_append_new(list, json_text(s->models[i]));
    return list;
}

static json_t *key_json(struct daemon *d, const struct key *k)
{
    const struct key_spec *s = &k->spec;

    return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:b, s:o, s:o, s:o}", "id",
                     json_text(k->id), "name", json_text(s->name), "team",
                     s->team.len ? json_text(s->team) : json_null(), "models",
                     models_json(s), "created", json_time(k->created_wall_ms),
                     "expires", json_time(s->expires_wall_ms), "blocked",
                     s->blocked, "metadata", meta_json(s), "budgets",
                     control_budget_list(d, false, k->id, s), "limits",
                     control_limits_json(&s->limits));
}

static json_t *team_json(struct daemon *d, const struct team *t)
{
    const struct key_spec *s = &t->spec;

    return json_pack(
        "{s:o, s:o, s:b, s:o, s:o, s:o}", "name", json_text(s->name), "created",
        json_time(t->created_wall_ms), "blocked", s->blocked, "metadata",
        meta_json(s), "budgets", control_budget_list(d, true, s->name, s),
        "limits", control_limits_json(&s->limits));
}

/* The key as data of an answer; takes the reference. */
static json_t *key_answer(struct daemon *d, enum err e, const struct key *k)
{
    json_t *data = e == ERR_OK ? key_json(d, k) : NULL;

    if (e == ERR_OK)
        key_unref(k);
    return data;
}

static json_t *secret_answer(struct daemon *d, enum err e, const struct key *k,
                             char *secret)
{
    json_t *data = key_answer(d, e, k);

    if (data)
        json_object_set_new(data, "key", json_string(secret));
    memset(secret, 0, KEY_SECRET_LEN + 1);
    return data;
}

static int64_t now_ms(void)
{
    clock_update();
    return (int64_t)clock_wall_ms();
}

/* ---- from arguments ---------------------------------------------------- */

/* What a command says of a key or team. */
struct said {
    struct arena *mem;    /* owned; holds the lists of <spec> */
    struct key_spec spec; /* borrows from the arguments */
    unsigned fields;      /* of <spec> that were given */
    struct str ref;       /* which key or team, for an update */
};

/* Read <args>; the member called <ref> (NULL: there is none) tells which key
 * or team is meant. False with a sentence. Always end with said_fini(). */
static bool said_read(struct said *s, const json_t *args, const char *ref,
                      struct buf *why)
{
    *s = (struct said){.mem = arena_new(4096, SPEC_BYTES_MAX)};
    if (!s->mem) {
        control_fail(why, "out of memory");
        return false;
    }
    if ((ref && !args_need(args, ref, &s->ref, why)) ||
        !args_key_spec(args, ref, s->mem, &s->spec, &s->fields, why))
        return false;
    if (ref && s->fields == 0) {
        control_fail(why, "there is nothing to change; give an option");
        return false;
    }
    return true;
}

static void said_fini(struct said *s)
{
    arena_free(s->mem);
}

/* A team that a key names for the first time is made, without bounds; <made>
 * tells. */
static bool team_ensure(struct daemon *d, struct str name, bool *made,
                        struct buf *why)
{
    const struct key_spec spec = {.name = name};
    const struct team *t;

    *made = false;
    if (name.len == 0)
        return true;
    t = keytab_find_team(d->keys, name);
    if (!t) {
        *made = keytab_team_create(d->keys, &spec, now_ms(), &t, why) == ERR_OK;
        if (!*made)
            return false;
    }
    team_unref(t);
    return true;
}

/* The key that it was made for was refused: nothing shall have changed. */
static void team_unmake(struct daemon *d, struct str name)
{
    struct buf why;

    buf_init(&why, 512);
    if (keytab_team_delete(d->keys, name, &why) != ERR_OK)
        log_warn(LOG_CTL, "a team without keys stays: %.*s",
                 STR_ARG(buf_str(&why)));
    buf_fini(&why);
}

/* ---- keys -------------------------------------------------------------- */

json_t *control_key_create(struct daemon *d, const json_t *args,
                           struct buf *why)
{
    char secret[KEY_SECRET_LEN + 1] = "";
    const struct key *k = NULL;
    enum err e = ERR_BAD_PARAM;
    bool made = false;
    struct said s;

    if (said_read(&s, args, NULL, why) &&
        team_ensure(d, s.spec.team, &made, why))
        e = keytab_create(d->keys, &s.spec, now_ms(), secret, &k, why);
    if (e != ERR_OK && made)
        team_unmake(d, s.spec.team);
    said_fini(&s);
    return secret_answer(d, e, k, secret);
}

json_t *control_key_list(struct daemon *d, const json_t *args, struct buf *why)
{
    const struct key **keys = NULL;
    json_t *list = json_array();
    size_t n = 0;

    (void)args;
    if (keytab_list(d->keys, &keys, &n) != ERR_OK) {
        json_decref(list);
        return control_fail(why, "out of memory");
    }
    for (size_t i = 0; i < n; i++) {
        json_array_append_new(list, key_json(d, keys[i]));
        key_unref(keys[i]);
    }
    free(keys);
    return json_pack("{s:o}", "data", list);
}

json_t *control_key_show(struct daemon *d, const json_t *args, struct buf *why)
{
    struct str ref;
    const struct key *k;
    json_t *data;

    if (!args_need(args, "id", &ref, why))
        return NULL;
    k = keytab_find(d->keys, ref);
    if (!k)
        return control_fail(why, "no such key");
    data = key_json(d, k);
    json_object_set_new(data, "rate", rate_json(k->rate));
    key_unref(k);
    return data;
}

json_t *control_key_update(struct daemon *d, const json_t *args,
                           struct buf *why)
{
    const struct key *k = NULL;
    enum err e = ERR_BAD_PARAM;
    bool made = false;
    struct said s;

    if (said_read(&s, args, "id", why) &&
        team_ensure(d, s.spec.team, &made, why))
        e = keytab_update(d->keys, s.ref, s.fields, &s.spec, &k, why);
    if (e == ERR_OK)
        accounts_changed(d->accounts, false, k->id);
    if (e != ERR_OK && made)
        team_unmake(d, s.spec.team);
    said_fini(&s);
    return key_answer(d, e, k);
}

static json_t *key_block(struct daemon *d, const json_t *args, bool blocked,
                         struct buf *why)
{
    const struct key *k = NULL;
    struct str ref;
    enum err e;

    if (!args_need(args, "id", &ref, why))
        return NULL;
    e = keytab_block(d->keys, ref, blocked, &k, why);
    return key_answer(d, e, k);
}

json_t *control_key_block(struct daemon *d, const json_t *args, struct buf *why)
{
    return key_block(d, args, true, why);
}

json_t *control_key_unblock(struct daemon *d, const json_t *args,
                            struct buf *why)
{
    return key_block(d, args, false, why);
}

json_t *control_key_rotate(struct daemon *d, const json_t *args,
                           struct buf *why)
{
    struct key_rotation when = {.now_wall_ms = now_ms()};
    struct str ref, grace = args_str(args, "grace");
    const struct key *k = NULL;
    char secret[KEY_SECRET_LEN + 1] = "";
    enum err e;

    if (!args_need(args, "id", &ref, why))
        return NULL;
    if (grace.len > 0 && !args_span_ms(grace, &when.grace_ms))
        return control_fail(why, "grace '%.*s' is no span; write e.g. 24h",
                            STR_ARG(grace));
    e = keytab_rotate(d->keys, ref, when, secret, &k, why);
    return secret_answer(d, e, k, secret);
}

json_t *control_key_delete(struct daemon *d, const json_t *args,
                           struct buf *why)
{
    struct str ref;

    if (!args_need(args, "id", &ref, why) ||
        keytab_delete(d->keys, ref, why) != ERR_OK)
        return NULL;
    return json_pack("{s:b}", "deleted", 1);
}

/* ---- teams ------------------------------------------------------------- */

static json_t *team_answer(struct daemon *d, enum err e, const struct team *t)
{
    json_t *data = e == ERR_OK ? team_json(d, t) : NULL;

    if (e == ERR_OK)
        team_unref(t);
    return data;
}

json_t *control_team_create(struct daemon *d, const json_t *args,
                            struct buf *why)
{
    const struct team *t = NULL;
    enum err e = ERR_BAD_PARAM;
    struct said s;

    if (said_read(&s, args, NULL, why))
        e = keytab_team_create(d->keys, &s.spec, now_ms(), &t, why);
    said_fini(&s);
    return team_answer(d, e, t);
}

json_t *control_team_list(struct daemon *d, const json_t *args, struct buf *why)
{
    const struct team **teams = NULL;
    json_t *list = json_array();
    size_t n = 0;

    (void)args;
    if (keytab_list_teams(d->keys, &teams, &n) != ERR_OK) {
        json_decref(list);
        return control_fail(why, "out of memory");
    }
    for (size_t i = 0; i < n; i++) {
        json_array_append_new(list, team_json(d, teams[i]));
        team_unref(teams[i]);
    }
    free(teams);
    return json_pack("{s:o}", "data", list);
}

json_t *control_team_show(struct daemon *d, const json_t *args, struct buf *why)
{
    const struct team *t;
    struct str name;
    json_t *data;

    if (!args_need(args, "name", &name, why))
        return NULL;
    t = keytab_find_team(d->keys, name);
    if (!t)
        return control_fail(why, "no such team");
    data = team_json(d, t);
    json_object_set_new(data, "rate", rate_json(t->rate));
    team_unref(t);
    return data;
}

json_t *control_team_update(struct daemon *d, const json_t *args,
                            struct buf *why)
{
    const struct team *t = NULL;
    enum err e = ERR_BAD_PARAM;
    struct said s;

    if (said_read(&s, args, "name", why))
        e = keytab_team_update(d->keys, s.ref, s.fields, &s.spec, &t, why);
    if (e == ERR_OK)
        accounts_changed(d->accounts, true, t->spec.name);
    said_fini(&s);
    return team_answer(d, e, t);
}

json_t *control_team_delete(struct daemon *d, const json_t *args,
                            struct buf *why)
{
    struct str name;

    if (!args_need(args, "name", &name, why) ||
        keytab_team_delete(d->keys, name, why) != ERR_OK)
        return NULL;
    return json_pack("{s:b}", "deleted", 1);
}
