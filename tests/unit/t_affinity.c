/* t_affinity.c - Which prompts have one key: those that begin alike, in every
 * dialect, and a conversation as it goes on. */
#include "serve/affinity.h"

#include "serve/pick.h"
#include "unit/cmocka_all.h"
#include "wire/jscan.h"

#include <stdio.h>
#include <string.h>

/* Copies of W are longer than what is looked at. */
#define W8(c)   c c c c c c c c
#define W512(c) W8(W8(W8(c)))

static bool find_key(const char *json, const char *model, uint64_t *key_out)
{
    struct jscan s;

    assert_int_equal(jscan_run(&s, str_from(json), &jscan_request, NULL),
                     ERR_OK);
    return affinity_key(&s, str_from(model), key_out);
}

static uint64_t key_of(const char *json)
{
    uint64_t key = 0;

    assert_true(find_key(json, "m", &key));
    return key;
}

#define U(text)   "{\"role\":\"user\",\"content\":\"" text "\"}"
#define A(text)   "{\"role\":\"assistant\",\"content\":\"" text "\"}"
#define S(text)   "{\"role\":\"system\",\"content\":\"" text "\"}"
#define CHAT(...) "{\"model\":\"m\",\"messages\":[" __VA_ARGS__ "]}"

static void a_conversation_keeps_its_key(void **state)
{
    static const char *const turns[][3] = {
        {CHAT(U("hi")), CHAT(U("hi") "," A("ho") "," U("more")),
         CHAT(U("hi") "," A(W512("x")) "," U("more") "," A("y") "," U("z"))},
        {CHAT(S("be brief") "," U("hi")),
         CHAT(S("be brief") "," U("hi") "," A("ho") "," U("more")),
         CHAT(S("be brief") "," U("hi") "," A(W512("x")) "," U("more"))},
        {CHAT(S(W512("s")) "," U("hi")),
         CHAT(S(W512("s")) "," U("hi") "," A("ho") "," U("more")),
         CHAT(S(W512("s")) "," U("another question"))},
        {"{\"input\":[" U("hi") "],\"instructions\":\"brief\"}",
         "{\"instructions\":\"brief\",\"input\":[" U("hi") "," A("x") "]}",
         "{\"instructions\":\"brief\",\"input\":[" U("hi") "," A("y") "," U(
             "z") "]}"},
        {"{\"system\":\"brief\",\"messages\":[" U("hi") "]}",
         "{\"messages\":[" U("hi") "," A("ho") "],\"system\":\"brief\"}",
         "{\"system\":\"brief\",\"messages\":[" U("hi") "," A("x") "," U(
             "y") "]}"},
        {"{\"prompt\":\"" W512("p") "\"}", "{\"prompt\":\"" W512("p") "q\"}",
         "{\"prompt\":\"" W512("p") W512("q") "\"}"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(turns) / sizeof(turns[0]); i++)
        for (size_t k = 1; k < 3; k++)
            assert_int_equal(key_of(turns[i][0]), key_of(turns[i][k]));
}

static void what_begins_otherwise_has_another_key(void **state)
{
    static const char *const asks[] = {
        CHAT(U("hi")),
        CHAT(U("ho")),
        CHAT(S("be brief") "," U("hi")),
        CHAT(S("be brief") "," U("ho")),
        CHAT(S("be long") "," U("hi")),
        CHAT(S(W512("s")) "," U("hi")),
        CHAT(S("t" W512("s")) "," U("hi")),
        CHAT(A("hi") "," U("hi")),
        CHAT(A("ho") "," U("hi")),
        "{\"messages\":[" U("hi") "],\"system\":\"brief\"}",
        "{\"messages\":[" U("hi") "],\"system\":\"long\"}",
        "{\"messages\":[" U("hi") "],\"system\":[{\"text\":\"long\"}]}",
        "{\"input\":\"hi\"}",
        "{\"input\":\"ho\"}",
        "{\"input\":[\"hi\",\"ho\"]}",
        "{\"input\":[\"hi\",\"hi\"]}",
        "{\"input\":[1,2,3]}",
        "{\"input\":[1,2,4]}",
        "{\"prompt\":{\"id\":\"a\"}}",
        "{\"prompt\":{\"id\":\"b\"}}",
    };
    const size_t n = sizeof(asks) / sizeof(asks[0]);

    (void)state;
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < i; k++)
            assert_int_not_equal(key_of(asks[i]), key_of(asks[k]));
}

static void models_share_nothing(void **state)
{
    uint64_t a = 0, b = 0, again = 0;

    (void)state;
    assert_true(find_key(CHAT(U("hi")), "a", &a));
    assert_true(find_key(CHAT(U("hi")), "b", &b));
    assert_true(find_key(CHAT(U("hi")), "a", &again));
    assert_int_not_equal(a, b);
    assert_int_equal(a, again);
}

static void without_a_prompt_there_is_no_key(void **state)
{
    static const char *const asks[] = {
        "{}",
        "{\"model\":\"m\"}",
        "{\"messages\":null}",
        "{\"messages\":[]}",
        "{\"messages\":7}",
        "{\"prompt\":\"\"}",
        "{\"system\":\"brief\"}",
        "[]",
        "7",
    };
    uint64_t key = 7;

    (void)state;
    for (size_t i = 0; i < sizeof(asks) / sizeof(asks[0]); i++)
        assert_false(find_key(asks[i], "m", &key));
    assert_false(affinity_key(NULL, STR("m"), &key));
    assert_int_equal(key, 7);
}

/* Wherever the first message of the user ends, around the bounds. */
static void the_bounds_are_no_trap(void **state)
{
    char one[2048], two[4096];

    (void)state;
    for (int n = 180; n < 600; n++) {
        snprintf(one, sizeof(one), CHAT(U("%0*d")), n, 0);
        snprintf(two, sizeof(two), CHAT(U("%0*d") "," A("a") "," U("b")), n, 0);
        assert_int_equal(key_of(one), key_of(two));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_conversation_keeps_its_key),
        cmocka_unit_test(what_begins_otherwise_has_another_key),
        cmocka_unit_test(models_share_nothing),
        cmocka_unit_test(without_a_prompt_there_is_no_key),
        cmocka_unit_test(the_bounds_are_no_trap),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
