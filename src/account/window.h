/* window.h - Calendar windows in UTC, by number: what time is in which, and
 * when it ends. Pure functions; no job renews anything. */
#ifndef TG_ACCOUNT_WINDOW_H
#define TG_ACCOUNT_WINDOW_H

#include "account/budget_spec.h"

#include <stdint.h>

/* Number of the window that <wall_ms> (Unix time) is in: windows of one kind
 * follow each other by one. 0 for BUDGET_TOTAL. */
int64_t window_number(enum budget_window window, int64_t wall_ms);

/* When window <number> begins, in Unix time; INT64_MIN for BUDGET_TOTAL. */
int64_t window_begin_ms(enum budget_window window, int64_t number);

/* When window <number> ends and the next begins; INT64_MAX for BUDGET_TOTAL. */
int64_t window_end_ms(enum budget_window window, int64_t number);

#endif
