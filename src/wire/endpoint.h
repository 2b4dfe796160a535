/* endpoint.h - What a method and a path mean: the one table of routes. Decides
 * the operation, where its model is named, in which shape errors and usage
 * come, how its stream ends, and what of the path goes upstream. The query
 * never routes. */
#ifndef TG_WIRE_ENDPOINT_H
#define TG_WIRE_ENDPOINT_H

#include "base/err.h"
#include "base/str.h"
#include "wire/http1.h"

#include <stdbool.h>
#include <stddef.h>

/* Operations. A row of the table each; the order is that of the table. */
enum endpoint {
    ENDPOINT_UNKNOWN = 0,            /* no such URL: 404 */
    ENDPOINT_PASSTHROUGH,            /* any other operation under /v1 */
    ENDPOINT_OPTIONS,                /* OPTIONS of any path, and OPTIONS * */
    ENDPOINT_CHAT,                   /* POST /chat/completions */
    ENDPOINT_COMPLETIONS,            /* POST /completions */
    ENDPOINT_EMBEDDINGS,             /* POST /embeddings */
    ENDPOINT_RESPONSES,              /* POST /responses */
    ENDPOINT_RESPONSES_COMPACT,      /* POST /responses/compact */
    ENDPOINT_RESPONSES_INPUT_TOKENS, /* POST /responses/input_tokens */
    ENDPOINT_MESSAGES,               /* POST /messages */
    ENDPOINT_COUNT_TOKENS,           /* POST /messages/count_tokens */
    ENDPOINT_MESSAGES_PASS,          /* anything else under /messages */
    ENDPOINT_MODERATIONS,            /* POST /moderations */
    ENDPOINT_RERANK,                 /* POST /rerank */
    ENDPOINT_SCORE,                  /* POST /score */
    ENDPOINT_CLASSIFY,               /* POST /classify */
    ENDPOINT_POOLING,                /* POST /pooling */
    ENDPOINT_IMAGE_GENERATIONS,      /* POST /images/generations */
    ENDPOINT_IMAGE_EDITS,            /* POST /images/edits */
    ENDPOINT_IMAGE_VARIATIONS,       /* POST /images/variations */
    ENDPOINT_SPEECH,                 /* POST /audio/speech */
    ENDPOINT_TRANSCRIPTIONS,         /* POST /audio/transcriptions */
    ENDPOINT_TRANSLATIONS,           /* POST /audio/translations */
    ENDPOINT_VIDEOS,                 /* POST /videos */
    ENDPOINT_FILE_UPLOAD,            /* POST /files */
    ENDPOINT_TOKENIZE,               /* POST /tokenize */
    ENDPOINT_DETOKENIZE,             /* POST /detokenize */
    ENDPOINT_MODELS,                 /* GET /models */
    ENDPOINT_MODEL,                  /* GET /models/{id} */
    ENDPOINT_ROOT,                   /* GET / */
    ENDPOINT_HEALTHZ,                /* GET /healthz: the process is up */
    ENDPOINT_READYZ,                 /* GET /readyz: it can serve */
    ENDPOINT_HEALTH,                 /* GET /health, as llama-server and vLLM */
    ENDPOINT_LIVELINESS,             /* GET /health/liveliness and /liveness */
    ENDPOINT_READINESS,              /* GET /health/readiness */
    ENDPOINT_METRICS,                /* GET /metrics */
    ENDPOINT_COUNT
};

/* Where the model is named; several may hold, then Content-Type decides. */
enum endpoint_model_in {
    ENDPOINT_MODEL_NOWHERE = 0,
    ENDPOINT_MODEL_JSON = 1, /* member `model` of the JSON body */
    ENDPOINT_MODEL_PART = 2, /* part `model` of the multipart body */
    ENDPOINT_MODEL_PATH = 4, /* in the path: endpoint_match.model */
};

/* Shape of error bodies, and of the error event within a stream. */
enum endpoint_shape { ENDPOINT_SHAPE_OPENAI = 0, ENDPOINT_SHAPE_ANTHROPIC };

/* What shows that a stream of events is complete. */
enum endpoint_end {
    ENDPOINT_END_NONE = 0,   /* nothing: the end of the body */
    ENDPOINT_END_CHAT,       /* "[DONE]", or a finish_reason for each choice */
    ENDPOINT_END_RESPONSES,  /* response.completed | incomplete | failed */
    ENDPOINT_END_MESSAGES,   /* message_stop */
    ENDPOINT_END_IMAGE,      /* image_generation|image_edit.completed */
    ENDPOINT_END_SPEECH,     /* speech.audio.done */
    ENDPOINT_END_TRANSCRIPT, /* transcript.text.done */
};

