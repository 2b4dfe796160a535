/* bound_think.c - Whether a stream shows all that it generates. Some models
 * think out of sight, or show a summary: what is billed is what they thought.
 */
#include "serve/bound_priv.h"

/* Whether the member <m> of an object says that there is no thinking. */
static bool says_off(const struct jmember *m)
{
    if (m->type == JT_FALSE)
        return true;
    return m->type == JT_STRING && (jval_is(m->value, STR("none")) ||
                                    jval_is(m->value, STR("disabled")));
}

/* Whether <m> switches thinking on or off. */
static bool is_switch(const struct jmember *m)
{
    return jval_is(m->key, STR("type")) || jval_is(m->key, STR("effort")) ||
           jval_is(m->key, STR("enabled"));
}

bool bound_thinks(const struct jmember *m)
{
    struct jmember inner;
    struct jiter it;
    bool any = false, off = false;
    int64_t n = 1;

    if (m->type == JT_NULL || says_off(m))
        return false;
    if (m->type == JT_NUMBER)
        return jval_uint(m, &n) != ERR_OK || n != 0;
    if (m->type != JT_OBJECT)
        return true;
    jiter_init(&it, m->value);
    while (jiter_next(&it, &inner)) {
        any = true;
        if (!is_switch(&inner))
            continue;
        if (!says_off(&inner))
            return true;
        off = true;
    }
    return any && !off;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Whether <name> begins with <head>, in any case; what follows. */
static bool skip_head(struct str *name, struct str head)
{
    if (name->len < head.len || !str_ieq(str_of(name->p, head.len), head))
        return false;
    *name = str_skip(*name, head.len);
    return true;
}

bool bound_hides_thoughts(struct str model)
{
    static const struct str families[] = {
        {"gemini-", 7}, {"grok-", 5}, {"codex-", 6}};
    struct str name = model;

    for (size_t at; (at = str_find_char(name, '/')) < name.len;)
        name = str_skip(name, at + 1);
    for (size_t i = 0; i < sizeof(families) / sizeof(families[0]); i++)
        if (skip_head(&name, families[i]))
            return true;
    if (skip_head(&name, STR("gpt-"))) /* from the fifth on */
        return name.len > 0 && is_digit(name.p[0]) &&
               (name.p[0] >= '5' || (name.len > 1 && is_digit(name.p[1])));
    return skip_head(&name, STR("o")) && name.len > 0 && is_digit(name.p[0]);
}
