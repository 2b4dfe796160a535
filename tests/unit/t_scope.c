/* t_scope.c - Who shares with whom: every two callers that must not share have
 * scopes of their own, whatever they are called; and a client can narrow its
 * scope, never leave it. */
#include "engine/scope.h"

#include <stdlib.h>

#include "unit/cmocka_all.h"

#define SECRET STR("0123456789abcdef0123456789abcdef")

struct scope {
    uint8_t b[SCOPE_BYTES];
};

static struct scope of(enum conf_scope how, struct str key, struct str team)
{
    struct scope s;

    scope_of(SECRET, how, key, team, s.b);
    return s;
}

static struct scope narrow(struct scope s, struct str salt, struct str key)
{
    struct scope out;

    scope_narrow(s.b, salt, key, out.b);
    return out;
}

static bool same(struct scope a, struct scope b)
{
    return memcmp(a.b, b.b, SCOPE_BYTES) == 0;
}

/* No two of <v> are the same. */
static void all_differ(const struct scope *v, size_t n)
{
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < i; j++)
            if (same(v[i], v[j]))
                fail_msg("%zu and %zu share", j, i);
}

/* --- callers ------------------------------------------------------------- */

static void keys_are_apart_by_default(void **state)
{
    const struct scope v[] = {
        of(CONF_SCOPE_KEY, STR("key_a"), STR("")),
        of(CONF_SCOPE_KEY, STR("key_b"), STR("")),
        of(CONF_SCOPE_KEY, STR("key_ab"), STR("")),
        of(CONF_SCOPE_KEY, STR("key_"), STR("")),
        of(CONF_SCOPE_KEY, STR("key_a\0"), STR("")),
        of(CONF_SCOPE_KEY, STR(""), STR("")),
    };

    (void)state;
    all_differ(v, sizeof(v) / sizeof(v[0]));
    assert_true(same(v[0], of(CONF_SCOPE_KEY, STR("key_a"), STR(""))));
    /* The team says nothing here. */
    assert_true(same(v[0], of(CONF_SCOPE_KEY, STR("key_a"), STR("t"))));
}

static void a_team_shares_and_its_keys_do_not_leave_it(void **state)
{
    const struct scope v[] = {
        of(CONF_SCOPE_TEAM, STR("key_a"), STR("one")),
        of(CONF_SCOPE_TEAM, STR("key_b"), STR("two")),
        of(CONF_SCOPE_TEAM, STR("key_a"), STR("")),
        of(CONF_SCOPE_TEAM, STR("key_b"), STR("")),
        of(CONF_SCOPE_TEAM, STR(""), STR("")),
    };

    (void)state;
    all_differ(v, sizeof(v) / sizeof(v[0]));
    assert_true(same(v[0], of(CONF_SCOPE_TEAM, STR("key_b"), STR("one"))));
    assert_true(same(v[0], of(CONF_SCOPE_TEAM, STR(""), STR("one"))));
    /* A key in no team is by itself, as with scope "key". */
    assert_true(same(v[2], of(CONF_SCOPE_KEY, STR("key_a"), STR(""))));
}

/* Names that were made to be taken for another kind of caller. */
static void no_name_is_taken_for_another_kind(void **state)
{
    const struct scope v[] = {
        of(CONF_SCOPE_TEAM, STR("key_x"), STR("key_a")),
        of(CONF_SCOPE_TEAM, STR("key_x"), STR("key key_a")),
        of(CONF_SCOPE_TEAM, STR("key_x"), STR("shared")),
        of(CONF_SCOPE_TEAM, STR("key_a"), STR("")),
        of(CONF_SCOPE_TEAM, STR("team key_a"), STR("")),
        of(CONF_SCOPE_KEY, STR("shared"), STR("")),
        of(CONF_SCOPE_KEY, STR(""), STR("")),
        of(CONF_SCOPE_SHARED, STR("key_a"), STR("key_a")),
    };

    (void)state;
    all_differ(v, sizeof(v) / sizeof(v[0]));
}

static void long_names_are_not_cut(void **state)
{
    char a[5000], b[5000];
    struct scope x, y;

    (void)state;
    memset(a, 'n', sizeof(a));
    memcpy(b, a, sizeof(b));
    b[sizeof(b) - 1] = 'm';
    x = of(CONF_SCOPE_TEAM, STR("k"), str_of(a, sizeof(a)));
    y = of(CONF_SCOPE_TEAM, STR("k"), str_of(b, sizeof(b)));
    assert_false(same(x, y));
    x = of(CONF_SCOPE_KEY, str_of(a, sizeof(a)), STR(""));
    y = of(CONF_SCOPE_KEY, str_of(b, sizeof(b)), STR(""));
    assert_false(same(x, y));
}

