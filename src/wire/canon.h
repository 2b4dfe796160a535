/* canon.h - The canonical text of JSON: two texts have the same one exactly
 * when they mean the same, so that a digest of it tells requests apart.
 *
 * Members stand in the order of their names, white space is gone, every
 * character of a string is written in one way, and a number by its exact
 * decimal value: 1, 1.0, 10e-1 are one, 0.1 and 0.10000000000000001 are two.
 * What differs in the order of an array's elements, or in a member that is
 * null rather than absent, differs. The canonical text is JSON itself, and its
 * own canonical text.
 *
 * A table names what is left out. A path is member names with dots between;
 * "[]" after a name is each element of that array, and "[words]" in the end:
 *
 *     user                   the member `user` of the whole
 *     input[].id             `id` of each element of `input`
 *     system[words]          each element of `system` that is a line beginning
 *                            with those words, or an object whose `text` is
 *
 * An `id` directly within an array's element goes only where the element brings
 * its content along (has `content`, `call_id`, `encrypted_content` or a
 * `summary`): where it has none, the id is what it means. */
#ifndef TG_WIRE_CANON_H
#define TG_WIRE_CANON_H

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

#include <stdint.h>

/* Most paths of a table, most steps of a path, deepest nesting of a text, most
 * members of all the objects around one place, most bytes of a line that is
 * left out by its words. */
enum {
    CANON_PATHS = 64,
    CANON_STEPS = 8,
    CANON_DEPTH = 128,
    CANON_MEMBERS = 1 << 16,
    CANON_LINE = 1024
};

/* How a path goes on. */
enum canon_how {
    CANON_MEMBER = 0, /* to the member <text> of an object */
    CANON_EACH,       /* to every element of an array */
    CANON_LINES,      /* to lines that begin with <text>: always the last */
};

/* A step of a path. */
struct canon_step {
    enum canon_how how;
    struct str text; /* borrowed from the path */
};

/* What is left out. Zeroed is nothing. Never written after it is filled: any
 * thread may use it. */
struct canon_skip {
    unsigned count;
    struct {
        unsigned count;
        struct canon_step step[CANON_STEPS];
    } path[CANON_PATHS];
};

/* Add <path> to <skip>, which borrows its bytes. ERR_SYNTAX: it is no path;
 * ERR_RANGE: too many paths or steps. */
enum err canon_skip_add(struct canon_skip *skip, struct str path) MUST_CHECK;

/* Append the canonical text of <json>, which a scan has validated, to <out>,
 * without what <skip> (may be NULL) names. Linear in its length but for the
 * sorting. ERR_BAD_PARAM: an object has two members of one name; ERR_RANGE: it
 * is nested too deeply or so oddly that sorting it would take too long, or too
 * many members are open; ERR_BAD_JSON: it was not validated, and this was seen;
 * ERR_NOMEM: no memory, or more than <out> may hold. On failure <out> is as
 * long as before. */
enum err canon_put(struct str json, const struct canon_skip *skip,
                   struct buf *out) MUST_CHECK;

#endif
