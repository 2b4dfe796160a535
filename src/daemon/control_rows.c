/* control_rows.c - See control_rows.h. Reads only. */
#include "daemon/control_rows.h"

#include <inttypes.h>
#include <stdio.h>

#include "account/keytab.h"
#include "account/ledger.h"
#include "account/price.h"
#include "base/clock.h"
#include "daemon/control_args.h"
#include "daemon/daemon.h"

#define EXPORT_ROWS 1000 /* of one answer */

static json_t *js_or_null(struct str s)
{
    return s.len ? json_text(s) : json_null();
}

static json_t *usd_json(int64_t nusd)
{
    char text[PRICE_USD_SIZE];

    return json_text(price_print_usd(nusd, text));
}

/* ---- usage ------------------------------------------------------------- */

/* Members that name a group. */
static const char *const usage_by_names[USAGE_BY_COUNT] = {
    "none", "key", "team", "model", "day", "target",
};

static bool usage_by(struct str name, enum usage_by *out)
{
    *out = USAGE_BY_NONE;
    if (name.len == 0)
        return true;
    for (int i = 1; i < USAGE_BY_COUNT; i++) {
        if (str_eq(name, str_from(usage_by_names[i]))) {
            *out = (enum usage_by)i;
            return true;
        }
    }
    return false;
}

static json_t *sum_json(struct daemon *d, const struct usage_sum *s,
                        enum usage_by by)
{
    json_t *o = json_pack(
        "{s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:I, s:I, s:I, s:I, s:I, s:I, s:I,"
        " s:I, s:I, s:o}",
        "requests", (json_int_t)s->requests, "errors", (json_int_t)s->errors,
        "input_tokens", (json_int_t)row_input_tokens(s->tok), "cached_tokens",
        (json_int_t)s->tok[ROW_TOK_CACHE_READ], "output_tokens",
        (json_int_t)row_output_tokens(s->tok), "ms_total",
        (json_int_t)s->ms_total, "cost_usd", usd_json(s->cost_nusd),
        "estimated", (json_int_t)s->estimated, "unpriced",
        (json_int_t)s->unpriced, "stale_price", (json_int_t)s->stale_price,
        "legs", (json_int_t)s->legs, "cache_hits", (json_int_t)s->hits,
        "cache_misses", (json_int_t)s->misses, "coalesced",
        (json_int_t)s->joined, "saved_input_tokens",
        (json_int_t)s->saved_input_tok, "saved_output_tokens",
        (json_int_t)s->saved_output_tok, "saved_usd", usd_json(s->saved_nusd));

    if (by != USAGE_BY_NONE)
        json_object_set_new(o, usage_by_names[by],
                            json_text(str_from(s->name)));
    if (by == USAGE_BY_KEY) {
        const struct key *k = keytab_find(d->keys, str_from(s->name));

        json_object_set_new(o, "name",
                            k ? json_text(k->spec.name) : json_null());
        key_unref(k);
    }
    return o;
}

static bool usage_times(const json_t *args, struct usage_query *q,
                        struct buf *why)
{
    struct str since = args_str(args, "since"), until = args_str(args, "until");
    int64_t now_ms;

    clock_update();
    now_ms = (int64_t)clock_wall_ms();
    if (since.len > 0 &&
        !args_time_ms(since, now_ms, true, &q->since_wall_ms)) {
        control_fail(why,
                     "since '%.*s' is no time; write e.g. 7d or "
                     "2026-11-01",
                     STR_ARG(since));
        return false;
    }
    if (until.len > 0 &&
        !args_time_ms(until, now_ms, true, &q->until_wall_ms)) {
        control_fail(why,
                     "until '%.*s' is no time; write e.g. 1d or "
                     "2026-11-21",
                     STR_ARG(until));
        return false;
    }
    if (until.len > 0 && q->until_wall_ms <= 0)
        q->until_wall_ms = 1; /* 0 would mean no end */
    return true;
}

static json_t *usage_answer(struct daemon *d, const struct usage_query *q,
                            struct buf *why)
{
    struct usage_report r = {0};
    json_t *list;

    if (ledger_usage(d->ledger, q, &r) != ERR_OK)
        return control_fail(why, "the ledger cannot be read; see the log");
    list = json_array();
    for (size_t i = 0; i < r.n_sums; i++)
        json_array_append_new(list, sum_json(d, &r.sums[i], q->by));
    usage_report_fini(&r);
    return json_pack("{s:o, s:b, s:b}", "data", list, "rounded", r.rounded,
                     "behind", r.behind);
}