/* In which words the reply tells its usage. */
enum endpoint_usage {
    ENDPOINT_USAGE_NONE = 0,
    ENDPOINT_USAGE_CHAT,       /* usage.{prompt,completion,total}_tokens */
    ENDPOINT_USAGE_EMBEDDINGS, /* usage.{prompt,total}_tokens */
    ENDPOINT_USAGE_RESPONSES,  /* usage.{input,output}_tokens with details;
                                * in response.* events under `response` */
    ENDPOINT_USAGE_MESSAGES,   /* Anthropic: message_start, message_delta */
    ENDPOINT_USAGE_COUNT,      /* a bare input_tokens, nothing generated */
    ENDPOINT_USAGE_IMAGE,      /* usage.{input,output,total}_tokens */
    ENDPOINT_USAGE_AUDIO,      /* usage of type tokens or duration */
    ENDPOINT_USAGE_RERANK,     /* usage.total_tokens or meta.billed_units */
};

/* Properties of a row. */
enum endpoint_flag {
    ENDPOINT_LOCAL = 1,      /* tollgate answers it itself */
    ENDPOINT_NEEDS_KEY = 2,  /* 401 without a valid key */
    ENDPOINT_MAY_STREAM = 4, /* the reply may be an event stream */
    ENDPOINT_PASS = 8,       /* goes to the passthrough upstream */
    ENDPOINT_ENGINE = 16,    /* only engine models serve it */
};

/* One row; all strings are static. A row with ENDPOINT_LOCAL takes GET and
 * HEAD, any other row that has a path takes POST. */
struct endpoint_row {
    enum endpoint kind;
    const char *name;  /* for logs and metric labels: "chat" */
    const char *path;  /* canonical, relative to /v1; NULL when it varies */
    const char *allow; /* Allow for 405; NULL: other methods pass through */
    unsigned model_in; /* enum endpoint_model_in bits */
    unsigned flags;    /* enum endpoint_flag bits */
    enum endpoint_shape shape;
    enum endpoint_end end;
    enum endpoint_usage usage;
};

/* Outcome of a lookup; slices borrow the path given, or are static. */
struct endpoint_match {
    const struct endpoint_row *row; /* never NULL */
    struct str suffix; /* what follows the upstream's base_url: the row's path
                        * for a row that has one, else the raw bytes of the
                        * path after its version prefix; empty when local */
    struct str model;  /* the model that the path names, raw and perhaps
                        * percent-encoded: see endpoint_decode(). Empty unless
                        * the row says ENDPOINT_MODEL_PATH, a model is to be
                        * deleted, or <azure> holds; then it goes before any
                        * name in the body. */
    enum endpoint_shape shape; /* the row's, until a caller knows better */
    bool azure;                /* came by /openai/deployments/{model}/... */
    bool upload; /* takes files of any size and no model: its forms are
                  * never held, whatever the method */
};

/* The row of <kind>. */
const struct endpoint_row *endpoint_row(enum endpoint kind);

/* Look up <method> on the raw <path> of a request-target (no query).
 * A prefix /v1, /v1/v1, /openai, /openai/v1 or none is the same to known
 * operations; unknown ones are passed on only below /v1 or in a family that is
 * known. Empty segments, a final slash, letter case, ";parameters" and
 * percent-encoding do not hide an operation: what an upstream could take for
 * one is taken for one here. A path with dot segments, control bytes or
 * backslashes, encoded or not, is no URL of ours. TRACE is never passed on.
 * ERR_UNKNOWN_URL (404) and ERR_METHOD (405, row->allow tells which hold) also
 * fill <out>: its row gives the shape of the error. */
enum err endpoint_lookup(enum http1_method method, struct str path,
                         struct endpoint_match *out) MUST_CHECK;

/* Percent-decode <raw> (a model id of a path) into the <room> bytes at <to>;
 * <id_out> is the slice written. ERR_SYNTAX: a broken escape, a control byte or
 * nothing at all; ERR_RANGE: longer than <room>. */
enum err endpoint_decode(struct str raw, char *to, size_t room,
                         struct str *id_out) MUST_CHECK;

#endif
