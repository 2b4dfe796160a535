/* cuda_step.c - A step's operations as a recorded graph. Those of the first
 * decode step of a shape are queued as they come, those of the second are
 * captured, later steps repeat what was captured; all other steps are queued as
 * they come. What cannot be captured ends all recording, not the context: that
 * one step is lost, which its caller begins again.
 *
 *   step_begin: check, upload --> plain | capture begins | repeat
 *   step_end:                     -     | launch it      | launch it */
#include <stdio.h>
#include <stdlib.h>

#include "kernels/cuda/cuda_inputs.h"

/* Most recordings; the one not used for longest goes first. */
#define RECORD_MAX 64

/* A shape that was seen. */
struct entry {
    struct shape shape;
    CUgraphExec exec; /* owned; NULL until it was recorded */
    uint64_t used;    /* when it was used last */
};

/* What becomes of the operations of the step that is begun. */
enum mode {
    MODE_NONE = 0, /* no step is begun */
    MODE_PLAIN,    /* queued as they come */
    MODE_CAPTURE,  /* captured, launched at the end */
    MODE_AGAIN,    /* none come, what was captured is launched */
};

/* The context's steps. */
struct cuda_record {
    struct inputs inputs;
    struct entry entry[RECORD_MAX];
    unsigned n;
    uint64_t clock;    /* counts steps */
    struct entry *now; /* that of the step begun, or NULL */
    enum mode mode;
};

enum krn_status cuda_record_open(struct cuda *d)
{
    struct cuda_record *r = calloc(1, sizeof(*r));

    if (!r)
        return KRN_NOMEM;
    d->record = r;
    return inputs_open(d, &r->inputs);
}

void cuda_record_drop(struct cuda *d)
{
    struct cuda_record *r = d->record;

    if (!r)
        return;
    for (unsigned i = 0; i < r->n; i++) {
        if (r->entry[i].exec)
            (void)d->drv->graph_exec_destroy(r->entry[i].exec);
    }
    r->n = 0;
    r->now = NULL;
}

void cuda_record_close(struct cuda *d)
{
    struct cuda_record *r = d->record;

    if (!r)
        return;
    cuda_record_drop(d);
    inputs_close(d, &r->inputs);
    free(r);
    d->record = NULL;
}

unsigned cuda_step_rows(const struct krn_ctx *c, unsigned most)
{
    (void)c;
    return inputs_bucket(most);
}

static bool shapes_are_same(const struct shape *a, const struct shape *b)
{
    return a->kind == b->kind && a->m == b->m && a->n_wanted == b->n_wanted &&
           a->n_seq == b->n_seq && a->max_pages == b->max_pages &&
           a->n_kv_head == b->n_kv_head && a->pages == b->pages;
}

/* The entry of <s>, made when there is none: *fresh is set then. */
static struct entry *entry_of(struct cuda *d, const struct shape *s,
                              bool *fresh)
{
    struct cuda_record *r = d->record;
    struct entry *e = r->entry;

    *fresh = false;
    for (unsigned i = 0; i < r->n; i++) {
        if (shapes_are_same(&r->entry[i].shape, s))
            return &r->entry[i];
        if (r->entry[i].used < e->used)
            e = &r->entry[i];
    }
    if (r->n < RECORD_MAX)
        e = &r->entry[r->n++];
    else if (e->exec)
        (void)d->drv->graph_exec_destroy(e->exec);
    *e = (struct entry){.shape = *s};
    *fresh = true;
    return e;
}

/* --- recording ----------------------------------------------------------- */

/* Record no more, because of <what>. */
static void record_stop(struct cuda *d, const char *what, CUresult r)
{
    if (r != CUDA_SUCCESS && d->record_why[0] == '\0')
        snprintf(d->record_why, sizeof(d->record_why), "%s: %s", what,
                 drv_error(d->drv, r));
    d->record_off = true;
}

