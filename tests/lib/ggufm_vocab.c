/* ggufm_vocab.c - The vocabularies of made-up models: small, but every byte can
 * be written with them, and every merge makes a token. */
#include <stdlib.h>

#include "base/buf.h"
#include "base/utf8.h"
#include "lib/ggufm.h"
#include "token/vocab.h"

#define SPECIALS  3
#define TEXT_ROOM 16
#define LETTERS   95             /* printable ASCII, the space among them */
#define MARK_UTF8 "\xe2\x96\x81" /* what SPM writes for a space */
#define CHAT_ML                                                                \
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\\n' + "          \
    "m['content'] + '<|im_end|>' + '\\n' }}{% endfor %}"                       \
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif "  \
    "%}"

/* Tokens and merges in the making. */
struct texts {
    char *room; /* (n, TEXT_ROOM) */
    struct str *text;
    float *scores;
    int32_t *types;
    size_t n, cap;
    char *merge_room; /* (n_merges, 2 * TEXT_ROOM) */
    struct str *merges;
    size_t n_merges;
};

static void *must_calloc(size_t n, size_t each)
{
    void *p = calloc(n, each);

    if (!p) {
        fputs("ggufm: out of memory\n", stderr);
        exit(1);
    }
    return p;
}

static void texts_init(struct texts *t, size_t n)
{
    *t = (struct texts){
        .room = must_calloc(n, TEXT_ROOM),
        .text = must_calloc(n, sizeof(*t->text)),
        .scores = must_calloc(n, sizeof(*t->scores)),
        .types = must_calloc(n, sizeof(*t->types)),
        .cap = n,
        .merge_room = must_calloc(n, 2 * TEXT_ROOM),
        .merges = must_calloc(n, sizeof(*t->merges)),
    };
}

static void texts_fini(struct texts *t)
{
    free(t->room);
    free(t->text);
    free(t->scores);
    free(t->types);
    free(t->merge_room);
    free(t->merges);
}

/* Add <a><b> as a token, while there is room. */
static bool add_text(struct texts *t, struct str a, struct str b, int32_t type)
{
    char *to = t->room + t->n * TEXT_ROOM;

    if (t->n == t->cap || a.len + b.len > TEXT_ROOM)
        return false;
    memcpy(to, a.p, a.len);
    memcpy(to + a.len, b.p ? b.p : "", b.len);
    t->text[t->n] = str_of(to, a.len + b.len);
    t->types[t->n] = type;
    t->n++;
    return true;
}

/* Add the token that <a> and <b> merge to. */
static bool add_merge(struct texts *t, size_t a, size_t b)
{
    const struct str l = t->text[a], r = t->text[b];
    char *to = t->merge_room + t->n_merges * 2 * TEXT_ROOM;

    if (l.len + r.len + 1 > TEXT_ROOM || !add_text(t, l, r, VOCAB_NORMAL))
        return false;
    memcpy(to, l.p, l.len);
    to[l.len] = ' ';
    memcpy(to + l.len + 1, r.p, r.len);
    t->merges[t->n_merges++] = str_of(to, l.len + 1 + r.len);
    t->scores[t->n - 1] = -(float)t->n_merges;
    return true;
}

/* Add what tokens <a> .. <a_end>-1 make with each of the <n> from <first> on.
 */
static void add_products(struct texts *t, size_t a, size_t a_end, size_t first,
                         size_t n)
{
    for (; a < a_end; a++)
        for (size_t b = first; b < first + n; b++)
            if (!add_merge(t, a, b))
                return;
}

/* Fill the vocabulary with pairs of the <n> tokens from <first> on, then with
 * pairs and one more, and so on. */
static void add_merges(struct texts *t, size_t first, size_t n)
{
    size_t from = first, to = first + n;

    while (t->n < t->cap && from < to) {
        size_t before = t->n;

        add_products(t, from, to, first, n);
        from = before;
        to = t->n;
    }
}

/* Whether byte <b> stands for itself in GPT-2's alphabet. */
static bool is_plain(unsigned b)
{
    return (b >= '!' && b <= '~') || (b >= 0xa1 && b <= 0xac) || b >= 0xae;
}

static void make_bpe(struct texts *t)
{
    static const char *const specials[SPECIALS] = {
        "<|endoftext|>", "<|im_start|>", "<|im_end|>"};
    char utf8[4];
    uint32_t next = 256;

    for (unsigned i = 0; i < SPECIALS; i++)
        add_text(t, str_from(specials[i]), STR(""), VOCAB_CONTROL);
    for (unsigned b = 0; b < 256; b++) {
        uint32_t cp = is_plain(b) ? b : next++;

        add_text(t, str_of(utf8, utf8_put(cp, utf8)), STR(""), VOCAB_NORMAL);
    }
    add_merges(t, SPECIALS + ' ', LETTERS);
}

