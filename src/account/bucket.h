/* bucket.h - A token bucket: so much a minute, a whole minute's worth at once,
 * refilled all the time. Plain arithmetic on the time it is given: no job, no
 * float, nothing lost in rounding. What was taken beyond the amount is owed and
 * must flow in before anything fits again. */
#ifndef TG_ACCOUNT_BUCKET_H
#define TG_ACCOUNT_BUCKET_H

#include <stdbool.h>
#include <stdint.h>

/* The answer of bucket_wait_ms() to what never fits. */
#define BUCKET_NEVER UINT64_MAX

/* Minutes of flow that a bucket can lack at most: one for a bucket that is
 * empty, the rest are owed. What exceeds it is forgiven, so that one wild
 * number does not shut a bucket for days. */
#define BUCKET_LACK_MAX_MIN 61

/* A bucket; all zeros has no limit. */
struct bucket {
    uint64_t limit;         /* units a minute, and at once; 0: no limit */
    uint64_t at_us;         /* monotonic: the time that <lack> is of */
    unsigned __int128 lack; /* what is missing to a full bucket, in parts of
                             * a unit: 60,000,000, one for each us of a
                             * minute, so that <limit> parts flow in a us */
};

/* Times are monotonic microseconds. One before the last a bucket has seen
 * counts as that one: threads keep the time of their turn. */

/* Change the limit to <limit> units a minute. What has been taken stays taken,
 * as far as the new bucket can be emptied by it; a limit where there was none
 * is a full bucket. */
void bucket_set(struct bucket *b, uint64_t limit, uint64_t now_us);

/* Milliseconds, rounded up, from <now_us>, or the last time the bucket has
 * seen when that is later, until <n> units fit if nobody takes any: 0 when they
 * fit now, BUCKET_NEVER when they are more than the bucket holds. */
uint64_t bucket_wait_ms(struct bucket *b, uint64_t n, uint64_t now_us);

/* Take <n> units whether they fit or not. */
void bucket_take(struct bucket *b, uint64_t n, uint64_t now_us);

/* Put <n> units back; what does not fit flows over. */
void bucket_give(struct bucket *b, uint64_t n, uint64_t now_us);

/* Whole units that fit now, 0 when some are owed. */
uint64_t bucket_left(struct bucket *b, uint64_t now_us);

/* Milliseconds, rounded up, until the bucket is full. */
uint64_t bucket_full_ms(struct bucket *b, uint64_t now_us);

#endif
