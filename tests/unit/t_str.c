/* t_str.c - Slices: compare, trim, split, numbers, globs. */
#include "base/str.h"

#include "unit/cmocka_all.h"

static void compares_bytes_and_ignores_case(void **state)
{
    (void)state;
    assert_true(str_eq(STR("ab"), STR("ab")));
    assert_false(str_eq(STR("ab"), STR("abc")));
    assert_false(str_eq(STR("ab"), STR("aB")));
    assert_true(str_ieq(STR("ab"), STR("aB")));
    assert_true(str_eq(str_from(NULL), STR("")));
    assert_true(str_starts(STR("abc"), STR("ab")));
    assert_false(str_starts(STR("a"), STR("ab")));
    assert_true(str_ends(STR("abc"), STR("bc")));
    assert_false(str_ends(STR("c"), STR("bc")));
}

static void trims_and_finds(void **state)
{
    (void)state;
    assert_true(str_eq(str_trim(STR(" \t a b \t")), STR("a b")));
    assert_true(str_eq(str_trim(STR("  ")), STR("")));
    assert_int_equal(str_find(STR("hello"), STR("ll")), 2);
    assert_int_equal(str_find(STR("hello"), STR("x")), 5);
    assert_int_equal(str_find_char(STR("a,b"), ','), 1);
    assert_int_equal(str_find_char(str_from(NULL), ','), 0);
    assert_true(str_eq(str_skip(STR("abc"), 9), STR("")));
}

static void splits_into_parts(void **state)
{
    struct str rest = STR("a,,b,"), part;
    const char *want[] = {"a", "", "b"};

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        assert_true(str_split(&rest, ',', &part));
        assert_true(str_eq(part, str_from(want[i])));
    }
    assert_false(str_split(&rest, ',', &part));
}

static void reads_only_whole_numbers(void **state)
{
    uint64_t v = 7;
    const char *bad[] = {"",
                         "-1",
                         "+1",
                         " 1",
                         "1 ",
                         "0x1",
                         "1.0",
                         "18446744073709551616",
                         "99999999999999999999"};

    (void)state;
    assert_true(str_to_u64(STR("18446744073709551615"), &v));
    assert_true(v == UINT64_MAX);
    v = 7;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_false(str_to_u64(str_from(bad[i]), &v));
        assert_int_equal(v, 7);
    }
}

static void globs(void **state)
{
    static const struct {
        const char *glob, *s;
        bool want;
    } t[] = {
        {"", "", true},
        {"", "a", false},
        {"*", "", true},
        {"*", "abc", true},
        {"a*", "abc", true},
        {"a*", "ba", false},
        {"*c", "abc", true},
        {"*c", "abcd", false},
        {"a?c", "abc", true},
        {"a?c", "ac", false},
        {"*b*", "abc", true},
        {"a*b*c", "aXbYc", true},
        {"a*b*c", "acb", false},
        {"**", "x", true},
        {"gpt-5*", "gpt-5", true},
        {"*ab", "aab", true},
        {"a*a", "a", false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++)
        assert_int_equal(str_glob(str_from(t[i].glob), str_from(t[i].s)),
                         t[i].want);
}

static void glob_with_many_stars_ends_soon(void **state)
{
    char s[2001];

    (void)state;
    memset(s, 'a', 2000);
    s[2000] = 0;
    assert_false(str_glob(STR("*a*a*a*a*a*a*a*a*a*a*a*a*b"), str_from(s)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(compares_bytes_and_ignores_case),
        cmocka_unit_test(trims_and_finds),
        cmocka_unit_test(splits_into_parts),
        cmocka_unit_test(reads_only_whole_numbers),
        cmocka_unit_test(globs),
        cmocka_unit_test(glob_with_many_stars_ends_soon),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
