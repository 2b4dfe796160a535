/* conf_bind.c - Walks the nodes and the option table side by side: known keys
 * go to their readers, absent ones get their defaults, unknown ones are told
 * with the nearest known key. Every visit is counted, so that aliases cannot
 * blow a small file up. */
#include "conf/conf_bind.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/panic.h"
#include "conf/conf_parse.h"

#define VISITS_MAX  200000
#define SUGGEST_MAX 200

bool bind_visit(struct bind *b, const struct ynode *n)
{
    if (b->stop || b->nomem)
        return false;
    if (++b->visits <= VISITS_MAX)
        return true;
    say_error(b->say, n,
              "too many values, aliases counted each time; write "
              "less");
    b->stop = true;
    return false;
}

struct str bind_dup(struct bind *b, struct str s)
{
    struct str copy = arena_dup(b->mem, s);

    if (!copy.p)
        b->nomem = true;
    return copy;
}

void *bind_array(struct bind *b, const struct opt *o, void *base, size_t n,
                 size_t size)
{
    void *v = NULL;

    if (n > 0) {
        v = arena_alloc(b->mem, n * size);
        if (!v) {
            b->nomem = true;
            n = 0;
        }
    }
    memcpy((char *)base + o->off, &v, sizeof(v));
    memcpy((char *)base + o->off_n, &n, sizeof(n));
    return v;
}

static void bind_map(struct bind *b, const struct opt *parent,
                     const struct ynode *map, void *base);

/* The default "[a, \"b\"]" of a list of texts, which hold no comma. */
static void default_strs(struct bind *b, const struct opt *o, void *base)
{
    struct str rest = str_skip(str_from(o->def), 1);
    struct str part;
    size_t n = 1;
    struct str *v;

    rest.len--;
    for (size_t i = 0; i < rest.len; i++)
        n += rest.p[i] == ',';
    v = bind_array(b, o, base, n, sizeof(*v));
    for (size_t i = 0; v && i < n && str_split(&rest, ',', &part); i++) {
        part = str_trim(part);
        if (part.p[0] == '"')
            part = str_of(part.p + 1, part.len - 2);
        v[i] = bind_dup(b, part);
    }
}

/* Give <base> the default of <o>; it is parsed like any other value. */
static void bind_default(struct bind *b, const struct opt *o, void *base)
{
    struct ynode n = {.kind = YNODE_SCALAR};

    if (!o->def || strcmp(o->def, "[]") == 0 || strcmp(o->def, "{}") == 0)
        return;
    if (o->type == OPT_STRS) {
        default_strs(b, o, base);
        return;
    }
    n.text = strcmp(o->def, "\"\"") == 0 ? STR("") : str_from(o->def);
    bind_value(b, o, &n, base);
}

/* The list <o> is absent: one element of defaults, if one is needed. */
static void default_list(struct bind *b, const struct opt *o, void *base)
{
    void *v;

    if (o->min == 0 || (o->flags & OPT_REQUIRED))
        return;
    v = bind_array(b, o, base, 1, o->size);
    if (v)
        bind_map(b, o, NULL, v);
}

static void bind_list(struct bind *b, const struct opt *o,
                      const struct ynode *n, void *base)
{
    bool one = n->kind == YNODE_MAP && (o->flags & OPT_ONE);
    size_t count = one ? 1 : n->n_pairs;
    char *v;

    if (!one && n->kind != YNODE_LIST) {
        say_error(b->say, n, "%s needs a list of mappings; write %s: %s",
                  o->path, opt_leaf(o), o->example);
        return;
    }
    if (count < (size_t)o->min || count > (size_t)o->max) {
        say_error(b->say, n,
                  "%s has %zu entries; write %" PRId64 " to %" PRId64, o->path,
                  count, o->min, o->max);
        return;
    }
    v = bind_array(b, o, base, count, o->size);
    if (v && one) {
        bind_map(b, o, n, v);
        return;
    }
    for (const struct ypair *p = n->pairs; v && p; p = p->next) {
        const struct ynode *e = p->node;

        if (!bind_visit(b, e))
            return;
        if (e->kind != YNODE_MAP)
            say_error(b->say, e, "%s: an entry must be a mapping; write %s",
                      o->path, o->example);
        bind_map(b, o, e->kind == YNODE_MAP ? e : NULL, v);
        v += o->size;
    }
}

