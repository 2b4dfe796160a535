/* model_synthetic.c - Models that are in no file, for benches alone: the shapes
 * of models that people serve, matrices of random numbers that the device makes
 * itself, and a vocabulary that any text can be written with. What they say
 * means nothing, how fast they say it does.
 *
 * A matrix has a seed in place of data; gains are ones, biases zeros. A text is
 * as many tokens as it has bytes: nothing is merged, and no token ends a
 * generation. */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/utf8.h"
#include "engine/model_fault.h"
#include "engine/model_priv.h"
#include "token/vocab.h"

enum {
    TEXT_ROOM = 8, /* bytes of a token */
    LETTERS = 26,
    BYTES = 256,
    NAMES_ROOM = 200,
};

/* A shape by its name. */
struct shape {
    const char *name;
    struct model_params p;
};

/* What most have. */
#define ROPE(d_head, theta, in_halves)                                         \
    .rope = {.halves = (in_halves),                                            \
             .n_rot = (d_head),                                                \
             .base = (theta),                                                  \
             .factor = 1,                                                      \
             .attn_factor = 1}

#define SIZES(layers, model, heads, kv_heads, head, ff, vocab, length)         \
    .n_layer = (layers), .d_model = (model), .n_head = (heads),                \
    .n_kv_head = (kv_heads), .d_head = (head), .d_ff = (ff),                   \
    .n_vocab = (vocab), .context = (length)

static const struct shape shapes[] = {
    {"llama-3.1-8b",
     {.arch = MODEL_LLAMA,
      SIZES(32, 4096, 32, 8, 128, 14336, 128256, 131072),
      .rms_eps = 1e-5F,
      .rope = {.n_rot = 128,
               .base = 500000,
               .scaling = MODEL_ROPE_LLAMA3,
               .factor = 8,
               .low_freq = 1,
               .high_freq = 4,
               .attn_factor = 1,
               .orig_context = 8192}}},
    {"qwen3-8b",
     {.arch = MODEL_QWEN3,
      SIZES(36, 4096, 32, 8, 128, 12288, 151936, 40960),
      .rms_eps = 1e-6F,
      ROPE(128, 1000000, true)}},
    {"qwen2-7b",
     {.arch = MODEL_QWEN2,
      SIZES(28, 3584, 28, 4, 128, 18944, 152064, 32768),
      .rms_eps = 1e-6F,
      ROPE(128, 1000000, true)}},
    {"smollm2-1.7b",
     {.arch = MODEL_LLAMA,
      SIZES(24, 2048, 32, 32, 64, 8192, 49152, 8192),
      .rms_eps = 1e-5F,
      ROPE(64, 130000, false),
      .tied = true}},
    {"smollm2-360m",
     {.arch = MODEL_LLAMA,
      SIZES(32, 960, 15, 5, 64, 2560, 49152, 8192),
      .rms_eps = 1e-5F,
      ROPE(64, 100000, false),
      .tied = true}},
    {"smollm2-135m",
     {.arch = MODEL_LLAMA,
      SIZES(30, 576, 9, 3, 64, 1536, 49152, 8192),
      .rms_eps = 1e-5F,
      ROPE(64, 100000, false),
      .tied = true}},
    {"tinyllama-1.1b",
     {.arch = MODEL_LLAMA,
      SIZES(22, 2048, 32, 4, 64, 5632, 32000, 2048),
      .rms_eps = 1e-5F,
      ROPE(64, 10000, false)}},
    {"tiny",
     {.arch = MODEL_LLAMA,
      SIZES(2, 256, 4, 2, 64, 512, 1024, 4096),
      .rms_eps = 1e-5F,
      ROPE(64, 10000, false),
      .tied = true}},
    {"tiny-qwen2",
     {.arch = MODEL_QWEN2,
      SIZES(2, 256, 7, 1, 64, 512, 1024, 4096),
      .rms_eps = 1e-6F,
      ROPE(64, 10000, true)}},
    {"tiny-qwen3",
     {.arch = MODEL_QWEN3,
      SIZES(2, 256, 4, 2, 128, 512, 1024, 4096),
      .rms_eps = 1e-6F,
      ROPE(128, 10000, true)}},
};

enum { N_SHAPES = sizeof(shapes) / sizeof(shapes[0]) };

/* --- the name ------------------------------------------------------------- */

