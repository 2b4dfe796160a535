/* t_ledger.c - What the ledger answers: rows by id, sums that are true, what
 * goes with age, proofs. */
#include "unit/ledger_fixture.h"

#include "base/clock.h"
#include "store/ledger_db.h"
#include "store/writer.h"

#include <pthread.h>

static void row_is_found_by_its_id(void **state)
{
    struct fixture *f = *state;
    char id[ID_SIZE];
    const struct usage_row row = row_at(id, DAY0 + 5);
    struct usage_row back;
    struct buf room;

    buf_init(&room, 4096);
    assert_int_equal(ledger_row_put(f->lw, &row), ERR_OK);
    assert_int_equal(ledger_row_find(f->ledger, str_from(id), &room, &back),
                     ERR_OK);
    assert_true(str_eq(back.target_model, row.target_model));
    assert_true(back.time_wall_ms == DAY0 + 5);
    assert_int_equal(ledger_row_find(f->ledger,
                                     STR("00000000000000000000000000"), &room,
                                     &back),
                     ERR_NOT_FOUND);
    buf_fini(&room);
}

static void sums_include_rows_not_yet_folded(void **state)
{
    struct fixture *f = *state;

    for (unsigned i = 0; i < 100; i++)
        put(f, DAY0);
    const struct usage_sum sum = total(f);
    assert_int_equal(sum.requests, 100);
    assert_int_equal(row_input_tokens(sum.tok), 1500);
    assert_int_equal(row_output_tokens(sum.tok), 800);
    assert_int_equal(sum.cost_nusd, 300);
    assert_proved(f);
}

static void same_id_counts_once(void **state)
{
    struct fixture *f = *state;
    char id[ID_SIZE];
    const struct usage_row row = row_at(id, DAY0);

    assert_int_equal(ledger_row_put(f->lw, &row), ERR_OK);
    assert_int_equal(ledger_row_put(f->lw, &row), ERR_OK);
    assert_int_equal(total(f).requests, 1);
    assert_int_equal(ledger_stats(f->ledger).rows_twice, 1);
    assert_proved(f);
}

/* Puts rows that differ in everything usage is grouped by. */
static void put_mixed(struct fixture *f)
{
    static const char *const keys[] = {"key_a", "key_b"};
    static const char *const models[] = {"fast", "smart", "tiny"};
    char id[ID_SIZE];

    for (unsigned i = 0; i < 12; i++) {
        struct usage_row row =
            row_at(id, DAY0 + (i / 6) * TALLY_DAY_MS + (i % 6) * 3600000);

        row.key_id = str_from(keys[i % 2]);
        row.team = i % 2 ? STR("red") : STR("blue");
        row.model = str_from(models[i % 3]);
        row.status = i == 0 ? 502 : 200;
        assert_int_equal(ledger_row_put(f->lw, &row), ERR_OK);
    }
}

/* Group names and requests as "name=n name=n". */
static void assert_usage(struct fixture *f, const struct usage_query *q,
                         const char *want)
{
    struct usage_report r;
    struct buf out;

    buf_init(&out, 4096);
    assert_int_equal(ledger_usage(f->ledger, q, &r), ERR_OK);
    for (size_t i = 0; i < r.n_sums; i++)
        assert_int_equal(buf_printf(&out, "%s%s=%u", i ? " " : "",
                                    r.sums[i].name,
                                    (unsigned)r.sums[i].requests),
                         ERR_OK);
    if (!str_eq(buf_str(&out), str_from(want)))
        fail_msg("\"%.*s\" is not \"%s\"", STR_ARG(buf_str(&out)), want);
    usage_report_fini(&r);
    buf_fini(&out);
}

static void usage_is_grouped_and_filtered(void **state)
{
    struct fixture *f = *state;
    struct usage_query q = {.by = USAGE_BY_KEY};

    put_mixed(f);
    assert_usage(f, &q, "key_a=6 key_b=6");
    q.by = USAGE_BY_MODEL;
    assert_usage(f, &q, "fast=4 smart=4 tiny=4");
    q.by = USAGE_BY_TEAM;
    assert_usage(f, &q, "blue=6 red=6");
    q.by = USAGE_BY_DAY;
    assert_usage(f, &q, "2026-11-20=6 2026-11-21=6");
    q.by = USAGE_BY_TARGET;
    assert_usage(f, &q, "openai/gpt-5-mini=12");
    q.by = USAGE_BY_MODEL;
    q.key_id = STR("key_a");
    assert_usage(f, &q, "fast=2 smart=2 tiny=2");
    q.team = STR("red");
    assert_usage(f, &q, "");
}

