/* engine.c - The models of the process: judged at once, loaded by a thread of
 * their own, shown to tables and metrics. */
#include "engine/engine.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/clock.h"
#include "base/digest.h"
#include "base/log.h"
#include "engine/digest_cache.h"
#include "engine/engine_device.h"
#include "engine/engine_part.h"
#include "engine/engine_priv.h"
#include "engine/graph.h"
#include "engine/model.h"
#include "engine/prep.h"
#include "engine/scope.h"
#include "kernels/krn.h"

#define PREP_THREADS 2
#define RATE_US      1000000 /* shortest span a rate is taken over */
#define JUDGED_MAX   64      /* models of a configuration */

/* Niceness of the threads that compute: event loops come first. */
#define COMPUTE_NICE 10

/* --- the secret --------------------------------------------------------- */

static enum err state_secret(struct engine *e)
{
    char dir[ENGINE_PATH_BYTES];

    snprintf(dir, sizeof(dir), "%.*s", STR_ARG(e->conf->state_dir));
    if (key_file_get(dir, "engine.key", e->secret) == ERR_OK)
        return ERR_OK;
    log_err(LOG_ENGINE,
            "the engine's secret cannot be read or made: file=%s/engine.key; "
            "check the directory's mode, or remove a damaged file",
            dir);
    return ERR_IO;
}

/* Read the secret or make it: beside the stored prefixes where several daemons
 * may share them, else in the state directory. */
static enum err secret_read(struct engine *e)
{
    const struct conf_engine *c = &e->conf->engine;
    char dir[ENGINE_PATH_BYTES];
    enum err err;

    if (c->prefix_dir.len == 0 || c->prefix_size_bytes == 0)
        return state_secret(e);
    engine_prefix_root(e, dir);
    err = key_file_get(dir, "engine.key", e->secret);
    if (err == ERR_OK)
        return ERR_OK;
    log_warn(LOG_ENGINE,
             "the secret of the prefix store cannot be read or made, so "
             "nothing in it is found: file=%s/engine.key: %s",
             dir, err == ERR_CORRUPT ? "it is too short" : strerror(errno));
    return state_secret(e);
}

void engine_scope(const struct engine *e, struct str key_id, struct str team,
                  uint8_t out[SCOPE_BYTES])
{
    scope_of(str_of(e->secret, sizeof(e->secret)), e->conf->engine.prefix_scope,
             key_id, team, out);
}

/* --- loading ------------------------------------------------------------ */

/* Weights of up to so many bytes are digested before they are served; larger
 * ones meanwhile, and have no fingerprint until then. */
#define DIGEST_FIRST ((uint64_t)256 << 20)

/* Name the weights and the arithmetic: what a reply's system_fingerprint and
 * the key of a stored prefix depend on. */
static void digest_one(struct engine *e, struct engine_model *m)
{
    char dir[ENGINE_PATH_BYTES];
    struct digest_ctx *c;
    struct digest d;
    enum err err;

    if (atomic_load(&m->fingerprinted))
        return;
    engine_prefix_root(e, dir);
    err = e->conf->engine.prefix_size_bytes > 0
              ? digest_cache_fill(dir, m->model)
              : model_digest(m->model);
    c = err == ERR_OK ? digest_new() : NULL;
    if (!c) {
        log_warn(LOG_ENGINE, "no fingerprint: name=%.*s", STR_ARG(m->name));
        return;
    }
    digest_update(c, m->model->digest, strlen(m->model->digest));
    digest_update(c, krn_numerics(m->parts[0].krn),
                  strlen(krn_numerics(m->parts[0].krn)));
    d = digest_final(c);
    digest_free(c);
    memcpy(m->fingerprint, "fp_", 3);
    digest_hex(d.b, 6, m->fingerprint + 3);
    atomic_store(&m->fingerprinted, true);
    engine_store_open(e, m);
}

/* Whether the digest of <m> takes no time. */
static bool is_digested(const struct engine *e, const struct engine_model *m)
{
    char dir[ENGINE_PATH_BYTES];

    engine_prefix_root(e, dir);
    return e->conf->engine.prefix_size_bytes > 0 &&
           digest_cache_get(dir, m->model) == ERR_OK;
}

