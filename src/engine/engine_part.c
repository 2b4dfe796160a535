/* engine_part.c - See engine_part.h: how large the pool of keys and values is,
 * in which order things are made, and a device that failed begun anew. */
#include "engine/engine_part.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "conf/conf.h"
#include "engine/engine_device.h"
#include "engine/engine_model.h"
#include "engine/graph.h"
#include "engine/model.h"
#include "engine/sched.h"
#include "kernels/krn.h"

#define MIB          (1024ull * 1024)
#define SLOTS_CPU    16
#define SLOTS_GPU    64
#define STEP_CPU     512 /* rows of one step */
#define STEP_GPU     2048
#define RESTORE_GPU  256         /* tokens worth asking the disk for */
#define CONTEXT_MIN  256         /* a pool that holds less is of no use */
#define PROGRESS_MIN (256 * MIB) /* models from here on tell how far */
#define PROGRESS_MS  2000

/* A device that fails again within that time is given up. */
#define AGAIN_US 3600000000

static enum err refuse(struct engine_fault *why, enum err e, const char *text)
{
    snprintf(why->text, sizeof(why->text), "%s", text);
    return e;
}

/* --- memory ------------------------------------------------------------- */

enum krn_dtype engine_part_kv_dtype(const struct conf_engine_model *conf)
{
    switch (conf->kv_dtype) {
    case CONF_KV_F32:
        return KRN_F32;
    case CONF_KV_BF16:
        return KRN_BF16;
    case CONF_KV_FP8:
        return KRN_FP8;
    default:
        return KRN_F16;
    }
}

/* Make the context of <m> what <most> pages hold, where that is of use.
 * ERR_NOMEM with <why>. */
static enum err shorten(struct engine_part *p, uint64_t most, uint64_t page,
                        struct engine_fault *why)
{
    unsigned tokens = krn_page_tokens(p->krn);
    uint64_t fits = most > 0 ? (most - 1) * tokens : 0;

    if (p->m->conf->context == 0 && fits >= CONTEXT_MIN) {
        log_warn(LOG_ENGINE,
                 "memory bounds the context: name=%.*s tokens=%u of=%u",
                 STR_ARG(p->m->name), (unsigned)fits, p->context);
        p->context = (unsigned)fits;
        return ERR_OK;
    }
    snprintf(why->text, sizeof(why->text),
             "there are %llu MiB of memory for keys and values%s, but a "
             "context of %u tokens takes %llu MiB; write ",
             (unsigned long long)(most * page / MIB),
             krn_is_host(p->krn) ? "" : " on the GPU", p->context,
             (unsigned long long)((p->context / tokens + 1) * page / MIB));
    if (fits >= CONTEXT_MIN)
        snprintf(why->text + strlen(why->text),
                 sizeof(why->text) - strlen(why->text),
                 "a smaller context, %llu at most", (unsigned long long)fits);
    else
        snprintf(why->text + strlen(why->text),
                 sizeof(why->text) - strlen(why->text), "%s",
                 krn_is_host(p->krn) ? "a smaller context"
                                     : "cpu, another GPU, or a file of a "
                                       "smaller type of weights");
    return ERR_NOMEM;
}

/* Pages of the pool: whole contexts for every slot, unless memory is short;
 * then sequences share what there is, and a long one may have to be shorter. */
static enum err size_pool(struct engine_part *p, const struct engine_load *load,
                          struct engine_fault *why, unsigned *pages_out)
{
    unsigned tokens = krn_page_tokens(p->krn);
    uint64_t page = graph_page_bytes_of(
        p->m->model, engine_part_kv_dtype(p->m->conf), tokens);
    uint64_t each = p->context / tokens + 1;
    uint64_t most = engine_device_room(p->krn, load, p->m->model) / page;
    uint64_t pages;
    enum err e;

    p->slots = p->m->conf->slots > 0 ? (unsigned)p->m->conf->slots
               : krn_is_host(p->krn) ? SLOTS_CPU
                                     : SLOTS_GPU;
    pages = each * p->slots;
    pages = pages < most ? pages : most;
    pages = pages < INT32_MAX ? pages : INT32_MAX;
    if (pages < each) {
        e = shorten(p, pages, page, why);
        if (e != ERR_OK)
            return e;
    }
    p->kv_bytes = pages * page;
    *pages_out = (unsigned)pages;
    return ERR_OK;
}

/* --- loading ------------------------------------------------------------ */

/* How far a large model is. */
struct progress {
    struct engine_model *m;
    uint64_t next_us;
    unsigned part, n_parts; /* which of the model's devices */
};

static void on_progress(uint64_t done_bytes, uint64_t all_bytes, void *arg)
{
    struct progress *p = arg;
    uint64_t now_us = clock_now_us();
    uint64_t percent = all_bytes > 0 ? done_bytes * 100 / all_bytes : 0;

    atomic_store(&p->m->percent,
                 (unsigned)((p->part * 100 + percent) / p->n_parts));
    if (all_bytes < PROGRESS_MIN || now_us < p->next_us)
        return;
    p->next_us = now_us + PROGRESS_MS * 1000;
    log_note(LOG_ENGINE, "model loads: name=%.*s mib=%llu of=%llu percent=%llu",
             STR_ARG(p->m->name), (unsigned long long)(done_bytes / MIB),
             (unsigned long long)(all_bytes / MIB),
             (unsigned long long)percent);
}

