/* t_conf_prices.c - The price file: amounts and days as they are written,
 * every mistake in its place, and the sample that is installed. */
#include "conf/conf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "account/price.h"

#ifndef TG_SRCDIR
#define TG_SRCDIR "."
#endif

static void amounts_are_exact(void **state)
{
    static const struct {
        const char *text;
        int64_t micro; /* with six decimals; -1: must be refused */
    } cases[] = {
        {"0", 0},
        {"1", 1000000},
        {"1.25", 1250000},
        {"0.3", 300000},
        {"0.1", 100000},
        {".5", 500000},
        {"007.50", 7500000},
        {"0.000001", 1},
        {"0.0125", 12500},
        {"0.075", 75000},
        {"1.1000000000000000000000000000", 1100000},
        {"1000000", 1000000000000},
        {"999999.999999", 999999999999},
        {"1000000.000000", 1000000000000},
        {"1000000.000001", -1},
        {"1000001", -1},
        {"99999999999999999999999999999999", -1},
        {"0.0000001", -1},
        {"0.0000010000001", -1},
        {"", -1},
        {".", -1},
        {"1.", -1},
        {"1..2", -1},
        {"1.2.3", -1},
        {"-1", -1},
        {"-0", -1},
        {"+1", -1},
        {"1e3", -1},
        {"1E-3", -1},
        {"$1", -1},
        {"1,5", -1},
        {"1_000", -1},
        {" 1", -1},
        {"1 ", -1},
        {"0x10", -1},
        {".inf", -1},
        {"free", -1},
    };

    (void)state; /* cmocka's signature */
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int64_t v = -1;
        const char *fault = conf_price_parse(str_from(cases[i].text), 6, &v);

        if ((fault != NULL) != (cases[i].micro < 0) || v != cases[i].micro)
            fail_msg("\"%s\" gave %lld", cases[i].text, (long long)v);
    }
    int64_t v = -1;
    assert_null(conf_price_parse(STR("0.000000001"), 9, &v));
    assert_int_equal(v, 1);
    assert_null(conf_price_parse(STR("1000000"), 9, &v));
    assert_true(v == INT64_C(1000000000000000));
    assert_non_null(conf_price_parse(STR("0.0000000001"), 9, &v));
}

static void days_are_of_the_calendar(void **state)
{
    static const struct {
        const char *text;
        int64_t days; /* -1: must be refused */
    } cases[] = {
        {"1970-01-01", 0},     {"1970-12-31", 364},   {"1972-02-29", 789},
        {"1972-03-01", 790},   {"2000-02-29", 11016}, {"2000-03-01", 11017},
        {"2026-11-21", 20778}, {"2100-03-01", 47541}, {"9999-12-31", 2932896},
        {"1969-12-31", -1},    {"2026-02-29", -1},    {"2100-02-29", -1},
        {"2026-13-01", -1},    {"2026-00-10", -1},    {"2026-04-31", -1},
        {"2026-04-00", -1},    {"2026-4-1", -1},      {"2026/04/01", -1},
        {"21-11-2026", -1},    {"2026-11-21 ", -1},   {"", -1},
        {"2026-11-21T00", -1},
    };

    (void)state; /* cmocka's signature */
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int64_t days = -1;

        if (conf_price_day(str_from(cases[i].text), &days) !=
                (cases[i].days >= 0) ||
            days != cases[i].days)
            fail_msg("\"%s\" gave %lld", cases[i].text, (long long)days);
    }
}

/* Reads <text>; the problems are in <r>. */
static enum err read_text(const char *text, struct conf_report *r)
{
    struct arena *mem = arena_new(4096, 1 << 20);
    struct conf_prices p;
    enum err e = conf_prices_parse("P", str_from(text), NULL, mem, r, &p);

    arena_free(mem);
    return e;
}

/* A text and the beginning of the line about it, after its "P:". */
struct mistake {
    const char *text;
    const char *says;
};

#define TOP "updated: 2999-01-01\nstale_after: 0\nprices:\n"

