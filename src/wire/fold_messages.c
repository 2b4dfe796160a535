/* fold_messages.c - The events of a message (Anthropic's), put together. */
#include "wire/fold_priv.h"

/* The member <name> of <object>, added when it is new. */
#define MEMBER(f, object, name)                                                \
    jnode_member(&(f)->m, object, STR("\"" name "\""))

/* <object> gets each member of <v> as it stands; one that is null leaves what
 * there is. */
static void take_members(struct fold *f, struct jnode *object,
                         const struct jmember *v)
{
    struct jmember m;
    struct jiter it;

    if (v->type != JT_OBJECT && !jval_is_unset(v))
        jmerge_fail(&f->m, ERR_NOT_FOUND);
    jiter_init(&it, v->value);
    while (f->m.err == ERR_OK && jiter_next(&it, &m))
        jnode_set_said(jnode_member(&f->m, object, m.key), &m);
}

static void take_usage(struct fold *f, const struct jmember *usage)
{
    struct jnode *n = MEMBER(f, &f->top, "usage");

    if (usage->type == JT_OBJECT)
        take_members(f, n, usage);
}

static void message_start(struct fold *f, const struct jmember *root)
{
    struct jmember message = jval_member(root, STR("message")), m, first;
    struct jiter it, inner;

    if (message.type != JT_OBJECT || f->top.kind != JNODE_NONE) {
        jmerge_fail(&f->m, ERR_NOT_FOUND);
        return;
    }
    jiter_init(&it, message.value);
    while (f->m.err == ERR_OK && jiter_next(&it, &m)) {
        if (jval_is(m.key, STR("usage"))) {
            take_usage(f, &m);
            continue;
        }
        jnode_set_said(jnode_member(&f->m, &f->top, m.key), &m);
        jiter_init(&inner, m.value);
        if (jval_is(m.key, STR("content")) && jiter_next(&inner, &first))
            jmerge_fail(&f->m, ERR_NOT_FOUND);
    }
    f->list = MEMBER(f, &f->top, "content");
    if (f->list)
        *f->list = (struct jnode){.key = f->list->key, .next = f->list->next};
    jnode_add_elements(&f->m, f->list, STR(""));
}

/* The content block that the event <root> is about; NULL: it cannot be. */
static struct jnode *block_of(struct fold *f, const struct jmember *root,
                              bool new)
{
    struct jmember at = jval_member(root, STR("index"));
    struct jnode *b = NULL;
    int64_t index;

    if (f->list && jval_uint(&at, &index) == ERR_OK)
        b = jnode_at(&f->m, f->list, index);
    if (!b || (b->kind == JNODE_NONE) != new) {
        jmerge_fail(&f->m, ERR_NOT_FOUND);
        return NULL;
    }
    return b;
}

static void block_start(struct fold *f, const struct jmember *root)
{
    struct jmember block = jval_member(root, STR("content_block"));
    struct jnode *b = block_of(f, root, true);

    if (block.type != JT_OBJECT)
        jmerge_fail(&f->m, ERR_NOT_FOUND);
    if (b)
        b->kind = JNODE_OBJECT;
    take_members(f, b, &block);
}

/* A piece of the text of a tool's input: what is there stays until the whole
 * is known. */
static void add_input(struct fold *f, struct jnode *block,
                      const struct jmember *delta)
{
    struct jmember part = jval_member(delta, STR("partial_json"));
    struct jnode *input = MEMBER(f, block, "input");
    struct jnode text = {.kind = JNODE_TEXT};

    if (!input)
        return;
    text.first = input->first;
    text.last = input->last;
    jnode_add_text(&f->m, &text, &part);
    input->first = text.first;
    input->last = text.last;
}

static void block_delta(struct fold *f, const struct jmember *root)
{
    struct jmember delta = jval_member(root, STR("delta")), m;
    struct jmember type = jval_member(&delta, STR("type"));
    struct jnode *b = block_of(f, root, false);
    struct jiter it;

    if (delta.type != JT_OBJECT || type.type != JT_STRING)
        jmerge_fail(&f->m, ERR_NOT_FOUND);
    if (jval_is(type.value, STR("input_json_delta"))) {
        add_input(f, b, &delta);
        return;
    }
    jiter_init(&it, delta.value);
    while (f->m.err == ERR_OK && jiter_next(&it, &m)) {
        if (jval_is(m.key, STR("type")) || m.type == JT_NULL)
            continue;
        if (jval_is(m.key, STR("citation")))
            jnode_add_elements(&f->m, MEMBER(f, b, "citations"), m.value);
        else if (jval_is(m.key, STR("signature")))
            jnode_set(jnode_member(&f->m, b, m.key), m.value);
        else
            jnode_add_text(&f->m, jnode_member(&f->m, b, m.key), &m);
    }
}

/* Why it stopped, and what beside the blocks is only known at the end. */
static void message_delta(struct fold *f, const struct jmember *root)
{
    struct jmember m;
    struct jiter it;

    if (!f->list)
        jmerge_fail(&f->m, ERR_NOT_FOUND);
    jiter_init(&it, root->value);
    while (f->m.err == ERR_OK && jiter_next(&it, &m)) {
        if (jval_is(m.key, STR("usage")))
            take_usage(f, &m);
        else if (jval_is(m.key, STR("delta")))
            take_members(f, &f->top, &m);
        else if (!jval_is(m.key, STR("type")))
            jnode_set_said(jnode_member(&f->m, &f->top, m.key), &m);
    }
}

void fold_message_event(struct fold *f, const struct jmember *root)
{
    static const struct {
        struct str type;
        void (*take)(struct fold *, const struct jmember *);
    } events[] = {
        {{"message_start", 13}, message_start},
        {{"content_block_start", 19}, block_start},
        {{"content_block_delta", 19}, block_delta},
        {{"message_delta", 13}, message_delta},
    };
    struct jmember type = jval_member(root, STR("type"));

    for (size_t i = 0; i < sizeof(events) / sizeof(events[0]); i++) {
        if (jval_is(type.value, events[i].type)) {
            events[i].take(f, root);
            return;
        }
    }
    if (jval_is(type.value, STR("message_stop")))
        f->ended = true;
    else if (jval_is(type.value, STR("error")))
        jmerge_fail(&f->m, ERR_NOT_FOUND);
}

/* The input of a tool is what its pieces spell, which must be JSON. */
static void finish_input(struct fold *f, struct jnode *input)
{
    struct jmember text = {.type = JT_STRING};
    size_t len, at = 1;
    char *to;

    if (!input || !input->first)
        return;
    len = jnode_text_len(input) + 2;
    to = arena_alloc(f->m.arena, 2 * len);
    if (!to) {
        jmerge_fail(&f->m, ERR_NOMEM);
        return;
    }
    to[0] = '"';
    for (const struct jpiece *p = input->first; p; p = p->next) {
        memcpy(to + at, p->text.p, p->text.len);
        at += p->text.len;
    }
    to[at] = '"';
    text.value = str_of(to, len);
    if (jval_copy(&text, to + len, len, &at) != ERR_OK ||
        !jscan_is_valid(str_of(to + len, at)))
        jmerge_fail(&f->m, ERR_NOT_FOUND);
    jnode_set(input, str_of(to + len, at));
}

enum err fold_message_put(struct fold *f, struct buf *out)
{
    if (!f->list || !f->ended)
        return ERR_NOT_FOUND;
    for (struct jnode *b = f->list->child; b; b = b->next)
        finish_input(f, jnode_find(b, STR("input")));
    if (f->m.err != ERR_OK)
        return f->m.err;
    return jnode_put(&f->top, out);
}
