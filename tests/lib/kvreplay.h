/* kvreplay.h - Made-up traffic that shares prefixes, played to a store of
 * pages as the engine does it, and to an ideal store beside it: a list of as
 * many pages of which the longest unused one always goes first. The same seed
 * gives the same requests. */
#ifndef TG_TESTS_LIB_KVREPLAY_H
#define TG_TESTS_LIB_KVREPLAY_H

#include "store/kv_db.h"

/* Bytes of a payload here: what is found does not depend on them. */
#define KVREPLAY_PAYLOAD 4096

/* What to play. */
struct kvreplay_opts {
    struct kv_db *db; /* empty, of KVREPLAY_PAYLOAD */
    unsigned requests;
    uint64_t seed;
    uint64_t pages; /* of the ideal store */
    bool second; /* pages are stored when they are seen for the second time */
};

/* What came of it. */
struct kvreplay {
    uint64_t asked;    /* pages of all requests */
    uint64_t distinct; /* different ones of them */
    uint64_t hits;     /* found in the store, read and compared */
    uint64_t ideal;    /* found in the ideal store */
    uint64_t wrong;    /* of <hits>, not what was stored: must be 0 */
    uint64_t stored;
};

/* Play. A third of the requests are conversations that go on, with a system
 * prompt of Zipf popularity; the rest begin one, or are of one turn. */
enum err kvreplay_run(const struct kvreplay_opts *o,
                      struct kvreplay *out) MUST_CHECK;

#endif
