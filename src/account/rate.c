/* rate.c - See rate.h. The locks of a hold's rates are taken together, so that
 * what fits the one and not the other takes from neither. */
#include "account/rate.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "account/bucket.h"
#include "account/key.h"
#include "base/panic.h"

/* The rates of a hold. */
enum { OF_KEY = 0, OF_TEAM, OF_COUNT };

/* See rate.h. */
struct rate {
    pthread_mutex_t lock; /* guards all below but the atomics */
    struct bucket requests;
    struct bucket tokens;
    uint64_t parallel;         /* limit of <running>; 0: none */
    uint64_t running;          /* requests that have a place */
    atomic_bool limits_tokens; /* tokens.limit > 0, for a look without lock */
    atomic_uint refs;
};

static void limits_put(struct rate *r, const struct key_limits *l,
                       uint64_t now_us)
{
    bucket_set(&r->requests, l->rpm, now_us);
    bucket_set(&r->tokens, l->tpm, now_us);
    r->parallel = l->parallel;
    atomic_store_explicit(&r->limits_tokens, l->tpm > 0, memory_order_relaxed);
}

struct rate *rate_new(const struct key_limits *limits)
{
    struct rate *r = calloc(1, sizeof(*r));

    if (!r)
        return NULL;
    if (pthread_mutex_init(&r->lock, NULL) != 0)
        PANIC("no mutex");
    atomic_init(&r->refs, 1);
    limits_put(r, limits, 0);
    return r;
}

struct rate *rate_ref(struct rate *r)
{
    atomic_fetch_add_explicit(&r->refs, 1, memory_order_relaxed);
    return r;
}

void rate_unref(struct rate *r)
{
    if (!r || atomic_fetch_sub_explicit(&r->refs, 1, memory_order_acq_rel) != 1)
        return;
    pthread_mutex_destroy(&r->lock);
    free(r);
}

void rate_set(struct rate *r, const struct key_limits *limits, uint64_t now_us)
{
    pthread_mutex_lock(&r->lock);
    limits_put(r, limits, now_us);
    pthread_mutex_unlock(&r->lock);
}

uint64_t rate_running(struct rate *r)
{
    uint64_t n;

    pthread_mutex_lock(&r->lock);
    n = r->running;
    pthread_mutex_unlock(&r->lock);
    return n;
}

/* ---- both at once ------------------------------------------------------ */

static void lock_all(const struct rate_hold *h)
{
    for (int i = 0; i < OF_COUNT; i++)
        if (h->of[i])
            pthread_mutex_lock(&h->of[i]->lock);
}

static void unlock_all(const struct rate_hold *h)
{
    for (int i = OF_COUNT - 1; i >= 0; i--)
        if (h->of[i])
            pthread_mutex_unlock(&h->of[i]->lock);
}

/* Let <why> tell the reason that takes longest; <r> is one, or waits 0. */
static void worst(struct rate_refusal *why, struct rate_refusal r)
{
    if (r.wait_ms > why->wait_ms)
        *why = r;
}

void rate_hold_init(struct rate_hold *h, struct rate *key, struct rate *team)
{
    *h = (struct rate_hold){.of = {key, team}};
}

/* What keeps a request from entering <r>, under its lock. */
static void enter_judge(struct rate *r, bool of_team, uint64_t now_us,
                        struct rate_refusal *why)
{
    worst(why, (struct rate_refusal){
                   .kind = RATE_REQUESTS,
                   .of_team = of_team,
                   .limit = r->requests.limit,
                   .wait_ms = bucket_wait_ms(&r->requests, 1, now_us),
               });
    if (r->parallel != 0 && r->running >= r->parallel)
        worst(why, (struct rate_refusal){
                       .kind = RATE_PARALLEL,
                       .of_team = of_team,
                       .limit = r->parallel,
                       .wait_ms = RATE_PARALLEL_WAIT_MS,
                   });
}

bool rate_enter(struct rate_hold *h, uint64_t now_us,
                struct rate_refusal *why_out)
{
    struct rate_refusal why = {.wait_ms = 0};

