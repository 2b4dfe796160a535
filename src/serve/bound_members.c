/* bound_members.c - What the value of a top-level member means for the most
 * that a request can take. A value that an upstream would refuse anyway may
 * pass; one that two servers may read in two ways does not. */
#include "serve/bound_priv.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "account/budget_spec.h"
#include "account/price.h"

#define CAP_MAX     (INT64_C(1) << 53) /* exact in any reader's numbers */
#define CHOICES_MAX 128                /* as everywhere for `n` */
#define WORD_MAX    32                 /* bytes of a word that has a meaning */
#define NAME_MAX    128                /* of a name that may be allowed */

enum err bound_refuse(struct bound_judge *j, const char *param, const char *fmt,
                      ...)
{
    va_list ap;

    (void)snprintf(j->no->param, sizeof(j->no->param), "%s", param);
    va_start(ap, fmt);
    (void)vsnprintf(j->no->text, sizeof(j->no->text), fmt, ap);
    va_end(ap);
    return ERR_BAD_PARAM;
}

void bound_show(struct str raw, char *to, size_t cap)
{
    struct str text =
        raw.len >= 2 ? str_of(raw.p + 1, raw.len - 2) : str_of("", 0);
    size_t len = text.len < cap - 1 ? text.len : cap - 1;

    for (size_t i = 0; i < len; i++)
        to[i] = (char)(text.p[i] >= 0x20 && text.p[i] < 0x7F ? text.p[i] : '?');
    to[len] = '\0';
}

/* Whether the budgets are of money, too. */
static bool counts_money(const struct bound_judge *j)
{
    return (j->rules->units & (1U << BUDGET_NUSD)) != 0;
}

/* An integer from 1 to <max>; a member that is null is absent. */
static enum err read_uint(struct bound_judge *j, const char *name,
                          const struct jmember *m, int64_t max, uint64_t *out)
{
    int64_t v;

    if (m->type == JT_NULL)
        return ERR_OK;
    if (jval_uint(m, &v) != ERR_OK || v < 1 || v > max)
        return bound_refuse(j, name,
                            "'%s' must be an integer from 1 to %" PRId64
                            " for a key with a hard budget.",
                            name, max);
    *out = (uint64_t)v;
    return ERR_OK;
}

static enum err judge_cap(struct bound_judge *j, const char *name,
                          const struct jmember *m)
{
    uint64_t cap = 0;

    ERR_TRY(read_uint(j, name, m, CAP_MAX, &cap));
    if (cap == 0)
        return ERR_OK;
    if (strcmp(name, "max_tokens") == 0)
        j->out->caps |= BOUND_MAX_TOKENS;
    else if (strcmp(name, "max_completion_tokens") == 0)
        j->out->caps |= BOUND_MAX_COMPLETION_TOKENS;
    else
        j->out->caps |= BOUND_MAX_OUTPUT_TOKENS;
    if (cap > j->out->cap_tok)
        j->out->cap_tok = cap;
    return ERR_OK;
}

/* Whether there is nothing in <m>, however it says so. */
static bool is_unset(const struct jmember *m)
{
    struct jmember inner;
    struct jiter it;

    if (m->type == JT_NULL || m->type == JT_FALSE)
        return true;
    if (m->type != JT_ARRAY && m->type != JT_OBJECT)
        return false;
    jiter_init(&it, m->value);
    return !jiter_next(&it, &inner);
}

/* Whether the operator lets the member <key> through. One that is known to
 * raise the cost must be named: a glob may not have been meant for it. */
static bool is_allowed(const struct bound_judge *j, struct str key, bool named)
{
    const struct jmember m = {.value = key, .type = JT_STRING};
    char text[NAME_MAX];
    struct str name;
    size_t len;

    if (j->rules->n_allow == 0 ||
        jval_copy(&m, text, sizeof(text), &len) != ERR_OK)
        return false;
    name = str_of(text, len);
    for (size_t i = 0; i < j->rules->n_allow; i++)
        if (named ? str_eq(j->rules->allow[i], name)
                  : str_glob(j->rules->allow[i], name))
            return true;
    return false;
}

/* Whether the string <m> is one of <words>, of which NULL is the last. */
static bool is_word(const struct jmember *m, const char *const *words)
{
    for (; *words; words++)
        if (m->type == JT_STRING && jval_is(m->value, str_from(*words)))
            return true;
    return false;
}

/* A member that may make the same tokens dearer. */
static enum err judge_plain(struct bound_judge *j, const char *name,
                            const struct jmember *m, const char *const *words)
{
    if (m->type == JT_NULL || !counts_money(j) || is_word(m, words))
        return ERR_OK;
    return bound_refuse(j, name,
                        "'%s' must be '%s' or left out for a key with a hard "
                        "budget of money: others may have other prices.",
                        name, words[0]);
}

