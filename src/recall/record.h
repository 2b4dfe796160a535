/* record.h - The bytes that a complete reply is stored as: its head, what it
 * cost, the lengths and times of its frames, its body in one piece. Pure. A
 * checksum is the store's business; here every length is proved before it is
 * believed.
 *
 *   0  u8   version, 1
 *   1  u8   1: an event stream
 *   2  u16  status
 *   4  u32  length of the texts and counts that follow, to the table
 *   8  u32  number of frames
 *  12  u32  0
 *  16  u64  length of the body
 *  24  ...  type; id, times, tokens, cost, target, model, finish of the sum
 *   .  ...  a frame: u32 length, u32 ms after the head; one after the other
 *   .  ...  body
 *
 * All integers are little-endian. */
#ifndef TG_RECALL_RECORD_H
#define TG_RECALL_RECORD_H

#include "base/buf.h"
#include "exchange/tape.h"

/* A stored reply; slices are borrowed from its bytes. */
struct record_view {
    struct tape_head head;
    bool has_sum; /* <sum> is known */
    struct tape_sum sum;
    struct str table;    /* lengths and times of the frames */
    uint32_t frames;     /* number of them */
    uint64_t body_bytes; /* length of the whole body */
    struct str body;     /* of it what is there: all, for record_view() */
};

/* Append <t>, which is COMPLETE, to <out>. A body that is no stream becomes
 * one frame. ERR_NOT_FOUND when <t> is not complete or not whole; ERR_RANGE
 * when a frame or the number of them does not fit; ERR_NOMEM past the cap of
 * <out>, which is then as it was. */
enum err record_put(const struct tape *t, struct buf *out) MUST_CHECK;

/* What record_put() appends at most beyond the body, in bytes. */
uint64_t record_extra_bytes(const struct tape *t);

/* Read a whole record without copying. ERR_CORRUPT when it is none. */
enum err record_view(struct str bytes, struct record_view *out) MUST_CHECK;

/* The same for <bytes> that are the beginning of a record of <total_bytes>;
 * the body is what is there of it. ERR_AGAIN when more is needed to tell. */
enum err record_view_part(struct str bytes, uint64_t total_bytes,
                          struct record_view *out) MUST_CHECK;

/* Where record_next() stands; zeroed: at the beginning. */
struct record_pos {
    uint32_t index; /* of the next frame */
    uint64_t at;    /* its offset in the body */
};

/* The next frame of <v> and how many ms after the head it came; false at the
 * end, or when not all of it is there. */
bool record_next(const struct record_view *v, struct record_pos *pos,
                 struct str *frame_out, uint32_t *ms_out);

/* A tape of a whole record, COMPLETE, for workers with an index below
 * <n_workers>. ERR_CORRUPT, ERR_NOMEM. */
enum err record_open(struct str bytes, unsigned n_workers,
                     struct tape **out) MUST_CHECK;

#endif
