/* t_endpoint.c - Which method and path mean what, and what goes upstream. */
#include "wire/endpoint.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#define GET     HTTP1_GET
#define POST    HTTP1_POST
#define DEL     HTTP1_DELETE
#define P(kind) ENDPOINT_##kind

struct row {
    enum http1_method method;
    const char *path;
    enum endpoint kind;
    const char *suffix;
    const char *model; /* NULL: none */
};

static void check(const struct row *r)
{
    struct endpoint_match m = {0};
    enum err e = endpoint_lookup(r->method, str_from(r->path), &m);
    enum err want = r->kind == P(UNKNOWN) ? ERR_UNKNOWN_URL : ERR_OK;

    if (e != want || m.row->kind != r->kind)
        fail_msg("%d %s: %s, %s", (int)r->method, r->path, err_name(e),
                 m.row->name);
    if (!str_eq(m.suffix, str_from(r->suffix ? r->suffix : "")))
        fail_msg("%s: suffix %.*s", r->path, STR_ARG(m.suffix));
    if (!str_eq(m.model, str_from(r->model ? r->model : "")))
        fail_msg("%s: model %.*s", r->path, STR_ARG(m.model));
}

#define CHECK(rows)                                                            \
    for (size_t i = 0; i < sizeof(rows) / sizeof((rows)[0]); i++)              \
    check(&(rows)[i])

static void test_known_operations(void **state)
{
    static const struct row rows[] = {
        {POST, "/v1/chat/completions", P(CHAT), "/chat/completions", NULL},
        {POST, "/v1/completions", P(COMPLETIONS), "/completions", NULL},
        {POST, "/v1/embeddings", P(EMBEDDINGS), "/embeddings", NULL},
        {POST, "/v1/responses", P(RESPONSES), "/responses", NULL},
        {POST, "/v1/responses/compact", P(RESPONSES_COMPACT),
         "/responses/compact", NULL},
        {POST, "/v1/responses/input_tokens", P(RESPONSES_INPUT_TOKENS),
         "/responses/input_tokens", NULL},
        {POST, "/v1/messages", P(MESSAGES), "/messages", NULL},
        {POST, "/v1/messages/count_tokens", P(COUNT_TOKENS),
         "/messages/count_tokens", NULL},
        {POST, "/v1/moderations", P(MODERATIONS), "/moderations", NULL},
        {POST, "/v1/rerank", P(RERANK), "/rerank", NULL},
        {POST, "/v1/images/generations", P(IMAGE_GENERATIONS),
         "/images/generations", NULL},
        {POST, "/v1/images/edits", P(IMAGE_EDITS), "/images/edits", NULL},
        {POST, "/v1/images/variations", P(IMAGE_VARIATIONS),
         "/images/variations", NULL},
        {POST, "/v1/audio/speech", P(SPEECH), "/audio/speech", NULL},
        {POST, "/v1/audio/transcriptions", P(TRANSCRIPTIONS),
         "/audio/transcriptions", NULL},
        {POST, "/v1/audio/translations", P(TRANSLATIONS), "/audio/translations",
         NULL},
        {POST, "/v1/videos", P(VIDEOS), "/videos", NULL},
        {POST, "/v1/files", P(FILE_UPLOAD), "/files", NULL},
        {POST, "/tokenize", P(TOKENIZE), "/tokenize", NULL},
        {POST, "/detokenize", P(DETOKENIZE), "/detokenize", NULL},
        {GET, "/v1/models", P(MODELS), NULL, NULL},
        {HTTP1_HEAD, "/v1/models", P(MODELS), NULL, NULL},
        {GET, "/", P(ROOT), NULL, NULL},
        {HTTP1_HEAD, "/", P(ROOT), NULL, NULL},
        {GET, "/healthz", P(HEALTHZ), NULL, NULL},
        {GET, "/readyz", P(READYZ), NULL, NULL},
        {GET, "/health", P(HEALTH), NULL, NULL},
        {GET, "/health/liveliness", P(LIVELINESS), NULL, NULL},
        {GET, "/health/liveness", P(LIVELINESS), NULL, NULL},
        {GET, "/health/readiness", P(READINESS), NULL, NULL},
        {GET, "/metrics", P(METRICS), NULL, NULL},
        {HTTP1_OPTIONS, "*", P(OPTIONS), NULL, NULL},
        {HTTP1_OPTIONS, "/v1/chat/completions", P(OPTIONS), NULL, NULL},
    };

    (void)state;
    CHECK(rows);
}

