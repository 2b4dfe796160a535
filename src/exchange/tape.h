/* tape.h - A reply while it is made, for more than the one who asked first:
 * one writer puts its head, its frames and its end; readers on any worker get
 * the frames so far and then follow.
 *
 *   BLANK --start--> RUNS --end--> COMPLETE or BROKEN
 *     +-----fail---> FAILED
 *
 * A frame is an event of a stream as the client is sent it, or a piece of
 * another body. What fits into a bound is kept whole, for readers who come
 * later and to be stored. A reply that outgrows it takes no new readers; for
 * those it has as much is kept as the bound allows, or TAPE_WINDOW if that is
 * more, and who falls behind has lost it. The writer never waits for a reader.
 *
 * Any thread may hold a reference. The calls of the writer come from one
 * thread, those of a reader from the thread of its worker. */
#ifndef TG_EXCHANGE_TAPE_H
#define TG_EXCHANGE_TAPE_H

#include "base/err.h"
#include "base/id.h"
#include "base/str.h"
#include "store/row.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

struct tape;
struct tape_block;
struct worker;

/* Bytes that are kept, at least, for the readers of a reply that outgrew its
 * bound. */
#define TAPE_WINDOW (1024 * 1024)

/* Longest content type that is kept; a longer one is cut. */
#define TAPE_TYPE_MAX 255

/* How far a tape is. */
enum tape_state {
    TAPE_BLANK = 0, /* no head yet */
    TAPE_RUNS,      /* the head is there, frames come */
    TAPE_COMPLETE,  /* it reached its end */
    TAPE_BROKEN,    /* it broke off after the head */
    TAPE_FAILED,    /* it failed before the head */
};

/* The head of a reply, as far as it is kept. */
struct tape_head {
    int status;      /* 200..599 */
    struct str type; /* Content-Type; may be empty */
    bool events;     /* an event stream: its frames are events */
};

/* What the reply cost the one who paid, known at its end. */
struct tape_sum {
    char id[ID_SIZE];            /* request id, NUL-terminated */
    int64_t made_wall_ms;        /* Unix time at which it was complete */
    uint64_t tok[ROW_TOK_COUNT]; /* tokens of each kind */
    int64_t cost_nusd;           /* nano-dollars */
    struct str target;           /* who served it */
    struct str target_model;     /* the name it was asked by there */
    char finish[32];             /* finish reason, NUL-terminated, may be "" */
    uint8_t usage_source;        /* enum row_source */
    uint16_t flags;              /* enum row_flag */
    bool estimated;              /* the tokens are an estimate */
};

/* Why there will be no reply. Without <err> and <again> nothing failed, but the
 * reply is not to be shared: each reader asks by itself. */
struct tape_failure {
    enum err err;
    struct str text;        /* for the client; may be empty */
    int status;             /* that an upstream had sent, or 0 */
    bool again;             /* one of the readers may try it once more */
    int64_t retry_after_ms; /* for retry-after headers; 0: unsaid */
};

/* A blank tape with one reference that keeps at most <max_bytes> of body
 * whole, for workers with an index below <n_workers>. NULL without memory. */
struct tape *tape_new(uint64_t max_bytes, unsigned n_workers);

/* One more reference; gives <t>. */
struct tape *tape_ref(struct tape *t);

/* Drop a reference; NULL is fine. */
void tape_unref(struct tape *t);

/* ---- the writer -------------------------------------------------------- */

/* The head is known: BLANK to RUNS. Its type is copied. */
void tape_start(struct tape *t, const struct tape_head *head);

/* Append <frame>, copied; nothing if it is empty. Only while it RUNS. Without
 * memory for it the readers have lost it and it cannot be stored. */
void tape_put(struct tape *t, struct str frame);

/* The same for a frame that came <ms> after the head, not now. */
void tape_put_at(struct tape *t, struct str frame, uint32_t ms);

/* RUNS to COMPLETE or BROKEN. <sum> and its texts are copied; NULL: nothing is
 * known of the cost. */
void tape_end(struct tape *t, bool complete, const struct tape_sum *sum);

