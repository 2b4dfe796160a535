/* metrics.c - Sums on read. Entries of the workers' series are merged by
 * label into one table of this call, so that each series appears once. */
#include "settle/metrics.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "account/price.h"
#include "settle/series.h"

/* Buckets are cumulative, so leaving some out only makes them coarser: steps of
 * four are enough for dashboards and halve what is scraped. */
#define HIST_PRINT_EVERY 2

static const struct {
    const char *name;
    const char *help;
} counters[STAT_COUNT] = {
#define METRICS_ROW(id, name, help) [STAT_##id] = {name, help},
    STATS_COUNTERS(METRICS_ROW)
#undef METRICS_ROW
};

static enum err put_meta(struct buf *out, const char *name, const char *type,
                         const char *help)
{
    return buf_printf(out, "# HELP tollgate_%s %s.\n# TYPE tollgate_%s %s\n",
                      name, help, name, type);
}

enum err metrics_put_one(struct buf *out, const char *name, const char *type,
                         const char *help, uint64_t value)
{
    enum err e = put_meta(out, name, type, help);

    if (e != ERR_OK)
        return e;
    return buf_printf(out, "tollgate_%s %" PRIu64 "\n", name, value);
}

/* ---- merging ----------------------------------------------------------- */

static void hist_merge(struct hist *to, const struct hist *from)
{
    for (unsigned i = 0; i < HIST_BUCKETS; i++)
        stat_bump(&to->bucket[i], stat_read(&from->bucket[i]));
    stat_bump(&to->sum_us, stat_read(&from->sum_us));
    stat_bump(&to->count, stat_read(&from->count));
}

static void series_merge(struct series *to, const struct series *from)
{
    for (unsigned i = 0; i < from->n_statuses; i++) {
        unsigned k = 0;

        while (k < to->n_statuses && to->status[k] != from->status[i])
            k++;
        if (k == SERIES_STATUSES)
            k--;
        if (k == to->n_statuses)
            to->status[to->n_statuses++] = from->status[i];
        to->requests[k] += from->requests[i];
    }
    hist_merge(&to->seconds, &from->seconds);
    hist_merge(&to->overhead, &from->overhead);
    hist_merge(&to->first_byte, &from->first_byte);
    to->tok_input += from->tok_input;
    to->tok_cached += from->tok_cached;
    to->tok_output += from->tok_output;
    if (__builtin_add_overflow(to->cost_nusd, from->cost_nusd, &to->cost_nusd))
        to->cost_nusd = INT64_MAX;
    to->unpriced += from->unpriced;
    to->stale_price += from->stale_price;
    to->hits += from->hits;
    to->misses += from->misses;
    to->joined += from->joined;
    to->saved_tok += from->saved_tok;
    if (__builtin_add_overflow(to->saved_nusd, from->saved_nusd,
                               &to->saved_nusd))
        to->saved_nusd = INT64_MAX;
}

static enum err merge_into(struct series_table *sum, const struct series *s)
{
    struct str key = str_of(s->key, s->key_len);
    struct series *to = series_at(sum, key, s->model.len);

    if (!to)
        return ERR_NOMEM;
    series_merge(to, s);
    return ERR_OK;
}

static enum err merge_worker(struct series_table *sum, struct series_table *t)
{
    struct series *s, *next;
    enum err e = ERR_OK;

    if (!t)
        return ERR_OK;
    pthread_mutex_lock(&t->lock);
    HASH_ITER(hh, t->map, s, next)
    {
        if (e == ERR_OK)
            e = merge_into(sum, s);
    }
    pthread_mutex_unlock(&t->lock);
    return e;
}

/* ---- printing ---------------------------------------------------------- */

/* Append a label's value: backslash, quote and newline escaped. */
static enum err put_label(struct buf *out, const char *name, struct str v)
{
    enum err e = buf_printf(out, "%s=\"", name);

    for (size_t i = 0; i < v.len && e == ERR_OK; i++) {
        char c = v.p[i];

        if (c == '\\' || c == '"')
            e = buf_printf(out, "\\%c", c);
        else if (c == '\n')
            e = buf_put(out, "\\n", 2);
        else
            e = buf_put(out, &c, 1);
    }
    return e == ERR_OK ? buf_put(out, "\"", 1) : e;
}

static enum err put_labels(struct buf *out, const struct series *s)
{
    enum err e = put_label(out, "model", s->model);

    if (e == ERR_OK)
        e = buf_put(out, ",", 1);
    return e == ERR_OK ? put_label(out, "target", s->target) : e;
}

