/* jtree.h - The JSON of a request as a tree. What is JSON is decided by the
 * gateway's own scanner (wire/jscan.h), so that a body means here what it meant
 * at the gate. Beside that: integers past 64 bits and decimals past a double
 * are the nearest double there is, and half of a surrogate pair is U+FFFD. */
#ifndef TG_ENGINE_JTREE_H
#define TG_ENGINE_JTREE_H

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"

#include <jansson.h>

struct params_fault;

/* What to make of two equal names in one object. */
enum jtree_twice {
    JTREE_TWICE_REFUSED = 0,
    JTREE_TWICE_LAST, /* the last one counts */
};

/* Read <text>, which must be an object, into a new reference. <mem> lends room
 * for names. ERR_BAD_JSON with <why>, whose param is the path of a name that
 * stands twice ("messages[0].role") or is none that can be kept; ERR_NOMEM. */
enum err jtree_read(struct str text, enum jtree_twice twice, struct arena *mem,
                    struct params_fault *why, json_t **out) MUST_CHECK;

#endif
