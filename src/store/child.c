/* child.c - Work in a forked child. Decides how a child's end is told; the
 * last byte of its text is a result code, so that an end without one is
 * always a death. Must close inherited descriptors first: a client's socket
 * or a lock held open here would outlive its owner. */
#include "store/child.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* The child's text is cut here. */
#define CHILD_TEXT_MAX (256u << 10)

static bool write_all(int fd, const char *p, size_t len)
{
    while (len > 0) {
        const ssize_t n = write(fd, p, len);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        p += n;
        len -= (size_t)n;
    }
    return true;
}

_Noreturn static void child_main(child_fn *fn, void *arg, int fd, pid_t parent)
{
    static const int fatal[] = {SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL};
    const struct rlimit no_core = {0, 0};
    struct buf out;
    sigset_t none;
    unsigned char code;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(1);
    if (dup2(fd, 3) != 3)
        _exit(1);
    if (close_range(4, ~0U, 0) != 0)
        _exit(1);
    for (size_t i = 0; i < sizeof(fatal) / sizeof(fatal[0]); i++)
        signal(fatal[i], SIG_DFL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    setrlimit(RLIMIT_CORE, &no_core);
    buf_init(&out, CHILD_TEXT_MAX);
    code = (unsigned char)fn(arg, &out);
    if (!write_all(3, out.p, out.len) || !write_all(3, (const char *)&code, 1))
        _exit(1);
    _exit(0);
}

enum err child_start(child_fn *fn, void *arg, struct child *child_out)
{
    const pid_t parent = getpid();
    int fds[2];

    if (pipe(fds) != 0)
        return ERR_IO;
    const pid_t pid = fork();
    if (pid < 0) {
        close(fds[0]);
        close(fds[1]);
        return ERR_IO;
    }
    if (pid == 0)
        child_main(fn, arg, fds[1], parent);
    close(fds[1]);
    *child_out = (struct child){.pid = pid, .fd = fds[0]};
    return ERR_OK;
}

static void read_all(int fd, struct buf *text)
{
    char piece[4096];

    for (;;) {
        const ssize_t n = read(fd, piece, sizeof(piece));

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return;
        if (buf_put(text, piece, (size_t)n) != ERR_OK)
            return;
    }
}

static enum err tell_death(int status, struct buf *out)
{
    enum err err;

    if (WIFSIGNALED(status))
        err = buf_printf(out, "reading it ended with signal %d (%s)",
                         WTERMSIG(status), strsignal(WTERMSIG(status)));
    else
        err = buf_printf(out, "reading it ended with exit status %d",
                         WEXITSTATUS(status));
    return err == ERR_OK ? ERR_CORRUPT : err;
}

enum err child_finish(struct child *c, struct buf *out)
{
    struct buf text;
    int status = 0;
    enum err err;

    buf_init(&text, CHILD_TEXT_MAX + 1);
    read_all(c->fd, &text);
    close(c->fd);
    c->fd = -1;
    while (waitpid(c->pid, &status, 0) < 0) {
        if (errno == EINTR)
            continue;
        status = 0; /* reaped by somebody else: its text alone decides */
        break;
    }
    if (text.len == 0 || status != 0) {
        err = tell_death(status, out);
    } else {
        err = (enum err)(unsigned char)text.p[text.len - 1];
        const size_t room = out->cap - out->len;
        const size_t len = text.len - 1 < room ? text.len - 1 : room;
        const enum err put = buf_put(out, text.p, len);
        if (put != ERR_OK)
            err = put;
    }
    buf_fini(&text);
    return err;
}

enum err child_become_owner(const char *dir)
{
    struct stat st;

    if (stat(dir, &st) != 0)
        return ERR_IO;
    if (geteuid() != 0 || st.st_uid == 0)
        return ERR_OK;
    if (setegid(st.st_gid) != 0 || seteuid(st.st_uid) != 0)
        return ERR_IO;
    return ERR_OK;
}
