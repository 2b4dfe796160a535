/* sched_seq.c - Moves of sequences between states, and their pages. A page is
 * written only while one sequence alone holds it and the index has it not; as
 * soon as it is full and computed it is entered, or given up for the page that
 * another sequence with the same text entered first: both hold the same
 * numbers. So whoever holds a page of the index holds the pages of the index
 * before it, too, which is why the oldest cached page is always an end. */
#include <string.h>

#include "base/panic.h"
#include "engine/graph.h"
#include "engine/sched_priv.h"

/* --- slots -------------------------------------------------------------- */

/* The row of the table of <q>, which runs. */
static int32_t *table_row(struct sched *s, const struct seq *q)
{
    return s->table + (size_t)q->slot * s->max_pages;
}

static void take_slot(struct sched *s, struct seq *q)
{
    int slot = 0;

    while (slot < (int)s->o.slots && s->slot_used[slot])
        slot++;
    BUG_ON(slot == (int)s->o.slots);
    s->slot_used[slot] = true;
    s->n_slots++;
    q->slot = slot;
    if (q->n_pages > 0)
        memcpy(table_row(s, q), q->pages, q->n_pages * sizeof(*q->pages));
}

static void give_slot(struct sched *s, struct seq *q)
{
    int32_t *row = table_row(s, q);

    for (size_t i = 0; i < q->n_pages; i++)
        row[i] = -1;
    s->slot_used[q->slot] = false;
    s->n_slots--;
    q->slot = -1;
}

/* --- states ------------------------------------------------------------- */

/* Add <q> to <list>, which is in order of age. */
static void insert(struct seq_list *list, struct seq *q)
{
    struct seq *at = TAILQ_LAST(list, seq_list);

    while (at && seq_is_younger(at, q))
        at = TAILQ_PREV(at, seq_list, run);
    if (at)
        TAILQ_INSERT_AFTER(list, at, q, run);
    else
        TAILQ_INSERT_HEAD(list, q, run);
}

/* Undo what the state of <q> holds; it goes to <to>. */
static void leave(struct sched *s, struct seq *q, enum seq_state to)
{
    struct fair_key *k = q->task->key;

    if (q->state == SEQ_RESTORING && q->restore)
        seq_leave_restore(q);
    if (q->state == SEQ_PREFILL)
        fair_remove(&s->fair, k, q, true);
    if (q->queued)
        fair_remove(&s->fair, k, q, false);
    q->queued = false;
    if (q->state == SEQ_PAUSED || q->state == SEQ_PREEMPTED)
        TAILQ_REMOVE(&s->idle, q, run);
    if (!seq_runs(q->state) || seq_runs(to))
        return;
    TAILQ_REMOVE(&s->running, q, run);
    k->n_running--;
    give_slot(s, q);
}

/* What begins to run. */
static void start(struct sched *s, struct seq *q)
{
    take_slot(s, q);
    insert(&s->running, q);
    q->task->key->n_running++;
    q->begun = true;
}

void sched_enter(struct sched *s, struct seq *q, enum seq_state to)
{
    enum seq_state from = q->state;
    struct fair_key *k = q->task->key;

    BUG_ON(!seq_may(from, to));
    leave(s, q, to);
    q->state = to;
    if (seq_runs(to) && !seq_runs(from))
        start(s, q);
    if (to == SEQ_PREFILL)
        fair_add(&s->fair, k, q, true);
    if (to == SEQ_WAITING || to == SEQ_PREEMPTED) {
        fair_add(&s->fair, k, q, false);
        q->queued = true;
    }
    if (to == SEQ_PAUSED || to == SEQ_PREEMPTED)
        insert(&s->idle, q);
    if (to == SEQ_DONE) {
        seq_used(s, q);
        seq_drop_pages(s, q);
        seq_fini(q);
    }
}

/* --- pages -------------------------------------------------------------- */

enum err seq_add_page(struct sched *s, struct seq *q, int32_t page)
{
    enum err e = seq_put_page(q, page);

    if (e != ERR_OK)
        kvpool_unref(&s->pool, page);
    else if (q->slot >= 0)
        table_row(s, q)[q->n_pages - 1] = page;
    return e;
}

void seq_drop_pages(struct sched *s, struct seq *q)
{
    if (q->slot >= 0)
        for (size_t i = 0; i < q->n_pages; i++)
            table_row(s, q)[i] = -1;
    while (q->n_pages > 0)
        kvpool_unref(&s->pool, q->pages[--q->n_pages]);
    q->computed = 0;
    q->n_indexed = 0;
    q->unindexed = false;
}

size_t sched_room(const struct sched *s)
{
    return s->pool.n_free + s->pool.n_cached;
}

bool sched_reclaim(struct sched *s, const struct seq *except)
{
    struct seq *q;
    struct seq *best = NULL;

    TAILQ_FOREACH_REVERSE(q, &s->idle, seq_list, run)
    {
        if (q->n_pages == 0 || q == except)
            continue;
        if (!best)
            best = q;
        if (q->state == SEQ_PAUSED) {
            best = q;
            break;
        }
    }
    if (!best)
        return false;
    seq_drop_pages(s, best);
    atomic_fetch_add_explicit(&s->n.preemptions, 1, memory_order_relaxed);
    return true;
}

/* Give up the oldest cached page; false when none is cached. One that is being
 * copied out is waited for: that is over in moments, and the order in which
 * pages are given up stays. */
