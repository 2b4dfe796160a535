/* pick.c - See pick.h.
 *
 * Latency: a target is as slow as its estimate says, and slower when more is
 * under way there than when that was measured. Requests in flight alone say
 * nothing: a quick target that is busy all the time is not slow for that, and
 * its samples have the busyness in them. When a target hangs, no more samples
 * come, what is in flight grows, and with it what the target seems to cost.
 * Peak EWMA as in Finagle; two choices: Mitzenmacher, "The Power of Two Choices
 * in Randomized Load Balancing", 2001.
 *
 * Prefix: weighted rendezvous hashing (Thaler and Ravishankar, 1998), with
 * bounded loads as in Mirrokni, Thorup and Zadimoghaddam, "Consistent Hashing
 * with Bounded Loads", 2018. */
#include "serve/pick.h"

#include <endian.h>
#include <math.h>

/* Latencies are kept in 32 bits: 71 minutes at most. */
#define LATENCY_MAX UINT32_MAX

/* A new sample moves the load by one part in so many. */
#define LOAD_STEP 8

/* --- who may be chosen --------------------------------------------------- */

/* Kinds of targets, from best to worst. */
enum kind {
    KIND_FREE = 0, /* has a weight, and room */
    KIND_FULL,     /* has a weight */
    KIND_SPARE,    /* has no weight, but room */
    KIND_LAST,     /* neither */
    KIND_OUT
};

static enum kind kind_of(const struct pick_view *v)
{
    const bool full = v->limit > 0 && v->in_flight >= v->limit;

    if (v->out)
        return KIND_OUT;
    if (v->weight > 0)
        return full ? KIND_FULL : KIND_FREE;
    return full ? KIND_LAST : KIND_SPARE;
}

/* Those of a kind, among all. */
struct field {
    const struct pick_view *v;
    size_t n;
    enum kind kind; /* the best that is there */
    size_t count;   /* of that kind */
};

static void field_set(struct field *f, const struct pick_view *v, size_t n)
{
    *f = (struct field){v, n, KIND_OUT, 0};
    for (size_t i = 0; i < n; i++) {
        const enum kind k = kind_of(&v[i]);

        if (k < f->kind) {
            f->kind = k;
            f->count = 0;
        }
        f->count += k == f->kind;
    }
}

static bool is_in(const struct field *f, size_t i)
{
    return kind_of(&f->v[i]) == f->kind;
}

static uint64_t weight_of(const struct field *f, size_t i)
{
    return f->v[i].weight > 0 ? f->v[i].weight : 1;
}

/* Index of the <k>th of the field. */
static size_t nth(const struct field *f, size_t k)
{
    size_t i = 0;

    for (; i < f->n; i++) {
        if (!is_in(f, i))
            continue;
        if (k == 0)
            break;
        k--;
    }
    return i;
}

/* <random>, of 2^bits values, as one below <bound>. */
static uint64_t below(uint64_t random, unsigned bits, uint64_t bound)
{
    return (uint64_t)(((unsigned __int128)random * bound) >> bits);
}

/* --- weighted ------------------------------------------------------------ */

static size_t pick_weighted(const struct field *f, uint64_t random)
{
    uint64_t sum = 0, at;

    for (size_t i = 0; i < f->n; i++)
        if (is_in(f, i))
            sum += weight_of(f, i);
    at = below(random, 64, sum);
    for (size_t i = 0; i < f->n; i++) {
        if (!is_in(f, i))
            continue;
        if (at < weight_of(f, i))
            return i;
        at -= weight_of(f, i);
    }
    return nth(f, 0);
}

/* --- least in flight ----------------------------------------------------- */

/* Whether the next request is more for <a>'s weight than for <b>'s: -1 less, 0
 * the same, 1 more. */
static int busier(const struct field *f, size_t a, size_t b)
{
    const unsigned __int128 of_a =
        ((unsigned __int128)f->v[a].in_flight + 1) * weight_of(f, b);
    const unsigned __int128 of_b =
        ((unsigned __int128)f->v[b].in_flight + 1) * weight_of(f, a);

    return of_a < of_b ? -1 : of_a > of_b;
}

/* Of several that have equally few, one at random: a burst would else go to
 * the first of them. */
