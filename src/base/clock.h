/* clock.h - The time, read from the system once per loop turn and cached per
 * thread, with a process-wide offset that tests move. Monotonic times are for
 * deadlines and durations, wall times for what people and disks see. */
#ifndef TG_BASE_CLOCK_H
#define TG_BASE_CLOCK_H

#include <stdint.h>

/* Bytes of "2026-01-31T23:59:59.123Z" and its NUL. */
#define CLOCK_RFC3339_SIZE 25

/* Bytes of "Sat, 31 Jan 2026 23:59:59 GMT" and its NUL. */
#define CLOCK_HTTP_SIZE 30

/* Bytes of the longest span, "5124095576030h25m51.615s", and its NUL. */
#define CLOCK_SPAN_SIZE 25

/* Read the system's clocks into this thread's cache. A loop calls it once per
 * turn, right after it wakes; a thread without a loop calls it before it
 * reads. Costs about 50 ns. */
void clock_update(void);

/* Cached monotonic time; never goes back within a thread. A thread that never
 * called clock_update() gets it called by its first read. */
uint64_t clock_mono_us(void);

/* clock_mono_us() in whole milliseconds. */
uint64_t clock_mono_ms(void);

/* Cached wall time since the epoch (UTC); may jump when the system's does. */
uint64_t clock_wall_ms(void);

/* Cached wall time in nanoseconds since the epoch. */
uint64_t clock_wall_ns(void);

/* Monotonic time read now, test offset included; the cache stays as it was. */
uint64_t clock_now_us(void);

/* Wall time in milliseconds read now, test offset included. */
uint64_t clock_now_wall_ms(void);

/* Tests only: move the clocks of the whole process forward by <ms>. The
 * calling thread's cache moves at once, the others' at their next
 * clock_update(). */
void clock_advance_ms(uint64_t ms);

/* Write <wall_ms> as RFC 3339 UTC with milliseconds into <out>. Times past
 * the year 9999 print as its last millisecond. */
void clock_format_rfc3339(uint64_t wall_ms, char out[CLOCK_RFC3339_SIZE]);

/* Write <wall_ms> as an HTTP date (IMF-fixdate) into <out>. */
void clock_format_http(uint64_t wall_ms, char out[CLOCK_HTTP_SIZE]);

/* Write the span <ms> as Go does: "0s", "250ms", "1.5s", "6m0s", "1h0m0.25s".
 */
void clock_format_span(uint64_t ms, char out[CLOCK_SPAN_SIZE]);

/* The cached wall time as an HTTP date, formatted once a second. Borrowed
 * until this thread's next call. */
const char *clock_http_date(void);

#endif
