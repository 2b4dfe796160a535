/* mbox.c - See mbox.h. Senders link messages onto a stack with one
 * compare-and-swap; the owner takes the whole stack with one exchange and
 * turns it round. Since nobody ever pops a single message the stack has no
 * ABA problem. The eventfd is written only by the sender that finds the stack
 * empty; the owner clears it before it takes the stack, so a message is either
 * in the stack taken or announced again. */
#include "base/mbox.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/panic.h"

enum err mbox_init(struct mbox *mb)
{
    int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);

    if (fd == -1)
        return ERR_IO;
    atomic_init(&mb->pushed, NULL);
    mb->ready = NULL;
    mb->fd = fd;
    return ERR_OK;
}

void mbox_fini(struct mbox *mb)
{
    if (mb->fd == -1)
        return;
    BUG_ON(mb->ready || atomic_load(&mb->pushed));
    close(mb->fd);
    mb->fd = -1;
}

/* Make the descriptor readable. EAGAIN means that it is already. */
static void wake(int fd)
{
    ssize_t n;

    do
        n = write(fd, &(uint64_t){1}, sizeof(uint64_t));
    while (n == -1 && errno == EINTR);
    BUG_ON(n == -1 && errno != EAGAIN);
}

void mbox_push(struct mbox *mb, struct mbox_msg *m)
{
    struct mbox_msg *head =
        atomic_load_explicit(&mb->pushed, memory_order_relaxed);
    int fd = mb->fd;

    do
        m->next = head;
    while (!atomic_compare_exchange_weak_explicit(
        &mb->pushed, &head, m, memory_order_acq_rel, memory_order_relaxed));
    if (!head)
        wake(fd);
}

int mbox_fd(const struct mbox *mb)
{
    return mb->fd;
}

/* Turn what was pushed into the ready list, which is empty. */
static void collect(struct mbox *mb)
{
    struct mbox_msg *m;

    m = atomic_exchange_explicit(&mb->pushed, NULL, memory_order_acq_rel);
    while (m) {
        struct mbox_msg *next = m->next;

        m->next = mb->ready;
        mb->ready = m;
        m = next;
    }
}

/* The next message of this drain, which collects at most once: what <fn>
 * pushes meanwhile must not keep it going for ever. */
static struct mbox_msg *next_msg(struct mbox *mb, bool *has_collected)
{
    struct mbox_msg *m;

    if (!mb->ready && !*has_collected) {
        collect(mb);
        *has_collected = true;
    }
    m = mb->ready;
    if (m)
        mb->ready = m->next;
    return m;
}

size_t mbox_drain(struct mbox *mb, size_t max, mbox_fn *fn, void *arg)
{
    bool has_collected = false;
    struct mbox_msg *m;
    uint64_t count;
    ssize_t got;
    size_t n = 0;

    do
        got = read(mb->fd, &count, sizeof(count));
    while (got == -1 && errno == EINTR);
    while (max == 0 || n < max) {
        m = next_msg(mb, &has_collected);
        if (!m)
            break;
        n++;
        fn(m, arg);
    }
    if (mb->ready || (!has_collected && atomic_load(&mb->pushed)))
        wake(mb->fd);
    return n;
}
