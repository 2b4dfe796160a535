/* fakegraph.h - A double of engine/graph.h for tests of the scheduler. What it
 * keeps for a token is a hash of the token, its position and what the table of
 * pages shows for the position before; logits are a hash of everything that
 * the table shows up to the row. A wrong table, a page used again too early or
 * a step out of order therefore changes what is generated. */
#ifndef TG_TESTS_LIB_FAKEGRAPH_H
#define TG_TESTS_LIB_FAKEGRAPH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FAKE_COPIES 1024
#define FAKE_DRAWS  256

/* A copy that is under way; it is made when it is over. */
struct fake_copy {
    void *to;
    const void *from;
};

/* The double; set the sizes, then fake_graph_init(). */
struct graph {
    unsigned n_pages, max_rows, n_vocab, d_model;
    int32_t eog;      /* made less likely, */
    float eog_less;   /* by this much; */
    int32_t bytes;    /* so are the 256 from this one on */
    float bytes_less; /* by this much */
    int32_t banned;   /* never chosen; 0 is the unknown token */
    uint64_t row_ms;  /* what a row takes, on the clock of the process */
    uint64_t run_ms;  /* what a step takes beside its rows */
    uint64_t fail_at; /* number of the step that fails, from 1; 0 = none */
    uint64_t n_steps, n_rows, n_copies;
    unsigned most_rows; /* of a step so far */
    uint64_t *kv;       /* (n_pages, KRN_PAGE_TOKENS) owned */
    bool draws;         /* tokens are drawn by it */
    bool device;        /* pages are not the host's: they have to be copied */
    size_t page_bytes;  /* that a page is said to have; 0 = what it has */
    unsigned lag;       /* looks until a copy is over, when <device> */
    uint64_t fail_copy; /* ticket from which on copies fail; 0 = none */
    float *drawn;       /* (FAKE_DRAWS, n_vocab) owned: rows to draw from */
    unsigned n_drawn;   /* rows of it */
    uint64_t n_draws;   /* so far */
    uint64_t n_tickets, n_over;
    unsigned n_looks;                     /* at the oldest copy */
    struct fake_copy copies[FAKE_COPIES]; /* under way: n_over .. n_tickets-1,
                                           * at their numbers mod FAKE_COPIES */
};

/* Allocate; asserts that there is memory. */
void fake_graph_init(struct graph *g);

/* Free. */
void fake_graph_fini(struct graph *g);

#endif
