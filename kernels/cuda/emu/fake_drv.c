/* fake_drv.c - The fake driver's device, context and memory, and how its calls
 * are made to fail. */
#include "kernels/cuda/emu/fake.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A block of device or pinned memory. */
struct block {
    char *p;
    size_t bytes;
    bool host;
    bool given; /* the program's own, which was pinned */
    CUcontext ctx;
    struct block *next;
};

struct CUctx_st {
    CUresult broken;
    int live; /* objects that are not given back */
};

const int fakecuda_mark = 1;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t current; /* the thread's context */
static CUcontext running;     /* whose work is being done; NULL: the thread's */
static unsigned n_context;
static bool is_init;
static struct block *blocks;
static size_t used_bytes;
static int live;
static bool shown;                   /* device memory can be touched */
static unsigned fail_in[FAKE_WHATS]; /* calls until one fails; 0: never */

static const char *const what_names[FAKE_WHATS] = {
    "launch", "alloc", "host", "copy", "capture", "graph",
};

/* --- failing -------------------------------------------------------------- */

static bool fail_set(const char *what, size_t n_what, unsigned n)
{
    for (unsigned i = 0; i < FAKE_WHATS; i++) {
        if (strlen(what_names[i]) == n_what &&
            memcmp(what_names[i], what, n_what) == 0) {
            fail_in[i] = n;
            return true;
        }
    }
    return false;
}

bool fakecuda_fail(const char *what, unsigned n)
{
    bool ok;

    pthread_mutex_lock(&lock);
    ok = fail_set(what, strlen(what), n);
    pthread_mutex_unlock(&lock);
    return ok;
}

/* Read TG_FAKE_FAIL. */
static void fail_read(void)
{
    const char *s = getenv("TG_FAKE_FAIL");

    while (s && *s != '\0') {
        size_t n = strcspn(s, ":");

        if (s[n] != ':' ||
            !fail_set(s, n, (unsigned)strtoul(s + n + 1, NULL, 10)))
            fprintf(stderr, "fakecuda: TG_FAKE_FAIL is not understood: %s\n",
                    s);
        s += strcspn(s, ",");
        s += *s == ',';
    }
}

bool fake_fails(enum fake_what what)
{
    return fail_in[what] != 0 && --fail_in[what] == 0;
}

CUcontext fake_context(void)
{
    return running ? running : pthread_getspecific(current);
}

void fake_run_as(CUcontext ctx)
{
    running = ctx;
}

void fake_break(CUresult r, const char *why)
{
    CUcontext ctx = fake_context();

    fprintf(stderr, "fakecuda: %s\n", why);
    if (ctx && ctx->broken == CUDA_SUCCESS)
        ctx->broken = r;
}

CUresult fake_broken(void)
{
    const struct CUctx_st *ctx = fake_context();

    return ctx ? ctx->broken : CUDA_SUCCESS;
}

/* --- every call ----------------------------------------------------------- */

static void key_make(void)
{
    (void)pthread_key_create(&current, NULL);
}

CUresult fake_enter(void)
{
    (void)pthread_once(&once, key_make);
    pthread_mutex_lock(&lock);
    if (!is_init)
        return CUDA_ERROR_NOT_INITIALIZED;
    if (!pthread_getspecific(current))
        return CUDA_ERROR_INVALID_CONTEXT;
    if (fake_broken() == CUDA_SUCCESS)
        fake_poke();
    return fake_broken();
}

CUresult fake_enter_unsafe(void)
{
    CUresult r = fake_enter();
    CUstream s = r == CUDA_SUCCESS ? fake_forbidding() : NULL;

    if (!s)
        return r;
    s->capture->failed = true;
    return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
}

/* Hide device memory or show it. */
static void blocks_hide(bool on)
{
    if (on && fake_number("TG_FAKE_HIDE", 1) == 0)
        return;
    for (const struct block *b = blocks; b; b = b->next) {
        if (!b->host)
            emu_hide(b->p, on);
    }
    shown = !on;
}

void fake_show(void)
{
    if (!shown)
        blocks_hide(false);
}

CUresult fake_leave(CUresult r)
{
    if (shown)
        blocks_hide(true);
    if (r == CUDA_SUCCESS)
        r = fake_broken();
    pthread_mutex_unlock(&lock);
    return r;
}

