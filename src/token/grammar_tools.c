/* grammar_tools.c - Tool calls as a program. A call is written in the style of
 * the model's family; when calls may be left out, text goes first, and from
 * where a call's marker is complete there is no way back. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "token/grammar_priv.h"
#include "token/schema.h"
#include "token/vocab_index.h"

#define TOOLS_MAX      256
#define NAME_MAX_BYTES 256

/* Tools being compiled. */
struct tools {
    struct automaton a;
    const struct vocab_index *ix;
    const struct grammar_tools *t;
    struct grammar_fault *why;
    const char *args; /* what a call's arguments are called */
    enum err err;
};

static enum err tools_fault(struct grammar_fault *why, size_t i,
                            const char *where, enum err err, const char *text)
{
    if (where)
        snprintf(why->param, sizeof(why->param), "%zu.function.%s", i, where);
    else
        snprintf(why->param, sizeof(why->param), "%s", "");
    snprintf(why->text, sizeof(why->text), "%s", text);
    return err;
}

/* Put "<i>.function.parameters." in front of the place that <why> tells. */
static void shift_fault(struct grammar_fault *why, size_t i)
{
    char place[sizeof(why->param) - 48];

    snprintf(place, sizeof(place), "%.*s", (int)sizeof(place) - 1, why->param);
    snprintf(why->param, sizeof(why->param), "%zu.function.parameters%s%s", i,
             place[0] ? "." : "", place);
}

/* --- markers ------------------------------------------------------------ */

/* The control token that is called <text>, or -1. */
static int32_t marker_token(const struct tools *x, struct str text)
{
    int32_t id = vocab_find(x->ix->v, text);

    return id >= 0 && (uint32_t)id < x->ix->n_vocab &&
                   mask_has(x->ix->control, id)
               ? id
               : -1;
}

/* Marker <text>, written out or as its token. */
static uint32_t marker(struct tools *x, struct str text, uint32_t next)
{
    return auto_split(&x->a, auto_token(&x->a, marker_token(x, text), next),
                      auto_text(&x->a, text, next));
}

/* How many bytes of <m> what was read ends with, after <n> bytes of it and
 * <c>. */
static size_t marker_step(struct str m, size_t n, uint8_t c)
{
    if (n < m.len && (uint8_t)m.p[n] == c)
        return n + 1;
    /* The longest end of m[0 .. n) and <c> that <m> begins with. */
    for (size_t k = n; k > 0; k--)
        if ((uint8_t)m.p[k - 1] == c &&
            memcmp(m.p, m.p + n - (k - 1), k - 1) == 0)
            return k;
    return 0;
}

/* Any text that may end at any byte, until <m> is complete; then <next>. Other
 * control tokens are let through. */
static uint32_t text_until(struct tools *x, struct str m, uint32_t next)
{
    uint32_t state[32] = {AUTO_FAIL}, out;
    struct automaton *a = &x->a;

    for (size_t n = 0; n < m.len; n++)
        state[n] = auto_hole(a);
    for (size_t n = 0; n < m.len; n++) {
        struct auto_set sets[33] = {{{0}}};
        for (unsigned c = 0; c < 256; c++) {
            struct auto_set *set = &sets[marker_step(m, n, (uint8_t)c)];
            set->bits[c / 64] |= (uint64_t)1 << c % 64;
        }
        out = auto_split(a, AUTO_RET, auto_control(a, state[0]));
        for (size_t k = 0; k <= m.len; k++)
            out = auto_split(
                a, out, auto_set_of(a, &sets[k], k < m.len ? state[k] : next));
        auto_fill(a, state[n],
                  auto_split(a, out, auto_token(a, marker_token(x, m), next)));
    }
    return state[0];
}

/* Any text to its end. */
static uint32_t any_text(struct tools *x)
{
    struct automaton *a = &x->a;
    uint32_t any = auto_hole(a);

    auto_fill(a, any,
              auto_split(a, AUTO_RET,
                         auto_split(a, auto_range(a, 0, 255, any),
                                    auto_control(a, any))));
    return any;
}

