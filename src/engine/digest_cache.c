/* digest_cache.c - See digest_cache.h. The file:
 *
 *   tollgate digests 1
 *   FILES WEIGHTS        at most 64 rows, two digests in hex each
 *   sum SUM              SHA-256 of all before this line
 *
 * It is replaced whole, by a rename; who replaces it holds a lock meanwhile, so
 * that programs do not lose each other's rows. FILES holds device, inode, size
 * and both times of every weights file. A file written twice within one tick
 * of its clock has the same times: one that was young when it was opened is
 * not kept (git calls such entries racy). */
#include "engine/digest_cache.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/log.h"
#include "engine/model_priv.h"

#define HEAD      "tollgate digests 1\n"
#define HEAD_LEN  (sizeof(HEAD) - 1)
#define HEX_LEN   (DIGEST_HEX_SIZE - 1)
#define ROW_LEN   (2 * HEX_LEN + 2)
#define SUM_LEN   (4 + HEX_LEN + 1)
#define TEXT_MAX  (HEAD_LEN + DIGEST_CACHE_ROWS * ROW_LEN + SUM_LEN)
#define YOUNG_NS  ((int64_t)2000000000)
#define FILE_NAME "digests"
#define LOCK_NAME "digests.lock"

/* --- the text ------------------------------------------------------------ */

/* Cut a digest and <end> behind it off <text>. */
static bool take_digest(struct str *text, char end, struct digest *out)
{
    struct str hex;
    struct digest d;

    if (text->len < HEX_LEN + 1 || text->p[HEX_LEN] != end)
        return false;
    hex = str_of(text->p, HEX_LEN);
    if (digest_unhex(hex, d.b) != ERR_OK)
        return false;
    *text = str_skip(*text, HEX_LEN + 1);
    *out = d;
    return true;
}

enum err digest_cache_parse(struct str text, struct digest_rows *out)
{
    const size_t least = HEAD_LEN + SUM_LEN;
    struct digest_rows rows = {.n = 0};
    struct str rest = str_skip(text, HEAD_LEN);
    struct digest sum, want;

    if (text.len < least || !str_starts(text, STR(HEAD)) ||
        (text.len - least) % ROW_LEN != 0 || text.len > TEXT_MAX)
        return ERR_CORRUPT;
    while (rest.len > SUM_LEN) {
        struct digest_row *row = &rows.v[rows.n++];

        if (!take_digest(&rest, ' ', &row->files) ||
            !take_digest(&rest, '\n', &row->weights))
            return ERR_CORRUPT;
    }
    sum = digest_sha256(text.p, text.len - rest.len);
    if (!str_starts(rest, STR("sum ")))
        return ERR_CORRUPT;
    rest = str_skip(rest, 4);
    if (!take_digest(&rest, '\n', &want) ||
        !digest_eq(sum.b, want.b, DIGEST_BYTES))
        return ERR_CORRUPT;
    *out = rows;
    return ERR_OK;
}

enum err digest_cache_write(const struct digest_rows *rows, struct buf *out)
{
    const size_t from = out->len;
    char a[DIGEST_HEX_SIZE], b[DIGEST_HEX_SIZE];
    struct digest sum;

    ERR_TRY(buf_put(out, HEAD, HEAD_LEN));
    for (unsigned i = 0; i < rows->n; i++) {
        digest_hex(rows->v[i].files.b, DIGEST_BYTES, a);
        digest_hex(rows->v[i].weights.b, DIGEST_BYTES, b);
        ERR_TRY(buf_printf(out, "%s %s\n", a, b));
    }
    sum = digest_sha256(out->p + from, out->len - from);
    digest_hex(sum.b, DIGEST_BYTES, a);
    return buf_printf(out, "sum %s\n", a);
}

/* --- what files are the same --------------------------------------------- */

static void put_le64(uint8_t **at, uint64_t v)
{
    for (int i = 0; i < 8; i++)
        *(*at)++ = (uint8_t)(v >> (8 * i));
}

