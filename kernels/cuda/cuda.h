/* cuda.h - The context of one NVIDIA GPU, as the files of kernels/cuda/ share
 * it. All host code of this folder is plain C over two tables of functions that
 * are loaded at run time: the driver's (drv.h) and cuBLASLt's (blas.h). No
 * device state lives outside of a struct cuda. One thread drives a context.
 *
 * From the environment, for measuring and for finding faults:
 *   TOLLGATE_CUDA_DRIVER    the driver's file, instead of libcuda.so.1
 *   TOLLGATE_CUDA_RECORD=0  no step is recorded
 *   TOLLGATE_CUDA_PDL=0     no kernel begins before its predecessor ended
 *
 *   drv.c          loading the driver
 *   cuda.c         errors, launching, the table
 *   cuda_open.c    opening, closing, opening anew
 *   cuda_mem.c     memory, between host and device
 *   cuda_weight.c  weights: packing, uploading, laying side by side
 *   cuda_step.c    recorded steps
 *   cuda_inputs.c  a step's inputs
 *   cuda_copy.c    pages between device and host
 *   cuda_host.c    memory of the host
 *   cuda_rows.c    what deals with rows         (k_rows.cu, k_heads.cu)
 *   cuda_linear.c  products                     (k_gem*.cu, blas.c)
 *   cuda_attend.c  attention                    (k_decode.cu, k_prefill.cu)
 *   cuda_plan.c    attention: cutting rows into items of work
 *   cuda_sample.c  from logits to tokens        (k_sample.cu) */
#ifndef TG_KERNELS_CUDA_CUDA_H
#define TG_KERNELS_CUDA_CUDA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/cuda/drv.h"
#include "kernels/krn.h"
#include "kernels/krn_priv.h"

struct blas;
struct cuda_copy;
struct cuda_hosts;
struct cuda_linear;
struct cuda_attend;
struct cuda_rows;
struct cuda_record;
struct cuda_sample;

/* Tokens of a page on the device. */
#define CUDA_PAGE_TOKENS 64

/* The rows of a step on the device, by enum krn_set. Addresses stay the same
 * from step to step of one shape: recorded graphs hold them. */
struct cuda_set {
    unsigned m;       /* rows queued; those added have pos -1 and seq 0 */
    CUdeviceptr seq;  /* int32 (m) */
    CUdeviceptr pos;  /* int32 (m) absolute position; -1 = nobody's row: nothing
                       * is written for it, and what comes out is not read */
    CUdeviceptr plan; /* of attention: see cuda_attend.h */
};

/* A step's inputs on the device. */
struct cuda_inputs {
    CUdeviceptr ids;    /* int32 (m); 0 for nobody's rows */
    CUdeviceptr wanted; /* uint32 (n_wanted); 0 for nobody's rows */
    CUdeviceptr table;  /* int32 (n_seq, max_pages) */
    unsigned n_seq, max_pages;
    struct cuda_set set[2];
};

/* Two buffers of the host that copies go through quickly; while one is copied
 * the other is filled. */
struct cuda_stage {
    uint8_t *host[2]; /* pinned, CUDA_STAGE_BYTES each, owned */
    CUevent done[2];  /* the copy of each is over */
    unsigned turn;    /* the one to use next */
};
#define CUDA_STAGE_BYTES ((size_t)8 << 20)

