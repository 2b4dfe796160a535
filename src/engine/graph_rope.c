/* graph_rope.c - By how much a position turns a pair of a head: the plain
 * geometric series and the ways of stretching it, all in double precision. */
#include "engine/graph_priv.h"

#include <math.h>

#define TURN 6.28318530717958647692

/* Llama 3: waves longer than the trained context are slowed by the factor,
 * short ones stay, and those between are blended by how often they turn. */
static double llama3(const struct model_rope *r, double freq)
{
    double turns = (double)r->orig_context * freq / TURN;
    double blend;

    if (turns < (double)r->low_freq)
        return freq / (double)r->factor;
    if (turns > (double)r->high_freq)
        return freq;
    blend = (turns - (double)r->low_freq) /
            ((double)r->high_freq - (double)r->low_freq);
    return (1 - blend) * freq / (double)r->factor + blend * freq;
}

/* The pair, as a fraction, that turns <beta> times in the trained context. */
static double yarn_pair(const struct model_rope *r, double beta)
{
    return (double)r->n_rot * log((double)r->orig_context / (beta * TURN)) /
           (2 * log((double)r->base));
}

/* YaRN: pairs that turn often stay, those that turn rarely are slowed by the
 * factor, with a ramp over the pairs between. */
static double yarn(const struct model_rope *r, unsigned pair, double freq)
{
    double low = floor(yarn_pair(r, (double)r->beta_fast));
    double high = ceil(yarn_pair(r, (double)r->beta_slow));
    double ramp, keep;

    low = fmax(low, 0);
    high = fmin(high, (double)r->n_rot - 1);
    ramp = ((double)pair - low) / fmax(high - low, 0.001);
    ramp = fmin(fmax(ramp, 0), 1);
    keep = (1 - ramp) * (double)r->ext_factor;
    return freq / (double)r->factor * (1 - keep) + freq * keep;
}

void graph_rope_freqs(const struct model_rope *r, double *out)
{
    for (unsigned i = 0; i < r->n_rot / 2; i++) {
        double freq = pow((double)r->base, -2.0 * i / r->n_rot);

        if (r->divisors)
            freq /= (double)r->divisors[i];
        if (r->scaling == MODEL_ROPE_LINEAR)
            freq /= (double)r->factor;
        else if (r->scaling == MODEL_ROPE_LLAMA3)
            freq = llama3(r, freq);
        else if (r->scaling == MODEL_ROPE_YARN)
            freq = yarn(r, i, freq);
        out[i] = freq;
    }
}
