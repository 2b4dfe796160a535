/* krn_priv.h - What a context is and how a backend plugs into it. Only kernels/
 * includes this. A backend is two tables of functions: one of what deals with
 * weights, one of what deals with rows of activations. */
#ifndef TG_KERNELS_KRN_PRIV_H
#define TG_KERNELS_KRN_PRIV_H

#include <stddef.h>
#include <stdint.h>

#include "kernels/krn.h"
#include "kernels/pool.h"

/* Instruction sets, each one including those before it. */
enum krn_isa {
    KRN_ISA_SCALAR = 0, /* portable C */
    KRN_ISA_AVX2,       /* AVX2, FMA and F16C */
    KRN_ISA_AVX512,     /* AVX-512 F, BW, DQ, VL and VNNI */
};

/* Buffers of a context that grow and stay; each user has its own. */
enum krn_slot {
    KRN_SLOT_LINEAR = 0, /* packed rows of krn_linear() */
    KRN_SLOT_ROWS,       /* row-wise operations */
    KRN_SLOT_ATTEND,     /* attention */
    KRN_SLOT_STEP,       /* what is computed before it is added */
    KRN_SLOT_COUNT
};

/* Most products of one krn_step_linear(). */
#define KRN_PRODS_MAX 3

struct cuda_piece;

/* A matrix as its backend has packed it. */
struct krn_weight {
    enum krn_dtype dtype;
    size_t n_out;
    size_t n_in;
    size_t unit_bytes;       /* from one row (ref) or panel (cpu) to the next */
    size_t bytes;            /* of all */
    uint8_t *data;           /* aligned to 64 */
    struct krn_chunk *chunk; /* where data lies */

    /* Of "cuda": dtype is the type as kept, data an address of the device. */
    struct cuda_piece *piece; /* where data lies */
};

/* What deals with weights. Arguments have been checked by krn.c: shapes fit,
 * sizes are not 0, pointers are there. */
struct krn_mat_ops {
    /* Bytes from one unit to the next, and units, of a matrix. */
    void (*layout)(enum krn_dtype t, size_t n_out, size_t n_in,
                   size_t *unit_bytes_out, size_t *units_out);
    /* Fill w->data from rows as a file has them. */
    void (*pack)(struct krn_ctx *c, const struct krn_weight *w,
                 const void *rows);
    enum krn_status (*linear)(struct krn_ctx *c, const float *x, size_t ldx,
                              unsigned m, unsigned n,
                              const struct krn_out *outs);
    /* y (n_in) = row <row>. */
    void (*row)(const struct krn_weight *w, size_t row, float *y);
};

/* What deals with rows of activations: as the functions of krn.h. */
struct krn_row_ops {
    enum krn_status (*rms_norm)(struct krn_ctx *c, float *y, size_t ldy,
                                const float *x, size_t ldx, const float *gain,
                                unsigned m, unsigned n, float eps);
    enum krn_status (*add)(struct krn_ctx *c, float *y, const float *x,
                           size_t n);
    /* As krn_silu_mul(), of <m> rows of <n>: those of y are <ldy> floats apart,
     * those of gate and up <ldx>. */
    enum krn_status (*silu_mul)(struct krn_ctx *c, float *y, size_t ldy,
                                const float *gate, const float *up, size_t ldx,
                                unsigned m, size_t n);
    enum krn_status (*rope)(struct krn_ctx *c, float *v, size_t ld, unsigned m,
                            unsigned n_head, unsigned d_head, unsigned n_rot,
                            const float *cs, bool halves);
    enum krn_status (*kv_write)(struct krn_ctx *c, const struct krn_kv *kv,
                                unsigned layer, const struct krn_rows *rows,
                                const float *k, const float *v, size_t ld);
    enum krn_status (*attend)(struct krn_ctx *c, const struct krn_kv *kv,
                              unsigned layer, const struct krn_rows *rows,
                              const float *q, size_t ldq, unsigned n_head,
                              float scale, float *out, size_t ldo);
};

/* What a backend is beside those two: memory, weights, and the operations of a
 * step, as the functions of krn.h of the same names. Arguments have been
 * checked by krn_step.c as far as the host can. */
