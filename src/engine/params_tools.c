/* params_tools.c - tools, tool_choice and response_format: what the text must
 * look like. Whether a schema can be followed is the grammar's to judge. */
#include "engine/params.h"

#include <stdio.h>

#define TOOLS_MAX     128
#define TOOL_NAME_MAX 64

static bool is_name(struct str s)
{
    if (s.len == 0 || s.len > TOOL_NAME_MAX)
        return false;
    for (size_t i = 0; i < s.len; i++) {
        char c = s.p[i];

        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
              (c >= '0' && c <= '9') || c == '_' || c == '-' || c == '.'))
            return false;
    }
    return true;
}

/* --- tools -------------------------------------------------------------- */

static enum err judge_function(const json_t *fn, size_t i,
                               struct params_fault *why)
{
    const json_t *schema = params_get(fn, "parameters");
    char at[80];

    snprintf(at, sizeof(at), "tools[%zu].function", i);
    if (!json_is_object(fn))
        return params_refuse(
            why, at, "Missing required parameter: '%s', an object.", at);
    snprintf(at, sizeof(at), "tools[%zu].function.name", i);
    if (!is_name(params_str(json_object_get(fn, "name"))))
        return params_refuse(why, at,
                             "Invalid '%s': expected a string of 1 to %d "
                             "letters, digits, underscores, dots or dashes.",
                             at, TOOL_NAME_MAX);
    snprintf(at, sizeof(at), "tools[%zu].function.parameters", i);
    if (schema && !json_is_object(schema))
        return params_refuse(why, at,
                             "Invalid type for '%s': expected an object, but "
                             "got %s instead.",
                             at, params_type_name(schema));
    return ERR_OK;
}

static enum err judge_tool(const json_t *tool, size_t i,
                           struct params_fault *why, struct params *p)
{
    struct str type = params_str(json_object_get(tool, "type"));
    const json_t *fn = json_object_get(tool, "function");
    char at[40];

    snprintf(at, sizeof(at), "tools[%zu].type", i);
    if (!json_is_object(tool))
        return params_refuse(why, "tools",
                             "Invalid type for 'tools[%zu]': expected an "
                             "object.",
                             i);
    if (!str_eq(type, STR("function")))
        return params_refuse(why, at,
                             "Invalid value for '%s': '%.*s'. The only type "
                             "supported here is 'function'.",
                             at, (int)(type.len > 40 ? 40 : type.len),
                             type.p ? type.p : "");
    if (json_is_true(json_object_get(fn, "strict")))
        p->strict_tools = true;
    return judge_function(fn, i, why);
}

static struct str tool_name(const json_t *tool)
{
    return params_str(
        json_object_get(json_object_get(tool, "function"), "name"));
}

static const json_t *find_tool(const json_t *tools, struct str name)
{
    for (size_t i = 0; i < json_array_size(tools); i++)
        if (str_eq(tool_name(json_array_get(tools, i)), name))
            return json_array_get(tools, i);
    return NULL;
}

static enum err judge_tools(const json_t *tools, struct params_fault *why,
                            struct params *p)
{
    size_t n = json_array_size(tools);

    if (!json_is_array(tools))
        return params_refuse(why, "tools",
                             "Invalid type for 'tools': expected an array, "
                             "but got %s instead.",
                             params_type_name(tools));
    if (n > TOOLS_MAX)
        return params_refuse(why, "tools",
                             "Invalid 'tools': array too long. Expected at "
                             "most %d elements, but got %zu instead.",
                             TOOLS_MAX, n);
    for (size_t i = 0; i < n; i++) {
        const json_t *tool = json_array_get(tools, i);
        enum err e = judge_tool(tool, i, why, p);

        if (e != ERR_OK)
            return e;
        if (find_tool(tools, tool_name(tool)) != tool)
            return params_refuse(why, "tools",
                                 "Invalid 'tools': two functions are called "
                                 "'%.*s'.",
                                 STR_ARG(tool_name(tool)));
    }
    return ERR_OK;
}

