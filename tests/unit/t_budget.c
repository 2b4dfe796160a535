/* t_budget.c - Budgets against a list of all that was ever held and settled,
 * added up anew each time. */
#include "account/budget.h"

#include "account/window.h"

#include "unit/cmocka_all.h"

#include <string.h>

#define DAY_MS ((int64_t)86400000)
#define NOW    ((int64_t)1763750000000)

static struct budget_spec spec_of(const char *text, bool soft)
{
    struct budget_spec spec;

    assert_int_equal(budget_spec_parse(str_from(text), &spec), ERR_OK);
    spec.soft = soft;
    return spec;
}

static struct budget budget_of(const char *text)
{
    const struct budget_spec spec = spec_of(text, false);
    struct budget b;

    budget_init(&b, &spec, NOW);
    return b;
}

/* <in> input tokens and <out> of output. */
static struct budget_amounts tokens(int64_t in, int64_t out)
{
    return (struct budget_amounts){.of = {[BUDGET_TOKENS] = in + out,
                                          [BUDGET_INPUT_TOKENS] = in,
                                          [BUDGET_OUTPUT_TOKENS] = out}};
}

/* Have the lease written that <most> needs. */
static void lease(struct budget *b, const struct budget_amounts *most,
                  int64_t more)
{
    budget_set_lease(b, b->window, budget_lease_for(b, most, more));
}

static void nothing_is_held_without_a_lease(void **state)
{
    struct budget b = budget_of("100-tokens/day");
    struct budget *list[] = {&b};
    const struct budget_amounts most = tokens(10, 30);
    struct budget_hold h;

    (void)state;
    assert_int_equal(budget_ask(list, 1, &most, NULL), BUDGET_LEASE);
    lease(&b, &most, 0);
    assert_int_equal(b.lease, 40);
    assert_int_equal(budget_ask(list, 1, &most, NULL), BUDGET_FITS);
    budget_take(list, 1, &most, NOW, &h);
    assert_int_equal(budget_ask(list, 1, &most, NULL), BUDGET_LEASE);
    lease(&b, &most, 1000); /* for those to come, but no more than there is */
    assert_int_equal(b.lease, 100);
    assert_int_equal(budget_left(&b), 60);
    const struct budget_amounts all = tokens(30, 30);
    const struct budget_amounts over = tokens(30, 31);
    assert_int_equal(budget_ask(list, 1, &all, NULL), BUDGET_FITS);
    assert_int_equal(budget_ask(list, 1, &over, NULL), BUDGET_OVER);
    const struct budget_amounts took = tokens(10, 5);
    budget_settle(list, 1, &h, &took);
    assert_int_equal(b.spent, 15);
    assert_int_equal(b.held, 0);
    assert_int_equal(budget_left(&b), 85);
}

static void all_of_them_or_none(void **state)
{
    struct budget day = budget_of("100-tokens/day");
    struct budget out = budget_of("20-output-tokens/hour");
    struct budget total = budget_of("1k-input-tokens/total");
    struct budget *list[] = {&day, &out, &total};
    const struct budget_amounts most = tokens(50, 21);
    const struct budget_amounts less = tokens(50, 20);
    size_t which = 9;

    (void)state;
    assert_int_equal(budget_ask(list, 3, &most, &which), BUDGET_OVER);
    assert_int_equal(which, 1);
    assert_int_equal(budget_ask(list, 3, &less, &which), BUDGET_LEASE);
    assert_int_equal(which, 0);
    lease(&day, &less, 0);
    assert_int_equal(budget_ask(list, 3, &less, &which), BUDGET_LEASE);
    assert_int_equal(which, 1);
    lease(&out, &less, 0);
    lease(&total, &less, 0);
    assert_int_equal(budget_ask(list, 3, &less, &which), BUDGET_FITS);
    struct budget_hold h;
    budget_take(list, 3, &less, NOW, &h);
    assert_int_equal(day.held, 70);
    assert_int_equal(out.held, 20);
    assert_int_equal(total.held, 50);
    const struct budget_amounts one = tokens(0, 1);
    assert_int_equal(budget_ask(list, 3, &one, &which), BUDGET_OVER);
    assert_int_equal(which, 1);
}

