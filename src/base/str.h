/* str.h - `struct str`: a slice of bytes that somebody else owns. Never
 * NUL-terminated by contract; may hold any byte. */
#ifndef TG_BASE_STR_H
#define TG_BASE_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

/* A slice: <p> is borrowed and may be NULL only when <len> is 0. */
struct str {
    const char *p;
    size_t len;
};

/* A slice of a string literal. */
#define STR(lit) ((struct str){"" lit, sizeof(lit) - 1})

/* printf pair for "%.*s"; only for text known to be printable. */
#define STR_ARG(s) (int)(s).len, (s).p

/* A slice of the C string <c>; NULL gives the empty slice. */
static inline struct str str_from(const char *c)
{
    return (struct str){c, c ? strlen(c) : 0};
}

/* A slice of <len> bytes at <p>. */
static inline struct str str_of(const void *p, size_t len)
{
    return (struct str){(const char *)p, len};
}

/* Whether both hold the same bytes. */
static inline bool str_eq(struct str a, struct str b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.p, b.p, a.len) == 0);
}

/* Whether both hold the same bytes but for the case of ASCII letters. */
static inline bool str_ieq(struct str a, struct str b)
{
    return a.len == b.len && (a.len == 0 || strncasecmp(a.p, b.p, a.len) == 0);
}

/* Whether <s> begins with <head>. */
static inline bool str_starts(struct str s, struct str head)
{
    return s.len >= head.len &&
           (head.len == 0 || memcmp(s.p, head.p, head.len) == 0);
}

/* Whether <s> ends with <tail>. */
static inline bool str_ends(struct str s, struct str tail)
{
    return s.len >= tail.len &&
           (tail.len == 0 ||
            memcmp(s.p + s.len - tail.len, tail.p, tail.len) == 0);
}

/* <s> without its first <n> bytes; empty when <n> is past the end. */
static inline struct str str_skip(struct str s, size_t n)
{
    if (n >= s.len)
        return (struct str){s.p, 0};
    return (struct str){s.p + n, s.len - n};
}

/* <s> without leading and trailing spaces and tabs. */
static inline struct str str_trim(struct str s)
{
    while (s.len > 0 && (s.p[0] == ' ' || s.p[0] == '\t')) {
        s.p++;
        s.len--;
    }
    while (s.len > 0 && (s.p[s.len - 1] == ' ' || s.p[s.len - 1] == '\t'))
        s.len--;
    return s;
}

/* Offset of the first <c> in <s>, or s.len. */
static inline size_t str_find_char(struct str s, char c)
{
    const char *at = s.len ? memchr(s.p, c, s.len) : NULL;

    return at ? (size_t)(at - s.p) : s.len;
}

/* Offset of the first <needle> in <s>, or s.len. */
static inline size_t str_find(struct str s, struct str needle)
{
    const char *at = s.len ? memmem(s.p, s.len, needle.p, needle.len) : NULL;

    return at ? (size_t)(at - s.p) : s.len;
}

/* Cut the part before the first <sep> off <rest> and give it in <part_out>;
 * <rest> keeps what follows <sep>. False when <rest> was empty. */
static inline bool str_split(struct str *rest, char sep, struct str *part_out)
{
    size_t at;

    if (rest->len == 0)
        return false;
    at = str_find_char(*rest, sep);
    *part_out = (struct str){rest->p, at};
    *rest = str_skip(*rest, at + 1);
    return true;
}

/* Parse <s> as 1*DIGIT into <out>. False on anything else or above
 * UINT64_MAX; <out> is then untouched. */
static inline bool str_to_u64(struct str s, uint64_t *out)
{
    uint64_t v = 0;

    if (s.len == 0)
        return false;
    for (size_t i = 0; i < s.len; i++) {
        if (s.p[i] < '0' || s.p[i] > '9')
            return false;
        if (__builtin_mul_overflow(v, 10u, &v) ||
            __builtin_add_overflow(v, (uint64_t)(s.p[i] - '0'), &v))
            return false;
    }
    *out = v;
    return true;
}

/* Most bytes of an int64_t in decimal. */
#define STR_I64_MAX 20

/* Write <v> in decimal to the end of <room>; the slice lies in it. */
static inline struct str str_put_i64(char room[STR_I64_MAX], int64_t v)
{
    uint64_t left = v < 0 ? 0 - (uint64_t)v : (uint64_t)v;
    size_t at = STR_I64_MAX;

    do {
        room[--at] = (char)('0' + left % 10);
        left /= 10;
    } while (left > 0);
    if (v < 0)
        room[--at] = '-';
    return (struct str){room + at, STR_I64_MAX - at};
}

/* Whether <s> matches <glob>, where '*' stands for any run of bytes (also an
 * empty one) and '?' for one byte; everything else is literal. Linear in
 * s.len times the number of stars. */
bool str_glob(struct str glob, struct str s);

#endif