static void make_spm(struct texts *t)
{
    char name[TEXT_ROOM];
    size_t first;

    add_text(t, STR("<unk>"), STR(""), VOCAB_UNKNOWN);
    add_text(t, STR("<s>"), STR(""), VOCAB_CONTROL);
    add_text(t, STR("</s>"), STR(""), VOCAB_CONTROL);
    for (unsigned b = 0; b < 256; b++) {
        snprintf(name, sizeof(name), "<0x%02X>", b);
        add_text(t, str_from(name), STR(""), VOCAB_BYTE);
    }
    first = t->n;
    add_text(t, STR(MARK_UTF8), STR(""), VOCAB_NORMAL);
    for (char c = 'a'; c <= 'z'; c++)
        add_text(t, str_of(&c, 1), STR(""), VOCAB_NORMAL);
    for (size_t i = first; i < t->n; i++)
        t->scores[i] = -1e6f;
    add_merges(t, first, t->n - first);
}

void ggufm_add_vocab(struct ggufw *w, const struct ggufm_shape *s)
{
    struct texts t;

    texts_init(&t, s->n_vocab);
    if (s->spm)
        make_spm(&t);
    else
        make_bpe(&t);
    ggufw_str(w, "tokenizer.ggml.model", s->spm ? "llama" : "gpt2");
    if (!s->spm)
        ggufw_str(w, "tokenizer.ggml.pre", "smollm");
    ggufw_strs(w, "tokenizer.ggml.tokens", t.text, t.n);
    ggufw_i32s(w, "tokenizer.ggml.token_type", t.types, t.n);
    if (s->spm)
        ggufw_f32s(w, "tokenizer.ggml.scores", t.scores, t.n);
    else
        ggufw_strs(w, "tokenizer.ggml.merges", t.merges, t.n_merges);
    ggufw_u32(w, "tokenizer.ggml.bos_token_id", 1);
    ggufw_u32(w, "tokenizer.ggml.eos_token_id", 2);
    ggufw_str(w, "tokenizer.chat_template", CHAT_ML);
    texts_fini(&t);
}

/* Append <s>, made of printable text, as a JSON string. */
static bool put_json(struct buf *b, struct str s)
{
    bool ok = buf_put(b, "\"", 1) == ERR_OK;

    for (size_t i = 0; ok && i < s.len; i++) {
        if (s.p[i] == '"' || s.p[i] == '\\')
            ok = buf_put(b, "\\", 1) == ERR_OK;
        ok = ok && buf_put(b, s.p + i, 1) == ERR_OK;
    }
    return ok && buf_put(b, "\"", 1) == ERR_OK;
}

static bool put_special(struct buf *b, unsigned i, struct str name)
{
    return buf_printf(b, "%s{\"id\":%u,\"content\":", i ? "," : "", i) == 0 &&
           put_json(b, name) &&
           buf_printf(b, ",\"single_word\":false,\"lstrip\":false,"
                         "\"rstrip\":false,\"normalized\":false,"
                         "\"special\":true}") == ERR_OK;
}

static bool put_tokenizer(struct buf *b, const struct texts *t)
{
    bool ok = buf_printf(b, "{\"version\":\"1.0\",\"added_tokens\":[") == 0;

    for (unsigned i = 0; i < SPECIALS; i++)
        ok = ok && put_special(b, i, t->text[i]);
    ok = ok && buf_printf(b, "],\"normalizer\":null,\"pre_tokenizer\":"
                             "{\"type\":\"Sequence\",\"pretokenizers\":["
                             "{\"type\":\"Digits\",\"individual_digits\":true},"
                             "{\"type\":\"ByteLevel\",\"add_prefix_space\":"
                             "false,\"trim_offsets\":true,\"use_regex\":true}]}"
                             ",\"post_processor\":null,\"decoder\":{\"type\":"
                             "\"ByteLevel\"},\"model\":{\"type\":\"BPE\","
                             "\"vocab\":{") == ERR_OK;
    for (size_t i = 0; ok && i < t->n; i++)
        ok = (i == 0 || buf_put(b, ",", 1) == ERR_OK) &&
             put_json(b, t->text[i]) && buf_printf(b, ":%zu", i) == ERR_OK;
    ok = ok && buf_printf(b, "},\"merges\":[") == ERR_OK;
    for (size_t i = 0; ok && i < t->n_merges; i++)
        ok = (i == 0 || buf_put(b, ",", 1) == ERR_OK) &&
             put_json(b, t->merges[i]);
    return ok && buf_printf(b, "]}}") == ERR_OK && buf_put(b, "", 1) == ERR_OK;
}

char *ggufm_tokenizer_json(const struct ggufm_shape *s)
{
    struct texts t;
    struct buf b;

    texts_init(&t, s->n_vocab);
    make_bpe(&t);
    buf_init(&b, (size_t)64 << 20);
    if (!put_tokenizer(&b, &t)) {
        fputs("ggufm: out of memory\n", stderr);
        exit(1);
    }
    texts_fini(&t);
    return b.p;
}
