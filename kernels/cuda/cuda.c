/* cuda.c - A GPU as a context: opening and closing it, what an error of the
 * driver means, and launching kernels. Every failure to open leaves a sentence
 * for the one who wrote the setting. */
#include "kernels/cuda/cuda.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/cuda/blas.h"
#include "kernels/cuda/image.h"

/* From this compute capability on a kernel may begin before its predecessor
 * ended. */
#define PDL_CC 90

/* Where a reason goes, as in krn_opts. */
struct why {
    char *to;
    size_t bytes;
};

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

/* --- opening ------------------------------------------------------------- */

/* The number N of "cuda:N"; -1 when it is something else. "cuda" is "cuda:0".
 */
static int ordinal_of(const char *device)
{
    char *end;
    unsigned long n;

    if (strcmp(device, "cuda") == 0)
        return 0;
    if (strncmp(device, "cuda:", 5) != 0 || device[5] < '0' || device[5] > '9')
        return -1;
    n = strtoul(device + 5, &end, 10);
    return *end == '\0' && n < 1000 ? (int)n : -1;
}

/* Whether the environment turns <name> off, by a 0. */
static bool is_off(const char *name)
{
    const char *v = getenv(name);

    return v && strcmp(v, "0") == 0;
}

static enum krn_status say_built_without(struct why w)
{
    snprintf(w.to, w.bytes,
             "this program is built without CUDA; build it where nvcc is, or "
             "write device cpu");
    return KRN_UNSUPPORTED;
}

/* Find the driver and the device. */
static enum krn_status device_find(struct cuda *d, const char *device,
                                   struct why w)
{
    const int ordinal = ordinal_of(device);
    const char *other = getenv("TOLLGATE_CUDA_DRIVER");
    enum krn_status st;

    if (ordinal < 0) {
        snprintf(w.to, w.bytes,
                 "there is no device %.40s; write cuda:N with N from 0",
                 device);
        return KRN_UNSUPPORTED;
    }
    if (!cuda_images[0].data && (!other || other[0] == '\0'))
        return say_built_without(w);
    st = drv_open(w.to, w.bytes, &d->drv);
    if (st != KRN_OK)
        return st;
    if (!cuda_images[0].data && !d->drv->fake)
        return say_built_without(w);
    return drv_device(d->drv, ordinal, w.to, w.bytes, &d->device, &d->cc);
}

/* Retain the context and learn what the device is. */
static enum krn_status device_take(struct cuda *d, struct why w)
{
    const struct drv *v = d->drv;
    int n_sm = 0;
    int smem = 0;
    CUresult r = v->ctx_retain(&d->ctx, d->device);

    if (r != CUDA_SUCCESS) {
        d->ctx = NULL;
        snprintf(w.to, w.bytes,
                 "the GPU gives no context: %s; see with nvidia-smi who has it",
                 drv_error(v, r));
        return r == CUDA_ERROR_OUT_OF_MEMORY ? KRN_NOMEM : KRN_UNSUPPORTED;
    }
    r = v->ctx_set(d->ctx);
    if (r == CUDA_SUCCESS)
        r = v->device_attribute(&n_sm, CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT,
                                d->device);
    if (r == CUDA_SUCCESS)
        r = v->device_attribute(
            &smem, CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN,
            d->device);
    if (r == CUDA_SUCCESS)
        r = v->stream_create(&d->compute, CU_STREAM_NON_BLOCKING);
    if (r == CUDA_SUCCESS)
        r = v->stream_create(&d->copy_in, CU_STREAM_NON_BLOCKING);
    if (r == CUDA_SUCCESS)
        r = v->stream_create(&d->copy_out, CU_STREAM_NON_BLOCKING);
    d->n_sm = n_sm > 0 ? (unsigned)n_sm : 1;
    d->smem_max = smem > 0 ? (size_t)smem : 0;
    d->pdl = d->cc >= PDL_CC && !is_off("TOLLGATE_CUDA_PDL");
    d->record_off = is_off("TOLLGATE_CUDA_RECORD");
    return cuda_check(d, r, "taking the device");
}

/* Load the kernels' images; the emulator's driver has kernels of its own. */
static enum krn_status images_load(struct cuda *d, struct why w)
{
    const struct cuda_image none = {"", 1};
    const struct cuda_image *image = d->drv->fake ? &none : cuda_images;
    unsigned n = d->drv->fake ? 1 : 0;

    while (!d->drv->fake && cuda_images[n].data)
        n++;
    d->modules = calloc(n, sizeof(*d->modules));
    if (!d->modules)
        return KRN_NOMEM;
    for (; d->n_modules < n; d->n_modules++) {
        CUresult r = d->drv->module_load(&d->modules[d->n_modules],
                                         image[d->n_modules].data);

        if (r == CUDA_SUCCESS)
            continue;
        if (r != CUDA_ERROR_OUT_OF_MEMORY)
            snprintf(w.to, w.bytes,
                     "the NVIDIA driver does not take this program's kernels: "
                     "%s; install a driver as recent as the toolkit that built "
                     "it",
                     drv_error(d->drv, r));
        return r == CUDA_ERROR_OUT_OF_MEMORY ? KRN_NOMEM : KRN_UNSUPPORTED;
    }
    return KRN_OK;
}

