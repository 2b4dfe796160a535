/* leg_rig.h - Requests with several attempts, over a ledger: what a worker, its
 * services and an exchange have for what is held and settled. */
#ifndef TG_TESTS_UNIT_LEG_RIG_H
#define TG_TESTS_UNIT_LEG_RIG_H

#include "unit/ledger_fixture.h"

#include "account/accounts.h"
#include "account/keytab.h"
#include "base/clock.h"
#include "exchange/exchange.h"
#include "exchange/leg.h"
#include "settle/settle.h"
#include "unit/price_kit.h"

#include <poll.h>

/* Cheap and dear, a dollar a million tokens or so. */
#define ENTRIES                                                                \
    "- {model: m, input: 1, output: 1}\n"                                      \
    "- {model: dear, input: 3, output: 3}\n"

#define NUSD_TOK 1000 /* of a token of m */

/* A worker with its services. */
struct rig {
    struct fixture *f;
    struct prices prices;
    struct conf conf;
    struct services svc;
    struct stats stats;
    struct worker w;
    const struct key *key;
};

/* One request. */
struct one {
    struct exchange x;
    struct request in;
    struct caller who;
    struct ask ask;
    struct recall found;
    struct work work;
    struct made made;
    struct reply out;
    struct bill bill;
    struct reply_head head;
};

static inline void rig_open(struct rig *r, struct fixture *f,
                            const char *budget)
{
    struct budget_spec spec;
    struct key_spec key = {.name = STR("k"), .budgets = &spec, .n_budgets = 1};
    char secret[KEY_SECRET_LEN + 1];

    memset(r, 0, sizeof(*r));
    r->f = f;
    r->prices = prices_of(ENTRIES);
    r->conf.price = r->prices.p;
    assert_int_equal(keytab_open(f->ledger, &r->svc.keys, &f->why), ERR_OK);
    r->svc.ledger = f->ledger;
    r->svc.accounts = accounts_new(f->ledger);
    r->key = keytab_find(r->svc.keys, STR("k"));
    if (!r->key) {
        if (!budget)
            key.n_budgets = 0;
        else
            assert_int_equal(budget_spec_parse(str_from(budget), &spec),
                             ERR_OK);
        assert_int_equal(
            keytab_create(r->svc.keys, &key, 1, secret, &r->key, &f->why),
            ERR_OK);
    }
    r->w = (struct worker){.svc = &r->svc, .stats = &r->stats, .ledger = f->lw};
    TAILQ_INIT(&r->w.waits);
    assert_int_equal(mbox_init(&r->w.inbox), ERR_OK);
}

static inline void rig_close(struct rig *r)
{
    key_unref(r->key);
    accounts_free(r->svc.accounts);
    keytab_close(r->svc.keys);
    mbox_fini(&r->w.inbox);
    arena_free(r->prices.mem);
}

static inline void one_open(struct one *o, struct rig *r)
{
    memset(o, 0, sizeof(*o));
    o->x = (struct exchange){.conf = &r->conf,
                             .w = &r->w,
                             .arena = arena_new(4096, 1 << 20),
                             .running = true, /* wakes are only noted */
                             .in = &o->in,
                             .who = &o->who,
                             .ask = &o->ask,
                             .found = &o->found,
                             .work = &o->work,
                             .made = &o->made,
                             .out = &o->out,
                             .bill = &o->bill,
                             .fail = {.retry_after_ms = -1},
                             .start_wall_ms = (int64_t)clock_now_wall_ms()};
    id_new(o->x.name);
    o->in.ep.row = endpoint_row(ENDPOINT_CHAT);
    o->in.head.method = HTTP1_POST;
    o->in.body_bytes = 400;
    o->who.key = r->key;
    o->who.key_id = r->key->id;
    o->ask.model = STR("m");
    o->ask.n = 1;
}

static inline void take_mail(struct mbox_msg *m, void *arg)
{
    struct worker_mail *mail = MBOX_ENTRY(m, struct worker_mail, link);

    mail->take(mail, arg);
}

static inline void drain_mail(struct rig *r)
{
    (void)mbox_drain(&r->w.inbox, 100, take_mail, &r->w);
}

/* The next attempt of <o>, for <model>, holds 100 tokens of input and <out> of
 * output. */
