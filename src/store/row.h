/* row.h - The usage row: what one request used and how it ended, and its
 * bytes on disk. Pure: no I/O, no clock, no memory of its own. */
#ifndef TG_STORE_ROW_H
#define TG_STORE_ROW_H

#include "base/err.h"
#include "base/str.h"

/* Length of a request id; ids sort by the time they were made. */
#define ROW_ID_LEN 26

/* Longest texts a row keeps, in bytes; longer ones are cut on encoding. */
#define ROW_NAME_MAX   64  /* key id, team, endpoint */
#define ROW_TARGET_MAX 96  /* target: an engine model may have a long name */
#define ROW_MODEL_MAX  128 /* model asked, model of the target */
#define ROW_REASON_MAX 128 /* why it ended the way it did */
#define ROW_FINISH_MAX 32  /* finish reason */

/* No row payload is longer than this. */
#define ROW_BYTES_MAX 1024

/* Kinds of tokens. Disjoint: each token stands in exactly one of them, so
 * input as a client sees it is the sum of the four input kinds and audio. */
enum row_tok {
    ROW_TOK_INPUT = 0,      /* read fresh */
    ROW_TOK_CACHE_READ,     /* input found in the provider's or our cache */
    ROW_TOK_CACHE_WRITE_5M, /* input written to a cache for 5 minutes */
    ROW_TOK_CACHE_WRITE_1H, /* input written to a cache for 1 hour */
    ROW_TOK_OUTPUT,         /* generated and seen by the client */
    ROW_TOK_REASONING,      /* generated and not seen */
    ROW_TOK_AUDIO_IN,       /* audio input */
    ROW_TOK_AUDIO_OUT,      /* audio output */
    ROW_TOK_COUNT
};

/* Who counted the tokens. */
enum row_source {
    ROW_SOURCE_NONE = 0,  /* nothing to count: refused, or not a model call */
    ROW_SOURCE_UPSTREAM,  /* the provider said so */
    ROW_SOURCE_ENGINE,    /* the built-in engine did it itself */
    ROW_SOURCE_ESTIMATED, /* derived from bytes seen */
    ROW_SOURCE_COUNT
};

/* Where the reply came from. */
enum row_cache {
    ROW_CACHE_NONE = 0, /* a call of its own, nothing of which was kept */
    ROW_CACHE_MISS,     /* a call of its own, for others too */
    ROW_CACHE_HIT,      /* it was kept: nobody was asked */
    ROW_CACHE_JOINED,   /* the call of another request */
    ROW_CACHE_COUNT
};

/* What is worth knowing about the way it went; or-ed together. */
enum row_flag {
    ROW_STREAM = 1,        /* a stream was asked for, or came */
    ROW_CLIENT_GONE = 2,   /* the client left before its reply was complete */
    ROW_ESTIMATED = 4,     /* usage is an estimate or an upper bound */
    ROW_INCOMPLETE = 8,    /* the reply broke off before its terminator */
    ROW_IN_DOUBT = 16,     /* what the upstream did is not known */
    ROW_PASSED = 32,       /* passthrough: counted by request only */
    ROW_UNPRICED = 64,     /* all or a part of it had no price */
    ROW_STALE_PRICE = 128, /* the price was old when it was charged */
    ROW_LEG = 256          /* an attempt beside the one that answered: a cost
                            * of the request <parent>, which has its own row */
};

/* One request, or a leg of one, told once it is over. Slices are borrowed: from
 * the caller when writing, from the record's bytes when reading. */
struct usage_row {
    struct str id;           /* ROW_ID_LEN bytes, unique for ever */
    int64_t time_wall_ms;    /* when the request came, Unix time */
    struct str key_id;       /* "key_..." */
    struct str team;         /* team of the key then; may be empty */
    struct str endpoint;     /* short name, e.g. "chat" */
    struct str model;        /* what the client asked for */
    struct str target;       /* upstream or engine that served; may be empty */
    struct str target_model; /* the name it was asked by there */
    struct str reason;       /* short cause when it did not end well */
    uint16_t status;         /* HTTP status, 499 when the client left */
    uint16_t flags;          /* enum row_flag */
    uint8_t attempts;        /* upstream attempts made */
    uint8_t usage_source;    /* enum row_source */
    uint64_t tok[ROW_TOK_COUNT]; /* tokens of each kind */
    int64_t cost_nusd;           /* nano-dollars charged */
    uint32_t ms_total;           /* from head received to last byte */
    uint32_t ms_first_byte;      /* to the first byte of the reply */
    uint64_t bytes_in;           /* request body bytes */
    uint64_t bytes_out;          /* reply body bytes */
    uint64_t audio_ms;           /* audio billed by time */
    int64_t budget_ms;           /* the time that budgets count it at; when
                                  * writing, 0 = time_wall_ms */
    struct str finish;           /* finish or stop reason; may be empty */
    struct str parent;           /* ROW_LEG: id of its request; else empty */
    struct str hold; /* id of the hold that this row ends, where that is not
                      * the row's own; else empty */
    uint8_t cache;   /* enum row_cache */
    uint64_t saved_input_tok;  /* HIT, JOINED: what an upstream did not have */
    uint64_t saved_output_tok; /* to do again, whatever is charged for it */
    int64_t saved_nusd;        /* and its cost there, nano-dollars */
};

/* Input tokens as people count them: every input kind and audio input. */
uint64_t row_input_tokens(const uint64_t tok[ROW_TOK_COUNT]);

/* Output tokens as people count them: seen, reasoning, audio output. */
uint64_t row_output_tokens(const uint64_t tok[ROW_TOK_COUNT]);

/* Encode <row> into <out> of at least ROW_BYTES_MAX bytes; gives the length.
 * Over-long texts are cut. The id must be ROW_ID_LEN bytes, parent and hold
 * that or none (else a bug). */
size_t row_encode(const struct usage_row *row, void *out);

/* "none", "miss", "hit" or "joined"; out of range gives "none". */
const char *row_cache_name(unsigned cache);

/* The id of the hold that <row> ends. */
struct str row_hold_id(const struct usage_row *row);

/* Decode a payload; slices of <row_out> borrow from <bytes>. Bytes past the
 * fields known here are a newer version's and are skipped. ERR_CORRUPT when
 * it is too short or a length lies. */
enum err row_decode(struct str bytes, struct usage_row *row_out) MUST_CHECK;

#endif