uint64_t fake_number(const char *name, uint64_t otherwise)
{
    const char *s = getenv(name);

    return s && *s != '\0' ? strtoull(s, NULL, 10) : otherwise;
}

/* Count an object of <ctx>. */
static void count(CUcontext ctx, int by)
{
    live += by;
    if (ctx)
        ctx->live += by;
}

void fake_count(int by)
{
    count(fake_context(), by);
}

unsigned fakecuda_live(void)
{
    int n;

    pthread_mutex_lock(&lock);
    n = live;
    pthread_mutex_unlock(&lock);
    return (unsigned)n;
}

/* --- the device ----------------------------------------------------------- */

static int device_number(void)
{
    uint64_t n = fake_number("TG_FAKE_DEVICES", 1);

    return n < 16 ? (int)n : 16;
}

static bool device_is(CUdevice dev)
{
    return dev >= 0 && dev < device_number();
}

CUresult cuInit(unsigned int flags)
{
    if (flags != 0)
        return CUDA_ERROR_INVALID_VALUE;
    if (device_number() == 0)
        return CUDA_ERROR_NO_DEVICE;
    pthread_mutex_lock(&lock);
    is_init = true;
    pthread_mutex_unlock(&lock);
    return CUDA_SUCCESS;
}

CUresult cuDriverGetVersion(int *version)
{
    *version = 13000;
    return CUDA_SUCCESS;
}

CUresult cuGetErrorName(CUresult r, const char **name)
{
    switch (r) {
    case CUDA_SUCCESS:
        *name = "CUDA_SUCCESS";
        break;
    case CUDA_ERROR_INVALID_VALUE:
        *name = "CUDA_ERROR_INVALID_VALUE";
        break;
    case CUDA_ERROR_OUT_OF_MEMORY:
        *name = "CUDA_ERROR_OUT_OF_MEMORY";
        break;
    case CUDA_ERROR_INVALID_CONTEXT:
        *name = "CUDA_ERROR_INVALID_CONTEXT";
        break;
    case CUDA_ERROR_NOT_READY:
        *name = "CUDA_ERROR_NOT_READY";
        break;
    case CUDA_ERROR_ILLEGAL_ADDRESS:
        *name = "CUDA_ERROR_ILLEGAL_ADDRESS";
        break;
    case CUDA_ERROR_LAUNCH_FAILED:
        *name = "CUDA_ERROR_LAUNCH_FAILED";
        break;
    case CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED:
        *name = "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED";
        break;
    case CUDA_ERROR_STREAM_CAPTURE_INVALIDATED:
        *name = "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED";
        break;
    default:
        *name = "CUDA_ERROR_OF_THE_EMULATOR";
        break;
    }
    return CUDA_SUCCESS;
}

CUresult cuDeviceGetCount(int *n)
{
    *n = device_number();
    return CUDA_SUCCESS;
}

CUresult cuDeviceGet(CUdevice *dev, int ordinal)
{
    if (!device_is(ordinal))
        return CUDA_ERROR_INVALID_DEVICE;
    *dev = ordinal;
    return CUDA_SUCCESS;
}

CUresult cuDeviceGetName(char *name, int len, CUdevice dev)
{
    if (!device_is(dev) || len <= 0)
        return CUDA_ERROR_INVALID_DEVICE;
    snprintf(name, (size_t)len, "emulated GPU");
    return CUDA_SUCCESS;
}

static size_t device_bytes(void)
{
    return (size_t)fake_number("TG_FAKE_MEM", (uint64_t)4 << 30);
}

CUresult cuDeviceTotalMem_v2(size_t *bytes, CUdevice dev)
{
    if (!device_is(dev))
        return CUDA_ERROR_INVALID_DEVICE;
    *bytes = device_bytes();
    return CUDA_SUCCESS;
}

