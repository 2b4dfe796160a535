/* fold_chat.c - Chunks of chat and of completions, put together. */
#include "wire/fold_priv.h"

/* The member <name> of <object>, added when it is new. */
#define MEMBER(f, object, name)                                                \
    jnode_member(&(f)->m, object, STR("\"" name "\""))

/* ---- the parts of a choice --------------------------------------------- */

/* Tool calls say which one they are; some providers leave that out, and then
 * one with an id is the next. */
static void merge_calls(struct fold *f, struct jnode *calls,
                        const struct jmember *v)
{
    struct jmember call, at, id;
    struct jiter it;

    if (v->type != JT_ARRAY) {
        jnode_merge(&f->m, calls, v);
        return;
    }
    if (calls && calls->kind == JNODE_NONE)
        jnode_add_elements(&f->m, calls, STR(""));
    jiter_init(&it, v->value);
    while (f->m.err == ERR_OK && jiter_next(&it, &call)) {
        int64_t index = 0;

        at = jval_member(&call, STR("index"));
        id = jval_member(&call, STR("id"));
        if (calls && calls->tail)
            index =
                calls->tail->index + (id.type == JT_STRING && id.value.len > 2);
        if (!jval_is_unset(&at) && jval_uint(&at, &index) != ERR_OK)
            jmerge_fail(&f->m, ERR_NOT_FOUND);
        if (call.type != JT_OBJECT)
            jmerge_fail(&f->m, ERR_NOT_FOUND);
        jnode_merge(&f->m, jnode_at(&f->m, calls, index), &call);
    }
}

static void merge_delta(struct fold *f, struct jnode *message,
                        const struct jmember *delta)
{
    struct jmember m;
    struct jiter it;

    if (delta->type != JT_OBJECT && delta->type != JT_NULL)
        jmerge_fail(&f->m, ERR_NOT_FOUND);
    jiter_init(&it, delta->value);
    while (f->m.err == ERR_OK && jiter_next(&it, &m)) {
        struct jnode *n = jnode_member(&f->m, message, m.key);

        if (jval_is(m.key, STR("tool_calls")))
            merge_calls(f, n, &m);
        else if (jval_is(m.key, STR("content")) && m.type >= JT_ARRAY)
            jmerge_fail(&f->m, ERR_NOT_FOUND); /* parts do not add up */
        else
            jnode_merge(&f->m, n, &m);
    }
}

static void take_choice(struct fold *f, const struct jmember *choice)
{
    const bool chat = f->kind == ENDPOINT_CHAT;
    struct jmember at = jval_member(choice, STR("index")), m;
    struct jnode *c, *n, *said;
    struct jiter it;
    int64_t index = 0;

    if (!jval_is_unset(&at) && jval_uint(&at, &index) != ERR_OK)
        jmerge_fail(&f->m, ERR_NOT_FOUND);
    c = jnode_at(&f->m, f->list, index);
    if (c && c->kind == JNODE_NONE)
        jnode_set(MEMBER(f, c, "index"),
                  at.type == JT_NUMBER ? at.value : STR("0"));
    said = chat ? MEMBER(f, c, "message") : MEMBER(f, c, "text");
    jiter_init(&it, choice->value);
    while (f->m.err == ERR_OK && jiter_next(&it, &m)) {
        if (jval_is(m.key, STR("index")))
            continue;
        if (chat && jval_is(m.key, STR("delta"))) {
            merge_delta(f, said, &m);
            continue;
        }
        n = jnode_member(&f->m, c, m.key);
        if (chat && n == said)
            jmerge_fail(&f->m, ERR_NOT_FOUND); /* no chunk */
        else if (n == said || jval_is(m.key, STR("logprobs")) ||
                 m.type == JT_ARRAY)
            jnode_merge(&f->m, n, &m);
        else if (m.type != JT_OBJECT || m.value.len > 2 ||
                 (n && n->kind == JNODE_NONE))
            jnode_set_said(n, &m);
    }
}

/* ---- chunks ------------------------------------------------------------ */

