/* specials.c - One walk finds, for every place where a token ends, the longest
 * one that may end there. Tokens are then granted their places, the longest
 * token first; one whose place is partly taken tries again as the longest
 * shorter token that ends there. */
#include "token/specials.h"

#include <stdlib.h>
#include <string.h>

#define NONE UINT32_MAX

/* A state: a prefix of some token. */
struct node {
    uint32_t fail;  /* the longest proper suffix that is a prefix too */
    uint32_t token; /* index of the token that ends here, or NONE */
    uint32_t ends;  /* the nearest state along fail, this one included, where
                     * a token ends; 0: none */
};

struct edge {
    uint64_t key; /* state << 8 | byte, + 1; 0 is free */
    uint32_t to;
};

struct specials {
    struct special *all; /* longest first, then by id */
    size_t n;
    struct node *nodes; /* 0 is the root */
    size_t n_nodes;
    struct edge *edges;
    size_t mask;
    uint32_t root[256]; /* edges of the root; 0: none */
};

static int by_length(const void *a, const void *b)
{
    const struct special *x = a, *y = b;

    if (x->text.len != y->text.len)
        return x->text.len > y->text.len ? -1 : 1;
    return (x->id > y->id) - (x->id < y->id);
}

static struct edge *edge_at(const struct specials *s, uint32_t node,
                            unsigned char byte)
{
    uint64_t key = ((uint64_t)node << 8 | byte) + 1;

    for (size_t i = (size_t)(key * 0x9e3779b97f4a7c15u >> 32) & s->mask;;
         i = (i + 1) & s->mask) {
        if (s->edges[i].key == 0 || s->edges[i].key == key)
            return &s->edges[i];
    }
}

/* The state after <byte> in <node> along a prefix, or 0. */
static uint32_t child(const struct specials *s, uint32_t node,
                      unsigned char byte)
{
    const struct edge *e;

    if (node == 0)
        return s->root[byte];
    e = edge_at(s, node, byte);
    return e->key ? e->to : 0;
}

/* Put the prefixes of token <k> in. */
static void plant(struct specials *s, uint32_t k)
{
    struct str t = s->all[k].text;
    uint32_t at = 0;

    for (size_t i = 0; i < t.len; i++) {
        unsigned char byte = (unsigned char)t.p[i];
        uint32_t to = child(s, at, byte);

        if (to == 0) {
            to = (uint32_t)s->n_nodes++;
            s->nodes[to] = (struct node){0, NONE, 0};
            if (at == 0) {
                s->root[byte] = to;
            } else {
                struct edge *e = edge_at(s, at, byte);

                e->key = ((uint64_t)at << 8 | byte) + 1;
                e->to = to;
            }
        }
        at = to;
    }
    if (s->nodes[at].token == NONE)
        s->nodes[at].token = k;
}

/* The state after <byte> in <at>. */
static uint32_t step(const struct specials *s, uint32_t at, unsigned char byte)
{
    for (;;) {
        uint32_t to = child(s, at, byte);

        if (to || at == 0)
            return to;
        at = s->nodes[at].fail;
    }
}

/* Set fail and ends of every state, shorter prefixes before longer ones: all
 * tokens are walked at once, a byte at a time. */
static void link_states(struct specials *s, uint32_t *at)
{
    size_t longest = s->n ? s->all[0].text.len : 0;

    for (size_t i = 0; i < longest; i++) {
        for (size_t k = 0; k < s->n && s->all[k].text.len > i; k++) {
            unsigned char byte = (unsigned char)s->all[k].text.p[i];
            uint32_t to = child(s, at[k], byte);
            struct node *node = &s->nodes[to];

            node->fail = i ? step(s, s->nodes[at[k]].fail, byte) : 0;
            node->ends = node->token != NONE ? to : s->nodes[node->fail].ends;
            at[k] = to;
        }
    }
}

/* Room for <total> bytes of tokens. */
static enum err make_rooms(struct specials *s, size_t total)
{
    size_t room = 16;

    while (room < 2 * (total + 1))
        room *= 2;
    s->mask = room - 1;
    s->edges = calloc(room, sizeof(*s->edges));
    s->nodes = malloc((total + 1) * sizeof(*s->nodes));
    return s->edges && s->nodes ? ERR_OK : ERR_NOMEM;
}

enum err specials_new(const struct special *all, size_t n,
                      struct specials **out)
{
    struct specials *s = calloc(1, sizeof(*s));
    uint32_t *at = calloc(n + 1, sizeof(*at));
    size_t total = 0;
    enum err e = ERR_NOMEM;

