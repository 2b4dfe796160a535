/* ledger_reconcile.c - See ledger_reconcile.h. What is taken back is no row:
 * rows tell what was seen, and what is lost was not. */
#include "account/ledger_reconcile.h"

#include "account/ledger_priv.h"
#include "account/ledger_spend.h"
#include "account/window.h"

/* --- list ----------------------------------------------------------------- */

/* A list in the making. */
struct list {
    struct spend_map *to;
    int64_t now_ms;
};

/* Set what is lost in windows that are over to nothing; whether any is left. */
static bool is_any_lost(struct spend *s, int64_t now_ms)
{
    bool any = false;

    for (int w = 0; w < BUDGET_WINDOW_COUNT; w++) {
        const bool over =
            s->in[w].number < window_number((enum budget_window)w, now_ms);

        for (int u = 0; u < BUDGET_UNIT_COUNT; u++) {
            if (over)
                s->in[w].lost.of[u] = 0;
            any = any || s->in[w].lost.of[u] > 0;
        }
    }
    return any;
}

static enum err list_spend(void *arg, struct str key, struct str payload)
{
    const struct list *list = arg;
    struct spend *to;
    struct spend s;

    if (key.len < 1 || key.len > SPEND_NAME_MAX)
        return ERR_CORRUPT;
    ERR_TRY(spend_decode(payload, &s));
    if (!is_any_lost(&s, list->now_ms))
        return ERR_OK;
    to = spend_map_at(list->to, key);
    if (!to)
        return ERR_NOMEM;
    *to = s;
    return ERR_OK;
}

enum err ledger_lost_list(struct ledger *l, int64_t now_ms,
                          struct spend_map *out)
{
    struct list list = {.to = out, .now_ms = now_ms};
    struct buf why;

    *out = (struct spend_map){0};
    ERR_TRY(ledger_flush(l));
    buf_init(&why, 512);
    const enum err err = ldb_each(l->db, LDB_SPENDS, list_spend, &list, &why);
    buf_fini(&why);
    if (err != ERR_OK)
        spend_map_fini(out);
    return err;
}

/* --- taking back ---------------------------------------------------------- */

struct take_back {
    struct wjob job;
    struct str name;
    const struct budget_amounts *less;
    struct spend taken;
};

static bool is_nothing(const struct spend *s)
{
    for (int w = 0; w < BUDGET_WINDOW_COUNT; w++)
        for (int u = 0; u < BUDGET_UNIT_COUNT; u++)
            if (s->in[w].took.of[u] > 0)
                return false;
    return true;
}

static enum err take_back_run(struct txn *t, struct wjob *job)
{
    struct take_back *b = (struct take_back *)(void *)job;
    struct spend s;

    ERR_TRY(ledger_spend_get(t, LDB_SPENDS, b->name, &s));
    spend_take_back(&s, b->less, &b->taken);
    if (is_nothing(&b->taken))
        return ERR_NOT_FOUND;
    return ledger_spend_put(t, LDB_SPENDS, b->name, &s);
}

enum err ledger_take_back(struct ledger *l, struct str name,
                          const struct budget_amounts less[BUDGET_WINDOW_COUNT],
                          struct spend *taken_out)
{
    struct take_back b = {
        .job = {.run = take_back_run}, .name = name, .less = less};

    ERR_TRY(writer_call(l->writer, &b.job));
    *taken_out = b.taken;
    return ERR_OK;
}
