/* cost.c - See cost.h. Decides which requests have a cost, and when a price
 * does not tell all of it. */
#include "exchange/cost.h"

#include "conf/conf.h"
#include "exchange/charge.h"
#include "exchange/exchange.h"
#include "exchange/leg.h"

#define BYTES_PER_TOK 4 /* of plain English */

uint64_t cost_guess_output(const struct reply *out)
{
    const uint64_t by_bytes =
        (out->text_bytes + BYTES_PER_TOK - 1) / BYTES_PER_TOK;

    return out->events > by_bytes ? out->events : by_bytes;
}

static enum row_source use_of(const struct made *made, const struct usage *u,
                              struct cost_use *out)
{
    *out = (struct cost_use){.audio_ms = 0};
    if (made->counted) {
        out->tok[ROW_TOK_INPUT] = made->input_tok;
        out->tok[ROW_TOK_CACHE_READ] = made->cached_tok;
        out->tok[ROW_TOK_OUTPUT] = made->output_tok;
        return ROW_SOURCE_ENGINE;
    }
    if (!u->present)
        return ROW_SOURCE_NONE;
    out->tok[ROW_TOK_INPUT] = (uint64_t)u->input;
    out->tok[ROW_TOK_CACHE_READ] = (uint64_t)u->cache_read;
    out->tok[ROW_TOK_CACHE_WRITE_5M] = (uint64_t)u->cache_write_5m;
    out->tok[ROW_TOK_CACHE_WRITE_1H] = (uint64_t)u->cache_write_1h;
    out->tok[ROW_TOK_OUTPUT] = (uint64_t)u->output;
    out->tok[ROW_TOK_REASONING] = (uint64_t)u->reasoning;
    out->tok[ROW_TOK_AUDIO_IN] = (uint64_t)u->audio_in;
    out->tok[ROW_TOK_AUDIO_OUT] = (uint64_t)u->audio_out;
    out->audio_ms = (uint64_t)u->duration_ms;
    return ROW_SOURCE_UPSTREAM;
}

/* Counting tokens says what others would take. */
static struct usage usage_due(const struct exchange *x, const struct usage *u)
{
    return x->in->ep.row->usage == ENDPOINT_USAGE_COUNT
               ? (struct usage){.present = false}
               : *u;
}

/* What was told of the reply that <x> ended with. */
static const struct usage *usage_of(const struct exchange *x)
{
    return x->out->usage.present || !x->work->told ? &x->out->usage
                                                   : x->work->told;
}

enum row_source cost_use_of(const struct exchange *x, struct cost_use *out)
{
    const struct usage u = usage_due(x, usage_of(x));

    return use_of(x->made, &u, out);
}

enum row_source cost_use_of_leg(const struct exchange *x, const struct leg *leg,
                                struct cost_use *out)
{
    const struct usage u = usage_due(x, &leg->usage);

    return use_of(&leg->made, &u, out);
}

/* Whether <u> leaves nothing out that the operation of <x> costs. */
static bool is_told(const struct exchange *x, const struct usage *u)
{
    unsigned least = 0;

    switch (x->in->ep.row->usage) {
    case ENDPOINT_USAGE_CHAT:
    case ENDPOINT_USAGE_RESPONSES:
    case ENDPOINT_USAGE_MESSAGES:
        least = USAGE_INPUT | USAGE_OUTPUT;
        break;
    case ENDPOINT_USAGE_EMBEDDINGS:
        least = USAGE_INPUT;
        break;
    default:
        break;
    }
    return u->present && (u->said & least) == least;
}

bool cost_is_told(const struct exchange *x)
{
    return !x->out->usage_passed && is_told(x, usage_of(x));
}

bool cost_is_told_of_leg(const struct exchange *x, const struct leg *leg)
{
    return leg->made.counted || is_told(x, &leg->usage);
}

bool cost_is_due(const struct exchange *x)
{
    const struct endpoint_row *row = x->in->ep.row;

    if (row->usage != ENDPOINT_USAGE_NONE)
        return row->usage != ENDPOINT_USAGE_COUNT;
    if ((row->flags & (ENDPOINT_LOCAL | ENDPOINT_ENGINE)) != 0 ||
        row->kind == ENDPOINT_FILE_UPLOAD)
        return false;
    return x->in->head.method == HTTP1_POST || x->in->head.websocket;
}

/* Whether the counts of <x> leave out what its price is for: operations that
 * tell no usage, and pictures and sound of which bytes tell nothing. */
static bool is_blind(const struct exchange *x, bool estimated)
{
    switch (x->in->ep.row->usage) {
    case ENDPOINT_USAGE_NONE:
        return true;
    case ENDPOINT_USAGE_IMAGE:
    case ENDPOINT_USAGE_AUDIO:
        return estimated;
    default:
        return false;
    }
}

static struct price_cost cost_at(const struct exchange *x,
                                 const struct price_quote *q,
                                 const struct cost_use *use, bool estimated)
{
    struct price_cost c = price_cost(q, use->tok, use->audio_ms);

    if (q->price && is_blind(x, estimated) &&
        (q->price->given & (1U << CONF_PRICE_REQUEST)) == 0)
        c.marks |= PRICE_PART;
    return c;
}

struct price_cost cost_of(const struct exchange *x, const struct cost_use *use,
                          bool estimated)
{
    struct price_quote q;

    if (x->work->attempts == 0 || !cost_is_due(x))
        return (struct price_cost){.nusd = 0};
    q = price_find(&x->conf->price, x->work->target_name,
                   x->work->upstream_model, x->work->engine, x->start_wall_ms);
    return cost_at(x, &q, use, estimated);
}

struct price_cost cost_of_leg(const struct exchange *x, const struct leg *leg,
                              const struct cost_use *use, bool estimated)
{
    struct price_quote q;

    if (!cost_is_due(x))
        return (struct price_cost){.nusd = 0};
    q = price_find(&x->conf->price, leg->target_name, leg->upstream_model,
                   leg->engine, x->start_wall_ms);
    return cost_at(x, &q, use, estimated);
}

bool cost_before_body(const struct exchange *x, struct price_cost *out)
{
    const struct reply_head *head = x->work->head;
    struct cost_use use;

    if (!head || head->status >= 300 || x->out->streaming || x->ask->stream)
        return false;
    if (charge_is_shared(x)) {
        *out = (struct price_cost){.nusd = 0};
        return charge_cost(x, &out->nusd);
    }
    if (cost_use_of(x, &use) == ROW_SOURCE_NONE ||
        (!x->made->counted && !cost_is_told(x)))
        return false;
    *out = cost_of(x, &use, false);
    return (out->marks & PRICE_MISSING) == 0;
}