static void soft_ones_only_count(void **state)
{
    const struct budget_spec spec = spec_of("10-tokens/day", true);
    struct budget b;
    struct budget *list[] = {&b};
    const struct budget_amounts most = tokens(50, 50);
    struct budget_hold h;

    (void)state;
    budget_init(&b, &spec, NOW);
    assert_int_equal(budget_ask(list, 1, &most, NULL), BUDGET_FITS);
    budget_take(list, 1, &most, NOW, &h);
    assert_int_equal(budget_left(&b), 0);
    budget_settle(list, 1, &h, &most);
    assert_int_equal(b.spent, 100);
}

static void a_later_window_begins_anew(void **state)
{
    struct budget b = budget_of("100-tokens/day");
    struct budget *list[] = {&b};
    const struct budget_amounts most = tokens(40, 40);
    struct budget_hold old, new;

    (void)state;
    lease(&b, &most, 20);
    budget_take(list, 1, &most, NOW, &old);
    budget_roll(&b, NOW - 5 * DAY_MS); /* a clock that goes back: nothing */
    assert_int_equal(b.held, 80);
    budget_roll(&b, NOW + DAY_MS);
    assert_int_equal(budget_left(&b), 100);
    assert_int_equal(b.lease, 0);
    /* a lease of yesterday that is written now is none of today */
    budget_set_lease(&b, b.window - 1, 100);
    assert_int_equal(b.lease, 0);
    lease(&b, &most, 0);
    budget_take(list, 1, &most, NOW + DAY_MS, &new);
    /* the old request ends: today is not charged */
    budget_settle(list, 1, &old, &most);
    assert_int_equal(b.held, 80);
    assert_int_equal(b.spent, 0);
    budget_settle(list, 1, &new, &most);
    assert_int_equal(b.held, 0);
    assert_int_equal(b.spent, 80);
}

static struct budget_hold hold_of(struct budget_amounts most, int64_t at_ms)
{
    return (struct budget_hold){.most = most, .at_ms = at_ms};
}

static void a_hold_grows(void **state)
{
    struct budget b = budget_of("100-tokens/day");
    struct budget *list[] = {&b};
    const struct budget_amounts some = tokens(10, 20);
    const struct budget_hold more = hold_of(tokens(10, 40), NOW);
    const struct budget_amounts over = tokens(0, 101);
    struct budget_hold h;

    (void)state;
    lease(&b, &some, 0);
    budget_take(list, 1, &some, NOW, &h);
    assert_int_equal(budget_lacks(&b, &h, &more.most), 20);
    assert_int_equal(budget_ask_grow(list, 1, &h, &over, NULL), BUDGET_OVER);
    assert_int_equal(budget_ask_grow(list, 1, &h, &more.most, NULL),
                     BUDGET_LEASE);
    budget_set_lease(&b, b.window, 50);
    assert_int_equal(budget_ask_grow(list, 1, &h, &more.most, NULL),
                     BUDGET_FITS);
    budget_grow(list, 1, &h, &more);
    assert_int_equal(b.held, 50);
    budget_keep(list, 1, &h, &more); /* it was not to be */
    assert_int_equal(b.held, 30);
    budget_grow(list, 1, &h, &more);
    budget_keep(list, 1, &more, &h);
    assert_int_equal(b.held, 50);
    /* smaller again: what is given back is held until it is certain */
    budget_grow(list, 1, &more, &h);
    assert_int_equal(b.held, 50);
    budget_keep(list, 1, &h, &more);
    assert_int_equal(b.held, 30);
    budget_settle(list, 1, &h, &some);
    assert_int_equal(b.held, 0);
    assert_int_equal(b.spent, 30);
}

