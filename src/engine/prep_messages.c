/* prep_messages.c - Messages as clients send them become messages as chat
 * templates want them: known roles, contents of text, calls with their
 * arguments as objects. What a message says beyond that stays in it, since
 * templates look for members of their own. */
#include "engine/prep.h"

#include <stdio.h>

#define MESSAGES_MAX 100000

/* What is being read, for the names of fields. */
struct walk {
    struct params_fault *why;
    size_t i; /* message */
    char at[128];
    bool raw_calls;
};

static const char *field(struct walk *w, const char *name)
{
    snprintf(w->at, sizeof(w->at), "messages[%zu].%s", w->i, name);
    return w->at;
}

/* --- content ------------------------------------------------------------ */

static enum err read_part(struct walk *w, const json_t *part, size_t k,
                          const json_t **text_out)
{
    struct str type = params_str(json_object_get(part, "type"));
    const char *name = "text";
    char at[64];

    snprintf(at, sizeof(at), "content[%zu].type", k);
    if (!json_is_object(part))
        return params_refuse(w->why, field(w, "content"),
                             "Invalid type for '%s': expected an object with "
                             "'type' and 'text'.",
                             field(w, "content"));
    if (str_eq(type, STR("refusal")))
        name = "refusal";
    else if (!str_eq(type, STR("text")) && !str_eq(type, STR("input_text")) &&
             !str_eq(type, STR("output_text")))
        return params_refuse(w->why, field(w, at),
                             "This model takes text only: content of type "
                             "'%.*s' is not supported.",
                             (int)(type.len > 40 ? 40 : type.len),
                             type.p ? type.p : "");
    snprintf(at, sizeof(at), "content[%zu].%s", k, name);
    *text_out = json_object_get(part, name);
    if (!json_is_string(*text_out))
        return params_refuse(w->why, field(w, at),
                             "Invalid type for '%s': expected a string.",
                             field(w, at));
    return ERR_OK;
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

    if (!content && needed)
        return params_refuse(w->why, field(w, "content"),
                             "Missing required parameter: '%s'.",
                             field(w, "content"));
    if (!content)
        text = json_string("");
    else if (json_is_string(content))
        text = json_stringn(json_string_value(content),
                            json_string_length(content));
    else if (json_is_array(content))
        e = join_parts(w, content, &text);
    else
        e = params_refuse(w->why, field(w, "content"),
                          "Invalid type for '%s': expected a string or an "
                          "array of parts, but got %s instead.",
                          field(w, "content"), params_type_name(content));
    if (e != ERR_OK)
        return e;
    *out = text;
    return *out ? ERR_OK : ERR_NOMEM;
}

/* --- calls -------------------------------------------------------------- */

/* The arguments of a call: an object if they are the text of one. */
static json_t *read_arguments(const struct walk *w, json_t *args)
{
    json_t *object;

    if (w->raw_calls || !json_is_string(args))
        return json_incref(args);
    object = json_loadb(json_string_value(args), json_string_length(args),
                        JSON_ALLOW_NUL, NULL);
    return json_is_object(object) ? object : json_incref(args);
}

static enum err read_call(struct walk *w, const json_t *call, size_t k,
                          json_t **out)
{
    const json_t *fn = json_object_get(call, "function");
    json_t *args = json_object_get(fn, "arguments");
    json_t *copy, *inner;
    char at[64];

    snprintf(at, sizeof(at), "tool_calls[%zu].function", k);
    if (!json_is_object(fn) || !json_is_string(json_object_get(fn, "name")) ||
        !(json_is_string(args) || json_is_object(args)))
        return params_refuse(w->why, field(w, at),
                             "Invalid '%s': expected an object with the "
                             "strings 'name' and 'arguments'.",
                             field(w, at));
    copy = json_copy((json_t *)(uintptr_t)call);
    inner = json_copy((json_t *)(uintptr_t)fn);
    if (!copy || !inner ||
        json_object_set_new(inner, "arguments", read_arguments(w, args)) != 0 ||
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

    if (!calls || (json_is_array(calls) && json_array_size(calls) == 0)) {
        json_object_del(to, "tool_calls");
        return ERR_OK;
    }
    if (!json_is_array(calls))
        return params_refuse(w->why, field(w, "tool_calls"),
                             "Invalid type for '%s': expected an array.",
                             field(w, "tool_calls"));
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

    if (!json_is_object(m))
        return params_refuse(w->why, "messages",
                             "Invalid type for 'messages[%zu]': expected an "
                             "object, but got %s instead.",
                             w->i, params_type_name(m));
    if (!json_is_string(v))
        return params_refuse(w->why, field(w, "role"),
                             "Missing required parameter: '%s'.",
                             field(w, "role"));
    *role_out = role_of(role);
    if (!*role_out)
        return params_refuse(w->why, field(w, "role"),
                             "Invalid value: '%.*s'. Supported values are: "
                             "'system', 'developer', 'user', 'assistant' and "
                             "'tool'.",
                             (int)(role.len > 40 ? 40 : role.len), role.p);
    if (str_eq(role, STR("tool")) &&
        !json_is_string(json_object_get(m, "tool_call_id")))
        return params_refuse(w->why, field(w, "tool_call_id"),
                             "Missing required parameter: '%s'.",
                             field(w, "tool_call_id"));
    return ERR_OK;
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

enum err prep_messages(const json_t *body, bool raw_calls,
                       struct params_fault *why, json_t **out)
{
    const json_t *list = params_get(body, "messages");
    struct walk w = {.why = why, .raw_calls = raw_calls};
    json_t *all;
    enum err e = ERR_OK;

    if (!list)
        return params_refuse(why, "messages",
                             "Missing required parameter: 'messages'.");
    if (!json_is_array(list))
        return params_refuse(why, "messages",
                             "Invalid type for 'messages': expected an array, "
                             "but got %s instead.",
                             params_type_name(list));
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
