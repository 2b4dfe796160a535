/* control_prefix.c - See control_prefix.h. */
#include "daemon/control_prefix.h"

#include "conf/conf.h"
#include "daemon/control_args.h"
#include "daemon/daemon.h"
#include "daemon/status_prefix.h"
#include "engine/engine.h"

/* The rows of all models, or of the one called <name>. */
static json_t *rows(struct daemon *d, struct str name)
{
    json_t *list = json_array();
    struct engine_view v;

    for (unsigned i = 0; engine_view(d->engine, i, &v); i++) {
        json_t *o, *more;

        if (name.len > 0 && !str_eq(v.name, name))
            continue;
        o = json_pack("{s:o}", "model", json_text(v.name));
        more = status_prefix_json(&v);
        json_object_update(o, more);
        json_decref(more);
        json_array_append_new(list, o);
    }
    return list;
}

static json_t *answer(struct daemon *d, struct str name)
{
    static const char *const scopes[] = {"key", "team", "shared"};
    static const char *const admissions[] = {"first", "second", "auto"};
    const struct conf_engine *c = &d->conf_start->engine;
    char root[CONF_PREFIX_ROOT_BYTES];

    conf_prefix_root(d->conf_start, root);
    return json_pack("{s:o, s:I, s:s, s:s, s:I, s:o}", "directory",
                     json_text(str_from(root)), "max_bytes",
                     (json_int_t)c->prefix_size_bytes, "scope",
                     scopes[c->prefix_scope], "admission",
                     admissions[c->prefix_admission], "write_per_hour_bytes",
                     (json_int_t)c->prefix_write_bytes, "data", rows(d, name));
}

/* The model that <args> name, empty for all of them; false when it is none of
 * the engine's: what is wrong must not mean all. */
static bool model_of(struct daemon *d, const json_t *args, struct str *out,
                     struct buf *why)
{
    struct engine_view v;

    *out = args_str(args, "model");
    if (!json_object_get(args, "model"))
        return true;
    if (out->len > 0 && engine_find(d->engine, *out, &v))
        return true;
    control_fail(why, "there is no engine model '%.*s'", STR_ARG(*out));
    return false;
}

json_t *control_prefix_stats(struct daemon *d, const json_t *args,
                             struct buf *why)
{
    struct str name;

    return model_of(d, args, &name, why) ? answer(d, name) : NULL;
}

json_t *control_prefix_purge(struct daemon *d, const json_t *args,
                             struct buf *why)
{
    struct str name;
    json_t *before;

    if (!model_of(d, args, &name, why))
        return NULL;
    before = answer(d, name);
    if (d->engine && !engine_purge(d->engine, name)) {
        json_decref(before);
        return control_fail(why, "the model is gone");
    }
    return before;
}
