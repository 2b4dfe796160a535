/* control_keys.c - Admin commands on keys and teams. Each returns when the
 * change is on disk and the next request sees it. */
#include "daemon/control_keys.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "account/keytab.h"
#include "base/clock.h"
#include "daemon/control_args.h"
#include "daemon/daemon.h"

#define SPEC_BYTES_MAX (256 * 1024)

/* ---- to JSON ----------------------------------------------------------- */

static json_t *js(struct str s)
{
    return json_stringn(s.len ? s.p : "", s.len);
}

static json_t *time_json(int64_t wall_ms)
{
    char text[CLOCK_RFC3339_SIZE];

    if (wall_ms == 0)
        return json_null();
    clock_format_rfc3339((uint64_t)wall_ms, text);
    return json_string(text);
}

/* Tokens as integers, money as a decimal string of dollars. */
static json_t *amount_json(const struct budget_spec *b)
{
    char text[40];

    if (b->unit != BUDGET_NUSD)
        return json_integer((json_int_t)b->amount);
    snprintf(text, sizeof(text), "%" PRId64 ".%09" PRId64,
             b->amount / 1000000000, b->amount % 1000000000);
    for (size_t n = strlen(text); n > 0 && text[n - 1] == '0' &&
                                  text[n - 2] != '.' && text[n - 3] != '.';)
        text[--n] = '\0';
    return json_string(text);
}

static json_t *budgets_json(const struct key_spec *s)
{
    json_t *list = json_array();

    for (size_t i = 0; i < s->n_budgets; i++) {
        const struct budget_spec *b = &s->budgets[i];

        json_array_append_new(
            list, json_pack("{s:o, s:s, s:s, s:b, s:n, s:n, s:n}", "amount",
                            amount_json(b), "unit", budget_unit_name(b->unit),
                            "window", budget_window_name(b->window), "soft",
                            b->soft, "spent", "held", "resets"));
    }
    return list;
}

json_t *control_limits_json(const struct key_limits *l)
{
    return json_pack("{s:I, s:I, s:I}", "rpm", (json_int_t)l->rpm, "tpm",
                     (json_int_t)l->tpm, "parallel", (json_int_t)l->parallel);
}

static json_t *meta_json(const struct key_spec *s)
{
    json_t *o = json_object();

    for (size_t i = 0; i < s->n_meta; i++) {
        char name[72];

        snprintf(name, sizeof(name), "%.*s", STR_ARG(s->meta[i].name));
        json_object_set_new(o, name, js(s->meta[i].value));
    }
    return o;
}

static json_t *models_json(const struct key_spec *s)
{
    json_t *list = json_array();

    for (size_t i = 0; i < s->n_models; i++)
        json_array_append_new(list, js(s->models[i]));
    return list;
}

json_t *control_key_json(const struct key *k)
{
    const struct key_spec *s = &k->spec;

    return json_pack(
        "{s:o, s:o, s:o, s:o, s:o, s:o, s:b, s:o, s:o, s:o}", "id", js(k->id),
        "name", js(s->name), "team", s->team.len ? js(s->team) : json_null(),
        "models", models_json(s), "created", time_json(k->created_wall_ms),
        "expires", time_json(s->expires_wall_ms), "blocked", s->blocked,
        "metadata", meta_json(s), "budgets", budgets_json(s), "limits",
        control_limits_json(&s->limits));
}

static json_t *team_json(const struct team *t)
{
    const struct key_spec *s = &t->spec;

    return json_pack("{s:o, s:o, s:b, s:o, s:o, s:o}", "name", js(s->name),
                     "created", time_json(t->created_wall_ms), "blocked",
                     s->blocked, "metadata", meta_json(s), "budgets",
                     budgets_json(s), "limits",
                     control_limits_json(&s->limits));
}

/* The key as data of an answer; takes the reference. */
static json_t *key_answer(enum err e, const struct key *k)
{
    json_t *data = e == ERR_OK ? control_key_json(k) : NULL;

    if (e == ERR_OK)
        key_unref(k);
    return data;
}

