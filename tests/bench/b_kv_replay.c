/* b_kv_replay.c - Traffic that shares prefixes against stores of several sizes,
 * beside an ideal store of as many pages. usage: b_kv_replay DIR [REQUESTS];
 * DIR must not exist. Fails when a hit ratio is more than 0.02 off, or when a
 * page is not what was stored. */
#include "lib/kvreplay.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"

/* Hit ratios may differ by so much. */
#define OFF_MOST 0.02

_Noreturn static void die(const char *what)
{
    fprintf(stderr, "b_kv_replay: %s\n", what);
    exit(1);
}

static struct kv_db *open_db(const char *dir, uint64_t mib)
{
    const struct kv_db_opts opts = {.dir = dir,
                                    .ns = digest_sha256("replay", 6),
                                    .about = STR("{}\n"),
                                    .payload_bytes = KVREPLAY_PAYLOAD,
                                    .max_bytes = mib << 20};
    struct kv_db *db = NULL;
    struct buf why;

    buf_init(&why, 4096);
    if (kv_db_open(&opts, &db, &why) != ERR_OK)
        die("it cannot be opened");
    buf_fini(&why);
    return db;
}

/* One row; whether it is as it should be. */
static bool play(const char *root, uint64_t mib, bool second, unsigned requests)
{
    struct kv_db_stats st;
    struct kvreplay r;
    char dir[4096];

    snprintf(dir, sizeof(dir), "%s-%llu-%d", root, (unsigned long long)mib,
             second);
    struct kv_db *db = open_db(dir, mib);
    if (kv_db_stats(db, &st) != ERR_OK)
        die("no numbers");
    const struct kvreplay_opts o = {.db = db,
                                    .requests = requests,
                                    .seed = 2026,
                                    .pages = st.max_pages,
                                    .second = second};
    const uint64_t from_us = clock_now_us();
    if (kvreplay_run(&o, &r) != ERR_OK)
        die(kv_db_last_error(db));
    const double s = (double)(clock_now_us() - from_us) / 1e6;
    kv_db_close(db);
    const double hits = (double)r.hits / (double)r.asked;
    const double ideal = (double)r.ideal / (double)r.asked;
    printf("| %llu | %s | %llu | %.1f %% | %llu | %.4f | %.4f | %+.4f | %llu | "
           "%.0f |\n",
           (unsigned long long)mib, second ? "second" : "first",
           (unsigned long long)st.max_pages,
           100.0 * (double)st.max_pages / (double)r.distinct,
           (unsigned long long)r.stored, hits, ideal, hits - ideal,
           (unsigned long long)r.wrong, s);
    fflush(stdout);
    return r.wrong == 0 && fabs(hits - ideal) <= OFF_MOST;
}

int main(int argc, char **argv)
{
    static const uint64_t sizes[] = {8, 16, 32, 64, 128, 256};
    const unsigned requests =
        argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : 10000;
    bool ok = true;

    if (argc < 2)
        die("usage: b_kv_replay DIR [REQUESTS]");
    printf("| MiB | admission | room for pages | of all different | stored | "
           "hit ratio | ideal LRU | off | wrong | s |\n"
           "|---|---|---|---|---|---|---|---|---|---|\n");
    for (unsigned second = 0; second < 2; second++) {
        for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
            ok = play(argv[1], sizes[i], second != 0, requests) && ok;
    }
    return ok ? 0 : 1;
}
