/* automaton.c - Building programs, node by node. */
#include "token/automaton.h"

#include <stdlib.h>
#include <string.h>

void auto_init(struct automaton *a)
{
    memset(a, 0, sizeof(*a));
    a->nodes_cap = 64;
    a->nodes = calloc(a->nodes_cap, sizeof(*a->nodes));
    if (!a->nodes) {
        a->err = ERR_NOMEM;
        return;
    }
    a->nodes[AUTO_RET].op = AUTO_OP_RET;
    a->n_nodes = 2;
}

void auto_fini(struct automaton *a)
{
    free(a->nodes);
    free(a->edges);
    free(a->sets);
    free(a->need);
    memset(a, 0, sizeof(*a));
}

/* Room for one more of <size> bytes in <p>; false and <err> set without. */
static bool grow(struct automaton *a, void **p, uint32_t n, uint32_t *cap,
                 size_t size)
{
    uint32_t more = *cap ? *cap * 2 : 16;
    void *q;

    if (a->err)
        return false;
    if (n < *cap)
        return true;
    if (n >= AUTO_NODES_MAX) {
        a->err = ERR_FULL;
        return false;
    }
    q = realloc(*p, more * size);
    if (!q) {
        a->err = ERR_NOMEM;
        return false;
    }
    *p = q;
    *cap = more;
    return true;
}

static uint32_t put_node(struct automaton *a, struct auto_node node)
{
    void *p = a->nodes;

    if (a->err || !grow(a, &p, a->n_nodes, &a->nodes_cap, sizeof(node)))
        return AUTO_FAIL;
    a->nodes = p;
    a->nodes[a->n_nodes] = node;
    return a->n_nodes++;
}

/* The number of <set>, which is put in when it is new. */
static uint32_t set_number(struct automaton *a, const struct auto_set *set)
{
    void *p = a->sets;

    for (uint32_t i = a->n_sets > 64 ? a->n_sets - 64 : 0; i < a->n_sets; i++)
        if (memcmp(&a->sets[i], set, sizeof(*set)) == 0)
            return i;
    if (!grow(a, &p, a->n_sets, &a->sets_cap, sizeof(*set)))
        return 0;
    a->sets = p;
    a->sets[a->n_sets] = *set;
    return a->n_sets++;
}

uint32_t auto_set_of(struct automaton *a, const struct auto_set *set,
                     uint32_t next)
{
    struct auto_node node = {.op = AUTO_OP_SET, .b = next};

    if (next == AUTO_FAIL ||
        !(set->bits[0] | set->bits[1] | set->bits[2] | set->bits[3]))
        return AUTO_FAIL;
    node.a = set_number(a, set);
    return put_node(a, node);
}

uint32_t auto_range(struct automaton *a, uint8_t lo, uint8_t hi, uint32_t next)
{
    if (next == AUTO_FAIL || lo > hi)
        return AUTO_FAIL;
    return put_node(a, (struct auto_node){.op = AUTO_OP_RANGE,
                                          .a = lo | (uint32_t)hi << 8,
                                          .b = next});
}

uint32_t auto_text(struct automaton *a, struct str text, uint32_t next)
{
    for (size_t i = text.len; i > 0; i--)
        next =
            auto_range(a, (uint8_t)text.p[i - 1], (uint8_t)text.p[i - 1], next);
    return next;
}

uint32_t auto_split(struct automaton *a, uint32_t x, uint32_t y)
{
    if (x == AUTO_FAIL || x == y)
        return y;
    if (y == AUTO_FAIL)
        return x;
    return put_node(a, (struct auto_node){.op = AUTO_OP_SPLIT, .a = x, .b = y});
}

uint32_t auto_opt(struct automaton *a, uint32_t x, uint32_t next)
{
    return auto_split(a, x, next);
}

uint32_t auto_call(struct automaton *a, uint32_t entry, uint32_t next)
{
    if (entry == AUTO_FAIL || next == AUTO_FAIL)
        return AUTO_FAIL;
    if (next == AUTO_RET)
        return entry;
    return put_node(
        a, (struct auto_node){.op = AUTO_OP_CALL, .a = entry, .b = next});
}

