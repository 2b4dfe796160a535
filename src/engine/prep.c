/* prep.c - The prep threads and what they do to a request, in order: parse,
 * judge, tokenise, check the length, compile the grammar, make the jobs. The
 * length is checked before a grammar is compiled or a job made. */
#include "engine/prep.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "base/arena.h"
#include "base/log.h"
#include "base/thr.h"
#include "engine/engine_model.h"
#include "engine/jtree.h"
#include "engine/model.h"
#include "engine/scope.h"
#include "token/grammar.h"
#include "token/vocab.h"

#define ARENA_FIRST 4096
#define ARENA_CAP   (512u << 20)
#define JOB_EXTRA   (1u << 20) /* bytes of a job beside its tokens */
#define NICE        5          /* prep threads come after the event loops */

struct prep *prep_new(void)
{
    struct prep *p = calloc(1, sizeof(*p));

    if (!p)
        return NULL;
    p->mem = arena_new(ARENA_FIRST, ARENA_CAP);
    if (!p->mem) {
        free(p);
        return NULL;
    }
    buf_init(&p->body, SIZE_MAX / 2);
    buf_init(&p->reply, SIZE_MAX / 2);
    return p;
}

void prep_free(struct prep *p)
{
    if (!p)
        return;
    for (size_t i = 0; i < p->n_jobs; i++)
        gen_job_free(p->jobs[i]);
    buf_fini(&p->body);
    buf_fini(&p->reply);
    arena_free(p->mem);
    free(p);
}

/* --- lengths ------------------------------------------------------------ */

/* What the prompt is called, as a parameter and in a sentence. */
static const char *prompt_param(enum endpoint kind, const char **noun_out)
{
    *noun_out = kind == ENDPOINT_CHAT ? "messages" : "prompt";
    if (kind == ENDPOINT_EMBEDDINGS) {
        *noun_out = "input";
        return "input";
    }
    return kind == ENDPOINT_CHAT ? "messages" : "prompt";
}

static enum err too_long(struct prep *p, size_t n, int64_t asked)
{
    const char *noun;
    const char *param = prompt_param(p->kind, &noun);

    if (asked > 0)
        (void)params_refuse(&p->why, param,
                            "This model's maximum context length is %u "
                            "tokens. However, you requested %lld tokens (%zu "
                            "in the %s, %lld in the completion). Please reduce "
                            "the length of the %s or completion.",
                            p->m->context, (long long)n + (long long)asked, n,
                            noun, (long long)asked, noun);
    else
        (void)params_refuse(&p->why, param,
                            "This model's maximum context length is %u "
                            "tokens. However, your %s resulted in %zu tokens. "
                            "Please reduce the length of the %s.",
                            p->m->context, noun, n, noun);
    return ERR_CONTEXT_LENGTH;
}

/* Tokens that a choice of a prompt of <n> tokens may have; 0: none is asked
 * for, and the prompt may fill the context. */
static enum err judge_length(struct prep *p, const struct params *params,
                             const json_t *body, size_t n, unsigned *max_out)
{
    bool said = params_get(body, "max_tokens") ||
                params_get(body, "max_completion_tokens");
    size_t room = n < p->m->context ? p->m->context - n : 0;
    int64_t want = params->max_tokens;

    if (said && want > 0 && (uint64_t)want > room)
        return too_long(p, n, want);
    if (room == 0 && (want != 0 || n > p->m->context))
        return too_long(p, n, 0);
    if (want < 0 || (uint64_t)want > room)
        want = (int64_t)room;
    *max_out = (unsigned)want;
    return ERR_OK;
}

/* --- grammars ----------------------------------------------------------- */

static enum err grammar_refused(struct prep *p, const char *at, enum err e,
                                const struct grammar_fault *fault)
{
    int digits = (int)strspn(fault->param, "0123456789");
    char param[200];

    if (e == ERR_NOMEM)
        return e;
    if (digits > 0) /* of a list */
        snprintf(param, sizeof(param), "%s[%.*s]%s", at, digits, fault->param,
                 fault->param + digits);
    else
        snprintf(param, sizeof(param), "%s%s%s", at, fault->param[0] ? "." : "",
                 fault->param);
    return params_refuse(&p->why, param, "Invalid schema for '%s': %s", param,
                         fault->text);
}

