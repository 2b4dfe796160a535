/* journal.c - Journal files. Decides what a whole record is and what to do
 * with bytes that are none. Appends go to an offset of our own keeping, not
 * to the end of the file: half a record that failed is overwritten by the
 * next one, never left in the middle. */
#include "account/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/digest.h"
#include "base/panic.h"
#include "store/boot.h"
#include "store/ledger_db.h"

/* Read so much of a file at once. */
#define READ_BYTES (128u << 10)

/* A payload of the head: id, boot id, time, worker, zeros. */
#define HEAD_PAYLOAD_BYTES (JOURNAL_HEAD_BYTES - REC_HEAD_BYTES)

/* Format of the records behind the head. */
#define JOURNAL_FORMAT 1

_Static_assert(REC_HEAD_BYTES + ROW_BYTES_MAX <= READ_BYTES, "record fits");

static uint64_t record_seed(const struct jfile *f, uint64_t offset)
{
    uint8_t key[JOURNAL_ID_LEN + 8];
    struct rec_out o = {.p = key, .room = sizeof(key)};

    rec_put_raw(&o, f->id, JOURNAL_ID_LEN);
    rec_put_int(&o, offset, 8);
    return rec_seed(LDB_JOURNAL, str_of(key, sizeof(key)));
}

static uint64_t head_seed(void)
{
    return rec_seed(LDB_JOURNAL, STR("head"));
}

static enum err write_head(struct jfile *f, unsigned index)
{
    uint8_t head[JOURNAL_HEAD_BYTES] = {0};
    struct boot_id boot;
    struct rec_out o = {.p = head + REC_HEAD_BYTES, .room = HEAD_PAYLOAD_BYTES};

    boot_id_read(&boot);
    rec_put_int(&o, JOURNAL_FORMAT, 2);
    rec_put_int(&o, index, 2);
    rec_put_raw(&o, f->id, JOURNAL_ID_LEN);
    rec_put_raw(&o, boot.b, sizeof(boot.b));
    rec_put_int(&o, clock_wall_ms(), 8);
    BUG_ON(o.full);
    rec_seal(head, REC_JOURNAL, HEAD_PAYLOAD_BYTES, head_seed());
    if (pwrite(f->fd, head, sizeof(head), 0) != (ssize_t)sizeof(head))
        return ERR_IO;
    /* records that a power cut leaves behind a head that is gone could not be
     * told from damage */
    if (fdatasync(f->fd) != 0)
        return ERR_IO;
    atomic_store(&f->end, JOURNAL_HEAD_BYTES);
    f->folded = JOURNAL_HEAD_BYTES;
    f->pending = JOURNAL_HEAD_BYTES;
    f->reserved = JOURNAL_HEAD_BYTES;
    return ERR_OK;
}

enum err journal_create(const char *dir, unsigned index,
                        struct jfile **file_out)
{
    struct jfile *f = calloc(1, sizeof(*f));
    char hex[2 * JOURNAL_ID_LEN + 1];

    if (!f)
        return ERR_NOMEM;
    digest_random(f->id, sizeof(f->id));
    digest_hex(f->id, sizeof(f->id), hex);
    f->has_reserve = true;
    f->fd = -1;
    if (asprintf(&f->path, "%s/w%u-%s.journal", dir, index, hex) < 0) {
        free(f);
        return ERR_NOMEM;
    }
    f->fd = open(f->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (f->fd < 0 || write_head(f, index) != ERR_OK) {
        const int saved = errno;

        if (f->fd >= 0)
            unlink(f->path);
        journal_free(f);
        errno = saved;
        return ERR_IO;
    }
    *file_out = f;
    return ERR_OK;
}

static enum err read_head(struct jfile *f)
{
    uint8_t head[JOURNAL_HEAD_BYTES];
    struct str payload;
    struct stat st;

    if (fstat(f->fd, &st) != 0)
        return ERR_IO;
    const ssize_t n = pread(f->fd, head, sizeof(head), 0);
    if (n < 0)
        return ERR_IO;
    if (rec_open(str_of(head, (size_t)n), REC_JOURNAL, head_seed(), &payload) !=
        ERR_OK)
        return ERR_CORRUPT;
    struct rec_in in = {.p = (const uint8_t *)payload.p, .left = payload.len};
    if (rec_get_int(&in, 2) != JOURNAL_FORMAT)
        return ERR_RANGE;
    rec_get_int(&in, 2);
    const struct str id = rec_get_raw(&in, JOURNAL_ID_LEN);
    if (in.bad)
        return ERR_CORRUPT;
    memcpy(f->id, id.p, JOURNAL_ID_LEN);
    atomic_store(&f->end, (uint64_t)st.st_size);
    atomic_store(&f->is_sealed, true);
    f->folded = JOURNAL_HEAD_BYTES;
    f->pending = JOURNAL_HEAD_BYTES;
    return ERR_OK;
}

enum err journal_open(const char *path, struct jfile **file_out)
{
    struct jfile *f = calloc(1, sizeof(*f));

