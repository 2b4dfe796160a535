/* stats.h - Counters and histograms of one worker: its thread alone writes
 * them, so a relaxed load and store do and no bus is locked; any thread sums
 * them on read (a sum taken meanwhile is one request off for one scrape).
 * Labels come from the config only. */
#ifndef TG_EXCHANGE_STATS_H
#define TG_EXCHANGE_STATS_H

#include "account/budget_spec.h"
#include "account/rate.h"
#include "base/str.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* Plain counters: X(enum suffix, metric name, help). A counter exists here
 * before the branch that increments it is merged. */
#define STATS_COUNTERS(X)                                                      \
    X(CONNS_ACCEPTED, "connections_total", "Client connections accepted")      \
    X(CONNS_REFUSED, "connections_refused_total",                              \
      "Client connections refused over a limit")                               \
    X(CONN_BAD_HTTP, "bad_requests_total", "Requests that broke HTTP rules")   \
    X(CONN_DEADLINE, "deadlines_total",                                        \
      "Connections closed at a header, body, idle or write deadline")          \
    X(TLS_HANDSHAKES, "tls_handshakes_total", "TLS handshakes completed")      \
    X(TLS_FAILED, "tls_failures_total", "TLS handshakes that failed")          \
    X(AUTH_FAILED, "auth_failures_total", "Requests refused with 401")         \
    X(AUTH_THROTTLED, "auth_throttled_total",                                  \
      "Requests refused since their address failed too often")                 \
    X(CLIENT_GONE, "client_gone_total",                                        \
      "Clients that left before their reply was complete")                     \
    X(STREAM_BROKEN, "streams_incomplete_total",                               \
      "Streams that an upstream broke off after the first byte")               \
    X(UP_STARTED, "upstream_requests_total", "Attempts sent to upstreams")     \
    X(UP_FAILED, "upstream_failures_total", "Attempts that failed")            \
    X(UP_CONNECTS, "upstream_connects_total", "New upstream connections")      \
    X(UP_PAUSED, "upstream_pauses_total",                                      \
      "Times an upstream was paused for a slow reader")                        \
    X(RETRIES_REFUSED, "retries_refused_total",                                \
      "Attempts after the first not made, as too many were")                   \
    X(TUNNELS, "tunnels_total", "WebSocket tunnels opened")                    \
    X(PINGS, "keepalive_pings_total", "Pings sent on silent streams")          \
    X(ROWS, "usage_rows_total", "Usage rows written")                          \
    X(BUDGET_WAITS, "budget_waits_total",                                      \
      "Requests that waited for what others hold of a budget")                 \
    X(BUDGET_CUTS, "budget_cuts_total", "Replies cut where a budget ended")    \
    X(BUDGET_UNBOUNDED, "budget_unbounded_total",                              \
      "Requests refused as nobody could tell what they may take of a budget")  \
    X(BUDGET_UNPRICED, "budget_unpriced_total",                                \
      "Requests refused as a budget of money needs a price that holds")        \
    X(BYTES_IN, "received_bytes_total", "Bytes received from clients")         \
    X(BYTES_OUT, "sent_bytes_total", "Bytes sent to clients")

/* Why a request was refused before its body was read: it waited for too long
 * to begin, the loop was late, memory was short. X(enum suffix, label). */
#define SHED_REASONS(X) X(WAIT, "wait") X(LAG, "lag") X(MEMORY, "memory")

/* Index of a reason in struct stats. */
enum shed_reason {
#define SHED_ENUM(id, name) SHED_##id,
    SHED_REASONS(SHED_ENUM)
#undef SHED_ENUM
        SHED_REASON_COUNT
};

/* Index of a counter in struct stats. */
enum stat_counter {
#define STATS_ENUM(id, name, help) STAT_##id,
    STATS_COUNTERS(STATS_ENUM)
#undef STATS_ENUM
        STAT_COUNT
};

struct series_table;

/* Buckets of a histogram: bounds are 2^i times its unit, the last is +Inf. */
#define HIST_BUCKETS 28

