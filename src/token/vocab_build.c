/* vocab_build.c - The tables of a vocabulary. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "token/vocab_impl.h"

/* Most tokens, and most bytes of all texts together: numbers fit 32 bits. */
#define MOST_TOKENS ((size_t)1 << 26)
#define MOST_BYTES  ((size_t)1 << 30)

/* Check the counts, and find how much text there is; merges may name pieces
 * that are no tokens, each twice its bytes at most. */
static enum err measure(const struct vocab_plan *plan, struct vocab_fault *why,
                        size_t *bytes_out)
{
    const struct vocab_spec *s = plan->spec;
    size_t bytes = 1;

    if (s->n == 0 || s->n > MOST_TOKENS || s->n_merges > MOST_TOKENS) {
        vocab_fault_set(why, "the vocabulary has %zu tokens, %zu merges", s->n,
                        s->n_merges);
        return ERR_SYNTAX;
    }
    for (size_t i = 0; i < s->n && bytes < MOST_BYTES; i++)
        bytes += s->text[i].len;
    for (size_t i = 0; i < s->n_merges && bytes < MOST_BYTES; i++)
        bytes += 2 * (plan->merges[i].left.len + plan->merges[i].right.len);
    if (bytes >= MOST_BYTES) {
        vocab_fault_set(why, "the vocabulary's texts are too long");
        return ERR_SYNTAX;
    }
    *bytes_out = bytes;
    return ERR_OK;
}

static enum err check_id(const struct vocab_plan *plan, const char *name,
                         int32_t id, struct vocab_fault *why)
{
    if (id >= -1 && (id < 0 || (size_t)id < plan->spec->n))
        return ERR_OK;
    vocab_fault_set(why, "the %s token is %d, of %zu tokens", name, (int)id,
                    plan->spec->n);
    return ERR_SYNTAX;
}

static enum err check_ids(const struct vocab_plan *plan,
                          struct vocab_fault *why)
{
    const struct vocab_spec *s = plan->spec;
    enum err e = check_id(plan, "bos", s->bos, why);

    e = e ? e : check_id(plan, "eos", s->eos, why);
    e = e ? e : check_id(plan, "eot", s->eot, why);
    e = e ? e : check_id(plan, "eom", s->eom, why);
    return e ? e : check_id(plan, "unknown", s->unk, why);
}

/* Copy the tokens' texts and types. Of equal texts the first is found. */
static enum err copy_tokens(struct vocab *v, const struct vocab_plan *plan,
                            size_t bytes)
{
    const struct vocab_spec *s = plan->spec;
    char *at;

    v->text = malloc(bytes);
    v->stored = malloc((s->n + 3 * s->n_merges + 256) * sizeof(*v->stored));
    v->type = malloc(s->n);
    v->flags = malloc(s->n);
    if (!v->text || !v->stored || !v->type || !v->flags ||
        strmap_init(&v->ids, s->n))
        return ERR_NOMEM;
    at = v->text;
    for (size_t i = 0; i < s->n; i++) {
        int32_t type = s->types ? s->types[i] : VOCAB_NORMAL;

        if (s->text[i].len > 0)
            memcpy(at, s->text[i].p, s->text[i].len);
        v->stored[i] = str_of(at, s->text[i].len);
        at += s->text[i].len;
        v->type[i] = type >= VOCAB_NORMAL && type <= VOCAB_BYTE ? (uint8_t)type
                                                                : VOCAB_NORMAL;
        v->flags[i] = plan->strip ? plan->strip[i] : 0;
        if (s->text[i].len > v->longest)
            v->longest = s->text[i].len;
        if (s->text[i].len > 0)
            strmap_put(&v->ids, v->stored, (uint32_t)i);
    }
    v->n = v->n_pieces = s->n;
    return ERR_OK;
}

struct scored {
    float score;
    uint32_t id;
};

static int by_score(const void *a, const void *b)
{
    const struct scored *x = a, *y = b;

    if (x->score != y->score)
        return x->score > y->score ? -1 : 1;
    return (x->id > y->id) - (x->id < y->id);
}

/* Number the tokens by falling score; equal scores have equal numbers. */
static enum err make_order(struct vocab *v, const struct vocab_spec *s,
                           struct vocab_fault *why)
{
    struct scored *all = malloc(v->n * sizeof(*all));
    uint32_t order = 0;

    v->order = malloc(v->n * sizeof(*v->order));
    if (!all || !v->order) {
        free(all);
        return ERR_NOMEM;
    }
    for (size_t i = 0; i < v->n; i++) {
        all[i] = (struct scored){s->scores ? s->scores[i] : 0, (uint32_t)i};
        if (isnan(all[i].score)) {
            free(all);
            vocab_fault_set(why, "the score of token %zu is not a number", i);
            return ERR_SYNTAX;
        }
    }
    qsort(all, v->n, sizeof(*all), by_score);
    for (size_t i = 0; i < v->n; i++) {
        if (i > 0 && all[i].score != all[i - 1].score)
            order++;
        v->order[all[i].id] = order;
    }
    free(all);
    return ERR_OK;
}

/* The piece of text <s>, which lies in v->text, or VOCAB_NONE. */
static uint32_t piece_of(const struct vocab *v, struct str s)
{
    uint32_t id = vocab_plain(v, s);

    return id != VOCAB_NONE ? id : strmap_get(&v->extra, v->stored, s);
}

