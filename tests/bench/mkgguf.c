/* mkgguf.c - Writes models of random weights in the shapes of real ones, with
 * a vocabulary that works: what they say means nothing, how fast they say it
 * does.
 *
 * usage: mkgguf SHAPE TYPE FILE [KEY=VALUE...]
 *        mkgguf              lists shapes and types
 *
 * KEY=VALUE adds metadata: a whole number, a number with a point, or text. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/ggufm.h"

/* A shape by its name. */
struct named {
    const char *name;
    struct ggufm_shape shape;
};

static const struct named shapes[] = {
    {"135m",
     {.arch = "llama",
      .n_layer = 30,
      .d_model = 576,
      .n_head = 9,
      .n_kv_head = 3,
      .d_head = 64,
      .d_ff = 1536,
      .n_vocab = 49152,
      .context = 8192,
      .tied = true}},
    {"360m",
     {.arch = "llama",
      .n_layer = 32,
      .d_model = 960,
      .n_head = 15,
      .n_kv_head = 5,
      .d_head = 64,
      .d_ff = 2560,
      .n_vocab = 49152,
      .context = 8192,
      .tied = true}},
    {"1.7b",
     {.arch = "llama",
      .n_layer = 24,
      .d_model = 2048,
      .n_head = 32,
      .n_kv_head = 32,
      .d_head = 64,
      .d_ff = 8192,
      .n_vocab = 49152,
      .context = 8192,
      .tied = true}},
    {"tiny",
     {.arch = "llama",
      .n_layer = 2,
      .d_model = 256,
      .n_head = 4,
      .n_kv_head = 2,
      .d_head = 64,
      .d_ff = 512,
      .n_vocab = 1024,
      .context = 2048,
      .tied = true}},
    {"tiny-spm",
     {.arch = "llama",
      .n_layer = 2,
      .d_model = 256,
      .n_head = 4,
      .n_kv_head = 4,
      .d_head = 64,
      .d_ff = 768,
      .n_vocab = 1000,
      .context = 2048,
      .spm = true}},
    {"tiny-qwen2",
     {.arch = "qwen2",
      .n_layer = 2,
      .d_model = 256,
      .n_head = 4,
      .n_kv_head = 1,
      .d_head = 64,
      .d_ff = 512,
      .n_vocab = 1024,
      .context = 2048,
      .tied = true}},
    {"tiny-qwen3",
     {.arch = "qwen3",
      .n_layer = 2,
      .d_model = 256,
      .n_head = 4,
      .n_kv_head = 2,
      .d_head = 128,
      .d_ff = 512,
      .n_vocab = 1024,
      .context = 2048}},
};

enum { N_SHAPES = sizeof(shapes) / sizeof(shapes[0]) };

static int usage(void)
{
    fputs("usage: mkgguf SHAPE TYPE FILE [KEY=VALUE...]\nshapes:", stderr);
    for (unsigned i = 0; i < N_SHAPES; i++)
        fprintf(stderr, " %s", shapes[i].name);
    fputs("\ntypes:", stderr);
    for (unsigned t = 0; t < KRN_DTYPE_COUNT; t++)
        fprintf(stderr, " %s", krn_dtype_name((enum krn_dtype)t));
    fputs("\n", stderr);
    return 2;
}

static const struct named *find_shape(const char *name)
{
    for (unsigned i = 0; i < N_SHAPES; i++)
        if (strcmp(shapes[i].name, name) == 0)
            return &shapes[i];
    return NULL;
}

static bool find_type(const char *name, enum krn_dtype *out)
{
    for (unsigned t = 0; t < KRN_DTYPE_COUNT; t++) {
        if (strcasecmp(krn_dtype_name((enum krn_dtype)t), name) == 0) {
            *out = (enum krn_dtype)t;
            return true;
        }
    }
    return false;
}

/* Rows that are no whole number of blocks: such a matrix is made Q8_0, or F16
 * where that does not fit either, as quantising programs do. */
static void soften(struct ggufw *w)
{
    static const enum krn_dtype other[] = {KRN_Q8_0, KRN_F16};
    struct ggufw_tensor *t;
    uint64_t at = 0;
    unsigned n;

    t = ggufw_tensors(w, &n);
    for (unsigned i = 0; i < n; i++) {
        enum krn_dtype d = KRN_F32;

        while (ggufw_type(d) != t[i].type)
            d++;
        for (unsigned k = 0; k < 2 && t[i].dims[0] % krn_dtype_block(d); k++)
            d = other[k];
        t[i].type = ggufw_type(d);
        t[i].bytes = t[i].dims[0] / krn_dtype_block(d) * krn_dtype_bytes(d) *
                     t[i].dims[1];
        t[i].offset = at;
        at += (t[i].bytes + 31) / 32 * 32;
    }
}

/* Add the pair "KEY=VALUE". */
static void add_pair(struct ggufw *w, char *pair)
{
    char *value = strchr(pair, '='), *end;
    double d;

    if (!value)
        return;
    *value++ = '\0';
    d = strtod(value, &end);
    if (*end || end == value)
        ggufw_str(w, pair, value);
    else if (strchr(value, '.'))
        ggufw_f32(w, pair, (float)d);
    else
        ggufw_u32(w, pair, (uint32_t)d);
}

static int write_model(const struct ggufm_shape *s, const char *path,
                       char **pairs)
{
    struct ggufm_filler f = {.w = ggufm_new(s), .seed = s->seed};
    FILE *to = fopen(path, "wb");
    bool ok = to != NULL;

    for (; *pairs; pairs++)
        add_pair(f.w, *pairs);
    soften(f.w);
    ok = ok && ggufw_write(f.w, ggufm_fill, &f, to);
    ok = to && fclose(to) == 0 && ok;
    if (!ok)
        fprintf(stderr, "mkgguf: %s: %s\n", path, strerror(errno));
    ggufw_free(f.w);
    return ok ? 0 : 1;
}

int main(int argc, char **argv)
{
    const struct named *n = argc >= 4 ? find_shape(argv[1]) : NULL;
    struct ggufm_shape s;

    if (!n)
        return usage();
    s = n->shape;
    if (!find_type(argv[2], &s.dtype))
        return usage();
    return write_model(&s, argv[3], argv + 4);
}
