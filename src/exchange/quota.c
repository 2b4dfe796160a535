/* quota.c - See quota.h. A request that does not fit is tried in this order:
 *
 *   as it asks        it fits: held
 *   what could fit    were nothing held for others, when it asks more than is
 *                     not yet spent
 *   waiting           while others hold what it needs, for a while
 *   what fits now     when it has waited long enough: a fair part of it
 *   waiting           for the least that is worth it, for longer
 *   refused
 *
 * and in each step not below the output that is worth it. */
#include "exchange/quota.h"

#include "account/key.h"
#include "account/keytab.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/panic.h"
#include "conf/conf.h"
#include "exchange/exchange.h"
#include "exchange/quota_priv.h"

/* How often less is asked for at once, as others take meanwhile. */
#define ASK_TRIES 16

/* Who would take even the least, and cannot have it while others hold it, waits
 * so many times as long as who would rather have all of it. */
#define LAST_WAITS 6

/* A request that takes no more than such a part of what is left is held whole.
 */
#define PLENTY_PARTS 64

/* --- budgets of an exchange ----------------------------------------------- */

static unsigned hard_units(const struct accounts_owner *o)
{
    unsigned units = 0;

    for (size_t i = 0; i < o->n_budgets; i++)
        if (!o->budgets[i].soft)
            units |= QUOTA_UNIT(o->budgets[i].unit);
    return units;
}

/* Whose budgets bound <x>. */
static void owners_set(struct quota *q, const struct exchange *x)
{
    const struct key *key = x->who->key;

    memcpy(q->p.id, x->name, sizeof(q->p.id));
    quota_part_name(q, x);
    q->ask.key = (struct accounts_owner){key->id, key->spec.budgets,
                                         key->spec.n_budgets};
    if (key->spec.team.len == 0)
        return;
    q->team = keytab_find_team(x->w->svc->keys, key->spec.team);
    q->ask.team.name = key->spec.team;
    if (!q->team)
        return;
    q->ask.team.budgets = q->team->spec.budgets;
    q->ask.team.n_budgets = q->team->spec.n_budgets;
}

/* Budgets may have been changed while the request waited or went on: what it
 * asks for from now on has to fit them as they are. Of a unit that did not
 * bound it when it came it knows no most, so such a budget is for later ones.
 */
void quota_renew(struct quota *q, const struct exchange *x)
{
    const struct key *key = keytab_find(x->w->svc->keys, q->ask.key.name);
    const struct team *team =
        keytab_find_team(x->w->svc->keys, q->ask.team.name);
    struct accounts_owner k = q->ask.key, t = q->ask.team;

    if (key) {
        k.budgets = key->spec.budgets;
        k.n_budgets = key->spec.n_budgets;
    }
    if (team) {
        t.budgets = team->spec.budgets;
        t.n_budgets = team->spec.n_budgets;
    }
    if (((hard_units(&k) | hard_units(&t)) & ~q->units) != 0) {
        key_unref(key);
        team_unref(team);
        return;
    }
    q->ask.key = k;
    q->ask.team = t;
    if (key) {
        key_unref(q->key);
        q->key = key;
    }
    if (team) {
        team_unref(q->team);
        q->team = team;
    }
}

static struct quota *quota_new(struct exchange *x)
{
    struct quota *q = arena_alloc(x->arena, sizeof(*q));

    if (!q)
        return NULL;
    *q = (struct quota){.a = x->w->svc->accounts};
    q->wait = quota_wait_new(x);
    if (!q->wait)
        return NULL;
    owners_set(q, x);
    q->units = hard_units(&q->ask.key) | hard_units(&q->ask.team);
    return q;
}

enum err quota_open(struct exchange *x, const struct price_quote *price,
                    struct quota **quota_out)
{
    struct quota *q = x->work->quota;

    if (!q && x->who->key && x->w->svc->accounts &&
        (x->who->key->spec.n_budgets > 0 || x->who->key->spec.team.len > 0)) {
        q = quota_new(x);
        if (!q)
            return ERR_NOMEM;
    }
    if (q)
        q->p.price = *price;
    *quota_out = q;
    return ERR_OK;
}

unsigned quota_units(const struct exchange *x)
{
    return x->work->quota ? x->work->quota->units : 0;
}

/* --- asking --------------------------------------------------------------- */

static enum quota_answer refuse_down(struct exchange *x)
{
    if (x->work->quota->again)
        return QUOTA_DOWN;
    (void)exchange_fail(x, ERR_LEDGER, NULL);
    x->fail.retry_after_ms = 1000;
    return QUOTA_DOWN;
}