    if (!s || !at)
        goto out;
    s->all = malloc((n + 1) * sizeof(*all));
    if (!s->all)
        goto out;
    if (n > 0)
        memcpy(s->all, all, n * sizeof(*all));
    s->n = n;
    qsort(s->all, n, sizeof(*all), by_length);
    for (size_t i = 0; i < n; i++)
        total += all[i].text.len;
    e = make_rooms(s, total);
    if (e)
        goto out;
    s->nodes[0] = (struct node){0, NONE, 0};
    s->n_nodes = 1;
    for (size_t k = 0; k < n; k++)
        plant(s, (uint32_t)k);
    link_states(s, at);
    *out = s;
    s = NULL;
out:
    free(at);
    specials_free(s);
    return e;
}

void specials_free(struct specials *s)
{
    if (!s)
        return;
    free(s->all);
    free(s->nodes);
    free(s->edges);
    free(s);
}

/* --- finding ------------------------------------------------------------ */

/* A token that may end at <end>. */
struct candidate {
    uint32_t end;
    uint32_t state;
    uint32_t trusted; /* trusted text begins here at the latest */
    uint32_t next;    /* of the same token, or NONE */
};

struct search {
    const struct specials *s;
    struct str text;
    struct candidate *all;
    size_t n;
    size_t cap;
    uint32_t *heads; /* (s->n) candidates by token */
    uint64_t *taken; /* a bit a byte */
    uint64_t *row;   /* candidates of one token, end << 32 | index */
    size_t row_cap;
    struct special_hit *hits;
    size_t n_hits;
    size_t hits_cap;
};

/* The state along fail from <state>, itself included, of the longest token of
 * at most <most> bytes that may end where <trusted> bytes are trusted; 0. */
static uint32_t longest(const struct specials *s, uint32_t state, size_t most,
                        size_t trusted)
{
    uint32_t at = s->nodes[state].ends;

    while (at) {
        const struct special *t = &s->all[s->nodes[at].token];

        if (t->text.len <= most && (!t->guarded || t->text.len <= trusted))
            return at;
        at = s->nodes[s->nodes[at].fail].ends;
    }
    return 0;
}

/* Let candidate <i> wait for its turn. */
static void enlist(struct search *q, uint32_t i)
{
    uint32_t *head = &q->heads[q->s->nodes[q->all[i].state].token];

    q->all[i].next = *head;
    *head = i;
}

static enum err add_candidate(struct search *q, uint32_t end, uint32_t state,
                              uint32_t trusted)
{
    if (q->n == q->cap) {
        size_t cap = q->cap ? 2 * q->cap : 64;
        struct candidate *grown = realloc(q->all, cap * sizeof(*grown));

        if (!grown)
            return ERR_NOMEM;
        q->all = grown;
        q->cap = cap;
    }
    q->all[q->n] = (struct candidate){end, state, trusted, NONE};
    enlist(q, (uint32_t)q->n++);
    return ERR_OK;
}

/* Walk the text once. */
static enum err walk(struct search *q, const struct vocab_span *spans,
                     size_t n_spans)
{
    const struct specials *s = q->s;
    size_t left = 0, span = 0, from = 0;
    bool trusted = false;
    uint32_t state = 0;

    for (size_t i = 0; i < q->text.len; i++) {
        while (left == 0 && span < n_spans) {
            if (spans[span].len > 0 && spans[span].trusted && !trusted)
                from = i;
            if (spans[span].len > 0)
                trusted = spans[span].trusted;
            left = spans[span++].len;
        }
        if (left == 0)
            trusted = false;
        else
            left--;
        state = step(s, state, (unsigned char)q->text.p[i]);
        if (s->nodes[state].ends) {
            size_t end = i + 1, start = trusted ? from : end;
            uint32_t at = longest(s, state, end, end - start);
            enum err e;

            e = at ? add_candidate(q, (uint32_t)end, at, (uint32_t)start)
                   : ERR_OK;
            if (e)
                return e;
        }
    }
    return ERR_OK;
}

/* The end of the taken bytes that come last before <end>, looking no further
 * back than <from>; <from> when none are taken. */
static size_t last_taken(const struct search *q, size_t from, size_t end)
{
    while (end > from) {
        uint64_t word = q->taken[(end - 1) / 64] << (63 - (end - 1) % 64);

        if (word) {
            size_t gap = (size_t)__builtin_clzll(word);

            return end - gap > from ? end - gap : from;
        }
        if ((end - 1) / 64 * 64 <= from)
            return from;
        end = (end - 1) / 64 * 64;
    }
    return from;
}

