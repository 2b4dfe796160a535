/* log_sink.c - See log_sink.h. A pipe or terminal is given at most PIPE_BUF
 * bytes when poll() calls it writable: such a write does not block, so a
 * reader that stands still stops nobody but its own sink. */
#include "base/log_sink.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_IOV     64
#define NOW_WAIT_MS 200

enum err log_file_open(const char *path, struct log_file *file_out)
{
    struct log_file f = {.fd = STDERR_FILENO};
    struct stat st;

    if (path) {
        f.path = strdup(path);
        if (!f.path)
            return ERR_NOMEM;
        f.fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY,
                    0640);
        if (f.fd == -1) {
            int saved = errno;

            free(f.path);
            errno = saved;
            return ERR_IO;
        }
    }
    f.is_regular = fstat(f.fd, &st) == 0 && S_ISREG(st.st_mode);
    *file_out = f;
    return ERR_OK;
}

void log_file_close(struct log_file *f)
{
    if (f->path && f->fd != -1)
        close(f->fd);
    free(f->path);
    *f = (struct log_file){.fd = -1};
}

/* Cut <iov> so that it holds at most <room> bytes, whole entries if any fits;
 * return its new length. */
static int cut(struct iovec *iov, int n, size_t room)
{
    size_t sum = 0;

    for (int i = 0; i < n; i++) {
        sum += iov[i].iov_len;
        if (sum <= room)
            continue;
        if (i > 0)
            return i;
        iov[0].iov_len = room;
        return 1;
    }
    return n;
}

/* The file takes nothing: drop the line begun or, if there is none, the <n>
 * oldest. */
static void refuse(struct log_sink *s, int n)
{
    struct iovec iov[MAX_IOV];
    size_t len = 0, lines = 1;

    if (ring_drop_torn(s->ring)) {
        s->is_torn = true;
    } else {
        n = ring_peek(s->ring, iov, n);
        for (int i = 0; i < n; i++)
            len += iov[i].iov_len;
        lines = ring_consume(s->ring, len);
    }
    atomic_fetch_add_explicit(&s->dropped, lines, memory_order_relaxed);
}

bool log_sink_write(struct log_sink *s, _Atomic bool *is_old)
{
    struct iovec iov[MAX_IOV + 1];
    int first = s->is_torn ? 0 : 1;
    int n = ring_peek(s->ring, iov + 1, MAX_IOV);
    ssize_t done;

    if (n == 0 || atomic_load(is_old))
        return false;
    if (s->file.fd == -1) {
        refuse(s, n);
        return true;
    }
    if (!s->file.is_regular)
        n = cut(iov + 1, n, PIPE_BUF - 1);
    iov[0] = (struct iovec){(char[]){'\n'}, 1};
    done = writev(s->file.fd, iov + first, n + 1 - first);
    if (done == -1 && (errno == EINTR || errno == EAGAIN))
        return false;
    if (done == -1) {
        refuse(s, n);
        return true;
    }
    if (s->is_torn && done > 0) {
        s->is_torn = false;
        done--;
    }
    ring_consume(s->ring, (size_t)done);
    return true;
}

bool log_sink_write_now(struct log_sink *s, struct str line, struct str end)
{
    struct iovec iov[2] = {{(char *)(uintptr_t)line.p, line.len},
                           {(char *)(uintptr_t)end.p, end.len}};
    struct pollfd p = {.fd = s->file.fd, .events = POLLOUT};
    int rc;

    do
        rc = s->file.is_regular ? 1 : poll(&p, 1, NOW_WAIT_MS);
    while (rc == -1 && errno == EINTR);
    return rc == 1 && writev(p.fd, iov, 2) > 0;
}

void log_sink_replace(struct log_sink *s, struct log_file *f)
{
    if (s->ring)
        ring_drop_torn(s->ring);
    log_file_close(&s->file);
    s->file = *f;
    s->is_torn = false;
    *f = (struct log_file){.fd = -1};
}
