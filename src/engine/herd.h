/* herd.h - Which of a model's schedulers, one a device, a job goes to: where
 * the beginning of its prompt is remembered, unless others have so much less to
 * do that computing it there comes sooner. What is remembered is a guess: a
 * wrong one costs time and nothing else. Any thread. */
#ifndef TG_ENGINE_HERD_H
#define TG_ENGINE_HERD_H

#include "engine/gen.h"

/* Most schedulers of a model. */
#define HERD_MAX 16

struct herd;
struct sched;

/* A herd of <n> schedulers (1 .. HERD_MAX), borrowed, whose pages hold
 * <page_tokens>. NULL without memory. */
struct herd *herd_new(struct sched *const *scheds, unsigned n,
                      unsigned page_tokens);

/* Free; NULL is fine. */
void herd_free(struct herd *h);

/* The scheduler for <j>, which is then expected to go there. */
struct sched *herd_place(struct herd *h, const struct gen_job *j);

#endif
