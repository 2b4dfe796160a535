/* status_retry.c - See status_retry.h. */
#include "daemon/status_retry.h"

#include <inttypes.h>

#include "base/clock.h"
#include "daemon/daemon.h"
#include "serve/retry.h"
#include "settle/metrics.h"

_Static_assert((int)RETRY_KIND_COUNT <= (int)STATS_RETRY_KINDS,
               "there is a counter for each kind");

/* Kinds of ends that another attempt may follow. */
static bool is_followed(enum retry_kind k)
{
    return k != RETRY_KIND_DONE && k != RETRY_KIND_OURS &&
           k != RETRY_KIND_CALLER;
}

static enum err put_counts(struct daemon *d, struct buf *out)
{
    enum err e =
        buf_printf(out, "# HELP tollgate_retries_total Attempts after the "
                        "first, by how the one before ended.\n"
                        "# TYPE tollgate_retries_total counter\n");

    for (int k = 0; k < RETRY_KIND_COUNT && e == ERR_OK; k++) {
        uint64_t sum = 0;

        if (!is_followed((enum retry_kind)k))
            continue;
        for (unsigned i = 0; i < d->n_workers; i++)
            sum += stat_read(&d->workers[i]->w.stats->retries[k]);
        e = buf_printf(out,
                       "tollgate_retries_total{reason=\"%s\"} %" PRIu64 "\n",
                       retry_kind_name((enum retry_kind)k), sum);
    }
    return e;
}

static enum err put_hedges(struct daemon *d, struct buf *out)
{
    static const char *const results[STATS_HEDGE_COUNT] = {"won", "lost"};
    enum err e =
        buf_printf(out, "# HELP tollgate_hedges_total Attempts beside one that "
                        "was slow to answer, by whether they answered first.\n"
                        "# TYPE tollgate_hedges_total counter\n");

    for (int k = 0; k < STATS_HEDGE_COUNT && e == ERR_OK; k++) {
        uint64_t sum = 0;

        for (unsigned i = 0; i < d->n_workers; i++)
            sum += stat_read(&d->workers[i]->w.stats->hedges[k]);
        e = buf_printf(out,
                       "tollgate_hedges_total{result=\"%s\"} %" PRIu64 "\n",
                       results[k], sum);
    }
    return e;
}

enum err status_retry_metrics(struct daemon *d, struct buf *out)
{
    struct retry_budget_view v;
    enum err e = put_counts(d, out);

    if (e == ERR_OK)
        e = put_hedges(d, out);

    clock_update();
    retry_budget_see(&d->retries, clock_mono_ms(), &v);
    if (e == ERR_OK)
        e = metrics_put_one(out, "retry_budget_allowed", "gauge",
                            "Attempts after the first that the traffic of the "
                            "last seconds allows",
                            v.allowed);
    if (e == ERR_OK)
        e = metrics_put_one(out, "retry_budget_spent", "gauge",
                            "Attempts after the first in the same time, those "
                            "of clients included",
                            v.spent);
    return e;
}
