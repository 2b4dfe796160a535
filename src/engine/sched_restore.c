/* sched_restore.c - Sequences whose beginning is on the disk. One asks before
 * it starts, and only for what is not in memory; it waits in RESTORING, without
 * a slot, while others run. Pages that are read belong to the restore until
 * they come back, so that a sequence may leave at any time.
 *
 * A restore is worth it when it takes less time than computing: both are
 * measured, computing by the place in the text, for later tokens cost more. */
#include <stdlib.h>
#include <string.h>

#include "base/panic.h"
#include "engine/graph.h"
#include "engine/kvswap.h"
#include "engine/sched_priv.h"

/* Computing must take so much longer than reading, or it is computed. */
#define WORTH 1.3

/* One of so many that are not worth it is read all the same, so that what was
 * measured does not grow old. */
#define TRY_EVERY 32

/* Newer measurements count so much: 1/4. */
#define LEARN 4

/* Tokens of the first depth; each is twice as long as the one before. */
#define DEPTH_FIRST 256

/* A disk that hangs is given up: after as long as computing takes, but not
 * before the first of these; after the second, where that is not known. Until
 * it answers, nothing more is asked. */
#define PATIENCE_US         1000000
#define PATIENCE_UNKNOWN_US 10000000

/* --- what computing costs ------------------------------------------------- */

static unsigned depth_of(size_t pos)
{
    unsigned d = 0;

    for (size_t end = DEPTH_FIRST; pos >= end && d + 1 < SCHED_DEPTHS; end *= 2)
        d++;
    return d;
}

void sched_learn_depth(struct sched *s, uint64_t rows, uint64_t us)
{
    const struct sched_rows *r = &s->rows;
    const double each = (double)us / (double)rows;
    double at = 0;
    double *mean;

    s->row_us = each;
    if (rows < s->page_tokens || rows < (uint64_t)r->n_placed * 2)
        return;
    for (size_t i = 0; i < r->n_placed; i++) {
        const struct seq *q = r->placed[i];

        at += ((double)q->computed + (double)q->take / 2) * (double)q->take;
    }
    mean = &s->depth_us[depth_of((size_t)(at / (double)rows))];
    *mean = *mean > 0 ? *mean + (each - *mean) / LEARN : each;
}

/* Time of a row at depth <d>, of the nearest depth that is known; 0 = none. */
static double row_us_at(const struct sched *s, unsigned d)
{
    for (unsigned i = d + 1; i-- > 0;)
        if (s->depth_us[i] > 0)
            return s->depth_us[i];
    for (unsigned i = d + 1; i < SCHED_DEPTHS; i++)
        if (s->depth_us[i] > 0)
            return s->depth_us[i];
    return 0;
}

/* Microseconds that tokens <from> .. <to>-1 would take; 0 = not known. */
static double compute_us(const struct sched *s, size_t from, size_t to)
{
    double us = 0;

    for (size_t pos = from; pos < to; pos += s->page_tokens)
        us += s->page_tokens * row_us_at(s, depth_of(pos));
    return us;
}

uint32_t sched_page_us(const struct sched *s, size_t page)
{
    const size_t from = page * s->page_tokens;
    const double us = compute_us(s, from, from + s->page_tokens);

    return (uint32_t)(us > 0 ? us : s->row_us * s->page_tokens);
}

/* --- asking -------------------------------------------------------------- */

static void restore_free(struct restore *r)
{
    free(r->load.chain);
    free(r->load.tokens);
    free(r->load.to);
    free(r->pages);
    free(r);
}

/* A restore of the pages of <q> behind those it has, <n> in all. */
static struct restore *restore_new(const struct sched *s, const struct seq *q,
                                   size_t n)
{
    struct restore *r = calloc(1, sizeof(*r));
    const size_t first = q->n_pages;

    if (!r)
        return NULL;
    r->load.first = (unsigned)first;
    r->load.n = (unsigned)n;
    r->load.before = *seq_before(q, first);
    r->load.chain = calloc(n, sizeof(*r->load.chain));
    r->load.tokens = calloc(n * s->page_tokens, sizeof(*r->load.tokens));
    r->load.to = calloc(n, sizeof(*r->load.to));
    r->pages = calloc(n, sizeof(*r->pages));
    if (!r->load.chain || !r->load.tokens || !r->load.to || !r->pages) {
        restore_free(r);
        return NULL;
    }
    memcpy(r->load.chain, q->chain + first, n * sizeof(*r->load.chain));
    seq_tokens(q, first * s->page_tokens, n * s->page_tokens, r->load.tokens);
    return r;
}

