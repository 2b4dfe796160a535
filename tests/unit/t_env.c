/* t_env.c - One LMDB environment: who may open it, what a damaged file does,
 * growing, stale readers, a failed head page. */
#include "store/child.h"
#include "store/env.h"
#include "store/ledger_db.h"

#include "unit/state_dir.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <sys/wait.h>

/* Writes of head pages fail while this is above 0, and count it down. */
static _Atomic(int) head_writes_to_fail;

/* Stands before the C library's for LMDB, too. */
ssize_t pwrite(int fd, const void *p, size_t len, off_t at)
{
    if (at < 8192 && len < 4096 && atomic_load(&head_writes_to_fail) > 0) {
        atomic_fetch_sub(&head_writes_to_fail, 1);
        errno = EIO;
        return -1;
    }
    return syscall(SYS_pwrite64, fd, p, len, at);
}

struct fixture {
    char *dir; /* the state directory */
    char ledger[4096];
    char data[4096];
    struct buf why;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    f->dir = state_dir_make();
    state_dir_path(f->dir, "ledger", f->ledger);
    state_dir_path(f->dir, "ledger/data.mdb", f->data);
    buf_init(&f->why, 4096);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    state_dir_drop(f->dir);
    buf_fini(&f->why);
    free(f);
    return 0;
}

static enum err open_db(struct fixture *f, size_t map, size_t max,
                        struct ledger_db **db)
{
    const struct ldb_opts opts = {
        .dir = f->ledger, .map_bytes = map, .map_bytes_max = max};

    buf_clear(&f->why);
    return ldb_open(&opts, db, &f->why);
}

static struct ledger_db *must_open(struct fixture *f)
{
    struct ledger_db *db = NULL;

    if (open_db(f, 1 << 20, 64 << 20, &db) != ERR_OK)
        fail_msg("%.*s", STR_ARG(buf_str(&f->why)));
    return db;
}

static bool says(const struct fixture *f, const char *text)
{
    return str_find(buf_str(&f->why), str_from(text)) < f->why.len;
}

/* Store <n> records of 300 bytes. */
static void fill(struct ledger_db *db, unsigned n)
{
    char payload[300];
    struct txn t;

    memset(payload, 'p', sizeof(payload));
    assert_int_equal(txn_begin_write(ldb_env(db), &t), ERR_OK);
    for (unsigned i = 0; i < n; i++) {
        char key[16];
        const int len = snprintf(key, sizeof(key), "k%06u", i);

        assert_int_equal(ldb_put(&t, LDB_META, str_of(key, (size_t)len),
                                 str_of(payload, sizeof(payload))),
                         ERR_OK);
    }
    assert_int_equal(txn_commit(&t), ERR_OK);
}

static enum err count_one(void *arg, struct str key, struct str payload)
{
    (void)key;
    (void)payload;
    ++*(unsigned *)arg;
    return ERR_OK;
}

static unsigned count(struct fixture *f, struct ledger_db *db)
{
    unsigned n = 0;

    assert_int_equal(ldb_each(db, LDB_META, count_one, &n, &f->why), ERR_OK);
    return n;
}

static void what_is_committed_is_there_again(void **state)
{
    struct fixture *f = *state;
    struct ledger_db *db = must_open(f);

    fill(db, 100);
    ldb_close(db);
    db = must_open(f);
    assert_int_equal(count(f, db), 100);
    ldb_close(db);
}

