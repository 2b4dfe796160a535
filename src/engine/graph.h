/* graph.h - A model on a device: its weights, its pages of keys and values,
 * and the pass over the layers. Decides which operation runs on what; does no
 * arithmetic itself. Driven by one thread. */
#ifndef TG_ENGINE_GRAPH_H
#define TG_ENGINE_GRAPH_H

#include "base/err.h"
#include "kernels/krn.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct graph;
struct model;
struct model_fault;

/* How to build a graph. */
struct graph_opts {
    enum krn_dtype kv_dtype; /* KRN_F16 unless asked otherwise */
    unsigned n_pages;        /* pages of the pool, of KRN_PAGE_TOKENS each */
    unsigned max_rows;       /* most rows of one step, >= 1 */
    /* Called now and then while weights load; may be NULL. */
    void (*progress)(uint64_t done_bytes, uint64_t all_bytes, void *arg);
    void *progress_arg;
};

/* What a row is wanted for. */
enum graph_want {
    GRAPH_NOTHING = 0, /* keys and values only */
    GRAPH_LOGITS,      /* the next token's logits */
    GRAPH_HIDDEN,      /* the final normed hidden row */
};

/* One step: a ragged batch of prefill chunks and decodes. */
struct graph_step {
    struct krn_rows rows;
    const int32_t *ids;  /* (m) token of each row */
    const uint8_t *want; /* (m) enum graph_want */
};

/* Load the weights of <m> into <c> (both borrowed until graph_free()); the
 * mapped tensors are released as they go (model_tensor_done()). Fails with
 * ERR_NOMEM or ERR_REFUSED and a sentence in <why>. */
enum err graph_new(struct krn_ctx *c, const struct model *m,
                   const struct graph_opts *o, struct model_fault *why,
                   struct graph **out) MUST_CHECK;

/* Free; NULL is fine. */
void graph_free(struct graph *g);

/* Run a step. <out> (host memory) gets a row for each wanted row in order:
 * n_vocab floats for logits, d_model for hidden; all wanted rows of one step
 * are of one kind. ERR_RANGE: more rows than max_rows or an id that is none;
 * ERR_IO: the device failed. */
enum err graph_step_run(struct graph *g, const struct graph_step *s,
                        float *out) MUST_CHECK;

/* Copy page <from> onto page <to>. */
enum err graph_page_copy(struct graph *g, unsigned to,
                         unsigned from) MUST_CHECK;

/* Copy page <page> to <host>. */
enum err graph_page_get(struct graph *g, unsigned page, void *host) MUST_CHECK;

/* Where page <page>, which no step uses, may be written by the host, and by any
 * thread. */
void *graph_page_room(struct graph *g, unsigned page);

/* Bytes of all weights on the device. */
size_t graph_weight_bytes(const struct graph *g);

/* Bytes of a page of a graph of <m>. */
size_t graph_page_bytes_of(const struct model *m, enum krn_dtype kv_dtype);

#endif
