/* t_kv_crash.c - Bytes that flip, and processes that die: a page is a miss, or
 * what it was; nothing that is stored grows past its bound, and opening it
 * again looks at none. TG_KILL_ROUNDS sets how often the writer is killed
 * (default 100). */
#include "store/kv_dir.h"

#include "unit/kv_fixture.h"

#include <linux/magic.h>
#include <lmdb.h>
#include <sys/mman.h>
#include <sys/vfs.h>
#include <time.h>

/* A pseudo-random number below <n>, the same ones each time. */
static uint32_t draw(uint64_t *seed, uint32_t n)
{
    *seed =
        *seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)((*seed >> 33) % n);
}

static uint64_t now_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static void wait_for(pid_t pid)
{
    int status = 0;

    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (status != 0)
        fail_msg("a child ended with status %d", status);
}

/* --- bytes that flip ----------------------------------------------------- */

/* Of pages this small every byte can be tried. */
#define SMALL 4096

static void flip(int fd, off_t at, uint8_t bits)
{
    uint8_t byte;

    assert_int_equal(pread(fd, &byte, 1, at), 1);
    byte ^= bits;
    assert_int_equal(pwrite(fd, &byte, 1, at), 1);
}

static void every_byte_of_a_value_is_proved(void **state)
{
    struct fixture *f = *state;
    struct kv_db_opts opts = opts_of(f);
    struct page *p = malloc(sizeof(*p));
    uint8_t out[SMALL];
    struct kv_wrote wrote;
    uint32_t cost_us;
    uint64_t seed = 1;

    kv_db_close(f->db);
    f->db = NULL;
    nftw(f->ns, state_dir_unlink, 16, FTW_DEPTH | FTW_PHYS);
    opts.payload_bytes = SMALL;
    assert_int_equal(kv_db_open(&opts, &f->db, &f->why), ERR_OK);
    page_make(p, 1, 0);
    assert_int_equal(kv_db_write(f->db, &p->put, 1, &wrote), ERR_OK);
    const off_t from = place_of(f, p->payload, SMALL) - KV_HEAD_BYTES;
    const int fd = open(f->data, O_RDWR);
    for (off_t at = 0; at < KV_HEAD_BYTES + SMALL; at++) {
        const uint8_t bits = (uint8_t)(1 + draw(&seed, 255));

        flip(fd, from + at, bits);
        if (kv_db_read(f->db, &p->put.key, out, &cost_us) != ERR_CORRUPT)
            fail_msg("byte %lld with %02x passed", (long long)at, bits);
        flip(fd, from + at, bits);
    }
    assert_int_equal(kv_db_read(f->db, &p->put.key, out, &cost_us), ERR_OK);
    assert_memory_equal(out, p->payload, SMALL);
    /* Who reads it has it dropped; it can be stored anew. */
    flip(fd, from + 5000, 1);
    assert_int_equal(kv_db_read(f->db, &p->put.key, out, &cost_us),
                     ERR_CORRUPT);
    assert_int_equal(kv_db_drop(f->db, &p->put.key.hash), ERR_OK);
    assert_int_equal(kv_db_read(f->db, &p->put.key, out, &cost_us),
                     ERR_NOT_FOUND);
    assert_int_equal(kv_db_write(f->db, &p->put, 1, &wrote), ERR_OK);
    assert_int_equal(wrote.stored, 1);
    assert_int_equal(kv_db_read(f->db, &p->put.key, out, &cost_us), ERR_OK);
    close(fd);
    free(p);
    assert_int_equal(lines_of(f, "none"), 0);
}

