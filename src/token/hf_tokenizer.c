/* hf_tokenizer.c - Hugging Face's tokenizer.json and tokenizer_config.json:
 * BPE over bytes, and BPE over characters with byte fallback, as which SPM
 * vocabularies are published there. */
#include <stdlib.h>

#include "token/hf_pretok.h"

/* What is gathered from the two files; texts are borrowed from the JSON. */
struct hf {
    const json_t *root, *model, *config;
    struct vocab_fault *why;
    struct hf_pretok pre;
    struct vocab_spec spec;
    struct vocab_plan plan;
    struct str *text;
    int32_t *types;
    uint8_t *strip;
    struct vocab_merge *merges;
};

static struct str string_of(const json_t *s)
{
    return json_is_string(s)
               ? str_of(json_string_value(s), json_string_length(s))
               : STR("");
}

static enum err broken(struct hf *h, const char *what)
{
    vocab_fault_set(h->why, "tokenizer.json: %s", what);
    return ERR_SYNTAX;
}

/* Refuse models other than BPE, and BPE's rarer ways. */
static enum err check_model(struct hf *h)
{
    struct str type = string_of(json_object_get(h->model, "type"));
    const char *const must_be_empty[] = {"continuing_subword_prefix",
                                         "end_of_word_suffix"};

    if (!json_is_object(json_object_get(h->model, "vocab")) &&
        !json_is_array(json_object_get(h->model, "vocab")))
        return broken(h, "no model.vocab");
    if (type.len > 0 && !str_eq(type, STR("BPE"))) {
        vocab_fault_set(h->why,
                        "tokenizer.json: model \"%.*s\" is not supported; "
                        "supported: BPE",
                        (int)(type.len < 60 ? type.len : 60), type.p);
        return ERR_REFUSED;
    }
    if (!json_is_object(json_object_get(h->model, "vocab")) ||
        !json_is_array(json_object_get(h->model, "merges")))
        return broken(h, "model.vocab or model.merges is not of BPE");
    for (size_t i = 0; i < 2; i++) {
        if (string_of(json_object_get(h->model, must_be_empty[i])).len > 0) {
            vocab_fault_set(h->why, "tokenizer.json: %s is not supported",
                            must_be_empty[i]);
            return ERR_REFUSED;
        }
    }
    return ERR_OK;
}

/* The largest id anywhere, which may leave gaps but not deserts. */
static enum err count_tokens(struct hf *h, size_t *n_out)
{
    const json_t *vocab = json_object_get(h->model, "vocab"), *id, *token;
    const json_t *added = json_object_get(h->root, "added_tokens");
    size_t count = json_object_size(vocab) + json_array_size(added), i;
    json_int_t most = (json_int_t)(4 * count + 4096), last = -1;
    const char *key;

    json_object_foreach((json_t *)(uintptr_t)vocab, key, id)
    {
        if (!json_is_integer(id) || json_integer_value(id) < 0 ||
            json_integer_value(id) > most)
            return broken(h, "an id of model.vocab is out of range");
        if (json_integer_value(id) > last)
            last = json_integer_value(id);
    }
    json_array_foreach(added, i, token)
    {
        id = json_object_get(token, "id");
        if (!json_is_integer(id) || json_integer_value(id) < 0 ||
            json_integer_value(id) > most ||
            !json_is_string(json_object_get(token, "content")))
            return broken(h, "an entry of added_tokens is not a token");
        if (json_integer_value(id) > last)
            last = json_integer_value(id);
    }
    *n_out = (size_t)(last + 1);
    return ERR_OK;
}

/* Tokens that files call ordinary, but whose look says what they are for: no
 * text of a user may become one. */
static bool looks_special(struct str s)
{
    return (str_starts(s, STR("<|")) && str_ends(s, STR("|>"))) ||
           (str_starts(s, STR("<\xef\xbd\x9c")) &&
            str_ends(s, STR("\xef\xbd\x9c>"))) ||
           (str_starts(s, STR("<unused")) && str_ends(s, STR(">"))) ||
           str_eq(s, STR("<pad>")) || str_eq(s, STR("<mask>"));
}

static enum err read_added(struct hf *h)
{
    const json_t *added = json_object_get(h->root, "added_tokens"), *token;
    size_t i;