/* Find cuBLASLt; own kernels do without. */
static enum krn_status library_open(struct cuda *d, const char *dir)
{
    const enum krn_status st =
        blas_open(d, dir, d->blas_why, sizeof(d->blas_why), &d->blas);

    return st == KRN_UNSUPPORTED ? KRN_OK : st;
}

/* Open each family. */
static enum krn_status families_open(struct cuda *d)
{
    enum krn_status (*const opens[])(struct cuda *) = {
        cuda_stage_open, cuda_copy_open,   cuda_record_open,
        cuda_rows_open,  cuda_linear_open, cuda_attend_open,
    };
    enum krn_status st = KRN_OK;

    for (size_t i = 0; st == KRN_OK && i < sizeof(opens) / sizeof(opens[0]);
         i++)
        st = opens[i](d);
    return st;
}

/* What krn_describe() says. */
static void describe(struct krn_ctx *c, const char *device)
{
    const struct cuda *d = c->cuda;
    char name[40] = "";
    size_t bytes = 0;

    (void)d->drv->device_name(name, sizeof(name), d->device);
    (void)d->drv->device_total_mem(&bytes, d->device);
    name[sizeof(name) - 1] = '\0';
    snprintf(c->describe, sizeof(c->describe),
             "cuda:%d %s, %u multiprocessors, %zu MiB", ordinal_of(device),
             name, d->n_sm, bytes >> 20);
}

enum krn_status cuda_open(struct krn_ctx *c, const struct krn_opts *o)
{
    const struct why w = {o->why, o->why ? o->why_bytes : 0};
    struct cuda *d = calloc(1, sizeof(*d));
    enum krn_status st;

    if (!d)
        return KRN_NOMEM;
    c->cuda = d;
    d->act = KRN_F32;
    d->deterministic = o->deterministic;
    if (w.bytes > 0)
        w.to[0] = '\0';
    st = device_find(d, o->device ? o->device : "", w);
    if (st == KRN_OK)
        st = device_take(d, w);
    if (st == KRN_OK)
        st = images_load(d, w);
    if (st == KRN_OK)
        st = library_open(d, o->blas_dir);
    if (st == KRN_OK)
        st = families_open(d);
    if (st != KRN_OK) {
        if (w.bytes > 0 && w.to[0] == '\0')
            snprintf(w.to, w.bytes, "the GPU cannot be used: %s",
                     st == KRN_NOMEM ? "it has no memory left; see with "
                                       "nvidia-smi who has it"
                                     : d->died_of);
        cuda_close(c);
        return st == KRN_NOMEM ? KRN_NOMEM : KRN_UNSUPPORTED;
    }
    c->dev = &cuda_ops;
    c->act = d->act;
    c->page_tokens = CUDA_PAGE_TOKENS;
    describe(c, o->device);
    return KRN_OK;
}

/* Give back what device_take() and images_load() took. */
static void device_release(struct cuda *d)
{
    const struct drv *v = d->drv;

    if (d->dead) {
        /* It takes nothing back; whoever opens next gets another one. */
        (void)v->ctx_reset(d->device);
        (void)v->ctx_release(d->device);
        return;
    }
    for (unsigned i = 0; i < d->n_modules; i++)
        (void)v->module_unload(d->modules[i]);
    if (d->compute)
        (void)v->stream_destroy(d->compute);
    if (d->copy_in)
        (void)v->stream_destroy(d->copy_in);
    if (d->copy_out)
        (void)v->stream_destroy(d->copy_out);
    (void)v->ctx_release(d->device);
}

void cuda_close(struct krn_ctx *c)
{
    struct cuda *d = c->cuda;

    if (!d)
        return;
    if (d->ctx) {
        (void)d->drv->ctx_set(d->ctx);
        (void)d->drv->ctx_sync();
        cuda_attend_close(d);
        cuda_linear_close(d);
        cuda_rows_close(d);
        cuda_record_close(d);
        cuda_copy_close(d);
        cuda_stage_close(d);
        blas_close(d->blas);
        device_release(d);
    }
    free(d->modules);
    drv_close(d->drv);
    free(d);
    c->cuda = NULL;
}

/* --- the context's properties -------------------------------------------- */

const char *cuda_numerics(const struct cuda *d)
{
    switch (d->act) {
    case KRN_BF16:
        return d->deterministic ? "cuda-bf16-v1-det" : "cuda-bf16-v1";
    case KRN_F16:
        return d->deterministic ? "cuda-f16-v1-det" : "cuda-f16-v1";
    default:
        return d->deterministic ? "cuda-f32-v1-det" : "cuda-f32-v1";
    }
}

static enum krn_status act_use(struct krn_ctx *c, enum krn_dtype t)
{
    if ((unsigned)t >= KRN_DTYPE_COUNT)
        return KRN_UNSUPPORTED;
    c->cuda->act = t == KRN_F32 || t == KRN_BF16 ? t : KRN_F16;
    c->act = c->cuda->act;
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
    .alloc = op_alloc,
    .release = op_release,
    .put = op_put,
    .get = op_get,
    .sync = op_sync,
    .memory = memory,
    .act_use = act_use,
    .weight_load = cuda_weight_load,
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
    .host_alloc = cuda_host_alloc,
    .host_free = cuda_host_free,
    .kv_copy = cuda_kv_copy,
    .page_out = cuda_page_out,
    .page_in = cuda_page_in,
    .page_done = cuda_page_done,
};