static void take_choices(struct fold *f, const struct jmember *choices)
{
    struct jmember choice;
    struct jiter it;

    f->list = MEMBER(f, &f->top, "choices");
    if (f->list && f->list->kind == JNODE_NONE)
        jnode_add_elements(&f->m, f->list, STR(""));
    jiter_init(&it, choices->value);
    while (f->m.err == ERR_OK && jiter_next(&it, &choice)) {
        if (choice.type == JT_OBJECT)
            take_choice(f, &choice);
        else
            jmerge_fail(&f->m, ERR_NOT_FOUND);
    }
}

/* The first that says something counts: a first chunk about the prompt may
 * name neither id nor model. */
static bool is_constant(struct str key)
{
    return jval_is(key, STR("id")) || jval_is(key, STR("model")) ||
           jval_is(key, STR("created"));
}

static bool says_nothing(struct str raw)
{
    return str_eq(raw, STR("\"\"")) || str_eq(raw, STR("0")) ||
           str_eq(raw, STR("null"));
}

static void take_member(struct fold *f, const struct jmember *m)
{
    struct jnode *n;

    if (jval_is(m->key, STR("usage"))) {
        if (m->type == JT_OBJECT)
            f->usage = m->value;
        return;
    }
    if (jval_is(m->key, STR("obfuscation")))
        return;
    if (jval_is(m->key, STR("error"))) {
        if (m->type != JT_NULL)
            jmerge_fail(&f->m, ERR_NOT_FOUND);
        return;
    }
    n = jnode_member(&f->m, &f->top, m->key);
    if (!n)
        return;
    if (jval_is(m->key, STR("object")))
        jnode_set(n, f->kind == ENDPOINT_CHAT ? STR("\"chat.completion\"")
                                              : STR("\"text_completion\""));
    else if (!is_constant(m->key) || n->kind == JNODE_NONE ||
             says_nothing(n->raw))
        jnode_set_said(n, m);
}

void fold_chat_event(struct fold *f, const struct jmember *root)
{
    struct jmember m;
    struct jiter it;

    jiter_init(&it, root->value);
    if (f->head.len > 0 && str_starts(root->value, f->head))
        it.p = root->value.p + f->head.len; /* nothing new */
    while (f->m.err == ERR_OK && jiter_next(&it, &m)) {
        if (!jval_is(m.key, STR("choices"))) {
            take_member(f, &m);
            continue;
        }
        f->head = str_of(root->value.p, (size_t)(m.key.p - root->value.p));
        if (m.type == JT_ARRAY)
            take_choices(f, &m);
        else if (m.type != JT_NULL)
            jmerge_fail(&f->m, ERR_NOT_FOUND);
    }
}

/* ---- the reply --------------------------------------------------------- */

/* Base64 that was padded within does not add up. */
static bool is_padded_within(const struct jnode *data)
{
    if (!data || data->kind != JNODE_TEXT)
        return false;
    for (const struct jpiece *p = data->first; p && p->next; p = p->next)
        if (str_ends(p->text, STR("=")))
            return true;
    return false;
}

/* The elements of a plain reply are told by their place. */
static void drop_indexes(struct jnode *calls)
{
    if (!calls || calls->kind != JNODE_NUMBERED)
        return;
    for (struct jnode *call = calls->child; call; call = call->next) {
        struct jnode **at = &call->child;

        while (*at && !jval_is((*at)->key, STR("index")))
            at = &(*at)->next;
        if (*at)
            *at = (*at)->next;
    }
}

