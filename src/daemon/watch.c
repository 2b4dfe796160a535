/* watch.c - See watch.h. Decides when a worker counts as silent, and when so
 * little memory is left that nothing new is begun: what is under way can then
 * end, where the kernel would end us all. */
#include "daemon/watch.h"

#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "conf/conf.h"
#include "daemon/daemon.h"
#include "front/front.h"

#define WORKER_TICK_MS 100
#define JUMP_MS        1000
#define SAY_EVERY_MS   5000
#define LIMITS_MS      5000 /* between looks at limits */
/* Of the memory, for request bodies. They come faster than anybody looks, and
 * are there twice while they are sent on. */
#define BODIES_SHARE 4

#define TRIM_MS    1000
#define SETTLED_MS 1000 /* from the start until threads have theirs */

/* ---- workers ------------------------------------------------------------ */

static uint64_t silent_ms(const struct daemon_worker *dw, uint64_t now_ms)
{
    uint64_t beat_ms = atomic_load(&dw->beat_ms);

    if (beat_ms == 0 || now_ms <= beat_ms + WORKER_TICK_MS)
        return 0;
    return now_ms - beat_ms - WORKER_TICK_MS;
}

uint64_t watch_silent_ms(const struct daemon *d)
{
    uint64_t worst = 0, now_ms = clock_mono_ms();

    for (unsigned i = 0; i < d->n_workers; i++) {
        uint64_t ms = silent_ms(d->workers[i], now_ms);

        worst = ms > worst ? ms : worst;
    }
    return worst;
}

static void watch_worker(struct daemon *d, unsigned i, uint64_t now_ms)
{
    struct watch *w = &d->watch;
    uint64_t ms = silent_ms(d->workers[i], now_ms);
    uint64_t bit = UINT64_C(1) << (i % 64);

    if (ms < WATCH_SILENT_MS) {
        if (w->silent & bit)
            log_note(LOG_MAIN, "worker is back: index=%u", i);
        w->silent &= ~bit;
        return;
    }
    if ((w->silent & bit) == 0)
        atomic_fetch_add(&d->stalls, 1);
    else if (now_ms - w->said_ms < SAY_EVERY_MS)
        return;
    w->silent |= bit;
    w->said_ms = now_ms;
    log_err(LOG_MAIN, "worker is stuck: index=%u silent_ms=%" PRIu64, i, ms);
}

/* ---- clocks ------------------------------------------------------------- */

/* Deadlines, limits and pauses go by the monotonic clock; the windows of
 * budgets follow the other one, forward only: whoever wonders about them finds
 * here why. */
static void watch_clock(struct watch *w, uint64_t now_ms)
{
    int64_t ahead_ms = (int64_t)clock_wall_ms() - (int64_t)now_ms;
    int64_t by_ms = ahead_ms - w->ahead_ms;

    if (w->has_ahead && (by_ms >= JUMP_MS || by_ms <= -JUMP_MS))
        log_warn(LOG_MAIN, "the clock was set: by_ms=%" PRId64, by_ms);
    w->ahead_ms = ahead_ms;
    w->has_ahead = true;
}

/* ---- limits ------------------------------------------------------------- */

/* The number in the file <folder>/<name>; UINT64_MAX when there is none. */
static uint64_t limit_in(const char *folder, const char *name)
{
    char path[1024], text[64];
    unsigned long long bytes = UINT64_MAX;
    FILE *f;

    if (snprintf(path, sizeof(path), "%s/%s", folder, name) >=
        (int)sizeof(path))
        return UINT64_MAX;
    f = fopen(path, "re");
    if (!f)
        return UINT64_MAX;
    if (fgets(text, sizeof(text), f) && text[0] >= '0' && text[0] <= '9')
        bytes = strtoull(text, NULL, 10);
    fclose(f);
    return bytes;
}

/* The least limit in <name> of the folder <top>/<path> and those above it. */
static uint64_t limit_above(const char *top, const char *path, const char *name)
{
    char folder[768];
    uint64_t least = UINT64_MAX;
    size_t floor = strlen(top);

    if (snprintf(folder, sizeof(folder), "%s%s", top, path) >=
        (int)sizeof(folder))
        return UINT64_MAX;
    for (;;) {
        uint64_t bytes = limit_in(folder, name);
        char *cut = strrchr(folder, '/');

        least = bytes < least ? bytes : least;
        if (!cut || (size_t)(cut - folder) < floor)
            return least;
        *cut = '\0';
    }
}

/* Cut the next line off <at> into <line>; false at the end. */
static bool next_line(const char **at, char *line, size_t room)
{
    size_t len = strcspn(*at, "\n");

    if (**at == '\0')
        return false;
    snprintf(line, room, "%.*s", (int)len, *at);
    *at += len + ((*at)[len] == '\n');
    return true;
}

