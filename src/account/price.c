/* price.c - See price.h. Decides which entry of the price file holds and what
 * is charged for a class that it gives no price for:
 *
 *   cached input      as input; nobody asks more for less work
 *   reasoning         as output, which is how it is billed
 *   cache write       1.25 times input; for an hour, the dearer of cache_write
 *                     and twice input: what those who ask for it ask today.
 *                     Marked, since it is a stand-in
 *   audio             as text, marked: audio is dearer
 *   anything else     nothing, marked
 *
 * An entry without any price of tokens charges by request or minute alone, and
 * tokens are then free on purpose.
 *
 * Sums are in pico-dollars times the milliseconds of a minute, so that every
 * part is a whole number. With 64-bit counts and prices of at most 10^12 a
 * token and 10^18 a minute they stay below 2^126. */
#include "account/price.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define MINUTE_MS     60000
#define NUSD_PER_USD  INT64_C(1000000000)
#define PUSD_PER_NUSD 1000

/* ---- finding ----------------------------------------------------------- */

static bool target_fits(const struct conf_price_name *n, struct str target)
{
    if (n->rank == 0)
        return str_eq(n->target, target);
    return n->rank == 2 || str_glob(n->target, target);
}

/* Whether <n> may price a model of the engine: it says so by its name or by a
 * target, and was not just meant for everything. */
static bool means_engine(const struct conf_price_name *n)
{
    return n->rank < 2 || !n->model_glob;
}

static int compare_model(struct str a, struct str b)
{
    size_t len = a.len < b.len ? a.len : b.len;
    int c = len > 0 ? memcmp(a.p, b.p, len) : 0;

    if (c != 0)
        return c;
    return a.len == b.len ? 0 : a.len < b.len ? -1 : 1;
}

/* The first exact name that is <model> and fits; NULL if there is none. */
static const struct conf_price_name *find_exact(const struct conf_prices *ps,
                                                struct str target,
                                                struct str model)
{
    size_t low = 0, high = ps->n_exact;

    while (low < high) {
        size_t mid = low + (high - low) / 2;

        if (compare_model(ps->exact[mid].model, model) < 0)
            low = mid + 1;
        else
            high = mid;
    }
    for (; low < ps->n_exact && str_eq(ps->exact[low].model, model); low++)
        if (target_fits(&ps->exact[low], target))
            return &ps->exact[low];
    return NULL;
}

/* The first glob of a rank below <below> that fits. */
static const struct conf_price_name *find_glob(const struct conf_prices *ps,
                                               struct str target,
                                               struct str model, bool engine,
                                               unsigned below)
{
    for (size_t i = 0; i < ps->n_globs; i++) {
        const struct conf_price_name *n = &ps->globs[i];

        if (n->rank >= below)
            return NULL;
        if (engine && !means_engine(n))
            continue;
        if (target_fits(n, target) && str_glob(n->model, model))
            return n;
    }
    return NULL;
}

struct price_quote price_find(const struct conf_prices *ps, struct str target,
                              struct str model, bool engine,
                              int64_t now_wall_ms)
{
    const struct conf_price_name *exact = find_exact(ps, target, model);
    const struct conf_price_name *glob =
        find_glob(ps, target, model, engine, exact ? exact->rank : 3);
    struct price_quote q = {.price = NULL};
    int64_t age_ms;

    if (glob || exact)
        q.price = glob ? glob->price : exact->price;
    if (!q.price) {
        q.marks = engine ? 0 : PRICE_MISSING;
        return q;
    }
    age_ms = now_wall_ms - q.price->updated_days * INT64_C(86400000);
    if (ps->stale_after_ms > 0 && age_ms > ps->stale_after_ms)
        q.marks = PRICE_STALE;
    return q;
}

/* ---- rates ------------------------------------------------------------- */

static bool gives(const struct conf_price *p, enum conf_price_item i)
{
    return (p->given & (1U << i)) != 0;
}

static bool prices_tokens(const struct conf_price *p)
{
    return (p->given & ((1U << CONF_PRICE_TOKENS) - 1)) != 0;
}

/* The price of <i>, else of <other>; 0 and marked when neither is given. */
static int64_t either(const struct conf_price *p, enum conf_price_item i,
                      enum conf_price_item other, unsigned *marks)
{
    if (gives(p, i))
        return p->at[i];
    if (!gives(p, other))
        *marks |= PRICE_PART;
    return p->at[other];
}

