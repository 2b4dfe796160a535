/* hf_pretok.c - What a tokenizer.json does to text before BPE. */
#include "token/hf_pretok.h"

/* Sequences in sequences, at most. */
#define MOST_DEPTH 8

/* What is read, and where complaints go. */
struct reading {
    struct hf_pretok *out;
    struct vocab_fault *why;
    unsigned depth;
};

static struct str text_of(const json_t *object, const char *key)
{
    const json_t *s = json_object_get(object, key);

    return json_is_string(s)
               ? str_of(json_string_value(s), json_string_length(s))
               : STR("");
}

/* A member that is true or false; <unsaid> when it is neither. */
static bool flag_of(const json_t *object, const char *key, bool unsaid)
{
    const json_t *b = json_object_get(object, key);

    return json_is_boolean(b) ? json_is_true(b) : unsaid;
}

static int short_len(struct str s)
{
    return (int)(s.len < 120 ? s.len : 120);
}

static enum err refuse(struct reading *r, const char *what, struct str name)
{
    vocab_fault_set(r->why, "tokenizer.json: %s \"%.*s\" is not supported",
                    what, short_len(name), name.p);
    return ERR_REFUSED;
}

static enum err add_pass(struct reading *r, enum pretok_pass pass)
{
    if (r->out->n_passes == PRETOK_PASSES) {
        vocab_fault_set(r->why, "tokenizer.json: more than %d pre-tokenizers",
                        PRETOK_PASSES);
        return ERR_REFUSED;
    }
    r->out->rule.passes[r->out->n_passes++] = (unsigned char)pass;
    return ERR_OK;
}

/* Call <each> for every member of a Sequence's <list>. */
static enum err each_of(struct reading *r, const json_t *list,
                        enum err (*each)(struct reading *, const json_t *))
{
    enum err e = ERR_OK;
    const json_t *one;
    size_t i;

    if (++r->depth > MOST_DEPTH)
        return refuse(r, "nesting of", STR("Sequence"));
    json_array_foreach(list, i, one)
    {
        e = e ? e : each(r, one);
    }
    r->depth--;
    return e;
}

static enum err read_normalizer(struct reading *r, const json_t *n)
{
    struct str type = text_of(n, "type");
    const json_t *pattern = json_object_get(n, "pattern");

    if (!n || json_is_null(n))
        return ERR_OK;
    if (str_eq(type, STR("Sequence")))
        return each_of(r, json_object_get(n, "normalizers"), read_normalizer);
    if (str_eq(type, STR("NFC"))) {
        r->out->nfc = true;
        return ERR_OK;
    }
    if (str_eq(type, STR("Prepend")) &&
        str_eq(text_of(n, "prepend"), STR(VOCAB_BAR)) && !r->out->bars) {
        r->out->prefix = VOCAB_PREFIX_ALWAYS;
        return ERR_OK;
    }
    if (str_eq(type, STR("Replace")) &&
        str_eq(text_of(pattern, "String"), STR(" ")) &&
        str_eq(text_of(n, "content"), STR(VOCAB_BAR))) {
        r->out->bars = true;
        return ERR_OK;
    }
    return refuse(r, "normalizer", type);
}

/* Split on a regular expression: each match is a piece, and what is between.
 * Where all of a text is matched, to remove what is between changes nothing. */
static enum err read_split(struct reading *r, const json_t *p)
{
    struct str re = text_of(json_object_get(p, "pattern"), "Regex");
    struct str behavior = text_of(p, "behavior");
    enum pretok_pass pass = hf_pretok_regex(re);
    bool invert = flag_of(p, "invert", false);
    bool whole = pass >= PRETOK_GPT2 && pass != PRETOK_DEEPSEEK3;

