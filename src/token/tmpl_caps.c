/* tmpl_caps.c - Finds what a chat template can do by rendering small
 * conversations with it and looking for words that only they have. */
#include <string.h>

#include "token/tmpl_ast.h"

/* Render <json>; whether it works and <word> is in the text. */
static enum err probe(const struct template *t, const char *json,
                      const char *word, bool *out)
{
    struct template_fault why;
    struct template_text text = {0};
    json_t *context = json_loads(json, 0, NULL);
    enum err e;

    *out = false;
    if (!context)
        return ERR_NOMEM;
    e = template_render(t, context, 0, (size_t)1 << 20, &why, &text);
    json_decref(context);
    if (e == ERR_OK)
        *out = str_find(buf_str(&text.text), str_from(word)) < text.text.len;
    template_text_fini(&text);
    return e == ERR_NOMEM ? e : ERR_OK;
}

#define TOKENS                                                                 \
    "\"bos_token\":\"<s>\",\"eos_token\":\"</s>\","                            \
    "\"add_generation_prompt\":true,"
#define USER  "{\"role\":\"user\",\"content\":\"qlara\"}"
#define PARTS "[{\"type\":\"text\",\"text\":\"qlarb\"}]"
#define TOOL                                                                   \
    "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"qlarc\","      \
    "\"description\":\"d\",\"parameters\":{\"type\":\"object\","               \
    "\"properties\":{\"a\":{\"type\":\"string\",\"description\":\"e\"}},"      \
    "\"required\":[\"a\"]}}}],"
#define CALL(args)                                                             \
    "{\"role\":\"assistant\",\"content\":\"\",\"tool_calls\":[{\"id\":"        \
    "\"call00001\",\"type\":\"function\",\"function\":{\"name\":\"qlard\","    \
    "\"arguments\":" args "}}]}"
#define RESULT                                                                 \
    "{\"role\":\"tool\",\"tool_call_id\":\"call00001\",\"name\":\"qlard\","    \
    "\"content\":\"qlare\"}"

/* A conversation with a call whose arguments are <args>. */
#define CALLS(args)                                                            \
    "{" TOKENS TOOL "\"messages\":[" USER "," CALL(args) "," RESULT "]}"

enum err tmpl_probe_caps(struct template *t)
{
    struct template_caps c = {0};
    bool text, object;

    ERR_TRY(probe(t, "{" TOKENS "\"messages\":[" USER "]}", "qlara",
                  &c.content_string));
    ERR_TRY(probe(t,
                  "{" TOKENS "\"messages\":[{\"role\":\"user\","
                  "\"content\":" PARTS "}]}",
                  "qlarb", &c.content_parts));
    /* one that prints the list itself cannot do it */
    ERR_TRY(probe(t,
                  "{" TOKENS "\"messages\":[{\"role\":\"user\","
                  "\"content\":" PARTS "}]}",
                  "\"qlarb\"", &text));
    c.content_parts = c.content_parts && !text;
    ERR_TRY(probe(t,
                  "{" TOKENS "\"messages\":[{\"role\":\"system\","
                  "\"content\":\"qlars\"}," USER "]}",
                  "qlars", &c.system));
    ERR_TRY(probe(t, "{" TOKENS TOOL "\"messages\":[" USER "]}", "qlarc",
                  &c.tools));
    ERR_TRY(probe(t, CALLS("{\"qlarf\":\"qlarg\"}"), "qlarf", &object));
    ERR_TRY(probe(t, CALLS("\"{\\\"qlarf\\\":\\\"qlarg\\\"}\""), "\"qlarf\"",
                  &text));
    c.tool_calls = object || text;
    c.call_arguments_text = text && !object;
    t->caps = c;
    return ERR_OK;
}
