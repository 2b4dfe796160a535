/* model_vocab.c - The vocabulary that a GGUF file's metadata describes, as the
 * tokenizer wants it: arrays are copied for the call alone. */
#include <stdlib.h>

#include "engine/gguf.h"
#include "engine/model_fault.h"
#include "engine/model_priv.h"
#include "token/vocab.h"

/* Most tokens and merges of a vocabulary. */
#define TOKENS_MAX (1u << 22)
#define MERGES_MAX (1u << 22)

/* What a spec points to. */
struct room {
    struct str *text, *merges; /* owned */
    float *scores;             /* owned */
    int32_t *types;            /* owned */
};

static enum err read_kind(const struct gguf *g, struct vocab_spec *s,
                          struct model_fault *why)
{
    const struct gguf_value *v = gguf_find(g, STR("tokenizer.ggml.model"));
    const struct gguf_value *pre = gguf_find(g, STR("tokenizer.ggml.pre"));
    struct str name;

    if (!v || !gguf_as_str(v, &name))
        return model_fail(why, ERR_SYNTAX,
                          "metadata 'tokenizer.ggml.model' is missing");
    if (str_eq(name, STR("llama")))
        s->kind = VOCAB_SPM;
    else if (str_eq(name, STR("gpt2")))
        s->kind = VOCAB_BPE;
    else
        return model_fail(why, ERR_REFUSED,
                          "tokenizer '%s' is not supported; supported: llama, "
                          "gpt2",
                          model_show(name).text);
    if (pre && !gguf_as_str(pre, &s->pre))
        return model_fail(why, ERR_SYNTAX,
                          "metadata 'tokenizer.ggml.pre' is no string");
    return ERR_OK;
}

/* The array <key>, <n> long unless that is 0; NULL when there is none. */
static enum err find_array(const struct gguf *g, const char *key, size_t n,
                           struct model_fault *why,
                           const struct gguf_value **out)
{
    const struct gguf_value *v = gguf_find(g, str_from(key));

    *out = v;
    if (!v)
        return ERR_OK;
    if (v->type != GGUF_ARRAY || (n && v->n != n))
        return model_fail(why, ERR_SYNTAX,
                          "metadata '%s' is no array of the right length", key);
    return ERR_OK;
}

static enum err read_strings(const struct gguf *g, const char *key, size_t max,
                             struct model_fault *why, size_t *n_out,
                             struct str **out)
{
    const struct gguf_value *v;
    enum err e = find_array(g, key, 0, why, &v);

    if (e != ERR_OK || !v || v->n == 0)
        return e;
    if (v->n > max)
        return model_fail(why, ERR_SYNTAX, "metadata '%s' has %zu strings", key,
                          v->n);
    *out = calloc(v->n, sizeof(**out));
    if (!*out)
        return model_fail(why, ERR_NOMEM, "out of memory");
    if (!gguf_strings(v, *out))
        return model_fail(why, ERR_SYNTAX,
                          "metadata '%s' is no array of strings", key);
    *n_out = v->n;
    return ERR_OK;
}

static enum err read_scores(const struct gguf *g, size_t n,
                            struct model_fault *why, float **out)
{
    const struct gguf_value *v;
    enum err e = find_array(g, "tokenizer.ggml.scores", n, why, &v);
    struct gguf_value item;
    double d;

    if (e != ERR_OK || !v)
        return e;
    *out = calloc(n, sizeof(**out));
    if (!*out)
        return model_fail(why, ERR_NOMEM, "out of memory");
    for (size_t i = 0; i < n; i++) {
        item = gguf_item(v, i);
        if (v->item != GGUF_F32 || !gguf_as_f64(&item, &d))
            return model_fail(why, ERR_SYNTAX,
                              "metadata 'tokenizer.ggml.scores' is no array "
                              "of float32");
        (*out)[i] = (float)d;
    }
    return ERR_OK;
}

static enum err read_types(const struct gguf *g, size_t n,
                           struct model_fault *why, int32_t **out)
{
    const struct gguf_value *v;
    enum err e = find_array(g, "tokenizer.ggml.token_type", n, why, &v);
    struct gguf_value item;
    uint64_t u;

