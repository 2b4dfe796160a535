/* answer.c - Replies as a whole: their head, their choices in order, usage.
 * Choices of chat are made in answer_chat.c. */
#include "engine/answer.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/digest.h"
#include "engine/answer_put.h"

#define BUF_ANY (SIZE_MAX / 2)

/* Of the end of a long body so much is written by one call, or a little more:
 * a loop turns between them. */
#define PART_BYTES (1u << 20)

/* --- life --------------------------------------------------------------- */

/* Name of the reply's kind, and how its id begins. */
static const char *object_name(const struct plan *p, const char **prefix_out)
{
    if (p->kind == ENDPOINT_CHAT) {
        *prefix_out = "chatcmpl-";
        return p->stream ? "chat.completion.chunk" : "chat.completion";
    }
    *prefix_out = "cmpl-";
    return "text_completion";
}

static enum err head_fill(struct answer *a)
{
    const char *prefix;
    const char *object = object_name(a->p, &prefix);
    struct put w = {&a->head, ERR_OK};
    char id[48];
    int n = snprintf(id, sizeof(id), "%s", prefix);

    digest_base62(id + n, 29);
    PUT(&w, "{\"id\":");
    put_json(&w, str_from(id));
    PUT(&w, ",\"object\":");
    put_json(&w, str_from(object));
    PUT(&w, ",\"created\":");
    put_int(&w, a->who.created_s);
    PUT(&w, ",\"model\":");
    put_json(&w, a->who.model);
    PUT(&w, ",\"system_fingerprint\":");
    if (a->who.fingerprint[0])
        put_json(&w, str_from(a->who.fingerprint));
    else
        PUT(&w, "null");
    PUT(&w, ",");
    return w.err;
}

static bool choice_init(struct answer_choice *c, const struct plan *p)
{
    struct buf *const all[] = {&c->text,           &c->logprobs, &c->tokens,
                               &c->token_logprobs, &c->tops,     &c->offsets};

    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        buf_init(all[i], BUF_ANY);
    if (p->tools)
        c->reader = toolcall_reader_new(p->style);
    return !p->tools || c->reader;
}

static void choice_fini(struct answer_choice *c)
{
    buf_fini(&c->text);
    buf_fini(&c->logprobs);
    buf_fini(&c->tokens);
    buf_fini(&c->token_logprobs);
    buf_fini(&c->tops);
    buf_fini(&c->offsets);
    toolcall_reader_free(c->reader);
    for (unsigned i = 0; i < c->n_calls; i++) {
        buf_fini(&c->calls[i].name);
        buf_fini(&c->calls[i].args);
    }
    free(c->calls);
}

struct answer *answer_new(const struct plan *p, const struct answer_who *who)
{
    struct answer *a = calloc(1, sizeof(*a));
    bool ok = true;

    if (!a)
        return NULL;
    a->p = p;
    a->who = *who;
    buf_init(&a->head, BUF_ANY);
    a->n_choices = p->n_prompts * p->best_of;
    a->choices = calloc(a->n_choices + 1, sizeof(*a->choices));
    a->counts = calloc(p->n_prompts + 1, sizeof(*a->counts));
    a->vectors = calloc(p->n_prompts + 1, sizeof(*a->vectors));
    if (!a->choices || !a->counts || !a->vectors) {
        a->n_choices = 0;
        answer_free(a);
        return NULL;
    }
    for (unsigned i = 0; i < a->n_choices; i++) {
        ok = choice_init(&a->choices[i], p) && ok;
        a->choices[i].index = i / p->best_of * p->n + i % p->best_of;
    }
    for (unsigned i = 0; i < p->n_prompts; i++)
        buf_init(&a->vectors[i], BUF_ANY);
    if (ok && head_fill(a) == ERR_OK)
        return a;
    answer_free(a);
    return NULL;
}