/* Durations; bucket i counts those <= 16 us * 2^i. */
struct hist {
    _Atomic uint64_t bucket[HIST_BUCKETS];
    _Atomic uint64_t sum_us;
    _Atomic uint64_t count;
};

/* Add <n> to a number that the calling thread alone writes. */
static inline void stat_bump(_Atomic uint64_t *v, uint64_t n)
{
    atomic_store_explicit(v, atomic_load_explicit(v, memory_order_relaxed) + n,
                          memory_order_relaxed);
}

/* The same for a gauge, which also goes down. */
static inline void stat_shift(_Atomic int64_t *v, int64_t by)
{
    atomic_store_explicit(v, atomic_load_explicit(v, memory_order_relaxed) + by,
                          memory_order_relaxed);
}

/* Read a number of whichever thread. */
static inline uint64_t stat_read(const _Atomic uint64_t *v)
{
    return atomic_load_explicit(v, memory_order_relaxed);
}

/* Read a gauge of whichever thread. */
static inline int64_t stat_level(const _Atomic int64_t *v)
{
    return atomic_load_explicit(v, memory_order_relaxed);
}

/* Upper bound of bucket <i> in us. */
static inline uint64_t hist_bound_us(unsigned i)
{
    return UINT64_C(16) << i;
}

/* Count one duration. */
static inline void hist_observe(struct hist *h, uint64_t us)
{
    unsigned i = us <= 16 ? 0 : 64 - (unsigned)__builtin_clzll((us - 1) >> 4);

    stat_bump(&h->bucket[i < HIST_BUCKETS ? i : HIST_BUCKETS - 1], 1);
    stat_bump(&h->sum_us, us);
    stat_bump(&h->count, 1);
}

/* Counts by whose budget it was (0: a key's, 1: its team's), and which. */
struct budget_tally {
    _Atomic uint64_t of[2][BUDGET_UNIT_COUNT][BUDGET_WINDOW_COUNT];
};

/* Room for the kinds of ends that an attempt may follow. */
#define STATS_RETRY_KINDS 16

/* Which of two attempts beside each other was of use: the second or not. */
enum stats_hedge { STATS_HEDGE_WON = 0, STATS_HEDGE_LOST, STATS_HEDGE_COUNT };

/* One worker's numbers. */
struct stats {
    _Atomic uint64_t counter[STAT_COUNT];
    _Atomic uint64_t rate_refused[RATE_KIND_COUNT]; /* requests, by limit */
    _Atomic uint64_t retries[STATS_RETRY_KINDS]; /* attempts after the first, by
                                                  * enum retry_kind before */
    _Atomic uint64_t hedges[STATS_HEDGE_COUNT];  /* by what came of them */
    _Atomic uint64_t shed[SHED_REASON_COUNT];    /* requests */
    struct budget_tally budget_refused; /* requests, by a hard budget */
    struct budget_tally budget_warned;  /* replies, by a soft one */
    _Atomic int64_t conns;              /* open client connections */
    _Atomic int64_t in_flight;          /* exchanges alive */
    _Atomic int64_t held;               /* requests that wait to begin */
    _Atomic int64_t buffered_bytes;     /* request bodies held */
    _Atomic uint64_t loop_lag_us;       /* worst lag; a reader sets it to 0 */
    struct hist inter_token;     /* between events of a stream with content */
    struct hist loop_delay;      /* from a tick's moment until it ran */
    struct series_table *series; /* owned; per model, target, status */
};

/* Count one event. */
static inline void stats_inc(struct stats *s, enum stat_counter c)
{
    stat_bump(&s->counter[c], 1);
}

/* Count one event at budget <b>. */
static inline void stats_budget(struct budget_tally *t, bool is_team,
                                const struct budget_spec *b)
{
    stat_bump(&t->of[is_team][b->unit][b->window], 1);
}

/* Add <n> to a counter. */
static inline void stats_add(struct stats *s, enum stat_counter c, uint64_t n)
{
    stat_bump(&s->counter[c], n);
}

#endif
