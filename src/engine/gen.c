/* gen.c - Jobs and events are born and freed here. */
#include "engine/gen.h"

#include <stdlib.h>

#include "base/arena.h"
#include "engine/meter.h"
#include "token/grammar.h"

#define JOB_FIRST 4096

struct gen_job *gen_job_new(size_t cap)
{
    struct gen_job *j = calloc(1, sizeof(*j));

    if (!j)
        return NULL;
    j->arena = arena_new(JOB_FIRST, cap);
    j->last = calloc(1, sizeof(*j->last));
    if (!j->arena || !j->last) {
        gen_job_free(j);
        return NULL;
    }
    j->n = 1;
    j->max_tokens = 1;
    j->sampling.temperature = 1;
    j->sampling.top_p = 1;
    j->sampling.repetition_penalty = 1;
    return j;
}

void gen_job_free(struct gen_job *j)
{
    if (!j)
        return;
    grammar_unref(j->grammar);
    meter_unref(j->meter);
    arena_free(j->arena);
    free(j->last);
    free(j);
}

struct gen_event *gen_event_new(const struct gen_job *j,
                                enum gen_event_kind kind, size_t n_text,
                                size_t n_logprobs, size_t n_vector)
{
    struct gen_event *ev =
        calloc(1, sizeof(*ev) + n_logprobs * sizeof(struct gen_logprob) +
                      n_vector * sizeof(float) + n_text);

    if (!ev)
        return NULL;
    ev->job = j->id;
    ev->kind = kind;
    ev->stop_index = -1;
    ev->stop_id = -1;
    ev->retry_after_ms = -1;
    ev->n_logprobs = (unsigned)n_logprobs;
    ev->n_vector = n_vector;
    ev->logprobs = gen_event_logprobs(ev);
    ev->vector = gen_event_vector(ev);
    ev->text = str_of(gen_event_text(ev), n_text);
    return ev;
}

struct gen_logprob *gen_event_logprobs(struct gen_event *ev)
{
    return (struct gen_logprob *)(void *)(ev + 1);
}

float *gen_event_vector(struct gen_event *ev)
{
    return (float *)(void *)(gen_event_logprobs(ev) + ev->n_logprobs);
}

char *gen_event_text(struct gen_event *ev)
{
    return (char *)(gen_event_vector(ev) + ev->n_vector);
}

void gen_event_free(struct gen_event *ev)
{
    free(ev);
}
