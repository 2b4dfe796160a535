/* log.c - See log.h. Callers format their line and push it into a ring; the
 * log thread writes it. To wake a thread costs a caller some 5 us, so the
 * thread looks by itself every 20 ms; only when a second has passed without
 * news it says so in <is_asleep> and sleeps until a caller wakes it. That
 * cannot miss a line: the caller moves the ring's head and then reads
 * <is_asleep>, the thread sets <is_asleep> and then reads the head, and all
 * four are sequentially consistent.
 *
 * A log belongs to the process, not to an owner that could be passed around,
 * so this file has state of its own. */
#include "base/log.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log_line.h"
#include "base/log_sink.h"
#include "base/panic.h"
#include "base/thr.h"
#include "base/utf8.h"

#define NAP_MS          20
#define NAPS            50 /* without news, before it sleeps */
#define STALL_MS        100
#define TELL_MS         1000
#define GRACE_MS        500 /* for the thread's own end */
#define RING_BYTES      (1u << 20)
#define STOP_WAIT_MS    2000
#define CONTEXT_SIZE    64
#define ACCESS_MAX_LINE 65536

/* Where access lines go. */
enum access_to { ACCESS_OFF = 0, ACCESS_WITH_LOG, ACCESS_OWN };

/* A change of files on its way to the log thread. */
struct change {
    bool is_set;
    bool reopen;
    struct log_file log;
    struct log_file access;
};

/* What the log thread remembers between two rounds. */
struct round {
    uint64_t told_log; /* lost lines it has told of */
    uint64_t told_access;
    uint64_t told_ms;     /* when it last did */
    uint64_t deadline_ms; /* 0: nobody wants it to end */
    int naps;             /* in a row, without news */
};

static struct state {
    struct log_sink log;
    struct log_sink access;
    _Atomic bool json;
    _Atomic int access_to;   /* enum access_to */
    _Atomic bool is_running; /* lines go through the rings */
    _Atomic bool is_asleep;
    _Atomic bool is_stopping;
    _Atomic uint32_t stop_wait_ms;
    size_t ring_bytes; /* of each ring */
    int wake_fd;       /* the thread sleeps on it */
    int done_fd;       /* the thread says here that it has ended */
    struct thr thr;
    struct round round;   /* the thread's */
    pthread_mutex_t lock; /* guards <change>; nothing is locked inside */
    struct change change;
    _Atomic bool has_change;
} st = {.log.file = {.fd = STDERR_FILENO},
        .access.file = {.fd = -1},
        .wake_fd = -1,
        .done_fd = -1,
        .lock = PTHREAD_MUTEX_INITIALIZER,
        .change = {.log.fd = -1, .access.fd = -1}};

_Atomic int log_level_now = LOG_LEVEL_INFO;

static _Thread_local char context[CONTEXT_SIZE];
static _Thread_local bool is_log_thread;

