/* fakegraph.c - See fakegraph.h. */
#include "lib/fakegraph.h"

#include "base/clock.h"
#include "engine/graph.h"
#include "engine/sample.h"

#include "unit/cmocka_all.h"

#include <stdlib.h>
#include <string.h>

/* A step of splitmix64. */
static uint64_t mix(uint64_t x)
{
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

void fake_graph_init(struct graph *g)
{
    g->kv = calloc((size_t)g->n_pages * KRN_PAGE_TOKENS, sizeof(*g->kv));
    assert_non_null(g->kv);
}

void fake_graph_fini(struct graph *g)
{
    free(g->kv);
    free(g->drawn);
    g->kv = NULL;
}

/* What is kept for position <pos> of row <r>'s sequence. */
static uint64_t *slot_of(struct graph *g, const struct krn_rows *r, unsigned i,
                         int32_t pos)
{
    const int32_t *table = r->table + (size_t)r->seq[i] * r->max_pages;
    int32_t page;

    assert_in_range(r->seq[i], 0, r->n_seq - 1);
    assert_in_range(pos / KRN_PAGE_TOKENS, 0, r->max_pages - 1);
    page = table[pos / KRN_PAGE_TOKENS];
    assert_in_range(page, 0, g->n_pages - 1);
    return &g->kv[page * KRN_PAGE_TOKENS + pos % KRN_PAGE_TOKENS];
}

static void write_row(struct graph *g, const struct graph_step *s, unsigned i)
{
    const struct krn_rows *r = &s->rows;
    int32_t pos = r->pos[i];
    uint64_t before = pos > 0 ? *slot_of(g, r, i, pos - 1) : 1;

    assert_in_range(s->ids[i], 0, g->n_vocab - 1);
    *slot_of(g, r, i, pos) =
        mix(before ^ mix((uint64_t)s->ids[i] << 32 | (uint32_t)pos));
}

/* All that row <i> sees. */
static uint64_t see(struct graph *g, const struct graph_step *s, unsigned i)
{
    uint64_t h = 0;

    for (int32_t pos = 0; pos <= s->rows.pos[i]; pos++)
        h = mix(h ^ *slot_of(g, &s->rows, i, pos));
    return h;
}

/* A number from -3 to 3. */
static float number(uint64_t h)
{
    return (float)(int64_t)(mix(h) >> 40) / (float)(1 << 24) * 6 - 3;
}

static float *fill(const struct graph *g, float *out, uint64_t h, uint8_t want)
{
    unsigned n = want == GRAPH_LOGITS ? g->n_vocab : g->d_model;

    for (unsigned v = 0; v < n; v++)
        out[v] = number(h + v);
    if (want != GRAPH_LOGITS)
        return out + n;
    out[g->eog] -= g->eog_less;
    out[g->banned] -= 100;
    for (int32_t v = g->bytes; v < g->bytes + 256; v++)
        out[v] -= g->bytes_less;
    return out + n;
}

/* Rows of one sequence must ascend without a gap. */
static void check_order(const struct graph_step *s)
{
    const struct krn_rows *r = &s->rows;

    for (unsigned i = 0; i < r->m; i++)
        for (unsigned k = i; k-- > 0;)
            if (r->seq[k] == r->seq[i]) {
                assert_int_equal(r->pos[k] + 1, r->pos[i]);
                break;
            }
}

/* Rows that stay are of the kind of logits. */
static unsigned plain(uint8_t want)
{
    return want == GRAPH_DRAW ? GRAPH_LOGITS : want;
}

/* The row of <h> stays, to be drawn from. */
static void row_keep(struct graph *g, uint64_t h)
{
    if (!g->drawn)
        g->drawn = calloc((size_t)FAKE_DRAWS * g->n_vocab, sizeof(*g->drawn));
    assert_non_null(g->drawn);
    if (g->n_drawn < FAKE_DRAWS)
        fill(g, g->drawn + (size_t)g->n_drawn * g->n_vocab, h, GRAPH_LOGITS);
    g->n_drawn++;
}

bool graph_draws(const struct graph *g)
{
    return g->draws;
}

/* The largest allowed logit of <x>. */
static int32_t largest(const float *x, unsigned n, const struct krn_draw *w)
{
    int32_t best = -1;

    for (unsigned i = 0; i < n; i++)
        if ((!w->mask || w->mask[i / 64] >> i % 64 & 1) &&
            (best < 0 || x[i] > x[best]))
            best = (int32_t)i;
    return best;
}

enum err graph_draw(struct graph *g, unsigned n_tokens, unsigned n,
                    const struct krn_draw *draws, struct krn_drawn *out)
{
    for (unsigned i = 0; i < n; i++) {
        const float *x = g->drawn + (size_t)draws[i].row * g->n_vocab;
        struct gen_logprob lp;

        assert_in_range(draws[i].row, 0, g->n_drawn - 1);
        assert_true(draws[i].temperature == 0 && draws[i].n_edits == 0);
        out[i].id = largest(x, n_tokens, &draws[i]);
        if (!draws[i].logprobs)
            continue;
        sample_logprobs(x, n_tokens, out[i].id, draws[i].n_top, &lp);
        out[i].logprob = lp.logprob;
        out[i].n_top = lp.n_top;
        for (unsigned k = 0; k < lp.n_top; k++) {
            out[i].top[k].id = lp.top[k].id;
            out[i].top[k].logprob = lp.top[k].logprob;
        }
    }
    g->n_draws += n;
    return ERR_OK;
}

enum err graph_step_run(struct graph *g, const struct graph_step *s, float *out)
{
    unsigned kind = GRAPH_NOTHING;

    g->n_steps++;
    g->n_drawn = 0;
    g->n_rows += s->rows.m;
    assert_in_range(s->rows.m, 1, g->max_rows);
    if (s->rows.m > g->most_rows)
        g->most_rows = s->rows.m;
    if (g->row_ms + g->run_ms > 0)
        clock_advance_ms(g->row_ms * s->rows.m + g->run_ms);
    check_order(s);
    if (g->n_steps == g->fail_at)
        return ERR_IO;
    for (unsigned i = 0; i < s->rows.m; i++)
        write_row(g, s, i);
    for (unsigned i = 0; i < s->rows.m; i++) {
        if (s->want[i] == GRAPH_NOTHING)
            continue;
        assert_true(kind == GRAPH_NOTHING || kind == plain(s->want[i]));
        kind = plain(s->want[i]);
        assert_true(g->draws || s->want[i] != GRAPH_DRAW);
        if (g->draws && kind == GRAPH_LOGITS)
            row_keep(g, see(g, s, i));
        if (s->want[i] != GRAPH_DRAW)
            out = fill(g, out, see(g, s, i), s->want[i]);
    }
    return ERR_OK;
}

bool graph_is_host(const struct graph *g)
{
    return !g->device;
}

size_t graph_page_bytes(const struct graph *g)
{
    return g->page_bytes > 0 ? g->page_bytes
                             : KRN_PAGE_TOKENS * sizeof(g->kv[0]);
}

void *graph_host_alloc(struct graph *g, size_t bytes)
{
    assert_true(g->device);
    return aligned_alloc(4096, (bytes + 4095) / 4096 * 4096);
}

void graph_host_free(struct graph *g, void *p)
{
    (void)g;
    free(p);
}

static void *page_of(struct graph *g, unsigned page)
{
    assert_in_range(page, 0, g->n_pages - 1);
    return &g->kv[page * KRN_PAGE_TOKENS];
}

void *graph_page_room(struct graph *g, unsigned page)
{
    assert_false(g->device);
    return page_of(g, page);
}

/* The oldest copy is over: it is made only now. */
static void copy_make(struct graph *g)
{
    const struct fake_copy *c = &g->copies[g->n_over++ % FAKE_COPIES];

    memcpy(c->to, c->from, KRN_PAGE_TOKENS * sizeof(g->kv[0]));
    g->n_looks = 0;
}

static enum err copy_queue(struct graph *g, void *to, const void *from,
                           uint64_t *ticket_out)
{
    assert_true(g->n_tickets - g->n_over < FAKE_COPIES);
    g->copies[g->n_tickets++ % FAKE_COPIES] = (struct fake_copy){to, from};
    *ticket_out = g->n_tickets;
    if (!g->device)
        copy_make(g);
    return ERR_OK;
}

enum err graph_page_out(struct graph *g, unsigned page, void *host,
                        uint64_t *ticket_out)
{
    return copy_queue(g, host, page_of(g, page), ticket_out);
}

enum err graph_page_in(struct graph *g, unsigned page, const void *host,
                       uint64_t *ticket_out)
{
    return copy_queue(g, page_of(g, page), host, ticket_out);
}

bool graph_page_done(struct graph *g, uint64_t ticket, bool *failed)
{
    assert_in_range(ticket, 1, g->n_tickets);
    if (ticket > g->n_over && ++g->n_looks > g->lag)
        copy_make(g);
    *failed = g->fail_copy > 0 && ticket >= g->fail_copy;
    return ticket <= g->n_over;
}

enum err graph_page_copy(struct graph *g, unsigned to, unsigned from)
{
    assert_in_range(to, 0, g->n_pages - 1);
    assert_in_range(from, 0, g->n_pages - 1);
    assert_int_not_equal(to, from);
    g->n_copies++;
    for (unsigned i = 0; i < KRN_PAGE_TOKENS; i++)
        g->kv[to * KRN_PAGE_TOKENS + i] = g->kv[from * KRN_PAGE_TOKENS + i];
    return ERR_OK;
}