/* The pair of the row's key in <map>. */
static const struct ypair *find_pair(const struct ynode *map,
                                     const struct opt *o)
{
    struct str leaf = str_from(opt_leaf(o));

    for (const struct ypair *p = map ? map->pairs : NULL; p; p = p->next)
        if (str_eq(p->key->text, leaf))
            return p;
    return NULL;
}

static void bind_given(struct bind *b, const struct opt *o,
                       const struct ypair *p, void *base)
{
    static const bool yes = true;

    if (!bind_visit(b, p->node))
        return;
    if (o->flags & OPT_LATER)
        say_warning(b->say, p->key,
                    "%s has no effect yet; it is checked and then ignored",
                    o->path);
    if (o->off_given > 0)
        memcpy((char *)base + o->off_given, &yes, sizeof(yes));
    if (o->type == OPT_LIST) {
        bind_list(b, o, p->node, base);
    } else if (o->type != OPT_MAP) {
        bind_value(b, o, p->node, base);
    } else if (p->node->kind != YNODE_MAP) {
        say_error(b->say, p->node,
                  "%s needs keys below it, not a single value; see "
                  "tollgate.yaml(5)",
                  o->path);
    } else {
        bind_map(b, o, p->node, base);
    }
}

static void bind_row(struct bind *b, const struct opt *o,
                     const struct ynode *map, void *base)
{
    const struct ypair *p = find_pair(map, o);

    /* the default comes first, and stays where the value is no good */
    if (o->type == OPT_MAP) {
        if (!p || p->node->kind != YNODE_MAP)
            bind_map(b, o, NULL, base);
    } else if (o->type == OPT_LIST) {
        default_list(b, o, base);
    } else {
        bind_default(b, o, base);
    }
    if (p && p->node->kind != YNODE_NULL)
        bind_given(b, o, p, base);
    else if (map && (o->flags & OPT_REQUIRED))
        say_error(b->say, map, "%s is missing; add %s: %s", o->path,
                  opt_leaf(o), o->example);
}

/* Tell about the unknown <key> below <parent>. */
static void unknown_key(struct bind *b, const struct opt *parent,
                        const struct ynode *key)
{
    const struct opt *near = NULL;
    const struct opt *same = NULL;
    unsigned best = 1 + (unsigned)(key->text.len / 3);
    bool worth_it = b->say->report->n_errors < SUGGEST_MAX;

    for (size_t i = 0; i < conf_opts_count && worth_it; i++) {
        const struct opt *o = &conf_opts[i];
        unsigned d = conf_parse_distance(key->text, str_from(opt_leaf(o)));

        if (d == 0 && !same)
            same = o;
        if (!opt_is_child(o, parent) || d > best || (near && d == best))
            continue;
        best = d;
        near = o;
    }
    if (near)
        say_error(b->say, key, "unknown key %s%s%s; write %s",
                  conf_quote(key->text).c, parent ? " in " : "",
                  parent ? parent->path : "", opt_leaf(near));
    else if (same)
        say_error(b->say, key, "unknown key %s%s%s; it belongs at %s",
                  conf_quote(key->text).c, parent ? " in " : "",
                  parent ? parent->path : "", same->path);
    else
        say_error(b->say, key,
                  "unknown key %s%s%s; remove it, or see tollgate.yaml(5)",
                  conf_quote(key->text).c, parent ? " in " : "",
                  parent ? parent->path : "");
}

static bool key_is_known(const struct opt *parent, struct str key)
{
    for (size_t i = 0; i < conf_opts_count; i++)
        if (opt_is_child(&conf_opts[i], parent) &&
            str_eq(key, str_from(opt_leaf(&conf_opts[i]))))
            return true;
    return false;
}

/* Fill <base> from <map>, NULL for all defaults. Recursion follows the table,
 * whose depth is fixed. */
static void bind_map(struct bind *b, const struct opt *parent,
                     const struct ynode *map, void *base)
{
    for (size_t i = 0; i < conf_opts_count && !b->stop && !b->nomem; i++)
        if (opt_is_child(&conf_opts[i], parent))
            bind_row(b, &conf_opts[i], map, base);
    for (const struct ypair *p = map ? map->pairs : NULL; p; p = p->next)
        if (bind_visit(b, p->key) && !key_is_known(parent, p->key->text))
            unknown_key(b, parent, p->key);
}

void conf_bind_all(struct bind *b, const struct ynode *root, struct conf *c)
{
    if (root && root->kind != YNODE_MAP) {
        say_error(b->say, root,
                  "the file must hold KEY: VALUE lines; write e.g. "
                  "state_dir: /var/lib/tollgate");
        root = NULL;
    }
    bind_map(b, NULL, root, c);
}
