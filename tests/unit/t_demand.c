/* t_demand.c - What requests ask of stored replies, in good words and bad. */
#include "recall/demand.h"

#include "unit/cmocka_all.h"

#include <stdio.h>

/* The fields "name: value", one after the other, up to NULL. */
static struct demand read_fields(const char *const *fields)
{
    struct http1_header table[8];
    struct http1_head head = {.headers = table};
    struct demand d;

    for (; *fields; fields++) {
        struct str line = str_from(*fields), name;

        assert_true(str_split(&line, ':', &name));
        table[head.count++] = (struct http1_header){name, str_trim(line)};
    }
    demand_read(&head, &d);
    return d;
}

#define READ(...) read_fields((const char *const[]){__VA_ARGS__, NULL})
#define MAX       DEMAND_SECONDS_MAX

static void is(struct demand got, struct demand want)
{
    assert_int_equal(got.no_store, want.no_store);
    assert_int_equal(got.no_cache, want.no_cache);
    assert_int_equal(got.only_if_cached, want.only_if_cached);
    assert_int_equal(got.max_age_s, want.max_age_s);
    assert_int_equal(got.max_stale_s, want.max_stale_s);
    assert_int_equal(got.min_fresh_s, want.min_fresh_s);
}

#define SAYS(text, ...)                                                        \
    is(READ("Cache-Control: " text),                                           \
       (struct demand){.max_age_s = -1, __VA_ARGS__})
#define AGE(text, seconds)                                                     \
    is(READ("Cache-Control: " text),                                           \
       (struct demand){.max_age_s = (seconds), .no_cache = (seconds) == 0})

static void silence_asks_nothing(void **state)
{
    (void)state;
    is(READ("Accept: */*"), (struct demand){.max_age_s = -1});
    is(READ("Cache-Control:"), (struct demand){.max_age_s = -1});
    SAYS(" , ,", .no_store = false);
    SAYS("private, foo=bar, foo=\"a, no-store\", x=\"\\\", no-cache\"",
         .no_store = false);
}

static void words_are_read(void **state)
{
    (void)state;
    SAYS("no-store", .no_store = true);
    SAYS("No-Cache", .no_cache = true);
    SAYS("ONLY-IF-CACHED", .only_if_cached = true);
    SAYS("no-store,no-cache ,\tonly-if-cached", .no_store = true,
         .no_cache = true, .only_if_cached = true);
    SAYS("no-cache=\"a\"", .no_cache = true);
    SAYS("no-store=x", .no_store = true);
    SAYS("max-stale", .max_stale_s = MAX);
    SAYS("max-stale=5", .max_stale_s = 5);
    SAYS("min-fresh=7", .min_fresh_s = 7);
    SAYS("no-storee, xno-store, no_store", .no_store = false);
}

static void ages_are_read(void **state)
{
    (void)state;
    AGE("max-age=0", 0);
    AGE("max-age=60", 60);
    AGE("MAX-AGE = 60", 60);
    AGE("max-age=\"60\"", 60);
    AGE("max-age=060", 60);
    AGE("foo, max-age=60 , bar", 60);
    AGE("max-age=2147483647", 2147483647);
    AGE("max-age=2147483649", MAX);
    AGE("max-age=99999999999999999999999999", MAX);
}

static void broken_numbers_are_safe(void **state)
{
    (void)state;
    AGE("max-age", 0);
    AGE("max-age=", 0);
    AGE("max-age=-1", 0);
    AGE("max-age=1.5", 0);
    AGE("max-age=1e3", 0);
    AGE("max-age=abc", 0);
    AGE("max-age=6 0", 0);
    AGE("max-age=\"60\"x", 0);
    AGE("max-age=\"6\\0\"", 0);
    AGE("max-age=\"\"", 0);
    SAYS("max-stale=x", .max_stale_s = 0);
    SAYS("max-stale=", .max_stale_s = 0);
    SAYS("min-fresh", .min_fresh_s = MAX);
    SAYS("min-fresh=x", .min_fresh_s = MAX);
}

static void the_stricter_one_counts(void **state)
{
    (void)state;
    AGE("max-age=60, max-age=10", 10);
    AGE("max-age=10, max-age=60", 10);
    SAYS("max-stale=60, max-stale", .max_stale_s = 60);
    SAYS("max-stale, max-stale=60", .max_stale_s = 60);
    SAYS("min-fresh=1, min-fresh=3, min-fresh=2", .min_fresh_s = 3);
    is(READ("cache-control: max-age=60", "Accept: x",
            "CACHE-CONTROL: max-age=5, no-store"),
       (struct demand){.max_age_s = 5, .no_store = true});
}

static void open_quotes_are_safe(void **state)
{
    (void)state;
    SAYS("max-age=\"60", .no_store = true, .no_cache = true);
    SAYS("foo=\"bar, max-age=60", .no_store = true, .no_cache = true);
    SAYS("foo=\"bar\\", .no_store = true, .no_cache = true);
    SAYS("a\"b, max-age=60\"", .no_store = true, .no_cache = true);
    is(READ("Cache-Control: foo=\"a", "Cache-Control: max-age=9"),
       (struct demand){.max_age_s = 9, .no_store = true, .no_cache = true});
}

static void pragma_counts_alone(void **state)
{
    (void)state;
    is(READ("Pragma: no-cache"),
       (struct demand){.max_age_s = -1, .no_cache = true});
    is(READ("pragma: x, NO-CACHE"),
       (struct demand){.max_age_s = -1, .no_cache = true});
    is(READ("Pragma: foo"), (struct demand){.max_age_s = -1});
    is(READ("Pragma: no-cache", "Cache-Control: max-age=60"),
       (struct demand){.max_age_s = 60});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(silence_asks_nothing),
        cmocka_unit_test(words_are_read),
        cmocka_unit_test(ages_are_read),
        cmocka_unit_test(broken_numbers_are_safe),
        cmocka_unit_test(the_stricter_one_counts),
        cmocka_unit_test(open_quotes_are_safe),
        cmocka_unit_test(pragma_counts_alone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
