/* detok.c - Ids to text, one at a time: bytes wait until they are a character,
 * what can never be one becomes U+FFFD. */
#include <string.h>

#include "token/vocab_impl.h"

#define REPLACEMENT STR("\xef\xbf\xbd")

/* How far <s> goes on as one character of UTF-8. */
struct stretch {
    size_t n;    /* bytes that may stand together */
    size_t want; /* bytes of the whole character, 0: it begins none */
};

/* The bounds of the second byte are narrower after some first bytes. */
static struct stretch look(const unsigned char *p, size_t len)
{
    unsigned char low = 0x80, high = 0xbf;
    struct stretch s = {1, 0};

    if (p[0] < 0x80)
        s.want = 1;
    else if (p[0] >= 0xc2 && p[0] <= 0xdf)
        s.want = 2;
    else if (p[0] >= 0xe0 && p[0] <= 0xef)
        s.want = 3;
    else if (p[0] >= 0xf0 && p[0] <= 0xf4)
        s.want = 4;
    low = p[0] == 0xe0 ? 0xa0 : p[0] == 0xf0 ? 0x90 : low;
    high = p[0] == 0xed ? 0x9f : p[0] == 0xf4 ? 0x8f : high;
    while (s.n < s.want && s.n < len && p[s.n] >= low && p[s.n] <= high) {
        s.n++;
        low = 0x80;
        high = 0xbf;
    }
    return s;
}

/* Append the characters of <p>; the bytes at the end that may go on are kept
 * in <d>. */
static enum err put(struct detok *d, const unsigned char *p, size_t len,
                    struct buf *out)
{
    while (len > 0) {
        struct stretch s = look(p, len);
        enum err e;

        if (s.n < s.want && s.n == len) {
            memcpy(d->held, p, len);
            d->n_held = (unsigned)len;
            return ERR_OK;
        }
        e = s.n == s.want ? buf_put(out, p, s.n)
                          : buf_put_str(out, REPLACEMENT);
        if (e)
            return e;
        p += s.n;
        len -= s.n;
    }
    return ERR_OK;
}

/* Append the held bytes with the first of <s>, as far as they go together:
 * four bytes of <s> tell. <s> loses what was used. */
static enum err put_held(struct detok *d, struct str *s, struct buf *out)
{
    size_t n_held = d->n_held, take = s->len < 4 ? s->len : 4;
    unsigned char head[sizeof(d->held)];
    struct stretch c;

    memcpy(head, d->held, n_held);
    memcpy(head + n_held, s->p, take);
    c = look(head, n_held + take);
    *s = str_skip(*s, c.n - n_held);
    d->n_held = 0;
    if (c.n < c.want && c.n < n_held + take)
        return buf_put_str(out, REPLACEMENT);
    return put(d, head, c.n, out);
}

/* Whether the space that encoding may put before a text is taken away again:
 * the decoder of byte-level vocabularies leaves it. */
static bool drops_prefix(const struct vocab *v)
{
    return v->prefix != VOCAB_PREFIX_NONE && (v->kind == VOCAB_SPM || v->raw);
}

enum err detok_push(struct detok *d, const struct vocab *v, int32_t id,
                    bool special, struct buf *out)
{
    struct str s = vocab_bytes(v, id);
    bool silent = s.len > 0 && (v->type[id] == VOCAB_CONTROL ||
                                v->type[id] == VOCAB_UNKNOWN);
    struct detok was = *d;
    size_t before = out->len;
    enum err e = ERR_OK;

    if (s.len == 0 || (silent && !special))
        return ERR_OK;
    if (!d->begun && !silent && drops_prefix(v) && s.p[0] == ' ')
        s = str_skip(s, 1);
    d->begun = true;
    if (d->n_held > 0 && s.len > 0)
        e = put_held(d, &s, out);
    e = e ? e : put(d, (const unsigned char *)s.p, s.len, out);
    if (e) {
        out->len = before;
        *d = was;
    }
    return e;
}

enum err detok_finish(struct detok *d, struct buf *out)
{
    enum err e = ERR_OK;

    if (d->n_held > 0)
        e = buf_put_str(out, REPLACEMENT);
    if (!e)
        *d = (struct detok){0};
    return e;
}
