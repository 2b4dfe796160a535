/* model_json.h - Values of small JSON objects as what they should be. A
 * member that is null counts as absent. The first mistake stays. */
#ifndef TG_ENGINE_MODEL_JSON_H
#define TG_ENGINE_MODEL_JSON_H

#include "base/err.h"
#include "base/str.h"
#include "engine/model.h"

struct json_t;

/* An object under inspection. */
struct mjson {
    const struct json_t *object;
    struct model_fault *why;
    enum err err;
};

/* Parse <text>, which must be an object of at most <max> bytes. The caller
 * drops <out> with json_decref(). ERR_SYNTAX, also for integers beyond 64
 * bits. */
enum err mjson_parse(struct str text, size_t max, struct model_fault *why,
                     struct json_t **out) MUST_CHECK;

/* The same where only strings matter: integers of any size pass, all as
 * reals. Tokenizers like to call 10^30 their longest input. */
enum err mjson_parse_texts(struct str text, size_t max, struct model_fault *why,
                           struct json_t **out) MUST_CHECK;

/* Member <key>; NULL when absent. */
const struct json_t *mjson_get(const struct mjson *j, const char *key);

/* A whole number within an unsigned; <absent> when there is none, or a mistake
 * when that is 0. */
unsigned mjson_u32(struct mjson *j, const char *key, unsigned absent);

/* A finite number, or <absent>. */
float mjson_f32(struct mjson *j, const char *key, float absent);

/* True or false, or <absent>. */
bool mjson_bool(struct mjson *j, const char *key, bool absent);

/* A string, or <absent>; borrowed from the object. */
const char *mjson_str(struct mjson *j, const char *key, const char *absent);

#endif