/* The digest of <before> and what identifies a file. */
static struct digest file_id(const struct digest *before, const struct stat *st)
{
    uint8_t text[DIGEST_BYTES + 7 * 8];
    uint8_t *at = text + DIGEST_BYTES;

    memcpy(text, before->b, DIGEST_BYTES);
    put_le64(&at, (uint64_t)st->st_dev);
    put_le64(&at, (uint64_t)st->st_ino);
    put_le64(&at, (uint64_t)st->st_size);
    put_le64(&at, (uint64_t)st->st_mtim.tv_sec);
    put_le64(&at, (uint64_t)st->st_mtim.tv_nsec);
    put_le64(&at, (uint64_t)st->st_ctim.tv_sec);
    put_le64(&at, (uint64_t)st->st_ctim.tv_nsec);
    return digest_sha256(text, sizeof(text));
}

static bool is_seen(const struct stat *was, const struct stat *now)
{
    return was->st_dev == now->st_dev && was->st_ino == now->st_ino &&
           was->st_size == now->st_size &&
           was->st_mtim.tv_sec == now->st_mtim.tv_sec &&
           was->st_mtim.tv_nsec == now->st_mtim.tv_nsec &&
           was->st_ctim.tv_sec == now->st_ctim.tv_sec &&
           was->st_ctim.tv_nsec == now->st_ctim.tv_nsec;
}

/* What identifies the files of <m>. False: they lie in memory, changed since
 * they were opened, or were young then. */
static bool files_of(const struct model *m, struct digest *out)
{
    static const char tag[] = "tollgate digest of weights 1";
    const struct model_store *s = m->store;
    uint8_t text[sizeof(tag) + DIGEST_BYTES];
    struct digest d = digest_sha256(s->config.p, s->config.len);

    memcpy(text, tag, sizeof(tag));
    memcpy(text + sizeof(tag), d.b, DIGEST_BYTES);
    d = digest_sha256(text, sizeof(text));
    for (size_t i = 0; i < s->n_maps; i++) {
        const struct model_map *map = &s->maps[i];
        const struct stat *was = &map->seen;
        const int64_t at_ns =
            (int64_t)was->st_mtim.tv_sec * 1000000000 + was->st_mtim.tv_nsec;
        struct stat now;

        if (map->fd < 0 || map->opened_wall_ns - at_ns < YOUNG_NS ||
            fstat(map->fd, &now) != 0 || !is_seen(was, &now))
            return false;
        d = file_id(&d, was);
    }
    if (s->n_maps == 0)
        return false;
    *out = d;
    return true;
}

/* --- the file ------------------------------------------------------------ */

/* Read the rows of the file in the directory <dir_fd>. Nobody else may be able
 * to write it. */
static enum err rows_read(int dir_fd, struct digest_rows *out)
{
    const int fd = openat(dir_fd, FILE_NAME,
                          O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    char text[TEXT_MAX + 1];
    struct stat st;
    ssize_t n = -1;

    if (fd == -1)
        return ERR_NOT_FOUND;
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && !(st.st_mode & 022))
        n = read(fd, text, sizeof(text));
    close(fd);
    return n < 0 ? ERR_CORRUPT
                 : digest_cache_parse(str_of(text, (size_t)n), out);
}

/* Put <text> in place of the file. */
static enum err file_replace(int dir_fd, struct str text)
{
    const char *from = FILE_NAME ".new";
    const int flags = O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW;
    const int fd = openat(dir_fd, from, flags, 0600);
    bool ok;

    if (fd == -1)
        return ERR_IO;
    ok = write(fd, text.p, text.len) == (ssize_t)text.len && fsync(fd) == 0;
    ok = close(fd) == 0 && ok;
    if (ok && renameat(dir_fd, from, dir_fd, FILE_NAME) == 0)
        return ERR_OK;
    unlinkat(dir_fd, from, 0);
    return ERR_IO;
}

