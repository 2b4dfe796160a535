/* env_page.c - Whether a page of LMDB's trees is one that LMDB may change: it
 * trusts what a page says of itself, and would write where that points to. The
 * layout is that of LMDB 0.9. Pure functions. */
#include <string.h>

#include "store/env_priv.h"

/* Bytes of a node before its key, and flags of those of leaves: the value has
 * pages of its own; it is the root of a table. */
#define NODE_HEAD    8
#define NODE_LARGE   1
#define NODE_TABLE   2
#define LARGE_NUMBER 8

static unsigned u16_at(const uint8_t *p)
{
    uint16_t v;

    memcpy(&v, p, sizeof(v));
    return v;
}

/* Bytes that the node at <p> has, 0 when that cannot be. */
static size_t node_bytes(const uint8_t *p, unsigned kind)
{
    const unsigned flags = u16_at(p + 4);
    size_t n = NODE_HEAD + u16_at(p + 6);

    if (kind == ENV_PAGE_BRANCH)
        return (n + 1) & ~(size_t)1;
    if (flags == NODE_LARGE)
        n += LARGE_NUMBER;
    else if (flags == 0 || flags == NODE_TABLE)
        n += u16_at(p) | (size_t)u16_at(p + 2) << 16;
    else
        return 0;
    return (n + 1) & ~(size_t)1;
}

bool env_page_is_sound(const uint8_t *page, size_t page_bytes, unsigned kind)
{
    const size_t lower = u16_at(page + 12);
    const size_t upper = u16_at(page + 14);
    size_t least = page_bytes;
    size_t sum = 0;

    if (u16_at(page + 10) != kind || lower < PAGE_HEAD || lower % 2 != 0 ||
        lower > upper || upper > page_bytes)
        return false;
    for (size_t i = PAGE_HEAD; i < lower; i += 2) {
        const size_t at = u16_at(page + i);

        if (at < upper || at % 2 != 0 || at + NODE_HEAD > page_bytes)
            return false;
        const size_t n = node_bytes(page + at, kind);
        if (n == 0 || n > page_bytes - at)
            return false;
        least = at < least ? at : least;
        sum += n;
    }
    return least == upper && sum == page_bytes - upper;
}
