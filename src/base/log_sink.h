/* log_sink.h - Where lines end: a ring in front of a file or of stderr. The
 * log thread alone writes to a sink while it runs. */
#ifndef TG_BASE_LOG_SINK_H
#define TG_BASE_LOG_SINK_H

#include "base/err.h"
#include "base/ring.h"

#include <stdatomic.h>

/* An open file, or stderr. */
struct log_file {
    int fd;          /* owned unless it is stderr's; -1: none */
    char *path;      /* owned; NULL: stderr */
    bool is_regular; /* a write of any size ends soon */
};

/* A sink. */
struct log_sink {
    struct ring *ring; /* owned for the life of the process */
    struct log_file file;
    bool is_torn;             /* the file ends inside a line */
    _Atomic uint64_t taken;   /* lines let in; any thread reads */
    _Atomic uint64_t dropped; /* lines lost; any thread reads */
};

/* Open <path> for appending, or stderr when it is NULL. ERR_IO with errno,
 * ERR_NOMEM. */
enum err log_file_open(const char *path, struct log_file *file_out) MUST_CHECK;

/* Close <f> (not stderr) and forget its path. */
void log_file_close(struct log_file *f);

/* Write the oldest lines with one call, some 4 KiB to anything but a regular
 * file. The caller has seen that the file is ready. Lines that the file
 * refuses, and all where there is none, are dropped and counted. <is_old>,
 * which whoever replaces the file sets first, is looked at after the lines are
 * chosen: so none that was pushed later goes to the old file. False when no
 * line is finished, the file is old, or it was not ready after all. */
bool log_sink_write(struct log_sink *s, _Atomic bool *is_old);

/* Write one line at once, without the ring; waits for a stalled reader for at
 * most 200 ms. False when it could not be written. */
bool log_sink_write_now(struct log_sink *s, struct str line, struct str end);

/* Replace the file; takes <f> over and closes the old one. */
void log_sink_replace(struct log_sink *s, struct log_file *f);

#endif
