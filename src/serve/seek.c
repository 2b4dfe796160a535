/* seek.c - See seek.h. */
#include "serve/seek.h"

#include "base/clock.h"
#include "conf/conf.h"
#include "exchange/exchange.h"
#include "serve/target.h"

/* The bit of key number <key>, none where there is none. */
static uint64_t key_bit(unsigned key)
{
    return key < 64 ? UINT64_C(1) << key : 0;
}

/* Choose somebody of the route that <asked> names, none of <tried>. */
static bool find(struct seek *s, struct str asked,
                 const struct route_tried *tried, struct choice *out)
{
    struct route_ask ask = {.model = asked, .tried = tried};

    return route_choose(s->x, &ask, out, &s->none) == ERR_OK;
}

/* Find somebody of the next route to fall back to. */
static bool find_fallback(struct seek *s, const struct route_tried *tried,
                          size_t *at_out, struct choice *out)
{
    const struct conf_route *r = s->route;

    for (size_t i = s->fallbacks; r && i < r->n_fallbacks; i++) {
        if (!find(s, r->fallbacks[i], tried, out))
            continue;
        *at_out = i;
        return true;
    }
    return false;
}

static void tried_add(struct route_tried *t, const struct choice *c)
{
    if (t->n == RETRY_ATTEMPTS_MAX)
        return;
    t->v[t->n].t = c->target;
    t->v[t->n].model = c->model;
    t->n++;
}

static void take(struct seek *s, const struct choice *c)
{
    s->choice = *c;
    s->tried_keys = 0;
}

/* From now on <c> is asked, found by fallback <at>. */
static void fall_back(struct seek *s, const struct choice *c, size_t at)
{
    s->asked = s->route->fallbacks[at];
    s->fallbacks = at + 1;
    take(s, c);
}

/* Whether the route <r> falls back after ends of <kind>. */
static bool falls_on(const struct conf_route *r, enum retry_kind kind)
{
    if (!r)
        return false;
    switch (kind) {
    case RETRY_KIND_CONTEXT:
        return (r->fallback_on & CONF_FALL_CONTEXT) != 0;
    case RETRY_KIND_FILTER:
        return (r->fallback_on & CONF_FALL_FILTER) != 0;
    default:
        return (r->fallback_on & CONF_FALL_ERROR) != 0;
    }
}

/* Whether a fallback makes good what <e> tells of a route: that nobody of it
 * can be asked now. */
static bool is_for_now(enum err e)
{
    return err_row(e)->status >= 429;
}

bool seek_first(struct seek *s, struct exchange *x)
{
    struct choice c;
    struct route_none none;
    size_t at;

    *s = (struct seek){.x = x, .asked = x->ask->model};
    if (x->conf->routes_given && x->ask->model.len > 0)
        s->route = conf_route_find(x->conf, x->ask->model);
    if (find(s, s->asked, NULL, &c)) {
        take(s, &c);
        return true;
    }
    none = s->none;
    if (!falls_on(s->route, RETRY_KIND_FULL) || !is_for_now(none.err) ||
        !find_fallback(s, NULL, &at, &c)) {
        s->none = none;
        return false;
    }
    fall_back(s, &c, at);
    return true;
}

bool seek_again(struct seek *s)
{
    struct choice c;

    if (s->choice.passthrough || !find(s, s->asked, &s->tried, &c))
        return false;
    take(s, &c);
    return true;
}

bool seek_other(struct seek *s)
{
    struct choice c;
    size_t at;

    if (s->choice.passthrough || s->tried.n == RETRY_ATTEMPTS_MAX)
        return false;
    tried_add(&s->tried, &s->choice);
    if (find(s, s->asked, &s->tried, &c)) {
        take(s, &c);
        return true;
    }
    if (!falls_on(s->route, RETRY_KIND_FULL) ||
        !find_fallback(s, &s->tried, &at, &c))
        return false;
    fall_back(s, &c, at);
    return true;
}

bool seek_beside(struct seek *s, struct choice *out)
{
    struct route_tried tried = s->tried;
    const struct route_ask ask = {
        .model = s->asked, .tried = &tried, .beside = true};
    struct route_none none;

    tried_add(&tried, &s->choice);
    return route_choose(s->x, &ask, out, &none) == ERR_OK;
}

void seek_swap(struct seek *s, struct choice *other)
{
    const struct choice was = s->choice;

    tried_add(&s->tried, &was);
    take(s, other);
    *other = was;
}

static bool has_other_key(const struct seek *s, unsigned key)
{
    const struct choice *c = &s->choice;

    if (!c->up || c->up->n_keys < 2)
        return false;
    return target_is_ready(c->target, c->up, s->tried_keys | key_bit(key),
                           clock_mono_ms());
}

/* Whether the present target is left alone, not just for a named time. */
static bool is_shut(const struct seek *s)
{
    const struct choice *c = &s->choice;
    uint64_t wait_ms;

    switch (target_why(c->target, c->up, 0, clock_mono_ms(), &wait_ms)) {
    case TARGET_DRAINED:
    case TARGET_BROKEN:
        return true;
    default:
        return false;
    }
}

uint64_t seek_limit_ms(const struct seek *s)
{
    const struct choice *c = &s->choice;
    uint64_t wait_ms;

    return target_why(c->target, c->up, 0, clock_mono_ms(), &wait_ms) ==
                   TARGET_LIMITED
               ? wait_ms
               : 0;
}

void seek_look(struct seek *s, const struct retry_verdict *v, unsigned key,
               struct seek_next *out)
{
    struct route_tried tried = s->tried;
    struct retry_room *room = &out->room;

    *room = (struct retry_room){.same_shut = is_shut(s)};
    if (s->choice.passthrough || v->moves == 0)
        return;
    tried_add(&tried, &s->choice);
    room->key = (v->moves & RETRY_MOVE_KEY) != 0 && has_other_key(s, key);
    room->target = (v->moves & RETRY_MOVE_TARGET) != 0 &&
                   find(s, s->asked, &tried, &out->target);
    room->fall_context = falls_on(s->route, RETRY_KIND_CONTEXT);
    room->fall_filter = falls_on(s->route, RETRY_KIND_FILTER);
    room->fallback =
        (v->moves & RETRY_MOVE_FALLBACK) != 0 && falls_on(s->route, v->kind) &&
        find_fallback(s, &tried, &out->fallback_at, &out->fallback);
}

void seek_step(struct seek *s, enum retry_step step,
               const struct seek_next *next, unsigned key)
{
    switch (step) {
    case RETRY_NEXT_KEY:
        s->tried_keys |= key_bit(key);
        break;
    case RETRY_NEXT_TARGET:
        tried_add(&s->tried, &s->choice);
        take(s, &next->target);
        break;
    case RETRY_FALL_BACK:
        tried_add(&s->tried, &s->choice);
        fall_back(s, &next->fallback, next->fallback_at);
        break;
    default:
        s->tried_keys = 0;
        break;
    }
}

struct str seek_name(const struct seek *s)
{
    return s->choice.up ? s->choice.up->name : s->choice.engine->name;
}
