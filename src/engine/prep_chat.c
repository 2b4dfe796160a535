/* prep_chat.c - From messages to token ids by the model's chat template. Where
 * a template has no place for a thing (a system message, tools, calls), the
 * thing is told in the words of a message that it has a place for. */
#include "engine/prep.h"

#include <stdlib.h>

#include "base/clock.h"
#include "engine/engine_model.h"
#include "engine/model.h"
#include "token/template.h"
#include "token/vocab.h"

#define RENDER_EXTRA (1u << 20) /* bytes a template may add to its messages */

static bool has_role(const json_t *m, const char *role)
{
    return str_eq(params_str(json_object_get(m, "role")), str_from(role));
}

/* --- what a template has no place for ----------------------------------- */

/* Put <text> before (or after) the content of <m>, which is a string. */
static enum err content_add(json_t *m, struct str text, bool before)
{
    struct str was = params_str(json_object_get(m, "content"));
    struct str gap = was.len > 0 ? STR("\n\n") : STR("");
    struct buf all;
    enum err e;

    buf_init(&all, SIZE_MAX / 2);
    e = buf_put_str(&all, before ? text : was);
    if (e == ERR_OK)
        e = buf_put_str(&all, gap);
    if (e == ERR_OK)
        e = buf_put_str(&all, before ? was : text);
    if (e == ERR_OK &&
        json_object_set_new(m, "content", json_stringn(all.p, all.len)) != 0)
        e = ERR_NOMEM;
    buf_fini(&all);
    return e;
}

static enum err put_json(struct buf *out, const json_t *v)
{
    char *text = json_dumps(v, JSON_ENCODE_ANY);
    enum err e = text ? buf_put_str(out, str_from(text)) : ERR_NOMEM;

    free(text);
    return e;
}

/* Tell the tools in a system message. */
static enum err tell_tools(json_t *messages, const json_t *tools)
{
    json_t *first = json_array_get(messages, 0);
    struct buf text;
    enum err e;

    buf_init(&text, SIZE_MAX / 2);
    e = buf_printf(&text, "These functions can be called, one JSON object a "
                          "line:\n<tools>\n");
    for (size_t i = 0; i < json_array_size(tools) && e == ERR_OK; i++) {
        e = put_json(&text, json_array_get(tools, i));
        if (e == ERR_OK)
            e = buf_put(&text, "\n", 1);
    }
    if (e == ERR_OK)
        e = buf_printf(&text, "</tools>\nTo call one, answer with its name "
                              "and its arguments:\n<tool_call>\n{\"name\": "
                              "\"NAME\", \"arguments\": {...}}\n</tool_call>");
    if (e == ERR_OK && has_role(first, "system"))
        e = content_add(first, buf_str(&text), false);
    else if (e == ERR_OK &&
             json_array_insert_new(messages, 0,
                                   json_pack("{s:s, s:s%}", "role", "system",
                                             "content", text.p, text.len)) != 0)
        e = ERR_NOMEM;
    buf_fini(&text);
    return e;
}

/* The calls of <m> as text of its content. */
static enum err tell_calls(json_t *m)
{
    json_t *calls = json_object_get(m, "tool_calls");
    struct buf text;
    enum err e = ERR_OK;

    if (!calls)
        return ERR_OK;
    buf_init(&text, SIZE_MAX / 2);
    for (size_t i = 0; i < json_array_size(calls) && e == ERR_OK; i++) {
        e = buf_printf(&text, "%s<tool_call>\n", i > 0 ? "\n" : "");
        if (e == ERR_OK)
            e = put_json(&text,
                         json_object_get(json_array_get(calls, i), "function"));
        if (e == ERR_OK)
            e = buf_printf(&text, "\n</tool_call>");
    }
    if (e == ERR_OK)
        e = content_add(m, buf_str(&text), false);
    json_object_del(m, "tool_calls");
    buf_fini(&text);
    return e;
}

/* What a tool said, as the words of a user. */
static enum err tell_result(json_t *m)
{
    struct str said = params_str(json_object_get(m, "content"));
    json_t *text =
        json_sprintf("<tool_response>\n%.*s\n</tool_response>", STR_ARG(said));

    if (!text || json_object_set_new(m, "content", text) != 0 ||
        json_object_set_new(m, "role", json_string("user")) != 0)
        return ERR_NOMEM;
    return ERR_OK;
}

/* Give the system message to the first user. */
static enum err move_system(json_t *messages)
{
    json_t *first = json_array_get(messages, 0);
    json_t *next = json_array_get(messages, 1);
    enum err e;

    if (!has_role(first, "system"))
        return ERR_OK;
    if (!has_role(next, "user"))
        return json_object_set_new(first, "role", json_string("user")) == 0
                   ? ERR_OK
                   : ERR_NOMEM;
    e = content_add(next, params_str(json_object_get(first, "content")), true);
    if (e == ERR_OK)
        json_array_remove(messages, 0);
    return e;
}

/* Each content as the list of one part. */
static enum err cut_contents(json_t *messages)
{
    for (size_t i = 0; i < json_array_size(messages); i++) {
        json_t *m = json_array_get(messages, i);
        json_t *list = json_pack("[{s:s, s:O}]", "type", "text", "text",
                                 json_object_get(m, "content"));

        if (!list || json_object_set_new(m, "content", list) != 0)
            return ERR_NOMEM;
    }
    return ERR_OK;
}

