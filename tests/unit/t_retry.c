/* t_retry.c - What each end of an attempt means, row by row: for the request,
 * and for who was asked. */
#include "serve/retry.h"

#include "unit/cmocka_all.h"

#define SAME     RETRY_MOVE_SAME
#define KEY      RETRY_MOVE_KEY
#define TARGET   RETRY_MOVE_TARGET
#define FALLBACK RETRY_MOVE_FALLBACK
#define ELSE     (TARGET | FALLBACK)

struct judged {
    const char *what;
    struct retry_end end;
    enum retry_kind kind;
    unsigned moves;
    enum breaker_word word;
    bool doubtful;
    enum retry_rest rest;
    uint64_t rest_ms;
};

static void judge_all(const struct judged *rows, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const struct judged *r = &rows[i];
        const struct retry_verdict v = retry_judge(&r->end);

        if (v.kind != r->kind || v.moves != r->moves || v.word != r->word ||
            v.doubtful != r->doubtful || v.rest != r->rest ||
            v.rest_ms != r->rest_ms || v.trip != (v.kind == RETRY_KIND_CERT))
            fail_msg("%s: %s, moves %u, word %d, doubtful %d, rest %d for %llu",
                     r->what, retry_kind_name(v.kind), v.moves, v.word,
                     v.doubtful, v.rest, (unsigned long long)v.rest_ms);
    }
}

static const struct judged ends[] = {
    {"refused",
     {.err = ERR_UP_UNAVAILABLE},
     RETRY_KIND_UNREACHED,
     SAME | ELSE,
     BREAKER_BAD,
     false,
     0,
     0},
    {"connect timeout",
     {.err = ERR_UP_TIMEOUT},
     RETRY_KIND_UNREACHED,
     SAME | ELSE,
     BREAKER_BAD,
     false,
     0,
     0},
    {"a dead connection, nothing sent",
     {.err = ERR_UP_RESET},
     RETRY_KIND_UNREACHED,
     SAME | ELSE,
     BREAKER_BAD,
     false,
     0,
     0},
    {"certificate",
     {.err = ERR_UP_TLS, .own_key = true},
     RETRY_KIND_CERT,
     ELSE,
     BREAKER_BAD,
     false,
     0,
     0},
    {"TLS that breaks later",
     {.err = ERR_UP_TLS, .sent = true},
     RETRY_KIND_BROKEN,
     SAME | ELSE,
     BREAKER_BAD,
     true,
     0,
     0},
    {"reset",
     {.err = ERR_UP_RESET, .sent = true},
     RETRY_KIND_BROKEN,
     SAME | ELSE,
     BREAKER_BAD,
     true,
     0,
     0},
    {"no answer",
     {.err = ERR_UP_TIMEOUT, .sent = true},
     RETRY_KIND_BROKEN,
     SAME | ELSE,
     BREAKER_BAD,
     true,
     0,
     0},
    {"bad body",
     {.err = ERR_UP_BAD, .sent = true, .status = 200},
     RETRY_KIND_BROKEN,
     SAME | ELSE,
     BREAKER_BAD,
     true,
     0,
     0},
    {"cut short",
     {.err = ERR_UP_INCOMPLETE, .sent = true, .status = 200},
     RETRY_KIND_BROKEN,
     SAME | ELSE,
     BREAKER_BAD,
     true,
     0,
     0},
    {"a GET that was reset",
     {.err = ERR_UP_RESET, .sent = true, .idempotent = true},
     RETRY_KIND_BROKEN,
     SAME | ELSE,
     BREAKER_BAD,
     false,
     0,
     0},
    {"broken after the first byte",
     {.err = ERR_UP_INCOMPLETE, .sent = true, .told = true},
     RETRY_KIND_BROKEN,
     0,
     BREAKER_BAD,
     true,
     0,
     0},
    {"refused, but the body is gone",
     {.err = ERR_UP_UNAVAILABLE, .body_gone = true},
     RETRY_KIND_UNREACHED,
     0,
     BREAKER_BAD,
     false,
     0,
     0},
    {"our key",
     {.err = ERR_UP_AUTH, .status = 401, .own_key = true},
     RETRY_KIND_KEY,
     KEY | ELSE,
     BREAKER_ALIVE,
     false,
     RETRY_REST_KEY,
     60000},
    {"max_in_flight",
     {.err = ERR_OVERLOADED},
     RETRY_KIND_FULL,
     ELSE,
     BREAKER_SILENT,
     false,
     0,
     0},
    {"an engine model that is down",
     {.err = ERR_MODEL_DOWN},
     RETRY_KIND_FULL,
     ELSE,
     BREAKER_SILENT,
     false,
     0,
     0},
    {"too long for the engine",
     {.err = ERR_CONTEXT_LENGTH},
     RETRY_KIND_CONTEXT,
     FALLBACK,
     BREAKER_ALIVE,
     false,
     0,
     0},
    {"a bad parameter",
     {.err = ERR_BAD_PARAM},
     RETRY_KIND_CALLER,
     0,
     BREAKER_ALIVE,
     false,
     0,
     0},
    {"client gone",
     {.err = ERR_CLIENT_GONE, .sent = true},
     RETRY_KIND_OURS,
     0,
     BREAKER_SILENT,
     false,
     0,
     0},
    {"drain",
     {.err = ERR_DRAINING, .sent = true},
     RETRY_KIND_OURS,
     0,
     BREAKER_SILENT,
     false,
     0,
     0},
    {"budget",
     {.err = ERR_QUOTA},
     RETRY_KIND_OURS,
     0,
     BREAKER_SILENT,
     false,
     0,
     0},
    {"budget cut",
     {.err = ERR_BUDGET_CUT, .sent = true},
     RETRY_KIND_OURS,
     0,
     BREAKER_SILENT,
     false,
     0,
     0},
    {"no memory",
     {.err = ERR_NOMEM},
     RETRY_KIND_OURS,
     0,
     BREAKER_SILENT,
     false,
     0,
     0},
    {"ledger",
     {.err = ERR_LEDGER},
     RETRY_KIND_OURS,
     0,
     BREAKER_SILENT,
     false,
     0,
     0},
};

