/* ledger_fixture.h - A ledger of a test with one worker's seat, and rows to
 * put into it. */
#ifndef TG_TESTS_UNIT_LEDGER_FIXTURE_H
#define TG_TESTS_UNIT_LEDGER_FIXTURE_H

#include "account/ledger.h"

#include "base/id.h"
#include "store/ledger_db.h"
#include "store/tally.h"

#include "unit/state_dir.h"

#include <dirent.h>

/* 2026-11-20 00:00 UTC. */
#define DAY0 (INT64_C(20777) * TALLY_DAY_MS)

struct fixture {
    char *dir;
    struct ledger_opts opts;
    struct ledger *ledger;
    struct ledger_worker *lw;
    struct buf why;
};

static inline void open_ledger(struct fixture *f)
{
    buf_clear(&f->why);
    if (ledger_open(&f->opts, &f->ledger, &f->why) != ERR_OK)
        fail_msg("%.*s", STR_ARG(buf_str(&f->why)));
}

static inline void open_seat(struct fixture *f)
{
    assert_int_equal(ledger_worker_open(f->ledger, 0, &f->lw), ERR_OK);
}

static inline void close_all(struct fixture *f)
{
    ledger_worker_close(f->lw);
    ledger_close(f->ledger);
    f->lw = NULL;
    f->ledger = NULL;
}

static inline int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    f->dir = state_dir_make();
    f->opts = (struct ledger_opts){.state_dir = f->dir, .workers = 8};
    buf_init(&f->why, 1 << 20);
    *state = f;
    return 0;
}

static inline int setup_open(void **state)
{
    setup(state);
    open_ledger(*state);
    open_seat(*state);
    return 0;
}

static inline int teardown(void **state)
{
    struct fixture *f = *state;

    if (f->ledger)
        close_all(f);
    state_dir_drop(f->dir);
    buf_fini(&f->why);
    free(f);
    return 0;
}

/* A row with a fresh id in <id>. */
static inline struct usage_row row_at(char id[ID_SIZE], int64_t wall_ms)
{
    id_new(id);
    return (struct usage_row){.id = str_from(id),
                              .time_wall_ms = wall_ms,
                              .key_id = STR("key_a"),
                              .team = STR("blue"),
                              .endpoint = STR("chat"),
                              .model = STR("fast"),
                              .target = STR("openai"),
                              .target_model = STR("gpt-5-mini"),
                              .status = 200,
                              .attempts = 1,
                              .tok = {10, 5, 0, 0, 7, 1, 0, 0},
                              .cost_nusd = 3};
}

static inline void put(struct fixture *f, int64_t wall_ms)
{
    char id[ID_SIZE];
    const struct usage_row row = row_at(id, wall_ms);

    assert_int_equal(ledger_row_put(f->lw, &row), ERR_OK);
}

static inline struct usage_sum total(struct fixture *f)
{
    const struct usage_query q = {0};
    struct usage_report r;
    struct usage_sum sum = {0};

    assert_int_equal(ledger_usage(f->ledger, &q, &r), ERR_OK);
    assert_true(r.n_sums <= 1);
    if (r.n_sums == 1)
        sum = r.sums[0];
    usage_report_fini(&r);
    return sum;
}

static inline void assert_proved(struct fixture *f)
{
    buf_clear(&f->why);
    if (ledger_verify(f->ledger, &f->why) != ERR_OK)
        fail_msg("%.*s", STR_ARG(buf_str(&f->why)));
}

static inline unsigned count_files(const char *dir, const char *end)
{
    char path[4096];
    DIR *d = opendir(state_dir_path(dir, "journal", path));
    unsigned n = 0;

    assert_non_null(d);
    for (const struct dirent *e = readdir(d); e; e = readdir(d))
        n += str_ends(str_from(e->d_name), str_from(end));
    closedir(d);
    return n;
}

/* Write to the database of a ledger that nobody has open. */
static inline struct ledger_db *begin_alone(struct fixture *f, struct txn *t)
{
    char path[4096];
    const struct ldb_opts o = {.dir = state_dir_path(f->dir, "ledger", path),
                               .map_bytes = 64 << 20,
                               .map_bytes_max = 64 << 20};
    struct ledger_db *db;

    assert_int_equal(ldb_open(&o, &db, &f->why), ERR_OK);
    assert_int_equal(txn_begin_write(ldb_env(db), t), ERR_OK);
    return db;
}

static inline void commit_alone(struct ledger_db *db, struct txn *t)
{
    assert_int_equal(txn_commit(t), ERR_OK);
    txn_end(t);
    ldb_close(db);
}

/* Alter the record of the boot, as after a start of the machine; with <closed>,
 * as if the ledger had been closed. */
static inline void machine_restarts(struct fixture *f, bool closed)
{
    char bytes[17] = "another boot   .";
    struct ledger_db *db;
    struct txn t;

    db = begin_alone(f, &t);
    bytes[16] = (char)closed;
    assert_int_equal(
        ldb_put(&t, LDB_META, STR("boot"), str_of(bytes, sizeof(bytes))),
        ERR_OK);
    commit_alone(db, &t);
}

#define OPEN(name) cmocka_unit_test_setup_teardown(name, setup_open, teardown)
#define SHUT(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

#endif
