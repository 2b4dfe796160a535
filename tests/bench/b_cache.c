/* b_cache.c - The store of replies with many entries, and at its bound: how
 * long looking takes among ten thousand and among a million, what the process
 * has in memory, how long opening takes; then inserts, hits and purges of any
 * size for a while, during which the file must never be larger than its bound.
 * usage: b_cache DIR [ENTRIES [CHURN_S [CHURN_MIB]]]; fails when opening takes
 * a second, when a bound is passed, or when an answer is wrong. */
#include "store/cache_store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"

#define MIB ((uint64_t)1 << 20)

#define FEW         10000u
#define REPLY_BYTES 1024
#define FULL_BYTES  ((uint64_t)4096 * MIB)

/* Lookups of one measurement, and measurements of which the median counts. */
#define LOOKUPS 100000
#define RUNS    7

#define NOW INT64_C(1700000000000)

/* All of a run. */
struct run {
    const char *dir;
    struct cache_store *s;
    struct buf got;
    uint64_t seed;
    uint64_t most_bytes; /* that the file had */
    uint64_t most_kib;   /* that the process had, of all and of no file */
    uint64_t most_anon_kib;
    unsigned bad;
};

_Noreturn static void die(const char *what)
{
    fprintf(stderr, "b_cache: %s\n", what);
    exit(1);
}

static uint64_t draw(struct run *r)
{
    r->seed =
        r->seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return r->seed >> 33;
}

static struct cache_key key_of(uint64_t i)
{
    const uint64_t both[2] = {i, 1};

    return (struct cache_key){.same = digest_sha256(&i, sizeof(i)),
                              .exact = digest_sha256(both, sizeof(both))};
}

/* The bytes of reply <i> begin with its number, and end with it. */
static void put(struct run *r, uint64_t i, size_t len, const char *model)
{
    const struct cache_about about = {.key_id = STR("key_0123456789abcdefghij"),
                                      .model = str_from(model)};
    struct cache_put *p = cache_put_new(r->s, &about);

    if (!p || buf_reserve(&p->bytes, len) != ERR_OK)
        die("no memory");
    p->key = key_of(i);
    p->made_wall_ms = NOW;
    p->until_wall_ms = NOW + 3600000;
    p->epoch = cache_store_epoch(r->s);
    memset(p->bytes.p, (int)(i & 0xff), len);
    memcpy(p->bytes.p, &i, sizeof(i));
    memcpy(p->bytes.p + len - sizeof(i), &i, sizeof(i));
    p->bytes.len = len;
    cache_store_put(r->s, p);
}

/* Whether reply <i> is there; whole, if so. */
static bool find(struct run *r, uint64_t i, const struct cache_key *key)
{
    struct cache_found found;
    uint64_t is;

    buf_clear(&r->got);
    enum err err = cache_store_find(r->s, key, CACHE_ANY, NOW, &found, &r->got);
    while (err == ERR_OK && found.bytes_read < found.bytes_total)
        err = cache_store_read_on(r->s, &found, &r->got);
    if (err == ERR_NOT_FOUND)
        return false;
    if (err != ERR_OK)
        die("a reply cannot be read");
    memcpy(&is, r->got.p, sizeof(is));
    if (is != i)
        die("a wrong answer");
    memcpy(&is, r->got.p + r->got.len - sizeof(is), sizeof(is));
    if (is != i)
        die("a wrong answer");
    return true;
}

/* Have what is queued written before more than the queue holds comes. */
static void pace(struct run *r)
{
    struct cache_stats st;

    cache_store_stats(r->s, &st);
    if (st.queued_bytes > 16 * MIB)
        cache_store_flush(r->s);
    if (st.file_bytes > r->most_bytes)
        r->most_bytes = st.file_bytes;
}

static void memory(struct run *r)
{
    unsigned long long kib;
    char line[256];
    FILE *f = fopen("/proc/self/status", "re");

    while (f && fgets(line, sizeof(line), f)) {
        if (sscanf(line, "VmRSS: %llu", &kib) == 1 && kib > r->most_kib)
            r->most_kib = kib;
        if (sscanf(line, "RssAnon: %llu", &kib) == 1 && kib > r->most_anon_kib)
            r->most_anon_kib = kib;
    }
    if (f)
        fclose(f);
}

static void begin(struct run *r, uint64_t max_bytes)
{
    const struct cache_store_opts opts = {
        .dir = r->dir, .max_bytes = max_bytes, .max_entry_bytes = 4 * MIB};

    if (cache_store_open(&opts, &r->s) != ERR_OK)
        die("it cannot be opened");
}

/* --- many entries -------------------------------------------------------- */

