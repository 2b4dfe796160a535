/* log.h - Log lines and access lines. Between log_start() and log_stop()
 * lines go through bounded rings to a log thread, so that no caller ever
 * waits for a disk or a stalled pipe: when a ring is full the line is dropped,
 * counted, and the loss told later. Outside that span lines are written at
 * once by the caller. Say what happened in a short sentence, then key=value;
 * never secrets, prompts or completions. */
#ifndef TG_BASE_LOG_H
#define TG_BASE_LOG_H

#include "base/err.h"
#include "base/str.h"

#include <stdatomic.h>

/* How much a line matters; a line shows when its level is <= the one set. */
enum log_level {
    LOG_LEVEL_ERR = 0, /* something was given up; somebody should look */
    LOG_LEVEL_WARN,    /* it works on, but not as it should */
    LOG_LEVEL_NOTE,    /* start, stop, reload, state changes: always wanted */
    LOG_LEVEL_INFO,    /* the normal course of things */
    LOG_LEVEL_DEBUG,   /* for who follows one request */
    LOG_LEVEL_COUNT
};

/* Which part of the program speaks. */
enum log_cat {
    LOG_MAIN = 0, /* boot, stop, reload, watchdog */
    LOG_CONF,
    LOG_NET, /* listeners, accepts, sockets */
    LOG_TLS,
    LOG_HTTP,
    LOG_ADMIT,
    LOG_PROMPT,
    LOG_RECALL,
    LOG_ROUTE, /* targets, breakers, retries */
    LOG_UPSTREAM,
    LOG_RELAY,
    LOG_SETTLE,
    LOG_LEDGER,
    LOG_STORE,
    LOG_CTL,
    LOG_ENGINE,
    LOG_CAT_COUNT
};

/* Where lines go and how they look. Strings are copied by who takes them. */
struct log_settings {
    enum log_level level;
    bool json;             /* false: "time level category [context] text" */
    const char *path;      /* NULL: stderr; otherwise a file, appended to */
    bool access_on;        /* false: access lines are thrown away */
    const char *access;    /* NULL: where log lines go; otherwise a file */
    size_t ring_bytes;     /* each ring; 0: 1 MiB. A power of two */
    uint32_t stop_wait_ms; /* longest wait for a stalled sink at the end;
                              0: 2000 */
};

/* Lines since the start of the process. */
struct log_stats {
    uint64_t lines;          /* taken for writing */
    uint64_t dropped;        /* lost: ring full, or the sink failed */
    uint64_t access_lines;   /* as lines, of the access log */
    uint64_t access_dropped; /* as dropped, of the access log */
};

/* The level now; use log_is_on(). */
extern _Atomic int log_level_now;

/* Whether lines of <level> show. */
static inline bool log_is_on(enum log_level level)
{
    return (int)level <=
           atomic_load_explicit(&log_level_now, memory_order_relaxed);
}

/* Open the sinks of <s> and start the log thread. ERR_IO (the reason is
 * logged) when a file cannot be opened or the thread not be started, ERR_NOMEM;
 * logging is then as it was before. Call it before other threads log. */
enum err log_start(const struct log_settings *s) MUST_CHECK;

/* Change level, format and sinks while running, as a reload does; the rings'
 * size stays. No line that the caller emits afterwards goes to the old sinks;
 * those not yet written go to the new ones, too. ERR_IO as log_start(), then
 * nothing has changed. Any thread. */
enum err log_configure(const struct log_settings *s) MUST_CHECK;

/* Write out what waits, for at most stop_wait_ms, and end the log thread; the
 * files stay open for lines that come later. Call it after the other threads
 * have ended. Does nothing when not started. Also runs at exit(). */
void log_stop(void);

/* Ask the log thread to reopen its files (after a rotation). When one cannot
 * be opened the old one is kept and an error logged. */
void log_reopen(void);

/* Wait until every line pushed before the call is written, for at most
 * <wait_ms>; false when it took longer. For panics and tests: blocks. */
bool log_flush(uint32_t wait_ms);

/* Set the level, any thread, at once. */
void log_level_set(enum log_level level);

/* Name of <level>: "err", "warn", "note", "info", "debug". */
const char *log_level_name(enum log_level level);

/* Parse a level's name ("error" and "warning" too); false when it is none. */
bool log_level_parse(struct str name, enum log_level *level_out);

/* Set what this thread's lines carry in brackets, e.g. a request id; copied,
 * cut at 63 bytes. NULL or "" removes it. */
void log_context_set(const char *context);

/* Format and emit one line, without looking at the level; use the macros
 * below. Control characters and bytes that are not UTF-8 come out escaped;
 * text past about 2 KiB is cut and marked so. */
void log_write(enum log_level level, enum log_cat cat, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Emit one access line of <len> bytes, already formatted, without newline.
 * Dropped and counted when longer than 64 KiB or the ring is full. */
void log_access_write(const char *line, size_t len);

/* Copy the counters; any thread. */
void log_stats_read(struct log_stats *stats_out);

/* Emit a line of <level> when that level shows; arguments are not evaluated
 * otherwise. */
#define log_at(level, cat, ...)                                                \
    do {                                                                       \
        if (log_is_on(level))                                                  \
            log_write((level), (cat), __VA_ARGS__);                            \
    } while (0)

/* One macro a level: log_warn(LOG_ROUTE, "target opened: name=%s", name). */
#define log_err(cat, ...)   log_at(LOG_LEVEL_ERR, cat, __VA_ARGS__)
#define log_warn(cat, ...)  log_at(LOG_LEVEL_WARN, cat, __VA_ARGS__)
#define log_note(cat, ...)  log_at(LOG_LEVEL_NOTE, cat, __VA_ARGS__)
#define log_info(cat, ...)  log_at(LOG_LEVEL_INFO, cat, __VA_ARGS__)
#define log_debug(cat, ...) log_at(LOG_LEVEL_DEBUG, cat, __VA_ARGS__)

#endif