static void test_prefixes(void **state)
{
    static const struct row rows[] = {
        {POST, "/chat/completions", P(CHAT), "/chat/completions", NULL},
        {POST, "/v1/v1/chat/completions", P(CHAT), "/chat/completions", NULL},
        {POST, "/openai/v1/chat/completions", P(CHAT), "/chat/completions",
         NULL},
        {POST, "/openai/responses", P(RESPONSES), "/responses", NULL},
        {POST, "/v1/v1/messages", P(MESSAGES), "/messages", NULL},
        {POST, "/messages", P(MESSAGES), "/messages", NULL},
        {GET, "/models", P(MODELS), NULL, NULL},
        {GET, "/openai/models", P(MODELS), NULL, NULL},
        {GET, "/openai/files/f-1", P(PASSTHROUGH), "/files/f-1", NULL},
        {GET, "/files/f-1/content", P(PASSTHROUGH), "/files/f-1/content", NULL},
        {GET, "/v1/v1/v1/x", P(PASSTHROUGH), "/v1/x", NULL},
        {GET, "/v1", P(UNKNOWN), NULL, NULL},
        {GET, "/v1/", P(UNKNOWN), NULL, NULL},
        {GET, "/openai", P(UNKNOWN), NULL, NULL},
        {GET, "/openai/v1", P(UNKNOWN), NULL, NULL},
        {POST, "/v2/chat/completions", P(UNKNOWN), NULL, NULL},
        {POST, "/v1x/chat/completions", P(UNKNOWN), NULL, NULL},
        {POST, "/x/v1/chat/completions", P(UNKNOWN), NULL, NULL},
    };

    (void)state;
    CHECK(rows);
}

static void test_slashes(void **state)
{
    static const struct row rows[] = {
        {POST, "//v1//chat///completions/", P(CHAT), "/chat/completions", NULL},
        {POST, "/v1/chat/completions/", P(CHAT), "/chat/completions", NULL},
        {GET, "//", P(ROOT), NULL, NULL},
        {GET, "/healthz/", P(HEALTHZ), NULL, NULL},
        {GET, "/v1//files//f-1/", P(PASSTHROUGH), "/files//f-1/", NULL},
        {GET, "/v1/models/", P(MODELS), NULL, NULL},
    };

    (void)state;
    CHECK(rows);
}

static void test_other_methods_pass_through(void **state)
{
    static const struct row rows[] = {
        {GET, "/v1/chat/completions", P(PASSTHROUGH), "/chat/completions",
         NULL},
        {DEL, "/v1/responses/resp_1", P(PASSTHROUGH), "/responses/resp_1",
         NULL},
        {POST, "/v1/responses/resp_1/cancel", P(PASSTHROUGH),
         "/responses/resp_1/cancel", NULL},
        {GET, "/v1/responses", P(PASSTHROUGH), "/responses", NULL},
        {GET, "/v1/files", P(PASSTHROUGH), "/files", NULL},
        {DEL, "/v1/models/ft:m", P(PASSTHROUGH), "/models/ft:m", "ft:m"},
        {HTTP1_OTHER, "/v1/responses", P(PASSTHROUGH), "/responses", NULL},
        {GET, "/v1/realtime", P(PASSTHROUGH), "/realtime", NULL},
        {GET, "/realtime", P(PASSTHROUGH), "/realtime", NULL},
        {POST, "/v1/webhook_endpoints", P(PASSTHROUGH), "/webhook_endpoints",
         NULL},
        {GET, "/v1/messages/batches/b", P(MESSAGES_PASS), "/messages/batches/b",
         NULL},
        {GET, "/v1/messages", P(MESSAGES_PASS), "/messages", NULL},
        {GET, "/v1/healthz", P(PASSTHROUGH), "/healthz", NULL},
        {GET, "/v1/metrics", P(PASSTHROUGH), "/metrics", NULL},
    };

    (void)state;
    CHECK(rows);
}