/* Ask for <output_tok>. */
static enum accounts_answer ask_for(struct exchange *x, uint64_t output_tok)
{
    struct quota *q = x->work->quota;
    enum accounts_answer answer;

    q->ask.most = quota_amounts(q, output_tok);
    q->ask.at_ms = accounts_now_ms(q->a);
    q->ask.change = q->p.hold.changes;
    answer = accounts_ask(q->a, x->w->ledger, &q->ask, &q->wait->waiter,
                          &q->p.hold, &q->no);
    if (answer != ACCOUNTS_HELD)
        return answer;
    q->p.held = true;
    q->p.output_tok = output_tok;
    return answer;
}

/* How much of the asked output there will be at most: what is not held yet is
 * bounded by what nobody has spent. */
static void set_cap(struct quota *q)
{
    struct accounts_room room;

    q->p.cap_tok = q->p.output_tok;
    if (q->p.need.first_tok >= q->p.need.output_tok ||
        q->p.output_tok < q->p.need.first_tok)
        return;
    accounts_left(q->a, &q->ask, &room);
    q->p.cap_tok = q->p.need.output_tok;
    if (!quota_fit(q, &room.ever, &q->p.cap_tok) ||
        q->p.cap_tok < q->p.output_tok)
        q->p.cap_tok = q->p.output_tok;
}

/* The output, up to *<most> and not below <least>, that fits what is there now:
 * a fair part of it, where others wait for it, too. */
static bool fit_now(const struct quota *q, const struct accounts_room *room,
                    uint64_t least, uint64_t *most)
{
    struct budget_amounts part = room->now;
    uint64_t fair = *most;

    for (int u = 0; u < BUDGET_UNIT_COUNT; u++)
        if (part.of[u] != INT64_MAX)
            part.of[u] /= room->waiting + 1;
    if (quota_fit(q, &part, &fair) && fair >= least) {
        *most = fair;
        return true;
    }
    return quota_fit(q, &room->now, most) && *most >= least;
}

/* Ask for <first>, and while that cannot be, for what there is of it, with what
 * others hold (<ever>) or without, but not below <least>. Others take and give
 * back meanwhile: what was there a moment ago may be gone. */
static enum accounts_answer ask_down(struct exchange *x, uint64_t first,
                                     uint64_t least, bool ever)
{
    struct quota *q = x->work->quota;
    uint64_t most = first;

    for (int i = 0;; i++) {
        const enum accounts_answer answer = ask_for(x, most);
        struct accounts_room room;

        if (i == ASK_TRIES ||
            (answer != ACCOUNTS_OVER && (ever || answer != ACCOUNTS_BUSY)))
            return answer;
        if (answer == ACCOUNTS_BUSY)
            accounts_leave(q->a, &q->wait->waiter);
        accounts_left(q->a, &q->ask, &room);
        most = first;
        if (ever ? !quota_fit(q, &room.ever, &most) || most < least
                 : !fit_now(q, &room, least, &most))
            return ACCOUNTS_OVER;
    }
}

static uint64_t patience_of(const struct exchange *x)
{
    return (uint64_t)x->conf->budgets.wait_ms;
}

/* Ask for what is held at first, and for less where that cannot be. */
static enum accounts_answer ask_best(struct exchange *x)
{
    struct quota *q = x->work->quota;
    const uint64_t first = q->p.need.first_tok;
    const uint64_t least =
        q->p.need.floor_tok < first ? q->p.need.floor_tok : first;
    enum accounts_answer answer = ask_down(x, first, least, true);

    if (answer != ACCOUNTS_BUSY || quota_may_wait(x, patience_of(x)))
        return answer;
    accounts_leave(q->a, &q->wait->waiter);
    answer = ask_down(x, first, least, false);
    if (answer == ACCOUNTS_BUSY) {
        accounts_leave(q->a, &q->wait->waiter);
        answer = ACCOUNTS_OVER;
    }
    if (answer != ACCOUNTS_OVER ||
        !quota_may_wait(x, LAST_WAITS * patience_of(x)))
        return answer;
    return ask_for(x, least);
}

/* Fail <x>, for which not even the output that is worth it is there. */
static enum quota_answer refuse_over(struct exchange *x)
{
    const struct quota *q = x->work->quota;
    const struct budget_amounts needs = quota_amounts(
        q, q->p.need.floor_tok < q->p.need.output_tok ? q->p.need.floor_tok
                                                      : q->p.need.output_tok);

    return quota_refuse(x, &needs);
}

static enum quota_answer ask_now(struct exchange *x)
{
    struct quota *q = x->work->quota;
    uint64_t waits;

