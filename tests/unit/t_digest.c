/* t_digest.c - Digests against published vectors; random text. */
#include "base/digest.h"
#include "base/thr.h"

#include "unit/cmocka_all.h"

/* FIPS 180-4 examples. */
static const struct {
    const char *in, *want;
} sha[] = {
    {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
    {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
    {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
     "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
};

static void check(struct digest d, const char *want)
{
    char hex[DIGEST_HEX_SIZE];

    digest_hex(d.b, sizeof(d.b), hex);
    assert_string_equal(hex, want);
}

static void sha256_matches_vectors(void **state)
{
    struct digest_ctx *c = digest_new();

    (void)state;
    assert_non_null(c);
    for (size_t i = 0; i < COUNT_OF(sha); i++) {
        size_t len = strlen(sha[i].in);

        check(digest_sha256(sha[i].in, len), sha[i].want);
        for (size_t k = 0; k < len; k++)
            digest_update(c, sha[i].in + k, 1);
        check(digest_final(c), sha[i].want);
    }
    for (int i = 0; i < 10000; i++)
        digest_update(c,
                      "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
                      "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
                      100);
    check(digest_final(c),
          "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
    digest_free(c);
    digest_free(NULL);
}

static void contexts_do_not_mix(void **state)
{
    struct digest_ctx *c = digest_new();

    (void)state;
    digest_update(c, "ab", 2);
    check(digest_sha256("abc", 3), sha[1].want);
    digest_update(c, "c", 1);
    check(digest_final(c), sha[1].want);
    digest_free(c);
}

/* RFC 4231, cases 1, 2 and 6. */
static void hmac_matches_vectors(void **state)
{
    char key[131];

    (void)state;
    memset(key, 0x0b, 20);
    check(digest_hmac(str_of(key, 20), STR("Hi There")),
          "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
    check(digest_hmac(STR("Jefe"), STR("what do ya want for nothing?")),
          "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    memset(key, 0xaa, 131);
    check(digest_hmac(
              str_of(key, 131),
              STR("Test Using Larger Than Block-Size Key - Hash Key First")),
          "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
    /* The empty key must not be taken for "the key of the time before". */
    check(digest_hmac(str_of(NULL, 0), str_of(NULL, 0)),
          "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad");
}

static void in_thread(void *arg)
{
    struct digest d = digest_sha256("abc", 3);

    *(bool *)arg = digest_eq(d.b, digest_sha256(sha[1].in, strlen(sha[1].in)).b,
                             sizeof(d.b));
}

static void threads_have_their_own(void **state)
{
    struct thr t[4];
    bool ok[4] = {false};

    (void)state;
    for (int i = 0; i < 4; i++)
        assert_int_equal(thr_start(&t[i], "digest", in_thread, &ok[i]), ERR_OK);
    for (int i = 0; i < 4; i++) {
        thr_join(&t[i]);
        assert_true(ok[i]);
    }
}

static void compares_every_byte(void **state)
{
    char a[40] = {0}, b[40] = {0};

    (void)state;
    assert_true(digest_eq(a, b, sizeof(a)));
    for (size_t i = 0; i < sizeof(a); i++) {
        b[i] = 1;
        assert_false(digest_eq(a, b, sizeof(a)));
        b[i] = 0;
    }
    b[39] = 1;
    assert_true(digest_eq(a, b, 39));
    memset(a, 'x', sizeof(a));
    digest_wipe(a, sizeof(a));
    assert_int_equal(a[0], 0);
    assert_int_equal(a[39], 0);
}

static void hex_round_trips(void **state)
{
    uint8_t in[256], out[256];
    char hex[513];
    const char *bad[] = {"0", "0g", "g0", "0 ", "\xc3\xa9", "00000/", ":0"};

    (void)state;
    for (size_t i = 0; i < sizeof(in); i++)
        in[i] = (uint8_t)i;
    digest_hex(in, sizeof(in), hex);
    assert_int_equal(digest_unhex(str_from(hex), out), ERR_OK);
    assert_memory_equal(in, out, sizeof(in));
    assert_int_equal(digest_unhex(STR("aAfF"), out), ERR_OK);
    assert_memory_equal(out, "\xaa\xff", 2);
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        out[0] = 7;
        assert_int_equal(digest_unhex(str_from(bad[i]), out), ERR_SYNTAX);
        assert_int_equal(out[0], 7);
    }
}

/* With 62000 draws each character comes 1000 times on average; 6 standard
 * deviations are about 190. */
static void base62_is_evenly_spread(void **state)
{
    static char out[62001];
    unsigned count[256] = {0};
    unsigned kinds = 0;

    (void)state;
    digest_base62(out, sizeof(out) - 1);
    assert_int_equal(strlen(out), sizeof(out) - 1);
    for (size_t i = 0; i + 1 < sizeof(out); i++)
        count[(uint8_t)out[i]]++;
    for (int c = 0; c < 256; c++) {
        if (count[c] == 0)
            continue;
        kinds++;
        assert_in_range(count[c], 810, 1190);
    }
    assert_int_equal(kinds, 62);
    digest_base62(out, 0);
    assert_string_equal(out, "");
}

static void random_fills_all_of_a_large_block(void **state)
{
    static uint8_t out[(2 << 20) + 100];
    size_t zeros = 0;

    (void)state;
    digest_random(out, sizeof(out));
    for (size_t i = sizeof(out) - 100; i < sizeof(out); i++)
        zeros += out[i] == 0;
    assert_true(zeros < 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sha256_matches_vectors),
        cmocka_unit_test(contexts_do_not_mix),
        cmocka_unit_test(hmac_matches_vectors),
        cmocka_unit_test(threads_have_their_own),
        cmocka_unit_test(compares_every_byte),
        cmocka_unit_test(hex_round_trips),
        cmocka_unit_test(base62_is_evenly_spread),
        cmocka_unit_test(random_fills_all_of_a_large_block),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
