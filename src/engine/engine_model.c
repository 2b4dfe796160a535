/* engine_model.c - From a file to a running scheduler: what is refused before
 * anything is loaded, on how many devices it is, and what those have
 * together. */
#include "engine/engine_model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/log.h"
#include "conf/conf.h"
#include "engine/engine_device.h"
#include "engine/engine_part.h"
#include "engine/herd.h"
#include "engine/kvswap.h"
#include "engine/model.h"
#include "engine/pinned.h"
#include "engine/sched.h"
#include "kernels/krn.h"
#include "token/grammar.h"
#include "token/template.h"

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
        return refuse(
            why, ERR_REFUSED,
            "kv_dtype: q8 is not supported; write f16, bf16, f32 or fp8");
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

/* --- loading ------------------------------------------------------------ */

/* Give back what load_on() took. */
static void unload(struct engine_model *m)
{
    herd_free(m->herd);
    m->herd = NULL;
    for (unsigned i = 0; i < m->n_parts; i++)
        engine_part_free(&m->parts[i]);
    free(m->parts);
    m->parts = NULL;
    m->n_parts = 0;
}

/* What people are told it runs on. */
static void describe(struct engine_model *m)
{
    if (m->n_parts == 1)
        snprintf(m->device, sizeof(m->device), "%s",
                 krn_describe(m->parts[0].krn));
    else
        snprintf(m->device, sizeof(m->device), "%s and %u more",
                 krn_describe(m->parts[0].krn), m->n_parts - 1);
}

/* Sum up what the parts have. */
static enum err join(struct engine_model *m)
{
    struct sched *scheds[HERD_MAX];

    m->slots = 0;
    m->kv_bytes = 0;
    for (unsigned i = 0; i < m->n_parts; i++) {
        const unsigned context = sched_context(m->parts[i].sched);

        scheds[i] = m->parts[i].sched;
        m->slots += m->parts[i].slots;
        m->kv_bytes += m->parts[i].kv_bytes;
        if (context < m->context)
            m->context = context;
    }
    m->kv_dtype = engine_part_kv_dtype(m->conf);
    atomic_store(&m->n_up, m->n_parts);
    describe(m);
    m->herd = herd_new(scheds, m->n_parts, krn_page_tokens(m->parts[0].krn));
    return m->herd ? ERR_OK : ERR_NOMEM;
}

/* Everything on <n> devices. */
static enum err load_on(struct engine_model *m, const struct engine_load *load,
                        const int *gpus, unsigned n, struct engine_fault *why)
{
    enum err e = ERR_OK;

    m->parts = calloc(n, sizeof(*m->parts));
    if (!m->parts)
        return ERR_NOMEM;
    m->n_parts = n;
    for (unsigned i = 0; i < n && e == ERR_OK; i++) {
        m->parts[i].m = m;
        m->parts[i].context = m->context;
        e = engine_part_load(&m->parts[i], load, gpus[i], why);
    }
    return e == ERR_OK ? join(m) : e;
}

/* <name>, which only a GPU does, was asked for, and none can be used: say both.
 */
static void no_gpu(const char *name, struct engine_fault *why)
{
    struct engine_fault of = *why;

    snprintf(why->text, sizeof(why->text),
             "%s: fp8 needs a GPU; write %s: auto, or see to the GPU: %.400s",
             name, name, of.text);
}

enum err engine_model_load(struct engine_model *m,
                           const struct engine_load *load,
                           struct engine_fault *why)
{
    const unsigned context = m->context;
    int gpus[HERD_MAX];
    const unsigned n = engine_device_gpus(m->conf, gpus);
    const char *gpu_only;
    enum err e;

    m->index = vocab_index_new(m->model->vocab);
    if (!m->index)
        return ERR_NOMEM;
    e = load_on(m, load, gpus, n, why);
    if (e == ERR_OK || gpus[0] == ENGINE_NO_GPU ||
        !engine_device_is_auto(m->conf))
        return e;
    gpu_only = engine_device_gpu_only(m->conf);
    if (gpu_only) {
        no_gpu(gpu_only, why);
    } else {
        log_note(LOG_ENGINE, "the cpu computes: name=%.*s why=\"%s\"",
                 STR_ARG(m->name),
                 why->text[0] != '\0' ? why->text : err_row(e)->message);
        unload(m);
        m->context = context;
        why->text[0] = '\0';
        gpus[0] = ENGINE_NO_GPU;
        e = load_on(m, load, gpus, 1, why);
    }
    return e;
}

void engine_model_stats(const struct engine_model *m, struct sched_stats *out)
{
    *out = (struct sched_stats){0};
    for (unsigned i = 0; i < m->n_parts; i++) {
        struct sched_stats n;

        sched_read(m->parts[i].sched, &n);
        sched_stats_add(out, &n);
    }
}

void engine_model_stop(struct engine_model *m)
{
    if (!m)
        return;
    for (unsigned i = 0; i < m->n_parts; i++)
        engine_part_stop(&m->parts[i]);
    kvswap_close(atomic_exchange(&m->swap, NULL));
}

void engine_model_free(struct engine_model *m)
{
    if (!m)
        return;
    engine_model_stop(m);
    pinned_free(m->pinned);
    unload(m);
    vocab_index_free(m->index);
    template_free(m->tmpl);
    model_close(m->model);
    free(m);
}