static void ends_without_a_reply(void **state)
{
    (void)state;
    judge_all(ends, COUNT_OF(ends));
}

static void replies_by_their_status(void **state)
{
    static const struct {
        int status;
        bool own_key;
        enum retry_kind kind;
    } rows[] = {
        {200, true, RETRY_KIND_DONE},    {204, true, RETRY_KIND_DONE},
        {301, true, RETRY_KIND_DONE},    {400, true, RETRY_KIND_CALLER},
        {404, true, RETRY_KIND_CALLER},  {405, true, RETRY_KIND_CALLER},
        {409, true, RETRY_KIND_CALLER},  {413, true, RETRY_KIND_CALLER},
        {415, true, RETRY_KIND_CALLER},  {422, true, RETRY_KIND_CALLER},
        {451, true, RETRY_KIND_CALLER},  {499, true, RETRY_KIND_CALLER},
        {401, true, RETRY_KIND_KEY},     {403, true, RETRY_KIND_KEY},
        {401, false, RETRY_KIND_CALLER}, {403, false, RETRY_KIND_CALLER},
        {402, true, RETRY_KIND_SPENT},   {402, false, RETRY_KIND_CALLER},
        {408, true, RETRY_KIND_FAILED},  {425, true, RETRY_KIND_BUSY},
        {429, true, RETRY_KIND_LIMIT},   {429, false, RETRY_KIND_LIMIT},
        {500, true, RETRY_KIND_FAILED},  {502, true, RETRY_KIND_FAILED},
        {504, true, RETRY_KIND_FAILED},  {520, true, RETRY_KIND_FAILED},
        {501, true, RETRY_KIND_CALLER},  {505, true, RETRY_KIND_CALLER},
        {503, true, RETRY_KIND_BUSY},    {529, true, RETRY_KIND_BUSY},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        const struct retry_end end = {
            .status = rows[i].status, .sent = true, .own_key = rows[i].own_key};
        const struct retry_verdict v = retry_judge(&end);

        if (v.kind != rows[i].kind)
            fail_msg("%d: %s", rows[i].status, retry_kind_name(v.kind));
        /* A caller's own mistake counts for nothing. */
        if (v.kind == RETRY_KIND_CALLER) {
            assert_int_equal(v.word, BREAKER_ALIVE);
            assert_int_equal(v.moves, 0);
        }
    }
}