static enum err judge_modes(struct bound_judge *j, const char *name,
                            const struct jmember *m)
{
    struct jmember mode;
    struct jiter it;

    if (m->type == JT_NULL)
        return ERR_OK;
    jiter_init(&it, m->type == JT_ARRAY ? m->value : (struct str){"", 0});
    while (jiter_next(&it, &mode)) {
        if (mode.type == JT_STRING && jval_is(mode.value, STR("text")))
            continue;
        if (mode.type != JT_STRING || !jval_is(mode.value, STR("audio")))
            return bound_refuse(j, name,
                                "'%s' may have 'text' and 'audio' for a key "
                                "with a hard budget; what others cost has no "
                                "bound.",
                                name);
        j->out->kinds |= PRICE_KIND(ROW_TOK_AUDIO_OUT);
        j->out->unseen = true;
    }
    return ERR_OK;
}

/* {"type":"enabled","budget_tokens":N}: the cap must be above it. */
static enum err judge_thinking(struct bound_judge *j, const struct jmember *m)
{
    struct jmember inner;
    struct jiter it;

    j->out->unseen = j->out->unseen || bound_thinks(m);
    jiter_init(&it, m->type == JT_OBJECT ? m->value : (struct str){"", 0});
    while (jiter_next(&it, &inner)) {
        uint64_t n = 0;

        if (!jval_is(inner.key, STR("budget_tokens")))
            continue;
        ERR_TRY(read_uint(j, "thinking.budget_tokens", &inner, CAP_MAX, &n));
        if (n > j->thinking)
            j->thinking = n;
    }
    return ERR_OK;
}

/* Whether <m> is an edit that only takes away: {"type":"clear_..."}. */
static bool only_clears(const struct jmember *m)
{
    char word[WORD_MAX];
    struct jmember inner;
    struct jiter it;
    bool any = false;
    size_t len;

    jiter_init(&it, m->type == JT_OBJECT ? m->value : (struct str){"", 0});
    while (jiter_next(&it, &inner)) {
        if (!jval_is(inner.key, STR("type")))
            continue;
        any = true;
        if (jval_copy(&inner, word, sizeof(word), &len) != ERR_OK ||
            !str_starts(str_of(word, len), STR("clear_")))
            return false;
    }
    return any;
}

/* {"edits":[...]}: taking old parts away is free, a summary is not. */
static enum err judge_context(struct bound_judge *j, const char *name,
                              const struct jmember *m)
{
    struct jmember edits, edit;
    struct jiter it, in;
    bool fine = m->type == JT_OBJECT || m->type == JT_NULL;

    jiter_init(&it, m->type == JT_OBJECT ? m->value : (struct str){"", 0});
    while (fine && jiter_next(&it, &edits)) {
        fine = jval_is(edits.key, STR("edits")) && edits.type == JT_ARRAY;
        jiter_init(&in, edits.value);
        while (fine && jiter_next(&in, &edit))
            fine = only_clears(&edit);
    }
    return fine ? ERR_OK
                : bound_refuse(j, name,
                               "'%s' may only clear what is old for a key with "
                               "a hard budget: what a summary costs has no "
                               "bound.",
                               name);
}

/* How many inputs the array <m> is: numbers are the tokens of one. */
static uint64_t count_inputs(const struct jmember *m)
{
    struct jmember in;
    struct jiter it;
    uint64_t n = 0;
    bool tokens = false;

    jiter_init(&it, m->value);
    while (jiter_next(&it, &in)) {
        tokens = tokens || in.type == JT_NUMBER;
        n += in.type != JT_NUMBER;
    }
    return n + tokens;
}

static enum err judge_prompt(struct bound_judge *j, const char *name,
                             const struct jmember *m)
{
    struct jmember in;
    struct jiter it;

    if (m->type == JT_STRING || m->type == JT_NULL)
        return ERR_OK;
    jiter_init(&it, m->type == JT_ARRAY ? m->value : (struct str){"", 0});
    while (jiter_next(&it, &in))
        if (in.type != JT_STRING && in.type != JT_NUMBER && in.type != JT_ARRAY)
            return bound_refuse(j, name,
                                "'%s' may have texts and token ids for a key "
                                "with a hard budget.",
                                name);
    if (m->type != JT_ARRAY)
        return bound_refuse(j, name,
                            "'%s' must be a text or a list for a key with a "
                            "hard budget.",
                            name);
    j->prompts = count_inputs(m);
    return ERR_OK;
}

/* Templates have switches that bring in tools of their own. */
static bool may_add_text(const struct jmember *m)
{
    struct jmember inner;
    struct jiter it;

    jiter_init(&it, m->type == JT_OBJECT ? m->value : STR(""));
    while (jiter_next(&it, &inner))
        if (inner.type == JT_STRING || inner.type == JT_ARRAY ||
            inner.type == JT_OBJECT)
            return true;
    return false;
}

