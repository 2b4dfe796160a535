/* strmap.h - A map from text to number, filled once and then only read. The
 * texts stay with the caller: a slot keeps a hash and an index into them. */
#ifndef TG_TOKEN_STRMAP_H
#define TG_TOKEN_STRMAP_H

#include "base/err.h"
#include "base/str.h"

/* Zeroed is a map that holds nothing and takes nothing. */
struct strmap {
    uint64_t *slots; /* hash << 32 | number + 1; 0 is free */
    size_t mask;     /* slots - 1, a power of two - 1 */
};

/* Room for <n> texts (n < 2^30). ERR_NOMEM. */
enum err strmap_init(struct strmap *m, size_t n) MUST_CHECK;

/* Free the slots. */
void strmap_fini(struct strmap *m);

/* Put <number>, whose text is texts[number]. False when that text is there
 * already; the map is then unchanged. */
bool strmap_put(struct strmap *m, const struct str *texts, uint32_t number);

/* The number whose text in <texts> is <s>, or UINT32_MAX. */
uint32_t strmap_get(const struct strmap *m, const struct str *texts,
                    struct str s);

#endif