/* Text that never came is null where the reply is something else. */
static void finish_message(struct fold *f, struct jnode *message)
{
    struct jnode *role = MEMBER(f, message, "role");
    struct jnode *content = MEMBER(f, message, "content");
    struct jnode *refusal = jnode_find(message, STR("refusal"));
    struct jnode *calls = jnode_find(message, STR("tool_calls"));
    struct jnode *audio = jnode_find(message, STR("audio"));
    bool other;

    if (!role || !content)
        return;
    if (jnode_is_blank(role))
        jnode_set(role, STR("\"assistant\""));
    other = !jnode_is_blank(refusal) || !jnode_is_blank(audio) ||
            (calls && calls->kind == JNODE_NUMBERED) ||
            !jnode_is_blank(jnode_find(message, STR("function_call")));
    if (other && jnode_is_blank(content))
        jnode_set(content, STR("null"));
    if (refusal && jnode_is_blank(refusal))
        jnode_set(refusal, STR("null"));
    drop_indexes(calls);
    if (is_padded_within(jnode_find(audio, STR("data"))))
        jmerge_fail(&f->m, ERR_NOT_FOUND);
}

/* Append `,"<name>":{"a":x,"b":y}` of the parts that were said or are not 0. */
static enum err put_details(const char *name, const char *a, int64_t x,
                            const char *b, int64_t y, struct buf *out)
{
    if (x < 0 && y < 0)
        return ERR_OK;
    ERR_TRY(buf_printf(out, ",\"%s\":{", name));
    if (x >= 0)
        ERR_TRY(buf_printf(out, "\"%s\":%lld", a, (long long)x));
    if (y >= 0)
        ERR_TRY(buf_printf(out, "%s\"%s\":%lld", x >= 0 ? "," : "", b,
                           (long long)y));
    return buf_put_str(out, STR("}"));
}

/* <n>, or -1 where nothing was said of it. */
static int64_t part(const struct usage *u, unsigned bit, int64_t n)
{
    return n > 0 || (u->said & bit) != 0 ? n : -1;
}

/* What was told, in the words of chat. */
static enum err put_told(const struct usage *u, struct buf *out)
{
    const int64_t in = usage_input_total(u), gone = usage_output_total(u);

    ERR_TRY(buf_printf(out,
                       "{\"prompt_tokens\":%lld,\"completion_tokens\":%lld,"
                       "\"total_tokens\":%lld",
                       (long long)in, (long long)gone, (long long)(in + gone)));
    ERR_TRY(put_details("prompt_tokens_details", "cached_tokens",
                        part(u, USAGE_CACHE_READ, u->cache_read),
                        "audio_tokens", part(u, USAGE_AUDIO_IN, u->audio_in),
                        out));
    ERR_TRY(put_details("completion_tokens_details", "reasoning_tokens",
                        part(u, USAGE_REASONING, u->reasoning), "audio_tokens",
                        part(u, USAGE_AUDIO_OUT, u->audio_out), out));
    return buf_put_str(out, STR("}"));
}

static enum err put_usage(const struct fold *f, struct buf *out)
{
    const bool told = f->told && f->told->present;

    if (f->usage.len == 0 && !told)
        return ERR_OK;
    out->len--; /* the brace */
    ERR_TRY(buf_put_str(out, STR(",\"usage\":")));
    if (f->usage.len > 0)
        ERR_TRY(buf_put_str(out, f->usage));
    else
        ERR_TRY(put_told(f->told, out));
    return buf_put_str(out, STR("}"));
}

enum err fold_chat_put(struct fold *f, struct buf *out)
{
    if (!f->list || !f->list->child)
        return ERR_NOT_FOUND;
    for (struct jnode *c = f->list->child; c; c = c->next) {
        struct jnode *text = jnode_find(c, STR("text"));

        (void)MEMBER(f, c, "finish_reason");
        if (f->kind == ENDPOINT_CHAT)
            finish_message(f, MEMBER(f, c, "message"));
        else if (text && jnode_is_blank(text))
            jnode_set(text, STR("\"\""));
    }
    if (!jnode_find(&f->top, STR("object")))
        jnode_set(MEMBER(f, &f->top, "object"),
                  f->kind == ENDPOINT_CHAT ? STR("\"chat.completion\"")
                                           : STR("\"text_completion\""));
    if (f->m.err != ERR_OK)
        return f->m.err;
    ERR_TRY(jnode_put(&f->top, out));
    return put_usage(f, out);
}