/* --- tool_choice -------------------------------------------------------- */

static enum err choose_word(const json_t *v, struct params_fault *why,
                            struct params *p)
{
    struct str word = params_str(v);

    if (str_eq(word, STR("none")))
        p->tool_choice = PARAMS_TOOLS_NONE;
    else if (str_eq(word, STR("auto")))
        p->tool_choice = PARAMS_TOOLS_AUTO;
    else if (str_eq(word, STR("required")))
        p->tool_choice = PARAMS_TOOLS_REQUIRED;
    else
        return params_refuse(why, "tool_choice",
                             "Invalid value for 'tool_choice': '%.*s'. "
                             "Supported values are: 'none', 'auto' and "
                             "'required', or an object.",
                             (int)(word.len > 40 ? 40 : word.len), word.p);
    return ERR_OK;
}

static enum err choose_function(const json_t *v, struct params_fault *why,
                                struct params *p)
{
    struct str name = tool_name(v);

    if (name.len == 0)
        return params_refuse(why, "tool_choice.function.name",
                             "Missing required parameter: "
                             "'tool_choice.function.name'.");
    if (!find_tool(p->tools, name))
        return params_refuse(why, "tool_choice",
                             "Invalid value for 'tool_choice': no tool is "
                             "called '%.*s'.",
                             (int)(name.len > 64 ? 64 : name.len), name.p);
    p->tool_choice = PARAMS_TOOLS_REQUIRED;
    p->only = name;
    return ERR_OK;
}

/* {"type": "allowed_tools", "allowed_tools": {"mode", "tools": [...]}} */
static enum err choose_allowed(const json_t *v, struct params_fault *why,
                               struct params *p)
{
    const json_t *inner = json_object_get(v, "allowed_tools");
    const json_t *list = json_object_get(inner, "tools");
    const json_t *mode = json_object_get(inner, "mode");
    json_t *some = json_array();
    enum err e = ERR_OK;

    if (!json_is_string(mode) || !json_is_array(list))
        e = params_refuse(why, "tool_choice.allowed_tools",
                          "'tool_choice.allowed_tools' needs 'mode' and "
                          "'tools'.");
    for (size_t i = 0; i < json_array_size(list) && e == ERR_OK; i++) {
        const json_t *tool =
            find_tool(p->tools, tool_name(json_array_get(list, i)));

        if (!tool)
            e = params_refuse(why, "tool_choice.allowed_tools.tools",
                              "An allowed tool is not among 'tools'.");
        else if (json_array_append_new(some, json_deep_copy(tool)) != 0)
            e = ERR_NOMEM;
    }
    if (e == ERR_OK)
        e = choose_word(mode, why, p);
    if (e != ERR_OK) {
        json_decref(some);
        return e;
    }
    json_decref(p->tools);
    p->tools = some;
    return ERR_OK;
}

static enum err read_choice(const json_t *body, struct params_fault *why,
                            struct params *p)
{
    const json_t *v = params_get(body, "tool_choice");
    struct str type = params_str(json_object_get(v, "type"));

    if (!v)
        return ERR_OK;
    if (json_is_string(v))
        return choose_word(v, why, p);
    if (str_eq(type, STR("function")))
        return choose_function(v, why, p);
    if (str_eq(type, STR("allowed_tools")))
        return choose_allowed(v, why, p);
    return params_refuse(why, "tool_choice",
                         "Invalid 'tool_choice': expected 'none', 'auto', "
                         "'required', or an object of type 'function' or "
                         "'allowed_tools'.");
}

enum err params_read_tools(const json_t *body, struct params_fault *why,
                           struct params *out)
{
    const json_t *tools = params_get(body, "tools");
    const json_t *parallel = params_get(body, "parallel_tool_calls");
    enum err e = ERR_OK;

