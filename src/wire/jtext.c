/* jtext.c - See jtext.h. The run of plain bytes is what a prompt is made of,
 * so it is found 16 bytes (SSE2) or 8 bytes (any machine) at a time. */
#include "wire/jtext.h"

#include <endian.h>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#define U8(c) ((unsigned char)(c))

/* Whether a byte of a string needs a look: quote, backslash, control, >7F. */
static inline bool is_special(char c)
{
    return U8(c) < 0x20 || U8(c) >= 0x80 || c == '"' || c == '\\';
}

#if defined(__SSE2__)
/* The special ones of 16 bytes, as FF each. */
static inline __m128i specials(const char *p)
{
    __m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);
    __m128i hit = _mm_cmplt_epi8(v, _mm_set1_epi8(0x20)); /* signed: >7F too */

    hit = _mm_or_si128(hit, _mm_cmpeq_epi8(v, _mm_set1_epi8('"')));
    return _mm_or_si128(hit, _mm_cmpeq_epi8(v, _mm_set1_epi8('\\')));
}

/* The quotes and backslashes of 16 bytes, as FF each. */
static inline __m128i stops(const char *p)
{
    __m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);

    return _mm_or_si128(_mm_cmpeq_epi8(v, _mm_set1_epi8('"')),
                        _mm_cmpeq_epi8(v, _mm_set1_epi8('\\')));
}

/* The first of those from <p>, or a place less than 16 before <end>. */
static inline const char *text_run(const char *p, const char *end)
{
    while (end - p >= 16) {
        unsigned mask = (unsigned)_mm_movemask_epi8(stops(p));
        if (mask != 0)
            return p + __builtin_ctz(mask);
        p += 16;
        while (end - p >= 64) {
            __m128i low = _mm_or_si128(stops(p), stops(p + 16));
            __m128i high = _mm_or_si128(stops(p + 32), stops(p + 48));
            if (_mm_movemask_epi8(_mm_or_si128(low, high)) != 0)
                break;
            p += 64;
        }
    }
    return p;
}

/* The first special byte from <p>, or a place less than 16 before <end>. */
static inline const char *plain_run(const char *p, const char *end)
{
    while (end - p >= 16) {
        unsigned mask = (unsigned)_mm_movemask_epi8(specials(p));
        if (mask != 0)
            return p + __builtin_ctz(mask);
        p += 16;
        /* Long runs go four at a time. */
        while (end - p >= 64) {
            __m128i low = _mm_or_si128(specials(p), specials(p + 16));
            __m128i high = _mm_or_si128(specials(p + 32), specials(p + 48));
            if (_mm_movemask_epi8(_mm_or_si128(low, high)) != 0)
                break;
            p += 64;
        }
    }
    return p;
}
#else
/* The first word with a quote or backslash in it, or less than 8 before <end>.
 */
static inline const char *text_run(const char *p, const char *end)
{
    const uint64_t ones = UINT64_C(0x0101010101010101);
    const uint64_t high = UINT64_C(0x8080808080808080);

    while (end - p >= 8) {
        uint64_t v, q, s;
        memcpy(&v, p, sizeof(v));
        q = v ^ (ones * '"');
        s = v ^ (ones * '\\');
        if (((((q - ones) & ~q) | ((s - ones) & ~s)) & high) != 0)
            return p;
        p += 8;
    }
    return p;
}

/* The first word with a special byte in it, or less than 8 before <end>. */
static inline const char *plain_run(const char *p, const char *end)
{
    const uint64_t ones = UINT64_C(0x0101010101010101);
    const uint64_t high = UINT64_C(0x8080808080808080);

    while (end - p >= 8) {
        uint64_t v, q, s;
        memcpy(&v, p, sizeof(v));
        q = v ^ (ones * '"');
        s = v ^ (ones * '\\');
        if ((((v - ones * 0x20) | (q - ones) | (s - ones) | v) & high) != 0)
            return p;
        p += 8;
    }
    return p;
}
#endif

const char *jtext_find_special(const char *p, const char *end)
{
    p = plain_run(p, end);
    while (p < end && !is_special(*p))
        p++;
    return p;
}

static inline bool is_tail(char c)
{
    return (U8(c) & 0xC0) == 0x80;
}

unsigned jtext_utf8_len(const char *p, const char *end)
{
    size_t left = (size_t)(end - p);

    if (left == 0)
        return 0;
    unsigned char a = U8(p[0]);
    if (a < 0x80)
        return 1;
    if (a < 0xC2 || a > 0xF4 || left < 2 || !is_tail(p[1]))
        return 0;
    if (a < 0xE0)
        return 2;
    unsigned char b = U8(p[1]);
    if (left < 3 || !is_tail(p[2]))
        return 0;
    if (a < 0xF0)
        return (a == 0xE0 && b < 0xA0) || (a == 0xED && b > 0x9F) ? 0 : 3;
    if (left < 4 || !is_tail(p[3]))
        return 0;
    return (a == 0xF0 && b < 0x90) || (a == 0xF4 && b > 0x8F) ? 0 : 4;
}

static inline int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

/* Check the escape at the backslash *p and pass it. */
static const char *check_escape(const char **p, const char *end)
{
    if (end - *p < 2) {
        *p = end;
        return "unterminated string";
    }
    (*p)++;
    switch (**p) {
    case '"':
    case '\\':
    case '/':
    case 'b':
    case 'f':
    case 'n':
    case 'r':
    case 't':
        (*p)++;
        return NULL;
    case 'u':
        break;
    default:
        return "invalid escape in string";
    }
    (*p)++;
    for (int i = 0; i < 4; i++, (*p)++) {
        if (*p == end)
            return "unterminated string";
        if (hex_digit(**p) < 0)
            return "invalid \\u escape in string";
    }
    return NULL;
}