/* One sample line of <s>: name, labels, further labels, value. */
static enum err put_sample(struct buf *out, const struct series *s,
                           const char *name, const char *more, uint64_t value)
{
    enum err e = buf_printf(out, "tollgate_%s{", name);

    if (e == ERR_OK)
        e = put_labels(out, s);
    if (e == ERR_OK)
        e = buf_printf(out, "%s} %" PRIu64 "\n", more, value);
    return e;
}

static enum err put_requests(struct buf *out, struct series_table *sum)
{
    enum err e = put_meta(out, "requests_total", "counter",
                          "Requests by model, target and status");
    struct series *s, *next;
    char more[32];

    HASH_ITER(hh, sum->map, s, next)
    {
        for (unsigned i = 0; i < s->n_statuses && e == ERR_OK; i++) {
            snprintf(more, sizeof(more), ",status=\"%u\"", s->status[i]);
            e = put_sample(out, s, "requests_total", more, s->requests[i]);
        }
    }
    return e;
}

static enum err put_tokens(struct buf *out, struct series_table *sum)
{
    enum err e = put_meta(out, "tokens_total", "counter",
                          "Tokens by model, target and kind");
    struct series *s, *next;

    HASH_ITER(hh, sum->map, s, next)
    {
        if (e == ERR_OK)
            e = put_sample(out, s, "tokens_total", ",kind=\"input\"",
                           s->tok_input);
        if (e == ERR_OK)
            e = put_sample(out, s, "tokens_total", ",kind=\"cached\"",
                           s->tok_cached);
        if (e == ERR_OK)
            e = put_sample(out, s, "tokens_total", ",kind=\"output\"",
                           s->tok_output);
    }
    return e;
}

/* One amount of money of each series, <nusd> its offset in struct series. */
static enum err put_usd(struct buf *out, struct series_table *sum,
                        const char *name, const char *help, size_t nusd)
{
    enum err e = put_meta(out, name, "counter", help);
    struct series *s, *next;
    char usd[PRICE_USD_SIZE];

    HASH_ITER(hh, sum->map, s, next)
    {
        int64_t v;

        memcpy(&v, (const char *)s + nusd, sizeof(v));
        if (e == ERR_OK)
            e = buf_printf(out, "tollgate_%s{", name);
        if (e == ERR_OK)
            e = put_labels(out, s);
        if (e == ERR_OK)
            e = buf_printf(out, "} %.*s\n", STR_ARG(price_print_usd(v, usd)));
    }
    return e;
}

static enum err put_cost(struct buf *out, struct series_table *sum)
{
    return put_usd(out, sum, "cost_usd_total",
                   "Cost in US dollars by model and target",
                   offsetof(struct series, cost_nusd));
}

/* What came from the cache, or another request's call. */
static enum err put_cache(struct buf *out, struct series_table *sum)
{
    static const struct {
        const char *name, *help;
        size_t at;
    } counts[] = {
        {"cache_hits_total", "Requests that a stored reply answered",
         offsetof(struct series, hits)},
        {"cache_misses_total",
         "Requests whose reply may be stored or shared, and was not there",
         offsetof(struct series, misses)},
        {"coalesced_total", "Requests that the call of another one answered",
         offsetof(struct series, joined)},
        {"cache_saved_tokens_total",
         "Tokens that hits and shared calls did not ask of anybody",
         offsetof(struct series, saved_tok)},
    };
    enum err e = ERR_OK;
    struct series *s, *next;

    for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
        if (e == ERR_OK)
            e = put_meta(out, counts[i].name, "counter", counts[i].help);
        HASH_ITER(hh, sum->map, s, next)
        {
            uint64_t v;

            memcpy(&v, (const char *)s + counts[i].at, sizeof(v));
            if (e == ERR_OK)
                e = put_sample(out, s, counts[i].name, "", v);
        }
    }
    return e == ERR_OK ? put_usd(out, sum, "cache_saved_cost_usd_total",
                                 "US dollars that they did not cost there",
                                 offsetof(struct series, saved_nusd))
                       : e;
}

/* Requests whose cost is not to be relied on. */
static enum err put_price_marks(struct buf *out, struct series_table *sum)
{
    enum err e = put_meta(out, "unpriced_requests_total", "counter",
                          "Requests that had no price for all they used");
    struct series *s, *next;

    HASH_ITER(hh, sum->map, s, next)
    {
        if (e == ERR_OK && s->unpriced > 0)
            e = put_sample(out, s, "unpriced_requests_total", "", s->unpriced);
    }
    if (e == ERR_OK)
        e = put_meta(out, "stale_price_requests_total", "counter",
                     "Requests charged by a stale price");
    HASH_ITER(hh, sum->map, s, next)
    {
        if (e == ERR_OK && s->stale_price > 0)
            e = put_sample(out, s, "stale_price_requests_total", "",
                           s->stale_price);
    }
    return e;
}

