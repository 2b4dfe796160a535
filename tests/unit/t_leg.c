/* t_leg.c - Attempts beside the one that answers: what each holds and costs,
 * in the ledger and in the budgets, one after the other and side by side. */
#include "unit/leg_rig.h"

/* --- one after the other -------------------------------------------------- */

static void what_took_nothing_leaves_its_hold_to_the_next(void **state)
{
    struct rows all;
    struct rig r;
    struct one o;

    rig_open(&r, *state, "1k-tokens/total");
    one_open(&o, &r);
    assert_int_equal(begin(&r, &o, "m", 50), QUOTA_HELD);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(leg_part(&o.x, &refused), ERR_OK);
        assert_int_equal(begin(&r, &o, "m", 50), QUOTA_HELD);
        assert_int_equal(state_of(&r).held, 150);
    }
    /* nor does the next hold less than it needs */
    assert_int_equal(leg_part(&o.x, &refused), ERR_OK);
    assert_int_equal(begin(&r, &o, "m", 400), QUOTA_HELD);
    assert_int_equal(state_of(&r).held, 500);
    assert_int_equal(quota_output(&o.x), 400);
    assert_int_equal(count(&o), 0);
    answer(&r, &o, 10, 5);
    assert_int_equal(state_of(&r).held, 0);
    assert_int_equal(state_of(&r).spent, 15);
    read_rows(&r, &all);
    assert_int_equal(all.n, 1);
    assert_int_equal(all.row[0].attempts, 5);
    rig_close(&r);
    assert_proved(*state);
}

static void a_dearer_target_is_held_by_its_price(void **state)
{
    struct rig r;
    struct one o;

    rig_open(&r, *state, "$1/total");
    one_open(&o, &r);
    assert_int_equal(begin(&r, &o, "m", 50), QUOTA_HELD);
    assert_int_equal(state_of(&r).held, 150 * NUSD_TOK);
    assert_int_equal(leg_part(&o.x, &refused), ERR_OK);
    assert_int_equal(begin(&r, &o, "dear", 50), QUOTA_HELD);
    assert_int_equal(state_of(&r).held, 450 * NUSD_TOK);
    /* and the cheap one within that */
    assert_int_equal(leg_part(&o.x, &refused), ERR_OK);
    assert_int_equal(begin(&r, &o, "m", 50), QUOTA_HELD);
    assert_int_equal(state_of(&r).held, 450 * NUSD_TOK);
    /* what has no price is not asked, and that is nobody's failure yet */
    assert_int_equal(leg_part(&o.x, &refused), ERR_OK);
    assert_int_equal(begin(&r, &o, "unknown", 50), QUOTA_OVER);
    assert_false(exchange_has_failed(&o.x));
    give_up(&r, &o, ERR_UP_UNAVAILABLE);
    assert_int_equal(state_of(&r).held, 0);
    assert_int_equal(state_of(&r).spent, 0);
    rig_close(&r);
    assert_proved(*state);
}

static void what_may_have_been_served_is_charged_by_itself(void **state)
{
    const struct usage_row *leg, *main;
    struct usage_sum sum;
    struct rows all;
    struct rig r;
    struct one o;
    char model[] = "dear";
    char id[ID_SIZE];

    rig_open(&r, *state, "1k-tokens/total");
    one_open(&o, &r);
    memcpy(id, o.x.name, sizeof(id));
    assert_int_equal(begin(&r, &o, "dear", 50), QUOTA_HELD);
    o.work.upstream_model = str_from(model); /* as a slice of the body */
    assert_int_equal(leg_part(&o.x, &reset), ERR_OK);
    memset(model, 0, sizeof(model));
    assert_int_equal(quota_output(&o.x), UINT64_MAX);
    assert_int_equal(begin(&r, &o, "m", 60), QUOTA_HELD);
    assert_int_equal(state_of(&r).held, 310);
    answer(&r, &o, 10, 5);
    assert_int_equal(state_of(&r).held, 0);
    assert_int_equal(state_of(&r).spent, 165);
    read_rows(&r, &all);
    assert_int_equal(all.n, 2);
    leg = row_of(&all, true);
    main = row_of(&all, false);
    assert_str(main->id, str_from(id));
    assert_int_equal(main->attempts, 2);
    assert_int_equal(main->parent.len, 0);
    assert_int_equal(main->tok[ROW_TOK_OUTPUT], 5);
    assert_int_equal(main->cost_nusd, 15 * NUSD_TOK);
    assert_int_equal(main->flags, 0);
    assert_str(leg->parent, str_from(id));
    assert_str(leg->hold, str_from(id));
    assert_str(main->hold, str_of(main->hold.p, ROW_ID_LEN));
    assert_int_equal(leg->flags, ROW_LEG | ROW_ESTIMATED | ROW_IN_DOUBT);
    assert_int_equal(leg->tok[ROW_TOK_INPUT], 100);
    assert_int_equal(leg->tok[ROW_TOK_OUTPUT], 50);
    assert_int_equal(leg->cost_nusd, 450 * NUSD_TOK);
    assert_str(leg->reason, STR("up_reset"));
    assert_str(leg->target_model, STR("dear"));
    assert_int_equal(leg->status, 502);
    assert_int_equal(leg->ms_total, 5);
    sum = total(*state);
    assert_int_equal(sum.requests, 1);
    assert_int_equal(sum.legs, 1);
    assert_int_equal(sum.errors, 0);
    assert_int_equal(sum.cost_nusd, 465 * NUSD_TOK);
    rig_close(&r);
    assert_proved(*state);
}

