/* status_cache.c - See status_cache.h. */
#include "daemon/status_cache.h"

#include <inttypes.h>
#include <stdio.h>

#include "conf/conf.h"
#include "daemon/daemon.h"
#include "exchange/stats.h"
#include "recall/cache.h"
#include "settle/metrics.h"
#include "settle/series.h"
#include "store/cache_store.h"

/* The numbers of the store, zeros where there is none. */
static struct cache_stats stats_of(struct daemon *d)
{
    struct cache_stats s = {.is_open = false};

    if (d->cache && d->cache->store)
        cache_store_stats(d->cache->store, &s);
    return s;
}

/* Why replies were not stored. */
static enum err put_dropped(const struct cache_stats *s, struct buf *out)
{
    const struct {
        const char *reason;
        uint64_t n;
    } rows[] = {
        {"queue", s->dropped_queue},
        {"size", s->dropped_size},
        {"closed", s->dropped_shut},
        {"error", s->dropped_error},
    };
    enum err e = buf_printf(out, "# HELP tollgate_cache_dropped_total Replies "
                                 "that were not stored.\n"
                                 "# TYPE tollgate_cache_dropped_total "
                                 "counter\n");

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]) && e == ERR_OK; i++)
        e = buf_printf(
            out, "tollgate_cache_dropped_total{reason=\"%s\"} %" PRIu64 "\n",
            rows[i].reason, rows[i].n);
    return e;
}

enum err status_cache_metrics(struct daemon *d, struct buf *out)
{
    const struct cache_stats s = stats_of(d);
    const struct {
        const char *name, *type, *help;
        uint64_t n;
    } rows[] = {
        {"cache_up", "gauge", "Whether replies can be stored", s.is_open},
        {"cache_entries", "gauge", "Stored replies", s.entries},
        {"cache_bytes", "gauge", "Disk space in use for them", s.bytes},
        {"cache_file_bytes", "gauge", "Disk space taken", s.file_bytes},
        {"cache_max_bytes", "gauge", "Disk space that may be taken",
         s.max_bytes},
        {"cache_queued_bytes", "gauge", "Replies in memory, to be stored",
         s.queued_bytes},
        {"cache_stored_total", "counter", "Replies written", s.stored},
        {"cache_evictions_total", "counter", "Replies given up for newer ones",
         s.evicted},
        {"cache_expired_total", "counter",
         "Replies that were over when they were found", s.expired},
        {"cache_purged_total", "counter", "Replies deleted on demand",
         s.purged},
        {"cache_corrupt_total", "counter",
         "Damaged replies: never sent, and deleted", s.corrupt},
        {"cache_write_errors_total", "counter", "Transactions that failed",
         s.write_errors},
    };
    enum err e = ERR_OK;

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]) && e == ERR_OK; i++)
        e = metrics_put_one(out, rows[i].name, rows[i].type, rows[i].help,
                            rows[i].n);
    return e == ERR_OK ? put_dropped(&s, out) : e;
}

/* --- for tollctl --------------------------------------------------------- */

static json_t *sizes_json(struct daemon *d, const struct cache_stats *s)
{
    const struct conf *c = d->conf_start;

    return json_pack(
        "{s:b, s:b, s:b, s:o, s:I, s:I, s:I, s:I, s:I}", "on",
        d->cache && d->cache->store, "open", s->is_open, "disk_full",
        s->is_disk_full, "directory",
        json_sprintf("%.*s/cache", STR_ARG(c->state_dir)), "entries",
        (json_int_t)s->entries, "bytes", (json_int_t)s->bytes, "file_bytes",
        (json_int_t)s->file_bytes, "max_bytes",
        (json_int_t)(s->max_bytes ? s->max_bytes : c->cache.size_bytes),
        "queued_bytes", (json_int_t)s->queued_bytes);
}

/* What it was good for, of all workers. */
static json_t *use_json(struct daemon *d)
{
    struct series_cache sum = {0};
    char usd[48];

    for (unsigned i = 0; i < d->n_workers; i++)
        series_cache_add(d->workers[i]->w.stats->series, &sum);
    const uint64_t all = sum.hits + sum.misses + sum.joined;
    snprintf(usd, sizeof(usd), "%" PRId64 ".%09" PRId64,
             sum.saved_nusd / 1000000000, sum.saved_nusd % 1000000000);
    return json_pack(
        "{s:I, s:I, s:I, s:o, s:I, s:s}", "hits", (json_int_t)sum.hits,
        "misses", (json_int_t)sum.misses, "joined", (json_int_t)sum.joined,
        "hit_ratio",
        all > 0 ? json_real((double)(sum.hits + sum.joined) / (double)all)
                : json_null(),
        "saved_tokens", (json_int_t)sum.saved_tok, "saved_usd", usd);
}

json_t *status_cache_json(struct daemon *d)
{
    const struct cache_stats s = stats_of(d);
    json_t *o = sizes_json(d, &s);
    json_t *use = use_json(d);
    json_t *done = json_pack(
        "{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}",
        "stored", (json_int_t)s.stored, "replaced", (json_int_t)s.replaced,
        "evicted", (json_int_t)s.evicted, "kept", (json_int_t)s.kept, "expired",
        (json_int_t)s.expired, "purged", (json_int_t)s.purged, "corrupt",
        (json_int_t)s.corrupt, "dropped_queue", (json_int_t)s.dropped_queue,
        "dropped_size", (json_int_t)s.dropped_size, "dropped_closed",
        (json_int_t)s.dropped_shut, "dropped_error",
        (json_int_t)s.dropped_error, "write_errors", (json_int_t)s.write_errors,
        "begun_anew", (json_int_t)s.anew);

    json_object_update(o, use);
    json_object_update(o, done);
    json_decref(use);
    json_decref(done);
    return o;
}
