/* ctl_store.c - See ctl_store.h. A namespace is opened as a daemon opens it,
 * with what its ns.json says and a bound that its file does not pass. */
#include "ctl/ctl_store.h"

#include <dirent.h>
#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/digest.h"
#include "base/log.h"
#include "store/kv_db.h"
#include "store/kv_models.h"

/* Hex digits of a namespace's directory. */
#define NAME_LEN 16

/* Bytes of the path of a namespace, with its NUL. */
#define DIR_BYTES 4300

/* Bytes of ns.json, of the names of models, and of reasons, at most. */
#define TEXT_MAX 65536

#define MIB ((uint64_t)1 << 20)

/* --- who we are ---------------------------------------------------------- */

/* Name of the user <uid>, for people. */
static void user_name(uid_t uid, char out[64])
{
    const struct passwd *pw = getpwuid(uid);

    if (pw)
        snprintf(out, 64, "%s", pw->pw_name);
    else
        snprintf(out, 64, "%u", (unsigned)uid);
}

bool ctl_store_enter(const char *root)
{
    struct stat st;
    char name[64];

    log_level_set(LOG_LEVEL_ERR);
    if (stat(root, &st) != 0) {
        if (errno == ENOENT)
            return true;
        fprintf(stderr, "tollctl: %s: %s\n", root, strerror(errno));
        return false;
    }
    user_name(st.st_uid, name);
    if (geteuid() == st.st_uid)
        return true;
    if (geteuid() != 0) {
        fprintf(stderr, "tollctl: %s is %s's; run this as %s or root\n", root,
                name, name);
        return false;
    }
    if (setegid(st.st_gid) == 0 && seteuid(st.st_uid) == 0)
        return true;
    fprintf(stderr, "tollctl: cannot become %s: %s\n", name, strerror(errno));
    return false;
}

/* --- one namespace ------------------------------------------------------- */

static bool path_of(const char *root, const char *name, char dir[DIR_BYTES])
{
    return snprintf(dir, DIR_BYTES, "%s/%s", root, name) < DIR_BYTES;
}

/* Append the text of <dir>/ns.json. */
static enum err about_read(const char *dir, struct buf *out, struct buf *why)
{
    char path[DIR_BYTES + 16];
    char part[4096];
    size_t n;
    FILE *f;

    snprintf(path, sizeof(path), "%s/ns.json", dir);
    f = fopen(path, "re");
    if (!f)
        return buf_printf(why, "ns.json cannot be read: %s", strerror(errno)) ==
                       ERR_OK
                   ? ERR_IO
                   : ERR_NOMEM;
    while ((n = fread(part, 1, sizeof(part), f)) > 0)
        if (buf_put(out, part, n) != ERR_OK)
            break;
    fclose(f);
    return ERR_OK;
}

/* What ns.json says of namespace <name>. */
static bool about_parse(struct str text, const char *name,
                        struct kv_db_opts *out)
{
    json_t *o = json_loadb(text.p, text.len, 0, NULL);
    const char *hex = json_string_value(json_object_get(o, "namespace"));
    const json_int_t bytes =
        json_integer_value(json_object_get(o, "page_bytes"));
    const bool ok = hex && strncmp(hex, name, NAME_LEN) == 0 &&
                    digest_unhex(str_from(hex), out->ns.b) == ERR_OK &&
                    bytes > 0 && bytes < (json_int_t)1 << 40;

    out->about = text;
    out->payload_bytes = (size_t)bytes;
    json_decref(o);
    return ok;
}

static uint64_t file_bytes(const char *dir)
{
    char path[DIR_BYTES + 16];
    struct stat st;

    snprintf(path, sizeof(path), "%s/data.mdb", dir);
    return stat(path, &st) == 0 ? (uint64_t)st.st_size : 0;
}

/* Open the namespace <name> in <dir>. False with a sentence in <why>. */
static bool space_open(const char *dir, const char *name, struct kv_db **out,
                       struct buf *why)
{
    struct kv_db_opts opts = {.dir = dir};
    struct buf about;
    bool ok;

    buf_init(&about, TEXT_MAX);
    ok = about_read(dir, &about, why) == ERR_OK;
    if (ok && !about_parse(buf_str(&about), name, &opts)) {
        ok = false;
        if (buf_printf(why, "ns.json is damaged or of another namespace") !=
            ERR_OK)
            buf_clear(why);
    }
    opts.max_bytes = file_bytes(dir) + KV_DB_LEAST_BYTES +
                     32 * (opts.payload_bytes + 8192) + MIB;
    if (ok)
        ok = kv_db_open(&opts, out, why) == ERR_OK;
    buf_fini(&about);
    return ok;
}