static void a_second_that_is_not_afforded_refuses_nothing(void **state)
{
    struct rows all;
    struct rig r;
    struct one o;

    rig_open(&r, *state, "200-tokens/total");
    one_open(&o, &r);
    assert_int_equal(begin(&r, &o, "m", 50), QUOTA_HELD);
    assert_int_equal(leg_part(&o.x, &reset), ERR_OK);
    assert_int_equal(begin(&r, &o, "m", 50), QUOTA_OVER);
    assert_false(exchange_has_failed(&o.x));
    give_up(&r, &o, ERR_UP_RESET);
    assert_int_equal(state_of(&r).held, 0);
    assert_int_equal(state_of(&r).spent, 150);
    read_rows(&r, &all);
    assert_int_equal(all.n, 2);
    assert_int_equal(row_of(&all, false)->cost_nusd, 0);
    assert_int_equal(row_of(&all, false)->status, 502);
    /* while the first of all is */
    one_open(&o, &r);
    assert_int_equal(begin(&r, &o, "m", 50), QUOTA_OVER);
    assert_int_equal(o.x.fail.err, ERR_QUOTA);
    give_up(&r, &o, ERR_QUOTA);
    rig_close(&r);
    assert_proved(*state);
}

static void the_engine_s_part_is_exact(void **state)
{
    const struct leg_end failed = {.why = ERR_INTERNAL, .status = 0};
    const struct usage_row *leg;
    struct rows all;
    struct rig r;
    struct one o;

    rig_open(&r, *state, "1k-tokens/total");
    one_open(&o, &r);
    assert_int_equal(begin(&r, &o, "m", 50), QUOTA_HELD);
    o.work.engine = true;
    o.made = (struct made){.counted = true, .input_tok = 7, .output_tok = 3};
    assert_int_equal(leg_part(&o.x, &failed), ERR_OK);
    assert_false(o.made.counted);
    assert_int_equal(begin(&r, &o, "m", 50), QUOTA_HELD);
    o.work.engine = false;
    answer(&r, &o, 10, 5);
    assert_int_equal(state_of(&r).spent, 25);
    read_rows(&r, &all);
    leg = row_of(&all, true);
    assert_int_equal(leg->usage_source, ROW_SOURCE_ENGINE);
    assert_int_equal(leg->flags, ROW_LEG);
    rig_close(&r);
    assert_proved(*state);
}

static void without_budgets_a_leg_is_its_input(void **state)
{
    const struct usage_row *leg;
    struct rows all;
    struct rig r;
    struct one o;

    rig_open(&r, *state, NULL);
    one_open(&o, &r);
    assert_int_equal(begin(&r, &o, "m", 50), QUOTA_HELD);
    assert_int_equal(leg_part(&o.x, &refused), ERR_OK);
    assert_int_equal(begin(&r, &o, "m", 50), QUOTA_HELD);
    assert_int_equal(leg_part(&o.x, &reset), ERR_OK);
    assert_int_equal(count(&o), 1);
    assert_int_equal(begin(&r, &o, "m", 50), QUOTA_HELD);
    answer(&r, &o, 10, 5);
    read_rows(&r, &all);
    leg = row_of(&all, true);
    assert_int_equal(leg->tok[ROW_TOK_INPUT], 100); /* of 400 bytes */
    assert_int_equal(leg->tok[ROW_TOK_OUTPUT], 0);
    assert_int_equal(leg->cost_nusd, 100 * NUSD_TOK);
    assert_int_equal(leg->flags, ROW_LEG | ROW_ESTIMATED | ROW_IN_DOUBT);
    assert_int_equal(leg->hold.len, 0);
    assert_int_equal(row_of(&all, false)->hold.len, 0);
    rig_close(&r);
    assert_proved(*state);
}

/* --- side by side --------------------------------------------------------- */

