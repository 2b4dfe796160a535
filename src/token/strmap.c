/* strmap.c - Open addressing, at most half full, linear probing. */
#include "token/strmap.h"

#include <stdlib.h>

#include "base/map.h"

enum err strmap_init(struct strmap *m, size_t n)
{
    size_t room = 16;

    while (room < 2 * n)
        room *= 2;
    m->slots = calloc(room, sizeof(*m->slots));
    if (!m->slots)
        return ERR_NOMEM;
    m->mask = room - 1;
    return ERR_OK;
}

void strmap_fini(struct strmap *m)
{
    free(m->slots);
    *m = (struct strmap){0};
}

/* The slot of <s>, or the free one where it would be. */
static uint64_t *slot_of(const struct strmap *m, const struct str *texts,
                         struct str s, uint32_t hash)
{
    for (size_t i = hash & m->mask;; i = (i + 1) & m->mask) {
        uint64_t slot = m->slots[i];

        if (slot == 0)
            return &m->slots[i];
        if (slot >> 32 == hash && str_eq(texts[(uint32_t)slot - 1], s))
            return &m->slots[i];
    }
}

bool strmap_put(struct strmap *m, const struct str *texts, uint32_t number)
{
    struct str s = texts[number];
    uint32_t hash = map_hash(s.p, s.len);
    uint64_t *slot = slot_of(m, texts, s, hash);

    if (*slot != 0)
        return false;
    *slot = (uint64_t)hash << 32 | (number + 1);
    return true;
}

uint32_t strmap_get(const struct strmap *m, const struct str *texts,
                    struct str s)
{
    const uint64_t *slot;

    if (!m->slots)
        return UINT32_MAX;
    slot = slot_of(m, texts, s, map_hash(s.p, s.len));
    return *slot ? (uint32_t)*slot - 1 : UINT32_MAX;
}