void answer_free(struct answer *a)
{
    if (!a)
        return;
    for (unsigned i = 0; i < a->n_choices; i++)
        choice_fini(&a->choices[i]);
    for (unsigned i = 0; a->vectors && i < a->p->n_prompts; i++)
        buf_fini(&a->vectors[i]);
    buf_fini(&a->head);
    free(a->vectors);
    free(a->choices);
    free(a->counts);
    free(a);
}

struct gen_counts answer_counts(const struct answer *a)
{
    struct gen_counts sum = {0};

    for (unsigned i = 0; i < a->p->n_prompts; i++) {
        const struct gen_counts *c = &a->counts[i];

        sum.prompt_tokens += c->prompt_tokens;
        sum.cached_tokens += c->cached_tokens;
        sum.output_tokens += c->output_tokens;
        sum.queue_us = c->queue_us > sum.queue_us ? c->queue_us : sum.queue_us;
        sum.prefill_us =
            c->prefill_us > sum.prefill_us ? c->prefill_us : sum.prefill_us;
        sum.decode_us =
            c->decode_us > sum.decode_us ? c->decode_us : sum.decode_us;
    }
    return sum;
}

/* The member `usage`, without a comma before it. */
static void put_usage(struct put *w, const struct answer *a)
{
    struct gen_counts sum = answer_counts(a);

    PUT(w, "\"usage\":{\"prompt_tokens\":");
    put_int(w, sum.prompt_tokens);
    if (a->p->kind != ENDPOINT_EMBEDDINGS) {
        PUT(w, ",\"completion_tokens\":");
        put_int(w, sum.output_tokens);
    }
    PUT(w, ",\"total_tokens\":");
    put_int(w, (int64_t)sum.prompt_tokens + sum.output_tokens);
    if (a->p->kind != ENDPOINT_EMBEDDINGS) {
        PUT(w, ",\"prompt_tokens_details\":{\"cached_tokens\":");
        put_int(w, sum.cached_tokens);
        PUT(w, ",\"audio_tokens\":0},\"completion_tokens_details\":{"
               "\"reasoning_tokens\":0,\"audio_tokens\":0,"
               "\"accepted_prediction_tokens\":0,"
               "\"rejected_prediction_tokens\":0}");
    }
    PUT(w, "}");
}

/* --- completions -------------------------------------------------------- */

static void text_chunk(struct put *w, const struct answer *a,
                       struct answer_choice *c, struct str text, bool ends)
{
    put_chunk_begin(w, a);
    PUT(w, "{\"index\":");
    put_int(w, c->index);
    PUT(w, ",\"text\":");
    put_json(w, text);
    PUT(w, ",\"logprobs\":");
    logprobs_put_text(w, a, c);
    PUT(w, ",\"finish_reason\":");
    if (ends)
        put_finish(w, c);
    else
        PUT(w, "null");
    PUT(w, "}");
    put_chunk_end(w, a);
}

static void text_add(struct put *w, const struct answer *a,
                     struct answer_choice *c, struct str text)
{
    if (!a->p->stream) {
        if (buf_put_str(&c->text, text) != ERR_OK)
            w->err = ERR_NOMEM;
        return;
    }
    if (text.len > 0 || c->tokens.len > 0)
        text_chunk(w, a, c, text, false);
}

/* The prompt comes first where it is echoed. Its log probabilities may come in
 * more than one event, the text with the first. */
static void text_begin(struct put *w, const struct answer *a, unsigned prompt,
                       struct answer_choice *c, const struct gen_event *ev)
{
    const struct plan_prompt *from = &a->p->prompts[prompt];
    bool more = c->begun;

    if (!a->p->echo)
        return;
    c->begun = true;
    if (!more)
        c->unspaced = !str_starts(from->text, STR(" "));
    if (a->p->logprobs)
        logprobs_text(w, a, c, ev,
                      more || from->n_ids == 0 ? -1 : from->ids[0]);
    text_add(w, a, c, more ? STR("") : from->text);
}

