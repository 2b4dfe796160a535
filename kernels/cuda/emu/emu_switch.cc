/* emu_switch.cc - From one stack to another, and what becomes of a fault. On
 * x86-64 a switch saves the registers that a function must keep; elsewhere, and
 * with TG_EMU_UCONTEXT, ucontext does it. */
#include "kernels/cuda/emu/emu_priv.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define STACK_BYTES ((size_t)128 * 1024)
#define STACKS      ((size_t)EMU_LEVELS * EMU_THREADS_MAX)

static char *stacks; /* STACKS of them, each with a guard page below it */

static bool stacks_map(void)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    void *p;

    if (stacks)
        return true;
    p = mmap(NULL, STACKS * STACK_BYTES, PROT_READ | PROT_WRITE,
             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED)
        return false;
    stacks = (char *)p;
    for (unsigned i = 0; i < STACKS; i++)
        (void)mprotect(stacks + i * STACK_BYTES, page, PROT_NONE);
    return true;
}

#if defined(__x86_64__) && !defined(TG_EMU_UCONTEXT)

__asm__(".text\n"
        ".globl emu_switch\n"
        ".hidden emu_switch\n"
        ".type emu_switch, @function\n"
        "emu_switch:\n"
        "    pushq %rbp\n"
        "    pushq %rbx\n"
        "    pushq %r12\n"
        "    pushq %r13\n"
        "    pushq %r14\n"
        "    pushq %r15\n"
        "    movq %rsp, (%rdi)\n"
        "    movq %rsi, %rsp\n"
        "    popq %r15\n"
        "    popq %r14\n"
        "    popq %r13\n"
        "    popq %r12\n"
        "    popq %rbx\n"
        "    popq %rbp\n"
        "    ret\n"
        ".size emu_switch, . - emu_switch\n");

/* The top of stack <i>; tops differ modulo a page, or all would share the same
 * lines of the cache. */
static char *stack_top(unsigned i)
{
    return stacks + (i + 1) * STACK_BYTES - i % 16 * 320;
}

void *emu_stack(unsigned level, unsigned i)
{
    void **sp;

    if (!stacks_map())
        return NULL;
    sp = (void **)stack_top(level * EMU_THREADS_MAX + i) - 8;
    memset(sp, 0, 8 * sizeof *sp);
    sp[6] = (void *)emu_thread_main; /* returned to; then sp is 8 mod 16 */
    return sp;
}

#else
#include <ucontext.h>

static ucontext_t main_context[EMU_LEVELS];
static ucontext_t *contexts; /* STACKS */

extern "C" void emu_switch(void **save, void *to)
{
    static ucontext_t gone;
    bool is_main = save == &emu_b.main_sp;
    unsigned first = emu_b.level * EMU_THREADS_MAX;
    ucontext_t *from = is_main ? &main_context[emu_b.level] : &gone;

    for (unsigned i = 0; i < emu_b.n_thread && !is_main; i++)
        if (save == &emu_b.thread[i].sp)
            from = &contexts[first + i];
    *save = from;
    (void)swapcontext(from, (ucontext_t *)to);
}

void *emu_stack(unsigned level, unsigned i)
{
    const size_t at = (size_t)level * EMU_THREADS_MAX + i;
    ucontext_t *c;

    if (!stacks_map())
        return NULL;
    if (!contexts)
        contexts = (ucontext_t *)calloc(STACKS, sizeof *contexts);
    if (!contexts)
        return NULL;
    c = &contexts[at];
    if (getcontext(c) != 0)
        return NULL;
    c->uc_stack.ss_sp = stacks + at * STACK_BYTES;
    c->uc_stack.ss_size = STACK_BYTES - at % 16 * 320;
    makecontext(c, emu_thread_main, 0);
    return c;
}

#endif

/* --- faults --------------------------------------------------------------- */

static struct sigaction old_segv, old_bus, old_fpe;
static stack_t old_stack;
static pthread_t fault_thread;
static char alt_stack[64 * 1024];

static void say_fault(int sig, char *p)
{
    char where[256];

    if (sig == SIGFPE)
        emu_fail("division of an integer by zero");
    if (p >= emu_dyn + emu_b.smem && p < emu_dyn + emu_b.smem + (1 << 20))
        emu_fail("touches %zu bytes behind the %zu of dynamic shared memory",
                 (size_t)(p - emu_dyn) - emu_b.smem, emu_b.smem);
    if (p < emu_dyn && p >= emu_dyn - (1 << 20))
        emu_fail("touches %zu bytes before dynamic shared memory",
                 (size_t)(emu_dyn - p));
    if (stacks && p >= stacks && p < stacks + STACKS * STACK_BYTES)
        emu_fail("its stack is too small");
    emu_where(p, where, sizeof where);
    emu_fail("touches %p, %s", (void *)p, where);
}

/* The handler does not return: its stack is not needed any more when the launch
 * has ended, and the signal is not blocked in it. */
static void on_fault(int sig, siginfo_t *si, void *context)
{
    const struct sigaction *old = sig == SIGSEGV  ? &old_segv
                                  : sig == SIGBUS ? &old_bus
                                                  : &old_fpe;

    (void)context;
    if (emu_b.running && pthread_equal(pthread_self(), fault_thread))
        say_fault(sig, (char *)si->si_addr);
    sigaction(sig, old, NULL); /* it happens again, and they see it */
}

void emu_faults_on(void)
{
    struct sigaction sa;
    stack_t st;

    memset(&sa, 0, sizeof sa);
    memset(&st, 0, sizeof st);
    fault_thread = pthread_self();
    st.ss_sp = alt_stack;
    st.ss_size = sizeof alt_stack;
    (void)sigaltstack(&st, &old_stack);
    sa.sa_sigaction = on_fault;
    sa.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
    (void)sigaction(SIGSEGV, &sa, &old_segv);
    (void)sigaction(SIGBUS, &sa, &old_bus);
    (void)sigaction(SIGFPE, &sa, &old_fpe);
}

void emu_faults_off(void)
{
    (void)sigaction(SIGSEGV, &old_segv, NULL);
    (void)sigaction(SIGBUS, &old_bus, NULL);
    (void)sigaction(SIGFPE, &old_fpe, NULL);
    (void)sigaltstack(&old_stack, NULL);
}