/* In a child: open, read all that is found, write what makes others go. */
static void use_all(struct fixture *f)
{
    static const int fatal[] = {SIGSEGV, SIGBUS, SIGABRT, SIGILL, SIGFPE};
    struct kv_db_opts opts = opts_of(f);
    struct kv_db *db = NULL;

    for (size_t i = 0; i < sizeof(fatal) / sizeof(fatal[0]); i++)
        signal(fatal[i], SIG_DFL); /* a child is no test of its own */
    if (kv_db_open(&opts, &db, &f->why) != ERR_OK)
        _exit(1);
    for (unsigned text = 0; text < 6; text++) {
        const unsigned n = found(db, text, 5);

        for (unsigned i = 0; i < n; i++)
            read_page(db, text, i); /* compares what it gives */
    }
    for (unsigned text = 50; text < 65; text++) {
        struct kv_wrote wrote;
        struct page *p = malloc(sizeof(*p));

        page_make(p, text, 0);
        if (kv_db_write(db, &p->put, 1, &wrote) != ERR_OK ||
            read_page(db, text, 0) != ERR_OK)
            _exit(2);
        free(p);
    }
    kv_db_close(db);
    _exit(0);
}

/* Offsets of the file's pages that hold no payload, in <out>. */
static unsigned own_pages(struct fixture *f, off_t *out, unsigned most)
{
    const off_t size = file_size(f);
    const int fd = open(f->data, O_RDONLY);
    uint8_t head[16];
    unsigned n = 0;
    uint32_t skip;

    for (off_t at = 0; at < size && n < most; at += 4096) {
        assert_int_equal(pread(fd, head, 16, at), 16);
        memcpy(&skip, head + 12, 4);
        if ((head[10] & 4) == 0) /* no value */
            out[n++] = at;
        else
            at += (off_t)(skip - 1) * 4096;
    }
    close(fd);
    return n;
}

/* LMDB trusts its pages: they are walked in a child before it may. */
static void flipped_bytes_of_the_tree_never_kill(void **state)
{
    struct fixture *f = *state;
    off_t pages[256];
    uint64_t seed = 7;
    unsigned anew = 0;

    for (unsigned text = 0; text < 6; text++)
        store(f->db, text, 5);
    kv_db_close(f->db);
    f->db = NULL;
    const unsigned n = own_pages(f, pages, 256);
    const off_t size = file_size(f);
    char *whole = malloc((size_t)size);
    int fd = open(f->data, O_RDWR);
    assert_int_equal(pread(fd, whole, (size_t)size, 0), size);
    close(fd);
    for (unsigned round = 0; round < 400; round++) {
        fd = open(f->data, O_RDWR | O_CREAT | O_TRUNC, 0600);
        assert_int_equal(pwrite(fd, whole, (size_t)size, 0), size);
        flip(fd, pages[draw(&seed, n)] + draw(&seed, 4096),
             (uint8_t)(1u << draw(&seed, 8)));
        close(fd);
        const pid_t pid = fork();
        if (pid == 0)
            use_all(f);
        wait_for(pid);
        anew += lines_of(f, "prefix store begins anew");
    }
    print_message("%u pages of its own, begun anew %u times of 400\n", n, anew);
    assert_true(anew > 0 && anew < 400); /* most hit what is unused */
    free(whole);
}

/* Offsets of the heads of the values, in <out>. */
static unsigned value_heads(struct fixture *f, off_t *out, unsigned most)
{
    const off_t size = file_size(f);
    const int fd = open(f->data, O_RDONLY);
    uint8_t head[16];
    unsigned n = 0;
    uint32_t skip;

    for (off_t at = 8192; at < size && n < most; at += 4096) {
        assert_int_equal(pread(fd, head, 16, at), 16);
        memcpy(&skip, head + 12, 4);
        if ((head[10] & 4) == 0)
            continue;
        out[n++] = at;
        at += (off_t)(skip - 1) * 4096;
    }
    close(fd);
    return n;
}

/* LMDB frees what the head of a value's pages says. */
static void flipped_heads_of_values_are_found(void **state)
{
    struct fixture *f = *state;
    off_t heads[64];
    uint64_t seed = 11;
    unsigned anew = 0;

    for (unsigned round = 0; round < 16 * 8; round++) {
        for (unsigned text = 0; text < 6; text++)
            store(f->db, text, 5);
        const unsigned n = value_heads(f, heads, 64);
        const int fd = open(f->data, O_RDWR);
        flip(fd, heads[draw(&seed, n)] + round / 8, (uint8_t)(1u << round % 8));
        close(fd);
        for (unsigned text = 100; text < 120; text++) {
            assert_int_equal(store(f->db, text, 5).stored, 5);
            /* Some are gone where it was begun anew between two of them. */
            is_whole(f, text, found(f->db, text, 5));
        }
        store(f->db, 99, 5);
        is_whole(f, 99, 5);
        anew += lines_of(f, "prefix store begins anew");
    }
    print_message("begun anew %u times of 128\n", anew);
    assert_true(anew > 20);
}