static void text_take(struct put *w, const struct answer *a,
                      struct answer_choice *c, const struct gen_event *ev)
{
    if (ev->n_logprobs > 0 && a->p->logprobs)
        logprobs_text(w, a, c, ev, -1);
    text_add(w, a, c, ev->text);
}

static void text_choice(struct put *w, const struct answer *a,
                        struct answer_choice *c)
{
    PUT(w, "{\"index\":");
    put_int(w, c->index);
    PUT(w, ",\"text\":");
    put_json(w, buf_str(&c->text));
    PUT(w, ",\"logprobs\":");
    logprobs_put_text(w, a, c);
    PUT(w, ",\"finish_reason\":");
    put_finish(w, c);
    PUT(w, "}");
}

/* --- embeddings --------------------------------------------------------- */

static void put_base64(struct put *w, const float *v, size_t n)
{
    size_t len = n * sizeof(*v);
    enum err e = buf_reserve(w->b, len / 3 * 4 + 8);

    if (e != ERR_OK) {
        w->err = e;
        return;
    }
    PUT(w, "\"");
    w->b->len += (size_t)EVP_EncodeBlock((unsigned char *)w->b->p + w->b->len,
                                         (const unsigned char *)v, (int)len);
    PUT(w, "\"");
}

/* Floats are little-endian on every machine this is built for. */
static enum err take_vector(struct answer *a, unsigned prompt,
                            const struct gen_event *ev)
{
    struct put w = {&a->vectors[prompt], ERR_OK};

    if (a->p->base64) {
        put_base64(&w, ev->vector, ev->n_vector);
        return w.err;
    }
    PUT(&w, "[");
    for (size_t i = 0; i < ev->n_vector; i++) {
        if (i > 0)
            PUT(&w, ",");
        put_float(&w, ev->vector[i]);
    }
    PUT(&w, "]");
    return w.err;
}

static void put_embeddings(struct put *w, struct answer *a)
{
    size_t from = w->b->len;

    if (a->n_written == 0)
        PUT(w, "{\"object\":\"list\",\"data\":[");
    for (; a->n_written < a->p->n_prompts; a->n_written++) {
        struct buf *vector = &a->vectors[a->n_written];

        if (w->b->len - from >= PART_BYTES)
            return;
        if (a->n_written > 0)
            PUT(w, ",");
        PUT(w, "{\"object\":\"embedding\",\"index\":");
        put_int(w, a->n_written);
        PUT(w, ",\"embedding\":");
        put_bytes(w, buf_str(vector));
        PUT(w, "}");
        buf_fini(vector);
    }
    PUT(w, "],\"model\":");
    put_json(w, a->who.model);
    PUT(w, ",");
    put_usage(w, a);
    PUT(w, "}\n");
    a->finished = true;
}

/* --- events ------------------------------------------------------------- */

static void take_start(struct put *w, struct answer *a, unsigned prompt,
                       const struct gen_event *ev)
{
    struct answer_choice *c = &a->choices[prompt * a->p->best_of];

    for (unsigned i = 0; i < a->p->best_of; i++) {
        if (a->p->kind == ENDPOINT_COMPLETIONS)
            text_begin(w, a, prompt, &c[i], ev);
        else if (a->p->stream)
            chat_begin(w, a, &c[i]);
    }
}

static void take_text(struct put *w, struct answer *a, struct answer_choice *c,
                      const struct gen_event *ev)
{
    for (unsigned i = 0; i < ev->n_logprobs; i++) {
        c->sum_logprob += (double)ev->logprobs[i].logprob;
        c->n_tokens++;
    }
    if (a->p->kind == ENDPOINT_CHAT)
        chat_text(w, a, c, ev);
    else
        text_take(w, a, c, ev);
}

static void take_finish(struct put *w, struct answer *a,
                        struct answer_choice *c, const struct gen_event *ev)
{
    c->finished = true;
    c->finish = ev->finish;
    if (a->p->kind == ENDPOINT_CHAT)
        chat_finish(w, a, c);
    else if (a->p->stream && c->finish != GEN_FINISH_CUT)
        text_chunk(w, a, c, STR(""), true);
}

