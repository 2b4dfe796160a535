/* schema_regex.c - From trees to programs. A part is built for every number of
 * characters that may stand before it, where the text's length is limited:
 * then the next part differs. What may match nothing is never repeated as it
 * is, only what it is beside nothing, so that no program goes in circles. */
#include "token/schema_regex.h"

#include <stdlib.h>
#include <string.h>

#include "token/regex_tree.h"

#define LENGTHS_MAX 4096

/* A tree being built. Arrays of nodes are by characters read so far. */
struct builder {
    struct automaton *a;
    const struct regex_tree *t;
    uint32_t n;    /* lengths told apart, >= 1 */
    bool bounded;  /* the last length is the longest; else it stands for all
                    * from there on */
    uint64_t work; /* nodes that were asked for */
};

/* The length after one more character, or n when there is none. */
static uint32_t longer(const struct builder *b, uint32_t len)
{
    if (len + 1 < b->n)
        return len + 1;
    return b->bounded ? b->n : len;
}

static uint32_t *nodes_new(struct builder *b)
{
    uint32_t *v = calloc(b->n, sizeof(*v));

    if (!v && !b->a->err)
        b->a->err = ERR_NOMEM;
    return v;
}

static void build(struct builder *b, uint32_t node, const uint32_t *next,
                  uint32_t *out);

/* <out> or, where <node> matches nothing, <next>. */
static void or_next(struct builder *b, uint32_t node, const uint32_t *next,
                    uint32_t *out)
{
    for (uint32_t i = 0; i < b->n && b->t->nodes[node].nullable; i++)
        out[i] = auto_split(b->a, out[i], next[i]);
}

static void build_class(struct builder *b, const struct regex_node *n,
                        const uint32_t *next, uint32_t *out)
{
    for (uint32_t i = 0; i < b->n; i++) {
        uint32_t after = longer(b, i);
        out[i] = AUTO_FAIL;
        if (after < b->n && next[after] != AUTO_FAIL)
            out[i] = auto_char_of(b->a, b->t->runs + n->a, n->n, next[after]);
    }
}

static void build_cat(struct builder *b, const struct regex_node *n,
                      const uint32_t *next, uint32_t *out)
{
    uint32_t *second = nodes_new(b), *all = nodes_new(b);

    if (second && all) {
        build(b, n->b, next, second);
        memcpy(all, second, b->n * sizeof(*all));
        or_next(b, n->b, next, all);
        build(b, n->a, all, out);
        for (uint32_t i = 0; i < b->n && b->t->nodes[n->a].nullable; i++)
            out[i] = auto_split(b->a, out[i], second[i]);
    }
    free(second);
    free(all);
}

static void build_alt(struct builder *b, const struct regex_node *n,
                      const uint32_t *next, uint32_t *out)
{
    uint32_t *other = nodes_new(b);

    build(b, n->a, next, out);
    if (other) {
        build(b, n->b, next, other);
        for (uint32_t i = 0; i < b->n; i++)
            out[i] = auto_split(b->a, out[i], other[i]);
    }
    free(other);
}

/* One or more without end, then <next>. */
static void build_star(struct builder *b, const struct regex_node *n,
                       const uint32_t *next, uint32_t *out)
{
    uint32_t *back = nodes_new(b);

    for (uint32_t i = 0; back && i < b->n; i++)
        back[i] = auto_hole(b->a);
    if (back)
        build(b, n->a, back, out);
    for (uint32_t i = 0; back && i < b->n; i++)
        auto_fill(b->a, back[i], auto_split(b->a, out[i], next[i]));
    free(back);
}

/* Repetitions from the last to the first: before the <i>th, at most the
 * others may be left out. */
static void build_repeat(struct builder *b, const struct regex_node *n,
                         const uint32_t *next, uint32_t *out)
{
    bool free_end = n->max == AUTO_NO_MAX;
    uint32_t min = b->t->nodes[n->a].nullable ? 0 : n->min;
    uint32_t last = free_end ? n->min : n->max;
    uint32_t *after = nodes_new(b);

    if (!after)
        return;
    memcpy(after, next, b->n * sizeof(*after));
    memset(out, 0, b->n * sizeof(*out));
    if (free_end)
        build_star(b, n, next, out);
    for (uint32_t i = last; i > 0 && !b->a->err; i--) {
        for (uint32_t k = 0; k < b->n; k++) {
            bool enough = i >= min && i < last + (free_end ? 1u : 0u);
            after[k] = i == last && !free_end ? next[k] : out[k];
            if (enough)
                after[k] = auto_split(b->a, after[k], next[k]);
        }
        build(b, n->a, after, out);
    }
    free(after);
}

/* What <node> matches beside nothing, then <next>, in <out>. */
static void build(struct builder *b, uint32_t node, const uint32_t *next,
                  uint32_t *out)
{
    const struct regex_node *n = &b->t->nodes[node];

    memset(out, 0, b->n * sizeof(*out));
    b->work += b->n;
    if (b->work > AUTO_NODES_MAX && !b->a->err)
        b->a->err = ERR_FULL;
    if (b->a->err)
        return;
    switch (n->op) {
    case REGEX_CLASS:
        build_class(b, n, next, out);
        break;
    case REGEX_CAT:
        build_cat(b, n, next, out);
        break;
    case REGEX_ALT:
        build_alt(b, n, next, out);
        break;
    case REGEX_REPEAT:
        build_repeat(b, n, next, out);
        break;
    default:
        break;
    }
}

/* The whole tree between limits. */
static uint32_t build_all(struct builder *b, const uint32_t min_max[2],
                          uint32_t next)
{
    uint32_t *ends = nodes_new(b), *out = nodes_new(b), entry = AUTO_FAIL;

    for (uint32_t i = 0; ends && i < b->n; i++)
        ends[i] = i >= min_max[0] ? next : AUTO_FAIL;
    if (ends && out) {
        build(b, b->t->root, ends, out);
        or_next(b, b->t->root, ends, out);
        entry = out[0];
    }
    free(ends);
    free(out);
    return entry;
}

enum err regex_build(struct automaton *a, struct str pattern,
                     const uint32_t min_max[2], uint32_t next, const char **why,
                     uint32_t *out)
{
    struct regex_tree *t = malloc(sizeof(*t));
    struct builder b = {.a = a, .t = t};
    enum err err = ERR_NOMEM;

    *why = "out of memory";
    if (!t)
        return err;
    err = regex_parse(pattern, t, why);
    b.bounded = min_max[1] != AUTO_NO_MAX;
    b.n = b.bounded ? min_max[1] + 1 : min_max[0] + 1;
    if (!err && (b.n > LENGTHS_MAX || min_max[0] > LENGTHS_MAX)) {
        err = ERR_FULL;
        *why = "the length beside this pattern is too large";
    }
    if (!err) {
        *out = build_all(&b, min_max, next);
        err = a->err;
        *why = "the pattern is too large";
    }
    free(t);
    return err;
}