    if (parallel && !json_is_boolean(parallel))
        return params_refuse(why, "parallel_tool_calls",
                             "'parallel_tool_calls' must be true or false.");
    out->parallel = !json_is_false(parallel);
    if (tools)
        e = judge_tools(tools, why, out);
    if (e != ERR_OK)
        return e;
    if (tools && json_array_size(tools) > 0) {
        out->tools = json_incref(json_object_get(body, "tools"));
        out->tool_choice = PARAMS_TOOLS_AUTO;
    }
    e = read_choice(body, why, out);
    if (e == ERR_OK && out->tool_choice == PARAMS_TOOLS_REQUIRED && !out->tools)
        return params_refuse(why, "tool_choice",
                             "'tool_choice' is only allowed when 'tools' are "
                             "specified.");
    if (!out->tools || json_array_size(out->tools) == 0)
        out->tool_choice = PARAMS_TOOLS_NONE;
    if (e == ERR_OK && out->tool_choice == PARAMS_TOOLS_AUTO &&
        out->format != PARAMS_TEXT)
        return params_refuse(why, "response_format",
                             "'response_format' in JSON cannot be combined "
                             "with tools that may or may not be called; send "
                             "tool_choice 'none' or 'required'.");
    return e;
}

/* --- response_format ---------------------------------------------------- */

static enum err take_schema(const json_t *schema, const char *at,
                            struct params_fault *why, struct params *p)
{
    if (!json_is_object(schema) && !json_is_boolean(schema))
        return params_refuse(why, at,
                             "Missing required parameter: '%s', a JSON "
                             "schema.",
                             at);
    p->format = PARAMS_JSON_SCHEMA;
    p->schema = schema;
    p->schema_at = at;
    return ERR_OK;
}

static enum err read_typed(const json_t *v, struct params_fault *why,
                           struct params *p)
{
    struct str type = params_str(json_object_get(v, "type"));
    const json_t *inner = json_object_get(v, "json_schema");

    p->response_format = v;
    if (str_eq(type, STR("text")))
        return ERR_OK;
    if (str_eq(type, STR("json_object"))) {
        p->format = PARAMS_JSON_OBJECT;
        if (!params_get(v, "schema"))
            return ERR_OK;
        return take_schema(json_object_get(v, "schema"),
                           "response_format.schema", why, p);
    }
    if (!str_eq(type, STR("json_schema")))
        return params_refuse(why, "response_format.type",
                             "Invalid value for 'response_format.type': "
                             "'%.*s'. Supported values are: 'text', "
                             "'json_object' and 'json_schema'.",
                             (int)(type.len > 40 ? 40 : type.len),
                             type.p ? type.p : "");
    if (!json_is_object(inner))
        return params_refuse(why, "response_format.json_schema",
                             "Missing required parameter: "
                             "'response_format.json_schema'.");
    if (!is_name(params_str(json_object_get(inner, "name"))))
        return params_refuse(why, "response_format.json_schema.name",
                             "Invalid 'response_format.json_schema.name': "
                             "expected a string of 1 to %d letters, digits, "
                             "underscores, dots or dashes.",
                             TOOL_NAME_MAX);
    if (!params_get(inner, "schema")) {
        p->format = PARAMS_JSON_OBJECT; /* any, as nothing is said */
        return ERR_OK;
    }
    return take_schema(json_object_get(inner, "schema"),
                       "response_format.json_schema.schema", why, p);
}

enum err params_read_format(const json_t *body, struct params_fault *why,
                            struct params *out)
{
    const json_t *v = params_get(body, "response_format");

    if (v && !json_is_object(v))
        return params_refuse(why, "response_format",
                             "Invalid type for 'response_format': expected an "
                             "object, but got %s instead.",
                             params_type_name(v));
    if (v)
        return read_typed(v, why, out);
    if (json_is_object(params_get(body, "guided_json")))
        return take_schema(params_get(body, "guided_json"), "guided_json", why,
                           out);
    if (json_is_object(params_get(body, "json_schema")))
        return take_schema(params_get(body, "json_schema"), "json_schema", why,
                           out);
    return ERR_OK;
}