/* Nanoseconds of a processor that this thread has had: others use it, too. */
static uint64_t cpu_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static int by_size(const void *a, const void *b)
{
    const double x = *(const double *)a;
    const double y = *(const double *)b;

    return x < y ? -1 : x > y;
}

/* Nanoseconds of a lookup among <n> entries, of keys that are there or not. */
static double lookups_ns(struct run *r, uint64_t n, bool hit)
{
    struct cache_key *keys = malloc(LOOKUPS * sizeof(*keys));
    uint64_t *is = malloc(LOOKUPS * sizeof(*is));
    double ns[RUNS];

    if (!keys || !is)
        die("no memory");
    for (unsigned k = 0; k < RUNS; k++) {
        uint64_t found = 0;

        for (unsigned i = 0; i < LOOKUPS; i++) {
            is[i] = draw(r) % n + (hit ? 0 : (uint64_t)1 << 40);
            keys[i] = key_of(is[i]);
        }
        const uint64_t from_ns = cpu_ns();
        for (unsigned i = 0; i < LOOKUPS; i++)
            found += find(r, is[i], &keys[i]);
        ns[k] = (double)(cpu_ns() - from_ns) / LOOKUPS;
        if (found != (hit ? LOOKUPS : 0))
            die("a reply is missing");
        memory(r);
    }
    free(keys);
    free(is);
    qsort(ns, RUNS, sizeof(*ns), by_size);
    return ns[RUNS / 2];
}

/* Milliseconds until a file with <n> entries is open and one is found. */
static double open_ms(struct run *r, uint64_t n)
{
    const struct cache_key key = key_of(n / 2);
    const uint64_t from_us = clock_now_us();

    begin(r, FULL_BYTES);
    if (!find(r, n / 2, &key))
        die("nothing is found after opening");
    return (double)(clock_now_us() - from_us) / 1e3;
}

/* The same after a process that died with it open. */
static double open_after_death_ms(struct run *r, uint64_t n)
{
    int status;
    const pid_t pid = fork();

    if (pid == 0) {
        begin(r, FULL_BYTES);
        put(r, n + 1, REPLY_BYTES, "m");
        cache_store_flush(r->s);
        _exit(0);
    }
    if (waitpid(pid, &status, 0) != pid || status != 0)
        die("the other process failed");
    return open_ms(r, n);
}

static void many(struct run *r, uint64_t n)
{
    struct cache_stats st;

    begin(r, FULL_BYTES);
    for (uint64_t i = 0; i < FEW; i++)
        put(r, i, REPLY_BYTES, "m");
    cache_store_flush(r->s);
    const double few_ns = lookups_ns(r, FEW, true);
    const double few_miss_ns = lookups_ns(r, FEW, false);
    const uint64_t from_us = clock_now_us();
    for (uint64_t i = FEW; i < n; i++) {
        put(r, i, REPLY_BYTES, "m");
        if (i % 1000 == 0)
            pace(r);
    }
    cache_store_flush(r->s);
    const double fill_s = (double)(clock_now_us() - from_us) / 1e6;
    const double all_ns = lookups_ns(r, n, true);
    const double all_miss_ns = lookups_ns(r, n, false);
    cache_store_stats(r->s, &st);
    if (st.entries != n || st.evicted > 0)
        die("not all of them are there");
    const uint64_t close_us = clock_now_us();
    cache_store_close(r->s);
    const double close_s = (double)(clock_now_us() - close_us) / 1e6;
    const double ms = open_ms(r, n);
    cache_store_close(r->s);
    const double death_ms = open_after_death_ms(r, n);
    cache_store_close(r->s);
    printf(
        "| entries | hit ns | miss ns |\n|---|---|---|\n"
        "| %u | %.0f | %.0f |\n| %llu | %.0f | %.0f |\n\n"
        "A hit among all takes %.2f of one among %u (wanted: 1.50). %llu "
        "entries of %u bytes "
        "were stored in %.1f s; the file has %.0f MiB of %llu, of which "
        "%.0f in use. Resident at most %.0f MiB, without files %.0f. Closing "
        "took %.2f s, opening and the first hit %.1f ms, after a process "
        "that died %.1f ms.\n",
        FEW, few_ns, few_miss_ns, (unsigned long long)n, all_ns, all_miss_ns,
        all_ns / few_ns, FEW, (unsigned long long)n, REPLY_BYTES, fill_s,
        (double)st.file_bytes / (double)MIB,
        (unsigned long long)(FULL_BYTES / MIB), (double)st.bytes / (double)MIB,
        (double)r->most_kib / 1024, (double)r->most_anon_kib / 1024, close_s,
        ms, death_ms);
    r->bad += ms > 1000 || death_ms > 1000;
}

/* --- at the bound -------------------------------------------------------- */

/* What one stretch of churn did. */
struct stretch {
    uint64_t puts, hits, misses, purges;
    uint64_t most_us; /* the longest find */
};

