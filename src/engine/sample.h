/* sample.h - From logits to a token: bias, penalties, grammar mask,
 * temperature, top-k, top-p, min-p and a draw. Pure: the same inputs give the
 * same token whatever else is in the batch. */
#ifndef TG_ENGINE_SAMPLE_H
#define TG_ENGINE_SAMPLE_H

#include "base/err.h"
#include "engine/gen.h"

#include <stdint.h>

struct sampler;

/* A sampler of choice <choice> over <n_vocab> tokens; <p> is borrowed until
 * sampler_free(). NULL without memory. */
struct sampler *sampler_new(const struct gen_sampling *p, unsigned choice,
                            unsigned n_vocab);

/* Free; NULL is fine. */
void sampler_free(struct sampler *s);

/* Count <id> as seen: of the prompt (repetition penalty only) or generated. */
void sampler_see(struct sampler *s, int32_t id, bool generated);

/* Choose a token from <logits> (n_vocab, overwritten). <mask>: one bit a token
 * (bit id%64 of word id/64), clear = forbidden; NULL = all allowed. Draw
 * number <step> of this choice: a recomputed sequence draws the same again.
 * -1 when nothing is allowed. */
int32_t sampler_pick(struct sampler *s, float *logits, const uint64_t *mask,
                     uint64_t step);

/* Fill <out> with the log probability of <id> and of the <n_top> likeliest
 * tokens under softmax(<logits>), before any modification. */
void sample_logprobs(const float *logits, unsigned n_vocab, int32_t id,
                     unsigned n_top, struct gen_logprob *out);

#endif