    if (!f)
        return ERR_NOMEM;
    f->path = strdup(path);
    f->fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    enum err err = f->path ? ERR_OK : ERR_NOMEM;
    if (err == ERR_OK)
        err = f->fd < 0 ? ERR_IO : read_head(f);
    if (err != ERR_OK) {
        journal_free(f);
        return err;
    }
    *file_out = f;
    return ERR_OK;
}

void journal_free(struct jfile *f)
{
    if (f->fd >= 0)
        close(f->fd);
    free(f->path);
    free(f);
}

enum err journal_reserve(struct jfile *f, uint64_t bytes)
{
    const uint64_t end = atomic_load(&f->end);

    if (!f->has_reserve || f->reserved >= end + bytes / 2)
        return ERR_OK;
    if (f->reserved < end)
        f->reserved = end;
    const uint64_t more = end + bytes - f->reserved;
    if (fallocate(f->fd, FALLOC_FL_KEEP_SIZE, (off_t)f->reserved,
                  (off_t)more) == 0) {
        f->reserved += more;
        return ERR_OK;
    }
    if (errno == ENOSPC || errno == EDQUOT || errno == EIO)
        return ERR_FULL;
    if (errno != EINTR)
        f->has_reserve = false; /* it cannot; writes will tell */
    return ERR_OK;
}

enum err journal_append(struct jfile *f, enum rec_type type, void *frame,
                        size_t len)
{
    const uint64_t at = atomic_load_explicit(&f->end, memory_order_relaxed);
    const size_t all = REC_HEAD_BYTES + len;
    ssize_t n;

    rec_seal(frame, type, len, record_seed(f, at));
    do {
        n = pwrite(f->fd, frame, all, (off_t)at);
    } while (n < 0 && errno == EINTR);
    if (n != (ssize_t)all)
        return ERR_IO;
    atomic_store(&f->end, at + all);
    return ERR_OK;
}

void journal_read_init(struct journal_read *r, const struct jfile *f,
                       uint64_t from, uint64_t limit)
{
    *r = (struct journal_read){
        .file = f, .at = from, .limit = limit, .base = from};
    buf_init(&r->bytes, READ_BYTES);
}

void journal_read_fini(struct journal_read *r)
{
    buf_fini(&r->bytes);
}

/* Have as many bytes from <offset> on as a record may take, or all there
 * are up to the limit, and give them. */
static enum err bytes_at(struct journal_read *r, uint64_t offset,
                         struct str *bytes_out)
{
    const uint64_t left = r->limit - offset;
    const size_t want =
        left < JOURNAL_RECORD_MAX ? (size_t)left : JOURNAL_RECORD_MAX;

    if (offset < r->base || offset + want > r->base + r->bytes.len) {
        const size_t len = left < READ_BYTES ? (size_t)left : READ_BYTES;

        buf_clear(&r->bytes);
        if (buf_reserve(&r->bytes, len) != ERR_OK)
            return ERR_NOMEM;
        const ssize_t n = pread(r->file->fd, r->bytes.p, len, (off_t)offset);
        if (n < 0)
            return ERR_IO;
        r->bytes.len = (size_t)n;
        r->base = offset;
    }
    *bytes_out = str_skip(buf_str(&r->bytes), (size_t)(offset - r->base));
    return ERR_OK;
}

static enum err record_at(struct journal_read *r, uint64_t offset,
                          enum rec_type *type_out, struct str *payload_out)
{
    struct str bytes;
    const enum err err = bytes_at(r, offset, &bytes);
    enum rec_type type = REC_ROW;

    if (err != ERR_OK)
        return err;
    if (bytes.len > REC_HEAD_BYTES)
        type = (enum rec_type)(uint8_t)bytes.p[8];
    if (type != REC_ROW && type != REC_HOLD)
        return ERR_CORRUPT; /* spares the hash while searching */
    *type_out = type;
    return rec_open(bytes, type, record_seed(r->file, offset), payload_out);
}

enum err journal_read_next(struct journal_read *r, enum rec_type *type_out,
                           struct str *payload_out)
{
    uint64_t offset = r->at;

    while (offset < r->limit) {
        const enum err err = record_at(r, offset, type_out, payload_out);

        if (err == ERR_OK) {
            r->skipped += offset - r->at;
            r->at = offset + REC_HEAD_BYTES + payload_out->len;
            return ERR_OK;
        }
        if (err != ERR_CORRUPT)
            return err;
        offset++;
    }
    r->torn += offset - r->at;
    r->at = r->limit;
    return ERR_NOT_FOUND;
}
