/* hold.h - What a request may take at most, as it stands in a journal before
 * anything is sent: when the process dies before the request's row, this is
 * what it is charged. Pure. */
#ifndef TG_ACCOUNT_HOLD_H
#define TG_ACCOUNT_HOLD_H

#include "base/err.h"
#include "base/str.h"
#include "store/row.h"

/* Bytes of an encoded hold, at most. */
#define HOLD_BYTES_MAX 256

/* A hold. Slices are borrowed: from the caller when writing, from the record's
 * bytes when reading. */
struct hold {
    struct str id;     /* of the request or of its own: ROW_ID_LEN bytes */
    int64_t at_ms;     /* when: the row's time */
    struct str key_id; /* 1..ROW_NAME_MAX bytes */
    struct str team;   /* may be empty */
    uint64_t input_tok, output_tok;
    int64_t cost_nusd;
    uint32_t change;   /* of those of one id the largest counts */
    struct str parent; /* of a leg or what may become one: the request, whose
                        * row ends it, too; else empty */
};

/* Encode into <out> of HOLD_BYTES_MAX bytes; gives the length. Over-long texts
 * are cut. The id must be ROW_ID_LEN bytes (else a bug), the parent that or
 * none. */
size_t hold_encode(const struct hold *h, void *out);

/* Decode; fields of newer versions are skipped. ERR_CORRUPT. */
enum err hold_decode(struct str bytes, struct hold *out) MUST_CHECK;

/* The row of a request that was never settled: all of <h> is charged, and
 * nobody can tell what was done. Slices borrow from <h>. */
void hold_row(const struct hold *h, struct usage_row *out);

#endif