static void files_are_for_the_owner_alone(void **state)
{
    static const char *const names[] = {"data.mdb", "lock.mdb", "lock",
                                        "format"};
    struct fixture *f = *state;
    char path[8192];
    struct stat st;

    ldb_close(must_open(f));
    assert_int_equal(stat(f->ledger, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    for (size_t i = 0; i < 4; i++) {
        snprintf(path, sizeof(path), "%s/%s", f->ledger, names[i]);
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_mode & 0777, 0600);
    }
}

static void directory_open_to_others_is_closed(void **state)
{
    struct fixture *f = *state;
    struct stat st;

    assert_int_equal(mkdir(f->ledger, 0755), 0);
    ldb_close(must_open(f));
    assert_int_equal(stat(f->ledger, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
}

static void second_open_in_this_process_is_refused(void **state)
{
    struct fixture *f = *state;
    struct ledger_db *db = must_open(f);
    struct ledger_db *again = NULL;

    assert_int_equal(open_db(f, 1 << 20, 1 << 20, &again), ERR_EXISTS);
    assert_true(says(f, "already in this process"));
    assert_true(says(f, f->data));
    ldb_close(db);
    ldb_close(must_open(f));
}

static void second_process_is_refused_and_told_who(void **state)
{
    struct fixture *f = *state;
    struct ledger_db *db = must_open(f);
    char pid[32];

    snprintf(pid, sizeof(pid), "process %ld", (long)getpid());
    const pid_t child = fork();
    if (child == 0) {
        struct ledger_db *again = NULL;
        const enum err err = open_db(f, 1 << 20, 1 << 20, &again);

        _exit(err == ERR_EXISTS && says(f, pid) && says(f, "/lock is held")
                  ? 0
                  : 1);
    }
    int status = 1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    ldb_close(db);
}

static void lock_goes_with_a_killed_process(void **state)
{
    struct fixture *f = *state;
    int fds[2];
    char c;

    assert_int_equal(pipe(fds), 0);
    const pid_t child = fork();
    if (child == 0) {
        must_open(f);
        assert_int_equal(write(fds[1], "x", 1), 1);
        for (;;)
            pause();
    }
    assert_int_equal(read(fds[0], &c, 1), 1);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    ldb_close(must_open(f));
    close(fds[0]);
    close(fds[1]);
}

static void file_cut_short_is_refused_by_name(void **state)
{
    struct fixture *f = *state;
    struct ledger_db *db = must_open(f);
    struct stat st;

    fill(db, 500);
    ldb_close(db);
    assert_int_equal(stat(f->data, &st), 0);
    for (off_t size = st.st_size - 4096; size > 0; size -= 12288) {
        struct stat now;

        assert_int_equal(truncate(f->data, size), 0);
        db = NULL;
        assert_int_equal(open_db(f, 1 << 20, 64 << 20, &db), ERR_CORRUPT);
        assert_null(db);
        assert_true(says(f, f->data));
        assert_true(says(f, "is damaged"));
        assert_int_equal(stat(f->data, &now), 0);
        assert_int_equal(now.st_size, size); /* left as it was found */
    }
}

static void file_gone_or_emptied_is_not_made_anew(void **state)
{
    struct fixture *f = *state;
    struct ledger_db *db = must_open(f);

    fill(db, 5);
    ldb_close(db);
    assert_int_equal(truncate(f->data, 0), 0);
    assert_int_equal(open_db(f, 1 << 20, 64 << 20, &db), ERR_CORRUPT);
    assert_true(says(f, "missing or empty"));
    assert_int_equal(unlink(f->data), 0);
    assert_int_equal(open_db(f, 1 << 20, 64 << 20, &db), ERR_CORRUPT);
    assert_true(says(f, "missing or empty"));
    assert_int_not_equal(access(f->data, F_OK), 0);
}

static void newer_format_is_refused(void **state)
{
    struct fixture *f = *state;
    struct ledger_db *db = must_open(f);
    char path[8192];

    ldb_close(db);
    snprintf(path, sizeof(path), "%s/format", f->ledger);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs("tollgate store 2\n", file);
    fclose(file);
    assert_int_equal(open_db(f, 1 << 20, 64 << 20, &db), ERR_CORRUPT);
    assert_true(says(f, "version"));
}

/* Flip bits all over the file, one copy at a time: opening either refuses or
 * gives whole records; this process lives in any case. */
static void flipped_bits_never_kill_or_lie(void **state)
{
    struct fixture *f = *state;
    struct ledger_db *db = must_open(f);
    static uint8_t good[4 << 20];
    unsigned refused = 0;

    fill(db, 300);
    ldb_close(db);
    int fd = open(f->data, O_RDWR);
    const ssize_t len = read(fd, good, sizeof(good));
    assert_true(len > 0);
    srandom(7);
    for (unsigned i = 0; i < 150; i++) {
        const off_t at = i < 50 ? (off_t)(i * 3) : random() % len;
        const uint8_t bad = good[at] ^ (uint8_t)(1 << random() % 8);

        assert_int_equal(pwrite(fd, &bad, 1, at), 1);
        db = NULL;
        if (open_db(f, 1 << 20, 64 << 20, &db) != ERR_OK) {
            assert_true(says(f, f->data));
            refused++;
        } else {
            unsigned n = 0;
            const enum err err = ldb_each(db, LDB_META, count_one, &n, &f->why);

            assert_int_equal(err, ERR_OK);
            ldb_close(db);
        }
        assert_int_equal(pwrite(fd, good, (size_t)len, 0), len);
        assert_int_equal(ftruncate(fd, len), 0);
    }
    close(fd);
    assert_true(refused > 50);
}

static void damaged_disposable_file_is_set_aside(void **state)
{
    static const char *const tables[] = {"a"};
    struct fixture *f = *state;
    const struct env_opts opts = {.dir = f->ledger,
                                  .what = "cache",
                                  .tables = tables,
                                  .n_tables = 1,
                                  .flags = ENV_NOSYNC | ENV_DISPOSABLE,
                                  .map_bytes = 1 << 20,
                                  .map_bytes_max = 1 << 20};
    struct env *env = NULL;
    char path[8192];

    assert_int_equal(env_open(&opts, &env, &f->why), ERR_OK);
    env_close(env);
    assert_int_equal(truncate(f->data, 5000), 0);
    assert_int_equal(env_open(&opts, &env, &f->why), ERR_OK);
    env_close(env);
    snprintf(path, sizeof(path), "%s.damaged", f->data);
    assert_int_equal(access(path, F_OK), 0);
}

static void map_grows_up_to_its_maximum(void **state)
{
    struct fixture *f = *state;
    struct ledger_db *db = NULL;
    char payload[60000];
    unsigned n = 0;
    unsigned grown = 0;
    enum err err = ERR_OK;

    memset(payload, 'x', sizeof(payload));
    assert_int_equal(open_db(f, 1 << 20, 4 << 20, &db), ERR_OK);
    while (err == ERR_OK) {
        struct txn t;
        char key[16];
        const int len = snprintf(key, sizeof(key), "%06u", n);

        assert_int_equal(txn_begin_write(ldb_env(db), &t), ERR_OK);
        err = ldb_put(&t, LDB_META, str_of(key, (size_t)len),
                      str_of(payload, sizeof(payload)));
        if (err == ERR_OK)
            err = txn_commit(&t);
        txn_end(&t);
        if (err == ERR_OK)
            n++;
        if (err == ERR_FULL && env_grow(ldb_env(db)) == ERR_OK) {
            grown++;
            err = ERR_OK;
        }
    }
    assert_int_equal(err, ERR_FULL);
    assert_int_equal(grown, 2);
    assert_true(n > 50);
    assert_int_equal(count(f, db), n);
    struct txn t; /* deleting works when nothing else does */
    assert_int_equal(txn_begin_write(ldb_env(db), &t), ERR_OK);
    assert_int_equal(ldb_del(&t, LDB_META, STR("000001")), ERR_OK);
    assert_int_equal(txn_commit(&t), ERR_OK);
    ldb_close(db);
}

/* Readers go on while the map grows under them. */
struct grow_race {
    struct ledger_db *db;
    _Atomic(bool) stop;
    _Atomic(unsigned) failures;
};

static void *read_on(void *arg)
{
    struct grow_race *r = arg;
    struct buf why;

    buf_init(&why, 256);
    do {
        unsigned n = 0;

        if (ldb_each(r->db, LDB_META, count_one, &n, &why) != ERR_OK || n < 100)
            atomic_fetch_add(&r->failures, 1);
    } while (!atomic_load(&r->stop));
    buf_fini(&why);
    return NULL;
}

static void readers_survive_growing(void **state)
{
    struct fixture *f = *state;
    struct grow_race r = {.db = must_open(f)};
    pthread_t readers[2];

    fill(r.db, 100);
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&readers[i], NULL, read_on, &r), 0);
    for (unsigned i = 0; i < 6; i++)
        assert_int_equal(env_grow(ldb_env(r.db)), ERR_OK);
    assert_int_equal(env_grow(ldb_env(r.db)), ERR_FULL);
    atomic_store(&r.stop, true);
    for (unsigned i = 0; i < 2; i++)
        pthread_join(readers[i], NULL);
    assert_int_equal(r.failures, 0);
    ldb_close(r.db);
}

static enum err hang(struct txn *t, void *arg, struct buf *out)
{
    (void)t;
    (void)out;
    if (write(*(int *)arg, "x", 1) != 1)
        return ERR_IO;
    for (;;)
        pause();
}

static void reader_that_was_killed_is_dropped(void **state)
{
    struct fixture *f = *state;
    struct ledger_db *db = must_open(f);
    int fds[2];
    char c;

    fill(db, 5);
    assert_int_equal(pipe(fds), 0);
    const pid_t child = fork();
    if (child == 0) {
        const struct ldb_opts opts = {.dir = f->ledger};
        const struct env_opts env = ldb_env_opts(&opts);

        _exit((int)env_look(&env, true, hang, &fds[1], &f->why));
    }
    assert_int_equal(read(fds[0], &c, 1), 1);
    assert_int_equal(env_drop_stale_readers(ldb_env(db)), 0);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    assert_int_equal(env_drop_stale_readers(ldb_env(db)), 1);
    ldb_close(db);
    close(fds[0]);
    close(fds[1]);
}

static void failed_head_page_needs_one_reopen(void **state)
{
    struct fixture *f = *state;
    struct ledger_db *db = must_open(f);
    struct txn t;

    fill(db, 50);
    assert_int_equal(txn_begin_write(ldb_env(db), &t), ERR_OK);
    assert_int_equal(ldb_touch(&t, 1), ERR_OK);
    atomic_store(&head_writes_to_fail, 1);
    assert_int_equal(txn_commit(&t), ERR_IO);
    atomic_store(&head_writes_to_fail, 0);
    assert_int_equal(txn_begin_write(ldb_env(db), &t), ERR_IO);
    assert_true(env_is_panicked(ldb_env(db)));
    assert_int_equal(env_reopen(ldb_env(db), true, &f->why), ERR_OK);
    assert_false(env_is_panicked(ldb_env(db)));
    assert_int_equal(count(f, db), 50);
    fill(db, 60);
    assert_int_equal(count(f, db), 60);
    ldb_close(db);
}

static enum err die(void *arg, struct buf *out)
{
    (void)arg;
    (void)out;
    kill(getpid(), SIGBUS);
    return ERR_OK;
}

static enum err speak(void *arg, struct buf *out)
{
    (void)arg;
    return buf_put_str(out, STR("hello"));
}

static void death_of_a_child_is_told(void **state)
{
    struct fixture *f = *state;
    struct child c;

    assert_int_equal(child_start(die, NULL, &c), ERR_OK);
    assert_int_equal(child_finish(&c, &f->why), ERR_CORRUPT);
    assert_true(says(f, "signal 7"));
    buf_clear(&f->why);
    assert_int_equal(child_start(speak, NULL, &c), ERR_OK);
    assert_int_equal(child_finish(&c, &f->why), ERR_OK);
    assert_true(str_eq(buf_str(&f->why), STR("hello")));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_is_committed_is_there_again),
        TEST(files_are_for_the_owner_alone),
        TEST(directory_open_to_others_is_closed),
        TEST(second_open_in_this_process_is_refused),
        TEST(second_process_is_refused_and_told_who),
        TEST(lock_goes_with_a_killed_process),
        TEST(file_cut_short_is_refused_by_name),
        TEST(file_gone_or_emptied_is_not_made_anew),
        TEST(newer_format_is_refused),
        TEST(flipped_bits_never_kill_or_lie),
        TEST(damaged_disposable_file_is_set_aside),
        TEST(map_grows_up_to_its_maximum),
        TEST(readers_survive_growing),
        TEST(reader_that_was_killed_is_dropped),
        TEST(failed_head_page_needs_one_reopen),
        TEST(death_of_a_child_is_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
