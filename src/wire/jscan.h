/* jscan.h - JSON text read in place: validation in one pass without a tree,
 * the places of the few members that are asked for, and typed readers over
 * them. Nothing here allocates but from the arena passed in; memory is O(1) in
 * the size of the text, and there is no recursion.
 *
 * What is accepted is RFC 8259 exactly, in valid UTF-8. An escape that is half
 * of a surrogate pair ("\ud800") is accepted: its grammar allows it, clients
 * send it, and the bytes are forwarded as they are. A byte-order mark is not.
 */
#ifndef TG_WIRE_JSCAN_H
#define TG_WIRE_JSCAN_H

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Most slots a table may fill, deepest nesting ever allowed, most keys a
 * single object may have where unique keys are asked for. */
enum { JSCAN_SLOTS = 40, JSCAN_DEPTH_MAX = 1024, JSCAN_KEYS_MAX = 256 };

/* Type of a value. */
enum jtype {
    JT_NONE = 0, /* there is no such value */
    JT_NULL,
    JT_FALSE,
    JT_TRUE,
    JT_NUMBER,
    JT_STRING,
    JT_ARRAY,
    JT_OBJECT
};

/* The type of a value whose first byte is <first>; JT_NONE: none begins so. */
enum jtype jval_type_of(char first);

/* A value in place. Both slices borrow the text scanned. */
struct jmember {
    struct str key;   /* with its quotes; empty in arrays and when absent */
    struct str value; /* with its quotes or brackets, no space around */
    enum jtype type;  /* JT_NONE: absent, the slices are empty */
};

struct jtable;

/* A member that is asked for. */
struct jwant {
    struct str name;            /* unescaped */
    unsigned slot;              /* index into jscan.m, below JSCAN_SLOTS */
    const struct jtable *inner; /* wanted members of its object, or NULL */
};

/* The members asked for of one object; static. */
struct jtable {
    const struct jwant *row;
    unsigned count;
    bool unique; /* refuse duplicate keys in this object, all of them; only for
                  * objects whose outer ones are unique too */
};

/* Slots of jscan_request: the members of any request that the gateway uses.
 * All are of the top level but JREQ_INCLUDE_USAGE and JREQ_OBFUSCATION, which
 * are of stream_options. Duplicate keys of both objects are refused. */
enum jreq {
    JREQ_MODEL = 0,
    JREQ_STREAM,
    JREQ_STREAM_OPTIONS,
    JREQ_INCLUDE_USAGE,
    JREQ_OBFUSCATION,
    JREQ_N,
    JREQ_BEST_OF,
    JREQ_MAX_TOKENS,
    JREQ_MAX_COMPLETION_TOKENS,
    JREQ_MAX_OUTPUT_TOKENS,
    JREQ_MESSAGES,
    JREQ_INPUT,
    JREQ_PROMPT,
    JREQ_USER,
    JREQ_STORE,
    JREQ_SERVICE_TIER,
    JREQ_TEMPERATURE,
    JREQ_SEED,
    JREQ_TOOLS,
    JREQ_PREVIOUS_RESPONSE_ID,
    JREQ_BACKGROUND,
    JREQ_CACHE_SALT,
    JREQ_PROMPT_CACHE_KEY,
    JREQ_COUNT
};

/* Slots of jscan_reply: members of a whole reply or of an event's data, of
 * every dialect. Of a duplicate key the last one counts, as with clients. */
enum jrep {
    JREP_MODEL = 0,
    JREP_USAGE,
    JREP_ERROR,
    JREP_ID,
    JREP_OBJECT,
    JREP_TYPE,
    JREP_CHOICES,
    JREP_STATUS,
    JREP_STOP_REASON,
    JREP_META,
    JREP_DATA,
    JREP_INPUT_TOKENS, /* of count_tokens replies */
    JREP_DELTA,
    JREP_DELTA_STOP_REASON,
    JREP_RESPONSE,
    JREP_RESPONSE_MODEL,
    JREP_RESPONSE_USAGE,
    JREP_RESPONSE_STATUS,
    JREP_RESPONSE_ERROR,
    JREP_RESPONSE_ID,
    JREP_RESPONSE_REASON, /* response.incomplete_details.reason */
    JREP_RESPONSE_INCOMPLETE,
    JREP_MESSAGE,
    JREP_MESSAGE_MODEL,
    JREP_MESSAGE_USAGE,
    JREP_MESSAGE_ID,
    JREP_INCOMPLETE, /* incomplete_details of a whole response */
    JREP_REASON,
    JREP_COUNT
};

/* The two tables that go with the slots above. */
extern const struct jtable jscan_request, jscan_reply;