/* The graph, and pages for it: on the CPU memory is divided before it is used,
 * on a GPU what the weights left is for pages. */
static enum err graph_make(struct engine_part *p,
                           const struct engine_load *load,
                           struct graph_opts *go, struct engine_fault *why)
{
    struct model_fault fault = {.text = ""};
    enum err e = engine_device_fits(p->krn, load, p->m->model, go->fp8, why);

    if (e == ERR_OK && krn_is_host(p->krn))
        e = size_pool(p, load, why, &go->n_pages);
    if (e != ERR_OK)
        return e;
    e = graph_new(p->krn, p->m->model, go, &fault, &p->graph);
    if (e != ERR_OK)
        return refuse(why, e, fault.text);
    if (krn_is_host(p->krn))
        return ERR_OK;
    e = size_pool(p, load, why, &go->n_pages);
    if (e != ERR_OK)
        return e;
    e = graph_pool_new(p->graph, go->n_pages);
    if (e != ERR_OK)
        snprintf(why->text, sizeof(why->text),
                 "the GPU has no room for %llu MiB of keys and values; write a "
                 "greater engine.cuda.reserve",
                 (unsigned long long)(p->kv_bytes / MIB));
    return e;
}

/* --- a device that failed ------------------------------------------------- */

/* The model is not served by <p> any more, nor at all where it was the last. */
static void give_up(struct engine_part *p, const char *why)
{
    struct engine_model *m = p->m;

    log_err(LOG_ENGINE, "device given up: name=%.*s device=\"%s\" why=\"%s\"",
            STR_ARG(m->name), krn_describe(p->krn), why);
    if (atomic_fetch_sub(&m->n_up, 1) > 1)
        return;
    snprintf(m->fault.text, sizeof(m->fault.text),
             "the device %s failed: %s; start again", krn_describe(p->krn),
             why);
    atomic_store(&m->state, ENGINE_FAILED);
}

/* See sched_opts. */
static bool revive(void *arg)
{
    struct engine_part *p = arg;
    const uint64_t now_us = clock_now_us();
    struct model_fault fault = {.text = ""};
    char trouble[160];

    snprintf(trouble, sizeof(trouble), "%s", krn_trouble(p->krn));
    if (p->revived_us > 0 && now_us - p->revived_us < AGAIN_US) {
        give_up(p, trouble);
        return false;
    }
    p->revived_us = now_us;
    log_err(LOG_ENGINE,
            "device failed, begun anew: name=%.*s device=\"%s\" why=\"%s\"",
            STR_ARG(p->m->name), krn_describe(p->krn), trouble);
    if (graph_revive(p->graph, &fault) != ERR_OK) {
        give_up(p, fault.text[0] ? fault.text : trouble);
        return false;
    }
    log_note(LOG_ENGINE, "device ready again: name=%.*s ms=%llu",
             STR_ARG(p->m->name),
             (unsigned long long)((clock_now_us() - now_us) / 1000));
    return true;
}

/* --- life ----------------------------------------------------------------- */

enum err engine_part_load(struct engine_part *p, const struct engine_load *load,
                          int gpu, struct engine_fault *why)
{
    const unsigned rows = gpu == ENGINE_NO_GPU ? STEP_CPU : STEP_GPU;
    struct progress progress = {.m = p->m,
                                .part = (unsigned)(p - p->m->parts),
                                .n_parts = p->m->n_parts};
    struct graph_opts go = {.kv_dtype = engine_part_kv_dtype(p->m->conf),
                            .fp8 = p->m->conf->weights == CONF_WEIGHTS_FP8,
                            .max_rows = rows,
                            .progress = on_progress,
                            .progress_arg = &progress};
    struct sched_opts so = {.step_tokens = rows};
    enum err e = engine_device_open(gpu, load, why, &p->krn);

    if (e == ERR_OK)
        e = graph_make(p, load, &go, why);
    if (e == ERR_OK && !model_is_whole(p->m->model))
        e = refuse(why, ERR_IO,
                   "the file was written to while it was read; put new files "
                   "in place by renaming, and start again");
    if (e != ERR_OK)
        return e;
    so.context = p->context;
    so.slots = p->slots;
    so.n_pages = go.n_pages;
    so.page_tokens = graph_page_tokens(p->graph);
    if (gpu != ENGINE_NO_GPU) {
        so.restore_min = RESTORE_GPU;
        so.revive = revive;
        so.revive_arg = p;
    }
    return sched_new(p->graph, p->m->model, &so, &p->sched);
}

void engine_part_stop(struct engine_part *p)
{
    sched_free(p->sched);
    p->sched = NULL;
}

void engine_part_free(struct engine_part *p)
{
    engine_part_stop(p);
    graph_free(p->graph);
    p->graph = NULL;
    krn_close(p->krn);
    p->krn = NULL;
}
