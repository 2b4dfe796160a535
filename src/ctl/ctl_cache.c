/* ctl_cache.c - See ctl_cache.h. A daemon that stores replies does all of it
 * itself. Where none answers, or it stores none, the files are worked on here:
 * the configuration, or that daemon, says where they are. */
#include "ctl/ctl_cache.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "conf/conf.h"
#include "store/cache_dir.h"

#define PATH_BYTES 4096

/* What a command works on. */
struct work {
    const struct ctl_cache *c;
    char dir[PATH_BYTES];
    bool offline; /* no daemon has the files open */
    json_t *told; /* the daemon's answer; NULL without one */
};

static const char *first_mistake(const struct conf_report *r)
{
    for (size_t i = 0; i < r->n_items; i++)
        if (!r->items[i].warning)
            return r->items[i].text;
    return "it cannot be read";
}

/* Without a daemon: the configuration tells the directory. With a mistake in
 * it, it might tell another one. */
static enum ctl_exit find_dir(struct work *w)
{
    struct conf_report r = {0};
    struct conf *c = NULL;
    enum ctl_exit e = CTL_DONE;

    if (conf_load(w->c->conf, CONF_OFFLINE, &r, &c) != ERR_OK ||
        r.n_errors > 0) {
        fprintf(stderr,
                "tollctl: the config does not tell where replies are stored: "
                "%s\n",
                first_mistake(&r));
        e = CTL_REFUSED;
    } else {
        snprintf(w->dir, sizeof(w->dir), "%.*s/cache", STR_ARG(c->state_dir));
        w->offline = true;
        fprintf(stderr,
                "note: offline: no daemon answers on %s; these are the files "
                "in %s\n",
                w->c->socket, w->dir);
    }
    conf_unref(c);
    conf_report_fini(&r);
    return e;
}

/* Ask the daemon <cmd> with <args>, which are taken, or find the files. */
static enum ctl_exit begin(struct work *w, const char *cmd, json_t *args)
{
    struct ctl_conn conn;
    enum ctl_exit e;
    const int gone = ctl_try(&conn, w->c->socket);

    if (gone != 0) {
        json_decref(args);
        if (gone == ENOENT || gone == ECONNREFUSED)
            return find_dir(w);
        ctl_say_gone(w->c->socket, gone);
        return CTL_UNREACHABLE;
    }
    w->told = ctl_ask(&conn, cmd, args, &e);
    ctl_close(&conn);
    if (!w->told)
        return e;
    w->offline = !json_is_true(json_object_get(w->told, "on"));
    snprintf(w->dir, sizeof(w->dir), "%s",
             json_string_value(json_object_get(w->told, "directory")));
    return CTL_DONE;
}

/* Say why the files cannot be worked on. */
static enum ctl_exit refuse(const struct buf *why, enum err err)
{
    if (why->len > 0)
        fprintf(stderr, "tollctl: %.*s\n", STR_ARG(buf_str(why)));
    else
        fprintf(stderr, "tollctl: %s\n", err_row(err)->message);
    return CTL_REFUSED;
}

/* Print <answer>, which is taken. */
static void put(const struct work *w, json_t *answer)
{
    json_object_set_new(answer, "offline", json_boolean(w->offline));
    json_object_set_new(answer, "directory", json_string(w->dir));
    if (w->c->json)
        ctl_put_json(answer);
    else
        ctl_fields(answer);
    json_decref(answer);
}

static json_t *number(const json_t *o, const char *name)
{
    return json_integer(json_integer_value(json_object_get(o, name)));
}

/* --- stats --------------------------------------------------------------- */

static enum ctl_exit stats_offline(struct work *w)
{
    struct cache_dir_stats s;
    enum ctl_exit e = CTL_DONE;
    struct buf why;

