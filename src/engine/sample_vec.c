/* sample_vec.c - Whole rows: maximum, exponentials with their sum, gathering.
 * Rows are worked on in lanes of LANES elements; the rest of a row goes
 * through a padded block, so that every element meets the same arithmetic. */
#include "engine/sample_vec.h"

#include <math.h>
#include <string.h>

#define LANES 16

_Static_assert(SAMPLE_BLOCK % LANES == 0, "blocks are whole lanes");

float sample_vec_max(const float *x, size_t n)
{
    float m[LANES], best = -INFINITY;
    size_t i = 0;

    for (size_t l = 0; l < LANES; l++)
        m[l] = -INFINITY;
    for (; i + LANES <= n; i += LANES)
        for (size_t l = 0; l < LANES; l++)
            m[l] = x[i + l] > m[l] ? x[i + l] : m[l];
    for (; i < n; i++)
        m[0] = x[i] > m[0] ? x[i] : m[0];
    for (size_t l = 0; l < LANES; l++)
        best = m[l] > best ? m[l] : best;
    return best;
}

/* Whether any of LANES elements is >= <floor>. */
static inline int any_above(const float *x, float floor)
{
    int32_t hit[LANES], all = 0;

    for (size_t l = 0; l < LANES; l++)
        hit[l] = x[l] >= floor ? -1 : 0;
    for (size_t l = 0; l < LANES; l++)
        all |= hit[l];
    return all;
}

size_t sample_vec_find(const float *x, size_t n, float v)
{
    size_t i = 0;

    while (i + LANES <= n && !any_above(x + i, v))
        i += LANES;
    while (i < n && x[i] != v)
        i++;
    return i;
}

/* Four at once; compilers make these of whatever the machine has. */
typedef float v4f __attribute__((vector_size(16)));
typedef int32_t v4i __attribute__((vector_size(16)));
typedef uint32_t v4u __attribute__((vector_size(16)));
typedef double v4d __attribute__((vector_size(32)));

static inline v4f all_of(float f)
{
    return (v4f){f, f, f, f};
}

/* e^d for d <= 0 within two units of the last place; 0 below -87 and for NaN.
 * d = k ln 2 + r with |r| <= ln 2 / 2; adding 1.5 * 2^23 rounds k and leaves
 * it in the low bits. */
static inline v4f exp_four(v4f d)
{
    const v4f shift = all_of(12582912.0f);
    v4i keep = (v4i)(d >= all_of(-87.0f));
    v4f in = (v4f)((v4i)d & keep);
    v4f f = in * 1.44269504089f + shift;
    v4f k = f - shift;
    v4f r = (in - k * 0.693359375f) - k * -2.12194440e-4f;
    v4f p = r * 1.9875691500e-4f + 1.3981999507e-3f;
    v4u scale = ((v4u)f + 127) << 23;

    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    return (v4f)((v4i)(p * (v4f)scale) & keep);
}

/* LANES exponentials of <x> to <w>, added to <acc>. */
static inline void exp_lanes(const float *x, const float max_scale[2], float *w,
                             v4d acc[LANES / 4])
{
    for (size_t l = 0; l < LANES / 4; l++) {
        v4f v;
        memcpy(&v, x + 4 * l, sizeof(v));
        v = exp_four((v - max_scale[0]) * max_scale[1]);
        memcpy(w + 4 * l, &v, sizeof(v));
        acc[l] += __builtin_convertvector(v, v4d);
    }
}

static double lanes_sum(const v4d acc[LANES / 4])
{
    double sum = 0;

    for (size_t l = 0; l < LANES; l++)
        sum += acc[l / 4][l % 4];
    return sum;
}

/* One block of at most SAMPLE_BLOCK elements; <w> may be NULL. */
static double exp_block(const float *x, size_t n, const float max_scale[2],
                        float *w)
{
    v4d acc[LANES / 4] = {{0}};
    float e[LANES], pad[LANES];
    size_t i = 0;

    for (; i + LANES <= n; i += LANES)
        exp_lanes(x + i, max_scale, w ? w + i : e, acc);
    if (i == n)
        return lanes_sum(acc);
    for (size_t l = 0; l < LANES; l++)
        pad[l] = i + l < n ? x[i + l] : -INFINITY;
    exp_lanes(pad, max_scale, e, acc);
    if (w)
        memcpy(w + i, e, (n - i) * sizeof(*e));
    return lanes_sum(acc);
}

double sample_vec_exp(const float *x, size_t n, float max, float scale,
                      float *w, double *sums)
{
    const float max_scale[2] = {max, scale};
    double all = 0;

    for (size_t i = 0; i < n; i += SAMPLE_BLOCK) {
        size_t k = n - i < SAMPLE_BLOCK ? n - i : SAMPLE_BLOCK;
        double sum = exp_block(x + i, k, max_scale, w ? w + i : NULL);
        if (sums)
            sums[i / SAMPLE_BLOCK] = sum;
        all += sum;
    }
    return all;
}

double sample_vec_exp_sum(const float *x, size_t n, float max)
{
    return sample_vec_exp(x, n, max, 1, NULL, NULL);
}

size_t sample_vec_above(const float *x, size_t n, float floor,
                        struct sample_cand *out, size_t room)
{
    size_t have = 0;

    for (size_t i = 0; i < n; i += LANES) {
        size_t k = n - i < LANES ? n - i : LANES;
        if (k == LANES && !any_above(x + i, floor))
            continue;
        for (size_t l = 0; l < k; l++) {
            if (!(x[i + l] >= floor))
                continue;
            if (have < room)
                out[have] = (struct sample_cand){x[i + l], (int32_t)(i + l)};
            have++;
        }
    }
    return have;
}
