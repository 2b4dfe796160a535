/* cuda_product.c - Queueing the kernels of products: what each is told, and
 * over how many blocks. All of it depends on shapes alone. */
#include "kernels/cuda/a_linear.h"
#include "kernels/cuda/cuda_linear.h"
#include "kernels/cuda/pack.h"

enum {
    TOKENS = 8,         /* of a block of the first kernel */
    SLICE_K = 5120,     /* most k of 8 tokens in shared memory */
    BLOCK_SMEM = 11264, /* of a block beside its x */
    STAGE_K = 256,
    GROUP = 4, /* tiles of a block of the kernels of 9 to 64 tokens */
    SIDE = 64, /* tokens and rows of a block of the float kernels */
};

bool linear_is_quick(const struct linear_call *l, enum krn_dtype t)
{
    enum krn_dtype act = l->d->act;

    if ((uintptr_t)l->x % 16 != 0 || l->ldx % 8 != 0 || l->k % 8 != 0)
        return false;
    return pack_is_tiles(t) ? act == KRN_F16 : t == act && t != KRN_F32;
}

/* One matrix as the kernels are told of it. */
static struct tg_mat mat_of(const struct krn_prod *p)
{
    return (struct tg_mat){
        .w = p->w->data,
        .bias = p->bias,
        .y = p->y,
        .ldy = (uint32_t)p->ldy,
        .n_out = (uint32_t)p->w->n_out,
        .as = (uint32_t)p->as,
    };
}

/* Fill <mat> for <n> prods; the number of their tiles. */
static uint32_t mats_fill(const struct linear_call *l, unsigned n,
                          const struct krn_prod *prods, struct tg_mat *mat,
                          uint32_t *n_mat)
{
    uint32_t tiles = 0;

    if (l->glu) {
        mat[0] = mat_of(&prods[0]);
        mat[0].up = prods[1].w->data;
        *n_mat = 1;
        return (mat[0].n_out + 7) / 8;
    }
    for (unsigned i = 0; i < n; i++) {
        mat[i] = mat_of(&prods[i]);
        mat[i].tile0 = tiles;
        tiles += (mat[i].n_out + 15) / 16;
    }
    *n_mat = n;
    return tiles;
}

/* The same matrices for the tokens behind the first <n>. */
static void mats_pass(struct tg_mat *mat, uint32_t n_mat, size_t n)
{
    for (uint32_t i = 0; i < n_mat; i++)
        mat[i].y = (char *)mat[i].y +
                   n * mat[i].ldy * (mat[i].as == TG_AS_ACT ? 2 : 4);
}

/* --- up to 8 tokens ---------------------------------------------------------
 */

/* k of a unit of the kernels for <t>. */
static size_t unit_k(enum krn_dtype t)
{
    switch (t) {
    case KRN_Q4_0:
    case KRN_Q4_K:
        return 128;
    case KRN_Q8_0:
    case KRN_Q5_K:
    case KRN_Q6_K:
    case KRN_FP8:
        return 64;
    default:
        return 32;
    }
}

/* Bytes of shared memory for <m> tokens of <k>. */
static size_t gemv_smem(enum krn_dtype t, size_t m, size_t k)
{
    size_t sums = t == KRN_Q4_K || t == KRN_Q5_K ? k / 32 * TOKENS * 4 : 0;

    return m * ((k * 2 + 127) / 128 * 128 + 64) + sums;
}

/* Blocks that share <tiles>, each with <smem>: as many as leave the
 * multiprocessors the least to do one after the other. */
static unsigned gemv_blocks(const struct cuda *d, uint32_t tiles,
                            uint32_t slices, size_t smem, unsigned most)
{
    unsigned best = 1;
    uint64_t least = UINT64_MAX;

    for (unsigned c = most; c > 0; c--) {
        uint32_t at_once = d->n_sm * c / slices;
        uint32_t rounds, blocks;
        uint64_t work;

        if (c > 1 && c * (smem + BLOCK_SMEM) > d->smem_max)
            continue;
        at_once = at_once == 0 ? 1 : at_once > tiles ? tiles : at_once;
        rounds = (tiles + at_once - 1) / at_once;
        blocks = (tiles + rounds - 1) / rounds;
        work = ((uint64_t)blocks * slices + d->n_sm - 1) / d->n_sm * rounds;
        work *= c == 1 ? 23 : 20; /* one alone keeps too few loads on the way */
        if (work < least) {
            least = work;
            best = blocks;
        }
    }
    return best;
}

