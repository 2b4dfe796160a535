/* prep_token.c - /tokenize and /detokenize in the shapes of llama.cpp's server
 * (content, add_special, with_pieces; tokens) and of vLLM's (prompt or
 * messages, add_special_tokens; tokens, count): what either reads is there. */
#include "engine/prep.h"

#include <stdlib.h>

#include "base/arena.h"
#include "base/utf8.h"
#include "engine/engine_model.h"
#include "engine/model.h"
#include "token/vocab.h"
#include "wire/jsplice.h"

/* What /tokenize is asked beside the text. */
struct wish {
    bool special;       /* bos and eos, as a prompt has them */
    bool parse_special; /* names of control tokens are meant */
    bool pieces, strings;
};

static enum err read_wish(const json_t *body, struct params_fault *why,
                          struct wish *out)
{
    ERR_TRY(params_expect(params_get(body, "content"), PARAMS_STRING, "content",
                          why));
    ERR_TRY(params_expect(params_get(body, "prompt"), PARAMS_STRING, "prompt",
                          why));
    *out = (struct wish){.special = !params_get(body, "content")};
    ERR_TRY(params_bool(body, "add_special_tokens", why, &out->special));
    ERR_TRY(params_bool(body, "add_special", why, &out->special));
    ERR_TRY(params_bool(body, "parse_special", why, &out->parse_special));
    ERR_TRY(params_bool(body, "with_pieces", why, &out->pieces));
    ERR_TRY(params_bool(body, "return_token_strs", why, &out->strings));
    return params_judge_known(body, why);
}

static enum err encode_messages(struct prep *p, const json_t *body,
                                struct prep_ids *out)
{
    struct params params = {0};
    enum err e =
        params_read(body, ENDPOINT_CHAT, vocab_size(p->m->model->vocab), p->mem,
                    &p->why, &params);

    if (e == ERR_OK)
        e = prep_chat(p, body, &params, out);
    params_fini(&params);
    return e;
}

static enum err encode_text(struct prep *p, const json_t *body,
                            const struct wish *wish, struct prep_ids *out)
{
    const json_t *content = params_get(body, "content");
    const json_t *v = content ? content : params_get(body, "prompt");

    if (!v)
        return params_refuse(&p->why, "content",
                             "Missing required parameter: send 'content', "
                             "'prompt' or 'messages'.");
    return prep_encode(p->m, params_str(v), wish->special, wish->parse_special,
                       out);
}

/* A token's bytes: text if they are, else the list of them, as llama.cpp. */
static enum err put_piece(struct buf *out, struct str bytes)
{
    enum err e;

    if (utf8_is_valid(bytes))
        return json_put_str(out, bytes);
    e = buf_put(out, "[", 1);
    for (size_t i = 0; i < bytes.len && e == ERR_OK; i++)
        e = buf_printf(out, "%s%u", i > 0 ? "," : "",
                       (unsigned)(unsigned char)bytes.p[i]);
    return e == ERR_OK ? buf_put(out, "]", 1) : e;
}

static enum err put_tokens(struct prep *p, const struct prep_ids *ids,
                           bool pieces)
{
    const struct vocab *v = p->m->model->vocab;
    struct buf *out = &p->reply;
    enum err e = buf_printf(out, "{\"tokens\":[");

    for (size_t i = 0; i < ids->n && e == ERR_OK; i++) {
        if (i > 0)
            e = buf_put(out, ",", 1);
        if (e == ERR_OK && pieces)
            e = buf_printf(out, "{\"id\":%d,\"piece\":", ids->ids[i]);
        else if (e == ERR_OK)
            e = buf_put_i64(out, ids->ids[i]);
        if (e == ERR_OK && pieces)
            e = put_piece(out, vocab_bytes(v, ids->ids[i]));
        if (e == ERR_OK && pieces)
            e = buf_put(out, "}", 1);
    }
    return e == ERR_OK ? buf_put(out, "]", 1) : e;
}

static enum err put_strings(struct prep *p, const struct prep_ids *ids)
{
    const struct vocab *v = p->m->model->vocab;
    enum err e = buf_printf(&p->reply, ",\"token_strs\":[");

    for (size_t i = 0; i < ids->n && e == ERR_OK; i++) {
        if (i > 0)
            e = buf_put(&p->reply, ",", 1);
        if (e == ERR_OK)
            e = json_put_str(&p->reply, vocab_bytes(v, ids->ids[i]));
    }
    return e == ERR_OK ? buf_put(&p->reply, "]", 1) : e;
}

enum err prep_tokenize(struct prep *p, const json_t *body)
{
    struct prep_ids ids = {0};
    struct wish wish;
    enum err e = read_wish(body, &p->why, &wish);

    if (e == ERR_OK)
        e = params_get(body, "messages") ? encode_messages(p, body, &ids)
                                         : encode_text(p, body, &wish, &ids);
    if (e == ERR_OK)
        e = put_tokens(p, &ids, wish.pieces);
    if (e == ERR_OK && wish.strings)
        e = put_strings(p, &ids);
    if (e == ERR_OK)
        e = buf_printf(&p->reply, ",\"count\":%zu,\"max_model_len\":%u}\n",
                       ids.n, p->m->context);
    free(ids.ids);
    return e;
}

enum err prep_detokenize(struct prep *p, const json_t *body)
{
    const struct vocab *v = p->m->model->vocab;
    const json_t *list = params_get(body, "tokens");
    struct detok d = {0};
    const int32_t *ids = NULL;
    struct buf text;
    enum err e;

    ERR_TRY(params_judge_known(body, &p->why));
    ERR_TRY(params_need(list, PARAMS_ARRAY, "tokens", &p->why));
    e = params_ids(list, "tokens", vocab_size(v), p->mem, &p->why, &ids);
    buf_init(&text, SIZE_MAX / 2);
    for (size_t i = 0; i < json_array_size(list) && e == ERR_OK; i++)
        e = detok_push(&d, v, ids[i], true, &text);
    if (e == ERR_OK)
        e = detok_finish(&d, &text);
    if (e == ERR_OK)
        e = buf_printf(&p->reply, "{\"content\":");
    if (e == ERR_OK)
        e = json_put_str(&p->reply, buf_str(&text));
    if (e == ERR_OK)
        e = buf_printf(&p->reply, ",\"prompt\":");
    if (e == ERR_OK)
        e = json_put_str(&p->reply, buf_str(&text));
    if (e == ERR_OK)
        e = buf_put(&p->reply, "}\n", 2);
    buf_fini(&text);
    return e;
}
