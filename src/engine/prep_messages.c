/* prep_messages.c - Messages as clients send them become messages as chat
 * templates want them: known roles, contents of text, calls with their
 * arguments as objects. What a message says beyond that stays in it, since
 * templates look for members of their own. */
#include "engine/prep.h"

#include <stdio.h>

#include "engine/jtree.h"
#include "wire/jscan.h"

#define MESSAGES_MAX 100000

/* What is being read, for the names of fields. */
struct walk {
    struct params_fault *why;
    size_t i; /* message */
    char at[128];
    bool raw_calls;
    struct arena *mem;
};

static const char *field(struct walk *w, const char *name)
{
    snprintf(w->at, sizeof(w->at), "messages[%zu].%s", w->i, name);
    return w->at;
}

/* Judge the member <name> of <m>, the message at hand; it may be absent. */
static enum err judge(struct walk *w, const json_t *m, const char *name,
                      unsigned types)
{
    return params_expect(params_get(m, name), types, field(w, name), w->why);
}

/* --- content ------------------------------------------------------------ */

static enum err read_part(struct walk *w, const json_t *part, size_t k,
                          const json_t **text_out)
{
    struct str type = params_str(json_object_get(part, "type"));
    const char *name = "text";
    char at[64];

    snprintf(at, sizeof(at), "content[%zu]", k);
    ERR_TRY(params_need(part, PARAMS_OBJECT, field(w, at), w->why));
    snprintf(at, sizeof(at), "content[%zu].type", k);
    ERR_TRY(params_need(json_object_get(part, "type"), PARAMS_STRING,
                        field(w, at), w->why));
    if (str_eq(type, STR("refusal")))
        name = "refusal";
    else if (!str_eq(type, STR("text")) && !str_eq(type, STR("input_text")) &&
             !str_eq(type, STR("output_text")))
        return params_refuse(w->why, field(w, at),
                             "This model takes text only: content of type "
                             "'%.*s' is not supported.",
                             (int)(type.len > 40 ? 40 : type.len), type.p);
    snprintf(at, sizeof(at), "content[%zu].%s", k, name);
    *text_out = json_object_get(part, name);
    return params_need(*text_out, PARAMS_STRING, field(w, at), w->why);
}

/* Join the texts of <list> with newlines. */
static enum err join_parts(struct walk *w, const json_t *list, json_t **out)
{
    struct buf all;
    enum err e = ERR_OK;

    buf_init(&all, SIZE_MAX / 2);
    for (size_t k = 0; k < json_array_size(list) && e == ERR_OK; k++) {
        const json_t *text = NULL;

        e = read_part(w, json_array_get(list, k), k, &text);
        if (e == ERR_OK && k > 0)
            e = buf_put(&all, "\n", 1);
        if (e == ERR_OK)
            e = buf_put_str(&all, params_str(text));
    }
    if (e == ERR_OK) {
        *out = json_stringn(all.len ? all.p : "", all.len);
        e = *out ? ERR_OK : ERR_NOMEM;
    }
    buf_fini(&all);
    return e;
}

/* The content of <m> as one text, a new reference. */
static enum err read_content(struct walk *w, const json_t *m, bool needed,
                             json_t **out)
{
    const json_t *content = params_get(m, "content");
    json_t *text = NULL;
    enum err e = ERR_OK;

    if (needed)
        e = params_need(content, PARAMS_STRING | PARAMS_ARRAY,
                        field(w, "content"), w->why);
    else
        e = judge(w, m, "content", PARAMS_STRING | PARAMS_ARRAY);
    if (e != ERR_OK)
        return e;
    if (!content)
        text = json_string("");
    else if (json_is_string(content))
        text = json_stringn(json_string_value(content),
                            json_string_length(content));
    else
        e = join_parts(w, content, &text);
    if (e != ERR_OK)
        return e;
    *out = text;
    return *out ? ERR_OK : ERR_NOMEM;
}

/* --- calls -------------------------------------------------------------- */

static bool is_blank(struct str s)
{
    return json_skip_space(s).len == 0;
}

/* The arguments of a call: an object if they are the text of one, or none. */
static json_t *read_arguments(const struct walk *w, json_t *args)
{
    struct params_fault why;
    json_t *object;

    if (json_is_string(args) && is_blank(params_str(args)))
        return json_object();
    if (w->raw_calls || !json_is_string(args))
        return json_incref(args);
    if (jtree_read(params_str(args), JTREE_TWICE_LAST, w->mem, &why, &object) !=
        ERR_OK)
        return json_incref(args);
    return object;
}

/* Judge the <k>th call. */
static enum err judge_call(struct walk *w, const json_t *call, size_t k)
{
    static const struct {
        const char *name;
        unsigned types;
        bool in_function, needed;
    } members[] = {
        {"", PARAMS_OBJECT, false, true},
        {".id", PARAMS_STRING, false, false},
        {".type", PARAMS_STRING, false, false},
        {".function", PARAMS_OBJECT, false, true},
        {".name", PARAMS_STRING, true, true},
        {".arguments", PARAMS_STRING | PARAMS_OBJECT, true, true},
    };
    const json_t *fn = json_object_get(call, "function");

    for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++) {
        const char *name = members[i].name;
        const json_t *v = members[i].in_function ? fn : call;
        char at[64];

        snprintf(at, sizeof(at), "tool_calls[%zu]%s%s", k,
                 members[i].in_function ? ".function" : "", name);
        if (name[0] != '\0')
            v = params_get(v, name + 1);
        if (v || members[i].needed)
            ERR_TRY(params_need(v, members[i].types, field(w, at), w->why));
    }
    return ERR_OK;
}

