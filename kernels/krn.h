/* krn.h - The engine's device interface: memory, weights and the operations of
 * a transformer, the same for every backend. The header is complete: it needs
 * nothing of src/. Backends: "cpu" (run-time dispatch over instruction sets)
 * and "ref" (portable scalar C, the oracle of the others).
 *
 * One thread drives a context; operations are queued in order and may be
 * asynchronous: inputs must live, and outputs may be read on the host, only
 * after krn_sync(). Pointers to numbers are addresses of the context's memory
 * (krn_alloc); for "cpu" and "ref" that is plain host memory.
 *
 * Numerics of "cpu" and "ref". Every element of every output is computed in an
 * order of its own that depends on its row alone: never on how many rows a call
 * has, on which place a row has among them, on how a prompt is cut into calls,
 * or on the number of threads. "cpu" and "ref" agree bit for bit. NaN and
 * infinity in weights pass through as arithmetic gives them. What "cuda"
 * answers lies within the tolerances of kernels/cuda/tolerance.h of what exact
 * arithmetic gives for the same rounded inputs. */
#ifndef TG_KRN_H
#define TG_KRN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Element types. Blocks are those of GGUF: Q8_0 and Q4_0 have 32 elements a
 * block, the K types 256. */
enum krn_dtype {
    KRN_F32 = 0,
    KRN_F16,
    KRN_BF16,
    KRN_Q8_0,
    KRN_Q4_0,
    KRN_Q4_K,
    KRN_Q5_K,
    KRN_Q6_K,
    KRN_DTYPE_COUNT,

    /* Not a file's: what krn_weights_fp8() makes of floats. */
    KRN_FP8 = KRN_DTYPE_COUNT + 1,
    KRN_KEPT_COUNT
};

/* What an operation answers; KRN_OK is 0. */
enum krn_status {
    KRN_OK = 0,
    KRN_NOMEM,       /* no memory on the device or the host */
    KRN_BAD_SHAPE,   /* shapes do not fit; nothing was done */
    KRN_UNSUPPORTED, /* this backend has no such type or feature */
    KRN_DEVICE,      /* the device failed; the context is of no use any more */
};

#define KRN_MUST_CHECK __attribute__((warn_unused_result))

/* Tokens of a page of keys and values on the CPU, and the most of any. */
#define KRN_PAGE_TOKENS     16
#define KRN_PAGE_TOKENS_MAX 64

struct krn_ctx;
struct krn_weight;

/* How to open a context. Zeroed members take the defaults. */
struct krn_opts {
    const char *device; /* "cpu" (NULL), "ref", "cuda:N" */
    unsigned threads;   /* 0 = one for each core of the affinity mask */
    int nice;           /* added to the niceness of compute threads, 0..19; the
                         * calling thread's own is left alone */
    bool pin;           /* bind each compute thread to one core; the calling
                         * thread is left alone */
    const char *isa;    /* highest instruction set to use: "avx2", "avx512",
                         * "scalar"; NULL = the best that the CPU has */

    /* Of "cuda" alone. */
    const char *blas_dir;   /* folder of libcublasLt.so.N, tried first; NULL =
                             * the usual places */
    const char *blas_plans; /* file that measured ways to compute products are
                             * kept in, rewritten as they grow; NULL = none */
    bool deterministic;     /* no result depends on what else a step has; this
                             * is slower */
    char *why; /* (why_bytes) gets a sentence when opening fails, "what is
                * wrong; what to write"; may be NULL */
    size_t why_bytes;
};

/* Names, bytes and block lengths of a type; "" and 0 when out of range. */
const char *krn_dtype_name(enum krn_dtype t);
size_t krn_dtype_block(enum krn_dtype t); /* elements of a block */
size_t krn_dtype_bytes(enum krn_dtype t); /* bytes of a block */

/* Open a context. A processor without AVX2, FMA and F16C gets scalar code.
 * KRN_UNSUPPORTED: no such device, or the processor lacks the instruction set
 * asked for. KRN_NOMEM: no memory or threads. */