/* Take a row out of <table>, as if its key could not be found any more. */
static void lose_row(struct fixture *f, const char *table)
{
    MDB_cursor *c;
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi dbi;
    MDB_val k, v;

    assert_int_equal(mdb_env_create(&env), 0);
    assert_int_equal(mdb_env_set_maxdbs(env, 4), 0);
    assert_int_equal(mdb_env_open(env, f->ns, MDB_NOSYNC, 0600), 0);
    assert_int_equal(mdb_txn_begin(env, NULL, 0, &txn), 0);
    assert_int_equal(mdb_dbi_open(txn, table, 0, &dbi), 0);
    assert_int_equal(mdb_cursor_open(txn, dbi, &c), 0);
    assert_int_equal(mdb_cursor_get(c, &k, &v, MDB_FIRST), 0);
    assert_int_equal(mdb_cursor_del(c, 0), 0);
    mdb_cursor_close(c);
    assert_int_equal(mdb_txn_commit(txn), 0);
    mdb_env_close(env);
}

/* Else a page would count as stored for ever, and never be found. */
static void tables_that_contradict_each_other_begin_anew(void **state)
{
    static const char *const tables[] = {"pages", "ticks"};
    struct fixture *f = *state;

    for (unsigned i = 0; i < 2; i++) {
        const struct kv_db_opts opts = opts_of(f);

        store(f->db, 1, 5);
        is_whole(f, 1, 5);
        kv_db_close(f->db);
        f->db = NULL;
        lose_row(f, tables[i]);
        assert_int_equal(kv_db_open(&opts, &f->db, &f->why), ERR_OK);
        store(f->db, 1, 5);
        assert_int_equal(lines_of(f, "prefix store begins anew"), 1);
        store(f->db, 1, 5);
        is_whole(f, 1, 5);
        assert_int_equal(found(f->db, 1, 5), 5);
    }
}

/* --- processes that die -------------------------------------------------- */

/* A process that stores texts, says so after each, and is never done. */
static pid_t child_write(struct fixture *f, uint64_t seed, int *said)
{
    const struct kv_db_opts opts = opts_of(f);
    int fds[2];

    assert_int_equal(pipe(fds), 0);
    const pid_t pid = fork();
    if (pid != 0) {
        close(fds[1]);
        *said = fds[0];
        return pid;
    }
    struct kv_db *db = NULL;
    if (kv_db_open(&opts, &db, &f->why) != ERR_OK)
        _exit(1);
    for (;;) {
        const unsigned text = draw(&seed, 40);

        store(db, text, 1 + draw(&seed, 6));
        if (draw(&seed, 8) == 0 && kv_db_sync(db) != ERR_OK)
            _exit(1);
        if (write(fds[1], "w", 1) != 1)
            _exit(1);
    }
}

/* Let <pid> do <n> things, and kill it in the midst of the next ones. */
static void kill_after(pid_t pid, int said, unsigned n, uint64_t more_us)
{
    int status;
    char c;

    for (unsigned i = 0; i < n; i++)
        assert_int_equal(read(said, &c, 1), 1);
    for (const uint64_t until = now_us() + more_us; now_us() < until;)
        continue;
    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    close(said);
}

static void is_proved(struct fixture *f)
{
    struct kv_db_stats s;
    struct buf bad;
    uint64_t pages = 0;

    buf_init(&bad, 4096);
    assert_int_equal(kv_db_verify(f->db, &pages, &bad), ERR_OK);
    assert_int_equal(bad.len, 0);
    assert_int_equal(kv_db_stats(f->db, &s), ERR_OK);
    assert_true(s.pages == pages && pages <= s.max_pages);
    assert_true((uint64_t)file_size(f) <= KV_DB_LEAST_BYTES);
    for (unsigned text = 0; text < 40; text++) {
        const unsigned n = found(f->db, text, 6);

        for (unsigned i = 0; i < n; i++)
            assert_int_equal(read_page(f->db, text, i), ERR_OK);
    }
    buf_fini(&bad);
}

