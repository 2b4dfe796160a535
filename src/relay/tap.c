/* tap.c - See tap.h. Of errors those are shared that the request itself is to
 * blame for, and that it would meet again; of any other one a retry may know
 * better. */
#include "relay/tap.h"

#include "exchange/exchange.h"
#include "exchange/tape.h"
#include "wire/jscan.h"
#include "wire/sse.h"

/* The tape that is to be written, or NULL. */
static struct tape *tape_of(const struct exchange *x)
{
    return x->found->how == RECALL_MISS ? x->found->tape : NULL;
}

static bool is_shared(const struct exchange *x, const struct reply_head *head)
{
    if (x->work->capped || headers_are_coded(&x->work->head->headers))
        return false;
    if (x->found->retries)
        return true;
    if (x->work->badly)
        return false;
    switch (head->status) {
    case 400:
    case 404:
    case 405:
    case 413:
    case 415:
    case 422:
        return true;
    default:
        return head->status >= 200 && head->status < 300;
    }
}

/* Whether the tape runs. */
static bool begin(struct exchange *x, const struct reply_head *head,
                  bool events)
{
    struct tape *t = tape_of(x);
    const struct tape_head h = {
        .status = head->status,
        .type = headers_value(&x->work->head->headers, STR("Content-Type")),
        .events = events,
    };

    if (!t || !is_shared(x, head))
        return false;
    tape_start(t, &h);
    return true;
}

void tap_start(struct exchange *x, const struct reply_head *head, bool events)
{
    x->out->taped = begin(x, head, events);
}

void tap_put(struct exchange *x, struct str bytes)
{
    if (x->out->taped)
        tape_put(x->found->tape, bytes);
}

bool tap_is_shared(const struct exchange *x)
{
    return x->out->taped && tape_readers(x->found->tape) > 0 &&
           tape_is_whole(x->found->tape);
}

void tap_event(struct exchange *x, const struct sse_event *ev,
               const struct sse_verdict *v)
{
    if (x->out->taped && ev->has_data && !v->done && !v->scanned &&
        !jscan_is_valid(ev->data))
        x->out->spoiled = true;
}

void tap_done(struct exchange *x)
{
    x->out->whole = x->out->taped && !x->out->spoiled;
}

void tap_whole(struct exchange *x, struct str body)
{
    tap_start(x, x->work->head, false);
    tap_put(x, body);
    tap_done(x);
}