/* Let <fault> tell the place among the tools of <body>, of which those of
 * <params> may be some. */
static void shift_fault(struct grammar_fault *fault, const json_t *body,
                        const struct params *params)
{
    const json_t *all = json_object_get(body, "tools");
    char *rest = fault->param;
    size_t i = strtoul(fault->param, &rest, 10), at = 0;
    const json_t *tool = json_array_get(params->tools, i);
    char place[sizeof(fault->param) - 24];

    if (rest == fault->param)
        return;
    while (at < json_array_size(all) &&
           !json_equal(json_array_get(all, at), tool))
        at++;
    snprintf(place, sizeof(place), "%.*s", (int)sizeof(place) - 1, rest);
    snprintf(fault->param, sizeof(fault->param), "%zu%s", at, place);
}

static enum err tools_grammar(struct prep *p, const json_t *body,
                              const struct params *params, struct grammar **out)
{
    struct grammar_tools t = {
        .style = p->m->style,
        .tools = params->tools,
        .only = params->only,
        .required = params->tool_choice == PARAMS_TOOLS_REQUIRED,
        .parallel = params->parallel,
    };
    struct grammar_fault fault = {.param = ""};
    enum err e = grammar_from_tools(p->m->index, &t, &fault, out);

    if (e == ERR_OK)
        return e;
    /* A model that is free to call none is not held to what cannot be. */
    if (e != ERR_NOMEM && !t.required && !params->strict_tools) {
        log_debug(LOG_ENGINE, "tools without a grammar: %s", fault.text);
        return ERR_OK;
    }
    shift_fault(&fault, body, params);
    return grammar_refused(p, "tools", e, &fault);
}

static enum err make_grammar(struct prep *p, const json_t *body,
                             const struct params *params, struct grammar **out)
{
    struct grammar_fault fault = {.param = ""};
    enum err e;

    if (params->tool_choice != PARAMS_TOOLS_NONE)
        return tools_grammar(p, body, params, out);
    if (params->format == PARAMS_TEXT)
        return ERR_OK;
    if (params->format == PARAMS_JSON_OBJECT) {
        *out = grammar_json_object(p->m->index);
        return *out ? ERR_OK : ERR_NOMEM;
    }
    e = grammar_from_schema(p->m->index, params->schema, &fault, out);
    return e == ERR_OK ? e : grammar_refused(p, params->schema_at, e, &fault);
}

/* --- jobs --------------------------------------------------------------- */

/* A copy in the job's arena; NULL also when there is nothing to copy. */
static const void *job_copy(struct gen_job *j, const void *from, size_t bytes)
{
    void *to = bytes > 0 ? arena_alloc(j->arena, bytes) : NULL;

    return to ? memcpy(to, from, bytes) : NULL;
}

static enum err job_stops(struct gen_job *j, const struct params *params)
{
    struct str *stops =
        arena_alloc(j->arena, (params->n_stops + 1) * sizeof(*stops));

    if (!stops)
        return ERR_NOMEM;
    for (size_t i = 0; i < params->n_stops; i++) {
        stops[i] = arena_dup(j->arena, params->stops[i]);
        if (!stops[i].p)
            return ERR_NOMEM;
    }
    j->stops = stops;
    j->n_stops = params->n_stops;
    return ERR_OK;
}

static struct gen_job *job_new(const struct prep *p, const struct prep_ids *ids)
{
    struct gen_job *j = gen_job_new(ids->n * sizeof(int32_t) + JOB_EXTRA);

    if (!j)
        return NULL;
    j->answer = p->events;
    j->tokens = job_copy(j, ids->ids, ids->n * sizeof(int32_t));
    j->n_tokens = ids->n;
    memcpy(j->key, p->key, sizeof(j->key));
    if (j->tokens)
        return j;
    gen_job_free(j);
    return NULL;
}

