/* automaton_run.c - One step of a program: which threads a byte leaves alive,
 * and where they stand after all that takes no byte. */
#include "token/automaton_run.h"

#include <stdlib.h>
#include <string.h>

#include "token/automaton_store.h"

/* Slots for what one step has met, by the size of the program; half of them
 * are used. */
#define SLOTS_MIN 1024
#define SLOTS_MAX 16384

/* A node to go to, with the turns of a LOOP and the stack. */
struct run_item {
    uint32_t node, count, stack;
};

bool run_init(struct run *r, const struct automaton *a, uint32_t longest)
{
    struct run_work *w = &r->work;

    memset(r, 0, sizeof(*r));
    r->a = a;
    r->longest = longest;
    w->slots = SLOTS_MIN;
    while (w->slots < SLOTS_MAX && w->slots < 8 * a->n_nodes)
        w->slots *= 2;
    w->todo_max = w->slots + 2 * RUN_WIDTH_MAX;
    w->todo = malloc(w->todo_max * sizeof(*w->todo));
    w->seen = malloc(w->slots * sizeof(*w->seen));
    w->stamps = calloc(w->slots, sizeof(*w->stamps));
    w->threads = malloc(RUN_WIDTH_MAX * sizeof(*w->threads));
    return w->todo && w->seen && w->stamps && w->threads &&
           store_init(&r->store, a->n_classes);
}

void run_fini(struct run *r)
{
    free(r->work.todo);
    free(r->work.seen);
    free(r->work.stamps);
    free(r->work.threads);
    store_fini(&r->store);
}

/* --- without bytes ------------------------------------------------------ */

static void work_begin(struct run_work *w)
{
    w->n_todo = w->n_seen = w->n_threads = 0;
    w->accepts = false;
    if (++w->stamp == 0) {
        memset(w->stamps, 0, w->slots * sizeof(*w->stamps));
        w->stamp = 1;
    }
}

/* Whether <it> is met for the first time in this step. Beyond half of the slots
 * all count as met: ways are cut off, those that are kept are whole. */
static bool is_new(struct run_work *w, struct run_item it)
{
    uint32_t h =
        it.node * 2654435761u ^ it.stack * 2246822519u ^ it.count * 3266489917u;

    if (w->n_seen >= w->slots / 2)
        return false;
    h ^= h >> 15;
    for (h &= w->slots - 1; w->stamps[h] == w->stamp;
         h = (h + 1) & (w->slots - 1))
        if (w->seen[h].node == it.node && w->seen[h].stack == it.stack &&
            w->seen[h].count == it.count)
            return false;
    w->stamps[h] = w->stamp;
    w->seen[h] = it;
    w->n_seen++;
    return true;
}

/* Go to <node> next, unless it cannot come to an end from this depth. */
static void go(struct run *r, uint32_t node, uint32_t count, uint32_t stack)
{
    unsigned need = r->a->need[node];

    if (need == AUTO_NEVER || r->work.n_todo >= r->work.todo_max ||
        r->store.stacks[stack].depth + need > AUTO_DEPTH_MAX)
        return;
    r->work.todo[r->work.n_todo++] = (struct run_item){node, count, stack};
}

/* Enter the part of CALL or LOOP <node>, whose frame is put on <stack>. */
static void enter(struct run *r, uint32_t node, uint32_t count, uint32_t stack)
{
    uint32_t entry = r->a->nodes[node].a, top;
    unsigned need = r->a->need[entry];

    if (need == AUTO_NEVER ||
        r->store.stacks[stack].depth + 1 + need > AUTO_DEPTH_MAX)
        return;
    top = store_stack(&r->store, node, count, stack);
    if (top)
        go(r, entry, 0, top);
    else
        r->lost = true;
}

static void do_loop(struct run *r, const struct run_item *it)
{
    const struct auto_node *n = &r->a->nodes[it->node];
    uint32_t count = it->count + 1;

    if (it->count >= n->min)
        go(r, n->b, 0, it->stack);
    if (it->count >= n->max)
        return;
    if (n->max == AUTO_NO_MAX && count > n->min)
        count = n->min;
    enter(r, it->node, count, it->stack);
}

