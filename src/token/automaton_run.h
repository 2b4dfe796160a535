/* automaton_run.h - Running a program: sets of (node, stack) are numbered as
 * they are met, and where each leads by each byte is remembered, so that most
 * steps are one look into a table. What is remembered is bounded; it is thrown
 * away when full, and only what is in use is kept. Not for two threads at
 * once. Only for grammar.c. */
#ifndef TG_TOKEN_AUTOMATON_RUN_H
#define TG_TOKEN_AUTOMATON_RUN_H

#include "token/automaton.h"

#define RUN_DEAD 0 /* the number of the place from where nothing leads on */

/* Places, stacks and threads after which run_is_full(). */
#define RUN_PLACES_MAX  4096
#define RUN_STACKS_MAX  65536
#define RUN_THREADS_MAX 262144
#define RUN_WIDTH_MAX   2048 /* threads of one place; more are cut off */

/* One way that a text may be read: a node that waits for input, and a stack.
 */
struct run_thread {
    uint32_t node;
    uint32_t stack; /* 0 = bottom */
};

/* A frame and all below it. */
struct run_stack {
    uint32_t node;  /* CALL or LOOP that pushed it */
    uint32_t count; /* LOOP: turns begun, kept at min when there is no max */
    uint32_t parent;
    uint32_t depth;
    uint32_t canon; /* stack that no token can tell from it; 0 = unknown */
    uint32_t chain; /* next of the same hash */
};

/* A set of threads. */
struct run_place {
    uint32_t first, n; /* threads */
    uint32_t hash, chain;
    uint32_t canon; /* place that no token can tell from it; 0 = unknown */
    bool accepts;   /* the text may end here */
};

/* What is remembered. */
struct run_store {
    struct run_stack *stacks;
    uint32_t n_stacks, stacks_cap;
    struct run_place *places;
    uint32_t n_places, places_cap;
    struct run_thread *threads;
    uint32_t n_threads, threads_cap;
    uint32_t *next; /* (places_cap * n_classes); 0 = unknown, else place + 1 */
    uint32_t *stack_heads, *place_heads; /* hash tables */
    uint32_t heads;                      /* slots of each, a power of two */
};

/* A step under way. */
struct run_work {
    struct run_item *todo;
    uint32_t n_todo, todo_max;
    struct run_item *seen; /* hash set of <slots>, a power of two */
    uint32_t slots;
    uint32_t *stamps;
    uint32_t stamp, n_seen;
    struct run_thread *threads; /* (RUN_WIDTH_MAX) */
    uint32_t n_threads;
    bool accepts;
};

/* A program being run. */
struct run {
    const struct automaton *a; /* borrowed */
    uint32_t longest;          /* bytes of the longest token */
    bool lost;                 /* memory was short; until run_collect() */
    struct run_store store;
    struct run_work work;
};

/* Make <r> ready for <a>; false without memory (run_fini() is owed still). */
bool run_init(struct run *r, const struct automaton *a, uint32_t longest);

/* Free what it holds. */
void run_fini(struct run *r);

/* Where a text begins. RUN_DEAD without memory. */
uint32_t run_start(struct run *r);

/* Where byte <c> leads from <place>; RUN_DEAD: it is not allowed (or memory
 * is short: see lost). */
uint32_t run_step(struct run *r, uint32_t place, uint8_t c);

/* Where token <id> as such leads; <control>: it is a control token. */
uint32_t run_token(struct run *r, uint32_t place, int32_t id, bool control);

/* A place that takes the same tokens and is the same for many places: counts
 * that no one token can bring to a bound do not matter. <place> itself without
 * memory. */
uint32_t run_canon(struct run *r, uint32_t place);

/* When nothing but a string is being read at <place>, between two characters:
 * how many may still follow (longest or more: no token can exceed it). 0 in
 * all other places, and where other ways might take more. */
uint32_t run_string_room(const struct run *r, uint32_t place);

/* Whether it is time to forget. */
bool run_is_full(const struct run *r);

/* Forget all but the <n> places that <roots> point to, which are renumbered.
 * Without memory nothing changes. */
void run_collect(struct run *r, uint32_t **roots, size_t n);

/* The place itself; valid until the next call. */
static inline const struct run_place *run_at(const struct run *r,
                                             uint32_t place)
{
    return &r->store.places[place];
}

#endif
