/* emu.cc - Launching on the emulator: the registered kernels, the order of
 * blocks, and which thread of a block runs next. A warp goes on until its lanes
 * wait; then, or by the seed's choice, another one does. */
#include "kernels/cuda/emu/emu_priv.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

struct emu_block emu_b;
struct emu_dim emu_tid, emu_bid, emu_bdim, emu_gdim;
int emu_lane_now;

static struct emu_kernel *kernels;
static pthread_mutex_t launch_lock = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;
static uint64_t draw_state;

/* --- kernels -------------------------------------------------------------- */

void emu_register(struct emu_kernel *k)
{
    if (emu_kernel_find(k->name)) {
        fprintf(stderr, "emu: two kernels are called %s\n", k->name);
        exit(99);
    }
    k->next = kernels;
    kernels = k;
}

const struct emu_kernel *emu_kernel_find(const char *name)
{
    const struct emu_kernel *k = kernels;

    while (k && strcmp(k->name, name) != 0)
        k = k->next;
    return k;
}

size_t emu_kernel_args(const struct emu_kernel *k)
{
    return k->args_size;
}

unsigned emu_kernel_threads(const struct emu_kernel *k)
{
    return k->threads;
}

/* --- chance --------------------------------------------------------------- */

/* splitmix64, so that near seeds begin differently. */
static uint64_t mix(uint64_t v)
{
    v += 0x9e3779b97f4a7c15u;
    v = (v ^ v >> 30) * 0xbf58476d1ce4e5b9u;
    v = (v ^ v >> 27) * 0x94d049bb133111ebu;
    return v ^ v >> 31;
}

void emu_seed(uint64_t seed)
{
    __atomic_store_n(&draw_state, mix(seed) | 1, __ATOMIC_RELAXED);
}

/* Threads that draw at once may draw the same; nothing else comes of it. */
unsigned emu_draw(unsigned n)
{
    uint64_t d = __atomic_load_n(&draw_state, __ATOMIC_RELAXED);

    if (d == 0) {
        const char *s = getenv("TG_EMU_SEED");

        d = mix(s ? strtoull(s, NULL, 10) : 1) | 1;
    }
    d ^= d << 13;
    d ^= d >> 7;
    d ^= d << 17;
    __atomic_store_n(&draw_state, d, __ATOMIC_RELAXED);
    return (unsigned)((d >> 32) * n >> 32);
}

/* --- threads -------------------------------------------------------------- */

void emu_fail(const char *fmt, ...)
{
    va_list ap;
    void *gone;
    int n = snprintf(
        emu_b.why, sizeof emu_b.why,
        "%s block (%u,%u,%u) thread (%u,%u,%u): ", emu_b.kernel->name,
        emu_bid.x, emu_bid.y, emu_bid.z, emu_tid.x, emu_tid.y, emu_tid.z);

    va_start(ap, fmt);
    vsnprintf(emu_b.why + n, sizeof emu_b.why - (size_t)n, fmt, ap);
    va_end(ap);
    emu_b.failed = true;
    emu_switch(&gone, emu_b.main_sp);
    abort(); /* nothing switches back */
}

void emu_misaligned(const char *what, const void *p)
{
    emu_fail("%s of %p, which is not aligned", what, p);
}

/* The <k>th set bit of <v> from <from> on, round. */
static unsigned bit_from(uint32_t v, unsigned from)
{
    uint32_t r = from == 0 ? v : v >> from | v << (32 - from);

    return (from + (unsigned)__builtin_ctz(r)) % 32;
}

static void deadlock(void)
{
    char waiting[256];

    emu_say_waiting(waiting, sizeof waiting);
    emu_fail("deadlock: %s", waiting);
}

/* The thread to run next, of the warp that ran or, at <change>, of another by
 * chance; NULL: none can run. It is the running one from here on. */
static struct emu_thread *pick(bool change)
{
    struct emu_warp *w = &emu_b.warp[emu_b.cur_warp];
    struct emu_thread *t;
    unsigned lane;

    if (emu_b.ready == 0)
        return NULL;
    if (w->ready == 0 || (change && emu_draw(4) == 0)) {
        emu_b.cur_warp = bit_from(emu_b.ready, emu_draw(32));
        w = &emu_b.warp[emu_b.cur_warp];
        w->first = emu_draw(32);
    }
    lane = bit_from(w->ready, w->first);
    w->ready &= ~(1u << lane);
    if (w->ready == 0)
        emu_b.ready &= ~(1u << emu_b.cur_warp);
    t = &emu_b.thread[emu_b.cur_warp * 32 + lane];
    t->op = EMU_RUNS;
    emu_b.cur = t;
    emu_tid = t->tid;
    emu_lane_now = (int)lane;
    return t;
}