/* A GPU in use. */
struct cuda {
    struct drv *drv;   /* owned */
    struct blas *blas; /* owned */
    CUdevice device;
    CUcontext ctx;     /* of its own, owned: a fault stays in it */
    CUmodule *modules; /* (n_modules) one of each image; owned */
    unsigned n_modules;
    CUstream compute, copy_in, copy_out; /* non-blocking */
    unsigned n_sm;                       /* multiprocessors */
    unsigned cc;                         /* compute capability, 90 for 9.0 */
    size_t smem_max;    /* most dynamic shared memory of a block, bytes */
    bool pdl;           /* programmatic dependent launch may be used */
    bool recording;     /* the compute stream is being captured */
    bool record_failed; /* what is being captured cannot be, see record_why */
    bool record_off;    /* steps are not recorded any more */
    char record_why[128];
    bool deterministic; /* see krn_opts, as those: */
    char *blas_dir;     /* owned; NULL = the usual places */
    char *blas_plans;   /* owned; NULL = none */
    bool dead;          /* the context failed: everything answers KRN_DEVICE */
    char died_of[128];  /* what it failed of, for the log */
    char blas_why[192]; /* why there is no blas; "" when there is */
    enum krn_dtype act; /* KRN_F32, KRN_F16, KRN_BF16 */
    bool fp8;           /* floats that are loaded become KRN_FP8 */
    bool has_fp8;       /* some did */
    char numerics[40];  /* cuda_numerics() */
    struct cuda_stage stage;
    struct cuda_inputs in;
    uint64_t
        copies_over[2]; /* of pages, by direction, before the last reset: */
    uint64_t copies_lost[2]; /* those after over and up to lost have failed */

    /* Each family's own, owned: made by its cuda_*_open(). */
    struct cuda_rows *rows;
    struct cuda_linear *linear;
    struct cuda_attend *attend;
    struct cuda_record *record;
    struct cuda_copy *copy;
    struct cuda_hosts *hosts; /* stays when the device is reset */
    struct cuda_sample *sample;
};

/* The table of a CUDA context. */
extern const struct krn_dev_ops cuda_ops;

/* --- cuda_open.c --------------------------------------------------------- */

/* Open device <o->device> ("cuda:N") into <c>, whose cuda is then set.
 * KRN_UNSUPPORTED: no driver, no such device, a device that is too old, or
 * built without CUDA; KRN_NOMEM. A sentence goes to <o->why>. */
enum krn_status cuda_open(struct krn_ctx *c, const struct krn_opts *o);

/* Whether there is device <o->device>, a driver for it and kernels, as far as
 * can be told without taking anything of it; a sentence as above. */
enum krn_status cuda_probe(const struct krn_opts *o);

/* Close <c>'s device: what is queued ends first. */
void cuda_close(struct krn_ctx *c);

/* Write the plans of products that were measured since to d->blas_plans; a file
 * that cannot be written is as good as none. */
void cuda_plans_save(struct cuda *d);

/* Open the device of <c> anew after it died, as krn_reset(). */
enum krn_status cuda_reset(struct krn_ctx *c);

/* --- cuda.c -------------------------------------------------------------- */

/* A name of the numbers that <d> computes, as krn_numerics(). Owned by <d>. */
const char *cuda_numerics(const struct cuda *d);

/* What it depends on has changed. */
void cuda_numerics_note(struct cuda *d);

/* As krn_weights_fp8(). */
enum krn_status cuda_weights_fp8(struct cuda *d, bool on) KRN_MUST_CHECK;

/* For the log: what the device died of, or why steps are not recorded, or why
 * cuBLASLt is not used; "" when nothing is wrong. Owned by <d>. */
const char *cuda_trouble(const struct cuda *d);

/* Make the context the calling thread's; first in what is called outside of
 * steps. KRN_DEVICE: it is dead. */
enum krn_status cuda_enter(struct cuda *d) KRN_MUST_CHECK;

/* What <r> of a driver call <what> means: KRN_NOMEM for out of memory, which
 * harms nothing. KRN_UNSUPPORTED for what cannot be captured while a step is:
 * the step is lost, the next one is not recorded. Anything else but
 * CUDA_SUCCESS ends the context, KRN_DEVICE. */
enum krn_status cuda_check(struct cuda *d, CUresult r, const char *what);

/* Queue kernel <f> with its one argument <args> on the compute stream; grid and
 * block in blocks and threads, <smem> bytes of dynamic shared memory. The
 * kernel may begin before its predecessor ended (it calls pdl_wait()). */
