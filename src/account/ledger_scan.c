/* ledger_scan.c - What an earlier process left in STATE/journal: its files,
 * and where their folding stood. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "account/ledger_priv.h"

enum err ledger_sync_dir(const char *dir)
{
    const int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0)
        return ERR_IO;
    const int rc = fsync(fd);
    close(fd);
    return rc == 0 ? ERR_OK : ERR_IO;
}

void ledger_forget_later(struct ledger *l, const struct jfile *f)
{
    if (l->n_gone == l->room_gone) {
        const size_t room = l->room_gone ? 2 * l->room_gone : 16;
        struct gone_id *more = realloc(l->gone, room * sizeof(*more));

        if (!more)
            return; /* the record is found without its file at next start */
        l->gone = more;
        l->room_gone = room;
    }
    memcpy(l->gone[l->n_gone++].id, f->id, JOURNAL_ID_LEN);
}

static enum err read_folded(struct ledger *l, struct jfile *f)
{
    struct txn t;
    struct str payload;
    enum err err = txn_begin_read(ldb_env(l->db), &t);

    if (err != ERR_OK)
        return err;
    err = ldb_get(&t, LDB_FOLDS, str_of(f->id, JOURNAL_ID_LEN), &payload);
    if (err == ERR_OK) {
        struct rec_in in = {.p = (const uint8_t *)payload.p,
                            .left = payload.len};
        const uint64_t at = rec_get_int(&in, 8);

        err = in.bad || at < JOURNAL_HEAD_BYTES ? ERR_CORRUPT : ERR_OK;
        if (err == ERR_OK)
            f->folded = at;
    }
    txn_end(&t);
    f->pending = f->folded;
    return err == ERR_NOT_FOUND ? ERR_OK : err;
}

/* A file so short that its head is torn was never written to: the process
 * died while making it. */
static enum err refuse_or_drop(const char *path, enum err err, struct buf *why)
{
    if (err == ERR_CORRUPT) {
        const int fd = open(path, O_RDONLY | O_CLOEXEC);
        const off_t size = fd < 0 ? -1 : lseek(fd, 0, SEEK_END);

        if (fd >= 0)
            close(fd);
        if (size >= 0 && size <= JOURNAL_HEAD_BYTES && unlink(path) == 0)
            return ERR_OK;
        env_say(why,
                "journal %s is damaged: its head is not readable; move it "
                "away to start without its rows",
                path);
        return err;
    }
    if (err == ERR_RANGE) {
        env_say(why, "journal %s was written by a newer version", path);
        return ERR_CORRUPT;
    }
    env_say(why, "journal %s cannot be opened: %s", path, strerror(errno));
    return err;
}

static enum err scan_file(struct ledger *l, const char *name, struct buf *why)
{
    char path[4096];
    struct jfile *f = NULL;

    if (!str_ends(str_from(name), STR(".journal")))
        return ERR_OK;
    if (snprintf(path, sizeof(path), "%s/%s", l->journal_dir, name) >=
        (int)sizeof(path))
        return ERR_RANGE;
    enum err err = journal_open(path, &f);
    if (err != ERR_OK)
        return refuse_or_drop(path, err, why);
    err = read_folded(l, f);
    if (err != ERR_OK) {
        env_say(why, "%s: folding record of %s is damaged",
                env_path(ldb_env(l->db)), path);
        journal_free(f);
        return err;
    }
    STAILQ_INSERT_TAIL(&l->files, f, link);
    return ERR_OK;
}

enum err ledger_fold_scan(struct ledger *l, struct buf *why)
{
    DIR *dir = opendir(l->journal_dir);
    enum err err = ERR_OK;

    if (!dir) {
        env_say(why, "%s cannot be read: %s", l->journal_dir, strerror(errno));
        return ERR_IO;
    }
    for (const struct dirent *d = readdir(dir); err == ERR_OK && d;
         d = readdir(dir))
        err = scan_file(l, d->d_name, why);
    closedir(dir);
    return err;
}

/* Collects ids of folding records without a file. */
static enum err collect_stale(void *arg, struct str key, struct str payload)
{
    struct ledger *l = arg;
    struct jfile *f;
    struct jfile stale;

    (void)payload; /* only the key counts */
    if (key.len != JOURNAL_ID_LEN)
        return ERR_CORRUPT;
    STAILQ_FOREACH(f, &l->files, link)
    {
        if (memcmp(f->id, key.p, JOURNAL_ID_LEN) == 0)
            return ERR_OK;
    }
    memcpy(stale.id, key.p, JOURNAL_ID_LEN);
    ledger_forget_later(l, &stale);
    return ERR_OK;
}

enum err ledger_fold_tidy(struct ledger *l)
{
    struct buf why;
    enum err err = ledger_sync_dir(l->journal_dir);

    if (err != ERR_OK)
        return err;
    buf_init(&why, 512);
    err = ldb_each(l->db, LDB_FOLDS, collect_stale, l, &why);
    buf_fini(&why);
    return err; /* they are deleted with the first rows */
}
