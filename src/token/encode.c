/* encode.c - Text to ids: special tokens first, then what lies between. */
#include <stdlib.h>

#include "token/nfc.h"
#include "token/vocab_impl.h"

/* Offsets are 32 bits wide, bars three bytes. */
#define MOST_BYTES ((size_t)1 << 29)

/* Whether a run of plain text gets a space before it. */
static bool wants_prefix(const struct vocab *v, struct str s, bool first)
{
    switch (v->prefix) {
    case VOCAB_PREFIX_ALWAYS:
        return true;
    case VOCAB_PREFIX_UNLESS:
        return s.p[0] != ' ' && !str_starts(s, STR(VOCAB_BAR));
    case VOCAB_PREFIX_FIRST:
        return first && s.p[0] != ' ' && !str_starts(s, STR(VOCAB_BAR));
    default:
        return false;
    }
}

/* Put <s> into r->text as the merges want it. */
static enum err prepare(struct vocab_room *r, struct str s, bool first)
{
    bool bars = r->v->kind == VOCAB_SPM || r->v->raw;
    struct str space = bars ? STR(VOCAB_BAR) : STR(" ");
    enum err e = ERR_OK;

    buf_clear(&r->text);
    if (wants_prefix(r->v, s, first))
        e = buf_put_str(&r->text, space);
    while (s.len > 0 && !e) {
        size_t n = bars ? str_find_char(s, ' ') : s.len;

        e = buf_put(&r->text, s.p, n);
        if (!e && n < s.len)
            e = buf_put_str(&r->text, space);
        s = str_skip(s, n + 1);
    }
    return e;
}

/* Append the ids of plain text. */
static enum err put_plain(struct vocab_room *r, struct str s, bool first)
{
    struct buf nfc;
    enum err e = ERR_OK;

    if (s.len == 0)
        return ERR_OK;
    buf_init(&nfc, 4 * MOST_BYTES);
    if (r->v->nfc) {
        e = nfc_put(s, &nfc);
        s = buf_str(&nfc);
    }
    e = e ? e : prepare(r, s, first);
    buf_fini(&nfc);
    if (e)
        return e;
    return r->v->kind == VOCAB_SPM ? spm_encode(r, buf_str(&r->text))
                                   : bpe_encode(r, buf_str(&r->text));
}

enum err vocab_encode(const struct vocab *v, struct str text,
                      const struct vocab_span *spans, size_t n_spans,
                      size_t max, struct vocab_ids *out)
{
    struct vocab_room r = {.v = v, .max = max, .out = out};
    struct special_hit *hits = NULL;
    size_t n = 0, at = 0;
    enum err e;

    if (text.len > MOST_BYTES)
        return ERR_FULL;
    buf_init(&r.text, 4 * MOST_BYTES);
    e = specials_find(v->specials, text, spans, n_spans, &hits, &n);
    for (size_t i = 0; i < n && !e; i++) {
        e = put_plain(&r, str_of(text.p + at, hits[i].from - at), at == 0);
        e = e ? e : vocab_ids_add(out, max, hits[i].id);
        at = hits[i].to;
    }
    e = e ? e : put_plain(&r, str_skip(text, at), at == 0);
    free(hits);
    merge_room_fini(&r.merge);
    pretok_room_fini(&r.words);
    buf_fini(&r.text);
    return e;
}
