/* tk_cuda_fake.c - The fake driver: work is done in an order that streams and
 * events allow and no other, copies are done late, recordings hold arguments by
 * value, limits are enforced, and errors stay. */
#include <dlfcn.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "kernels/cuda/blas.h"
#include "kernels/cuda/emu/fake.h"
#include "kernels/emu_kernels.h"

enum { N = 300, SEEDS = 30 };

/* A device with a module, memory and two streams. */
struct gpu {
    CUcontext ctx;
    CUmodule module;
    CUfunction add, sum;
    CUstream s[2];
    CUevent e;
    int32_t *host, *host2; /* pinned, N */
    CUdeviceptr x, y, z;   /* N */
};

#define OK(call) assert_int_equal(call, CUDA_SUCCESS)

static void gpu_open(struct gpu *g)
{
    OK(cuInit(0));
    OK(cuCtxCreate_v2(&g->ctx, 0, 0));
    OK(cuCtxSetCurrent(g->ctx));
    OK(cuModuleLoadData(&g->module, ""));
    OK(cuModuleGetFunction(&g->add, g->module, "emu_add"));
    OK(cuModuleGetFunction(&g->sum, g->module, "emu_sum"));
    OK(cuStreamCreate(&g->s[0], CU_STREAM_NON_BLOCKING));
    OK(cuStreamCreate(&g->s[1], CU_STREAM_NON_BLOCKING));
    OK(cuEventCreate(&g->e, CU_EVENT_DISABLE_TIMING));
    OK(cuMemHostAlloc((void **)&g->host, N * 4, 0));
    OK(cuMemHostAlloc((void **)&g->host2, N * 4, 0));
    OK(cuMemAlloc_v2(&g->x, N * 4));
    OK(cuMemAlloc_v2(&g->y, N * 4));
    OK(cuMemAlloc_v2(&g->z, N * 4));
    for (int i = 0; i < N; i++)
        g->host[i] = i;
}

static void gpu_close(struct gpu *g)
{
    OK(cuMemFree_v2(g->x));
    OK(cuMemFree_v2(g->y));
    OK(cuMemFree_v2(g->z));
    OK(cuMemFreeHost(g->host));
    OK(cuMemFreeHost(g->host2));
    OK(cuEventDestroy_v2(g->e));
    OK(cuStreamDestroy_v2(g->s[0]));
    OK(cuStreamDestroy_v2(g->s[1]));
    OK(cuModuleUnload(g->module));
    OK(cuCtxDestroy_v2(g->ctx));
    assert_int_equal(fakecuda_live(), 0);
}

/* Queue to = from + by. */
static CUresult add(struct gpu *g, CUdeviceptr from, CUdeviceptr to, int by,
                    CUstream s)
{
    struct emu_add_args a = {(const int32_t *)(uintptr_t)from,
                             (int32_t *)(uintptr_t)to, by, N, ADD_RIGHT};
    CUlaunchAttribute early = {
        .id = CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION,
        .value = {.programmaticStreamSerializationAllowed = 1},
    };
    const CUlaunchConfig c = {3, 1, 1, 128, 1, 1, 0, s, &early, 1};
    void *params[1] = {&a};
    CUresult r = cuLaunchKernelEx(&c, g->add, params, NULL);

    memset(&a, 0xee, sizeof(a)); /* it was copied */
    return r;
}

static CUresult up(struct gpu *g, CUdeviceptr to, CUstream s)
{
    return cuMemcpyHtoDAsync_v2(to, g->host, N * 4, s);
}

static CUresult down(struct gpu *g, CUdeviceptr from, CUstream s)
{
    return cuMemcpyDtoHAsync_v2(g->host2, from, N * 4, s);
}

/* Whether what came down is the numbers from <first> on. */
static bool is_from(const struct gpu *g, int first)
{
    for (int i = 0; i < N; i++) {
        if (g->host2[i] != first + i)
            return false;
    }
    return true;
}

/* --- order ---------------------------------------------------------------- */