    json_array_foreach(added, i, token)
    {
        size_t id = (size_t)json_integer_value(json_object_get(token, "id"));
        struct str s = string_of(json_object_get(token, "content"));
        bool special = json_is_true(json_object_get(token, "special"));

        if (json_is_true(json_object_get(token, "single_word"))) {
            vocab_fault_set(h->why,
                            "tokenizer.json: added token %zu is "
                            "single_word, which is not supported",
                            id);
            return ERR_REFUSED;
        }
        h->text[id] = s;
        h->types[id] = special || looks_special(s) ? VOCAB_CONTROL : VOCAB_USER;
        if (json_is_true(json_object_get(token, "lstrip")))
            h->strip[id] |= VOCAB_LSTRIP;
        if (json_is_true(json_object_get(token, "rstrip")))
            h->strip[id] |= VOCAB_RSTRIP;
    }
    return ERR_OK;
}

/* Whether <s> is <0xNN>. */
static bool is_byte(struct str s)
{
    return s.len == 6 && str_starts(s, STR("<0x")) && s.p[5] == '>';
}

static enum err read_tokens(struct hf *h)
{
    json_t *vocab = json_object_get(h->model, "vocab"), *id;
    enum err e = count_tokens(h, &h->spec.n);
    const char *key;
    size_t len;

    if (e)
        return e;
    h->text = calloc(h->spec.n + 1, sizeof(*h->text));
    h->types = calloc(h->spec.n + 1, sizeof(*h->types));
    h->strip = calloc(h->spec.n + 1, 1);
    if (!h->text || !h->types || !h->strip)
        return ERR_NOMEM;
    for (size_t i = 0; i < h->spec.n; i++)
        h->types[i] = VOCAB_UNUSED;
    json_object_keylen_foreach(vocab, key, len, id)
    {
        size_t i = (size_t)json_integer_value(id);

        h->text[i] = str_of(key, len);
        h->types[i] =
            h->pre.bars && is_byte(h->text[i]) ? VOCAB_BYTE : VOCAB_NORMAL;
    }
    h->spec.text = h->text;
    h->spec.types = h->types;
    h->plan.strip = h->strip;
    return read_added(h);
}

/* A merge is "left right" or [left, right]. */
static enum err read_merges(struct hf *h)
{
    const json_t *list = json_object_get(h->model, "merges"), *one;
    size_t i;

    h->spec.n_merges = json_array_size(list);
    h->merges = calloc(h->spec.n_merges + 1, sizeof(*h->merges));
    if (!h->merges)
        return ERR_NOMEM;
    json_array_foreach(list, i, one)
    {
        struct str s = string_of(one);
        size_t at = s.len > 0 ? 1 + str_find_char(str_skip(s, 1), ' ') : 0;

        if (json_is_array(one) && json_array_size(one) == 2) {
            h->merges[i].left = string_of(json_array_get(one, 0));
            h->merges[i].right = string_of(json_array_get(one, 1));
        } else if (at < s.len) {
            h->merges[i].left = str_of(s.p, at);
            h->merges[i].right = str_skip(s, at + 1);
        }
        if (h->merges[i].left.len == 0 || h->merges[i].right.len == 0)
            return broken(h, "an entry of model.merges is not two pieces");
    }
    h->plan.merges = h->merges;
    return ERR_OK;
}

/* The id of the token whose text is <s>, or -1. */
static int32_t id_of(const struct hf *h, struct str s)
{
    const json_t *added = json_object_get(h->root, "added_tokens"), *one;
    const json_t *vocab = json_object_get(h->model, "vocab");
    const json_t *id;
    size_t i;

    if (s.len == 0)
        return -1;
    json_array_foreach(added, i, one)
    {
        if (str_eq(string_of(json_object_get(one, "content")), s))
            return (int32_t)json_integer_value(json_object_get(one, "id"));
    }
    id = json_object_getn(vocab, s.p, s.len);
    return id ? (int32_t)json_integer_value(id) : -1;
}

/* The token that tokenizer_config.json names as <key>, by text or in an object
 * with its content; -1. */
static int32_t configured(const struct hf *h, const char *key)
{
    const json_t *t = json_object_get(h->config, key);

    if (json_is_object(t))
        t = json_object_get(t, "content");
    return id_of(h, string_of(t));
}