/* The lines of one histogram. <labels> is printed inside the braces. */
static enum err put_hist(struct buf *out, const char *name, struct str labels,
                         const struct hist *h)
{
    const char *comma = labels.len > 0 ? "," : "";
    uint64_t below = 0, count = stat_read(&h->count);
    enum err e = ERR_OK;

    for (unsigned i = 0; i + 1 < HIST_BUCKETS && e == ERR_OK; i++) {
        below += stat_read(&h->bucket[i]);
        e = buf_printf(
            out, "tollgate_%s_bucket{%.*s%sle=\"%.6g\"} %" PRIu64 "\n", name,
            STR_ARG(labels), comma, (double)hist_bound_us(i) / 1e6, below);
    }
    if (e == ERR_OK)
        e = buf_printf(out,
                       "tollgate_%s_bucket{%.*s%sle=\"+Inf\"} %" PRIu64 "\n"
                       "tollgate_%s_sum{%.*s} %.6f\n"
                       "tollgate_%s_count{%.*s} %" PRIu64 "\n",
                       name, STR_ARG(labels), comma, count, name,
                       STR_ARG(labels), (double)stat_read(&h->sum_us) / 1e6,
                       name, STR_ARG(labels), count);
    return e;
}

enum which_hist { HIST_SECONDS = 0, HIST_OVERHEAD, HIST_FIRST_BYTE };

static const struct hist *hist_of(const struct series *s, enum which_hist w)
{
    if (w == HIST_SECONDS)
        return &s->seconds;
    return w == HIST_OVERHEAD ? &s->overhead : &s->first_byte;
}

static enum err put_hists(struct buf *out, struct series_table *sum,
                          const char *name, const char *help,
                          enum which_hist which)
{
    enum err e = put_meta(out, name, "histogram", help);
    struct series *s, *next;
    struct buf labels;

    buf_init(&labels, 2048);
    HASH_ITER(hh, sum->map, s, next)
    {
        buf_clear(&labels);
        if (e == ERR_OK && stat_read(&hist_of(s, which)->count) > 0) {
            e = put_labels(&labels, s);
            if (e == ERR_OK)
                e = put_hist(out, name, buf_str(&labels), hist_of(s, which));
        }
    }
    buf_fini(&labels);
    return e;
}

static enum err put_series(struct buf *out, struct series_table *sum)
{
    enum err e = put_requests(out, sum);

    if (e == ERR_OK)
        e = put_tokens(out, sum);
    if (e == ERR_OK)
        e = put_cost(out, sum);
    if (e == ERR_OK)
        e = put_price_marks(out, sum);
    if (e == ERR_OK)
        e = put_cache(out, sum);
    if (e == ERR_OK)
        e = put_hists(out, sum, "request_seconds", "Whole requests",
                      HIST_SECONDS);
    if (e == ERR_OK)
        e = put_hists(out, sum, "overhead_seconds",
                      "Time from the request's head to the upstream's turn",
                      HIST_OVERHEAD);
    if (e == ERR_OK)
        e = put_hists(out, sum, "time_to_first_token_seconds",
                      "Time to the first byte of the reply", HIST_FIRST_BYTE);
    return e;
}

static enum err put_gauges(struct stats *const *stats, unsigned n,
                           struct buf *out)
{
    int64_t conns = 0, in_flight = 0, buffered = 0;
    enum err e;

    for (unsigned i = 0; i < n; i++) {
        conns += stat_level(&stats[i]->conns);
        in_flight += stat_level(&stats[i]->in_flight);
        buffered += stat_level(&stats[i]->buffered_bytes);
    }
    e = metrics_put_one(out, "connections", "gauge", "Open client connections",
                        (uint64_t)conns);
    if (e == ERR_OK)
        e = metrics_put_one(out, "in_flight", "gauge", "Requests under way",
                            (uint64_t)in_flight);
    if (e == ERR_OK)
        e = metrics_put_one(out, "buffered_bytes", "gauge",
                            "Request body bytes held in memory",
                            (uint64_t)buffered);
    return e;
}

static enum err put_loops(struct stats *const *stats, unsigned n,
                          struct buf *out)
{
    struct hist inter = {.count = 0};
    struct hist delay = {.count = 0};
    enum err e;

    for (unsigned i = 0; i < n; i++) {
        hist_merge(&inter, &stats[i]->inter_token);
        hist_merge(&delay, &stats[i]->loop_delay);
    }
    e = put_meta(out, "inter_token_seconds", "histogram",
                 "Time between events of a stream");
    if (e == ERR_OK)
        e = put_hist(out, "inter_token_seconds", STR(""), &inter);
    if (e == ERR_OK)
        e = put_meta(out, "loop_delay_seconds", "histogram",
                     "How late the event loops were, ten times a second");
    return e == ERR_OK ? put_hist(out, "loop_delay_seconds", STR(""), &delay)
                       : e;
}

