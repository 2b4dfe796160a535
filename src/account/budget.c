/* budget.c - See budget.h. Sums stop at the largest number, upwards only: so
 * that nothing is ever counted as less than it is. */
#include "account/budget.h"

#include "account/window.h"
#include "base/panic.h"

static int64_t add(int64_t a, int64_t b)
{
    int64_t sum;

    if (__builtin_add_overflow(a, b, &sum))
        return INT64_MAX;
    return sum;
}

/* What <a> means to <b>. */
static int64_t part(const struct budget *b, const struct budget_amounts *a)
{
    return a->of[b->spec.unit];
}

static int64_t in_use(const struct budget *b)
{
    return add(b->spent, b->held);
}

/* Whether <h> is of the window that <b> is in. */
static bool is_of(const struct budget *b, const struct budget_hold *h)
{
    return h->at_ms >= b->begin_ms && h->at_ms < b->end_ms;
}

/* What <h> holds of <b>: nothing in a window that is over. */
static int64_t part_of(const struct budget *b, const struct budget_hold *h)
{
    return is_of(b, h) ? part(b, &h->most) : 0;
}

/* Windows are looked up here alone, so that looking at a budget is cheap. */
static void enter(struct budget *b, int64_t window)
{
    b->window = window;
    b->begin_ms = window_begin_ms(b->spec.window, window);
    b->end_ms = window_end_ms(b->spec.window, window);
}

void budget_init(struct budget *b, const struct budget_spec *spec,
                 int64_t now_ms)
{
    *b = (struct budget){.spec = *spec};
    enter(b, window_number(spec->window, now_ms));
}

void budget_roll(struct budget *b, int64_t now_ms)
{
    if (now_ms < b->end_ms)
        return;
    enter(b, window_number(b->spec.window, now_ms));
    b->spent = 0;
    b->held = 0;
    b->lease = 0;
}

int64_t budget_left(const struct budget *b)
{
    const int64_t used = in_use(b);

    return used < b->spec.amount ? b->spec.amount - used : 0;
}

int64_t budget_lacks(const struct budget *b, const struct budget_hold *h,
                     const struct budget_amounts *most)
{
    const int64_t more = part(b, most) - part_of(b, h);

    return more > 0 ? more : 0;
}

enum budget_answer budget_ask(struct budget *const *list, size_t n,
                              const struct budget_amounts *most,
                              size_t *which_out)
{
    const struct budget_hold none = {0};

    return budget_ask_grow(list, n, &none, most, which_out);
}

enum budget_answer budget_ask_grow(struct budget *const *list, size_t n,
                                   const struct budget_hold *h,
                                   const struct budget_amounts *most,
                                   size_t *which_out)
{
    enum budget_answer answer = BUDGET_FITS;

    for (size_t i = 0; i < n; i++) {
        const struct budget *b = list[i];
        const int64_t want = budget_lacks(b, h, most);
        const bool fits = want <= budget_left(b);

        if (b->spec.soft || want == 0 ||
            (fits && add(in_use(b), want) <= b->lease))
            continue;
        if (fits && answer == BUDGET_LEASE)
            continue;
        answer = fits ? BUDGET_LEASE : BUDGET_OVER;
        if (which_out)
            *which_out = i;
        if (!fits)
            break;
    }
    return answer;
}

int64_t budget_lease_for(const struct budget *b,
                         const struct budget_amounts *most, int64_t more)
{
    const int64_t want = add(add(in_use(b), part(b, most)), more);

    return want < b->spec.amount ? want : b->spec.amount;
}

void budget_set_lease(struct budget *b, int64_t window, int64_t lease)
{
    if (window == b->window && lease > b->lease)
        b->lease = lease;
}

static void hold(struct budget *b, int64_t more)
{
    if (more == 0)
        return;
    b->held = add(b->held, more);
    BUG_ON(!b->spec.soft && in_use(b) > b->lease);
}

static void unhold(struct budget *b, int64_t less)
{
    if (b->held == INT64_MAX)
        return;
    BUG_ON(b->held < less);
    b->held -= less;
}

void budget_take(struct budget *const *list, size_t n,
                 const struct budget_amounts *most, int64_t now_ms,
                 struct budget_hold *out)
{
    for (size_t i = 0; i < n; i++)
        hold(list[i], part(list[i], most));
    *out = (struct budget_hold){.most = *most, .at_ms = now_ms};
}

void budget_grow(struct budget *const *list, size_t n,
                 const struct budget_hold *old, const struct budget_hold *new)
{
    for (size_t i = 0; i < n; i++)
        if (part_of(list[i], new) > 0)
            hold(list[i], budget_lacks(list[i], old, &new->most));
}

void budget_keep(struct budget *const *list, size_t n,
                 const struct budget_hold *kept,
                 const struct budget_hold *other)
{
    for (size_t i = 0; i < n; i++) {
        const int64_t less = part_of(list[i], other) - part_of(list[i], kept);

        if (less > 0)
            unhold(list[i], less);
    }
}

void budget_settle(struct budget *const *list, size_t n,
                   const struct budget_hold *h,
                   const struct budget_amounts *took)
{
    for (size_t i = 0; i < n; i++) {
        struct budget *b = list[i];

        if (!is_of(b, h))
            continue;
        unhold(b, part(b, &h->most));
        b->spent = add(b->spent, part(b, took));
    }
}

void budget_take_back(struct budget *b, int64_t window, int64_t less)
{
    if (window != b->window)
        return;
    b->spent = less < b->spent ? b->spent - less : 0;
}

void budget_recover(struct budget *b, int64_t window, int64_t spent,
                    int64_t open, int64_t lease, bool trusted)
{
    if (window < b->window)
        return;
    enter(b, window);
    b->held = 0;
    b->spent = add(spent, open);
    if (!trusted && lease > b->spent)
        b->spent = lease;
    b->lease = b->spent < b->spec.amount ? b->spent : b->spec.amount;
}