/* Put the sentence of <why> into <space>. */
static void put_reason(json_t *space, const struct buf *why)
{
    if (why->len > 0)
        json_object_set_new(space, "reason", json_stringn(why->p, why->len));
}

/* Open the namespace of <space>; false with the reason in it. */
static bool enter_space(const char *root, json_t *space, struct kv_db **out)
{
    const char *name = json_string_value(json_object_get(space, "namespace"));
    char dir[DIR_BYTES];
    struct buf why;
    bool ok;

    buf_init(&why, TEXT_MAX);
    ok = path_of(root, name, dir) && space_open(dir, name, out, &why);
    if (!ok && why.len == 0)
        json_object_set_new(space, "reason",
                            json_string("it cannot be opened"));
    put_reason(space, &why);
    buf_fini(&why);
    return ok;
}

/* --- list ---------------------------------------------------------------- */

static bool is_space(const char *name)
{
    return strlen(name) == NAME_LEN &&
           strspn(name, "0123456789abcdef") == NAME_LEN;
}

/* The lines of <names> as an array. */
static json_t *names_json(struct str names)
{
    json_t *list = json_array();

    while (names.len > 0) {
        const size_t end = str_find_char(names, '\n');

        if (end > 0)
            json_array_append_new(list, json_stringn(names.p, end));
        names = str_skip(names, end < names.len ? end + 1 : end);
    }
    return list;
}

/* The namespace <name> as an object; NULL when <model> does not use it. */
static json_t *space_json(const char *root, const char *name, const char *model)
{
    char dir[DIR_BYTES];
    struct kv_db_stats s;
    struct kv_db *db;
    struct buf names;
    json_t *o;

    if (!path_of(root, name, dir))
        return NULL;
    buf_init(&names, TEXT_MAX);
    if (kv_models_read(dir, &names) != ERR_OK)
        buf_clear(&names);
    if (model && !kv_models_has(buf_str(&names), str_from(model))) {
        buf_fini(&names);
        return NULL;
    }
    o = json_pack("{s:s, s:o, s:I, s:n, s:n}", "namespace", name, "models",
                  names_json(buf_str(&names)), "bytes",
                  (json_int_t)file_bytes(dir), "pages", "reason");
    buf_fini(&names);
    if (!enter_space(root, o, &db))
        return o;
    if (kv_db_stats(db, &s) == ERR_OK)
        json_object_set_new(o, "pages", json_integer((json_int_t)s.pages));
    kv_db_close(db);
    return o;
}

static int compare_names(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static int filter_names(const struct dirent *d)
{
    return is_space(d->d_name);
}

json_t *ctl_store_list(const char *root, const char *model)
{
    json_t *list = json_array();
    struct dirent **names;
    int n = scandir(root, &names, filter_names, compare_names);

    if (n < 0 && errno == ENOENT)
        return list;
    if (n < 0) {
        fprintf(stderr, "tollctl: %s cannot be read: %s\n", root,
                strerror(errno));
        json_decref(list);
        return NULL;
    }
    for (int i = 0; i < n; i++) {
        json_t *o = space_json(root, names[i]->d_name, model);

        if (o)
            json_array_append_new(list, o);
        free(names[i]);
    }
    free(names);
    return list;
}

/* --- prove and forget ---------------------------------------------------- */

bool ctl_store_verify(const char *root, json_t *space)
{
    struct kv_db *db;
    struct buf bad;
    uint64_t pages = 0;
    enum err err;

    if (!enter_space(root, space, &db))
        return false;
    buf_init(&bad, 1 << 30);
    err = kv_db_verify(db, &pages, &bad);
    kv_db_close(db);
    json_object_set_new(space, "pages", json_integer((json_int_t)pages));
    json_object_set_new(space, "damaged",
                        json_integer((json_int_t)(bad.len / DIGEST_BYTES)));
    if (err != ERR_OK)
        json_object_set_new(space, "reason",
                            json_string(err_row(err)->message));
    else if (bad.len > 0)
        json_object_set_new(space, "reason",
                            json_string("pages are not what was stored"));
    err = err == ERR_OK && bad.len > 0 ? ERR_CORRUPT : err;
    buf_fini(&bad);
    return err == ERR_OK;
}

bool ctl_store_purge(const char *root, json_t *space)
{
    struct kv_db *db;
    enum err err;

    if (!enter_space(root, space, &db))
        return false;
    err = kv_db_purge(db);
    if (err != ERR_OK)
        json_object_set_new(space, "reason", json_string(kv_db_last_error(db)));
    kv_db_close(db);
    return err == ERR_OK;
}
