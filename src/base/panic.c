/* panic.c - See panic.h. */
#include "base/panic.h"

#include <execinfo.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"

/* How long a panic waits for the lines before it to be written. */
#define FLUSH_MS 500

_Noreturn void panic(const char *file, int line, const char *fmt, ...)
{
    void *frames[64];
    va_list ap;

    log_flush(FLUSH_MS);
    fprintf(stderr, "tollgate: panic at %s:%d: ", file, line);
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fputc('\n', stderr);
    backtrace_symbols_fd(frames, backtrace(frames, 64), STDERR_FILENO);
    abort();
}
