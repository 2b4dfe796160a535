/* tape_read.c - The readers of a tape. A worker whose readers wait for more
 * gets one message a burst, whatever their number, and none while one is under
 * way to it.
 *
 * Lost wakes: a reader looks for a frame and says that it waits under one
 * hold of the lock; the writer puts its frame before it takes the lock to see
 * who waits. */
#include <stdlib.h>

#include "base/panic.h"
#include "exchange/tape_priv.h"

/* ---- being told -------------------------------------------------------- */

void tape_tell(struct tape *t)
{
    for (unsigned i = 0; i < t->n_channels; i++) {
        struct tape_channel *c = &t->channels[i];

        if (!c->wants || c->posted)
            continue;
        c->posted = true;
        tape_ref(t);
        mbox_push(&c->w->inbox, &c->mail.link);
    }
}

void tape_take_mail(struct worker_mail *m, struct worker *w)
{
    struct tape_channel *c = MBOX_ENTRY(m, struct tape_channel, mail);
    struct tape *t = c->tape;
    struct tape_reader *r;

    pthread_mutex_lock(&t->lock);
    c->posted = false;
    c->wants = false;
    pthread_mutex_unlock(&t->lock);
    /* Newcomers stand at the head: this walk does not meet them. */
    for (r = w ? TAILQ_FIRST(&c->readers) : NULL; r; r = c->cursor) {
        c->cursor = TAILQ_NEXT(r, link);
        if (!r->armed)
            continue;
        r->armed = false;
        r->more(r);
    }
    tape_unref(t);
}

/* ---- coming and leaving ------------------------------------------------ */

/* Whether a reader may come; under the lock. */
static bool may_attach(const struct tape *t)
{
    if (tape_state(t) == TAPE_FAILED)
        return !t->failure.again;
    return tape_is_open(t);
}

/* Tell who watches that the first reader has come or the last one has left;
 * under the lock. */
static void tell_change(struct tape *t)
{
    if (!t->watcher || t->change_posted || tape_state(t) > TAPE_RUNS)
        return;
    t->change_posted = true;
    tape_ref(t);
    mbox_push(&t->watcher->inbox, &t->change.link);
}

bool tape_attach(struct tape *t, struct tape_reader *r, struct worker *w)
{
    struct tape_channel *c = &t->channels[w->index];
    bool may;

    BUG_ON(w->index >= t->n_channels || !r->more);
    pthread_mutex_lock(&t->lock);
    may = may_attach(t);
    if (may) {
        c->w = w;
        if (atomic_fetch_add(&t->readers, 1) == 0)
            tell_change(t);
    }
    pthread_mutex_unlock(&t->lock);
    if (!may)
        return false;
    *r = (struct tape_reader){
        .more = r->more, .tape = tape_ref(t), .worker = w->index};
    TAILQ_INSERT_HEAD(&c->readers, r, link);
    return true;
}

/* One reader less; under the lock. */
static void count_off(struct tape *t, struct tape_channel *c)
{
    if (TAILQ_EMPTY(&c->readers))
        c->wants = false;
    if (atomic_fetch_sub(&t->readers, 1) == 1)
        tell_change(t);
}

void tape_detach(struct tape_reader *r)
{
    struct tape *t = r->tape;
    struct tape_channel *c;

    if (!t)
        return;
    c = &t->channels[r->worker];
    if (c->cursor == r)
        c->cursor = TAILQ_NEXT(r, link);
    TAILQ_REMOVE(&c->readers, r, link);
    pthread_mutex_lock(&t->lock);
    count_off(t, c);
    pthread_mutex_unlock(&t->lock);
    tape_block_unref(r->block);
    r->tape = NULL;
    r->block = NULL;
    tape_unref(t);
}

/* ---- reading ----------------------------------------------------------- */

/* The frame at <*at> of <b>, which moves on; false when there is none yet. */
static bool take_frame(const struct tape_block *b, size_t *at,
                       struct str *frame_out, uint32_t *ms_out)
{
    struct tape_mark mark;

    if (!b || *at >= atomic_load_explicit(&b->used, memory_order_acquire))
        return false;
    memcpy(&mark, b->bytes + *at, sizeof(mark));
    *frame_out = str_of(b->bytes + *at + sizeof(mark), mark.len);
    *ms_out = mark.ms;
    *at += sizeof(mark) + mark.len;
    return true;
}

/* Step to the block behind the one that is read out; false when there is none,
 * or when it is no longer there: then <r> has lost it. Under the lock. */
static bool step(struct tape *t, struct tape_reader *r)
{
    struct tape_block *old = r->block;
    const uint64_t want = old ? old->seq + 1 : 0;

    if (t->gap || (t->first && want < t->first->seq)) {
        r->lost = true;
        return false;
    }
    if (!t->first || want > t->last->seq)
        return false;
    r->block = want == t->first->seq ? t->first : old->next;
    r->at = 0;
    atomic_fetch_add_explicit(&r->block->refs, 1, memory_order_relaxed);
    tape_block_unref(old);
    return true;
}

/* What there is where a run of frames ends; under the lock. */
static enum tape_read look(struct tape *t, struct tape_reader *r,
                           struct str *frame_out, uint32_t *ms_out)
{
    if (take_frame(r->block, &r->at, frame_out, ms_out))
        return TAPE_FRAME;
    if (step(t, r) && take_frame(r->block, &r->at, frame_out, ms_out))
        return TAPE_FRAME;
    if (r->lost)
        return TAPE_LOST;
    if (tape_state(t) >= TAPE_COMPLETE)
        return TAPE_END;
    r->armed = true;
    t->channels[r->worker].wants = true;
    return TAPE_AGAIN;
}

enum tape_read tape_next(struct tape_reader *r, struct str *frame_out,
                         uint32_t *ms_out)
{
    struct tape *t = r->tape;
    enum tape_read got;

    if (r->lost)
        return TAPE_LOST;
    if (take_frame(r->block, &r->at, frame_out, ms_out))
        return TAPE_FRAME;
    pthread_mutex_lock(&t->lock);
    got = look(t, r, frame_out, ms_out);
    pthread_mutex_unlock(&t->lock);
    return got;
}

bool tape_scan(const struct tape *t, struct tape_pos *pos,
               struct str *frame_out, uint32_t *ms_out)
{
    BUG_ON(tape_state(t) != TAPE_COMPLETE || !tape_is_whole(t));
    if (take_frame(pos->block, &pos->at, frame_out, ms_out))
        return true;
    pos->block = pos->block ? pos->block->next : t->first;
    pos->at = 0;
    return take_frame(pos->block, &pos->at, frame_out, ms_out);
}