static void a_hold_grows_into_a_new_window(void **state)
{
    struct budget day = budget_of("100-tokens/day");
    struct budget total = budget_of("100-tokens/total");
    struct budget *list[] = {&day, &total};
    const struct budget_amounts some = tokens(10, 20);
    const struct budget_hold more = hold_of(tokens(10, 40), NOW + DAY_MS);
    struct budget_hold h;

    (void)state;
    lease(&day, &some, 100);
    lease(&total, &some, 100);
    budget_take(list, 2, &some, NOW, &h);
    budget_roll(&day, NOW + DAY_MS);
    budget_roll(&total, NOW + DAY_MS);
    assert_int_equal(budget_lacks(&day, &h, &more.most), 50);
    assert_int_equal(budget_lacks(&total, &h, &more.most), 20);
    assert_int_equal(budget_ask_grow(list, 2, &h, &more.most, NULL),
                     BUDGET_LEASE); /* of the new day there is none */
    lease(&day, &more.most, 0);
    budget_grow(list, 2, &h, &more);
    budget_keep(list, 2, &h, &more);
    assert_int_equal(day.held, 0);
    assert_int_equal(total.held, 30);
    budget_grow(list, 2, &h, &more);
    budget_keep(list, 2, &more, &h);
    assert_int_equal(day.held, 50);
    assert_int_equal(total.held, 50);
    /* a day that ends between the two steps has nothing of either */
    const struct budget_hold most = hold_of(tokens(10, 50), NOW + DAY_MS);
    lease(&day, &some, 100);
    budget_grow(list, 2, &more, &most);
    budget_roll(&day, NOW + 2 * DAY_MS);
    budget_roll(&total, NOW + 2 * DAY_MS);
    budget_keep(list, 2, &most, &more);
    assert_int_equal(day.held, 0);
    assert_int_equal(total.held, 60);
}

static void what_goes_over_its_hold_is_counted(void **state)
{
    struct budget b = budget_of("100-tokens/day");
    struct budget *list[] = {&b};
    const struct budget_amounts most = tokens(50, 50);
    const struct budget_amounts took = tokens(50, 70);
    struct budget_hold h;

    (void)state;
    lease(&b, &most, 0);
    budget_take(list, 1, &most, NOW, &h);
    budget_settle(list, 1, &h, &took);
    assert_int_equal(b.spent, 120);
    assert_int_equal(budget_left(&b), 0);
    const struct budget_amounts one = tokens(1, 0);
    assert_int_equal(budget_ask(list, 1, &one, NULL), BUDGET_OVER);
    const struct budget_amounts none = tokens(0, 0);
    assert_int_equal(budget_ask(list, 1, &none, NULL), BUDGET_FITS);
}

static void huge_numbers_stop_at_the_largest(void **state)
{
    struct budget b = budget_of("9007199254740993-tokens/total");
    struct budget *list[] = {&b};
    const struct budget_amounts most = {
        .of = {INT64_MAX, INT64_MAX, INT64_MAX, INT64_MAX}};
    struct budget_hold h;

    (void)state;
    assert_int_equal(budget_ask(list, 1, &most, NULL), BUDGET_OVER);
    assert_int_equal(budget_lease_for(&b, &most, INT64_MAX), 9007199254740993);
    const struct budget_amounts none = tokens(0, 0);
    budget_take(list, 1, &none, NOW, &h);
    budget_settle(list, 1, &h, &most);
    budget_take(list, 1, &none, NOW, &h);
    budget_settle(list, 1, &h, &most);
    assert_true(b.spent == INT64_MAX);
    assert_int_equal(budget_left(&b), 0);
}

static void after_a_crash_nothing_counts_as_less(void **state)
{
    struct budget b = budget_of("100-tokens/total");

    (void)state;
    /* the process died: holds that were not settled are spent */
    budget_recover(&b, 0, 30, 25, 80, true);
    assert_int_equal(b.spent, 55);
    assert_int_equal(b.held, 0);
    assert_int_equal(budget_left(&b), 45);
    /* the machine did: the journal may lack any of them, the lease does not */
    budget_recover(&b, 0, 30, 25, 80, false);
    assert_int_equal(b.spent, 80);
    assert_int_equal(budget_left(&b), 20);
    budget_recover(&b, 0, 30, 65, 80, false);
    assert_int_equal(b.spent, 95);
    struct budget *list[] = {&b};
    const struct budget_amounts most = tokens(3, 2);
    assert_int_equal(budget_ask(list, 1, &most, NULL), BUDGET_LEASE);
}

