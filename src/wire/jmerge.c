/* jmerge.c - See jmerge.h. */
#include "wire/jmerge.h"

/* Strings that are said whole each time, and do not grow. */
static const struct str whole_names[] = {
    {"role", 4},   {"id", 2},      {"type", 4},      {"name", 4},
    {"format", 6}, {"object", 6},  {"model", 5},     {"status", 6},
    {"index", 5},  {"call_id", 7}, {"signature", 9}, {"mime_type", 9},
    {"url", 3},    {"file_id", 7}, {"item_id", 7},   {"finish_reason", 13},
};

static const struct str null_text = {"null", 4};

void jmerge_fail(struct jmerge *m, enum err e)
{
    if (m->err == ERR_OK)
        m->err = e;
}

static void *pool_get(struct jmerge *m, size_t len)
{
    void *p = m->err == ERR_OK ? arena_alloc(m->arena, len) : NULL;

    if (!p)
        jmerge_fail(m, ERR_NOMEM);
    return p;
}

/* Whether <node> may still become anything. */
static bool is_open(const struct jnode *node)
{
    return node->kind == JNODE_NONE ||
           (node->kind == JNODE_RAW && str_eq(node->raw, null_text));
}

/* See that <node> is of <kind>; false: it is something else. */
static bool become(struct jmerge *m, struct jnode *node, enum jnode_kind kind)
{
    if (is_open(node))
        node->kind = kind;
    if (node->kind != kind)
        jmerge_fail(m, ERR_NOT_FOUND);
    return node->kind == kind;
}

/* Whether the search may go on. */
static bool may_step(struct jmerge *m)
{
    if (m->steps == 0)
        jmerge_fail(m, ERR_NOT_FOUND);
    else
        m->steps--;
    return m->err == ERR_OK;
}

/* A new child of <parent> behind <after>, at its front when that is NULL. */
static struct jnode *add_child(struct jmerge *m, struct jnode *parent,
                               struct jnode *after)
{
    struct jnode *n = pool_get(m, sizeof(*n));

    if (!n)
        return NULL;
    if (after) {
        n->next = after->next;
        after->next = n;
    } else {
        n->next = parent->child;
        parent->child = n;
    }
    if (!n->next)
        parent->tail = n;
    parent->count++;
    parent->hit = n;
    return n;
}

struct jnode *jnode_member(struct jmerge *m, struct jnode *object,
                           struct str key)
{
    struct jnode *n;

    if (!object || m->err != ERR_OK || !become(m, object, JNODE_OBJECT))
        return NULL;
    for (n = object->child; n && may_step(m); n = n->next)
        if (str_eq(n->key, key))
            return n;
    if (object->count >= JMERGE_NAMES || m->err != ERR_OK) {
        jmerge_fail(m, ERR_NOT_FOUND);
        return NULL;
    }
    n = add_child(m, object, object->tail);
    if (n)
        n->key = key;
    return n;
}

struct jnode *jnode_find(const struct jnode *object, struct str name)
{
    if (!object || object->kind != JNODE_OBJECT)
        return NULL;
    for (struct jnode *n = object->child; n; n = n->next)
        if (jval_is(n->key, name))
            return n;
    return NULL;
}

struct jnode *jnode_at(struct jmerge *m, struct jnode *list, int64_t index)
{
    struct jnode *n, *after = NULL;

    if (!list || m->err != ERR_OK)
        return NULL;
    if (list->kind == JNODE_LIST && !list->first)
        list->kind = JNODE_NUMBERED; /* an empty one may become either */
    if (!become(m, list, JNODE_NUMBERED))
        return NULL;
    if (list->hit && list->hit->index == index)
        return list->hit;
    if (list->tail && list->tail->index < index)
        after = list->tail;
    for (n = after ? NULL : list->child; n && n->index <= index && may_step(m);
         n = n->next) {
        after = n;
        if (n->index == index)
            return list->hit = n;
    }
    if (list->count >= JMERGE_NUMBERS || m->err != ERR_OK) {
        jmerge_fail(m, ERR_NOT_FOUND);
        return NULL;
    }
    n = add_child(m, list, after);
    if (n)
        n->index = index;
    return n;
}

void jnode_set(struct jnode *node, struct str raw)
{
    if (!node)
        return;
    node->kind = JNODE_RAW;
    node->raw = raw;
}

void jnode_set_said(struct jnode *node, const struct jmember *v)
{
    if (node && (v->type != JT_NULL || node->kind == JNODE_NONE))
        jnode_set(node, v->value);
}

static void add_piece(struct jmerge *m, struct jnode *node, struct str text)
{
    struct jpiece *p;

    if (text.len == 0)
        return;
    p = pool_get(m, sizeof(*p));
    if (!p)
        return;
    p->text = text;
    if (node->last)
        node->last->next = p;
    else
        node->first = p;
    node->last = p;
}

/* What is between the quotes or brackets of <raw>. */
static struct str inside(struct str raw)
{
    return str_of(raw.p + 1, raw.len - 2);
}

void jnode_add_text(struct jmerge *m, struct jnode *node,
                    const struct jmember *v)
{
    if (!node)
        return;
    if (v->type != JT_STRING) {
        jmerge_fail(m, ERR_NOT_FOUND);
        return;
    }
    if (node->kind == JNODE_RAW && node->raw.len >= 2 &&
        node->raw.p[0] == '"') {
        node->kind = JNODE_TEXT;
        add_piece(m, node, inside(node->raw));
    }
    if (become(m, node, JNODE_TEXT))
        add_piece(m, node, inside(v->value));
}

