/* quota_priv.h - What quota*.c share: the state of one exchange, how it waits,
 * and what its client is told. */
#ifndef TG_EXCHANGE_QUOTA_PRIV_H
#define TG_EXCHANGE_QUOTA_PRIV_H

#include "account/accounts.h"
#include "base/id.h"
#include "exchange/quota.h"
#include "exchange/worker.h"

struct team;

/* A lease is on the disk within moments; a disk that does not say so within
 * this is not there. */
#define QUOTA_LEASE_MS 10000

/* What is waited for. */
enum wait_kind {
    WAIT_ROOM = 0, /* others give back what they hold */
    WAIT_LEASE,    /* a lease is written */
    WAIT_LOOK,     /* time goes by */
    WAIT_LONELY,   /* the end, for a client that has left */
};

/* What another thread wakes; outlives its exchange while a mail is under way.
 */
struct quota_wait {
    struct accounts_waiter waiter;
    struct worker_mail mail;
    TAILQ_ENTRY(quota_wait) link; /* in w->waits while <on> */
    struct worker *w;             /* borrowed */
    struct exchange *x;           /* borrowed; NULL once it is gone */
    uint64_t until_ms;            /* monotonic */
    bool on;                      /* the exchange waits */
    bool posted; /* <mail> is under way: set under the accounts' lock */
};

/* What is held for one attempt. */
struct quota_part {
    char id[ID_SIZE]; /* of the hold: the request's, or one of its own */
    struct price_quote price;
    struct quota_need need, wish; /* in force; as it was asked */
    struct accounts_hold hold;    /* what is held, where <held> */
    bool held;
    uint64_t output_tok; /* of it, without extra_tok */
    uint64_t cap_tok;    /* never more */
};

/* What one exchange holds. */
struct quota {
    struct accounts *a; /* borrowed */
    struct accounts_ask ask;
    const struct key *key;   /* counted: of <ask>; NULL: the exchange's own */
    const struct team *team; /* counted, or NULL */
    unsigned units;          /* of hard budgets, when it began */
    bool asked;
    bool again;              /* an attempt had a hold that fitted: what does
                              * not fit now says nothing to the client */
    unsigned beside;         /* other attempts of it that hold, too: waiting
                              * for those would be waiting for itself */
    struct quota_part p;     /* of the attempt under way */
    uint64_t began_ms;       /* monotonic: to wait for others; 0: it has not */
    bool late;               /* a lease did not come in time */
    bool lonely;             /* quota_linger() */
    enum wait_kind kind;     /* what it waits for now */
    struct accounts_no no;   /* the budget in the way, when there is one */
    struct quota_wait *wait; /* owned, but while its mail is under way */
};

/* --- quota.c -------------------------------------------------------------- */

/* Have <q> ask for the budgets as they are now, not as they were. */
void quota_renew(struct quota *q, const struct exchange *x);

/* --- quota_part.c --------------------------------------------------------- */

/* Have <q> ask under the id of its part. */
void quota_part_name(struct quota *q, const struct exchange *x);

/* --- quota_fit.c ---------------------------------------------------------- */

/* The most that the request of <q> takes with <output_tok>, as prices have it,
 * and as budgets. */
struct price_bound quota_bound(const struct quota *q, uint64_t output_tok);
struct budget_amounts quota_amounts(const struct quota *q, uint64_t output_tok);

/* Whether what is held covers <need> at the price of now; then it is held for
 * that. */
bool quota_keep(struct quota *q, const struct quota_need *need);

/* The most output, up to *<most>, that fits <room>; false: not even none. */
bool quota_fit(const struct quota *q, const struct budget_amounts *room,
               uint64_t *most);

/* --- quota_wait.c --------------------------------------------------------- */

/* What <x> waits by; NULL without memory. */
struct quota_wait *quota_wait_new(struct exchange *x);

/* The exchange of <qw> ends: nothing wakes it from now on. */
void quota_wait_free(struct accounts *a, struct quota_wait *qw);

/* Let <q> wait for what <kind> says, at most until <until_ms> (monotonic).
 * Gives QUOTA_WAIT. */
enum quota_answer quota_wait_until(struct quota *q, uint64_t until_ms,
                                   enum wait_kind kind);

/* <q> waits for nothing any more. */
void quota_wait_end(struct quota *q);

/* Whether <x> may wait for what others hold until <most_ms> from the first time
 * on that it is asked. */
bool quota_may_wait(struct exchange *x, uint64_t most_ms);

/* --- quota_text.c --------------------------------------------------------- */

/* Fail <x>, which q->no does not let pass, and which may take <needs> or more.
 */
enum quota_answer quota_refuse(struct exchange *x,
                               const struct budget_amounts *needs);

/* The sentence for a reply that q->no lets go no further; in the arena, NULL
 * without memory. */
const char *quota_text_end(struct exchange *x);

/* Fail <x>, whose cost has <marks> (enum price_mark). */
enum quota_answer quota_refuse_unpriced(struct exchange *x, unsigned marks);

#endif