enum krn_status krn_open(const struct krn_opts *o,
                         struct krn_ctx **out) KRN_MUST_CHECK;

/* Whether krn_open() of a device "cuda:N" may succeed, as far as can be told
 * without taking anything of the device. KRN_UNSUPPORTED: it cannot, and
 * o->why tells; KRN_OK for all other devices. */
enum krn_status krn_probe(const struct krn_opts *o) KRN_MUST_CHECK;

/* Free <c> and its threads; memory and weights must be freed before. NULL is
 * fine. */
void krn_close(struct krn_ctx *c);

/* Open the device of <c> anew after it answered KRN_DEVICE. All memory of the
 * device and all weights are lost: free them before, which is harmless then;
 * krn_host_alloc()'s stays, copies of pages under way are over and failed. Once
 * it answers KRN_OK the context is as after krn_open() and krn_act_use().
 * KRN_DEVICE: the device does not come back; KRN_NOMEM. Where nothing failed it
 * does nothing. */
enum krn_status krn_reset(struct krn_ctx *c) KRN_MUST_CHECK;

/* For the log: what the device failed of, or else what keeps it from being as
 * fast as it could be; "" when nothing is wrong. Owned by <c>, until the next
 * call of any function. */
const char *krn_trouble(const struct krn_ctx *c);

/* A name that changes whenever results may change in any bit: part of every
 * key under which keys and values are kept: "cpu-f32-v1", "cuda-f16-v1-sm90".
 * Owned by <c>; krn_act_use() and weights that are loaded may change it. */
const char *krn_numerics(const struct krn_ctx *c);

/* What the context runs on, for people: "cpu avx2 2 threads". Owned by <c>. */
const char *krn_describe(const struct krn_ctx *c);

/* Tokens of a page of keys and values: KRN_PAGE_TOKENS, on "cuda" 64. */
unsigned krn_page_tokens(const struct krn_ctx *c);

/* Whether krn_alloc() gives memory that the host may read and write. */
bool krn_is_host(const struct krn_ctx *c);

/* Bytes of device memory that are free, and all there is; for "cpu" and "ref"
 * both are 0: ask the system. */
void krn_memory(const struct krn_ctx *c, uint64_t *free_out, uint64_t *all_out);

/* Let activations be of the type that suits weights of <t>, most of a model:
 * F32 for F32, BF16 for BF16, F16 for all others; always F32 on "cpu" and
 * "ref". Before any operation. KRN_UNSUPPORTED: there are no such weights. */
enum krn_status krn_act_use(struct krn_ctx *c, enum krn_dtype t) KRN_MUST_CHECK;

/* Whether matrices of floats that are loaded from here on are kept in 8 bits:
 * e4m3, rounded to nearest, with an F32 scale a row, its largest element / 448.
 * What a product gives is exact for the elements as kept. Others stay as they
 * are: quantised ones, and those whose rows are no multiple of 8. A matrix that
 * is kept so is none for krn_step_embed(). Off at first, and after
 * krn_act_use(). KRN_UNSUPPORTED: to turn on where activations are not F16, as
 * on "cpu" and "ref". */
enum krn_status krn_weights_fp8(struct krn_ctx *c, bool on) KRN_MUST_CHECK;

/* The type of activations, and bytes of one. */
enum krn_dtype krn_act(const struct krn_ctx *c);

/* Compute threads, the calling one included. */
unsigned krn_threads(const struct krn_ctx *c);

/* --- memory ------------------------------------------------------------- */

/* <bytes> of device memory, aligned to 64, not zeroed; NULL without memory.
 * Pages are touched only when written, so that a large pool costs what is
 * used of it. */
void *krn_alloc(struct krn_ctx *c, size_t bytes);

/* Free what krn_alloc() gave; NULL is fine. */
void krn_free(struct krn_ctx *c, void *p);

/* Copy <bytes> from the host to the device, or back; done on return. */
enum krn_status krn_put(struct krn_ctx *c, void *dst, const void *host,
                        size_t bytes) KRN_MUST_CHECK;
enum krn_status krn_get(struct krn_ctx *c, void *host, const void *src,
                        size_t bytes) KRN_MUST_CHECK;

