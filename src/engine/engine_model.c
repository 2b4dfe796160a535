/* engine_model.c - From a file to a running scheduler: what is refused before
 * anything is loaded, how large the pool of keys and values is, and in which
 * order things are made and freed. */
#include "engine/engine_model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/log.h"
#include "conf/conf.h"
#include "engine/engine_device.h"
#include "engine/graph.h"
#include "engine/kvswap.h"
#include "engine/model.h"
#include "engine/pinned.h"
#include "engine/sched.h"
#include "kernels/krn.h"
#include "token/grammar.h"
#include "token/template.h"

#define MIB          (1024ull * 1024)
#define SLOTS_CPU    16
#define SLOTS_GPU    64
#define STEP_CPU     512 /* rows of one step */
#define STEP_GPU     2048
#define CONTEXT_MIN  256         /* a pool that holds less is of no use */
#define PROGRESS_MIN (256 * MIB) /* models from here on tell how far */
#define PROGRESS_MS  2000

/* A model without a template of its own is spoken to in plain words. */
static const char plain_template[] =
    "{%- for m in messages -%}"
    "{%- if m.role == 'system' -%}{{ m.content + '\\n\\n' }}"
    "{%- elif m.role == 'user' -%}{{ 'User: ' + m.content + '\\n' }}"
    "{%- else -%}{{ 'Assistant: ' + m.content + '\\n' }}"
    "{%- endif -%}{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{ 'Assistant:' }}{%- endif -%}";

/* --- judging ------------------------------------------------------------ */

static enum err refuse(struct engine_fault *why, enum err e, const char *text)
{
    snprintf(why->text, sizeof(why->text), "%s", text);
    return e;
}

static enum err judge_settings(const struct conf_engine_model *conf,
                               struct engine_fault *why)
{
    if (conf->kv_dtype == CONF_KV_Q8)
        return refuse(why, ERR_REFUSED,
                      "kv_dtype: q8 is not supported; write f16, bf16 or f32");
    return engine_device_judge(conf, why);
}

static enum err judge_template(struct engine_model *m, struct engine_fault *why)
{
    struct str source = m->model->chat_template;
    struct template_fault fault = {0};
    enum err e;

    if (source.len == 0)
        source = str_from(plain_template);
    e = template_new(source, &fault, &m->tmpl);
    if (e == ERR_SYNTAX) {
        snprintf(why->text, sizeof(why->text),
                 "%s: chat template, line %u, column %u: %s", m->conf->path.p,
                 fault.line, fault.column, fault.text);
        return ERR_REFUSED;
    }
    if (e != ERR_OK)
        return e;
    m->style = toolcall_style_of(source);
    m->own_tools = !template_caps(m->tmpl)->tools;
    if (m->own_tools || m->style == TOOLCALL_NONE)
        m->style = TOOLCALL_HERMES;
    return ERR_OK;
}

static enum err judge_context(struct engine_model *m, struct engine_fault *why)
{
    uint64_t asked = m->conf->context;

    if (asked > m->model->p.context) {
        snprintf(why->text, sizeof(why->text),
                 "context: %llu is more than the %u tokens that this model was "
                 "made for; write at most that, or 0",
                 (unsigned long long)asked, m->model->p.context);
        return ERR_REFUSED;
    }
    m->context = asked > 0 ? (unsigned)asked : m->model->p.context;
    return ERR_OK;
}

static int64_t file_time_s(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 ? (int64_t)st.st_mtime : 0;
}

enum err engine_model_judge(const struct conf_engine_model *conf,
                            struct engine_fault *why, struct engine_model **out)
{
    struct engine_model *m;
    struct model_fault fault = {.text = ""};
    enum err e = judge_settings(conf, why);

    if (e != ERR_OK)
        return e;
    m = calloc(1, sizeof(*m));
    if (!m)
        return ERR_NOMEM;
    m->name = conf->name;
    m->conf = conf;
    m->created_s = file_time_s(conf->path.p);
    e = model_open(conf->path.p, &fault, &m->model);
    if (e != ERR_OK)
        (void)refuse(why, e, fault.text);
    if (e == ERR_OK)
        e = judge_template(m, why);
    if (e == ERR_OK)
        e = judge_context(m, why);
    if (e != ERR_OK) {
        engine_model_free(m);
        return e;
    }
    *out = m;
    return ERR_OK;
}

