/* cuda_attend.c - Launching attention: which kernels serve a shape, and their
 * arguments. What varies from step to step stands in the plan in device memory
 * (cuda_plan.c): arguments and grids of a recorded launch depend on the number
 * of queued rows alone. */
#include <stdio.h>
#include <stdlib.h>

#include "kernels/cuda/cuda_attend.h"
#include "kernels/kv.h"

_Static_assert((int)KRN_F32 == ATT_F32 && (int)KRN_F16 == ATT_F16 &&
                   (int)KRN_BF16 == ATT_BF16,
               "types of activations");
_Static_assert(CUDA_PAGE_TOKENS == ATT_PAGE, "tokens of a page");
_Static_assert(sizeof(struct att_item) == 32 && sizeof(struct att_plan) == 64,
               "items are read as two and four times 16 bytes");

enum krn_status cuda_attend_open(struct cuda *d)
{
    d->attend = calloc(1, sizeof(*d->attend));
    return d->attend != NULL ? KRN_OK : KRN_NOMEM;
}

void cuda_attend_close(struct cuda *d)
{
    if (d->attend == NULL)
        return;
    for (unsigned i = 0; i < d->attend->n_parts; i++)
        cuda_free(d, d->attend->parts[i]);
    free(d->attend);
    d->attend = NULL;
}

/* --- kernels -------------------------------------------------------------- */

/* As kernels are called. */
static const char *const pool_names[ATT_POOL_COUNT] = {
    [ATT_POOL_F16] = "f16", [ATT_POOL_BF16] = "bf16", [ATT_POOL_FP8] = "f8"};

static enum att_pool pool_of(const struct krn_kv *kv)
{
    if (kv->dtype == KRN_FP8)
        return ATT_POOL_FP8;
    return kv->dtype == KRN_BF16 ? ATT_POOL_BF16 : ATT_POOL_F16;
}

/* Widths that kernels are made for; heads are filled up with zeros. */
static const unsigned widths[] = {32, 64, 128, 256};

static unsigned width_of(unsigned d_head)
{
    unsigned w = 0;

    while (widths[w] < d_head)
        w++;
    return w;
}

/* Shared memory of so many stages of a page of width <n>; those of FP8 are made
 * a page of F16 of their own, which lies before them. */
static size_t staged(enum att_pool t, size_t stages, size_t n)
{
    const size_t wide = (size_t)4 * ATT_PAGE * n;

    return t == ATT_POOL_FP8 ? wide + stages * 2 * ATT_PAGE * (n + 4)
                             : stages * wide;
}

/* Shared memory of a block: rings of the four warps, and for the widest heads
 * queries and what was joined so far (24 bytes for 4 columns of a row). */
static size_t decode_smem(enum att_pool t, unsigned w)
{
    size_t n = widths[w], stages = n <= 128 ? ATT_STAGES : ATT_STAGES_256;

    return staged(t, stages, n) + (n <= 128 ? 0 : 32 * n + 16 * n / 4 * 24);
}

/* Queries, and two stages of keys and values. */
static size_t prefill_smem(enum att_pool t, unsigned w, unsigned warps)
{
    return (size_t)widths[w] * 2 * 16 * warps + staged(t, 2, widths[w]);
}

/* The kernel of <kv>'s shape, found at its first use. */
static enum krn_status decode_kernel(struct cuda *d, const struct krn_kv *kv,
                                     CUfunction *out)
{
    const enum att_pool t = pool_of(kv);
    unsigned w = width_of(kv->d_head);
    CUfunction *f = &d->attend->decode[t][w];
    enum krn_status st = KRN_OK;
    char name[40];

    if (*f == NULL) {
        snprintf(name, sizeof(name), "tg_decode_%s_%u", pool_names[t],
                 widths[w]);
        st = cuda_kernel(d, name, decode_smem(t, w), f);
    }
    *out = *f;
    return st;
}

static enum krn_status prefill_kernel(struct cuda *d, const struct krn_kv *kv,
                                      unsigned warps, CUfunction *out)
{
    const enum att_pool t = pool_of(kv);
    unsigned w = width_of(kv->d_head);
    CUfunction *f = &d->attend->prefill[t][w][warps == 8];
    enum krn_status st = KRN_OK;
    char name[40];

    if (*f == NULL) {
        snprintf(name, sizeof(name), "tg_prefill_%s_%u_%u", pool_names[t],
                 widths[w], warps);
        st = cuda_kernel(d, name, prefill_smem(t, w, warps), f);
    }
    *out = *f;
    return st;
}

/* --- launching ------------------------------------------------------------ */

/* What was planned for <set>; where all rows are wanted both sets share one
 * plan. */
static const struct cuda_planned *planned_of(const struct cuda *d,
                                             enum krn_set set)
{
    if (d->in.set[set].plan == d->in.set[KRN_ALL].plan)
        set = KRN_ALL;
    return &d->attend->planned[set];
}

