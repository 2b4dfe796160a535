/* status_prefix.c - See status_prefix.h. One table of numbers, from which the
 * metrics are made; rows of one family stand together. */
#include "daemon/status_prefix.h"

#include <inttypes.h>
#include <stddef.h>
#include <string.h>

#include "engine/engine.h"

/* How a number is kept and shown. */
enum unit {
    UNIT_COUNT = 0, /* uint64_t */
    UNIT_US,        /* uint64_t, shown in seconds */
    UNIT_RATE,      /* double */
    UNIT_MISSES,    /* lookups less hits */
    UNIT_READ,      /* evicted less unused */
    UNIT_ON,        /* prefix_on */
    UNIT_DEVICE,    /* cached tokens less those of the store */
    UNIT_STORE,     /* tokens of the store */
    UNIT_COMPUTED,  /* prompt tokens less cached ones */
};

/* One sample of a family. */
struct sample {
    const char *name; /* of the sample, without "tollgate_" */
    const char *type; /* of the family that begins here; NULL: goes on */
    const char *help;
    const char *label; /* after the model's, or "" */
    enum unit unit;
    size_t off; /* in struct kvswap_stats */
};

#define AT(f) offsetof(struct kvswap_stats, f)

/* clang-format off */
static const struct sample samples[] = {
{"prefix_tokens_total", "counter",
 "Prompt tokens by where their keys and values came from",
 ",source=\"device\"", UNIT_DEVICE, 0},
{"prefix_tokens_total", NULL, NULL, ",source=\"store\"", UNIT_STORE, 0},
{"prefix_tokens_total", NULL, NULL, ",source=\"computed\"", UNIT_COMPUTED, 0},
{"prefix_store_up", "gauge", "Whether prefixes are kept on disk", "",
 UNIT_ON, 0},
{"prefix_store_bytes", "gauge", "Disk space taken", "", UNIT_COUNT, AT(bytes)},
{"prefix_store_max_bytes", "gauge", "Disk space that may be taken", "",
 UNIT_COUNT, AT(max_bytes)},
{"prefix_store_pages", "gauge", "Pages stored", "", UNIT_COUNT, AT(pages)},
{"prefix_store_max_pages", "gauge", "Pages that may be stored", "",
 UNIT_COUNT, AT(max_pages)},
{"prefix_queued_bytes", "gauge", "Pages in memory that wait to be stored", "",
 UNIT_COUNT, AT(queued_bytes)},
{"prefix_lookups_total", "counter", "Prompts looked for on disk",
 ",result=\"hit\"", UNIT_COUNT, AT(hits)},
{"prefix_lookups_total", NULL, NULL, ",result=\"miss\"", UNIT_MISSES, 0},
{"prefix_asked_tokens_total", "counter", "Prompt tokens looked for on disk",
 "", UNIT_COUNT, AT(asked_tokens)},
{"prefix_found_tokens_total", "counter", "Of them, those that were stored",
 "", UNIT_COUNT, AT(found_tokens)},
{"prefix_decisions_total", "counter",
 "Prompts found, by whether reading or computing was expected to be faster",
 ",decision=\"restore\"", UNIT_COUNT, AT(restores)},
{"prefix_decisions_total", NULL, NULL, ",decision=\"recompute\"", UNIT_COUNT,
 AT(recomputes)},
{"prefix_decided_tokens_total", "counter",
 "Tokens found, by whether they were read or computed",
 ",decision=\"restore\"", UNIT_COUNT, AT(restored_tokens)},
{"prefix_decided_tokens_total", NULL, NULL, ",decision=\"recompute\"",
 UNIT_COUNT, AT(recomputed_tokens)},
{"prefix_restore_seconds_sum", "summary", "Time of reading prefixes back", "",
 UNIT_US, AT(restored_us)},
{"prefix_restore_seconds_count", NULL, NULL, "", UNIT_COUNT, AT(restores)},
{"prefix_restored_bytes_total", "counter", "Bytes read back", "", UNIT_COUNT,
 AT(restored_bytes)},
{"prefix_restore_bytes_per_second", "gauge",
 "Measured rate of reading; 0 = not yet known", ",file_cache=\"warm\"",
 UNIT_RATE, AT(warm_bytes_s)},
{"prefix_restore_bytes_per_second", NULL, NULL, ",file_cache=\"cold\"",
 UNIT_RATE, AT(cold_bytes_s)},
{"prefix_saved_seconds_total", "counter",
 "Time of computing prompts that reading them back saved", "", UNIT_US,
 AT(saved_us)},
{"prefix_failed_pages_total", "counter",
 "Pages that were damaged: computed anew and dropped", "", UNIT_COUNT,
 AT(failed)},
{"prefix_stored_pages_total", "counter", "Pages written", "", UNIT_COUNT,
 AT(stored_pages)},
{"prefix_stored_bytes_total", "counter", "Bytes written", "", UNIT_COUNT,
 AT(stored_bytes)},
{"prefix_evicted_pages_total", "counter",
 "Pages given up for newer ones, by whether they had been read back",
 ",read=\"true\"", UNIT_READ, 0},
{"prefix_evicted_pages_total", NULL, NULL, ",read=\"false\"", UNIT_COUNT,
 AT(unused)},
{"prefix_dropped_pages_total", "counter", "Pages that were not stored",
 ",reason=\"queue\"", UNIT_COUNT, AT(dropped_queue)},
{"prefix_dropped_pages_total", NULL, NULL, ",reason=\"budget\"", UNIT_COUNT,
 AT(dropped_budget)},
{"prefix_dropped_pages_total", NULL, NULL, ",reason=\"admission\"",
 UNIT_COUNT, AT(dropped_admission)},
{"prefix_write_errors_total", "counter", "Transactions that failed", "",
 UNIT_COUNT, AT(write_errors)},
};
/* clang-format on */