void jnode_add_elements(struct jmerge *m, struct jnode *node, struct str raw)
{
    raw = json_skip_space(raw);
    if (!node)
        return;
    if (node->kind == JNODE_RAW && node->raw.len >= 2 &&
        node->raw.p[0] == '[') {
        node->kind = JNODE_LIST;
        add_piece(m, node, json_skip_space(inside(node->raw)));
    }
    if (node->kind == JNODE_NUMBERED && raw.len == 0)
        return;
    if (become(m, node, JNODE_LIST))
        add_piece(m, node, raw);
}

static bool is_whole(struct str key)
{
    for (size_t i = 0; i < sizeof(whole_names) / sizeof(whole_names[0]); i++)
        if (jval_is(key, whole_names[i]))
            return true;
    return false;
}

/* The `index` that <v> says, or -1. */
static int64_t index_of(const struct jmember *v)
{
    struct jmember at = {0};
    int64_t index = -1;

    if (v->type == JT_OBJECT)
        at = jval_member(v, STR("index"));
    if (at.type == JT_NONE || jval_uint(&at, &index) != ERR_OK)
        return -1;
    return index;
}

static void merge_at(struct jmerge *m, struct jnode *node,
                     const struct jmember *v, unsigned depth);

static void merge_object(struct jmerge *m, struct jnode *node,
                         const struct jmember *v, unsigned depth)
{
    struct jmember inner;
    struct jiter it;

    if (!become(m, node, JNODE_OBJECT))
        return;
    jiter_init(&it, v->value);
    while (m->err == ERR_OK && jiter_next(&it, &inner))
        merge_at(m, jnode_member(m, node, inner.key), &inner, depth + 1);
}

static void merge_array(struct jmerge *m, struct jnode *node,
                        const struct jmember *v, unsigned depth)
{
    struct jmember e;
    struct jiter it;

    jiter_init(&it, v->value);
    if (!jiter_next(&it, &e) || index_of(&e) < 0) {
        jnode_add_elements(m, node, inside(v->value));
        return;
    }
    do {
        int64_t index = index_of(&e);

        if (index < 0)
            jmerge_fail(m, ERR_NOT_FOUND);
        merge_at(m, jnode_at(m, node, index), &e, depth + 1);
    } while (m->err == ERR_OK && jiter_next(&it, &e));
}

static void merge_at(struct jmerge *m, struct jnode *node,
                     const struct jmember *v, unsigned depth)
{
    if (!node || m->err != ERR_OK)
        return;
    if (depth >= JMERGE_DEPTH && v->type >= JT_ARRAY) {
        if (!is_open(node))
            jmerge_fail(m, ERR_NOT_FOUND);
        jnode_set(node, v->value);
        return;
    }
    switch (v->type) {
    case JT_OBJECT:
        merge_object(m, node, v, depth);
        return;
    case JT_ARRAY:
        merge_array(m, node, v, depth);
        return;
    case JT_STRING:
        if (!is_whole(node->key))
            jnode_add_text(m, node, v);
        else if (v->value.len > 2 || is_open(node))
            jnode_set(node, v->value);
        return;
    default:
        if (node->kind != JNODE_NONE && v->type == JT_NULL)
            return;
        if (become(m, node, JNODE_RAW))
            jnode_set(node, v->value);
        return;
    }
}

void jnode_merge(struct jmerge *m, struct jnode *node, const struct jmember *v)
{
    merge_at(m, node, v, 0);
}

size_t jnode_text_len(const struct jnode *node)
{
    size_t len = 0;

    for (const struct jpiece *p = node->first; p; p = p->next)
        len += p->text.len;
    return len;
}

bool jnode_is_blank(const struct jnode *node)
{
    if (!node || is_open(node))
        return true;
    return (node->kind == JNODE_TEXT && !node->first) ||
           (node->kind == JNODE_RAW && str_eq(node->raw, STR("\"\"")));
}

static enum err put_pieces(const struct jnode *node, struct str between,
                           struct buf *out)
{
    for (const struct jpiece *p = node->first; p; p = p->next) {
        if (p != node->first)
            ERR_TRY(buf_put_str(out, between));
        ERR_TRY(buf_put_str(out, p->text));
    }
    return ERR_OK;
}

static enum err put_children(const struct jnode *node, struct buf *out)
{
    for (const struct jnode *n = node->child; n; n = n->next) {
        if (n != node->child)
            ERR_TRY(buf_put_str(out, STR(",")));
        if (n->key.len > 0) {
            ERR_TRY(buf_put_str(out, n->key));
            ERR_TRY(buf_put_str(out, STR(":")));
        }
        ERR_TRY(jnode_put(n, out));
    }
    return ERR_OK;
}

enum err jnode_put(const struct jnode *node, struct buf *out)
{
    switch (node->kind) {
    case JNODE_NONE:
        return buf_put_str(out, null_text);
    case JNODE_RAW:
        return buf_put_str(out, node->raw);
    case JNODE_TEXT:
        ERR_TRY(buf_put_str(out, STR("\"")));
        ERR_TRY(put_pieces(node, STR(""), out));
        return buf_put_str(out, STR("\""));
    case JNODE_LIST:
        ERR_TRY(buf_put_str(out, STR("[")));
        ERR_TRY(put_pieces(node, STR(","), out));
        return buf_put_str(out, STR("]"));
    case JNODE_NUMBERED:
        ERR_TRY(buf_put_str(out, STR("[")));
        ERR_TRY(put_children(node, out));
        return buf_put_str(out, STR("]"));
    case JNODE_OBJECT:
        break;
    }
    ERR_TRY(buf_put_str(out, STR("{")));
    ERR_TRY(put_children(node, out));
    return buf_put_str(out, STR("}"));
}
