/* tape.c - Tapes and their writer; see tape.h and tape_priv.h. */
#include "exchange/tape.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/panic.h"
#include "exchange/tape_priv.h"

#define BLOCK_FIRST 1984        /* room of the first block */
#define BLOCK_MOST  (64 * 1024) /* it doubles up to this */
#define MARKS_SPARE (64 * 1024) /* marks of frames, beyond max_bytes */
#define FRAME_MAX   (1u << 31)  /* a longer one is not kept */

/* ---- life -------------------------------------------------------------- */

static void change_take(struct worker_mail *m, struct worker *w)
{
    struct tape *t = MBOX_ENTRY(m, struct tape, change);
    bool runs;

    pthread_mutex_lock(&t->lock);
    t->change_posted = false;
    runs = tape_state(t) <= TAPE_RUNS;
    pthread_mutex_unlock(&t->lock);
    if (w && runs && t->on_change)
        t->on_change(t->on_change_arg);
    tape_unref(t);
}

struct tape *tape_new(uint64_t max_bytes, unsigned n_workers)
{
    struct tape *t =
        calloc(1, sizeof(*t) + n_workers * sizeof(struct tape_channel));

    if (!t)
        return NULL;
    if (pthread_mutex_init(&t->lock, NULL) != 0) {
        free(t);
        return NULL;
    }
    atomic_init(&t->refs, 1);
    atomic_init(&t->whole, true);
    t->max_bytes = max_bytes;
    t->next_bytes = BLOCK_FIRST;
    t->change.take = change_take;
    t->n_channels = n_workers;
    for (unsigned i = 0; i < n_workers; i++) {
        struct tape_channel *c = &t->channels[i];

        c->mail.take = tape_take_mail;
        c->tape = t;
        TAILQ_INIT(&c->readers);
    }
    return t;
}

struct tape *tape_ref(struct tape *t)
{
    atomic_fetch_add_explicit(&t->refs, 1, memory_order_relaxed);
    return t;
}

void tape_block_unref(struct tape_block *b)
{
    if (b && atomic_fetch_sub_explicit(&b->refs, 1, memory_order_acq_rel) == 1)
        free(b);
}

/* Drop the oldest block; under the lock. */
static void drop_first(struct tape *t)
{
    struct tape_block *b = t->first;

    t->first = b->next;
    if (!t->first)
        t->last = NULL;
    t->kept_bytes -= atomic_load_explicit(&b->used, memory_order_relaxed);
    tape_block_unref(b);
}

void tape_unref(struct tape *t)
{
    if (!t || atomic_fetch_sub_explicit(&t->refs, 1, memory_order_acq_rel) != 1)
        return;
    while (t->first)
        drop_first(t);
    tape_unref(t->heir);
    pthread_mutex_destroy(&t->lock);
    free(t->texts);
    free(t->sum_texts);
    free(t);
}

/* ---- the head and the end ---------------------------------------------- */

/* Say how far <t> is, and tell who waits for it. */
static void go_to(struct tape *t, enum tape_state state)
{
    pthread_mutex_lock(&t->lock);
    atomic_store_explicit(&t->state, (int)state, memory_order_release);
    tape_tell(t);
    pthread_mutex_unlock(&t->lock);
}

/* Copy <s>, cut to <max>, to <at>, which moves on. */
static struct str keep_text(char **at, struct str s, size_t max)
{
    const struct str kept = {*at, s.len < max ? s.len : max};

    if (kept.len > 0)
        memcpy(*at, s.p, kept.len);
    *at += kept.len;
    return kept;
}

void tape_start(struct tape *t, const struct tape_head *head)
{
    char *at;

    BUG_ON(tape_state(t) != TAPE_BLANK);
    t->head =
        (struct tape_head){.status = head->status, .events = head->events};
    t->start_ms = clock_mono_ms();
    t->texts = at = malloc(TAPE_TYPE_MAX);
    if (at)
        t->head.type = keep_text(&at, head->type, TAPE_TYPE_MAX);
    go_to(t, TAPE_RUNS);
}

/* Keep <sum>; without memory for its texts nothing is known of it. */
static void keep_sum(struct tape *t, const struct tape_sum *sum)
{
    char *at = malloc(sum->target.len + sum->target_model.len + 1);

    if (!at)
        return;
    t->sum_texts = at;
    t->sum = *sum;
    t->sum.target = keep_text(&at, sum->target, SIZE_MAX);
    t->sum.target_model = keep_text(&at, sum->target_model, SIZE_MAX);
    t->has_sum = true;
}

void tape_end(struct tape *t, bool complete, const struct tape_sum *sum)
{
    BUG_ON(tape_state(t) != TAPE_RUNS);
    if (sum)
        keep_sum(t, sum);
    go_to(t, complete ? TAPE_COMPLETE : TAPE_BROKEN);
}

void tape_fail(struct tape *t, const struct tape_failure *why)
{
    char *at = malloc(why->text.len + 1);

    BUG_ON(tape_state(t) != TAPE_BLANK);
    t->failure = *why;
    t->failure.text = (struct str){NULL, 0};
    t->texts = at;
    if (at)
        t->failure.text = keep_text(&at, why->text, SIZE_MAX);
    go_to(t, TAPE_FAILED);
}

/* ---- frames ------------------------------------------------------------ */

static void put_frame(struct tape_block *b, struct str frame, uint32_t ms)
{
    const struct tape_mark mark = {(uint32_t)frame.len, ms};
    const size_t at = atomic_load_explicit(&b->used, memory_order_relaxed);

    memcpy(b->bytes + at, &mark, sizeof(mark));
    memcpy(b->bytes + at + sizeof(mark), frame.p, frame.len);
    atomic_store_explicit(&b->used, at + sizeof(mark) + frame.len,
                          memory_order_release);
}