struct cuda_grid {
    unsigned x, y, z;
};
enum krn_status cuda_launch(struct cuda *d, CUfunction f, struct cuda_grid grid,
                            unsigned threads, size_t smem, const void *args);

/* The kernel <name> of the module, allowed <smem> bytes of dynamic shared
 * memory. KRN_UNSUPPORTED: there is none such. */
enum krn_status cuda_kernel(struct cuda *d, const char *name, size_t smem,
                            CUfunction *out);

/* --- cuda_mem.c ---------------------------------------------------------- */

/* Take the buffers of d->stage, and free them. */
enum krn_status cuda_stage_open(struct cuda *d);
void cuda_stage_close(struct cuda *d);

/* Device memory, aligned to 256; 0 without memory. Never while recording. Free
 * waits for what is queued and drops what was recorded, since that holds
 * addresses; 0 is fine. */
CUdeviceptr cuda_alloc(struct cuda *d, size_t bytes);
void cuda_free(struct cuda *d, CUdeviceptr p);

/* Queue a copy of <bytes> from the host to <dst> on the compute stream; <host>
 * may be reused on return. Never while recording. */
enum krn_status cuda_put(struct cuda *d, CUdeviceptr dst, const void *host,
                         size_t bytes);

/* Copy <bytes> from <src> to the host, behind all that is queued; done on
 * return. Never while recording. */
enum krn_status cuda_get(struct cuda *d, void *host, CUdeviceptr src,
                         size_t bytes);

/* --- cuda_host.c --------------------------------------------------------- */

/* Make d->hosts, and free it with all memory that is left. */
enum krn_status cuda_hosts_open(struct cuda *d);
void cuda_hosts_close(struct cuda *d);

/* Pin all memory of the host for d->ctx; undo it, before that one ends. Until
 * the next cuda_hosts_pin() other threads get memory that is not pinned. */
void cuda_hosts_pin(struct cuda *d);
void cuda_hosts_unpin(struct cuda *d);

/* Whether the <bytes> at <p> are pinned memory of cuda_host_alloc(). */
bool cuda_hosts_has(struct cuda *d, const void *p, size_t bytes);

/* --- families ------------------------------------------------------------ */

/* Find the kernels of a family and take what memory it needs; close takes it
 * back, NULL members are fine. */
enum krn_status cuda_rows_open(struct cuda *d);
void cuda_rows_close(struct cuda *d);
enum krn_status cuda_linear_open(struct cuda *d);
void cuda_linear_close(struct cuda *d);
enum krn_status cuda_attend_open(struct cuda *d);
void cuda_attend_close(struct cuda *d);
enum krn_status cuda_sample_open(struct cuda *d);
void cuda_sample_close(struct cuda *d);
enum krn_status cuda_record_open(struct cuda *d);
void cuda_record_close(struct cuda *d);
enum krn_status cuda_copy_open(struct cuda *d);
void cuda_copy_close(struct cuda *d);

/* Forget all recorded steps. */
void cuda_record_drop(struct cuda *d);

/* Let what is queued on the compute stream from here on come after all copies
 * of pages that cuda_page_done() has called over. */
enum krn_status cuda_copy_join(struct cuda *d);

/* Operations, as in struct krn_dev_ops. */
enum krn_status cuda_embed(struct krn_ctx *c, float *x,
                           const struct krn_weight *w);
enum krn_status cuda_turns(struct krn_ctx *c, enum krn_set set, float *cs,
                           const double *freq, unsigned n_rot, double size);
enum krn_status cuda_norm(struct krn_ctx *c, void *y, size_t ldy, bool f32,
                          const float *x, size_t ldx, const float *gain,
                          unsigned m, unsigned n, float eps);
enum krn_status cuda_take(struct krn_ctx *c, float *y, const float *x,
                          unsigned n);
enum krn_status cuda_heads(struct krn_ctx *c, enum krn_set set, unsigned layer,
                           const struct krn_heads *h);