static const struct mistake mistakes[] = {
    {"prices: []\n", "1:1: updated is missing; add the day"},
    {"", "1:1: updated is missing"},
    {"- a\n", "1:1: the file must hold KEY: VALUE lines"},
    {"updated: soon\n", "1:10: updated: \"soon\" is no day; write e.g."},
    {"updated: [2026-11-21]\n", "1:10: updated: "},
    {"updated: 2026-02-30\n", "1:10: updated: \"2026-02-30\" is no day"},
    {TOP "- {modle: a, input: 1, model: b}\n",
     "4:4: unknown key modle in prices[]; write model"},
    {TOP "- {model: a, inputs: 1, output: 1}\n",
     "4:14: unknown key inputs in prices[]; write input"},
    {TOP "- {model: a, input: 1, quux: 1}\n",
     "4:24: unknown key quux in prices[]; remove it"},
    {"updated: 2026-11-21\nstale_after: 0\nprizes: []\n",
     "3:1: unknown key prizes; write prices"},
    {"updated: 2026-11-21\nstale_after: 3\n",
     "2:14: stale_after: \"3\" is no such duration; write 0 for never"},
    {TOP "- {model: a, input: -1}\n",
     "4:21: prices[].input: \"-1\" is negative; write 0 or more"},
    {TOP "- {model: a, input: $1}\n", "4:21: prices[].input: \"$1\" must be "
                                      "the number alone"},
    {TOP "- {model: a, output: 1e3}\n",
     "4:22: prices[].output: \"1e3\" must be written out"},
    {TOP "- {model: a, output: 0.0000001}\n",
     "4:22: prices[].output: \"0.0000001\" has more than 6 decimals"},
    {TOP "- {model: a, request: 0.0000000001}\n",
     "4:23: prices[].request: \"0.0000000001\" has more than 9 decimals"},
    {TOP "- {model: a, cache_write: 1000001}\n",
     "4:27: prices[].cache_write: \"1000001\" is over 1000000 USD"},
    {TOP "- {model: a, input: [1]}\n",
     "4:21: prices[].input must be an amount of USD"},
    {TOP "- {model: a}\n", "4:3: prices[] tells no price"},
    {TOP "- {input: 1}\n", "4:3: prices[] names neither a model nor a target"},
    {TOP "- {target: a, aliases: [b], input: 1}\n",
     "4:24: prices[].aliases are other names of a model"},
    {TOP "- {model: [], input: 1}\n", "4:11: prices[].model is empty"},
    {TOP "- {model: '*********', input: 1}\n",
     "4:11: prices[].model must be a name or a glob"},
    {TOP "- {model: {a: b}, input: 1}\n",
     "4:11: prices[].model must be a name or a glob"},
    {TOP "- {target: [a], input: 1}\n",
     "4:12: prices[].target must be a name or a glob"},
    {TOP "- gpt-5\n", "4:3: prices[] must be KEY: VALUE lines"},
    {"updated: 2026-11-21\nstale_after: 0\nprices: {a: 1}\n",
     "3:9: prices must be a list of entries"},
    {TOP "- {model: a, input: 1, updated: today}\n",
     "4:33: prices[].updated: \"today\" is no day"},
    {"updated: 2026-11-21\nupdated: 2026-11-22\n",
     "2:1: updated is set twice, first in line 1"},
    {"updated: [\n", "2:1: "},
};

static void each_mistake_is_told_in_its_place(void **state)
{
    (void)state; /* cmocka's signature */
    for (size_t i = 0; i < sizeof(mistakes) / sizeof(mistakes[0]); i++) {
        struct conf_report r = {0};
        const char *said = "";
        size_t k = 0;

        if (read_text(mistakes[i].text, &r) != ERR_SYNTAX)
            fail_msg("taken: %s", mistakes[i].text);
        while (k + 1 < r.n_items && r.items[k].warning)
            k++;
        said = r.items[k].text + 2;
        if (strncmp(said, mistakes[i].says, strlen(mistakes[i].says)) != 0)
            fail_msg("wanted: P:%s\n   got: %s", mistakes[i].says,
                     r.items[k].text);
        conf_report_fini(&r);
    }
}

