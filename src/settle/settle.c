/* settle.c - The order matters: the row first, since nothing of the last bytes
 * may reach the client before it is safe; then those bytes; then what people
 * and dashboards read. */
#include "settle/settle.h"

#include "account/ledger.h"
#include "account/rate.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/panic.h"
#include "exchange/exchange.h"
#include "exchange/leg.h"
#include "exchange/quota.h"
#include "exchange/soft.h"
#include "settle/access.h"
#include "settle/bill.h"
#include "settle/series.h"
#include "settle/unpriced.h"

static uint32_t ms_between(int64_t from_us, int64_t to_us)
{
    int64_t ms = (to_us - from_us) / 1000;

    if (to_us == 0 || ms < 0)
        return 0;
    return ms > UINT32_MAX ? UINT32_MAX : (uint32_t)ms;
}

static struct str reason_of(const struct exchange *x)
{
    if (exchange_has_failed(x))
        return str_from(err_name(x->fail.err));
    if (x->out->end == REPLY_INCOMPLETE)
        return STR("up_error_event");
    return STR("");
}

static uint16_t status_of(const struct exchange *x)
{
    if (x->out->end == REPLY_GONE)
        return 499;
    return (uint16_t)x->out->status;
}

static uint16_t flags_of(const struct exchange *x)
{
    uint16_t flags = 0;

    if (x->out->streaming || x->ask->stream)
        flags |= ROW_STREAM;
    if (x->out->end == REPLY_GONE)
        flags |= ROW_CLIENT_GONE;
    if (x->out->end == REPLY_INCOMPLETE)
        flags |= ROW_INCOMPLETE;
    if (x->work->passthrough)
        flags |= ROW_PASSED;
    return flags;
}

static void row_fill(const struct exchange *x, struct usage_row *row)
{
    int64_t now_us = (int64_t)clock_mono_us();

    *row = (struct usage_row){
        .id = str_from(x->name),
        .time_wall_ms = x->start_wall_ms,
        .budget_ms = quota_time_ms(x),
        .key_id = x->who->key_id,
        .team = x->who->team,
        .endpoint = str_from(x->in->ep.row ? x->in->ep.row->name : "bad"),
        .model = x->ask->model,
        .target = x->work->target_name,
        .target_model = x->work->upstream_model,
        .reason = reason_of(x),
        .finish = str_from(x->out->usage.finish),
        .status = status_of(x),
        .flags = flags_of(x),
        .attempts =
            (uint8_t)(x->work->attempts > 255 ? 255 : x->work->attempts),
        .ms_total = ms_between(x->start_us, now_us),
        .ms_first_byte = ms_between(x->start_us, x->out->first_us),
        .bytes_in = x->in->body_bytes,
        .bytes_out = x->out->bytes,
        .hold = quota_hold_id(x),
    };
}

static uint16_t leg_status(const struct leg *leg)
{
    if (leg->status > 0 || leg->why == ERR_OK)
        return (uint16_t)leg->status;
    return (uint16_t)err_row(leg->why)->status;
}

/* The row of <leg>; one that is still open ends with its request. */
static void row_fill_leg(const struct exchange *x, const struct leg *leg,
                         struct usage_row *row)
{
    const enum err why = leg->open ? x->fail.err : leg->why;
    const struct str hold = quota_part_id(leg->part);

    *row = (struct usage_row){
        .id = str_from(leg->id),
        .parent = str_from(x->name),
        .hold = str_eq(hold, str_from(leg->id)) ? STR("") : hold,
        .time_wall_ms = x->start_wall_ms,
        .budget_ms = quota_part_time_ms(leg->part),
        .key_id = x->who->key_id,
        .team = x->who->team,
        .endpoint = str_from(x->in->ep.row->name),
        .model = x->ask->model,
        .target = leg->target_name,
        .target_model = leg->upstream_model,
        .reason = why == ERR_OK ? STR("not_needed") : str_from(err_name(why)),
        .status = leg_status(leg),
        .flags = ROW_LEG | (x->ask->stream ? ROW_STREAM : 0),
        .attempts = 1,
        .ms_total = leg->ms > UINT32_MAX ? UINT32_MAX : (uint32_t)leg->ms,
        .bytes_in = leg->sent ? x->in->body_bytes : 0,
    };
}

/* Whether a limit of the caller refused it. */
static bool was_limited(const struct exchange *x)
{
    enum err e = x->fail.err;

    if (e == ERR_QUOTA)
        return true;
    return x->work->attempts == 0 &&
           (e == ERR_RATE_REQUESTS || e == ERR_RATE_TOKENS ||
            e == ERR_RATE_PARALLEL || e == ERR_RATE_SIZE);
}

/* Rows are for callers: what no key asked for leaves only its log line, and so
 * does what a limit refused: a flood of that must not fill the disk. */
