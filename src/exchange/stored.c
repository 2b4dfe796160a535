/* stored.c - See stored.h. */
#include "exchange/stored.h"

#include <string.h>

#include "exchange/exchange.h"

void stored_take(struct exchange *x, const struct stored_reply *r)
{
    struct work *work = x->work;

    x->fail = (struct fail){.retry_after_ms = -1};
    x->ask->add_usage = false; /* what we had asked for is stripped by now */
    buf_fini(&work->body);
    work->head = r->head;
    work->scan = NULL;
    work->told = NULL;
    work->renamed = false;
    work->passthrough = false;
    work->engine = false;
    work->retry_after_ms = 0;
    work->no_retry = false;
    work->badly = false;
    work->label = r->label;
    work->producer = r->producer;
    work->collected = r->body != NULL;
    if (r->body) {
        work->body = *r->body;
        buf_init(r->body, 0);
    }
}

void stored_name(struct exchange *x, struct str target, struct str target_model,
                 const char finish[32])
{
    x->work->target_name = target;
    x->work->upstream_model = target_model;
    memcpy(x->out->usage.finish, finish, sizeof(x->out->usage.finish));
}