/* The price of cache writes where there is none: <num>/4 of the input's. */
static int64_t write_rate(const struct conf_price *p, enum conf_price_item i,
                          int64_t num, unsigned *marks)
{
    int64_t rate = (p->at[CONF_PRICE_INPUT] * num + 3) / 4;

    if (gives(p, i))
        return p->at[i];
    *marks |= PRICE_PART;
    return rate > p->at[CONF_PRICE_CACHE_WRITE] ? rate
                                                : p->at[CONF_PRICE_CACHE_WRITE];
}

/* Pico-dollars a token of <kind> costs; adds PRICE_PART for a stand-in. */
static int64_t rate_of(const struct conf_price *p, enum row_tok kind,
                       unsigned *marks)
{
    if (!prices_tokens(p))
        return 0;
    switch (kind) {
    case ROW_TOK_INPUT:
        return either(p, CONF_PRICE_INPUT, CONF_PRICE_INPUT, marks);
    case ROW_TOK_CACHE_READ:
        return either(p, CONF_PRICE_CACHED_INPUT, CONF_PRICE_INPUT, marks);
    case ROW_TOK_CACHE_WRITE_5M:
        return write_rate(p, CONF_PRICE_CACHE_WRITE, 5, marks);
    case ROW_TOK_CACHE_WRITE_1H:
        return write_rate(p, CONF_PRICE_CACHE_WRITE_1H, 8, marks);
    case ROW_TOK_OUTPUT:
        return either(p, CONF_PRICE_OUTPUT, CONF_PRICE_OUTPUT, marks);
    case ROW_TOK_REASONING:
        return either(p, CONF_PRICE_REASONING, CONF_PRICE_OUTPUT, marks);
    case ROW_TOK_AUDIO_IN:
    case ROW_TOK_AUDIO_OUT:
        break;
    default:
        return 0;
    }
    bool in = kind == ROW_TOK_AUDIO_IN;
    enum conf_price_item own = in ? CONF_PRICE_AUDIO_IN : CONF_PRICE_AUDIO_OUT;

    if (!gives(p, own))
        *marks |= PRICE_PART;
    return either(p, own, in ? CONF_PRICE_INPUT : CONF_PRICE_OUTPUT, marks);
}

/* ---- sums -------------------------------------------------------------- */

/* <sum> pico-dollar-minutes as nano-dollars, rounded up. */
static int64_t nusd_of(unsigned __int128 sum)
{
    const unsigned __int128 unit = (unsigned __int128)MINUTE_MS * PUSD_PER_NUSD;
    unsigned __int128 nusd = sum / unit + (sum % unit != 0);

    return nusd > INT64_MAX ? INT64_MAX : (int64_t)nusd;
}

/* What a request costs apart from its tokens. */
static unsigned __int128 flat_sum(const struct conf_price *p, uint64_t audio_ms)
{
    unsigned __int128 request =
        (unsigned __int128)p->at[CONF_PRICE_REQUEST] * PUSD_PER_NUSD;
    unsigned __int128 minute =
        (unsigned __int128)p->at[CONF_PRICE_AUDIO_MINUTE] * PUSD_PER_NUSD;

    return request * MINUTE_MS + minute * audio_ms;
}

struct price_cost price_cost(const struct price_quote *q,
                             const uint64_t tok[ROW_TOK_COUNT],
                             uint64_t audio_ms)
{
    struct price_cost c = {.marks = q->marks};
    uint64_t any = 0;
    unsigned __int128 sum;

    if (!q->price)
        return c;
    sum = flat_sum(q->price, audio_ms);
    for (unsigned k = 0; k < ROW_TOK_COUNT; k++) {
        if (tok[k] == 0)
            continue;
        any = 1;
        sum += (unsigned __int128)tok[k] *
               (unsigned __int128)rate_of(q->price, (enum row_tok)k, &c.marks) *
               MINUTE_MS;
    }
    /* who counts tokens as well does not bill the time */
    if (audio_ms > 0 && any == 0 && !gives(q->price, CONF_PRICE_AUDIO_MINUTE) &&
        !gives(q->price, CONF_PRICE_REQUEST))
        c.marks |= PRICE_PART;
    c.nusd = nusd_of(sum);
    return c;
}

