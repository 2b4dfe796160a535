/* emu_priv.h - What the files of the emulator share: the block being run. All
 * of it belongs to the thread that holds the launch lock.
 *
 *   emu.cc        launching, the order of blocks and threads
 *   emu_warp.cc   barriers and collectives
 *   emu_copy.cc   copies in the background, numbers of 16 bits
 *   emu_mem.cc    memory between guards, shared memory
 *   emu_switch.cc from one stack to another; faults */
#ifndef TG_KERNELS_CUDA_EMU_EMU_PRIV_H
#define TG_KERNELS_CUDA_EMU_EMU_PRIV_H

#ifndef TG_EMU
#define TG_EMU
#endif

#include "kernels/cuda/emu/emu.h"
#include "kernels/cuda/emu/emu_run.h"

/* A copy to shared memory under way. */
struct emu_copy {
    char *dst;
    const void *src;
    unsigned bytes;
    unsigned group;
    bool ok;
};

enum emu_op {
    EMU_RUNS,
    EMU_DONE,
    EMU_PDL_WAIT,
    EMU_SYNCTHREADS,
    EMU_SYNCWARP,
    EMU_BALLOT,
    EMU_SHFL,
    EMU_LDMATRIX,
    EMU_LDMATRIX_TRANS,
    EMU_MMA_BF16,
    EMU_MMA_F16
};

/* A thread of the block. */
struct emu_thread {
    void *sp;        /* where it stopped */
    enum emu_op op;  /* what it waits at */
    uint32_t in[10]; /* operands of a collective */
    uint32_t out[4]; /* its result */
    struct emu_dim tid;
    struct emu_copy *copy; /* owned, kept from block to block */
    unsigned n_copy, max_copy;
    unsigned group; /* that copies issued are put in */
};

/* Lanes that wait for each other. */
struct emu_meet {
    enum emu_op op;
    uint32_t mask, here;
};

#define EMU_MEETS 32

struct emu_warp {
    uint32_t live;  /* lanes that have not returned */
    uint32_t ready; /* lanes that can run and do not */
    unsigned first; /* lane that is looked at first for being ready */
    struct emu_meet meet[EMU_MEETS];
    unsigned n_meet;
};

struct emu_block {
    const struct emu_kernel *kernel;
    const void *args;
    unsigned level;            /* 1: within a pdl_wait() */
    struct emu_thread *thread; /* EMU_THREADS_MAX of them */
    struct emu_warp warp[EMU_THREADS_MAX / 32];
    uint32_t ready; /* warps that have lanes ready */
    unsigned n_thread, n_live;
    unsigned n_barrier; /* threads at the barrier */
    uint32_t n_true;    /* of them with a true value */
    int bar_op;
    struct emu_thread *cur;
    unsigned cur_warp;
    bool running, failed;
    int (*before)(void *arg); /* to be called at pdl_wait(), or NULL */
    void *before_arg;
    bool waited;     /* some thread of the grid called pdl_wait() */
    unsigned n_wait; /* threads that wait there */
    void *main_sp;   /* the launching thread's */
    size_t smem;
    char why[512];
};

extern EMU_HIDDEN struct emu_block emu_b;

/* Stop here, resume where <to> stopped. */
extern "C" EMU_HIDDEN void emu_switch(void **save, void *to);

/* Launches that are in each other, at most: one runs in a pdl_wait(). */
#define EMU_LEVELS 2

/* Memory for the stack of thread <i> of a level, prepared so that switching to
 * the answer calls emu_thread_main() on it; NULL without memory. */
EMU_HIDDEN void *emu_stack(unsigned level, unsigned i);

/* Where a thread begins; does not return. */
extern "C" EMU_HIDDEN void emu_thread_main(void);

/* End the launch, for a reason. Called by a thread of the block. */
[[noreturn]] EMU_HIDDEN void emu_fail(const char *fmt, ...)
    __attribute__((format(printf, 1, 2)));

/* Turn faults of this thread into failures of the launch, and back. */
EMU_HIDDEN void emu_faults_on(void);
EMU_HIDDEN void emu_faults_off(void);

/* Let another thread run; it comes back once this one is ready again and its
 * turn comes. <change>: of another warp, by choice. */
EMU_HIDDEN void emu_next(bool change);

/* The running thread has returned: those who waited for it alone go on. */
EMU_HIDDEN void emu_left(void);

/* The kernel in front has run: the threads that waited for it go on. */
EMU_HIDDEN void emu_before_done(void);

/* "12 threads at __syncthreads, ..." */
EMU_HIDDEN void emu_say_waiting(char *out, size_t n_out);

/* Prepare shared memory for a block: dynamic memory of emu_b.smem bytes, all of
 * it and static memory filled. false: no memory. */
EMU_HIDDEN bool emu_shared_ready(void);

/* Copy the block's shared memory to memory that the caller frees, NULL without
 * memory; and back. */
EMU_HIDDEN void *emu_shared_save(void);
EMU_HIDDEN bool emu_shared_restore(const void *saved);

/* Whether <p>, 16 bytes, lies in shared memory. */
EMU_HIDDEN bool emu_is_shared(const void *p);

/* Whether nothing was written behind dynamic memory. */
EMU_HIDDEN bool emu_shared_whole(void);

#endif
