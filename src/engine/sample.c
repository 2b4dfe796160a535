/* sample.c - The chain from a row of logits to a token. The vocabulary is
 * never sorted: whole rows are read in vector passes, and only what can still
 * be chosen is gathered and cut by quickselect. */
#include "engine/sample.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/sample_vec.h"
#include "kernels/krn.h"

#define GREEDY_BELOW 1e-5f
#define BAN_AT       -100.0f
#define SEEN_FIRST   64
#define CANDS_KEPT   16384 /* more room than this is given back */

/* One token of the history. */
struct seen {
    int32_t id; /* -1 = free */
    uint32_t n_generated;
};

struct sampler {
    const struct gen_sampling *p;
    unsigned choice;
    unsigned n_vocab;
    bool penalties; /* any is asked for */
    bool lost;      /* memory was short: history is not whole */
    struct seen *seen;
    size_t n_seen, seen_cap; /* cap is a power of two, or 0 */
    struct krn_edit *edits;  /* (n_seen + n_bias) for a device */
    size_t edits_cap;
    struct sample_cand *cands;
    size_t n_cands, room;
};

struct sampler *sampler_new(const struct gen_sampling *p, unsigned choice,
                            unsigned n_vocab)
{
    struct sampler *s = calloc(1, sizeof(*s));

    if (!s)
        return NULL;
    s->p = p;
    s->choice = choice;
    s->n_vocab = n_vocab;
    s->penalties = p->presence_penalty != 0 || p->frequency_penalty != 0 ||
                   p->repetition_penalty != 1;
    return s;
}

void sampler_free(struct sampler *s)
{
    if (!s)
        return;
    free(s->seen);
    free(s->cands);
    free(s->edits);
    free(s);
}

/* --- the history -------------------------------------------------------- */

/* The slot of <id> in <t>, or the free one where it belongs. */
static struct seen *slot_of(struct seen *t, size_t cap, int32_t id)
{
    size_t at = ((uint32_t)id * 2654435769u) & (cap - 1);

    while (t[at].id != -1 && t[at].id != id)
        at = (at + 1) & (cap - 1);
    return &t[at];
}

/* Double the table; false without memory. */
static bool seen_grow(struct sampler *s)
{
    size_t cap = s->seen_cap ? s->seen_cap * 2 : SEEN_FIRST;
    struct seen *t = malloc(cap * sizeof(*t));

    if (!t)
        return false;
    for (size_t i = 0; i < cap; i++)
        t[i] = (struct seen){-1, 0};
    for (size_t i = 0; i < s->seen_cap; i++)
        if (s->seen[i].id != -1)
            *slot_of(t, cap, s->seen[i].id) = s->seen[i];
    free(s->seen);
    s->seen = t;
    s->seen_cap = cap;
    return true;
}

void sampler_see(struct sampler *s, int32_t id, bool generated)
{
    struct seen *at;

    if (!s->penalties || id < 0 || (uint32_t)id >= s->n_vocab)
        return;
    if (!generated && s->p->repetition_penalty == 1)
        return;
    if (s->n_seen * 2 >= s->seen_cap && !seen_grow(s)) {
        s->lost = true;
        return;
    }
    at = slot_of(s->seen, s->seen_cap, id);
    if (at->id == -1) {
        at->id = id;
        s->n_seen++;
    }
    if (generated)
        at->n_generated++;
}

/* --- changes of logits -------------------------------------------------- */

static void add_bias(const struct sampler *s, float *x)
{
    for (size_t i = 0; i < s->p->n_bias; i++) {
        const struct gen_bias *b = &s->p->bias[i];
        if (b->id < 0 || (uint32_t)b->id >= s->n_vocab)
            continue;
        x[b->id] = b->bias <= BAN_AT ? -INFINITY : x[b->id] + b->bias;
    }
}

static void take_penalties(const struct sampler *s, float *x)
{
    const struct gen_sampling *p = s->p;

    for (size_t i = 0; i < s->seen_cap; i++) {
        const struct seen *e = &s->seen[i];
        float v;
        if (e->id == -1)
            continue;
        v = x[e->id];
        if (p->repetition_penalty != 1)
            v = v > 0 ? v / p->repetition_penalty : v * p->repetition_penalty;
        if (e->n_generated)
            v -= p->frequency_penalty * (float)e->n_generated +
                 p->presence_penalty;
        x[e->id] = v;
    }
}

