/* quota_text.c - What clients are told of a budget: which one, what is left of
 * it, and when it begins anew. */
#include <inttypes.h>

#include "base/clock.h"
#include "base/log.h"
#include "exchange/exchange.h"
#include "exchange/quota_priv.h"

static const char *whose(const struct accounts_no *no)
{
    return no->is_team ? "this key's team" : "this key";
}

/* <amount> of <unit> for people, "1234 tokens", "1 input token", "$0.25". */
static struct str amount_text(struct exchange *x, enum budget_unit unit,
                              int64_t amount)
{
    static const char *const nouns[BUDGET_UNIT_COUNT] = {"token", "input token",
                                                         "output token", ""};
    char usd[PRICE_USD_SIZE];

    if (unit != BUDGET_NUSD)
        return str_from(arena_printf(x->arena, "%" PRId64 " %s%s", amount,
                                     nouns[unit], amount == 1 ? "" : "s"));
    return str_from(arena_printf(x->arena, "$%.*s",
                                 STR_ARG(price_print_short(amount, usd))));
}

/* When <no> is renewed: "It begins anew at ..., in 3h5m0s." */
static const char *reset_text(struct exchange *x, const struct accounts_no *no)
{
    const int64_t now_ms = accounts_now_ms(x->work->quota->a);
    char at[CLOCK_RFC3339_SIZE], span[CLOCK_SPAN_SIZE];

    if (no->resets_ms == INT64_MAX)
        return "It is for all time.";
    clock_format_rfc3339((uint64_t)no->resets_ms, at);
    clock_format_span(
        (uint64_t)(no->resets_ms > now_ms ? no->resets_ms - now_ms : 0) / 1000 *
            1000,
        span);
    return arena_printf(x->arena, "It begins anew at %s, in %s.", at, span);
}

static struct str spec_text(struct exchange *x, const struct accounts_no *no)
{
    struct str text = STR("");
    struct buf b;

    buf_init(&b, 256);
    if (budget_spec_print(&no->spec, &b) == ERR_OK)
        text = arena_dup(x->arena, buf_str(&b));
    buf_fini(&b);
    return text.p ? text : STR("");
}

enum quota_answer quota_refuse(struct exchange *x,
                               const struct budget_amounts *needs)
{
    const struct accounts_no *no = &x->work->quota->no;

    if (x->work->quota->again)
        return QUOTA_OVER;
    stats_budget(&x->w->stats->budget_refused, no->is_team, &no->spec);
    log_debug(LOG_ADMIT, "over budget: id=%s key=%.*s team=%d", x->name,
              STR_ARG(x->who->key_id), no->is_team);
    (void)exchange_fail(
        x, ERR_QUOTA,
        "The budget of %s does not cover this request: %.*s has %.*s left, "
        "and the request may take %.*s or more. %s",
        whose(no), STR_ARG(spec_text(x, no)),
        STR_ARG(amount_text(x, no->spec.unit, no->left)),
        STR_ARG(amount_text(x, no->spec.unit, needs->of[no->spec.unit])),
        reset_text(x, no));
    return QUOTA_OVER;
}

enum quota_answer quota_refuse_unpriced(struct exchange *x, unsigned marks)
{
    const char *why = (marks & PRICE_MISSING) != 0 ? "has no price"
                      : (marks & PRICE_STALE) != 0
                          ? "has a price that was not checked for too long"
                          : "has no price for all that it may use";

    if (x->work->quota->again)
        return QUOTA_OVER;

    stats_inc(x->w->stats, STAT_BUDGET_UNPRICED);
    (void)exchange_fail_param(
        x, ERR_QUOTA, "model",
        "A hard budget of money bounds this key, and the model '%.*s' %s, so "
        "that nobody can tell what the request may cost. The operator sets "
        "that right in the price file.",
        (int)(x->ask->model.len > 128 ? 128 : x->ask->model.len),
        x->ask->model.p, why);
    return QUOTA_OVER;
}

const char *quota_text_end(struct exchange *x)
{
    const struct accounts_no *no = &x->work->quota->no;

    return arena_printf(x->arena, "The budget of %s ends here: %.*s. %s",
                        whose(no), STR_ARG(spec_text(x, no)),
                        reset_text(x, no));
}
