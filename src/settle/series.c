/* series.c - See series.h. The lock is the worker's own but for scrapes, so it
 * is free whenever a request takes it. */
#include "settle/series.h"

#include <stdlib.h>

#include "base/clock.h"
#include "exchange/exchange.h"
#include "store/row.h"

#define LABEL_MAX 128 /* bytes of one label */

struct series_table *series_table_new(void)
{
    struct series_table *t = calloc(1, sizeof(*t));

    if (t)
        pthread_mutex_init(&t->lock, NULL);
    return t;
}

void series_table_free(struct series_table *t)
{
    struct series *s, *next;

    if (!t)
        return;
    HASH_ITER(hh, t->map, s, next)
    {
        HASH_DEL(t->map, s);
        free(s->key);
        free(s);
    }
    pthread_mutex_destroy(&t->lock);
    free(t);
}

struct series *series_at(struct series_table *t, struct str key,
                         size_t model_len)
{
    struct series *s = NULL;

    HASH_FIND(hh, t->map, key.p, key.len, s);
    if (s)
        return s;
    s = calloc(1, sizeof(*s));
    if (!s)
        return NULL;
    s->key = malloc(key.len);
    if (!s->key) {
        free(s);
        return NULL;
    }
    memcpy(s->key, key.p, key.len);
    s->key_len = key.len;
    s->model = str_of(s->key, model_len);
    s->target = str_skip(str_of(s->key, key.len), model_len + 1);
    HASH_ADD_KEYPTR(hh, t->map, s->key, s->key_len, s);
    if (!MAP_ADDED(s)) {
        free(s->key);
        free(s);
        return NULL;
    }
    return s;
}

static struct series *series_get(struct series_table *t, struct str model,
                                 struct str target)
{
    char key[2 * LABEL_MAX + 1];
    size_t len;

    if (model.len > LABEL_MAX || target.len > LABEL_MAX ||
        HASH_COUNT(t->map) >= SERIES_MAX) {
        model = STR("other");
        target = STR("other");
    }
    memcpy(key, model.p, model.len);
    key[model.len] = '\n';
    memcpy(key + model.len + 1, target.p, target.len);
    len = model.len + 1 + target.len;
    return series_at(t, str_of(key, len), model.len);
}

static void count_status(struct series *s, unsigned status)
{
    unsigned i = 0;

    while (i < s->n_statuses && s->status[i] != status)
        i++;
    if (i == s->n_statuses) {
        if (i == SERIES_STATUSES) {
            i--;
        } else {
            s->status[i] = status;
            s->n_statuses++;
        }
    }
    s->requests[i]++;
}

static uint64_t us_since(int64_t from_us, int64_t to_us)
{
    return to_us > from_us ? (uint64_t)(to_us - from_us) : 0;
}

static void count_times(struct exchange *x, struct series *s)
{
    hist_observe(&s->seconds, us_since(x->start_us, (int64_t)clock_mono_us()));
    if (x->work->attempts == 0)
        return;
    hist_observe(&s->overhead,
                 us_since(x->in->head_us, x->stage_us[STAGE_SERVE]));
    if (x->out->first_us != 0)
        hist_observe(&s->first_byte, us_since(x->start_us, x->out->first_us));
}

static void add_cost(struct series *s, const struct usage_row *row)
{
    if (__builtin_add_overflow(s->cost_nusd, row->cost_nusd, &s->cost_nusd))
        s->cost_nusd = INT64_MAX;
    s->unpriced += (row->flags & ROW_UNPRICED) != 0;
    s->stale_price += (row->flags & ROW_STALE_PRICE) != 0;
}

static void add_tokens(struct series *s, const struct usage_row *row)
{
    s->tok_input += row_input_tokens(row->tok);
    s->tok_cached += row->tok[ROW_TOK_CACHE_READ];
    s->tok_output += row_output_tokens(row->tok);
}

/* Where the reply came from; what failed here came from nowhere. */
static void count_cache(const struct exchange *x, struct series *s,
                        const struct usage_row *row)
{
    const bool is_lost = exchange_has_failed(x) && x->out->end != REPLY_GONE;

    s->misses += row->cache == ROW_CACHE_MISS;
    s->hits += row->cache == ROW_CACHE_HIT && !is_lost;
    s->joined += row->cache == ROW_CACHE_JOINED;
    s->saved_tok += row->saved_input_tok + row->saved_output_tok;
    if (__builtin_add_overflow(s->saved_nusd, row->saved_nusd, &s->saved_nusd))
        s->saved_nusd = INT64_MAX;
}

/* Probes and scrapes would drown the requests people pay for. */
static bool is_counted(const struct exchange *x)
{
    return x->w->stats->series &&
           (!x->in->ep.row || (x->in->ep.row->flags & ENDPOINT_NEEDS_KEY) != 0);
}

static struct series *series_of(struct series_table *t, struct str label,
                                const struct usage_row *row)
{
    const struct str none = STR("-");

    return series_get(t, label.len > 0 ? label : none,
                      row->target.len > 0 ? row->target : none);
}

void series_cache_add(struct series_table *t, struct series_cache *sum)
{
    struct series *s, *next;

    if (!t)
        return;
    pthread_mutex_lock(&t->lock);
    HASH_ITER(hh, t->map, s, next)
    {
        sum->hits += s->hits;
        sum->misses += s->misses;
        sum->joined += s->joined;
        sum->saved_tok += s->saved_tok;
        if (__builtin_add_overflow(sum->saved_nusd, s->saved_nusd,
                                   &sum->saved_nusd))
            sum->saved_nusd = INT64_MAX;
    }
    pthread_mutex_unlock(&t->lock);
}

void series_count(struct exchange *x, const struct usage_row *row)
{
    struct series_table *t = x->w->stats->series;
    struct series *s;

    if (!is_counted(x))
        return;
    pthread_mutex_lock(&t->lock);
    s = series_of(t, x->work->label, row);
    if (s) {
        count_status(s, row->status);
        count_times(x, s);
        add_tokens(s, row);
        add_cost(s, row);
        count_cache(x, s, row);
    }
    pthread_mutex_unlock(&t->lock);
}

void series_count_leg(struct exchange *x, struct str label,
                      const struct usage_row *row)
{
    struct series_table *t = x->w->stats->series;
    struct series *s;

    if (!is_counted(x))
        return;
    pthread_mutex_lock(&t->lock);
    s = series_of(t, label, row);
    if (s) {
        add_tokens(s, row);
        add_cost(s, row);
    }
    pthread_mutex_unlock(&t->lock);
}
