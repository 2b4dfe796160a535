/* fake_kernel.c - The fake driver's modules, kernels, and recorded graphs. A
 * module is a name for all kernels that are linked into the library. */
#include "kernels/cuda/emu/fake.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What a block may have of dynamic shared memory if nobody asked for more. */
#define SMEM_UNASKED (48 << 10)

struct CUmod_st {
    char unused;
};

/* A kernel that was asked for; they are kept. */
struct CUfunc_st {
    const struct emu_kernel *kernel;
    size_t smem; /* most that a launch may ask for */
    struct CUfunc_st *next;
};

/* What is launched of a graph. */
struct CUgraphExec_st {
    struct fake_op *first; /* owned */
};

static CUfunction functions;

/* --- modules -------------------------------------------------------------- */

CUresult cuModuleLoadData(CUmodule *m, const void *image)
{
    CUresult r = fake_enter_unsafe();

    if (r != CUDA_SUCCESS)
        return fake_leave(r);
    *m = image ? calloc(1, sizeof(**m)) : NULL;
    if (!*m)
        return fake_leave(image ? CUDA_ERROR_OUT_OF_MEMORY
                                : CUDA_ERROR_INVALID_IMAGE);
    fake_count(1);
    return fake_leave(CUDA_SUCCESS);
}

CUresult cuModuleUnload(CUmodule m)
{
    CUresult r = fake_enter_unsafe();

    if (r != CUDA_SUCCESS)
        return fake_leave(r);
    fake_run_all();
    free(m);
    fake_count(-1);
    return fake_leave(CUDA_SUCCESS);
}

CUresult cuModuleGetFunction(CUfunction *f, CUmodule m, const char *name)
{
    CUresult r = fake_enter();
    const struct emu_kernel *k = emu_kernel_find(name);
    CUfunction n = functions;

    if (r != CUDA_SUCCESS || !m)
        return fake_leave(r != CUDA_SUCCESS ? r : CUDA_ERROR_INVALID_HANDLE);
    if (!k)
        return fake_leave(CUDA_ERROR_NOT_FOUND);
    while (n && n->kernel != k)
        n = n->next;
    if (!n) {
        n = calloc(1, sizeof(*n));
        if (!n)
            return fake_leave(CUDA_ERROR_OUT_OF_MEMORY);
        n->kernel = k;
        n->smem = SMEM_UNASKED;
        n->next = functions;
        functions = n;
    }
    *f = n;
    return fake_leave(CUDA_SUCCESS);
}

/* --- kernels -------------------------------------------------------------- */

/* Most dynamic shared memory of a block of the device. */
static size_t smem_most(void)
{
    int v = 0;

    (void)cuDeviceGetAttribute(
        &v, CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN, 0);
    return (size_t)v;
}

CUresult cuFuncGetAttribute(int *value, CUfunction_attribute a, CUfunction f)
{
    CUresult r = fake_enter();

    if (r != CUDA_SUCCESS || !f)
        return fake_leave(r != CUDA_SUCCESS ? r : CUDA_ERROR_INVALID_HANDLE);
    if (a == CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES)
        *value = (int)f->smem;
    else
        *value = a == CU_FUNC_ATTRIBUTE_NUM_REGS ? 64 : 0;
    return fake_leave(CUDA_SUCCESS);
}

CUresult cuFuncSetAttribute(CUfunction f, CUfunction_attribute a, int value)
{
    CUresult r = fake_enter();

    if (r != CUDA_SUCCESS || !f)
        return fake_leave(r != CUDA_SUCCESS ? r : CUDA_ERROR_INVALID_HANDLE);
    if (a == CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT)
        return fake_leave(CUDA_SUCCESS);
    if (a != CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES || value < 0 ||
        (size_t)value > smem_most())
        return fake_leave(CUDA_ERROR_INVALID_VALUE);
    f->smem = (size_t)value;
    return fake_leave(CUDA_SUCCESS);
}

CUresult cuOccupancyMaxActiveBlocksPerMultiprocessor(int *blocks, CUfunction f,
                                                     int threads, size_t smem)
{
    CUresult r = fake_enter();
    size_t by_smem = (smem_most() + 1024) / (smem + 1024);
    size_t by_threads;

    if (r != CUDA_SUCCESS || !f || threads <= 0)
        return fake_leave(r != CUDA_SUCCESS ? r : CUDA_ERROR_INVALID_VALUE);
    by_threads = 1024 / (size_t)threads; /* of 64 registers each */
    *blocks = (int)(by_smem < by_threads ? by_smem : by_threads);
    return fake_leave(CUDA_SUCCESS);
}

/* Whether a launch may ask for these. */
static bool attributes_known(const CUlaunchConfig *c)
{
    for (unsigned i = 0; i < c->numAttrs; i++) {
        const CUlaunchAttribute *a = &c->attrs[i];

        if (a->id != CU_LAUNCH_ATTRIBUTE_IGNORE &&
            a->id != CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION)
            return false;
    }
    return true;
}

