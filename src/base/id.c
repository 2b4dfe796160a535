/* id.c - See id.h. Random bits are drawn for many ids at once, per thread. */
#include "base/id.h"

#include <stdint.h>
#include <string.h>

#include "base/clock.h"
#include "base/digest.h"

#define RANDOM_BYTES 10
#define IDS_A_DRAW   64

/* Random bytes not used yet. */
struct id_pool {
    uint8_t bytes[RANDOM_BYTES * IDS_A_DRAW];
    size_t left;
};

static _Thread_local struct id_pool pool;

/* Write the low 5*n bits of <v> as <n> characters. */
static void put(char *at, uint64_t v, int n)
{
    static const char digits[] = "0123456789abcdefghjkmnpqrstvwxyz";

    while (n-- > 0) {
        at[n] = digits[v & 31];
        v >>= 5;
    }
}

void id_new(char out[ID_SIZE])
{
    uint64_t v[2] = {0, 0};
    uint8_t *at;

    if (pool.left == 0) {
        digest_random(pool.bytes, sizeof(pool.bytes));
        pool.left = IDS_A_DRAW;
    }
    pool.left--;
    at = pool.bytes + RANDOM_BYTES * pool.left;
    memcpy(&v[0], at, RANDOM_BYTES / 2);
    memcpy(&v[1], at + RANDOM_BYTES / 2, RANDOM_BYTES / 2);
    put(out, clock_wall_ms() & ((UINT64_C(1) << 48) - 1), 10);
    put(out + 10, v[0], 8);
    put(out + 18, v[1], 8);
    out[26] = 0;
}