/* The place of <files>, or rows->n. */
static unsigned row_find(const struct digest_rows *rows,
                         const struct digest *files)
{
    unsigned i = 0;

    while (i < rows->n &&
           !digest_eq(rows->v[i].files.b, files->b, DIGEST_BYTES))
        i++;
    return i;
}

/* Have <row> as the first of <rows>, in place of one of the same files, of the
 * last one or of none. */
static void row_lead(struct digest_rows *rows, const struct digest_row *row)
{
    unsigned at = row_find(rows, &row->files);

    if (at == rows->n && rows->n < DIGEST_CACHE_ROWS)
        rows->n++;
    if (at == rows->n)
        at--;
    memmove(&rows->v[1], &rows->v[0], at * sizeof(rows->v[0]));
    rows->v[0] = *row;
}

/* With the lock held. */
static enum err rows_change(int dir_fd, const struct digest_row *row)
{
    struct digest_rows rows = {.n = 0};
    struct buf text;
    enum err e = rows_read(dir_fd, &rows);

    if (e == ERR_OK && rows.n > 0 && memcmp(&rows.v[0], row, sizeof(*row)) == 0)
        return ERR_OK;
    if (e != ERR_OK)
        rows.n = 0; /* what is damaged begins anew */
    row_lead(&rows, row);
    buf_init(&text, TEXT_MAX);
    e = digest_cache_write(&rows, &text);
    if (e == ERR_OK)
        e = file_replace(dir_fd, buf_str(&text));
    buf_fini(&text);
    return e;
}

static enum err row_keep(const char *dir, const struct digest_row *row)
{
    const int dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int lock_fd;
    enum err e = ERR_IO;

    if (dir_fd == -1)
        return ERR_IO;
    lock_fd = openat(dir_fd, LOCK_NAME,
                     O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    /* Who holds it is done in a moment. */
    while (lock_fd != -1 && flock(lock_fd, LOCK_EX) != 0) {
        if (errno == EINTR)
            continue;
        close(lock_fd);
        lock_fd = -1;
    }
    if (lock_fd != -1) {
        e = rows_change(dir_fd, row);
        close(lock_fd);
    }
    close(dir_fd);
    return e;
}

/* --- for models ---------------------------------------------------------- */

enum err digest_cache_get(const char *dir, struct model *m)
{
    struct digest_rows rows;
    struct digest files;
    unsigned at;
    int dir_fd;
    enum err e;

    if (!files_of(m, &files))
        return ERR_NOT_FOUND;
    dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir_fd == -1)
        return ERR_NOT_FOUND;
    e = rows_read(dir_fd, &rows);
    close(dir_fd);
    if (e != ERR_OK)
        return ERR_NOT_FOUND;
    at = row_find(&rows, &files);
    if (at == rows.n)
        return ERR_NOT_FOUND;
    digest_hex(rows.v[at].weights.b, DIGEST_BYTES, m->digest);
    return ERR_OK;
}

enum err digest_cache_put(const char *dir, const struct model *m)
{
    struct digest_row row;

    if (!files_of(m, &row.files) ||
        digest_unhex(str_from(m->digest), row.weights.b) != ERR_OK)
        return ERR_REFUSED;
    if (mkdir(dir, 0700) != 0 && errno != EEXIST)
        return ERR_IO;
    return row_keep(dir, &row);
}

enum err digest_cache_fill(const char *dir, struct model *m)
{
    enum err e = digest_cache_get(dir, m);

    if (e != ERR_OK)
        ERR_TRY(model_digest(m));
    /* Also of what was there: it leads now, and is the last to make room. */
    e = digest_cache_put(dir, m);
    if (e != ERR_OK && e != ERR_REFUSED)
        log_info(LOG_ENGINE, "digests of weights cannot be kept: dir=%s: %s",
                 dir, strerror(errno));
    return ERR_OK;
}