static size_t pick_least(const struct field *f, uint64_t random)
{
    size_t best = nth(f, 0), ties = 0, k;

    for (size_t i = best; i < f->n; i++)
        if (is_in(f, i) && busier(f, i, best) < 0)
            best = i;
    for (size_t i = 0; i < f->n; i++)
        ties += is_in(f, i) && busier(f, i, best) == 0;
    k = (size_t)below(random, 64, ties);
    for (size_t i = 0; i < f->n; i++) {
        if (!is_in(f, i) || busier(f, i, best) != 0)
            continue;
        if (k == 0)
            return i;
        k--;
    }
    return best;
}

/* --- latency ------------------------------------------------------------- */

/* What a request costs at <i>. Of a target that is not known one request finds
 * out; more wait for its answer elsewhere, if there is another. */
static double cost_of(const struct field *f, size_t i)
{
    const struct pick_view *v = &f->v[i];
    const double in_flight = (double)v->in_flight;
    double crowd;

    if (v->latency_us == 0)
        return in_flight * (double)LATENCY_MAX / (double)weight_of(f, i);
    crowd = (in_flight + 1) / ((double)v->load / PICK_LOAD_PARTS + 1);
    return (double)v->latency_us * (crowd > 1 ? crowd : 1) /
           (double)weight_of(f, i);
}

static size_t pick_quick(const struct field *f, uint64_t random)
{
    const uint64_t first = below(random & UINT32_MAX, 32, f->count);
    uint64_t second;
    size_t a = nth(f, (size_t)first), b;

    if (f->count == 1)
        return a;
    second = below(random >> 32, 32, f->count - 1);
    second += second >= first;
    b = nth(f, (size_t)second);
    return cost_of(f, b) < cost_of(f, a) ? b : a;
}

/* <v> after <ms>, of which it loses half in each <half_ms>, rounded down: often
 * asked, small differences would else stay. */
static uint64_t decayed(uint64_t v, uint64_t ms, uint64_t half_ms)
{
    return (uint64_t)((double)v * exp2(-(double)ms / (double)half_ms));
}

/* Milliseconds since the sample that <word> is of; clocks of threads that are
 * behind it are at it. */
static uint64_t age_of(uint64_t word, uint64_t now_ms)
{
    const uint32_t age = (uint32_t)now_ms - (uint32_t)word;

    return age > INT32_MAX ? 0 : age;
}

/* The estimate <was>, of <age_ms> ago, after another sample. */
static uint64_t moved(uint64_t was, uint64_t sample, uint64_t age_ms)
{
    if (was == 0)
        return sample;
    if (sample >= was)
        return was + (sample - was + 1) / 2;
    return sample + decayed(was - sample, age_ms, PICK_FALL_HALF_MS);
}

static void load_note(struct pick_pace *p, uint64_t in_flight, bool first)
{
    const uint64_t most = UINT32_MAX;
    const uint64_t sample =
        (in_flight < most ? in_flight : most) * PICK_LOAD_PARTS;
    uint64_t was = atomic_load_explicit(&p->load, memory_order_relaxed), now;

    do {
        now = first ? sample : was - was / LOAD_STEP + sample / LOAD_STEP;
    } while (!atomic_compare_exchange_weak_explicit(
        &p->load, &was, now, memory_order_relaxed, memory_order_relaxed));
}

void pick_pace_note(struct pick_pace *p, uint64_t latency_us,
                    uint64_t in_flight, uint64_t now_ms)
{
    uint64_t sample = latency_us > 0 ? latency_us : 1;
    uint64_t was = atomic_load_explicit(&p->latency, memory_order_relaxed);
    uint64_t now, age_ms;

    if (sample > LATENCY_MAX)
        sample = LATENCY_MAX;
    do {
        age_ms = age_of(was, now_ms);
        now = moved(was >> 32, sample, age_ms) << 32;
        now |= age_ms > 0 || was == 0 ? (uint32_t)now_ms : (uint32_t)was;
    } while (!atomic_compare_exchange_weak_explicit(
        &p->latency, &was, now, memory_order_relaxed, memory_order_relaxed));
    load_note(p, in_flight, was == 0);
}

