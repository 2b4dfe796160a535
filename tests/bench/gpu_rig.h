/* gpu_rig.h - A model on a GPU for b_gpu: opening it, and steps of it. What
 * fails ends the program with a sentence. */
#ifndef TG_BENCH_GPU_RIG_H
#define TG_BENCH_GPU_RIG_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/graph.h"
#include "engine/model.h"
#include "kernels/krn.h"

#define RIG_LIST 16 /* most numbers of a list */
#define RIG_ROOM 64 /* positions that decoding moves through */

/* What to do. */
struct plan {
    const char *device;
    unsigned batch[RIG_LIST], n_batch;
    unsigned context[RIG_LIST], n_context;
    unsigned prompt[RIG_LIST], n_prompt;
    unsigned chunk[RIG_LIST], n_chunk;
    unsigned prefix;
    unsigned samples;
    float temperature; /* of draws */
    bool fp8;          /* weights of floats are kept in 8 bits */
    bool kv_fp8;       /* keys and values are kept in 8 bits */
    bool exact;        /* krn_opts.deterministic */
    bool logits;       /* they go to the host, nothing is drawn */
    double end_s;      /* nothing begins later */
};

/* A model on a device. */
struct rig {
    const struct plan *p;
    struct krn_ctx *krn;
    struct model *m;
    struct graph *g;
    const char *name;
    char shape[64], type[16], how[64];
    unsigned page_tokens;
    unsigned max_pages; /* of a sequence */
    unsigned max_seqs, max_rows;
    int32_t *table; /* (max_seqs, max_pages) pages of each sequence's own */
    int32_t *ids, *seq, *pos; /* (max_rows) */
    uint8_t *want;            /* (max_rows) */
    float *logits;            /* (max_seqs, n_vocab) */
    bool draws;               /* the device draws tokens */
    struct krn_draw *draw;    /* (max_seqs) */
    struct krn_drawn *drawn;  /* (max_seqs) */
    double weight_bytes;      /* that a step reads */
    double layer_flops;       /* of a token in all layers */
};

/* Put the model <name>, SHAPE[:TYPE] or a path, on the device of <p>. */
void rig_open(struct rig *r, const char *name, const struct plan *p);

/* Free all. */
void rig_close(struct rig *r);

/* End the program. */
void rig_die(const char *what, const char *why) __attribute__((noreturn));

/* The largest of <n> numbers, at least <least>. */
unsigned rig_most(const unsigned *v, unsigned n, unsigned least);

/* Read the prompt of <n> tokens of sequence 0, in chunks; with the last token's
 * logits where <last> asks for them. Done on return. */
void rig_prefill(struct rig *r, unsigned n, unsigned chunk, bool last);

/* A token of each of <n> sequences at <pos>, drawn or with its logits on the
 * host. */
void rig_decode(struct rig *r, unsigned n, unsigned pos);

/* Give the sequences <from> .. <n> - 1 what sequence 0 has of <tokens> tokens,
 * in pages of their own. */
void rig_spread(struct rig *r, unsigned from, unsigned n, unsigned tokens);

#endif
