/* kv_dir.c - Tools for namespaces that may be in use, damaged, of another user
 * or all of this. Decides what is done in a child: all that opens a file of
 * LMDB. The child takes the owner's identity first, so that what it makes is of
 * use to the owner, and so that it may do no more than the owner. */
#include "store/kv_dir.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/child.h"
#include "store/kv_db_priv.h"

/* Longest text of an ns.json that is read. */
#define ABOUT_MAX 65536

/* What is done in a child, and with what. */
struct task {
    const char *dir;
    const struct kv_layout *layout;
    bool shared; /* somebody has it open */
    bool drop;
};

/* --- in the child -------------------------------------------------------- */

static enum err count_in(struct txn *t, void *arg, struct buf *out)
{
    uint64_t pages = 0;

    (void)arg;
    ERR_TRY(txn_count(t, KV_PAGES, &pages));
    return buf_printf(out, "%llu", (unsigned long long)pages);
}

static enum err count_child(void *arg, struct buf *out)
{
    const struct task *task = arg;
    const struct env_opts opts = {.dir = task->dir,
                                  .what = "prefix store",
                                  .tables = kv_tables,
                                  .n_tables = KV_TABLE_COUNT};

    if (child_become_owner(task->dir) != ERR_OK) {
        env_say(out, "%s: %s", task->dir, strerror(errno));
        return ERR_IO;
    }
    return env_look(&opts, task->shared, count_in, NULL, out);
}

/* Drop what is bad, <bad> being hashes. */
static uint64_t drop_all(struct kv_db *d, const struct buf *bad)
{
    uint64_t dropped = 0;
    struct digest hash;

    for (size_t at = 0; at + sizeof(hash.b) <= bad->len; at += sizeof(hash.b)) {
        memcpy(hash.b, bad->p + at, sizeof(hash.b));
        dropped += kv_db_drop(d, &hash) == ERR_OK;
    }
    return dropped;
}

static enum err verify_open(const struct task *task, struct kv_db *d,
                            struct buf *out)
{
    uint64_t pages = 0;
    uint64_t dropped = 0;
    struct buf bad;

    buf_init(&bad, SIZE_MAX / 2);
    const enum err err = kv_db_verify(d, &pages, &bad);
    if (err == ERR_OK && task->drop)
        dropped = drop_all(d, &bad);
    const size_t n_bad = bad.len / DIGEST_BYTES;
    buf_fini(&bad);
    if (err != ERR_OK) {
        env_say(out, "prefix store %s cannot be read: %s", task->dir,
                kv_db_last_error(d));
        return err;
    }
    return buf_printf(out, "%llu %zu %llu", (unsigned long long)pages, n_bad,
                      (unsigned long long)dropped);
}

static enum err verify_child(void *arg, struct buf *out)
{
    const struct task *task = arg;
    const struct kv_db_opts opts = {.dir = task->dir,
                                    .ns = task->layout->ns,
                                    .about = STR(""), /* as it is */
                                    .payload_bytes = task->layout->page_bytes,
                                    .max_bytes = task->layout->max_bytes,
                                    .keep = true};
    struct kv_db *d = NULL;

    if (child_become_owner(task->dir) != ERR_OK) {
        env_say(out, "%s: %s", task->dir, strerror(errno));
        return ERR_IO;
    }
    ERR_TRY(kv_db_open(&opts, &d, out));
    const enum err err = verify_open(task, d, out);
    kv_db_close(d);
    return err;
}

/* --- in the parent ------------------------------------------------------- */

static enum err dir_of(const char *root, const char *name, char out[4096],
                       struct buf *why)
{
    struct stat st;
    char users[4200];

    if (!kv_room_is_name(name) ||
        snprintf(out, 4096, "%s/%s", root, name) >= 4096 ||
        snprintf(users, sizeof(users), "%s/users", out) >= (int)sizeof(users)) {
        env_say(why, "%s is no name of a prefix store", name);
        return ERR_NOT_FOUND;
    }
    if (stat(users, &st) == 0)
        return ERR_OK;
    if (errno == ENOENT || errno == ENOTDIR) {
        env_say(why, "there is no prefix store %s", out);
        return ERR_NOT_FOUND;
    }
    env_say(why, "prefix store %s cannot be read: %s", out, strerror(errno));
    return ERR_IO;
}

/* Run <fn> in a child; what it says, numbers or a sentence, is in <said>. */
static enum err run_child(child_fn *fn, struct task *task, struct buf *said)
{
    struct child child;

    if (child_start(fn, task, &child) != ERR_OK) {
        env_say(said, "there is no child process to read %s", task->dir);
        return ERR_IO;
    }
    return child_finish(&child, said);
}

enum err kv_dir_verify(const char *root, const char *name, bool drop,
                       struct kv_dir_verified *out, struct buf *why)
{
    unsigned long long n[3] = {0};
    struct kv_layout layout;
    char dir[4096];
    struct buf said;

    ERR_TRY(dir_of(root, name, dir, why));
    ERR_TRY(kv_layout_read(dir, &layout, why));
    struct task task = {.dir = dir, .layout = &layout, .drop = drop};
    buf_init(&said, 4096);
    enum err err = run_child(verify_child, &task, &said);
    if (err == ERR_OK)
        err = buf_put(&said, "", 1);
    if (err == ERR_OK &&
        sscanf(said.p, "%llu %llu %llu", &n[0], &n[1], &n[2]) == 3)
        *out = (struct kv_dir_verified){
            .pages = n[0], .bad = n[1], .dropped = n[2]};
    else
        env_say(why, "%.*s", STR_ARG(buf_str(&said)));
    buf_fini(&said);
    return err;
}

