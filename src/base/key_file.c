/* key_file.c - See key_file.h. A new secret is written in full under a name of
 * its own and then linked to where it belongs, unless one stands there by now:
 * nobody ever reads half of one, and whoever comes second takes the first's. */
#include "base/key_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/digest.h"

#define PATH_BYTES 4400

/* Write <len> bytes into the new file <path>, and onto the disk. */
static enum err write_new(const char *path, const uint8_t *p, size_t len)
{
    const int fd =
        open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    bool ok;
    int why;

    if (fd == -1)
        return ERR_IO;
    ok = write(fd, p, len) == (ssize_t)len && fsync(fd) == 0;
    why = errno;
    ok = close(fd) == 0 && ok;
    if (ok)
        return ERR_OK;
    unlink(path);
    errno = why;
    return ERR_IO;
}

/* Give <from> the name <to> unless that is taken. Some file systems have no
 * hard links. */
static enum err settle(const char *from, const char *to)
{
    bool ok = link(from, to) == 0 || errno == EEXIST;
    int why = errno;

    if (!ok && (why == EPERM || why == EOPNOTSUPP || why == ENOSYS)) {
        ok = renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0 ||
             errno == EEXIST;
        why = errno;
    }
    unlink(from);
    errno = why;
    return ok ? ERR_OK : ERR_IO;
}

static enum err make(const char *dir, const char *path)
{
    uint8_t fresh[KEY_FILE_BYTES];
    char from[PATH_BYTES + 32];
    char tail[17];
    enum err e;

    if (mkdir(dir, 0700) != 0 && errno != EEXIST)
        return ERR_IO;
    digest_base62(tail, sizeof(tail) - 1);
    snprintf(from, sizeof(from), "%s.%s", path, tail);
    digest_random(fresh, sizeof(fresh));
    e = write_new(from, fresh, sizeof(fresh));
    digest_wipe(fresh, sizeof(fresh));
    return e == ERR_OK ? settle(from, path) : e;
}

static enum err read_all(const char *path, uint8_t out[KEY_FILE_BYTES])
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    uint8_t room[KEY_FILE_BYTES];
    ssize_t n;
    int why;

    if (fd == -1)
        return errno == ENOENT ? ERR_NOT_FOUND : ERR_IO;
    n = read(fd, room, sizeof(room));
    why = errno;
    close(fd);
    errno = why;
    if (n == (ssize_t)sizeof(room))
        memcpy(out, room, sizeof(room));
    digest_wipe(room, sizeof(room));
    if (n < 0)
        return ERR_IO;
    return n == (ssize_t)sizeof(room) ? ERR_OK : ERR_CORRUPT;
}

enum err key_file_get(const char *dir, const char *name,
                      uint8_t out[KEY_FILE_BYTES])
{
    char path[PATH_BYTES];
    enum err e;

    if (snprintf(path, sizeof(path), "%s/%s", dir, name) >= (int)sizeof(path)) {
        errno = ENAMETOOLONG;
        return ERR_IO;
    }
    e = read_all(path, out);
    if (e != ERR_NOT_FOUND)
        return e;
    ERR_TRY(make(dir, path));
    e = read_all(path, out);
    return e == ERR_NOT_FOUND ? ERR_IO : e; /* somebody removes it */
}