static enum err refuse_shape(struct str name, struct model_fault *why)
{
    char all[NAMES_ROOM] = "";
    size_t at = 0;

    for (unsigned i = 0; i < N_SHAPES && at < sizeof(all); i++)
        at += (size_t)snprintf(all + at, sizeof(all) - at, "%s%s",
                               i ? ", " : "", shapes[i].name);
    return model_fail(why, ERR_REFUSED,
                      "'%s' is no shape of a synthetic model; there are: %s",
                      model_show(name).text, all);
}

static enum err refuse_type(struct str name, struct model_fault *why)
{
    char all[NAMES_ROOM] = "";
    size_t at = 0;

    for (unsigned t = 0; t < KRN_DTYPE_COUNT && at < sizeof(all); t++)
        at +=
            (size_t)snprintf(all + at, sizeof(all) - at, "%s%s", t ? ", " : "",
                             krn_dtype_name((enum krn_dtype)t));
    return model_fail(why, ERR_REFUSED,
                      "'%s' is no type of weights; there "
                      "are: %s, in small letters or large",
                      model_show(name).text, all);
}

/* The shape <name>, or NULL. */
static const struct shape *shape_find(struct str name)
{
    for (unsigned i = 0; i < N_SHAPES; i++)
        if (str_eq(name, str_from(shapes[i].name)))
            return &shapes[i];
    return NULL;
}

/* The type <name>, or KRN_DTYPE_COUNT. */
static enum krn_dtype type_find(struct str name)
{
    unsigned t = 0;

    while (t < KRN_DTYPE_COUNT &&
           !str_ieq(name, str_from(krn_dtype_name((enum krn_dtype)t))))
        t++;
    return (enum krn_dtype)t;
}

/* --- tensors -------------------------------------------------------------- */

/* Where tensors come from. */
struct source {
    struct model *m;
    enum krn_dtype dtype;
    uint64_t seed;             /* of the tensor before */
    const float *ones, *zeros; /* as long as the longest vector */
};

/* The type asked for, or, where rows are no whole number of its blocks, what
 * programs that quantise take then. */
static enum krn_dtype type_for(enum krn_dtype t, size_t n_in)
{
    if (n_in % krn_dtype_block(t) != 0)
        t = KRN_Q8_0;
    return n_in % krn_dtype_block(t) != 0 ? KRN_F16 : t;
}

static struct model_tensor matrix(struct source *s, size_t n_out, size_t n_in)
{
    const enum krn_dtype t = type_for(s->dtype, n_in);
    const struct model_tensor tensor = {
        .dtype = t,
        .n_out = n_out,
        .n_in = n_in,
        .bytes = n_in / krn_dtype_block(t) * krn_dtype_bytes(t) * n_out,
        .seed = ++s->seed,
    };

    s->m->file_bytes += tensor.bytes;
    return tensor;
}

static struct model_tensor vector(const float *data, size_t n)
{
    return (struct model_tensor){.dtype = KRN_F32,
                                 .n_out = 1,
                                 .n_in = n,
                                 .data = data,
                                 .bytes = n * sizeof(*data)};
}

static void layer_make(struct source *s, struct model_layer *l)
{
    const struct model_params *p = &s->m->p;
    const size_t d = p->d_model;
    const size_t n_q = (size_t)p->n_head * p->d_head;
    const size_t n_kv = (size_t)p->n_kv_head * p->d_head;

    *l = (struct model_layer){
        .attn_norm = vector(s->ones, d),
        .q = matrix(s, n_q, d),
        .k = matrix(s, n_kv, d),
        .v = matrix(s, n_kv, d),
        .o = matrix(s, d, n_q),
        .ffn_norm = vector(s->ones, d),
        .gate = matrix(s, p->d_ff, d),
        .up = matrix(s, p->d_ff, d),
        .down = matrix(s, d, p->d_ff),
    };
    if (p->arch == MODEL_QWEN2) {
        l->q_bias = vector(s->zeros, n_q);
        l->k_bias = vector(s->zeros, n_kv);
        l->v_bias = vector(s->zeros, n_kv);
    }
    if (p->arch == MODEL_QWEN3) {
        l->q_norm = vector(s->ones, p->d_head);
        l->k_norm = vector(s->ones, p->d_head);
    }
}