static struct att_args args_of(const struct krn_ctx *c, enum krn_set set,
                               unsigned layer, unsigned n_head)
{
    const struct cuda *d = c->cuda;
    const struct krn_kv *kv = c->step.kv;
    const size_t el = krn_dtype_bytes(kv->dtype);
    int64_t half = (int64_t)(kv_half_bytes(kv) / el);
    int64_t layer_els = 2 * half * kv->n_kv_head;
    int32_t group = (int32_t)(n_head / kv->n_kv_head);

    return (struct att_args){
        .plan = (const void *)(uintptr_t)d->in.set[set].plan,
        .table = (const void *)(uintptr_t)d->in.table,
        .k = (const uint8_t *)kv->pages + layer * layer_els * el,
        .page_stride = layer_els * kv->n_layer,
        .head_stride = half,
        .v_off = half * kv->n_kv_head,
        .max_pages = (int32_t)d->in.max_pages,
        .n_kv_head = (int32_t)kv->n_kv_head,
        .group = group,
        .magic = 65536 / group + 1,
        .d_head = (int32_t)kv->d_head,
        .act = (int32_t)d->act,
        .cut = d->deterministic ? ATT_CUT : 1 << 24,
    };
}

/* Most items that any step of the shape has which is recorded: no split has
 * fewer than ATT_SPLIT pages where there are as many. */
static unsigned recorded_items(const struct cuda *d, const struct krn_kv *kv,
                               enum krn_set set)
{
    unsigned m = d->in.set[set].m;
    unsigned most = cuda_plan_decode_most(d, kv->n_kv_head, m);
    unsigned splits = (d->in.max_pages + ATT_SPLIT - 1) / ATT_SPLIT;

    return m * splits < most ? m * splits : most;
}

static enum krn_status launch_decode(struct cuda *d, const struct krn_kv *kv,
                                     enum krn_set set,
                                     const struct att_args *args)
{
    const struct cuda_planned *p = planned_of(d, set);
    struct cuda_grid grid = {kv->n_kv_head, p->n_decode, 1};
    CUfunction f;
    enum krn_status st;

    if (d->recording)
        grid.y = recorded_items(d, kv, set);
    if (grid.y == 0)
        return KRN_OK;
    st = decode_kernel(d, kv, &f);
    if (st != KRN_OK)
        return st;
    return cuda_launch(d, f, grid, 128,
                       decode_smem(pool_of(kv), width_of(kv->d_head)), args);
}

static enum krn_status launch_prefill(struct cuda *d, const struct krn_kv *kv,
                                      enum krn_set set,
                                      const struct att_args *args)
{
    const struct cuda_planned *p = planned_of(d, set);
    const unsigned w = width_of(kv->d_head);
    const unsigned group = (unsigned)args->group;
    unsigned warps = 4;
    CUfunction f;
    enum krn_status st;

    if (p->n_tile == 0)
        return KRN_OK;
    if (d->recording)
        return KRN_UNSUPPORTED; /* a recorded step has one row a sequence */
    /* Twice the rows read keys half as often, where there are enough. */
    if ((widths[w] == 64 || widths[w] == 128) && p->tile_most * group >= 128 &&
        (uint64_t)p->tile_rows * group * kv->n_kv_head >= 128ULL * d->n_sm)
        warps = 8;
    st = prefill_kernel(d, kv, warps, &f);
    if (st != KRN_OK)
        return st;

    unsigned rows = p->tile_most * group;
    struct cuda_grid grid = {(rows + 16 * warps - 1) / (16 * warps),
                             kv->n_kv_head, p->n_tile};

    return cuda_launch(d, f, grid, 32 * warps,
                       prefill_smem(pool_of(kv), w, warps), args);
}

enum krn_status cuda_attend(struct krn_ctx *c, enum krn_set set, unsigned layer,
                            const void *q, size_t ldq, unsigned n_head,
                            float scale, void *out, size_t ldo)
{
    struct cuda *d = c->cuda;
    const struct krn_kv *kv = c->step.kv;
    struct att_args args;
    enum krn_status st;

    if (n_head == 0 || kv->n_kv_head == 0 || n_head % kv->n_kv_head != 0 ||
        n_head / kv->n_kv_head > ATT_GROUP || kv->d_head == 0 ||
        kv->d_head % 8 != 0 || kv->d_head > 256 || ldq % 8 != 0 ||
        ldo % 8 != 0 || layer >= kv->n_layer)
        return KRN_BAD_SHAPE;
    if (kv->dtype == KRN_F32)
        return KRN_UNSUPPORTED;
    args = args_of(c, set, layer, n_head);
    args.q = q;
    args.ldq = (int64_t)ldq;
    args.out = out;
    args.ldo = (int64_t)ldo;
    args.scale = scale * 1.44269504F;
    st = launch_decode(d, kv, set, &args);
    return st == KRN_OK ? launch_prefill(d, kv, set, &args) : st;
}
