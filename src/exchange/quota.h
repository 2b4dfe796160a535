/* quota.h - What an exchange holds of the budgets of its key and team. Before
 * anything is sent the most that the request may take is held (quota_ask);
 * a long one holds a part and more as it goes (quota_grow); what it took is
 * settled once (quota_settle). Without hard budgets nothing is held, and all
 * of this costs a look-up.
 *
 * All on the exchange's worker. Who is told to wait is woken with WAKE_QUOTA
 * and asks again. */
#ifndef TG_EXCHANGE_QUOTA_H
#define TG_EXCHANGE_QUOTA_H

#include "account/budget_spec.h"
#include "account/price.h"

struct exchange;
struct quota;
struct quota_part;
struct usage_row;
struct worker;

/* The bit of <unit> in quota_units(). */
#define QUOTA_UNIT(unit) (1U << (unit))

/* The units that count tokens, not money. */
#define QUOTA_UNITS_TOKENS                                                     \
    (QUOTA_UNIT(BUDGET_TOKENS) | QUOTA_UNIT(BUDGET_INPUT_TOKENS) |             \
     QUOTA_UNIT(BUDGET_OUTPUT_TOKENS))

/* The most that a request may take. */
struct quota_need {
    uint64_t input_tok;  /* of all kinds */
    uint64_t output_tok; /* its caps, of all choices together */
    uint64_t first_tok;  /* of that, what is held at first; <= output_tok, and
                          * less only of what quota_grow() is called for */
    uint64_t extra_tok;  /* output that its caps do not bound */
    uint64_t floor_tok;  /* output that is worth sending it for: what it asks
                          * is lowered down to this, and then refused */
    uint64_t audio_ms;   /* audio billed by its time */
    unsigned kinds;      /* PRICE_KIND() bits that its tokens may be of */
};

/* What becomes of it. */
enum quota_answer {
    QUOTA_HELD = 0, /* it may go on */
    QUOTA_WAIT,     /* WAKE_QUOTA will come; ask again then */
    QUOTA_OVER,     /* asked: the exchange was failed and says why; but not
                     * where an attempt of it had a hold before: that it does
                     * not afford another is no refusal. Grown: what it has is
                     * all it gets */
    QUOTA_DOWN,     /* asked: failed likewise, holds cannot be written. Grown:
                     * as QUOTA_OVER */
};

/* Look up the budgets that bound <x>, with <price> of the target it goes to;
 * again for another target, before quota_ask() for that. Gives what belongs in
 * x->work->quota, NULL where neither key nor team has budgets. ERR_NOMEM. */
enum err quota_open(struct exchange *x, const struct price_quote *price,
                    struct quota **quota_out) MUST_CHECK;

/* QUOTA_UNIT() bits of the hard budgets that bound <x>; 0: none does. */
unsigned quota_units(const struct exchange *x);

/* Hold what <need> says, or as much of its output as the budgets afford. Only
 * where quota_units() is not 0. What is held already, for an attempt that took
 * nothing, stays if it is enough, and is given back else. */
enum quota_answer quota_ask(struct exchange *x, const struct quota_need *need);

/* Hold <output_tok> in all, or as much of it as there is room for. QUOTA_OVER:
 * not one token was gained, nor will be; while others hold what would be
 * enough, QUOTA_WAIT for a while. */
enum quota_answer quota_grow(struct exchange *x, uint64_t output_tok);

/* Whether what is waited for is the disk, and will be there in a moment. */
bool quota_waits_for_lease(const struct exchange *x);

/* Output tokens that are held now, all choices together; UINT64_MAX where no
 * budget bounds <x>. */
uint64_t quota_output(const struct exchange *x);

/* Output tokens that <x> will ever be allowed: what its cap is to say. */
uint64_t quota_cap(const struct exchange *x);

/* The client has left, and it is not known what its request takes: let what
 * serves it go on for a while. WAKE_QUOTA comes when that is over. False:
 * nothing is held, or nobody wants to wait, or the worker is to end, or it is
 * so already. */
bool quota_linger(struct exchange *x);

/* Whether quota_linger() holds. */
bool quota_is_lonely(const struct exchange *x);

/* Count a reply that ends where its budget does, for which quota_grow() just
 * said QUOTA_OVER; gives a sentence that tells which budget, for
 * ERR_BUDGET_CUT. In the arena, or static. */
const char *quota_cut_text(struct exchange *x);

/* What is held. */
struct quota_held {
    uint64_t input_tok, output_tok;
    int64_t cost_nusd; /* 0: no price is known */
};

/* What is held for <x>, to charge it when nobody knows what was taken; false
 * when nothing is. */
bool quota_held(const struct exchange *x, struct quota_held *out);

/* The time at which budgets count <x>, of the budgets' clock; 0: its start. */
int64_t quota_time_ms(const struct exchange *x);

/* <x> took what <row> says; what it held is given back. Called for every row,
 * held or not, after it was put where something is held, before it else. */
void quota_settle(struct exchange *x, const struct usage_row *row);

/* Nothing was taken of what <x> holds: give it back; it may ask again. Where
 * the journal cannot be written it stays, and quota_ask() will say so. */
void quota_give(struct exchange *x);

/* The id of what is held, where that is not the exchange's; else empty. */
struct str quota_hold_id(const struct exchange *x);

/* --- of other attempts ---------------------------------------------------- */

/* Take what <x> holds from it, as the part of an attempt that is over or goes
 * on beside another: <x> is as if it held nothing, and may ask for the next.
 * Gives NULL where it has no budgets. ERR_NOMEM. */
enum err quota_part_take(struct exchange *x,
                         struct quota_part **part_out) MUST_CHECK;

/* Have <x> hold what <part> has, and <part> what <x> held. NULL is fine. */
void quota_part_swap(struct exchange *x, struct quota_part *part);

/* What <part> holds, as quota_held(). It may be NULL here and below. */
bool quota_part_held(const struct quota_part *part, struct quota_held *out);

/* The time at which budgets count it, as quota_time_ms(). */
int64_t quota_part_time_ms(const struct quota_part *part);

/* The attempt of <part> took what <row> says, as quota_settle(). */
void quota_part_settle(struct exchange *x, struct quota_part *part,
                       const struct usage_row *row);

/* It took nothing, as quota_give(): what it holds is given back, unless the
 * journal cannot be written. */
void quota_part_give(struct exchange *x, struct quota_part *part);

/* The id of what <part> holds; empty where it holds nothing. */
struct str quota_part_id(const struct quota_part *part);

/* Forget <x>: nothing wakes it any more. What it still holds, none of which was
 * taken then, is given back. */
void quota_close(struct exchange *x);

/* Wake those of <w> that have waited as long as they may. A few times a second.
 */
void quota_tick(struct worker *w);

#endif
