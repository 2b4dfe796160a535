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

/* Judge the name <v>, which stands at <at>. */
static enum err judge_name(const json_t *v, const char *at,
                           struct params_fault *why)
{
    ERR_TRY(params_need(v, PARAMS_STRING, at, why));
    if (!is_name(params_str(v)))
        return params_refuse(why, at,
                             "Invalid '%s': expected a string of 1 to %d "
                             "letters, digits, underscores, dots or dashes.",
                             at, TOOL_NAME_MAX);
    return ERR_OK;
}

/* Judge the member <name> of <fn>, which stands at <at>; it may be absent. */
static enum err judge_member(const json_t *fn, const char *at, const char *name,
                             unsigned types, struct params_fault *why)
{
    char path[80];

    snprintf(path, sizeof(path), "%s.%s", at, name);
    return params_expect(params_get(fn, name), types, path, why);
}

static enum err judge_function(const json_t *fn, size_t i,
                               struct params_fault *why)
{
    char at[40], name[48];

    snprintf(at, sizeof(at), "tools[%zu].function", i);
    snprintf(name, sizeof(name), "%s.name", at);
    ERR_TRY(params_need(fn, PARAMS_OBJECT, at, why));
    ERR_TRY(judge_name(json_object_get(fn, "name"), name, why));
    ERR_TRY(judge_member(fn, at, "description", PARAMS_STRING, why));
    ERR_TRY(judge_member(fn, at, "strict", PARAMS_BOOL, why));
    return judge_member(fn, at, "parameters", PARAMS_OBJECT, why);
}

static enum err judge_tool(const json_t *tool, size_t i,
                           struct params_fault *why, struct params *p)
{
    struct str type = params_str(json_object_get(tool, "type"));
    const json_t *fn = json_object_get(tool, "function");
    char at[40];

    snprintf(at, sizeof(at), "tools[%zu]", i);
    ERR_TRY(params_expect(tool, PARAMS_OBJECT, at, why));
    snprintf(at, sizeof(at), "tools[%zu].type", i);
    ERR_TRY(params_need(json_object_get(tool, "type"), PARAMS_STRING, at, why));
    if (!str_eq(type, STR("function")))
        return params_refuse(why, at,
                             "Invalid value for '%s': '%.*s'. The only type "
                             "supported here is 'function'.",
                             at, (int)(type.len > 40 ? 40 : type.len), type.p);
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

    ERR_TRY(params_expect(tools, PARAMS_ARRAY, "tools", why));
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
    const json_t *fn = json_object_get(v, "function");
    struct str name = tool_name(v);

    ERR_TRY(params_need(fn, PARAMS_OBJECT, "tool_choice.function", why));
    ERR_TRY(params_need(json_object_get(fn, "name"), PARAMS_STRING,
                        "tool_choice.function.name", why));
    if (!find_tool(p->tools, name))
        return params_refuse(why, "tool_choice",
                             "Invalid value for 'tool_choice': no tool is "
                             "called '%.*s'.",
                             (int)(name.len > 64 ? 64 : name.len), name.p);
    p->tool_choice = PARAMS_TOOLS_REQUIRED;
    p->only = name;
    return ERR_OK;
}

/* Those of <list> that are among the tools, into <some>. */
static enum err pick_allowed(const json_t *list, struct params_fault *why,
                             const struct params *p, json_t *some)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *said = json_array_get(list, i), *tool;
        char at[64];

        snprintf(at, sizeof(at), "tool_choice.allowed_tools.tools[%zu]", i);
        ERR_TRY(params_need(said, PARAMS_OBJECT, at, why));
        tool = find_tool(p->tools, tool_name(said));
        if (!tool)
            return params_refuse(why, "tool_choice.allowed_tools.tools",
                                 "Invalid '%s': it is not among 'tools'.", at);
        if (json_array_append_new(some, json_deep_copy(tool)) != 0)
            return ERR_NOMEM;
    }
    return ERR_OK;
}

/* {"type": "allowed_tools", "allowed_tools": {"mode", "tools": [...]}} */
static enum err choose_allowed(const json_t *v, struct params_fault *why,
                               struct params *p)
{
    const json_t *inner = json_object_get(v, "allowed_tools");
    const json_t *list = json_object_get(inner, "tools");
    const json_t *mode = json_object_get(inner, "mode");
    json_t *some;
    enum err e;

    ERR_TRY(
        params_need(inner, PARAMS_OBJECT, "tool_choice.allowed_tools", why));
    ERR_TRY(params_need(mode, PARAMS_STRING, "tool_choice.allowed_tools.mode",
                        why));
    ERR_TRY(params_need(list, PARAMS_ARRAY, "tool_choice.allowed_tools.tools",
                        why));
    some = json_array();
    e = pick_allowed(list, why, p, some);
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
    const json_t *type = json_object_get(v, "type");

