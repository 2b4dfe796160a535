/* control_args.c - See control_args.h. */
#include "daemon/control_args.h"

#include <stdarg.h>
#include <stdio.h>
#include <time.h>

#include "account/keytab.h"
#include "base/clock.h"
#include "base/log.h"

json_t *control_fail(struct buf *why, const char *fmt, ...)
{
    char text[1024];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    if (buf_put_str(why, str_from(text)) != ERR_OK)
        log_debug(LOG_CTL, "reason is cut");
    return NULL;
}

static struct str json_str(const json_t *v)
{
    return json_is_string(v)
               ? str_of(json_string_value(v), json_string_length(v))
               : (struct str){NULL, 0};
}

struct str args_str(const json_t *args, const char *name)
{
    return json_str(json_object_get(args, name));
}

bool args_need(const json_t *args, const char *name, struct str *out,
               struct buf *why)
{
    *out = args_str(args, name);
    if (out->len > 0)
        return true;
    control_fail(why, "%s is missing", name);
    return false;
}

bool args_span_ms(struct str text, int64_t *ms_out)
{
    static const struct {
        struct str unit;
        uint64_t ms;
    } units[] = {{{"ms", 2}, 1},       {{"s", 1}, 1000},
                 {{"m", 1}, 60000},    {{"h", 1}, 3600000},
                 {{"d", 1}, 86400000}, {{"w", 1}, 604800000}};
    size_t digits = 0;
    uint64_t n;

    while (digits < text.len && text.p[digits] >= '0' && text.p[digits] <= '9')
        digits++;
    if (!str_to_u64(str_of(text.p, digits), &n) || n > 1000000000)
        return false;
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        if (!str_eq(str_skip(text, digits), units[i].unit))
            continue;
        *ms_out = (int64_t)(n * units[i].ms);
        return true;
    }
    return false;
}

bool args_time_ms(struct str text, int64_t now_ms, bool back, int64_t *ms_out)
{
    char room[40];
    struct tm tm = {0};
    int64_t span_ms;
    const char *end;

    if (args_span_ms(text, &span_ms)) {
        *ms_out = back ? now_ms - span_ms : now_ms + span_ms;
        return true;
    }
    if (text.len == 0 || text.len >= sizeof(room))
        return false;
    memcpy(room, text.p, text.len);
    room[text.len] = '\0';
    end = strptime(room, "%Y-%m-%d", &tm);
    if (!end)
        return false;
    if (*end != '\0') {
        end = strptime(end, "T%H:%M:%S", &tm);
        if (!end || strcmp(end, "Z") != 0)
            return false;
    }
    *ms_out = (int64_t)timegm(&tm) * 1000;
    return true;
}

/* ---- key specs --------------------------------------------------------- */

/* What reading a spec works on. */
struct spec_reader {
    struct arena *a;
    struct key_spec *spec;
    unsigned fields;
    bool soft;
    struct buf *why;
};

static bool no_room(struct spec_reader *r)
{
    control_fail(r->why, "out of memory");
    return false;
}

static bool read_models(struct spec_reader *r, const json_t *v)
{
    size_t n = json_array_size(v);
    struct str *list = arena_alloc(r->a, (n + 1) * sizeof(*list));

    if (!list)
        return no_room(r);
    for (size_t i = 0; i < n; i++) {
        list[i] = json_str(json_array_get(v, i));
        if (list[i].len == 0) {
            control_fail(r->why, "models must be a list of names or globs");
            return false;
        }
    }
    r->spec->models = list;
    r->spec->n_models = n;
    r->fields |= KEY_SET_MODELS;
    return true;
}

static bool read_budgets(struct spec_reader *r, const json_t *v)
{
    size_t n = json_array_size(v);
    struct budget_spec *list = arena_alloc(r->a, (n + 1) * sizeof(*list));

    if (!list)
        return no_room(r);
    for (size_t i = 0; i < n; i++) {
        struct str text = json_str(json_array_get(v, i));

        if (budget_spec_parse(text, &list[i]) != ERR_OK) {
            control_fail(r->why,
                         "budget '%.*s' is not AMOUNT/WINDOW; write e.g. "
                         "500k-tokens/day or $25/month",
                         STR_ARG(text));
            return false;
        }
        list[i].soft = r->soft;
    }
    r->spec->budgets = list;
    r->spec->n_budgets = n;
    r->fields |= KEY_SET_BUDGETS;
    return true;
}

