/* conf_yaml.c - libyaml events to nodes with their places. Everything is
 * bounded before it is believed: depth, number of nodes, keys of one map. An
 * anchor is known only once its node is complete, so aliases make shared
 * nodes but never cycles; who walks the tree bounds the walk. */
#include "conf/conf_yaml.h"

#include <yaml.h>

#define DEPTH_MAX   32
#define NODES_MAX   200000
#define KEYS_MAX    1000
#define ANCHORS_MAX 256

/* A node whose end has not come yet. */
struct frame {
    struct ynode *node; /* arena */
    struct ypair *tail; /* arena; last entry, NULL when empty */
    struct ynode *key;  /* arena; of a map: waiting for its value */
    struct str anchor;  /* arena; registered at the end */
};

struct anchor {
    struct str name;    /* arena */
    struct ynode *node; /* arena */
};

struct builder {
    const struct say *say; /* borrowed */
    struct arena *mem;     /* borrowed */
    struct ynode *root;    /* arena */
    struct frame stack[DEPTH_MAX];
    size_t depth;
    struct anchor anchors[ANCHORS_MAX];
    size_t n_anchors;
    size_t n_nodes;
    size_t n_documents;
    bool stop; /* told why: read no further */
};

/* What libyaml says, and what a person can do about it. */
static const struct {
    const char *theirs; /* start of libyaml's problem */
    const char *ours;
} hints[] = {
    {"found character that cannot start any token",
     "this character cannot start a value; put the value in quotes, and "
     "indent with spaces, not tabs"},
    {"found a tab character",
     "a tab where only spaces may indent; write spaces"},
    {"mapping values are not allowed",
     "a second ': ' on one line; put the value in quotes or on its own line"},
    {"could not find expected ':'",
     "a key without ': ' and a value; write KEY: VALUE"},
    {"did not find expected key",
     "a key was expected here; check the indentation of this line"},
    {"did not find expected '-' indicator",
     "a list item was expected here; begin the line with '- ', or indent it "
     "like the keys above it"},
    {"did not find expected node content",
     "a value was expected here; put one that holds brackets, like "
     "\"[::1]:4141\", in quotes"},
    {"did not find expected alphabetic or numeric character",
     "a '*' or '&' here means an anchor; put the value in quotes"},
    {"found unexpected ':'",
     "a ':' at the end of a value; put the value in quotes"},
    {"found incompatible YAML document",
     "only YAML 1.1 and 1.2 are read; remove this line"},
    {"did not find expected ',' or ']'",
     "the list is not closed; write ',' between items and ']' at its end"},
    {"did not find expected ',' or '}'",
     "the mapping is not closed; write ',' between keys and '}' at its end"},
    {"found unexpected end of stream",
     "a quote or bracket is still open at the end of the file; close it"},
    {"did not find expected <document start>",
     "text after the end of the document; check the indentation"},
    {"block sequence entries are not allowed",
     "a list cannot start here; write it on the next line"},
    {"control characters are not allowed", "a control character; remove it"},
};

static void fail_at(struct builder *b, yaml_mark_t mark, const char *what)
{
    struct ynode at = {.line = (unsigned)mark.line + 1,
                       .column = (unsigned)mark.column + 1};

    say_error(b->say, &at, "%s", what);
    b->stop = true;
}

static enum err node_new(struct builder *b, enum ynode_kind kind,
                         yaml_mark_t mark, struct ynode **out)
{
    struct ynode *n;

    if (++b->n_nodes > NODES_MAX) {
        fail_at(b, mark,
                "too many values in one file; split what is not "
                "needed off");
        return ERR_SYNTAX;
    }
    n = arena_alloc(b->mem, sizeof(*n));
    if (!n)
        return ERR_NOMEM;
    n->kind = kind;
    n->line = (unsigned)mark.line + 1;
    n->column = (unsigned)mark.column + 1;
    *out = n;
    return ERR_OK;
}