    ERR_TRY(
        params_expect(v, PARAMS_STRING | PARAMS_OBJECT, "tool_choice", why));
    if (!v)
        return ERR_OK;
    if (json_is_string(v))
        return choose_word(v, why, p);
    ERR_TRY(params_need(type, PARAMS_STRING, "tool_choice.type", why));
    if (str_eq(params_str(type), STR("function")))
        return choose_function(v, why, p);
    if (str_eq(params_str(type), STR("allowed_tools")))
        return choose_allowed(v, why, p);
    return params_refuse(why, "tool_choice.type",
                         "Invalid 'tool_choice': expected 'none', 'auto', "
                         "'required', or an object of type 'function' or "
                         "'allowed_tools'.");
}

enum err params_read_tools(const json_t *body, struct params_fault *why,
                           struct params *out)
{
    const json_t *tools = params_get(body, "tools");
    enum err e = params_bool(body, "parallel_tool_calls", why, &out->parallel);

    if (e == ERR_OK && tools)
        e = judge_tools(tools, why, out);
    if (e != ERR_OK)
        return e;
    if (tools && json_array_size(tools) > 0) {
        out->tools = json_incref(json_object_get(body, "tools"));
        out->tool_choice = PARAMS_TOOLS_AUTO;
    }
    e = read_choice(body, why, out);
    if (e == ERR_OK && out->tool_choice == PARAMS_TOOLS_REQUIRED &&
        json_array_size(out->tools) == 0)
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

/* Take the schema <v>, which stands at <at>: an object, or a boolean where
 * <types> has it. */
static enum err take_schema(const json_t *v, unsigned types, const char *at,
                            struct params_fault *why, struct params *p)
{
    ERR_TRY(params_expect(v, types, at, why));
    p->format = PARAMS_JSON_SCHEMA;
    p->schema = v;
    p->schema_at = at;
    return ERR_OK;
}

static enum err read_json_schema(const json_t *v, struct params_fault *why,
                                 struct params *p)
{
    static const char at[] = "response_format.json_schema";
    const json_t *schema = params_get(v, "schema");

    ERR_TRY(params_need(v, PARAMS_OBJECT, at, why));
    ERR_TRY(judge_name(json_object_get(v, "name"),
                       "response_format.json_schema.name", why));
    ERR_TRY(judge_member(v, at, "description", PARAMS_STRING, why));
    ERR_TRY(judge_member(v, at, "strict", PARAMS_BOOL, why));
    p->format = PARAMS_JSON_OBJECT; /* any, where nothing is said */
    if (!schema)
        return ERR_OK;
    return take_schema(schema, PARAMS_OBJECT | PARAMS_BOOL,
                       "response_format.json_schema.schema", why, p);
}

static enum err read_typed(const json_t *v, struct params_fault *why,
                           struct params *p)
{
    struct str type = params_str(json_object_get(v, "type"));
    const json_t *schema = params_get(v, "schema");

    p->response_format = v;
    ERR_TRY(params_need(json_object_get(v, "type"), PARAMS_STRING,
                        "response_format.type", why));
    if (str_eq(type, STR("text")))
        return ERR_OK;
    if (str_eq(type, STR("json_schema")))
        return read_json_schema(json_object_get(v, "json_schema"), why, p);
    if (!str_eq(type, STR("json_object")))
        return params_refuse(why, "response_format.type",
                             "Invalid value for 'response_format.type': "
                             "'%.*s'. Supported values are: 'text', "
                             "'json_object' and 'json_schema'.",
                             (int)(type.len > 40 ? 40 : type.len), type.p);
    p->format = PARAMS_JSON_OBJECT;
    if (!schema)
        return ERR_OK;
    return take_schema(schema, PARAMS_OBJECT | PARAMS_BOOL,
                       "response_format.schema", why, p);
}

enum err params_read_format(const json_t *body, struct params_fault *why,
                            struct params *out)
{
    static const char *const others[] = {"guided_json", "json_schema"};
    const json_t *v = params_get(body, "response_format");

    ERR_TRY(params_expect(v, PARAMS_OBJECT, "response_format", why));
    if (v)
        ERR_TRY(read_typed(v, why, out));
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        const json_t *schema = params_get(body, others[i]);

        ERR_TRY(params_expect(schema, PARAMS_OBJECT, others[i], why));
        if (schema && !v && out->format == PARAMS_TEXT)
            ERR_TRY(take_schema(schema, PARAMS_OBJECT, others[i], why, out));
    }
    return ERR_OK;
}
