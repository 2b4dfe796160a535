/* log_line.h - How a log line looks: as text or as JSON, escaped so that
 * nothing a stranger sent can forge a line or steer a terminal. */
#ifndef TG_BASE_LOG_LINE_H
#define TG_BASE_LOG_LINE_H

#include "base/log.h"

/* Most bytes of a finished line, newline included. */
#define LOG_LINE_SIZE 4096

/* Most bytes of its text before escaping. */
#define LOG_TEXT_SIZE 2048

/* What a line says. Strings are borrowed. */
struct log_line {
    uint64_t wall_ms;
    enum log_level level;
    enum log_cat cat;
    struct str context; /* empty: none */
    struct str text;
    bool is_cut; /* text was longer */
};

/* Write <l> with its newline into <out> and return its length. Text that does
 * not fit is cut between characters and marked with "...". */
size_t log_line_format(const struct log_line *l, bool json,
                       char out[LOG_LINE_SIZE]);

/* The category's name, static. */
const char *log_cat_name(enum log_cat cat);

#endif