#define N_SAMPLES (sizeof(samples) / sizeof(samples[0]))

static uint64_t less(uint64_t a, uint64_t b)
{
    return a > b ? a - b : 0;
}

static uint64_t count_of(const struct sample *s, const struct engine_view *v)
{
    uint64_t n;

    switch (s->unit) {
    case UNIT_MISSES:
        return less(v->prefix.lookups, v->prefix.hits);
    case UNIT_READ:
        return less(v->prefix.evicted, v->prefix.unused);
    case UNIT_ON:
        return v->prefix_on;
    case UNIT_DEVICE:
        return less(v->stats.cached_tokens, v->stats.store_tokens);
    case UNIT_STORE:
        return v->stats.store_tokens;
    case UNIT_COMPUTED:
        return less(v->stats.prompt_tokens, v->stats.cached_tokens);
    default:
        memcpy(&n, (const char *)&v->prefix + s->off, sizeof(n));
        return n;
    }
}

static enum err put_sample(struct buf *out, const struct sample *s,
                           const struct engine_view *v)
{
    uint64_t n = s->unit == UNIT_RATE ? 0 : count_of(s, v);
    double rate;

    ERR_TRY(buf_printf(out, "tollgate_%s{model=\"%.*s\"%s} ", s->name,
                       STR_ARG(v->name), s->label));
    if (s->unit == UNIT_US)
        return buf_printf(out, "%" PRIu64 ".%06" PRIu64 "\n", n / 1000000,
                          n % 1000000);
    if (s->unit != UNIT_RATE)
        return buf_printf(out, "%" PRIu64 "\n", n);
    memcpy(&rate, (const char *)&v->prefix + s->off, sizeof(rate));
    return buf_printf(out, "%.10g\n", rate);
}

/* A family is named without what its samples add: _sum and _count. */
static int family_len(const struct sample *s)
{
    size_t len = strlen(s->name);

    return (int)(strcmp(s->type, "summary") == 0 ? len - strlen("_sum") : len);
}

/* What put_family() shows. */
struct views {
    const struct engine_view *v; /* (n) */
    unsigned n;
};

/* The family of <n> samples that begins at <s>: for each model all of them. */
static enum err put_family(const struct views *views, struct buf *out,
                           const struct sample *s, size_t n)
{
    enum err e = buf_printf(out,
                            "# HELP tollgate_%.*s %s.\n"
                            "# TYPE tollgate_%.*s %s\n",
                            family_len(s), s->name, s->help, family_len(s),
                            s->name, s->type);

    for (unsigned i = 0; i < views->n; i++)
        for (size_t k = 0; e == ERR_OK && k < n; k++)
            e = put_sample(out, &s[k], &views->v[i]);
    return e;
}