/* The restore under way that brings the first page that <r> wants, or NULL. */
static struct restore *same_text(const struct sched *s, const struct restore *r)
{
    struct restore *o;

    LIST_FOREACH(o, &s->restores, link)
    if (!o->ahead && o->q && o->load.first == r->load.first &&
        memcmp(o->load.chain[0].b, r->load.chain[0].b, DIGEST_BYTES) == 0)
        return o;
    return NULL;
}

/* How long <q> may wait for the disk. */
static uint64_t patience_us(const struct sched *s, const struct seq *q)
{
    const double us = compute_us(s, q->computed, seq_len(q));

    if (us <= 0)
        return PATIENCE_UNKNOWN_US;
    return us > PATIENCE_US ? (uint64_t)us : PATIENCE_US;
}

bool seq_restore(struct sched *s, struct seq *q, size_t most)
{
    struct kvswap *w = atomic_load(&s->swap);
    const size_t n = most / s->page_tokens;
    struct restore *r;

    if (most < s->o.restore_min)
        return false;
    if (!w || s->n_overdue > 0 || q->asked || q->unindexed || n <= q->n_pages ||
        q->n_pages != q->n_indexed ||
        q->computed != q->n_pages * s->page_tokens)
        return false;
    if (seq_hash(q, n) != ERR_OK)
        return false;
    r = restore_new(s, q, n - q->n_pages);
    if (!r)
        return false;
    r->q = q;
    q->restore = r;
    r->ahead = same_text(s, r);
    LIST_INSERT_HEAD(&s->restores, r, link);
    sched_enter(s, q, SEQ_RESTORING);
    if (r->ahead)
        return true;
    q->asked = true;
    r->until_us = s->now_us + patience_us(s, q);
    r->load.head.kind = SCHED_LOAD;
    r->load.answer = &s->mbox;
    r->load.stage = KVSWAP_FIND;
    kvswap_load(w, &r->load);
    return true;
}

size_t sched_restoring(const struct sched *s)
{
    const struct restore *r;
    size_t n = 0;

    LIST_FOREACH(r, &s->restores, link)
    if (r->q)
        n += (seq_len(r->q) + s->page_tokens - 1) / s->page_tokens -
             r->q->n_pages - r->n_pages;
    return n;
}

/* --- answers ------------------------------------------------------------- */

/* Let <q> wait for its turn again. */
static void go_on(struct sched *s, struct seq *q)
{
    sched_enter(s, q, q->begun || q->n_pages > 0 ? SEQ_PREEMPTED : SEQ_WAITING);
}

/* Let those go on who wait for <r>, having <asked> or not. */
static void go_on_behind(struct sched *s, const struct restore *r, bool asked)
{
    struct restore *o, *next;

    for (o = LIST_FIRST(&s->restores); o; o = next) {
        next = LIST_NEXT(o, link);
        if (o->ahead != r)
            continue;
        if (o->q) {
            o->q->asked = asked;
            go_on(s, o->q);
        }
        LIST_REMOVE(o, link);
        restore_free(o);
    }
}

/* <r> is over: whoever waits goes on, and who waited for it asks anew. */
static void restore_end(struct sched *s, struct restore *r)
{
    if (r->q)
        go_on(s, r->q);
    go_on_behind(s, r, false);
    for (unsigned i = 0; i < r->n_pages; i++)
        kvpool_unref(&s->pool, r->pages[i]);
    s->n_overdue -= r->overdue;
    LIST_REMOVE(r, link);
    restore_free(r);
}

/* Whether reading <n> pages is worth it. */
static bool is_worth(struct sched *s, struct kvswap *w, const struct restore *r,
                     unsigned n)
{
    const size_t from = (size_t)r->load.first * s->page_tokens;
    const double us = compute_us(s, from, from + (size_t)n * s->page_tokens);
    const double read_us = kvswap_expect_s(w, n, r->load.warm) * 1e6;

    if (us <= 0 || read_us <= 0 || us > WORTH * read_us)
        return true;
    return ++s->n_unworthy % TRY_EVERY == 0;
}

