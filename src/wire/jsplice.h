/* jsplice.h - Edits on JSON bytes in place: replace a value, insert a member,
 * remove a member. The text is never serialised again, so all bytes outside
 * the edits stay as they were. Edits are collected against the text that
 * jscan.h validated, then given out as an I/O vector or as a copy. */
#ifndef TG_WIRE_JSPLICE_H
#define TG_WIRE_JSPLICE_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"
#include "wire/jscan.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

/* Most edits of one text, and slots of its I/O vector. */
enum { JSPLICE_EDITS = 12, JSPLICE_IOV = 3 * JSPLICE_EDITS + 1 };

/* One edit; edits are kept in order of <at>. */
struct jedit {
    size_t at;      /* offset in the text */
    size_t cut;     /* bytes dropped there */
    struct str put; /* bytes put there, borrowed or of the arena */
    size_t object;  /* insert, remove: offset of the object's `{` */
    bool insert;    /* a member, put before all others of its object */
    bool empties;   /* removes the only member of its object */
};

/* The edits of one text. */
struct jsplice {
    struct str text;     /* borrowed until the last use of the result */
    struct arena *arena; /* borrowed: bytes composed here live in it */
    unsigned count;
    struct jedit edit[JSPLICE_EDITS];
};

/* No edits yet on <text>, a body without its framing. */
void jsplice_init(struct jsplice *s, struct str text, struct arena *arena);

/* Put <with>, a JSON value, in the place of <value>, a slice of the text.
 * ERR_FULL: no slot left; ERR_EXISTS: overlaps another edit. */
enum err jsplice_replace(struct jsplice *s, struct str value,
                         struct str with) MUST_CHECK;

/* Insert the member <name> (plain text, quoted here) with <value>, a JSON
 * value, as the first one of <object>, a raw object of the text. It is the
 * caller's to know that the object has no such key. Several inserts into one
 * object stand in the order of the calls. ERR_FULL, ERR_EXISTS, ERR_NOMEM. */
enum err jsplice_insert(struct jsplice *s, struct str object, struct str name,
                        struct str value) MUST_CHECK;

/* Remove <m>, with one comma, from <object>: the text is then as if it had
 * been written without <m>. ERR_EXISTS also when two members side by side are
 * removed; ERR_FULL. */
enum err jsplice_remove(struct jsplice *s, struct str object,
                        const struct jmember *m) MUST_CHECK;

/* Bytes of the result. */
size_t jsplice_len(const struct jsplice *s);

/* The result as slices of the text and of the edits, never more than
 * JSPLICE_IOV of them; tells how many. No slot is empty. */
unsigned jsplice_iov(const struct jsplice *s, struct iovec iov[JSPLICE_IOV]);

/* The result, appended to <out>. ERR_NOMEM: past its cap, nothing appended. */
enum err jsplice_put(const struct jsplice *s, struct buf *out) MUST_CHECK;

/* Replace the string value <m> by the text <name>, quoted and escaped. */
enum err jsplice_rename(struct jsplice *s, const struct jmember *m,
                        struct str name) MUST_CHECK;

/* Put <quoted>, a JSON string, in the place of every model's name of a scanned
 * reply or event: `model`, `response.model`, `message.model`, where each is a
 * string that is not empty. <renamed_out> tells how many. ERR_FULL. */
enum err jsplice_rename_reply(struct jsplice *s, const struct jscan *reply,
                              struct str quoted,
                              unsigned *renamed_out) MUST_CHECK;

/* See that the scanned request has stream_options.include_usage true: the
 * value is replaced, or inserted with its parent where needed. ERR_BAD_PARAM:
 * stream_options is neither absent, null nor an object. */
enum err jsplice_want_usage(struct jsplice *s,
                            const struct jscan *request) MUST_CHECK;

/* Set the output cap: replace the value of <m>, or insert the member <name>
 * into the root of the scanned request when <m> is absent. */
enum err jsplice_cap(struct jsplice *s, const struct jscan *request,
                     const struct jmember *m, struct str name,
                     int64_t cap_tok) MUST_CHECK;

/* Append <s> as a JSON string, with quotes. Bytes that are not UTF-8 become
 * U+FFFD; control characters and DEL are escaped. ERR_NOMEM. */
enum err json_put_str(struct buf *out, struct str s) MUST_CHECK;

/* As json_put_str() without the quotes. */
enum err json_put_text(struct buf *out, struct str s) MUST_CHECK;

/* As json_put_str(), in the arena; p is NULL without memory. */
struct str json_quote(struct arena *arena, struct str s);

#endif
