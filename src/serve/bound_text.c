/* bound_text.c - How much longer text may get before it is cut into tokens.
 * Some models bring text into a normal form first, where a few characters
 * become several: all that Unicode excludes from composition, and for models
 * that fold what looks alike, ligatures and signs that stand for words. */
#include "serve/bound_priv.h"

/* Characters <from> to <to> become <more> bytes, or tokens, longer. */
struct growth {
    uint32_t from, to;
    unsigned char more;
};

/* In canonical form (NFC), in UTF-8; wider than need be where what lies between
 * is rare. Ascending. */
static const struct growth canonical[] = {
    {0x0344, 0x0344, 2},   {0x0958, 0x095F, 3},   {0x09DC, 0x09DF, 3},
    {0x0A33, 0x0A36, 3},   {0x0A59, 0x0A5E, 3},   {0x0B5C, 0x0B5D, 3},
    {0x0F43, 0x0FB9, 6},   {0x2ADC, 0x2ADC, 2},   {0xFA6C, 0xFAD9, 1},
    {0xFB1D, 0xFB4E, 3},   {0x1D15E, 0x1D164, 8}, {0x1D1BB, 0x1D1C0, 8},
    {0x2F800, 0x2FA1D, 1},
};

/* In compatible form (NFKC), by characters, each of which may be a token. */
static const struct growth compatible[] = {
    {0x00BC, 0x00BE, 1}, {0x0385, 0x0385, 1},  {0x2057, 0x2057, 1},
    {0x2100, 0x218F, 2}, {0x2474, 0x24B5, 2},  {0x2A0C, 0x2A0C, 1},
    {0x3200, 0x33FF, 5}, {0xFDF0, 0xFDFF, 15}, {0x1F100, 0x1F2FF, 1},
};

static unsigned grow(const struct growth *rows, size_t n, uint32_t c)
{
    for (size_t i = 0; i < n && rows[i].from <= c; i++)
        if (c <= rows[i].to)
            return rows[i].more;
    return 0;
}

#define GROW(rows, c) grow(rows, sizeof(rows) / sizeof((rows)[0]), c)

/* Take the character at the start of <s>, which is not ASCII but valid. */
static uint32_t take_char(struct str *s)
{
    unsigned char lead = (unsigned char)s->p[0];
    size_t len = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
    uint32_t c = lead & (0xFFU >> (len + 1));

    for (size_t i = 1; i < len && i < s->len; i++)
        c = c << 6 | ((unsigned char)s->p[i] & 0x3FU);
    *s = str_skip(*s, len);
    return c;
}

/* <s> from its first byte that is not ASCII. */
static struct str skip_ascii(struct str s)
{
    for (; s.len >= 8; s = str_skip(s, 8)) {
        uint64_t word;

        memcpy(&word, s.p, sizeof(word));
        if ((word & UINT64_C(0x8080808080808080)) != 0)
            break;
    }
    while (s.len > 0 && (unsigned char)s.p[0] < 0x80)
        s = str_skip(s, 1);
    return s;
}

/* Escapes of the one block whose characters are longer than their escapes. */
static uint64_t count_long_escapes(struct str s)
{
    uint64_t n = 0;

    for (;;) {
        s = str_skip(s, str_find(s, STR("\\u")));
        if (s.len < 6)
            return n;
        n += str_ieq(str_of(s.p + 2, 3), STR("fdf"));
        s = str_skip(s, 2);
    }
}

uint64_t bound_growth(struct str text, bool folds)
{
    uint64_t more = 0;

    for (struct str s = skip_ascii(text); s.len > 0; s = skip_ascii(s)) {
        uint32_t c = take_char(&s);

        /* nearly all text: Latin; Chinese, Japanese and Korean */
        if ((c < 0x344 && !folds) || (c > 0x33FF && c < 0xFA6C))
            continue;
        more += GROW(canonical, c);
        if (folds)
            more += GROW(compatible, c);
    }
    return folds ? more + count_long_escapes(text) * 12 : more;
}
