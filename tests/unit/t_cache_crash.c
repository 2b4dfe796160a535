/* t_cache_crash.c - Processes that are killed while they fill, find and purge,
 * at any moment and again and again: what the next one finds is right, and it
 * finds it at once. And many threads at the same time. */
#include "unit/cache_fixture.h"

#include "base/clock.h"
#include "base/thr.h"

/* Keys in use, versions of each, most bytes. */
#define KEYS     400
#define VERSIONS 5
#define MOST     30000

#define ROUNDS 50

static uint64_t draw(uint64_t *seed)
{
    *seed = *seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
    return *seed >> 33;
}

/* The length of version <v> of reply <i>. */
static size_t length_of(unsigned i, unsigned v)
{
    return ((size_t)i * 7919 + v * 104729) % MOST;
}

/* Whether what was found for reply <i> is one of its versions. */
static bool is_right(unsigned i, const char *p, size_t len)
{
    char *want = malloc(MOST);
    bool same = false;

    for (unsigned v = 0; v < VERSIONS && !same; v++) {
        if (length_of(i, v) != len)
            continue;
        bytes_make(i, v, want, len);
        same = memcmp(want, p, len) == 0;
    }
    free(want);
    return same;
}

/* Put, find and purge as <seed> says, <n> times or until killed; the number of
 * wrong answers. */
static unsigned work(struct cache_store *s, uint64_t seed, uint64_t n)
{
    unsigned wrong = 0;
    struct buf got;

    buf_init(&got, MIB);
    for (uint64_t k = 0; k < n; k++) {
        const unsigned i = (unsigned)draw(&seed) % KEYS;
        const unsigned v = (unsigned)draw(&seed) % VERSIONS;
        const struct cache_key key = key_of(i);
        const struct cache_purge some = {.model = STR("large")};
        struct cache_purged purged;
        struct cache_found found;

        buf_clear(&got);
        if (draw(&seed) % 3 == 0)
            cache_store_put(s, put_made(s, key, i, v, length_of(i, v)));
        else if (draw(&seed) % 500 == 0)
            wrong += cache_store_purge(s, &some, &purged) != ERR_OK;
        else if (draw(&seed) % 50 == 0)
            cache_store_drop(s, &key);
        else if (cache_store_find(s, &key, CACHE_ANY, NOW, &found, &got) ==
                 ERR_OK)
            wrong += !is_right(i, got.p, got.len);
    }
    buf_fini(&got);
    return wrong;
}

_Noreturn static void die_at_work(const struct fixture *f, uint64_t seed,
                                  int fd)
{
    const struct cache_store_opts opts = {
        .dir = f->cache, .max_bytes = f->max_bytes, .max_entry_bytes = MIB};
    struct cache_store *s;

    if (cache_store_open(&opts, &s) != ERR_OK || write(fd, "x", 1) != 1)
        _exit(1);
    _exit(work(s, seed, UINT64_MAX) > 0 ? 2 : 3);
}

/* Wait for about <us>, by the clock: the child is at work meanwhile. */
static void let_work(uint64_t us)
{
    const uint64_t until_us = clock_now_us() + us;

    while (clock_now_us() < until_us)
        sched_yield();
}

static void nothing_wrong_after_a_kill(void **state)
{
    struct fixture *f = *state;
    struct cache_verified v;
    uint64_t seed = 11;
    uint64_t found = 0;
    int fds[2];
    char byte;

    f->max_bytes = 3 * MIB;
    cache_store_close(f->s);
    f->s = NULL;
    assert_int_equal(pipe(fds), 0);
    for (unsigned round = 0; round < ROUNDS; round++) {
        int status;
        const pid_t pid = fork();

        if (pid == 0)
            die_at_work(f, draw(&seed) + round, fds[1]);
        assert_int_equal(read(fds[0], &byte, 1), 1);
        let_work(draw(&seed) % 40000);
        assert_int_equal(kill(pid, SIGKILL), 0);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFSIGNALED(status));
        open_again(f);
        assert_true(stats_of(f->s).is_open); /* by then */
        for (unsigned i = 0; i < KEYS; i++) {
            struct cache_found at;

            if (get(f, key_of(i), CACHE_ANY, &at) != ERR_OK)
                continue;
            assert_true(is_right(i, f->got.p, f->got.len));
            found++;
        }
        assert_int_equal(cache_store_verify(f->s, &v), ERR_OK);
        assert_int_equal(v.damaged, 0);
        assert_true(file_bytes(f) <= f->max_bytes);
        assert_int_equal(stats_of(f->s).anew, 0);
        assert_int_equal(stats_of(f->s).corrupt, 0);
        cache_store_close(f->s);
        f->s = NULL;
    }
    close(fds[0]);
    close(fds[1]);
    assert_true(found > ROUNDS * 20);
    assert_int_equal(lines_of(f, ""), 0);
}

/* --- threads ------------------------------------------------------------- */

#define THREADS 6

struct job {
    struct thr thr;
    struct cache_store *s;
    uint64_t seed;
    unsigned wrong;
};

static void job_run(void *arg)
{
    struct job *j = arg;

    j->wrong = work(j->s, j->seed, 8000);
}

static void threads_find_what_is_right(void **state)
{
    struct fixture *f = *state;
    struct job jobs[THREADS] = {0};
    struct cache_stats st;
    struct cache_verified v;

    f->max_bytes = 3 * MIB;
    open_again(f);
    for (unsigned i = 0; i < THREADS; i++) {
        jobs[i].s = f->s;
        jobs[i].seed = 100 + i;
        assert_int_equal(thr_start(&jobs[i].thr, "job", job_run, &jobs[i]),
                         ERR_OK);
    }
    for (unsigned i = 0; i < 30; i++) {
        cache_store_stats(f->s, &st);
        assert_true(st.file_bytes <= f->max_bytes);
        cache_store_flush(f->s);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        thr_join(&jobs[i].thr);
        assert_int_equal(jobs[i].wrong, 0);
    }
    cache_store_flush(f->s);
    assert_int_equal(cache_store_verify(f->s, &v), ERR_OK);
    assert_int_equal(v.damaged, 0);
    cache_store_stats(f->s, &st);
    assert_int_equal(st.entries, v.entries);
    assert_int_equal(st.corrupt, 0);
    assert_int_equal(st.dropped_error, 0);
    assert_true(st.evicted > 0 && st.stored > 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        T(nothing_wrong_after_a_kill),
        T(threads_find_what_is_right),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