static json_t *secret_answer(enum err e, const struct key *k, char *secret)
{
    json_t *data = key_answer(e, k);

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

/* A team that a key names for the first time is made, without bounds. */
static bool team_ensure(struct daemon *d, struct str name, struct buf *why)
{
    const struct key_spec spec = {.name = name};
    const struct team *t;

    if (name.len == 0)
        return true;
    t = keytab_find_team(d->keys, name);
    if (!t && keytab_team_create(d->keys, &spec, now_ms(), &t, why) != ERR_OK)
        return false;
    team_unref(t);
    return true;
}

/* ---- keys -------------------------------------------------------------- */

json_t *control_key_create(struct daemon *d, const json_t *args,
                           struct buf *why)
{
    struct arena *a = arena_new(4096, SPEC_BYTES_MAX);
    struct key_spec spec = {0};
    const struct key *k = NULL;
    char secret[KEY_SECRET_LEN + 1] = "";
    enum err e = ERR_BAD_PARAM;
    unsigned fields;

    if (a && args_key_spec(args, NULL, a, &spec, &fields, why) &&
        team_ensure(d, spec.team, why))
        e = keytab_create(d->keys, &spec, now_ms(), secret, &k, why);
    arena_free(a);
    return secret_answer(e, k, secret);
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
        json_array_append_new(list, control_key_json(keys[i]));
        key_unref(keys[i]);
    }
    free(keys);
    return json_pack("{s:o}", "data", list);
}

json_t *control_key_show(struct daemon *d, const json_t *args, struct buf *why)
{
    struct str ref;
    const struct key *k;

    if (!args_need(args, "id", &ref, why))
        return NULL;
    k = keytab_find(d->keys, ref);
    if (!k)
        return control_fail(why, "no such key");
    return key_answer(ERR_OK, k);
}

json_t *control_key_update(struct daemon *d, const json_t *args,
                           struct buf *why)
{
    struct arena *a = arena_new(4096, SPEC_BYTES_MAX);
    struct key_spec spec = {0};
    const struct key *k = NULL;
    enum err e = ERR_BAD_PARAM;
    unsigned fields;
    struct str ref;

    if (a && args_need(args, "id", &ref, why) &&
        args_key_spec(args, "id", a, &spec, &fields, why) &&
        team_ensure(d, spec.team, why))
        e = keytab_update(d->keys, ref, fields, &spec, &k, why);
    arena_free(a);
    return key_answer(e, k);
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
    return key_answer(e, k);
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
    return secret_answer(e, k, secret);
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

static json_t *team_answer(enum err e, const struct team *t)
{
    json_t *data = e == ERR_OK ? team_json(t) : NULL;

    if (e == ERR_OK)
        team_unref(t);
    return data;
}

json_t *control_team_create(struct daemon *d, const json_t *args,
                            struct buf *why)
{
    struct arena *a = arena_new(4096, SPEC_BYTES_MAX);
    struct key_spec spec = {0};
    const struct team *t = NULL;
    enum err e = ERR_BAD_PARAM;
    unsigned fields;

    if (a && args_key_spec(args, NULL, a, &spec, &fields, why))
        e = keytab_team_create(d->keys, &spec, now_ms(), &t, why);
    arena_free(a);
    return team_answer(e, t);
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
        json_array_append_new(list, team_json(teams[i]));
        team_unref(teams[i]);
    }
    free(teams);
    return json_pack("{s:o}", "data", list);
}

json_t *control_team_show(struct daemon *d, const json_t *args, struct buf *why)
{
    const struct team *t;
    struct str name;

    if (!args_need(args, "name", &name, why))
        return NULL;
    t = keytab_find_team(d->keys, name);
    if (!t)
        return control_fail(why, "no such team");
    return team_answer(ERR_OK, t);
}

json_t *control_team_update(struct daemon *d, const json_t *args,
                            struct buf *why)
{
    struct arena *a = arena_new(4096, SPEC_BYTES_MAX);
    struct key_spec spec = {0};
    const struct team *t = NULL;
    enum err e = ERR_BAD_PARAM;
    unsigned fields;
    struct str name;

    if (a && args_need(args, "name", &name, why) &&
        args_key_spec(args, "name", a, &spec, &fields, why))
        e = keytab_team_update(d->keys, name, fields, &spec, &t, why);
    arena_free(a);
    return team_answer(e, t);
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