static void shared_is_for_all(void **state)
{
    struct scope a = of(CONF_SCOPE_SHARED, STR("key_a"), STR("one"));

    (void)state;
    assert_true(same(a, of(CONF_SCOPE_SHARED, STR("key_b"), STR("two"))));
    assert_true(same(a, of(CONF_SCOPE_SHARED, STR(""), STR(""))));
}

static void another_secret_gives_other_scopes(void **state)
{
    struct scope a = of(CONF_SCOPE_SHARED, STR(""), STR("")), b;

    (void)state;
    scope_of(STR("1123456789abcdef0123456789abcdef"), CONF_SCOPE_SHARED,
             STR(""), STR(""), b.b);
    assert_false(same(a, b));
}

/* --- what clients say ---------------------------------------------------- */

static void salt_and_key_narrow_each_and_together(void **state)
{
    const struct scope s = of(CONF_SCOPE_KEY, STR("key_a"), STR(""));
    const struct scope v[] = {
        s,
        narrow(s, STR("a"), STR("")),
        narrow(s, STR(""), STR("a")),
        narrow(s, STR("a"), STR("a")),
        narrow(s, STR("b"), STR("")),
        narrow(s, STR("ab"), STR("c")),
        narrow(s, STR("a"), STR("bc")),
        narrow(s, STR("abc"), STR("")),
        narrow(s, STR(""), STR("abc")),
        narrow(s, STR("a\0"), STR("")),
        narrow(s, STR("\0"), STR("")),
        narrow(narrow(s, STR("a"), STR("")), STR(""), STR("a")),
    };

    (void)state;
    all_differ(v, sizeof(v) / sizeof(v[0]));
    assert_true(same(s, narrow(s, STR(""), STR(""))));
    assert_true(same(v[5], narrow(s, STR("ab"), STR("c"))));
}

static void narrowing_in_place_is_the_same(void **state)
{
    struct scope s = of(CONF_SCOPE_KEY, STR("key_a"), STR(""));
    const struct scope want = narrow(s, STR("x"), STR("y"));

    (void)state;
    scope_narrow(s.b, STR("x"), STR("y"), s.b);
    assert_true(same(s, want));
    scope_narrow(s.b, STR(""), STR(""), s.b);
    assert_true(same(s, want));
}

/* A client that knows the salt of another one, or even its key's id, says it
 * within its own scope. */
static void what_another_says_reaches_nothing_of_it(void **state)
{
    static const char *const words[] = {"a",   "key_a",  "key_b", "team",
                                        "one", "shared", "\x01",  "key key_a"};
    const struct scope a = of(CONF_SCOPE_KEY, STR("key_a"), STR(""));
    const struct scope b = of(CONF_SCOPE_KEY, STR("key_b"), STR(""));
    enum { WORDS = sizeof(words) / sizeof(words[0]) };
    struct scope v[2 + 4 * WORDS + 2 * WORDS * WORDS];
    size_t n = 0;

    (void)state;
    v[n++] = a;
    v[n++] = b;
    for (unsigned i = 0; i < 2u * WORDS; i++) {
        const struct scope s = i % 2 ? a : b;
        const struct str w = str_from(words[i / 2]);

        v[n++] = narrow(s, w, STR(""));
        v[n++] = narrow(s, STR(""), w);
        for (unsigned j = 0; j < WORDS; j++)
            v[n++] = narrow(s, w, str_from(words[j]));
    }
    assert_int_equal(n, sizeof(v) / sizeof(v[0]));
    all_differ(v, n);
}

/* The other one's scope itself, as text, does not lead into it either. */
static void a_scope_as_salt_leads_nowhere(void **state)
{
    const struct scope a = of(CONF_SCOPE_KEY, STR("key_a"), STR(""));
    const struct scope b = of(CONF_SCOPE_KEY, STR("key_b"), STR(""));
    const struct str text = str_of(a.b, SCOPE_BYTES);
    const struct scope v[] = {a, b, narrow(b, text, STR("")),
                              narrow(b, STR(""), text), narrow(b, text, text)};

    (void)state;
    all_differ(v, sizeof(v) / sizeof(v[0]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_are_apart_by_default),
        cmocka_unit_test(a_team_shares_and_its_keys_do_not_leave_it),
        cmocka_unit_test(no_name_is_taken_for_another_kind),
        cmocka_unit_test(long_names_are_not_cut),
        cmocka_unit_test(shared_is_for_all),
        cmocka_unit_test(another_secret_gives_other_scopes),
        cmocka_unit_test(salt_and_key_narrow_each_and_together),
        cmocka_unit_test(narrowing_in_place_is_the_same),
        cmocka_unit_test(what_another_says_reaches_nothing_of_it),
        cmocka_unit_test(a_scope_as_salt_leads_nowhere),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
