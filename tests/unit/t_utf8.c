/* t_utf8.c - UTF-8 against every code point and every short sequence. */
#include "base/utf8.h"

#include "unit/cmocka_all.h"

static void every_code_point_round_trips(void **state)
{
    char out[4];
    uint32_t got;

    (void)state;
    for (uint32_t cp = 0; cp < 0x110100; cp++) {
        size_t n = utf8_put(cp, out);

        if ((cp >= 0xd800 && cp < 0xe000) || cp > 0x10ffff) {
            assert_int_equal(n, 0);
            continue;
        }
        assert_int_equal(utf8_next(str_of(out, n), &got), n);
        assert_int_equal(got, cp);
        assert_true(utf8_is_valid(str_of(out, n)));
        assert_int_equal(utf8_whole_len(str_of(out, n)), n);
        for (size_t cut = 1; cut < n; cut++) {
            assert_int_equal(utf8_whole_len(str_of(out, cut)), 0);
            assert_int_equal(utf8_next(str_of(out, cut), &got), 0);
            assert_false(utf8_is_valid(str_of(out, cut)));
        }
    }
}

/* A two-, three- or four-byte sequence is valid if and only if it is what
 * utf8_put() writes for the number its bits make. */
static bool is_valid_by_definition(const uint8_t *b, size_t n)
{
    uint32_t cp = 0;
    char out[4];

    cp = b[0] & (n == 2 ? 0x1f : n == 3 ? 0x0f : 0x07);
    for (size_t i = 1; i < n; i++)
        cp = cp << 6 | (b[i] & 0x3f);
    return utf8_put(cp, out) == n && memcmp(out, b, n) == 0;
}

static void refuses_all_else(void **state)
{
    static const uint8_t second[] = {0x00, 0x7f, 0x80, 0x8f, 0x90,
                                     0x9f, 0xa0, 0xbf, 0xc0, 0xff};

    (void)state;
    for (unsigned lead = 0x80; lead < 0x100; lead++) {
        for (size_t i = 0; i < COUNT_OF(second); i++) {
            uint8_t b[4] = {(uint8_t)lead, second[i], 0x80, 0xbf};

            for (size_t n = 2; n <= 4; n++)
                assert_int_equal(utf8_is_valid(str_of(b, n)),
                                 is_valid_by_definition(b, n));
        }
        assert_false(utf8_is_valid(str_of(&(uint8_t){(uint8_t)lead}, 1)));
    }
}

static void finds_the_first_bad_byte(void **state)
{
    char s[64];

    (void)state;
    for (size_t at = 0; at < sizeof(s); at++) {
        memset(s, 'a', sizeof(s));
        s[at] = (char)0xff;
        assert_int_equal(utf8_valid_len(str_of(s, sizeof(s))), at);
    }
    assert_int_equal(utf8_valid_len(STR("a\xc3\xa9\xe2\x82")), 3);
    assert_int_equal(utf8_valid_len(STR("")), 0);
    assert_true(utf8_is_valid(STR("")));
}

static void cuts_between_characters(void **state)
{
    static const struct {
        const char *in;
        size_t want;
    } t[] = {
        {"", 0},
        {"abc", 3},
        {"ab\xc3", 2},
        {"ab\xc3\xa9", 4},
        {"ab\xe2\x82", 2},
        {"ab\xf0\x9f\x98", 2},
        {"ab\xf0\x9f\x98\x80", 6},
        /* Not the start of anything: waiting would not help. */
        {"ab\xff", 3},
        {"ab\x80", 3},
        {"\x80\x80\x80\x80", 4},
        {"ab\xe0\x80", 4},
        {"ab\xc3\xa9\xa9", 5},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(t); i++)
        assert_int_equal(utf8_whole_len(str_from(t[i].in)), t[i].want);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_code_point_round_trips),
        cmocka_unit_test(refuses_all_else),
        cmocka_unit_test(finds_the_first_bad_byte),
        cmocka_unit_test(cuts_between_characters),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
