/* http1_char.h - Which byte may stand where in an HTTP/1.1 message: one table
 * for the scanner, the parser, the body reader and the writer. Private to
 * the http1 files. */
#ifndef TG_WIRE_HTTP1_CHAR_H
#define TG_WIRE_HTTP1_CHAR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Classes of a byte; a byte may be in several. */
enum http1_char {
    HTTP1_TCHAR = 1,  /* token: RFC 9110 section 5.6.2 */
    HTTP1_FIELD = 2,  /* field value: HTAB, SP, VCHAR, obs-text */
    HTTP1_PATH = 4,   /* path of a target, see http1_char.c */
    HTTP1_QUERY = 8,  /* query of a target */
    HTTP1_HEX = 16,   /* HEXDIG */
    HTTP1_DIGIT = 32, /* DIGIT */
    HTTP1_NAME = 64,  /* unreserved or sub-delims of RFC 3986 */
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
    const unsigned char *u = (const unsigned char *)p;
    const uint8_t *in = http1_chars;
    size_t n = 0;

    while (len - n >= 4 &&
           (in[u[n]] & in[u[n + 1]] & in[u[n + 2]] & in[u[n + 3]] & of) != 0)
        n += 4;
    while (n < len && (in[u[n]] & of) != 0)
        n++;
    return n;
}

/* Length of the run of HTTP1_FIELD bytes, eight at a time: those below 32 and
 * 127 get their top bit set in <odd>, and of them only the tab may pass. Where
 * the first byte is not the lowest of a word, a word with a byte in <odd> is
 * looked at byte by byte, since only the lowest such bit is exact. */
static inline size_t http1_char_span_field(const char *p, size_t len)
{
    const uint64_t ones = 0x0101010101010101u, tops = ones << 7;
    size_t n = 0, first;
    uint64_t word, del, odd;

    while (len - n >= 8) {
        memcpy(&word, p + n, 8);
        del = word ^ ones * 127;
        odd = (((word - ones * 32) & ~word) | ((del - ones) & ~del)) & tops;
        if (odd == 0) {
            n += 8;
            continue;
        }
        first = 0;
        if (__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__)
            first = (size_t)__builtin_ctzll(odd) / 8;
        n += first;
        if (!http1_char_is(p[n], HTTP1_FIELD))
            return n;
        n++;
    }
    return n + http1_char_span(p + n, len - n, HTTP1_FIELD);
}

/* The value of the hex digit <c>. */
static inline unsigned http1_char_hex(char c)
{
    if (c <= '9')
        return (unsigned)(c - '0');
    return ((unsigned)c | 32u) - 'a' + 10u;
}

#endif
