/* bound.h - The most that a request of a key with a hard budget can take of its
 * upstream, told from its bytes before any of them is sent; or why nobody can
 * tell. Pure: no I/O, no clock. Engine models count for themselves and are not
 * asked about here. doc/budgets.md has the rules in words. */
#ifndef TG_SERVE_BOUND_H
#define TG_SERVE_BOUND_H

#include "base/err.h"
#include "base/str.h"
#include "exchange/stage.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct exchange;

/* What decides beside the request. Slices are borrowed for the call. */
struct bound_rules {
    unsigned units;   /* 1 << enum budget_unit: of the hard budgets, not 0 */
    unsigned priced;  /* 1 << enum conf_price_item: what the model has a price
                       * for at its target; 0: none, or it is not known */
    struct str model; /* its name there; may be empty */
    uint64_t default_output; /* tokens of a choice whose request has no cap */
    uint64_t media_tok; /* tokens of a picture, sound or file; 0: refused */
    const struct str *allow; /* names and globs of further top-level members
                              * that are taken, and tools as "tools.TYPE" */
    size_t n_allow;
};

/* Members that cap the output of a choice. */
enum bound_cap {
    BOUND_MAX_TOKENS = 1,
    BOUND_MAX_COMPLETION_TOKENS = 2,
    BOUND_MAX_OUTPUT_TOKENS = 4,
};

/* The worst case. Sums that no number holds are UINT64_MAX. */
struct bound {
    bool free;           /* nothing is ever charged for it: hold nothing */
    bool flat;           /* it costs what its price says for a request, and no
                          * tokens */
    uint64_t input_tok;  /* of all kinds of input */
    uint64_t output_tok; /* of all choices: <cap_tok> times <choices> */
    uint64_t extra_tok;  /* more output, which no cap bounds */
    uint64_t cap_tok;    /* of a choice: the largest cap that the request
                          * names, else the default; 0: it generates nothing */
    uint64_t choices;    /* answers that the cap holds for, each; >= 1 */
    uint64_t least_tok;  /* a cap below it is refused upstream; >= 1 */
    unsigned caps;       /* enum bound_cap: members that the request has. None:
                          * one must be written where <cap_tok> is not 0 */
    unsigned kinds;      /* PRICE_KIND() bits that its tokens may be of */
    uint64_t audio_ms;   /* audio billed by its time */
    bool unseen;         /* a stream may not show all that it generates: who
                          * counts what it shows knows too little */
    unsigned media;      /* pictures, sounds and files, part of <input_tok> */
};

/* Why a request has no bound. */
struct bound_no {
    char param[96]; /* the member to change, "tools[2]"; empty: the whole
                     * operation is refused */
    char text[320]; /* the sentence for the client */
};

/* The worst case of <x>, whose body is in, its target being an upstream.
 * ERR_BAD_PARAM: <no_out> names a member that has no bound or no meaning;
 * ERR_BAD_REQUEST: the operation has none. */
enum err bound_of(const struct exchange *x, const struct bound_rules *r,
                  struct bound *out, struct bound_no *no_out) MUST_CHECK;

/* Fail <x> with what bound_of() gave. */
enum verdict bound_fail(struct exchange *x, enum err e,
                        const struct bound_no *no);

#endif