struct krn_dev_ops {
    void (*close)(struct krn_ctx *c);
    enum krn_status (*reset)(struct krn_ctx *c);
    void *(*alloc)(struct krn_ctx *c, size_t bytes);
    void (*release)(struct krn_ctx *c, void *p);
    enum krn_status (*put)(struct krn_ctx *c, void *dst, const void *host,
                           size_t bytes);
    enum krn_status (*get)(struct krn_ctx *c, void *host, const void *src,
                           size_t bytes);
    enum krn_status (*sync)(struct krn_ctx *c);
    void (*memory)(const struct krn_ctx *c, uint64_t *free_out,
                   uint64_t *all_out);
    enum krn_status (*act_use)(struct krn_ctx *c, enum krn_dtype t);
    enum krn_status (*weight_load)(struct krn_ctx *c, enum krn_dtype t,
                                   size_t n_out, size_t n_in, const void *rows,
                                   struct krn_weight **out);
    /* May be NULL. */
    enum krn_status (*weight_random)(struct krn_ctx *c, enum krn_dtype t,
                                     size_t n_out, size_t n_in, uint64_t seed,
                                     struct krn_weight **out);
    void (*weight_free)(struct krn_ctx *c, struct krn_weight *w);
    unsigned (*step_rows)(const struct krn_ctx *c, unsigned most);
    enum krn_status (*step_begin)(struct krn_ctx *c, const struct krn_step *s,
                                  struct krn_pass *out);
    /* c->stage tells whether the step is to be queued or, at KRN_FAILED, to be
     * forgotten. */
    enum krn_status (*step_end)(struct krn_ctx *c);
    enum krn_status (*embed)(struct krn_ctx *c, float *x,
                             const struct krn_weight *w);
    enum krn_status (*turns)(struct krn_ctx *c, enum krn_set set, float *cs,
                             const double *freq, unsigned n_rot, double size);
    enum krn_status (*norm)(struct krn_ctx *c, void *y, size_t ldy, bool f32,
                            const float *x, size_t ldx, const float *gain,
                            unsigned m, unsigned n, float eps);
    enum krn_status (*take)(struct krn_ctx *c, float *y, const float *x,
                            unsigned n);
    enum krn_status (*linear)(struct krn_ctx *c, const void *x, size_t ldx,
                              unsigned m, unsigned n,
                              const struct krn_prod *prods);
    enum krn_status (*glu)(struct krn_ctx *c, const void *x, size_t ldx,
                           unsigned m, const struct krn_weight *gate,
                           const struct krn_weight *up, void *y, size_t ldy);
    enum krn_status (*heads)(struct krn_ctx *c, enum krn_set set,
                             unsigned layer, const struct krn_heads *h);
    enum krn_status (*attend)(struct krn_ctx *c, enum krn_set set,
                              unsigned layer, const void *q, size_t ldq,
                              unsigned n_head, float scale, void *out,
                              size_t ldo);
    enum krn_status (*draw)(struct krn_ctx *c, float *logits, size_t ld,
                            unsigned n_vocab, unsigned n,
                            const struct krn_draw *draws,
                            struct krn_drawn *out); /* NULL: unsupported */
    void *(*host_alloc)(struct krn_ctx *c, size_t bytes);
    void (*host_free)(struct krn_ctx *c, void *p);
    enum krn_status (*kv_copy)(struct krn_ctx *c, const struct krn_kv *kv,
                               unsigned to, unsigned from);
    enum krn_status (*page_out)(struct krn_ctx *c, const struct krn_kv *kv,
                                unsigned page, void *host,
                                uint64_t *ticket_out);
    enum krn_status (*page_in)(struct krn_ctx *c, const struct krn_kv *kv,
                               unsigned page, const void *host,
                               uint64_t *ticket_out);
    bool (*page_done)(struct krn_ctx *c, uint64_t ticket, bool *failed);
};

/* The host's: for "cpu" and "ref". */
extern const struct krn_dev_ops krn_host_ops;

/* The host's krn_weight_random(). */
enum krn_status krn_host_weight_random(struct krn_ctx *c, enum krn_dtype t,
                                       size_t n_out, size_t n_in, uint64_t seed,
                                       struct krn_weight **out);

/* The best set that this processor has and this program was built with. */
enum krn_isa krn_isa_best(void);

/* The tables for an instruction set; never NULL. */
const struct krn_mat_ops *krn_mat_ops_of(enum krn_isa isa);
const struct krn_row_ops *krn_row_ops_of(enum krn_isa isa);

struct cuda;

/* Where a context is between two steps. */
enum krn_stage {
    KRN_IDLE = 0, /* no step is begun */
    KRN_BEGUN,
    KRN_FAILED, /* begun, and an operation failed: krn_step_end() forgets it */
};

/* A context. */
struct krn_ctx {
    const struct krn_dev_ops *dev;
    struct cuda *cuda;    /* owned; NULL on the host; kernels/cuda/cuda.h */
    struct krn_step step; /* between krn_step_begin() and krn_step_end() */
    struct krn_pass pass; /* likewise */
    enum krn_stage stage;
    enum krn_dtype act; /* KRN_F32 on the host */
    unsigned page_tokens;
    /* What follows is of the host's backends. */
    const struct krn_mat_ops *mat;
    const struct krn_row_ops *row;
    struct krn_pool *pool; /* owned */
    enum krn_isa isa;
    struct krn_chunk *chunk;    /* where the next small weight goes */
    void *slot[KRN_SLOT_COUNT]; /* owned */
    size_t slot_bytes[KRN_SLOT_COUNT];
    char describe[64];
};

/* Whether <kv> is a pool of a shape that contexts like <c> have. */
bool krn_kv_is_sound(const struct krn_ctx *c, const struct krn_kv *kv);

/* Whether every row has a page for its own position. */
bool krn_rows_are_sound(const struct krn_kv *kv, const struct krn_rows *rows);

/* Whether every position that a row of sound rows sees has a page: they are
 * looked at once a sequence, up to its last row. If <ascending>, also whether
 * the rows of a sequence have ascending positions. KRN_BAD_SHAPE, KRN_NOMEM. */
enum krn_status krn_seen_is_sound(struct krn_ctx *c, const struct krn_kv *kv,
                                  const struct krn_rows *rows, bool ascending);

/* At least <bytes> of host memory for scratch in <slot>, aligned to 64; what
 * was in it before is lost when it grows. NULL without memory. Owned by the
 * context. */
void *krn_scratch(struct krn_ctx *c, enum krn_slot slot, size_t bytes);

/* Memory for the data of <w>, w->bytes of it, in large pages where the system
 * has them; false without memory. */
bool krn_weight_mem_get(struct krn_ctx *c, struct krn_weight *w);
void krn_weight_mem_put(struct krn_ctx *c, struct krn_weight *w);

/* Drop what krn_weight_mem_get() keeps for the next weight. */
void krn_weight_mem_close(struct krn_ctx *c);

#endif
