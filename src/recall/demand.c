/* demand.c - See demand.h. Cache-Control is read here and not by the list
 * reader of http1.h, since a value may be a quoted string with commas in it. */
#include "recall/demand.h"

/* One directive. */
struct directive {
    struct str name;
    struct str value; /* without its quotes */
    bool has_value;
};

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static void skip_blanks(struct str *s)
{
    while (s->len > 0 && is_blank(s->p[0]))
        *s = str_skip(*s, 1);
}

/* Cut the quoted string, whose quote <s> begins with, off it. An escape stays
 * as it is: no number has one. False when it does not end. */
static bool take_quoted(struct str *s, struct str *value_out)
{
    for (size_t i = 1; i < s->len; i++) {
        if (s->p[i] == '\\') {
            i++;
        } else if (s->p[i] == '"') {
            *value_out = str_of(s->p + 1, i - 1);
            *s = str_skip(*s, i + 1);
            return true;
        }
    }
    return false;
}

/* The bytes of <s> before a comma, or before '=' where <in_name>. */
static struct str take_text(struct str *s, bool in_name)
{
    struct str text = *s;
    size_t i = 0;

    while (i < s->len && s->p[i] != ',' && !(in_name && s->p[i] == '='))
        i++;
    text.len = i;
    *s = str_skip(*s, i);
    return str_trim(text);
}

/* Cut the next directive off <s>, which is not empty. False when it cannot be
 * told where it ends. */
static bool take_directive(struct str *s, struct directive *d)
{
    struct str rest;

    *d = (struct directive){.name = take_text(s, true)};
    if (s->len > 0 && s->p[0] == '=') {
        *s = str_skip(*s, 1);
        skip_blanks(s);
        d->has_value = true;
        if (s->len > 0 && s->p[0] == '"') {
            if (!take_quoted(s, &d->value))
                return false;
            rest = take_text(s, false);
            if (rest.len > 0) /* bytes after the quoted string: no value */
                d->value = (struct str){NULL, 0};
        } else {
            d->value = take_text(s, false);
        }
    }
    *s = str_skip(*s, 1); /* the comma */
    return memchr(d->name.p, '"', d->name.len) == NULL;
}

/* The seconds that <d> says, or <broken>. */
static int64_t seconds_of(const struct directive *d, int64_t broken)
{
    int64_t v = 0;

    if (d->value.len == 0)
        return broken;
    for (size_t i = 0; i < d->value.len; i++) {
        if (d->value.p[i] < '0' || d->value.p[i] > '9')
            return broken;
        if (v < DEMAND_SECONDS_MAX)
            v = v * 10 + (d->value.p[i] - '0');
    }
    return v < DEMAND_SECONDS_MAX ? v : DEMAND_SECONDS_MAX;
}

static void take_max_stale(const struct directive *d, bool *said,
                           struct demand *out)
{
    int64_t v = d->has_value ? seconds_of(d, 0) : DEMAND_SECONDS_MAX;

    if (!*said || v < out->max_stale_s)
        out->max_stale_s = v;
    *said = true;
}

static void take_seconds(const struct directive *d, bool *stale_said,
                         struct demand *out)
{
    int64_t v;

    if (str_ieq(d->name, STR("max-age"))) {
        v = seconds_of(d, 0);
        if (out->max_age_s < 0 || v < out->max_age_s)
            out->max_age_s = v;
    } else if (str_ieq(d->name, STR("min-fresh"))) {
        v = seconds_of(d, DEMAND_SECONDS_MAX);
        if (v > out->min_fresh_s)
            out->min_fresh_s = v;
    } else if (str_ieq(d->name, STR("max-stale"))) {
        take_max_stale(d, stale_said, out);
    }
}

static void read_field(struct str s, bool *stale_said, struct demand *out)
{
    struct directive d;

    while (s.len > 0) {
        if (!take_directive(&s, &d)) {
            out->no_store = out->no_cache = true;
            return;
        }
        if (str_ieq(d.name, STR("no-store")))
            out->no_store = true;
        else if (str_ieq(d.name, STR("no-cache")))
            out->no_cache = true;
        else if (str_ieq(d.name, STR("only-if-cached")))
            out->only_if_cached = true;
        else
            take_seconds(&d, stale_said, out);
    }
}

void demand_read(const struct http1_head *head, struct demand *out)
{
    bool stale_said = false, said = false, pragma = false;

    *out = (struct demand){.max_age_s = -1};
    for (size_t i = 0; i < head->count; i++) {
        const struct http1_header *h = &head->headers[i];

        if (str_ieq(h->name, STR("Cache-Control"))) {
            said = true;
            read_field(h->value, &stale_said, out);
        } else if (str_ieq(h->name, STR("Pragma"))) {
            pragma = pragma || http1_list_has(h->value, STR("no-cache"));
        }
    }
    if ((!said && pragma) || out->max_age_s == 0)
        out->no_cache = true;
}
