/* cuda_open.c - Opening a GPU, closing it, and opening it anew after it died.
 * Every failure to open leaves a sentence for the one who wrote the setting. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/cuda/blas.h"
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/image.h"

/* Of this compute capability kernels may begin before their predecessors ended.
 * Later ones run what was compiled for 8.0, which does not wait for them. */
#define PDL_CC 90

/* Where a reason goes, as in krn_opts. */
struct why {
    char *to;
    size_t bytes;
};

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

/* Make a context and learn what the device is. */
static enum krn_status device_take(struct cuda *d, struct why w)
{
    const struct drv *v = d->drv;
    int n_sm = 0;
    int smem = 0;
    CUresult r = v->ctx_create(&d->ctx, 0, d->device);

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
    d->pdl = d->cc == PDL_CC && !is_off("TOLLGATE_CUDA_PDL");
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
                     "%s; install driver 580 or later, or build the program "
                     "with an older CUDA toolkit",
                     drv_error(d->drv, r));
        return r == CUDA_ERROR_OUT_OF_MEMORY ? KRN_NOMEM : KRN_UNSUPPORTED;
    }
    return KRN_OK;
}

/* Find cuBLASLt and the plans of products; own kernels do without. */
static enum krn_status library_open(struct cuda *d)
{
    enum krn_status st;

    d->blas_why[0] = '\0';
    st = blas_open(d, d->blas_dir, d->blas_why, sizeof(d->blas_why), &d->blas);

    if (st == KRN_OK && d->blas_plans)
        (void)blas_plans_load(d->blas, d->blas_plans);
    return st == KRN_UNSUPPORTED ? KRN_OK : st;
}

void cuda_plans_save(struct cuda *d)
{
    if (d->blas && d->blas_plans)
        (void)blas_plans_save(d->blas, d->blas_plans);
}

/* Open each family. */
static enum krn_status families_open(struct cuda *d)
{
    enum krn_status (*const opens[])(struct cuda *) = {
        cuda_stage_open,  cuda_copy_open,   cuda_record_open, cuda_rows_open,
        cuda_linear_open, cuda_attend_open, cuda_sample_open,
    };
    enum krn_status st = KRN_OK;

    for (size_t i = 0; st == KRN_OK && i < sizeof(opens) / sizeof(opens[0]);
         i++)
        st = opens[i](d);
    return st;
}

/* Take the device that was found, and all that is on it. */
static enum krn_status device_open(struct cuda *d, struct why w)
{
    enum krn_status st = device_take(d, w);

    if (st != KRN_OK)
        return st;
    cuda_hosts_pin(d);
    st = images_load(d, w);
    if (st == KRN_OK)
        st = library_open(d);
    if (st == KRN_OK)
        st = families_open(d);
    return st;
}

/* Give back what device_open() took. */
static void device_release(struct cuda *d)
{
    const struct drv *v = d->drv;

    for (unsigned i = 0; i < d->n_modules; i++)
        (void)v->module_unload(d->modules[i]);
    if (d->compute)
        (void)v->stream_destroy(d->compute);
    if (d->copy_in)
        (void)v->stream_destroy(d->copy_in);
    if (d->copy_out)
        (void)v->stream_destroy(d->copy_out);
}

/* Leave the device: what is queued ends first. A dead context takes nothing
 * back, it goes as a whole. */
static void device_close(struct cuda *d)
{
    if (!d->ctx)
        return;
    (void)d->drv->ctx_set(d->ctx);
    (void)d->drv->ctx_sync();
    cuda_sample_close(d);
    cuda_attend_close(d);
    cuda_linear_close(d);
    cuda_rows_close(d);
    cuda_record_close(d);
    cuda_copy_close(d);
    cuda_stage_close(d);
    cuda_plans_save(d);
    blas_close(d->blas);
    cuda_hosts_unpin(d);
    if (!d->dead)
        device_release(d);
    (void)d->drv->ctx_destroy(d->ctx);
    free(d->modules);
    d->modules = NULL;
    d->n_modules = 0;
    d->compute = d->copy_in = d->copy_out = NULL;
    d->blas = NULL;
    d->ctx = NULL;
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

/* Keep what of <o> is asked for again when the device is reset. */
static enum krn_status opts_keep(struct cuda *d, const struct krn_opts *o)
{
    d->act = KRN_F32;
    d->deterministic = o->deterministic;
    d->blas_dir = o->blas_dir ? strdup(o->blas_dir) : NULL;
    d->blas_plans = o->blas_plans ? strdup(o->blas_plans) : NULL;
    if ((o->blas_dir && !d->blas_dir) || (o->blas_plans && !d->blas_plans))
        return KRN_NOMEM;
    return cuda_hosts_open(d);
}

enum krn_status cuda_open(struct krn_ctx *c, const struct krn_opts *o)
{
    const struct why w = {o->why, o->why ? o->why_bytes : 0};
    struct cuda *d = calloc(1, sizeof(*d));
    enum krn_status st;

    if (!d)
        return KRN_NOMEM;
    c->cuda = d;
    if (w.bytes > 0)
        w.to[0] = '\0';
    st = opts_keep(d, o);
    if (st == KRN_OK)
        st = device_find(d, o->device ? o->device : "", w);
    cuda_numerics_note(d);
    if (st == KRN_OK)
        st = device_open(d, w);
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

enum krn_status cuda_probe(const struct krn_opts *o)
{
    const struct why w = {o->why, o->why ? o->why_bytes : 0};
    struct cuda *d = calloc(1, sizeof(*d));
    enum krn_status st;

    if (!d)
        return KRN_NOMEM;
    st = device_find(d, o->device, w);
    drv_close(d->drv);
    free(d);
    return st;
}

void cuda_close(struct krn_ctx *c)
{
    struct cuda *d = c->cuda;

    if (!d)
        return;
    device_close(d);
    cuda_hosts_close(d);
    drv_close(d->drv);
    free(d->blas_dir);
    free(d->blas_plans);
    free(d);
    c->cuda = NULL;
}

enum krn_status cuda_reset(struct krn_ctx *c)
{
    struct cuda *d = c->cuda;
    const struct why nobody = {NULL, 0};
    enum krn_status st;

    if (!d->dead)
        return KRN_OK;
    device_close(d);
    d->dead = false;
    d->recording = false;
    d->record_failed = false;
    d->record_why[0] = '\0';
    d->in = (struct cuda_inputs){0};
    st = device_open(d, nobody);
    if (st == KRN_OK)
        return KRN_OK;
    d->dead = true;
    return st == KRN_NOMEM ? KRN_NOMEM : KRN_DEVICE;
}
