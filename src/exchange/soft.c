/* soft.c - See soft.h. Budgets are read as they stand, so a warning may come
 * from what another request took. What was told is bounded: past the bound all
 * is forgotten, and a line comes twice rather than never. */
#include "exchange/soft.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "account/accounts.h"
#include "account/keytab.h"
#include "account/price.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/map.h"
#include "exchange/exchange.h"

#define TOLD_MAX   65536
#define NAME_BYTES (ROW_NAME_MAX + 64)

/* A budget that was told of. */
struct told {
    UT_hash_handle hh;
    int64_t resets_ms; /* of the window in which it was */
    size_t name_len;
    char name[NAME_BYTES];
};

/* Lock: guards all of it; rank: leaf. */
struct soft {
    pthread_mutex_t lock;
    struct told *by_name; /* uthash, owned */
};

/* A soft budget that is passed. */
struct passed {
    bool is_team;
    struct str owner; /* key id or team */
    const struct budget_spec *spec;
    struct accounts_state now;
};

/* Told of each; anything but ERR_OK ends the walk. */
typedef enum err passed_fn(struct exchange *x, const struct passed *p,
                           struct buf *out);

/* --- what was told -------------------------------------------------------- */

struct soft *soft_new(void)
{
    struct soft *s = calloc(1, sizeof(*s));

    if (s)
        pthread_mutex_init(&s->lock, NULL);
    return s;
}

static void forget(struct soft *s)
{
    struct told *it, *next;

    HASH_ITER(hh, s->by_name, it, next)
    {
        HASH_DEL(s->by_name, it);
        free(it);
    }
}

void soft_free(struct soft *s)
{
    if (!s)
        return;
    forget(s);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

/* Two budgets of one unit and window differ by their amount. */
static size_t name_of(const struct passed *p, char out[NAME_BYTES])
{
    const int n = snprintf(out, NAME_BYTES, "%d/%d/%" PRId64 "/%c%.*s",
                           p->spec->unit, p->spec->window, p->spec->amount,
                           p->is_team ? 't' : 'k', STR_ARG(p->owner));

    return n < 0 ? 0 : (size_t)n < NAME_BYTES ? (size_t)n : NAME_BYTES - 1;
}

/* With the lock held. Without memory it is news every time. */
static bool is_news(struct soft *s, const struct passed *p)
{
    char name[NAME_BYTES];
    const size_t len = name_of(p, name);
    struct told *it;

    HASH_FIND(hh, s->by_name, name, len, it);
    if (it && it->resets_ms == p->now.resets_ms)
        return false;
    if (!it && HASH_COUNT(s->by_name) >= TOLD_MAX)
        forget(s);
    if (!it && (it = calloc(1, sizeof(*it))) != NULL) {
        memcpy(it->name, name, len);
        it->name_len = len;
        HASH_ADD(hh, s->by_name, name, it->name_len, it);
        if (!MAP_ADDED(it)) {
            free(it);
            it = NULL;
        }
    }
    if (it)
        it->resets_ms = p->now.resets_ms;
    return true;
}

/* --- what is passed ------------------------------------------------------- */

static enum err walk(struct exchange *x, struct passed *p,
                     const struct key_spec *of, passed_fn *fn, struct buf *out)
{
    struct accounts *a = x->w->svc->accounts;
    enum err e = ERR_OK;

    for (size_t i = 0; i < of->n_budgets && e == ERR_OK; i++) {
        p->spec = &of->budgets[i];
        if (!p->spec->soft)
            continue;
        if (accounts_read(a, p->is_team, p->owner, p->spec, &p->now) &&
            p->now.spent > p->spec->amount)
            e = fn(x, p, out);
    }
    return e;
}

static enum err walk_both(struct exchange *x, passed_fn *fn, struct buf *out)
{
    const struct key *key = x->who->key;
    const struct team *team;
    struct passed p = {.owner = x->who->key_id};
    enum err e;

    if (!key || !x->w->svc || !x->w->svc->accounts)
        return ERR_OK;
    e = walk(x, &p, &key->spec, fn, out);
    if (e != ERR_OK || x->who->team.len == 0)
        return e;
    team = keytab_find_team(x->w->svc->keys, x->who->team);
    p = (struct passed){.is_team = true, .owner = x->who->team};
    if (team)
        e = walk(x, &p, &team->spec, fn, out);
    team_unref(team);
    return e;
}

/* --- telling -------------------------------------------------------------- */

/* Append the amount, tokens as they are and money in dollars. */
static enum err put_amount(struct buf *out, enum budget_unit unit, int64_t v)
{
    char text[PRICE_USD_SIZE];

    if (unit != BUDGET_NUSD)
        return buf_printf(out, "%" PRId64, v);
    return buf_put_str(out, price_print_short(v, text));
}

static enum err put_resets(struct buf *out, const char *before,
                           const char *after, int64_t ms)
{
    char text[CLOCK_RFC3339_SIZE];

    if (ms == INT64_MAX)
        return ERR_OK;
    clock_format_rfc3339((uint64_t)ms, text);
    return buf_printf(out, "%s%s%s", before, text, after);
}

/* A whole item of the list, or nothing of it. */
static enum err warn(struct exchange *x, const struct passed *p,
                     struct buf *out)
{
    const size_t before = out->len;
    enum err e = buf_printf(out, "%s%s;budget=\"", out->len > 0 ? ", " : "",
                            p->is_team ? "team" : "key");

    if (e == ERR_OK)
        e = budget_spec_print(p->spec, out);
    if (e == ERR_OK)
        e = buf_printf(out, "\";spent=\"");
    if (e == ERR_OK)
        e = put_amount(out, p->spec->unit, p->now.spent);
    if (e == ERR_OK)
        e = buf_printf(out, "\"");
    if (e == ERR_OK)
        e = put_resets(out, ";resets=\"", "\"", p->now.resets_ms);
    if (e == ERR_OK)
        stats_budget(&x->w->stats->budget_warned, p->is_team, p->spec);
    else
        out->len = before;
    return e;
}

void soft_warning(struct exchange *x, struct buf *out)
{
    if (walk_both(x, warn, out) != ERR_OK)
        log_debug(LOG_SETTLE, "not every soft budget is told: request=%s",
                  x->name);
}

/* One line of the log. */
static enum err note(struct exchange *x, const struct passed *p,
                     struct buf *out)
{
    struct soft *s = x->w->svc->soft;
    enum err e;

    pthread_mutex_lock(&s->lock);
    const bool news = is_news(s, p);
    pthread_mutex_unlock(&s->lock);
    if (!news)
        return ERR_OK;
    buf_clear(out);
    e = buf_printf(out, "%s=%.*s budget=", p->is_team ? "team" : "key",
                   STR_ARG(p->owner));
    if (e == ERR_OK)
        e = budget_spec_print(p->spec, out);
    if (e == ERR_OK)
        e = buf_printf(out, " spent=");
    if (e == ERR_OK)
        e = put_amount(out, p->spec->unit, p->now.spent);
    if (e == ERR_OK)
        e = put_resets(out, " resets=", "", p->now.resets_ms);
    if (e == ERR_OK)
        log_warn(LOG_SETTLE, "a soft budget is passed: %.*s",
                 STR_ARG(buf_str(out)));
    return e;
}

void soft_note(struct exchange *x)
{
    struct buf line;

    if (!x->w->svc || !x->w->svc->soft)
        return;
    buf_init(&line, 1024);
    if (walk_both(x, note, &line) != ERR_OK)
        log_warn(LOG_SETTLE, "a soft budget is passed: no memory to say which");
    buf_fini(&line);
}