enum err kv_dir_remove(const char *root, const char *name, struct buf *why)
{
    char dir[4096];

    ERR_TRY(dir_of(root, name, dir, why));
    const enum err err = kv_room_remove(dir, why);
    if (err == ERR_EXISTS)
        env_say(why, "prefix store %s is in use", dir);
    return err;
}

enum err kv_dir_purge(const char *root, const char *name, struct buf *why)
{
    char dir[4096];

    ERR_TRY(dir_of(root, name, dir, why));
    struct kv_db d = {.dir = dir, .users_fd = -1, .dir_fd = -1};
    const enum err err = kv_room_remove(dir, why);
    if (err != ERR_EXISTS)
        return err;
    ERR_TRY(kv_enter(&d, false, why));
    const bool ok = kv_pages_unlink(&d);
    if (!ok)
        env_say(why, "prefix store %s cannot be purged: %s", dir,
                strerror(errno));
    kv_leave(&d);
    return ok ? ERR_OK : ERR_IO;
}

void kv_dir_make_room(const char *root, uint64_t bound, uint64_t want,
                      const char *own)
{
    const int fd = kv_room_enter(root);
    const uint64_t kept = kv_room_bytes(own) + want;

    kv_room_make(root, bound > kept ? bound - kept : 0, own);
    kv_room_leave(fd);
}

/* --- the list ------------------------------------------------------------ */

static char *about_read(const char *dir)
{
    char path[4200];
    char *text = calloc(1, ABOUT_MAX + 1);

    if (!text)
        return NULL;
    snprintf(path, sizeof(path), "%s/ns.json", dir);
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return text;
    const ssize_t n = read(fd, text, ABOUT_MAX);
    close(fd);
    text[n > 0 ? n : 0] = '\0';
    return text;
}

/* Whether the file of <dir>, which nobody has open, can be used. */
static enum err prove_file(const char *dir, struct buf *why)
{
    const struct env_opts opts = {.dir = dir,
                                  .what = "prefix store",
                                  .tables = kv_tables,
                                  .n_tables = KV_TABLE_COUNT,
                                  .flags = ENV_NOSYNC | ENV_WATCHED};
    char path[4200];

    if (kv_is_torn(dir)) {
        env_say(why, "prefix store %s cannot be trusted: " KV_TORN, dir);
        return ERR_CORRUPT;
    }
    snprintf(path, sizeof(path), "%s/data.mdb", dir);
    return env_walk(&opts, path, why);
}

/* Count the pages of <ns>, or find out why they cannot be counted. */
static enum err count_pages(const char *dir, struct kv_dir_ns *ns)
{
    struct task task = {.dir = dir, .shared = ns->is_open};
    struct buf said;

    buf_init(&said, 4096);
    enum err err = ns->is_open ? ERR_OK : prove_file(dir, &said);
    if (err == ERR_OK)
        err = run_child(count_child, &task, &said);
    if (err == ERR_OK)
        err = buf_put(&said, "", 1);
    if (err == ERR_OK)
        ns->pages = strtoull(said.p, NULL, 10);
    else
        ns->trouble = strndup(said.p ? said.p : "", said.len);
    buf_fini(&said);
    return err == ERR_OK || ns->trouble ? ERR_OK : ERR_NOMEM;
}

static enum err fill_one(const char *root, const struct kv_room_ns *from,
                         struct kv_dir_ns *ns)
{
    struct kv_layout layout;
    char dir[4096];
    struct buf why;

    memcpy(ns->name, from->name, sizeof(ns->name));
    ns->bytes = from->bytes;
    ns->used_ms = from->used_ns / 1000000;
    if (snprintf(dir, sizeof(dir), "%s/%s", root, ns->name) >= (int)sizeof(dir))
        return ERR_RANGE;
    ns->is_open = kv_room_is_open(dir);
    ns->about = about_read(dir);
    if (!ns->about)
        return ERR_NOMEM;
    buf_init(&why, 1024);
    if (kv_layout_read(dir, &layout, &why) == ERR_OK) {
        ns->max_bytes = layout.max_bytes;
        ns->page_bytes = layout.page_bytes;
    }
    buf_fini(&why);
    return kv_room_has_pages(dir) ? count_pages(dir, ns) : ERR_OK;
}

enum err kv_dir_list(const char *root, struct kv_dir_ns **out, unsigned *n_out,
                     struct buf *why)
{
    struct kv_room_ns *found = NULL;
    unsigned n = 0;
    enum err err = kv_room_scan(root, &found, &n);

    if (err == ERR_IO && errno != ENOENT) {
        env_say(why, "%s cannot be read: %s", root, strerror(errno));
        return ERR_IO;
    }
    struct kv_dir_ns *list = calloc(n + 1, sizeof(*list));
    err = list ? ERR_OK : ERR_NOMEM;
    for (unsigned i = 0; i < n && err == ERR_OK; i++)
        err = fill_one(root, &found[i], &list[i]);
    free(found);
    if (err != ERR_OK) {
        kv_dir_free(list, n);
        return err;
    }
    *out = list;
    *n_out = n;
    return ERR_OK;
}

void kv_dir_free(struct kv_dir_ns *list, unsigned n)
{
    for (unsigned i = 0; list && i < n; i++) {
        free(list[i].about);
        free(list[i].trouble);
    }
    free(list);
}
