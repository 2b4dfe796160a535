/* graphrig.h - A graph over a model of pseudo-random numbers, with sequences
 * that know their pages. Fails the test when something cannot be made. */
#ifndef TG_TESTS_LIB_GRAPHRIG_H
#define TG_TESTS_LIB_GRAPHRIG_H

#include "engine/graph.h"
#include "engine/model.h"
#include "lib/ggufm.h"

enum {
    GRAPHRIG_SEQS = 8,
    GRAPHRIG_PAGES = 48, /* of one sequence */
    GRAPHRIG_ROWS = 512, /* of one step */
};

/* A model's image, to be opened by several rigs. */
struct graphrig_image {
    char *bytes; /* owned */
    size_t len;
};

/* Rows put together for one step. */
struct graphrig_batch {
    int32_t seq[GRAPHRIG_ROWS], pos[GRAPHRIG_ROWS], ids[GRAPHRIG_ROWS];
    uint8_t want[GRAPHRIG_ROWS];
    unsigned m;
};

struct graphrig {
    struct krn_ctx *c;
    struct model *m;
    struct graph *g;
    int32_t table[GRAPHRIG_SEQS * GRAPHRIG_PAGES];
    struct graphrig_batch batch;
    unsigned n_pages; /* twice what the table needs, for copies */
};

void graphrig_image(struct graphrig_image *i, const struct ggufm_shape *s);
void graphrig_image_free(struct graphrig_image *i);

/* Open <i> on <device> with <threads>; the pages of all sequences are given,
 * in no order. */
void graphrig_open(struct graphrig *r, const struct graphrig_image *i,
                   const char *device, unsigned threads,
                   enum krn_dtype kv_dtype);
/* The same on the device that <o> says. */
void graphrig_open_as(struct graphrig *r, const struct graphrig_image *i,
                      const struct krn_opts *o, enum krn_dtype kv_dtype);
/* The same with weights in 8 bits: graph_opts.fp8. */
void graphrig_open_fp8(struct graphrig *r, const struct graphrig_image *i,
                       const char *device, enum krn_dtype kv_dtype);
void graphrig_close(struct graphrig *r);

/* Token <pos> of sequence <seq>: the same in every rig. */
int32_t graphrig_token(const struct graphrig *r, int32_t seq, int32_t pos);

/* Add the tokens <from> .. <to>-1 of <seq> to the batch; the last one is
 * wanted for <want>. */
void graphrig_add(struct graphrig *r, int32_t seq, int32_t from, int32_t to,
                  enum graph_want want);

/* Run what was added; <out> gets what was wanted. */
void graphrig_run(struct graphrig *r, float *out);

/* The tokens 0 .. <n>-1 of <seq> in chunks; the last one's logits. */
void graphrig_prompt(struct graphrig *r, int32_t seq, int32_t n, int32_t chunk,
                     float *out);

#endif