json_t *control_usage(struct daemon *d, const json_t *args, struct buf *why)
{
    struct usage_query q = {.team = args_str(args, "team")};
    struct str ref = args_str(args, "key");
    const struct key *k = NULL;
    json_t *data;

    if (!usage_by(args_str(args, "by"), &q.by))
        return control_fail(why, "by must be key, team, model, day or target");
    if (!usage_times(args, &q, why))
        return NULL;
    if (ref.len > 0) {
        k = keytab_find(d->keys, ref);
        q.key_id = k ? k->id : ref;
        /* The rows of a deleted key, and of everybody, go by their id. */
        if (!k && !str_starts(ref, STR("key_")) &&
            !str_eq(ref, STR("anonymous")))
            return control_fail(why, "no such key; name a deleted one by its "
                                     "id");
    }
    data = usage_answer(d, &q, why);
    key_unref(k);
    return data;
}

/* ---- ledger ------------------------------------------------------------ */

json_t *control_ledger_verify(struct daemon *d, const json_t *args,
                              struct buf *why)
{
    struct buf report;
    json_t *data = NULL;
    enum err e;

    (void)args;
    buf_init(&report, 64 * 1024);
    e = ledger_verify(d->ledger, &report);
    if (e == ERR_OK)
        data = json_pack("{s:b, s:o}", "ok", 1, "report",
                         json_text(buf_str(&report)));
    else if (report.len > 0)
        control_fail(why, "%.*s", STR_ARG(buf_str(&report)));
    else
        control_fail(why, "the ledger cannot be %s now; see the log",
                     e == ERR_LEDGER ? "written" : "read");
    buf_fini(&report);
    return data;
}

/* The classes that are priced apart, and what the price lacked. */
static void put_classes(json_t *o, const struct usage_row *r)
{
    static const struct {
        const char *name;
        enum row_tok kind;
    } kinds[] = {
        {"cache_write_tokens", ROW_TOK_CACHE_WRITE_5M},
        {"cache_write_1h_tokens", ROW_TOK_CACHE_WRITE_1H},
        {"reasoning_tokens", ROW_TOK_REASONING},
        {"audio_in_tokens", ROW_TOK_AUDIO_IN},
        {"audio_out_tokens", ROW_TOK_AUDIO_OUT},
    };

    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        json_object_set_new(o, kinds[i].name,
                            json_integer((json_int_t)r->tok[kinds[i].kind]));
    json_object_set_new(o, "estimated",
                        json_boolean((r->flags & ROW_ESTIMATED) != 0));
    json_object_set_new(o, "in_doubt",
                        json_boolean((r->flags & ROW_IN_DOUBT) != 0));
    json_object_set_new(o, "unpriced",
                        json_boolean((r->flags & ROW_UNPRICED) != 0));
    json_object_set_new(o, "stale_price",
                        json_boolean((r->flags & ROW_STALE_PRICE) != 0));
}

/* Where the reply came from, and what that saved upstream. */
static void put_cache(json_t *o, const struct usage_row *r)
{
    json_t *more =
        json_pack("{s:s, s:I, s:I, s:o}", "cache", row_cache_name(r->cache),
                  "saved_input_tokens", (json_int_t)r->saved_input_tok,
                  "saved_output_tokens", (json_int_t)r->saved_output_tok,
                  "saved_usd", usd_json(r->saved_nusd));

    json_object_update(o, more);
    json_decref(more);
}

static json_t *row_json(const struct usage_row *r)
{
    static const char *const sources[ROW_SOURCE_COUNT] = {
        "none", "upstream", "engine", "estimated"};
    json_t *o = json_pack(
        "{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:i, s:i}", "id",
        json_text(r->id), "time", json_time(r->time_wall_ms), "budget_time",
        json_time(r->budget_ms), "key", json_text(r->key_id), "team",
        js_or_null(r->team), "endpoint", json_text(r->endpoint), "model",
        js_or_null(r->model), "target", js_or_null(r->target), "target_model",
        js_or_null(r->target_model), "status", (int)r->status, "attempts",
        (int)r->attempts);
    json_t *more = json_pack(
        "{s:b, s:b, s:b, s:s, s:I, s:I, s:I, s:I, s:o, s:I, s:I, s:I, s:I, "
        "s:o, s:o}",
        "stream", (r->flags & ROW_STREAM) != 0, "client_gone",
        (r->flags & ROW_CLIENT_GONE) != 0, "incomplete",
        (r->flags & ROW_INCOMPLETE) != 0, "usage_source",
        sources[r->usage_source < ROW_SOURCE_COUNT ? r->usage_source : 0],
        "input_tokens", (json_int_t)row_input_tokens(r->tok), "cached_tokens",
        (json_int_t)r->tok[ROW_TOK_CACHE_READ], "output_tokens",
        (json_int_t)row_output_tokens(r->tok), "audio_ms",
        (json_int_t)r->audio_ms, "cost_usd", usd_json(r->cost_nusd), "ms_total",
        (json_int_t)r->ms_total, "ms_first_byte", (json_int_t)r->ms_first_byte,
        "bytes_in", (json_int_t)r->bytes_in, "bytes_out",
        (json_int_t)r->bytes_out, "finish", js_or_null(r->finish), "reason",
        js_or_null(r->reason));

    json_object_update(o, more);
    json_decref(more);
    put_classes(o, r);
    put_cache(o, r);
    json_object_set_new(o, "parent", js_or_null(r->parent));
    return o;
}

