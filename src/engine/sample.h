/* sample.h - From logits to a token. Pure: the same logits, settings, history
 * and draw number give the same token whatever else is in the batch, and again
 * when a sequence is recomputed.
 *
 * What is done to a row, in this order:
 *   1. logit_bias is added; a bias <= -100 forbids its token.
 *   2. Penalties. Repetition, over each token of prompt and output: a positive
 *      logit is divided by it, another one is multiplied. Then each generated
 *      token loses frequency_penalty * (times it was generated) and, once,
 *      presence_penalty.
 *   3. The grammar's mask: what it lacks is forbidden.
 *   4. temperature. 0 (or below 1e-5) takes the largest logit and ends here;
 *      among equals the lowest id, here and in 5.
 *   5. top_k: the k largest stay.
 *   6. top_p: of these, renormalised, the fewest that together reach p stay,
 *      the likeliest first, at least one.
 *   7. min_p: of these, those at least min_p times as likely as the likeliest.
 *   8. A draw among what is left.
 * NaN is never chosen while there is anything else; +Inf wins. When no allowed
 * token has a logit that can be ranked, the lowest allowed id is chosen. */
#ifndef TG_ENGINE_SAMPLE_H
#define TG_ENGINE_SAMPLE_H

#include "base/err.h"
#include "engine/gen.h"

#include <stdbool.h>
#include <stdint.h>

/* The log probability told for what is impossible: JSON has no infinity. */
#define SAMPLE_LOGPROB_NONE (-9999.0f)

struct krn_draw;
struct sampler;

/* A sampler of choice <choice> over the first <n_vocab> entries of a row
 * (>= 1); <p> is borrowed until sampler_free(). Biases on ids outside of it
 * are passed over. NULL without memory. */
struct sampler *sampler_new(const struct gen_sampling *p, unsigned choice,
                            unsigned n_vocab);

/* Free; NULL is fine. */
void sampler_free(struct sampler *s);

/* Count <id> as seen: of the prompt (repetition penalty only) or generated.
 * Costs nothing when no penalty is asked for. Without memory the next pick
 * fails. */
void sampler_see(struct sampler *s, int32_t id, bool generated);

/* Choose a token from <logits> (n_vocab, overwritten). <mask>: one bit a token
 * (bit id%64 of word id/64), clear = forbidden; NULL = all allowed. Draw
 * number <step> of this choice: a recomputed sequence draws the same again.
 * -1 when nothing is allowed, or without memory. The caller counts the token
 * by sampler_see(). */
int32_t sampler_pick(struct sampler *s, float *logits, const uint64_t *mask,
                     uint64_t step);

/* What sampler_pick() would do with <mask> (borrowed) and number <step>, for a
 * device to do: all of *out but its row and what is told of log probabilities.
 * Borrows what <s> holds until the next call about <s>. False without memory.
 */
bool sampler_ask(struct sampler *s, const uint64_t *mask, uint64_t step,
                 struct krn_draw *out);

/* Fill <out> with the log probability of <id> and of the <n_top> (at most
 * GEN_LOGPROBS_MAX) likeliest tokens, equals by lowest id, under
 * softmax(<logits>), before any modification. Never below
 * SAMPLE_LOGPROB_NONE, which also stands for NaN and for ids that are none;
 * tokens of logit -Inf or NaN are not among the likeliest. */
void sample_logprobs(const float *logits, unsigned n_vocab, int32_t id,
                     unsigned n_top, struct gen_logprob *out);

#endif