/* The same; made of <a> and <b>, written at <at>, where there is none yet. */
static uint32_t make_piece(struct vocab *v, char **at, struct str a,
                           struct str b)
{
    struct str s = {*at, a.len + b.len};
    uint32_t piece;

    if (a.len > 0)
        memcpy(*at, a.p, a.len);
    if (b.len > 0)
        memcpy(*at + a.len, b.p, b.len);
    piece = piece_of(v, s);
    if (piece != VOCAB_NONE)
        return piece;
    v->stored[v->n_pieces] = s;
    strmap_put(&v->extra, v->stored, (uint32_t)v->n_pieces);
    *at += s.len;
    return (uint32_t)v->n_pieces++;
}

/* A merge whose result would be a control token is none: text must not become
 * one. */
static enum err make_merges(struct vocab *v, const struct vocab_plan *plan)
{
    const struct vocab_spec *s = plan->spec;
    char *at = v->text;

    for (size_t i = 0; i < v->n; i++)
        at += v->stored[i].len;
    if (strmap_init(&v->extra, 3 * s->n_merges) ||
        merges_init(&v->merges, s->n_merges))
        return ERR_NOMEM;
    for (size_t i = 0; i < s->n_merges; i++) {
        struct vocab_merge m = plan->merges[i];
        struct merge_slot slot = {.rank = (uint32_t)i};
        uint32_t id;

        if (m.left.len == 0 || m.right.len == 0)
            continue;
        slot.joined = make_piece(v, &at, m.left, m.right);
        id = strmap_get(&v->ids, v->stored, v->stored[slot.joined]);
        if (id != VOCAB_NONE && id != slot.joined)
            continue;
        slot.left = make_piece(v, &at, m.left, STR(""));
        slot.right = make_piece(v, &at, m.right, STR(""));
        merges_put(&v->merges, &slot);
    }
    return ERR_OK;
}

/* A single byte's text, and the piece that has it. */
static uint32_t byte_piece(const struct vocab *v, unsigned char byte)
{
    static const char hex[] = "0123456789ABCDEF";
    char text[6] = {'<', '0', 'x', hex[byte >> 4], hex[byte & 15], '>'};
    uint32_t id;

    if (v->kind == VOCAB_BPE && !v->raw) {
        size_t n = vocab_gpt2_put(byte, text);

        return piece_of(v, str_of(text, n));
    }
    id = strmap_get(&v->ids, v->stored, str_of(text, sizeof(text)));
    if (id == VOCAB_NONE && v->kind == VOCAB_SPM)
        id = vocab_plain(v, str_of(&byte, 1));
    return id;
}

void vocab_make_bytes(struct vocab *v)
{
    for (unsigned b = 0; b < 256; b++)
        v->byte_piece[b] = byte_piece(v, (unsigned char)b);
}

static enum err make_specials(struct vocab *v)
{
    struct special *all = malloc(v->n * sizeof(*all));
    size_t n = 0;
    enum err e;

    if (!all)
        return ERR_NOMEM;
    for (size_t i = 0; i < v->n; i++) {
        bool guarded =
            v->type[i] == VOCAB_CONTROL || v->type[i] == VOCAB_UNKNOWN;

        if (v->stored[i].len == 0 || (!guarded && v->type[i] != VOCAB_USER))
            continue;
        all[n++] = (struct special){.text = v->stored[i],
                                    .id = (int32_t)i,
                                    .guarded = guarded,
                                    .lstrip = v->flags[i] & VOCAB_LSTRIP,
                                    .rstrip = v->flags[i] & VOCAB_RSTRIP};
    }
    e = specials_new(all, n, &v->specials);
    free(all);
    return e;
}

static void copy_rules(struct vocab *v, const struct vocab_plan *plan)
{
    const struct vocab_spec *s = plan->spec;

    v->kind = s->kind;
    v->n_merges = s->n_merges;
    v->raw = plan->raw;
    v->one_word = !plan->pre;
    if (plan->pre)
        v->pre = *plan->pre;
    v->prefix = plan->prefix;
    v->ignore_merges = plan->ignore_merges;
    v->nfc = plan->nfc;
    v->byte_fallback = plan->byte_fallback;
    v->fuse_unk = plan->fuse_unk;
    v->unk_missing = plan->unk_missing;
    v->adds_bos = plan->adds_bos;
    v->adds_eos = plan->adds_eos;
    v->bos = s->bos;
    v->eos = s->eos;
    v->eot = s->eot;
    v->eom = s->eom;
    v->unk = s->unk;
}

enum err vocab_build(const struct vocab_plan *plan, struct vocab_fault *why,
                     struct vocab **out)
{
    struct vocab *v = calloc(1, sizeof(*v));
    size_t bytes = 0;
    enum err e;

    if (!v)
        return ERR_NOMEM;
    copy_rules(v, plan);
    e = measure(plan, why, &bytes);
    e = e ? e : check_ids(plan, why);
    e = e ? e : copy_tokens(v, plan, bytes);
    if (!e)
        vocab_mark_names(v);
    if (v->kind == VOCAB_SPM)
        e = e ? e : make_order(v, plan->spec, why);
    else
        e = e ? e : make_merges(v, plan);
    if (!e)
        vocab_make_bytes(v);
    e = e ? e : vocab_make_shown(v);
    e = e ? e : make_specials(v);
    if (e) {
        vocab_free(v);
        return e;
    }
    *out = v;
    return ERR_OK;
}
