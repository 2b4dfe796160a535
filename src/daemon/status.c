/* status.c - See status.h. */
#include "daemon/status.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "account/accounts.h"
#include "account/ledger.h"
#include "base/clock.h"
#include "base/log.h"
#include "conf/conf.h"
#include "daemon/daemon.h"
#include "daemon/status_cache.h"
#include "daemon/status_engine.h"
#include "daemon/status_retry.h"
#include "daemon/status_target.h"
#include "settle/metrics.h"

uint64_t status_resident_bytes(void)
{
    unsigned long size = 0, resident = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    int n;

    if (!f)
        return 0;
    n = fscanf(f, "%lu %lu", &size, &resident);
    fclose(f);
    return n == 2 ? (uint64_t)resident * (uint64_t)sysconf(_SC_PAGESIZE) : 0;
}

static enum err put_ledger(struct daemon *d, struct buf *out)
{
    struct ledger_stats s = ledger_stats(d->ledger);
    enum err e = metrics_put_one(out, "ledger_up", "gauge",
                                 "Whether usage rows can be stored",
                                 s.state == LEDGER_OK);

    if (e == ERR_OK)
        e = metrics_put_one(out, "ledger_rows_waiting", "gauge",
                            "Rows in the journal, not yet in the database",
                            s.rows_waiting);
    if (e == ERR_OK)
        e = metrics_put_one(out, "ledger_commits_total", "counter",
                            "Group commits of the ledger", s.commits);
    return e;
}

/* What requests hold of hard budgets, by unit: of all keys together. */
static enum err put_held(const struct accounts_totals *t, struct buf *out)
{
    enum err e = buf_printf(out, "# HELP tollgate_budget_held What requests "
                                 "under way hold of hard budgets.\n"
                                 "# TYPE tollgate_budget_held gauge\n");

    for (int u = 0; u < BUDGET_NUSD && e == ERR_OK; u++)
        e = buf_printf(out, "tollgate_budget_held{unit=\"%s\"} %" PRIu64 "\n",
                       budget_unit_name((enum budget_unit)u),
                       (uint64_t)t->held.of[u]);
    if (e == ERR_OK)
        e = buf_printf(out, "tollgate_budget_held{unit=\"%s\"} %.9f\n",
                       budget_unit_name(BUDGET_NUSD),
                       (double)t->held.of[BUDGET_NUSD] / 1e9);
    return e;
}

static enum err put_accounts(struct daemon *d, struct buf *out)
{
    struct accounts_totals t;
    enum err e;

    accounts_totals(d->accounts, &t);
    e = metrics_put_one(out, "budget_holds", "gauge",
                        "Requests that hold a part of a hard budget", t.holds);

    if (e == ERR_OK)
        e = put_held(&t, out);
    if (e == ERR_OK)
        e = metrics_put_one(out, "budget_waiting", "gauge",
                            "Requests that wait for a part of a hard budget",
                            t.waiting);
    if (e == ERR_OK)
        e = metrics_put_one(out, "budget_leases_total", "counter",
                            "Leases written to the disk", t.leases);
    if (e == ERR_OK)
        e = metrics_put_one(out, "budget_lease_failures_total", "counter",
                            "Leases that could not be written",
                            t.leases_failed);
    return e;
}

static enum err put_prices(const struct conf_prices *p, struct buf *out)
{
    enum err e = metrics_put_one(out, "price_entries", "gauge",
                                 "Entries of the price file", p->n_prices);

    if (e == ERR_OK && p->file.len > 0)
        e = metrics_put_one(out, "prices_updated_timestamp_seconds", "gauge",
                            "Day on which the prices were checked",
                            (uint64_t)p->updated_days * 86400);
    return e;
}

/* What is kept out of a process that has too much to do. */
static enum err put_load(struct daemon *d, struct buf *out)
{
    static const char *const reasons[SHED_REASON_COUNT] = {
#define REASON_NAME(id, name) name,
        SHED_REASONS(REASON_NAME)
#undef REASON_NAME
    };
    enum err e = buf_printf(out, "# HELP tollgate_shed_total Requests refused "
                                 "before their bodies were read.\n"
                                 "# TYPE tollgate_shed_total counter\n");
    int64_t held = 0;

    for (int r = 0; r < SHED_REASON_COUNT && e == ERR_OK; r++) {
        uint64_t n = 0;

        for (unsigned i = 0; i < d->n_workers; i++)
            n += stat_read(&d->workers[i]->w.stats->shed[r]);
        e = buf_printf(out, "tollgate_shed_total{reason=\"%s\"} %" PRIu64 "\n",
                       reasons[r], n);
    }
    for (unsigned i = 0; i < d->n_workers; i++)
        held += stat_level(&d->workers[i]->w.stats->held);
    if (e == ERR_OK)
        e = metrics_put_one(out, "requests_waiting", "gauge",
                            "Requests that wait for their worker to begin",
                            (uint64_t)held);
    if (e == ERR_OK)
        e = metrics_put_one(out, "worker_stalls_total", "counter",
                            "Times that a worker was silent for a second",
                            atomic_load(&d->stalls));
    return e;
}

static enum err put_process(struct daemon *d, struct buf *out)
{
    struct log_stats ls;
    enum err e;

    log_stats_read(&ls);
    e = buf_printf(out,
                   "# HELP tollgate_loop_lag_seconds Worst loop lag since the "
                   "last scrape.\n# TYPE tollgate_loop_lag_seconds gauge\n"
                   "tollgate_loop_lag_seconds %.6f\n",
                   (double)daemon_lag_us(d) / 1e6);
    if (e == ERR_OK)
        e = metrics_put_one(out, "log_lines_dropped_total", "counter",
                            "Log and access lines lost",
                            ls.dropped + ls.access_dropped);
    if (e == ERR_OK)
        e = metrics_put_one(out, "resident_bytes", "gauge",
                            "Resident memory of the process",
                            status_resident_bytes());
    if (e == ERR_OK)
        e = metrics_put_one(out, "uptime_seconds", "gauge",
                            "Seconds since the start",
                            (clock_mono_ms() - d->start_mono_ms) / 1000);
    return e;
}

enum err status_metrics(struct daemon *d, const struct conf *c, struct buf *out)
{
    struct stats *all[DAEMON_WORKERS_MAX];
    enum err e;

    for (unsigned i = 0; i < d->n_workers; i++)
        all[i] = d->workers[i]->w.stats;
    e = metrics_put(all, d->n_workers, out);
    if (e == ERR_OK)
        e = status_target_metrics(d, c, out);
    if (e == ERR_OK)
        e = status_retry_metrics(d, out);
    if (e == ERR_OK)
        e = put_ledger(d, out);
    if (e == ERR_OK)
        e = put_accounts(d, out);
    if (e == ERR_OK)
        e = put_prices(&c->price, out);
    if (e == ERR_OK)
        e = put_load(d, out);
    if (e == ERR_OK)
        e = status_cache_metrics(d, out);
    if (e == ERR_OK)
        e = status_engine_metrics(d, out);
    return e == ERR_OK ? put_process(d, out) : e;
}