/* What <m> is loaded with: room for those behind it is left on their GPU. */
static struct engine_load load_of(const struct engine *e,
                                  const struct engine_model *m)
{
    struct engine_load load = {.conf = &e->conf->engine};
    bool behind = false;

    for (unsigned i = 0; i < e->n_models; i++) {
        const struct engine_model *other = e->models[i];

        if (behind && engine_device_shares(other->conf, m->conf)) {
            load.later_bytes += other->model->file_bytes;
            load.n_later++;
        }
        behind = behind || other == m;
    }
    return load;
}

static void load_one(struct engine *e, struct engine_model *m)
{
    uint64_t from_ms = clock_now_us() / 1000;
    struct engine_load load = load_of(e, m);
    char plans[ENGINE_PATH_BYTES];
    enum err err;

    snprintf(plans, sizeof(plans), "%.*s/gpu-products",
             STR_ARG(e->conf->state_dir));
    load.plans = plans;
    err = engine_model_load(m, &load, &m->fault);

    if (err == ERR_OK) {
        if (m->model->file_bytes <= DIGEST_FIRST || is_digested(e, m))
            digest_one(e, m);
        atomic_store(&m->state, ENGINE_READY);
        log_note(LOG_ENGINE,
                 "model ready: name=%.*s device=\"%s\" context=%u slots=%u "
                 "ms=%llu",
                 STR_ARG(m->name), m->device, m->context, m->slots,
                 (unsigned long long)(clock_now_us() / 1000 - from_ms));
        return;
    }
    if (m->fault.text[0] == '\0')
        snprintf(m->fault.text, sizeof(m->fault.text), "%s",
                 err_row(err)->message);
    log_err(LOG_ENGINE, "model cannot be loaded: name=%.*s file=%.*s: %s",
            STR_ARG(m->name), STR_ARG(m->conf->path), m->fault.text);
    atomic_store(&m->state, ENGINE_FAILED);
}

static void loader_main(void *arg)
{
    struct engine *e = arg;

    /* Threads inherit it: the scheduler's and the kernels' begin here. */
    if (setpriority(PRIO_PROCESS, 0, COMPUTE_NICE) != 0)
        log_warn(LOG_ENGINE, "compute threads keep their priority");
    for (unsigned i = 0; i < e->n_models && !atomic_load(&e->closing); i++)
        load_one(e, e->models[i]);
    for (unsigned i = 0; i < e->n_models && !atomic_load(&e->closing); i++)
        if (atomic_load(&e->models[i]->state) == ENGINE_READY)
            digest_one(e, e->models[i]);
}

/* --- judging ------------------------------------------------------------ */

struct engine_judged {
    struct engine_model *models[JUDGED_MAX]; /* owned */
    unsigned n;
};

struct engine_judged *engine_judged_new(void)
{
    return calloc(1, sizeof(struct engine_judged));
}

void engine_judged_free(struct engine_judged *j)
{
    for (unsigned i = 0; j && i < j->n; i++)
        engine_model_free(j->models[i]);
    free(j);
}

bool engine_judge_model(void *judged, const struct conf_engine_model *conf,
                        char why[ENGINE_WHY_BYTES])
{
    struct engine_judged *j = judged;
    struct engine_fault fault = {.text = ""};
    struct engine_model *m = NULL;
    enum err e = engine_model_judge(conf, &fault, &m);

    if (e == ERR_OK && j && j->n < JUDGED_MAX)
        j->models[j->n++] = m;
    else
        engine_model_free(m);
    if (e == ERR_OK)
        return true;
    snprintf(why, ENGINE_WHY_BYTES, "%s",
             fault.text[0] ? fault.text : err_row(e)->message);
    return false;
}

/* Take the model of <conf> out of <j>; NULL when it is not there. */
static struct engine_model *judged_take(struct engine_judged *j,
                                        const struct conf_engine_model *conf)
{
    for (unsigned i = 0; j && i < j->n; i++) {
        struct engine_model *m = j->models[i];

        if (m->conf != conf)
            continue;
        j->models[i] = j->models[--j->n];
        return m;
    }
    return NULL;
}

