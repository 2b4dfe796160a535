/* buf.h - Growable bytes with a hard cap. The cap is given once, at init;
 * an append that would pass it fails and changes nothing. */
#ifndef TG_BASE_BUF_H
#define TG_BASE_BUF_H

#include "base/err.h"
#include "base/str.h"

#include <stdarg.h>

/* Zeroed is an empty buffer with cap 0: call buf_init() before use. */
struct buf {
    char *p;     /* owned */
    size_t len;  /* bytes in use */
    size_t room; /* bytes allocated */
    size_t cap;  /* most bytes ever held */
};

/* Make <b> empty; it will never hold more than <cap> bytes. */
void buf_init(struct buf *b, size_t cap);

/* Free the bytes; <b> is empty with the same cap and may be used again. */
void buf_fini(struct buf *b);

/* Make room for <more> bytes beyond len. ERR_NOMEM past the cap or when the
 * system has none. */
enum err buf_reserve(struct buf *b, size_t more) MUST_CHECK;

/* Append <len> bytes at <p>. ERR_NOMEM as buf_reserve(). */
enum err buf_put(struct buf *b, const void *p, size_t len) MUST_CHECK;

/* Append a slice. */
enum err buf_put_str(struct buf *b, struct str s) MUST_CHECK;

/* Append <v> in decimal. */
enum err buf_put_i64(struct buf *b, int64_t v) MUST_CHECK;

/* Append printf-formatted text. */
enum err buf_printf(struct buf *b, const char *fmt, ...) MUST_CHECK
    __attribute__((format(printf, 2, 3)));

/* Drop the first <n> bytes (n <= len), moving the rest down. */
void buf_consume(struct buf *b, size_t n);

/* The bytes held, borrowed until the next change of <b>. */
static inline struct str buf_str(const struct buf *b)
{
    return (struct str){b->p, b->len};
}

/* Forget the bytes, keep the memory. */
static inline void buf_clear(struct buf *b)
{
    b->len = 0;
}

#endif