/* What becomes of the operations of a step of shape <s>. */
static enum krn_status mode_choose(struct cuda *d, const struct shape *s)
{
    struct cuda_record *r = d->record;
    bool fresh;
    CUresult res;

    r->mode = MODE_PLAIN;
    if (d->record_off)
        return KRN_OK;
    r->now = entry_of(d, s, &fresh);
    r->now->used = ++r->clock;
    if (fresh)
        return KRN_OK;
    if (r->now->exec) {
        r->mode = MODE_AGAIN;
        return KRN_OK;
    }
    res = d->drv->capture_begin(d->compute, CU_STREAM_CAPTURE_MODE_RELAXED);
    if (res == CUDA_SUCCESS) {
        r->mode = MODE_CAPTURE;
        d->recording = true;
        d->record_failed = false;
        return KRN_OK;
    }
    record_stop(d, "capturing a step", res);
    return KRN_OK;
}

enum krn_status cuda_step_begin(struct krn_ctx *c, const struct krn_step *s,
                                struct krn_pass *out)
{
    struct cuda *d = c->cuda;
    struct cuda_record *r = d->record;
    struct shape shape;
    bool decode = false;
    enum krn_status st = cuda_enter(d);

    if (st != KRN_OK)
        return st;
    if (r->mode != MODE_NONE || s->kv->dtype == KRN_F32)
        return KRN_BAD_SHAPE;
    st = inputs_shape(&r->inputs, s, &shape, &decode);
    if (st == KRN_OK)
        st = cuda_copy_join(d);
    if (st != KRN_OK)
        return st;
    st = inputs_upload(d, &r->inputs, s, &shape);
    if (st != KRN_OK)
        return st;
    r->now = NULL;
    r->mode = MODE_PLAIN;
    if (decode)
        st = mode_choose(d, &shape);
    *out = (struct krn_pass){shape.m, shape.n_wanted, r->mode == MODE_AGAIN};
    return st;
}

/* End the capture and launch what it holds, unless the step <failed>. */
static enum krn_status capture_finish(struct cuda *d, bool failed)
{
    struct cuda_record *r = d->record;
    CUgraph graph = NULL;
    CUgraphExec exec = NULL;
    CUresult res = d->drv->capture_end(d->compute, &graph);

    d->recording = false;
    if (d->record_failed || res != CUDA_SUCCESS || !graph) {
        record_stop(d, "capturing a step", res);
        if (graph)
            (void)d->drv->graph_destroy(graph);
        return KRN_UNSUPPORTED;
    }
    if (failed || !r->now) {
        (void)d->drv->graph_destroy(graph);
        return KRN_UNSUPPORTED;
    }
    res = d->drv->graph_instantiate(&exec, graph, 0);
    (void)d->drv->graph_destroy(graph);
    if (res != CUDA_SUCCESS) {
        record_stop(d, "making a graph of a step", res);
        return KRN_UNSUPPORTED;
    }
    r->now->exec = exec;
    return cuda_check(d, d->drv->graph_launch(exec, d->compute),
                      "launching a step");
}

enum krn_status cuda_step_end(struct krn_ctx *c)
{
    struct cuda *d = c->cuda;
    struct cuda_record *r = d->record;
    const enum mode mode = r->mode;
    const bool failed = c->stage == KRN_FAILED;
    enum krn_status st = KRN_OK;

    r->mode = MODE_NONE;
    if (mode == MODE_CAPTURE)
        st = capture_finish(d, failed);
    else if (d->dead)
        st = KRN_DEVICE;
    else if (mode == MODE_AGAIN && !r->now)
        st = KRN_UNSUPPORTED; /* it was dropped meanwhile */
    else if (mode == MODE_AGAIN && !failed)
        st = cuda_check(d, d->drv->graph_launch(r->now->exec, d->compute),
                        "launching a step");
    else if (mode == MODE_PLAIN)
        cuda_plans_save(d); /* the first of its shape measured them */
    r->now = NULL;
    return failed ? KRN_OK : st;
}
