/* b_kv_churn.c - Much more written through a store of pages than it has room
 * for, while texts of any age are used again: what the file has, how long each
 * write takes, and what LMDB's list of free pages is like, for each tenth.
 * usage: b_kv_churn DIR [GB [STORE_MIB [PAGE_BYTES]]]; fails when the file was
 * ever larger than its bound, or writes of the last tenth take twice as long as
 * those of the third. */
#include "store/kv_db.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"

/* Pages that are written at once, in a transaction of their own. */
#define AT_ONCE 16

/* Texts that may be used again, of so many pages. */
#define TEXTS      4096
#define TEXT_PAGES 64

#define SYNC_US 5000000

/* All of a run. */
struct run {
    struct kv_db *db;
    const char *path; /* of the file */
    uint64_t seed, text;
    size_t page_bytes;
    uint8_t *payloads; /* many, overlapping */
    uint64_t bound, most_bytes;
    uint64_t *took_us; /* of the writes of this tenth */
    size_t n_took, cap;
    uint64_t written, evicted;
    uint64_t sync_us, most_sync_us;
};

static uint32_t draw(struct run *r, uint32_t n)
{
    r->seed =
        r->seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)((r->seed >> 33) % n);
}

static struct digest hash_of(uint64_t text, uint64_t i)
{
    const uint64_t key[2] = {text, i};

    return digest_sha256(key, sizeof(key));
}

_Noreturn static void die(const char *what)
{
    fprintf(stderr, "b_kv_churn: %s\n", what);
    exit(1);
}

static void note(struct run *r, uint64_t us)
{
    struct stat st;

    if (r->n_took == r->cap) {
        r->cap = r->cap ? r->cap * 2 : 1024;
        r->took_us = realloc(r->took_us, r->cap * sizeof(*r->took_us));
        if (!r->took_us)
            die("no memory");
    }
    r->took_us[r->n_took++] = us;
    if (stat(r->path, &st) != 0)
        die("the file is gone");
    if ((uint64_t)st.st_size > r->most_bytes)
        r->most_bytes = (uint64_t)st.st_size;
}

/* Write pages <from> .. of the latest text. */
static void write_some(struct run *r, unsigned from, unsigned n)
{
    static int32_t tokens[16];
    struct kv_put puts[AT_ONCE];
    struct kv_wrote wrote;

    for (unsigned i = 0; i < n; i++) {
        puts[i] = (struct kv_put){
            .key = {.hash = hash_of(r->text, from + i),
                    .before = hash_of(r->text, from + i - 1),
                    .index = from + i,
                    .n_tokens = 16,
                    .tokens = tokens},
            .payload = r->payloads + (size_t)draw(r, 4096) * 64};
    }
    const uint64_t from_us = clock_now_us();
    if (kv_db_write(r->db, puts, n, &wrote) != ERR_OK)
        die(kv_db_last_error(r->db));
    note(r, clock_now_us() - from_us);
    r->written += (uint64_t)wrote.stored * r->page_bytes;
    r->evicted += wrote.evicted;
}

static void touch(struct run *r, uint64_t text, unsigned n_hit)
{
    struct digest chain[TEXT_PAGES];

    for (unsigned i = 0; i < TEXT_PAGES; i++)
        chain[i] = hash_of(text, i);
    if (kv_db_touch(r->db, chain, TEXT_PAGES, n_hit) != ERR_OK)
        die(kv_db_last_error(r->db));
}

static void sync_now_and_then(struct run *r)
{
    const uint64_t now_us = clock_now_us();

    if (now_us - r->sync_us < SYNC_US)
        return;
    if (kv_db_sync(r->db) != ERR_OK)
        die(kv_db_last_error(r->db));
    r->sync_us = clock_now_us();
    if (r->sync_us - now_us > r->most_sync_us)
        r->most_sync_us = r->sync_us - now_us;
}

