/* model_json.c - See model_json.h. */
#include "engine/model_json.h"

#include <jansson.h>
#include <math.h>

#include "engine/model_fault.h"

static enum err parse(struct str text, size_t max, size_t flags,
                      struct model_fault *why, struct json_t **out)
{
    json_error_t err;
    json_t *v;

    if (text.len > max)
        return model_fail(why, ERR_SYNTAX, "%zu bytes are too long", text.len);
    v = json_loadb(text.p ? text.p : "", text.len,
                   flags | JSON_REJECT_DUPLICATES, &err);
    if (!json_is_object(v)) {
        json_decref(v);
        return model_fail(why, ERR_SYNTAX, "this is not a JSON object: %s",
                          v ? "it is something else"
                            : model_show(str_from(err.text)).text);
    }
    *out = v;
    return ERR_OK;
}

enum err mjson_parse(struct str text, size_t max, struct model_fault *why,
                     struct json_t **out)
{
    return parse(text, max, 0, why, out);
}

enum err mjson_parse_texts(struct str text, size_t max, struct model_fault *why,
                           struct json_t **out)
{
    return parse(text, max, JSON_DECODE_INT_AS_REAL, why, out);
}

const struct json_t *mjson_get(const struct mjson *j, const char *key)
{
    const json_t *v = json_object_get(j->object, key);

    return json_is_null(v) ? NULL : v;
}

static void fail(struct mjson *j, const char *key, const char *what)
{
    if (j->err == ERR_OK)
        j->err = model_fail(j->why, ERR_SYNTAX, "'%s' %s", key, what);
}

unsigned mjson_u32(struct mjson *j, const char *key, unsigned absent)
{
    const json_t *v = mjson_get(j, key);
    json_int_t i = absent;

    if (v && !json_is_integer(v))
        fail(j, key, "is no whole number");
    else if (v)
        i = json_integer_value(v);
    else if (absent == 0)
        fail(j, key, "is missing");
    if (i < 0 || i > (json_int_t)UINT32_MAX) {
        fail(j, key, "is out of range");
        return 0;
    }
    return (unsigned)i;
}

float mjson_f32(struct mjson *j, const char *key, float absent)
{
    const json_t *v = mjson_get(j, key);
    double d = v ? json_number_value(v) : (double)absent;

    if (v && (!json_is_number(v) || !(fabs(d) < 1e30))) {
        fail(j, key, "is no sound number");
        return absent;
    }
    return (float)d;
}

bool mjson_bool(struct mjson *j, const char *key, bool absent)
{
    const json_t *v = mjson_get(j, key);

    if (v && !json_is_boolean(v))
        fail(j, key, "is neither true nor false");
    return json_is_boolean(v) ? json_is_true(v) : absent;
}

const char *mjson_str(struct mjson *j, const char *key, const char *absent)
{
    const json_t *v = mjson_get(j, key);

    if (v && !json_is_string(v))
        fail(j, key, "is no string");
    return json_is_string(v) ? json_string_value(v) : absent;
}
