/* seq.c - See seq.h. Decides which moves between states are legal. */
#include "engine/seq.h"

#include <stdlib.h>
#include <string.h>

#include "base/panic.h"
#include "engine/prefix.h"
#include "engine/sched_priv.h"

#define BIT(state) (1u << (state))

static const unsigned moves[SEQ_COUNT] = {
    [SEQ_WAITING] = BIT(SEQ_PREFILL) | BIT(SEQ_DECODE) | BIT(SEQ_PAUSED) |
                    BIT(SEQ_PREEMPTED) | BIT(SEQ_RESTORING) | BIT(SEQ_DONE),
    [SEQ_PREFILL] =
        BIT(SEQ_DECODE) | BIT(SEQ_PAUSED) | BIT(SEQ_PREEMPTED) | BIT(SEQ_DONE),
    [SEQ_DECODE] = BIT(SEQ_PAUSED) | BIT(SEQ_PREEMPTED) | BIT(SEQ_DONE),
    [SEQ_PAUSED] = BIT(SEQ_WAITING) | BIT(SEQ_PREEMPTED) | BIT(SEQ_DONE),
    [SEQ_PREEMPTED] = BIT(SEQ_PREFILL) | BIT(SEQ_DECODE) | BIT(SEQ_PAUSED) |
                      BIT(SEQ_RESTORING) | BIT(SEQ_DONE),
    [SEQ_RESTORING] =
        BIT(SEQ_WAITING) | BIT(SEQ_PREEMPTED) | BIT(SEQ_PAUSED) | BIT(SEQ_DONE),
    [SEQ_DONE] = 0,
};

bool seq_may(enum seq_state from, enum seq_state to)
{
    return (moves[from] & BIT(to)) != 0;
}

bool seq_is_younger(const struct seq *a, const struct seq *b)
{
    if (a->task->born != b->task->born)
        return a->task->born > b->task->born;
    return a->choice > b->choice;
}

size_t seq_len(const struct seq *q)
{
    return q->task->job->n_tokens + q->n_out;
}

int32_t seq_token(const struct seq *q, size_t i)
{
    const struct gen_job *j = q->task->job;

    return i < j->n_tokens ? j->tokens[i] : q->out[i - j->n_tokens];
}

void seq_tokens(const struct seq *q, size_t from, size_t n, int32_t *out)
{
    const struct gen_job *j = q->task->job;
    size_t head = from < j->n_tokens ? j->n_tokens - from : 0;

    BUG_ON(from + n > seq_len(q));
    if (head > n)
        head = n;
    if (head > 0)
        memcpy(out, j->tokens + from, head * sizeof(*out));
    if (n > head)
        memcpy(out + head, q->out + (from + head - j->n_tokens),
               (n - head) * sizeof(*out));
}

/* Room for one more element of <size> bytes; the new array, or NULL. */
static void *grow(void *old, size_t n, size_t *cap, size_t size)
{
    size_t room = *cap < 16 ? 16 : *cap * 2;
    void *p;

    if (n < *cap)
        return old;
    if (room < n + 1)
        room = n + 1;
    p = reallocarray(old, room, size);
    if (p)
        *cap = room;
    return p;
}

enum err seq_put_token(struct seq *q, int32_t id)
{
    int32_t *p = grow(q->out, q->n_out, &q->cap_out, sizeof(*p));

    if (!p)
        return ERR_NOMEM;
    q->out = p;
    q->out[q->n_out++] = id;
    return ERR_OK;
}

enum err seq_put_page(struct seq *q, int32_t page)
{
    int32_t *p = grow(q->pages, q->n_pages, &q->cap_pages, sizeof(*p));

    if (!p)
        return ERR_NOMEM;
    q->pages = p;
    q->pages[q->n_pages++] = page;
    return ERR_OK;
}

const struct digest *seq_before(const struct seq *q, size_t i)
{
    return i == 0 ? &q->task->root : &q->chain[i - 1];
}

enum err seq_hash(struct seq *q, size_t n)
{
    int32_t tokens[KRN_PAGE_TOKENS_MAX];
    const unsigned page = q->task->page_tokens;
    struct digest *p;

    while (q->n_chain < n) {
        p = grow(q->chain, q->n_chain, &q->cap_chain, sizeof(*p));
        if (!p)
            return ERR_NOMEM;
        q->chain = p;
        seq_tokens(q, q->n_chain * page, page, tokens);
        p[q->n_chain] = prefix_chain(seq_before(q, q->n_chain),
                                     (uint32_t)q->n_chain, tokens, page);
        q->n_chain++;
    }
    return ERR_OK;
}

enum err seq_share_hashes(struct seq *q, const struct seq *from)
{
    size_t n = q->task->job->n_tokens / q->task->page_tokens;

    BUG_ON(q->n_chain > 0);
    if (n > from->n_chain)
        n = from->n_chain;
    if (n == 0)
        return ERR_OK;
    q->chain = reallocarray(NULL, n, sizeof(*q->chain));
    if (!q->chain)
        return ERR_NOMEM;
    memcpy(q->chain, from->chain, n * sizeof(*q->chain));
    q->n_chain = n;
    q->cap_chain = n;
    return ERR_OK;
}

void seq_fini(struct seq *q)
{
    BUG_ON(q->n_pages > 0);
    free(q->pages);
    free(q->chain);
    free(q->out);
    q->pages = NULL;
    q->chain = NULL;
    q->out = NULL;
    seq_text_fini(&q->text);
}
