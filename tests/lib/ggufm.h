/* ggufm.h - Whole models for tests and benches: hyper-parameters, a small but
 * sound vocabulary and tensors of pseudo-random numbers, written with
 * ggufw.h. The same shape and seed always give the same file. */
#ifndef TG_TESTS_LIB_GGUFM_H
#define TG_TESTS_LIB_GGUFM_H

#include "lib/ggufw.h"

/* What to make. Sizes in elements. */
struct ggufm_shape {
    const char *arch; /* "llama", "qwen2", "qwen3" */
    unsigned n_layer, d_model, n_head, n_kv_head, d_head, d_ff;
    unsigned n_vocab; /* at least 300 */
    unsigned context;
    bool tied;
    bool spm;             /* else byte-level BPE */
    enum krn_dtype dtype; /* of matrices; vectors are F32 */
    uint64_t seed;
};

/* Metadata, vocabulary and tensors of <s>, for the caller to change before it
 * is built. Free with ggufw_free(). */
struct ggufw *ggufm_new(const struct ggufm_shape *s);

/* Add the vocabulary of <s> to <w>. */
void ggufm_add_vocab(struct ggufw *w, const struct ggufm_shape *s);

/* A ggufw_fill_fn for what ggufm_new() made: <arg> is a struct ggufm_filler.
 * Vectors get numbers around 1, biases around 0. */
ggufw_fill_fn ggufm_fill;

/* What ggufm_fill() needs. */
struct ggufm_filler {
    struct ggufw *w;
    uint64_t seed;
};

/* The whole image of <s>, to be freed. */
char *ggufm_build(const struct ggufm_shape *s, size_t *len_out);

/* The byte-level BPE vocabulary of <s> as the text of a tokenizer.json, to be
 * freed. */
char *ggufm_tokenizer_json(const struct ggufm_shape *s);

#endif