static enum err job_fill(struct gen_job *j, const struct prep *p,
                         const struct params *params)
{
    const struct gen_sampling *s = &params->sampling;

    j->sampling = *s;
    j->sampling.bias = job_copy(j, s->bias, s->n_bias * sizeof(*s->bias));
    j->stop_ids = job_copy(j, params->stop_ids,
                           params->n_stop_ids * sizeof(*params->stop_ids));
    if ((s->n_bias > 0 && !j->sampling.bias) ||
        (params->n_stop_ids > 0 && !j->stop_ids))
        return ERR_NOMEM;
    j->n_stop_ids = params->n_stop_ids;
    j->n = params->best_of;
    j->ignore_eos = params->ignore_eos;
    j->keep_special =
        params->keep_special || params->tool_choice != PARAMS_TOOLS_NONE;
    j->new_text = p->kind == ENDPOINT_CHAT && params->add_generation;
    j->logprobs = params->logprobs || params->best_of > params->n;
    j->top_logprobs = params->top_logprobs;
    j->prompt_logprobs = params->echo && params->logprobs;
    scope_narrow(p->scope, params->cache_salt, params->cache_key, j->scope);
    return job_stops(j, params);
}

/* --- the plan ----------------------------------------------------------- */

/* What the prompt says, for echo. */
static enum err echo_text(struct prep *p, const struct prep_ids *ids,
                          struct str *out)
{
    struct detok d = {0};
    struct buf text;
    enum err e = ERR_OK;

    buf_init(&text, SIZE_MAX / 2);
    for (size_t i = 0; i < ids->n && e == ERR_OK && !ids->text.p; i++)
        e = detok_push(&d, p->m->model->vocab, ids->ids[i], true, &text);
    if (e == ERR_OK && !ids->text.p)
        e = detok_finish(&d, &text);
    if (e == ERR_OK) {
        *out = arena_dup(p->mem, ids->text.p ? ids->text : buf_str(&text));
        e = out->p ? ERR_OK : ERR_NOMEM;
    }
    buf_fini(&text);
    return e;
}

static enum err plan_fill(struct prep *p, const struct params *params,
                          const struct prep_ids *ids, size_t n)
{
    struct plan_prompt *prompts = arena_alloc(p->mem, n * sizeof(*prompts));
    struct plan *plan = &p->plan;
    enum err e = prompts ? ERR_OK : ERR_NOMEM;

    *plan = (struct plan){
        .kind = p->kind,
        .stream = p->stream,
        .include_usage = p->include_usage,
        .n = params->n,
        .best_of = params->best_of,
        .logprobs = params->logprobs,
        .top_logprobs = params->top_logprobs,
        .echo = params->echo,
        .tools = params->tool_choice != PARAMS_TOOLS_NONE,
        .must_call = params->tool_choice == PARAMS_TOOLS_REQUIRED,
        .style = p->m->style,
        .n_prompts = (unsigned)n,
        .prompts = prompts,
    };
    for (size_t i = 0; i < n && e == ERR_OK; i++) {
        prompts[i].n_ids = ids[i].n;
        if (!params->echo)
            continue;
        prompts[i].ids =
            memcpy(arena_alloc(p->mem, (ids[i].n + 1) * sizeof(int32_t)),
                   ids[i].ids, ids[i].n * sizeof(int32_t));
        e = echo_text(p, &ids[i], &prompts[i].text);
    }
    return e;
}

/* Jobs for the <n> prompts. */
static enum err make_jobs(struct prep *p, const json_t *body,
                          const struct params *params,
                          const struct prep_ids *ids, size_t n)
{
    struct grammar *g = NULL;
    enum err e = plan_fill(p, params, ids, n);
    unsigned *max = arena_alloc(p->mem, n * sizeof(*max));

    p->jobs = arena_alloc(p->mem, n * sizeof(struct gen_job *));
    if (!max || !p->jobs)
        e = ERR_NOMEM;
    for (size_t i = 0; i < n && e == ERR_OK; i++)
        e = judge_length(p, params, body, ids[i].n, &max[i]);
    if (e == ERR_OK)
        e = make_grammar(p, body, params, &g);
    for (size_t i = 0; i < n && e == ERR_OK; i++) {
        struct gen_job *j = job_new(p, &ids[i]);

        if (!j) {
            e = ERR_NOMEM;
            break;
        }
        p->jobs[p->n_jobs++] = j;
        j->max_tokens = max[i];
        j->grammar = g ? grammar_ref(g) : NULL;
        e = job_fill(j, p, params);
    }
    grammar_unref(g);
    return e;
}

