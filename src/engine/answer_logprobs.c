/* answer_logprobs.c - Log probabilities in the two shapes of the API. A token
 * is told by its text; its bytes go with it in chat, since a token may be part
 * of a character. */
#include "engine/answer_put.h"

#include <math.h>

#include "token/vocab.h"

/* What the API has for a probability of nothing. */
#define LOGPROB_NONE (-9999.0f)

static float told(float logprob)
{
    return isfinite(logprob) ? logprob : LOGPROB_NONE;
}

/* --- chat --------------------------------------------------------------- */

static void put_bytes_array(struct put *w, struct str bytes)
{
    PUT(w, "[");
    for (size_t i = 0; i < bytes.len; i++) {
        if (i > 0)
            PUT(w, ",");
        put_int(w, (unsigned char)bytes.p[i]);
    }
    PUT(w, "]");
}

static void put_token(struct put *w, const struct answer *a, int32_t id,
                      float logprob)
{
    struct str bytes = vocab_bytes(a->who.vocab, id);

    PUT(w, "{\"token\":");
    put_json(w, bytes);
    PUT(w, ",\"logprob\":");
    put_float(w, told(logprob));
    PUT(w, ",\"bytes\":");
    put_bytes_array(w, bytes);
}

void logprobs_chat(struct put *w, const struct answer *a,
                   struct answer_choice *c, const struct gen_event *ev)
{
    struct put to = {&c->logprobs, w->err};

    for (unsigned i = 0; i < ev->n_logprobs; i++) {
        const struct gen_logprob *l = &ev->logprobs[i];

        if (c->logprobs.len > 0)
            PUT(&to, ",");
        put_token(&to, a, l->id, l->logprob);
        PUT(&to, ",\"top_logprobs\":[");
        for (unsigned k = 0; k < l->n_top; k++) {
            if (k > 0)
                PUT(&to, ",");
            put_token(&to, a, l->top[k].id, l->top[k].logprob);
            PUT(&to, "}");
        }
        PUT(&to, "]}");
    }
    w->err = to.err;
}

void logprobs_put_chat(struct put *w, const struct answer *a,
                       struct answer_choice *c)
{
    if (!a->p->logprobs || c->logprobs.len == 0) {
        PUT(w, "null");
        return;
    }
    PUT(w, "{\"content\":[");
    put_bytes(w, buf_str(&c->logprobs));
    PUT(w, "],\"refusal\":null}");
    buf_clear(&c->logprobs);
}

/* --- completions -------------------------------------------------------- */

/* Code points that begin in <s>. */
static size_t count_chars(struct str s)
{
    size_t n = 0;

    for (size_t i = 0; i < s.len; i++)
        n += ((unsigned char)s.p[i] & 0xC0) != 0x80;
    return n;
}

static void put_comma(struct put *w)
{
    if (w->b->len > 0)
        PUT(w, ",");
}

/* The alternatives as an object; the token itself is always among them. */
static void put_tops(struct put *w, const struct answer *a,
                     const struct gen_logprob *l)
{
    bool there = false;

    PUT(w, "{");
    for (unsigned k = 0; k < l->n_top; k++) {
        if (k > 0)
            PUT(w, ",");
        put_json(w, vocab_bytes(a->who.vocab, l->top[k].id));
        PUT(w, ":");
        put_float(w, told(l->top[k].logprob));
        there = there || l->top[k].id == l->id;
    }
    if (!there) {
        if (l->n_top > 0)
            PUT(w, ",");
        put_json(w, vocab_bytes(a->who.vocab, l->id));
        PUT(w, ":");
        put_float(w, told(l->logprob));
    }
    PUT(w, "}");
}

/* One token in all four lists; <l> NULL: it has no probability. */
static void add_token(struct put *w, const struct answer *a,
                      struct answer_choice *c, int32_t id,
                      const struct gen_logprob *l)
{
    struct str bytes = vocab_bytes(a->who.vocab, id);
    struct put tokens = {&c->tokens, w->err};
    struct put probs = {&c->token_logprobs, w->err};
    struct put tops = {&c->tops, w->err};
    struct put offsets = {&c->offsets, w->err};

    put_comma(&tokens);
    put_json(&tokens, bytes);
    put_comma(&probs);
    put_comma(&tops);
    put_comma(&offsets);
    if (l) {
        put_float(&probs, told(l->logprob));
        put_tops(&tops, a, l);
    } else {
        PUT(&probs, "null");
        PUT(&tops, "null");
    }
    put_int(&offsets, (int64_t)c->offset);
    if (!vocab_is_control(a->who.vocab, id)) {
        if (c->unspaced && str_starts(bytes, STR(" ")))
            bytes = str_skip(bytes, 1);
        c->unspaced = false;
        c->offset += count_chars(bytes);
    }
    if (tokens.err != ERR_OK || probs.err != ERR_OK || tops.err != ERR_OK ||
        offsets.err != ERR_OK)
        w->err = ERR_NOMEM;
}

void logprobs_text(struct put *w, const struct answer *a,
                   struct answer_choice *c, const struct gen_event *ev,
                   int32_t first)
{
    if (first >= 0)
        add_token(w, a, c, first, NULL);
    for (unsigned i = 0; i < ev->n_logprobs; i++)
        add_token(w, a, c, ev->logprobs[i].id, &ev->logprobs[i]);
}

static void put_list(struct put *w, struct buf *list)
{
    PUT(w, "[");
    put_bytes(w, buf_str(list));
    PUT(w, "]");
    buf_clear(list);
}

void logprobs_put_text(struct put *w, const struct answer *a,
                       struct answer_choice *c)
{
    if (!a->p->logprobs || (c->tokens.len == 0 && a->p->stream)) {
        PUT(w, "null");
        return;
    }
    PUT(w, "{\"tokens\":");
    put_list(w, &c->tokens);
    PUT(w, ",\"token_logprobs\":");
    put_list(w, &c->token_logprobs);
    PUT(w, ",\"top_logprobs\":");
    put_list(w, &c->tops);
    PUT(w, ",\"text_offset\":");
    put_list(w, &c->offsets);
    PUT(w, "}");
}