    BUG_ON(h->entered);
    lock_all(h);
    for (int i = 0; i < OF_COUNT; i++)
        if (h->of[i])
            enter_judge(h->of[i], i == OF_TEAM, now_us, &why);
    h->entered = why.wait_ms == 0;
    for (int i = 0; i < OF_COUNT && h->entered; i++) {
        if (!h->of[i])
            continue;
        bucket_take(&h->of[i]->requests, 1, now_us);
        h->of[i]->running++;
    }
    unlock_all(h);
    if (!h->entered)
        *why_out = why;
    return h->entered;
}

bool rate_counts_tokens(const struct rate_hold *h)
{
    for (int i = 0; i < OF_COUNT; i++)
        if (h->of[i] && atomic_load_explicit(&h->of[i]->limits_tokens,
                                             memory_order_relaxed))
            return true;
    return false;
}

bool rate_charge(struct rate_hold *h, uint64_t tokens, uint64_t now_us,
                 struct rate_refusal *why_out)
{
    struct rate_refusal why = {.wait_ms = 0};

    BUG_ON(!h->entered || h->tokens != 0);
    lock_all(h);
    for (int i = 0; i < OF_COUNT; i++)
        if (h->of[i])
            worst(&why, (struct rate_refusal){
                            .kind = RATE_TOKENS,
                            .of_team = i == OF_TEAM,
                            .limit = h->of[i]->tokens.limit,
                            .asked = tokens,
                            .wait_ms = bucket_wait_ms(&h->of[i]->tokens, tokens,
                                                      now_us),
                        });
    h->refused = why.wait_ms != 0;
    for (int i = 0; i < OF_COUNT && !h->refused; i++) {
        if (!h->of[i] || h->of[i]->tokens.limit == 0)
            continue;
        bucket_take(&h->of[i]->tokens, tokens, now_us);
        h->charged[i] = tokens;
    }
    unlock_all(h);
    h->tokens = h->refused ? 0 : tokens;
    if (h->refused)
        *why_out = why;
    return !h->refused;
}

/* Give back to <r>, under its lock, what <h> has of it. */
static void leave(struct rate *r, const struct rate_hold *h, uint64_t charged,
                  uint64_t used, uint64_t now_us)
{
    BUG_ON(r->running == 0);
    r->running--;
    if (h->refused)
        bucket_give(&r->requests, 1, now_us);
    if (used > charged)
        bucket_take(&r->tokens, used - charged, now_us);
    else
        bucket_give(&r->tokens, charged - used, now_us);
}

void rate_end(struct rate_hold *h, uint64_t tokens, uint64_t now_us)
{
    lock_all(h);
    for (int i = 0; i < OF_COUNT; i++)
        if (h->of[i] && h->entered)
            leave(h->of[i], h, h->charged[i], tokens, now_us);
    unlock_all(h);
    for (int i = 0; i < OF_COUNT; i++)
        rate_unref(h->of[i]);
    *h = (struct rate_hold){.tokens = 0};
}

/* ---- looking ----------------------------------------------------------- */

/* Let <to> tell of the bucket of which less is left. */
static void tighter(struct rate_level *to, struct bucket *b, uint64_t now_us)
{
    struct rate_level l = {.limit = b->limit};

    if (b->limit == 0)
        return;
    l.left = bucket_left(b, now_us);
    l.reset_ms = bucket_full_ms(b, now_us);
    if (to->limit == 0 || l.left < to->left ||
        (l.left == to->left && l.reset_ms > to->reset_ms))
        *to = l;
}

/* Add to <out> what <r> limits. */
static void see(struct rate *r, uint64_t now_us, struct rate_view *out)
{
    pthread_mutex_lock(&r->lock);
    tighter(&out->of[RATE_REQUESTS], &r->requests, now_us);
    tighter(&out->of[RATE_TOKENS], &r->tokens, now_us);
    out->is_limited = out->is_limited || r->requests.limit > 0 ||
                      r->tokens.limit > 0 || r->parallel > 0;
    pthread_mutex_unlock(&r->lock);
}

void rate_see(struct rate *r, uint64_t now_us, struct rate_view *out)
{
    *out = (struct rate_view){.is_limited = false};
    if (r)
        see(r, now_us, out);
}

void rate_view(const struct rate_hold *h, uint64_t now_us,
               struct rate_view *out)
{
    *out = (struct rate_view){.is_limited = false};
    for (int i = 0; i < OF_COUNT; i++)
        if (h->of[i])
            see(h->of[i], now_us, out);
}
