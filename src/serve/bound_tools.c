/* bound_tools.c - Tools of a request. Those that the caller runs are text; what
 * the provider runs itself reads and costs what nobody can tell. */
#include "serve/bound_priv.h"

#include <stdio.h>

#define TYPE_MAX 40 /* bytes of a type; no known one is longer */

/* A kind of tool that the caller runs, and who knows it. */
struct kind {
    struct str name;
    unsigned ops;
    bool head; /* what follows <name> is a date */
    bool own;  /* the provider describes it itself, in words of its own */
};

static const struct kind kinds[] = {
    {{"function", 8}, BOUND_CHAT | BOUND_RESPONSES, false, false},
    {{"custom", 6},
     BOUND_CHAT | BOUND_RESPONSES | BOUND_MESSAGES,
     false,
     false},
    {{"local_shell", 11}, BOUND_RESPONSES, false, true},
    {{"apply_patch", 11}, BOUND_RESPONSES, false, true},
    {{"computer", 8}, BOUND_RESPONSES, false, true},
    {{"computer_use_preview", 20}, BOUND_RESPONSES, false, true},
    {{"bash_", 5}, BOUND_MESSAGES, true, true},
    {{"text_editor_", 12}, BOUND_MESSAGES, true, true},
    {{"computer_", 9}, BOUND_MESSAGES, true, true},
    {{"memory_", 7}, BOUND_MESSAGES, true, true},
};

/* Whether <rest> is a date as Anthropic has them: "20250124". */
static bool is_date(struct str rest)
{
    uint64_t v;

    return rest.len == 8 && str_to_u64(rest, &v);
}

static bool is_known(struct bound_judge *j, struct str type)
{
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        const struct kind *k = &kinds[i];

        if ((k->ops & j->op) == 0)
            continue;
        if (k->head ? str_starts(type, k->name) &&
                          is_date(str_skip(type, k->name.len))
                    : str_eq(type, k->name)) {
            j->tool_kinds += k->own;
            return true;
        }
    }
    return false;
}

/* Whether <key> is "type", to a server that does not mind its case either. */
static bool is_type_key(struct str key)
{
    const struct jmember m = {.value = key, .type = JT_STRING};
    char text[4];
    size_t len;

    return jval_copy(&m, text, sizeof(text), &len) == ERR_OK &&
           str_ieq(str_of(text, len), STR("type"));
}

static enum err refuse_tool(struct bound_judge *j, uint64_t index,
                            const char *type)
{
    char at[32];

    (void)snprintf(at, sizeof(at), "tools[%llu]", (unsigned long long)index);
    if (*type == '\0')
        return bound_refuse(j, at,
                            "'%s' must be an object with a 'type' for a key "
                            "with a hard budget.",
                            at);
    return bound_refuse(j, at,
                        "'%s' is of type '%s', which the provider runs: what "
                        "that reads and costs has no bound, and this key has a "
                        "hard budget. Leave it out, or switch it off.",
                        at, type);
}

/* Whether the operator lets tools of <type> through, as "tools.TYPE"; a glob
 * for members of bodies is not meant for them. */
static bool is_allowed(const struct bound_judge *j, struct str type)
{
    const struct str head = STR("tools.");

    for (size_t i = 0; i < j->rules->n_allow; i++)
        if (str_starts(j->rules->allow[i], head) &&
            str_glob(str_skip(j->rules->allow[i], head.len), type))
            return true;
    return false;
}

/* Judge one type of the tool <index>; a namespace, which is a list of tools of
 * the caller's, where there is none around it. */
static enum err judge_type(struct bound_judge *j, uint64_t index,
                           const struct jmember *m, bool *is_space)
{
    char type[TYPE_MAX];
    size_t len;

    if (jval_copy(m, type, sizeof(type), &len) == ERR_OK) {
        if (is_known(j, str_of(type, len)) || is_allowed(j, str_of(type, len)))
            return ERR_OK;
        if (is_space && j->op == BOUND_RESPONSES &&
            str_eq(str_of(type, len), STR("namespace"))) {
            *is_space = true;
            return ERR_OK;
        }
    }
    bound_show(m->value, type, sizeof(type));
    return refuse_tool(j, index, m->type == JT_STRING ? type : "");
}

/* Judge the types of the tool <m>; each that it says. */
static enum err judge_tool(struct bound_judge *j, uint64_t index,
                           const struct jmember *m, bool *is_space)
{
    struct jmember inner;
    struct jiter it;
    bool typed = false;

    jiter_init(&it, m->type == JT_OBJECT ? m->value : STR(""));
    while (jiter_next(&it, &inner)) {
        if (inner.type == JT_NULL || !is_type_key(inner.key))
            continue;
        typed = true;
        ERR_TRY(judge_type(j, index, &inner, is_space));
    }
    if (m->type != JT_OBJECT || (!typed && j->op != BOUND_MESSAGES))
        return refuse_tool(j, index, "");
    return ERR_OK;
}

/* Judge the tools in every list of the namespace <m>. */
static enum err judge_space(struct bound_judge *j, uint64_t index,
                            const struct jmember *m)
{
    struct jmember list, tool;
    struct jiter it, in;

    jiter_init(&it, m->value);
    while (jiter_next(&it, &list)) {
        jiter_init(&in, list.type == JT_ARRAY ? list.value : STR(""));
        while (jiter_next(&in, &tool))
            ERR_TRY(judge_tool(j, index, &tool, NULL));
    }
    return ERR_OK;
}

enum err bound_judge_tools(struct bound_judge *j, const struct jmember *m)
{
    struct jmember tool;
    struct jiter it;
    uint64_t index = 0;

    if (m->type == JT_NULL)
        return ERR_OK;
    if (m->type != JT_ARRAY)
        return bound_refuse(j, "tools",
                            "'tools' must be a list for a key with a hard "
                            "budget.");
    jiter_init(&it, m->value);
    for (; jiter_next(&it, &tool); index++) {
        bool is_space = false;

        ERR_TRY(judge_tool(j, index, &tool, &is_space));
        if (is_space)
            ERR_TRY(judge_space(j, index, &tool));
    }
    j->tools = j->tools || index > 0;
    j->tool_marks += bound_count(m->value, STR("{}[],"));
    return ERR_OK;
}
