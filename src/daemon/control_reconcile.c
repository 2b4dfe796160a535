/* control_reconcile.c - See control_reconcile.h. The operator's word is all
 * there is to prove that something lost was not spent: it goes into the log. */
#include "daemon/control_reconcile.h"

#include <stdint.h>

#include "account/accounts.h"
#include "account/keytab.h"
#include "account/ledger_reconcile.h"
#include "account/window.h"
#include "base/log.h"
#include "daemon/control_args.h"
#include "daemon/control_budget.h"
#include "daemon/daemon.h"

/* What is to be done; an empty owner is everybody. */
struct order {
    bool is_team;
    struct str owner;
    bool takes_back;
    struct budget_amounts less[BUDGET_WINDOW_COUNT];
    struct str reason;
};

/* ---- what is lost ------------------------------------------------------ */

static struct str owner_of(const struct spend_item *it)
{
    return str_of(it->name + 1, it->name_len - 1);
}

static bool is_team(const struct spend_item *it)
{
    return it->name[0] == 't';
}

static bool is_meant(const struct order *o, const struct spend_item *it)
{
    return o->owner.len == 0 ||
           (o->is_team == is_team(it) && str_eq(o->owner, owner_of(it)));
}

/* The name of a key; null of one that is gone, and of a team. */
static json_t *key_name(struct daemon *d, const struct spend_item *it)
{
    const struct key *k =
        is_team(it) ? NULL : keytab_find(d->keys, owner_of(it));
    json_t *name = k ? json_text(k->spec.name) : json_null();

    key_unref(k);
    return name;
}

static json_t *lost_json(struct daemon *d, const struct spend_item *it,
                         enum budget_window w, enum budget_unit u)
{
    const int64_t resets_ms = window_end_ms(w, it->sum.in[w].number);

    return json_pack(
        "{s:s, s:o, s:o, s:s, s:s, s:o, s:o, s:o}", "kind",
        is_team(it) ? "team" : "key", "owner", json_text(owner_of(it)), "name",
        key_name(d, it), "window", budget_window_name(w), "unit",
        budget_unit_name(u), "lost",
        control_budget_amount(u, it->sum.in[w].lost.of[u]), "spent",
        control_budget_amount(u, it->sum.in[w].took.of[u]), "resets",
        resets_ms == INT64_MAX ? json_null() : json_time(resets_ms));
}

static void add_lost(struct daemon *d, const struct spend_item *it, json_t *to)
{
    for (int w = 0; w < BUDGET_WINDOW_COUNT; w++)
        for (int u = 0; u < BUDGET_UNIT_COUNT; u++)
            if (it->sum.in[w].lost.of[u] > 0)
                json_array_append_new(to,
                                      lost_json(d, it, (enum budget_window)w,
                                                (enum budget_unit)u));
}

/* ---- taking back ------------------------------------------------------- */

/* Read take_back: "all", or one amount of one window. */
static bool order_less(struct str text, struct order *o, struct buf *why)
{
    struct budget_spec spec;

    if (str_eq(text, STR("all"))) {
        for (int w = 0; w < BUDGET_WINDOW_COUNT; w++)
            for (int u = 0; u < BUDGET_UNIT_COUNT; u++)
                o->less[w].of[u] = INT64_MAX;
        return true;
    }
    if (budget_spec_parse(text, &spec) != ERR_OK || spec.amount == 0) {
        control_fail(why, "take back all, or an amount such as "
                          "500k-tokens/day or $2.50/month");
        return false;
    }
    if (o->owner.len == 0) {
        control_fail(why,
                     "name the key or the team that %.*s is taken back "
                     "from",
                     STR_ARG(text));
        return false;
    }
    o->less[spec.window].of[spec.unit] = spec.amount;
    return true;
}

/* The key or team that is meant; keys by their name, too. */
static bool order_owner(struct daemon *d, const json_t *args,
                        const struct key **key_out, struct order *o,
                        struct buf *why)
{
    const struct str key = args_str(args, "key");
    const struct str team = args_str(args, "team");

