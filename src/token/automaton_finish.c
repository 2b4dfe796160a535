/* automaton_finish.c - Judging a program: how many frames each node needs to
 * come to an end (so that a run never enters what it cannot leave), whether a
 * part begins with itself, and which bytes are alike. All linear. */
#include "token/automaton.h"

#include <stdlib.h>
#include <string.h>

/* The nodes that look at each node, as slices of one array. */
struct users {
    uint32_t *first; /* (n_nodes + 1) */
    uint32_t *node;
};

/* Call <fn> for each node that <i> looks at. */
static void each_target(const struct automaton *a, uint32_t i,
                        void (*fn)(uint32_t target, uint32_t from, void *arg),
                        void *arg)
{
    const struct auto_node *n = &a->nodes[i];
    bool has_a = n->op == AUTO_OP_SPLIT || n->op == AUTO_OP_CALL ||
                 n->op == AUTO_OP_LOOP;

    if (n->op == AUTO_OP_SWITCH) {
        for (uint32_t e = 0; e < n->b; e++)
            fn(a->edges[n->a + e].next, i, arg);
        return;
    }
    if (has_a)
        fn(n->a, i, arg);
    if (n->op != AUTO_OP_FAIL && n->op != AUTO_OP_RET)
        fn(n->b, i, arg);
}

static void count_user(uint32_t target, uint32_t from, void *arg)
{
    struct users *u = arg;

    (void)from;
    u->first[target + 1]++;
}

static void put_user(uint32_t target, uint32_t from, void *arg)
{
    struct users *u = arg;

    u->node[u->first[target]++] = from;
}

static bool users_init(struct users *u, const struct automaton *a)
{
    u->node = NULL;
    u->first = calloc(a->n_nodes + 2, sizeof(*u->first));
    if (!u->first)
        return false;
    for (uint32_t i = 0; i < a->n_nodes; i++)
        each_target(a, i, count_user, u);
    for (uint32_t i = 0; i < a->n_nodes; i++)
        u->first[i + 1] += u->first[i];
    u->node = malloc((u->first[a->n_nodes] + 1) * sizeof(*u->node));
    if (!u->node)
        return false;
    for (uint32_t i = 0; i < a->n_nodes; i++)
        each_target(a, i, put_user, u);
    /* Each slice was moved to its end: move the borders back. */
    memmove(u->first + 1, u->first, a->n_nodes * sizeof(*u->first));
    u->first[0] = 0;
    return true;
}

static unsigned more_of(unsigned x, unsigned y)
{
    return x > y ? x : y;
}

/* What <i> needs by what is known of the nodes it looks at. */
static unsigned need_of(const struct automaton *a, uint32_t i)
{
    const struct auto_node *n = &a->nodes[i];
    const uint16_t *need = a->need;
    unsigned best = AUTO_NEVER, in;

    switch ((enum auto_op)n->op) {
    case AUTO_OP_FAIL:
        return AUTO_NEVER;
    case AUTO_OP_RET:
        return 0;
    case AUTO_OP_SWITCH:
        for (uint32_t e = 0; e < n->b; e++)
            if (need[a->edges[n->a + e].next] < best)
                best = need[a->edges[n->a + e].next];
        return best;
    case AUTO_OP_SPLIT:
        return need[n->a] < need[n->b] ? need[n->a] : need[n->b];
    case AUTO_OP_LOOP:
        if (n->min == 0)
            return need[n->b];
        break;
    case AUTO_OP_CALL:
        break;
    default:
        return need[n->b];
    }
    in = need[n->a] == AUTO_NEVER ? AUTO_NEVER : need[n->a] + 1u;
    best = more_of(in, need[n->b]);
    return best > AUTO_DEPTH_MAX ? AUTO_NEVER : best;
}

/* Give each user of <t> that <level> or one more frame will do for its need;
 * the former go to the end of <now>, the latter to the end of <later>. */
static void settle_users(struct automaton *a, const struct users *u, uint32_t t,
                         unsigned level, uint32_t *lists[2], uint32_t n[2])
{
    for (uint32_t k = u->first[t]; k < u->first[t + 1]; k++) {
        uint32_t i = u->node[k];
        unsigned need = a->need[i] == AUTO_NEVER ? need_of(a, i) : AUTO_NEVER;
        unsigned which = need - level;
        if (need == AUTO_NEVER || which > 1)
            continue;
        a->need[i] = (uint16_t)need;
        lists[which][n[which]++] = i;
    }
}

/* Fill need[], the small ones first: every node is settled once. */
static bool find_needs(struct automaton *a, const struct users *u)
{
    uint32_t *room = malloc(2 * (size_t)a->n_nodes * sizeof(*room));
    uint32_t *lists[2] = {room, room ? room + a->n_nodes : NULL}, n[2] = {0};

    if (!room)
        return false;
    for (uint32_t i = 0; i < a->n_nodes; i++)
        a->need[i] = AUTO_NEVER;
    a->need[AUTO_RET] = 0;
    lists[0][n[0]++] = AUTO_RET;
    for (unsigned level = 0; n[0] > 0; level++) {
        uint32_t *swap = lists[0];
        for (uint32_t at = 0; at < n[0]; at++)
            settle_users(a, u, lists[0][at], level, lists, n);
        lists[0] = lists[1];
        lists[1] = swap;
        n[0] = n[1];
        n[1] = 0;
    }
    free(room);
    return true;
}