static void do_ret(struct run *r, const struct run_item *it)
{
    const struct run_stack *top = &r->store.stacks[it->stack];

    if (it->stack == 0)
        r->work.accepts = true;
    else if (r->a->nodes[top->node].op == AUTO_OP_LOOP)
        go(r, top->node, top->count, top->parent);
    else
        go(r, r->a->nodes[top->node].b, 0, top->parent);
}

/* Follow everything that takes no byte; what waits for one is a thread. */
static void work_run(struct run *r)
{
    struct run_work *w = &r->work;

    while (w->n_todo > 0) {
        struct run_item it = w->todo[--w->n_todo];
        const struct auto_node *n = &r->a->nodes[it.node];
        if (!is_new(w, it))
            continue;
        switch ((enum auto_op)n->op) {
        case AUTO_OP_FAIL:
            break;
        case AUTO_OP_RET:
            do_ret(r, &it);
            break;
        case AUTO_OP_SPLIT: /* <a> is looked at first */
            go(r, n->b, 0, it.stack);
            go(r, n->a, 0, it.stack);
            break;
        case AUTO_OP_CALL:
            enter(r, it.node, 0, it.stack);
            break;
        case AUTO_OP_LOOP:
            do_loop(r, &it);
            break;
        default:
            if (w->n_threads < RUN_WIDTH_MAX)
                w->threads[w->n_threads++] =
                    (struct run_thread){it.node, it.stack};
        }
    }
}

/* The place of the threads found. */
static uint32_t work_end(struct run *r)
{
    uint32_t place;

    if (r->lost || (r->work.n_threads == 0 && !r->work.accepts))
        return RUN_DEAD;
    place = store_place(&r->store, r->a->n_classes, r->work.threads,
                        r->work.n_threads, r->work.accepts);
    if (!place)
        r->lost = true;
    return place;
}

uint32_t run_start(struct run *r)
{
    work_begin(&r->work);
    go(r, r->a->start, 0, 0);
    work_run(r);
    return work_end(r);
}

/* --- with one ----------------------------------------------------------- */

/* Where <c> leads from node <n>, or AUTO_FAIL. */
static uint32_t after_byte(const struct automaton *a, const struct auto_node *n,
                           uint8_t c)
{
    uint32_t lo = 0, hi = n->b;

    if (n->op == AUTO_OP_RANGE)
        return c >= (n->a & 255) && c <= n->a >> 8 ? n->b : AUTO_FAIL;
    if (n->op == AUTO_OP_SET)
        return a->sets[n->a].bits[c / 64] >> c % 64 & 1 ? n->b : AUTO_FAIL;
    if (n->op != AUTO_OP_SWITCH)
        return AUTO_FAIL;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (a->edges[n->a + mid].byte < c)
            lo = mid + 1;
        else
            hi = mid;
    }
    if (lo < n->b && a->edges[n->a + lo].byte == c)
        return a->edges[n->a + lo].next;
    return AUTO_FAIL;
}

uint32_t run_step(struct run *r, uint32_t place, uint8_t c)
{
    struct run_store *s = &r->store;
    size_t at = (size_t)place * r->a->n_classes + r->a->class_of[c];
    uint32_t first = s->places[place].first, to;

    if (s->next[at])
        return s->next[at] - 1;
    work_begin(&r->work);
    for (uint32_t i = s->places[place].n; i-- > 0;) {
        struct run_thread t = s->threads[first + i];
        uint32_t next = after_byte(r->a, &r->a->nodes[t.node], c);
        if (next != AUTO_FAIL)
            go(r, next, 0, t.stack);
    }
    work_run(r);
    to = work_end(r);
    if (!r->lost)
        s->next[at] = to + 1;
    return to;
}

uint32_t run_token(struct run *r, uint32_t place, int32_t id, bool control)
{
    struct run_store *s = &r->store;
    uint32_t first = s->places[place].first;
    bool named = false;

    work_begin(&r->work);
    for (uint32_t i = 0; i < s->places[place].n; i++) {
        const struct auto_node *n = &r->a->nodes[s->threads[first + i].node];
        named |= n->op == AUTO_OP_TOKEN && n->a == (uint32_t)id;
    }
    for (uint32_t i = s->places[place].n; i-- > 0;) {
        struct run_thread t = s->threads[first + i];
        const struct auto_node *n = &r->a->nodes[t.node];
        if (n->op == AUTO_OP_TOKEN
                ? n->a == (uint32_t)id
                : n->op == AUTO_OP_CONTROL && control && !named)
            go(r, n->b, 0, t.stack);
    }
    work_run(r);
    return work_end(r);
}

