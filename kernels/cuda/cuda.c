/* cuda.c - A GPU as a context: what an error of the driver means, launching
 * kernels, and the table of its functions. */
#include "kernels/cuda/cuda.h"

#include <stdio.h>

/* --- errors -------------------------------------------------------------- */

/* Whether <r> is about capturing alone: the context is as good as before. */
static bool error_is_of_capture(CUresult r)
{
    return r >= CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED &&
           r <= CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD;
}

enum krn_status cuda_check(struct cuda *d, CUresult r, const char *what)
{
    if (r == CUDA_SUCCESS)
        return KRN_OK;
    if (r == CUDA_ERROR_OUT_OF_MEMORY)
        return KRN_NOMEM;
    if (d->recording && error_is_of_capture(r)) {
        if (!d->record_failed)
            snprintf(d->record_why, sizeof(d->record_why), "%s: %s", what,
                     drv_error(d->drv, r));
        d->record_failed = true;
        return KRN_UNSUPPORTED;
    }
    if (!d->dead)
        snprintf(d->died_of, sizeof(d->died_of), "%s: %s", what,
                 drv_error(d->drv, r));
    d->dead = true;
    return KRN_DEVICE;
}

enum krn_status cuda_enter(struct cuda *d)
{
    if (d->dead)
        return KRN_DEVICE;
    return cuda_check(d, d->drv->ctx_set(d->ctx), "choosing the context");
}

const char *cuda_trouble(const struct cuda *d)
{
    if (d->dead)
        return d->died_of;
    return d->record_why[0] != '\0' ? d->record_why : d->blas_why;
}

/* --- kernels ------------------------------------------------------------- */

enum krn_status cuda_kernel(struct cuda *d, const char *name, size_t smem,
                            CUfunction *out)
{
    CUfunction f = NULL;
    CUresult r = CUDA_ERROR_NOT_FOUND;

    for (unsigned i = 0; r == CUDA_ERROR_NOT_FOUND && i < d->n_modules; i++)
        r = d->drv->module_function(&f, d->modules[i], name);
    if (r == CUDA_ERROR_NOT_FOUND) {
        snprintf(d->died_of, sizeof(d->died_of), "there is no kernel %s", name);
        return KRN_UNSUPPORTED;
    }
    if (r == CUDA_SUCCESS && smem > d->smem_max) {
        snprintf(d->died_of, sizeof(d->died_of),
                 "kernel %s needs %zu bytes of shared memory, there are %zu",
                 name, smem, d->smem_max);
        return KRN_UNSUPPORTED;
    }
    if (r == CUDA_SUCCESS && smem > 0)
        r = d->drv->function_set(
            f, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, (int)smem);
    if (r == CUDA_SUCCESS)
        *out = f;
    return cuda_check(d, r, name);
}

enum krn_status cuda_launch(struct cuda *d, CUfunction f, struct cuda_grid grid,
                            unsigned threads, size_t smem, const void *args)
{
    CUlaunchAttribute early = {
        .id = CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION,
        .value = {.programmaticStreamSerializationAllowed = 1},
    };
    const CUlaunchConfig config = {
        .gridDimX = grid.x,
        .gridDimY = grid.y,
        .gridDimZ = grid.z,
        .blockDimX = threads,
        .blockDimY = 1,
        .blockDimZ = 1,
        .sharedMemBytes = (unsigned)smem,
        .hStream = d->compute,
        .attrs = d->pdl ? &early : NULL,
        .numAttrs = d->pdl ? 1 : 0,
    };
    /* The driver copies the argument and writes through nothing. */
    void *params[1] = {(void *)(uintptr_t)args};

    if (d->dead)
        return KRN_DEVICE;
    if (grid.x == 0 || grid.y == 0 || grid.z == 0)
        return KRN_OK;
    return cuda_check(d, d->drv->launch(&config, f, params, NULL),
                      "launching a kernel");
}

