/* stop.h - Finds stop strings in a text that comes in pieces, and says how much
 * of its end may yet become one. Decides by bytes, so that how the text is cut
 * into tokens changes nothing: of several, the one that is complete first ends
 * the text; of those complete at the same byte, the longest. */
#ifndef TG_ENGINE_STOP_H
#define TG_ENGINE_STOP_H

#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct stop_set;

/* A match. */
struct stop_hit {
    int which;  /* index of the string */
    size_t end; /* bytes of the piece up to and with the string's last */
    size_t len; /* bytes of the string */
};

/* Prepare <n> strings, none empty, borrowed until stop_set_free(). NULL
 * without memory. */
struct stop_set *stop_set_new(const struct str *strings, size_t n);

/* Free; NULL is fine. */
void stop_set_free(struct stop_set *set);

/* Go on with <piece> from <at> ((n) numbers, zeroed at the start of a text).
 * True at the first match, told in <out>; <at> is of no use then. */
bool stop_feed(const struct stop_set *set, uint32_t *at, struct str piece,
               struct stop_hit *out);

/* Bytes at the end of the text so far that are the beginning of a string. */
size_t stop_held(const struct stop_set *set, const uint32_t *at);

#endif