    buf_init(&why, PATH_BYTES);
    const enum err err = cache_dir_stats(w->dir, &s, &why);
    if (err != ERR_OK)
        e = refuse(&why, err);
    else
        put(w, json_pack("{s:b, s:I, s:I, s:I}", "on", false, "entries",
                         (json_int_t)s.entries, "bytes", (json_int_t)s.bytes,
                         "file_bytes", (json_int_t)s.file_bytes));
    buf_fini(&why);
    return e;
}

enum ctl_exit ctl_cache_stats(const struct ctl_cache *c)
{
    struct work w = {.c = c};
    enum ctl_exit e = begin(&w, "cache stats", NULL);

    if (e == CTL_DONE && w.offline)
        e = stats_offline(&w);
    else if (e == CTL_DONE)
        put(&w, json_incref(w.told));
    json_decref(w.told);
    return e;
}

/* --- purge --------------------------------------------------------------- */

static enum ctl_exit purge_offline(struct work *w, struct cache_purged *out)
{
    const json_t *id = json_object_get(w->told, "key");
    struct cache_purge what = {.model = str_from(w->c->model)};
    enum ctl_exit e = CTL_DONE;
    struct buf why;

    /* A name is only known to the daemon. */
    what.key_id =
        str_from(json_is_string(id) ? json_string_value(id) : w->c->key);
    if (what.key_id.len > 0 && !str_starts(what.key_id, STR("key_"))) {
        fprintf(stderr, "tollctl: without a daemon a key is named by its id: "
                        "key_...\n");
        return CTL_REFUSED;
    }
    buf_init(&why, PATH_BYTES);
    const enum err err = cache_dir_purge(w->dir, &what, out, &why);
    if (err != ERR_OK)
        e = refuse(&why, err);
    buf_fini(&why);
    return e;
}

enum ctl_exit ctl_cache_purge(const struct ctl_cache *c)
{
    struct cache_purged done = {0};
    struct work w = {.c = c};
    json_t *args = json_object();

    if (c->key)
        json_object_set_new(args, "key", json_string(c->key));
    if (c->model)
        json_object_set_new(args, "model", json_string(c->model));
    enum ctl_exit e = begin(&w, "cache purge", args);
    if (e == CTL_DONE && w.offline)
        e = purge_offline(&w, &done);
    if (e == CTL_DONE && w.offline)
        put(&w, json_pack("{s:I, s:I}", "entries", (json_int_t)done.entries,
                          "bytes", (json_int_t)done.bytes));
    else if (e == CTL_DONE)
        put(&w, json_pack("{s:o, s:o}", "entries", number(w.told, "entries"),
                          "bytes", number(w.told, "bytes")));
    json_decref(w.told);
    return e;
}

/* --- verify -------------------------------------------------------------- */

static enum ctl_exit verify_offline(struct work *w, struct cache_verified *out)
{
    enum ctl_exit e = CTL_DONE;
    struct buf why;

    buf_init(&why, PATH_BYTES);
    const enum err err = cache_dir_verify(w->dir, out, &why);
    if (err != ERR_OK)
        e = refuse(&why, err);
    buf_fini(&why);
    return e;
}

enum ctl_exit ctl_cache_verify(const struct ctl_cache *c)
{
    struct cache_verified v = {0};
    struct work w = {.c = c};
    enum ctl_exit e = begin(&w, "cache verify", NULL);

    if (e == CTL_DONE && w.offline) {
        e = verify_offline(&w, &v);
    } else if (e == CTL_DONE) {
        v.entries =
            (uint64_t)json_integer_value(json_object_get(w.told, "entries"));
        v.damaged =
            (uint64_t)json_integer_value(json_object_get(w.told, "damaged"));
    }
    json_decref(w.told);
    if (e != CTL_DONE)
        return e;
    put(&w, json_pack("{s:b, s:I, s:I}", "ok", v.damaged == 0, "entries",
                      (json_int_t)v.entries, "damaged", (json_int_t)v.damaged));
    if (v.damaged == 0)
        return CTL_DONE;
    fputs("tollctl: replies were damaged; they were never sent, and are "
          "deleted now\n",
          stderr);
    return CTL_REFUSED;
}
