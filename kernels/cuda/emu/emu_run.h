/* emu_run.h - Launching kernels on the emulator: for the fake driver and for
 * small test programs that are linked with kernels and emu*.cc. One launch at a
 * time runs in a process; all functions may be called by any thread. */
#ifndef TG_KERNELS_CUDA_EMU_EMU_RUN_H
#define TG_KERNELS_CUDA_EMU_EMU_RUN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Most dynamic shared memory of a block, bytes, as on an H100. */
#define EMU_SMEM_MAX ((size_t)227 * 1024)

/* Most threads of a block. */
#define EMU_THREADS_MAX 1024

struct emu_kernel;

/* The kernel of that name, NULL: there is none such. Static. */
const struct emu_kernel *emu_kernel_find(const char *name);

/* Bytes of its argument, and most threads of a block. */
size_t emu_kernel_args(const struct emu_kernel *k);
unsigned emu_kernel_threads(const struct emu_kernel *k);

/* Sizes of a grid or a block. */
struct emu_size {
    unsigned x, y, z;
};

/* Run <k> with its argument <args>, which is copied; <smem> bytes of dynamic
 * shared memory. A kernel of which no thread calls pdl_wait() fails: what comes
 * behind it would not wait for what is in front of it. 0: it ran. -1: it could
 * not be launched or it failed; a sentence saying why goes to <why> (<n_why>
 * bytes). */
int emu_launch(const struct emu_kernel *k, struct emu_size grid,
               struct emu_size block, size_t smem, const void *args, char *why,
               size_t n_why);

/* The same, but <before> is called with <arg> when all threads of one block,
 * which chance chooses, wait at pdl_wait(), or after the block: the kernel in
 * front runs there, by emu_launch(). -1 also when <before> answers so. */
int emu_launch_early(const struct emu_kernel *k, struct emu_size grid,
                     struct emu_size block, size_t smem, const void *args,
                     int (*before)(void *arg), void *arg, char *why,
                     size_t n_why);

/* The same as emu_launch() by name, for a grid of <x> by <y> by <z> blocks of
 * <threads>; what went wrong is written to stderr. <args_size> must be the
 * kernel's. */
int emu_run(const char *name, unsigned x, unsigned y, unsigned z,
            unsigned threads, size_t smem, const void *args, size_t args_size);

/* Where the order of threads and blocks is drawn from; at start it is the
 * number in TG_EMU_SEED, or 1. */
void emu_seed(uint64_t seed);

/* A number below <n>, from the same source. */
unsigned emu_draw(unsigned n);

/* Whether thread-local memory of the object that the emulator is part of is
 * filled with 0xff for every block, since it is the kernels' static shared
 * memory. At start: in a shared library yes, in a program no. */
void emu_fill_static(bool on);

/* Memory between pages that nobody may touch, filled with 0xff, aligned to 256;
 * NULL without memory. Only pages written to take memory. */
void *emu_alloc(size_t bytes);

/* Give back <p> of emu_alloc(); false: it is none, or what lies around it up to
 * the next page was written to. NULL is fine. */
bool emu_free(void *p);

/* Let nobody touch the block <p> of emu_alloc(), or let all again. What is not
 * a block is left alone. */
void emu_hide(void *p, bool on);

/* Whether all of <bytes> at <p> lie in one block of emu_alloc(). */
bool emu_owns(const void *p, size_t bytes);

/* Say where <p> lies in words, for messages. */
void emu_where(const void *p, char *out, size_t n_out);

#ifdef __cplusplus
}
#endif

#endif
