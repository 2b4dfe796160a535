/* ledger_db.h - What stands in which table of the ledger. Every value is a
 * sealed record (rec.h); nothing is returned that failed its check. */
#ifndef TG_STORE_LEDGER_DB_H
#define TG_STORE_LEDGER_DB_H

#include "store/env.h"
#include "store/rec.h"
#include "store/tally.h"

/* The tables; numbers enter checksums and are for ever. */
enum ldb_table {
    LDB_META = 0, /* text -> REC_META */
    LDB_KEYS,     /* key id -> REC_KEY */
    LDB_TEAMS,    /* team name -> REC_TEAM */
    LDB_ROWS,     /* time in ms, big-endian, and id -> REC_ROW */
    LDB_IDS,      /* id -> REC_ROW_AT: where its row is */
    LDB_COUNTERS, /* tally key -> REC_COUNTER */
    LDB_FOLDS,    /* journal file id -> REC_FOLD */
    LDB_HOLDS,    /* id -> REC_HOLD: held, and no row yet */
    LDB_SPENDS,   /* owner -> REC_SPEND: what it took of late */
    LDB_LEASES,   /* owner -> REC_LEASE: what it may have taken */
    LDB_TABLE_COUNT
};

/* Not a table: the number that enters checksums of journal records. */
#define LDB_JOURNAL 100

/* Bytes of a key in LDB_ROWS. */
#define LDB_ROW_KEY_LEN (8 + ROW_ID_LEN)

struct ledger_db;

/* Where the database lies and how large it may grow. */
struct ldb_opts {
    const char *dir;
    size_t map_bytes;
    size_t map_bytes_max;
};

/* Open the ledger's environment in <opts>->dir. Failures as env_open(). */
enum err ldb_open(const struct ldb_opts *opts, struct ledger_db **db_out,
                  struct buf *why) MUST_CHECK;

/* Close; NULL is fine. */
void ldb_close(struct ledger_db *db);

/* Its environment, borrowed. */
struct env *ldb_env(const struct ledger_db *db);

/* Seal <payload> and store it under <key> of <table>. In a write
 * transaction. */
enum err ldb_put(struct txn *t, enum ldb_table table, struct str key,
                 struct str payload) MUST_CHECK;

/* The payload under <key>, checked, borrowed as txn_get(). ERR_NOT_FOUND,
 * ERR_CORRUPT. */
enum err ldb_get(struct txn *t, enum ldb_table table, struct str key,
                 struct str *payload_out) MUST_CHECK;

/* Delete <key> of <table>. ERR_NOT_FOUND. */
enum err ldb_del(struct txn *t, enum ldb_table table,
                 struct str key) MUST_CHECK;

/* Store a row given as its payload and decoded, and add it to <sums>.
 * ERR_EXISTS when its id is there already: then nothing is done. */
enum err ldb_row_add(struct txn *t, struct str payload,
                     const struct usage_row *row,
                     struct tally_map *sums) MUST_CHECK;

/* Add <sums>, by encoded tally key, to the counters. */
enum err ldb_counters_add(struct txn *t,
                          const struct tally_map *sums) MUST_CHECK;

/* When rows go. */
struct ldb_keep {
    uint64_t rows;         /* at most so many stay */
    int64_t since_wall_ms; /* older ones go */
    unsigned max;          /* delete at most so many now */
};

/* Delete the oldest rows, at most keep->max; how many in *n_out. The days
 * they stood in are noted as no longer whole. */
enum err ldb_prune(struct txn *t, const struct ldb_keep *keep,
                   unsigned *n_out) MUST_CHECK;

/* The first day of which every row is kept; 0 when nothing was pruned. */
enum err ldb_whole_from_day(struct txn *t, uint32_t *day_out) MUST_CHECK;

/* Time of the newest row; ERR_NOT_FOUND when there is none. */
enum err ldb_newest_row(struct txn *t, int64_t *wall_ms_out) MUST_CHECK;

/* Write a number that changes nothing, to see whether writing works. */
enum err ldb_touch(struct txn *t, uint64_t now) MUST_CHECK;

/* Called with each counter; slices live during the call. */
typedef enum err ldb_counter_fn(void *arg, const struct tally_key *key,
                                const struct tally *sum);

/* Give every counter of from_day <= day <= to_day to <fn>, in short read
 * transactions. <fn> runs inside of one and must not begin another. */
enum err ldb_counters_read(struct ledger_db *db, uint32_t from_day,
                           uint32_t to_day, ldb_counter_fn *fn,
                           void *arg) MUST_CHECK;

/* Called with each row; slices live during the call. */
typedef enum err ldb_row_fn(void *arg, const struct usage_row *row);

/* Give every row of since <= time < until to <fn>, oldest first. Rows are
 * copied out first: no transaction is open while <fn> runs. */
enum err ldb_rows_read(struct ledger_db *db, int64_t since_wall_ms,
                       int64_t until_wall_ms, ldb_row_fn *fn,
                       void *arg) MUST_CHECK;

/* The row of <id>, copied into <room>, of which <row_out> borrows. */
enum err ldb_row_find(struct ledger_db *db, struct str id, struct buf *room,
                      struct usage_row *row_out) MUST_CHECK;

/* Called with each record; slices live during the call. */
typedef enum err ldb_record_fn(void *arg, struct str key, struct str payload);

/* Give every record of a small table to <fn>, in one read transaction. On
 * ERR_CORRUPT the record is named in <why>. */
enum err ldb_each(struct ledger_db *db, enum ldb_table table, ldb_record_fn *fn,
                  void *arg, struct buf *why) MUST_CHECK;

/* Check the seal of one record, as env_check_fn; for walks in a child. */
enum err ldb_check(unsigned table, struct str key, struct str value,
                   struct buf *why) MUST_CHECK;

/* The names of the tables by number, and how to open the environment; for
 * verify.c. Strings are static but <dir>. */
struct env_opts ldb_env_opts(const struct ldb_opts *opts);

/* The name of <table>; static. */
const char *ldb_table_name(unsigned table);

/* Sum each row into a map again, compare with the counters, check every
 * seal and cross-reference; findings, then a summary, are appended to <out>,
 * one a line. For a child process, through env_look(). ERR_CORRUPT when
 * anything is wrong. */
enum err ldb_verify(struct txn *t, void *unused, struct buf *out) MUST_CHECK;

#endif