/* --- open and close ----------------------------------------------------- */

static enum err judge_all(struct engine *e, struct engine_judged *judged)
{
    const struct conf_engine *c = &e->conf->engine;

    e->models = calloc(c->n_models + 1, sizeof(*e->models));
    e->rates = calloc(c->n_models + 1, sizeof(*e->rates));
    if (!e->models || !e->rates)
        return ERR_NOMEM;
    for (size_t i = 0; i < c->n_models; i++) {
        struct engine_fault why = {.text = ""};
        enum err err = ERR_OK;

        e->models[i] = judged_take(judged, &c->models[i]);
        if (!e->models[i])
            err = engine_model_judge(&c->models[i], &why, &e->models[i]);
        if (err == ERR_NOMEM)
            return err;
        if (err != ERR_OK) {
            log_err(LOG_ENGINE, "model cannot be served: name=%.*s: %s",
                    STR_ARG(c->models[i].name), why.text);
            return ERR_SYNTAX;
        }
        e->n_models++;
    }
    return ERR_OK;
}

enum err engine_open(struct conf *c, struct engine_judged *judged,
                     struct engine **out)
{
    struct engine *e;
    enum err err;

    if (c->engine.n_models == 0) {
        *out = NULL;
        return ERR_OK;
    }
    e = calloc(1, sizeof(*e));
    if (!e)
        return ERR_NOMEM;
    e->conf = conf_ref(c);
    pthread_mutex_init(&e->lock, NULL);
    LIST_INIT(&e->gone);
    err = judge_all(e, judged);
    if (err == ERR_OK)
        err = secret_read(e);
    if (err == ERR_OK) {
        e->preps = prep_pool_new(PREP_THREADS);
        err = e->preps ? ERR_OK : ERR_NOMEM;
    }
    if (err == ERR_OK)
        err = thr_start(&e->loader, "loader", loader_main, e);
    if (err != ERR_OK) {
        engine_close(e);
        return err;
    }
    *out = e;
    return ERR_OK;
}

void engine_close(struct engine *e)
{
    struct engine_port *p;

    if (!e)
        return;
    atomic_store(&e->closing, true);
    for (unsigned i = 0; i < e->n_models; i++)
        model_digest_stop(e->models[i]->model);
    thr_join(&e->loader);
    prep_pool_free(e->preps);
    for (unsigned i = 0; i < e->n_models; i++)
        engine_model_stop(e->models[i]);
    for (unsigned i = 0; i < e->n_models; i++)
        engine_model_free(e->models[i]);
    while ((p = LIST_FIRST(&e->gone)) != NULL)
        engine_port_bury(p); /* takes itself off the list */
    free(e->models);
    free(e->rates);
    conf_unref(e->conf);
    pthread_mutex_destroy(&e->lock);
    digest_wipe(e->secret, sizeof(e->secret));
    free(e);
}

/* --- looking ------------------------------------------------------------ */

struct engine_model *engine_model_of(struct engine *e, struct str name)
{
    for (unsigned i = 0; e && i < e->n_models; i++)
        if (str_eq(e->models[i]->name, name))
            return e->models[i];
    return NULL;
}

/* Tokens a second since the sample before last, which is a second old or
 * more. */
static double rate_of(struct engine *e, unsigned i, uint64_t tokens)
{
    struct engine_rate *r = &e->rates[i];
    uint64_t now_us = clock_now_us();
    double rate = 0;

    pthread_mutex_lock(&e->lock);
    if (now_us - r->at_us >= RATE_US) {
        r->was_us = r->at_us;
        r->was_tokens = r->tokens;
        r->at_us = now_us;
        r->tokens = tokens;
    }
    if (r->was_us > 0 && now_us > r->was_us && tokens >= r->was_tokens)
        rate = (double)(tokens - r->was_tokens) * 1e6 /
               (double)(now_us - r->was_us);
    pthread_mutex_unlock(&e->lock);
    return rate;
}

/* Say why prefixes of <m> are not kept on disk. */
static void prefix_why(const struct engine *e, const struct engine_model *m,
                       struct engine_view *out)
{
    const char *why = "";