/* Mostly short replies, some of megabytes. */
static size_t length_of(uint64_t i)
{
    const uint64_t x = i * UINT64_C(0x9e3779b97f4a7c15) >> 40;

    return x % 200 == 0  ? 16 + x % (2 * MIB)
           : x % 10 == 0 ? 16 + x % 65536
                         : 16 + x % 4000;
}

static void churn_one(struct run *r, struct stretch *st, uint64_t *next)
{
    const uint64_t from = *next > 60000 ? *next - 60000 : 0;
    const uint64_t i = from + draw(r) % (*next - from + 1);
    const struct cache_purge some = {.model = STR("rare")};
    struct cache_purged purged;

    switch (draw(r) % 4) {
    case 0:
        put(r, *next, length_of(*next), *next % 50 == 0 ? "rare" : "m");
        (*next)++;
        st->puts++;
        break;
    case 1:
        put(r, i, length_of(i), "m");
        st->puts++;
        break;
    default: {
        const struct cache_key key = key_of(i);
        const uint64_t from_us = clock_now_us();

        if (find(r, i, &key))
            st->hits++;
        else
            st->misses++;
        const uint64_t us = clock_now_us() - from_us;
        st->most_us = us > st->most_us ? us : st->most_us;
    }
    }
    if (draw(r) % 200000 == 0) {
        if (cache_store_purge(r->s, &some, &purged) != ERR_OK)
            die("a purge failed");
        st->purges++;
    }
}

static void churn(struct run *r, uint64_t seconds, uint64_t max_bytes)
{
    struct cache_verified v;
    struct cache_stats s;
    uint64_t next = 1;

    begin(r, max_bytes);
    r->most_bytes = 0;
    r->most_kib = 0;
    printf("\n| tenth | puts | hits | misses | longest find ms | purges | "
           "entries | evicted | kept | file MiB | resident MiB |\n"
           "|---|---|---|---|---|---|---|---|---|---|---|\n");
    for (unsigned tenth = 1; tenth <= 10; tenth++) {
        const uint64_t until_us = clock_now_us() + seconds * 100000;
        struct stretch st = {0};

        while (clock_now_us() < until_us) {
            churn_one(r, &st, &next);
            pace(r);
        }
        memory(r);
        cache_store_stats(r->s, &s);
        printf("| %u | %llu | %llu | %llu | %.1f | %llu | %llu | %llu | %llu | "
               "%.1f | %.0f |\n",
               tenth, (unsigned long long)st.puts, (unsigned long long)st.hits,
               (unsigned long long)st.misses, (double)st.most_us / 1e3,
               (unsigned long long)st.purges, (unsigned long long)s.entries,
               (unsigned long long)s.evicted, (unsigned long long)s.kept,
               (double)r->most_bytes / (double)MIB, (double)r->most_kib / 1024);
        fflush(stdout);
    }
    cache_store_flush(r->s);
    if (cache_store_verify(r->s, &v) != ERR_OK || v.damaged > 0)
        die("it is damaged");
    cache_store_stats(r->s, &s);
    cache_store_close(r->s);
    printf("\nBound %.1f MiB, largest file %.1f MiB; transactions that failed: "
           "%llu; replies dropped: %llu for the queue, %llu for errors.\n",
           (double)max_bytes / (double)MIB, (double)r->most_bytes / (double)MIB,
           (unsigned long long)s.write_errors,
           (unsigned long long)s.dropped_queue,
           (unsigned long long)s.dropped_error);
    r->bad += r->most_bytes > max_bytes || s.write_errors > 0 ||
              s.dropped_error > 0 || s.corrupt > 0;
}

static void remove_all(const char *dir)
{
    static const char *const names[] = {"data.mdb", "lock.mdb", "format",
                                        "state", "lock"};
    char path[4200];

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
        unlink(path);
    }
}

int main(int argc, char **argv)
{
    const uint64_t n = argc > 2 ? strtoull(argv[2], NULL, 10) : 1000000;
    const uint64_t seconds = argc > 3 ? strtoull(argv[3], NULL, 10) : 60;
    const uint64_t mib = argc > 4 ? strtoull(argv[4], NULL, 10) : 256;
    struct run r = {.seed = 1};

    if (argc < 2)
        die("usage: b_cache DIR [ENTRIES [CHURN_S [CHURN_MIB]]]");
    r.dir = argv[1];
    buf_init(&r.got, 8 * MIB);
    remove_all(r.dir);
    if (n > 0)
        many(&r, n);
    remove_all(r.dir);
    if (seconds > 0)
        churn(&r, seconds, mib * MIB);
    remove_all(r.dir);
    buf_fini(&r.got);
    return r.bad > 0;
}
