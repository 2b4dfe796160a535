/* ctl_prefix.c - See ctl_prefix.h. The daemon is asked for what it alone knows,
 * its counters and what it has open; whatever is left to do is done on the
 * files. Without a daemon the configuration says where they are. */
#include "ctl/ctl_prefix.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "conf/conf.h"
#include "ctl/ctl_prefix_table.h"
#include "ctl/ctl_store.h"

/* What a command works on. */
struct work {
    const struct ctl_prefix *p;
    char root[CONF_PREFIX_ROOT_BYTES];
    bool offline;
    bool known;   /* the model is one of the configuration */
    json_t *told; /* the daemon's answer; NULL when offline */
};

/* --- where it is --------------------------------------------------------- */

static enum ctl_exit refuse(const char *what, const char *which)
{
    fprintf(stderr, "tollctl: %s: %s\n", what, which);
    return CTL_REFUSED;
}

static bool has_model(const struct conf *c, const char *name)
{
    for (size_t i = 0; i < c->engine.n_models; i++)
        if (str_eq(c->engine.models[i].name, str_from(name)))
            return true;
    return false;
}

static const char *first_mistake(const struct conf_report *r)
{
    for (size_t i = 0; i < r->n_items; i++)
        if (!r->items[i].warning)
            return r->items[i].text;
    return "it cannot be read";
}

/* Without a daemon: the configuration tells the directory. With a mistake in
 * it, it might tell another one. */
static enum ctl_exit find_root(struct work *w)
{
    struct conf_report r = {0};
    struct conf *c = NULL;
    enum ctl_exit e = CTL_DONE;

    if (conf_load(w->p->conf, CONF_OFFLINE, &r, &c) != ERR_OK || r.n_errors > 0)
        e = refuse("the config does not tell where the store is",
                   first_mistake(&r));
    if (e == CTL_DONE) {
        conf_prefix_root(c, w->root);
        w->known = !w->p->model || has_model(c, w->p->model);
        w->offline = true;
        fprintf(stderr,
                "note: offline: no daemon answers on %s; these are the files "
                "in %s\n",
                w->p->socket, w->root);
    }
    conf_unref(c);
    conf_report_fini(&r);
    return e;
}

/* Ask the daemon <cmd>, or find the files without one. */
static enum ctl_exit begin(struct work *w, const char *cmd)
{
    json_t *args = json_object();
    struct ctl_conn conn;
    enum ctl_exit e;
    int gone = ctl_try(&conn, w->p->socket);

    if (gone == ENOENT || gone == ECONNREFUSED) {
        json_decref(args);
        return find_root(w);
    }
    if (gone != 0) {
        json_decref(args);
        ctl_say_gone(w->p->socket, gone);
        return CTL_UNREACHABLE;
    }
    if (w->p->model)
        json_object_set_new(args, "model", json_string(w->p->model));
    w->told = ctl_ask(&conn, cmd, args, &e);
    ctl_close(&conn);
    if (!w->told)
        return e;
    w->known = true;
    snprintf(w->root, sizeof(w->root), "%s",
             json_string_value(json_object_get(w->told, "directory")));
    return CTL_DONE;
}

/* The namespaces in the files that the command is about. NULL with the reason
 * on stderr. */
static json_t *spaces_of(const struct work *w)
{
    json_t *spaces = ctl_store_list(w->root, w->p->model);

    if (spaces && !w->known && json_array_size(spaces) == 0) {
        refuse("there is no engine model, nor a stored prefix of one, called",
               w->p->model);
        json_decref(spaces);
        return NULL;
    }
    return spaces;
}

/* What the daemon, which has it open, tells of <space>; else NULL. */
static const json_t *told_of(const struct work *w, const json_t *space)
{
    const json_t *rows = json_object_get(w->told, "data");
    const json_t *name = json_object_get(space, "namespace");

    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *row = json_array_get(rows, i);

        if (json_equal(json_object_get(row, "namespace"), name))
            return row;
    }
    return NULL;
}

/* Print <answer>, which is taken, for a program. */
static void put_answer(const struct work *w, json_t *answer)
{
    json_object_set_new(answer, "offline", json_boolean(w->offline));
    json_object_set_new(answer, "directory", json_string(w->root));
    ctl_put_json(answer);
    json_decref(answer);
}

/* --- stats --------------------------------------------------------------- */

/* The files that the daemon has not open, as another model or epoch left them
 * behind. */
static json_t *left_behind(const struct work *w)
{
    json_t *spaces = ctl_store_list(w->root, w->p->model);

    for (size_t i = json_array_size(spaces); i > 0; i--)
        if (told_of(w, json_array_get(spaces, i - 1)))
            json_array_remove(spaces, i - 1);
    return spaces ? spaces : json_array();
}

static enum ctl_exit stats_online(struct work *w)
{
    json_t *left = left_behind(w);