static enum err read_call(struct walk *w, const json_t *call, size_t k,
                          json_t **out)
{
    const json_t *fn = json_object_get(call, "function");
    json_t *copy, *inner;
    enum err e = judge_call(w, call, k);

    if (e != ERR_OK)
        return e;
    copy = json_copy((json_t *)(uintptr_t)call);
    inner = json_copy((json_t *)(uintptr_t)fn);
    if (!copy || !inner ||
        json_object_set_new(
            inner, "arguments",
            read_arguments(w, json_object_get(fn, "arguments"))) != 0 ||
        json_object_set(copy, "function", inner) != 0) {
        json_decref(copy);
        json_decref(inner);
        return ERR_NOMEM;
    }
    json_decref(inner);
    *out = copy;
    return ERR_OK;
}

static enum err read_calls(struct walk *w, const json_t *m, json_t *to)
{
    const json_t *calls = params_get(m, "tool_calls");
    json_t *list;
    enum err e = ERR_OK;

    ERR_TRY(judge(w, m, "tool_calls", PARAMS_ARRAY));
    if (json_array_size(calls) == 0) {
        json_object_del(to, "tool_calls");
        return ERR_OK;
    }
    list = json_array();
    for (size_t k = 0; k < json_array_size(calls) && e == ERR_OK; k++) {
        json_t *call = NULL;

        e = read_call(w, json_array_get(calls, k), k, &call);
        if (e == ERR_OK && json_array_append_new(list, call) != 0)
            e = ERR_NOMEM;
    }
    if (e == ERR_OK && json_object_set(to, "tool_calls", list) != 0)
        e = ERR_NOMEM;
    json_decref(list);
    return e;
}

/* --- messages ----------------------------------------------------------- */

/* The role as templates know it; NULL for what is none. */
static const char *role_of(struct str role)
{
    if (str_eq(role, STR("developer")) || str_eq(role, STR("system")))
        return "system";
    if (str_eq(role, STR("user")))
        return "user";
    if (str_eq(role, STR("assistant")))
        return "assistant";
    return str_eq(role, STR("tool")) ? "tool" : NULL;
}

static enum err judge_role(struct walk *w, const json_t *m,
                           const char **role_out)
{
    const json_t *v = json_object_get(m, "role");
    struct str role = params_str(v);

    snprintf(w->at, sizeof(w->at), "messages[%zu]", w->i);
    ERR_TRY(params_expect(m, PARAMS_OBJECT, w->at, w->why));
    ERR_TRY(params_need(v, PARAMS_STRING, field(w, "role"), w->why));
    *role_out = role_of(role);
    if (!*role_out)
        return params_refuse(w->why, field(w, "role"),
                             "Invalid value for '%s': '%.*s'. Supported values "
                             "are: 'system', 'developer', 'user', 'assistant' "
                             "and 'tool'.",
                             field(w, "role"),
                             (int)(role.len > 40 ? 40 : role.len), role.p);
    ERR_TRY(judge(w, m, "name", PARAMS_STRING));
    ERR_TRY(judge(w, m, "refusal", PARAMS_STRING));
    ERR_TRY(judge(w, m, "function_call", PARAMS_OBJECT));
    if (params_get(m, "function_call"))
        return params_refuse(w->why, field(w, "function_call"),
                             "Unsupported parameter: '%s' is not supported "
                             "with this model; send 'tool_calls' instead.",
                             field(w, "function_call"));
    if (!str_eq(role, STR("tool")))
        return judge(w, m, "tool_call_id", PARAMS_STRING);
    return params_need(json_object_get(m, "tool_call_id"), PARAMS_STRING,
                       field(w, "tool_call_id"), w->why);
}

static enum err read_message(struct walk *w, const json_t *m, json_t **out)
{
    const char *role = NULL;
    json_t *copy, *content = NULL;
    bool optional;
    enum err e = judge_role(w, m, &role);

    if (e != ERR_OK)
        return e;
    optional = str_eq(str_from(role), STR("assistant"));
    e = read_content(w, m, !optional, &content);
    if (e != ERR_OK)
        return e;
    copy = json_copy((json_t *)(uintptr_t)m);
    if (!copy || json_object_set_new(copy, "role", json_string(role)) != 0 ||
        json_object_set(copy, "content", content) != 0)
        e = ERR_NOMEM;
    json_decref(content);
    if (e == ERR_OK)
        e = read_calls(w, m, copy);
    if (e != ERR_OK) {
        json_decref(copy);
        return e;
    }
    *out = copy;
    return ERR_OK;
}

enum err prep_messages(const json_t *body, bool raw_calls, struct arena *mem,
                       struct params_fault *why, json_t **out)
{
    const json_t *list = params_get(body, "messages");
    struct walk w = {.why = why, .raw_calls = raw_calls, .mem = mem};
    json_t *all;
    enum err e = params_need(list, PARAMS_ARRAY, "messages", why);

    if (e != ERR_OK)
        return e;
    if (json_array_size(list) == 0 || json_array_size(list) > MESSAGES_MAX)
        return params_refuse(why, "messages",
                             "Invalid 'messages': expected 1 to %d messages, "
                             "but got %zu.",
                             MESSAGES_MAX, json_array_size(list));
    all = json_array();
    for (w.i = 0; w.i < json_array_size(list) && e == ERR_OK; w.i++) {
        json_t *m = NULL;

        e = read_message(&w, json_array_get(list, w.i), &m);
        if (e == ERR_OK && json_array_append_new(all, m) != 0)
            e = ERR_NOMEM;
    }
    if (e != ERR_OK) {
        json_decref(all);
        return e;
    }
    *out = all;
    return ERR_OK;
}