/* Any text that does not begin with words[at ..] of <n>, which agree in <at>
 * bytes; it may end within them. */
static uint32_t text_but(struct tools *x, const struct str *words, size_t n,
                         size_t at, uint32_t any)
{
    struct automaton *a = &x->a;
    struct auto_set others = {{~0ull, ~0ull, ~0ull, ~0ull}};
    uint32_t out = auto_split(a, AUTO_RET, auto_control(a, any));

    for (size_t i = 0; i < n; i++) {
        uint8_t c = (uint8_t)words[i].p[at];
        struct str same[4];
        size_t k = 0;
        if (!(others.bits[c / 64] >> c % 64 & 1))
            continue;
        others.bits[c / 64] &= ~((uint64_t)1 << c % 64);
        for (size_t j = i; j < n; j++)
            if ((uint8_t)words[j].p[at] == c)
                same[k++] = words[j];
        if (same[0].len > at + 1)
            out = auto_split(
                a, out, auto_range(a, c, c, text_but(x, same, k, at + 1, any)));
    }
    return auto_split(a, out, auto_set_of(a, &others, any));
}

/* --- one call ----------------------------------------------------------- */

/* The arguments of the tool with function <f>, then <next>. A schema that is
 * not supported stands for any object, unless strictness is asked for. */
static uint32_t arguments(struct tools *x, const json_t *f, size_t i,
                          uint32_t next)
{
    const json_t *schema = json_object_get(f, "parameters");
    uint32_t out = AUTO_FAIL;

    if (!schema || json_is_null(schema))
        return auto_text(&x->a, STR("{}"), next);
    if (json_is_object(schema) && json_object_size(schema) == 0)
        return auto_object(&x->a, next);
    x->err = schema_build(&x->a, schema, x->why, next, &out);
    if (x->err == ERR_REFUSED && !json_is_true(json_object_get(f, "strict"))) {
        x->err = ERR_OK;
        return auto_object(&x->a, next);
    }
    if (x->err)
        shift_fault(x->why, i);
    return out;
}

/* A call of the <i>th tool: an object with its name and its arguments. */
static uint32_t call_of(struct tools *x, const json_t *f, size_t i,
                        uint32_t next)
{
    struct automaton *a = &x->a;
    struct str name = str_from(json_string_value(json_object_get(f, "name")));
    uint32_t out = auto_space(a, auto_text(a, STR("}"), next));

    out = auto_colon(a, arguments(x, f, i, out));
    out = auto_text(a, STR("\""), out);
    out = auto_text(a, STR("\""), auto_text(a, str_from(x->args), out));
    out = auto_text(a, STR("\","), auto_space(a, out));
    return auto_string_text(a, name, out);
}

/* A call of any tool that is allowed, then <next>. */
static uint32_t any_call(struct tools *x, uint32_t next)
{
    struct automaton *a = &x->a;
    uint32_t out = AUTO_FAIL;
    size_t n = json_array_size(x->t->tools);

    for (size_t i = 0; i < n && !x->err; i++) {
        const json_t *f =
            json_object_get(json_array_get(x->t->tools, i), "function");
        struct str name =
            str_from(json_string_value(json_object_get(f, "name")));
        if (x->t->only.len && !str_eq(name, x->t->only))
            continue;
        out = auto_split(a, out, call_of(x, f, i, next));
    }
    out = auto_text(a, STR("\"name\":"),
                    auto_split(a, auto_text(a, STR("\""), out),
                               auto_text(a, STR(" \""), out)));
    out = auto_split(a, out, auto_text(a, STR(" "), out));
    return auto_text(a, STR("{"), out);
}

/* --- the styles --------------------------------------------------------- */

/* <tool_call>\n{...}\n</tool_call>, and again. */
static uint32_t hermes(struct tools *x)
{
    struct automaton *a = &x->a;
    uint32_t again = auto_hole(a), first, out;

    out = marker(x, STR("</tool_call>"), again);
    first = auto_space(a, any_call(x, auto_space(a, out)));
    out = AUTO_FAIL;
    if (x->t->parallel)
        out = auto_opt(
            a, auto_text(a, STR("\n"), marker(x, STR("<tool_call>"), first)),
            marker(x, STR("<tool_call>"), first));
    auto_fill(a, again, auto_split(a, out, AUTO_RET));
    if (x->t->required)
        return marker(x, STR("<tool_call>"), first);
    return text_until(x, STR("<tool_call>"), first);
}