static bool is_taken(const struct search *q, size_t at)
{
    return q->taken[at / 64] >> at % 64 & 1;
}

static bool is_white(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* Give token <t> the bytes <from> to <to>, and what it strips. */
static enum err grant(struct search *q, const struct special *t, size_t from,
                      size_t to)
{
    while (t->lstrip && from > 0 && is_white(q->text.p[from - 1]) &&
           !is_taken(q, from - 1))
        from--;
    while (t->rstrip && to < q->text.len && is_white(q->text.p[to]) &&
           !is_taken(q, to))
        to++;
    for (size_t i = from; i < to; i++)
        q->taken[i / 64] |= (uint64_t)1 << i % 64;
    if (q->n_hits == q->hits_cap) {
        size_t cap = q->hits_cap ? 2 * q->hits_cap : 16;
        struct special_hit *grown = realloc(q->hits, cap * sizeof(*grown));

        if (!grown)
            return ERR_NOMEM;
        q->hits = grown;
        q->hits_cap = cap;
    }
    q->hits[q->n_hits++] =
        (struct special_hit){(uint32_t)from, (uint32_t)to, t->id};
    return ERR_OK;
}

/* Grant candidate <i> its place, or make it wait as a shorter token. */
static enum err decide(struct search *q, uint32_t i)
{
    struct candidate *c = &q->all[i];
    const struct special *t = &q->s->all[q->s->nodes[c->state].token];
    size_t from = c->end - t->text.len;
    size_t last = last_taken(q, from, c->end);

    if (last == from)
        return grant(q, t, from, c->end);
    if (last == c->end)
        return ERR_OK;
    c->state = longest(q->s, c->state, c->end - last, c->end - c->trusted);
    if (c->state)
        enlist(q, i);
    return ERR_OK;
}

static int by_key(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

/* Decide over the candidates of token <k>, leftmost first. */
static enum err decide_token(struct search *q, size_t k)
{
    size_t n = 0;
    bool sorted = true;

    for (uint32_t i = q->heads[k]; i != NONE; i = q->all[i].next)
        n++;
    if (n > q->row_cap) {
        free(q->row);
        q->row = malloc(n * sizeof(*q->row));
        q->row_cap = q->row ? n : 0;
        if (!q->row)
            return ERR_NOMEM;
    }
    for (uint32_t i = q->heads[k], at = (uint32_t)n; i != NONE;
         i = q->all[i].next)
        q->row[--at] = (uint64_t)q->all[i].end << 32 | i;
    for (size_t i = 1; i < n; i++)
        sorted = sorted && q->row[i - 1] < q->row[i];
    if (!sorted)
        qsort(q->row, n, sizeof(*q->row), by_key);
    for (size_t i = 0; i < n; i++) {
        enum err e = decide(q, (uint32_t)q->row[i]);

        if (e)
            return e;
    }
    return ERR_OK;
}

static int by_place(const void *a, const void *b)
{
    const struct special_hit *x = a, *y = b;

    return (x->from > y->from) - (x->from < y->from);
}

enum err specials_find(const struct specials *s, struct str text,
                       const struct vocab_span *spans, size_t n_spans,
                       struct special_hit **hits_out, size_t *n_out)
{
    struct search q = {.s = s, .text = text};
    enum err e = ERR_NOMEM;

    q.heads = malloc((s->n + 1) * sizeof(*q.heads));
    if (!q.heads)
        goto out;
    memset(q.heads, 0xff, (s->n + 1) * sizeof(*q.heads));
    e = walk(&q, spans, n_spans);
    if (e)
        goto out;
    if (q.n > 0) {
        q.taken = calloc(text.len / 64 + 1, sizeof(*q.taken));
        e = q.taken ? ERR_OK : ERR_NOMEM;
    }
    for (size_t k = 0; k < s->n && q.n > 0 && !e; k++)
        e = q.heads[k] == NONE ? ERR_OK : decide_token(&q, k);
    if (e)
        goto out;
    if (q.n_hits > 1)
        qsort(q.hits, q.n_hits, sizeof(*q.hits), by_place);
    *hits_out = q.hits;
    *n_out = q.n_hits;
    q.hits = NULL;
out:
    free(q.heads);
    free(q.all);
    free(q.taken);
    free(q.row);
    free(q.hits);
    return e;
}
