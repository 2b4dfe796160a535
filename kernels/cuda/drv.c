/* drv.c - Loading the NVIDIA driver and asking it for a device. What is wrong
 * is said in a sentence each, since whoever reads it is to repair it. */
#include "kernels/cuda/drv.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

/* The oldest supported generation: Ampere. */
#define OLDEST_CC 80

struct name_row {
    const char *symbol;
    size_t offset; /* of the member of struct drv */
};

#define NAME_ROW(member, symbol, params)                                       \
    {#symbol, offsetof(struct drv, member)},
static const struct name_row names[] = {DRV_CALLS(NAME_ROW)};
#undef NAME_ROW
enum { NAME_COUNT = sizeof(names) / sizeof(names[0]) };

/* Put the address <p> of a function into the member at <offset>. */
static void member_set(struct drv *v, size_t offset, void *p)
{
    *(void **)((char *)v + offset) = p;
}

const char *drv_error(const struct drv *v, CUresult r)
{
    const char *name = NULL;

    if (v->error_name(r, &name) != CUDA_SUCCESS || !name)
        return "an error without a name";
    return name;
}

/* Open the library and find every function. */
static enum krn_status library_load(struct drv *v, char *why, size_t why_bytes)
{
    const char *path = getenv("TOLLGATE_CUDA_DRIVER");

    if (!path || path[0] == '\0')
        path = "libcuda.so.1";
    v->so = dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (!v->so) {
        snprintf(why, why_bytes,
                 "no NVIDIA driver is installed (%s); install one, or write "
                 "device cpu",
                 dlerror());
        return KRN_UNSUPPORTED;
    }
    for (size_t i = 0; i < NAME_COUNT; i++) {
        void *p = dlsym(v->so, names[i].symbol);

        if (!p) {
            snprintf(why, why_bytes,
                     "the NVIDIA driver %s is too old, it has no %s; install "
                     "one of version 525 or later",
                     path, names[i].symbol);
            return KRN_UNSUPPORTED;
        }
        member_set(v, names[i].offset, p);
    }
    v->fake = dlsym(v->so, DRV_FAKE_MARK) != NULL;
    return KRN_OK;
}

/* Initialise the library and see that it is new enough. */
static enum krn_status library_init(struct drv *v, char *why, size_t why_bytes)
{
    CUresult r = v->init(0);
    int version = 0;

    if (r == CUDA_ERROR_NO_DEVICE) {
        snprintf(why, why_bytes,
                 "the NVIDIA driver finds no GPU; see that nvidia-smi lists "
                 "one and that CUDA_VISIBLE_DEVICES does not hide it, or write "
                 "device cpu");
        return KRN_UNSUPPORTED;
    }
    if (r != CUDA_SUCCESS) {
        snprintf(why, why_bytes,
                 "the NVIDIA driver does not start: %s; see what nvidia-smi "
                 "says",
                 drv_error(v, r));
        return KRN_UNSUPPORTED;
    }
    if (v->version(&version) != CUDA_SUCCESS || version < DRV_OLDEST) {
        snprintf(why, why_bytes,
                 "the NVIDIA driver is too old, it is for CUDA %d.%d; install "
                 "one of version 525 or later, for CUDA 12",
                 version / 1000, version % 1000 / 10);
        return KRN_UNSUPPORTED;
    }
    return KRN_OK;
}

enum krn_status drv_open(char *why, size_t why_bytes, struct drv **out)
{
    struct drv *v = calloc(1, sizeof(*v));
    enum krn_status st;

    if (!v)
        return KRN_NOMEM;
    st = library_load(v, why, why_bytes);
    if (st == KRN_OK)
        st = library_init(v, why, why_bytes);
    if (st != KRN_OK) {
        drv_close(v);
        return st;
    }
    *out = v;
    return KRN_OK;
}

void drv_close(struct drv *v)
{
    if (!v)
        return;
    if (v->so)
        dlclose(v->so);
    free(v);
}

enum krn_status drv_device(const struct drv *v, int ordinal, char *why,
                           size_t why_bytes, CUdevice *dev_out,
                           unsigned *cc_out)
{
    int n = 0;
    int major = 0;
    int minor = 0;
    CUdevice dev;

    if (v->device_count(&n) != CUDA_SUCCESS || n <= 0) {
        snprintf(why, why_bytes,
                 "the NVIDIA driver finds no GPU; see that nvidia-smi lists "
                 "one and that CUDA_VISIBLE_DEVICES does not hide it, or write "
                 "device cpu");
        return KRN_UNSUPPORTED;
    }
    if (ordinal < 0 || ordinal >= n) {
        snprintf(why, why_bytes,
                 "there is no GPU cuda:%d, the last one is cuda:%d; write a "
                 "number from 0 to %d",
                 ordinal, n - 1, n - 1);
        return KRN_UNSUPPORTED;
    }
    if (v->device_get(&dev, ordinal) != CUDA_SUCCESS ||
        v->device_attribute(&major,
                            CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR,
                            dev) != CUDA_SUCCESS ||
        v->device_attribute(&minor,
                            CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR,
                            dev) != CUDA_SUCCESS) {
        snprintf(why, why_bytes,
                 "the GPU cuda:%d does not answer; see what nvidia-smi says",
                 ordinal);
        return KRN_UNSUPPORTED;
    }
    if (major * 10 + minor < OLDEST_CC) {
        snprintf(why, why_bytes,
                 "the GPU cuda:%d is too old, its compute capability is %d.%d; "
                 "use one of 8.0 or later, or write device cpu",
                 ordinal, major, minor);
        return KRN_UNSUPPORTED;
    }
    *dev_out = dev;
    *cc_out = (unsigned)(major * 10 + minor);
    return KRN_OK;
}