    if (e->conf->engine.prefix_size_bytes == 0)
        why = "engine.prefix_store.size is 0";
    else if (!m->conf->prefix_store)
        why = "prefix_store of the model is false";
    else if (!out->ready)
        why = "the model is not ready";
    else if (atomic_load(&m->swap_failed))
        why = m->swap_why;
    else if (!atomic_load(&m->swap))
        why = "the model's digest is not known yet";
    snprintf(out->prefix_why, sizeof(out->prefix_why), "%s", why);
}

/* Numbers of the disk behind <m>. */
static void view_swap(const struct engine_model *m, struct engine_view *out)
{
    struct kvswap *w = atomic_load(&m->swap);

    if (!w)
        return;
    out->prefix_on = true;
    out->prefix_why[0] = '\0';
    memcpy(out->prefix_ns, m->swap_ns, sizeof(out->prefix_ns));
    kvswap_read(w, &out->prefix);
}

bool engine_view(struct engine *e, unsigned i, struct engine_view *out)
{
    const struct engine_model *m;
    int state;

    if (!e || i >= e->n_models)
        return false;
    m = e->models[i];
    state = atomic_load(&m->state);
    *out = (struct engine_view){
        .name = m->name,
        .context = m->context,
        .trained = m->model->p.context,
        .n_vocab = m->model->p.n_vocab,
        .d_model = m->model->p.d_model,
        .weight_bytes = m->model->file_bytes,
        .created_s = m->created_s,
        .ready = state == ENGINE_READY,
        .failed = state == ENGINE_FAILED,
        .percent = state == ENGINE_READY ? 100 : atomic_load(&m->percent),
    };
    if (out->failed)
        snprintf(out->why, sizeof(out->why), "%s", m->fault.text);
    prefix_why(e, m, out);
    if (!out->ready)
        return true;
    snprintf(out->device, sizeof(out->device), "%s", m->device);
    if (atomic_load(&m->fingerprinted))
        memcpy(out->fingerprint, m->fingerprint, sizeof(out->fingerprint));
    out->slots = m->slots;
    out->weight_bytes = graph_weight_bytes(m->parts[0].graph);
    out->kv_bytes = m->kv_bytes;
    engine_model_stats(m, &out->stats);
    view_swap(m, out);
    out->tokens_per_s = rate_of(e, i, out->stats.output_tokens);
    return true;
}

bool engine_purge(struct engine *e, struct str name)
{
    bool found = false;

    for (unsigned i = 0; e && i < e->n_models; i++) {
        struct engine_model *m = e->models[i];

        if (name.len > 0 && !str_eq(m->name, name))
            continue;
        found = true;
        if (atomic_load(&m->state) != ENGINE_READY)
            continue;
        for (unsigned k = 0; k < m->n_parts; k++)
            sched_purge(m->parts[k].sched);
        if (atomic_load(&m->swap))
            kvswap_purge(atomic_load(&m->swap));
    }
    return found || name.len == 0;
}

bool engine_find(struct engine *e, struct str name, struct engine_view *out)
{
    for (unsigned i = 0; e && i < e->n_models; i++)
        if (str_eq(e->models[i]->name, name))
            return engine_view(e, i, out);
    return false;
}

enum engine_stage engine_stage_of(struct engine *e, struct str name,
                                  unsigned *percent_out)
{
    struct engine_model *m = engine_model_of(e, name);

    if (!m)
        return ENGINE_STAGE_FAILED;
    *percent_out = atomic_load(&m->percent);
    switch (atomic_load(&m->state)) {
    case ENGINE_READY:
        return ENGINE_STAGE_READY;
    case ENGINE_LOADING:
        return ENGINE_STAGE_LOADING;
    default:
        return ENGINE_STAGE_FAILED;
    }
}

enum engine_stage engine_stage(struct engine *e)
{
    enum engine_stage all = ENGINE_STAGE_READY;

    for (unsigned i = 0; e && i < e->n_models; i++) {
        int state = atomic_load(&e->models[i]->state);

        if (state == ENGINE_FAILED)
            return ENGINE_STAGE_FAILED;
        if (state == ENGINE_LOADING)
            all = ENGINE_STAGE_LOADING;
    }
    return all;
}