/* Limits of a scan; 0 anywhere gives the default. */
struct jscan_limits {
    unsigned depth; /* nesting, default 128, at most JSCAN_DEPTH_MAX */
    size_t values;  /* values of any type in all, default 16 Mi */
};

/* Result of a scan. */
struct jscan {
    struct str text;               /* what was scanned */
    struct jmember root;           /* the value of the text, without key */
    struct jmember m[JSCAN_SLOTS]; /* by slot; JT_NONE where absent */
    size_t values;                 /* counted */
    size_t err_at;                 /* offset of what is wrong */
    const char *reason;            /* what is wrong, static; NULL when fine */
    struct str dup_key;            /* the second of two equal keys, raw */
};

/* Scan <text> for the members of <table> (NULL: validate only); <limits> may
 * be NULL. Any type may stand at the top: see root.type. Slots of absent
 * members, and of members of something that is no object, are JT_NONE.
 * ERR_BAD_JSON: not JSON or past a limit; ERR_BAD_PARAM: a duplicate key where
 * they are refused, or too many keys to tell. On failure err_at and reason
 * tell where and why, and the slots must not be used. */
enum err jscan_run(struct jscan *s, struct str text, const struct jtable *table,
                   const struct jscan_limits *limits) MUST_CHECK;

/* Whether <text> is JSON within the default limits. */
bool jscan_is_valid(struct str text);

/* A walk over the members of an object or the elements of an array. The text
 * must have been validated; when it was not, the walk ends early or gives
 * wrong slices, but stays inside the text. */
struct jiter {
    const char *p, *end;
    bool in_object;
};

/* Start a walk over <value>, a raw object or array; anything else is empty. */
void jiter_init(struct jiter *it, struct str value);

/* The next member or element; false at the end, <out> is JT_NONE then. */
bool jiter_next(struct jiter *it, struct jmember *out);

/* The value at <path> ("usage.prompt_tokens_details.cached_tokens",
 * "choices.0.finish_reason"): names and array indexes with dots between. Of a
 * duplicate key the last one counts. The text must have been validated.
 * JT_NONE when there is none. Costs one pass over the text a step. */
struct jmember jscan_find(struct str text, const char *path);

/* The member <name>, or the element of that number, of the object or array
 * <in>, as jscan_find() has it. One pass over <in>. */
struct jmember jval_member(const struct jmember *in, struct str name);

/* As jval_is(), at length. */
bool jval_is_unescaped(struct str raw, struct str name);

/* Whether the raw string <raw>, with its quotes, is <name> after unescaping. */
static inline bool jval_is(struct str raw, struct str name)
{
    /* An escape is longer than what it stands for. Most keys differ in their
     * length or their first byte. */
    if (raw.len < name.len + 2)
        return false;
    if (name.len > 0 && raw.p[1] != name.p[0] && raw.p[1] != '\\')
        return false;
    return jval_is_unescaped(raw, name);
}

/* The text of a JSON string: the slice itself when it has no escapes, else a
 * copy in <arena>. Half surrogate pairs become U+FFFD. ERR_BAD_PARAM: not a
 * string; ERR_RANGE: longer than <max> bytes unescaped; ERR_NOMEM. */
enum err jval_str(const struct jmember *v, size_t max, struct arena *arena,
                  struct str *str_out) MUST_CHECK;

/* As jval_str() into the <cap> bytes at <to>; no NUL is added. */
enum err jval_copy(const struct jmember *v, char *to, size_t cap,
                   size_t *len_out) MUST_CHECK;

/* true or false. ERR_BAD_PARAM: neither. */
enum err jval_bool(const struct jmember *v, bool *bool_out) MUST_CHECK;

/* An integer, exactly: no double in between. A number that has an integer
 * value however it is written counts (1.0, 1e3, 2.50e1), as JSON Schema has
 * it; -0 is 0. ERR_BAD_PARAM: not a number or not an integer; ERR_RANGE: below
 * 0 or above 2^63-1. */
enum err jval_uint(const struct jmember *v, int64_t *uint_out) MUST_CHECK;

/* <s> without leading white space of JSON. */
static inline struct str json_skip_space(struct str s)
{
    while (s.len > 0 && (s.p[0] == ' ' || s.p[0] == '\n' || s.p[0] == '\r' ||
                         s.p[0] == '\t'))
        s = str_skip(s, 1);
    return s;
}

/* Whether the member is absent or null: clients mean the same with both. */
static inline bool jval_is_unset(const struct jmember *v)
{
    return v->type == JT_NONE || v->type == JT_NULL;
}

#endif