static void range_ends_inside_of_days_are_exact(void **state)
{
    struct fixture *f = *state;
    struct usage_query q = {.by = USAGE_BY_DAY};

    put_mixed(f);
    q.since_wall_ms = DAY0 + 2 * 3600000;
    assert_usage(f, &q, "2026-11-20=4 2026-11-21=6");
    q.until_wall_ms = DAY0 + TALLY_DAY_MS + 3600000;
    assert_usage(f, &q, "2026-11-20=4 2026-11-21=1");
    q.until_wall_ms = DAY0 + 3 * 3600000;
    assert_usage(f, &q, "2026-11-20=1");
    q.until_wall_ms = DAY0 + 2 * 3600000;
    assert_usage(f, &q, "");
    q.until_wall_ms = DAY0;
    assert_usage(f, &q, "");
}

struct export
{
    unsigned n;
    int64_t last;
};

static enum err export_row(void *arg, const struct usage_row *row)
{
    struct export *e = arg;

    assert_true(row->time_wall_ms >= e->last);
    e->last = row->time_wall_ms;
    e->n++;
    return e->n == 5000 ? ERR_CLOSED : ERR_OK;
}

static void export_gives_rows_oldest_first(void **state)
{
    struct fixture *f = *state;
    struct export e = {0};

    for (unsigned i = 0; i < 3000; i++)
        put(f, DAY0 + 3000 - i);
    assert_int_equal(ledger_export(f->ledger, 0, 0, export_row, &e), ERR_OK);
    assert_int_equal(e.n, 3000);
    e = (struct export){0};
    assert_int_equal(
        ledger_export(f->ledger, DAY0 + 100, DAY0 + 200, export_row, &e),
        ERR_OK);
    assert_int_equal(e.n, 100);
    e = (struct export){.n = 4990};
    assert_int_equal(ledger_export(f->ledger, 0, 0, export_row, &e),
                     ERR_CLOSED);
}

static void clean_stop_leaves_no_journal(void **state)
{
    struct fixture *f = *state;

    put(f, DAY0);
    close_all(f);
    assert_int_equal(count_files(f->dir, ".journal"), 0);
    open_ledger(f);
    open_seat(f);
    assert_int_equal(total(f).requests, 1);
    assert_int_equal(ledger_stats(f->ledger).rows_replayed, 0);
}

static void full_journals_are_followed_by_new_ones(void **state)
{
    struct fixture *f = *state;

    f->opts.journal_bytes = 4096;
    open_ledger(f);
    open_seat(f);
    for (unsigned i = 0; i < 2000; i++) {
        put(f, DAY0);
        if (i % 50 == 0)
            assert_int_equal(ledger_flush(f->ledger), ERR_OK);
    }
    assert_int_equal(total(f).requests, 2000);
    assert_int_equal(ledger_flush(f->ledger), ERR_OK);
    assert_true(count_files(f->dir, ".journal") <= 3);
    assert_proved(f);
}

static void seat_is_given_once(void **state)
{
    struct fixture *f = *state;
    struct ledger_worker *lw = NULL;

    assert_int_equal(ledger_worker_open(f->ledger, 0, &lw), ERR_EXISTS);
    assert_int_equal(ledger_worker_open(f->ledger, 8, &lw), ERR_RANGE);
    assert_null(lw);
    assert_int_equal(count_files(f->dir, ".journal"), 1);
    ledger_worker_close(f->lw);
    open_seat(f);
}

static void old_rows_go_and_counters_stay(void **state)
{
    struct fixture *f = *state;
    const struct usage_query q = {.since_wall_ms = DAY0 + 10};
    struct usage_report r;
    struct export e = {0};

    f->opts.keep_rows = 100;
    open_ledger(f);
    open_seat(f);
    for (unsigned i = 0; i < 300; i++)
        put(f, DAY0 + i);
    assert_int_equal(ledger_flush(f->ledger), ERR_OK);
    while (ledger_stats(f->ledger).rows_pruned < 200) {
        clock_advance_ms(1100); /* a tick is due in the next round */
        assert_int_equal(ledger_flush(f->ledger), ERR_OK);
    }
    assert_int_equal(total(f).requests, 300);
    assert_int_equal(ledger_export(f->ledger, 0, 0, export_row, &e), ERR_OK);
    assert_int_equal(e.n, 100);
    assert_int_equal(ledger_usage(f->ledger, &q, &r), ERR_OK);
    assert_true(r.rounded);
    usage_report_fini(&r);
    assert_proved(f);
}

