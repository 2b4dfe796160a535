/* nfc.c - ASCII stays as it is and combines with nothing before it, so that a
 * text is composed in stretches that begin with ASCII. Reordering marks takes
 * time quadratic in their number: too many in a row are left alone. */
#include "token/nfc.h"

#include <stdlib.h>

#include <utf8proc.h>

#include "base/utf8.h"

/* Marks in a row that are still reordered. */
#define MOST_MARKS 64

/* Whether <s> is to be composed: UTF-8, and not too many marks in a row. */
static bool is_fit(struct str s)
{
    unsigned marks = 0;

    while (s.len > 0) {
        uint32_t cp = 0;
        size_t width = utf8_next(s, &cp);

        if (width == 0)
            return false;
        if (utf8proc_get_property((utf8proc_int32_t)cp)->combining_class > 0)
            marks++;
        else
            marks = 0;
        if (marks > MOST_MARKS)
            return false;
        s = str_skip(s, width);
    }
    return true;
}

static enum err put_stretch(struct str s, struct buf *out)
{
    utf8proc_uint8_t *made = NULL;
    utf8proc_ssize_t n;
    enum err e;

    if (!is_fit(s))
        return buf_put_str(out, s);
    n = utf8proc_map((const utf8proc_uint8_t *)s.p, (utf8proc_ssize_t)s.len,
                     &made, UTF8PROC_STABLE | UTF8PROC_COMPOSE);
    if (n < 0)
        return n == UTF8PROC_ERROR_NOMEM ? ERR_NOMEM : buf_put_str(out, s);
    e = buf_put(out, made, (size_t)n);
    free(made);
    return e;
}

enum err nfc_put(struct str s, struct buf *out)
{
    size_t done = 0, at = 0;

    while (at < s.len) {
        size_t from;
        enum err e;

        if ((unsigned char)s.p[at] < 0x80) {
            at++;
            continue;
        }
        from = at > done ? at - 1 : at;
        while (at < s.len && (unsigned char)s.p[at] >= 0x80)
            at++;
        e = buf_put(out, s.p + done, from - done);
        e = e ? e : put_stretch(str_of(s.p + from, at - from), out);
        if (e)
            return e;
        done = at;
    }
    return buf_put(out, s.p + done, s.len - done);
}
