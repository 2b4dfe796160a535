/* multipart.h - Finds the part named `model` in a multipart/form-data body
 * (RFC 7578, RFC 2046) while it passes, in pieces of any size; nothing but
 * that value is kept. Other parts may be of any length. */
#ifndef TG_WIRE_MULTIPART_H
#define TG_WIRE_MULTIPART_H

#include "base/err.h"
#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Longest boundary (RFC 2046, 5.1.1), longest model name, most bytes of the
 * header of one part, and most parts. */
enum {
    MULTIPART_BOUNDARY_MAX = 70,
    MULTIPART_VALUE_MAX = 256,
    MULTIPART_HEAD_MAX = 8192,
    MULTIPART_PARTS_MAX = 1024
};

/* Where in the grammar the next byte stands. */
enum multipart_state {
    MULTIPART_PREAMBLE = 0, /* before the first delimiter */
    MULTIPART_AFTER,        /* after a delimiter: "--", padding or its CRLF */
    MULTIPART_HEAD,         /* within the header of a part */
    MULTIPART_BODY,         /* within the content of a part */
    MULTIPART_EPILOGUE,     /* after the closing delimiter */
    MULTIPART_BROKEN        /* refused: stays so */
};

/* The finder of one body. No pointers: may be copied, nothing to free. */
struct multipart {
    enum multipart_state state;
    char delim[MULTIPART_BOUNDARY_MAX + 4]; /* CR LF "--" boundary */
    size_t delim_len;
    size_t match;    /* bytes of delim seen */
    unsigned ghost;  /* of these, so many were not in the body: a delimiter at
                      * its start needs no CRLF */
    uint64_t at;     /* offset in the body of the next byte */
    unsigned parts;  /* seen */
    unsigned after;  /* 0: at once after a delimiter, then what was seen */
    size_t head_len; /* bytes of this part's header */
    char line[2048]; /* header line at hand, cut when longer */
    size_t line_len;
    bool line_cr;      /* its last byte was CR */
    bool line_cut;     /* it was longer than <line> */
    bool named;        /* this part is `model` */
    bool disposed;     /* this part had a Content-Disposition */
    bool encoded;      /* it has a transfer encoding */
    bool found;        /* the value is complete */
    uint64_t value_at; /* offset in the body of its first byte */
    size_t value_len;
    char value[MULTIPART_VALUE_MAX];
};

/* Start on a body of this Content-Type. ERR_BAD_REQUEST: it is not
 * multipart/form-data, or has no boundary that RFC 2046 allows. */
enum err multipart_init(struct multipart *m,
                        struct str content_type) MUST_CHECK;

/* Read the next bytes. ERR_BAD_REQUEST: not of the grammar, or a bound is
 * passed; ERR_BAD_PARAM: a second `model`, or its value is too long. After a
 * failure every call fails. */
enum err multipart_feed(struct multipart *m, struct str bytes) MUST_CHECK;

/* Whether the value of `model` is complete: multipart.value, value_at and
 * value_len hold. */
static inline bool multipart_has_model(const struct multipart *m)
{
    return m->found;
}

/* The model's name; borrows <m>. */
static inline struct str multipart_model(const struct multipart *m)
{
    return str_of(m->value, m->value_len);
}

/* Whether the closing delimiter was seen: the body is whole. */
static inline bool multipart_is_closed(const struct multipart *m)
{
    return m->state == MULTIPART_EPILOGUE;
}

#endif
