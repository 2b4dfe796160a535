/* model.h - A model file, mapped and judged: hyper-parameters, where every
 * tensor lies, its vocabulary and its chat template. Readers: GGUF (v2, v3)
 * and Hugging Face directories. Every count, offset and size is checked before
 * it is used; what this engine cannot run is refused here by name. */
#ifndef TG_ENGINE_MODEL_H
#define TG_ENGINE_MODEL_H

#include "base/err.h"
#include "base/str.h"
#include "kernels/krn.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct vocab;

/* Architectures; one graph with flags runs them all. */
enum model_arch { MODEL_LLAMA = 0, MODEL_QWEN2, MODEL_QWEN3 };

/* How rotary positions are stretched beyond the trained context. */
enum model_rope_scaling {
    MODEL_ROPE_NONE = 0,
    MODEL_ROPE_LINEAR,
    MODEL_ROPE_LLAMA3, /* per-frequency factors by wavelength */
    MODEL_ROPE_YARN,
};

/* Rotary embedding. */
struct model_rope {
    bool halves;    /* pairs (i, i + n_rot/2), else neighbours */
    unsigned n_rot; /* dimensions of a head that turn, even */
    float base;     /* theta */
    enum model_rope_scaling scaling;
    float factor;               /* stretch, >= 1; 1 when there is none */
    float low_freq, high_freq;  /* llama3: high > low > 0 */
    float ext_factor;           /* yarn: share of the blend, 1 as published */
    float attn_factor;          /* what cosine and sine are multiplied by, the
                                 * logarithm of yarn included; 1 = as they are */
    float beta_fast, beta_slow; /* yarn: turns where the blend begins, ends */
    unsigned orig_context;      /* llama3, yarn: context before stretching */
    const float *divisors;      /* (n_rot/2) from the file, or NULL: frequencies
                                 * are divided by these, all > 0; owned by the
                                 * model */
};

/* How a model's hidden rows become one embedding. */
enum model_pooling { MODEL_POOL_MEAN = 0, MODEL_POOL_LAST };

/* Hyper-parameters; all sizes are in elements and > 0. */
struct model_params {
    enum model_arch arch;
    unsigned n_layer;
    unsigned d_model;
    unsigned n_head;
    unsigned n_kv_head; /* divides n_head */
    unsigned d_head;
    unsigned d_ff;
    unsigned n_vocab; /* rows of the embedding */
    unsigned context; /* tokens the model was made for; a sliding window
                       * smaller than that bounds it */
    float rms_eps;
    struct model_rope rope;
    bool tied; /* output is the embedding */
    enum model_pooling pooling;
};

/* A tensor in the mapped file: rows of n_in elements. Without data and without
 * a seed it is absent. */
struct model_tensor {
    enum krn_dtype dtype;
    size_t n_out;     /* rows; 1 for a vector */
    size_t n_in;      /* elements of a row */
    const void *data; /* mapped, aligned as the file aligns it (maybe odd) */
    size_t bytes;
    uint64_t seed; /* not 0: a matrix that is in no file: it has no data, its
                    * numbers are random, as krn_weight_random() makes them */
};

/* One layer. Biases and head norms are absent in most architectures. */
struct model_layer {
    struct model_tensor attn_norm, q, k, v, o;
    struct model_tensor q_bias, k_bias, v_bias, o_bias;
    struct model_tensor q_norm, k_norm; /* qwen3: (d_head) */
    struct model_tensor ffn_norm, gate, up, down;
};

/* What generation_config.json or the file's metadata suggest; < 0 = unsaid. */
struct model_sampling {
    float temperature, top_p, min_p, repetition_penalty;
    int top_k;
};

/* A chat template beside the main one: "tool_use", "rag". */
struct model_template {
    struct str name, text; /* NUL-terminated */
};

/* The mapped files behind a model. */
struct model_store;

/* A model, immutable after model_open(); all is owned by it. */
struct model {
    struct model_params p;
    struct model_tensor embed, out_norm, output; /* output absent when tied */
    struct model_layer *layers;                  /* (n_layer), owned */
    struct vocab *vocab;      /* owned; vocab_size() <= p.n_vocab: rows past it
                               * are padding that must never be chosen */
    struct str chat_template; /* NUL-terminated; empty = none */
    const struct model_template *templates; /* (n_templates) named ones */
    size_t n_templates;
    struct str name; /* from the file, NUL-terminated; may be empty */
    struct model_sampling sampling;
    const int32_t *end_ids; /* (n_end_ids) tokens that end a generation by what
                             * stands beside the vocabulary: marked so in it */
    size_t n_end_ids;
    uint64_t file_bytes; /* of all weights files */
    char digest[65];     /* SHA-256 of the weights' bytes in hex, filled by
                          * model_digest(); "" before */
    struct model_store *store; /* owned */
};

/* Why a model was refused: one sentence, "what is wrong; what is supported". */
struct model_fault {
    char text[400];
};

/* What the name of a model begins with that is in no file. */
#define MODEL_SYNTHETIC "synthetic:"

/* Map and judge <path>: a .gguf file, a directory with config.json, or, for
 * benches, "synthetic:SHAPE[:TYPE]": a model of random numbers (bf16 where
 * there is no TYPE) in the shape of a known one, see model_synthetic.c. On
 * failure <why> tells, with file and tensor or key names. ERR_IO: cannot be
 * read; ERR_SYNTAX: damaged or hostile; ERR_REFUSED: sound, but not supported;
 * ERR_NOMEM. */
enum err model_open(const char *path, struct model_fault *why,
                    struct model **out) MUST_CHECK;

/* The same for a GGUF image in memory, borrowed until model_close(); its digest
 * is that of the image. */
enum err model_open_gguf(struct str image, struct model_fault *why,
                         struct model **out) MUST_CHECK;

/* The vocabulary alone, of a GGUF file that needs hold no weights and may be of
 * any architecture. Errors as model_open(). */
enum err model_open_vocab(const char *path, struct model_fault *why,
                          struct vocab **out) MUST_CHECK;

/* Digest all bytes of the weights files (and config.json) into m->digest;
 * reads them once, with threads of its own. ERR_IO: unreadable, or not the
 * bytes any more that were opened; ERR_NOMEM. */
enum err model_digest(struct model *m) MUST_CHECK;

/* Let a digest under way, and any later one, end soon with ERR_CLOSED: the
 * program is closing. Any thread. */
void model_digest_stop(struct model *m);

/* Whether the files still are what was opened: same size, same time of last
 * change. Ask when the weights are loaded: numbers read from a file while it
 * was written over are not the model's. */
bool model_is_whole(const struct model *m);

/* Tell that the bytes of <t> were copied elsewhere: their pages leave this
 * process's memory. */
void model_tensor_done(const struct model *m, const struct model_tensor *t);

/* Unmap and free; NULL is fine. */
void model_close(struct model *m);

#endif
