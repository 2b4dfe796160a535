/* ledger.h - The ledger as the rest of the program sees it: usage rows go
 * in, sums come out, and nothing that was acknowledged is lost.
 *
 * A row is durable against kill -9 when ledger_row_put() returns ERR_OK: it
 * stands in the worker's journal file, in the page cache. Within about 20 ms
 * the writer thread folds it into the database and syncs that, which is
 * what a power loss cannot take. Lock order: see keytab.h and writer.h. */
#ifndef TG_ACCOUNT_LEDGER_H
#define TG_ACCOUNT_LEDGER_H

#include "base/buf.h"
#include "base/err.h"
#include "store/row.h"

struct ledger;
struct ledger_worker;
struct ledger_db;
struct writer;

/* How to open a ledger; zero in any number takes the default. */
struct ledger_opts {
    const char *state_dir;  /* borrowed; made 0700 when missing */
    unsigned workers;       /* most worker indexes; default 64 */
    int64_t keep_rows_ms;   /* age at which rows go; default 90 days */
    uint64_t keep_rows;     /* most rows kept; default 5,000,000 */
    size_t map_bytes;       /* first size of the map; default 64 MiB */
    size_t map_bytes_max;   /* the map never grows past it; 1 TiB */
    uint32_t group_ms;      /* rows wait this long for company; 20 */
    uint32_t journal_bytes; /* size at which a journal file ends; 8 MiB */
};

/* Whether rows can be stored. */
enum ledger_state {
    LEDGER_OK = 0,
    LEDGER_UNAVAILABLE, /* disk full or failing: retried all the time */
    LEDGER_FATAL        /* broken beyond reopening: the process should end */
};

/* Counters, each only ever growing but the first two. */
struct ledger_stats {
    enum ledger_state state;
    uint64_t rows_waiting;  /* put but not yet in the database */
    uint64_t rows_folded;   /* in the database since open */
    uint64_t rows_replayed; /* of those, found in journals at open */
    uint64_t rows_twice;    /* skipped: their id was there already */
    uint64_t rows_refused;  /* ledger_row_put() that failed */
    uint64_t rows_pruned;   /* gone by age or number */
    uint64_t commits;
    uint64_t commits_failed;
    uint64_t map_bytes;
    uint64_t journal_damaged; /* bytes skipped in damaged journals */
};

/* Open STATE/ledger and STATE/journal: lock them, prove in a child process
 * that the database can be walked, fold what journals still hold, start the
 * writer thread. Must be called after any daemonising fork. On failure a
 * sentence naming the file is appended to <why>: ERR_EXISTS (in use),
 * ERR_CORRUPT (damaged or missing part), ERR_IO, ERR_NOMEM. */
enum err ledger_open(const struct ledger_opts *opts, struct ledger **ledger_out,
                     struct buf *why) MUST_CHECK;

/* Drain, stop the writer and close. Every worker must be closed before.
 * NULL is fine. */
void ledger_close(struct ledger *l);

/* Whether rows can be stored now: one relaxed load, for admission. */
enum ledger_state ledger_state(const struct ledger *l);

/* Why the state is not LEDGER_OK, appended to <out>; nothing when it is. */
enum err ledger_trouble(struct ledger *l, struct buf *out) MUST_CHECK;

/* A copy of the counters. Any thread. */
struct ledger_stats ledger_stats(struct ledger *l);

/* The seat of worker <index> (each index once at a time). ERR_IO when its
 * journal cannot be made. */
enum err ledger_worker_open(struct ledger *l, unsigned index,
                            struct ledger_worker **worker_out) MUST_CHECK;

/* Give the seat back; what it holds is still folded. NULL is fine. */
void ledger_worker_close(struct ledger_worker *lw);

/* Store <row>: one write(2), no sync, no lock when all is well. ERR_OK means
 * that a kill -9 from now on cannot lose it (when the disk refuses, it waits
 * in memory, the state turns LEDGER_UNAVAILABLE and ERR_OK means accepted).
 * ERR_FULL: the waiting room is full as well; the row is not stored and the
 * reply must not be completed. Only the thread that owns <lw>. */
