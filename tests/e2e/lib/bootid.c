/* bootid.c - Preloaded into the daemon: the boot of the machine is what the
 * file $BOOTID says, so that a test can start the machine anew. */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

typedef int open_fn(const char *, int, ...);

int open(const char *path, int flags, ...)
{
    const char *file = getenv("BOOTID");
    void *found = dlsym(RTLD_NEXT, "open");
    open_fn *real;
    va_list ap;
    mode_t mode = 0;

    va_start(ap, flags);
    if (flags & O_CREAT)
        mode = (mode_t)va_arg(ap, int);
    va_end(ap);
    memcpy(&real, &found, sizeof(real));
    if (file && strcmp(path, "/proc/sys/kernel/random/boot_id") == 0)
        return real(file, flags);
    return real(path, flags, mode);
}