static void what_is_left_of_an_earlier_window_is_nothing(void **state)
{
    struct budget b = budget_of("100-tokens/day");

    (void)state;
    budget_recover(&b, b.window - 1, 100, 100, 100, false);
    assert_int_equal(budget_left(&b), 100);
    /* and of a later one (the clock went back) it holds */
    budget_recover(&b, b.window + 2, 90, 0, 90, true);
    assert_int_equal(budget_left(&b), 10);
    budget_roll(&b, NOW);
    assert_int_equal(budget_left(&b), 10);
}

/* --- against a list of everything ----------------------------------------- */

#define REQUESTS 20000
#define OPEN     40
#define BUDGETS  4

struct request {
    struct budget_hold hold;
    struct budget_amounts took;
    bool open;
};

static uint64_t next_random(uint64_t *x)
{
    *x = *x * 6364136223846793005u + 1442695040888963407u;
    return *x >> 33;
}

/* What <b> should say of all <all>. */
static void add_up(const struct budget *b, const struct request *all, size_t n)
{
    int64_t spent = 0;
    int64_t held = 0;

    for (size_t i = 0; i < n; i++) {
        const struct request *r = &all[i];

        if (window_number(b->spec.window, r->hold.at_ms) != b->window)
            continue;
        if (r->open)
            held += r->hold.most.of[b->spec.unit];
        else
            spent += r->took.of[b->spec.unit];
    }
    assert_int_equal(b->spent, spent);
    assert_int_equal(b->held, held);
    assert_true(spent + held <= b->lease);
    assert_true(b->lease <= b->spec.amount);
}

static void a_list_of_all_requests_agrees(void **state)
{
    static struct request all[REQUESTS];
    struct budget b[BUDGETS] = {
        budget_of("5k-tokens/minute"), budget_of("200k-input-tokens/hour"),
        budget_of("5M-output-tokens/day"), budget_of("40M-tokens/total")};
    struct budget *list[BUDGETS] = {&b[0], &b[1], &b[2], &b[3]};
    unsigned answers[3] = {0};
    int64_t now = NOW;
    size_t n = 0, first_open = 0;
    uint64_t x = 7;

    (void)state;
    while (n < REQUESTS) {
        const struct budget_amounts most = tokens(
            (int64_t)(next_random(&x) % 300), (int64_t)(next_random(&x) % 500));

        now += (int64_t)(next_random(&x) % 4000);
        for (size_t i = 0; i < BUDGETS; i++)
            budget_roll(&b[i], now);
        for (size_t i = 0; i < BUDGETS; i++)
            if (next_random(&x) % 3 > 0)
                lease(&b[i], &most, (int64_t)(next_random(&x) % 2000));
        const enum budget_answer a = budget_ask(list, BUDGETS, &most, NULL);
        answers[a]++;
        if (a == BUDGET_FITS) {
            budget_take(list, BUDGETS, &most, now, &all[n].hold);
            all[n++].open = true;
        }
        while (first_open < n &&
               (n - first_open > OPEN || next_random(&x) % 3 == 0)) {
            struct request *r = &all[first_open++];
            const int64_t in = r->hold.most.of[BUDGET_INPUT_TOKENS];
            const int64_t out = r->hold.most.of[BUDGET_OUTPUT_TOKENS];

            r->open = false;
            r->took = tokens(in, out > 0 ? (int64_t)next_random(&x) % out : 0);
            budget_settle(list, BUDGETS, &r->hold, &r->took);
        }
        if (a == BUDGET_FITS && n % 50 == 0)
            for (size_t i = 0; i < BUDGETS; i++)
                add_up(&b[i], all, n);
    }
    assert_true(answers[BUDGET_OVER] > 100 && answers[BUDGET_LEASE] > 100);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_held_without_a_lease),
        cmocka_unit_test(all_of_them_or_none),
        cmocka_unit_test(soft_ones_only_count),
        cmocka_unit_test(a_later_window_begins_anew),
        cmocka_unit_test(a_hold_grows),
        cmocka_unit_test(a_hold_grows_into_a_new_window),
        cmocka_unit_test(what_goes_over_its_hold_is_counted),
        cmocka_unit_test(huge_numbers_stop_at_the_largest),
        cmocka_unit_test(after_a_crash_nothing_counts_as_less),
        cmocka_unit_test(what_is_left_of_an_earlier_window_is_nothing),
        cmocka_unit_test(a_list_of_all_requests_agrees),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