/* --- parts that begin with themselves ----------------------------------- */

/* Nodes met without a byte in between. */
static void first_nodes(const struct automaton *a, uint32_t i, uint32_t out[2])
{
    const struct auto_node *n = &a->nodes[i];

    out[0] = out[1] = AUTO_FAIL;
    if (n->op == AUTO_OP_SPLIT || n->op == AUTO_OP_CALL ||
        n->op == AUTO_OP_LOOP)
        out[0] = n->a;
    if (n->op == AUTO_OP_SPLIT || (n->op == AUTO_OP_LOOP && n->min == 0))
        out[1] = n->b;
}

/* Whether a walk without bytes from any node comes back to it. <mark>: 0 new,
 * 1 on the path, 2 done; <path> holds node * 4 + next way. */
static bool has_circle(const struct automaton *a, uint8_t *mark, uint32_t *path)
{
    for (uint32_t root = 0; root < a->n_nodes; root++) {
        uint32_t n = 0, way[2];
        if (mark[root])
            continue;
        mark[root] = 1;
        path[n++] = root * 4;
        while (n > 0) {
            uint32_t i = path[n - 1] / 4, k = path[n - 1] % 4;
            first_nodes(a, i, way);
            if (k == 2) {
                mark[i] = 2;
                n--;
                continue;
            }
            path[n - 1]++;
            if (way[k] == AUTO_FAIL || mark[way[k]] == 2)
                continue;
            if (mark[way[k]] == 1)
                return true;
            mark[way[k]] = 1;
            path[n++] = way[k] * 4;
        }
    }
    return false;
}

static enum err refuse_circles(const struct automaton *a)
{
    uint8_t *mark = calloc(a->n_nodes, 1);
    uint32_t *path = malloc(a->n_nodes * sizeof(*path));
    enum err err = ERR_NOMEM;

    if (mark && path)
        err = has_circle(a, mark, path) ? ERR_REFUSED : ERR_OK;
    free(mark);
    free(path);
    return err;
}

/* --- classes of bytes --------------------------------------------------- */

static bool set_has(const struct auto_set *set, unsigned c)
{
    return set->bits[c / 64] >> c % 64 & 1;
}

/* Split each class that has bytes in <set> and bytes outside of it. */
static void classes_split(struct automaton *a, const struct auto_set *set)
{
    bool outside[256] = {false};
    int twin[256];

    for (unsigned c = 0; c < 256; c++) {
        twin[c] = -1;
        if (!set_has(set, c))
            outside[a->class_of[c]] = true;
    }
    for (unsigned c = 0; c < 256; c++) {
        unsigned k = a->class_of[c];
        if (!set_has(set, c) || !outside[k])
            continue;
        if (twin[k] < 0)
            twin[k] = (int)a->n_classes++;
        a->class_of[c] = (uint8_t)twin[k];
    }
}

static void set_put(struct auto_set *set, unsigned lo, unsigned hi)
{
    memset(set, 0, sizeof(*set));
    for (unsigned c = lo; c <= hi; c++)
        set->bits[c / 64] |= (uint64_t)1 << c % 64;
}

/* Give each of <single> that shares its class with others one of its own. */
static void part_single(struct automaton *a, const bool *single)
{
    unsigned members[256] = {0};

    for (unsigned c = 0; c < 256; c++)
        members[a->class_of[c]]++;
    for (unsigned c = 0; c < 256; c++) {
        if (!single[c] || members[a->class_of[c]] == 1)
            continue;
        members[a->class_of[c]]--;
        a->class_of[c] = (uint8_t)a->n_classes++;
    }
}

static void find_classes(struct automaton *a)
{
    bool single[256] = {false};
    uint8_t known[65536 / 8] = {0};
    struct auto_set set;

    a->n_classes = 1;
    for (uint32_t i = 0; i < a->n_sets; i++)
        classes_split(a, &a->sets[i]);
    for (uint32_t i = 0; i < a->n_edges; i++)
        single[a->edges[i].byte] = true;
    for (uint32_t i = 0; i < a->n_nodes; i++) {
        uint32_t r = a->nodes[i].a;
        if (a->nodes[i].op != AUTO_OP_RANGE)
            continue;
        if ((r & 255) == r >> 8) {
            single[r & 255] = true;
        } else if (!(known[r / 8] >> r % 8 & 1)) {
            known[r / 8] |= (uint8_t)(1u << r % 8);
            set_put(&set, r & 255, r >> 8);
            classes_split(a, &set);
        }
    }
    part_single(a, single);
}

enum err auto_finish(struct automaton *a, uint32_t start)
{
    struct users u = {NULL, NULL};
    enum err err = a->err;

    if (err)
        return err;
    a->start = start;
    a->need = malloc(a->n_nodes * sizeof(*a->need));
    if (!a->need)
        return ERR_NOMEM;
    err = refuse_circles(a);
    if (err)
        return err;
    err = ERR_NOMEM;
    if (users_init(&u, a) && find_needs(a, &u)) {
        find_classes(a);
        err = a->need[start] == AUTO_NEVER ? ERR_SYNTAX : ERR_OK;
    }
    free(u.first);
    free(u.node);
    return err;
}