    switch (ask_best(x)) {
    case ACCOUNTS_HELD:
        set_cap(q);
        return QUOTA_HELD;
    case ACCOUNTS_WAIT:
        return quota_wait_until(q, clock_mono_ms() + QUOTA_LEASE_MS,
                                WAIT_LEASE);
    case ACCOUNTS_BUSY:
        waits = quota_may_wait(x, patience_of(x)) ? 1 : LAST_WAITS;
        return quota_wait_until(q, q->began_ms + waits * patience_of(x),
                                WAIT_ROOM);
    case ACCOUNTS_OVER:
        return refuse_over(x);
    default:
        return refuse_down(x);
    }
}

/* Whether all that <q> may ever output is so small a part of what is there that
 * it need not grow. */
static bool is_plenty(const struct quota *q)
{
    uint64_t most = q->p.need.output_tok;
    struct accounts_room room;

    if (q->p.need.first_tok >= most)
        return true;
    accounts_left(q->a, &q->ask, &room);
    for (int u = 0; u < BUDGET_UNIT_COUNT; u++)
        if (room.now.of[u] != INT64_MAX)
            room.now.of[u] /= PLENTY_PARTS;
    return quota_fit(q, &room.now, &most) && most == q->p.need.output_tok;
}

static enum quota_answer ask_anew(struct exchange *x,
                                  const struct quota_need *need)
{
    struct quota *q = x->work->quota;
    struct price_bound b;
    unsigned marks;

    if (q->asked)
        quota_renew(q, x);
    q->asked = true;
    q->p.need = *need;
    q->p.wish = *need;
    if (is_plenty(q))
        q->p.need.first_tok = need->output_tok;
    b = quota_bound(q, q->p.need.first_tok);
    marks = price_worst_case(&q->p.price, &b).marks;
    if ((q->units & QUOTA_UNIT(BUDGET_NUSD)) != 0 && marks != 0)
        return quota_refuse_unpriced(x, marks);
    return ask_now(x);
}

enum quota_answer quota_ask(struct exchange *x, const struct quota_need *need)
{
    struct quota *q = x->work->quota;

    if (q->wait->on)
        return QUOTA_WAIT;
    if (q->late)
        return refuse_down(x);
    if (q->p.held && quota_keep(q, need)) {
        set_cap(q);
        return QUOTA_HELD;
    }
    quota_give(x);
    if (q->p.held)
        return refuse_down(x);
    return ask_anew(x, need);
}

uint64_t quota_output(const struct exchange *x)
{
    const struct quota *q = x->work->quota;

    return q && q->p.held ? q->p.output_tok : UINT64_MAX;
}

uint64_t quota_cap(const struct exchange *x)
{
    const struct quota *q = x->work->quota;

    return q && q->p.held ? q->p.cap_tok : UINT64_MAX;
}

bool quota_linger(struct exchange *x)
{
    struct quota *q = x->work->quota;
    const int64_t drain_ms = x->conf->budgets.drain_ms;

    if (!q || !q->p.held || q->lonely || drain_ms == 0 || x->work->engine ||
        x->w->draining)
        return false;
    quota_wait_end(q);
    q->lonely = true;
    (void)quota_wait_until(q, clock_mono_ms() + (uint64_t)drain_ms,
                           WAIT_LONELY);
    return true;
}

bool quota_waits_for_lease(const struct exchange *x)
{
    const struct quota *q = x->work->quota;

    return q && q->wait->on && q->kind == WAIT_LEASE;
}

bool quota_is_lonely(const struct exchange *x)
{
    return x->work->quota && x->work->quota->lonely;
}

/* --- the end -------------------------------------------------------------- */

bool quota_held(const struct exchange *x, struct quota_held *out)
{
    return x->work->quota && quota_part_held(&x->work->quota->p, out);
}

int64_t quota_time_ms(const struct exchange *x)
{
    return x->work->quota ? quota_part_time_ms(&x->work->quota->p) : 0;
}

void quota_settle(struct exchange *x, const struct usage_row *row)
{
    struct quota *q = x->work->quota;

    quota_part_settle(x, q ? &q->p : NULL, row);
}

void quota_give(struct exchange *x)
{
    if (x->work->quota)
        quota_part_give(x, &x->work->quota->p);
}

void quota_close(struct exchange *x)
{
    struct quota *q = x->work->quota;

    if (!q || !q->wait)
        return;
    BUG_ON(q->p.held); /* it was settled */
    quota_wait_free(q->a, q->wait);
    q->wait = NULL;
    key_unref(q->key);
    team_unref(q->team);
    q->key = NULL;
    q->team = NULL;
}