static enum err put_refusals(struct stats *const *stats, unsigned n,
                             struct buf *out)
{
    static const char *const kinds[RATE_KIND_COUNT] = {
        [RATE_REQUESTS] = "requests",
        [RATE_TOKENS] = "tokens",
        [RATE_PARALLEL] = "parallel",
    };
    enum err e = put_meta(out, "rate_refusals_total", "counter",
                          "Requests refused at a limit of their key or team");

    for (unsigned k = 0; k < RATE_KIND_COUNT && e == ERR_OK; k++) {
        uint64_t sum = 0;

        for (unsigned i = 0; i < n; i++)
            sum += stat_read(&stats[i]->rate_refused[k]);
        e = buf_printf(
            out, "tollgate_rate_refusals_total{kind=\"%s\"} %" PRIu64 "\n",
            kinds[k], sum);
    }
    return e;
}

/* One line of a family that is by budget. */
static enum err put_budget(struct buf *out, const char *name, bool is_team,
                           const struct budget_spec *b, uint64_t value)
{
    return buf_printf(out,
                      "tollgate_%s{owner=\"%s\",unit=\"%s\",window=\"%s\"} "
                      "%" PRIu64 "\n",
                      name, is_team ? "team" : "key", budget_unit_name(b->unit),
                      budget_window_name(b->window), value);
}

/* A family by whose budget it was, its unit and its window: labels that no key
 * and no team names. Of so many kinds only those are told that were seen. <at>
 * is where its tally lies in struct stats. */
static enum err put_tally(struct stats *const *stats, unsigned n, size_t at,
                          const char *name, struct buf *out)
{
    const unsigned kinds = 2 * BUDGET_UNIT_COUNT * BUDGET_WINDOW_COUNT;
    enum err e = ERR_OK;

    for (unsigned k = 0; k < kinds && e == ERR_OK; k++) {
        const struct budget_spec b = {
            .window = (enum budget_window)(k % BUDGET_WINDOW_COUNT),
            .unit = (enum budget_unit)(k / BUDGET_WINDOW_COUNT %
                                       BUDGET_UNIT_COUNT)};
        const bool is_team =
            k >= (unsigned)BUDGET_UNIT_COUNT * BUDGET_WINDOW_COUNT;
        uint64_t sum = 0;

        for (unsigned i = 0; i < n; i++) {
            const struct budget_tally *t =
                (const void *)((const char *)stats[i] + at);

            sum += stat_read(&t->of[is_team][b.unit][b.window]);
        }
        if (sum > 0)
            e = put_budget(out, name, is_team, &b, sum);
    }
    return e;
}

static enum err put_budgets(struct stats *const *stats, unsigned n,
                            struct buf *out)
{
    enum err e = put_meta(out, "budget_refusals_total", "counter",
                          "Requests refused as they did not fit a hard budget");

    if (e == ERR_OK)
        e = put_tally(stats, n, offsetof(struct stats, budget_refused),
                      "budget_refusals_total", out);
    if (e == ERR_OK)
        e = put_meta(out, "budget_warnings_total", "counter",
                     "Replies that told of a soft budget that is passed");
    if (e == ERR_OK)
        e = put_tally(stats, n, offsetof(struct stats, budget_warned),
                      "budget_warnings_total", out);
    return e;
}

static enum err put_plain(struct stats *const *stats, unsigned n,
                          struct buf *out)
{
    enum err e = ERR_OK;

    for (unsigned c = 0; c < STAT_COUNT && e == ERR_OK; c++) {
        uint64_t sum = 0;

        for (unsigned i = 0; i < n; i++)
            sum += stat_read(&stats[i]->counter[c]);
        e = metrics_put_one(out, counters[c].name, "counter", counters[c].help,
                            sum);
    }
    return e == ERR_OK ? put_loops(stats, n, out) : e;
}

enum err metrics_put(struct stats *const *stats, unsigned n, struct buf *out)
{
    struct series_table *sum = series_table_new();
    enum err e = sum ? ERR_OK : ERR_NOMEM;

    for (unsigned i = 0; i < n && e == ERR_OK; i++)
        e = merge_worker(sum, stats[i]->series);
    if (e == ERR_OK)
        e = put_plain(stats, n, out);
    if (e == ERR_OK)
        e = put_refusals(stats, n, out);
    if (e == ERR_OK)
        e = put_budgets(stats, n, out);
    if (e == ERR_OK)
        e = put_gauges(stats, n, out);
    if (e == ERR_OK)
        e = put_series(out, sum);
    series_table_free(sum);
    return e;
}