/* --- the endpoints ------------------------------------------------------ */

static enum err run_text(struct prep *p, const json_t *body)
{
    struct params params = {0};
    struct prep_ids one = {0};
    struct prep_ids *ids = &one;
    size_t n = 1;
    enum err e = params_read(body, p->kind, vocab_size(p->m->model->vocab),
                             p->mem, &p->why, &params);

    if (e == ERR_OK)
        e = p->kind == ENDPOINT_CHAT ? prep_chat(p, body, &params, &one)
                                     : prep_texts(p, body, "prompt", &ids, &n);
    if (e == ERR_CONTEXT_LENGTH)
        e = too_long(p, PREP_IDS_MAX, 0);
    if (e == ERR_OK)
        e = make_jobs(p, body, &params, ids, n);
    for (size_t i = 0; i < n; i++)
        free(ids[i].ids);
    params_fini(&params);
    return e;
}

/* What of an embeddings request is not its input. */
static enum err read_embed(struct prep *p, const json_t *body)
{
    const json_t *format = params_get(body, "encoding_format");
    struct str how = params_str(format);
    int64_t d_model = (int64_t)p->m->model->p.d_model, dim = d_model;

    ERR_TRY(params_judge_known(body, &p->why));
    ERR_TRY(params_expect(format, PARAMS_STRING, "encoding_format", &p->why));
    p->plan.base64 = str_eq(how, STR("base64"));
    if (format && !p->plan.base64 && !str_eq(how, STR("float")))
        return params_refuse(&p->why, "encoding_format",
                             "Invalid value for 'encoding_format': expected "
                             "'float' or 'base64'.");
    ERR_TRY(params_integer(body, "dimensions", 1, INT32_MAX, &p->why, &dim));
    if (dim != d_model)
        return params_refuse(&p->why, "dimensions",
                             "This model's embeddings have %lld dimensions; "
                             "they cannot be shortened.",
                             (long long)d_model);
    return ERR_OK;
}

static enum err embed_jobs(struct prep *p, const struct prep_ids *ids, size_t n)
{
    struct plan_prompt *prompts = arena_alloc(p->mem, n * sizeof(*prompts));

    p->jobs = arena_alloc(p->mem, n * sizeof(struct gen_job *));
    if (!prompts || !p->jobs)
        return ERR_NOMEM;
    p->plan.kind = p->kind;
    p->plan.n = p->plan.best_of = 1;
    p->plan.n_prompts = (unsigned)n;
    p->plan.prompts = prompts;
    for (size_t i = 0; i < n; i++)
        if (ids[i].n > p->m->context)
            return too_long(p, ids[i].n, 0);
    for (size_t i = 0; i < n; i++) {
        struct gen_job *j = job_new(p, &ids[i]);

        if (!j)
            return ERR_NOMEM;
        prompts[i].n_ids = ids[i].n;
        p->jobs[p->n_jobs++] = j;
        j->kind = GEN_EMBED;
        memcpy(j->scope, p->scope, sizeof(j->scope));
    }
    return ERR_OK;
}

static enum err run_embed(struct prep *p, const json_t *body)
{
    struct prep_ids *ids = NULL;
    size_t n = 0;
    enum err e = read_embed(p, body);

    if (e == ERR_OK)
        e = prep_texts(p, body, "input", &ids, &n);
    if (e == ERR_CONTEXT_LENGTH)
        e = too_long(p, PREP_IDS_MAX, 0);
    if (e == ERR_OK)
        e = embed_jobs(p, ids, n);
    for (size_t i = 0; i < n; i++)
        free(ids[i].ids);
    return e;
}

