/* t_ledger.c - The promises of the ledger: nothing acknowledged is lost,
 * nothing counted twice, full disks and maps survived, sums that are true.
 * TG_KILL_ROUNDS sets how often the kill -9 test kills (default 30). */
#include "account/ledger.h"

#include "account/journal.h"
#include "base/clock.h"
#include "base/id.h"
#include "store/ledger_db.h"
#include "store/writer.h"

#include "unit/state_dir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>

/* 2026-11-20 00:00 UTC. */
#define DAY0 (INT64_C(20777) * TALLY_DAY_MS)

struct fixture {
    char *dir;
    struct ledger_opts opts;
    struct ledger *ledger;
    struct ledger_worker *lw;
    struct buf why;
};

static void open_ledger(struct fixture *f)
{
    buf_clear(&f->why);
    if (ledger_open(&f->opts, &f->ledger, &f->why) != ERR_OK)
        fail_msg("%.*s", STR_ARG(buf_str(&f->why)));
}

static void open_seat(struct fixture *f)
{
    assert_int_equal(ledger_worker_open(f->ledger, 0, &f->lw), ERR_OK);
}

static void close_all(struct fixture *f)
{
    ledger_worker_close(f->lw);
    ledger_close(f->ledger);
    f->lw = NULL;
    f->ledger = NULL;
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    f->dir = state_dir_make();
    f->opts = (struct ledger_opts){.state_dir = f->dir, .workers = 8};
    buf_init(&f->why, 1 << 20);
    *state = f;
    return 0;
}

static int setup_open(void **state)
{
    setup(state);
    open_ledger(*state);
    open_seat(*state);
    return 0;
}

static int teardown(void **state)
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
static struct usage_row row_at(char id[ID_SIZE], int64_t wall_ms)
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

static void put(struct fixture *f, int64_t wall_ms)
{
    char id[ID_SIZE];
    const struct usage_row row = row_at(id, wall_ms);

    assert_int_equal(ledger_row_put(f->lw, &row), ERR_OK);
}

static struct usage_sum total(struct fixture *f)
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

static void assert_proved(struct fixture *f)
{
    buf_clear(&f->why);
    if (ledger_verify(f->ledger, &f->why) != ERR_OK)
        fail_msg("%.*s", STR_ARG(buf_str(&f->why)));
}

static unsigned count_files(const char *dir, const char *end)
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

/* ---------------------------------------------------------------------- */

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

/* --- crashes ------------------------------------------------------------ */