enum err answer_event(struct answer *a, unsigned prompt,
                      const struct gen_event *ev, struct buf *out)
{
    struct put w = {out, ERR_OK};
    struct answer_choice *c;

    if (prompt >= a->p->n_prompts || ev->choice >= a->p->best_of)
        return ERR_OK;
    a->counts[prompt] = ev->counts;
    c = &a->choices[prompt * a->p->best_of + ev->choice];
    switch (ev->kind) {
    case GEN_EV_START:
        if (a->p->kind != ENDPOINT_EMBEDDINGS)
            take_start(&w, a, prompt, ev);
        break;
    case GEN_EV_TEXT:
        take_text(&w, a, c, ev);
        break;
    case GEN_EV_FINISH:
        take_finish(&w, a, c, ev);
        break;
    case GEN_EV_EMBED:
        return take_vector(a, prompt, ev);
    default:
        break;
    }
    return w.err;
}

/* --- the end ------------------------------------------------------------ */

/* Mean log probability a token; a choice without tokens comes last. */
static double score(const struct answer_choice *c)
{
    return c->n_tokens > 0 ? c->sum_logprob / c->n_tokens : -1e30;
}

/* Bring the likeliest of the choices at <c> to the front. */
static void rank(const struct plan *p, struct answer_choice *c)
{
    for (unsigned i = 0; i < p->n && p->best_of > p->n; i++) {
        unsigned best = i;
        struct answer_choice t;

        for (unsigned k = i + 1; k < p->best_of; k++)
            if (score(&c[k]) > score(&c[best]))
                best = k;
        t = c[i];
        c[i] = c[best];
        c[best] = t;
    }
}

/* The choices of prompt <i>. */
static void put_choices(struct put *w, struct answer *a, unsigned i)
{
    struct answer_choice *c = &a->choices[i * a->p->best_of];

    rank(a->p, c);
    for (unsigned k = 0; k < a->p->n; k++) {
        if (i + k > 0)
            PUT(w, ",");
        c[k].index = i * a->p->n + k;
        if (a->p->kind == ENDPOINT_CHAT)
            chat_choice(w, a, &c[k]);
        else
            text_choice(w, a, &c[k]);
    }
}

static void put_whole(struct put *w, struct answer *a)
{
    size_t from = w->b->len;

    if (a->n_written == 0) {
        put_bytes(w, buf_str(&a->head));
        PUT(w, "\"choices\":[");
    }
    for (; a->n_written < a->p->n_prompts; a->n_written++) {
        if (w->b->len - from >= PART_BYTES)
            return;
        put_choices(w, a, a->n_written);
    }
    PUT(w, "],");
    put_usage(w, a);
    PUT(w, "}\n");
    a->finished = true;
}

/* The chunk with the usage, when it is wanted. */
static void usage_chunk(struct put *w, const struct answer *a)
{
    if (!a->p->include_usage)
        return;
    PUT(w, "data: ");
    put_bytes(w, buf_str(&a->head));
    PUT(w, "\"choices\":[],");
    put_usage(w, a);
    PUT(w, "}\n\n");
}

enum err answer_break(struct answer *a, struct buf *out)
{
    struct put w = {out, ERR_OK};

    usage_chunk(&w, a);
    a->finished = true;
    return w.err;
}

enum err answer_finish(struct answer *a, struct buf *out)
{
    struct put w = {out, ERR_OK};

    if (a->p->kind == ENDPOINT_EMBEDDINGS) {
        put_embeddings(&w, a);
        return w.err;
    }
    if (!a->p->stream) {
        put_whole(&w, a);
        return w.err;
    }
    usage_chunk(&w, a);
    PUT(&w, "data: [DONE]\n\n");
    a->finished = true;
    return w.err;
}

bool answer_is_finished(const struct answer *a)
{
    return a->finished;
}