/* --- the context's properties -------------------------------------------- */

/* Tensor cores of different kinds of GPUs add up differently. */
void cuda_numerics_note(struct cuda *d)
{
    const char *act = d->act == KRN_BF16  ? "bf16"
                      : d->act == KRN_F16 ? "f16"
                                          : "f32";

    snprintf(d->numerics, sizeof(d->numerics), "cuda-%s%s-v1%s-sm%u", act,
             d->has_fp8 ? "-fp8" : "", d->deterministic ? "-det" : "", d->cc);
}

const char *cuda_numerics(const struct cuda *d)
{
    return d->numerics;
}

static enum krn_status act_use(struct krn_ctx *c, enum krn_dtype t)
{
    if ((unsigned)t >= KRN_DTYPE_COUNT)
        return KRN_UNSUPPORTED;
    c->cuda->act = t == KRN_F32 || t == KRN_BF16 ? t : KRN_F16;
    c->act = c->cuda->act;
    c->cuda->fp8 = false;
    c->cuda->has_fp8 = false;
    cuda_numerics_note(c->cuda);
    return KRN_OK;
}

enum krn_status cuda_weights_fp8(struct cuda *d, bool on)
{
    if (on && d->act != KRN_F16)
        return KRN_UNSUPPORTED;
    d->fp8 = on;
    return KRN_OK;
}

static void memory(const struct krn_ctx *c, uint64_t *free_out,
                   uint64_t *all_out)
{
    size_t free_bytes = 0;
    size_t all = 0;

    if (cuda_enter(c->cuda) == KRN_OK)
        (void)cuda_check(c->cuda, c->cuda->drv->mem_info(&free_bytes, &all),
                         "asking for memory");
    *free_out = free_bytes;
    *all_out = all;
}

/* --- the table ----------------------------------------------------------- */

static void *op_alloc(struct krn_ctx *c, size_t bytes)
{
    return (void *)(uintptr_t)cuda_alloc(c->cuda, bytes);
}

static void op_release(struct krn_ctx *c, void *p)
{
    cuda_free(c->cuda, (CUdeviceptr)(uintptr_t)p);
}

static enum krn_status op_put(struct krn_ctx *c, void *dst, const void *host,
                              size_t bytes)
{
    return cuda_put(c->cuda, (CUdeviceptr)(uintptr_t)dst, host, bytes);
}

static enum krn_status op_get(struct krn_ctx *c, void *host, const void *src,
                              size_t bytes)
{
    return cuda_get(c->cuda, host, (CUdeviceptr)(uintptr_t)src, bytes);
}

static enum krn_status op_sync(struct krn_ctx *c)
{
    struct cuda *d = c->cuda;
    enum krn_status st = cuda_enter(d);

    if (st != KRN_OK)
        return st;
    return cuda_check(d, d->drv->stream_sync(d->compute), "waiting");
}

const struct krn_dev_ops cuda_ops = {
    .close = cuda_close,
    .reset = cuda_reset,
    .alloc = op_alloc,
    .release = op_release,
    .put = op_put,
    .get = op_get,
    .sync = op_sync,
    .memory = memory,
    .act_use = act_use,
    .weight_load = cuda_weight_load,
    .weight_random = cuda_weight_random,
    .weight_free = cuda_weight_free,
    .step_rows = cuda_step_rows,
    .step_begin = cuda_step_begin,
    .step_end = cuda_step_end,
    .embed = cuda_embed,
    .turns = cuda_turns,
    .norm = cuda_norm,
    .take = cuda_take,
    .linear = cuda_linear,
    .glu = cuda_glu,
    .heads = cuda_heads,
    .attend = cuda_attend,
    .draw = cuda_draw,
    .host_alloc = cuda_host_alloc,
    .host_free = cuda_host_free,
    .kv_copy = cuda_kv_copy,
    .page_out = cuda_page_out,
    .page_in = cuda_page_in,
    .page_done = cuda_page_done,
};