/* Forbid what <mask> lacks. */
static void take_mask(float *x, size_t n, const uint64_t *mask)
{
    for (size_t i = 0; i < n; i += 64) {
        uint64_t bits = mask[i / 64];
        size_t k = n - i < 64 ? n - i : 64;
        if (bits == UINT64_MAX)
            continue;
        for (size_t j = 0; j < k; j++)
            x[i + j] = bits >> j & 1 ? x[i + j] : -INFINITY;
    }
}

static bool is_banned(const struct sampler *s, size_t id)
{
    for (size_t i = 0; i < s->p->n_bias; i++)
        if ((size_t)s->p->bias[i].id == id && s->p->bias[i].bias <= BAN_AT)
            return true;
    return false;
}

/* The lowest allowed id, when no logit can be ranked; -1 when there is none.
 * Where a bias bans all that a mask allows, the mask goes before. */
static int32_t first_allowed(const struct sampler *s, const uint64_t *mask)
{
    int32_t banned = -1;

    for (size_t id = 0; id < s->n_vocab; id++) {
        if (mask && mask[id / 64] == 0) {
            id |= 63;
            continue;
        }
        if (mask && !(mask[id / 64] >> id % 64 & 1))
            continue;
        if (!is_banned(s, id))
            return (int32_t)id;
        if (mask && banned == -1)
            banned = (int32_t)id;
    }
    return banned;
}

/* --- candidates --------------------------------------------------------- */

/* Gather the elements of <x> >= <floor>; false without memory. */
static bool gather(struct sampler *s, const float *x, float floor)
{
    size_t n = sample_vec_above(x, s->n_vocab, floor, s->cands, s->room);
    struct sample_cand *more;

    s->n_cands = n;
    if (n <= s->room)
        return true;
    free(s->cands);
    more = malloc(n * sizeof(*more));
    s->cands = more;
    s->room = more ? n : 0;
    if (!more)
        return false;
    sample_vec_above(x, s->n_vocab, floor, more, n);
    return true;
}

/* Whether <a> stands before <b>: likelier, or as likely with a lower id. */
static bool is_before(const struct sample_cand *a, const struct sample_cand *b)
{
    return a->w > b->w || (a->w == b->w && a->id < b->id);
}

/* Put what stands before c[at] in front of it within c[0 .. n); its new
 * place. */
static size_t split_at(struct sample_cand *c, size_t n, size_t at)
{
    struct sample_cand pivot = c[at];
    size_t m = 0;

    c[at] = c[n - 1];
    for (size_t i = 0; i + 1 < n; i++) {
        struct sample_cand t = c[i];
        if (!is_before(&t, &pivot))
            continue;
        c[i] = c[m];
        c[m++] = t;
    }
    c[n - 1] = c[m];
    c[m] = pivot;
    return m;
}

/* Keep the first candidates that together weigh <need>, each counting as 1 or
 * as its weight. Pivots come from a fixed generator: no row is a worst case
 * by design. */
static void keep_first(struct sampler *s, double need, bool by_count)
{
    uint32_t rnd = 0x9e3779b9u;
    size_t lo = 0, hi = s->n_cands;

    while (lo < hi) {
        struct sample_cand *c = s->cands + lo;
        double sum = 0, own;
        size_t m;
        rnd = rnd * 1664525u + 1013904223u;
        m = split_at(c, hi - lo, (size_t)((uint64_t)rnd * (hi - lo) >> 32));
        for (size_t i = 0; i < m; i++)
            sum += by_count ? 1 : (double)c[i].w;
        own = by_count ? 1 : (double)c[m].w;
        if (sum >= need && m > 0) {
            hi = lo + m;
            continue;
        }
        lo += m + 1;
        need -= sum + own;
        if (need <= 0)
            break;
    }
    s->n_cands = lo;
}

static double cands_sum(const struct sampler *s)
{
    double sum = 0;

    for (size_t i = 0; i < s->n_cands; i++)
        sum += (double)s->cands[i].w;
    return sum;
}

/* The top_k largest of <x>, weights still logits. The floor is lowered until
 * there are enough: in most rows the first one will do. */
static bool cut_top_k(struct sampler *s, const float *x, float max)
{
    size_t k = (size_t)s->p->top_k;

    for (float depth = 4; depth < 200; depth *= 2) {
        if (!gather(s, x, max - depth))
            return false;
        if (s->n_cands >= k)
            break;
    }
    if (s->n_cands < k && !gather(s, x, -FLT_MAX))
        return false;
    if (s->n_cands > k)
        keep_first(s, (double)k, true);
    return true;
}