enum err ledger_row_put(struct ledger_worker *lw,
                        const struct usage_row *row) MUST_CHECK;

/* Wait until every row put before the call is in the database. ERR_LEDGER
 * when the database refuses now. Not for a worker's loop. */
enum err ledger_flush(struct ledger *l) MUST_CHECK;

/* How usage is grouped. */
enum usage_by {
    USAGE_BY_NONE = 0, /* one sum */
    USAGE_BY_KEY,
    USAGE_BY_TEAM,
    USAGE_BY_MODEL,  /* the model asked for */
    USAGE_BY_DAY,    /* "2026-11-21", UTC */
    USAGE_BY_TARGET, /* "upstream/model there" */
    USAGE_BY_COUNT
};

/* What to sum. Empty filters take all. */
struct usage_query {
    struct str key_id;
    struct str team;
    int64_t since_wall_ms; /* inclusive */
    int64_t until_wall_ms; /* exclusive; 0: no end */
    enum usage_by by;
};

/* Sums of one group. */
struct usage_sum {
    char name[ROW_TARGET_MAX + ROW_MODEL_MAX + 2]; /* of the group, NUL ended */
    uint64_t requests;
    uint64_t errors; /* of those, status >= 400 or incomplete */
    uint64_t tok[ROW_TOK_COUNT];
    int64_t cost_nusd;
    uint64_t ms_total;    /* of all requests together */
    uint64_t estimated;   /* requests whose usage is an estimate or a bound */
    uint64_t unpriced;    /* requests that had no price for all they used */
    uint64_t stale_price; /* requests charged by a stale price */
    uint64_t legs;        /* attempts beside those that answered: no requests,
                           * but in all counts and costs but <errors> */
    uint64_t misses, hits, joined;              /* requests by enum row_cache */
    uint64_t saved_input_tok, saved_output_tok; /* of hits and joined ones */
    int64_t saved_nusd;
};

/* Groups in order of name. */
struct usage_report {
    struct usage_sum *sums; /* owned */
    size_t n_sums;
    bool rounded; /* an end of the range fell into a day whose rows are gone:
                     that day is counted whole */
    bool behind;  /* some rows could not be folded before the question */
};

/* Answer <q>, rows not yet folded included. Free it with
 * usage_report_fini(). ERR_NOMEM, ERR_CORRUPT, ERR_IO. Reads in short
 * steps; not for a worker's loop. */
enum err ledger_usage(struct ledger *l, const struct usage_query *q,
                      struct usage_report *report_out) MUST_CHECK;

/* Free what <r> owns. */
void usage_report_fini(struct usage_report *r);

/* Find the row of request <id>; its bytes are copied into <room>, of which
 * the slices of <row_out> borrow. ERR_NOT_FOUND. */
enum err ledger_row_find(struct ledger *l, struct str id, struct buf *room,
                         struct usage_row *row_out) MUST_CHECK;

/* Called for each exported row; anything but ERR_OK ends the export. */
typedef enum err ledger_row_fn(void *arg, const struct usage_row *row);

/* Give every row with since <= time < until (0: no end), oldest first, to
 * <fn>. No read transaction is open while <fn> runs. */
enum err ledger_export(struct ledger *l, int64_t since_wall_ms,
                       int64_t until_wall_ms, ledger_row_fn *fn,
                       void *arg) MUST_CHECK;

/* Prove in a child process that every record is whole, that counters and what
 * keys and teams have spent equal the sums of the rows (for spends: where no
 * row was pruned), and that nothing is held for a request whose row is there;
 * its findings are appended to <report>, one a line. ERR_CORRUPT when there is
 * any fault. Takes as long as it takes. */
enum err ledger_verify(struct ledger *l, struct buf *report) MUST_CHECK;

/* The writer, for changes that must be durable (keytab). Borrowed. */
struct writer *ledger_writer(struct ledger *l);

/* The database, for reading at start (keytab). Borrowed. */
struct ledger_db *ledger_database(struct ledger *l);

#endif