/* The price of the dearest of <kinds>. */
static int64_t dearest(const struct conf_price *p, unsigned kinds,
                       unsigned *marks)
{
    int64_t most = 0;

    for (unsigned k = 0; k < ROW_TOK_COUNT; k++) {
        int64_t rate;

        if ((kinds & PRICE_KIND(k)) == 0)
            continue;
        rate = rate_of(p, (enum row_tok)k, marks);
        most = rate > most ? rate : most;
    }
    return most;
}

#define INPUT_KINDS                                                            \
    (PRICE_KIND(ROW_TOK_INPUT) | PRICE_KIND(ROW_TOK_CACHE_READ) |              \
     PRICE_KINDS_CACHE_WRITE | PRICE_KIND(ROW_TOK_AUDIO_IN))
#define OUTPUT_KINDS                                                           \
    (PRICE_KIND(ROW_TOK_OUTPUT) | PRICE_KIND(ROW_TOK_REASONING) |              \
     PRICE_KIND(ROW_TOK_AUDIO_OUT))

/* The rates that the tokens of <b> may have at most. */
struct rates {
    int64_t input, output;
};

static struct rates rates_of(const struct conf_price *p,
                             const struct price_bound *b, unsigned *marks)
{
    struct rates r = {0, 0};

    if (b->input_tok > 0)
        r.input = dearest(p, b->kinds & INPUT_KINDS, marks);
    if (b->output_tok > 0)
        r.output = dearest(p, b->kinds & OUTPUT_KINDS, marks);
    return r;
}

struct price_cost price_worst_case(const struct price_quote *q,
                                   const struct price_bound *b)
{
    struct price_cost c = {.marks = q->marks};
    struct rates r;

    if (!q->price)
        return c;
    r = rates_of(q->price, b, &c.marks);
    if (b->audio_ms > 0 && !gives(q->price, CONF_PRICE_AUDIO_MINUTE) &&
        !prices_tokens(q->price) && !gives(q->price, CONF_PRICE_REQUEST))
        c.marks |= PRICE_PART;
    c.nusd = nusd_of(flat_sum(q->price, b->audio_ms) +
                     (unsigned __int128)b->input_tok *
                         (unsigned __int128)r.input * MINUTE_MS +
                     (unsigned __int128)b->output_tok *
                         (unsigned __int128)r.output * MINUTE_MS);
    return c;
}

bool price_fit_output(const struct price_quote *q, const struct price_bound *b,
                      int64_t limit_nusd, uint64_t *output_tok_out)
{
    struct price_bound none = *b;
    unsigned marks = 0;
    unsigned __int128 left, fits;
    int64_t rate;

    none.output_tok = 0;
    if (limit_nusd < 0 || price_worst_case(q, &none).nusd > limit_nusd)
        return false;
    rate = q->price ? rates_of(q->price, b, &marks).output : 0;
    if (rate == 0 || limit_nusd == INT64_MAX) {
        *output_tok_out = b->output_tok;
        return true;
    }
    left = (unsigned __int128)limit_nusd * PUSD_PER_NUSD * MINUTE_MS -
           flat_sum(q->price, b->audio_ms) -
           (unsigned __int128)b->input_tok *
               (unsigned __int128)rates_of(q->price, &none, &marks).input *
               MINUTE_MS;
    fits = left / ((unsigned __int128)rate * MINUTE_MS);
    *output_tok_out = fits > b->output_tok ? b->output_tok : (uint64_t)fits;
    return true;
}

struct str price_print_usd(int64_t nusd, char out[PRICE_USD_SIZE])
{
    int64_t v = nusd < 0 ? 0 : nusd;
    int len = snprintf(out, PRICE_USD_SIZE, "%" PRId64 ".%09" PRId64,
                       v / NUSD_PER_USD, v % NUSD_PER_USD);

    return str_of(out, (size_t)len);
}

struct str price_print_short(int64_t nusd, char out[PRICE_USD_SIZE])
{
    struct str text = price_print_usd(nusd, out);

    while (text.p[text.len - 1] == '0' && text.p[text.len - 3] != '.')
        text.len--;
    out[text.len] = '\0';
    return text;
}
