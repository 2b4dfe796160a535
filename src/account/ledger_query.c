/* ledger_query.c - Questions to the ledger. Whole days are answered from the
 * counters, the days that an end of the range cuts from their rows. Reads in
 * short transactions, so that the writer can reuse pages and grow the map. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "account/ledger_priv.h"

static enum err nothing(struct txn *t, struct wjob *job)
{
    (void)t;
    (void)job; /* jobs run once all that was put before is pulled */
    return ERR_OK;
}

enum err ledger_flush(struct ledger *l)
{
    struct wjob job = {.run = nothing};

    return writer_call(l->writer, &job);
}

/* A sum under way. */
struct ask {
    const struct usage_query *q;
    struct tally_map groups;
    int64_t since, until;
    uint32_t cut_first, cut_last; /* days summed from rows; NO_DAY: none */
};

/* No day at all. */
#define NO_DAY UINT32_MAX

static size_t day_name(uint32_t day, char *out, size_t room)
{
    const time_t at = (time_t)day * (TALLY_DAY_MS / 1000);
    struct tm tm;

    if (!gmtime_r(&at, &tm))
        return 0;
    return strftime(out, room, "%Y-%m-%d", &tm);
}

static struct str group_of(const struct ask *a, const struct tally_key *k,
                           char *room, size_t room_len)
{
    int n;

    switch (a->q->by) {
    case USAGE_BY_KEY:
        return k->key_id;
    case USAGE_BY_TEAM:
        return k->team;
    case USAGE_BY_MODEL:
        return k->model;
    case USAGE_BY_DAY:
        return str_of(room, day_name(k->day, room, room_len));
    case USAGE_BY_TARGET:
        n = snprintf(room, room_len, "%.*s%s%.*s", STR_ARG(k->target),
                     k->target_model.len ? "/" : "", STR_ARG(k->target_model));
        return str_of(room, n < 0 ? 0 : (size_t)n);
    case USAGE_BY_NONE:
    case USAGE_BY_COUNT:
        break;
    }
    return (struct str){"", 0};
}

static enum err ask_add(struct ask *a, const struct tally_key *k,
                        const struct tally *sum)
{
    char room[ROW_TARGET_MAX + ROW_MODEL_MAX + 2];

    if (a->q->key_id.len > 0 && !str_eq(a->q->key_id, k->key_id))
        return ERR_OK;
    if (a->q->team.len > 0 && !str_eq(a->q->team, k->team))
        return ERR_OK;
    struct tally *to =
        tally_map_at(&a->groups, group_of(a, k, room, sizeof(room)));
    if (!to)
        return ERR_NOMEM;
    tally_add(to, sum);
    return ERR_OK;
}

static enum err ask_counter(void *arg, const struct tally_key *key,
                            const struct tally *sum)
{
    struct ask *a = arg;

    if (key->day == a->cut_first || key->day == a->cut_last)
        return ERR_OK;
    return ask_add(a, key, sum);
}

static enum err ask_row(void *arg, const struct usage_row *row)
{
    const struct tally_key key = tally_key_of(row);
    struct tally one = {0};

    tally_add_row(&one, row);
    return ask_add(arg, &key, &one);
}

/* Sum the rows of <day> that the range takes. */
static enum err ask_day(struct ledger *l, struct ask *a, uint32_t day)
{
    int64_t from = (int64_t)day * TALLY_DAY_MS;
    int64_t to = from + TALLY_DAY_MS;

    if (from < a->since)
        from = a->since;
    if (to > a->until)
        to = a->until;
    return ldb_rows_read(l->db, from, to, ask_row, a);
}

/* What the database holds, which decides how the ends are read. */
struct extent {
    uint32_t whole_from; /* first day of which every row is there */
    int64_t newest;      /* time of the newest row; 0: no rows */
};

static enum err read_extent(struct ledger *l, struct extent *e)
{
    struct txn t;
    enum err err = txn_begin_read(ldb_env(l->db), &t);

    if (err != ERR_OK)
        return err;
    err = ldb_whole_from_day(&t, &e->whole_from);
    if (err == ERR_OK)
        err = ldb_newest_row(&t, &e->newest);
    txn_end(&t);
    return err == ERR_NOT_FOUND ? ERR_OK : err;
}