/* The second of two is faster, or the first; the other was <how>. */
static void race(struct fixture *f, bool second_wins, const struct leg_end *how)
{
    struct leg *leg;
    struct rig r;
    struct one o;

    rig_open(&r, f, "1k-tokens/total");
    one_open(&o, &r);
    assert_int_equal(begin(&r, &o, "m", 50), QUOTA_HELD);
    leg = leg_open(&o.x);
    assert_non_null(leg);
    assert_int_equal(begin(&r, &o, "dear", 60), QUOTA_HELD);
    assert_int_equal(state_of(&r).held, 310);
    if (!second_wins)
        leg_swap(&o.x, leg);
    assert_int_equal(quota_output(&o.x), second_wins ? 60 : 50);
    assert_str(o.work.upstream_model, second_wins ? STR("dear") : STR("m"));
    leg_close(&o.x, leg, how);
    answer(&r, &o, 10, 5);
    assert_int_equal(state_of(&r).held, 0);
    rig_close(&r);
    assert_proved(f);
}

static void the_slower_one_is_charged_by_itself(void **state)
{
    const struct usage told = usage_of(20, 2);
    const struct leg_end cancelled = {.sent = true};
    const struct leg_end late = {.sent = true, .status = 200, .usage = &told};
    const struct leg_end *const hows[] = {&cancelled, &late, &refused};
    const int64_t costs[2][3] = {{160 * 3, 22 * 3, 0}, {150, 22, 0}};
    struct fixture *f = *state;
    int64_t all = 0;

    for (unsigned i = 0; i < 6; i++) {
        const bool second_wins = i >= 3;

        race(f, second_wins, hows[i % 3]);
        all += costs[second_wins][i % 3] + (second_wins ? 45 : 15);
        const struct usage_sum sum = total(f);
        assert_int_equal(sum.cost_nusd, all * NUSD_TOK);
        assert_int_equal(sum.requests, i + 1);
        assert_int_equal(sum.legs, i + 1 - (i + 1) / 3);
    }
}

static void one_that_is_not_begun_leaves_all_as_it_was(void **state)
{
    struct rows all;
    struct leg *leg;
    struct rig r;
    struct one o;

    rig_open(&r, *state, "200-tokens/total");
    one_open(&o, &r);
    assert_int_equal(begin(&r, &o, "m", 50), QUOTA_HELD);
    leg = leg_open(&o.x);
    assert_int_equal(begin(&r, &o, "m", 50), QUOTA_OVER);
    leg_swap(&o.x, leg);
    leg_close(&o.x, leg, &refused);
    assert_int_equal(quota_output(&o.x), 50);
    answer(&r, &o, 10, 5);
    assert_int_equal(state_of(&r).spent, 15);
    assert_int_equal(state_of(&r).held, 0);
    read_rows(&r, &all);
    assert_int_equal(all.n, 1);
    rig_close(&r);
    assert_proved(*state);
}

static void a_leg_that_nobody_closed_ends_with_its_request(void **state)
{
    struct rows all;
    struct rig r;
    struct one o;

    rig_open(&r, *state, "1k-tokens/total");
    one_open(&o, &r);
    assert_int_equal(begin(&r, &o, "m", 50), QUOTA_HELD);
    assert_non_null(leg_open(&o.x));
    assert_int_equal(begin(&r, &o, "m", 60), QUOTA_HELD);
    o.work.sent = true;
    give_up(&r, &o, ERR_CLIENT_GONE);
    assert_int_equal(state_of(&r).spent, 310);
    assert_int_equal(state_of(&r).held, 0);
    read_rows(&r, &all);
    assert_str(row_of(&all, true)->reason, STR("client_gone"));
    rig_close(&r);
    assert_proved(*state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            what_took_nothing_leaves_its_hold_to_the_next, setup_open,
            teardown),
        cmocka_unit_test_setup_teardown(a_dearer_target_is_held_by_its_price,
                                        setup_open, teardown),
        cmocka_unit_test_setup_teardown(
            what_may_have_been_served_is_charged_by_itself, setup_open,
            teardown),
        cmocka_unit_test_setup_teardown(
            a_second_that_is_not_afforded_refuses_nothing, setup_open,
            teardown),
        cmocka_unit_test_setup_teardown(the_engine_s_part_is_exact, setup_open,
                                        teardown),
        cmocka_unit_test_setup_teardown(without_budgets_a_leg_is_its_input,
                                        setup_open, teardown),
        cmocka_unit_test_setup_teardown(the_slower_one_is_charged_by_itself,
                                        setup_open, teardown),
        cmocka_unit_test_setup_teardown(
            one_that_is_not_begun_leaves_all_as_it_was, setup_open, teardown),
        cmocka_unit_test_setup_teardown(
            a_leg_that_nobody_closed_ends_with_its_request, setup_open,
            teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