/* Wait until all operations are done. */
enum krn_status krn_sync(struct krn_ctx *c) KRN_MUST_CHECK;

/* --- weights ------------------------------------------------------------ */

/* Take a matrix of <n_out> rows of <n_in> elements, row after row as the file
 * has them, each row a whole number of blocks; repacked for the device in the
 * same type, so that <rows> may be unmapped afterwards. Uses the compute
 * threads. KRN_BAD_SHAPE: n_in is no whole number of blocks, or a size is 0. */
enum krn_status krn_weight_load(struct krn_ctx *c, enum krn_dtype t,
                                size_t n_out, size_t n_in, const void *rows,
                                struct krn_weight **out) KRN_MUST_CHECK;

/* A matrix of random numbers, made where it lies: row, column and <seed> alone
 * decide an element, the same on every device. Mean 0, deviation about
 * 1 / sqrt(n_in): a product has that of x. For benches: the host's devices take
 * the time of computing each number. Errors as krn_weight_load(). */
enum krn_status krn_weight_random(struct krn_ctx *c, enum krn_dtype t,
                                  size_t n_out, size_t n_in, uint64_t seed,
                                  struct krn_weight **out) KRN_MUST_CHECK;

/* Free <w>; NULL is fine. */
void krn_weight_free(struct krn_ctx *c, struct krn_weight *w);

/* Bytes of device memory that <w> takes. */
size_t krn_weight_bytes(const struct krn_weight *w);

/* --- operations on the host ---------------------------------------------- */

/* Of "cpu" and "ref" alone: the pieces that the operations of a step, below,
 * are made of there. */

/* One product of krn_linear(). */
struct krn_out {
    const struct krn_weight *w; /* (n_out, n_in) */
    const float *bias;          /* (n_out) or NULL; added last */
    float *y;                   /* (m, n_out) */
    size_t ldy;                 /* floats from row to row, >= n_out */
};

/* For each of <n> outs: y = x * w^T + bias, all from one x (m, n_in) with rows
 * <ldx> floats apart. All w have the same n_in. y may not overlap x.
 * Float weights: n_in is cut every 256; in a cut one chain of fused multiply
 * and add in ascending k from +0, for F32 eight chains by k mod 8; cuts are
 * added in ascending order.
 * Q8_0, Q4_0: x is rounded per row and 32-block to int8 with an fp32 scale
 * amax/127; the dot of a block is an exact integer; y = fmaf((float)dot * dw,
 * dx, y) over ascending blocks from +0. K types: see kernels/ref/ref_linear.c.
 * Errors: KRN_BAD_SHAPE, KRN_NOMEM. */
enum krn_status krn_linear(struct krn_ctx *c, const float *x, size_t ldx,
                           unsigned m, unsigned n,
                           const struct krn_out *outs) KRN_MUST_CHECK;

/* y (m, n_in) = the rows <ids> (m, host memory) of <w>, widened to f32 without
 * rounding of other kinds than the type's own. KRN_BAD_SHAPE: an id is not a
 * row. */
enum krn_status krn_embed(struct krn_ctx *c, float *y,
                          const struct krn_weight *w, const int32_t *ids,
                          unsigned m) KRN_MUST_CHECK;

/* The row-wise operations. Where "one chain" is said, a chain of fused multiply
 * and add from +0; everything else rounds once an operation; sqrt and division
 * are correctly rounded. exp is one polynomial, the same everywhere:
 * kernels/ref/ref_rows.c. Where an output is NaN it is NaN everywhere, but
 * which NaN is not said. Errors: KRN_BAD_SHAPE, KRN_NOMEM. */

/* y (m, n) = x / sqrt(mean(x^2) + eps) * gain (n); y may be x. Rows are <ldx>
 * and <ldy> floats apart; n > 0.
 * Order: 32 chains of squares, chain j over the elements i = j mod 32 in
 * ascending order; s[j] += s[j + h] for h = 16, 8, 4, 2, 1; then
 * y = (x * (1 / sqrt(s[0] / n + eps))) * gain. */