/* Bring <messages> into a form that the template has places for. */
static enum err adapt(const struct engine_model *m, const struct params *params,
                      json_t *messages)
{
    const struct template_caps *caps = template_caps(m->tmpl);
    enum err e = ERR_OK;

    if (m->own_tools && params->tool_choice != PARAMS_TOOLS_NONE)
        e = tell_tools(messages, params->tools);
    for (size_t i = 0; i < json_array_size(messages) && e == ERR_OK; i++) {
        json_t *at = json_array_get(messages, i);

        if (caps->tool_calls)
            break;
        e = tell_calls(at);
        if (e == ERR_OK && has_role(at, "tool"))
            e = tell_result(at);
    }
    if (e == ERR_OK && !caps->system)
        e = move_system(messages);
    if (e == ERR_OK && !caps->content_string && caps->content_parts)
        e = cut_contents(messages);
    return e;
}

/* --- rendering ---------------------------------------------------------- */

static int put_token(json_t *context, const char *name, const struct vocab *v,
                     int32_t id)
{
    struct str text = vocab_bytes(v, id);

    return json_object_set_new(context, name,
                               json_stringn(text.p ? text.p : "", text.len));
}

static json_t *context_new(const struct prep *p, const struct params *params,
                           json_t *messages)
{
    const struct vocab *v = p->m->model->vocab;
    json_t *c = json_object();
    int bad = 0;

    if (!c)
        return NULL;
    if (params->kwargs)
        bad |= json_object_update(c, (json_t *)(uintptr_t)params->kwargs);
    if (params->thinking)
        bad |= json_object_set(c, "enable_thinking",
                               (json_t *)(uintptr_t)params->thinking);
    if (params->effort)
        bad |= json_object_set(c, "reasoning_effort",
                               (json_t *)(uintptr_t)params->effort);
    if (params->response_format)
        bad |= json_object_set(c, "response_format",
                               (json_t *)(uintptr_t)params->response_format);
    if (params->tool_choice != PARAMS_TOOLS_NONE && !p->m->own_tools)
        bad |= json_object_set(c, "tools", params->tools);
    bad |= json_object_set(c, "messages", messages);
    bad |= json_object_set_new(c, "add_generation_prompt",
                               json_boolean(params->add_generation));
    bad |= put_token(c, "bos_token", v, vocab_bos(v));
    bad |= put_token(c, "eos_token", v, vocab_eos(v));
    if (bad == 0)
        return c;
    json_decref(c);
    return NULL;
}

/* Render the messages of <body>, the arguments of calls as <raw_calls> says. */
static enum err render(struct prep *p, const json_t *body,
                       const struct params *params, bool raw_calls,
                       struct template_text *out)
{
    struct template_fault fault = {0};
    json_t *messages = NULL, *context;
    enum err e = prep_messages(body, raw_calls, p->mem, &p->why, &messages);

    if (e == ERR_OK)
        e = adapt(p->m, params, messages);
    context = e == ERR_OK ? context_new(p, params, messages) : NULL;
    json_decref(messages);
    if (e != ERR_OK)
        return e;
    if (!context)
        return ERR_NOMEM;
    e = template_render(p->m->tmpl, context,
                        (int64_t)(clock_now_wall_ms() / 1000),
                        p->body.len * 8 + RENDER_EXTRA, &fault, out);
    json_decref(context);
    if (e == ERR_SYNTAX)
        return params_refuse(&p->why, "messages",
                             "The model's chat template refuses these "
                             "messages: %s",
                             fault.text);
    if (e == ERR_FULL)
        return params_refuse(&p->why, "messages",
                             "The model's chat template makes too much of "
                             "these messages.");
    return e;
}

static bool has_calls(const json_t *body)
{
    const json_t *list = params_get(body, "messages");

    for (size_t i = 0; i < json_array_size(list); i++)
        if (params_get(json_array_get(list, i), "tool_calls"))
            return true;
    return false;
}

/* --- tokens ------------------------------------------------------------- */

/* Begin <ids> with bos where the vocabulary wants it and the template did not
 * write it. */
static enum err put_bos(const struct vocab *v, struct vocab_ids *ids)
{
    int32_t bos = vocab_bos(v);
    int32_t *more;

    if (!vocab_adds_bos(v) || bos < 0 || (ids->n > 0 && ids->ids[0] == bos))
        return ERR_OK;
    more = realloc(ids->ids, (ids->n + 1) * sizeof(*more));
    if (!more)
        return ERR_NOMEM;
    memmove(more + 1, more, ids->n * sizeof(*more));
    more[0] = bos;
    ids->ids = more;
    ids->cap = ids->n + 1;
    ids->n++;
    return ERR_OK;
}

static enum err encode(struct prep *p, const struct template_text *text,
                       struct prep_ids *out)
{
    const struct vocab *v = p->m->model->vocab;
    struct vocab_ids ids = {0};
    enum err e = vocab_encode(v, buf_str(&text->text), text->spans,
                              text->n_spans, PREP_IDS_MAX, &ids);

    if (e == ERR_OK)
        e = put_bos(v, &ids);
    if (e != ERR_OK) {
        free(ids.ids);
        return e == ERR_FULL ? ERR_CONTEXT_LENGTH : e;
    }
    *out = (struct prep_ids){.ids = ids.ids, .n = ids.n};
    return ERR_OK;
}

enum err prep_chat(struct prep *p, const json_t *body,
                   const struct params *params, struct prep_ids *out)
{
    struct template_text text = {0};
    enum err e = render(p, body, params, false, &text);

    /* Some templates put the arguments together as text. */
    if (e == ERR_BAD_PARAM && has_calls(body)) {
        struct params_fault first = p->why;

        template_text_fini(&text);
        text = (struct template_text){0};
        e = render(p, body, params, true, &text);
        if (e == ERR_BAD_PARAM)
            p->why = first;
    }
    if (e == ERR_OK)
        e = encode(p, &text, out);
    template_text_fini(&text);
    return e;
}
