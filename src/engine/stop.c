/* stop.c - See stop.h. Each string is matched in the way of Knuth, Morris and
 * Pratt: a number tells how many of its bytes the text ends with, and a table
 * tells what is left of that when the next byte does not fit. */
#include "engine/stop.h"

#include <stdlib.h>

struct stop_set {
    size_t n;
    const struct str *strings; /* borrowed */
    uint32_t **falls; /* (n)(len): longest proper border of the first i + 1
                       * bytes; the tables stand behind the pointers */
};

/* Fill <fall> for <s>. */
static void fill(struct str s, uint32_t *fall)
{
    uint32_t k = 0;

    fall[0] = 0;
    for (size_t i = 1; i < s.len; i++) {
        while (k > 0 && s.p[i] != s.p[k])
            k = fall[k - 1];
        if (s.p[i] == s.p[k])
            k++;
        fall[i] = k;
    }
}

struct stop_set *stop_set_new(const struct str *strings, size_t n)
{
    struct stop_set *set;
    size_t bytes = 0;
    uint32_t *room;

    for (size_t i = 0; i < n; i++)
        bytes += strings[i].len * sizeof(uint32_t);
    set = malloc(sizeof(*set) + n * sizeof(uint32_t *) + bytes);
    if (!set)
        return NULL;
    set->n = n;
    set->strings = strings;
    set->falls = (uint32_t **)(void *)(set + 1);
    room = (uint32_t *)(void *)(set->falls + n);
    for (size_t i = 0; i < n; i++) {
        set->falls[i] = room;
        fill(strings[i], room);
        room += strings[i].len;
    }
    return set;
}

void stop_set_free(struct stop_set *set)
{
    free(set);
}

/* Go on with one byte in string <i>; true when it is complete. */
static bool feed_byte(const struct stop_set *set, size_t i, uint32_t *at,
                      char c)
{
    struct str s = set->strings[i];
    uint32_t k = *at;

    while (k > 0 && s.p[k] != c)
        k = set->falls[i][k - 1];
    if (s.p[k] == c)
        k++;
    *at = k;
    return k == s.len;
}

bool stop_feed(const struct stop_set *set, uint32_t *at, struct str piece,
               struct stop_hit *out)
{
    for (size_t b = 0; b < piece.len; b++) {
        int which = -1;

        for (size_t i = 0; i < set->n; i++)
            if (feed_byte(set, i, &at[i], piece.p[b]) &&
                (which < 0 || set->strings[i].len > set->strings[which].len))
                which = (int)i;
        if (which >= 0) {
            *out = (struct stop_hit){which, b + 1, set->strings[which].len};
            return true;
        }
    }
    return false;
}

size_t stop_held(const struct stop_set *set, const uint32_t *at)
{
    size_t most = 0;

    for (size_t i = 0; i < set->n; i++)
        if (at[i] > most)
            most = at[i];
    return most;
}
