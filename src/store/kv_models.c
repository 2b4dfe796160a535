/* kv_models.c - See kv_models.h. A file with a name a line; each is added by a
 * single write at its end, so that two processes do not hurt each other. What a
 * torn or doubled line says is of no harm. */
#include "store/kv_models.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Bytes of the file at most. */
#define FILE_MAX_BYTES 65536

/* Bytes of a name and its line break at most. */
#define LINE_BYTES 256

static int models_open(const char *dir, int flags)
{
    char path[4400];

    if (snprintf(path, sizeof(path), "%s/" KV_MODELS_FILE, dir) >=
        (int)sizeof(path)) {
        errno = ENAMETOOLONG;
        return -1;
    }
    return open(path, flags | O_CLOEXEC | O_NOFOLLOW, 0600);
}

/* Append what <fd> holds, up to the bound. */
static enum err read_all(int fd, struct buf *out)
{
    const size_t from = out->len;
    char part[4096];
    ssize_t n;

    while ((n = read(fd, part, sizeof(part))) != 0) {
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return ERR_IO;
        if (out->len - from + (size_t)n > FILE_MAX_BYTES)
            return ERR_OK;
        ERR_TRY(buf_put(out, part, (size_t)n));
    }
    return ERR_OK;
}

bool kv_models_has(struct str names, struct str name)
{
    while (names.len > 0) {
        const size_t end = str_find_char(names, '\n');

        if (str_eq(str_of(names.p, end), name))
            return true;
        names = str_skip(names, end < names.len ? end + 1 : end);
    }
    return false;
}

enum err kv_models_read(const char *dir, struct buf *out)
{
    const int fd = models_open(dir, O_RDONLY);
    enum err err;

    if (fd < 0)
        return errno == ENOENT ? ERR_OK : ERR_IO;
    err = read_all(fd, out);
    close(fd);
    return err;
}

static enum err add(int fd, struct str name)
{
    struct buf names;
    char line[LINE_BYTES];
    const int n = snprintf(line, sizeof(line), "%.*s\n", STR_ARG(name));
    enum err err;

    if (n < 0 || n >= (int)sizeof(line))
        return ERR_FULL;
    buf_init(&names, FILE_MAX_BYTES);
    err = read_all(fd, &names);
    if (err == ERR_OK && names.len + (size_t)n > FILE_MAX_BYTES)
        err = ERR_FULL;
    if (err == ERR_OK && !kv_models_has(buf_str(&names), name) &&
        write(fd, line, (size_t)n) != n)
        err = ERR_IO;
    buf_fini(&names);
    return err;
}

enum err kv_models_note(const char *dir, struct str name)
{
    const int fd = models_open(dir, O_RDWR | O_CREAT | O_APPEND);
    enum err err;

    if (fd < 0)
        return ERR_IO;
    err = add(fd, name);
    close(fd);
    return err;
}