    if (key.len > 0 && team.len > 0) {
        control_fail(why, "name a key or a team, not both");
        return false;
    }
    o->is_team = team.len > 0;
    o->owner = o->is_team ? team : key;
    *key_out = key.len > 0 ? keytab_find(d->keys, key) : NULL;
    if (*key_out)
        o->owner = (*key_out)->id;
    return true;
}

static void log_taken(const struct order *o, const struct spend_item *it,
                      const struct spend *taken)
{
    for (int w = 0; w < BUDGET_WINDOW_COUNT; w++)
        for (int u = 0; u < BUDGET_UNIT_COUNT; u++)
            if (taken->in[w].took.of[u] > 0)
                log_note(
                    LOG_LEDGER,
                    "lost spend taken back: %s=%.*s window=%s unit=%s "
                    "amount=%lld reason=\"%.*s\"",
                    is_team(it) ? "team" : "key", STR_ARG(owner_of(it)),
                    budget_window_name((enum budget_window)w),
                    u == BUDGET_NUSD ? "nusd"
                                     : budget_unit_name((enum budget_unit)u),
                    (long long)taken->in[w].took.of[u], STR_ARG(o->reason));
}

/* Whether what <o> takes back is all lost of <it>: an amount that is not there
 * is a mistake of the operator's. */
static bool is_there(const struct order *o, const struct spend_item *it,
                     struct buf *why)
{
    for (int w = 0; w < BUDGET_WINDOW_COUNT; w++)
        for (int u = 0; u < BUDGET_UNIT_COUNT; u++) {
            const int64_t less = o->less[w].of[u];

            if (less == INT64_MAX || less <= it->sum.in[w].lost.of[u])
                continue;
            control_fail(why, "no more was lost than ledger reconcile tells: "
                              "nothing is taken back");
            return false;
        }
    return true;
}

/* Take back what <o> says from all it means. */
static bool take_back(struct daemon *d, const struct order *o,
                      const struct spend_map *lost, struct buf *why)
{
    const struct spend_item *it;
    unsigned n = 0;

    for (it = lost->items; it; it = it->hh.next) {
        struct spend taken;

        if (!is_meant(o, it))
            continue;
        if (!is_there(o, it, why))
            return false;
        const enum err err = accounts_take_back(d->accounts, is_team(it),
                                                owner_of(it), o->less, &taken);
        if (err == ERR_NOT_FOUND)
            continue;
        if (err != ERR_OK) {
            control_fail(why, "the ledger cannot be written now; see the log");
            return false;
        }
        log_taken(o, it, &taken);
        n++;
    }
    if (n == 0)
        control_fail(why, "nothing is lost there");
    return n > 0;
}

/* ---- the command ------------------------------------------------------- */

static bool list_lost(struct daemon *d, struct spend_map *out, struct buf *why)
{
    const int64_t now_ms = accounts_now_ms(d->accounts);

    if (ledger_lost_list(d->ledger, now_ms, out) == ERR_OK)
        return true;
    control_fail(why, "the ledger cannot be read now; see the log");
    return false;
}

static json_t *run(struct daemon *d, const struct order *o, struct buf *why)
{
    struct spend_map lost;
    json_t *list;
    bool ok = true;

    if (!list_lost(d, &lost, why))
        return NULL;
    if (o->takes_back) {
        ok = take_back(d, o, &lost, why);
        spend_map_fini(&lost);
        if (!ok || !list_lost(d, &lost, why))
            return NULL;
    }
    list = json_array();
    for (const struct spend_item *it = lost.items; it; it = it->hh.next)
        if (is_meant(o, it))
            add_lost(d, it, list);
    spend_map_fini(&lost);
    return json_pack("{s:o}", "data", list);
}

json_t *control_ledger_reconcile(struct daemon *d, const json_t *args,
                                 struct buf *why)
{
    const struct str text = args_str(args, "take_back");
    struct order o = {.takes_back = text.len > 0,
                      .reason = args_str(args, "reason")};
    const struct key *key = NULL;
    json_t *data = NULL;

    if (o.takes_back && o.reason.len == 0)
        return control_fail(why, "say with a reason how you know that it was "
                                 "not spent; it goes into the log");
    if (order_owner(d, args, &key, &o, why) &&
        (!o.takes_back || order_less(text, &o, why)))
        data = run(d, &o, why);
    key_unref(key);
    return data;
}