uint32_t auto_loop(struct automaton *a, uint32_t body, uint32_t min,
                   uint32_t max, uint32_t next)
{
    struct auto_node node = {
        .op = AUTO_OP_LOOP, .a = body, .b = next, .min = min, .max = max};

    if (next == AUTO_FAIL || min > max || (body == AUTO_FAIL && min > 0))
        return AUTO_FAIL;
    if (max == 0 || body == AUTO_FAIL)
        return next;
    return put_node(a, node);
}

uint32_t auto_token(struct automaton *a, int32_t id, uint32_t next)
{
    if (next == AUTO_FAIL || id < 0)
        return AUTO_FAIL;
    return put_node(a, (struct auto_node){
                           .op = AUTO_OP_TOKEN, .a = (uint32_t)id, .b = next});
}

uint32_t auto_control(struct automaton *a, uint32_t next)
{
    return put_node(a, (struct auto_node){.op = AUTO_OP_CONTROL, .b = next});
}

uint32_t auto_hole(struct automaton *a)
{
    return put_node(a, (struct auto_node){.op = AUTO_OP_SPLIT});
}

void auto_fill(struct automaton *a, uint32_t hole, uint32_t entry)
{
    if (!a->err)
        a->nodes[hole].a = a->nodes[hole].b = entry;
}

/* --- words -------------------------------------------------------------- */

static int by_text(const void *x, const void *y)
{
    const struct auto_word *a = x, *b = y;
    size_t n = a->text.len < b->text.len ? a->text.len : b->text.len;
    int c = n ? memcmp(a->text.p, b->text.p, n) : 0;

    if (c)
        return c;
    return (a->text.len > b->text.len) - (a->text.len < b->text.len);
}

/* Room for <n> edges in a row; the first, or 0 with err set. */
static uint32_t put_edges(struct automaton *a, uint32_t n)
{
    uint32_t first = a->n_edges;

    for (uint32_t i = 0; i < n; i++) {
        void *p = a->edges;
        if (!grow(a, &p, a->n_edges, &a->edges_cap, sizeof(*a->edges)))
            return 0;
        a->edges = p;
        a->n_edges++;
    }
    return first;
}

/* The tree of words[0 .. n), which agree in their first <at> bytes. Runs of
 * one common byte are followed in the loop; each fork is one level of calls,
 * and there are at most as many as bytes in the longest word. */
static uint32_t word_tree(struct automaton *a, const struct auto_word *words,
                          size_t n, size_t at)
{
    uint32_t end = AUTO_FAIL, first, k = 0, n_edges = 0;
    size_t from = at, i = 0;

    while (at < words[0].text.len &&
           words[0].text.p[at] == words[n - 1].text.p[at])
        at++;
    if (words[0].text.len == at) {
        end = words[0].next;
        while (i < n && words[i].text.len == at)
            i++;
    }
    for (size_t j = i; j < n; j++)
        n_edges +=
            j == i || words[j].text.p[at] != words[j - 1].text.p[at] ? 1 : 0;
    first = put_edges(a, n_edges);
    while (i < n && !a->err) {
        size_t j = i;
        uint32_t next;
        while (j < n && words[j].text.p[at] == words[i].text.p[at])
            j++;
        next = word_tree(a, words + i, j - i, at + 1);
        if (a->err)
            return AUTO_FAIL;
        a->edges[first + k++] =
            (struct auto_edge){(uint8_t)words[i].text.p[at], next};
        i = j;
    }
    if (n_edges)
        end = auto_split(a, end,
                         put_node(a, (struct auto_node){.op = AUTO_OP_SWITCH,
                                                        .a = first,
                                                        .b = n_edges}));
    return auto_text(a, str_of(words[0].text.p + from, at - from), end);
}

uint32_t auto_words(struct automaton *a, struct auto_word *words, size_t n)
{
    if (n == 0 || a->err)
        return AUTO_FAIL;
    qsort(words, n, sizeof(*words), by_text);
    return word_tree(a, words, n, 0);
}
