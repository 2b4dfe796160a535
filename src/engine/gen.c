/* gen.c - Jobs and events are born and freed here. */
#include "engine/gen.h"

#include <stdlib.h>

#include "base/arena.h"
#include "token/grammar.h"

#define JOB_FIRST 4096

struct gen_job *gen_job_new(size_t cap)
{
    struct gen_job *j = calloc(1, sizeof(*j));

    if (!j)
        return NULL;
    j->arena = arena_new(JOB_FIRST, cap);
    if (!j->arena) {
        free(j);
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
    arena_free(j->arena);
    free(j);
}

void gen_event_free(struct gen_event *ev)
{
    free(ev);
}