static void anchor_add(struct builder *b, struct str name, struct ynode *n)
{
    if (name.len == 0)
        return;
    if (b->n_anchors == ANCHORS_MAX) {
        say_error(b->say, n, "more than %d anchors; write the values out",
                  ANCHORS_MAX);
        b->stop = true;
        return;
    }
    b->anchors[b->n_anchors++] = (struct anchor){name, n};
}

/* The key <key> of <map>, if it is there. */
static const struct ypair *find_key(const struct ynode *map, struct str key)
{
    for (const struct ypair *p = map->pairs; p; p = p->next)
        if (p->key && str_eq(p->key->text, key))
            return p;
    return NULL;
}

/* Whether <key> may stand in the map of <f>; tells why not. */
static bool key_is_good(struct builder *b, struct frame *f,
                        const struct ynode *key)
{
    const struct ypair *first;

    if (key->kind != YNODE_SCALAR) {
        say_error(b->say, key, "a key must be a word; write KEY: VALUE");
        return false;
    }
    if (str_eq(key->text, STR("<<"))) {
        say_error(b->say, key,
                  "merge keys are not supported; write the keys out");
        return false;
    }
    if (f->node->n_pairs >= KEYS_MAX) {
        say_error(b->say, key, "more than %d keys in one mapping; remove some",
                  KEYS_MAX);
        b->stop = true;
        return false;
    }
    first = find_key(f->node, key->text);
    if (!first)
        return true;
    say_error(b->say, key,
              "%s is set twice, first in line %u; remove one of them",
              conf_quote(key->text).c, first->key->line);
    return false;
}

/* Hang the complete node <n> where the innermost open node wants it. */
static enum err attach(struct builder *b, struct ynode *n)
{
    struct frame *f;
    struct ypair *p;

    if (b->depth == 0) {
        b->root = n;
        return ERR_OK;
    }
    f = &b->stack[b->depth - 1];
    if (f->node->kind == YNODE_MAP && !f->key) {
        f->key = n;
        return ERR_OK;
    }
    if (f->node->kind == YNODE_MAP && !key_is_good(b, f, f->key)) {
        f->key = NULL;
        return b->stop ? ERR_SYNTAX : ERR_OK;
    }
    p = arena_alloc(b->mem, sizeof(*p));
    if (!p)
        return ERR_NOMEM;
    p->key = f->key;
    p->node = n;
    f->key = NULL;
    if (f->tail)
        f->tail->next = p;
    else
        f->node->pairs = p;
    f->tail = p;
    f->node->n_pairs++;
    return ERR_OK;
}

static enum err anchor_name(struct builder *b, const yaml_char_t *anchor,
                            struct str *out)
{
    *out = (struct str){NULL, 0};
    if (!anchor)
        return ERR_OK;
    *out = arena_dup(b->mem, str_from((const char *)anchor));
    return out->p ? ERR_OK : ERR_NOMEM;
}

static void check_tag(struct builder *b, const yaml_char_t *tag,
                      const struct ynode *n)
{
    struct str t = str_from((const char *)tag);

    if (t.len == 0 || str_eq(t, STR("!")) ||
        str_starts(t, STR("tag:yaml.org,2002:")))
        return;
    say_error(b->say, n, "the tag %s means nothing here; remove it",
              conf_quote(t).c);
}

static enum err open_node(struct builder *b, const yaml_event_t *ev,
                          enum ynode_kind kind, const yaml_char_t *anchor,
                          const yaml_char_t *tag)
{
    struct frame *f;
    enum err e;

    if (b->depth == DEPTH_MAX) {
        fail_at(b, ev->start_mark, "nested too deeply; no setting needs that");
        return ERR_SYNTAX;
    }
    f = &b->stack[b->depth];
    memset(f, 0, sizeof(*f));
    e = node_new(b, kind, ev->start_mark, &f->node);
    if (e != ERR_OK)
        return e;
    check_tag(b, tag, f->node);
    e = anchor_name(b, anchor, &f->anchor);
    if (e == ERR_OK)
        b->depth++;
    return e;
}