enum krn_status krn_rms_norm(struct krn_ctx *c, float *y, size_t ldy,
                             const float *x, size_t ldx, const float *gain,
                             unsigned m, unsigned n, float eps) KRN_MUST_CHECK;

/* y (n) += x (n). */
enum krn_status krn_add(struct krn_ctx *c, float *y, const float *x,
                        size_t n) KRN_MUST_CHECK;

/* y (n) = gate * sigmoid(gate) * up; y may be gate or up.
 * Order: (gate / (1 + exp(-gate))) * up. */
enum krn_status krn_silu_mul(struct krn_ctx *c, float *y, const float *gate,
                             const float *up, size_t n) KRN_MUST_CHECK;

/* Rotate heads in place. v: m rows <ld> floats apart, each n_head heads of
 * d_head. cs: (m, n_rot / 2, 2) cosine and sine of each row's position, scaled
 * already. <halves>: pairs are (i, i + n_rot/2), else (2i, 2i+1). n_rot is
 * even, <= d_head; what is past n_rot stays.
 * Order: (a, b) becomes (fmaf(a, cos, -(b * sin)), fmaf(b, cos, a * sin)). */
enum krn_status krn_rope(struct krn_ctx *c, float *v, size_t ld, unsigned m,
                         unsigned n_head, unsigned d_head, unsigned n_rot,
                         const float *cs, bool halves) KRN_MUST_CHECK;

/* y (m, n) = the rows <idx> (m, host memory) of x, in that order; rows are
 * <ldx> and <ldy> floats apart; y may not overlap x. */
enum krn_status krn_take_rows(struct krn_ctx *c, float *y, size_t ldy,
                              const float *x, size_t ldx, const unsigned *idx,
                              unsigned m, unsigned n) KRN_MUST_CHECK;

/* A pool of pages of keys and values. A page holds page_tokens positions of all
 * layers: [layer][K | V][kv head][...]: on "cpu" and "ref" K as
 * [d_head][token], V as [token][d_head], on "cuda" both as [token][d_head]; a
 * whole page is one run of page_bytes. */
struct krn_kv {
    void *pages;          /* (n_pages, page_bytes), krn_alloc() */
    enum krn_dtype dtype; /* KRN_F32 (not on "cuda"), KRN_F16, KRN_BF16, KRN_FP8
                           * ("cuda" alone: e4m3, times a power of two for each
                           * token, head and of keys and values each) */
    unsigned page_tokens; /* krn_page_tokens(); 0 = KRN_PAGE_TOKENS */
    unsigned n_pages;
    unsigned n_layer;
    unsigned n_kv_head;
    unsigned d_head;
};

/* Bytes of one page of the shape given by <kv>. */
size_t krn_kv_page_bytes(const struct krn_kv *kv);

/* Which token each row of a batch is; host memory. Rows of one sequence have
 * ascending positions but may have other rows between them. */
struct krn_rows {
    unsigned m;           /* rows */
    const int32_t *seq;   /* (m) index of a row's sequence, 0 .. n_seq-1 */
    const int32_t *pos;   /* (m) its absolute position, from 0 */
    unsigned n_seq;       /* sequences */
    const int32_t *table; /* (n_seq, max_pages) page i holds the positions from
                           * i * page_tokens on; unused entries are -1 */
    unsigned max_pages;
};

/* Write keys and values of <rows> into their pages for <layer>, rounded once
 * to the pool's type, to nearest even. k, v: (m, n_kv_head, d_head), rows <ld>
 * floats apart. No two rows may be the same position of the same page.
 * KRN_BAD_SHAPE: a position has no page; nothing was written. */
enum krn_status krn_kv_write(struct krn_ctx *c, const struct krn_kv *kv,
                             unsigned layer, const struct krn_rows *rows,
                             const float *k, const float *v,
                             size_t ld) KRN_MUST_CHECK;