void emu_next(bool change)
{
    struct emu_thread *was = emu_b.cur;
    struct emu_thread *to = pick(change);

    if (!to && emu_b.n_live != 0 && emu_b.n_wait == 0)
        deadlock();
    if (to != was)
        emu_switch(&was->sp, to ? to->sp : emu_b.main_sp);
}

void emu_thread_main(void)
{
    emu_b.kernel->entry(emu_b.args);
    emu_left();
    emu_next(false);
    abort(); /* nothing switches back */
}

/* --- blocks --------------------------------------------------------------- */

static void block_begin(void)
{
    unsigned n = emu_b.n_thread, n_warp = (n + 31) / 32;

    for (unsigned i = 0; i < n; i++) {
        struct emu_thread *t = &emu_b.thread[i];

        t->sp = emu_stack(emu_b.level, i);
        t->op = EMU_RUNS;
        t->n_copy = 0;
        t->group = 0;
        t->tid.x = i % emu_bdim.x;
        t->tid.y = i / emu_bdim.x % emu_bdim.y;
        t->tid.z = i / emu_bdim.x / emu_bdim.y;
    }
    for (unsigned i = 0; i < n_warp; i++) {
        struct emu_warp *w = &emu_b.warp[i];
        unsigned lanes = n - 32 * i < 32 ? n - 32 * i : 32;

        w->live = w->ready = 0xffffffffu >> (32 - lanes);
        w->first = emu_draw(32);
        w->n_meet = 0;
    }
    emu_b.ready = 0xffffffffu >> (32 - n_warp);
    emu_b.n_live = n;
    emu_b.n_barrier = 0;
    emu_b.n_true = 0;
    emu_b.n_wait = 0;
    emu_b.cur_warp = emu_draw(n_warp);
}

/* Let the kernel in front run, within this one; shared memory and what tells
 * who runs are put back after it. */
static void before_run(void)
{
    static struct emu_block outer;
    static struct emu_thread *inner;
    struct emu_dim tid = emu_tid, bid = emu_bid, bdim = emu_bdim;
    struct emu_dim gdim = emu_gdim;
    void *shared = emu_shared_save();
    int (*before)(void *arg) = emu_b.before;
    int r;

    emu_b.before = NULL;
    outer = emu_b;
    emu_b.thread = inner;
    emu_b.level = 1;
    r = shared && before ? before(outer.before_arg) : -1;
    inner = emu_b.thread;
    emu_b = outer;
    emu_tid = tid;
    emu_bid = bid;
    emu_bdim = bdim;
    emu_gdim = gdim;
    if (!shared || !emu_shared_restore(shared) || r != 0) {
        emu_b.failed = true;
        snprintf(emu_b.why, sizeof emu_b.why,
                 "the kernel in front of %s failed", emu_b.kernel->name);
    }
    free(shared);
    emu_before_done();
}

/* Run the block emu_bid. */
static void block_run(void)
{
    block_begin();
    for (;;) {
        struct emu_thread *t = pick(true);

        emu_b.running = true;
        emu_switch(&emu_b.main_sp, t->sp);
        emu_b.running = false;
        if (emu_b.failed || emu_b.n_wait == 0)
            break;
        before_run();
        if (emu_b.failed)
            return;
    }
    if (!emu_b.failed && !emu_shared_whole()) {
        emu_b.failed = true;
        snprintf(emu_b.why, sizeof emu_b.why,
                 "%s block (%u,%u,%u) wrote behind its %zu bytes of dynamic "
                 "shared memory",
                 emu_b.kernel->name, emu_bid.x, emu_bid.y, emu_bid.z,
                 emu_b.smem);
    }
    if (!emu_b.failed && emu_b.before)
        before_run();
}

static uint64_t gcd(uint64_t a, uint64_t b)
{
    while (b != 0) {
        uint64_t r = a % b;

        a = b;
        b = r;
    }
    return a;
}

