/* model_map.c - Files mapped read-only. Pages come in when they are touched,
 * so that opening costs the same for any size.
 *
 * A file that another process shortens while it is mapped: reading a page past
 * its new end raises SIGBUS, which ends the process, as for every program that
 * maps files. Sizes are taken once, from the open descriptor, so that a rename
 * over the path (how files ought to be replaced) harms nobody. Digests are
 * read through the descriptor: there a shorter file is an error, not a signal.
 * Once the weights are loaded nothing reads the mapping any more, and
 * model_is_whole() tells whether it was written to meanwhile. */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "engine/model_fault.h"
#include "engine/model_priv.h"

static enum err map_fd(int fd, struct model_fault *why, struct model_map *out)
{
    struct timespec now;
    struct stat st;
    void *p;

    clock_gettime(CLOCK_REALTIME, &now); /* what file systems go by */
    if (fstat(fd, &st) != 0)
        return model_fail(why, ERR_IO, "cannot be read: %s", strerror(errno));
    if (!S_ISREG(st.st_mode))
        return model_fail(why, ERR_IO, "this is not a regular file");
    if (st.st_size <= 0)
        return model_fail(why, ERR_SYNTAX, "the file is empty");
    p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (p == MAP_FAILED)
        return model_fail(why, ERR_IO, "cannot be mapped: %s", strerror(errno));
    *out = (struct model_map){
        .fd = fd,
        .bytes = str_of(p, (size_t)st.st_size),
        .seen = st,
        .opened_wall_ns = (int64_t)now.tv_sec * 1000000000 + now.tv_nsec,
    };
    return ERR_OK;
}

enum err model_map_open(const char *path, struct model_fault *why,
                        struct model_map *out)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    enum err e;

    if (fd < 0)
        return model_fail(why, ERR_IO, "cannot be opened: %s", strerror(errno));
    e = map_fd(fd, why, out);
    if (e != ERR_OK)
        close(fd);
    return e;
}

void model_map_close(struct model_map *map)
{
    if (map->fd < 0)
        return;
    munmap((void *)(uintptr_t)map->bytes.p, map->bytes.len);
    close(map->fd);
    map->fd = -1;
}

/* The mapping that <p> points into, or NULL. */
static const struct model_map *map_of(const struct model_store *s,
                                      const char *p)
{
    for (size_t i = 0; i < s->n_maps; i++) {
        const struct model_map *map = &s->maps[i];

        if (p >= map->bytes.p && p < map->bytes.p + map->bytes.len)
            return map;
    }
    return NULL;
}

void model_tensor_done(const struct model *m, const struct model_tensor *t)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    const struct model_map *map;
    size_t from, to;

    if (!m->store || !t->data)
        return;
    map = map_of(m->store, t->data);
    if (!map || map->fd < 0)
        return;
    from = (size_t)((const char *)t->data - map->bytes.p);
    to = from + t->bytes;
    from -= from % page;
    madvise((void *)(uintptr_t)(map->bytes.p + from), to - from, MADV_DONTNEED);
}

bool model_is_whole(const struct model *m)
{
    const struct model_store *s = m->store;

    for (size_t i = 0; s && i < s->n_maps; i++) {
        const struct stat *was = &s->maps[i].seen;
        struct stat now;

        if (s->maps[i].fd < 0)
            continue;
        if (fstat(s->maps[i].fd, &now) != 0 || now.st_size != was->st_size ||
            now.st_mtim.tv_sec != was->st_mtim.tv_sec ||
            now.st_mtim.tv_nsec != was->st_mtim.tv_nsec)
            return false;
    }
    return true;
}