static bool evict(struct sched *s)
{
    int32_t page = s->pool.oldest;

    if (page < 0)
        return false;
    while (s->copying[page])
        sched_outs(s);
    prefix_drop(&s->prefix, page);
    kvpool_unmark(&s->pool, page);
    return true;
}

int32_t sched_page(struct sched *s)
{
    int32_t page;

    while (s->pool.n_free == 0 && !evict(s))
        if (!sched_reclaim(s, NULL))
            return -1;
    page = kvpool_take(&s->pool);
    s->kept[page] = 0;
    return page;
}

size_t seq_grow(struct sched *s, struct seq *q, size_t n)
{
    size_t want = (n + s->page_tokens - 1) / s->page_tokens;
    size_t have;

    while (q->n_pages < want) {
        int32_t page = sched_page(s);

        if (page < 0 || seq_add_page(s, q, page) != ERR_OK)
            break;
    }
    have = q->n_pages * s->page_tokens;
    return have < n ? have : n;
}

void sched_forget(struct sched *s)
{
    while (evict(s))
        continue;
}

/* --- the prefix index --------------------------------------------------- */

/* The key of page <i> of <q>; <tokens> is room for its tokens. */
static struct prefix_key key_of(const struct sched *s, const struct seq *q,
                                size_t i, int32_t *tokens)
{
    seq_tokens(q, i * s->page_tokens, s->page_tokens, tokens);
    return (struct prefix_key){.hash = q->chain[i],
                               .before = *seq_before(q, i),
                               .index = (uint32_t)i,
                               .tokens = tokens};
}

enum err seq_take_cached(struct sched *s, struct seq *q, size_t most)
{
    int32_t tokens[KRN_PAGE_TOKENS_MAX];
    size_t n = most / s->page_tokens;

    BUG_ON(q->n_pages != q->n_indexed ||
           q->computed != q->n_pages * s->page_tokens);
    for (size_t i = q->n_pages; i < n; i++) {
        enum err e = seq_hash(q, i + 1);
        struct prefix_key key;
        int32_t page;

        if (e != ERR_OK)
            return e;
        key = key_of(s, q, i, tokens);
        page = prefix_find(&s->prefix, &key);
        if (page < 0)
            break;
        kvpool_ref(&s->pool, page);
        e = seq_add_page(s, q, page);
        if (e != ERR_OK)
            return e;
        q->n_indexed = i + 1;
        q->computed = (i + 1) * s->page_tokens;
    }
    return ERR_OK;
}

/* Enter page <i> of <q>, or take the page that is entered for its text. */
static void index_page(struct sched *s, struct seq *q, size_t i)
{
    int32_t tokens[KRN_PAGE_TOKENS_MAX];
    struct prefix_key key = key_of(s, q, i, tokens);
    int32_t other = prefix_find(&s->prefix, &key);

    if (other >= 0) {
        kvpool_ref(&s->pool, other);
        kvpool_unref(&s->pool, q->pages[i]);
        q->pages[i] = other;
        if (q->slot >= 0)
            table_row(s, q)[i] = other;
    } else if (prefix_put(&s->prefix, &key, i > 0 ? q->pages[i - 1] : -1,
                          q->pages[i])) {
        kvpool_mark(&s->pool, q->pages[i]);
    } else {
        q->unindexed = true;
        return;
    }
    q->n_indexed = i + 1;
}

enum err seq_index(struct sched *s, struct seq *q)
{
    size_t n = q->computed / s->page_tokens;
    size_t from = q->n_indexed;
    enum err e;

    if (n == q->n_indexed)
        return ERR_OK;
    e = seq_hash(q, n);
    if (e != ERR_OK)
        return e;
    while (q->n_indexed < n && !q->unindexed)
        index_page(s, q, q->n_indexed);
    seq_keep(s, q, from);
    return ERR_OK;
}

/* --- choices ------------------------------------------------------------ */

/* Let <q> hold the pages of the prompt that <from> has read; the last one,
 * when it is not full, as a copy. */
static enum err share(struct sched *s, struct seq *q, const struct seq *from)
{
    size_t n = q->task->job->n_tokens;
    size_t full = n / s->page_tokens;
    enum err e = ERR_OK;
    int32_t page;

    e = seq_share_hashes(q, from);
    for (size_t i = 0; i < full && e == ERR_OK; i++) {
        kvpool_ref(&s->pool, from->pages[i]);
        e = seq_add_page(s, q, from->pages[i]);
    }
    if (e != ERR_OK)
        return e;
    q->computed = full * s->page_tokens;
    q->n_indexed = from->n_indexed < full ? from->n_indexed : full;
    q->unindexed = from->unindexed && q->n_indexed < full;
    if (full * s->page_tokens == n)
        return ERR_OK;
    page = sched_page(s);
    if (page < 0)
        return ERR_OK; /* the rest is computed again */
    e = graph_page_copy(s->g, (unsigned)page, (unsigned)from->pages[full]);
    if (e != ERR_OK) {
        kvpool_unref(&s->pool, page);
        return e;
    }
    e = seq_add_page(s, q, page);
    if (e == ERR_OK)
        q->computed = n;
    return e;
}

enum err seq_fork(struct sched *s, struct seq *q, const struct seq *from)
{
    enum err e = share(s, q, from);

    if (e != ERR_OK)
        return e;
    if (s->n_slots < s->o.slots && q->computed + 1 == seq_len(q))
        sched_enter(s, q, SEQ_DECODE);
    else
        sched_enter(s, q, SEQ_PREEMPTED);
    return ERR_OK;
}