/* Whether a sequence of three bytes stands at <p> whose first byte sets no
 * further rule: most of what is not Latin. A fourth byte must be there to be
 * read along. */
static inline bool is_plain_triple(const char *p, const char *end)
{
    uint32_t v;

    if (end - p < 4)
        return false;
    memcpy(&v, p, sizeof(v));
    v = le32toh(v);
    return (v & 0xC0C0F0) == 0x8080E0 && (v & 0xFF) != 0xE0 &&
           (v & 0xFF) != 0xED;
}

/* Pass the characters beyond ASCII at *p; NULL when all are UTF-8. */
static const char *check_utf8(const char **p, const char *end)
{
    const char *at = *p;

    while (at < end && U8(*at) >= 0x80) {
        unsigned n = is_plain_triple(at, end) ? 3 : jtext_utf8_len(at, end);
        if (n == 0) {
            *p = at;
            return "invalid UTF-8 in string";
        }
        at += n;
    }
    *p = at;
    return NULL;
}

const char *jtext_check_string(const char **p, const char *end)
{
    const char *reason = NULL;

    while (!reason) {
        *p = jtext_find_special(*p, end);
        if (*p == end)
            return "unterminated string";
        if (**p == '"') {
            (*p)++;
            return NULL;
        }
        if (U8(**p) < 0x20)
            return "control character in string";
        reason = **p == '\\' ? check_escape(p, end) : check_utf8(p, end);
    }
    return reason;
}

const char *jtext_skip_string(const char *p, const char *end)
{
    while (p < end) {
        p = text_run(p, end);
        while (p < end && *p != '"' && *p != '\\')
            p++;
        if (p == end)
            return end;
        if (*p == '"')
            return p + 1;
        p += end - p > 1 ? 2 : 1;
    }
    return end;
}

const char *jtext_skip_value(const char *p, const char *end)
{
    size_t depth = 0;

    while (p < end) {
        char c = *p;
        if (c == '"') {
            p = jtext_skip_string(p + 1, end);
        } else if (c == '{' || c == '[') {
            depth++;
            p++;
        } else if (c == '}' || c == ']') {
            if (depth == 0)
                return p;
            depth--;
            p++;
        } else if (depth == 0 && (c == ',' || c == ' ' || c == '\n' ||
                                  c == '\r' || c == '\t')) {
            return p;
        } else {
            p++;
            continue;
        }
        if (depth == 0)
            return p;
    }
    return end;
}

void junescape_init(struct junescape *u, struct str raw)
{
    u->p = u->end = raw.p;
    if (raw.len >= 2) {
        u->p = raw.p + 1;
        u->end = raw.p + raw.len - 1;
    }
}

unsigned jtext_put_utf8(uint32_t cp, char to[4])
{
    if (cp < 0x80) {
        to[0] = (char)cp;
        return 1;
    }
    if (cp < 0x800) {
        to[0] = (char)(0xC0 | cp >> 6);
        to[1] = (char)(0x80 | (cp & 0x3F));
        return 2;
    }
    if (cp < 0x10000) {
        to[0] = (char)(0xE0 | cp >> 12);
        to[1] = (char)(0x80 | (cp >> 6 & 0x3F));
        to[2] = (char)(0x80 | (cp & 0x3F));
        return 3;
    }
    to[0] = (char)(0xF0 | cp >> 18);
    to[1] = (char)(0x80 | (cp >> 12 & 0x3F));
    to[2] = (char)(0x80 | (cp >> 6 & 0x3F));
    to[3] = (char)(0x80 | (cp & 0x3F));
    return 4;
}

/* The code unit of the \uXXXX at <p>, or -1. */
static int32_t read_unit(const char *p, const char *end)
{
    int32_t unit = 0;

    if (end - p < 6 || p[0] != '\\' || p[1] != 'u')
        return -1;
    for (int i = 2; i < 6; i++) {
        int d = hex_digit(p[i]);
        if (d < 0)
            return -1;
        unit = unit << 4 | d;
    }
    return unit;
}

/* The \uXXXX, or pair of them, at u->p. */
static unsigned next_unit(struct junescape *u, char to[4], bool keep_half)
{
    int32_t unit = read_unit(u->p, u->end), low;

    if (unit < 0) { /* only in text that was not validated */
        u->p = u->end;
        return 0;
    }
    u->p += 6;
    if (unit < 0xD800 || unit > 0xDFFF)
        return jtext_put_utf8((uint32_t)unit, to);
    low = read_unit(u->p, u->end);
    if (unit < 0xDC00 && low >= 0xDC00 && low <= 0xDFFF) {
        u->p += 6;
        unit = 0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00);
    } else if (!keep_half) {
        unit = 0xFFFD;
    }
    return jtext_put_utf8((uint32_t)unit, to);
}

unsigned junescape_next(struct junescape *u, char to[4], bool keep_half)
{
    static const char from[] = "bfnrt", into[] = "\b\f\n\r\t";
    const char *known;
    unsigned n;

    if (u->p >= u->end)
        return 0;
    if (*u->p != '\\') {
        n = jtext_utf8_len(u->p, u->end);
        if (n == 0)
            n = 1;
        memcpy(to, u->p, n);
        u->p += n;
        return n;
    }
    if (u->end - u->p < 2) {
        u->p = u->end;
        return 0;
    }
    if (u->p[1] == 'u')
        return next_unit(u, to, keep_half);
    known = memchr(from, u->p[1], sizeof(from) - 1);
    to[0] = known ? into[known - from] : u->p[1];
    u->p += 2;
    return 1;
}
