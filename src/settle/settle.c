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
    return x->w->ledger && x->who->key_id.len > 0 && !was_limited(x) &&
           (x->in->ep.row->flags & ENDPOINT_LOCAL) == 0;
}

/* Give back what the request held of its limits, before its last byte is let
 * go: who waits for the answer to ask again finds its place free. What nobody
 * can tell (outcome H) stays charged. */
static void limits_settle(const struct exchange *x)
{
    struct rate_hold *h = x->who->rate;
    uint64_t tokens = x->bill->input_tok + x->bill->output_tok;

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

/* Store <row>, and give back what was held for it. The accounts know of a row
 * before the ledger does, so that nobody who is new there is counted twice;
 * but what is held is given back when the row that takes its place is safe. */
static void row_put(struct exchange *x, const struct usage_row *row)
{
    struct quota_held held;
    bool is_held = quota_held(x, &held);

    stats_inc(x->w->stats, STAT_ROWS);
    if (!is_held)
        quota_settle(x, row);
    if (ledger_row_put(x->w->ledger, row) != ERR_OK) {
        log_err(LOG_SETTLE, "usage row lost, ledger is full: id=%s", x->name);
        if (x->client)
            x->client->ops->abort(x->client);
    }
    if (is_held) {
        tell_overshoot(x, &held, row);
        quota_settle(x, row);
    }
    soft_note(x);
}

enum verdict settle_run(struct exchange *x)
{
    struct usage_row row;

    BUG_ON(x->bill->done);
    x->bill->done = true;
    row_fill(x, &row);
    if (x->in->ep.row)
        bill_compute(x, &row);
    if (x->in->ep.row && wants_row(x))
        row_put(x, &row);
    limits_settle(x);
    exchange_release(x);
    if (x->client)
        x->client->ops->flush(x->client);
    access_write(x, &row);
    series_count(x, &row);
    unpriced_note(x->w->svc ? x->w->svc->unpriced : NULL, x);
    return VERDICT_GO;
}
