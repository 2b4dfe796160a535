/* provider.h - How each dialect wants to be spoken to: where the path goes,
 * where the key goes, which of the client's fields cross. */
#ifndef TG_UPSTREAM_PROVIDER_H
#define TG_UPSTREAM_PROVIDER_H

#include "base/err.h"
#include "base/str.h"

#include <curl/curl.h>
#include <stdbool.h>

struct arena;
struct buf;
struct conf_upstream;
struct http1_head;
struct xfer_spec;

/* Header lines of a request as libcurl takes them: "Name: value", or "Name;"
 * for an empty value. All of it lives in the arena; there is nothing to free.
 * Zero all but <arena>. */
struct fields {
    struct arena *arena;      /* borrowed */
    struct curl_slist *first; /* arena */
    struct curl_slist *last;  /* arena */
    bool failed;              /* memory ran out: the list is short */
};

/* Append a field; the bytes are copied. */
void fields_put(struct fields *f, struct str name, struct str value);

/* Append an instruction to libcurl, a string literal such as "Expect:". */
void fields_tell(struct fields *f, const char *line);

/* Whether a field called <name> is in <f>, one with an empty value too. */
bool fields_have(const struct fields *f, struct str name);

/* One dialect. */
struct provider {
    /* Raw path and query of <spec>, in <a>; p is NULL without memory. */
    struct str (*target)(struct arena *a, const struct xfer_spec *spec);
    /* Whether that path names the model; NULL: never. */
    bool (*path_has_model)(const struct conf_upstream *up, struct str suffix);
    /* Name of the field with the key, and what stands before the key. */
    struct str key_name;
    struct str key_prefix;
    /* Append fields the dialect cannot do without; NULL: none. */
    void (*extra)(struct fields *f, const struct xfer_spec *spec);
};

/* The dialects; static. */
extern const struct provider provider_openai;
extern const struct provider provider_azure;
extern const struct provider provider_anthropic;

/* The dialect of <up>; never NULL. */
const struct provider *provider_of(const struct conf_upstream *up);

/* Raw path and query of <spec>; p is NULL without memory. */
struct str provider_target(struct arena *a, const struct xfer_spec *spec);

/* Whether the path of a request to <up> names its model, so that what a body
 * says of it does not count there: Azure's deployments. */
bool provider_path_has_model(const struct conf_upstream *up, struct str suffix);

/* Fill <f> with the fields of <spec>: the client's that may cross, the
 * configured ones, the key. No framing, no Host unless it is configured. With
 * <upgrade> those of a WebSocket handshake cross too. */
void provider_fields(struct fields *f, const struct xfer_spec *spec,
                     bool upgrade);

/* <base> followed by <tail>, in <a>. */
struct str provider_join(struct arena *a, struct str base, struct str tail);

/* Append <s> with everything but unreserved characters percent-encoded.
 * ERR_NOMEM. */
enum err provider_put_encoded(struct buf *b, struct str s) MUST_CHECK;

#endif
