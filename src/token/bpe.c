/* bpe.c - Byte-pair encoding: a text is cut into words, the bytes of each are
 * joined by the list of merges. Raw BPE joins characters instead of bytes and
 * falls back to byte tokens. */
#include "base/utf8.h"
#include "token/vocab_impl.h"

static bool find(const void *ctx, const struct merge_sym *left,
                 const struct merge_sym *right, uint32_t *rank_out,
                 uint32_t *joined_out)
{
    const struct merges *merges = ctx;
    const struct merge_slot *m;

    if (left->piece == VOCAB_NONE || right->piece == VOCAB_NONE)
        return false;
    m = merges_get(merges, left->piece, right->piece);
    if (!m)
        return false;
    *rank_out = m->rank;
    *joined_out = m->joined;
    return true;
}

/* The token that a whole word is. */
static uint32_t whole(const struct vocab *v, struct str word)
{
    char text[512];
    size_t n = 0;

    if (v->raw)
        return vocab_plain(v, word);
    if (word.len > v->longest || word.len > sizeof(text) / 2)
        return VOCAB_NONE;
    for (size_t i = 0; i < word.len; i++)
        n += vocab_gpt2_put((unsigned char)word.p[i], text + n);
    return vocab_plain(v, str_of(text, n));
}

/* Say what no token is: nothing, or the unknown token, once a run where the
 * vocabulary has it so. */
static enum err put_unknown(struct vocab_room *r, bool again)
{
    const struct vocab *v = r->v;

    if (!v->unk_missing || v->unk < 0 || (again && v->fuse_unk))
        return ERR_OK;
    return vocab_ids_add(r->out, r->max, v->unk);
}

/* Say <bytes> byte by byte. */
static enum err put_bytes(struct vocab_room *r, struct str bytes)
{
    for (size_t i = 0; i < bytes.len; i++) {
        uint32_t piece = r->v->byte_piece[(unsigned char)bytes.p[i]];
        enum err e;

        if (piece < r->v->n)
            e = vocab_ids_add(r->out, r->max, (int32_t)piece);
        else
            e = put_unknown(r, false);
        if (e)
            return e;
    }
    return ERR_OK;
}

/* Append the symbols of <word>: its bytes. */
static enum err add_bytes(struct vocab_room *r, struct str word)
{
    for (size_t i = 0; i < word.len; i++) {
        uint32_t piece = r->v->byte_piece[(unsigned char)word.p[i]];
        enum err e = merge_add(&r->merge, piece, 1);

        if (e)
            return e;
    }
    return ERR_OK;
}

/* Whether every byte of <s> has a byte token. */
static bool has_bytes(const struct vocab *v, struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        if (v->byte_piece[(unsigned char)s.p[i]] == VOCAB_NONE)
            return false;
    }
    return true;
}

/* Append the symbols of <word>: its characters, or the bytes of those that are
 * no tokens. */
static enum err add_chars(struct vocab_room *r, struct str word)
{
    const struct vocab *v = r->v;

    for (size_t at = 0; at < word.len;) {
        uint32_t cp, piece;
        size_t width = utf8_next(str_skip(word, at), &cp);
        struct str c = {word.p + at, width ? width : 1};
        enum err e;

        piece = vocab_plain(v, c);
        if (piece == VOCAB_NONE)
            piece = strmap_get(&v->extra, v->stored, c);
        if (piece == VOCAB_NONE && v->byte_fallback && has_bytes(v, c))
            e = add_bytes(r, c);
        else
            e = merge_add(&r->merge, piece, (uint32_t)c.len);
        if (e)
            return e;
        at += c.len;
    }
    return ERR_OK;
}

/* Say the symbols that are left of <word>. */
static enum err put_symbols(struct vocab_room *r, struct str word)
{
    const struct merge_room *m = &r->merge;
    const struct vocab *v = r->v;
    bool unknown = false;
    enum err e = ERR_OK;

    for (uint32_t i = 0; m->n > 0 && i != UINT32_MAX && !e;
         i = m->syms[i].next) {
        const struct merge_sym *s = &m->syms[i];

        if (s->piece < v->n) {
            e = vocab_ids_add(r->out, r->max, (int32_t)s->piece);
            unknown = false;
        } else if (v->raw && s->piece == VOCAB_NONE) {
            e = put_unknown(r, unknown);
            unknown = true;
        } else {
            e = put_bytes(r, str_of(word.p + s->start, s->len));
            unknown = false;
        }
    }
    return e;
}

static enum err put_word(struct vocab_room *r, struct str word)
{
    const struct vocab *v = r->v;
    enum err e;

    if (v->ignore_merges) {
        uint32_t id = whole(v, word);

        if (id != VOCAB_NONE)
            return vocab_ids_add(r->out, r->max, (int32_t)id);
    }
    merge_clear(&r->merge);
    e = v->raw ? add_chars(r, word) : add_bytes(r, word);
    e = e ? e : merge_run(&r->merge, find, &v->merges, v->n_merges);
    return e ? e : put_symbols(r, word);
}

enum err bpe_encode(struct vocab_room *r, struct str text)
{
    struct pretok_room *w = &r->words;
    size_t from = 0, to = 0;
    enum err e;

    if (r->v->one_word)
        return text.len > 0 ? put_word(r, text) : ERR_OK;
    e = pretok_split(w, &r->v->pre, text);
    for (size_t i = 0; i < w->n && !e; i++) {
        to += w->width[i];
        if (i + 1 < w->n && !w->cut[i + 1])
            continue;
        e = put_word(r, str_of(text.p + from, to - from));
        from = to;
    }
    return e;
}
