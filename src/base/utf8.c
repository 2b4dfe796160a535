/* utf8.c - See utf8.h. Runs of ASCII are stepped over eight bytes at once. */
#include "base/utf8.h"

/* The forms of RFC 3629 section 4: how long a lead byte's sequence is and
 * which second bytes it allows. */
struct lead {
    uint8_t len; /* 0: never a lead byte */
    uint8_t low;
    uint8_t high;
};

static struct lead lead_of(uint8_t c)
{
    if (c < 0x80)
        return (struct lead){1, 0, 0};
    if (c < 0xc2)
        return (struct lead){0, 0, 0};
    if (c < 0xe0)
        return (struct lead){2, 0x80, 0xbf};
    if (c < 0xf0)
        return (struct lead){3, c == 0xe0 ? 0xa0 : 0x80,
                             c == 0xed ? 0x9f : 0xbf};
    if (c < 0xf5)
        return (struct lead){4, c == 0xf0 ? 0x90 : 0x80,
                             c == 0xf4 ? 0x8f : 0xbf};
    return (struct lead){0, 0, 0};
}

/* How many of the first bytes of <p> can begin one code point, and in
 * <len_out> how many it needs; 0 when the first one cannot. */
static size_t match(const uint8_t *p, size_t len, size_t *len_out)
{
    struct lead l = lead_of(p[0]);
    size_t n = 1;

    *len_out = l.len;
    if (l.len == 0)
        return 0;
    while (n < l.len && n < len) {
        if (n == 1 ? p[1] < l.low || p[1] > l.high : (p[n] & 0xc0) != 0x80)
            return 0;
        n++;
    }
    return n;
}

static size_t ascii_len(const uint8_t *p, size_t len)
{
    size_t i = 0;
    uint64_t w;

    for (; i + 8 <= len; i += 8) {
        memcpy(&w, p + i, 8);
        if (w & UINT64_C(0x8080808080808080))
            break;
    }
    while (i < len && p[i] < 0x80)
        i++;
    return i;
}

size_t utf8_valid_len(struct str s)
{
    const uint8_t *p = (const uint8_t *)s.p;
    size_t i = 0, need;

    while (i < s.len) {
        if (p[i] < 0x80) {
            i += ascii_len(p + i, s.len - i);
            continue;
        }
        if (match(p + i, s.len - i, &need) != need || need == 0)
            return i;
        i += need;
    }
    return i;
}

bool utf8_is_valid(struct str s)
{
    return utf8_valid_len(s) == s.len;
}

size_t utf8_whole_len(struct str s)
{
    const uint8_t *p = (const uint8_t *)s.p;
    size_t need, got;

    for (size_t back = 1; back <= 3 && back <= s.len; back++) {
        const uint8_t *at = p + s.len - back;

        if ((*at & 0xc0) == 0x80)
            continue;
        got = match(at, back, &need);
        return got == back && need > back ? s.len - back : s.len;
    }
    return s.len;
}

size_t utf8_next(struct str s, uint32_t *cp_out)
{
    static const uint8_t mask[5] = {0, 0x7f, 0x1f, 0x0f, 0x07};
    const uint8_t *p = (const uint8_t *)s.p;
    size_t need;
    uint32_t cp;

    if (s.len == 0 || match(p, s.len, &need) != need || need == 0)
        return 0;
    cp = p[0] & mask[need];
    for (size_t i = 1; i < need; i++)
        cp = cp << 6 | (p[i] & 0x3f);
    *cp_out = cp;
    return need;
}

size_t utf8_put(uint32_t cp, char out[4])
{
    if (cp < 0x80) {
        out[0] = (char)cp;
        return 1;
    }
    if (cp < 0x800) {
        out[0] = (char)(0xc0 | cp >> 6);
        out[1] = (char)(0x80 | (cp & 0x3f));
        return 2;
    }
    if ((cp >= 0xd800 && cp < 0xe000) || cp > 0x10ffff)
        return 0;
    if (cp < 0x10000) {
        out[0] = (char)(0xe0 | cp >> 12);
        out[1] = (char)(0x80 | (cp >> 6 & 0x3f));
        out[2] = (char)(0x80 | (cp & 0x3f));
        return 3;
    }
    out[0] = (char)(0xf0 | cp >> 18);
    out[1] = (char)(0x80 | (cp >> 12 & 0x3f));
    out[2] = (char)(0x80 | (cp >> 6 & 0x3f));
    out[3] = (char)(0x80 | (cp & 0x3f));
    return 4;
}