static void test_models_by_path(void **state)
{
    static const struct row rows[] = {
        {GET, "/v1/models/gpt-x", P(MODEL), NULL, "gpt-x"},
        {GET, "/v1/models/org%2Fmodel:free", P(MODEL), NULL,
         "org%2Fmodel:free"},
        {GET, "/v1/models/org/model", P(MODEL), NULL, "org/model"},
        {GET, "/v1//models//gpt-x/", P(MODEL), NULL, "gpt-x"},
        {GET, "/models/a;b", P(MODEL), NULL, "a;b"},
        {GET,
         "/v1/models/a-name-that-is-far-longer-than-what-the-table-of-routes-"
         "needs-to-hold-of-any-path",
         P(MODEL), NULL,
         "a-name-that-is-far-longer-than-what-the-table-of-routes-"
         "needs-to-hold-of-any-path"},
        {POST, "/openai/deployments/d1/chat/completions", P(CHAT),
         "/chat/completions", "d1"},
        {POST, "/openai/deployments/my%2Fd/embeddings", P(EMBEDDINGS),
         "/embeddings", "my%2Fd"},
        {POST, "/openai/deployments/d1/audio/transcriptions/",
         P(TRANSCRIPTIONS), "/audio/transcriptions", "d1"},
        {POST, "/openai/deployments/d1/x/y", P(PASSTHROUGH),
         "/deployments/d1/x/y", "d1"},
        {GET, "/openai/deployments/d1", P(PASSTHROUGH), "/deployments/d1",
         "d1"},
        {GET, "/openai/deployments", P(UNKNOWN), NULL, NULL},
        {POST, "/openai/deployments/d1/chat/../completions", P(UNKNOWN), NULL,
         NULL},
    };
    struct endpoint_match m;

    (void)state;
    CHECK(rows);
    assert_int_equal(
        endpoint_lookup(POST, STR("/openai/deployments/d/completions"), &m),
        ERR_OK);
    assert_true(m.azure);
    assert_int_equal(endpoint_lookup(POST, STR("/v1/completions"), &m), ERR_OK);
    assert_false(m.azure);
}

/* What an upstream might read as a metered operation is one here as well. */
static void test_disguised_operations(void **state)
{
    static const struct row rows[] = {
        {POST, "/v1/ch%61t/completions", P(CHAT), "/chat/completions", NULL},
        {POST, "/v1/chat%2Fcompletions", P(CHAT), "/chat/completions", NULL},
        {POST, "/v1/chat%2fcompletions", P(CHAT), "/chat/completions", NULL},
        {POST, "/v1/Chat/COMPLETIONS", P(CHAT), "/chat/completions", NULL},
        {POST, "/v1/chat;a=b/completions;c", P(CHAT), "/chat/completions",
         NULL},
        {POST, "/%76%31/chat/completions", P(CHAT), "/chat/completions", NULL},
        {POST, "/v1%2Fchat/completions", P(CHAT), "/chat/completions", NULL},
        {POST, "/v1/x/../chat/completions", P(UNKNOWN), NULL, NULL},
        {POST, "/v1/./chat/completions", P(UNKNOWN), NULL, NULL},
        {POST, "/v1/x/%2e%2E/chat/completions", P(UNKNOWN), NULL, NULL},
        {POST, "/v1/x/.%2e/chat/completions", P(UNKNOWN), NULL, NULL},
        {POST, "/v1/x%2F..%2Fchat/completions", P(UNKNOWN), NULL, NULL},
        {POST, "/v1/x/..;/chat/completions", P(UNKNOWN), NULL, NULL},
        {GET, "/v1/files/..", P(UNKNOWN), NULL, NULL},
        {GET, "/v1/files/.", P(UNKNOWN), NULL, NULL},
        {GET, "/..", P(UNKNOWN), NULL, NULL},
        {GET, "/v1/files/...", P(PASSTHROUGH), "/files/...", NULL},
        {GET, "/v1/files/a..b", P(PASSTHROUGH), "/files/a..b", NULL},
        {GET, "/v1/files/a%00b", P(UNKNOWN), NULL, NULL},
        {GET, "/v1/files/a%0d%0ab", P(UNKNOWN), NULL, NULL},
        {GET, "/v1/files/a%5cb", P(UNKNOWN), NULL, NULL},
        {GET, "/v1%2Ffiles/f", P(UNKNOWN), NULL, NULL},
        {GET, "/v1/files/100%", P(PASSTHROUGH), "/files/100%", NULL},
        {GET, "/v1/files/%zz", P(PASSTHROUGH), "/files/%zz", NULL},
    };

    (void)state;
    CHECK(rows);
}