static const struct judged telling[] = {
    {"429",
     {.status = 429, .own_key = true},
     RETRY_KIND_LIMIT,
     SAME | KEY | ELSE,
     BREAKER_ALIVE,
     false,
     RETRY_REST_KEY,
     1000},
    {"429 with a delay",
     {.status = 429, .own_key = true, .delay = {DELAY_RETRY_AFTER, 7000}},
     RETRY_KIND_LIMIT,
     SAME | KEY | ELSE,
     BREAKER_ALIVE,
     false,
     RETRY_REST_KEY,
     7000},
    {"429 with a reset",
     {.status = 429, .own_key = true, .delay = {DELAY_RESET, 360000}},
     RETRY_KIND_LIMIT,
     SAME | KEY | ELSE,
     BREAKER_ALIVE,
     false,
     RETRY_REST_KEY,
     360000},
    {"429: at once",
     {.status = 429, .own_key = true, .delay = {DELAY_RETRY_AFTER, 0}},
     RETRY_KIND_LIMIT,
     SAME | KEY | ELSE,
     BREAKER_ALIVE,
     false,
     0,
     0},
    {"429 without a key of ours",
     {.status = 429, .delay = {DELAY_RETRY_AFTER, 7000}},
     RETRY_KIND_LIMIT,
     SAME | KEY | ELSE,
     BREAKER_ALIVE,
     false,
     RETRY_REST_TARGET,
     7000},
    {"spend cap",
     {.status = 429, .own_key = true, .code = STR("insufficient_quota")},
     RETRY_KIND_SPENT,
     KEY | ELSE,
     BREAKER_ALIVE,
     false,
     RETRY_REST_KEY,
     900000},
    {"spend cap in the type",
     {.status = 429, .own_key = true, .type = STR("insufficient_quota")},
     RETRY_KIND_SPENT,
     KEY | ELSE,
     BREAKER_ALIVE,
     false,
     RETRY_REST_KEY,
     900000},
    {"another spend cap",
     {.status = 429,
      .own_key = true,
      .code = STR("enforced_spend_limit_reached"),
      .delay = {DELAY_RETRY_AFTER, 5000}},
     RETRY_KIND_SPENT,
     KEY | ELSE,
     BREAKER_ALIVE,
     false,
     RETRY_REST_KEY,
     5000},
    {"no credit",
     {.status = 400,
      .own_key = true,
      .type = STR("invalid_request_error"),
      .message = STR("Your credit balance is too low to access the API.")},
     RETRY_KIND_SPENT,
     KEY | ELSE,
     BREAKER_ALIVE,
     false,
     RETRY_REST_KEY,
     900000},
    {"no credit of the client's own key",
     {.status = 429, .code = STR("insufficient_quota")},
     RETRY_KIND_LIMIT,
     SAME | KEY | ELSE,
     BREAKER_ALIVE,
     false,
     RETRY_REST_TARGET,
     1000},
    {"too long",
     {.status = 400, .own_key = true, .code = STR("context_length_exceeded")},
     RETRY_KIND_CONTEXT,
     FALLBACK,
     BREAKER_ALIVE,
     false,
     0,
     0},
    {"too long, in Anthropic's words",
     {.status = 400,
      .type = STR("invalid_request_error"),
      .message = STR("Prompt is too long: 208310 tokens > 200000 maximum")},
     RETRY_KIND_CONTEXT,
     FALLBACK,
     BREAKER_ALIVE,
     false,
     0,
     0},
    {"too long, in vLLM's words",
     {.status = 400,
      .code = STR("400"),
      .message = STR("This model's maximum context length is 8192 tokens")},
     RETRY_KIND_CONTEXT,
     FALLBACK,
     BREAKER_ALIVE,
     false,
     0,
     0},
    {"content",
     {.status = 400, .own_key = true, .code = STR("content_filter")},
     RETRY_KIND_FILTER,
     FALLBACK,
     BREAKER_ALIVE,
     false,
     0,
     0},
    {"content with 403 is not about the key",
     {.status = 403, .own_key = true, .code = STR("content_policy_violation")},
     RETRY_KIND_FILTER,
     FALLBACK,
     BREAKER_ALIVE,
     false,
     0,
     0},
    {"500",
     {.status = 500, .sent = true},
     RETRY_KIND_FAILED,
     SAME | ELSE,
     BREAKER_BAD,
     true,
     0,
     0},
    {"500 of a GET",
     {.status = 500, .sent = true, .idempotent = true},
     RETRY_KIND_FAILED,
     SAME | ELSE,
     BREAKER_BAD,
     false,
     0,
     0},
    {"503",
     {.status = 503, .sent = true, .own_key = true},
     RETRY_KIND_BUSY,
     SAME | ELSE,
     BREAKER_BAD,
     false,
     0,
     0},
    {"503 with a delay",
     {.status = 503,
      .sent = true,
      .own_key = true,
      .delay = {DELAY_RETRY_AFTER, 3000}},
     RETRY_KIND_BUSY,
     SAME | ELSE,
     BREAKER_BAD,
     false,
     RETRY_REST_TARGET,
     3000},
    {"503, do not retry",
     {.status = 503, .hint = RETRY_NO},
     RETRY_KIND_BUSY,
     ELSE,
     BREAKER_BAD,
     false,
     0,
     0},
    {"409, retry",
     {.status = 409, .hint = RETRY_YES},
     RETRY_KIND_FAILED,
     SAME | ELSE,
     BREAKER_BAD,
     true,
     0,
     0},
    {"503 that was told",
     {.status = 503, .told = true},
     RETRY_KIND_BUSY,
     0,
     BREAKER_BAD,
     false,
     0,
     0},
    {"words of a good reply mean nothing",
     {.status = 200, .message = STR("prompt is too long")},
     RETRY_KIND_DONE,
     0,
     BREAKER_GOOD,
     false,
     0,
     0},
};

