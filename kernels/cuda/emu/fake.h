/* fake.h - What the files of the fake driver share. It exports the driver's
 * functions that drv.h names and runs kernels on the emulator. A call puts work
 * into a stream's queue; work is done at moments that the seed chooses, as late
 * as the next wait for it, in any order that streams and events allow. One lock
 * is held by every call. An error of a kernel or a copy stays in its context
 * until that is destroyed.
 *
 *   fake_drv.c    the device, the context, memory
 *   fake_queue.c  streams, events, doing what is queued
 *   fake_kernel.c modules, kernels, recorded graphs
 *   fake_blas.c   the functions of cuBLASLt that blas.h names
 *
 * From the environment:
 *   TG_EMU_SEED      where chance begins
 *   TG_FAKE_CC       compute capability, 90; TG_FAKE_CC_1 is device 1's
 *   TG_FAKE_SM       multiprocessors, 8
 *   TG_FAKE_DEVICES  how many devices there are, 1
 *   TG_FAKE_MEM      bytes of memory, 4 GiB
 *   TG_FAKE_HIDE     0: the host may touch device memory, which saves time
 *   TG_FAKE_FAIL     "launch:3,alloc:1": see fakecuda_fail() */
#ifndef TG_KERNELS_CUDA_EMU_FAKE_H
#define TG_KERNELS_CUDA_EMU_FAKE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/cuda/drv.h"
#include "kernels/cuda/emu/emu_run.h"

/* A function that the library exports. */
#define FAKE_API __attribute__((visibility("default")))

/* The functions of drv.h, so that their parameters are compared with it. */
#define FAKE_PROTO(member, symbol, params) FAKE_API CUresult symbol params;
DRV_CALLS(FAKE_PROTO)
#undef FAKE_PROTO

/* The mark that tells that the driver is not a GPU's. */
extern FAKE_API const int fakecuda_mark;

/* Let the <n>th call from now on (1: the next) of <what> fail: "launch" and
 * "copy" when they are executed, for good; "alloc" and "host" for lack of
 * memory; "capture" at its end; "graph" when it is instantiated; n = 0: none.
 * false: there is no such <what>. */
FAKE_API bool fakecuda_fail(const char *what, unsigned n);

/* Blocks of device memory, of pinned memory, streams, events, graphs that are
 * not given back yet. */
FAKE_API unsigned fakecuda_live(void);

/* What can be made to fail. */
enum fake_what {
    FAKE_LAUNCH,
    FAKE_ALLOC,
    FAKE_HOST,
    FAKE_COPY,
    FAKE_CAPTURE,
    FAKE_GRAPH,
    FAKE_WHATS
};

/* Whether this call of <what> is the one that fails. */
bool fake_fails(enum fake_what what);

/* Every call begins by one of these and ends by fake_leave(). The answer is not
 * CUDA_SUCCESS when the call must end at once; the lock is held all the same.
 * fake_enter_unsafe() is for calls that may not be made while a stream is being
 * captured. */
CUresult fake_enter(void);
CUresult fake_enter_unsafe(void);
CUresult fake_leave(CUresult r);

/* The context that the call, or the work that is being done, is of. */
CUcontext fake_context(void);

/* Whose work is done until the next call; NULL: that of the calling thread. */
void fake_run_as(CUcontext ctx);

/* From now on every call of the context answers <r>. */
void fake_break(CUresult r, const char *why);

/* What it answers: CUDA_SUCCESS while nothing is broken. */
CUresult fake_broken(void);

/* A number of the environment. */
uint64_t fake_number(const char *name, uint64_t otherwise);

/* Count an object that is made (+1) or given back (-1). */
void fake_count(int by);

/* Whether all of <bytes> at <p> are pinned. */
bool fake_pinned(const void *p, size_t bytes);

/* Device memory cannot be touched by the host: it is hidden but while work is
 * done. */
void fake_show(void);

/* A moment that a stream reaches; counted. */
struct fake_mark {
    unsigned refs;
    bool reached;
    double at_ms;
};

/* Work of a stream. */
struct fake_op {
    enum fake_op_kind {
        FAKE_OP_LAUNCH,
        FAKE_OP_COPY,
        FAKE_OP_MEMSET,
        FAKE_OP_CALL,
        FAKE_OP_MARK,
        FAKE_OP_WAIT
    } kind;
    struct fake_op *next;
    const struct emu_kernel *kernel; /* launch */
    struct emu_size grid, block;
    size_t smem;
    bool early; /* a launch that may begin before the one in front ended */
    void *dst;  /* copy, memset */
    const void *src;
    size_t bytes;
    unsigned char byte;
    void (*call)(const void *arg);
    struct fake_mark *mark; /* counted */
    size_t n_arg;           /* of arg[], of a kernel or a call */
    _Alignas(16) unsigned char arg[];
};

/* Work recorded from a stream, in an order that may be executed. */
struct CUgraph_st {
    struct fake_op *first, **last; /* owned */
    bool failed;                   /* something not allowed was done */
    CUstreamCaptureMode mode;
    CUstream origin;
    unsigned long thread; /* that began it */
};

/* A queue. */
struct CUstream_st {
    CUcontext ctx;
    struct fake_op *first, **last; /* owned */
    CUgraph capture;               /* borrowed; NULL: none */
    unsigned ops;                  /* that it has added to capture */
    unsigned seen; /* of them, those that the origin waits for */
    struct CUstream_st *next;
};

/* An event: the last moment it was recorded at. */
struct CUevent_st {
    struct fake_mark *mark; /* counted; NULL: never recorded, or captured */
    CUgraph captured;       /* compared only */
    CUstream stream;        /* that it was captured in, borrowed */
    unsigned ops;           /* of that stream in the recording, then */
};

/* A new operation with room for an argument, whose <n_arg> bytes are copied;
 * NULL without memory. */
struct fake_op *fake_op_new(enum fake_op_kind kind, const void *arg,
                            size_t n_arg);

/* Free <op> and drop its mark. */
void fake_op_free(struct fake_op *op);

/* Put <op> at the end of <s>, NULL is the default stream, or into what is being
 * recorded of it; takes <op>, also when it is NULL (out of memory). */
CUresult fake_queue(CUstream s, struct fake_op *op);

/* The stream that <s> names. */
CUstream fake_stream(CUstream s);

/* Do some of what is queued, by chance; all of it; all of <s>. */
void fake_poke(void);
void fake_run_all(void);

/* A stream of this thread's context that is being captured, NULL: none. */
CUstream fake_capturing(void);

/* A stream whose capture forbids this thread what is not safe, NULL: none. */
CUstream fake_forbidding(void);

/* Free all streams of <ctx>, and forget what is queued in them. */
void fake_streams_drop(CUcontext ctx);

/* Take <s> out of its recording, and all streams that joined it. */
void fake_capture_leave(CUgraph g);

/* Whether all streams that joined the recording <g> are waited for. */
bool fake_capture_joined(CUgraph g);

#endif
