/* jtree.c - See jtree.h. The text is scanned first; what then builds the tree
 * relies on its grammar, and on its depth for recursion. Objects end behind
 * every number, so that strtod() stops within the text. */
#include "engine/jtree.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "engine/params.h"
#include "wire/jscan.h"

struct reader {
    struct str text;
    const char *p; /* what comes next, no white space */
    enum jtree_twice twice;
    struct arena *mem;
    struct buf room; /* of a string being unescaped */
    struct params_fault *why;
};

/* Where a value stands. */
struct place {
    const struct place *up; /* NULL: the root */
    struct str name;        /* p is NULL in arrays */
    size_t i;
};

static enum err read_value(struct reader *r, const struct place *at,
                           json_t **out);

static void skip_space(struct reader *r)
{
    while (*r->p == ' ' || *r->p == '\n' || *r->p == '\r' || *r->p == '\t')
        r->p++;
}

/* Write the path of <at> to the <size> bytes at <to>, cut to fit; its
 * length. */
static size_t put_path(const struct place *at, char *to, size_t size)
{
    size_t n = at->up ? put_path(at->up, to, size) : 0;
    int more;

    if (!at->up || n >= size)
        return n;
    if (at->name.p)
        more =
            snprintf(to + n, size - n, "%s%.*s", n > 0 ? "." : "",
                     (int)(at->name.len > 64 ? 64 : at->name.len), at->name.p);
    else
        more = snprintf(to + n, size - n, "[%zu]", at->i);
    n += more > 0 ? (size_t)more : 0;
    return n < size ? n : size - 1;
}

/* Refuse the name at <p> of the member <at>. */
static enum err refuse_name(struct reader *r, const struct place *at,
                            const char *p, const char *reason)
{
    char path[sizeof(r->why->param)] = "";

    (void)put_path(at, path, sizeof(path));
    (void)params_refuse(r->why, path,
                        "The request body has an ambiguous member at byte "
                        "%zu: %s.",
                        (size_t)(p - r->text.p), reason);
    return ERR_BAD_JSON;
}

/* --- scalars ------------------------------------------------------------ */

/* The string at r->p, with its quotes. */
static struct jmember take_string(struct reader *r)
{
    const char *from = r->p++;

    while (*r->p != '"')
        r->p += *r->p == '\\' ? 2 : 1;
    r->p++;
    return (struct jmember){.type = JT_STRING,
                            .value = str_of(from, (size_t)(r->p - from))};
}

static enum err read_string(struct reader *r, json_t **out)
{
    struct jmember m = take_string(r);
    size_t len = m.value.len - 2;
    const char *text = m.value.p + 1;
    enum err e = ERR_OK;

    if (memchr(text, '\\', len)) {
        buf_clear(&r->room);
        e = buf_reserve(&r->room, len);
        if (e == ERR_OK)
            e = jval_copy(&m, r->room.p, len, &len);
        text = r->room.p;
    }
    if (e == ERR_OK)
        *out = json_stringn_nocheck(text, len);
    return e;
}

/* The integer <s>; false when it is none or takes more than 64 bits. */
static bool whole_of(struct str s, json_int_t *out)
{
    bool negative = s.p[0] == '-';
    json_int_t sum = 0;

    for (size_t i = negative ? 1 : 0; i < s.len; i++) {
        if (s.p[i] < '0' || s.p[i] > '9' ||
            __builtin_mul_overflow(sum, 10, &sum) ||
            __builtin_sub_overflow(sum, s.p[i] - '0', &sum))
            return false;
    }
    if (!negative && __builtin_sub_overflow(0, sum, &sum))
        return false;
    *out = sum;
    return true;
}

static json_t *read_number(struct reader *r)
{
    const char *from = r->p;
    json_int_t whole = 0;
    double d;

    r->p += strspn(r->p, "+-.0123456789eE");
    if (whole_of(str_of(from, (size_t)(r->p - from)), &whole))
        return json_integer(whole);
    d = strtod(from, NULL);
    return json_real(isinf(d) ? copysign(DBL_MAX, d) : d);
}

/* --- what has parts ----------------------------------------------------- */