    if (re.len == 0)
        return refuse(r, "Split on",
                      text_of(json_object_get(p, "pattern"), "String"));
    if (pass == PRETOK_END)
        return refuse(r, "the regular expression", re);
    if (str_eq(behavior, STR("Isolated")) ||
        (str_eq(behavior, STR("Removed")) && invert && whole))
        return add_pass(r, pass);
    return refuse(r, "Split with behavior", behavior);
}

static enum err read_byte_level(struct reading *r, const json_t *p)
{
    r->out->byte_level = true;
    if (flag_of(p, "add_prefix_space", true)) {
        if (r->out->n_passes > 0)
            return refuse(r, "add_prefix_space after", STR("Split"));
        r->out->prefix = VOCAB_PREFIX_UNLESS;
    }
    return flag_of(p, "use_regex", true) ? add_pass(r, PRETOK_GPT2) : ERR_OK;
}

/* Metaspace writes spaces as U+2581, puts one in front, and may cut at each.
 * Files from before prepend_scheme have add_prefix_space instead. */
static enum err read_metaspace(struct reading *r, const json_t *p)
{
    struct str scheme = text_of(p, "prepend_scheme");
    bool prefix = flag_of(p, "add_prefix_space", true);

    if (!str_eq(text_of(p, "replacement"), STR(VOCAB_BAR)))
        return refuse(r, "Metaspace with", text_of(p, "replacement"));
    r->out->bars = true;
    if (str_eq(scheme, STR("never")) || (scheme.len == 0 && !prefix))
        r->out->prefix = VOCAB_PREFIX_NONE;
    else if (str_eq(scheme, STR("first")))
        r->out->prefix = VOCAB_PREFIX_FIRST;
    else if (str_eq(scheme, STR("always")) || scheme.len == 0)
        r->out->prefix = VOCAB_PREFIX_UNLESS;
    else
        return refuse(r, "prepend_scheme", scheme);
    return flag_of(p, "split", true) ? add_pass(r, PRETOK_BARS) : ERR_OK;
}

/* After ByteLevel the pieces are no longer the text: only what asks for ASCII
 * digits alone still says the same. */
static enum err read_pre_tokenizer(struct reading *r, const json_t *p)
{
    struct str type = text_of(p, "type");
    struct str re = text_of(json_object_get(p, "pattern"), "Regex");

    if (!p || json_is_null(p))
        return ERR_OK;
    if (str_eq(type, STR("Sequence")))
        return each_of(r, json_object_get(p, "pretokenizers"),
                       read_pre_tokenizer);
    if (r->out->byte_level && hf_pretok_regex(re) != PRETOK_ASCII3)
        return refuse(r, "after ByteLevel, pre_tokenizer", type);
    if (str_eq(type, STR("Split")))
        return read_split(r, p);
    if (str_eq(type, STR("ByteLevel")))
        return read_byte_level(r, p);
    if (str_eq(type, STR("Metaspace")))
        return read_metaspace(r, p);
    if (str_eq(type, STR("Digits")))
        return add_pass(r, flag_of(p, "individual_digits", false)
                               ? PRETOK_DIGIT
                               : PRETOK_DIGITS);
    if (str_eq(type, STR("Punctuation")) &&
        str_eq(text_of(p, "behavior"), STR("Contiguous")))
        return add_pass(r, PRETOK_FALCON_PUNCT);
    return refuse(r, "pre_tokenizer", type);
}

enum err hf_pretok_read(const json_t *normalizer, const json_t *pre_tokenizer,
                        struct vocab_fault *why, struct hf_pretok *out)
{
    struct hf_pretok read = {.rule.published = true};
    struct reading r = {.out = &read, .why = why};
    enum err e = read_normalizer(&r, normalizer);

    e = e ? e : read_pre_tokenizer(&r, pre_tokenizer);
    if (e)
        return e;
    if (read.bars == read.byte_level) {
        vocab_fault_set(why, "tokenizer.json: BPE is supported over ByteLevel "
                             "or over spaces replaced by U+2581");
        return ERR_REFUSED;
    }
    *out = read;
    return ERR_OK;
}