/* Whether it may begin before its predecessor ended. */
static bool is_early(const CUlaunchConfig *c)
{
    for (unsigned i = 0; i < c->numAttrs; i++) {
        const CUlaunchAttribute *a = &c->attrs[i];

        if (a->id == CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION)
            return a->value.programmaticStreamSerializationAllowed != 0;
    }
    return false;
}

/* Why <f> cannot be launched so, NULL: it can. */
static const char *refused(const CUlaunchConfig *c, CUfunction f)
{
    uint64_t threads = (uint64_t)c->blockDimX * c->blockDimY * c->blockDimZ;

    if (c->gridDimX == 0 || c->gridDimY == 0 || c->gridDimZ == 0 ||
        c->gridDimX > 0x7fffffff || c->gridDimY > 65535 || c->gridDimZ > 65535)
        return "a grid that is empty or too large";
    if (threads == 0 || threads > emu_kernel_threads(f->kernel))
        return "more threads than KERNEL() says, or none";
    if (c->sharedMemBytes > f->smem)
        return "more dynamic shared memory than was asked for";
    if (!attributes_known(c))
        return "an attribute that is not known here";
    return NULL;
}

CUresult cuLaunchKernelEx(const CUlaunchConfig *config, CUfunction f,
                          void **params, void **extra)
{
    CUresult r = fake_enter();
    const char *no = f && params && !extra ? refused(config, f) : "no kernel";
    struct fake_op *op;

    if (r != CUDA_SUCCESS)
        return fake_leave(r);
    if (no) {
        fprintf(stderr, "fakecuda: launch refused: %s\n", no);
        return fake_leave(CUDA_ERROR_INVALID_VALUE);
    }
    op = fake_op_new(FAKE_OP_LAUNCH, params[0], emu_kernel_args(f->kernel));
    if (op) {
        op->kernel = f->kernel;
        op->grid.x = config->gridDimX;
        op->grid.y = config->gridDimY;
        op->grid.z = config->gridDimZ;
        op->block.x = config->blockDimX;
        op->block.y = config->blockDimY;
        op->block.z = config->blockDimZ;
        op->smem = config->sharedMemBytes;
        op->early = is_early(config);
    }
    return fake_leave(fake_queue(config->hStream, op));
}

/* --- copies --------------------------------------------------------------- */

/* Queue a copy between <device>, of which device memory must have <bytes>, and
 * <host>, which must be pinned, for a real driver would wait for others. */
static CUresult copy(void *dst, const void *src, size_t bytes,
                     const void *device, const void *host, CUstream s)
{
    CUresult r = fake_enter();
    struct fake_op *op;

    if (r != CUDA_SUCCESS || bytes == 0)
        return fake_leave(r);
    if (!emu_owns(device, bytes) || fake_pinned(device, bytes)) {
        fprintf(stderr,
                "fakecuda: a copy of %zu bytes is not within a block "
                "of device memory\n",
                bytes);
        return fake_leave(CUDA_ERROR_INVALID_VALUE);
    }
    if (!fake_pinned(host, bytes) &&
        (!emu_owns(host, bytes) || host == device)) {
        fprintf(stderr, "fakecuda: a copy from or to memory of the host that "
                        "is not pinned\n");
        return fake_leave(CUDA_ERROR_INVALID_VALUE);
    }
    op = fake_op_new(FAKE_OP_COPY, NULL, 0);
    if (op) {
        op->dst = dst;
        op->src = src;
        op->bytes = bytes;
    }
    return fake_leave(fake_queue(s, op));
}

CUresult cuMemcpyHtoDAsync_v2(CUdeviceptr dst, const void *src, size_t bytes,
                              CUstream s)
{
    void *d = (void *)(uintptr_t)dst;

    return copy(d, src, bytes, d, src, s);
}

CUresult cuMemcpyDtoHAsync_v2(void *dst, CUdeviceptr src, size_t bytes,
                              CUstream s)
{
    const void *d = (const void *)(uintptr_t)src;

    return copy(dst, d, bytes, d, dst, s);
}

CUresult cuMemcpyDtoDAsync_v2(CUdeviceptr dst, CUdeviceptr src, size_t bytes,
                              CUstream s)
{
    void *to = (void *)(uintptr_t)dst;
    const void *from = (const void *)(uintptr_t)src;

    return copy(to, from, bytes, to, from, s);
}

CUresult cuMemsetD8Async(CUdeviceptr dst, unsigned char byte, size_t n,
                         CUstream s)
{
    CUresult r = fake_enter();
    void *d = (void *)(uintptr_t)dst;
    struct fake_op *op;

    if (r != CUDA_SUCCESS || n == 0)
        return fake_leave(r);
    if (!emu_owns(d, n))
        return fake_leave(CUDA_ERROR_INVALID_VALUE);
    op = fake_op_new(FAKE_OP_MEMSET, NULL, 0);
    if (op) {
        op->dst = d;
        op->bytes = n;
        op->byte = byte;
    }
    return fake_leave(fake_queue(s, op));
}