/* BLANK to FAILED; the text is copied. */
void tape_fail(struct tape *t, const struct tape_failure *why);

/* From now on call <change>(<arg>) on the thread of <w>, which is the writer's,
 * from its loop, when the first reader has come or the last one has left while
 * it is BLANK or RUNS: tape_readers() tells which holds by then. NULL for
 * <change>: no more. <w> must take its mail until then. */
void tape_watch(struct tape *t, struct worker *w, void (*change)(void *arg),
                void *arg);

/* Remember <heir>, counted, as the tape that those go on to who could not use
 * <t>. Once; guarded by a lock of the caller's, as is tape_heir(). */
void tape_set_heir(struct tape *t, struct tape *heir);

/* The tape after <t>, borrowed from it, or NULL. */
struct tape *tape_heir(const struct tape *t);

/* ---- anybody ----------------------------------------------------------- */

/* How far <t> is. What went before it is then visible to the caller. */
enum tape_state tape_state(const struct tape *t);

/* Whether it can still be read from its beginning. */
bool tape_is_whole(const struct tape *t);

/* Whether who comes now may follow: it is BLANK, RUNS or is COMPLETE, and
 * whole. */
bool tape_is_open(const struct tape *t);

/* Body bytes put so far. */
uint64_t tape_bytes(const struct tape *t);

/* Frames put so far. */
uint64_t tape_frames(const struct tape *t);

/* Readers attached now. */
unsigned tape_readers(const struct tape *t);

/* The head; borrowed from <t>. Only once it is RUNS, COMPLETE or BROKEN. */
const struct tape_head *tape_head(const struct tape *t);

/* What it cost; borrowed from <t>. NULL unless it has ended and that is
 * known. */
const struct tape_sum *tape_sum(const struct tape *t);

/* Why it failed; borrowed from <t>. Only once it is FAILED. */
const struct tape_failure *tape_failure(const struct tape *t);

/* Where tape_scan() stands; zeroed: at the beginning. */
struct tape_pos {
    const struct tape_block *block;
    size_t at;
};

/* The next frame of a tape that is COMPLETE and whole, borrowed from <t>, and
 * how many ms after the head it came; false at the end. Takes no lock. */
bool tape_scan(const struct tape *t, struct tape_pos *pos,
               struct str *frame_out, uint32_t *ms_out);

/* ---- readers ----------------------------------------------------------- */

/* One reader; embed it in your own struct. Set <more>, the rest is the
 * tape's. */
struct tape_reader {
    /* On the thread of its worker, from the loop and never from inside a call
     * of the reader's: the head, more frames or the end may be there. Once for
     * each TAPE_AGAIN at most. The reader may detach and be freed in it. */
    void (*more)(struct tape_reader *r);
    struct tape *tape;             /* counted; NULL: not attached */
    struct tape_block *block;      /* counted; or NULL */
    size_t at;                     /* offset of the next frame in it */
    unsigned worker;               /* index */
    bool armed;                    /* <more> is owed */
    bool lost;                     /* it fell behind */
    TAILQ_ENTRY(tape_reader) link; /* in its worker's list */
};

/* What tape_next() gives. */
enum tape_read {
    TAPE_FRAME = 0, /* a frame */
    TAPE_AGAIN,     /* nothing yet: <more> will be called */
    TAPE_END,       /* that was all: see tape_state() for how it ended */
    TAPE_LOST,      /* this reader cannot get the rest */
};

/* Let <r>, which runs on <w>, read <t> from the beginning. It then calls
 * tape_next() by itself. False, and nothing is done, when <t> cannot be read
 * from its beginning, broke off, or failed so that it should be tried again. */
bool tape_attach(struct tape *t, struct tape_reader *r, struct worker *w);

/* The next frame, borrowed until the next call of this reader's, and how many
 * ms after the head it came; both only with TAPE_FRAME. Takes a lock only where
 * a run of frames ends. */
enum tape_read tape_next(struct tape_reader *r, struct str *frame_out,
                         uint32_t *ms_out);

/* <r> reads no more; also from inside <more>. Nothing if it is not attached. */
void tape_detach(struct tape_reader *r);

#endif