static bool read_meta(struct spec_reader *r, json_t *v)
{
    size_t n = json_object_size(v), i = 0;
    struct key_meta *list = arena_alloc(r->a, (n + 1) * sizeof(*list));
    const char *name;
    json_t *value;

    if (!list)
        return no_room(r);
    json_object_foreach(v, name, value)
    {
        if (!json_is_string(value)) {
            control_fail(r->why, "metadata values must be strings");
            return false;
        }
        list[i++] = (struct key_meta){str_from(name), json_str(value)};
    }
    r->spec->meta = list;
    r->spec->n_meta = n;
    r->fields |= KEY_SET_META;
    return true;
}

static bool read_number(struct spec_reader *r, const char *name,
                        const json_t *v, uint64_t *out, unsigned field)
{
    if (!json_is_integer(v) || json_integer_value(v) < 0) {
        control_fail(r->why, "%s must be a whole number, 0 for no limit", name);
        return false;
    }
    *out = (uint64_t)json_integer_value(v);
    r->fields |= field;
    return true;
}

static bool read_expires(struct spec_reader *r, const json_t *v)
{
    struct str text = json_str(v);

    clock_update();
    r->fields |= KEY_SET_EXPIRES;
    r->spec->expires_wall_ms = 0;
    if (str_eq(text, STR("never")))
        return true;
    if (args_time_ms(text, (int64_t)clock_wall_ms(), false,
                     &r->spec->expires_wall_ms))
        return true;
    control_fail(r->why,
                 "expires '%.*s' is no time; write e.g. 30d, "
                 "2026-12-31 or never",
                 STR_ARG(text));
    return false;
}

static bool read_member(struct spec_reader *r, const char *name, json_t *v)
{
    struct key_limits *lim = &r->spec->limits;

    if (strcmp(name, "name") == 0) {
        r->spec->name = json_str(v);
        r->fields |= KEY_SET_NAME;
        return true;
    }
    if (strcmp(name, "team") == 0) {
        r->spec->team = json_str(v);
        r->fields |= KEY_SET_TEAM;
        return true;
    }
    if (strcmp(name, "models") == 0)
        return read_models(r, v);
    if (strcmp(name, "budgets") == 0)
        return read_budgets(r, v);
    if (strcmp(name, "metadata") == 0)
        return read_meta(r, v);
    if (strcmp(name, "rpm") == 0)
        return read_number(r, name, v, &lim->rpm, KEY_SET_RPM);
    if (strcmp(name, "tpm") == 0)
        return read_number(r, name, v, &lim->tpm, KEY_SET_TPM);
    if (strcmp(name, "parallel") == 0)
        return read_number(r, name, v, &lim->parallel, KEY_SET_PARALLEL);
    if (strcmp(name, "expires") == 0)
        return read_expires(r, v);
    if (strcmp(name, "soft") == 0)
        return true;
    control_fail(r->why, "unknown argument: %s", name);
    return false;
}

bool args_key_spec(const json_t *args, const char *skip, struct arena *a,
                   struct key_spec *spec, unsigned *fields_out, struct buf *why)
{
    struct spec_reader r = {.a = a, .spec = spec, .why = why};
    json_t *copy = json_copy((json_t *)(uintptr_t)args);
    const char *name;
    json_t *v;
    bool ok = true;

    r.soft = json_is_true(json_object_get(args, "soft"));
    json_object_foreach(copy, name, v)
    {
        if (skip && strcmp(name, skip) == 0)
            continue;
        ok = ok && read_member(&r, name, v);
    }
    json_decref(copy);
    *fields_out = r.fields;
    return ok;
}
