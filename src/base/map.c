/* map.c - The seeded hash of map.h. The seed is drawn before main() runs, so
 * that no map can be older than it. */
#include "base/map.h"

#define XXH_INLINE_ALL
#include <sys/random.h>
#include <xxhash.h>

#include "base/panic.h"

static uint64_t seed;

__attribute__((constructor)) static void seed_draw(void)
{
    BUG_ON(getrandom(&seed, sizeof(seed), 0) != sizeof(seed));
}

uint32_t map_hash(const void *p, size_t len)
{
    uint64_t h = XXH3_64bits_withSeed(p, len, seed);

    return (uint32_t)(h ^ h >> 32);
}