    if (w->p->json) {
        json_object_set(w->told, "left_behind", left);
        put_answer(w, json_incref(w->told));
    } else {
        ctl_prefix_table(json_object_get(w->told, "data"), "model", NULL);
        if (json_array_size(left) > 0) {
            fputs("\nnot open in this daemon:\n", stdout);
            ctl_prefix_spaces(left, "");
        }
    }
    json_decref(left);
    return CTL_DONE;
}

static enum ctl_exit stats_offline(struct work *w)
{
    json_t *spaces = spaces_of(w);

    if (!spaces)
        return CTL_REFUSED;
    if (w->p->json)
        put_answer(w, json_pack("{s:O}", "data", spaces));
    else
        ctl_prefix_spaces(spaces, "no prefixes are stored");
    json_decref(spaces);
    return CTL_DONE;
}

enum ctl_exit ctl_prefix_stats(const struct ctl_prefix *p)
{
    struct work w = {.p = p};
    enum ctl_exit e = begin(&w, "prefix stats");

    if (e == CTL_DONE)
        e = w.offline ? stats_offline(&w) : stats_online(&w);
    json_decref(w.told);
    return e;
}

/* --- purge --------------------------------------------------------------- */

/* Purge the files of <spaces> that the daemon has not purged, and say of each
 * who did it and what it held before. False when one was not. */
static bool purge_all(const struct work *w, json_t *spaces)
{
    bool ok = true;

    for (size_t i = 0; i < json_array_size(spaces); i++) {
        json_t *space = json_array_get(spaces, i);
        const json_t *told = told_of(w, space);

        json_object_set_new(space, "purged_by",
                            json_string(told ? "daemon" : "tollctl"));
        if (told)
            json_object_set(space, "pages", json_object_get(told, "pages"));
        ok = (told || ctl_store_purge(w->root, space)) && ok;
    }
    return ok;
}

enum ctl_exit ctl_prefix_purge(const struct ctl_prefix *p)
{
    struct work w = {.p = p};
    enum ctl_exit e = begin(&w, "prefix purge");
    json_t *spaces = e == CTL_DONE ? spaces_of(&w) : NULL;
    bool ok = spaces && purge_all(&w, spaces);

    if (e == CTL_DONE && !ok)
        e = CTL_REFUSED;
    if (spaces && p->json) {
        put_answer(&w, json_pack("{s:O}", "data", spaces));
    } else if (spaces) {
        if (json_array_size(spaces) > 0)
            ctl_prefix_spaces(spaces, "");
        puts(!ok                           ? "not all is purged"
             : json_array_size(spaces) > 0 ? "purged"
                                           : "nothing was stored");
    }
    if (spaces && !ok)
        fputs("tollctl: not all is purged; see the reasons\n", stderr);
    json_decref(spaces);
    json_decref(w.told);
    return e;
}

/* --- verify -------------------------------------------------------------- */

static json_int_t sum_of(const json_t *spaces, const char *member)
{
    json_int_t sum = 0;

    for (size_t i = 0; i < json_array_size(spaces); i++)
        sum += json_integer_value(
            json_object_get(json_array_get(spaces, i), member));
    return sum;
}

/* What was found, on one line. */
static void say_damage(json_int_t pages, json_int_t damaged, unsigned failed)
{
    if (damaged > 0)
        fprintf(stderr,
                "tollctl: pages are damaged: pages=%lld damaged=%lld; they are "
                "never used, and dropped when they are met or with --drop\n",
                (long long)pages, (long long)damaged);
    else
        fprintf(stderr,
                "tollctl: not all can be read: namespaces=%u; see the "
                "reasons\n",
                failed);
}

/* Say how it went; <failed>: namespaces that are not well. */
static void put_verified(const struct work *w, json_t *spaces, unsigned failed)
{
    const json_int_t pages = sum_of(spaces, "pages");
    const json_int_t damaged = sum_of(spaces, "damaged");

    if (w->p->json) {
        put_answer(w,
                   json_pack("{s:b, s:I, s:I, s:O}", "ok", failed == 0, "pages",
                             pages, "damaged", damaged, "data", spaces));
    } else {
        ctl_prefix_spaces(spaces, "no prefixes are stored");
        if (failed == 0)
            printf("ok: pages=%lld\n", (long long)pages);
    }
    if (failed > 0)
        say_damage(pages, damaged, failed);
}

enum ctl_exit ctl_prefix_verify(const struct ctl_prefix *p)
{
    struct work w = {.p = p};
    enum ctl_exit e = begin(&w, "prefix stats");
    json_t *spaces = e == CTL_DONE ? spaces_of(&w) : NULL;
    unsigned failed = 0;

    if (e == CTL_DONE && !spaces)
        e = CTL_REFUSED;
    for (size_t i = 0; i < json_array_size(spaces); i++)
        failed += !ctl_store_verify(w.root, json_array_get(spaces, i), p->drop);
    if (spaces)
        put_verified(&w, spaces, failed);
    json_decref(spaces);
    json_decref(w.told);
    return e == CTL_DONE && failed > 0 ? CTL_REFUSED : e;
}
