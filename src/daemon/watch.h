/* watch.h - The watchdog: workers that do not come round, and memory that runs
 * short. */
#ifndef TG_DAEMON_WATCH_H
#define TG_DAEMON_WATCH_H

#include <stdbool.h>
#include <stdint.h>

struct conf;
struct daemon;

/* A worker that is silent for so long does not serve: /readyz says so. */
#define WATCH_SILENT_MS 1000

/* What the main thread remembers between its looks. Zeroed: nothing yet. */
struct watch {
    bool is_short;        /* of memory */
    uint64_t limits_ms;   /* monotonic: when the limits were read, or 0 */
    uint64_t given_bytes; /* by the cgroup; UINT64_MAX: no limit */
    uint64_t space_bytes; /* that ulimit -v leaves; UINT64_MAX: no limit */
    bool space_is_read;   /* <space_bytes> is known */
    uint64_t trimmed_ms;  /* monotonic: when free memory was last given back */
    uint64_t said_ms;     /* monotonic: last line about a silent worker */
    bool has_ahead;       /* <ahead_ms> is known */
    int64_t ahead_ms;     /* of the wall clock before the monotonic one */
    uint64_t silent;      /* bit per worker: was silent at the last look */
};

/* The longest that a worker of <d> has been silent beyond its tick, in ms: 0
 * as a rule. Any thread. */
uint64_t watch_silent_ms(const struct daemon *d);

/* Look at workers and memory, and log what has changed. From the main thread's
 * tick. */
void watch_tick(struct daemon *d);

/* The least memory limit of the cgroup that /proc/self/cgroup's <text> names
 * and those above it, under <root> ("/sys/fs/cgroup"); UINT64_MAX: none. Both
 * versions of cgroups. */
uint64_t watch_cgroup_bytes(const char *root, const char *text);

/* The bytes in use at which memory is short, the least of: limits.memory
 * (<conf_bytes>; 0: none), nine tenths of what the cgroup gives, and
 * <space_bytes>; UINT64_MAX: no limit. */
uint64_t watch_bound(uint64_t conf_bytes, uint64_t given_bytes,
                     uint64_t space_bytes);

/* Whether memory is short with <used> bytes in use, if it <was>: it is until a
 * twentieth of <most> is free again. */
bool watch_is_short(uint64_t used, uint64_t most, bool was);

#endif
