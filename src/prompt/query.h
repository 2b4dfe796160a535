/* query.h - The models that a query names. The query never routes, but some
 * operations (realtime sessions) take their model from it, and a key that is
 * limited to some models must not reach others that way. */
#ifndef TG_PROMPT_QUERY_H
#define TG_PROMPT_QUERY_H

#include "base/str.h"

#include <stdbool.h>

struct key;

/* What a query says of models to a key. */
enum query_models {
    QUERY_NONE = 0, /* it names no model */
    QUERY_ALLOWED,  /* it names some, and the key may use all of them */
    QUERY_REFUSED,  /* it names one that the key may not use */
};

/* Judge <query>, raw and with its '?' or empty, for <key>. Parameters called
 * `model` or `deployment`, in any case and however encoded, name models. */
enum query_models query_judge(struct str query, const struct key *key);

#endif