/* --- recorded graphs ------------------------------------------------------ */

CUresult cuStreamBeginCapture_v2(CUstream s, CUstreamCaptureMode mode)
{
    CUresult r = fake_enter();
    CUgraph g;

    if (r != CUDA_SUCCESS)
        return fake_leave(r);
    if (!s) /* the default stream cannot be */
        return fake_leave(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
    if (s->capture)
        return fake_leave(CUDA_ERROR_INVALID_VALUE);
    g = calloc(1, sizeof(*g));
    if (!g)
        return fake_leave(CUDA_ERROR_OUT_OF_MEMORY);
    g->last = &g->first;
    g->mode = mode;
    g->origin = s;
    g->thread = (unsigned long)pthread_self();
    s->capture = g;
    s->ops = 0;
    s->seen = 0;
    fake_count(1);
    return fake_leave(CUDA_SUCCESS);
}

static void ops_free(struct fake_op *op)
{
    while (op) {
        struct fake_op *next = op->next;

        fake_op_free(op);
        op = next;
    }
}

static void graph_free(CUgraph g)
{
    ops_free(g->first);
    free(g);
    fake_count(-1);
}

CUresult cuStreamEndCapture(CUstream s, CUgraph *g_out)
{
    CUresult r = fake_enter();
    CUgraph g = s ? s->capture : NULL;

    *g_out = NULL;
    if (!g || g->origin != s)
        return fake_leave(r != CUDA_SUCCESS ? r : CUDA_ERROR_INVALID_VALUE);
    if (r == CUDA_SUCCESS && g->mode != CU_STREAM_CAPTURE_MODE_RELAXED &&
        g->thread != (unsigned long)pthread_self())
        return fake_leave(CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD);
    if (r == CUDA_SUCCESS && (g->failed || fake_fails(FAKE_CAPTURE)))
        r = CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
    if (r == CUDA_SUCCESS && !fake_capture_joined(g))
        r = CUDA_ERROR_STREAM_CAPTURE_UNJOINED;
    fake_capture_leave(g);
    if (r == CUDA_SUCCESS)
        *g_out = g;
    else
        graph_free(g);
    return fake_leave(r);
}

/* Copies of a list of operations, each put where *last points to; false
 * without memory. */
static bool ops_copy(const struct fake_op *op, struct fake_op **last)
{
    for (; op; op = op->next) {
        struct fake_op *n = fake_op_new(op->kind, op->arg, op->n_arg);

        if (!n)
            return false;
        n->kernel = op->kernel;
        n->grid = op->grid;
        n->block = op->block;
        n->smem = op->smem;
        n->early = op->early;
        n->dst = op->dst;
        n->src = op->src;
        n->bytes = op->bytes;
        n->byte = op->byte;
        n->call = op->call;
        *last = n;
        last = &n->next;
    }
    return true;
}

CUresult cuGraphInstantiateWithFlags(CUgraphExec *e, CUgraph g,
                                     unsigned long long flags)
{
    CUresult r = fake_enter();
    CUgraphExec n;

    if (r != CUDA_SUCCESS || !g)
        return fake_leave(r != CUDA_SUCCESS ? r : CUDA_ERROR_INVALID_VALUE);
    (void)flags;
    n = fake_fails(FAKE_GRAPH) ? NULL : calloc(1, sizeof(*n));
    if (!n || !ops_copy(g->first, &n->first)) {
        if (n)
            ops_free(n->first);
        free(n);
        return fake_leave(CUDA_ERROR_OUT_OF_MEMORY);
    }
    *e = n;
    fake_count(1);
    return fake_leave(CUDA_SUCCESS);
}

CUresult cuGraphLaunch(CUgraphExec e, CUstream s)
{
    CUresult r = fake_enter();
    struct fake_op *ops = NULL;

    if (r != CUDA_SUCCESS || !e)
        return fake_leave(r != CUDA_SUCCESS ? r : CUDA_ERROR_INVALID_HANDLE);
    if (fake_stream(s)->capture)
        return fake_leave(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
    if (!ops_copy(e->first, &ops)) {
        ops_free(ops);
        return fake_leave(CUDA_ERROR_OUT_OF_MEMORY);
    }
    while (ops) {
        struct fake_op *next = ops->next;

        ops->next = NULL;
        (void)fake_queue(s, ops);
        ops = next;
    }
    return fake_leave(CUDA_SUCCESS);
}

/* What was launched of it goes on. */
CUresult cuGraphExecDestroy(CUgraphExec e)
{
    CUresult r = fake_enter();

    if (!e)
        return fake_leave(CUDA_ERROR_INVALID_HANDLE);
    ops_free(e->first);
    free(e);
    fake_count(-1);
    return fake_leave(r);
}

CUresult cuGraphDestroy(CUgraph g)
{
    CUresult r = fake_enter();

    if (!g)
        return fake_leave(CUDA_ERROR_INVALID_HANDLE);
    graph_free(g);
    return fake_leave(r);
}
