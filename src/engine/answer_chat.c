/* answer_chat.c - Choices of chat: text and calls of tools, as the deltas of a
 * stream or collected into one message. */
#include "engine/answer_put.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/digest.h"

/* Where the pieces of one text go. */
struct piece {
    struct put *w;
    const struct answer *a;
    struct answer_choice *c;
};

static void begin_choice(struct put *w, const struct answer *a,
                         const struct answer_choice *c)
{
    put_chunk_begin(w, a);
    PUT(w, "{\"index\":");
    put_int(w, c->index);
    PUT(w, ",\"delta\":");
}

/* The rest of a choice of a chunk that does not end it. */
static void end_choice(struct put *w, const struct answer *a,
                       struct answer_choice *c)
{
    PUT(w, ",\"logprobs\":");
    logprobs_put_chat(w, a, c);
    PUT(w, ",\"finish_reason\":null}");
    put_chunk_end(w, a);
}

void chat_begin(struct put *w, const struct answer *a, struct answer_choice *c)
{
    if (c->begun)
        return;
    c->begun = true;
    begin_choice(w, a, c);
    PUT(w, "{\"role\":\"assistant\",\"content\":\"\",\"refusal\":null}");
    end_choice(w, a, c);
}

static void put_text_delta(struct put *w, const struct answer *a,
                           struct answer_choice *c, struct str text)
{
    begin_choice(w, a, c);
    PUT(w, "{\"content\":");
    put_json(w, text);
    PUT(w, "}");
    end_choice(w, a, c);
}

/* --- calls -------------------------------------------------------------- */

/* Ids are random; Mistral's templates want nine letters and digits. */
static void call_id(enum toolcall_style style, char out[40])
{
    if (style == TOOLCALL_MISTRAL) {
        digest_base62(out, 9);
        return;
    }
    snprintf(out, 6, "call_");
    digest_base62(out + 5, 24);
}

static struct answer_call *call_new(const struct piece *at, struct str name)
{
    struct answer_choice *c = at->c;
    struct answer_call *call;

    if (!c->calls)
        c->calls = calloc(ANSWER_CALLS_MAX, sizeof(*c->calls));
    if (!c->calls || c->n_calls == ANSWER_CALLS_MAX)
        return NULL;
    call = &c->calls[c->n_calls++];
    call_id(at->a->p->style, call->id);
    buf_init(&call->name, SIZE_MAX / 2);
    buf_init(&call->args, SIZE_MAX / 2);
    if (buf_put_str(&call->name, name) != ERR_OK)
        at->w->err = ERR_NOMEM;
    return call;
}

static void put_call_begin(struct put *w, const struct answer_call *call)
{
    PUT(w, "\"id\":");
    put_json(w, str_from(call->id));
    PUT(w, ",\"type\":\"function\",\"function\":{\"name\":");
    put_json(w, buf_str(&call->name));
    PUT(w, ",\"arguments\":");
}

static void begin_call(const struct piece *at, unsigned index, struct str name)
{
    const struct answer_call *call = call_new(at, name);
    struct put *w = at->w;

    if (!at->a->p->stream || !call)
        return;
    begin_choice(w, at->a, at->c);
    PUT(w, "{\"tool_calls\":[{\"index\":");
    put_int(w, index);
    PUT(w, ",");
    put_call_begin(w, call);
    PUT(w, "\"\"}}]}");
    end_choice(w, at->a, at->c);
}

static void add_args(const struct piece *at, unsigned index, struct str text)
{
    struct put *w = at->w;

    if (index >= at->c->n_calls)
        return;
    if (!at->a->p->stream) {
        if (buf_put_str(&at->c->calls[index].args, text) != ERR_OK)
            w->err = ERR_NOMEM;
        return;
    }
    begin_choice(w, at->a, at->c);
    PUT(w, "{\"tool_calls\":[{\"index\":");
    put_int(w, index);
    PUT(w, ",\"function\":{\"arguments\":");
    put_json(w, text);
    PUT(w, "}}]}");
    end_choice(w, at->a, at->c);
}

