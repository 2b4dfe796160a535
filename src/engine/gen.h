/* gen.h - What the engine is asked and what it answers: a job goes from a
 * worker to the engine's thread, events come back. Both are messages: their
 * ownership moves with them; neither holds a pointer to an exchange. */
#ifndef TG_ENGINE_GEN_H
#define TG_ENGINE_GEN_H

#include "base/err.h"
#include "base/mbox.h"
#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct arena;
struct grammar;
struct meter;

#define GEN_CHOICES_MAX  128 /* n */
#define GEN_LOGPROBS_MAX 20  /* top_logprobs */
#define GEN_STOPS_MAX    16  /* stop strings */
#define GEN_BIAS_MAX     1024

/* A bias on one token's logit. */
struct gen_bias {
    int32_t id;
    float bias; /* -100 .. 100; <= -100 bans the token */
};

/* How to choose tokens. Every default is the neutral one. */
struct gen_sampling {
    float temperature;           /* 0 = greedy */
    float top_p;                 /* 1 = off */
    float min_p;                 /* 0 = off */
    int top_k;                   /* 0 = off */
    float presence_penalty;      /* 0; over generated tokens */
    float frequency_penalty;     /* 0; over generated tokens */
    float repetition_penalty;    /* 1; over prompt and generated tokens */
    uint64_t seed;               /* choice i draws from (seed, i) */
    const struct gen_bias *bias; /* owned by the job */
    size_t n_bias;
};

/* What a job is for. */
enum gen_kind {
    GEN_TEXT = 0, /* generate */
    GEN_EMBED,    /* pool the hidden rows of the prompt */
};

/* What every message to a scheduler begins with; the scheduler's own. */
struct gen_head {
    struct mbox_msg link;
    unsigned kind; /* 0 = a job */
};

/* A job. Made by gen_job_new(), freed by gen_job_free() on the engine's side
 * once its last event is sent. */
struct gen_job {
    struct gen_head head; /* the scheduler's */
    uint64_t id;          /* unique in the process, set by who submits */
    struct mbox *answer;  /* where events go; outlives the job */
    struct arena *arena;  /* owns what is pointed to below */
    enum gen_kind kind;
    const int32_t *tokens; /* the prompt, n_tokens >= 1 */
    size_t n_tokens;
    unsigned n;          /* choices, >= 1 */
    unsigned max_tokens; /* of each choice; 0: the prompt alone is read (START,
                          * then each choice finishes by length). Generation
                          * also ends where the context does */
    struct gen_sampling sampling;
    const struct str *stops; /* stop strings, none empty */
    size_t n_stops;
    const int32_t *stop_ids; /* tokens that end a choice, beside the model's */
    size_t n_stop_ids;
    bool ignore_eos;
    bool keep_special;       /* text of control tokens is shown */
    bool new_text;           /* choices begin texts of their own: what a decoder
                              * drops at the start of a text, it drops there */
    bool logprobs;           /* of chosen tokens */
    unsigned top_logprobs;   /* alternatives told, 0 .. GEN_LOGPROBS_MAX */
    bool prompt_logprobs;    /* echo with logprobs: of prompt tokens too */
    struct grammar *grammar; /* one reference, or NULL */
    struct meter *meter;     /* one reference: what it may make; or NULL: no
                              * other limit than max_tokens */
    uint8_t scope[32];       /* salt of the prefix index: who may share */
    char key[40];            /* id of the key, for fairness; "" = anonymous */
    int64_t deadline_ms;     /* monotonic; 0 = none */
    /* The scheduler's own, from here on. */
    struct gen_event *last; /* owned: memory for the last event is put by */
    uint64_t submitted_us;  /* when it was handed over */
    uint64_t cost;          /* tokens that it is expected to take */
};

/* The log probability of one token and of its rivals. */
struct gen_logprob {
    int32_t id;
    float logprob; /* natural log; of the unmodified distribution */
    unsigned n_top;
    struct {
        int32_t id;
        float logprob;
    } top[GEN_LOGPROBS_MAX]; /* descending */
};

/* Kinds of events; of each choice: any TEXT, then one FINISH; then one DONE
 * for the job. FAIL ends a job at any time. SHORT may come between any. */
enum gen_event_kind {
    GEN_EV_START = 0, /* prompt is in the cache: counts and times are set */
    GEN_EV_TEXT,      /* one or more tokens of a choice */
    GEN_EV_FINISH,    /* a choice is over */
    GEN_EV_EMBED,     /* the pooled, normalised vector */
    GEN_EV_SHORT,     /* choices rest: the job's meter allows them no token.
                       * Once until sched_look() */
    GEN_EV_DONE,      /* the job is over; final counts */
    GEN_EV_FAIL,      /* it could not be done */
};

/* Why a choice ended. */
enum gen_finish {
    GEN_FINISH_STOP = 0,
    GEN_FINISH_LENGTH,
    GEN_FINISH_CUT, /* the job's meter has no more tokens for it */
};

/* Counts and times of a job so far. */
struct gen_counts {
    unsigned prompt_tokens; /* 0 before the first step */
    unsigned cached_tokens; /* of the prompt, found in the prefix index */
    unsigned output_tokens; /* over all choices */
    int64_t queue_us;       /* from submit to first step */
    int64_t prefill_us;     /* from first step to first token */
    int64_t decode_us;      /* from first token to now */
};

/* An event: one allocation, what it points to stands behind it; freed by the
 * receiver with gen_event_free(). Text is whole UTF-8: bytes of an unfinished
 * character and a possible beginning of a stop string are held back. */
struct gen_event {
    struct mbox_msg link;
    uint64_t job;
    enum gen_event_kind kind;
    unsigned choice;
    enum gen_finish finish; /* FINISH */
    int stop_index;         /* FINISH: stop string that matched, or -1 */
    int stop_id;            /* FINISH: token that ended it, or -1 */
    enum err err;           /* FAIL */
    int64_t retry_after_ms; /* FAIL with ERR_RATE_REQUESTS, or -1 */
    const char *why;        /* FAIL: for the client, static */
    struct str text;        /* TEXT; empty only with logprobs, of tokens that
                             * show nothing */
    unsigned n_logprobs;    /* TEXT: one a token of this event, when asked;
                             * tokens behind the cut of a stop string and the
                             * one that ended the choice are left out;
                             * START: of the prompt's tokens from the second
                             * on (n_tokens - 1), when asked */
    const struct gen_logprob *logprobs;
    size_t n_vector; /* EMBED */
    const float *vector;
    struct gen_counts counts; /* as of this event, whatever its kind */
};

/* A job with an arena of at most <cap> bytes; NULL without memory. Zeroed but
 * for neutral sampling and n = 1; the submitter sets the id. */
struct gen_job *gen_job_new(size_t cap);

/* Free <j>, its arena and its reference to the grammar; NULL is fine. */
void gen_job_free(struct gen_job *j);

/* A zeroed event of <kind> for <j>, nothing matched, with room for <n_text>
 * bytes, <n_logprobs> entries and <n_vector> floats behind it. NULL without
 * memory. */
struct gen_event *gen_event_new(const struct gen_job *j,
                                enum gen_event_kind kind, size_t n_text,
                                size_t n_logprobs, size_t n_vector);

/* Where the maker of an event writes what stands behind it. */
struct gen_logprob *gen_event_logprobs(struct gen_event *ev);
float *gen_event_vector(struct gen_event *ev);
char *gen_event_text(struct gen_event *ev);

/* Free an event; NULL is fine. */
void gen_event_free(struct gen_event *ev);

#endif
