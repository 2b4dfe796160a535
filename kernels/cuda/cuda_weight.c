/* cuda_weight.c - Weights on the device. Small ones lie side by side in large
 * pieces, so that the matrices of one kind that are loaded one after the other
 * can be multiplied as one; a large one has a piece of its own. */
#include <math.h>
#include <stdlib.h>

#include "kernels/cuda/a_linear.h"
#include "kernels/cuda/cuda_linear.h"
#include "kernels/cuda/pack.h"
#include "kernels/pool.h"

#define ALIGN_BYTES ((size_t)256)
#define PIECE_MIN   ((size_t)32 << 20)
#define PIECE_MAX   ((size_t)256 << 20)
#define ALONE_BYTES ((size_t)64 << 20) /* from here on a piece of its own */
#define PACK_BYTES  ((size_t)16 << 20) /* packed at once */

enum {
    PACK_THREADS = 8,
    PACK_SHARES = 64, /* of what is packed at once */
};

/* --- where they lie --------------------------------------------------------
 */

static struct cuda_piece *piece_new(struct cuda *d, size_t bytes)
{
    struct cuda_piece *p = calloc(1, sizeof(*p));

    if (!p)
        return NULL;
    p->p = cuda_alloc(d, bytes);
    p->bytes = bytes;
    if (p->p == 0) {
        free(p);
        return NULL;
    }
    return p;
}

static void piece_free(struct cuda *d, struct cuda_piece *p)
{
    cuda_free(d, p->p);
    free(p);
}

/* A piece with room for <bytes>; NULL without memory. */
static struct cuda_piece *piece_for(struct cuda *d, size_t bytes)
{
    struct cuda_linear *l = d->linear;
    struct cuda_piece *p = l->piece;
    size_t size = l->loaded < PIECE_MIN   ? PIECE_MIN
                  : l->loaded > PIECE_MAX ? PIECE_MAX
                                          : l->loaded;

    if (p && p->bytes - p->used >= bytes)
        return p;
    if (bytes >= ALONE_BYTES)
        return piece_new(d, bytes);
    p = piece_new(d, size > bytes ? size : bytes);
    if (!p)
        return piece_new(d, bytes);
    if (l->piece && l->piece->live == 0)
        piece_free(d, l->piece);
    l->piece = p;
    return p;
}

void cuda_weight_free(struct krn_ctx *c, struct krn_weight *w)
{
    struct cuda_piece *p = w->piece;

    if (--p->live == 0 && (!c->cuda->linear || p != c->cuda->linear->piece))
        piece_free(c->cuda, p);
    free(w);
}

/* Room to write the largest matrix of tiles as numbers, or a part of it. Taken
 * as weights are loaded, so that no step has to. */
static enum krn_status wide_room(struct cuda *d, const struct krn_weight *w)
{
    struct cuda_linear *l = d->linear;
    size_t bytes = (w->n_out + 7) / 8 * 8 * w->n_in * 2;

    if (!pack_is_tiles(w->dtype))
        return KRN_OK;
    bytes = bytes < LINEAR_WIDE_BYTES ? bytes : LINEAR_WIDE_BYTES;
    if (bytes <= l->wide_bytes)
        return KRN_OK;
    cuda_free(d, l->wide);
    l->wide_bytes = 0;
    l->wide = cuda_alloc(d, bytes);
    if (l->wide == 0)
        return d->dead ? KRN_DEVICE : KRN_NOMEM;
    l->wide_bytes = bytes;
    return KRN_OK;
}

/* A matrix of type <t> whose numbers are not there yet. */
static enum krn_status weight_new(struct cuda *d, enum krn_dtype t,
                                  size_t n_out, size_t n_in,
                                  struct krn_weight **out)
{
    enum krn_dtype kept =
        d->fp8 && pack_fits_fp8(t, n_in) ? KRN_FP8 : pack_kept(t, d->act);
    unsigned unit_rows = pack_unit_rows(kept);
    size_t unit_bytes = pack_unit_bytes(kept, n_in);
    size_t units = (n_out + unit_rows - 1) / unit_rows;
    struct krn_weight *w;
    enum krn_status st;
    size_t room;

    if (n_out > UINT32_MAX / 2 || n_in > UINT32_MAX / 16 ||
        units > SIZE_MAX / 2 / unit_bytes)
        return KRN_NOMEM;
    w = calloc(1, sizeof(*w));
    if (!w)
        return KRN_NOMEM;
    w->dtype = kept;
    w->n_out = n_out;
    w->n_in = n_in;
    w->unit_bytes = unit_bytes;
    w->bytes = units * unit_bytes;
    room = (w->bytes + ALIGN_BYTES - 1) / ALIGN_BYTES * ALIGN_BYTES;
    st = wide_room(d, w);
    w->piece = st == KRN_OK ? piece_for(d, room) : NULL;
    if (!w->piece) {
        free(w);
        return d->dead ? KRN_DEVICE : st != KRN_OK ? st : KRN_NOMEM;
    }
    w->data = (uint8_t *)(uintptr_t)(w->piece->p + w->piece->used);
    w->piece->used += room;
    w->piece->live++;
    d->linear->loaded += room;
    if (kept == KRN_FP8 && !d->has_fp8) {
        d->has_fp8 = true;
        cuda_numerics_note(d);
    }
    *out = w;
    return KRN_OK;
}