enum krn_status linear_gemv(const struct linear_call *l, unsigned n,
                            const struct krn_prod *prods)
{
    struct cuda_linear *own = l->d->linear;
    enum krn_dtype t = prods[0].w->dtype;
    size_t units = (l->k + unit_k(t) - 1) / unit_k(t);
    size_t slices = (l->k + SLICE_K - 1) / SLICE_K;
    size_t slice = (units + slices - 1) / slices;
    size_t groups = (l->m + TOKENS - 1) / TOKENS;
    size_t most = 65535; /* groups of a launch */
    struct tg_gemv a = {
        .part = (float *)(uintptr_t)own->part,
        .count = (uint32_t *)(uintptr_t)own->count,
        .ldx = (uint32_t)l->ldx,
        .k = (uint32_t)l->k,
        .slice = (uint32_t)slice,
        .glu = l->glu,
    };
    enum krn_status st = KRN_OK;

    slices = (units + slice - 1) / slice;
    a.n_tile = mats_fill(l, n, prods, a.mat, &a.n_mat);
    if (slices > 1) {
        size_t by_part = LINEAR_PART_BYTES / ((size_t)a.n_tile * slices * 512);
        size_t by_count = LINEAR_COUNTS / a.n_tile;

        most = by_part < by_count ? by_part : by_count;
        if (most == 0)
            return KRN_UNSUPPORTED;
    }
    for (size_t from = 0, z; st == KRN_OK && from < groups; from += z) {
        size_t tokens = l->m - from * TOKENS, smem;
        struct cuda_grid grid = {0, (unsigned)slices, 0};

        z = groups - from < most ? groups - from : most;
        tokens = tokens < z * TOKENS ? tokens : z * TOKENS;
        smem =
            gemv_smem(t, tokens < TOKENS ? tokens : TOKENS, slice * unit_k(t));
        a.m = (uint32_t)tokens;
        a.x = (const char *)l->x + from * TOKENS * l->ldx * 2;
        grid.x = gemv_blocks(l->d, a.n_tile, (uint32_t)slices, smem,
                             pack_is_tiles(t) ? 2 : 3);
        grid.z = (unsigned)z;
        st = cuda_launch(l->d, own->gemv[t], grid, 256, smem, &a);
        mats_pass(a.mat, a.n_mat, z * TOKENS);
    }
    return st;
}

/* --- more tokens, tiles ------------------------------------------------------
 */

/* Slices of <n_k> stages for <groups> of tiles: as many as fill the
 * multiprocessors well, each a little dearer. */
static size_t quant_slices(const struct cuda *d, size_t groups, size_t n_k,
                           size_t tokens)
{
    size_t most = LINEAR_PART_BYTES / (groups * tokens * 64 * 4);
    size_t slots = 3 * (size_t)d->n_sm;
    size_t best = 1, least = SIZE_MAX;

    if (groups > LINEAR_COUNTS)
        return 1;
    most = most < n_k / 2 ? most : n_k / 2;
    for (size_t s = 1; s == 1 || (s <= most && s <= 16); s++) {
        size_t waves = (groups * s + slots - 1) / slots;
        size_t cost = waves * 100 / s + (s > 1 ? 6 * s : 0);

        if (cost < least) {
            least = cost;
            best = s;
        }
    }
    return best;
}