/* A new text, and one or none of any age that is used again. */
static void one_text(struct run *r)
{
    const unsigned n = 1 + draw(r, TEXT_PAGES);

    r->text++;
    for (unsigned from = 0; from < n; from += AT_ONCE)
        write_some(r, from, n - from < AT_ONCE ? n - from : AT_ONCE);
    touch(r, r->text, 0);
    if (draw(r, 2) != 0 && r->text > 1) {
        const uint64_t back = 1 + draw(r, TEXTS);

        touch(r, r->text > back ? r->text - back : 1, TEXT_PAGES);
    }
    sync_now_and_then(r);
}

static int by_time(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a;
    const uint64_t y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

/* Print a row; gives the median of the writes, in ms. */
static double tell(struct run *r, unsigned tenth, uint64_t from_us)
{
    const double s = (double)(clock_now_us() - from_us) / 1e6;
    struct kv_db_stats st;

    if (kv_db_stats(r->db, &st) != ERR_OK)
        die("no numbers");
    qsort(r->took_us, r->n_took, sizeof(*r->took_us), by_time);
    const double p50 = (double)r->took_us[r->n_took / 2] / 1e3;
    const double p99 = (double)r->took_us[r->n_took * 99 / 100] / 1e3;
    const double most = (double)r->took_us[r->n_took - 1] / 1e3;
    printf("| %u | %.1f | %.1f | %llu | %zu | %.1f | %.1f | %.1f | %llu | "
           "%.0f | %.0f |\n",
           tenth, (double)r->written / 1e9, (double)r->most_bytes / 1048576,
           (unsigned long long)st.pages, r->n_took, p50, p99, most,
           (unsigned long long)st.free_lists, (double)st.free_bytes / 1048576,
           s);
    fflush(stdout);
    r->n_took = 0;
    return p50;
}

static int run(struct run *r, uint64_t bytes)
{
    double third = 0;
    double last = 0;

    printf("| tenth | GB written | largest file MiB | pages | writes | p50 ms "
           "| p99 ms | max ms | free lists | free MiB | s |\n"
           "|---|---|---|---|---|---|---|---|---|---|---|\n");
    for (unsigned tenth = 1; tenth <= 10; tenth++) {
        const uint64_t from_us = clock_now_us();

        while (r->written < bytes / 10 * tenth)
            one_text(r);
        last = tell(r, tenth, from_us);
        third = tenth == 3 ? last : third;
    }
    printf("\nBound %.1f MiB, largest file %.1f MiB; %llu pages given up; the "
           "longest of the syncs every 5 s took %.0f ms; p50 of the last tenth "
           "is %.2f of the third's.\n",
           (double)r->bound / 1048576, (double)r->most_bytes / 1048576,
           (unsigned long long)r->evicted, (double)r->most_sync_us / 1e3,
           last / third);
    return r->most_bytes > r->bound || last > 2 * third;
}

int main(int argc, char **argv)
{
    const double gb = argc > 2 ? atof(argv[2]) : 20;
    const uint64_t mib = argc > 3 ? strtoull(argv[3], NULL, 10) : 2048;
    struct run r = {.seed = 1, .bound = mib << 20};
    char path[4096];
    struct buf why;

    if (argc < 2)
        die("usage: b_kv_churn DIR [GB [STORE_MIB [PAGE_BYTES]]]");
    r.page_bytes = argc > 4 ? strtoull(argv[4], NULL, 10) : 368640;
    snprintf(path, sizeof(path), "%s/data.mdb", argv[1]);
    r.path = path;
    r.payloads = malloc(r.page_bytes + (size_t)4096 * 64);
    if (!r.payloads)
        die("no memory");
    for (size_t i = 0; i < r.page_bytes + (size_t)4096 * 64; i++)
        r.payloads[i] = (uint8_t)draw(&r, 256);
    buf_init(&why, 4096);
    const struct kv_db_opts opts = {.dir = argv[1],
                                    .ns = digest_sha256("churn", 5),
                                    .about = STR("{}\n"),
                                    .payload_bytes = r.page_bytes,
                                    .max_bytes = r.bound};
    if (kv_db_open(&opts, &r.db, &why) != ERR_OK)
        die("it cannot be opened");
    r.sync_us = clock_now_us();
    const int rc = run(&r, (uint64_t)(gb * 1e9));
    kv_db_close(r.db);
    buf_fini(&why);
    free(r.payloads);
    free(r.took_us);
    return rc;
}
