/* quota_part.c - Holds of one exchange beside each other: each has an id of its
 * own in the journal, so that a start after a crash charges all of them. The
 * first has the exchange's id; a row says which hold it ends. */
#include <string.h>

#include "base/log.h"
#include "exchange/exchange.h"
#include "exchange/quota_priv.h"
#include "store/row.h"

void quota_part_name(struct quota *q, const struct exchange *x)
{
    const bool is_first = strcmp(q->p.id, x->name) == 0;

    q->ask.id = str_from(q->p.id);
    q->ask.parent = is_first ? STR("") : str_from(x->name);
}

enum err quota_part_take(struct exchange *x, struct quota_part **part_out)
{
    struct quota *q = x->work->quota;
    struct quota_part *part = NULL;

    if (q) {
        part = arena_alloc(x->arena, sizeof(*part));
        if (!part)
            return ERR_NOMEM;
        *part = q->p;
        q->again = q->again || part->held;
        q->beside += part->held;
        q->p.held = false;
        if (part->held) {
            id_new(q->p.id);
            q->p.hold = (struct accounts_hold){0};
        } else {
            id_new(part->id);
            part->hold = (struct accounts_hold){0};
        }
        quota_part_name(q, x);
    }
    *part_out = part;
    return ERR_OK;
}

void quota_part_swap(struct exchange *x, struct quota_part *part)
{
    struct quota *q = x->work->quota;
    struct quota_part was;

    if (!q || !part)
        return;
    quota_wait_end(q);
    was = q->p;
    q->beside += (unsigned)was.held - (unsigned)part->held;
    q->p = *part;
    *part = was;
    quota_part_name(q, x);
}

bool quota_part_held(const struct quota_part *part, struct quota_held *out)
{
    if (!part || !part->held)
        return false;
    *out = (struct quota_held){
        .input_tok = (uint64_t)part->hold.hold.most.of[BUDGET_INPUT_TOKENS],
        .output_tok = (uint64_t)part->hold.hold.most.of[BUDGET_OUTPUT_TOKENS],
        .cost_nusd = part->hold.hold.most.of[BUDGET_NUSD]};
    return true;
}

int64_t quota_part_time_ms(const struct quota_part *part)
{
    return part && part->held ? part->hold.hold.at_ms : 0;
}

struct str quota_part_id(const struct quota_part *part)
{
    return part && part->held ? str_from(part->id) : STR("");
}

struct str quota_hold_id(const struct exchange *x)
{
    const struct quota *q = x->work->quota;
    const struct str id = quota_part_id(q ? &q->p : NULL);

    return str_eq(id, str_from(x->name)) ? STR("") : id;
}

/* <part> holds nothing any more. */
static void let_go(struct exchange *x, struct quota_part *part)
{
    struct quota *q = x->work->quota;

    if (part != &q->p)
        q->beside -= part->held;
    part->held = false;
}

void quota_part_settle(struct exchange *x, struct quota_part *part,
                       const struct usage_row *row)
{
    const bool is_held = part && part->held;

    if (!x->w->svc->accounts)
        return;
    accounts_settle(x->w->svc->accounts, is_held ? &part->hold : NULL, row);
    if (part)
        let_go(x, part);
}

void quota_part_give(struct exchange *x, struct quota_part *part)
{
    struct quota *q = x->work->quota;
    struct accounts_ask ask;

    if (!part || !part->held)
        return;
    ask = q->ask;
    ask.id = str_from(part->id);
    ask.parent = strcmp(part->id, x->name) == 0 ? STR("") : str_from(x->name);
    q->again = true;
    if (accounts_give(q->a, x->w->ledger, &ask, &part->hold) == ERR_OK)
        let_go(x, part);
    else
        log_warn(LOG_ADMIT, "what is held cannot be given back: id=%s",
                 x->name);
}
