/* sched_keep.c - What the disk is told, without waiting for it: pages that it
 * may store, texts that were used, and who does not wait any more. */
#include "engine/kvswap.h"
#include "engine/sched_priv.h"

/* Store page <i> of <q>, which the index has, unless it is. */
static void keep_page(struct sched *s, struct kvswap *w, const struct seq *q,
                      size_t i, unsigned era)
{
    int32_t tokens[KRN_PAGE_TOKENS_MAX];
    struct kv_key key = {.hash = q->chain[i],
                         .before = *seq_before(q, i),
                         .index = (uint32_t)i,
                         .n_tokens = s->page_tokens,
                         .tokens = tokens,
                         .cost_us = sched_page_us(s, i)};
    struct kvswap_page *p;
    void *room;

    seq_tokens(q, i * s->page_tokens, s->page_tokens, tokens);
    p = kvswap_offer(w, &key, &room);
    if (!p)
        return;
    if (sched_page_out(s, q->pages[i], p, room, era) != ERR_OK)
        kvswap_page_done(w, p);
}

void seq_keep(struct sched *s, const struct seq *q, size_t from)
{
    struct kvswap *w = atomic_load(&s->swap);

    if (!w || q->task->job->kind != GEN_TEXT)
        return;
    const unsigned era = kvswap_era(w);
    for (size_t i = from; i < q->n_indexed; i++)
        if (s->kept[q->pages[i]] != era)
            keep_page(s, w, q, i, era);
}

void seq_used(struct sched *s, const struct seq *q)
{
    const size_t n_hit = q->task->counts.cached_tokens / s->page_tokens;
    struct kvswap *w = atomic_load(&s->swap);

    if (w && q->n_indexed > 0 && q->task->job->kind == GEN_TEXT)
        kvswap_touch(w, q->chain, (unsigned)q->n_indexed,
                     (unsigned)(n_hit < q->n_indexed ? n_hit : q->n_indexed));
}

void seq_leave_restore(struct seq *q)
{
    struct restore *r = q->restore;

    q->restore = NULL;
    r->q = NULL;
    atomic_store(&r->load.cancelled, true);
}