static void replies_that_say_more(void **state)
{
    (void)state;
    judge_all(telling, COUNT_OF(telling));
}

static void only_the_beginning_of_a_message_is_read(void **state)
{
    char text[2000];
    struct retry_end end = {.status = 400,
                            .message = str_of(text, sizeof(text))};

    (void)state;
    memset(text, ' ', sizeof(text));
    memcpy(text + 400, "prompt is too long", 18);
    assert_int_equal(retry_judge(&end).kind, RETRY_KIND_CONTEXT);
    memset(text, ' ', sizeof(text));
    memcpy(text + 1500, "prompt is too long", 18);
    assert_int_equal(retry_judge(&end).kind, RETRY_KIND_CALLER);
    end.message = STR("prompt is too lon");
    assert_int_equal(retry_judge(&end).kind, RETRY_KIND_CALLER);
}

static void errors_in_a_stream_have_a_status(void **state)
{
    (void)state;
    assert_int_equal(retry_status_of_error(STR("overloaded_error"), STR("")),
                     529);
    assert_int_equal(
        retry_status_of_error(STR("server_error"), STR("rate_limit_exceeded")),
        429);
    assert_int_equal(retry_status_of_error(STR("insufficient_quota"), STR("")),
                     429);
    assert_int_equal(
        retry_status_of_error(STR("invalid_request_error"), STR("")), 400);
    assert_int_equal(retry_status_of_error(STR(""), STR("502")), 502);
    assert_int_equal(retry_status_of_error(STR("timeout_error"), STR("399")),
                     504);
    assert_int_equal(retry_status_of_error(STR("api_error"), STR("")), 500);
    assert_int_equal(retry_status_of_error(STR(""), STR("")), 500);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ends_without_a_reply),
        cmocka_unit_test(replies_by_their_status),
        cmocka_unit_test(replies_that_say_more),
        cmocka_unit_test(only_the_beginning_of_a_message_is_read),
        cmocka_unit_test(errors_in_a_stream_have_a_status),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
