/* tape_kit.h - Workers and readers for the tests of tapes. A reader notes what
 * it was given; its worker's mail is read when a test says so. */
#ifndef TG_TESTS_TAPE_KIT_H
#define TG_TESTS_TAPE_KIT_H

#include "base/buf.h"
#include "exchange/tape.h"
#include "exchange/worker.h"

#include "unit/cmocka_all.h"

#define KIT_WORKERS 4

/* A reader that takes all there is each time it is told. */
struct kit_reader {
    struct tape_reader r; /* first */
    struct buf got;       /* all frames, one after the other */
    unsigned frames;
    unsigned told; /* calls of <more> */
    uint32_t last_ms;
    enum tape_read state; /* the last answer that was no frame */
    bool lazy;            /* <more> reads nothing */
    bool leaves;          /* it detaches in <more> */
};

/* A worker of index <i>, as much of one as takes mail. */
static inline void kit_worker(struct worker *w, unsigned i)
{
    *w = (struct worker){.index = i};
    assert_int_equal(mbox_init(&w->inbox), ERR_OK);
}

static inline void kit_take(struct mbox_msg *m, void *arg)
{
    struct worker_mail *mail = MBOX_ENTRY(m, struct worker_mail, link);

    mail->take(mail, arg);
}

/* Read the mail of <w>; how many messages there were. */
static inline size_t kit_mail(struct worker *w)
{
    return mbox_drain(&w->inbox, 0, kit_take, w);
}

static inline void kit_worker_end(struct worker *w)
{
    mbox_drain(&w->inbox, 0, kit_take, NULL);
    mbox_fini(&w->inbox);
}

/* Take all frames there are. */
static inline enum tape_read kit_read(struct kit_reader *k)
{
    struct str frame;

    while ((k->state = tape_next(&k->r, &frame, &k->last_ms)) == TAPE_FRAME) {
        assert_int_equal(buf_put_str(&k->got, frame), ERR_OK);
        k->frames++;
    }
    return k->state;
}

static inline void kit_more(struct tape_reader *r)
{
    struct kit_reader *k = (struct kit_reader *)(void *)r;

    k->told++;
    if (k->leaves)
        tape_detach(r);
    else if (!k->lazy)
        (void)kit_read(k);
}

static inline void kit_reader_make(struct kit_reader *k)
{
    *k = (struct kit_reader){.r.more = kit_more};
    buf_init(&k->got, 256u << 20);
}

static inline void kit_reader_end(struct kit_reader *k)
{
    tape_detach(&k->r);
    buf_fini(&k->got);
}

/* Whether <k> was given <text> so far. */
static inline bool kit_has(const struct kit_reader *k, const char *text)
{
    return str_eq(buf_str(&k->got), str_from(text));
}

#endif
