/* spm.c - SentencePiece's way of BPE: neighbours whose joined text is a token
 * are joined, best score first; what is no token then goes as its bytes. */
#include "base/utf8.h"
#include "token/vocab_impl.h"

/* What joining is looked up in. */
struct spm_text {
    const struct vocab *v;
    const char *p;
};

static bool find(const void *ctx, const struct merge_sym *left,
                 const struct merge_sym *right, uint32_t *rank_out,
                 uint32_t *joined_out)
{
    const struct spm_text *t = ctx;
    struct str s = {t->p + left->start, (size_t)left->len + right->len};
    uint32_t id = vocab_plain(t->v, s);

    if (id == VOCAB_NONE)
        return false;
    *rank_out = t->v->order[id];
    *joined_out = id;
    return true;
}

/* Say the bytes of <s> one by one. */
static enum err put_bytes(struct vocab_room *r, struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        uint32_t id = r->v->byte_piece[(unsigned char)s.p[i]];
        enum err e = ERR_OK;

        if (id != VOCAB_NONE)
            e = vocab_ids_add(r->out, r->max, (int32_t)id);
        else if (r->v->unk >= 0)
            e = vocab_ids_add(r->out, r->max, r->v->unk);
        if (e)
            return e;
    }
    return ERR_OK;
}

enum err spm_encode(struct vocab_room *r, struct str text)
{
    struct spm_text t = {r->v, text.p};
    struct merge_room *m = &r->merge;
    enum err e = ERR_OK;

    merge_clear(m);
    for (size_t at = 0; at < text.len && !e;) {
        uint32_t cp;
        size_t width = utf8_next(str_skip(text, at), &cp);

        width = width ? width : 1;
        e = merge_add(m, vocab_plain(r->v, str_of(text.p + at, width)),
                      (uint32_t)width);
        at += width;
    }
    e = e ? e : merge_run(m, find, &t, r->v->n);
    for (uint32_t i = 0; m->n > 0 && i != UINT32_MAX && !e;
         i = m->syms[i].next) {
        const struct merge_sym *s = &m->syms[i];

        if (s->piece != VOCAB_NONE)
            e = vocab_ids_add(r->out, r->max, (int32_t)s->piece);
        else
            e = put_bytes(r, str_of(text.p + s->start, s->len));
    }
    return e;
}