static enum err close_node(struct builder *b)
{
    struct frame *f = &b->stack[--b->depth];

    anchor_add(b, f->anchor, f->node);
    return b->stop ? ERR_SYNTAX : attach(b, f->node);
}

/* Whether <s> holds what no setting needs and what would not survive being
 * written again: control characters, Unicode's own line breaks, byte order
 * marks. libyaml has made sure that it is UTF-8. */
static bool has_control(struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        struct str at = str_skip(s, i);
        unsigned char c = (unsigned char)s.p[i];

        if (c < 0x20 || c == 0x7f ||
            (c == 0xc2 && at.len > 1 && (unsigned char)at.p[1] < 0xa0) ||
            str_starts(at, STR("\xe2\x80\xa8")) ||
            str_starts(at, STR("\xe2\x80\xa9")) ||
            str_starts(at, STR("\xef\xbb\xbf")) ||
            str_starts(at, STR("\xef\xbf\xbe")) ||
            str_starts(at, STR("\xef\xbf\xbf")))
            return true;
    }
    return false;
}

static bool means_null(struct str s)
{
    return s.len == 0 || str_eq(s, STR("~")) || str_eq(s, STR("null")) ||
           str_eq(s, STR("Null")) || str_eq(s, STR("NULL"));
}

static enum err scalar(struct builder *b, const yaml_event_t *ev)
{
    struct str s =
        str_of(ev->data.scalar.value, (size_t)ev->data.scalar.length);
    bool plain = ev->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    struct str anchor;
    struct ynode *n;
    enum err e = node_new(b, YNODE_SCALAR, ev->start_mark, &n);

    if (e != ERR_OK)
        return e;
    check_tag(b, ev->data.scalar.tag, n);
    if (has_control(s)) {
        say_error(b->say, n,
                  "a line break or control character inside a value; write "
                  "it on one line");
        s = (struct str){"", 0};
        plain = true;
    }
    if (plain && means_null(s))
        n->kind = YNODE_NULL;
    n->text = arena_dup(b->mem, s);
    if (!n->text.p)
        return ERR_NOMEM;
    e = anchor_name(b, ev->data.scalar.anchor, &anchor);
    if (e != ERR_OK)
        return e;
    anchor_add(b, anchor, n);
    return b->stop ? ERR_SYNTAX : attach(b, n);
}

static enum err alias(struct builder *b, const yaml_event_t *ev)
{
    struct str name = str_from((const char *)ev->data.alias.anchor);
    struct ynode *n;
    enum err e;

    for (size_t i = b->n_anchors; i > 0; i--)
        if (str_eq(b->anchors[i - 1].name, name))
            return attach(b, b->anchors[i - 1].node);
    e = node_new(b, YNODE_NULL, ev->start_mark, &n);
    if (e != ERR_OK)
        return e;
    say_error(b->say, n,
              "no anchor &%s before this alias; put a value that begins with "
              "'*' in quotes",
              conf_quote(name).c);
    return attach(b, n);
}

static enum err on_event(struct builder *b, const yaml_event_t *ev)
{
    switch (ev->type) {
    case YAML_DOCUMENT_START_EVENT:
        if (++b->n_documents == 1)
            return ERR_OK;
        fail_at(b, ev->start_mark,
                "a second document; remove this '---' and what follows");
        return ERR_SYNTAX;
    case YAML_ALIAS_EVENT:
        return alias(b, ev);
    case YAML_SCALAR_EVENT:
        return scalar(b, ev);
    case YAML_SEQUENCE_START_EVENT:
        return open_node(b, ev, YNODE_LIST, ev->data.sequence_start.anchor,
                         ev->data.sequence_start.tag);
    case YAML_MAPPING_START_EVENT:
        return open_node(b, ev, YNODE_MAP, ev->data.mapping_start.anchor,
                         ev->data.mapping_start.tag);
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        return close_node(b);
    default:
        return ERR_OK;
    }
}

