/* leg.c - See leg.h. */
#include "exchange/leg.h"

#include <string.h>

#include "base/id.h"

/* What nobody has worked for: the engine counts, others were asked or not. */
static bool is_free(const struct made *made, const struct leg_end *how)
{
    if (made->counted)
        return made->input_tok + made->cached_tok + made->output_tok == 0;
    return !how->sent && !(how->usage && how->usage->present);
}

static void leg_end(struct leg *leg, const struct leg_end *how)
{
    leg->open = false;
    leg->sent = how->sent;
    leg->why = how->why;
    leg->status = how->status;
    leg->ms = how->ms;
    if (how->usage)
        leg->usage = *how->usage;
    leg->free = is_free(&leg->made, how);
}

static void append(struct exchange *x, struct leg *leg)
{
    struct leg **at = &x->work->legs;

    while (*at)
        at = &(*at)->next;
    *at = leg;
}

/* The row of <leg> takes the id of its hold, unless that is the exchange's. */
static void name_row(struct leg *leg, const struct exchange *x)
{
    const struct str id = quota_part_id(leg->part);

    if (id.len > 0 && !str_eq(id, str_from(x->name)))
        memcpy(leg->id, id.p, sizeof(leg->id));
    else
        id_new(leg->id);
}

/* <x> is as if it had asked nobody. */
static void forget(struct exchange *x)
{
    *x->made = (struct made){.counted = false};
    x->work->sent = false;
    x->work->cap_tok = 0;
    x->work->capped = x->work->cap_added = false;
}

/* Note whom the attempt of <x> asks. The name of its model may be a slice of
 * the request's body, which is let go before the leg is. */
static bool take_names(struct leg *leg, const struct exchange *x)
{
    const struct work *work = x->work;

    leg->target_name = work->target_name;
    leg->label = work->label;
    leg->engine = work->engine;
    leg->upstream_model = arena_dup(x->arena, work->upstream_model);
    return leg->upstream_model.p || work->upstream_model.len == 0;
}

struct leg *leg_open(struct exchange *x)
{
    struct leg *leg = arena_alloc(x->arena, sizeof(*leg));

    if (!leg)
        return NULL;
    *leg = (struct leg){.open = true, .sent = true, .made = *x->made};
    if (!take_names(leg, x) || quota_part_take(x, &leg->part) != ERR_OK)
        return NULL;
    name_row(leg, x);
    append(x, leg);
    forget(x);
    return leg;
}

void leg_swap(struct exchange *x, struct leg *leg)
{
    struct work *work = x->work;
    const struct leg was = *leg;

    if (!take_names(leg, x)) /* by no name it has no price */
        leg->upstream_model = STR("");
    leg->made = *x->made;
    work->target_name = was.target_name;
    work->label = was.label;
    work->upstream_model = was.upstream_model;
    work->engine = was.engine;
    *x->made = was.made;
    quota_part_swap(x, leg->part);
    name_row(leg, x);
}

void leg_close(struct exchange *x, struct leg *leg, const struct leg_end *how)
{
    leg_end(leg, how);
    if (leg->free)
        quota_part_give(x, leg->part);
}

enum err leg_part(struct exchange *x, const struct leg_end *how)
{
    struct leg *leg;

    if (is_free(x->made, how)) {
        forget(x);
        return ERR_OK;
    }
    leg = leg_open(x);
    if (!leg)
        return ERR_NOMEM;
    leg_close(x, leg, how);
    return ERR_OK;
}