static bool wants_row(const struct exchange *x)
{
    struct quota_held held;

    if (quota_held(x, &held)) /* which only a row can take the place of */
        return true;
    if (x->work->legs) /* which have been worked for */
        return x->w->ledger && x->who->key_id.len > 0;
    return x->w->ledger && x->who->key_id.len > 0 && !was_limited(x) &&
           (x->in->ep.row->flags & ENDPOINT_LOCAL) == 0;
}

/* Give back what the request held of its limits, before its last byte is let
 * go: who waits for the answer to ask again finds its place free. What nobody
 * can tell (outcome H) stays charged. */
static void limits_settle(const struct exchange *x, const struct usage_row *row,
                          uint64_t legs_tok)
{
    struct rate_hold *h = x->who->rate;
    uint64_t tokens = x->bill->input_tok + x->bill->output_tok;

    /* limits are for what is asked of us, too, not of upstreams alone */
    if (tokens < row->saved_input_tok + row->saved_output_tok)
        tokens = row->saved_input_tok + row->saved_output_tok;
    tokens += legs_tok;
    if (!h)
        return;
    if (x->bill->outcome == OUTCOME_H && tokens < h->tokens)
        tokens = h->tokens;
    rate_end(h, tokens, clock_mono_us());
}

/* An upstream that takes more than it was allowed may pass a hard budget: its
 * word is charged, and somebody should know. */
static void tell_overshoot(const struct exchange *x,
                           const struct quota_held *held,
                           const struct usage_row *row)
{
    const uint64_t in = row_input_tokens(row->tok);
    const uint64_t out = row_output_tokens(row->tok);

    if (in <= held->input_tok && out <= held->output_tok)
        return;
    log_warn(
        LOG_SETTLE,
        "upstream took more than was held: id=%s target=%.*s input=%llu of "
        "%llu output=%llu of %llu",
        x->name, STR_ARG(row->target), (unsigned long long)in,
        (unsigned long long)held->input_tok, (unsigned long long)out,
        (unsigned long long)held->output_tok);
}

/* Store <row>, and settle <part> or, where that is NULL, what <x> holds. The
 * accounts know of a row before the ledger does, so that nobody who is new
 * there is counted twice; but what is held is given back when the row that
 * takes its place is safe. */
static void row_put(struct exchange *x, struct quota_part *part,
                    const struct usage_row *row)
{
    struct quota_held held;
    bool is_held = part ? quota_part_held(part, &held) : quota_held(x, &held);

    stats_inc(x->w->stats, STAT_ROWS);
    if (!is_held)
        quota_part_settle(x, NULL, row);
    if (ledger_row_put(x->w->ledger, row) != ERR_OK) {
        log_err(LOG_SETTLE, "usage row lost, ledger is full: id=%s", x->name);
        if (x->client)
            x->client->ops->abort(x->client);
    }
    if (!is_held)
        return;
    tell_overshoot(x, &held, row);
    if (part)
        quota_part_settle(x, part, row);
    else
        quota_settle(x, row);
}

/* Settle one leg; gives its tokens. */
static uint64_t leg_settle(struct exchange *x, struct leg *leg)
{
    struct quota_held held;
    struct usage_row row;
    unsigned marks;

    if (leg->free && !quota_part_held(leg->part, &held))
        return 0;
    row_fill_leg(x, leg, &row);
    marks = bill_leg(x, leg, &row);
    if (x->w->ledger && x->who->key_id.len > 0)
        row_put(x, leg->part, &row);
    series_count_leg(x, leg->label, &row);
    unpriced_note(x->w->svc ? x->w->svc->unpriced : NULL, x, marks,
                  leg->target_name, leg->upstream_model);
    return row_input_tokens(row.tok) + row_output_tokens(row.tok);
}

static uint64_t legs_settle(struct exchange *x)
{
    uint64_t tokens = 0;

    for (struct leg *leg = x->work->legs; leg; leg = leg->next)
        tokens += leg_settle(x, leg);
    return tokens;
}

enum verdict settle_run(struct exchange *x)
{
    struct usage_row row;
    uint64_t legs_tok;

    BUG_ON(x->bill->done);
    x->bill->done = true;
    row_fill(x, &row);
    if (x->in->ep.row)
        bill_compute(x, &row);
    legs_tok = legs_settle(x);
    if (x->in->ep.row && wants_row(x)) {
        row_put(x, NULL, &row);
        soft_note(x);
    }
    if (x->found->settled)
        x->found->settled(x, &row);
    limits_settle(x, &row, legs_tok);
    exchange_release(x);
    if (x->client)
        x->client->ops->flush(x->client);
    access_write(x, &row);
    series_count(x, &row);
    unpriced_note(x->w->svc ? x->w->svc->unpriced : NULL, x,
                  x->bill->price_marks, x->work->target_name,
                  x->work->upstream_model);
    return VERDICT_GO;
}