static inline enum quota_answer begin(struct rig *r, struct one *o,
                                      const char *model, uint64_t out)
{
    const struct quota_need need = {.input_tok = 100,
                                    .output_tok = out,
                                    .first_tok = out,
                                    .floor_tok = out,
                                    .kinds = PRICE_KIND(ROW_TOK_INPUT) |
                                             PRICE_KIND(ROW_TOK_OUTPUT)};
    const struct price_quote price = find(&r->prices, "up", model);
    enum quota_answer answer;

    o->work.attempts++;
    o->work.target_name = STR("up");
    o->work.upstream_model = str_from(model);
    assert_int_equal(quota_open(&o->x, &price, &o->work.quota), ERR_OK);
    if (quota_units(&o->x) == 0)
        return QUOTA_HELD;
    while ((answer = quota_ask(&o->x, &need)) == QUOTA_WAIT) {
        struct pollfd p = {.fd = mbox_fd(&r->w.inbox), .events = POLLIN};

        if (poll(&p, 1, 10000) != 1)
            abort();
        drain_mail(r);
    }
    return answer;
}

static inline void settle(struct rig *r, struct one *o)
{
    assert_int_equal(settle_run(&o->x), VERDICT_GO);
    quota_close(&o->x);
    drain_mail(r);
    arena_free(o->x.arena);
}

static inline struct usage usage_of(int64_t in, int64_t out)
{
    return (struct usage){.input = in,
                          .output = out,
                          .said = USAGE_INPUT | USAGE_OUTPUT,
                          .present = true};
}

/* The last attempt answers, and took <in> and <out>. */
static inline void answer(struct rig *r, struct one *o, int64_t in, int64_t out)
{
    o->head.status = 200;
    o->work.sent = true;
    o->work.head = &o->head;
    o->work.collected = true;
    o->out = (struct reply){.status = 200,
                            .end = REPLY_COMPLETE,
                            .bytes = 100,
                            .usage = usage_of(in, out)};
    settle(r, o);
}

/* The last attempt failed, and nothing was sent of it. */
static inline void give_up(struct rig *r, struct one *o, enum err why)
{
    o->x.fail.err = why;
    o->out = (struct reply){.status = err_row(why)->status, .end = REPLY_ERROR};
    settle(r, o);
}

static const struct leg_end reset = {
    .why = ERR_UP_RESET, .sent = true, .ms = 5};
static const struct leg_end refused = {.why = ERR_UP_UNAVAILABLE};

static inline struct accounts_state state_of(struct rig *r)
{
    struct accounts_state s;

    assert_true(accounts_read(r->svc.accounts, false, r->key->id,
                              &r->key->spec.budgets[0], &s));
    return s;
}

static inline unsigned count(const struct one *o)
{
    unsigned n = 0;

    for (const struct leg *leg = o->work.legs; leg; leg = leg->next)
        n++;
    return n;
}

/* Rows of the ledger, oldest first. */
struct rows {
    struct usage_row row[8];
    char text[8][512];
    unsigned n;
};

static inline struct str keep(char **at, struct str s)
{
    memcpy(*at, s.p, s.len);
    *at += s.len;
    return str_of(*at - s.len, s.len);
}

static inline enum err add_row(void *arg, const struct usage_row *row)
{
    struct rows *all = arg;
    char *at = all->text[all->n];
    struct usage_row *to = &all->row[all->n++];

    *to = *row;
    to->id = keep(&at, row->id);
    to->parent = keep(&at, row->parent);
    to->hold = keep(&at, row->hold);
    to->reason = keep(&at, row->reason);
    to->target_model = keep(&at, row->target_model);
    return all->n < 8 ? ERR_OK : ERR_FULL;
}

static inline void read_rows(struct rig *r, struct rows *all)
{
    all->n = 0;
    assert_int_equal(ledger_export(r->f->ledger, 0, 0, add_row, all), ERR_OK);
}

/* The row of the request, or its leg. */
static inline const struct usage_row *row_of(const struct rows *all,
                                             bool is_leg)
{
    unsigned i = 0;

    while (i < all->n && ((all->row[i].flags & ROW_LEG) != 0) != is_leg)
        i++;
    assert_true(i < all->n);
    return &all->row[i < all->n ? i : 0];
}

static inline void assert_str(struct str s, struct str want)
{
    assert_int_equal(s.len, want.len);
    assert_memory_equal(s.p, want.p, want.len);
}

#endif
