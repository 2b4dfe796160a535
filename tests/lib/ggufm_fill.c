/* ggufm_fill.c - Pseudo-random weights of every type, spread as those of a
 * trained model: about 1/sqrt(n_in) wide, so that nothing grows or dies on the
 * way through the layers. Numbers depend on seed, tensor and place alone. */
#include <math.h>

#include "lib/ggufm.h"

/* Where to write next, and random bits. */
struct gen {
    uint64_t state;
    unsigned char *to;
    float width; /* numbers lie in -width .. width */
};

static uint64_t mix(uint64_t x)
{
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

static uint64_t next(struct gen *g)
{
    g->state += 0x9e3779b97f4a7c15u;
    return mix(g->state);
}

/* Evenly in -1 .. 1. */
static float next_unit(struct gen *g)
{
    return (float)(int32_t)(next(g) >> 32) * 0x1p-31f;
}

/* <v> as a half float, cut towards zero; below 65504. */
static uint16_t to_half(float v)
{
    uint32_t bits;
    uint32_t sign;

    memcpy(&bits, &v, sizeof(bits));
    sign = bits >> 16 & 0x8000;
    bits &= 0x7fffffff;
    if (bits < 0x38800000u)
        return (uint16_t)(sign | (uint32_t)(fabsf(v) * 0x1p24f));
    return (uint16_t)(sign | ((bits - 0x38000000u) >> 13));
}

static void put(struct gen *g, const void *p, size_t len)
{
    memcpy(g->to, p, len);
    g->to += len;
}

static void put_half(struct gen *g, float v)
{
    uint16_t h = to_half(v);

    put(g, &h, sizeof(h));
}

static void put_bits(struct gen *g, size_t len)
{
    uint64_t r;

    for (; len >= 8; len -= 8) {
        r = next(g);
        put(g, &r, 8);
    }
    r = next(g);
    put(g, &r, len);
}

/* A scale for steps of -<steps> .. <steps>, a little different each time. */
static float step(struct gen *g, float steps)
{
    return g->width / steps * (1.0f + 0.25f * next_unit(g));
}

static void put_block(struct gen *g, enum krn_dtype t)
{
    float v, d;
    uint32_t bits;

    switch (t) {
    case KRN_F16:
        put_half(g, g->width * next_unit(g));
        return;
    case KRN_BF16:
        v = g->width * next_unit(g);
        memcpy(&bits, &v, sizeof(bits));
        bits >>= 16;
        put(g, &bits, 2);
        return;
    case KRN_Q8_0:
        put_half(g, step(g, 127));
        put_bits(g, 32);
        return;
    case KRN_Q4_0:
        put_half(g, step(g, 8));
        put_bits(g, 16);
        return;
    case KRN_Q4_K:
    case KRN_Q5_K:
        d = step(g, t == KRN_Q4_K ? 7.5f * 32 : 15.5f * 32);
        put_half(g, d);
        put_half(g, d * (t == KRN_Q4_K ? 7.5f : 15.5f));
        put_bits(g, krn_dtype_bytes(t) - 4);
        return;
    case KRN_Q6_K:
        put_bits(g, krn_dtype_bytes(t) - 2);
        put_half(g, step(g, 32 * 64));
        return;
    case KRN_F32:
    default:
        v = g->width * next_unit(g);
        put(g, &v, sizeof(v));
        return;
    }
}

/* Vectors: gains lie around 1, biases around 0. */
static void fill_vector(struct gen *g, bool bias, size_t len)
{
    for (size_t i = 0; i < len / sizeof(float); i++) {
        float v = (bias ? 0.0f : 1.0f) + 0.1f * next_unit(g);

        put(g, &v, sizeof(v));
    }
}

void ggufm_fill(void *arg, unsigned i, uint64_t at, void *to, size_t len)
{
    const struct ggufm_filler *f = arg;
    unsigned n;
    const struct ggufw_tensor *t = &ggufw_tensors(f->w, &n)[i];
    struct gen g = {
        .state = mix(f->seed ^ mix(((uint64_t)i << 40) + at)),
        .to = to,
        .width = sqrtf(3.0f / (float)t->dims[0]),
    };
    unsigned d = 0;

    while (ggufw_type((enum krn_dtype)d) != t->type)
        d++;
    if (t->n_dims == 1) {
        fill_vector(&g, strstr(t->name, ".bias") != NULL, len);
        return;
    }
    for (size_t b = 0; b < len / krn_dtype_bytes((enum krn_dtype)d); b++)
        put_block(&g, (enum krn_dtype)d);
}
