/* control_args.c - See control_args.h. */
#include "daemon/control_args.h"

#include <stdarg.h>
#include <stdio.h>
#include <time.h>

#include "account/keytab.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/utf8.h"

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

json_t *json_text(struct str s)
{
    json_t *v = json_stringn(s.len ? s.p : "", s.len);
    struct buf fixed;

    if (v)
        return v;
    buf_init(&fixed, s.len);
    while (s.len > 0) {
        size_t good = utf8_valid_len(s);

        if (buf_put(&fixed, s.p, good) != ERR_OK ||
            (good < s.len && buf_put(&fixed, "?", 1) != ERR_OK))
            break;
        s = str_skip(s, good + 1);
    }
    v = json_stringn(fixed.len ? fixed.p : "", fixed.len);
    buf_fini(&fixed);
    return v;
}

json_t *json_time(int64_t wall_ms)
{
    char text[CLOCK_RFC3339_SIZE];

    if (wall_ms == 0)
        return json_null();
    clock_format_rfc3339(wall_ms < 0 ? 0 : (uint64_t)wall_ms, text);
    return json_string(text);
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

/* Cut <n> digits off <s> as a number of at most <max>. */
static bool take_number(struct str *s, size_t n, int max, int *out)
{
    uint64_t v;

    if (s->len < n || !str_to_u64(str_of(s->p, n), &v) || v > (uint64_t)max)
        return false;
    *out = (int)v;
    *s = str_skip(*s, n);
    return true;
}

static bool take_char(struct str *s, const char *any)
{
    if (s->len == 0 || s->p[0] == '\0' || !strchr(any, s->p[0]))
        return false;
    *s = str_skip(*s, 1);
    return true;
}

/* The clock time behind a date: "10:00:00", a fraction, and "Z" or "+01:00".
 * <ms_out> gets the fraction and the offset. */
static bool take_clock(struct str *s, struct tm *tm, int64_t *ms_out)
{
    int hours = 0, minutes = 0, digit, scale = 100;
    bool west;

    *ms_out = 0;
    if (!take_number(s, 2, 23, &tm->tm_hour) || !take_char(s, ":") ||
        !take_number(s, 2, 59, &tm->tm_min) || !take_char(s, ":") ||
        !take_number(s, 2, 59, &tm->tm_sec))
        return false;
    if (take_char(s, ".")) {
        if (!take_number(s, 1, 9, &digit))
            return false;
        do {
            *ms_out += digit * scale;
            scale /= 10;
        } while (take_number(s, 1, 9, &digit));
    }
    if (take_char(s, "Zz"))
        return true;
    west = s->len > 0 && s->p[0] == '-';
    if (!take_char(s, "+-") || !take_number(s, 2, 23, &hours) ||
        !take_char(s, ":") || !take_number(s, 2, 59, &minutes))
        return false;
    *ms_out += (west ? 1 : -1) * (hours * 60 + minutes) * INT64_C(60000);
    return true;
}

/* A day, or a day and a time as RFC 3339 has them. */
static bool date_ms(struct str s, int64_t *ms_out)
{
    struct tm tm = {0};
    int64_t ms = 0;
    int day;
    time_t t;

    if (!take_number(&s, 4, 9999, &tm.tm_year) || !take_char(&s, "-") ||
        !take_number(&s, 2, 12, &tm.tm_mon) || !take_char(&s, "-") ||
        !take_number(&s, 2, 31, &tm.tm_mday) || tm.tm_mon == 0)
        return false;
    if (take_char(&s, "Tt ") && !take_clock(&s, &tm, &ms))
        return false;
    tm.tm_year -= 1900;
    tm.tm_mon -= 1;
    day = tm.tm_mday;
    t = timegm(&tm);
    /* The 31st of a month that has 30 days has become another day. */
    if (s.len > 0 || tm.tm_mday != day)
        return false;
    *ms_out = (int64_t)t * 1000 + ms;
    return true;
}

bool args_time_ms(struct str text, int64_t now_ms, bool back, int64_t *ms_out)
{
    int64_t span_ms;

    if (!args_span_ms(text, &span_ms))
        return date_ms(text, ms_out);
    *ms_out = back ? now_ms - span_ms : now_ms + span_ms;
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
    /* No list means every model, which nobody shall get by an empty word. */
    if (n == 0) {
        control_fail(r->why, "models is empty; write '*' for every model");
        return false;
    }
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
    if (n == 1 && str_eq(json_str(json_array_get(v, 0)), STR("none")))
        n = 0;
    for (size_t i = 0; i < n; i++) {
        struct str text = json_str(json_array_get(v, i));
        const bool soft = str_ends(text, STR(" soft"));

        if (soft)
            text.len -= strlen(" soft");
        if (budget_spec_parse(text, &list[i]) != ERR_OK) {
            control_fail(r->why,
                         "budget '%.*s' is not AMOUNT/WINDOW; write e.g. "
                         "500k-tokens/day, $25/month or, for no budget, none",
                         STR_ARG(text));
            return false;
        }
        list[i].soft = soft || r->soft;
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
    int64_t now_ms, at_ms = 0;

    clock_update();
    now_ms = (int64_t)clock_wall_ms();
    if (!str_eq(text, STR("never")) &&
        !args_time_ms(text, now_ms, false, &at_ms)) {
        control_fail(r->why,
                     "expires '%.*s' is no time; write e.g. 30d, "
                     "2026-12-31 or never",
                     STR_ARG(text));
        return false;
    }
    if (!str_eq(text, STR("never")) && at_ms <= now_ms) {
        control_fail(r->why,
                     "expires '%.*s' is not in the future; to refuse a key "
                     "now, block it",
                     STR_ARG(text));
        return false;
    }
    r->fields |= KEY_SET_EXPIRES;
    r->spec->expires_wall_ms = at_ms;
    return true;
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
    if (r.soft && !json_object_get(args, "budgets")) {
        control_fail(why, "soft is said of budgets; give them, too");
        ok = false;
    }
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
