/* vocab_shown.c - What tokens stand for in running text. */
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "token/vocab_impl.h"

/* <0xNN> as a byte, or -1. */
static int hex_byte(struct str s)
{
    int byte = 0;

    if (s.len != 6 || memcmp(s.p, "<0x", 3) != 0 || s.p[5] != '>')
        return -1;
    for (size_t i = 3; i < 5; i++) {
        char c = s.p[i];

        if (c >= '0' && c <= '9')
            byte = byte * 16 + c - '0';
        else if (c >= 'A' && c <= 'F')
            byte = byte * 16 + c - 'A' + 10;
        else if (c >= 'a' && c <= 'f')
            byte = byte * 16 + c - 'a' + 10;
        else
            return -1;
    }
    return byte;
}

/* Write <s> with spaces for bars; the length written. */
static size_t put_unbarred(struct str s, char *out)
{
    size_t n = 0;

    for (size_t i = 0; i < s.len;) {
        if (str_starts(str_skip(s, i), STR(VOCAB_BAR))) {
            out[n++] = ' ';
            i += sizeof(VOCAB_BAR) - 1;
        } else {
            out[n++] = s.p[i++];
        }
    }
    return n;
}

/* Write the bytes that <s> spells in GPT-2's alphabet; what is not of it stays
 * as it is. */
static size_t put_gpt2(struct str s, const int16_t *bytes, char *out)
{
    size_t n = 0;

    for (size_t i = 0; i < s.len;) {
        uint32_t cp = 0;
        size_t width = utf8_next(str_skip(s, i), &cp);

        if (width > 0 && cp < 512 && bytes[cp] >= 0) {
            out[n++] = (char)bytes[cp];
            i += width;
            continue;
        }
        width = width ? width : 1;
        memcpy(out + n, s.p + i, width);
        n += width;
        i += width;
    }
    return n;
}

enum err vocab_make_shown(struct vocab *v)
{
    bool bars = v->kind == VOCAB_SPM || v->raw;
    size_t total = 1;
    int16_t bytes[512];
    char *at;

    for (uint32_t cp = 0; cp < 512; cp++)
        bytes[cp] = (int16_t)vocab_gpt2_byte(cp);
    for (size_t i = 0; i < v->n; i++)
        total += v->stored[i].len;
    at = v->plain = malloc(total);
    v->shown = malloc(v->n * sizeof(*v->shown));
    if (!v->plain || !v->shown)
        return ERR_NOMEM;
    for (size_t i = 0; i < v->n; i++) {
        struct str s = v->stored[i];
        int byte = v->type[i] == VOCAB_BYTE ? hex_byte(s) : -1;
        size_t n = 1;

        v->shown[i] = s;
        if (v->type[i] == VOCAB_CONTROL || v->type[i] == VOCAB_UNKNOWN ||
            v->type[i] == VOCAB_USER)
            continue;
        if (byte >= 0)
            *at = (char)byte;
        else
            n = bars ? put_unbarred(s, at) : put_gpt2(s, bytes, at);
        v->shown[i] = str_of(at, n);
        at += n;
    }
    return ERR_OK;
}
