/* dfix.h - Steps for tests of how steps are queued and recorded: of a small
 * pool, with krn_step_turns() and krn_step_take() as their operations, which
 * read the positions and the wanted rows. What fails here fails the test. */
#ifndef TG_TESTS_KERNELS_DFIX_H
#define TG_TESTS_KERNELS_DFIX_H

#include <stdbool.h>
#include <stdint.h>

#include "kernels/krn.h"

enum {
    DFIX_MOST = 300,     /* rows */
    DFIX_PAGES = 16,     /* of the pool */
    DFIX_COLUMNS = 4096, /* of the table */
    DFIX_PAIRS = 2,      /* that turns makes of a position */
    DFIX_WIDTH = 5,      /* of what is taken */
};

/* What turns makes of a position: cosine and sine of it times these. */
extern const double dfix_freq[DFIX_PAIRS];

/* A context with what steps need. */
struct dfix {
    struct krn_ctx *c;
    struct krn_kv kv;
    double *freq;          /* device (DFIX_PAIRS) */
    float *cs, *taken, *x; /* device */
    struct krn_step s;
    struct krn_pass pass;
    int32_t seq[DFIX_MOST], pos[DFIX_MOST], ids[DFIX_MOST];
    unsigned wanted[DFIX_MOST];
    int32_t *table; /* (DFIX_MOST, DFIX_COLUMNS) */
};

/* A fresh context with kind 0; and closing it, after which nothing of the
 * driver may be left. */
struct dfix *dfix_open(void);
void dfix_close(struct dfix *f);

/* Set a step of <m> rows, row i the one row of sequence i at position <pos> +
 * i; the last <n_wanted> of them wanted. */
void dfix_rows(struct dfix *f, unsigned m, unsigned n_wanted, int32_t pos);

/* Begin the step that is set. */
void dfix_begin(struct dfix *f);

/* Queue its operations, unless they are known. */
enum krn_status dfix_queue(struct dfix *f);

/* Get its results, which must be right. */
void dfix_right(struct dfix *f);

/* Do the step that is set, which must be right. Whether it was repeated. */
bool dfix_step(struct dfix *f);

/* The same of <m> rows decoded from position <pos> on. */
bool dfix_decode(struct dfix *f, unsigned m, int32_t pos);

#endif
