/* rec.h - The frame every stored record stands in: checksum, type, version,
 * length. Pure. The checksum also covers where the record is kept, so that a
 * record found under another's key or offset does not pass.
 *
 *   0  u64  XXH64 of bytes 8.. seeded with rec_seed()
 *   8  u8   type (enum rec_type)
 *   9  u8   version of the payload
 *  10  u16  0
 *  12  u32  length of the payload
 *  16  ...  payload
 *
 * All integers are little-endian. Within one type, later versions only
 * append fields: a reader takes the ones it knows and skips the rest. */
#ifndef TG_STORE_REC_H
#define TG_STORE_REC_H

#include "base/err.h"
#include "base/str.h"

/* Bytes before the payload. */
#define REC_HEAD_BYTES 16

/* No payload is longer; also the bound for scanning damaged files. */
#define REC_PAYLOAD_MAX (64u << 10)

/* Types of record. Numbers are for ever; see doc/store-format.md. */
enum rec_type {
    REC_NONE = 0,
    REC_META,    /* one number or text of the store itself */
    REC_KEY,     /* account/key */
    REC_TEAM,    /* account/key */
    REC_ROW,     /* store/row */
    REC_ROW_AT,  /* time of the row of an id */
    REC_COUNTER, /* store/tally */
    REC_FOLD,    /* how far a journal file is folded */
    REC_JOURNAL, /* head of a journal file */
    REC_HOLD,    /* account/hold */
    REC_SPEND,   /* account/spend: taken */
    REC_LEASE,   /* account/spend: leased */
    REC_TYPE_COUNT
};

/* The seed for a record kept in <table> under <key>. */
uint64_t rec_seed(unsigned table, struct str key);

/* Fill the REC_HEAD_BYTES at <frame>, behind which the payload of
 * <payload_len> bytes already stands. */
void rec_seal(void *frame, enum rec_type type, size_t payload_len,
              uint64_t seed);

/* Check the frame at the start of <bytes>, which may go on behind it, and
 * give its payload, borrowed. ERR_CORRUPT on anything but an intact record
 * of <type>. */
enum err rec_open(struct str bytes, enum rec_type type, uint64_t seed,
                  struct str *payload_out) MUST_CHECK;

/* A payload being written; writes past the room only set <full>. */
struct rec_out {
    uint8_t *p; /* borrowed */
    size_t len;
    size_t room;
    bool full;
};

/* Append <bytes> low bytes (1..8) of <v>. */
void rec_put_int(struct rec_out *o, uint64_t v, unsigned bytes);

/* Append a u16 length and the bytes, cut to <max>. */
void rec_put_text(struct rec_out *o, struct str s, size_t max);

/* Append raw bytes. */
void rec_put_raw(struct rec_out *o, const void *p, size_t len);

/* A payload being read; reads past the end give zeros and set <bad>. */
struct rec_in {
    const uint8_t *p; /* borrowed */
    size_t left;
    bool bad;
};

/* Read an integer of <bytes> bytes (1..8). */
uint64_t rec_get_int(struct rec_in *in, unsigned bytes);

/* Read a u16 length and so many bytes, borrowed. */
struct str rec_get_text(struct rec_in *in);

/* Read <len> raw bytes, borrowed; p is NULL when they are not there. */
struct str rec_get_raw(struct rec_in *in, size_t len);

#endif
