/* buf.c - See buf.h. Room doubles, so appends are amortised constant. */
#include "base/buf.h"

#include <stdio.h>
#include <stdlib.h>

#define BUF_FIRST_ROOM 256

void buf_init(struct buf *b, size_t cap)
{
    *b = (struct buf){.cap = cap};
}

void buf_fini(struct buf *b)
{
    free(b->p);
    *b = (struct buf){.cap = b->cap};
}

enum err buf_reserve(struct buf *b, size_t more)
{
    size_t want, room;
    char *p;

    if (__builtin_add_overflow(b->len, more, &want) || want > b->cap)
        return ERR_NOMEM;
    if (want <= b->room)
        return ERR_OK;
    room = b->room ? b->room : BUF_FIRST_ROOM;
    while (room < want)
        room = room > SIZE_MAX / 2 ? want : room * 2;
    if (room > b->cap)
        room = b->cap;
    p = realloc(b->p, room);
    if (!p)
        return ERR_NOMEM;
    b->p = p;
    b->room = room;
    return ERR_OK;
}

enum err buf_put(struct buf *b, const void *p, size_t len)
{
    enum err e = buf_reserve(b, len);

    if (e != ERR_OK)
        return e;
    if (len > 0)
        memcpy(b->p + b->len, p, len);
    b->len += len;
    return ERR_OK;
}

enum err buf_put_str(struct buf *b, struct str s)
{
    return buf_put(b, s.p, s.len);
}

enum err buf_put_i64(struct buf *b, int64_t v)
{
    char digits[STR_I64_MAX];

    return buf_put_str(b, str_put_i64(digits, v));
}

enum err buf_printf(struct buf *b, const char *fmt, ...)
{
    va_list ap;
    char small[256], *big = NULL;
    enum err e;
    int n;

    va_start(ap, fmt);
    n = vsnprintf(small, sizeof(small), fmt, ap);
    va_end(ap);
    if (n < 0)
        return ERR_SYNTAX;
    if ((size_t)n < sizeof(small))
        return buf_put(b, small, (size_t)n);
    big = malloc((size_t)n + 1);
    if (!big)
        return ERR_NOMEM;
    va_start(ap, fmt);
    vsnprintf(big, (size_t)n + 1, fmt, ap);
    va_end(ap);
    e = buf_put(b, big, (size_t)n);
    free(big);
    return e;
}

void buf_consume(struct buf *b, size_t n)
{
    if (n >= b->len) {
        b->len = 0;
        return;
    }
    memmove(b->p, b->p + n, b->len - n);
    b->len -= n;
}
