/* pretok.c - Code points and their classes, and one pass after another. */
#include "token/pretok.h"

#include <stdlib.h>
#include <string.h>

#include <utf8proc.h>

#include "base/utf8.h"

/* White space as Unicode has it. */
static bool is_space(uint32_t cp)
{
    return (cp >= 0x09 && cp <= 0x0d) || cp == 0x20 || cp == 0x85 ||
           cp == 0xa0 || cp == 0x1680 || (cp >= 0x2000 && cp <= 0x200a) ||
           cp == 0x2028 || cp == 0x2029 || cp == 0x202f || cp == 0x205f ||
           cp == 0x3000;
}

/* What Unicode 15.1 added, which libutf8proc may not know. */
static uint8_t class_of_new(uint32_t cp)
{
    if (cp >= 0x2ebf0 && cp <= 0x2ee5d)
        return PRETOK_L;
    if ((cp >= 0x2ffc && cp <= 0x2fff) || cp == 0x31ef)
        return PRETOK_S;
    return 0;
}

uint8_t pretok_class_of(uint32_t cp)
{
    if (is_space(cp))
        return PRETOK_Z;
    if (cp > 0x10ffff)
        return 0;
    switch (utf8proc_category((utf8proc_int32_t)cp)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LT:
        return PRETOK_L | PRETOK_UPPER;
    case UTF8PROC_CATEGORY_LL:
        return PRETOK_L | PRETOK_LOWER;
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
        return PRETOK_L;
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
        return PRETOK_M;
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_NO:
        return PRETOK_N;
    case UTF8PROC_CATEGORY_PC:
    case UTF8PROC_CATEGORY_PD:
    case UTF8PROC_CATEGORY_PS:
    case UTF8PROC_CATEGORY_PE:
    case UTF8PROC_CATEGORY_PI:
    case UTF8PROC_CATEGORY_PF:
    case UTF8PROC_CATEGORY_PO:
        return PRETOK_P;
    case UTF8PROC_CATEGORY_SM:
    case UTF8PROC_CATEGORY_SC:
    case UTF8PROC_CATEGORY_SK:
    case UTF8PROC_CATEGORY_SO:
        return PRETOK_S;
    case UTF8PROC_CATEGORY_CN:
        return class_of_new(cp);
    default:
        return 0;
    }
}

static enum err reserve(struct pretok_room *r, size_t n)
{
    if (n <= r->cap)
        return ERR_OK;
    pretok_room_fini(r);
    r->cp = malloc(n * sizeof(*r->cp));
    r->cls = malloc(n);
    r->width = malloc(n);
    r->cut = malloc(n);
    if (!r->cp || !r->cls || !r->width || !r->cut) {
        pretok_room_fini(r);
        return ERR_NOMEM;
    }
    r->cap = n;
    return ERR_OK;
}

void pretok_room_fini(struct pretok_room *r)
{
    free(r->cp);
    free(r->cls);
    free(r->width);
    free(r->cut);
    *r = (struct pretok_room){0};
}

/* Take <text> apart into code points. */
static void read_text(struct pretok_room *r, bool published, struct str text)
{
    size_t at = 0;

    r->n = 0;
    while (at < text.len) {
        unsigned char first = (unsigned char)text.p[at];
        uint32_t cp = first;
        size_t width = 1;

        if (first >= 0x80) {
            width = utf8_next(str_skip(text, at), &cp);
            if (width == 0) {
                width = 1;
                cp = 0xfffd;
            }
        }
        r->cls[r->n] = pretok_class_of(cp);
        if (!published && cp >= 0x80 && (r->cls[r->n] & PRETOK_Z))
            cp = '\v';
        r->cp[r->n] = cp;
        r->width[r->n] = (uint8_t)width;
        r->n++;
        at += width;
    }
}

/* Cut the piece from <at> to <end> where <pass> matches. */
static void cut_piece(struct pretok_room *r, enum pretok_pass pass, size_t at,
                      size_t end)
{
    struct pretok_text t = {r->cp, r->cls};

    while (at < end) {
        size_t to = end;
        bool match = pass < PRETOK_GPT2
                         ? pretok_scan_run(pass, &t, at, end, &to)
                         : pretok_scan_words(pass, &t, at, end, &to);

        if (match) {
            r->cut[at] = 1;
            if (to < r->n)
                r->cut[to] = 1;
        }
        at = to;
    }
}

/* Cut all pieces where <pass> matches. */
static void run_pass(struct pretok_room *r, enum pretok_pass pass)
{
    size_t at = 0;

    while (at < r->n) {
        const uint8_t *next = memchr(r->cut + at + 1, 1, r->n - at - 1);
        size_t end = next ? (size_t)(next - r->cut) : r->n;

        cut_piece(r, pass, at, end);
        at = end;
    }
}

enum err pretok_split(struct pretok_room *r, const struct pretok *rule,
                      struct str text)
{
    enum err e = reserve(r, text.len ? text.len : 1);

    if (e)
        return e;
    read_text(r, rule->published, text);
    memset(r->cut, 0, r->n);
    r->cut[0] = 1;
    for (size_t i = 0; i < PRETOK_PASSES && rule->passes[i]; i++)
        run_pass(r, rule->passes[i]);
    return ERR_OK;
}