static enum err tensors_make(struct model *m, enum krn_dtype dtype,
                             struct model_fault *why)
{
    const size_t n_q = (size_t)m->p.n_head * m->p.d_head;
    const size_t longest = n_q > m->p.d_model ? n_q : m->p.d_model;
    float *ones = arena_alloc(m->store->arena, 2 * longest * sizeof(*ones));
    struct source s = {.m = m, .dtype = dtype, .ones = ones};

    m->layers = arena_alloc(m->store->arena, m->p.n_layer * sizeof(*m->layers));
    if (!ones || !m->layers)
        return model_fail(why, ERR_NOMEM, "out of memory");
    for (size_t i = 0; i < longest; i++) {
        ones[i] = 1;
        ones[longest + i] = 0;
    }
    s.zeros = ones + longest;
    m->embed = matrix(&s, m->p.n_vocab, m->p.d_model);
    for (unsigned i = 0; i < m->p.n_layer; i++)
        layer_make(&s, &m->layers[i]);
    m->out_norm = vector(s.ones, m->p.d_model);
    if (!m->p.tied)
        m->output = matrix(&s, m->p.n_vocab, m->p.d_model);
    return ERR_OK;
}

/* --- the vocabulary ------------------------------------------------------- */

/* Whether byte <b> stands for itself in GPT-2's alphabet. */
static bool is_plain(unsigned b)
{
    return (b >= '!' && b <= '~') || (b >= 0xa1 && b <= 0xac) || b >= 0xae;
}

/* The text of token <id> to <to>: a byte, or four letters that no text is cut
 * into. */
static size_t token_put(unsigned id, uint32_t *next, char to[TEXT_ROOM])
{
    unsigned n = id - BYTES;

    if (id < BYTES)
        return utf8_put(is_plain(id) ? id : (*next)++, to);
    for (unsigned i = 4; i-- > 0; n /= LETTERS)
        to[i] = (char)('a' + n % LETTERS);
    return 4;
}

static enum err vocab_make(struct model *m, struct model_fault *why)
{
    const size_t n = m->p.n_vocab;
    struct vocab_fault fault = {""};
    struct vocab_spec spec = {.kind = VOCAB_BPE,
                              .pre = STR("gpt-2"),
                              .n = n,
                              .bos = -1,
                              .eos = -1,
                              .eot = -1,
                              .eom = -1,
                              .unk = -1,
                              .pad = -1,
                              .add_bos = VOCAB_NO,
                              .add_eos = VOCAB_NO};
    struct arena *room = arena_new(1 << 16, (size_t)1 << 30);
    struct str *text = room ? arena_alloc(room, n * sizeof(*text)) : NULL;
    char *chars = text ? arena_alloc(room, n * TEXT_ROOM) : NULL;
    uint32_t next = BYTES;
    enum err e = ERR_NOMEM;

    for (unsigned i = 0; chars && i < n; i++) {
        char *at = chars + (size_t)i * TEXT_ROOM;

        text[i] = str_of(at, token_put(i, &next, at));
    }
    if (chars) {
        spec.text = text;
        e = vocab_new(&spec, &fault, &m->vocab);
    }
    arena_free(room);
    return e == ERR_OK
               ? e
               : model_fail(why, e, "vocabulary: %s",
                            fault.text[0] ? fault.text : "out of memory");
}

enum err model_from_shape(struct model *m, struct str spec,
                          struct model_fault *why)
{
    const size_t at = str_find_char(spec, ':');
    const struct str shape_name = str_of(spec.p, at);
    const struct str type_name =
        at < spec.len ? str_skip(spec, at + 1) : STR("bf16");
    const struct shape *shape = shape_find(shape_name);
    const enum krn_dtype dtype = type_find(type_name);
    char name[80];
    enum err e;

    if (!shape)
        return refuse_shape(shape_name, why);
    if (dtype == KRN_DTYPE_COUNT)
        return refuse_type(type_name, why);
    m->p = shape->p;
    snprintf(name, sizeof(name), MODEL_SYNTHETIC "%s:%s", shape->name,
             krn_dtype_name(dtype));
    m->name = arena_dup(m->store->arena, str_from(name));
    if (!m->name.p)
        return model_fail(why, ERR_NOMEM, "out of memory");
    m->store->config = m->name; /* all that there is to digest */
    e = model_check_params(&m->p, why);
    if (e == ERR_OK)
        e = tensors_make(m, dtype, why);
    return e == ERR_OK ? vocab_make(m, why) : e;
}