/* Causal attention over the pages: row r sees positions 0 .. pos[r] of its
 * sequence, its own included, which must have been written. q: (m, n_head,
 * d_head), rows <ldq> floats apart; out: (m, n_head, d_head), rows <ldo>
 * apart, may not overlap q. n_head % n_kv_head == 0; head h reads kv head
 * h / (n_head / n_kv_head).
 * Order, for one row and head: a score is one chain over d of q * k, times
 * <scale>; max is the greatest score; e = exp(score - max); p = e * (1 / sum).
 * Over a pool of halves q and p are rounded to halves, too, as machines that
 * multiply halves do. Positions are cut every 256 from 0. In a cut the sum of e
 * is 16 plain sums from +0, sum j over the positions j mod 16 in ascending
 * order, then s[j] += s[j + h] for h = 8, 4, 2, 1; and out[d] is one chain over
 * ascending positions of p * v. The first cut's sum and values are taken, those
 * of later cuts added in ascending order. Positions past pos[r] are never part
 * of it, whatever their page holds.
 * KRN_BAD_SHAPE: a position up to pos[r] has no page; nothing was done. */
enum krn_status krn_attend(struct krn_ctx *c, const struct krn_kv *kv,
                           unsigned layer, const struct krn_rows *rows,
                           const float *q, size_t ldq, unsigned n_head,
                           float scale, float *out, size_t ldo) KRN_MUST_CHECK;

/* Copy whole pages: pool page <from> to pool page <to>. */
enum krn_status krn_kv_copy(struct krn_ctx *c, const struct krn_kv *kv,
                            unsigned to, unsigned from) KRN_MUST_CHECK;

/* --- a step --------------------------------------------------------------- */

/* What a model's pass is made of, on every backend. The numbers of the residual
 * stream, logits, gains, biases and cosines are F32 ("float *"); all others
 * have the context's type of activations, krn_act() ("void *"). On "cpu" and
 * "ref" each is a sequence of the operations above, and as exact. Pointers are
 * device memory where nothing else is said. Errors: KRN_BAD_SHAPE (nothing was
 * queued), KRN_NOMEM, KRN_DEVICE, which may also come later. */

/* The rows of one step. Host memory that lives until krn_step_end(). */
struct krn_step {
    const struct krn_kv *kv;
    struct krn_rows rows;   /* with the pages of all positions up to each row */
    const int32_t *ids;     /* (m) token of each row, 0 .. n_vocab-1 */
    const unsigned *wanted; /* (n_wanted) rows that something comes out of, in
                             * ascending order */
    unsigned n_wanted;
    unsigned n_vocab; /* rows of the embedding */
    unsigned kind;    /* any number: steps of one kind and shape queue the same
                       * operations with the same arguments */
};

/* How a step is to be queued. */
struct krn_pass {
    unsigned m;        /* rows to queue: at least those of the step; those added
                        * are nobody's */
    unsigned n_wanted; /* likewise */
    bool again; /* these operations are known from an earlier step: queue none,
                 * krn_step_end() repeats them */
};

/* Which rows of a step. */
enum krn_set {
    KRN_ALL = 0, /* (pass.m) */
    KRN_WANTED,  /* (pass.n_wanted) */
};

/* Most rows that a step may have, when <most> are asked for: what buffers of
 * rows need room for. */
unsigned krn_step_rows(const struct krn_ctx *c, unsigned most);

/* Begin a step of at least one row; every operation until krn_step_end() is
 * about its rows.
 * KRN_BAD_SHAPE: a position has no page, an id is none, or rows of a sequence
 * are not in ascending order; no step is begun. */
enum krn_status krn_step_begin(struct krn_ctx *c, const struct krn_step *s,
                               struct krn_pass *out) KRN_MUST_CHECK;

/* Queue what was begun. After an error of an operation it forgets the step and
 * answers KRN_OK. Results are there after krn_get() or krn_sync().
 * KRN_UNSUPPORTED, here or from an operation: the device could not record the
 * step, and nothing of it was done; begun again it is queued as it comes. */
enum krn_status krn_step_end(struct krn_ctx *c) KRN_MUST_CHECK;

/* x (m, n_in) = the step's tokens' rows of <w>, widened to f32. */
enum krn_status krn_step_embed(struct krn_ctx *c, float *x,
                               const struct krn_weight *w) KRN_MUST_CHECK;

