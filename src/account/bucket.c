/* bucket.c - See bucket.h. The one number kept is what is missing to a full
 * bucket, so that a change of the limit changes nothing of what was taken.
 * Limits are 64 bits, a minute's parts 26, the most that can be missing 6 more:
 * no sum of these comes near 128. */
#include "account/bucket.h"

/* Parts of a unit: microseconds of a minute. */
#define PARTS UINT64_C(60000000)

static unsigned __int128 parts(uint64_t n)
{
    return (unsigned __int128)n * PARTS;
}

/* Let flow in what came since. */
static void turn(struct bucket *b, uint64_t now_us)
{
    unsigned __int128 in;

    if (now_us <= b->at_us)
        return;
    in = (unsigned __int128)b->limit * (now_us - b->at_us);
    b->lack = in < b->lack ? b->lack - in : 0;
    b->at_us = now_us;
}

/* Milliseconds, rounded up, in which <flow> parts come. */
static uint64_t ms_of(const struct bucket *b, unsigned __int128 flow)
{
    unsigned __int128 a_ms = (unsigned __int128)b->limit * 1000;

    return (uint64_t)((flow + a_ms - 1) / a_ms);
}

void bucket_set(struct bucket *b, uint64_t limit, uint64_t now_us)
{
    if (limit == b->limit)
        return;
    turn(b, now_us);
    b->limit = limit;
    if (b->lack > parts(limit))
        b->lack = parts(limit);
}

uint64_t bucket_wait_ms(struct bucket *b, uint64_t n, uint64_t now_us)
{
    unsigned __int128 want;

    if (b->limit == 0)
        return 0;
    if (n > b->limit)
        return BUCKET_NEVER;
    turn(b, now_us);
    want = b->lack + parts(n);
    return want > parts(b->limit) ? ms_of(b, want - parts(b->limit)) : 0;
}

void bucket_take(struct bucket *b, uint64_t n, uint64_t now_us)
{
    unsigned __int128 most = parts(b->limit) * BUCKET_LACK_MAX_MIN;

    turn(b, now_us);
    b->lack += parts(n);
    if (b->lack > most)
        b->lack = most;
}

void bucket_give(struct bucket *b, uint64_t n, uint64_t now_us)
{
    turn(b, now_us);
    b->lack = parts(n) < b->lack ? b->lack - parts(n) : 0;
}

uint64_t bucket_left(struct bucket *b, uint64_t now_us)
{
    turn(b, now_us);
    if (b->lack >= parts(b->limit))
        return 0;
    return (uint64_t)((parts(b->limit) - b->lack) / PARTS);
}

uint64_t bucket_full_ms(struct bucket *b, uint64_t now_us)
{
    turn(b, now_us);
    return b->lack > 0 ? ms_of(b, b->lack) : 0;
}
