/* krn.c - What all backends share: the table of element types, contexts, and
 * the checks before a backend is called. */
#include "kernels/krn.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/cuda/cuda.h"
#include "kernels/krn_priv.h"
#include "kernels/pool.h"
#include "kernels/ref/ref.h"

struct dtype_row {
    const char *name;
    size_t block; /* elements */
    size_t bytes; /* of a block */
};

static const struct dtype_row dtypes[KRN_KEPT_COUNT] = {
    [KRN_F32] = {"F32", 1, 4},       [KRN_F16] = {"F16", 1, 2},
    [KRN_BF16] = {"BF16", 1, 2},     [KRN_Q8_0] = {"Q8_0", 32, 34},
    [KRN_Q4_0] = {"Q4_0", 32, 18},   [KRN_Q4_K] = {"Q4_K", 256, 144},
    [KRN_Q5_K] = {"Q5_K", 256, 176}, [KRN_Q6_K] = {"Q6_K", 256, 210},
    [KRN_DTYPE_COUNT] = {"", 0, 0},  [KRN_FP8] = {"FP8", 1, 1},
};

static const char *const isa_names[] = {
    [KRN_ISA_SCALAR] = "scalar",
    [KRN_ISA_AVX2] = "avx2",
    [KRN_ISA_AVX512] = "avx512",
};
enum { ISA_COUNT = sizeof(isa_names) / sizeof(isa_names[0]) };

const char *krn_dtype_name(enum krn_dtype t)
{
    return (unsigned)t < KRN_KEPT_COUNT ? dtypes[t].name : "";
}

size_t krn_dtype_block(enum krn_dtype t)
{
    return (unsigned)t < KRN_KEPT_COUNT ? dtypes[t].block : 0;
}

size_t krn_dtype_bytes(enum krn_dtype t)
{
    return (unsigned)t < KRN_KEPT_COUNT ? dtypes[t].bytes : 0;
}

/* --- contexts ------------------------------------------------------------ */

/* The instruction set for <o>; KRN_UNSUPPORTED when there is none such. */
static enum krn_status isa_choose(const struct krn_opts *o, enum krn_isa *out)
{
    enum krn_isa best = krn_isa_best();

    if (o->device && strcmp(o->device, "ref") == 0)
        best = KRN_ISA_SCALAR;
    else if (o->device && strcmp(o->device, "cpu") != 0)
        return KRN_UNSUPPORTED;
    *out = best;
    if (!o->isa)
        return KRN_OK;
    for (int i = 0; i < ISA_COUNT; i++) {
        if (strcmp(o->isa, isa_names[i]) == 0) {
            *out = (enum krn_isa)i;
            return (enum krn_isa)i <= best ? KRN_OK : KRN_UNSUPPORTED;
        }
    }
    return KRN_UNSUPPORTED;
}

static enum krn_status host_open(struct krn_ctx *c, const struct krn_opts *o)
{
    enum krn_isa isa;
    enum krn_status st = isa_choose(o, &isa);

    if (st == KRN_OK)
        st = pool_open(o->threads, o->nice, o->pin, &c->pool);
    if (st != KRN_OK)
        return st;
    c->dev = &krn_host_ops;
    c->page_tokens = KRN_PAGE_TOKENS;
    c->act = KRN_F32;
    c->isa = isa;
    c->mat = krn_mat_ops_of(isa);
    c->row = krn_row_ops_of(isa);
    if (o->device && strcmp(o->device, "ref") == 0)
        snprintf(c->describe, sizeof(c->describe), "ref %u thread%s",
                 pool_threads(c->pool), pool_threads(c->pool) == 1 ? "" : "s");
    else
        snprintf(c->describe, sizeof(c->describe), "cpu %s %u thread%s",
                 isa_names[isa], pool_threads(c->pool),
                 pool_threads(c->pool) == 1 ? "" : "s");
    return KRN_OK;
}

/* Whether <o> asks for a GPU. */
static bool is_cuda(const struct krn_opts *o)
{
    return o->device && strncmp(o->device, "cuda", 4) == 0;
}

enum krn_status krn_probe(const struct krn_opts *o)
{
    if (o->why && o->why_bytes > 0)
        o->why[0] = '\0';
    return is_cuda(o) ? cuda_probe(o) : KRN_OK;
}

enum krn_status krn_open(const struct krn_opts *o, struct krn_ctx **out)
{
    struct krn_ctx *c = calloc(1, sizeof(*c));
    enum krn_status st;

    if (o->why && o->why_bytes > 0)
        o->why[0] = '\0';
    if (!c)
        return KRN_NOMEM;
    st = is_cuda(o) ? cuda_open(c, o) : host_open(c, o);
    if (st != KRN_OK) {
        free(c);
        return st;
    }
    *out = c;
    return KRN_OK;
}

void krn_close(struct krn_ctx *c)
{
    if (!c)
        return;
    c->dev->close(c);
    for (int i = 0; i < KRN_SLOT_COUNT; i++)
        free(c->slot[i]);
    free(c);
}

enum krn_status krn_reset(struct krn_ctx *c)
{
    c->stage = KRN_IDLE;
    return c->dev->reset(c);
}

const char *krn_trouble(const struct krn_ctx *c)
{
    return c->cuda ? cuda_trouble(c->cuda) : "";
}

const char *krn_numerics(const struct krn_ctx *c)
{
    return c->cuda ? cuda_numerics(c->cuda) : "cpu-f32-v1";
}

const char *krn_describe(const struct krn_ctx *c)
{
    return c->describe;
}

unsigned krn_page_tokens(const struct krn_ctx *c)
{
    return c->page_tokens;
}