static void a_stream_keeps_its_order(void **state)
{
    struct gpu g;

    (void)state;
    gpu_open(&g);
    for (unsigned seed = 0; seed < SEEDS; seed++) {
        emu_seed(seed);
        OK(up(&g, g.x, g.s[0]));
        OK(add(&g, g.x, g.y, 1, g.s[0]));
        OK(add(&g, g.y, g.z, 1, g.s[0]));
        OK(add(&g, g.z, g.x, 1, g.s[0]));
        OK(cuMemcpyDtoDAsync_v2(g.y, g.x, N * 4, g.s[0]));
        OK(down(&g, g.y, g.s[0]));
        OK(cuMemsetD8Async(g.y, 0, N * 4, g.s[0]));
        OK(cuStreamSynchronize(g.s[0]));
        OK(cuStreamQuery(g.s[0]));
        assert_true(is_from(&g, 3));
    }
    gpu_close(&g);
}

static void a_copy_is_done_late(void **state)
{
    struct gpu g;
    unsigned late = 0;

    (void)state;
    gpu_open(&g);
    for (unsigned seed = 0; seed < SEEDS; seed++) {
        emu_seed(seed);
        OK(up(&g, g.x, g.s[0]));
        g.host[7] = -1;
        OK(down(&g, g.x, g.s[0]));
        OK(cuStreamSynchronize(g.s[0]));
        late += g.host2[7] == -1;
        g.host[7] = 7;
    }
    assert_true(late > 0);
    gpu_close(&g);
}

/* One stream makes what another copies; how often that comes out right. */
static unsigned rights(struct gpu *g, bool wait)
{
    unsigned right = 0;

    for (unsigned seed = 0; seed < SEEDS; seed++) {
        emu_seed(seed);
        OK(cuMemsetD8Async(g->y, 0, N * 4, g->s[0]));
        OK(up(g, g->x, g->s[0]));
        OK(cuCtxSynchronize());
        OK(add(g, g->x, g->y, 5, g->s[0]));
        OK(cuEventRecord(g->e, g->s[0]));
        if (wait)
            OK(cuStreamWaitEvent(g->s[1], g->e, 0));
        OK(down(g, g->y, g->s[1]));
        OK(cuStreamSynchronize(g->s[1]));
        right += is_from(g, 5);
        OK(cuCtxSynchronize());
    }
    return right;
}

static void streams_wait_by_events_alone(void **state)
{
    struct gpu g;

    (void)state;
    gpu_open(&g);
    assert_int_equal(rights(&g, true), SEEDS);
    assert_true(rights(&g, false) < SEEDS);
    gpu_close(&g);
}

static void an_event_tells_the_end(void **state)
{
    struct gpu g;
    unsigned not_yet = 0;

    (void)state;
    gpu_open(&g);
    OK(cuEventQuery(g.e));
    OK(cuEventSynchronize(g.e));
    OK(cuStreamWaitEvent(g.s[0], g.e, 0));
    for (unsigned seed = 0; seed < SEEDS; seed++) {
        CUresult r;

        emu_seed(seed);
        OK(up(&g, g.x, g.s[0]));
        OK(down(&g, g.x, g.s[0]));
        OK(cuEventRecord(g.e, g.s[0]));
        while ((r = cuEventQuery(g.e)) == CUDA_ERROR_NOT_READY)
            not_yet++;
        OK(r);
        assert_true(is_from(&g, 0));
        memset(g.host2, 0, N * 4);
    }
    assert_true(not_yet > 0);
    gpu_close(&g);
}

/* --- recording ------------------------------------------------------------ */

static void begin(struct gpu *g)
{
    OK(cuStreamBeginCapture_v2(g->s[0], CU_STREAM_CAPTURE_MODE_THREAD_LOCAL));
}