static void future_rows_do_not_empty_the_ledger(void **state)
{
    struct fixture *f = *state;
    struct export e = {0};
    const int64_t now = (int64_t)clock_wall_ms();

    put(f, now);
    put(f, now + 400 * (int64_t)TALLY_DAY_MS);
    assert_int_equal(ledger_flush(f->ledger), ERR_OK);
    clock_advance_ms(1100);
    assert_int_equal(ledger_flush(f->ledger), ERR_OK);
    assert_int_equal(ledger_flush(f->ledger), ERR_OK);
    assert_int_equal(ledger_export(f->ledger, 0, 0, export_row, &e), ERR_OK);
    assert_int_equal(e.n, 2);
}

static enum err find_counter(void *arg, struct str key, struct str payload)
{
    struct buf *to = arg;

    (void)payload;
    buf_clear(to);
    return buf_put_str(to, key);
}

/* Changes a counter behind the ledger's back. */
struct forge {
    struct wjob job;
    struct buf key;
};

static enum err forge_run(struct txn *t, struct wjob *job)
{
    struct forge *g = (struct forge *)(void *)job;
    const struct tally lie = {.requests = 77};
    uint8_t bytes[TALLY_BYTES_MAX];

    return ldb_put(t, LDB_COUNTERS, buf_str(&g->key),
                   str_of(bytes, tally_encode(&lie, bytes)));
}

static void verify_finds_a_counter_that_lies(void **state)
{
    struct fixture *f = *state;
    struct forge g = {.job = {.run = forge_run}};

    put(f, DAY0);
    assert_proved(f);
    buf_init(&g.key, 1024);
    assert_int_equal(ldb_each(ledger_database(f->ledger), LDB_COUNTERS,
                              find_counter, &g.key, &f->why),
                     ERR_OK);
    assert_int_equal(writer_call(ledger_writer(f->ledger), &g.job), ERR_OK);
    buf_clear(&f->why);
    assert_int_equal(ledger_verify(f->ledger, &f->why), ERR_CORRUPT);
    assert_true(str_find(buf_str(&f->why), STR("77 requests")) < f->why.len);
    buf_fini(&g.key);
}

/* Many workers at once beside questions. */
struct crowd {
    struct fixture *f;
    unsigned index;
    unsigned rows;
    unsigned failed;
};

static void *put_many(void *arg)
{
    struct crowd *c = arg;
    struct ledger_worker *lw = NULL;
    char id[ID_SIZE];

    if (ledger_worker_open(c->f->ledger, c->index, &lw) != ERR_OK) {
        c->failed++;
        return NULL;
    }
    for (unsigned i = 0; i < c->rows; i++) {
        const struct usage_row row = row_at(id, DAY0 + i);

        c->failed += ledger_row_put(lw, &row) != ERR_OK;
    }
    ledger_worker_close(lw);
    return NULL;
}

static void workers_and_questions_go_together(void **state)
{
    struct fixture *f = *state;
    pthread_t threads[4];
    struct crowd crowd[4];
    unsigned last = 0;

    f->opts.map_bytes = 1 << 20;
    f->opts.journal_bytes = 32 << 10;
    open_ledger(f);
    for (unsigned i = 0; i < 4; i++) {
        crowd[i] = (struct crowd){.f = f, .index = i, .rows = 2000};
        assert_int_equal(pthread_create(&threads[i], NULL, put_many, &crowd[i]),
                         0);
    }
    for (unsigned i = 0; i < 10; i++) {
        const unsigned now = (unsigned)total(f).requests;

        assert_true(now >= last);
        last = now;
    }
    for (unsigned i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(crowd[i].failed, 0);
    }
    assert_int_equal(total(f).requests, 8000);
    assert_int_equal(ledger_stats(f->ledger).rows_waiting, 0);
    assert_proved(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        OPEN(row_is_found_by_its_id),
        OPEN(sums_include_rows_not_yet_folded),
        OPEN(same_id_counts_once),
        OPEN(usage_is_grouped_and_filtered),
        OPEN(range_ends_inside_of_days_are_exact),
        OPEN(export_gives_rows_oldest_first),
        OPEN(clean_stop_leaves_no_journal),
        SHUT(full_journals_are_followed_by_new_ones),
        OPEN(seat_is_given_once),
        SHUT(old_rows_go_and_counters_stay),
        OPEN(future_rows_do_not_empty_the_ledger),
        OPEN(verify_finds_a_counter_that_lies),
        SHUT(workers_and_questions_go_together),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
