/* t_query.c - Models that a query names, held against a key's list. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "account/key.h"
#include "prompt/query.h"

struct row {
    const char *query;
    enum query_models want;
};

static const struct row rows[] = {
    {"", QUERY_NONE},
    {"?", QUERY_NONE},
    {"?&&=&", QUERY_NONE},
    {"?api-version=2024-10-01", QUERY_NONE},
    {"?models=secret", QUERY_NONE},
    {"?model=demo", QUERY_ALLOWED},
    {"?model=rt-1", QUERY_ALLOWED},
    {"?a=b&model=demo&c=d", QUERY_ALLOWED},
    {"?deployment=demo", QUERY_ALLOWED},
    {"?model=%64emo", QUERY_ALLOWED},
    {"?model=secret", QUERY_REFUSED},
    {"?MODEL=secret", QUERY_REFUSED},
    {"?mo%64el=secret", QUERY_REFUSED},
    {"?%6d%6F%64%65%6c=secret", QUERY_REFUSED},
    {"?Deployment=secret", QUERY_REFUSED},
    {"?model=demo&model=secret", QUERY_REFUSED},
    {"?model=secret&model=demo", QUERY_REFUSED},
    {"?model=demo&deployment=secret", QUERY_REFUSED},
    {"?model", QUERY_REFUSED},
    {"?model=", QUERY_REFUSED},
    {"?model=demo%00", QUERY_REFUSED},
    {"?model=demo%2", QUERY_REFUSED},
    {"?model=Demo", QUERY_REFUSED},
};

static void each_model_must_be_allowed(void **state)
{
    const struct str globs[] = {STR("demo"), STR("rt-*")};
    const struct key key = {.spec = {.models = globs, .n_models = 2}};

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        enum query_models got = query_judge(str_from(rows[i].query), &key);

        if (got != rows[i].want)
            fail_msg("%s: %d, not %d", rows[i].query, got, rows[i].want);
    }
}

static void a_long_name_is_refused(void **state)
{
    const struct str globs[] = {STR("*a")};
    const struct key key = {.spec = {.models = globs, .n_models = 1}};
    char query[600] = "?model=";

    (void)state;
    memset(query + 7, 'a', 256);
    assert_int_equal(query_judge(str_from(query), &key), QUERY_ALLOWED);
    memset(query + 7, 'a', 257);
    assert_int_equal(query_judge(str_from(query), &key), QUERY_REFUSED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_model_must_be_allowed),
        cmocka_unit_test(a_long_name_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