/* Take pages for what was found and have them read; false when it is not worth
 * it, or there is no room. */
static bool read_found(struct sched *s, struct kvswap *w, struct restore *r)
{
    struct kvswap_load *l = &r->load;
    size_t n = l->found;

    if (n > sched_room(s))
        n = sched_room(s);
    if (n == 0 || !is_worth(s, w, r, (unsigned)n))
        return false;
    while (r->n_pages < n) {
        int32_t page = sched_page(s);

        if (page < 0)
            break;
        r->pages[r->n_pages++] = page;
    }
    if (r->n_pages == 0)
        return false;
    r->era = kvswap_era(w);
    sched_read_begin(s, r);
    return true;
}

/* Give <q> the pages that were read. */
static enum err take_read(struct sched *s, struct restore *r)
{
    struct seq *q = r->q;
    unsigned n = r->n_ok;
    enum err e = ERR_OK;
    unsigned i;

    for (i = 0; i < n && e == ERR_OK; i++) {
        kvpool_ref(&s->pool, r->pages[i]);
        e = seq_add_page(s, q, r->pages[i]);
        if (e != ERR_OK)
            break;
        s->kept[r->pages[i]] = r->era;
        q->computed += s->page_tokens;
    }
    return i > 0 ? seq_index(s, q) : e;
}

/* What was read came back. */
static void take_answer(struct sched *s, struct kvswap *w, struct restore *r)
{
    const struct kvswap_load *l = &r->load;
    const unsigned tokens = r->q ? r->n_ok * s->page_tokens : 0;

    if (tokens > 0) {
        r->q->task->n_restored += tokens;
        kvswap_count(w, l->found * s->page_tokens, tokens,
                     r->cost_us > r->us ? r->cost_us - r->us : 0);
        /* without memory the rest is computed */
        if (take_read(s, r) != ERR_OK)
            r->q->asked = true;
    }
}

/* End <r> when all of it is read; whether it is. */
static bool read_look(struct sched *s, struct restore *r)
{
    if (!sched_read_over(s, r))
        return false;
    take_answer(s, atomic_load(&s->swap), r);
    restore_end(s, r);
    return true;
}

void sched_on_load(struct sched *s, struct kvswap_load *l)
{
    struct restore *r = (struct restore *)(void *)l;
    struct kvswap *w = atomic_load(&s->swap);

    if (l->stage == KVSWAP_READ) {
        sched_read_answer(s, r);
        read_look(s, r);
        return;
    }
    if (r->q && l->found > 0) {
        if (read_found(s, w, r))
            return;
        kvswap_count(w, l->found * s->page_tokens, 0, 0);
    }
    restore_end(s, r);
}

void sched_reads(struct sched *s)
{
    struct restore *r = LIST_FIRST(&s->restores);

    while (r) {
        struct restore *next = LIST_NEXT(r, link);

        /* one that ends may free others, and those ahead of it */
        if (!r->ahead && r->load.stage == KVSWAP_READ && read_look(s, r))
            next = LIST_FIRST(&s->restores);
        r = next;
    }
}

/* Let those go on who wait for <r>, as if the disk had nothing. */
static void give_up(struct sched *s, struct restore *r)
{
    if (r->load.stage == KVSWAP_READ)
        kvswap_count(atomic_load(&s->swap), r->load.found * s->page_tokens, 0,
                     0);
    go_on_behind(s, r, true);
    go_on(s, r->q); /* <r> lives until its answer comes */
    s->n_overdue++;
    r->overdue = true;
}

void sched_give_up(struct sched *s)
{
    struct restore *r = LIST_FIRST(&s->restores);

    while (r) {
        if (r->q && !r->ahead && s->now_us >= r->until_us) {
            give_up(s, r);
            r = LIST_FIRST(&s->restores); /* the list may be another one */
        } else {
            r = LIST_NEXT(r, link);
        }
    }
}

bool sched_has_restores(const struct sched *s)
{
    return !LIST_EMPTY(&s->restores);
}