enum krn_status cuda_linear(struct krn_ctx *c, const void *x, size_t ldx,
                            unsigned m, unsigned n,
                            const struct krn_prod *prods);
enum krn_status cuda_glu(struct krn_ctx *c, const void *x, size_t ldx,
                         unsigned m, const struct krn_weight *gate,
                         const struct krn_weight *up, void *y, size_t ldy);
enum krn_status cuda_attend(struct krn_ctx *c, enum krn_set set, unsigned layer,
                            const void *q, size_t ldq, unsigned n_head,
                            float scale, void *out, size_t ldo);
enum krn_status cuda_draw(struct krn_ctx *c, float *logits, size_t ld,
                          unsigned n_vocab, unsigned n,
                          const struct krn_draw *draws, struct krn_drawn *out);
enum krn_status cuda_weight_load(struct krn_ctx *c, enum krn_dtype t,
                                 size_t n_out, size_t n_in, const void *rows,
                                 struct krn_weight **out);
enum krn_status cuda_weight_random(struct krn_ctx *c, enum krn_dtype t,
                                   size_t n_out, size_t n_in, uint64_t seed,
                                   struct krn_weight **out);
void cuda_weight_free(struct krn_ctx *c, struct krn_weight *w);
unsigned cuda_step_rows(const struct krn_ctx *c, unsigned most);
enum krn_status cuda_step_begin(struct krn_ctx *c, const struct krn_step *s,
                                struct krn_pass *out);
enum krn_status cuda_step_end(struct krn_ctx *c);
void *cuda_host_alloc(struct krn_ctx *c, size_t bytes);
void cuda_host_free(struct krn_ctx *c, void *p);
enum krn_status cuda_kv_copy(struct krn_ctx *c, const struct krn_kv *kv,
                             unsigned to, unsigned from);
enum krn_status cuda_page_out(struct krn_ctx *c, const struct krn_kv *kv,
                              unsigned page, void *host, uint64_t *ticket_out);
enum krn_status cuda_page_in(struct krn_ctx *c, const struct krn_kv *kv,
                             unsigned page, const void *host,
                             uint64_t *ticket_out);
bool cuda_page_done(struct krn_ctx *c, uint64_t ticket, bool *failed);

/* --- rows, for other families (cuda_rows.c) ------------------------------- */

/* Of each of <m> rows of activations, <ldy> >= 2 n elements apart: y[j] becomes
 * silu(y[j]) * y[n + j] for j < n; what is behind stays. */
enum krn_status cuda_silu_rows(struct cuda *d, void *y, size_t ldy, unsigned m,
                               unsigned n);

/* y (m, n), rows <ldy> elements apart, += bias (n). For <f32> y is F32, else
 * activations. */
enum krn_status cuda_bias_rows(struct cuda *d, void *y, size_t ldy, bool f32,
                               const float *bias, unsigned m, unsigned n);

/* --- attention's plan (cuda_attend.c), used by cuda_step.c ---------------- */

/* Bytes of the plan of <m> rows of one set, at most, for steps of at most
 * <n_seq> sequences of <max_pages>. */
size_t cuda_plan_bytes(const struct cuda *d, unsigned m, unsigned n_seq,
                       unsigned max_pages);

/* Write the plan of <set>, <m> queued rows of which those with pos -1 are
 * nobody's, to <out> (host memory of cuda_plan_bytes(), aligned to 8): what
 * cuda_attend() then reads at in.set[set].plan on the device. The first uint32
 * of it are the bytes used. Before a step is recorded or replayed, since the
 * buffer of partial results may grow: the plan holds its address. KRN_NOMEM,
 * KRN_BAD_SHAPE. */
enum krn_status cuda_plan_write(struct cuda *d, enum krn_set set,
                                const struct krn_kv *kv, unsigned m,
                                const int32_t *seq, const int32_t *pos,
                                void *out) KRN_MUST_CHECK;

#endif