CUresult cuDeviceGetAttribute(int *value, CUdevice_attribute a, CUdevice dev)
{
    char name[32];
    int cc;

    if (!device_is(dev))
        return CUDA_ERROR_INVALID_DEVICE;
    snprintf(name, sizeof(name), "TG_FAKE_CC_%d", dev);
    cc = (int)fake_number(name, fake_number("TG_FAKE_CC", 90));
    switch (a) {
    case CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT:
        *value = (int)fake_number("TG_FAKE_SM", 8);
        break;
    case CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE:
        *value = 50 << 20;
        break;
    case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR:
        *value = cc / 10;
        break;
    case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR:
        *value = cc % 10;
        break;
    case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN:
        *value = cc >= 90 ? 227 << 10 : cc == 80 ? 163 << 10 : 99 << 10;
        break;
    default:
        return CUDA_ERROR_INVALID_VALUE;
    }
    return CUDA_SUCCESS;
}

CUresult cuDeviceGetPCIBusId(char *id, int len, CUdevice dev)
{
    if (!device_is(dev) || len < 13)
        return CUDA_ERROR_INVALID_VALUE;
    snprintf(id, (size_t)len, "0000:%02x:00.0", (unsigned)dev & 0xff);
    return CUDA_SUCCESS;
}

/* --- the context ---------------------------------------------------------- */

/* Give back all memory of <ctx>. */
static void blocks_drop(CUcontext ctx)
{
    struct block **at = &blocks;

    fake_show();
    while (*at) {
        struct block *b = *at;

        if (b->ctx != ctx) {
            at = &b->next;
            continue;
        }
        *at = b->next;
        if (!b->given)
            (void)emu_free(b->p);
        if (!b->host)
            used_bytes -= b->bytes;
        free(b);
    }
}

CUresult cuCtxCreate_v2(CUcontext *ctx, unsigned int flags, CUdevice dev)
{
    CUcontext c;

    (void)pthread_once(&once, key_make);
    if (!device_is(dev))
        return CUDA_ERROR_INVALID_DEVICE;
    c = flags <= 7 ? calloc(1, sizeof(*c)) : NULL;
    if (!c)
        return flags <= 7 ? CUDA_ERROR_OUT_OF_MEMORY : CUDA_ERROR_INVALID_VALUE;
    pthread_mutex_lock(&lock);
    if (n_context++ == 0)
        fail_read();
    (void)pthread_setspecific(current, c);
    *ctx = c;
    return fake_leave(CUDA_SUCCESS);
}

/* A broken context takes with it all that was not given back; of another one it
 * stays counted. */
CUresult cuCtxDestroy_v2(CUcontext ctx)
{
    (void)pthread_once(&once, key_make);
    if (!ctx)
        return CUDA_ERROR_INVALID_CONTEXT;
    pthread_mutex_lock(&lock);
    n_context--;
    if (ctx->broken == CUDA_SUCCESS)
        fake_run_all();
    else
        live -= ctx->live;
    fake_streams_drop(ctx);
    blocks_drop(ctx);
    if (pthread_getspecific(current) == ctx)
        (void)pthread_setspecific(current, NULL);
    free(ctx);
    return fake_leave(CUDA_SUCCESS);
}

CUresult cuCtxSetCurrent(CUcontext ctx)
{
    (void)pthread_once(&once, key_make);
    (void)pthread_setspecific(current, ctx);
    return CUDA_SUCCESS;
}