static void all_mistakes_are_told_in_order(void **state)
{
    struct conf_report r = {0};

    (void)state; /* cmocka's signature */
    assert_int_equal(read_text("prices:\n- {model: a, input: x}\n- b\n"
                               "- {input: -1, output: 1e1}\nfoo: 1\n",
                               &r),
                     ERR_SYNTAX);
    assert_int_equal(r.n_errors, 7);
    for (size_t i = 1; i < r.n_items; i++)
        assert_true(r.items[i - 1].line <= r.items[i].line);
    conf_report_fini(&r);
}

static const struct mistake warnings[] = {
    {"updated: 2999-01-01\n", "1:10: warning: updated: 2999-01-01 is in the "
                              "future"},
    {"updated: 2001-01-01\n",
     "1:10: warning: updated: the prices of 2001-01-01 are stale"},
    {"updated: 2001-01-01\nstale_after: 0\n", NULL},
    {"updated: 2001-01-01\nstale_after: 30000d\n", NULL},
    {"updated: 2001-01-01\nstale_after: 0\nprices:\n"
     "- {model: a, input: 1}\n- {model: [b, a], input: 2}\n",
     "5:15: warning: prices[]: \"a\" has a price in line 4 already"},
    {"updated: 2001-01-01\nstale_after: 0\nprices:\n"
     "- {model: a*, input: 1}\n- {model: a*, input: 2}\n",
     "5:11: warning: prices[]: \"a*\" has a price in line 4 already"},
    {"updated: 2001-01-01\nstale_after: 0\nprices:\n"
     "- {model: a, input: 1}\n- {model: a, target: t, input: 2}\n"
     "- {model: a, target: u, input: 2}\n- {target: t, input: 1}\n"
     "- {model: '*', input: 1}\n",
     NULL},
    {"updated: 2001-01-01\nstale_after: 0\nprices:\n", NULL},
};

static void each_warning_is_told_in_its_place(void **state)
{
    (void)state; /* cmocka's signature */
    for (size_t i = 0; i < sizeof(warnings) / sizeof(warnings[0]); i++) {
        const struct mistake *m = &warnings[i];
        struct conf_report r = {0};

        if (read_text(m->text, &r) != ERR_OK)
            fail_msg("refused (%s): %s", r.items[0].text, m->text);
        if (r.n_warnings != (m->says ? 1 : 0))
            fail_msg("%zu warnings, first %s, for: %s", r.n_warnings,
                     r.n_items ? r.items[0].text : "", m->text);
        if (m->says &&
            strncmp(r.items[0].text + 2, m->says, strlen(m->says)) != 0)
            fail_msg("wanted: P:%s\n   got: %s", m->says, r.items[0].text);
        conf_report_fini(&r);
    }
}

static void too_many_names_are_refused(void **state)
{
    struct conf_report r = {0};
    struct buf b;

    (void)state; /* cmocka's signature */
    buf_init(&b, 1 << 20);
    assert_int_equal(buf_printf(&b, "updated: 2026-11-21\nstale_after: 0\n"
                                    "prices:\n- {model: &m ["),
                     ERR_OK);
    for (unsigned i = 0; i < 500; i++)
        assert_int_equal(buf_printf(&b, "m%u, ", i), ERR_OK);
    assert_int_equal(buf_printf(&b, "m], input: 1}\n"), ERR_OK);
    for (unsigned i = 0; i < 60; i++)
        assert_int_equal(buf_printf(&b, "- {model: *m, input: 1}\n"), ERR_OK);
    assert_int_equal(buf_put(&b, "", 1), ERR_OK);
    assert_int_equal(read_text(b.p, &r), ERR_SYNTAX);
    assert_non_null(strstr(r.items[0].text, "more than 20000 names"));
    conf_report_fini(&r);
    buf_fini(&b);
}

/* ---- the file of a configuration ---------------------------------------- */

/* A configuration that names <prices>. */
static enum err load(const char *prices, struct conf_report *r, struct conf **c)
{
    char text[512];

    snprintf(text, sizeof(text),
             "upstreams: [{name: up, base_url: http://h, models: [a]}]\n"
             "prices: %s\n",
             prices);
    return conf_load_text("F", str_from(text), 0, r, c);
}