static void a_recording_is_replayed(void **state)
{
    struct gpu g;
    CUgraph graph;
    CUgraphExec exec;

    (void)state;
    gpu_open(&g);
    OK(cuMemsetD8Async(g.z, 0, N * 4, g.s[0]));
    OK(cuCtxSynchronize());
    begin(&g);
    OK(up(&g, g.x, g.s[0]));
    OK(add(&g, g.x, g.y, 2, g.s[0]));
    OK(add(&g, g.y, g.z, 2, g.s[0]));
    OK(cuStreamEndCapture(g.s[0], &graph));
    OK(down(&g, g.z, g.s[0]));
    OK(cuStreamSynchronize(g.s[0]));
    assert_int_equal(g.host2[9], 0); /* nothing ran */
    OK(cuGraphInstantiateWithFlags(&exec, graph, 0));
    OK(cuGraphDestroy(graph));
    for (int k = 0; k < 5; k++) {
        for (int i = 0; i < N; i++)
            g.host[i] = i + 10 * k;
        OK(cuGraphLaunch(exec, g.s[0]));
        OK(down(&g, g.z, g.s[0]));
        OK(cuStreamSynchronize(g.s[0]));
        assert_true(is_from(&g, 10 * k + 4));
    }
    OK(cuGraphLaunch(exec, g.s[0]));
    OK(cuGraphExecDestroy(exec));
    gpu_close(&g);
}