/* --- places that no token can tell apart -------------------------------- */

/* A count of LOOP <n> that stands for <count>. */
static uint32_t canon_count(const struct run *r, const struct auto_node *n,
                            uint32_t count)
{
    uint32_t left = n->max - count; /* AUTO_NO_MAX: far enough */

    if (n->op != AUTO_OP_LOOP)
        return 0;
    if (count < n->min)
        return n->min - count > r->longest ? 0 : count;
    return left > r->longest ? n->min : count;
}

/* The stack that stands for <stack>; 0 for the bottom or without memory. */
static uint32_t canon_stack(struct run *r, uint32_t stack)
{
    uint32_t path[AUTO_DEPTH_MAX + 1], n = 0, canon = 0;

    while (stack && !r->store.stacks[stack].canon) {
        path[n++] = stack;
        stack = r->store.stacks[stack].parent;
    }
    if (stack)
        canon = r->store.stacks[stack].canon;
    while (n > 0) {
        struct run_stack f = r->store.stacks[path[--n]];
        uint32_t count = canon_count(r, &r->a->nodes[f.node], f.count);
        canon = store_stack(&r->store, f.node, count, canon);
        if (!canon)
            return 0;
        r->store.stacks[path[n]].canon = canon;
    }
    return canon;
}

uint32_t run_canon(struct run *r, uint32_t place)
{
    struct run_place p = r->store.places[place];
    uint32_t canon;

    if (p.canon)
        return p.canon;
    for (uint32_t i = 0; i < p.n; i++) {
        struct run_thread t = r->store.threads[p.first + i];
        uint32_t stack = canon_stack(r, t.stack);
        if (t.stack && !stack)
            return place;
        r->work.threads[i] = (struct run_thread){t.node, stack};
    }
    canon = store_place(&r->store, r->a->n_classes, r->work.threads, p.n,
                        p.accepts);
    if (!canon)
        return place;
    r->store.places[place].canon = canon;
    r->store.places[canon].canon = canon;
    return canon;
}

/* Whether thread <t> begins no character of a string other than those of a
 * loop with frame <stack>. */
static bool is_beside(const struct run *r, struct run_thread t, uint32_t stack)
{
    const struct auto_node *n = &r->a->nodes[t.node];

    return t.stack == stack || n->op == AUTO_OP_TOKEN ||
           (n->op == AUTO_OP_RANGE && n->a == ('"' | '"' << 8));
}

uint32_t run_string_room(const struct run *r, uint32_t place)
{
    const struct run_store *s = &r->store;
    const struct run_place *p = &s->places[place];
    uint32_t room = 0, stack = 0;

    for (uint32_t i = 0; i < p->n; i++) {
        struct run_thread t = s->threads[p->first + i];
        const struct run_stack *top = &s->stacks[t.stack];
        const struct auto_node *loop = &r->a->nodes[top->node];
        uint32_t left = loop->max - top->count; /* behind this one */
        if (!r->a->nodes[t.node].plain || !t.stack ||
            loop->op != AUTO_OP_LOOP || left < room)
            continue;
        room = left < r->longest ? left + 1 : r->longest;
        stack = t.stack;
    }
    for (uint32_t i = 0; i < p->n && room < r->longest; i++)
        if (!is_beside(r, s->threads[p->first + i], stack))
            room = 0;
    return room;
}

/* --- memory ------------------------------------------------------------- */

bool run_is_full(const struct run *r)
{
    return r->lost || r->store.n_places > RUN_PLACES_MAX ||
           r->store.n_stacks > RUN_STACKS_MAX ||
           r->store.n_threads > RUN_THREADS_MAX;
}

void run_collect(struct run *r, uint32_t **roots, size_t n)
{
    struct run_store fresh;

    if (store_copy(&fresh, &r->store, r->a->n_classes, roots, n)) {
        store_fini(&r->store);
        r->store = fresh;
        r->lost = false;
    }
}