/* --- filling them -----------------------------------------------------------
 */

/* Packing some units of a matrix, in shares. */
struct packing {
    enum krn_dtype t;
    const struct krn_weight *w;
    const void *rows;
    size_t from, n; /* units */
    size_t share;   /* of an item */
    uint8_t *out;   /* (n units) */
};

static void pack_share(void *arg, unsigned item, unsigned worker)
{
    const struct packing *p = arg;
    const struct krn_weight *w = p->w;
    size_t at = item * p->share;
    size_t n = p->n - at < p->share ? p->n - at : p->share;

    (void)worker;
    pack_units(p->t, w->dtype, w->n_out, w->n_in, p->rows, p->from + at, n,
               p->out + at * w->unit_bytes);
}

/* Pack units p->from .. p->from + p->n - 1, by the threads of <pool>, which may
 * be NULL. */
static void pack_all(struct krn_pool *pool, struct packing *p)
{
    p->share = pool ? (p->n + PACK_SHARES - 1) / PACK_SHARES : p->n;
    if (pool)
        pool_run(pool, pack_share, p,
                 (unsigned)((p->n + p->share - 1) / p->share));
    else
        pack_share(p, 0, 0);
}

/* Pack and upload <w> a buffer at a time. */
static enum krn_status packed_put(struct cuda *d, enum krn_dtype t,
                                  const struct krn_weight *w, const void *rows)
{
    unsigned unit_rows = pack_unit_rows(w->dtype);
    size_t units = (w->n_out + unit_rows - 1) / unit_rows;
    size_t once = PACK_BYTES / w->unit_bytes;
    CUdeviceptr to = (CUdeviceptr)(uintptr_t)w->data;
    struct packing p = {.t = t, .w = w, .rows = rows};
    struct krn_pool *pool = NULL;
    enum krn_status st = KRN_OK;

    once = once > units ? units : once > 0 ? once : 1;
    p.out = malloc(once * w->unit_bytes);
    if (!p.out)
        return KRN_NOMEM;
    if (w->bytes >= PACK_BYTES / 4 &&
        pool_open(PACK_THREADS, 0, false, &pool) != KRN_OK)
        pool = NULL; /* slower, then */
    for (; st == KRN_OK && p.from < units; p.from += p.n) {
        p.n = units - p.from < once ? units - p.from : once;
        pack_all(pool, &p);
        st = cuda_put(d, to + p.from * w->unit_bytes, p.out,
                      p.n * w->unit_bytes);
    }
    pool_close(pool);
    free(p.out);
    return st;
}

enum krn_status cuda_weight_load(struct krn_ctx *c, enum krn_dtype t,
                                 size_t n_out, size_t n_in, const void *rows,
                                 struct krn_weight **out)
{
    struct cuda *d = c->cuda;
    struct krn_weight *w;
    enum krn_status st = cuda_enter(d);

    if (st == KRN_OK)
        st = weight_new(d, t, n_out, n_in, &w);
    if (st != KRN_OK)
        return st;
    if (w->dtype == t && !pack_is_tiles(t))
        st = cuda_put(d, (CUdeviceptr)(uintptr_t)w->data, rows, w->bytes);
    else
        st = packed_put(d, t, w, rows);
    if (st != KRN_OK) {
        cuda_weight_free(c, w);
        return st;
    }
    *out = w;
    return KRN_OK;
}

enum krn_status cuda_weight_random(struct krn_ctx *c, enum krn_dtype t,
                                   size_t n_out, size_t n_in, uint64_t seed,
                                   struct krn_weight **out)
{
    struct cuda *d = c->cuda;
    struct krn_weight *w;
    enum krn_status st = cuda_enter(d);
    struct tg_random a = {
        .seed = seed,
        .n_out = (uint32_t)n_out,
        .k = (uint32_t)n_in,
        .scale = 1.F / sqrtf((float)n_in),
    };

    if (st == KRN_OK)
        st = weight_new(d, t, n_out, n_in, &w);
    if (st != KRN_OK)
        return st;
    a.w = w->data;
    a.w_type = (uint32_t)w->dtype;
    if (pack_is_tiles(w->dtype)) {
        struct cuda_grid grid = {(unsigned)((n_out + 7) / 8),
                                 (unsigned)((n_in + 255) / 256), 1};

        st = cuda_launch(d,
                         w->dtype == KRN_FP8 ? d->linear->random_fp8
                                             : d->linear->random_tiles,
                         grid, 256, 0, &a);
    } else {
        struct cuda_grid grid = {
            (unsigned)((n_out * ((n_in + 7) / 8) + 255) / 256), 1, 1};

        st = cuda_launch(d, d->linear->random_rows, grid, 256, 0, &a);
    }
    if (st == KRN_OK) /* products read weights before their turn */
        st = cuda_check(d, d->drv->stream_sync(d->compute), "making weights");
    if (st != KRN_OK) {
        cuda_weight_free(c, w);
        return st;
    }
    *out = w;
    return KRN_OK;
}
