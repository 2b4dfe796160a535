/* iolog.c - See iolog.h. Calls are noted under one lock, together with what
 * they do, so that the notes stand in the order of what happened. */
#include "lib/iolog.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define FDS     1024
#define SECTOR  512
#define NEVER   SIZE_MAX
#define BOOT_ID "/proc/sys/kernel/random/boot_id"

enum kind { WRITE, TRUNCATE, SYNC, CREATE, UNLINK, RENAME, SYNC_DIR, MARK };

/* One note. Paths are relative to the root. */
struct op {
    enum kind kind;
    unsigned file; /* its number */
    uint64_t at, len;
    uint8_t *data;
    char *path, *to;
    size_t durable_at; /* the note that makes it durable */
    unsigned mark;
    int64_t a, b;
};

/* A name of a file. */
struct name {
    char *path;
    unsigned file;
};

static struct {
    pthread_mutex_t lock;
    int on;
    char root[4096];
    size_t root_len;
    struct op *ops;
    size_t n, room;
    struct name *names; /* of now */
    size_t n_names;
    unsigned n_files;
    struct {
        unsigned file; /* 0: not noted */
        int is_dsync;
        char *dir; /* of a directory */
    } fds[FDS];
    char boot[64];
    char boot_path[64];
} io = {.lock = PTHREAD_MUTEX_INITIALIZER};

static _Noreturn void die(const char *what)
{
    fprintf(stderr, "iolog: %s\n", what);
    abort();
}

__attribute__((returns_nonnull)) static void *must(void *p)
{
    if (!p)
        die("no memory");
    return p;
}