    if (e != ERR_OK || !v)
        return e;
    *out = calloc(n, sizeof(**out));
    if (!*out)
        return model_fail(why, ERR_NOMEM, "out of memory");
    for (size_t i = 0; i < n; i++) {
        item = gguf_item(v, i);
        if (v->item == GGUF_STRING || v->item == GGUF_ARRAY ||
            !gguf_as_u64(&item, &u) || u > VOCAB_BYTE)
            return model_fail(why, ERR_SYNTAX,
                              "metadata 'tokenizer.ggml.token_type' holds "
                              "something that is no type");
        (*out)[i] = u == 0 ? VOCAB_NORMAL : (int32_t)u;
    }
    return ERR_OK;
}

/* The id under <key>; <absent> when there is none. Ids beyond the vocabulary
 * stand in real files where none is meant. */
static int32_t read_id(const struct gguf *g, const char *key, size_t n,
                       int32_t absent)
{
    const struct gguf_value *v = gguf_find(g, str_from(key));
    uint64_t id;

    if (!v)
        return absent >= 0 && (size_t)absent < n ? absent : -1;
    return gguf_as_u64(v, &id) && id < n ? (int32_t)id : -1;
}

static enum vocab_said read_flag(const struct gguf *g, const char *key)
{
    const struct gguf_value *v = gguf_find(g, str_from(key));
    bool yes;

    if (!v || !gguf_as_bool(v, &yes))
        return VOCAB_UNSAID;
    return yes ? VOCAB_YES : VOCAB_NO;
}

static void read_ids(const struct gguf *g, struct vocab_spec *s)
{
    bool spm = s->kind == VOCAB_SPM;

    s->bos = read_id(g, "tokenizer.ggml.bos_token_id", s->n, spm ? 1 : -1);
    s->eos = read_id(g, "tokenizer.ggml.eos_token_id", s->n, spm ? 2 : -1);
    s->unk = read_id(g, "tokenizer.ggml.unknown_token_id", s->n, spm ? 0 : -1);
    s->eot = read_id(g, "tokenizer.ggml.eot_token_id", s->n, -1);
    s->eom = read_id(g, "tokenizer.ggml.eom_token_id", s->n, -1);
    s->pad = read_id(g, "tokenizer.ggml.padding_token_id", s->n, -1);
    s->add_bos = read_flag(g, "tokenizer.ggml.add_bos_token");
    s->add_eos = read_flag(g, "tokenizer.ggml.add_eos_token");
    s->add_space_prefix = read_flag(g, "tokenizer.ggml.add_space_prefix");
}

static enum err fill_spec(const struct gguf *g, struct room *r,
                          struct vocab_spec *s, struct model_fault *why)
{
    enum err e = read_kind(g, s, why);

    if (e == ERR_OK)
        e = read_strings(g, "tokenizer.ggml.tokens", TOKENS_MAX, why, &s->n,
                         &r->text);
    if (e == ERR_OK && s->n == 0)
        e = model_fail(why, ERR_SYNTAX,
                       "metadata 'tokenizer.ggml.tokens' is missing");
    if (e == ERR_OK)
        e = read_scores(g, s->n, why, &r->scores);
    if (e == ERR_OK)
        e = read_types(g, s->n, why, &r->types);
    if (e == ERR_OK && s->kind == VOCAB_BPE)
        e = read_strings(g, "tokenizer.ggml.merges", MERGES_MAX, why,
                         &s->n_merges, &r->merges);
    if (e != ERR_OK)
        return e;
    s->text = r->text;
    s->scores = r->scores;
    s->types = r->types;
    s->merges = r->merges;
    read_ids(g, s);
    return ERR_OK;
}

enum err model_vocab_from_gguf(const struct gguf *g, struct model_fault *why,
                               struct vocab **out)
{
    struct vocab_fault fault = {""};
    struct vocab_spec spec = {0};
    struct room room = {0};
    enum err e = fill_spec(g, &room, &spec, why);

    if (e == ERR_OK) {
        e = vocab_new(&spec, &fault, out);
        if (e != ERR_OK)
            (void)model_fail(why, e, "vocabulary: %s", fault.text);
    }
    free(room.text);
    free(room.merges);
    free(room.scores);
    free(room.types);
    return e;
}

enum err model_vocab_from_hf(struct str tokenizer, struct str config,
                             struct model_fault *why, struct vocab **out)
{
    struct vocab_fault fault = {""};
    enum err e = vocab_from_hf(tokenizer, config, &fault, out);

    return e == ERR_OK ? e : model_fail(why, e, "%s", fault.text);
}
