/* sample_logprobs.c - Log probabilities of a row as the model gave it. */
#include "engine/sample.h"

#include <math.h>

#include "engine/sample_vec.h"

/* The log probability of logit <x> in a row of maximum <max> and log sum
 * <log_sum> above it. */
static float logprob_of(float x, float max, double log_sum)
{
    double d = x == max ? 0.0 : (double)x - (double)max;
    float lp = (float)(d - log_sum);

    return lp >= SAMPLE_LOGPROB_NONE ? lp : SAMPLE_LOGPROB_NONE;
}

/* The log of the sum of exp(x - max); infinities are a world of their own. */
static double log_sum_of(const float *x, size_t n, float max)
{
    size_t same = 0;

    if (isfinite(max))
        return log(sample_vec_exp_sum(x, n, max));
    for (size_t i = 0; i < n; i++)
        same += x[i] == max;
    return log(same ? (double)same : 1.0);
}

/* Put the <want> largest of <x> into top[], largest first; how many. */
static unsigned find_top(const float *x, size_t n, unsigned want,
                         struct gen_logprob *out)
{
    float floor = -INFINITY;
    unsigned have = 0;

    for (size_t i = 0; want > 0 && i < n; i++) {
        unsigned at;
        if (!(x[i] > floor))
            continue;
        at = have < want ? have++ : want - 1;
        for (; at > 0 && out->top[at - 1].logprob < x[i]; at--)
            out->top[at] = out->top[at - 1];
        out->top[at].id = (int32_t)i;
        out->top[at].logprob = x[i];
        if (have == want)
            floor = out->top[want - 1].logprob;
    }
    return have;
}

void sample_logprobs(const float *logits, unsigned n_vocab, int32_t id,
                     unsigned n_top, struct gen_logprob *out)
{
    float max = sample_vec_max(logits, n_vocab);
    double log_sum = log_sum_of(logits, n_vocab, max);

    if (n_top > GEN_LOGPROBS_MAX)
        n_top = GEN_LOGPROBS_MAX;
    out->id = id;
    out->logprob = SAMPLE_LOGPROB_NONE;
    if (id >= 0 && (uint32_t)id < n_vocab && max != -INFINITY)
        out->logprob = logprob_of(logits[id], max, log_sum);
    out->n_top = find_top(logits, n_vocab, n_top, out);
    for (unsigned i = 0; i < out->n_top; i++)
        out->top[i].logprob = logprob_of(out->top[i].logprob, max, log_sum);
}