/* cs (rows of <set>, n_rot / 2, 2) = size times cosine and sine of position *
 * freq[i], in double precision, rounded once. freq (n_rot / 2): device memory
 * of doubles. */
enum krn_status krn_step_turns(struct krn_ctx *c, enum krn_set set, float *cs,
                               const double *freq, unsigned n_rot,
                               double size) KRN_MUST_CHECK;

/* y (m, n) = x / sqrt(mean(x^2) + eps) * gain (n), rows <ldy> and <ldx>
 * elements apart. For <f32> y is F32, else activations. */
enum krn_status krn_step_norm(struct krn_ctx *c, void *y, size_t ldy, bool f32,
                              const float *x, size_t ldx, const float *gain,
                              unsigned m, unsigned n, float eps) KRN_MUST_CHECK;

/* y (wanted rows, n) = those rows of x; rows are <n> floats apart; y may not
 * overlap x. */
enum krn_status krn_step_take(struct krn_ctx *c, float *y, const float *x,
                              unsigned n) KRN_MUST_CHECK;

/* What a product of krn_step_linear() is written as. */
enum krn_as {
    KRN_AS_ACT = 0, /* activations */
    KRN_AS_F32,
    KRN_AS_ADDED, /* F32, added to what y holds */
};

/* One product of krn_step_linear(). Outs whose y lie side by side in the rows
 * of one matrix, and whose weights were loaded one after the other, may be one
 * product on the device. */
struct krn_prod {
    const struct krn_weight *w; /* (n_out, n_in) */
    const float *bias;          /* (n_out) or NULL */
    void *y;                    /* (m, n_out) */
    size_t ldy;                 /* elements from row to row, >= n_out */
    enum krn_as as;
};

/* For each of <n> (1 to 3) prods: y = x * w^T + bias, all from one x (m, n_in)
 * of activations with rows <ldx> elements apart. y may not overlap x. */
enum krn_status krn_step_linear(struct krn_ctx *c, const void *x, size_t ldx,
                                unsigned m, unsigned n,
                                const struct krn_prod *prods) KRN_MUST_CHECK;

/* y (m, n_out) = silu(x * gate^T) * (x * up^T), where gate and up are (n_out,
 * n_in). Rows of y are <ldy> elements apart, and each has room for 2 * n_out
 * of them: what is behind n_out is lost. */
enum krn_status krn_step_glu(struct krn_ctx *c, const void *x, size_t ldx,
                             unsigned m, const struct krn_weight *gate,
                             const struct krn_weight *up, void *y,
                             size_t ldy) KRN_MUST_CHECK;

/* Heads of queries, keys and values as krn_step_linear() left them. */
struct krn_heads {
    void *q;              /* (rows, n_head, d_head), or NULL: none */
    void *k, *v;          /* (rows, n_kv_head, d_head), or NULL: none */
    size_t ldq, ldk, ldv; /* elements from row to row */
    unsigned n_head;      /* of q */
    const float *q_norm;  /* (d_head) or NULL: gains of a norm of each head */
    const float *k_norm;  /* likewise */
    float eps;            /* of those */
    const float *cs;      /* krn_step_turns() of the same rows */
    unsigned n_rot;       /* even, <= d_head */
    bool halves;          /* pairs are (i, i + n_rot/2), else (2i, 2i+1) */
};

/* Norm the heads of q and k where there are gains, turn them, leave q in its
 * place and write k and v to the pages of <layer>, rounded once. k and v are
 * lost. */
enum krn_status krn_step_heads(struct krn_ctx *c, enum krn_set set,
                               unsigned layer,
                               const struct krn_heads *h) KRN_MUST_CHECK;

/* Causal attention as krn_attend(), of the rows of <set>: out (rows, n_head,
 * d_head), rows <ldo> elements apart, may not overlap q. */
enum krn_status krn_step_attend(struct krn_ctx *c, enum krn_set set,
                                unsigned layer, const void *q, size_t ldq,
                                unsigned n_head, float scale, void *out,
                                size_t ldo) KRN_MUST_CHECK;

