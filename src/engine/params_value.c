/* params_value.c - Single values of a request, and the sentences that refuse
 * them. A whole number may be written in any way that JSON has; one that is
 * too big is out of range, not of a wrong type. */
#include "engine/params.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/arena.h"

/* Beyond it no double is an integer of 64 bits. */
#define WHOLE_MAX 0x1p63

enum err params_refuse(struct params_fault *why, const char *param,
                       const char *fmt, ...)
{
    va_list ap;

    snprintf(why->param, sizeof(why->param), "%s", param ? param : "");
    va_start(ap, fmt);
    vsnprintf(why->text, sizeof(why->text), fmt, ap);
    va_end(ap);
    return ERR_BAD_PARAM;
}

const char *params_type_name(const json_t *v)
{
    if (!v)
        return "nothing";
    switch (json_typeof(v)) {
    case JSON_OBJECT:
        return "an object";
    case JSON_ARRAY:
        return "an array";
    case JSON_STRING:
        return "a string";
    case JSON_INTEGER:
        return "an integer";
    case JSON_REAL:
        return "a decimal";
    case JSON_NULL:
        return "null";
    default:
        return "a boolean";
    }
}

struct str params_str(const json_t *v)
{
    if (!json_is_string(v))
        return (struct str){NULL, 0};
    return str_of(json_string_value(v), json_string_length(v));
}

const json_t *params_get(const json_t *body, const char *name)
{
    const json_t *v = json_object_get(body, name);

    return v && !json_is_null(v) ? v : NULL;
}

/* --- types -------------------------------------------------------------- */

/* Whether <v> is of one of <types>. */
static bool is_of(const json_t *v, unsigned types)
{
    switch (json_typeof(v)) {
    case JSON_OBJECT:
        return (types & PARAMS_OBJECT) != 0;
    case JSON_ARRAY:
        return (types & PARAMS_ARRAY) != 0;
    case JSON_STRING:
        return (types & PARAMS_STRING) != 0;
    case JSON_INTEGER:
    case JSON_REAL:
        return (types & PARAMS_NUMBER) != 0;
    case JSON_NULL:
        return false;
    default:
        return (types & PARAMS_BOOL) != 0;
    }
}

enum err params_expect(const json_t *v, unsigned types, const char *at,
                       struct params_fault *why)
{
    static const char *const names[] = {"a string", "a boolean", "a number",
                                        "an array", "an object"};
    char list[64] = "";

    if (!v || is_of(v, types))
        return ERR_OK;
    for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        size_t n = strlen(list);

        if (types & 1U << i)
            snprintf(list + n, sizeof(list) - n, "%s%s", n > 0 ? " or " : "",
                     names[i]);
    }
    return params_refuse(why, at,
                         "Invalid type for '%s': expected %s, but got %s "
                         "instead.",
                         at, list, params_type_name(v));
}

enum err params_need(const json_t *v, unsigned types, const char *at,
                     struct params_fault *why)
{
    if (!v || json_is_null(v))
        return params_refuse(why, at, "Missing required parameter: '%s'.", at);
    return params_expect(v, types, at, why);
}

/* --- single values ------------------------------------------------------ */

enum err params_number(const json_t *body, const char *name, double lo,
                       double hi, struct params_fault *why, float *out)
{
    const json_t *v = params_get(body, name);
    double d;

    if (!v)
        return ERR_OK;
    ERR_TRY(params_expect(v, PARAMS_NUMBER, name, why));
    d = json_number_value(v);
    if (!(d >= lo && d <= hi))
        return params_refuse(why, name,
                             "Invalid '%s': expected a number from %g to %g, "
                             "but got %g instead.",
                             name, lo, hi, d);
    *out = (float)d;
    return ERR_OK;
}

/* Whether <v> is a whole number, however it is written. */
static bool is_whole(const json_t *v)
{
    return json_is_integer(v) ||
           (json_is_real(v) && json_real_value(v) == floor(json_real_value(v)));
}

/* The whole number <v>; false when it does not fit. */
static bool whole_of(const json_t *v, int64_t *out)
{
    if (json_is_real(v) && !(fabs(json_real_value(v)) < WHOLE_MAX))
        return false;
    *out = json_is_real(v) ? (int64_t)json_real_value(v)
                           : (int64_t)json_integer_value(v);
    return true;
}

enum err params_integer(const json_t *body, const char *name, int64_t lo,
                        int64_t hi, struct params_fault *why, int64_t *out)
{
    const json_t *v = params_get(body, name);
    int64_t i = 0;

    if (!v)
        return ERR_OK;
    if (!is_whole(v))
        return params_refuse(why, name,
                             "Invalid type for '%s': expected an integer, but "
                             "got %s instead.",
                             name, params_type_name(v));
    if (!whole_of(v, &i))
        return params_refuse(why, name,
                             "Invalid '%s': expected an integer from %lld to "
                             "%lld, but got %.17g instead.",
                             name, (long long)lo, (long long)hi,
                             json_real_value(v));
    if (i < lo || i > hi)
        return params_refuse(why, name,
                             "Invalid '%s': expected an integer from %lld to "
                             "%lld, but got %lld instead.",
                             name, (long long)lo, (long long)hi, (long long)i);
    *out = i;
    return ERR_OK;
}

enum err params_bool(const json_t *body, const char *name,
                     struct params_fault *why, bool *out)
{
    const json_t *v = params_get(body, name);

    if (!v)
        return ERR_OK;
    ERR_TRY(params_expect(v, PARAMS_BOOL, name, why));
    *out = json_is_true(v);
    return ERR_OK;
}

enum err params_ids(const json_t *v, const char *param, unsigned n_vocab,
                    struct arena *mem, struct params_fault *why,
                    const int32_t **ids_out)
{
    size_t n = json_array_size(v);
    int32_t *ids = arena_alloc(mem, (n + 1) * sizeof(*ids));

    if (!ids)
        return ERR_NOMEM;
    for (size_t i = 0; i < n; i++) {
        const json_t *id = json_array_get(v, i);
        int64_t n_id = -1;
        char at[80];

        snprintf(at, sizeof(at), "%s[%zu]", param, i);
        if (!is_whole(id))
            return params_refuse(why, at,
                                 "Invalid type for '%s': expected a token id, "
                                 "but got %s instead.",
                                 at, params_type_name(id));
        if (!whole_of(id, &n_id) || n_id < 0 || n_id >= (int64_t)n_vocab)
            return params_refuse(why, at,
                                 "Invalid '%s': expected a token id from 0 to "
                                 "%u, but got %.17g instead.",
                                 at, n_vocab - 1, json_number_value(id));
        ids[i] = (int32_t)n_id;
    }
    *ids_out = ids;
    return ERR_OK;
}
