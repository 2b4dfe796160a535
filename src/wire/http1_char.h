/* http1_char.h - Which byte may stand where in an HTTP/1.1 message: one table
 * for the scanner, the parser, the body reader and the writer. Private to
 * the http1 files. */
#ifndef TG_WIRE_HTTP1_CHAR_H
#define TG_WIRE_HTTP1_CHAR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Classes of a byte; a byte may be in several. */
enum http1_char {
    HTTP1_TCHAR = 1,  /* token: RFC 9110 section 5.6.2 */
    HTTP1_FIELD = 2,  /* field value: HTAB, SP, VCHAR, obs-text */
    HTTP1_PATH = 4,   /* path of a target, see http1_char.c */
    HTTP1_QUERY = 8,  /* query of a target */
    HTTP1_HEX = 16,   /* HEXDIG */
    HTTP1_DIGIT = 32, /* DIGIT */
    HTTP1_NAME = 64,  /* unreserved or sub-delims of RFC 3986 */
    HTTP1_UNDER = 128 /* the underscore */
};

/* Classes of each byte value. */
extern const uint8_t http1_chars[256];

/* Whether <c> is in class <of>. */
static inline bool http1_char_is(char c, enum http1_char of)
{
    return (http1_chars[(unsigned char)c] & of) != 0;
}

/* Length of the run of bytes of class <of> at the start of <p>. */
static inline size_t http1_char_span(const char *p, size_t len,
                                     enum http1_char of)
{
    size_t n = 0;

    while (n < len && http1_char_is(p[n], of))
        n++;
    return n;
}

/* The value of the hex digit <c>. */
static inline unsigned http1_char_hex(char c)
{
    if (c <= '9')
        return (unsigned)(c - '0');
    return ((unsigned)c | 32u) - 'a' + 10u;
}

#endif
