/* query.c - See query.h. Decides in favour of refusing: of a parameter given
 * twice each must be allowed, and a value that cannot be decoded is none that
 * a key may use. */
#include "prompt/query.h"

#include "account/key.h"
#include "wire/endpoint.h"

/* Longest decoded name and value; a longer value is refused. */
#define NAME_BYTES  32
#define VALUE_BYTES 256

static bool names_model(struct str raw)
{
    char room[NAME_BYTES];
    struct str name;

    if (endpoint_decode(raw, room, sizeof(room), &name) != ERR_OK)
        return false;
    return str_ieq(name, STR("model")) || str_ieq(name, STR("deployment"));
}

static bool value_is_allowed(struct str raw, const struct key *key)
{
    char room[VALUE_BYTES];
    struct str value;

    return endpoint_decode(raw, room, sizeof(room), &value) == ERR_OK &&
           key_may_use(key, value);
}

enum query_models query_judge(struct str query, const struct key *key)
{
    enum query_models found = QUERY_NONE;
    struct str rest = str_skip(query, 1), param;

    while (str_split(&rest, '&', &param)) {
        size_t equals = str_find_char(param, '=');

        if (!names_model(str_of(param.p, equals)))
            continue;
        if (!value_is_allowed(str_skip(param, equals + 1), key))
            return QUERY_REFUSED;
        found = QUERY_ALLOWED;
    }
    return found;
}
