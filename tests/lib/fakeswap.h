/* fakeswap.h - A double of engine/kvswap.h for tests of the scheduler: pages
 * that are stored at once, and loads that wait until the test answers them. */
#ifndef TG_TESTS_LIB_FAKESWAP_H
#define TG_TESTS_LIB_FAKESWAP_H

#include "engine/kvswap.h"
#include "kernels/krn.h"

#define FAKE_PAGES 256
#define FAKE_LOADS 32

struct kvswap_page {
    struct kvswap_page *self;
    struct digest hash;
    uint8_t payload[KRN_PAGE_TOKENS * sizeof(uint64_t)];
};

/* The double; zeroed is empty. */
struct kvswap {
    struct kvswap_page *pages[FAKE_PAGES]; /* owned */
    unsigned n_pages;
    unsigned n_refused;                    /* offers */
    bool refuse;                           /* all offers */
    struct kvswap_load *loads[FAKE_LOADS]; /* handed over, oldest first */
    unsigned n_loads;
    unsigned n_finds, n_reads; /* so far */
    unsigned bad;              /* reads end at this page, from 1; 0 = none */
    unsigned n_touches, last_n, last_hit;
    double expect_s; /* of any read */
    unsigned restored, recomputed;
    uint64_t saved_us;
    uint64_t cost_us; /* of all that was offered */
    unsigned era;     /* from 0 */
};

/* Answer the oldest load. */
void fake_swap_answer(struct kvswap *w);

/* Answer loads, and run <r>'s turns, until all is done. */
struct rig;
void fake_swap_finish(struct kvswap *w, struct rig *r);

/* Free the pages. */
void fake_swap_fini(struct kvswap *w);

#endif