/* --- text --------------------------------------------------------------- */

static void add_text(const struct piece *at, struct str text)
{
    if (at->a->p->stream)
        put_text_delta(at->w, at->a, at->c, text);
    else if (buf_put_str(&at->c->text, text) != ERR_OK)
        at->w->err = ERR_NOMEM;
}

static void on_piece(enum toolcall_kind kind, unsigned index, struct str text,
                     void *arg)
{
    const struct piece *at = arg;

    switch (kind) {
    case TOOLCALL_TEXT:
        if (text.len > 0)
            add_text(at, text);
        break;
    case TOOLCALL_BEGIN:
        begin_call(at, index, text);
        break;
    case TOOLCALL_ARGS:
        if (text.len > 0)
            add_args(at, index, text);
        break;
    case TOOLCALL_END:
        break;
    }
}

void chat_text(struct put *w, const struct answer *a, struct answer_choice *c,
               const struct gen_event *ev)
{
    struct piece at = {w, a, c};

    if (a->p->stream)
        chat_begin(w, a, c);
    if (ev->n_logprobs > 0 && a->p->logprobs)
        logprobs_chat(w, a, c, ev);
    if (c->reader) {
        if (toolcall_read(c->reader, ev->text, on_piece, &at) != ERR_OK)
            w->err = ERR_NOMEM;
        return;
    }
    if (ev->text.len > 0 || (a->p->stream && c->logprobs.len > 0))
        add_text(&at, ev->text);
}

/* What waits in the reader at the end is the beginning of a marker. It is text
 * only where it may be: not behind a call, nor where a call had to come. */
static void on_last_piece(enum toolcall_kind kind, unsigned index,
                          struct str text, void *arg)
{
    const struct piece *at = arg;

    if (kind == TOOLCALL_TEXT &&
        (at->a->p->must_call || toolcall_count(at->c->reader) > 0))
        return;
    on_piece(kind, index, text, arg);
}

void chat_finish(struct put *w, const struct answer *a, struct answer_choice *c)
{
    struct piece at = {w, a, c};

    if (a->p->stream)
        chat_begin(w, a, c);
    if (c->reader && toolcall_finish(c->reader, on_last_piece, &at) != ERR_OK)
        w->err = ERR_NOMEM;
    if (!a->p->stream)
        return;
    if (c->logprobs.len > 0)
        put_text_delta(w, a, c, STR(""));
    if (c->finish == GEN_FINISH_CUT)
        return;
    begin_choice(w, a, c);
    PUT(w, "{},\"logprobs\":null,\"finish_reason\":");
    put_finish(w, c);
    PUT(w, "}");
    put_chunk_end(w, a);
}

/* --- a whole message ---------------------------------------------------- */

static bool is_blank(struct str s)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.p[i] != ' ' && s.p[i] != '\n' && s.p[i] != '\t' && s.p[i] != '\r')
            return false;
    return true;
}

static void put_calls(struct put *w, const struct answer_choice *c)
{
    PUT(w, ",\"tool_calls\":[");
    for (unsigned i = 0; i < c->n_calls; i++) {
        PUT(w, "{");
        put_call_begin(w, &c->calls[i]);
        put_json(w, buf_str(&c->calls[i].args));
        PUT(w, "}}");
        if (i + 1 < c->n_calls)
            PUT(w, ",");
    }
    PUT(w, "]");
}

void chat_choice(struct put *w, const struct answer *a, struct answer_choice *c)
{
    PUT(w, "{\"index\":");
    put_int(w, c->index);
    PUT(w, ",\"message\":{\"role\":\"assistant\",\"content\":");
    if (c->n_calls > 0 && is_blank(buf_str(&c->text)))
        PUT(w, "null");
    else
        put_json(w, buf_str(&c->text));
    PUT(w, ",\"refusal\":null");
    if (c->n_calls > 0)
        put_calls(w, c);
    PUT(w, "},\"logprobs\":");
    logprobs_put_chat(w, a, c);
    PUT(w, ",\"finish_reason\":");
    put_finish(w, c);
    PUT(w, "}");
}
