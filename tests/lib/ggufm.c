/* ggufm.c - See ggufm.h. */
#include "lib/ggufm.h"

#include <math.h>
#include <stdlib.h>

#include "base/utf8.h"
#include "token/vocab.h"

#define SPECIALS  3
#define TEXT_ROOM 16
#define LETTERS   95 /* printable ASCII, the space among them */
#define KEY_ROOM  96
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

static void add_vocab(struct ggufw *w, const struct ggufm_shape *s)
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

static void add_params(struct ggufw *w, const struct ggufm_shape *s)
{
    const struct {
        const char *name;
        unsigned value;
    } rows[] = {
        {"context_length", s->context},
        {"embedding_length", s->d_model},
        {"block_count", s->n_layer},
        {"feed_forward_length", s->d_ff},
        {"attention.head_count", s->n_head},
        {"attention.head_count_kv", s->n_kv_head},
        {"attention.key_length", s->d_head},
        {"attention.value_length", s->d_head},
        {"rope.dimension_count", s->d_head},
    };
    char key[KEY_ROOM];

    ggufw_str(w, "general.architecture", s->arch);
    ggufw_str(w, "general.name", "random");
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        snprintf(key, sizeof(key), "%s.%s", s->arch, rows[i].name);
        ggufw_u32(w, key, rows[i].value);
    }
    snprintf(key, sizeof(key), "%s.attention.layer_norm_rms_epsilon", s->arch);
    ggufw_f32(w, key, 1e-5f);
    snprintf(key, sizeof(key), "%s.rope.freq_base", s->arch);
    ggufw_f32(w, key, 10000);
}

static void add_layer(struct ggufw *w, const struct ggufm_shape *s, unsigned l)
{
    const unsigned q = s->n_head * s->d_head, kv = s->n_kv_head * s->d_head;
    const bool biased = strcmp(s->arch, "qwen2") == 0;
    const bool normed = strcmp(s->arch, "qwen3") == 0;
    const struct {
        const char *name;
        unsigned n_out, n_in;
        bool wanted;
    } rows[] = {
        {"attn_norm.weight", 0, s->d_model, true},
        {"attn_q.weight", q, s->d_model, true},
        {"attn_k.weight", kv, s->d_model, true},
        {"attn_v.weight", kv, s->d_model, true},
        {"attn_q.bias", 0, q, biased},
        {"attn_k.bias", 0, kv, biased},
        {"attn_v.bias", 0, kv, biased},
        {"attn_q_norm.weight", 0, s->d_head, normed},
        {"attn_k_norm.weight", 0, s->d_head, normed},
        {"attn_output.weight", s->d_model, q, true},
        {"ffn_norm.weight", 0, s->d_model, true},
        {"ffn_gate.weight", s->d_ff, s->d_model, true},
        {"ffn_up.weight", s->d_ff, s->d_model, true},
        {"ffn_down.weight", s->d_model, s->d_ff, true},
    };
    char name[64];

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (!rows[i].wanted)
            continue;
        snprintf(name, sizeof(name), "blk.%u.%s", l, rows[i].name);
        ggufw_tensor(w, name, rows[i].n_out ? s->dtype : KRN_F32, rows[i].n_out,
                     rows[i].n_in);
    }
}

struct ggufw *ggufm_new(const struct ggufm_shape *s)
{
    struct ggufw *w = ggufw_new(3);

    add_params(w, s);
    add_vocab(w, s);
    ggufw_tensor(w, "token_embd.weight", s->dtype, s->n_vocab, s->d_model);
    for (unsigned l = 0; l < s->n_layer; l++)
        add_layer(w, s, l);
    ggufw_tensor(w, "output_norm.weight", KRN_F32, 0, s->d_model);
    if (!s->tied)
        ggufw_tensor(w, "output.weight", s->dtype, s->n_vocab, s->d_model);
    return w;
}

char *ggufm_build(const struct ggufm_shape *s, size_t *len_out)
{
    struct ggufm_filler f = {.w = ggufm_new(s), .seed = s->seed};
    char *image = ggufw_build(f.w, ggufm_fill, &f, len_out);

    ggufw_free(f.w);
    return image;
}