static void a_recording_has_rules(void **state)
{
    struct gpu g;
    CUgraph graph;
    CUdeviceptr p;

    (void)state;
    gpu_open(&g);
    begin(&g); /* memory may not be taken */
    assert_int_equal(cuMemAlloc_v2(&p, 4),
                     CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
    assert_int_equal(add(&g, g.x, g.y, 1, g.s[0]),
                     CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
    assert_int_equal(cuStreamEndCapture(g.s[0], &graph),
                     CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
    begin(&g); /* what is recorded cannot be waited for */
    assert_int_equal(cuStreamSynchronize(g.s[0]),
                     CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
    assert_int_equal(cuStreamEndCapture(g.s[0], &graph),
                     CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
    OK(cuEventRecord(g.e, g.s[1]));
    begin(&g); /* what was queued before cannot be waited for */
    assert_int_equal(cuStreamWaitEvent(g.s[0], g.e, 0),
                     CUDA_ERROR_STREAM_CAPTURE_ISOLATION);
    assert_int_equal(cuStreamEndCapture(g.s[0], &graph),
                     CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
    assert_int_equal(cuStreamBeginCapture_v2(NULL, 0),
                     CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
    OK(add(&g, g.x, g.y, 1, g.s[0]));
    gpu_close(&g);
}

/* Record work of two streams; whether the second is joined. */
static CUresult fork_record(struct gpu *g, bool join, CUgraph *graph)
{
    begin(g);
    OK(up(g, g->x, g->s[0]));
    OK(cuEventRecord(g->e, g->s[0]));
    OK(cuStreamWaitEvent(g->s[1], g->e, 0));
    OK(add(g, g->x, g->y, 1, g->s[1]));
    assert_int_equal(cuEventQuery(g->e), CUDA_ERROR_CAPTURED_EVENT);
    OK(cuEventRecord(g->e, g->s[1]));
    if (join)
        OK(cuStreamWaitEvent(g->s[0], g->e, 0));
    return cuStreamEndCapture(g->s[0], graph);
}

static void a_recording_may_fork_and_must_join(void **state)
{
    struct gpu g;
    CUgraph graph;
    CUgraphExec exec;

    (void)state;
    gpu_open(&g);
    assert_int_equal(fork_record(&g, false, &graph),
                     CUDA_ERROR_STREAM_CAPTURE_UNJOINED);
    OK(fork_record(&g, true, &graph));
    OK(cuGraphInstantiateWithFlags(&exec, graph, 0));
    OK(cuGraphLaunch(exec, g.s[0]));
    OK(down(&g, g.y, g.s[0]));
    OK(cuStreamSynchronize(g.s[0]));
    assert_true(is_from(&g, 1));
    OK(cuGraphExecDestroy(exec));
    OK(cuGraphDestroy(graph));
    gpu_close(&g);
}

/* --- limits --------------------------------------------------------------- */

static CUresult launch(CUfunction f, unsigned threads, unsigned smem)
{
    struct emu_sum_args a = {NULL, NULL, 0, SUM_RIGHT};
    const CUlaunchConfig c = {.gridDimX = 1,
                              .gridDimY = 1,
                              .gridDimZ = 1,
                              .blockDimX = threads,
                              .blockDimY = 1,
                              .blockDimZ = 1,
                              .sharedMemBytes = smem};
    void *params[1] = {&a};

    return cuLaunchKernelEx(&c, f, params, NULL);
}

static void what_is_too_much_is_refused(void **state)
{
    const CUfunction_attribute most =
        CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
    struct gpu g;
    CUfunction f;
    size_t free_bytes, all_bytes, now_bytes;
    CUdeviceptr p;

    (void)state;
    gpu_open(&g);
    assert_int_equal(cuModuleGetFunction(&f, g.module, "emu_none"),
                     CUDA_ERROR_NOT_FOUND);
    assert_int_equal(launch(g.sum, 257, 1024), CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(launch(g.sum, 0, 1024), CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(launch(g.sum, 1, 49153), CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(cuFuncSetAttribute(g.sum, most, (227 << 10) + 1),
                     CUDA_ERROR_INVALID_VALUE);
    OK(cuFuncSetAttribute(g.sum, most, 227 << 10));
    assert_int_equal(launch(g.sum, 1, (227 << 10) + 1),
                     CUDA_ERROR_INVALID_VALUE);
    OK(cuMemGetInfo_v2(&free_bytes, &all_bytes));
    assert_int_equal(cuMemAlloc_v2(&p, free_bytes + 1),
                     CUDA_ERROR_OUT_OF_MEMORY);
    OK(cuMemAlloc_v2(&p, free_bytes));
    OK(cuMemGetInfo_v2(&now_bytes, &all_bytes));
    assert_int_equal(now_bytes, 0);
    OK(cuMemFree_v2(p));
    gpu_close(&g);
}

static void copies_are_between_known_memories(void **state)
{
    struct gpu g;
    int32_t mine[N] = {0};

    (void)state;
    gpu_open(&g);
    assert_int_equal(cuMemcpyHtoDAsync_v2(g.x, mine, N * 4, g.s[0]),
                     CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(cuMemcpyHtoDAsync_v2(g.x + 4, g.host, N * 4, g.s[0]),
                     CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(cuMemcpyDtoHAsync_v2(g.host + 1, g.x, N * 4, g.s[0]),
                     CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(cuMemcpyDtoDAsync_v2(g.x, g.y + 4, N * 4, g.s[0]),
                     CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(cuMemsetD8Async(g.x, 0, N * 4 + 1, g.s[0]),
                     CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(cuMemFree_v2(g.x + 256), CUDA_ERROR_INVALID_VALUE);
    gpu_close(&g);
}

/* --- errors --------------------------------------------------------------- */

static void memory_runs_out_once(void **state)
{
    struct gpu g;
    CUdeviceptr p;
    void *h;

    (void)state;
    gpu_open(&g);
    assert_false(fakecuda_fail("nothing", 1));
    assert_true(fakecuda_fail("alloc", 2));
    assert_true(fakecuda_fail("host", 1));
    OK(cuMemAlloc_v2(&p, 4));
    OK(cuMemFree_v2(p));
    assert_int_equal(cuMemAlloc_v2(&p, 4), CUDA_ERROR_OUT_OF_MEMORY);
    OK(cuMemAlloc_v2(&p, 4));
    OK(cuMemFree_v2(p));
    assert_int_equal(cuMemHostAlloc(&h, 4, 0), CUDA_ERROR_OUT_OF_MEMORY);
    gpu_close(&g);
}

/* After an error everything answers it, until the context is reset. */
static void breaks(struct gpu *g, CUresult why)
{
    CUdeviceptr p;

    assert_int_equal(cuCtxSynchronize(), why);
    assert_int_equal(cuMemAlloc_v2(&p, 4), why);
    assert_int_equal(add(g, g->x, g->y, 1, g->s[0]), why);
    assert_int_equal(cuStreamSynchronize(g->s[0]), why);
    OK(cuCtxDestroy_v2(g->ctx));
}

static void an_error_stays(void **state)
{
    struct gpu g;
    struct emu_sum_args a = {NULL, NULL, 1000, SUM_RIGHT};
    const CUlaunchConfig c = {1, 1, 1, 256, 1, 1, 1024, NULL, NULL, 0};
    void *params[1] = {&a};

    (void)state;
    gpu_open(&g);
    assert_true(fakecuda_fail("copy", 2));
    (void)up(&g, g.x, g.s[0]);
    (void)up(&g, g.x, g.s[0]);
    breaks(&g, CUDA_ERROR_ILLEGAL_ADDRESS);
    gpu_open(&g);
    assert_true(fakecuda_fail("launch", 1));
    (void)add(&g, g.x, g.y, 1, g.s[0]);
    breaks(&g, CUDA_ERROR_LAUNCH_FAILED);
    gpu_open(&g);
    (void)cuLaunchKernelEx(&c, g.sum, params, NULL); /* reads address 0 */
    breaks(&g, CUDA_ERROR_ILLEGAL_ADDRESS);
    gpu_open(&g);
    gpu_close(&g);
}

static void a_context_must_be_chosen(void **state)
{
    struct gpu g;
    CUdeviceptr p;

    (void)state;
    gpu_open(&g);
    OK(cuCtxSetCurrent(NULL));
    assert_int_equal(cuMemAlloc_v2(&p, 4), CUDA_ERROR_INVALID_CONTEXT);
    OK(cuCtxSetCurrent(g.ctx));
    gpu_close(&g);
}

/* Read one byte of <p> in a process of its own: whether it lived. */
static bool can_read(CUdeviceptr p)
{
    pid_t pid = fork();
    int status = 0;

    if (pid == 0) {
        (void)signal(SIGSEGV, SIG_DFL); /* the test's frame would report it */
        _exit(*(const volatile char *)(uintptr_t)p == 1 ? 0 : 1);
    }
    assert_true(pid > 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status);
}

static void the_host_cannot_touch_device_memory(void **state)
{
    struct gpu g;

    (void)state;
    gpu_open(&g);
    OK(up(&g, g.x, g.s[0]));
    OK(cuCtxSynchronize());
    assert_false(can_read(g.x));
    assert_true(can_read((CUdeviceptr)(uintptr_t)g.host));
    OK(down(&g, g.x, g.s[0]));
    OK(cuCtxSynchronize());
    assert_true(is_from(&g, 0));
    gpu_close(&g);
}

static void all_that_is_asked_for_is_there(void **state)
{
    static const char *const names[] = {
#define NAME(member, symbol, params) #symbol,
        DRV_CALLS(NAME)
#undef NAME
#define NAME(member, symbol, type, params) #symbol,
            BLAS_CALLS(NAME)
#undef NAME
                DRV_FAKE_MARK,
        "fakecuda_fail", "fakecuda_live"};
    void *so = dlopen(TG_FAKECUDA, RTLD_NOW | RTLD_LOCAL);

    (void)state;
    if (!so)
        fail_msg("%s", dlerror());
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (!dlsym(so, names[i]))
            fail_msg("there is no %s", names[i]);
    }
    dlclose(so);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_stream_keeps_its_order),
        cmocka_unit_test(a_copy_is_done_late),
        cmocka_unit_test(streams_wait_by_events_alone),
        cmocka_unit_test(an_event_tells_the_end),
        cmocka_unit_test(a_recording_is_replayed),
        cmocka_unit_test(a_recording_has_rules),
        cmocka_unit_test(a_recording_may_fork_and_must_join),
        cmocka_unit_test(what_is_too_much_is_refused),
        cmocka_unit_test(copies_are_between_known_memories),
        cmocka_unit_test(memory_runs_out_once),
        cmocka_unit_test(an_error_stays),
        cmocka_unit_test(a_context_must_be_chosen),
        cmocka_unit_test(the_host_cannot_touch_device_memory),
        cmocka_unit_test(all_that_is_asked_for_is_there),
    };

    /* The program has no thread-local memory but the kernels'. */
    emu_fill_static(true);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