bool krn_is_host(const struct krn_ctx *c)
{
    return !c->cuda;
}

enum krn_status krn_act_use(struct krn_ctx *c, enum krn_dtype t)
{
    if ((unsigned)t >= KRN_DTYPE_COUNT)
        return KRN_UNSUPPORTED;
    return c->dev->act_use(c, t);
}

enum krn_status krn_weights_fp8(struct krn_ctx *c, bool on)
{
    if (c->cuda)
        return cuda_weights_fp8(c->cuda, on);
    return on ? KRN_UNSUPPORTED : KRN_OK;
}

enum krn_dtype krn_act(const struct krn_ctx *c)
{
    return c->act;
}

unsigned krn_threads(const struct krn_ctx *c)
{
    return c->pool ? pool_threads(c->pool) : 1;
}

/* --- memory -------------------------------------------------------------- */

void krn_memory(const struct krn_ctx *c, uint64_t *free_out, uint64_t *all_out)
{
    c->dev->memory(c, free_out, all_out);
}

void *krn_alloc(struct krn_ctx *c, size_t bytes)
{
    return c->dev->alloc(c, bytes);
}

void krn_free(struct krn_ctx *c, void *p)
{
    if (p)
        c->dev->release(c, p);
}

enum krn_status krn_put(struct krn_ctx *c, void *dst, const void *host,
                        size_t bytes)
{
    return bytes != 0 ? c->dev->put(c, dst, host, bytes) : KRN_OK;
}

enum krn_status krn_get(struct krn_ctx *c, void *host, const void *src,
                        size_t bytes)
{
    return bytes != 0 ? c->dev->get(c, host, src, bytes) : KRN_OK;
}

enum krn_status krn_sync(struct krn_ctx *c)
{
    return c->dev->sync(c);
}

void *krn_host_alloc(struct krn_ctx *c, size_t bytes)
{
    return c->dev->host_alloc(c, bytes);
}

void krn_host_free(struct krn_ctx *c, void *p)
{
    if (p)
        c->dev->host_free(c, p);
}

void *krn_scratch(struct krn_ctx *c, enum krn_slot slot, size_t bytes)
{
    if (bytes > SIZE_MAX - 64)
        return NULL;
    if (bytes > c->slot_bytes[slot] || !c->slot[slot]) {
        free(c->slot[slot]);
        c->slot[slot] =
            aligned_alloc(64, bytes == 0 ? 64 : (bytes + 63) / 64 * 64);
        c->slot_bytes[slot] = c->slot[slot] ? bytes : 0;
    }
    return c->slot[slot];
}

/* --- weights ------------------------------------------------------------- */

static enum krn_status weight_check(enum krn_dtype t, size_t n_out, size_t n_in)
{
    if ((unsigned)t >= KRN_DTYPE_COUNT)
        return KRN_UNSUPPORTED;
    if (n_out == 0 || n_in == 0 || n_out > INT_MAX || n_in > INT_MAX ||
        n_in % dtypes[t].block != 0)
        return KRN_BAD_SHAPE;
    return KRN_OK;
}

enum krn_status krn_weight_load(struct krn_ctx *c, enum krn_dtype t,
                                size_t n_out, size_t n_in, const void *rows,
                                struct krn_weight **out)
{
    const enum krn_status st = weight_check(t, n_out, n_in);

    return st == KRN_OK ? c->dev->weight_load(c, t, n_out, n_in, rows, out)
                        : st;
}

enum krn_status krn_weight_random(struct krn_ctx *c, enum krn_dtype t,
                                  size_t n_out, size_t n_in, uint64_t seed,
                                  struct krn_weight **out)
{
    const enum krn_status st = weight_check(t, n_out, n_in);

    if (st != KRN_OK)
        return st;
    return c->dev->weight_random
               ? c->dev->weight_random(c, t, n_out, n_in, seed, out)
               : KRN_UNSUPPORTED;
}

void krn_weight_free(struct krn_ctx *c, struct krn_weight *w)
{
    if (w)
        c->dev->weight_free(c, w);
}

size_t krn_weight_bytes(const struct krn_weight *w)
{
    return w->bytes;
}

/* --- operations ---------------------------------------------------------- */

enum krn_status krn_linear(struct krn_ctx *c, const float *x, size_t ldx,
                           unsigned m, unsigned n, const struct krn_out *outs)
{
    for (unsigned i = 0; i < n; i++) {
        if (outs[i].w->n_in != outs[0].w->n_in ||
            outs[i].ldy < outs[i].w->n_out)
            return KRN_BAD_SHAPE;
    }
    if (m == 0 || n == 0)
        return KRN_OK;
    if (ldx < outs[0].w->n_in)
        return KRN_BAD_SHAPE;
    return c->mat->linear(c, x, ldx, m, n, outs);
}

struct embed_job {
    const struct krn_mat_ops *mat;
    const struct krn_weight *w;
    const int32_t *ids;
    float *y;
};

static void embed_item(void *arg, unsigned item, unsigned worker)
{
    const struct embed_job *j = arg;

    (void)worker;
    j->mat->row(j->w, (size_t)j->ids[item], j->y + item * j->w->n_in);
}

enum krn_status krn_embed(struct krn_ctx *c, float *y,
                          const struct krn_weight *w, const int32_t *ids,
                          unsigned m)
{
    struct embed_job j = {.mat = c->mat, .w = w, .ids = ids, .y = y};

    for (unsigned i = 0; i < m; i++) {
        if (ids[i] < 0 || (size_t)ids[i] >= w->n_out)
            return KRN_BAD_SHAPE;
    }
    pool_run(c->pool, embed_item, &j, m);
    return KRN_OK;
}