/* All blocks, in an order drawn. */
static void grid_run(void)
{
    uint64_t n = (uint64_t)emu_gdim.x * emu_gdim.y * emu_gdim.z;
    uint64_t stride = 1 + emu_draw(1u << 20), at = emu_draw(1u << 20) % n;

    while (gcd(stride, n) != 1)
        stride++;
    for (uint64_t i = 0; i < n && !emu_b.failed; i++) {
        emu_bid.x = (unsigned)(at % emu_gdim.x);
        emu_bid.y = (unsigned)(at / emu_gdim.x % emu_gdim.y);
        emu_bid.z = (unsigned)(at / emu_gdim.x / emu_gdim.y);
        if (!emu_shared_ready()) {
            emu_b.failed = true;
            snprintf(emu_b.why, sizeof emu_b.why, "no memory for a block");
            return;
        }
        block_run();
        at = (at + stride) % n;
    }
    if (!emu_b.failed && !emu_b.waited) {
        emu_b.failed = true;
        snprintf(emu_b.why, sizeof emu_b.why, "%s: no thread calls pdl_wait()",
                 emu_b.kernel->name);
    }
}

/* Why it cannot be launched so, NULL: it can. */
static const char *refused(const struct emu_kernel *k, struct emu_size grid,
                           struct emu_size block, size_t smem)
{
    if (grid.x == 0 || grid.y == 0 || grid.z == 0 || grid.y > 65535 ||
        grid.z > 65535 || grid.x > 0x7fffffff)
        return "the grid is empty or too large";
    if (block.x == 0 || block.y == 0 || block.z == 0 || block.z > 64 ||
        (uint64_t)block.x * block.y * block.z > k->threads)
        return "the block is empty or has more threads than KERNEL() says";
    if (k->threads > EMU_THREADS_MAX)
        return "KERNEL() says more than 1024 threads";
    if (smem > EMU_SMEM_MAX)
        return "more shared memory than there is";
    return NULL;
}

static bool block_alloc(void)
{
    if (!emu_b.thread)
        emu_b.thread =
            (struct emu_thread *)calloc(EMU_THREADS_MAX, sizeof *emu_b.thread);
    return emu_b.thread && emu_stack(emu_b.level, 0);
}

/* Run it; the launch lock is held. */
static int launch(const struct emu_kernel *k, struct emu_size grid,
                  struct emu_size block, size_t smem, const void *args)
{
    emu_b.kernel = k;
    emu_b.args = args;
    emu_b.n_thread = block.x * block.y * block.z;
    emu_b.smem = smem;
    emu_b.failed = false;
    emu_b.waited = false;
    emu_gdim = emu_dim{grid.x, grid.y, grid.z};
    emu_bdim = emu_dim{block.x, block.y, block.z};
    if (emu_b.level == 0)
        emu_faults_on();
    grid_run();
    if (emu_b.level == 0)
        emu_faults_off();
    return emu_b.failed ? -1 : 0;
}

int emu_launch_early(const struct emu_kernel *k, struct emu_size grid,
                     struct emu_size block, size_t smem, const void *args,
                     int (*before)(void *arg), void *arg, char *why,
                     size_t n_why)
{
    const char *no = refused(k, grid, block, smem);
    void *copy = aligned_alloc(128, (k->args_size + 127) & ~(size_t)127);
    int r = -1;

    pthread_mutex_lock(&launch_lock);
    if (!no && (!copy || (before && emu_b.level != 0) || !block_alloc()))
        no = "no memory";
    if (!no) {
        memcpy(copy, args, k->args_size);
        emu_b.before = before;
        emu_b.before_arg = arg;
        r = launch(k, grid, block, smem, copy);
    }
    if (r != 0)
        snprintf(why, n_why, "%s%s%s", no ? k->name : "", no ? ": " : "",
                 no ? no : emu_b.why);
    pthread_mutex_unlock(&launch_lock);
    free(copy);
    return r;
}

int emu_launch(const struct emu_kernel *k, struct emu_size grid,
               struct emu_size block, size_t smem, const void *args, char *why,
               size_t n_why)
{
    return emu_launch_early(k, grid, block, smem, args, NULL, NULL, why, n_why);
}

int emu_run(const char *name, unsigned x, unsigned y, unsigned z,
            unsigned threads, size_t smem, const void *args, size_t args_size)
{
    const struct emu_kernel *k = emu_kernel_find(name);
    struct emu_size grid = {x, y, z}, block = {threads, 1, 1};
    char why[512];

    if (!k || k->args_size != args_size) {
        fprintf(stderr, "emu: %s: %s\n", name,
                k ? "its argument has another size" : "no such kernel");
        return -1;
    }
    if (emu_launch(k, grid, block, smem, args, why, sizeof why) != 0) {
        fprintf(stderr, "emu: %s\n", why);
        return -1;
    }
    return 0;
}
