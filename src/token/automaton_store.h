/* automaton_store.h - Where stacks and places are kept, each only once. Only
 * for automaton_run.c. */
#ifndef TG_TOKEN_AUTOMATON_STORE_H
#define TG_TOKEN_AUTOMATON_STORE_H

#include "token/automaton_run.h"

/* An empty store; stack 0 is the bottom, place 0 the dead one. False without
 * memory (store_fini() is owed still). */
bool store_init(struct run_store *s, unsigned n_classes);

/* Free. */
void store_fini(struct run_store *s);

/* The stack with frame (node, count) on <parent>; 0 without memory. */
uint32_t store_stack(struct run_store *s, uint32_t node, uint32_t count,
                     uint32_t parent);

/* The place of exactly these threads in this order; 0 without memory. */
uint32_t store_place(struct run_store *s, unsigned n_classes,
                     const struct run_thread *threads, uint32_t n,
                     bool accepts);

/* A store with nothing but what the <n> roots need, in <out>; the roots are
 * renumbered. False without memory: nothing changes. */
bool store_copy(struct run_store *out, const struct run_store *from,
                unsigned n_classes, uint32_t **roots, size_t n);

#endif
