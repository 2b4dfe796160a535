/* t_ledger_crash.c - The promises of the ledger: nothing acknowledged is lost
 * and nothing counted twice, whatever is killed, torn, full or failing.
 * TG_KILL_ROUNDS sets how often the kill -9 test kills (default 30). */
#include "unit/ledger_fixture.h"

#include "account/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

/* Writes of the database's head pages fail while this is above 0, and count
 * it down. */
static _Atomic(int) head_writes_to_fail;

static bool is_database(int fd)
{
    char link[64];
    char path[4096];

    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    const ssize_t n = readlink(link, path, sizeof(path));
    return n > 0 && str_ends(str_of(path, (size_t)n), STR("data.mdb"));
}

/* Stands before the C library's for LMDB, too. */
ssize_t pwrite(int fd, const void *p, size_t len, off_t at)
{
    if (atomic_load(&head_writes_to_fail) > 0 && at < 8192 && is_database(fd)) {
        atomic_fetch_sub(&head_writes_to_fail, 1);
        errno = EIO;
        return -1;
    }
    return syscall(SYS_pwrite64, fd, p, len, at);
}

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

    f->opts.group_ms = 60000; /* hardly anything is folded before */
    put_and_die(f, 500);
    assert_int_equal(count_files(f->dir, ".journal"), 1);
    open_ledger(f);
    open_seat(f);
    /* On a loaded machine the writer may be woken before its time and fold
     * some rows while the child still puts others: each counts once. */
    assert_true(ledger_stats(f->ledger).rows_replayed <= 500);
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

static void failed_head_page_is_survived_by_reopening(void **state)
{
    struct fixture *f = *state;

    put(f, DAY0);
    assert_int_equal(ledger_flush(f->ledger), ERR_OK);
    atomic_store(&head_writes_to_fail, 1);
    put(f, DAY0);
    assert_int_equal(ledger_flush(f->ledger), ERR_LEDGER);
    atomic_store(&head_writes_to_fail, 0);
    put(f, DAY0);
    await_ok(f);
    assert_int_equal(total(f).requests, 3);
    assert_proved(f);
}

static void head_page_that_never_works_is_fatal(void **state)
{
    struct fixture *f = *state;

    put(f, DAY0);
    assert_int_equal(ledger_flush(f->ledger), ERR_OK);
    atomic_store(&head_writes_to_fail, 1000000);
    put(f, DAY0);
    for (unsigned i = 0; ledger_state(f->ledger) != LEDGER_FATAL; i++) {
        assert_true(i < 10000);
        assert_int_equal(ledger_flush(f->ledger), ERR_LEDGER);
    }
    put(f, DAY0); /* the journal still takes rows */
    buf_clear(&f->why);
    assert_int_equal(ledger_trouble(f->ledger, &f->why), ERR_OK);
    assert_true(f->why.len > 0);
    close_all(f);
    atomic_store(&head_writes_to_fail, 0);
    open_ledger(f);
    open_seat(f);
    assert_int_equal(total(f).requests, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
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
        OPEN(failed_head_page_is_survived_by_reopening),
        OPEN(head_page_that_never_works_is_fatal),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