/* Read what a TemplateProcessing, here or in a Sequence, puts around a text. */
static void read_template(struct hf *h, const json_t *post)
{
    const json_t *list = json_object_get(post, "processors"), *one;
    const json_t *single = json_object_get(post, "single");
    bool before = true;
    size_t i;

    json_array_foreach(list, i, one)
    {
        if (!json_object_get(one, "processors"))
            read_template(h, one);
    }
    json_array_foreach(single, i, one)
    {
        const json_t *token = json_object_get(one, "SpecialToken");
        int32_t id = id_of(h, string_of(json_object_get(token, "id")));

        if (json_object_get(one, "Sequence"))
            before = false;
        if (id < 0)
            continue;
        if (before) {
            h->spec.bos = id;
            h->plan.adds_bos = true;
        } else {
            h->spec.eos = id;
            h->plan.adds_eos = true;
        }
    }
}

/* tokenizer_config.json has the last word on bos and eos. */
static void read_ends(struct hf *h)
{
    const json_t *bos = json_object_get(h->config, "add_bos_token");
    const json_t *eos = json_object_get(h->config, "add_eos_token");
    int32_t id;

    h->spec.bos = h->spec.eos = h->spec.eot = h->spec.eom = -1;
    h->spec.pad = -1;
    h->spec.unk = id_of(h, string_of(json_object_get(h->model, "unk_token")));
    read_template(h, json_object_get(h->root, "post_processor"));
    if (json_is_boolean(bos))
        h->plan.adds_bos = json_is_true(bos);
    if (json_is_boolean(eos))
        h->plan.adds_eos = json_is_true(eos);
    id = configured(h, "bos_token");
    h->spec.bos = id >= 0 ? id : h->spec.bos;
    id = configured(h, "eos_token");
    h->spec.eos = id >= 0 ? id : h->spec.eos;
}

static enum err build(struct hf *h, struct vocab **out)
{
    struct vocab_plan *plan = &h->plan;
    enum err e = check_model(h);

    e = e ? e
          : hf_pretok_read(json_object_get(h->root, "normalizer"),
                           json_object_get(h->root, "pre_tokenizer"), h->why,
                           &h->pre);
    e = e ? e : read_tokens(h);
    e = e ? e : read_merges(h);
    if (e)
        return e;
    read_ends(h);
    h->spec.kind = VOCAB_BPE;
    plan->spec = &h->spec;
    plan->raw = h->pre.bars;
    plan->pre = h->pre.n_passes ? &h->pre.rule : NULL;
    plan->prefix = h->pre.prefix;
    plan->nfc = h->pre.nfc;
    plan->ignore_merges =
        json_is_true(json_object_get(h->model, "ignore_merges"));
    plan->byte_fallback =
        json_is_true(json_object_get(h->model, "byte_fallback"));
    plan->fuse_unk = json_is_true(json_object_get(h->model, "fuse_unk"));
    plan->unk_missing = h->spec.unk >= 0;
    return vocab_build(plan, h->why, out);
}

/* The object that <text> is, or NULL with <why>. */
static json_t *load(struct str text, const char *name, size_t flags,
                    struct vocab_fault *why)
{
    json_error_t error;
    json_t *root = json_loadb(text.p, text.len, flags, &error);

    if (json_is_object(root))
        return root;
    if (root)
        vocab_fault_set(why, "%s is not an object", name);
    else
        vocab_fault_set(why, "%s, line %d: %s", name, error.line, error.text);
    json_decref(root);
    return NULL;
}

enum err vocab_from_hf(struct str tokenizer, struct str config,
                       struct vocab_fault *why, struct vocab **out)
{
    struct hf h = {.why = why};
    json_t *root, *settings = NULL;
    enum err e = ERR_SYNTAX;

    why->text[0] = '\0';
    /* model_max_length is often 10^30: no integer of the configuration counts.
     */
    root = load(tokenizer, "tokenizer.json", JSON_ALLOW_NUL, why);
    if (root && config.len > 0)
        settings = load(config, "tokenizer_config.json",
                        JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL, why);
    if (!root || (config.len > 0 && !settings))
        goto out;
    h.root = root;
    h.model = json_object_get(root, "model");
    h.config = settings;
    e = build(&h, out);
out:
    free(h.text);
    free(h.types);
    free(h.strip);
    free(h.merges);
    json_decref(root);
    json_decref(settings);
    return e;
}