static enum err dispatch(struct prep *p, const json_t *body)
{
    switch (p->kind) {
    case ENDPOINT_CHAT:
    case ENDPOINT_COMPLETIONS:
        return run_text(p, body);
    case ENDPOINT_EMBEDDINGS:
        return run_embed(p, body);
    case ENDPOINT_TOKENIZE:
        return prep_tokenize(p, body);
    case ENDPOINT_DETOKENIZE:
        return prep_detokenize(p, body);
    default:
        return params_refuse(&p->why, "model",
                             "The engine does not serve this URL.");
    }
}

void prep_run(struct prep *p)
{
    json_t *body = NULL;

    if (atomic_load(&p->cancelled)) {
        p->err = ERR_CLIENT_GONE;
        return;
    }
    p->err = jtree_read(buf_str(&p->body), JTREE_TWICE_REFUSED, p->mem, &p->why,
                        &body);
    if (p->err == ERR_OK)
        p->err = dispatch(p, body);
    json_decref(body);
    buf_fini(&p->body);
}

/* --- threads ------------------------------------------------------------ */

struct prep_pool {
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t more;
    struct mbox_msg *first; /* oldest */
    struct mbox_msg **last;
    bool closing;
    unsigned n;
    struct thr threads[];
};

/* The next request; NULL when all is over. */
static struct prep *pool_take(struct prep_pool *pool)
{
    struct mbox_msg *m;

    pthread_mutex_lock(&pool->lock);
    while (!pool->first && !pool->closing)
        pthread_cond_wait(&pool->more, &pool->lock);
    m = pool->closing ? NULL : pool->first;
    if (m)
        pool->first = m->next;
    if (!pool->first)
        pool->last = &pool->first;
    pthread_mutex_unlock(&pool->lock);
    return m ? MBOX_ENTRY(m, struct prep, link) : NULL;
}

static void pool_main(void *arg)
{
    struct prep_pool *pool = arg;
    struct prep *p;

    /* On Linux a thread has a niceness of its own. */
    if (setpriority(PRIO_PROCESS, 0, NICE) != 0)
        log_debug(LOG_ENGINE, "a prep thread keeps its priority");
    while ((p = pool_take(pool)) != NULL) {
        prep_run(p);
        mbox_push(p->answer, &p->link);
    }
}

struct prep_pool *prep_pool_new(unsigned n)
{
    struct prep_pool *pool =
        calloc(1, sizeof(*pool) + n * sizeof(pool->threads[0]));

    if (!pool)
        return NULL;
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->more, NULL);
    pool->last = &pool->first;
    for (unsigned i = 0; i < n; i++) {
        char name[THR_NAME_SIZE];

        snprintf(name, sizeof(name), "prep-%u", i);
        if (thr_start(&pool->threads[i], name, pool_main, pool) != ERR_OK) {
            prep_pool_free(pool);
            return NULL;
        }
        pool->n++;
    }
    return pool;
}

void prep_pool_push(struct prep_pool *pool, struct prep *p)
{
    p->link.next = NULL;
    pthread_mutex_lock(&pool->lock);
    *pool->last = &p->link;
    pool->last = &p->link.next;
    pthread_cond_signal(&pool->more);
    pthread_mutex_unlock(&pool->lock);
}

void prep_pool_free(struct prep_pool *pool)
{
    if (!pool)
        return;
    pthread_mutex_lock(&pool->lock);
    pool->closing = true;
    pthread_cond_broadcast(&pool->more);
    pthread_mutex_unlock(&pool->lock);
    for (unsigned i = 0; i < pool->n; i++)
        thr_join(&pool->threads[i]);
    while (pool->first) {
        struct prep *p = MBOX_ENTRY(pool->first, struct prep, link);

        pool->first = pool->first->next;
        p->err = ERR_DRAINING;
        mbox_push(p->answer, &p->link);
    }
    pthread_cond_destroy(&pool->more);
    pthread_mutex_destroy(&pool->lock);
    free(pool);
}