static enum err judge_side(struct bound_judge *j, const char *name, int side,
                           const struct jmember *m)
{
    if (m->type == JT_NULL)
        return ERR_OK;
    j->side[side].bytes += m->value.len + bound_growth(m->value, true);
    j->side[side].items += m->type == JT_ARRAY ? count_inputs(m) : 1;
    return bound_judge_parts(j, name, m);
}

static enum err judge_unset(struct bound_judge *j, const char *why,
                            const char *name, const struct jmember *m)
{
    if (is_unset(m) || is_allowed(j, m->key, true))
        return ERR_OK;
    return bound_refuse(j, name,
                        "'%s' cannot be used with a key that has a hard "
                        "budget: %s. Leave it out.",
                        name, why);
}

/* Members whose meaning is a number or a list of words. */
static enum err judge_small(struct bound_judge *j, enum bound_rule rule,
                            const char *name, const struct jmember *m)
{
    static const char *const tiers[] = {
        "default",       "auto",      "flex", "standard",
        "standard_only", "on_demand", NULL};
    static const char *const speeds[] = {"standard", NULL};
    static const char *const places[] = {"global", NULL};

    switch (rule) {
    case BOUND_CAP:
        return judge_cap(j, name, m);
    case BOUND_N:
        return read_uint(j, name, m, CHOICES_MAX, &j->n);
    case BOUND_BEST_OF:
        return read_uint(j, name, m, CHOICES_MAX, &j->best_of);
    case BOUND_TIER:
        return judge_plain(j, name, m, tiers);
    case BOUND_SPEED:
        return judge_plain(j, name, m, speeds);
    case BOUND_PLACE:
        return judge_plain(j, name, m, places);
    case BOUND_MODES:
        return judge_modes(j, name, m);
    case BOUND_THINKING:
        return judge_thinking(j, m);
    case BOUND_CONTEXT:
        return judge_context(j, name, m);
    case BOUND_REASONS:
        j->out->unseen = j->out->unseen || bound_thinks(m);
        return ERR_OK;
    case BOUND_SHOWS:
        j->out->unseen = j->out->unseen || jval_is(m->value, STR("hidden"));
        return ERR_OK;
    default:
        return ERR_OK;
    }
}

/* Members that are read as a whole. */
static enum err judge_large(struct bound_judge *j, enum bound_rule rule,
                            const char *name, const struct jmember *m)
{
    switch (rule) {
    case BOUND_INPUT:
        if (m->type == JT_ARRAY)
            j->inputs = count_inputs(m);
        return bound_judge_parts(j, name, m);
    case BOUND_CONTENT:
        return bound_judge_parts(j, name, m);
    case BOUND_PROMPT:
        return judge_prompt(j, name, m);
    case BOUND_SIDE_A:
    case BOUND_SIDE_B:
        return judge_side(j, name, rule == BOUND_SIDE_B, m);
    case BOUND_TOOLS:
        return bound_judge_tools(j, m);
    case BOUND_FUNCTIONS:
        j->tools = j->tools || !is_unset(m);
        j->tool_marks += bound_count(m->value, STR("{}[],"));
        return ERR_OK;
    case BOUND_KWARGS:
        j->tools = j->tools || may_add_text(m);
        return ERR_OK;
    case BOUND_VOICE:
        if (!is_unset(m))
            j->out->kinds |= PRICE_KIND(ROW_TOK_AUDIO_OUT);
        return ERR_OK;
    case BOUND_GUESS:
        if (m->type != JT_NULL)
            j->out->extra_tok += m->value.len;
        return ERR_OK;
    default:
        return ERR_OK;
    }
}

enum err bound_judge_member(struct bound_judge *j, const struct jmember *m)
{
    const struct bound_field *f = bound_field_find(m->key, j->op);
    char name[64];

    if (!f && is_allowed(j, m->key, false))
        return ERR_OK;
    if (!f) {
        bound_show(m->key, name, sizeof(name));
        return bound_refuse(j, name,
                            "'%s' is not known to leave the cost of a request "
                            "within bounds, and this key has a hard budget. "
                            "Leave it out, or have it allowed by "
                            "budgets.allow_fields.",
                            name);
    }
    (void)snprintf(name, sizeof(name), "%.*s", STR_ARG(f->name));
    if (f->rule == BOUND_UNSET)
        return judge_unset(j, f->why, name, m);
    if (f->rule == BOUND_ANY)
        return ERR_OK;
    ERR_TRY(judge_small(j, f->rule, name, m));
    return judge_large(j, f->rule, name, m);
}