/* The object as all of the text, maybe behind a marker; text that begins
 * otherwise is text. */
static uint32_t llama3(struct tools *x)
{
    static const struct str begins[] = {STR("{\"name\""), STR("{ \"name\"")};
    const struct str tag = STR("<|python_tag|>");
    struct automaton *a = &x->a;
    uint32_t out = any_call(x, AUTO_RET);

    out = auto_split(a, auto_token(a, marker_token(x, tag), out), out);
    if (x->t->required)
        return out;
    return auto_split(a, out, text_but(x, begins, 2, 0, any_text(x)));
}

/* [TOOL_CALLS] and a list of calls. */
static uint32_t mistral(struct tools *x)
{
    struct automaton *a = &x->a;
    uint32_t after = auto_hole(a), call = any_call(x, after), first;

    first = auto_text(a, STR("["), auto_space(a, call));
    first = auto_split(a, first, auto_text(a, STR(" "), first));
    auto_fill(a, after,
              auto_split(a,
                         x->t->parallel
                             ? auto_text(a, STR(","), auto_space(a, call))
                             : AUTO_FAIL,
                         auto_space(a, auto_text(a, STR("]"), AUTO_RET))));
    if (x->t->required)
        return marker(x, STR("[TOOL_CALLS]"), first);
    return text_until(x, STR("[TOOL_CALLS]"), first);
}

/* Whether the list of tools is sound. */
static enum err check_tools(const struct grammar_tools *t,
                            struct grammar_fault *why)
{
    size_t n = json_array_size(t->tools);
    bool found = t->only.len == 0;

    if (!json_is_array(t->tools) || n == 0)
        return tools_fault(why, 0, NULL, ERR_SYNTAX,
                           "tools must be a list with at least one function");
    if (n > TOOLS_MAX)
        return tools_fault(why, 0, NULL, ERR_FULL, "there are too many tools");
    for (size_t i = 0; i < n; i++) {
        const json_t *f =
            json_object_get(json_array_get(t->tools, i), "function");
        const json_t *name = json_object_get(f, "name");
        if (!json_is_string(name) || json_string_length(name) == 0 ||
            json_string_length(name) > NAME_MAX_BYTES)
            return tools_fault(why, i, "name", ERR_SYNTAX,
                               "a tool must be a function with a name");
        found |= str_eq(str_from(json_string_value(name)), t->only);
    }
    if (!found)
        return tools_fault(why, 0, NULL, ERR_NOT_FOUND,
                           "the tool that must be called is not in the list");
    return ERR_OK;
}

enum err grammar_from_tools(const struct vocab_index *ix,
                            const struct grammar_tools *t,
                            struct grammar_fault *why, struct grammar **out)
{
    struct tools x = {.ix = ix, .t = t, .why = why, .args = "arguments"};
    uint32_t start = AUTO_FAIL;
    enum err err;

    memset(why, 0, sizeof(*why));
    if (t->style == TOOLCALL_NONE)
        return tools_fault(why, 0, NULL, ERR_REFUSED,
                           "this model's chat template knows no tools");
    err = check_tools(t, why);
    if (err)
        return err;
    auto_init(&x.a);
    if (t->style == TOOLCALL_LLAMA3) {
        x.args = "parameters";
        start = llama3(&x);
    } else {
        start = t->style == TOOLCALL_HERMES ? hermes(&x) : mistral(&x);
    }
    if (x.err) {
        auto_fini(&x.a);
        return x.err;
    }
    err = grammar_make(ix, &x.a, start, out);
    if (err == ERR_REFUSED || err == ERR_SYNTAX)
        return tools_fault(why, 0, NULL, ERR_SYNTAX,
                           "no call can match the tools' schemas");
    return err;
}
