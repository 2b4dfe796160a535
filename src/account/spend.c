/* spend.c - See spend.h. */
#include "account/spend.h"

#include <stdlib.h>
#include <string.h>

#include "account/window.h"
#include "store/rec.h"

static int64_t add(int64_t a, int64_t b)
{
    int64_t sum;

    if (__builtin_add_overflow(a, b, &sum))
        return INT64_MAX;
    return sum;
}

static int64_t clamp(uint64_t v)
{
    return v > INT64_MAX ? INT64_MAX : (int64_t)v;
}

struct budget_amounts spend_of_row(const struct usage_row *row)
{
    const int64_t in = clamp(row_input_tokens(row->tok));
    const int64_t out = clamp(row_output_tokens(row->tok));

    return (struct budget_amounts){
        .of = {[BUDGET_TOKENS] = add(in, out),
               [BUDGET_INPUT_TOKENS] = in,
               [BUDGET_OUTPUT_TOKENS] = out,
               [BUDGET_NUSD] = row->cost_nusd > 0 ? row->cost_nusd : 0}};
}

void spend_init(struct spend *s)
{
    memset(s, 0, sizeof(*s));
    for (int w = 0; w < BUDGET_WINDOW_COUNT; w++)
        s->in[w].number = w == BUDGET_TOTAL ? 0 : INT64_MIN;
}

static void add_amounts(struct budget_amounts *to,
                        const struct budget_amounts *more)
{
    for (int u = 0; u < BUDGET_UNIT_COUNT; u++)
        to->of[u] = add(to->of[u], more->of[u]);
}

/* Begin window <number> of kind <w>, unless it is there; whether it is. */
static bool enter(struct spend *s, int w, int64_t number)
{
    if (number > s->in[w].number) {
        memset(&s->in[w], 0, sizeof(s->in[w]));
        s->in[w].number = number;
    }
    return number == s->in[w].number;
}

void spend_add(struct spend *s, int64_t at_ms,
               const struct budget_amounts *took)
{
    for (int w = 0; w < BUDGET_WINDOW_COUNT; w++)
        if (enter(s, w, window_number((enum budget_window)w, at_ms)))
            add_amounts(&s->in[w].took, took);
}

void spend_merge(struct spend *s, const struct spend *more)
{
    for (int w = 0; w < BUDGET_WINDOW_COUNT; w++) {
        if (!enter(s, w, more->in[w].number))
            continue;
        add_amounts(&s->in[w].took, &more->in[w].took);
        add_amounts(&s->in[w].lost, &more->in[w].lost);
    }
}

void spend_most(struct spend *s, const struct spend *other)
{
    for (int w = 0; w < BUDGET_WINDOW_COUNT; w++) {
        if (!enter(s, w, other->in[w].number))
            continue;
        for (int u = 0; u < BUDGET_UNIT_COUNT; u++)
            if (other->in[w].took.of[u] > s->in[w].took.of[u])
                s->in[w].took.of[u] = other->in[w].took.of[u];
    }
}

/* The later of three windows. */
static int64_t latest(int64_t a, int64_t b, int64_t c)
{
    const int64_t ab = a > b ? a : b;

    return ab > c ? ab : c;
}

/* What <s> took of <u> in window <number> of kind <w>. */
static int64_t took_in(const struct spend *s, int w, int u, int64_t number)
{
    return s->in[w].number == number ? s->in[w].took.of[u] : 0;
}

void spend_recover(struct spend *s, const struct spend *charged,
                   const struct spend *lease)
{
    for (int w = 0; w < BUDGET_WINDOW_COUNT; w++) {
        const int64_t number =
            latest(s->in[w].number, charged->in[w].number, lease->in[w].number);

        enter(s, w, number);
        for (int u = 0; u < BUDGET_UNIT_COUNT; u++) {
            int64_t *took = &s->in[w].took.of[u];
            const int64_t leased = took_in(lease, w, u, number);
            const int64_t seen = add(*took, took_in(charged, w, u, number));

            if (leased == 0 || *took > leased) {
                *took = seen;
                continue;
            }
            *took = leased;
            s->in[w].lost.of[u] += leased - seen;
        }
    }
}

void spend_take_back(struct spend *s,
                     const struct budget_amounts less[BUDGET_WINDOW_COUNT],
                     struct spend *taken_out)
{
    spend_init(taken_out);
    for (int w = 0; w < BUDGET_WINDOW_COUNT; w++) {
        taken_out->in[w].number = s->in[w].number;
        for (int u = 0; u < BUDGET_UNIT_COUNT; u++) {
            int64_t *lost = &s->in[w].lost.of[u];
            int64_t n = less[w].of[u] < *lost ? less[w].of[u] : *lost;

            if (n < 0)
                n = 0;
            *lost -= n;
            s->in[w].took.of[u] -= n;
            taken_out->in[w].took.of[u] = n;
        }
    }
}