/* What <name> is apart from this file, as <real>; any thread. */
#define REAL(name)                                                             \
    static _Atomic(void *) found_once;                                         \
    __typeof__(&name) real;                                                    \
    void *found = atomic_load(&found_once);                                    \
    if (!found) {                                                              \
        found = must(dlsym(RTLD_NEXT, #name));                                 \
        atomic_store(&found_once, found);                                      \
    }                                                                          \
    memcpy(&real, &found, sizeof(real));

/* --- notes ---------------------------------------------------------------- */

static struct op *note(enum kind kind)
{
    if (io.n == io.room) {
        io.room = io.room ? 2 * io.room : 1024;
        io.ops = must(realloc(io.ops, io.room * sizeof(*io.ops)));
    }
    io.ops[io.n] = (struct op){.kind = kind, .durable_at = NEVER};
    return &io.ops[io.n++];
}

/* <path> below the root; NULL when it is not there, or not to be noted. */
static const char *below(const char *path)
{
    if (!io.on || strncmp(path, io.root, io.root_len) != 0 ||
        path[io.root_len] != '/' || strstr(path, "/lock.mdb"))
        return NULL;
    return path + io.root_len + 1;
}

static struct name *name_at(const char *path)
{
    for (size_t i = 0; i < io.n_names; i++)
        if (strcmp(io.names[i].path, path) == 0)
            return &io.names[i];
    return NULL;
}

static unsigned name_add(const char *path)
{
    io.names = must(realloc(io.names, (io.n_names + 1) * sizeof(*io.names)));
    io.names[io.n_names++] =
        (struct name){.path = must(strdup(path)), .file = ++io.n_files};
    return io.n_files;
}

static void name_drop(const char *path)
{
    struct name *name = name_at(path);

    if (!name)
        return;
    free(name->path);
    *name = io.names[--io.n_names];
}

static void note_open(int fd, const char *path, int flags, int existed)
{
    const struct name *name = name_at(path);

    if (fd >= FDS)
        die("too many files");
    if (flags & O_DIRECTORY) {
        io.fds[fd].dir = must(strdup(path));
        return;
    }
    io.fds[fd].file = name ? name->file : 0;
    io.fds[fd].is_dsync = (flags & O_DSYNC) != 0;
    if (existed)
        return;
    io.fds[fd].file = name_add(path);
    struct op *op = note(CREATE);
    op->file = io.n_files;
    op->path = must(strdup(path));
}

static void note_write(int fd, const void *p, size_t len, uint64_t at)
{
    struct op *op;

    if (fd < 0 || fd >= FDS || io.fds[fd].file == 0)
        return;
    op = note(WRITE);
    op->file = io.fds[fd].file;
    op->at = at;
    op->len = len;
    op->data = must(malloc(len + 1));
    memcpy(op->data, p, len);
    if (io.fds[fd].is_dsync)
        op->durable_at = io.n - 1;
}

static void note_sync(int fd)
{
    if (fd < 0 || fd >= FDS)
        return;
    if (io.fds[fd].file)
        note(SYNC)->file = io.fds[fd].file;
    if (io.fds[fd].dir)
        note(SYNC_DIR)->path = must(strdup(io.fds[fd].dir));
}

/* --- the calls ------------------------------------------------------------ */

static int open_noted(const char *path, int flags, mode_t mode)
{
    REAL(open)
    if (io.boot[0] && strcmp(path, BOOT_ID) == 0)
        return real(io.boot_path, flags, mode);
    pthread_mutex_lock(&io.lock);
    const char *at = below(path);
    const int existed = at && access(path, F_OK) == 0;
    const int fd = real(path, flags, mode);
    if (at && fd >= 0)
        note_open(fd, at, flags, existed);
    pthread_mutex_unlock(&io.lock);
    return fd;
}

int open(const char *path, int flags, ...)
{
    va_list ap;
    mode_t mode = 0;

    va_start(ap, flags);
    if (flags & O_CREAT)
        mode = (mode_t)va_arg(ap, int);
    va_end(ap);
    return open_noted(path, flags, mode);
}

int close(int fd)
{
    REAL(close)
    pthread_mutex_lock(&io.lock);
    if (fd >= 0 && fd < FDS) {
        free(io.fds[fd].dir);
        memset(&io.fds[fd], 0, sizeof(io.fds[fd]));
    }
    const int rc = real(fd);
    pthread_mutex_unlock(&io.lock);
    return rc;
}

ssize_t pwrite(int fd, const void *p, size_t len, off_t at)
{
    REAL(pwrite)
    pthread_mutex_lock(&io.lock);
    const ssize_t n = real(fd, p, len, at);
    if (n > 0)
        note_write(fd, p, (size_t)n, (uint64_t)at);
    pthread_mutex_unlock(&io.lock);
    return n;
}

ssize_t pwrite64(int fd, const void *p, size_t len, off_t at)
{
    return pwrite(fd, p, len, at);
}

ssize_t write(int fd, const void *p, size_t len)
{
    REAL(write)
    if (fd < 0 || fd >= FDS || io.fds[fd].file == 0)
        return real(fd, p, len);
    pthread_mutex_lock(&io.lock);
    const off_t at = lseek(fd, 0, SEEK_CUR);
    const ssize_t n = real(fd, p, len);
    if (n > 0)
        note_write(fd, p, (size_t)n, (uint64_t)at);
    pthread_mutex_unlock(&io.lock);
    return n;
}

ssize_t writev(int fd, const struct iovec *v, int n)
{
    REAL(writev)
    if (fd < 0 || fd >= FDS || io.fds[fd].file == 0)
        return real(fd, v, n);
    pthread_mutex_lock(&io.lock);
    uint64_t at = (uint64_t)lseek(fd, 0, SEEK_CUR);
    const ssize_t all = real(fd, v, n);
    ssize_t left = all;
    for (int i = 0; i < n && left > 0; i++) {
        const size_t len =
            v[i].iov_len < (size_t)left ? v[i].iov_len : (size_t)left;

        note_write(fd, v[i].iov_base, len, at);
        at += len;
        left -= (ssize_t)len;
    }
    pthread_mutex_unlock(&io.lock);
    return all;
}

int ftruncate(int fd, off_t len)
{
    REAL(ftruncate)
    pthread_mutex_lock(&io.lock);
    const int rc = real(fd, len);
    if (rc == 0 && fd < FDS && io.fds[fd].file) {
        struct op *op = note(TRUNCATE);
        op->file = io.fds[fd].file;
        op->len = (uint64_t)len;
    }
    pthread_mutex_unlock(&io.lock);
    return rc;
}

int fsync(int fd)
{
    REAL(fsync)
    const int rc = real(fd);
    pthread_mutex_lock(&io.lock);
    if (rc == 0)
        note_sync(fd);
    pthread_mutex_unlock(&io.lock);
    return rc;
}

int fdatasync(int fd)
{
    REAL(fdatasync)
    const int rc = real(fd);
    pthread_mutex_lock(&io.lock);
    if (rc == 0)
        note_sync(fd);
    pthread_mutex_unlock(&io.lock);
    return rc;
}

int unlink(const char *path)
{
    REAL(unlink)
    pthread_mutex_lock(&io.lock);
    const char *at = below(path);
    const int rc = real(path);
    if (rc == 0 && at) {
        note(UNLINK)->path = must(strdup(at));
        name_drop(at);
    }
    pthread_mutex_unlock(&io.lock);
    return rc;
}

int rename(const char *from, const char *to)
{
    REAL(rename)
    pthread_mutex_lock(&io.lock);
    const char *at = below(from);
    const int rc = real(from, to);
    if (rc == 0 && at) {
        struct op *op = note(RENAME);
        op->path = must(strdup(at));
        op->to = must(strdup(below(to)));
        name_drop(op->to);
        if (name_at(op->path)) {
            struct name *name = name_at(op->path);
            free(name->path);
            name->path = must(strdup(op->to));
        }
    }
    pthread_mutex_unlock(&io.lock);
    return rc;
}

int msync(void *p, size_t len, int flags)
{
    (void)p;
    (void)len;
    (void)flags;
    die("a mapping is synced, which is not noted");
}

/* --- what is durable when ------------------------------------------------- */

/* Whether <path> stands in directory <dir>. */
static int is_in(const char *path, const char *dir)
{
    const char *slash = strrchr(path, '/');
    const size_t len = slash ? (size_t)(slash - path) : 0;

    return strlen(dir) == len && strncmp(path, dir, len) == 0;
}

static int is_made_durable(const struct op *op, const struct op *by)
{
    switch (op->kind) {
    case WRITE:
    case TRUNCATE:
        return by->kind == SYNC && by->file == op->file;
    case CREATE:
        if (by->kind == SYNC && by->file == op->file)
            return 1;
        return by->kind == SYNC_DIR && is_in(op->path, by->path);
    case UNLINK:
    case RENAME:
        return by->kind == SYNC_DIR && is_in(op->path, by->path);
    default:
        return 0;
    }
}

static void work_out(void)
{
    for (size_t i = 0; i < io.n; i++) {
        struct op *op = &io.ops[i];

        for (size_t j = i + 1; op->durable_at == NEVER && j < io.n; j++)
            if (is_made_durable(op, &io.ops[j]))
                op->durable_at = j;
    }
}

/* --- making files again --------------------------------------------------- */

struct file {
    uint8_t *p;
    size_t len, room;
};

static uint64_t mix(uint64_t x)
{
    x ^= x >> 33;
    x *= 0xff51afd7ed558ccdULL;
    x ^= x >> 33;
    x *= 0xc4ceb9fe1a85ec53ULL;
    return x ^ x >> 33;
}

/* How much of note <i> is left at a cut before note <at>: all of it, none, or
 * of a write the bytes before a sector's end. */
static uint64_t left_of(size_t i, size_t at, enum iolog_left left,
                        uint64_t seed)
{
    const struct op *op = &io.ops[i];
    const uint64_t r = mix(seed * 0x9e3779b97f4a7c15ULL + i);

    if (i < at && op->durable_at < at)
        return op->len + 1;
    if (left == IOLOG_NOTHING || (left == IOLOG_ALL && i >= at))
        return 0;
    if (left == IOLOG_ALL || r % 4 < 2)
        return op->len + 1;
    if (r % 4 == 2 || op->kind != WRITE || op->len == 0)
        return 0;
    const uint64_t end = (op->at + r / 4 % op->len) / SECTOR * SECTOR;
    return end > op->at ? end - op->at : 0;
}

static void grow(struct file *f, size_t len)
{
    if (len > f->room) {
        f->p = must(realloc(f->p, 2 * len));
        f->room = 2 * len;
    }
    if (len > f->len) {
        memset((uint8_t *)must(f->p) + f->len, 0, len - f->len);
        f->len = len;
    }
}

/* Do the first <n> bytes of <op>, or all of it, again. */
static void redo(const struct op *op, uint64_t n, struct file *files)
{
    struct name *name;

    switch (op->kind) {
    case WRITE:
        n = n < op->len ? n : op->len;
        grow(&files[op->file], op->at + n);
        if (n > 0)
            memcpy((uint8_t *)must(files[op->file].p) + op->at, op->data, n);
        break;
    case TRUNCATE:
        grow(&files[op->file], op->len);
        files[op->file].len = op->len;
        break;
    case CREATE:
        name_drop(op->path);
        name_add(op->path);
        io.names[io.n_names - 1].file = op->file;
        break;
    case UNLINK:
        name_drop(op->path);
        break;
    case RENAME:
        name = name_at(op->path);
        if (!name)
            break;
        name_drop(op->to);
        name = must(name_at(op->path));
        free(name->path);
        name->path = must(strdup(op->to));
        break;
    default:
        break;
    }
}

static void put_file(const char *to, const char *path, const struct file *f)
{
    char full[8192];
    FILE *out;

    snprintf(full, sizeof(full), "%s/%s", to, path);
    for (char *p = full + strlen(to) + 1; *p; p++) {
        if (*p != '/')
            continue;
        *p = '\0';
        mkdir(full, 0700);
        *p = '/';
    }
    out = must(fopen(full, "w"));
    if (fwrite(f->p ? f->p : (const uint8_t *)"", 1, f->len, out) != f->len ||
        fclose(out) != 0 || chmod(full, 0600) != 0)
        die("a file cannot be made again");
}

static void names_clear(void)
{
    while (io.n_names > 0)
        name_drop(io.names[0].path);
}

void iolog_rebuild(size_t at, enum iolog_left left, uint64_t seed,
                   const char *to)
{
    struct file *files = must(calloc(io.n_files + 1, sizeof(*files)));
    const unsigned n_files = io.n_files;

    names_clear();
    for (size_t i = 0; i < io.n && i <= at; i++) {
        const uint64_t n = left_of(i, at, left, seed);

        if (n > 0)
            redo(&io.ops[i], n, files);
    }
    io.n_files = n_files;
    for (size_t i = 0; i < io.n_names; i++)
        put_file(to, io.names[i].path, &files[io.names[i].file]);
    for (unsigned i = 0; i <= n_files; i++)
        free(files[i].p);
    free(files);
}

/* --- life ----------------------------------------------------------------- */

void iolog_begin(const char *root)
{
    iolog_fini();
    pthread_mutex_lock(&io.lock);
    snprintf(io.root, sizeof(io.root), "%s", root);
    io.root_len = strlen(io.root);
    io.on = 1;
    pthread_mutex_unlock(&io.lock);
}

void iolog_end(void)
{
    pthread_mutex_lock(&io.lock);
    io.on = 0;
    work_out();
    pthread_mutex_unlock(&io.lock);
}

void iolog_fini(void)
{
    for (size_t i = 0; i < io.n; i++) {
        free(io.ops[i].data);
        free(io.ops[i].path);
        free(io.ops[i].to);
    }
    free(io.ops);
    io.ops = NULL;
    io.n = io.room = 0;
    names_clear();
    free(io.names);
    io.names = NULL;
    io.n_files = 0;
}

void iolog_mark(unsigned kind, int64_t a, int64_t b)
{
    pthread_mutex_lock(&io.lock);
    struct op *op = note(MARK);
    op->mark = kind;
    op->a = a;
    op->b = b;
    pthread_mutex_unlock(&io.lock);
}

size_t iolog_count(void)
{
    return io.n;
}

int iolog_is_mark(size_t i, unsigned *kind_out, int64_t *a_out, int64_t *b_out)
{
    const struct op *op = &io.ops[i];

    if (op->kind != MARK)
        return 0;
    *kind_out = op->mark;
    *a_out = op->a;
    *b_out = op->b;
    return 1;
}

void iolog_boot(const char *id)
{
    if (io.boot[0])
        unlink(io.boot_path);
    io.boot[0] = '\0';
    if (!id)
        return;
    snprintf(io.boot_path, sizeof(io.boot_path), "/tmp/tg-boot-XXXXXX");
    const int fd = mkstemp(io.boot_path);
    if (fd < 0 || write(fd, id, strlen(id)) < 0 || close(fd) != 0)
        die("a boot cannot be told");
    snprintf(io.boot, sizeof(io.boot), "%s", id);
}