/* Choose the days that rows must answer; *rounded when they cannot. */
static void choose_cuts(struct ask *a, const struct extent *e, bool *rounded)
{
    const uint32_t first = tally_day(a->since);
    const uint32_t last = tally_day(a->until - 1);

    a->cut_first = NO_DAY;
    a->cut_last = NO_DAY;
    if (a->since > 0 && a->since % TALLY_DAY_MS != 0)
        a->cut_first = first;
    if (a->until % TALLY_DAY_MS != 0 && a->until <= e->newest)
        a->cut_last = last;
    if (a->cut_first != NO_DAY && a->cut_first < e->whole_from) {
        a->cut_first = NO_DAY;
        *rounded = true;
    }
    if (a->cut_last != NO_DAY && a->cut_last < e->whole_from) {
        a->cut_last = NO_DAY;
        *rounded = true;
    }
    if (a->cut_last == a->cut_first)
        a->cut_last = NO_DAY;
}

static int by_name(const void *a, const void *b)
{
    const struct usage_sum *x = a;
    const struct usage_sum *y = b;

    return strcmp(x->name, y->name);
}

static enum err make_report(const struct tally_map *groups,
                            struct usage_report *r)
{
    r->sums = calloc(groups->n ? groups->n : 1, sizeof(*r->sums));
    if (!r->sums)
        return ERR_NOMEM;
    for (const struct tally_item *it = tally_map_next(groups, NULL); it;
         it = tally_map_next(groups, it)) {
        struct usage_sum *s = &r->sums[r->n_sums++];
        const size_t len =
            it->name_len < sizeof(s->name) ? it->name_len : sizeof(s->name) - 1;

        memcpy(s->name, it->name, len);
        s->requests = it->sum.requests;
        s->errors = it->sum.errors;
        memcpy(s->tok, it->sum.tok, sizeof(s->tok));
        s->cost_nusd = it->sum.cost_nusd;
        s->ms_total = it->sum.ms_total;
        s->estimated = it->sum.estimated;
        s->unpriced = it->sum.unpriced;
        s->stale_price = it->sum.stale_price;
        s->legs = it->sum.legs;
        s->misses = it->sum.misses;
        s->hits = it->sum.hits;
        s->joined = it->sum.joined;
        s->saved_input_tok = it->sum.saved_input_tok;
        s->saved_output_tok = it->sum.saved_output_tok;
        s->saved_nusd = it->sum.saved_nusd;
    }
    qsort(r->sums, r->n_sums, sizeof(*r->sums), by_name);
    return ERR_OK;
}

enum err ledger_usage(struct ledger *l, const struct usage_query *q,
                      struct usage_report *report_out)
{
    struct usage_report r = {.behind = ledger_flush(l) != ERR_OK};
    struct ask a = {.q = q,
                    .since = q->since_wall_ms < 0 ? 0 : q->since_wall_ms,
                    .until = q->until_wall_ms ? q->until_wall_ms : INT64_MAX};
    struct extent e = {0};
    enum err err = ERR_OK;

    if (a.until > a.since) {
        err = read_extent(l, &e);
        choose_cuts(&a, &e, &r.rounded);
        if (err == ERR_OK)
            err = ldb_counters_read(l->db, tally_day(a.since),
                                    tally_day(a.until - 1), ask_counter, &a);
        if (err == ERR_OK && a.cut_first != NO_DAY)
            err = ask_day(l, &a, a.cut_first);
        if (err == ERR_OK && a.cut_last != NO_DAY)
            err = ask_day(l, &a, a.cut_last);
    }
    if (err == ERR_OK)
        err = make_report(&a.groups, &r);
    tally_map_fini(&a.groups);
    if (err == ERR_OK)
        *report_out = r;
    return err;
}

void usage_report_fini(struct usage_report *r)
{
    free(r->sums);
    *r = (struct usage_report){0};
}

enum err ledger_row_find(struct ledger *l, struct str id, struct buf *room,
                         struct usage_row *row_out)
{
    const enum err err = ldb_row_find(l->db, id, room, row_out);

    if (err != ERR_NOT_FOUND)
        return err;
    const enum err flushed = ledger_flush(l);
    if (flushed != ERR_OK)
        return flushed;
    return ldb_row_find(l->db, id, room, row_out);
}

enum err ledger_export(struct ledger *l, int64_t since_wall_ms,
                       int64_t until_wall_ms, ledger_row_fn *fn, void *arg)
{
    const enum err err = ledger_flush(l);

    if (err != ERR_OK)
        return err;
    return ldb_rows_read(l->db, since_wall_ms,
                         until_wall_ms ? until_wall_ms : INT64_MAX, fn, arg);
}