/* In a child: open, put <n> rows, die without closing anything. */
static void put_and_die(struct fixture *f, unsigned n)
{
    const pid_t child = fork();

    if (child == 0) {
        open_ledger(f);
        open_seat(f);
        for (unsigned i = 0; i < n; i++)
            put(f, DAY0);
        kill(getpid(), SIGKILL);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
}

static void journals_of_a_killed_process_are_folded_once(void **state)
{
    struct fixture *f = *state;

    f->opts.group_ms = 60000; /* nothing reaches the database before */
    put_and_die(f, 500);
    assert_int_equal(count_files(f->dir, ".journal"), 1);
    open_ledger(f);
    open_seat(f);
    assert_int_equal(ledger_stats(f->ledger).rows_replayed, 500);
    assert_int_equal(total(f).requests, 500);
    assert_int_equal(count_files(f->dir, ".journal"), 1); /* our own */
    close_all(f);
    open_ledger(f);
    open_seat(f);
    assert_int_equal(ledger_stats(f->ledger).rows_replayed, 0);
    assert_int_equal(total(f).requests, 500);
    assert_proved(f);
}

/* The one journal of a state directory. */
static void find_journal(const char *dir, char path[8192])
{
    char journal[4096];
    DIR *d = opendir(state_dir_path(dir, "journal", journal));

    for (const struct dirent *e = readdir(d); e; e = readdir(d)) {
        if (str_ends(str_from(e->d_name), STR(".journal")))
            snprintf(path, 8192, "%s/%s", journal, e->d_name);
    }
    closedir(d);
}

static void torn_journal_is_no_obstacle(void **state)
{
    struct fixture *f = *state;
    char path[8192];
    struct stat st;

    f->opts.group_ms = 60000;
    put_and_die(f, 10);
    find_journal(f->dir, path);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(truncate(path, st.st_size - 9), 0);
    open_ledger(f);
    open_seat(f);
    assert_int_equal(total(f).requests, 9);
    assert_int_equal(ledger_stats(f->ledger).journal_damaged, 0);
    close_all(f);
    assert_int_equal(count_files(f->dir, ".journal"), 0);
}

static void journal_with_nothing_but_a_torn_end_goes(void **state)
{
    struct fixture *f = *state;
    char path[8192];

    put_and_die(f, 0);
    find_journal(f->dir, path);
    assert_int_equal(truncate(path, JOURNAL_HEAD_BYTES + 700), 0);
    open_ledger(f);
    open_seat(f);
    close_all(f);
    assert_int_equal(count_files(f->dir, ".journal"), 0);
}

static void damage_in_the_middle_is_told_and_kept(void **state)
{
    struct fixture *f = *state;
    char path[8192];

    f->opts.group_ms = 60000;
    put_and_die(f, 10);
    find_journal(f->dir, path);
    const int fd = open(path, O_RDWR);
    assert_int_equal(pwrite(fd, "XXXX", 4, JOURNAL_HEAD_BYTES + 60), 4);
    close(fd);
    open_ledger(f);
    open_seat(f);
    assert_int_equal(total(f).requests, 9);
    assert_true(ledger_stats(f->ledger).journal_damaged > 0);
    close_all(f);
    assert_int_equal(count_files(f->dir, ".damaged"), 1);
}

static void unreadable_journal_is_refused_by_name(void **state)
{
    struct fixture *f = *state;
    char path[8192];

    f->opts.group_ms = 60000;
    put_and_die(f, 10);
    find_journal(f->dir, path);
    const int fd = open(path, O_RDWR);
    assert_int_equal(pwrite(fd, "XXXX", 4, 10), 4);
    close(fd);
    assert_int_equal(ledger_open(&f->opts, &f->ledger, &f->why), ERR_CORRUPT);
    assert_true(str_find(buf_str(&f->why), str_from(path)) < f->why.len);
    assert_int_equal(count_files(f->dir, ".journal"), 1);
}

/* A file that comes back after its rows are in the ledger. */
static void journal_come_back_counts_nothing_twice(void **state)
{
    struct fixture *f = *state;
    char path[8192];
    char aside[9000];

    f->opts.group_ms = 60000;
    put_and_die(f, 20);
    find_journal(f->dir, path);
    snprintf(aside, sizeof(aside), "%s.copy", path);
    assert_int_equal(link(path, aside), 0);
    open_ledger(f);
    open_seat(f);
    put(f, DAY0); /* its folding record is deleted with this row */
    assert_int_equal(ledger_flush(f->ledger), ERR_OK);
    close_all(f);
    assert_int_equal(rename(aside, path), 0);
    open_ledger(f);
    open_seat(f);
    assert_int_equal(total(f).requests, 21);
    assert_proved(f);
}

/* Have this process killed by the kernel <us> from now on. */
static void die_in(long us)
{
    struct sigevent kill_me = {.sigev_notify = SIGEV_SIGNAL,
                               .sigev_signo = SIGKILL};
    const struct itimerspec when = {
        .it_value = {.tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000}};
    timer_t timer;

    if (timer_create(CLOCK_MONOTONIC, &kill_me, &timer) != 0 ||
        timer_settime(timer, 0, &when, NULL) != 0)
        _exit(1);
}

/* Put rows until killed, telling each id after its row was accepted. */
static void put_and_tell(struct fixture *f, int fd, long us)
{
    die_in(us);
    open_ledger(f);
    open_seat(f);
    for (;;) {
        char id[ID_SIZE];
        const struct usage_row row = row_at(id, DAY0);

        if (ledger_row_put(f->lw, &row) != ERR_OK ||
            write(fd, id, ROW_ID_LEN) != ROW_ID_LEN)
            _exit(1);
    }
}

/* Ids told by children so far. */
struct told {
    char *ids;
    size_t n, room;
};

static void hear(struct told *t, int fd)
{
    for (;;) {
        if (t->n == t->room) {
            t->room = t->room ? 2 * t->room : 4096;
            t->ids = realloc(t->ids, t->room * ROW_ID_LEN);
        }
        size_t have = 0;
        while (have < ROW_ID_LEN) {
            const ssize_t n =
                read(fd, t->ids + t->n * ROW_ID_LEN + have, ROW_ID_LEN - have);

            if (n <= 0)
                return;
            have += (size_t)n;
        }
        t->n++;
    }
}

static void assert_all_there(struct fixture *f, const struct told *t,
                             size_t from)
{
    struct buf room;

    buf_init(&room, 4096);
    for (size_t i = from; i < t->n; i++) {
        struct usage_row row;
        const struct str id = str_of(t->ids + i * ROW_ID_LEN, ROW_ID_LEN);

        if (ledger_row_find(f->ledger, id, &room, &row) != ERR_OK)
            fail_msg("row %.*s was acknowledged and is lost", STR_ARG(id));
    }
    buf_fini(&room);
}

/* One round: a child opens the ledger and puts rows until it is killed, at
 * any instant of that. */
static void kill_round(struct fixture *f, struct told *told, unsigned round)
{
    const size_t before = told->n;
    const long us = 100 + random() % (random() % 2 ? 100000 : 30000);
    int fds[2];

    assert_int_equal(pipe(fds), 0);
    const pid_t child = fork();
    if (child == 0) {
        close(fds[0]);
        put_and_tell(f, fds[1], us);
    }
    close(fds[1]);
    hear(told, fds[0]);
    close(fds[0]);
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    open_ledger(f);
    assert_all_there(f, told, before);
    const unsigned n = (unsigned)total(f).requests;
    /* at most the one row that was put but not yet told, each round */
    assert_true(n >= told->n && n <= told->n + round + 1);
    ledger_close(f->ledger);
    f->ledger = NULL;
}

static void kill_at_any_instant_loses_nothing(void **state)
{
    struct fixture *f = *state;
    const char *rounds = getenv("TG_KILL_ROUNDS");
    const unsigned n = rounds ? (unsigned)atoi(rounds) : 30;
    struct told told = {0};

    srandom(20261121);
    f->opts.journal_bytes = 64 << 10;
    for (unsigned i = 0; i < n; i++)
        kill_round(f, &told, i);
    open_ledger(f);
    assert_all_there(f, &told, 0);
    assert_proved(f);
    print_message("%u kills, %zu rows acknowledged, none lost\n", n, told.n);
    ledger_close(f->ledger);
    f->ledger = NULL;
    free(told.ids);
}

/* --- trouble ------------------------------------------------------------ */

static void full_map_keeps_rows_in_the_journal(void **state)
{
    struct fixture *f = *state;
    unsigned n = 0;

    f->opts.map_bytes = 1 << 20;
    f->opts.map_bytes_max = 1 << 20;
    open_ledger(f);
    open_seat(f);
    while (ledger_flush(f->ledger) == ERR_OK) {
        for (unsigned i = 0; i < 100; i++, n++)
            put(f, DAY0);
    }
    assert_int_equal(ledger_flush(f->ledger), ERR_LEDGER);
    assert_int_equal(ledger_state(f->ledger), LEDGER_UNAVAILABLE);
    buf_clear(&f->why);
    assert_int_equal(ledger_trouble(f->ledger, &f->why), ERR_OK);
    assert_true(str_find(buf_str(&f->why), STR("MAP_FULL")) < f->why.len);
    put(f, DAY0); /* still accepted, still safe */
    n++;
    close_all(f);
    f->opts.map_bytes_max = 64 << 20;
    open_ledger(f);
    open_seat(f);
    assert_int_equal(total(f).requests, n);
    assert_int_equal(ledger_state(f->ledger), LEDGER_OK);
    assert_proved(f);
}

static void map_grows_as_rows_come(void **state)
{
    struct fixture *f = *state;

    f->opts.map_bytes = 1 << 20;
    open_ledger(f);
    open_seat(f);
    for (unsigned i = 0; i < 10000; i++)
        put(f, DAY0 + i);
    assert_int_equal(total(f).requests, 10000);
    assert_true(ledger_stats(f->ledger).map_bytes > 1 << 20);
    assert_int_equal(ledger_state(f->ledger), LEDGER_OK);
}

/* Take all space of the file system that <path> is on. */
static void fill_disk(const char *path)
{
    static char block[65536];
    const int fd = open(path, O_WRONLY | O_CREAT, 0600);
    size_t len = sizeof(block);

    assert_true(fd >= 0);
    while (len > 0) {
        if (write(fd, block, len) <= 0)
            len /= 2;
    }
    close(fd);
}

/* Wait for LEDGER_OK by asking the writer to try, which it does at once. */
static void await_ok(struct fixture *f)
{
    for (unsigned i = 0; i < 10000; i++) {
        if (ledger_flush(f->ledger) == ERR_OK &&
            ledger_state(f->ledger) == LEDGER_OK)
            return;
    }
    fail_msg("the ledger does not come back");
}

/* Mount a tmpfs over the state directory; false when we may not. */
static bool mount_small(const struct fixture *f)
{
    return mount("none", f->dir, "tmpfs", 0, "size=12m,mode=0700") == 0;
}

static void full_disk_is_survived(void **state)
{
    struct fixture *f = *state;
    char filler[4096];
    unsigned n = 0;

    if (!mount_small(f)) {
        skip();
        return;
    }
    open_ledger(f);
    open_seat(f);
    put(f, DAY0);
    n++;
    assert_int_equal(ledger_flush(f->ledger), ERR_OK);
    fill_disk(state_dir_path(f->dir, "filler", filler));
    while (ledger_flush(f->ledger) == ERR_OK) {
        for (unsigned i = 0; i < 200; i++, n++)
            put(f, DAY0);
    }
    assert_int_equal(ledger_flush(f->ledger), ERR_LEDGER);
    assert_int_equal(ledger_state(f->ledger), LEDGER_UNAVAILABLE);
    for (unsigned i = 0; i < 500; i++, n++)
        put(f, DAY0); /* in flight: into the reserve */
    assert_int_equal(ledger_stats(f->ledger).rows_refused, 0);
    assert_int_equal(unlink(filler), 0);
    await_ok(f);
    assert_int_equal(total(f).requests, n);
    assert_proved(f);
    close_all(f);
    umount2(f->dir, MNT_DETACH);
}

static void rows_of_a_full_disk_outlive_kill(void **state)
{
    struct fixture *f = *state;
    char filler[4096];

    if (!mount_small(f)) {
        skip();
        return;
    }
    state_dir_path(f->dir, "filler", filler);
    const pid_t child = fork();
    if (child == 0) {
        open_ledger(f);
        open_seat(f);
        assert_int_equal(ledger_flush(f->ledger), ERR_OK);
        fill_disk(filler);
        for (unsigned i = 0; i < 1000; i++)
            put(f, DAY0);
        kill(getpid(), SIGKILL);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    open_ledger(f); /* starts with a full disk, too */
    open_seat(f);
    assert_int_equal(unlink(filler), 0);
    await_ok(f);
    assert_int_equal(total(f).requests, 1000);
    close_all(f);
    umount2(f->dir, MNT_DETACH);
}

/* Journals cannot be written at all: rows wait in memory, bounded. */
static void waiting_room_is_bounded_and_comes_back(void **state)
{
    struct fixture *f = *state;
    struct rlimit old;
    unsigned n = 0;
    char id[ID_SIZE];

    f->opts.map_bytes = 1 << 20;
    open_ledger(f);
    open_seat(f);
    put(f, DAY0);
    n++;
    assert_int_equal(ledger_flush(f->ledger), ERR_OK);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    signal(SIGXFSZ, SIG_IGN);
    const struct rlimit none = {100, old.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &none), 0);
    enum err err = ERR_OK;
    while (err == ERR_OK) {
        const struct usage_row row = row_at(id, DAY0);

        err = ledger_row_put(f->lw, &row);
        n += err == ERR_OK;
    }
    assert_int_equal(err, ERR_FULL);
    assert_int_equal(ledger_state(f->ledger), LEDGER_UNAVAILABLE);
    assert_int_equal(ledger_stats(f->ledger).rows_refused, 1);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    await_ok(f);
    assert_int_equal(total(f).requests, n);
    put(f, DAY0);
    assert_int_equal(total(f).requests, n + 1);
    assert_proved(f);
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

/* --- proofs ------------------------------------------------------------- */

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

#define OPEN(name) cmocka_unit_test_setup_teardown(name, setup_open, teardown)
#define SHUT(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

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
        SHUT(journals_of_a_killed_process_are_folded_once),
        SHUT(torn_journal_is_no_obstacle),
        SHUT(journal_with_nothing_but_a_torn_end_goes),
        SHUT(damage_in_the_middle_is_told_and_kept),
        SHUT(unreadable_journal_is_refused_by_name),
        SHUT(journal_come_back_counts_nothing_twice),
        SHUT(kill_at_any_instant_loses_nothing),
        SHUT(full_map_keeps_rows_in_the_journal),
        SHUT(map_grows_as_rows_come),
        SHUT(full_disk_is_survived),
        SHUT(rows_of_a_full_disk_outlive_kill),
        SHUT(waiting_room_is_bounded_and_comes_back),
        SHUT(old_rows_go_and_counters_stay),
        OPEN(future_rows_do_not_empty_the_ledger),
        OPEN(verify_finds_a_counter_that_lies),
        SHUT(workers_and_questions_go_together),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