/* A block with room for <need>, not yet in the list; NULL without memory. */
static struct tape_block *block_new(struct tape *t, size_t need)
{
    const size_t room = need > t->next_bytes ? need : t->next_bytes;
    struct tape_block *b = malloc(sizeof(*b) + room);

    if (!b)
        return NULL;
    atomic_init(&b->refs, 1);
    atomic_init(&b->used, 0);
    b->next = NULL;
    b->seq = t->blocks++;
    b->room = room;
    if (t->next_bytes < BLOCK_MOST)
        t->next_bytes *= 2;
    return b;
}

/* Append <frame>; false without memory. */
static bool append(struct tape *t, struct str frame, uint32_t ms)
{
    const size_t need = sizeof(struct tape_mark) + frame.len;
    struct tape_block *b = t->last;

    t->kept_bytes += need;
    if (b && b->room - atomic_load_explicit(&b->used, memory_order_relaxed) >=
                 need) {
        put_frame(b, frame, ms);
        return true;
    }
    b = block_new(t, need);
    if (!b) {
        t->kept_bytes -= need;
        return false;
    }
    put_frame(b, frame, ms);
    pthread_mutex_lock(&t->lock);
    if (t->last)
        t->last->next = b;
    else
        t->first = b;
    t->last = b;
    pthread_mutex_unlock(&t->lock);
    return true;
}

/* What is not kept whole is kept for those who read it; under the lock. */
static void trim(struct tape *t)
{
    const bool read = atomic_load(&t->readers) > 0;
    const uint64_t window =
        t->max_bytes > TAPE_WINDOW ? t->max_bytes : TAPE_WINDOW;

    while (t->first && (!read || t->gap))
        drop_first(t);
    while (t->first && t->first != t->last &&
           t->kept_bytes - atomic_load(&t->first->used) >= window)
        drop_first(t);
}

/* Whether so much fits into what is kept whole. */
static bool fits(const struct tape *t, uint64_t bytes, uint64_t frames)
{
    return bytes <= t->max_bytes &&
           frames * sizeof(struct tape_mark) <= t->max_bytes + MARKS_SPARE;
}

void tape_put_at(struct tape *t, struct str frame, uint32_t ms)
{
    const uint64_t bytes = atomic_load(&t->bytes) + frame.len;
    const uint64_t frames = atomic_load(&t->frames) + 1;
    bool whole = fits(t, bytes, frames);
    bool gap = t->gap;

    BUG_ON(tape_state(t) != TAPE_RUNS);
    if (frame.len == 0)
        return;
    atomic_store(&t->bytes, bytes);
    atomic_store(&t->frames, frames);
    /* Once it is not whole no reader comes, so that none is missed here. */
    if (!gap && (tape_is_whole(t) || tape_readers(t) > 0))
        gap = frame.len > FRAME_MAX || !append(t, frame, ms);
    pthread_mutex_lock(&t->lock);
    t->gap = gap;
    whole = whole && !gap;
    atomic_store(&t->whole, whole);
    if (!whole)
        trim(t);
    tape_tell(t);
    pthread_mutex_unlock(&t->lock);
}

void tape_put(struct tape *t, struct str frame)
{
    const uint64_t ms = clock_mono_ms() - t->start_ms;

    tape_put_at(t, frame, ms > UINT32_MAX ? UINT32_MAX : (uint32_t)ms);
}

void tape_watch(struct tape *t, struct worker *w, void (*change)(void *arg),
                void *arg)
{
    pthread_mutex_lock(&t->lock);
    t->watcher = change ? w : NULL;
    pthread_mutex_unlock(&t->lock);
    t->on_change = change;
    t->on_change_arg = arg;
}

void tape_set_heir(struct tape *t, struct tape *heir)
{
    BUG_ON(t->heir || t == heir);
    t->heir = tape_ref(heir);
}

struct tape *tape_heir(const struct tape *t)
{
    return t->heir;
}

/* ---- what there is to know --------------------------------------------- */

enum tape_state tape_state(const struct tape *t)
{
    return (enum tape_state)atomic_load_explicit(&t->state,
                                                 memory_order_acquire);
}

bool tape_is_whole(const struct tape *t)
{
    return atomic_load_explicit(&t->whole, memory_order_acquire);
}

bool tape_is_open(const struct tape *t)
{
    return tape_is_whole(t) && tape_state(t) <= TAPE_COMPLETE;
}

uint64_t tape_bytes(const struct tape *t)
{
    return atomic_load_explicit(&t->bytes, memory_order_relaxed);
}

uint64_t tape_frames(const struct tape *t)
{
    return atomic_load_explicit(&t->frames, memory_order_relaxed);
}

unsigned tape_readers(const struct tape *t)
{
    return atomic_load_explicit(&t->readers, memory_order_relaxed);
}

const struct tape_head *tape_head(const struct tape *t)
{
    const enum tape_state state = tape_state(t);

    BUG_ON(state == TAPE_BLANK || state == TAPE_FAILED);
    return &t->head;
}

const struct tape_sum *tape_sum(const struct tape *t)
{
    return tape_state(t) >= TAPE_COMPLETE && t->has_sum ? &t->sum : NULL;
}

const struct tape_failure *tape_failure(const struct tape *t)
{
    BUG_ON(tape_state(t) != TAPE_FAILED);
    return &t->failure;
}
