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
    return window_number(b->spec.window, h->at_ms) == b->window;
}

void budget_init(struct budget *b, const struct budget_spec *spec,
                 int64_t now_ms)
{
    *b = (struct budget){.spec = *spec,
                         .window = window_number(spec->window, now_ms)};
}

void budget_roll(struct budget *b, int64_t now_ms)
{
    const int64_t window = window_number(b->spec.window, now_ms);

    if (window <= b->window)
        return;
    b->window = window;
    b->spent = 0;
    b->held = 0;
    b->lease = 0;
}

int64_t budget_left(const struct budget *b)
{
    const int64_t used = in_use(b);

    return used < b->spec.amount ? b->spec.amount - used : 0;
}

enum budget_answer budget_ask(struct budget *const *list, size_t n,
                              const struct budget_amounts *most,
                              size_t *which_out)
{
    enum budget_answer answer = BUDGET_FITS;

    for (size_t i = 0; i < n; i++) {
        const struct budget *b = list[i];
        const int64_t want = part(b, most);
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

static void hold(struct budget *const *list, size_t n,
                 const struct budget_amounts *most)
{
    for (size_t i = 0; i < n; i++) {
        struct budget *b = list[i];

        if (part(b, most) == 0)
            continue;
        b->held = add(b->held, part(b, most));
        BUG_ON(!b->spec.soft && in_use(b) > b->lease);
    }
}

void budget_take(struct budget *const *list, size_t n,
                 const struct budget_amounts *most, int64_t now_ms,
                 struct budget_hold *out)
{
    hold(list, n, most);
    *out = (struct budget_hold){.most = *most, .at_ms = now_ms};
}

bool budget_grow(struct budget *const *list, size_t n, struct budget_hold *h,
                 const struct budget_amounts *more, int64_t now_ms)
{
    for (size_t i = 0; i < n; i++)
        if (!is_of(list[i], h) ||
            window_number(list[i]->spec.window, now_ms) != list[i]->window)
            return false;
    hold(list, n, more);
    for (int u = 0; u < BUDGET_UNIT_COUNT; u++)
        h->most.of[u] = add(h->most.of[u], more->of[u]);
    return true;
}

void budget_settle(struct budget *const *list, size_t n,
                   const struct budget_hold *h,
                   const struct budget_amounts *took)
{
    for (size_t i = 0; i < n; i++) {
        struct budget *b = list[i];

        if (!is_of(b, h))
            continue;
        BUG_ON(b->held != INT64_MAX && b->held < part(b, &h->most));
        if (b->held != INT64_MAX)
            b->held -= part(b, &h->most);
        b->spent = add(b->spent, part(b, took));
    }
}

void budget_recover(struct budget *b, int64_t window, int64_t spent,
                    int64_t open, int64_t lease, bool trusted)
{
    if (window < b->window)
        return;
    b->window = window;
    b->held = 0;
    b->spent = add(spent, open);
    if (!trusted && lease > b->spent)
        b->spent = lease;
    b->lease = b->spent < b->spec.amount ? b->spent : b->spec.amount;
}