/* The candidates that top_p leaves of a whole row of weights that sum to
 * <sum>. */
static bool cut_top_p_row(struct sampler *s, const float *w, double sum)
{
    double need = (double)s->p->top_p * sum;

    for (int depth = 4; depth < 80; depth *= 2) {
        float floor = expf((float)-depth);
        if (!gather(s, w, floor))
            return false;
        if (cands_sum(s) >= need) {
            keep_first(s, need, false);
            return true;
        }
    }
    if (!gather(s, w, FLT_MIN))
        return false;
    keep_first(s, need, false);
    return true;
}

static void cut_min_p(struct sampler *s)
{
    float floor = fminf(s->p->min_p, 1);
    size_t kept = 0;

    for (size_t i = 0; i < s->n_cands; i++)
        if (s->cands[i].w >= floor)
            s->cands[kept++] = s->cands[i];
    s->n_cands = kept;
}

/* --- the draw ----------------------------------------------------------- */

/* Philox 4x32 with ten rounds: counter (step, choice), key (seed). A uniform
 * number in [0, 1) of 53 bits. */
static double draw(const struct sampler *s, uint64_t step)
{
    uint32_t c[4] = {(uint32_t)step, (uint32_t)(step >> 32), s->choice, 0};
    uint32_t k[2] = {(uint32_t)s->p->seed, (uint32_t)(s->p->seed >> 32)};

    for (int round = 0; round < 10; round++) {
        uint64_t a = (uint64_t)0xD2511F53u * c[0];
        uint64_t b = (uint64_t)0xCD9E8D57u * c[2];
        c[0] = (uint32_t)(b >> 32) ^ c[1] ^ k[0];
        c[1] = (uint32_t)b;
        c[2] = (uint32_t)(a >> 32) ^ c[3] ^ k[1];
        c[3] = (uint32_t)a;
        k[0] += 0x9E3779B9u;
        k[1] += 0xBB67AE85u;
    }
    return (double)(((uint64_t)c[0] << 32 | c[1]) >> 11) * 0x1p-53;
}

/* Draw among the candidates. */
static int32_t draw_cand(const struct sampler *s, double u)
{
    double left = u * cands_sum(s);
    int32_t last = s->cands[0].id;

    for (size_t i = 0; i < s->n_cands; i++) {
        if (s->cands[i].w <= 0)
            continue;
        last = s->cands[i].id;
        left -= (double)s->cands[i].w;
        if (left < 0)
            break;
    }
    return last;
}

/* Draw from a whole row of weights, <sums> of its blocks adding up to
 * <sum>. */
static int32_t draw_row(const float *w, size_t n, const double *sums,
                        double sum, double u)
{
    double left = u * sum;
    size_t at = 0, last = 0;

    while (at + SAMPLE_BLOCK < n && left >= sums[at / SAMPLE_BLOCK]) {
        left -= sums[at / SAMPLE_BLOCK];
        at += SAMPLE_BLOCK;
    }
    /* Rounding may leave a little beyond the last weight: look back then. */
    for (last = at; at < n && left >= 0; at++) {
        left -= (double)w[at];
        last = w[at] > 0 ? at : last;
    }
    while (!(w[last] > 0))
        last--;
    return (int32_t)last;
}

/* Steps 6 to 8 for what top_k left, its weights being logits. */
static int32_t pick_of_cands(struct sampler *s, float max, double u)
{
    for (size_t i = 0; i < s->n_cands; i++) {
        float d = (s->cands[i].w - max) / s->p->temperature;
        s->cands[i].w = expf(d);
    }
    if (s->p->top_p < 1)
        keep_first(s, (double)s->p->top_p * cands_sum(s), false);
    if (s->p->min_p > 0)
        cut_min_p(s);
    return draw_cand(s, u);
}

/* Steps 4 to 8 without top_k. */
static int32_t pick_of_row(struct sampler *s, float *x, float max, double u)
{
    size_t n_sums = ((size_t)s->n_vocab + SAMPLE_BLOCK - 1) / SAMPLE_BLOCK;
    float scale = 1 / s->p->temperature;
    double *sums = malloc(n_sums * sizeof(*sums));
    int32_t id = -1;
    double sum;

    if (!sums)
        return -1;
    sum = sample_vec_exp(x, s->n_vocab, max, scale, x, sums);
    if (s->p->top_p < 1) {
        if (!cut_top_p_row(s, x, sum))
            goto out;
        if (s->p->min_p > 0)
            cut_min_p(s);
        id = draw_cand(s, u);
    } else if (s->p->min_p > 0) {
        if (gather(s, x, fminf(s->p->min_p, 1)))
            id = draw_cand(s, u);
    } else {
        id = draw_row(x, s->n_vocab, sums, sum, u);
    }
out:
    free(sums);
    return id;
}

