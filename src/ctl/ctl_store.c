/* ctl_store.c - See ctl_store.h. */
#include "ctl/ctl_store.h"

#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "store/kv_dir.h"
#include "store/kv_models.h"

/* Bytes of the names of models, and of reasons, at most. */
#define TEXT_MAX 65536

/* Say on stderr why <root> cannot be used: mostly it is another user's. */
static void say_denied(const char *root, const struct buf *why)
{
    const struct passwd *pw = NULL;
    struct stat st;

    if (stat(root, &st) == 0 && geteuid() != 0 && geteuid() != st.st_uid)
        pw = getpwuid(st.st_uid);
    if (pw)
        fprintf(stderr, "tollctl: %s is %s's; run this as %s%s\n", root,
                pw->pw_name, pw->pw_name, st.st_uid == 0 ? "" : " or as root");
    else
        fprintf(stderr, "tollctl: %.*s\n", STR_ARG(buf_str(why)));
}

static json_t *time_json(uint64_t wall_ms)
{
    char text[CLOCK_RFC3339_SIZE];

    clock_format_rfc3339(wall_ms, text);
    return json_string(text);
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

static json_t *space_json(const struct kv_dir_ns *ns, struct str names)
{
    json_t *about = json_loads(ns->about, 0, NULL);
    const char *reason = ns->trouble;

    if (!reason && !about)
        reason = "ns.json is damaged, so that no daemon opens it";
    return json_pack(
        "{s:s, s:o, s:b, s:o, s:I, s:o, s:o, s:o, s:o}", "namespace", ns->name,
        "models", names_json(names), "in_use", ns->is_open, "used",
        time_json(ns->used_ms), "bytes", (json_int_t)ns->bytes, "max_bytes",
        ns->max_bytes > 0 ? json_integer((json_int_t)ns->max_bytes)
                          : json_null(),
        "pages",
        ns->trouble ? json_null() : json_integer((json_int_t)ns->pages),
        "about", about ? about : json_null(), "reason",
        reason ? json_string(reason) : json_null());
}

/* Append <ns> to <list> if <model> uses it. */
static void add_space(json_t *list, const char *root,
                      const struct kv_dir_ns *ns, const char *model)
{
    char dir[4400];
    struct buf names;

    snprintf(dir, sizeof(dir), "%s/%s", root, ns->name);
    buf_init(&names, TEXT_MAX);
    if (kv_models_read(dir, &names) != ERR_OK)
        buf_clear(&names);
    if (!model || kv_models_has(buf_str(&names), str_from(model)))
        json_array_append_new(list, space_json(ns, buf_str(&names)));
    buf_fini(&names);
}

json_t *ctl_store_list(const char *root, const char *model)
{
    json_t *list = NULL;
    struct kv_dir_ns *all;
    struct buf why;
    unsigned n;

    log_level_set(LOG_LEVEL_ERR);
    buf_init(&why, TEXT_MAX);
    if (kv_dir_list(root, &all, &n, &why) == ERR_OK) {
        list = json_array();
        for (unsigned i = 0; i < n; i++)
            add_space(list, root, &all[i], model);
        kv_dir_free(all, n);
    } else {
        say_denied(root, &why);
    }
    buf_fini(&why);
    return list;
}

/* Put into <space> why something was not done. */
static void put_reason(json_t *space, enum err err, const struct buf *why)
{
    json_object_set_new(space, "reason",
                        why->len > 0 ? json_stringn(why->p, why->len)
                                     : json_string(err_row(err)->message));
}

static const char *name_of(const json_t *space)
{
    return json_string_value(json_object_get(space, "namespace"));
}

bool ctl_store_verify(const char *root, json_t *space, bool drop)
{
    struct kv_dir_verified v = {0};
    struct buf why;
    enum err err;

    buf_init(&why, TEXT_MAX);
    err = kv_dir_verify(root, name_of(space), drop, &v, &why);
    if (err == ERR_OK) {
        json_object_set_new(space, "pages", json_integer((json_int_t)v.pages));
        json_object_set_new(space, "damaged", json_integer((json_int_t)v.bad));
        json_object_set_new(space, "dropped",
                            json_integer((json_int_t)v.dropped));
    } else {
        put_reason(space, err, &why);
    }
    buf_fini(&why);
    return err == ERR_OK && v.bad == 0 &&
           json_is_object(json_object_get(space, "about"));
}

bool ctl_store_purge(const char *root, json_t *space)
{
    struct buf why;
    enum err err;

    buf_init(&why, TEXT_MAX);
    err = kv_dir_purge(root, name_of(space), &why);
    if (err == ERR_NOT_FOUND)
        err = ERR_OK; /* somebody else was faster */
    if (err != ERR_OK)
        put_reason(space, err, &why);
    buf_fini(&why);
    return err == ERR_OK;
}
