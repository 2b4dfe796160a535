/* engine_model.h - One loaded model, as the files behind engine.h share it.
 * What is set by engine_model_judge() may be read by any thread from then on;
 * the rest once the state is ENGINE_READY. */
#ifndef TG_ENGINE_ENGINE_MODEL_H
#define TG_ENGINE_ENGINE_MODEL_H

#include "base/err.h"
#include "base/str.h"
#include "kernels/krn.h"
#include "token/toolcall.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct conf_engine_model;
struct engine_load;
struct engine_part;
struct herd;
struct kvswap;
struct pinned;
struct model;
struct sched_stats;
struct template;
struct vocab_index;

/* How far a model has come. */
enum engine_state {
    ENGINE_LOADING = 0,
    ENGINE_READY,
    ENGINE_FAILED, /* it cannot be served; the log says why */
};

/* Why a model cannot be served. */
struct engine_fault {
    char text[512]; /* "what is wrong; what to write" */
};

/* A model. */
struct engine_model {
    struct str name;                      /* borrowed from the configuration */
    const struct conf_engine_model *conf; /* borrowed */
    struct model *model;                  /* owned: mapped and judged */
    struct template *tmpl;                /* owned */
    enum toolcall_style style;            /* how it writes calls; never NONE */
    bool own_tools; /* tools are told by our words, not by the template */
    _Atomic unsigned context;  /* tokens of a sequence, prompt and output; the
                                * loader  lowers it while others look */
    int64_t created_s;         /* Unix time of the weights file */
    struct vocab_index *index; /* owned; from here on since ENGINE_READY */
    struct engine_part *parts; /* (n_parts) owned: one a device */
    unsigned n_parts;
    atomic_uint n_up;  /* of them, those that serve */
    struct herd *herd; /* owned: which one a job goes to */
    unsigned slots;
    uint64_t kv_bytes;
    enum krn_dtype kv_dtype;
    char device[96];      /* what it runs on */
    char fingerprint[16]; /* "fp_" and 12 hex digits, once <fingerprinted> */
    _Atomic bool fingerprinted;
    _Atomic(struct kvswap *) swap; /* owned: one reference; NULL = none */
    struct pinned *pinned; /* owned: where its pages wait; NULL = none */
    char swap_ns[17];      /* directory of <swap>, which is there */
    char swap_why[512];    /* why there is none, once <swap_failed> */
    _Atomic bool swap_failed;
    struct engine_fault fault; /* at ENGINE_FAILED: why */
    _Atomic unsigned percent;  /* of it is loaded */
    _Atomic int state;         /* enum engine_state */
};

/* Map the file of <conf> (borrowed) and judge it: format, architecture,
 * vocabulary, chat template, what was asked of it. ERR_REFUSED, ERR_SYNTAX or
 * ERR_IO with <why>; ERR_NOMEM. */
enum err engine_model_judge(const struct conf_engine_model *conf,
                            struct engine_fault *why,
                            struct engine_model **out) MUST_CHECK;

/* Load the weights and start a scheduler a device; takes its time and tells of
 * it in the log. Where the device is left to the program and a GPU will not do,
 * on the CPU. Runs at the priority that its threads are to have: they inherit
 * it. Errors as engine_model_judge(). */
enum err engine_model_load(struct engine_model *m,
                           const struct engine_load *load,
                           struct engine_fault *why) MUST_CHECK;

/* What the schedulers of <m>, which is ready, count together. */
void engine_model_stats(const struct engine_model *m, struct sched_stats *out);

/* Stop the schedulers and let go of the prefix store, which models may share;
 * NULL is fine. */
void engine_model_stop(struct engine_model *m);

/* Free everything. Those that share a store have been stopped before. NULL is
 * fine. */
void engine_model_free(struct engine_model *m);

#endif