/* Turn a byte offset into a place: libyaml's reader errors know only that. */
static yaml_mark_t mark_of(struct str text, size_t offset)
{
    yaml_mark_t m = {offset, 0, 0};

    for (size_t i = 0; i < offset && i < text.len; i++) {
        if (text.p[i] == '\n') {
            m.line++;
            m.column = 0;
        } else if (((unsigned char)text.p[i] & 0xc0) != 0x80) {
            m.column++;
        }
    }
    return m;
}

/* The byte at <m>, NUL past the end; libyaml's index counts characters. */
static char char_at(struct str text, yaml_mark_t m)
{
    size_t i = 0;
    size_t column = 0;

    for (size_t line = 0; line < m.line && i < text.len; line++)
        i += str_find_char(str_skip(text, i), '\n') + 1;
    for (; i < text.len && column < m.column; i++)
        if (((unsigned char)text.p[i] & 0xc0) != 0x80)
            column++;
    return i < text.len ? text.p[i] : '\0';
}

static enum err on_parser_error(struct builder *b, const yaml_parser_t *p,
                                struct str text)
{
    const char *said = p->problem ? p->problem : "cannot be read";
    struct ynode at = {0};

    if (p->error == YAML_MEMORY_ERROR)
        return ERR_NOMEM;
    if (p->error == YAML_READER_ERROR) {
        fail_at(b, mark_of(text, p->problem_offset),
                "not UTF-8 text, or a control character; save the file as "
                "UTF-8");
        return ERR_SYNTAX;
    }
    if (char_at(text, p->problem_mark) == '\t')
        said = "found a tab character";
    for (size_t i = 0; i < sizeof(hints) / sizeof(hints[0]); i++)
        if (str_starts(str_from(said), str_from(hints[i].theirs))) {
            fail_at(b, p->problem_mark, hints[i].ours);
            return ERR_SYNTAX;
        }
    at.line = (unsigned)p->problem_mark.line + 1;
    at.column = (unsigned)p->problem_mark.column + 1;
    say_error(b->say, &at, "not YAML: %s; check this line", said);
    return ERR_SYNTAX;
}

static enum err read_events(struct builder *b, yaml_parser_t *p,
                            struct str text)
{
    for (;;) {
        yaml_event_t ev;
        bool last;
        enum err e;

        if (yaml_parser_parse(p, &ev) == 0)
            return on_parser_error(b, p, text);
        last = ev.type == YAML_STREAM_END_EVENT;
        e = on_event(b, &ev);
        yaml_event_delete(&ev);
        if (e != ERR_OK || last)
            return e;
    }
}

enum err yaml_read(const struct say *say, struct str text, struct arena *mem,
                   struct ynode **root_out)
{
    struct builder *b = arena_alloc(mem, sizeof(*b));
    yaml_parser_t p;
    enum err e;

    if (!b || yaml_parser_initialize(&p) == 0)
        return ERR_NOMEM;
    b->say = say;
    b->mem = mem;
    if (str_starts(text, STR("\xef\xbb\xbf")))
        text = str_skip(text, 3);
    yaml_parser_set_encoding(&p, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(
        &p, (const unsigned char *)(text.len ? text.p : ""), text.len);
    e = read_events(b, &p, text);
    yaml_parser_delete(&p);
    if (e != ERR_OK)
        return e;
    *root_out = b->root && b->root->kind != YNODE_NULL ? b->root : NULL;
    return ERR_OK;
}

const struct ynode *ynode_get(const struct ynode *map, const char *key)
{
    const struct ypair *p;

    if (!map || map->kind != YNODE_MAP)
        return NULL;
    p = find_key(map, str_from(key));
    return p && p->node->kind != YNODE_NULL ? p->node : NULL;
}

const struct ynode *ynode_at(const struct ynode *list, size_t i)
{
    const struct ypair *p;

    if (!list || list->kind != YNODE_LIST)
        return i == 0 ? list : NULL;
    p = list->pairs;
    while (p && i-- > 0)
        p = p->next;
    return p ? p->node : NULL;
}
