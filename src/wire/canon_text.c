/* canon_text.c - See canon_text.h. */
#include "wire/canon_text.h"

#include "wire/canon.h"
#include "wire/jscan.h"
#include "wire/jtext.h"

enum {
    ZEROS = 2,            /* of an integer that are written out */
    EXPONENT_DIGITS = 17, /* of a power of ten that is reckoned with */
    NUMBER_MORE = 24,     /* bytes that a number may grow by */
};

/* ---- numbers ----------------------------------------------------------- */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* The exponent that <s>, what follows the 'e', says. False: too long. */
static bool read_exponent(struct str s, int64_t *exp_out)
{
    bool negative = s.len > 0 && s.p[0] == '-';
    int64_t v = 0;

    if (s.len > 0 && (s.p[0] == '-' || s.p[0] == '+'))
        s = str_skip(s, 1);
    while (s.len > 0 && s.p[0] == '0')
        s = str_skip(s, 1);
    if (s.len > EXPONENT_DIGITS)
        return false;
    for (size_t i = 0; i < s.len; i++) {
        if (!is_digit(s.p[i]))
            return false;
        v = v * 10 + (s.p[i] - '0');
    }
    *exp_out = negative ? -v : v;
    return true;
}

/* Whether <raw> is written canonically: an integer of few zeros at its end. */
static bool is_plain_integer(struct str raw)
{
    size_t i = raw.len > 0 && raw.p[0] == '-' ? 1 : 0;
    size_t end = raw.len;

    if (i == end || raw.p[i] == '0') /* also -0, 0.5 and 0e3 */
        return raw.len == 1;
    while (i < end && is_digit(raw.p[i]))
        i++;
    if (i < end)
        return false;
    while (raw.p[end - 1] == '0')
        end--;
    return raw.len - end <= ZEROS;
}

/* Write the digits of <raw> before its exponent to <to>, without those zeros
 * that say nothing; how many. *exp_io is what power of ten they count. */
static size_t put_digits(struct str raw, char *to, int64_t *exp_io)
{
    size_t n = 0;
    bool after_dot = false;

    for (size_t i = 0; i < raw.len; i++) {
        if (raw.p[i] == '.') {
            after_dot = true;
            continue;
        }
        *exp_io -= after_dot;
        if (n > 0 || raw.p[i] != '0')
            to[n++] = raw.p[i];
    }
    while (n > 0 && to[n - 1] == '0') {
        n--;
        ++*exp_io;
    }
    return n;
}

/* Write the power of ten after the digits at <to>; how many bytes. */
static size_t put_power(char *to, int64_t exp)
{
    char room[STR_I64_MAX];
    struct str text;

    if (exp >= 0 && exp <= ZEROS) {
        memset(to, '0', (size_t)exp);
        return (size_t)exp;
    }
    text = str_put_i64(room, exp);
    to[0] = 'e';
    memcpy(to + 1, text.p, text.len);
    return text.len + 1;
}

enum err canon_put_number(struct str raw, struct buf *out)
{
    struct str digits = raw;
    int64_t exp = 0;
    bool negative, known;
    size_t n, e = 0;
    char *to;

    if (is_plain_integer(raw))
        return buf_put_str(out, raw);
    ERR_TRY(buf_reserve(out, raw.len + NUMBER_MORE));
    to = out->p + out->len;
    while (e < raw.len && raw.p[e] != 'e' && raw.p[e] != 'E')
        e++;
    known = read_exponent(str_skip(raw, e + 1), &exp);
    negative = raw.len > 0 && raw.p[0] == '-';
    digits = str_of(raw.p + negative, e - negative);
    *to = '-';
    n = put_digits(digits, to + negative, &exp);
    if (n == 0) {
        *to = '0';
        out->len++;
        return ERR_OK;
    }
    if (!known)
        return buf_put_str(out, raw);
    n += negative;
    out->len += n + put_power(to + n, exp);
    return ERR_OK;
}

/* ---- strings ----------------------------------------------------------- */

/* Write the character of <n> bytes at <c> to <to>; how many bytes. */
static size_t put_escaped(const char *c, unsigned n, char to[6])
{
    static const char hex[] = "0123456789abcdef";
    static const char from[] = "\"\\\b\f\n\r\t", into[] = "\"\\bfnrt";
    const char *known = n == 1 && *c ? strchr(from, *c) : NULL;
    unsigned unit = 0;

    if (known) {
        to[0] = '\\';
        to[1] = into[known - from];
        return 2;
    }
    if (n == 3 && c[0] == '\xED' && (unsigned char)c[1] >= 0xA0) {
        unit = 0xD000 | (c[1] & 0x3Fu) << 6 | (c[2] & 0x3Fu); /* half a pair */
    } else if (n > 1 || (unsigned char)*c >= 0x20) {
        memcpy(to, c, n);
        return n;
    } else {
        unit = (unsigned char)*c;
    }
    memcpy(to, "\\u", 2);
    for (int i = 0; i < 4; i++)
        to[2 + i] = hex[unit >> (12 - 4 * i) & 15];
    return 6;
}

/* Write what stands between the quotes of <raw>, which has escapes, to <to>,
 * where there is room for raw.len bytes: no character is longer in its
 * canonical form than as it was written. How many; 0: not validated. */
static size_t put_unescaped(struct str raw, char *to)
{
    struct junescape u;
    size_t n = 0;
    char c[4], text[6];

    junescape_init(&u, raw);
    while (u.p < u.end) {
        const char *stop = memchr(u.p, '\\', (size_t)(u.end - u.p));
        const size_t run = (size_t)((stop ? stop : u.end) - u.p);
        size_t len;

        memcpy(to + n, u.p, run);
        n += run;
        u.p += run;
        if (u.p == u.end)
            break;
        stop = u.p;
        len = put_escaped(c, junescape_next(&u, c, true), text);
        if (len > (size_t)(u.p - stop))
            return 0;
        memcpy(to + n, text, len);
        n += len;
    }
    return n;
}

enum err canon_put_string(struct str raw, struct buf *out)
{
    char *to;
    size_t n;

    if (raw.len < 2 || raw.p[raw.len - 1] != '"')
        return ERR_BAD_JSON;
    if (out->room - out->len < raw.len)
        ERR_TRY(buf_reserve(out, raw.len));
    to = out->p + out->len;
    if (!memchr(raw.p, '\\', raw.len)) {
        memcpy(to, raw.p, raw.len);
        out->len += raw.len;
        return ERR_OK;
    }
    n = put_unescaped(raw, to + 1);
    if (n == 0)
        return ERR_BAD_JSON;
    to[0] = to[n + 1] = '"';
    out->len += n + 2;
    return ERR_OK;
}

/* ---- lines ------------------------------------------------------------- */

/* Whether <c> goes on with the word before it. */
static bool is_of_word(char c)
{
    return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           c == '-' || c == '_' || (unsigned char)c >= 0x80;
}

bool canon_is_line(const struct jmember *v, struct str words)
{
    struct jmember text = *v;
    char line[CANON_LINE];
    struct str s;
    size_t len;

    if (v->type == JT_OBJECT)
        text = jval_member(v, STR("text"));
    if (jval_copy(&text, line, sizeof(line), &len) != ERR_OK)
        return false;
    s = str_of(line, len);
    while (s.len > 0 && (s.p[s.len - 1] == '\n' || s.p[s.len - 1] == '\r'))
        s.len--;
    return str_starts(s, words) &&
           (s.len == words.len || !is_of_word(s.p[words.len])) &&
           memchr(s.p, '\n', s.len) == NULL && memchr(s.p, '\r', s.len) == NULL;
}
