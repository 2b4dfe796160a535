/* params.h - What a request to the engine asks for: every parameter read from
 * its JSON, judged, and told apart from what this engine cannot honour. Errors
 * are sentences for the client, with the name of the field at fault. Unknown
 * members are passed over, as clients send many. Runs on the prep threads. */
#ifndef TG_ENGINE_PARAMS_H
#define TG_ENGINE_PARAMS_H

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"
#include "engine/gen.h"
#include "wire/endpoint.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Why a request was refused. */
struct params_fault {
    char param[200]; /* "" = no field in particular */
    char text[480];  /* for the client */
};

/* What the text must look like. */
enum params_format {
    PARAMS_TEXT = 0,
    PARAMS_JSON_OBJECT,
    PARAMS_JSON_SCHEMA,
};

/* tool_choice. */
enum params_tools {
    PARAMS_TOOLS_NONE = 0, /* there are none, or they must not be called */
    PARAMS_TOOLS_AUTO,
    PARAMS_TOOLS_REQUIRED, /* at least one call; of <only> if that is set */
};

/* A request, read. JSON is borrowed from the body, the rest is in the arena. */
struct params {
    struct gen_sampling sampling; /* its bias in the arena */
    unsigned n;                   /* choices shown of each prompt, >= 1 */
    unsigned best_of;             /* choices made of each, >= n */
    int64_t max_tokens;           /* of each choice, >= 0; -1 = unsaid */
    const struct str *stops;      /* arena */
    size_t n_stops;
    const int32_t *stop_ids; /* arena */
    size_t n_stop_ids;
    bool ignore_eos;
    bool keep_special; /* skip_special_tokens: false */
    bool logprobs;
    unsigned top_logprobs;
    bool echo;                     /* completions: the prompt comes back, too */
    bool add_generation;           /* add_generation_prompt, true */
    enum params_format format;     /* response_format and its relatives */
    const json_t *response_format; /* as sent, or NULL */
    const json_t *schema;          /* of PARAMS_JSON_SCHEMA */
    const char *schema_at;         /* static: where it stood */
    enum params_tools tool_choice;
    json_t *tools;        /* those that may be called; own reference or NULL */
    struct str only;      /* the function that must be called, or empty */
    bool parallel;        /* parallel_tool_calls, true */
    bool strict_tools;    /* one of them says strict: true */
    const json_t *kwargs; /* chat_template_kwargs, an object or NULL */
    const json_t *thinking; /* enable_thinking at the top level, or NULL */
    const json_t *effort;   /* reasoning_effort, or NULL */
    struct str cache_salt;  /* narrows who shares prefixes; may be empty */
    struct str cache_key;   /* prompt_cache_key, likewise */
};

/* Fill <why> and return ERR_BAD_PARAM; <param> NULL: no field in particular. */
enum err params_refuse(struct params_fault *why, const char *param,
                       const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Name of a JSON value's type with its article: "a string". Static. */
const char *params_type_name(const json_t *v);

/* The string <v>; empty when it is none. Borrowed from it. */
struct str params_str(const json_t *v);

/* The member <name> of <body>; NULL when it is absent or null. */
const json_t *params_get(const json_t *body, const char *name);

/* Types of values, as bits. */
enum params_type {
    PARAMS_STRING = 1,
    PARAMS_BOOL = 2,
    PARAMS_NUMBER = 4,
    PARAMS_ARRAY = 8,
    PARAMS_OBJECT = 16,
};

/* Refuse <v>, which stands at the path <at>, unless it is of one of <types>
 * or NULL, which is absent. ERR_BAD_PARAM with <why>. */
enum err params_expect(const json_t *v, unsigned types, const char *at,
                       struct params_fault *why) MUST_CHECK;

/* The same, and refuse it when it is absent or null. */
enum err params_need(const json_t *v, unsigned types, const char *at,
                     struct params_fault *why) MUST_CHECK;

/* The member <name> of <body> as a number in [lo, hi]; <out> stays when it is
 * absent or null. ERR_BAD_PARAM with <why>. */
enum err params_number(const json_t *body, const char *name, double lo,
                       double hi, struct params_fault *why,
                       float *out) MUST_CHECK;

/* The same of a whole number, however it is written. */
enum err params_integer(const json_t *body, const char *name, int64_t lo,
                        int64_t hi, struct params_fault *why,
                        int64_t *out) MUST_CHECK;

/* The same of true and false. */
enum err params_bool(const json_t *body, const char *name,
                     struct params_fault *why, bool *out) MUST_CHECK;

/* A list of token ids from the JSON array <v> of <param>; each below
 * <n_vocab>. ERR_BAD_PARAM, ERR_NOMEM. */
enum err params_ids(const json_t *v, const char *param, unsigned n_vocab,
                    struct arena *mem, struct params_fault *why,
                    const int32_t **ids_out) MUST_CHECK;

/* Judge the fields of any request that ask nothing of the engine, and those
 * that it cannot honour. ERR_BAD_PARAM. */
enum err params_judge_known(const json_t *body,
                            struct params_fault *why) MUST_CHECK;

/* Read what a text request (<kind>: ENDPOINT_CHAT or ENDPOINT_COMPLETIONS)
 * says beside its prompt. Drop what <out> holds with params_fini(), also after
 * a failure. ERR_BAD_PARAM with <why>; ERR_NOMEM. */
enum err params_read(const json_t *body, enum endpoint kind, unsigned n_vocab,
                     struct arena *mem, struct params_fault *why,
                     struct params *out) MUST_CHECK;

/* The tools of a chat request; called by params_read(). */
enum err params_read_tools(const json_t *body, struct params_fault *why,
                           struct params *out) MUST_CHECK;

/* response_format and its relatives; called by params_read(). */
enum err params_read_format(const json_t *body, struct params_fault *why,
                            struct params *out) MUST_CHECK;

/* Drop references to JSON. */
void params_fini(struct params *p);

#endif