uint64_t watch_cgroup_bytes(const char *root, const char *text)
{
    uint64_t least = UINT64_MAX, bytes;
    char line[512], top[256];

    while (next_line(&text, line, sizeof(line))) {
        char *kind = strchr(line, ':');
        char *path = kind ? strchr(kind + 1, ':') : NULL;

        if (!path)
            continue;
        *path++ = '\0';
        if (strcmp(kind, ":") == 0) {
            bytes = limit_above(root, path, "memory.max");
        } else if (strcmp(kind, ":memory") == 0) {
            snprintf(top, sizeof(top), "%s/memory", root);
            bytes = limit_above(top, path, "memory.limit_in_bytes");
        } else {
            continue;
        }
        least = bytes < least ? bytes : least;
    }
    return least;
}

uint64_t watch_bound(uint64_t conf_bytes, uint64_t given_bytes,
                     uint64_t space_bytes)
{
    uint64_t most = conf_bytes > 0 ? conf_bytes : UINT64_MAX;

    if (given_bytes != UINT64_MAX && given_bytes / 10 * 9 < most)
        most = given_bytes / 10 * 9;
    return space_bytes < most ? space_bytes : most;
}

bool watch_is_short(uint64_t used, uint64_t most, bool was)
{
    return used > (was ? most / 20 * 19 : most);
}

/* ---- memory ------------------------------------------------------------- */

/* The process's memory, in bytes. */
struct memory {
    uint64_t space; /* addresses */
    uint64_t used;  /* present, and not to be had from a file again */
};

/* False when it cannot be read: then nothing is known. */
static bool memory_read(struct memory *m)
{
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    unsigned long long size = 0, resident = 0, shared = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    int n;

    if (!f)
        return false;
    n = fscanf(f, "%llu %llu %llu", &size, &resident, &shared);
    fclose(f);
    m->used = (resident - shared) * page;
    m->space = size * page;
    return n == 3;
}

/* Addresses are never given back, memory is: so the limit on addresses becomes
 * one of memory, by what was left of them when every thread had its share. */
static void space_read(struct watch *w, const struct memory *m)
{
    struct rlimit rl;

    w->space_is_read = true;
    w->space_bytes = UINT64_MAX;
    if (getrlimit(RLIMIT_AS, &rl) != 0 || rl.rlim_cur == RLIM_INFINITY)
        return;
    w->space_bytes = m->used;
    if (rl.rlim_cur > m->space)
        w->space_bytes += (rl.rlim_cur - m->space) / 10 * 9;
}

static void limits_read(struct watch *w, uint64_t now_ms)
{
    char text[4096];
    FILE *f;
    size_t n;

    if (w->limits_ms != 0 && now_ms - w->limits_ms < LIMITS_MS)
        return;
    f = fopen("/proc/self/cgroup", "re");
    if (f) {
        n = fread(text, 1, sizeof(text) - 1, f);
        text[n] = '\0';
        fclose(f);
        w->given_bytes = watch_cgroup_bytes("/sys/fs/cgroup", text);
    } else if (w->limits_ms == 0) {
        w->given_bytes = UINT64_MAX;
    }
    w->limits_ms = now_ms;
}

static void watch_memory(struct daemon *d, uint64_t now_ms)
{
    struct watch *w = &d->watch;
    struct memory m;
    bool is_short;
    uint64_t most;

    if (!memory_read(&m))
        return;
    limits_read(w, now_ms);
    if (!w->space_is_read && now_ms - d->start_mono_ms >= SETTLED_MS)
        space_read(w, &m);
    most = watch_bound(d->conf->limits.memory_bytes, w->given_bytes,
                       w->space_is_read ? w->space_bytes : UINT64_MAX);
    front_net_set_bodies(d->net, most == UINT64_MAX ? 0 : most / BODIES_SHARE);
    is_short = watch_is_short(m.used, most, w->is_short);
    if (is_short && now_ms - w->trimmed_ms >= TRIM_MS) {
        malloc_trim(0);
        w->trimmed_ms = now_ms;
    }
    if (is_short == w->is_short)
        return;
    w->is_short = is_short;
    front_net_set_short(d->net, is_short);
    if (is_short)
        log_warn(LOG_MAIN,
                 "memory is short, requests are refused: used=%" PRIu64
                 " limit=%" PRIu64,
                 m.used, most);
    else
        log_note(LOG_MAIN, "memory is no longer short: used=%" PRIu64, m.used);
}

void watch_tick(struct daemon *d)
{
    uint64_t now_ms = clock_mono_ms();

    for (unsigned i = 0; i < d->n_workers; i++)
        watch_worker(d, i, now_ms);
    watch_clock(&d->watch, now_ms);
    watch_memory(d, now_ms);
}