/* The name of a member and its colon. */
static enum err read_name(struct reader *r, struct place *at)
{
    const char *from = r->p;
    struct jmember m = take_string(r);
    enum err e = jval_str(&m, SIZE_MAX, r->mem, &at->name);

    if (e != ERR_OK)
        return e;
    if (at->name.len > 0 && memchr(at->name.p, '\0', at->name.len))
        return refuse_name(r, at, from, "a name with the character U+0000");
    skip_space(r);
    r->p++;
    skip_space(r);
    return ERR_OK;
}

/* A member of <o>, the next one. */
static enum err read_member(struct reader *r, const struct place *up, json_t *o)
{
    struct place at = {.up = up};
    const char *from = r->p;
    size_t n = json_object_size(o);
    json_t *v = NULL;
    enum err e = read_name(r, &at);

    if (e == ERR_OK)
        e = read_value(r, &at, &v);
    if (e != ERR_OK)
        return e;
    if (json_object_setn_new_nocheck(o, at.name.p, at.name.len, v) != 0)
        return ERR_NOMEM;
    if (json_object_size(o) == n && r->twice == JTREE_TWICE_REFUSED)
        return refuse_name(r, &at, from, "duplicate key");
    return ERR_OK;
}

/* An element of <list>, the next one. */
static enum err read_element(struct reader *r, const struct place *at,
                             json_t *list)
{
    json_t *v = NULL;
    enum err e = read_value(r, at, &v);

    if (e == ERR_OK && json_array_append_new(list, v) != 0)
        e = ERR_NOMEM;
    return e;
}

/* The object or array at r->p, into <v>. */
static enum err read_parts(struct reader *r, const struct place *at, json_t *v)
{
    struct place in = {.up = at};

    if (!v)
        return ERR_NOMEM;
    r->p++;
    skip_space(r);
    for (; *r->p != '}' && *r->p != ']'; in.i++) {
        if (*r->p == ',') {
            r->p++;
            skip_space(r);
        }
        ERR_TRY(json_is_object(v) ? read_member(r, at, v)
                                  : read_element(r, &in, v));
        skip_space(r);
    }
    r->p++;
    return ERR_OK;
}

/* A new reference, also after a failure unless it is NULL. */
static enum err read_any(struct reader *r, const struct place *at, json_t **out)
{
    switch (*r->p) {
    case '{':
        *out = json_object();
        return read_parts(r, at, *out);
    case '[':
        *out = json_array();
        return read_parts(r, at, *out);
    case '"':
        return read_string(r, out);
    case 't':
        *out = json_true();
        r->p += 4;
        return ERR_OK;
    case 'f':
        *out = json_false();
        r->p += 5;
        return ERR_OK;
    case 'n':
        *out = json_null();
        r->p += 4;
        return ERR_OK;
    default:
        *out = read_number(r);
        return ERR_OK;
    }
}

static enum err read_value(struct reader *r, const struct place *at,
                           json_t **out)
{
    json_t *v = NULL;
    enum err e = read_any(r, at, &v);

    if (e == ERR_OK && !v)
        e = ERR_NOMEM;
    if (e == ERR_OK)
        *out = v;
    else
        json_decref(v);
    return e;
}

enum err jtree_read(struct str text, enum jtree_twice twice, struct arena *mem,
                    struct params_fault *why, json_t **out)
{
    const struct place root = {.up = NULL};
    struct reader r = {.text = text, .twice = twice, .mem = mem, .why = why};
    struct jscan scan;
    enum err e = jscan_run(&scan, text, NULL, NULL);

    if (e != ERR_OK) {
        (void)params_refuse(why, NULL,
                            "The request body is not valid JSON: %s at byte "
                            "%zu.",
                            scan.reason, scan.err_at);
        return e;
    }
    if (scan.root.type != JT_OBJECT) {
        (void)params_refuse(why, NULL,
                            "The request body must be a JSON object.");
        return ERR_BAD_JSON;
    }
    r.p = scan.root.value.p;
    buf_init(&r.room, SIZE_MAX / 2);
    e = read_value(&r, &root, out);
    buf_fini(&r.room);
    return e;
}