/* Monotonic milliseconds that tests cannot move: they bound real waits. */
static uint64_t real_ms(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static void wake(void)
{
    uint64_t one = 1;

    /* EAGAIN: the counter is full, so it is awake already. */
    if (write(st.wake_fd, &one, sizeof(one)) == -1)
        BUG_ON(errno != EAGAIN && errno != EINTR);
}

static void wake_if_asleep(void)
{
    if (atomic_load(&st.is_asleep) && atomic_exchange(&st.is_asleep, false))
        wake();
}

/* Let a line into <s> - through its ring, or at once when no thread runs -
 * and count it as one of <count>, the log's or the access log's. */
static void emit(struct log_sink *s, struct log_sink *count, struct str line,
                 struct str end, size_t spare)
{
    bool ok;

    if (!atomic_load_explicit(&st.is_running, memory_order_acquire)) {
        ok = log_sink_write_now(s, line, end);
    } else {
        ok = ring_push(s->ring, line, end, spare);
        wake_if_asleep();
    }
    atomic_fetch_add_explicit(ok ? &count->taken : &count->dropped, 1,
                              memory_order_relaxed);
}

void log_write(enum log_level level, enum log_cat cat, const char *fmt, ...)
{
    char text[LOG_TEXT_SIZE], out[LOG_LINE_SIZE];
    struct log_line l = {.level = level, .cat = cat};
    va_list ap;
    size_t len;
    int saved = errno, n;

    va_start(ap, fmt);
    n = vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    l.text = str_of(text, n < 0 ? 0 : (size_t)n);
    if (l.text.len >= sizeof(text)) {
        l.text.len = sizeof(text) - 1;
        l.text.len = utf8_whole_len(l.text);
        l.is_cut = true;
    }
    l.context = str_from(context);
    l.wall_ms = clock_now_wall_ms();
    len = log_line_format(&l, atomic_load(&st.json), out);
    emit(&st.log, &st.log, str_of(out, len), str_of(NULL, 0), 0);
    errno = saved;
}

void log_access_write(const char *line, size_t len)
{
    enum access_to to = (enum access_to)atomic_load_explicit(
        &st.access_to, memory_order_relaxed);
    struct log_sink *s = to == ACCESS_OWN ? &st.access : &st.log;
    size_t spare = to == ACCESS_OWN ? 0 : st.ring_bytes / 8;

    if (to == ACCESS_OFF)
        return;
    if (len > ACCESS_MAX_LINE) {
        atomic_fetch_add(&st.access.dropped, 1);
        return;
    }
    emit(s, &st.access, str_of(line, len), STR("\n"), spare);
}

void log_context_set(const char *text)
{
    snprintf(context, sizeof(context), "%s", text ? text : "");
}

void log_level_set(enum log_level level)
{
    atomic_store(&log_level_now, (int)level);
}

void log_stats_read(struct log_stats *stats_out)
{
    *stats_out =
        (struct log_stats){.lines = atomic_load(&st.log.taken),
                           .dropped = atomic_load(&st.log.dropped),
                           .access_lines = atomic_load(&st.access.taken),
                           .access_dropped = atomic_load(&st.access.dropped)};
}

/* --- the log thread ----------------------------------------------------- */

/* Say how many lines were lost since the last time, once a second at most:
 * what it says may be lost, too. */
static void tell_dropped(struct round *r)
{
    uint64_t log = atomic_load(&st.log.dropped);
    uint64_t access = atomic_load(&st.access.dropped);
    uint64_t now_ms = real_ms();

    if (r->told_ms != 0 && now_ms - r->told_ms < TELL_MS)
        return;
    if (log == r->told_log && access == r->told_access)
        return;
    log_warn(LOG_MAIN, "lines were lost: log=%" PRIu64 " access=%" PRIu64,
             log - r->told_log, access - r->told_access);
    r->told_log = log;
    r->told_access = access;
    r->told_ms = now_ms;
}

static bool has_untold(const struct round *r)
{
    return atomic_load(&st.log.dropped) != r->told_log ||
           atomic_load(&st.access.dropped) != r->told_access;
}

static void reopen(struct log_sink *s)
{
    struct log_file f;

    if (!s->file.path)
        return;
    if (log_file_open(s->file.path, &f) != ERR_OK) {
        log_err(LOG_MAIN, "cannot reopen %s, the old file stays in use: %s",
                s->file.path, strerror(errno));
        return;
    }
    log_sink_replace(s, &f);
}

/* Do what log_configure() or log_reopen() left to be done. */
static void apply_change(void)
{
    struct change c;

    if (!atomic_load(&st.has_change))
        return;
    pthread_mutex_lock(&st.lock);
    atomic_store(&st.has_change, false);
    c = st.change;
    st.change = (struct change){.log.fd = -1, .access.fd = -1};
    pthread_mutex_unlock(&st.lock);
    if (c.is_set) {
        log_sink_replace(&st.log, &c.log);
        log_sink_replace(&st.access, &c.access);
    }
    if (c.reopen) {
        reopen(&st.log);
        reopen(&st.access);
    }
}

static bool is_drained(void)
{
    return ring_is_empty(st.log.ring) && ring_is_empty(st.access.ring);
}

/* Wait until one of the sinks with lines can be written, or for a wake-up, at
 * most <wait_ms> (-1: no limit), and write. False when nothing was written. */
static bool pump(int wait_ms)
{
    struct log_sink *sinks[2] = {&st.log, &st.access};
    struct pollfd p[3] = {{.fd = st.wake_fd, .events = POLLIN}};
    bool has_written = false;
    uint64_t count;

    for (int i = 0; i < 2; i++) {
        /* poll() passes over descriptors below 0. */
        p[i + 1] = (struct pollfd){.fd = -1, .events = POLLOUT};
        if (ring_is_empty(sinks[i]->ring))
            continue;
        p[i + 1].fd = sinks[i]->file.fd;
        if (p[i + 1].fd == -1)
            has_written |= log_sink_write(sinks[i], &st.has_change);
    }
    if (poll(p, 3, has_written ? 0 : wait_ms) <= 0)
        return has_written;
    if (p[0].revents && read(st.wake_fd, &count, sizeof(count)) == -1)
        BUG_ON(errno != EAGAIN && errno != EINTR);
    for (int i = 0; i < 2; i++) {
        if (p[i + 1].revents)
            has_written |= log_sink_write(sinks[i], &st.has_change);
    }
    return has_written;
}

/* There is nothing to write: nap or, after so many naps that nobody seems to
 * come, sleep until a caller has news, at most <wait_ms>. */
static void rest(struct round *r, int wait_ms)
{
    if (pump(NAP_MS)) {
        r->naps = 0;
        return;
    }
    if (++r->naps < NAPS)
        return;
    atomic_store(&st.is_asleep, true);
    if (is_drained() && !atomic_load(&st.is_stopping))
        pump(wait_ms);
    atomic_store(&st.is_asleep, false);
    r->naps = 0;
}

/* One round; false when the thread shall end. */
static bool work(struct round *r)
{
    struct pollfd nap = {.fd = st.wake_fd, .events = POLLIN};
    bool is_stopping = atomic_load(&st.is_stopping);

    apply_change();
    if (is_stopping && r->deadline_ms == 0)
        r->deadline_ms = real_ms() + atomic_load(&st.stop_wait_ms);
    if (is_drained())
        tell_dropped(r);
    if (is_stopping && (is_drained() || real_ms() >= r->deadline_ms))
        return false;
    if (is_drained())
        rest(r, has_untold(r) ? TELL_MS : -1);
    else if (pump(STALL_MS))
        r->naps = 0;
    else if (!is_drained())
        poll(&nap, 1, 1); /* somebody is still copying a line */
    return true;
}

static void run(void *arg)
{
    (void)arg;
    is_log_thread = true;
    st.round.deadline_ms = 0;
    while (work(&st.round))
        ;
    if (write(st.done_fd, &(uint64_t){1}, sizeof(uint64_t)) == -1)
        PANIC("cannot announce the end of the log thread");
}

/* --- settings, start and stop ------------------------------------------- */

static enum access_to access_of(const struct log_settings *s)
{
    if (!s->access_on)
        return ACCESS_OFF;
    if (!s->access || (s->path && strcmp(s->path, s->access) == 0))
        return ACCESS_WITH_LOG;
    return ACCESS_OWN;
}

static enum err open_or_say(const char *path, struct log_file *file_out)
{
    enum err e = log_file_open(path, file_out);

    if (e != ERR_OK)
        log_err(LOG_MAIN, "cannot open log file %s: %s", path ? path : "stderr",
                e == ERR_IO ? strerror(errno) : err_name(e));
    return e;
}

static enum err open_files(const struct log_settings *s, struct change *c_out)
{
    struct change c = {.is_set = true, .access.fd = -1};
    enum err e = open_or_say(s->path, &c.log);

    if (e != ERR_OK)
        return e;
    if (access_of(s) == ACCESS_OWN)
        e = open_or_say(s->access, &c.access);
    if (e != ERR_OK)
        log_file_close(&c.log);
    else
        *c_out = c;
    return e;
}

/* Put <c> and the rest of <s> into force. */
static void adopt(const struct log_settings *s, const struct change *c)
{
    uint32_t wait_ms = s->stop_wait_ms ? s->stop_wait_ms : STOP_WAIT_MS;

    pthread_mutex_lock(&st.lock);
    if (st.change.is_set) {
        log_file_close(&st.change.log);
        log_file_close(&st.change.access);
    }
    st.change = *c;
    atomic_store(&st.has_change, true);
    pthread_mutex_unlock(&st.lock);
    log_level_set(s->level);
    atomic_store(&st.json, s->json);
    atomic_store(&st.stop_wait_ms, wait_ms);
    atomic_store(&st.access_to, (int)access_of(s));
    if (atomic_load(&st.is_running))
        wake();
    else
        apply_change();
}

enum err log_configure(const struct log_settings *s)
{
    struct change c;
    enum err e = open_files(s, &c);

    if (e == ERR_OK)
        adopt(s, &c);
    return e;
}

/* Rings of <bytes> and the two eventfds. */
static enum err prepare(size_t bytes)
{
    if (st.ring_bytes != bytes) {
        ring_free(st.log.ring);
        ring_free(st.access.ring);
        st.log.ring = ring_new(bytes);
        st.access.ring = ring_new(bytes);
        st.ring_bytes = bytes;
    }
    if (!st.log.ring || !st.access.ring) {
        st.ring_bytes = 0;
        return ERR_NOMEM;
    }
    if (st.wake_fd == -1)
        st.wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (st.done_fd == -1)
        st.done_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    return st.wake_fd == -1 || st.done_fd == -1 ? ERR_IO : ERR_OK;
}

static void stop_at_exit(void)
{
    BUG_ON(atexit(log_stop) != 0);
}

enum err log_start(const struct log_settings *s)
{
    static pthread_once_t exit_once = PTHREAD_ONCE_INIT;
    struct change c;
    enum err e;

    BUG_ON(atomic_load(&st.is_running));
    if (st.thr.running)
        return ERR_IO; /* the last one still hangs in a write */
    e = open_files(s, &c);
    if (e != ERR_OK)
        return e;
    e = prepare(s->ring_bytes ? s->ring_bytes : RING_BYTES);
    atomic_store(&st.is_stopping, false);
    if (e == ERR_OK)
        e = thr_start(&st.thr, "log", run, NULL);
    if (e != ERR_OK) {
        log_file_close(&c.log);
        log_file_close(&c.access);
        log_err(LOG_MAIN, "cannot start the log thread: %s", err_name(e));
        return e;
    }
    atomic_store(&st.is_running, true);
    adopt(s, &c);
    pthread_once(&exit_once, stop_at_exit);
    return ERR_OK;
}

void log_stop(void)
{
    struct pollfd p = {.fd = st.done_fd, .events = POLLIN};
    uint64_t count;

    if (!atomic_exchange(&st.is_running, false))
        return;
    atomic_store(&st.is_stopping, true);
    wake();
    if (poll(&p, 1, (int)atomic_load(&st.stop_wait_ms) + GRACE_MS) != 1)
        return; /* it hangs in a write; the end of the process ends it */
    if (read(st.done_fd, &count, sizeof(count)) == -1)
        BUG_ON(errno != EAGAIN);
    thr_join(&st.thr);
}

void log_reopen(void)
{
    pthread_mutex_lock(&st.lock);
    st.change.reopen = true;
    atomic_store(&st.has_change, true);
    pthread_mutex_unlock(&st.lock);
    if (atomic_load(&st.is_running))
        wake();
    else
        apply_change();
}

bool log_flush(uint32_t wait_ms)
{
    uint64_t log, access, end_ms = real_ms() + wait_ms;

    if (!atomic_load(&st.is_running))
        return true;
    if (is_log_thread)
        return false;
    log = ring_mark(st.log.ring);
    access = ring_mark(st.access.ring);
    wake();
    while (!ring_is_past(st.log.ring, log) ||
           !ring_is_past(st.access.ring, access)) {
        if (real_ms() >= end_ms)
            return false;
        poll(NULL, 0, 1);
    }
    return true;
}