void pick_pace_see(const struct pick_pace *p, uint64_t now_ms,
                   struct pick_view *v)
{
    const uint64_t word =
        atomic_load_explicit(&p->latency, memory_order_relaxed);
    const uint64_t load = atomic_load_explicit(&p->load, memory_order_relaxed);
    const uint64_t age_ms = age_of(word, now_ms);
    const uint64_t half_ms =
        v->in_flight > 0 ? PICK_BUSY_HALF_MS : PICK_IDLE_HALF_MS;

    v->latency_us = 0;
    v->load = 0;
    if (word == 0)
        return;
    v->latency_us = decayed(word >> 32, age_ms, half_ms);
    if (v->latency_us == 0)
        v->latency_us = 1;
    v->load = decayed(load, age_ms, PICK_IDLE_HALF_MS);
}

/* --- prefix -------------------------------------------------------------- */

/* The finalizer of SplitMix64: each bit of <x> changes half of the bits. */
static uint64_t mixed(uint64_t x)
{
    x ^= x >> 30;
    x *= UINT64_C(0xBF58476D1CE4E5B9);
    x ^= x >> 27;
    x *= UINT64_C(0x94D049BB133111EB);
    return x ^ x >> 31;
}

uint64_t pick_hash(uint64_t seed, struct str s)
{
    uint64_t h = mixed(seed + UINT64_C(0x9E3779B97F4A7C15) + s.len), word;

    for (; s.len > 0; s = str_skip(s, sizeof(word))) {
        word = 0;
        memcpy(&word, s.p, s.len < sizeof(word) ? s.len : sizeof(word));
        h = mixed(h ^ le64toh(word)) + UINT64_C(0x9E3779B97F4A7C15);
    }
    return mixed(h);
}

uint64_t pick_prefix_key(uint64_t seed, struct str prompt)
{
    size_t blocks = prompt.len / PICK_BLOCK_BYTES;

    if (blocks > PICK_BLOCKS)
        blocks = PICK_BLOCKS;
    if (blocks > 0)
        prompt.len = blocks * PICK_BLOCK_BYTES;
    return pick_hash(seed, prompt);
}

/* The place of <i> in the order of <key>, the lowest first: the time of an
 * event that comes so often as it has weight. */
static double place_of(const struct field *f, size_t i, uint64_t key)
{
    const uint64_t h = mixed(mixed(f->v[i].id) ^ key);
    const double u = ((double)(h >> 11) + 0.5) / 9007199254740992.0; /* 2^53 */

    return -log(u) / (double)weight_of(f, i);
}

/* Most requests that may be in flight at <i> for another to go there, of <all>
 * with that one. */
static uint64_t cap_of(const struct field *f, size_t i, uint64_t all,
                       uint64_t weights)
{
    const unsigned __int128 share =
        (unsigned __int128)all * weight_of(f, i) * PICK_LOAD_PERCENT;
    const uint64_t cap =
        (uint64_t)((share + weights * 100 - 1) / (weights * 100));

    return cap > PICK_LOAD_FREE ? cap : PICK_LOAD_FREE;
}

/* The caps add up to more than there is: one is always below its own. */
static size_t pick_by_prefix(const struct field *f, uint64_t key)
{
    uint64_t all = 1, weights = 0;
    size_t best = f->n;
    double place = 0;

    for (size_t i = 0; i < f->n; i++) {
        if (!is_in(f, i))
            continue;
        all += f->v[i].in_flight;
        weights += weight_of(f, i);
    }
    for (size_t i = 0; i < f->n; i++) {
        if (!is_in(f, i) || f->v[i].in_flight >= cap_of(f, i, all, weights))
            continue;
        if (best < f->n && place_of(f, i, key) >= place)
            continue;
        best = i;
        place = place_of(f, i, key);
    }
    return best < f->n ? best : nth(f, 0);
}

size_t pick_target(enum conf_strategy how, const struct pick_view *v, size_t n,
                   uint64_t key, uint64_t random)
{
    struct field f;

    field_set(&f, v, n);
    if (f.kind == KIND_OUT)
        return n;
    switch (how) {
    case CONF_STRATEGY_LEAST_IN_FLIGHT:
        return pick_least(&f, random);
    case CONF_STRATEGY_LATENCY:
        return pick_quick(&f, random);
    case CONF_STRATEGY_PREFIX:
        return pick_by_prefix(&f, key);
    default:
        return pick_weighted(&f, random);
    }
}
