/* control_cache.c - See control_cache.h. */
#include "daemon/control_cache.h"

#include "account/keytab.h"
#include "conf/conf.h"
#include "daemon/control_args.h"
#include "daemon/daemon.h"
#include "daemon/status_cache.h"
#include "recall/cache.h"
#include "store/cache_store.h"

json_t *control_cache_stats(struct daemon *d, const json_t *args,
                            struct buf *why)
{
    (void)args;
    (void)why;
    return status_cache_json(d);
}

static struct cache_store *store_of(struct daemon *d)
{
    return d->cache ? d->cache->store : NULL;
}

/* What tollctl needs to do the rest itself. */
static json_t *answer(struct daemon *d)
{
    return json_pack(
        "{s:b, s:o}", "on", store_of(d) != NULL, "directory",
        json_sprintf("%.*s/cache", STR_ARG(d->conf_start->state_dir)));
}

/* The id of the key that <args> name, empty for any; false when there is none:
 * what is wrong must not mean all. One that was deleted is known by its id. */
static bool key_of(struct daemon *d, const json_t *args, char *id, size_t room,
                   struct buf *why)
{
    const struct str ref = args_str(args, "key");
    const struct key *k;

    id[0] = '\0';
    if (!json_object_get(args, "key"))
        return true;
    k = ref.len > 0 ? keytab_find(d->keys, ref) : NULL;
    if (k) {
        snprintf(id, room, "%.*s", STR_ARG(k->id));
        key_unref(k);
        return true;
    }
    if (str_starts(ref, STR("key_")) && ref.len < room) {
        snprintf(id, room, "%.*s", STR_ARG(ref));
        return true;
    }
    control_fail(why, "there is no key '%.*s'", STR_ARG(ref));
    return false;
}

json_t *control_cache_purge(struct daemon *d, const json_t *args,
                            struct buf *why)
{
    struct cache_purged done = {0};
    struct cache_purge what = {.model = args_str(args, "model")};
    char id[KEY_ID_MAX + 1];
    json_t *o;
    enum err e;

    if (!key_of(d, args, id, sizeof(id), why))
        return NULL;
    if (json_object_get(args, "model") && what.model.len == 0)
        return control_fail(why, "a model's name is empty");
    what.key_id = str_from(id);
    o = answer(d);
    json_object_set_new(o, "key", id[0] ? json_string(id) : json_null());
    if (!store_of(d))
        return o;
    e = cache_store_purge(store_of(d), &what, &done);
    if (e != ERR_OK) {
        json_decref(o);
        return control_fail(why, "not all is purged (%s); the log says why",
                            err_name(e));
    }
    json_object_set_new(o, "entries", json_integer((json_int_t)done.entries));
    json_object_set_new(o, "bytes", json_integer((json_int_t)done.bytes));
    return o;
}

json_t *control_cache_verify(struct daemon *d, const json_t *args,
                             struct buf *why)
{
    struct cache_verified v = {0};
    json_t *o = answer(d);
    enum err e;

    (void)args;
    if (!store_of(d))
        return o;
    e = cache_store_verify(store_of(d), &v);
    if (e != ERR_OK) {
        json_decref(o);
        return control_fail(why, "not all can be read: %s",
                            e == ERR_CLOSED ? "the file is not open"
                                            : err_name(e));
    }
    json_object_set_new(o, "entries", json_integer((json_int_t)v.entries));
    json_object_set_new(o, "damaged", json_integer((json_int_t)v.damaged));
    return o;
}