/* --- memory ------------------------------------------------------------- */

static enum krn_dtype kv_dtype(const struct conf_engine_model *conf)
{
    switch (conf->kv_dtype) {
    case CONF_KV_F32:
        return KRN_F32;
    case CONF_KV_BF16:
        return KRN_BF16;
    default:
        return KRN_F16;
    }
}

/* Make the context of <m> what <most> pages hold, where that is of use.
 * ERR_NOMEM with <why>. */
static enum err shorten(struct engine_model *m, uint64_t most, uint64_t page,
                        struct engine_fault *why)
{
    unsigned tokens = krn_page_tokens(m->krn);
    uint64_t fits = most > 0 ? (most - 1) * tokens : 0;

    if (m->conf->context == 0 && fits >= CONTEXT_MIN) {
        log_warn(LOG_ENGINE,
                 "memory bounds the context: name=%.*s tokens=%u of=%u",
                 STR_ARG(m->name), (unsigned)fits, m->context);
        m->context = (unsigned)fits;
        return ERR_OK;
    }
    snprintf(why->text, sizeof(why->text),
             "there are %llu MiB of memory for keys and values%s, but a "
             "context of %u tokens takes %llu MiB; write ",
             (unsigned long long)(most * page / MIB),
             krn_is_host(m->krn) ? "" : " on the GPU", m->context,
             (unsigned long long)((m->context / tokens + 1) * page / MIB));
    if (fits >= CONTEXT_MIN)
        snprintf(why->text + strlen(why->text),
                 sizeof(why->text) - strlen(why->text),
                 "a smaller context, %llu at most", (unsigned long long)fits);
    else
        snprintf(why->text + strlen(why->text),
                 sizeof(why->text) - strlen(why->text), "%s",
                 krn_is_host(m->krn) ? "a smaller context"
                                     : "cpu, another GPU, or a file of a "
                                       "smaller type of weights");
    return ERR_NOMEM;
}

/* Pages of the pool: whole contexts for every slot, unless memory is short;
 * then sequences share what there is, and a long one may have to be shorter. */
static enum err size_pool(struct engine_model *m,
                          const struct engine_load *load,
                          struct engine_fault *why, unsigned *pages_out)
{
    unsigned tokens = krn_page_tokens(m->krn);
    uint64_t page = graph_page_bytes_of(m->model, kv_dtype(m->conf), tokens);
    uint64_t each = m->context / tokens + 1;
    uint64_t most = engine_device_room(m->krn, load, m->model) / page;
    uint64_t pages;
    enum err e;

    m->slots = m->conf->slots > 0    ? (unsigned)m->conf->slots
               : krn_is_host(m->krn) ? SLOTS_CPU
                                     : SLOTS_GPU;
    pages = each * m->slots;
    pages = pages < most ? pages : most;
    pages = pages < INT32_MAX ? pages : INT32_MAX;
    if (pages < each) {
        e = shorten(m, pages, page, why);
        if (e != ERR_OK)
            return e;
    }
    m->kv_bytes = pages * page;
    m->kv_dtype = kv_dtype(m->conf);
    *pages_out = (unsigned)pages;
    return ERR_OK;
}

/* --- loading ------------------------------------------------------------ */

/* How far a large model is. */
struct progress {
    struct engine_model *m;
    uint64_t next_us;
};

static void on_progress(uint64_t done_bytes, uint64_t all_bytes, void *arg)
{
    struct progress *p = arg;
    uint64_t now_us = clock_now_us();

    atomic_store(&p->m->percent,
                 all_bytes > 0 ? (unsigned)(done_bytes * 100 / all_bytes) : 0);
    if (all_bytes < PROGRESS_MIN || now_us < p->next_us)
        return;
    p->next_us = now_us + PROGRESS_MS * 1000;
    log_note(LOG_ENGINE, "model loads: name=%.*s mib=%llu of=%llu percent=%llu",
             STR_ARG(p->m->name), (unsigned long long)(done_bytes / MIB),
             (unsigned long long)(all_bytes / MIB),
             (unsigned long long)(done_bytes * 100 / all_bytes));
}

