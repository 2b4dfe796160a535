/* model_priv.h - What the parts of the model reader share: mapped files, a
 * list of tensors that is the same for both formats, and the checks that
 * neither format spares. */
#ifndef TG_ENGINE_MODEL_PRIV_H
#define TG_ENGINE_MODEL_PRIV_H

#include "base/arena.h"
#include "base/err.h"
#include "engine/model.h"

#include <sys/stat.h>

struct gguf;

/* A file, mapped read-only, or borrowed memory. */
struct model_map {
    int fd;           /* owned; -1: borrowed memory */
    struct str bytes; /* mapped; empty files are refused */
    struct stat seen; /* as it was when opened */
    int64_t opened_wall_ns;
};

/* What stands behind a model. */
struct model_store {
    struct arena *arena;    /* small things with the model's life */
    struct model_map *maps; /* (n_maps) weights files, owned */
    size_t n_maps;
    struct str config; /* text that is digested with the weights, or empty */
    _Atomic bool stop; /* a digest under way shall end */
};

/* A tensor as a file has it, whatever the format. */
struct model_entry {
    struct str name;      /* borrowed */
    const char *type;     /* name of its type in the file */
    enum krn_dtype dtype; /* KRN_DTYPE_COUNT: not supported */
    unsigned n_dims;
    uint64_t dims[4]; /* > 0, dims[0] is the length of a row */
    const void *data;
    size_t bytes;
    const char *file; /* HF: the shard it lies in; NULL: there is but one */
    bool used;        /* some place of the model took it */
};

/* All tensors of a model, sorted by name. */
struct model_entries {
    struct model_entry *v; /* owned */
    size_t n;
};

/* How a format names tensors. */
enum model_naming { MODEL_NAMES_GGUF = 0, MODEL_NAMES_HF };

/* What model_bind() wants to know. */
struct model_binding {
    enum model_naming naming;
    const char *prefix;  /* HF: "model." or "" */
    bool attention_bias; /* HF: q, k, v and o must have biases */
    bool ignore_head;    /* HF: an output that is there is not used */
    bool need_head;      /* HF: there must be an output */
};

/* Map <path> into <out>. ERR_IO with a sentence. */
enum err model_map_open(const char *path, struct model_fault *why,
                        struct model_map *out) MUST_CHECK;

/* Unmap and close; borrowed memory is left alone. */
void model_map_close(struct model_map *map);

/* A model with an empty store whose arena holds at most <cap> bytes; NULL
 * without memory. */
struct model *model_new(size_t cap);

/* Fill <m> from a GGUF image. */
enum err model_from_gguf(struct model *m, struct str image,
                         struct model_fault *why) MUST_CHECK;

/* Fill <m> from the directory <path>. Sentences name the file in it. */
enum err model_from_hf(struct model *m, const char *path,
                       struct model_fault *why) MUST_CHECK;

/* Fill <m> with the random model "SHAPE[:TYPE]". ERR_REFUSED: no such shape or
 * type. */
enum err model_from_shape(struct model *m, struct str spec,
                          struct model_fault *why) MUST_CHECK;

/* Read hyper-parameters from the text of a config.json; <how_out> tells how
 * tensors are named and which must be there. Ids of end tokens go to
 * m->end_ids, whatever their size. */
enum err model_hf_config(struct model *m, struct str text,
                         struct model_fault *why,
                         struct model_binding *how_out) MUST_CHECK;

/* Take advice on sampling and end tokens from the text of a
 * generation_config.json. */
enum err model_hf_generation(struct model *m, struct str text,
                             struct model_fault *why) MUST_CHECK;

/* Take the way of pooling from the text of a 1_Pooling/config.json. */
enum err model_hf_pooling(struct model *m, struct str text,
                          struct model_fault *why) MUST_CHECK;

/* Take chat templates from the text of a tokenizer_config.json or of a
 * chat_template.json: a string, or a list of named ones. */
enum err model_hf_templates(struct model *m, struct str text,
                            struct model_fault *why) MUST_CHECK;

/* Names of the shards that the text of a model.safetensors.index.json lists,
 * each once, all plain names of files: an array in the arena of <m>. */
enum err model_hf_shards(struct model *m, struct str text,
                         struct model_fault *why, const char ***out,
                         size_t *n_out) MUST_CHECK;

/* Make the vocabulary of Hugging Face's tokenizer files. */
enum err model_vocab_from_hf(struct str tokenizer, struct str config,
                             struct model_fault *why,
                             struct vocab **out) MUST_CHECK;

/* Make the vocabulary that the metadata of <g> describes. */
enum err model_vocab_from_gguf(const struct gguf *g, struct model_fault *why,
                               struct vocab **out) MUST_CHECK;

/* Check the ranges of all hyper-parameters. */
enum err model_check_params(const struct model_params *p,
                            struct model_fault *why) MUST_CHECK;

/* Find every tensor of <m> among <all>, check types and shapes, and refuse
 * what is missing or has no place. Sets p.n_vocab and p.tied. */
enum err model_bind(struct model *m, struct model_entries *all,
                    const struct model_binding *how,
                    struct model_fault *why) MUST_CHECK;

/* The entry called <name>, or NULL; it counts as used. */
struct model_entry *model_entry_use(struct model_entries *all, struct str name);

/* Sort by name; ERR_SYNTAX names one that is there twice. */
enum err model_entries_sort(struct model_entries *all,
                            struct model_fault *why) MUST_CHECK;

#endif