enum err status_prefix_metrics(const struct engine_view *views, unsigned n,
                               struct buf *out)
{
    const struct views all = {views, n};
    enum err e = ERR_OK;
    size_t len;

    for (size_t i = 0; e == ERR_OK && i < N_SAMPLES; i += len) {
        len = 1;
        while (i + len < N_SAMPLES && !samples[i + len].type)
            len++;
        e = put_family(&all, out, &samples[i], len);
    }
    return e;
}

/* --- for tollctl --------------------------------------------------------- */

/* <a> of <b>, null where there is nothing to divide by. */
static json_t *ratio(double a, double b)
{
    return b > 0 ? json_real(a / b) : json_null();
}

static json_t *rate(double bytes_s)
{
    return bytes_s > 0 ? json_real(bytes_s) : json_null();
}

static json_t *sizes_json(const struct engine_view *v)
{
    const struct kvswap_stats *s = &v->prefix;

    return json_pack(
        "{s:b, s:o, s:o, s:I, s:I, s:I, s:I, s:I}", "on", v->prefix_on,
        "reason", v->prefix_why[0] ? json_string(v->prefix_why) : json_null(),
        "namespace", v->prefix_ns[0] ? json_string(v->prefix_ns) : json_null(),
        "bytes", (json_int_t)s->bytes, "max_bytes", (json_int_t)s->max_bytes,
        "pages", (json_int_t)s->pages, "max_pages", (json_int_t)s->max_pages,
        "queued_bytes", (json_int_t)s->queued_bytes);
}

static json_t *found_json(const struct kvswap_stats *s)
{
    const double restored_s = (double)s->restored_us / 1e6;

    return json_pack(
        "{s:I, s:I, s:o, s:I, s:I, s:o, s:I, s:I, s:I, s:I, s:I, s:f, s:o, "
        "s:o, s:o, s:f, s:I}",
        "lookups", (json_int_t)s->lookups, "hits", (json_int_t)s->hits,
        "hit_ratio", ratio((double)s->hits, (double)s->lookups), "asked_tokens",
        (json_int_t)s->asked_tokens, "found_tokens",
        (json_int_t)s->found_tokens, "token_hit_ratio",
        ratio((double)s->found_tokens, (double)s->asked_tokens),
        "restored_tokens", (json_int_t)s->restored_tokens, "recomputed_tokens",
        (json_int_t)s->recomputed_tokens, "restores", (json_int_t)s->restores,
        "recomputes", (json_int_t)s->recomputes, "restored_bytes",
        (json_int_t)s->restored_bytes, "restore_seconds", restored_s,
        "restore_bytes_per_second",
        ratio((double)s->restored_bytes, restored_s), "warm_bytes_per_second",
        rate(s->warm_bytes_s), "cold_bytes_per_second", rate(s->cold_bytes_s),
        "saved_seconds", (double)s->saved_us / 1e6, "failed_pages",
        (json_int_t)s->failed);
}

static json_t *written_json(const struct kvswap_stats *s)
{
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "stored_pages",
                     (json_int_t)s->stored_pages, "stored_bytes",
                     (json_int_t)s->stored_bytes, "evicted_pages",
                     (json_int_t)s->evicted, "evicted_unread_pages",
                     (json_int_t)s->unused, "dropped_queue_pages",
                     (json_int_t)s->dropped_queue, "dropped_budget_pages",
                     (json_int_t)s->dropped_budget, "dropped_admission_pages",
                     (json_int_t)s->dropped_admission, "write_errors",
                     (json_int_t)s->write_errors);
}

json_t *status_prefix_json(const struct engine_view *v)
{
    json_t *o = sizes_json(v);
    json_t *found = found_json(&v->prefix);
    json_t *written = written_json(&v->prefix);

    json_object_update(o, found);
    json_object_update(o, written);
    json_decref(found);
    json_decref(written);
    return o;
}
