/* panic.h - The end for our own mistakes; never for input, network, disk or
 * memory shortage on the request path. */
#ifndef TG_BASE_PANIC_H
#define TG_BASE_PANIC_H

/* Print the message and a backtrace to stderr and abort. Safe in any thread;
 * the only caller of abort() in the tree. */
_Noreturn void panic(const char *file, int line, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Panic when <cond> holds: it says that the program itself is wrong. */
#define BUG_ON(cond)                                                           \
    do {                                                                       \
        if (__builtin_expect(!!(cond), 0))                                     \
            panic(__FILE__, __LINE__, "BUG_ON(%s)", #cond);                    \
    } while (0)

/* Panic with a message of your own. */
#define PANIC(...) panic(__FILE__, __LINE__, __VA_ARGS__)

#endif
