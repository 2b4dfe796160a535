/* bill.c - Outcome classes: E exact usage is known; Z nothing was started or
 * it was refused in full; C a part passed and is estimated; H the upstream may
 * have worked and nobody can tell. */
#include "settle/bill.h"

#include "exchange/exchange.h"
#include "store/row.h"

#define BYTES_PER_TOK 4 /* of plain English; estimates only */

static void take_usage(const struct usage *u, struct usage_row *row)
{
    row->tok[ROW_TOK_INPUT] = (uint64_t)u->input;
    row->tok[ROW_TOK_CACHE_READ] = (uint64_t)u->cache_read;
    row->tok[ROW_TOK_CACHE_WRITE_5M] = (uint64_t)u->cache_write_5m;
    row->tok[ROW_TOK_CACHE_WRITE_1H] = (uint64_t)u->cache_write_1h;
    row->tok[ROW_TOK_OUTPUT] = (uint64_t)u->output;
    row->tok[ROW_TOK_REASONING] = (uint64_t)u->reasoning;
    row->tok[ROW_TOK_AUDIO_IN] = (uint64_t)u->audio_in;
    row->tok[ROW_TOK_AUDIO_OUT] = (uint64_t)u->audio_out;
    row->audio_ms = (uint64_t)u->duration_ms;
}

static uint64_t tok_of_bytes(uint64_t bytes)
{
    return (bytes + BYTES_PER_TOK - 1) / BYTES_PER_TOK;
}

/* Providers send about a token an event; long events hold more. */
static uint64_t estimated_output(const struct reply *out)
{
    uint64_t by_bytes = tok_of_bytes(out->text_bytes);

    return out->events > by_bytes ? out->events : by_bytes;
}

/* Whether the replies are generated text: vectors, ranks and pictures are many
 * bytes of no output tokens that bytes could tell. */
static bool is_text(enum endpoint_usage u)
{
    return u == ENDPOINT_USAGE_CHAT || u == ENDPOINT_USAGE_RESPONSES ||
           u == ENDPOINT_USAGE_MESSAGES || u == ENDPOINT_USAGE_AUDIO;
}

static void estimate(struct exchange *x, struct usage_row *row)
{
    if (!x->out->usage.present)
        row->tok[ROW_TOK_INPUT] = tok_of_bytes(x->in->body_bytes);
    if (x->out->streaming)
        row->tok[ROW_TOK_OUTPUT] = estimated_output(x->out);
    else if (x->work->collected && is_text(x->in->ep.row->usage))
        row->tok[ROW_TOK_OUTPUT] = tok_of_bytes(x->out->bytes);
    row->usage_source = ROW_SOURCE_ESTIMATED;
    row->flags |= ROW_ESTIMATED;
    x->bill->estimated = true;
}

/* Whether the model may have worked for this request. An error that is all a
 * stream says is a refusal, whatever its status. */
static bool was_served(const struct exchange *x)
{
    if (x->out->end == REPLY_INCOMPLETE && !exchange_has_failed(x) &&
        x->out->events == 0 && !x->out->usage.present)
        return false;
    if (x->out->streaming)
        return true;
    return x->work->head && x->work->head->status < 300;
}

/* What the engine counted, which needs nobody's word for it. */
static void take_made(const struct made *made, struct usage_row *row)
{
    row->tok[ROW_TOK_INPUT] = made->input_tok;
    row->tok[ROW_TOK_CACHE_READ] = made->cached_tok;
    row->tok[ROW_TOK_OUTPUT] = made->output_tok;
    row->usage_source = ROW_SOURCE_ENGINE;
}

/* Whether the reply said all that it used: it came whole, or its usage came
 * with its end, be that a failure. */
static bool is_exact(const struct reply *out)
{
    return out->usage.present &&
           (out->end == REPLY_COMPLETE || out->usage_final);
}

static enum outcome outcome_of(const struct exchange *x)
{
    if (x->work->attempts == 0)
        return OUTCOME_Z;
    if (is_exact(x->out) || x->made->counted)
        return OUTCOME_E;
    if (was_served(x))
        return OUTCOME_C;
    if (x->work->head)
        return OUTCOME_Z; /* a complete error reply */
    if (x->fail.err == ERR_CLIENT_GONE || x->fail.err == ERR_DRAINING)
        return x->work->sent ? OUTCOME_H : OUTCOME_Z;
    return err_row(x->fail.err)->outcome;
}

/* Whether tokens are counted for this operation at all. */
static bool is_metered(const struct exchange *x)
{
    enum endpoint_usage u = x->in->ep.row->usage;

    /* Counting tokens generates none and is free at every provider. */
    return u != ENDPOINT_USAGE_NONE && u != ENDPOINT_USAGE_COUNT;
}

void bill_compute(struct exchange *x, struct usage_row *row)
{
    struct bill *b = x->bill;

    b->outcome = outcome_of(x);
    if (x->made->counted) {
        take_made(x->made, row);
    } else if (x->out->usage.present &&
               x->in->ep.row->usage != ENDPOINT_USAGE_COUNT) {
        take_usage(&x->out->usage, row);
        row->usage_source = ROW_SOURCE_UPSTREAM;
    }
    if (is_metered(x) && b->outcome == OUTCOME_C)
        estimate(x, row);
    if (b->outcome == OUTCOME_H) {
        row->flags |= ROW_IN_DOUBT;
        if (is_metered(x))
            estimate(x, row);
    }
    b->input_tok = row_input_tokens(row->tok);
    b->cached_tok = row->tok[ROW_TOK_CACHE_READ];
    b->output_tok = row_output_tokens(row->tok);
}