/* The graph, and pages for it: on the CPU memory is divided before it is used,
 * on a GPU what the weights left is for pages. */
static enum err graph_make(struct engine_model *m,
                           const struct engine_load *load,
                           struct graph_opts *go, struct engine_fault *why)
{
    struct model_fault fault = {.text = ""};
    enum err e = engine_device_fits(m->krn, load, m->model, why);

    if (e == ERR_OK && krn_is_host(m->krn))
        e = size_pool(m, load, why, &go->n_pages);
    if (e != ERR_OK)
        return e;
    e = graph_new(m->krn, m->model, go, &fault, &m->graph);
    if (e != ERR_OK)
        return refuse(why, e, fault.text);
    if (krn_is_host(m->krn))
        return ERR_OK;
    e = size_pool(m, load, why, &go->n_pages);
    if (e != ERR_OK)
        return e;
    e = graph_pool_new(m->graph, go->n_pages);
    if (e != ERR_OK)
        snprintf(why->text, sizeof(why->text),
                 "the GPU has no room for %llu MiB of keys and values; write a "
                 "greater engine.cuda.reserve",
                 (unsigned long long)(m->kv_bytes / MIB));
    return e;
}

/* Everything on one device. */
static enum err load_on(struct engine_model *m, const struct engine_load *load,
                        int gpu, struct engine_fault *why)
{
    const unsigned rows = gpu == ENGINE_NO_GPU ? STEP_CPU : STEP_GPU;
    struct progress progress = {.m = m};
    struct graph_opts go = {.kv_dtype = kv_dtype(m->conf),
                            .max_rows = rows,
                            .progress = on_progress,
                            .progress_arg = &progress};
    struct sched_opts so = {.step_tokens = rows};
    enum err e = engine_device_open(gpu, load, why, &m->krn);

    if (e == ERR_OK)
        e = graph_make(m, load, &go, why);
    if (e == ERR_OK && !model_is_whole(m->model))
        e = refuse(why, ERR_IO,
                   "the file was written to while it was read; put new files "
                   "in place by renaming, and start again");
    if (e == ERR_OK) {
        snprintf(m->device, sizeof(m->device), "%s", krn_describe(m->krn));
        so.context = m->context;
        so.slots = m->slots;
        so.n_pages = go.n_pages;
        so.page_tokens = graph_page_tokens(m->graph);
        e = sched_new(m->graph, m->model, &so, &m->sched);
    }
    return e;
}

/* Give back what load_on() took. */
static void unload(struct engine_model *m)
{
    graph_free(m->graph);
    m->graph = NULL;
    krn_close(m->krn);
    m->krn = NULL;
}

enum err engine_model_load(struct engine_model *m,
                           const struct engine_load *load,
                           struct engine_fault *why)
{
    const unsigned context = m->context;
    const int gpu = engine_device_gpu(m->conf);
    enum err e;

    m->index = vocab_index_new(m->model->vocab);
    if (!m->index)
        return ERR_NOMEM;
    e = load_on(m, load, gpu, why);
    if (e != ERR_OK && gpu != ENGINE_NO_GPU && engine_device_is_auto(m->conf)) {
        log_note(LOG_ENGINE, "the cpu computes: name=%.*s why=\"%s\"",
                 STR_ARG(m->name),
                 why->text[0] != '\0' ? why->text : err_row(e)->message);
        unload(m);
        m->context = context;
        why->text[0] = '\0';
        e = load_on(m, load, ENGINE_NO_GPU, why);
    }
    if (e == ERR_OK)
        m->context = sched_context(m->sched);
    return e;
}

void engine_model_stop(struct engine_model *m)
{
    if (!m)
        return;
    sched_free(m->sched);
    m->sched = NULL;
    kvswap_close(atomic_exchange(&m->swap, NULL));
}

void engine_model_free(struct engine_model *m)
{
    if (!m)
        return;
    engine_model_stop(m);
    pinned_free(m->pinned);
    graph_free(m->graph);
    krn_close(m->krn);
    vocab_index_free(m->index);
    template_free(m->tmpl);
    model_close(m->model);
    free(m);
}
