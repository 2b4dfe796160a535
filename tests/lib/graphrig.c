/* graphrig.c - See graphrig.h. */
#include "lib/graphrig.h"

#include <stdlib.h>

#include "unit/cmocka_all.h"

void graphrig_image(struct graphrig_image *i, const struct ggufm_shape *s)
{
    i->bytes = ggufm_build(s, &i->len);
}

void graphrig_image_free(struct graphrig_image *i)
{
    free(i->bytes);
}

void graphrig_open(struct graphrig *r, const struct graphrig_image *i,
                   const char *device, unsigned threads,
                   enum krn_dtype kv_dtype)
{
    const struct krn_opts o = {.device = device, .threads = threads};

    graphrig_open_as(r, i, &o, kv_dtype);
}

static void open_with(struct graphrig *r, const struct graphrig_image *i,
                      const struct krn_opts *o, enum krn_dtype kv_dtype,
                      bool fp8)
{
    const unsigned used = GRAPHRIG_SEQS * GRAPHRIG_PAGES;
    struct graph_opts go = {.kv_dtype = kv_dtype,
                            .fp8 = fp8,
                            .n_pages = 2 * used,
                            .max_rows = GRAPHRIG_ROWS};
    struct model_fault why = {""};
    enum err e;

    memset(r, 0, sizeof(*r));
    r->n_pages = go.n_pages;
    assert_int_equal(krn_open(o, &r->c), KRN_OK);
    e = model_open_gguf(str_of(i->bytes, i->len), &why, &r->m);
    if (e == ERR_OK)
        e = graph_new(r->c, r->m, &go, &why, &r->g);
    if (e != ERR_OK)
        print_message("%s\n", why.text);
    assert_int_equal(e, ERR_OK);
    for (unsigned k = 0; k < used; k++)
        r->table[k] = (int32_t)(k * 101 % used);
}

void graphrig_open_as(struct graphrig *r, const struct graphrig_image *i,
                      const struct krn_opts *o, enum krn_dtype kv_dtype)
{
    open_with(r, i, o, kv_dtype, false);
}

void graphrig_open_fp8(struct graphrig *r, const struct graphrig_image *i,
                       const char *device, enum krn_dtype kv_dtype)
{
    const struct krn_opts o = {.device = device, .threads = 1};

    open_with(r, i, &o, kv_dtype, true);
}

void graphrig_close(struct graphrig *r)
{
    graph_free(r->g);
    model_close(r->m);
    krn_close(r->c);
}

int32_t graphrig_token(const struct graphrig *r, int32_t seq, int32_t pos)
{
    uint32_t x = (uint32_t)seq * 2654435761U + (uint32_t)pos * 40503U + 77;

    x ^= x >> 15;
    x *= 2246822519U;
    x ^= x >> 13;
    return (int32_t)(x % r->m->p.n_vocab);
}

void graphrig_add(struct graphrig *r, int32_t seq, int32_t from, int32_t to,
                  enum graph_want want)
{
    struct graphrig_batch *b = &r->batch;

    for (int32_t pos = from; pos < to; pos++) {
        assert_true(b->m < GRAPHRIG_ROWS);
        b->seq[b->m] = seq;
        b->pos[b->m] = pos;
        b->ids[b->m] = graphrig_token(r, seq, pos);
        b->want[b->m++] = (uint8_t)(pos + 1 == to ? want : GRAPH_NOTHING);
    }
}

void graphrig_run(struct graphrig *r, float *out)
{
    struct graphrig_batch *b = &r->batch;
    struct graph_step s = {
        .rows = {b->m, b->seq, b->pos, GRAPHRIG_SEQS, r->table, GRAPHRIG_PAGES},
        .ids = b->ids,
        .want = b->want};

    assert_int_equal(graph_step_run(r->g, &s, out), ERR_OK);
    b->m = 0;
}

void graphrig_prompt(struct graphrig *r, int32_t seq, int32_t n, int32_t chunk,
                     float *out)
{
    for (int32_t at = 0; at < n; at += chunk) {
        bool last = n - at <= chunk;

        graphrig_add(r, seq, at, last ? n : at + chunk,
                     last ? GRAPH_LOGITS : GRAPH_NOTHING);
        graphrig_run(r, out);
    }
}