CUresult cuCtxSynchronize(void)
{
    CUresult r = fake_enter();

    if (r != CUDA_SUCCESS)
        return fake_leave(r);
    if (fake_capturing()) {
        fake_capturing()->capture->failed = true;
        return fake_leave(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
    }
    fake_run_all();
    return fake_leave(CUDA_SUCCESS);
}

/* --- memory --------------------------------------------------------------- */

CUresult cuMemGetInfo_v2(size_t *free_bytes, size_t *all_bytes)
{
    CUresult r = fake_enter();

    *all_bytes = device_bytes();
    *free_bytes = *all_bytes > used_bytes ? *all_bytes - used_bytes : 0;
    return fake_leave(r);
}

/* A block, NULL without memory. */
static char *block_new(size_t bytes, bool host)
{
    struct block *b = calloc(1, sizeof(*b));

    if (b)
        b->p = emu_alloc(bytes);
    if (!b || !b->p) {
        free(b);
        return NULL;
    }
    b->bytes = bytes;
    b->host = host;
    b->ctx = fake_context();
    b->next = blocks;
    blocks = b;
    count(b->ctx, 1);
    if (!host)
        used_bytes += bytes;
    if (!host)
        shown = true; /* until the call is over */
    return b->p;
}

static CUresult block_free(const void *p, bool host, bool given)
{
    struct block **at = &blocks;
    struct block *b;
    CUresult r = CUDA_SUCCESS;

    while (*at && (*at)->p != p)
        at = &(*at)->next;
    b = *at;
    if (!b || b->host != host || b->given != given)
        return CUDA_ERROR_INVALID_VALUE;
    fake_show();
    *at = b->next;
    if (!host)
        used_bytes -= b->bytes;
    count(b->ctx, -1);
    if (!b->given && !emu_free(b->p)) {
        fake_break(CUDA_ERROR_ILLEGAL_ADDRESS,
                   "bytes beside a block of memory were written to");
        r = CUDA_ERROR_ILLEGAL_ADDRESS;
    }
    free(b);
    return r;
}

bool fake_pinned(const void *p, size_t bytes)
{
    const char *c = p;

    for (const struct block *b = blocks; b; b = b->next) {
        if (b->host && c >= b->p && c <= b->p + b->bytes &&
            bytes <= b->bytes - (size_t)(c - b->p))
            return true;
    }
    return false;
}

CUresult cuMemAlloc_v2(CUdeviceptr *p, size_t bytes)
{
    CUresult r = fake_enter_unsafe();
    char *c;

    if (r != CUDA_SUCCESS)
        return fake_leave(r);
    if (bytes == 0)
        return fake_leave(CUDA_ERROR_INVALID_VALUE);
    if (fake_fails(FAKE_ALLOC) || bytes > device_bytes() ||
        used_bytes > device_bytes() - bytes)
        return fake_leave(CUDA_ERROR_OUT_OF_MEMORY);
    c = block_new(bytes, false);
    if (!c)
        return fake_leave(CUDA_ERROR_OUT_OF_MEMORY);
    *p = (CUdeviceptr)(uintptr_t)c;
    return fake_leave(CUDA_SUCCESS);
}

CUresult cuMemFree_v2(CUdeviceptr p)
{
    CUresult r = fake_enter_unsafe();

    if (r != CUDA_SUCCESS || p == 0)
        return fake_leave(r);
    fake_run_all();
    return fake_leave(block_free((const void *)(uintptr_t)p, false, false));
}

CUresult cuMemHostAlloc(void **p, size_t bytes, unsigned int flags)
{
    CUresult r = fake_enter_unsafe();

    if (r != CUDA_SUCCESS)
        return fake_leave(r);
    if (bytes == 0 || (flags & ~7u) != 0)
        return fake_leave(CUDA_ERROR_INVALID_VALUE);
    *p = fake_fails(FAKE_HOST) ? NULL : block_new(bytes, true);
    return fake_leave(*p ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY);
}

CUresult cuMemFreeHost(void *p)
{
    CUresult r = fake_enter_unsafe();

    if (r != CUDA_SUCCESS)
        return fake_leave(r);
    fake_run_all();
    return fake_leave(block_free(p, true, false));
}

CUresult cuMemHostRegister_v2(void *p, size_t bytes, unsigned int flags)
{
    CUresult r = fake_enter_unsafe();
    struct block *b;

    if (r != CUDA_SUCCESS)
        return fake_leave(r);
    if (!p || bytes == 0 || (flags & ~7u) != 0)
        return fake_leave(CUDA_ERROR_INVALID_VALUE);
    b = fake_fails(FAKE_HOST) ? NULL : calloc(1, sizeof(*b));
    if (!b)
        return fake_leave(CUDA_ERROR_OUT_OF_MEMORY);
    *b = (struct block){p, bytes, true, true, fake_context(), blocks};
    blocks = b;
    count(b->ctx, 1);
    return fake_leave(CUDA_SUCCESS);
}

CUresult cuMemHostUnregister(void *p)
{
    CUresult r = fake_enter_unsafe();

    if (r != CUDA_SUCCESS)
        return fake_leave(r);
    fake_run_all();
    return fake_leave(block_free(p, true, true));
}