/* Give a large room back: a flat row is rare. */
static void shed_room(struct sampler *s)
{
    if (s->room <= CANDS_KEPT)
        return;
    free(s->cands);
    s->cands = NULL;
    s->room = 0;
}

int32_t sampler_pick(struct sampler *s, float *logits, const uint64_t *mask,
                     uint64_t step)
{
    float *x = logits;
    int32_t id = -1;
    float max;

    if (s->lost)
        return -1;
    add_bias(s, x);
    take_penalties(s, x);
    if (mask)
        take_mask(x, s->n_vocab, mask);
    max = sample_vec_max(x, s->n_vocab);
    if (max == -INFINITY)
        return first_allowed(s, mask);
    if (max == INFINITY) {
        for (size_t i = 0; i < s->n_vocab; i++)
            x[i] = x[i] == INFINITY ? 0 : -INFINITY;
        max = 0;
    }
    if (!(s->p->temperature >= GREEDY_BELOW))
        return (int32_t)sample_vec_find(x, s->n_vocab, max);
    if (s->p->top_k <= 0 || (unsigned)s->p->top_k >= s->n_vocab)
        id = pick_of_row(s, x, max, draw(s, step));
    else if (cut_top_k(s, x, max))
        id = pick_of_cands(s, max, draw(s, step));
    shed_room(s);
    return id;
}

/* --- for a device --------------------------------------------------------- */

/* The edit of <id> among the first <n>, or NULL. */
static struct krn_edit *edit_of(struct sampler *s, size_t n, int32_t id)
{
    for (size_t i = 0; i < n; i++)
        if (s->edits[i].id == id)
            return &s->edits[i];
    return NULL;
}

/* Biases, and how many. */
static size_t fill_biases(struct sampler *s)
{
    size_t n = 0;

    for (size_t i = 0; i < s->p->n_bias; i++) {
        const struct gen_bias *b = &s->p->bias[i];
        struct krn_edit *e;

        if (b->id < 0 || (uint32_t)b->id >= s->n_vocab)
            continue;
        e = edit_of(s, n, b->id);
        if (!e) {
            e = &s->edits[n++];
            *e = (struct krn_edit){.id = b->id};
        }
        e->banned |= b->bias <= BAN_AT;
        e->bias += b->bias <= BAN_AT ? 0 : b->bias;
    }
    return n;
}

/* Biases and the history; how many. A token of the history is looked for among
 * the biases alone. */
static size_t fill_edits(struct sampler *s)
{
    const size_t n_bias = fill_biases(s);
    size_t n = n_bias;

    for (size_t i = 0; i < s->seen_cap; i++) {
        const struct seen *h = &s->seen[i];
        struct krn_edit *e;

        if (h->id == -1)
            continue;
        e = edit_of(s, n_bias, h->id);
        if (!e) {
            e = &s->edits[n++];
            *e = (struct krn_edit){.id = h->id};
        }
        e->seen = true;
        e->n_generated = h->n_generated;
    }
    return n;
}

bool sampler_ask(struct sampler *s, const uint64_t *mask, uint64_t step,
                 struct krn_draw *out)
{
    const struct gen_sampling *p = s->p;
    const size_t most = s->n_seen + p->n_bias + 1;

    if (s->lost)
        return false;
    if (most > s->edits_cap) {
        free(s->edits);
        s->edits_cap = most * 2;
        s->edits = calloc(s->edits_cap, sizeof(*s->edits));
        if (!s->edits) {
            s->edits_cap = 0;
            return false;
        }
    }
    *out = (struct krn_draw){.given = -1,
                             .temperature = p->temperature,
                             .top_k = (int)p->top_k,
                             .top_p = p->top_p,
                             .min_p = p->min_p,
                             .repetition_penalty = p->repetition_penalty,
                             .frequency_penalty = p->frequency_penalty,
                             .presence_penalty = p->presence_penalty,
                             .u = draw(s, step),
                             .n_edits = fill_edits(s),
                             .edits = s->edits,
                             .mask = mask};
    return true;
}
