/* engine_store.c - The prefix store of a model: whether it has one, in which
 * namespace, and how much of the disk is its share. A model whose store cannot
 * be opened is served without. */
#include <stdio.h>
#include <unistd.h>

#include "base/log.h"
#include "engine/engine_part.h"
#include "engine/engine_priv.h"
#include "engine/kv_ns.h"
#include "engine/kvswap.h"
#include "engine/model.h"
#include "engine/pinned.h"
#include "kernels/krn.h"
#include "store/kv_models.h"

#define WHY_BYTES ((size_t)4096)

/* Of a device: bytes of pages that wait to be stored, and threads that bring
 * pages back, of which one can copy some GB a second. */
#define DEVICE_QUEUE_BYTES ((size_t)512 << 20)
#define DEVICE_READERS     8

/* Bytes of the name of a namespace's directory, in binary. */
#define DIR_BYTES 8

void engine_prefix_root(const struct engine *e, char out[ENGINE_PATH_BYTES])
{
    conf_prefix_root(e->conf, out);
}

/* Models whose prefixes are to be kept. */
static uint64_t count_stores(const struct engine *e)
{
    uint64_t n = 0;

    for (unsigned i = 0; i < e->n_models; i++)
        n += e->models[i]->conf->prefix_store;
    return n;
}

/* What another model of the same namespace has open, once more. */
static struct kvswap *share(const struct engine *e, const struct digest *ns)
{
    struct kvswap *w = NULL;

    for (unsigned i = 0; i < e->n_models && !w; i++)
        w = kvswap_share(atomic_load(&e->models[i]->swap), ns);
    return w;
}

static enum kvadmit_rule rule_of(enum conf_admission a)
{
    switch (a) {
    case CONF_ADMISSION_SECOND:
        return KVADMIT_SECOND;
    case CONF_ADMISSION_AUTO:
        return KVADMIT_AUTO;
    default:
        return KVADMIT_FIRST;
    }
}

/* Let <o> suit a device with memory of its own. Without memory that it can
 * copy to, copies are slower, and nothing else. */
static void suit_device(struct engine_model *m, struct kvswap_opts *o)
{
    const long cores = sysconf(_SC_NPROCESSORS_ONLN);

    o->readers =
        cores / 2 < DEVICE_READERS ? (unsigned)(cores / 2) : DEVICE_READERS;
    m->pinned = pinned_new(m->parts[0].krn, o->page_bytes, DEVICE_QUEUE_BYTES);
    if (!m->pinned)
        return;
    o->queue_bytes = pinned_bytes(m->pinned);
    o->memory = &pinned_memory;
    o->memory_arg = m->pinned;
}

static enum err open_own(const struct engine *e, struct engine_model *m,
                         const struct kv_ns *ns, struct kvswap **out,
                         struct buf *why)
{
    const struct conf_engine *c = &e->conf->engine;
    char root[ENGINE_PATH_BYTES];
    struct buf about;
    enum err err;

    engine_prefix_root(e, root);
    buf_init(&about, WHY_BYTES);
    err = kv_ns_about(ns, &about);
    if (err == ERR_OK) {
        struct kvswap_opts o = {
            .name = m->name,
            .root = root,
            .ns = kv_ns_digest(ns),
            .about = buf_str(&about),
            .page_bytes = kv_ns_page_bytes(ns),
            .page_tokens = ns->page_tokens,
            .max_bytes = c->prefix_size_bytes / count_stores(e),
            .root_bytes = c->prefix_size_bytes,
            .write_bytes = c->prefix_write_bytes,
            .admission = rule_of(c->prefix_admission),
        };

        if (!krn_is_host(m->parts[0].krn))
            suit_device(m, &o);
        err = kvswap_open(&o, out, why);
    }
    buf_fini(&about);
    return err;
}

/* Tell tools that <m> uses its namespace. */
static void note_name(const struct engine *e, const struct engine_model *m)
{
    char root[ENGINE_PATH_BYTES];
    char dir[ENGINE_PATH_BYTES + 32];

    engine_prefix_root(e, root);
    snprintf(dir, sizeof(dir), "%s/%s", root, m->swap_ns);
    if (kv_models_note(dir, m->name) != ERR_OK)
        log_warn(LOG_ENGINE,
                 "the prefix store does not name its model: name=%.*s dir=%s",
                 STR_ARG(m->name), dir);
}

/* Prefixes of <m> stay in memory alone. */
static void give_up(struct engine_model *m, enum err e, const struct buf *why)
{
    const struct str text =
        why->len > 0 ? buf_str(why) : str_from(err_row(e)->message);

    snprintf(m->swap_why, sizeof(m->swap_why), "%.*s", STR_ARG(text));
    log_warn(LOG_ENGINE, "prefixes are not stored: name=%.*s: %s",
             STR_ARG(m->name), m->swap_why);
    atomic_store(&m->swap_failed, true);
}

/* Whether all devices of <m> compute alike, so that one may use what another
 * has stored. */
static bool is_of_one_kind(const struct engine_model *m, struct buf *why)
{
    const char *first = krn_numerics(m->parts[0].krn);

    for (unsigned i = 1; i < m->n_parts; i++) {
        const char *other = krn_numerics(m->parts[i].krn);

        if (strcmp(first, other) == 0)
            continue;
        if (buf_printf(why,
                       "its GPUs are of different kinds, %s and %s; let each "
                       "kind have a model of its own",
                       first, other) != ERR_OK)
            why->len = 0;
        return false;
    }
    return true;
}

void engine_store_open(struct engine *e, struct engine_model *m)
{
    struct kvswap *w = NULL;
    struct digest d;
    struct kv_ns ns;
    struct buf why;
    enum err err = ERR_OK;

    if (!m->conf->prefix_store || e->conf->engine.prefix_size_bytes == 0 ||
        atomic_load(&m->swap))
        return;
    kv_ns_of(m->model,
             &(struct kv_ns_by){.numerics = krn_numerics(m->parts[0].krn),
                                .layout = krn_is_host(m->parts[0].krn)
                                              ? KV_NS_LAYOUT
                                              : KV_NS_LAYOUT_DEVICE,
                                .page_tokens = krn_page_tokens(m->parts[0].krn),
                                .kv_dtype = m->kv_dtype},
             e->conf->engine.prefix_epoch, &ns);
    d = kv_ns_digest(&ns);
    digest_hex(d.b, DIR_BYTES, m->swap_ns);
    buf_init(&why, WHY_BYTES);
    if (!is_of_one_kind(m, &why))
        err = ERR_REFUSED;
    else if (!(w = share(e, &d)))
        err = open_own(e, m, &ns, &w, &why);
    if (err == ERR_OK) {
        note_name(e, m);
        for (unsigned i = 0; i < m->n_parts; i++)
            sched_attach(m->parts[i].sched, w);
        atomic_store(&m->swap, w);
    } else {
        give_up(m, err, &why);
    }
    buf_fini(&why);
}