static void test_unknown_urls(void **state)
{
    static const struct row rows[] = {
        {GET, "/favicon.ico", P(UNKNOWN), NULL, NULL},
        {GET, "/admin", P(UNKNOWN), NULL, NULL},
        {GET, "/health/x", P(UNKNOWN), NULL, NULL},
        {GET, "/filesystem", P(UNKNOWN), NULL, NULL},
        {GET, "*", P(UNKNOWN), NULL, NULL},
        {GET, "", P(UNKNOWN), NULL, NULL},
        {POST,
         "/chat/completions-and-then-some-more-text-than-the-table-holds-in"
         "-all-its-rows",
         P(PASSTHROUGH),
         "/chat/completions-and-then-some-more-text-than-the-table-holds-in"
         "-all-its-rows",
         NULL},
    };

    (void)state;
    CHECK(rows);
}

static void test_405_only_where_tollgate_answers(void **state)
{
    static const struct {
        enum http1_method method;
        const char *path, *allow;
    } rows[] = {
        {POST, "/v1/models", "GET, HEAD"},
        {POST, "/v1/models/x", "GET, HEAD, DELETE"},
        {POST, "/", "GET, HEAD"},
        {POST, "/healthz", "GET, HEAD"},
        {DEL, "/metrics", "GET, HEAD"},
        {HTTP1_OTHER, "/health/liveness", "GET, HEAD"},
        {GET, "/tokenize", "POST"},
        {GET, "/v1/detokenize", "POST"},
        {HTTP1_TRACE, "/v1/files",
         "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"},
    };
    struct endpoint_match m;

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_int_equal(
            endpoint_lookup(rows[i].method, str_from(rows[i].path), &m),
            ERR_METHOD);
        assert_string_equal(m.row->allow, rows[i].allow);
    }
}

static void test_table_is_whole(void **state)
{
    (void)state;
    for (int k = 0; k < ENDPOINT_COUNT; k++) {
        const struct endpoint_row *r = endpoint_row((enum endpoint)k);

        assert_int_equal(r->kind, k);
        assert_non_null(r->name);
        if (r->end != ENDPOINT_END_NONE)
            assert_true(r->flags & ENDPOINT_MAY_STREAM);
        if (!(r->flags & ENDPOINT_LOCAL) && k != ENDPOINT_UNKNOWN)
            assert_true(r->flags & ENDPOINT_NEEDS_KEY);
    }
    assert_int_equal(endpoint_row(ENDPOINT_MESSAGES)->shape,
                     ENDPOINT_SHAPE_ANTHROPIC);
    assert_int_equal(endpoint_row(ENDPOINT_MESSAGES_PASS)->shape,
                     ENDPOINT_SHAPE_ANTHROPIC);
    assert_int_equal(endpoint_row(ENDPOINT_CHAT)->shape, ENDPOINT_SHAPE_OPENAI);
}

static void test_decode(void **state)
{
    char to[8];
    struct str id = {NULL, 0};

    (void)state;
    assert_int_equal(endpoint_decode(STR("a%2Fb%3a"), to, sizeof(to), &id),
                     ERR_OK);
    assert_true(str_eq(id, STR("a/b:")));
    assert_int_equal(endpoint_decode(STR("12345678"), to, sizeof(to), &id),
                     ERR_OK);
    assert_int_equal(endpoint_decode(STR("123456789"), to, sizeof(to), &id),
                     ERR_RANGE);
    assert_int_equal(endpoint_decode(STR(""), to, sizeof(to), &id), ERR_SYNTAX);
    assert_int_equal(endpoint_decode(STR("a%"), to, sizeof(to), &id),
                     ERR_SYNTAX);
    assert_int_equal(endpoint_decode(STR("a%2"), to, sizeof(to), &id),
                     ERR_SYNTAX);
    assert_int_equal(endpoint_decode(STR("a%g1"), to, sizeof(to), &id),
                     ERR_SYNTAX);
    assert_int_equal(endpoint_decode(STR("a%00"), to, sizeof(to), &id),
                     ERR_SYNTAX);
    assert_int_equal(endpoint_decode(STR("%e9"), to, sizeof(to), &id), ERR_OK);
    assert_int_equal(id.len, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_operations),
        cmocka_unit_test(test_prefixes),
        cmocka_unit_test(test_slashes),
        cmocka_unit_test(test_other_methods_pass_through),
        cmocka_unit_test(test_models_by_path),
        cmocka_unit_test(test_disguised_operations),
        cmocka_unit_test(test_unknown_urls),
        cmocka_unit_test(test_405_only_where_tollgate_answers),
        cmocka_unit_test(test_table_is_whole),
        cmocka_unit_test(test_decode),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