static void a_writer_killed_again_and_again_harms_nothing(void **state)
{
    struct fixture *f = *state;
    const char *rounds = getenv("TG_KILL_ROUNDS");
    const unsigned n = rounds ? (unsigned)atoi(rounds) : 100;
    uint64_t most_us = 0;
    uint64_t seed = 42;

    kv_db_close(f->db);
    f->db = NULL;
    for (unsigned round = 0; round < n; round++) {
        int said;
        const pid_t pid = child_write(f, round, &said);

        kill_after(pid, said, 1 + draw(&seed, 6), draw(&seed, 3000));
        const uint64_t from_us = now_us();
        open_again(f);
        const uint64_t took_us = now_us() - from_us;
        most_us = took_us > most_us ? took_us : most_us;
        is_proved(f);
        kv_db_close(f->db);
        f->db = NULL;
    }
    print_message("killed %u times, opened in %llu ms at most\n", n,
                  (unsigned long long)most_us / 1000);
    assert_int_equal(lines_of(f, "none"), 0); /* nothing was begun anew */
}

/* Killed while another one writes, too. */
static void a_writer_killed_beside_another_harms_nothing(void **state)
{
    struct fixture *f = *state;
    uint64_t seed = 43;

    for (unsigned round = 0; round < 20; round++) {
        int said;
        const pid_t pid = child_write(f, round, &said);

        for (unsigned i = 0; i < 5; i++)
            store(f->db, draw(&seed, 40), 1 + draw(&seed, 6));
        kill_after(pid, said, 1 + draw(&seed, 4), draw(&seed, 2000));
        is_proved(f);
    }
    assert_int_equal(lines_of(f, "none"), 0);
}

/* Read all of <text>; how many pages there were. */
static unsigned read_text(struct kv_db *db, unsigned text)
{
    const unsigned n = found(db, text, 6);
    unsigned hits = 0;

    for (unsigned i = 0; i < n; i++) {
        const enum err err = read_page(db, text, i);

        if (err != ERR_OK && err != ERR_NOT_FOUND)
            _exit(2);
        hits += err == ERR_OK;
    }
    return hits;
}

/* Read all texts again and again, until told to end. */
static void read_on(struct fixture *f, int end_fd)
{
    const struct kv_db_opts opts = opts_of(f);
    struct kv_db *db = NULL;
    unsigned hits = 0;
    char c;

    if (fcntl(end_fd, F_SETFL, O_NONBLOCK) != 0 ||
        kv_db_open(&opts, &db, &f->why) != ERR_OK)
        _exit(1);
    while (read(end_fd, &c, 1) != 0) {
        for (unsigned text = 0; text < 20; text++)
            hits += read_text(db, text);
    }
    kv_db_close(db);
    _exit(hits > 0 ? 0 : 3);
}

static void processes_read_while_others_write(void **state)
{
    struct fixture *f = *state;
    uint64_t seed = 44;
    int end[2];
    pid_t pids[2];

    assert_int_equal(pipe(end), 0);
    store(f->db, 1, 5);
    for (unsigned i = 0; i < 2; i++) {
        pids[i] = fork();
        if (pids[i] == 0) {
            close(end[1]);
            read_on(f, end[0]);
        }
    }
    for (unsigned i = 0; i < 300; i++)
        store(f->db, draw(&seed, 20), 1 + draw(&seed, 6));
    close(end[1]);
    close(end[0]);
    wait_for(pids[0]);
    wait_for(pids[1]);
    is_proved(f);
    assert_int_equal(lines_of(f, "none"), 0);
}