/* --- from logits to tokens ------------------------------------------------ */

/* Most of the likeliest tokens that are told, and the log probability of what
 * is impossible. */
#define KRN_TOP_MAX      20
#define KRN_LOGPROB_NONE (-9999.0F)

/* What is done to the logit of one token before a draw. */
struct krn_edit {
    int32_t id;           /* 0 .. n_vocab-1 */
    float bias;           /* added */
    uint32_t n_generated; /* times the token was generated */
    bool seen;            /* it stands in the prompt or was generated */
    bool banned;          /* forbidden; bias does not matter */
};

/* A draw from one row of logits, or what is told about it. What is done and in
 * which order stands in src/engine/sample.h: bias, penalties, mask,
 * temperature, top_k, top_p, min_p, a draw, here among what is left in the
 * order of ids. */
struct krn_draw {
    unsigned row;      /* of the logits; of one draw at most */
    int32_t given;     /* -1; or no token is drawn: this one is told of */
    float temperature; /* below 1e-5: the largest logit */
    int top_k;         /* 0 = off */
    float top_p;       /* 1 = off */
    float min_p;       /* 0 = off */
    float repetition_penalty; /* 1 = off */
    float frequency_penalty;  /* 0 = off */
    float presence_penalty;   /* 0 = off */
    double u;                 /* in [0, 1): what is drawn with */
    size_t n_edits;
    const struct krn_edit *edits; /* (n_edits), one a token at most */
    const uint64_t *mask; /* bit id % 64 of word id / 64 clear = forbidden, as
                           * many words as n_vocab bits take; NULL = none */
    bool logprobs;        /* tell log probabilities */
    unsigned n_top;       /* with them: how many of the likeliest, 0 ..
                           * KRN_TOP_MAX */
};

/* What became of it. Log probabilities are of the logits before any change,
 * never below KRN_LOGPROB_NONE. */
struct krn_drawn {
    int32_t id;     /* <given>, or the token; -1: none is allowed */
    float logprob;  /* its */
    unsigned n_top; /* tokens that a logit can be ranked of, n_top at most */
    struct {
        int32_t id;
        float logprob;
    } top[KRN_TOP_MAX]; /* the likeliest first, equals by lowest id */
};

/* Do <n> draws from <logits> (rows, n_vocab), rows <ld> floats apart, which are
 * lost; <out> (n) is there on return. Outside of a step, behind all that is
 * queued. Edits, masks, draws and out are host memory. KRN_UNSUPPORTED: "cpu"
 * and "ref" leave it to the host. KRN_BAD_SHAPE: an id is none, n_vocab is 0 or
 * 2^21 and more. */
enum krn_status krn_step_draw(struct krn_ctx *c, float *logits, size_t ld,
                              unsigned n_vocab, unsigned n,
                              const struct krn_draw *draws,
                              struct krn_drawn *out) KRN_MUST_CHECK;

/* --- pages between device and host --------------------------------------- */

/* Host memory that copies of pages go through quickly, aligned to 4096; NULL
 * without memory. */
void *krn_host_alloc(struct krn_ctx *c, size_t bytes);
void krn_host_free(struct krn_ctx *c, void *p);

/* Queue a copy of page <page> to <host>, or from it, beside the steps: <host>
 * (page_bytes, krn_host_alloc()) must live until *ticket_out is over. A copy
 * out sees what was queued before it; the page may not be written until it is
 * over. Steps queued after a copy in see the page once it is over, and must not
 * use it before. */
enum krn_status krn_page_out(struct krn_ctx *c, const struct krn_kv *kv,
                             unsigned page, void *host,
                             uint64_t *ticket_out) KRN_MUST_CHECK;
enum krn_status krn_page_in(struct krn_ctx *c, const struct krn_kv *kv,
                            unsigned page, const void *host,
                            uint64_t *ticket_out) KRN_MUST_CHECK;

/* Whether the copy of <ticket> is over; *failed is set when the device failed.
 * Tickets of one direction end in order. */
bool krn_page_done(struct krn_ctx *c, uint64_t ticket, bool *failed);

#endif