/* A page of rows in the making. */
struct export
{
    json_t *list;
    int64_t after_ms; /* time and id of the last row of the page before */
    struct str after; /* empty for the first page */
    int64_t last_ms;  /* of the last row in <list> */
    char last[ROW_ID_LEN + 1];
};

static enum err export_row(void *arg, const struct usage_row *row)
{
    struct export *e = arg;

    /* Rows of the same time stand in the order of their ids. */
    if (row->time_wall_ms == e->after_ms && e->after.len == row->id.len &&
        memcmp(row->id.p, e->after.p, row->id.len) <= 0)
        return ERR_OK;
    if (json_array_size(e->list) >= EXPORT_ROWS)
        return ERR_FULL;
    json_array_append_new(e->list, row_json(row));
    e->last_ms = row->time_wall_ms;
    snprintf(e->last, sizeof(e->last), "%.*s", STR_ARG(row->id));
    return ERR_OK;
}

/* Where to go on: "TIME/ID", as control_ledger_export() gave it. */
static bool export_after(struct export *e, struct str text)
{
    size_t slash = str_find_char(text, '/');
    uint64_t ms;

    if (text.len == 0)
        return true;
    e->after = str_skip(text, slash + 1);
    if (!str_to_u64(str_of(text.p, slash), &ms) || ms > INT64_MAX ||
        e->after.len != ROW_ID_LEN)
        return false;
    e->after_ms = (int64_t)ms;
    return true;
}

json_t *control_ledger_export(struct daemon *d, const json_t *args,
                              struct buf *why)
{
    struct usage_query q = {.by = USAGE_BY_NONE};
    struct export x = {.after_ms = -1};
    json_t *next = json_null();
    char text[64];
    enum err e;

    if (!usage_times(args, &q, why))
        return NULL;
    if (!export_after(&x, args_str(args, "after")))
        return control_fail(why, "after is no place in the ledger");
    if (q.since_wall_ms < x.after_ms)
        q.since_wall_ms = x.after_ms;
    x.list = json_array();
    e = ledger_export(d->ledger, q.since_wall_ms, q.until_wall_ms, export_row,
                      &x);
    if (e != ERR_OK && e != ERR_FULL) {
        json_decref(x.list);
        return control_fail(why, "the ledger cannot be %s now; see the log",
                            e == ERR_LEDGER ? "written" : "read");
    }
    if (e == ERR_FULL) {
        snprintf(text, sizeof(text), "%" PRId64 "/%s", x.last_ms, x.last);
        next = json_string(text);
    }
    return json_pack("{s:o, s:o}", "data", x.list, "next", next);
}

/* Legs of a request in the making. */
struct legs {
    json_t *list;
    struct str parent;
};

static enum err add_leg(void *arg, const struct usage_row *row)
{
    struct legs *l = arg;

    if (str_eq(row->parent, l->parent))
        json_array_append_new(l->list, row_json(row));
    return ERR_OK;
}

/* The row of a request with those of its legs, which stand at its time. */
static json_t *request_json(struct daemon *d, const struct usage_row *row)
{
    struct legs l = {.list = json_array(), .parent = row->id};
    json_t *o = row_json(row);

    if (ledger_export(d->ledger, row->time_wall_ms, row->time_wall_ms + 1,
                      add_leg, &l) == ERR_OK)
        json_object_set(o, "legs", l.list);
    json_decref(l.list);
    return o;
}

json_t *control_request_show(struct daemon *d, const json_t *args,
                             struct buf *why)
{
    struct usage_row row;
    struct buf room;
    struct str id;
    json_t *data = NULL;

    if (!args_need(args, "id", &id, why))
        return NULL;
    buf_init(&room, 64 * 1024);
    if (ledger_flush(d->ledger) == ERR_OK &&
        ledger_row_find(d->ledger, id, &room, &row) == ERR_OK)
        data = request_json(d, &row);
    buf_fini(&room);
    return data ? data
                : control_fail(why, "no row of that id; a request has one "
                                    "when it is over, unless a limit or a "
                                    "budget refused it");
}