/* --- bytes ---------------------------------------------------------------- */

size_t spend_encode(const struct spend *s, void *out)
{
    struct rec_out o = {.p = out, .room = SPEND_BYTES_MAX};

    rec_put_int(&o, BUDGET_WINDOW_COUNT, 1);
    rec_put_int(&o, BUDGET_UNIT_COUNT, 1);
    for (int w = 0; w < BUDGET_WINDOW_COUNT; w++) {
        rec_put_int(&o, (uint64_t)s->in[w].number, 8);
        for (int u = 0; u < BUDGET_UNIT_COUNT; u++)
            rec_put_int(&o, (uint64_t)s->in[w].took.of[u], 8);
        for (int u = 0; u < BUDGET_UNIT_COUNT; u++)
            rec_put_int(&o, (uint64_t)s->in[w].lost.of[u], 8);
    }
    return o.len;
}

static void get_amounts(struct rec_in *in, int n, int64_t least,
                        struct budget_amounts *out)
{
    for (int u = 0; u < n; u++) {
        const int64_t v = (int64_t)rec_get_int(in, 8);

        if (v < least)
            in->bad = true;
        if (u < BUDGET_UNIT_COUNT)
            out->of[u] = v;
    }
}

enum err spend_decode(struct str bytes, struct spend *out)
{
    struct rec_in in = {.p = (const uint8_t *)bytes.p, .left = bytes.len};
    const int windows = (int)rec_get_int(&in, 1);
    const int units = (int)rec_get_int(&in, 1);
    struct spend s;
    struct spend rest;

    spend_init(&s);
    for (int w = 0; w < windows && !in.bad; w++) {
        struct spend *to = w < BUDGET_WINDOW_COUNT ? &s : &rest;
        const int at = w < BUDGET_WINDOW_COUNT ? w : 0;

        to->in[at].number = (int64_t)rec_get_int(&in, 8);
        get_amounts(&in, units, 0, &to->in[at].took);
        get_amounts(&in, units, -INT64_MAX, &to->in[at].lost);
    }
    if (in.bad)
        return ERR_CORRUPT;
    *out = s;
    return ERR_OK;
}

/* --- names ---------------------------------------------------------------- */

static size_t name_of(char kind, struct str text, char out[SPEND_NAME_MAX])
{
    const size_t len = text.len < ROW_NAME_MAX ? text.len : ROW_NAME_MAX;

    out[0] = kind;
    if (len > 0)
        memcpy(out + 1, text.p, len);
    return 1 + len;
}

size_t spend_key_name(struct str id, char out[SPEND_NAME_MAX])
{
    return name_of('k', id, out);
}

size_t spend_team_name(struct str name, char out[SPEND_NAME_MAX])
{
    return name_of('t', name, out);
}

/* --- maps ----------------------------------------------------------------- */

void spend_map_fini(struct spend_map *m)
{
    struct spend_item *it, *next;

    HASH_ITER(hh, m->items, it, next)
    {
        HASH_DEL(m->items, it);
        free(it);
    }
}

struct spend *spend_map_at(struct spend_map *m, struct str name)
{
    struct spend_item *it;

    HASH_FIND(hh, m->items, name.p, name.len, it);
    if (it)
        return &it->sum;
    it = calloc(1, sizeof(*it));
    if (!it)
        return NULL;
    it->name_len = name.len;
    memcpy(it->name, name.p, name.len);
    spend_init(&it->sum);
    HASH_ADD(hh, m->items, name, it->name_len, it);
    if (MAP_ADDED(it))
        return &it->sum;
    free(it);
    return NULL;
}

static enum err add_to(struct spend_map *m, struct str name,
                       const struct usage_row *row)
{
    const struct budget_amounts took = spend_of_row(row);
    struct spend *s = spend_map_at(m, name);

    if (!s)
        return ERR_NOMEM;
    spend_add(s, row->budget_ms ? row->budget_ms : row->time_wall_ms, &took);
    return ERR_OK;
}

enum err spend_map_add_row(struct spend_map *m, const struct usage_row *row)
{
    char name[SPEND_NAME_MAX];

    if (row->key_id.len > 0)
        ERR_TRY(
            add_to(m, str_of(name, spend_key_name(row->key_id, name)), row));
    if (row->team.len > 0)
        ERR_TRY(add_to(m, str_of(name, spend_team_name(row->team, name)), row));
    return ERR_OK;
}