/* Up to 64 tokens, <a> but for its slices. */
static enum krn_status quant_launch(const struct linear_call *l,
                                    enum krn_dtype t, struct tg_gemm_quant *a)
{
    unsigned size = a->m <= 16 ? 0 : a->m <= 32 ? 1 : 2;
    size_t tokens = (size_t)16 << size;
    size_t n_k = (l->k + STAGE_K - 1) / STAGE_K;
    size_t smem = 2 * tokens * (STAGE_K * 2 + 64) + tokens * 8 * 4;
    size_t groups = (a->n_tile + GROUP - 1) / GROUP;
    size_t slices = quant_slices(l->d, groups, n_k, tokens);
    struct cuda_grid grid = {(unsigned)groups, 0, 1};

    a->slice = (uint32_t)((n_k + slices - 1) / slices);
    grid.y = (unsigned)((n_k + a->slice - 1) / a->slice);
    return cuda_launch(l->d, l->d->linear->gemm_quant[t][size], grid, 128, smem,
                       a);
}

enum krn_status linear_gemm_quant(const struct linear_call *l, unsigned n,
                                  const struct krn_prod *prods)
{
    struct cuda_linear *own = l->d->linear;
    struct tg_gemm_quant a = {
        .part = (float *)(uintptr_t)own->part,
        .count = (uint32_t *)(uintptr_t)own->count,
        .ldx = (uint32_t)l->ldx,
        .k = (uint32_t)l->k,
        .glu = l->glu,
    };
    enum krn_status st = KRN_OK;

    a.n_tile = mats_fill(l, n, prods, a.mat, &a.n_mat);
    for (unsigned from = 0; st == KRN_OK && from < l->m; from += a.m) {
        a.x = (const char *)l->x + from * l->ldx * 2;
        a.m = l->m - from < SIDE ? l->m - from : SIDE;
        st = quant_launch(l, prods[0].w->dtype, &a);
        mats_pass(a.mat, a.n_mat, a.m);
    }
    return st;
}

/* --- the others
 * --------------------------------------------------------------- */

enum krn_status linear_gemm(const struct linear_call *l,
                            const struct krn_prod *p, CUdeviceptr w,
                            size_t n_out)
{
    enum krn_dtype act = l->d->act;
    struct tg_gemm a = {
        .mat = mat_of(p),
        .x = l->x,
        .ldx = (uint32_t)l->ldx,
        .m = l->m,
        .k = (uint32_t)l->k,
    };
    struct cuda_grid grid = {(unsigned)((n_out + SIDE - 1) / SIDE),
                             (l->m + SIDE - 1) / SIDE, 1};

    a.mat.w = (const void *)(uintptr_t)w;
    a.mat.n_out = (uint32_t)n_out;
    return cuda_launch(l->d, l->d->linear->gemm[act], grid,
                       act == KRN_F32 ? 256 : 128,
                       act == KRN_F32 ? 0 : 4 * SIDE * 128, &a);
}

enum krn_status linear_any(const struct linear_call *l,
                           const struct krn_prod *p)
{
    enum krn_dtype act = l->d->act;
    struct tg_any a = {
        .mat = mat_of(p),
        .x = l->x,
        .ldx = (uint32_t)l->ldx,
        .m = l->m,
        .k = (uint32_t)l->k,
        .w_type = (uint32_t)p->w->dtype,
        .x_type = (uint32_t)act,
    };
    struct cuda_grid grid = {(unsigned)((p->w->n_out + 7) / 8),
                             (l->m + TOKENS - 1) / TOKENS, 1};

    return cuda_launch(l->d, l->d->linear->any[act], grid, 256, 0, &a);
}

enum krn_status linear_widen(struct cuda *d, const struct krn_weight *w,
                             size_t row, size_t n)
{
    struct tg_widen a = {
        .w = w->data + row / 8 * w->unit_bytes,
        .y = (void *)(uintptr_t)d->linear->wide,
        .n_out = (uint32_t)n,
        .k = (uint32_t)w->n_in,
        .ldy = (uint32_t)w->n_in,
        .w_type = (uint32_t)w->dtype,
        .y_type = (uint32_t)d->act,
    };
    struct cuda_grid grid = {(unsigned)((n + 7) / 8),
                             (unsigned)((w->n_in + STAGE_K - 1) / STAGE_K), 1};

    return cuda_launch(d, d->linear->widen, grid, 256, 0, &a);
}