static void a_killed_readers_pages_come_back(void **state)
{
    struct fixture *f = *state;
    int ready[2];
    char c;

    store(f->db, 1, 5);
    assert_int_equal(pipe(ready), 0);
    const pid_t pid = fork();
    if (pid == 0) {
        MDB_env *env;
        MDB_txn *txn;

        if (mdb_env_create(&env) != 0 || mdb_env_set_maxdbs(env, 4) != 0 ||
            mdb_env_open(env, f->ns, MDB_RDONLY, 0) != 0 ||
            mdb_txn_begin(env, NULL, MDB_RDONLY, &txn) != 0 ||
            write(ready[1], "r", 1) != 1)
            _exit(1);
        pause();
        _exit(1);
    }
    assert_int_equal(read(ready[0], &c, 1), 1);
    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    assert_int_equal(kv_db_sync(f->db), ERR_OK);
    assert_int_equal(lines_of(f, "what dead readers held"), 1);
    for (unsigned text = 100; text < 200; text++)
        assert_int_equal(store(f->db, text, 3).stored, 3);
    assert_int_equal(kv_db_sync(f->db), ERR_OK);
    assert_int_equal(lines_of(f, "none"), 0);
    close(ready[0]);
    close(ready[1]);
}

/* --- opening ------------------------------------------------------------- */

/* Pages of the file that the system has in memory. */
static size_t in_memory(struct fixture *f)
{
    const size_t pages = ((size_t)file_size(f) + 4095) / 4096;
    unsigned char *vec = malloc(pages);
    const int fd = open(f->data, O_RDONLY);
    size_t n = 0;
    void *map = mmap(NULL, pages * 4096, PROT_READ, MAP_SHARED, fd, 0);

    assert_ptr_not_equal(map, MAP_FAILED);
    assert_int_equal(mincore(map, pages * 4096, vec), 0);
    for (size_t i = 0; i < pages; i++)
        n += vec[i] & 1;
    munmap(map, pages * 4096);
    close(fd);
    free(vec);
    return n;
}

/* The walk touches what LMDB keeps for itself, a hundredth, and has nothing
 * else read: then LMDB opens the file as one that is read ahead. */
static void walking_reads_no_page(void **state)
{
    struct fixture *f = *state;
    struct kv_db_opts opts = opts_of(f);
    struct kv_dir_ns *list = NULL;
    struct statfs fs;
    unsigned n = 0;

    kv_db_close(f->db);
    opts.max_bytes = 64 << 20;
    assert_int_equal(kv_db_open(&opts, &f->db, &f->why), ERR_OK);
    for (unsigned text = 0; text < 10; text++)
        store(f->db, text, 60);
    kv_db_close(f->db);
    f->db = NULL;
    const int fd = open(f->data, O_RDONLY);
    assert_int_equal(fsync(fd), 0);
    assert_int_equal(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED), 0);
    close(fd);
    if (statfs(f->dir, &fs) == 0 && fs.f_type == TMPFS_MAGIC)
        skip(); /* it is nowhere but in memory */
    const size_t before = in_memory(f);
    assert_int_equal(kv_dir_list(f->dir, &list, &n, &f->why), ERR_OK);
    assert_int_equal(list[0].pages, 600);
    kv_dir_free(list, n);
    const size_t after = in_memory(f);
    print_message("of %lld pages of the file %zu were in memory before, %zu "
                  "after\n",
                  (long long)file_size(f) / 4096, before, after);
    assert_true(after < before + 300);
    const uint64_t from_us = now_us();
    assert_int_equal(kv_db_open(&opts, &f->db, &f->why), ERR_OK);
    print_message("opened in %llu ms\n",
                  (unsigned long long)(now_us() - from_us) / 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        T(every_byte_of_a_value_is_proved),
        T(flipped_bytes_of_the_tree_never_kill),
        T(flipped_heads_of_values_are_found),
        T(tables_that_contradict_each_other_begin_anew),
        T(a_writer_killed_again_and_again_harms_nothing),
        T(a_writer_killed_beside_another_harms_nothing),
        T(processes_read_while_others_write),
        T(a_killed_readers_pages_come_back),
        T(walking_reads_no_page),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
