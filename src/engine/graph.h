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
    bool fp8; /* keep the layers' and the head's matrices of floats in 8 bits:
               * krn_weights_fp8(); not on the host. What is an embedding, too,
               * stays as it is */
    unsigned n_pages;  /* pages of the pool, of krn_page_tokens() each; 0 =
                        * graph_pool_new() makes it */
    unsigned max_rows; /* most rows of one step, >= 1 */
    /* Called now and then while weights load; may be NULL. */
    void (*progress)(uint64_t done_bytes, uint64_t all_bytes, void *arg);
    void *progress_arg;
};

/* What a row is wanted for. */
enum graph_want {
    GRAPH_NOTHING = 0, /* keys and values only */
    GRAPH_LOGITS,      /* the next token's logits */
    GRAPH_HIDDEN,      /* the final normed hidden row */
    GRAPH_DRAW,        /* logits that stay on the device, for graph_draw() */
};

/* Most rows of a step of which some are wanted for GRAPH_DRAW. */
#define GRAPH_DRAW_ROWS 256

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

/* Bytes that the weights of <m> take less with graph_opts.fp8, about. */
uint64_t graph_fp8_saves(const struct model *m);

/* Make the pool of a graph that has none, of <n_pages> > 0 pages: when what the
 * weights took of the device is known. ERR_NOMEM. */
enum err graph_pool_new(struct graph *g, unsigned n_pages) MUST_CHECK;

/* After a step answered ERR_IO: open the device anew, and put weights, buffers
 * and as many pages there as before, which hold nothing. ERR_IO, ERR_NOMEM,
 * ERR_REFUSED with <why>: the graph is fit for graph_free() alone. ERR_OK where
 * graph_is_host(): nothing was lost. */
enum err graph_revive(struct graph *g, struct model_fault *why) MUST_CHECK;

/* Free; NULL is fine. */
void graph_free(struct graph *g);

/* Run a step. <out> (host memory) gets a row for each row that is wanted for
 * logits or hidden, in order: n_vocab floats for logits, d_model for hidden.
 * All wanted rows of one step are of one kind, but for logits and draws, which
 * may mix where graph_draws(); such a step may be under way on return.
 * ERR_RANGE: more rows than max_rows, too many wanted ones beside draws, or an
 * id that is none; ERR_IO: the device failed. */
enum err graph_step_run(struct graph *g, const struct graph_step *s,
                        float *out) MUST_CHECK;

/* Whether the device draws tokens itself. */
bool graph_draws(const struct graph *g);

/* Do <n> draws from the first <n_tokens> logits of the last step's rows that
 * were wanted for GRAPH_DRAW: draws[i].row counts all wanted rows of that step,
 * from 0, and no two have the same; out (n). ERR_RANGE: not graph_draws(), or a
 * draw that krn_step_draw() refuses; ERR_IO: the device failed, in the step or
 * here. */
enum err graph_draw(struct graph *g, unsigned n_tokens, unsigned n,
                    const struct krn_draw *draws,
                    struct krn_drawn *out) MUST_CHECK;

/* Copy page <from> onto page <to>. */
enum err graph_page_copy(struct graph *g, unsigned to,
                         unsigned from) MUST_CHECK;

/* Whether pages lie in memory of the host. */
bool graph_is_host(const struct graph *g);

/* Where page <page>, which no step uses, may be written by the host, and by any
 * thread; NULL unless graph_is_host(): pages travel by graph_page_in() then. */
void *graph_page_room(struct graph *g, unsigned page);

/* Tokens of a page, and its bytes. */
unsigned graph_page_tokens(const struct graph *g);
size_t graph_page_bytes(const struct graph *g);

/* Host memory that copies of pages go through quickly, aligned to 4096; NULL
 * without memory. Freed before the graph; free takes NULL, too. */
void *graph_host_alloc(struct graph *g, size_t bytes);
void graph_host_free(struct graph *g, void *p);

/* Begin to copy page <page> to <host>, beside the steps. <host>
 * (graph_page_bytes(), of graph_host_alloc()) must live, and not be touched,
 * until graph_page_done() of *ticket_out; it sees what steps wrote before. The
 * page may not be written until it is over. Where graph_is_host() it is over
 * on return. ERR_RANGE: there is no such page; ERR_IO: the device failed. */
enum err graph_page_out(struct graph *g, unsigned page, void *host,
                        uint64_t *ticket_out) MUST_CHECK;

/* Begin to copy <host>, as above, to page <page>, which no step may use until
 * it is over. Errors likewise. */
enum err graph_page_in(struct graph *g, unsigned page, const void *host,
                       uint64_t *ticket_out) MUST_CHECK;

/* Whether the copy of <ticket> is over; *failed is set when the device failed,
 * and left alone else. Never waits. Tickets of one direction end in order. */
bool graph_page_done(struct graph *g, uint64_t ticket, bool *failed);

/* Bytes of all weights on the device. */
size_t graph_weight_bytes(const struct graph *g);

/* Bytes of a page of <page_tokens> of a graph of <m>. */
size_t graph_page_bytes_of(const struct model *m, enum krn_dtype kv_dtype,
                           unsigned page_tokens);

#endif
