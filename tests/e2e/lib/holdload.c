/* holdload.c - Preloaded into the daemon: while the FIFO $HOLDLOAD exists, a
 * model's load stands still after a tensor until somebody has written to it,
 * and files called $HIDE are not there for those who ask by access(). */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

typedef int madvise_fn(void *, size_t, int);
typedef int access_fn(const char *, int);

static access_fn *real_access(void)
{
    void *found = dlsym(RTLD_NEXT, "access");
    access_fn *real;

    memcpy(&real, &found, sizeof(real));
    return real;
}

static void wait_at(const char *fifo)
{
    char byte;
    int fd = open(fifo, O_RDONLY | O_CLOEXEC);

    while (fd >= 0 && read(fd, &byte, 1) > 0)
        ;
    if (fd >= 0)
        close(fd);
}

int madvise(void *p, size_t len, int advice)
{
    const char *fifo = getenv("HOLDLOAD");
    void *found = dlsym(RTLD_NEXT, "madvise");
    madvise_fn *real;

    memcpy(&real, &found, sizeof(real));
    if (advice == MADV_DONTNEED && fifo && real_access()(fifo, F_OK) == 0)
        wait_at(fifo);
    return real(p, len, advice);
}

int access(const char *path, int mode)
{
    const char *hidden = getenv("HIDE");
    const char *slash = strrchr(path, '/');

    if (hidden && strcmp(slash ? slash + 1 : path, hidden) == 0)
        return -1;
    return real_access()(path, mode);
}