/* A file with <text>, whose name is put into <path>. */
static void make_file(char path[64], const char *text)
{
    FILE *f;
    int fd;

    snprintf(path, 64, "/tmp/t_conf_prices.XXXXXX");
    fd = mkstemp(path);
    f = fd < 0 ? NULL : fdopen(fd, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static void a_configuration_takes_its_prices(void **state)
{
    struct conf_report r = {0};
    struct conf *c = NULL;
    char path[64];

    (void)state; /* cmocka's signature */
    make_file(path, "updated: 2026-11-21\nstale_after: 0\nprices:\n"
                    "- {target: up, model: a, input: 1.5}\n"
                    "- {target: gone, model: a, input: 1}\n");
    assert_int_equal(load(path, &r, &c), ERR_OK);
    assert_int_equal(r.n_warnings, 1);
    assert_non_null(strstr(r.items[0].text, ":5:12: warning: prices[].target: "
                                            "no upstream or engine model is "
                                            "called \"gone\""));
    assert_string_equal(c->price.file.p, path);
    struct price_quote q = price_find(&c->price, STR("up"), STR("a"), false, 0);
    assert_int_equal(q.price->at[CONF_PRICE_INPUT], 1500000);
    conf_report_fini(&r);
    conf_unref(c);
    unlink(path);
}

static void mistakes_in_prices_refuse_the_configuration(void **state)
{
    struct conf_report r = {0};
    struct conf *c = NULL;
    char path[64];

    (void)state; /* cmocka's signature */
    make_file(path, "updated: 2026-11-21\nprices:\n- {model: a}\n- {input: "
                    "1}\n");
    assert_int_equal(load(path, &r, &c), ERR_SYNTAX);
    assert_null(c);
    assert_int_equal(r.n_errors, 2);
    assert_memory_equal(r.items[0].text, path, strlen(path));
    conf_report_fini(&r);
    unlink(path);
    /* and the file that is named must be there */
    assert_int_equal(load(path, &r, &c), ERR_SYNTAX);
    assert_int_equal(r.n_errors, 1);
    assert_non_null(strstr(r.items[0].text, "F:2:9: prices: "));
    conf_report_fini(&r);
    assert_int_equal(load("/tmp", &r, &c), ERR_SYNTAX);
    assert_non_null(strstr(r.items[0].text, "/tmp:1:1: cannot be read"));
    conf_report_fini(&r);
}

static void the_sample_is_good(void **state)
{
    struct conf_report r = {0};
    struct conf *c = NULL;
    uint64_t tok[ROW_TOK_COUNT] = {
        [ROW_TOK_INPUT] = 1000, [ROW_TOK_OUTPUT] = 100};
    struct price_quote q;

    (void)state; /* cmocka's signature */
    if (load(TG_SRCDIR "/etc/prices.yaml", &r, &c) != ERR_OK)
        fail_msg("%s", r.n_items ? r.items[0].text : "no reason told");
    for (size_t i = 0; i < r.n_items; i++)
        assert_non_null(strstr(r.items[i].text, " stale"));
    q = price_find(&c->price, STR("openai"), STR("gpt-5-mini-2025-08-07"),
                   false, 0);
    assert_non_null(q.price);
    assert_int_equal(price_cost(&q, tok, 0).nusd, 250000 + 200000);
    q = price_find(&c->price, STR("openai"), STR("gpt-5.9"), false, 0);
    assert_null(q.price);
    conf_report_fini(&r);
    conf_unref(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(amounts_are_exact),
        cmocka_unit_test(days_are_of_the_calendar),
        cmocka_unit_test(each_mistake_is_told_in_its_place),
        cmocka_unit_test(all_mistakes_are_told_in_order),
        cmocka_unit_test(each_warning_is_told_in_its_place),
        cmocka_unit_test(too_many_names_are_refused),
        cmocka_unit_test(a_configuration_takes_its_prices),
        cmocka_unit_test(mistakes_in_prices_refuse_the_configuration),
        cmocka_unit_test(the_sample_is_good),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
