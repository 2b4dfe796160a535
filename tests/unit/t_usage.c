/* t_usage.c - Usage of each dialect, in disjoint classes; hostile numbers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "wire/usage.h"

/* The classes as text: "in r5 w5 w1 ain out reas aout". */
static const char *classes(const struct usage *u)
{
    static char text[256];

    snprintf(text, sizeof(text), "%lld %lld %lld %lld %lld %lld %lld %lld",
             (long long)u->input, (long long)u->cache_read,
             (long long)u->cache_write_5m, (long long)u->cache_write_1h,
             (long long)u->audio_in, (long long)u->output,
             (long long)u->reasoning, (long long)u->audio_out);
    return text;
}

/* One body and what it says. */
struct row {
    const char *name, *body, *classes;
    unsigned said;
    bool odd;
    const char *finish;
};

#define U(s) "{\"usage\":" s "}"

enum { IO = USAGE_INPUT | USAGE_OUTPUT };

static const struct row rows[] = {
    {"chat",
     "{\"object\":\"chat.completion\",\"choices\":[{\"finish_reason\":"
     "\"stop\"}],\"usage\":{\"prompt_tokens\":10,\"completion_tokens\":20,"
     "\"total_tokens\":30,\"prompt_tokens_details\":{\"cached_tokens\":4,"
     "\"cache_write_tokens\":3,\"audio_tokens\":1},"
     "\"completion_tokens_details\":{\"reasoning_tokens\":5,"
     "\"audio_tokens\":2,\"accepted_prediction_tokens\":1}}}",
     "2 4 3 0 1 13 5 2",
     IO | USAGE_CACHE_READ | USAGE_CACHE_WRITE | USAGE_AUDIO_IN |
         USAGE_REASONING | USAGE_AUDIO_OUT,
     false, "stop"},
    {"second choice finished",
     "{\"choices\":[{\"finish_reason\":null},{\"finish_reason\":\"length\"}]}",
     "0 0 0 0 0 0 0 0", 0, false, "length"},
    {"embeddings", U("{\"prompt_tokens\":8,\"total_tokens\":8}"),
     "8 0 0 0 0 0 0 0", USAGE_INPUT, false, ""},
    {"explicit zeros", U("{\"prompt_tokens\":0,\"completion_tokens\":0}"),
     "0 0 0 0 0 0 0 0", IO, false, ""},
    {"only total", U("{\"total_tokens\":12}"), "12 0 0 0 0 0 0 0", USAGE_INPUT,
     false, ""},
    {"nulls in details",
     U("{\"prompt_tokens\":5,\"completion_tokens\":6,"
       "\"prompt_tokens_details\":null,\"completion_tokens_details\":"
       "{\"reasoning_tokens\":null}}"),
     "5 0 0 0 0 6 0 0", IO, false, ""},
    {"reasoning beside completion",
     U("{\"prompt_tokens\":10,\"completion_tokens\":2,\"total_tokens\":312,"
       "\"completion_tokens_details\":{\"reasoning_tokens\":300}}"),
     "10 0 0 0 0 2 300 0", IO | USAGE_REASONING, false, ""},
    {"reasoning only in the total",
     U("{\"prompt_tokens\":10,\"completion_tokens\":2,\"total_tokens\":50}"),
     "10 0 0 0 0 2 38 0", IO | USAGE_REASONING, false, ""},
    {"deepseek",
     U("{\"prompt_tokens\":10,\"completion_tokens\":2,"
       "\"prompt_cache_hit_tokens\":7,\"prompt_cache_miss_tokens\":3}"),
     "3 7 0 0 0 2 0 0", IO | USAGE_CACHE_READ, false, ""},
    {"moonshot",
     U("{\"prompt_tokens\":19,\"completion_tokens\":21,\"total_tokens\":40,"
       "\"cached_tokens\":10}"),
     "9 10 0 0 0 21 0 0", IO | USAGE_CACHE_READ, false, ""},
    {"responses",
     "{\"object\":\"response\",\"status\":\"completed\",\"usage\":"
     "{\"input_tokens\":36,\"input_tokens_details\":{\"cached_tokens\":6,"
     "\"cache_write_tokens\":10},\"output_tokens\":87,"
     "\"output_tokens_details\":{\"reasoning_tokens\":80},"
     "\"total_tokens\":123}}",
     "20 6 10 0 0 7 80 0",
     IO | USAGE_CACHE_READ | USAGE_CACHE_WRITE | USAGE_REASONING, false,
     "completed"},
    {"responses incomplete",
     "{\"object\":\"response\",\"status\":\"incomplete\","
     "\"incomplete_details\":{\"reason\":\"max_output_tokens\"}}",
     "0 0 0 0 0 0 0 0", 0, false, "max_output_tokens"},
    {"responses event",
     "{\"type\":\"response.completed\",\"response\":{\"status\":\"completed\","
     "\"usage\":{\"input_tokens\":3,\"output_tokens\":4}}}",
     "3 0 0 0 0 4 0 0", IO, false, "completed"},
    {"responses in progress",
     "{\"type\":\"response.created\",\"response\":{\"status\":"
     "\"in_progress\",\"usage\":null}}",
     "0 0 0 0 0 0 0 0", 0, false, ""},
    {"images",
     U("{\"input_tokens\":50,\"input_tokens_details\":{\"text_tokens\":10,"
       "\"image_tokens\":40},\"output_tokens\":1056,\"total_tokens\":1106}"),
     "50 0 0 0 0 1056 0 0", IO, false, ""},
    {"transcription tokens",
     U("{\"type\":\"tokens\",\"input_tokens\":14,\"input_token_details\":"
       "{\"text_tokens\":4,\"audio_tokens\":10},\"output_tokens\":45,"
       "\"total_tokens\":59}"),
     "4 0 0 0 10 45 0 0", IO | USAGE_AUDIO_IN, false, ""},
    {"transcription duration", U("{\"type\":\"duration\",\"seconds\":9.5}"),
     "0 0 0 0 0 0 0 0", USAGE_SECONDS, false, ""},
    {"rerank", "{\"results\":[],\"meta\":{\"tokens\":{\"input_tokens\":9}}}",
     "9 0 0 0 0 0 0 0", USAGE_INPUT, false, ""},
    {"count tokens", "{\"input_tokens\":2095}", "2095 0 0 0 0 0 0 0",
     USAGE_INPUT, false, ""},
    {"anthropic",
     "{\"type\":\"message\",\"stop_reason\":\"tool_use\",\"usage\":"
     "{\"input_tokens\":5,\"output_tokens\":6,"
     "\"cache_read_input_tokens\":100,\"cache_creation_input_tokens\":30,"
     "\"cache_creation\":{\"ephemeral_5m_input_tokens\":10,"
     "\"ephemeral_1h_input_tokens\":20}}}",
     "5 100 10 20 0 6 0 0", IO | USAGE_CACHE_READ | USAGE_CACHE_WRITE, false,
     "tool_use"},
    {"anthropic without classes",
     "{\"type\":\"message\",\"usage\":{\"input_tokens\":5,"
     "\"output_tokens\":6,\"cache_creation_input_tokens\":30,"
     "\"cache_read_input_tokens\":null}}",
     "5 0 30 0 0 6 0 0", IO | USAGE_CACHE_WRITE, false, ""},
    {"anthropic with a part of the classes",
     "{\"type\":\"message\",\"usage\":{\"input_tokens\":5,"
     "\"output_tokens\":6,\"cache_creation_input_tokens\":30,"
     "\"cache_creation\":{\"ephemeral_1h_input_tokens\":20}}}",
     "5 0 10 20 0 6 0 0", IO | USAGE_CACHE_WRITE, false, ""},
    {"anthropic names within openai's",
     U("{\"prompt_tokens\":100,\"completion_tokens\":1,"
       "\"cache_read_input_tokens\":60,\"cache_creation_input_tokens\":30}"),
     "10 60 30 0 0 1 0 0", IO | USAGE_CACHE_READ | USAGE_CACHE_WRITE, false,
     ""},
    {"anthropic names beside openai's",
     U("{\"prompt_tokens\":10,\"completion_tokens\":1,"
       "\"cache_read_input_tokens\":60,\"cache_creation_input_tokens\":30}"),
     "10 60 30 0 0 1 0 0", IO | USAGE_CACHE_READ | USAGE_CACHE_WRITE, false,
     ""},

    {"negative", U("{\"prompt_tokens\":-5,\"completion_tokens\":3}"),
     "0 0 0 0 0 3 0 0", USAGE_OUTPUT, true, ""},
    {"fraction", U("{\"prompt_tokens\":1.5,\"completion_tokens\":3.0}"),
     "0 0 0 0 0 3 0 0", USAGE_OUTPUT, true, ""},
    {"string", U("{\"prompt_tokens\":\"9\",\"completion_tokens\":3}"),
     "0 0 0 0 0 3 0 0", USAGE_OUTPUT, true, ""},
    {"2^63", U("{\"prompt_tokens\":9223372036854775808}"),
     "1099511627776 0 0 0 0 0 0 0", USAGE_INPUT, true, ""},
    {"2^63-1 everywhere",
     U("{\"prompt_tokens\":9223372036854775807,\"completion_tokens\":"
       "9223372036854775807,\"total_tokens\":1e400,"
       "\"prompt_tokens_details\":{\"cached_tokens\":9223372036854775807}}"),
     "0 1099511627776 0 0 0 1099511627776 0 0", IO | USAGE_CACHE_READ, true,
     ""},
    {"details above totals",
     U("{\"prompt_tokens\":10,\"completion_tokens\":5,"
       "\"prompt_tokens_details\":{\"cached_tokens\":99,\"audio_tokens\":9},"
       "\"completion_tokens_details\":{\"reasoning_tokens\":99,"
       "\"audio_tokens\":99}}"),
     "0 10 0 0 0 0 5 0",
     IO | USAGE_CACHE_READ | USAGE_AUDIO_IN | USAGE_REASONING | USAGE_AUDIO_OUT,
     true, ""},
    {"arrays and objects for numbers",
     U("{\"prompt_tokens\":[1],\"completion_tokens\":{\"a\":1}}"),
     "0 0 0 0 0 0 0 0", 0, true, ""},
    {"usage of other types", U("[1,2]"), "0 0 0 0 0 0 0 0", 0, false, ""},
    {"usage null", U("null"), "0 0 0 0 0 0 0 0", 0, false, ""},
    {"usage empty", U("{}"), "0 0 0 0 0 0 0 0", 0, false, ""},
    {"a message that tells a total alone",
     "{\"type\":\"message\",\"usage\":{\"total_tokens\":30}}",
     "0 0 0 0 0 0 0 0", 0, false, ""},
    {"not json", "{\"usage\":{\"prompt_tokens\":5}", "0 0 0 0 0 0 0 0", 0,
     false, ""},
    {"no object", "[]", "0 0 0 0 0 0 0 0", 0, false, ""},
    {"usage inside a string",
     "{\"choices\":[{\"message\":{\"content\":\"{\\\"usage\\\":"
     "{\\\"prompt_tokens\\\":5}}\"},\"finish_reason\":\"stop\"}]}",
     "0 0 0 0 0 0 0 0", 0, false, "stop"},
    {"finish reason of bad bytes",
     "{\"choices\":[{\"finish_reason\":\"a\\nb\xC3\xA9"
     "0123456789012345678901234567890\"}]}",
     "0 0 0 0 0 0 0 0", 0, false, "a\\nb??0123456789012345678901234"},
};

static void bodies_are_read(void **state)
{
    int wrong = 0;

    (void)state; /* cmocka's */
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const struct row *r = &rows[i];
        struct usage u;
        usage_from_body(&u, str_from(r->body));
        bool good = strcmp(classes(&u), r->classes) == 0 && u.said == r->said &&
                    u.odd == r->odd && u.present == (r->said != 0) &&
                    strcmp(u.finish, r->finish) == 0;
        if (!good) {
            print_error("%s: %s said %u odd %d finish %s\n", r->name,
                        classes(&u), u.said, u.odd, u.finish);
            wrong++;
        }
    }
    assert_int_equal(wrong, 0);
}

static void durations_are_read_as_milliseconds(void **state)
{
    static const struct {
        const char *seconds;
        int64_t ms;
        bool said;
    } times[] = {
        {"0", 0, true},
        {"9.5", 9500, true},
        {"0.0001", 1, true},
        {"1.2340", 1234, true},
        {"1.2341", 1235, true},
        {"-1", 0, false},
        {"1e3", 0, false},
        {"\"5\"", 0, false},
        {"99999999999999999999", INT64_C(1073741824000), true},
    };

    (void)state; /* cmocka's */
    for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
        char body[128];
        struct usage u;
        snprintf(body, sizeof(body), U("{\"seconds\":%s}"), times[i].seconds);
        usage_from_body(&u, str_from(body));
        assert_int_equal(u.duration_ms, times[i].ms);
        assert_int_equal(u.present, times[i].said);
    }
}

static void openai_events_replace(void **state)
{
    struct usage u = {0};

    (void)state; /* cmocka's */
    assert_true(usage_from_event(
        &u, STR("{\"choices\":[{\"finish_reason\":\"stop\"}],\"usage\":"
                "{\"prompt_tokens\":10,\"completion_tokens\":5,"
                "\"prompt_tokens_details\":{\"cached_tokens\":9}}}")));
    assert_false(usage_from_event(&u, STR("{\"choices\":[],\"usage\":null}")));
    assert_true(usage_from_event(
        &u, STR("{\"choices\":[],\"usage\":{\"prompt_tokens\":10,"
                "\"completion_tokens\":3}}")));
    assert_string_equal(classes(&u), "10 0 0 0 0 3 0 0");
    assert_string_equal(u.finish, "stop");
    assert_false(usage_from_event(&u, STR("[DONE]")));
    assert_true(u.present);
}

static void anthropic_events_grow(void **state)
{
    struct usage u = {0};

    (void)state; /* cmocka's */
    assert_true(usage_from_event(
        &u, STR("{\"type\":\"message_start\",\"message\":{\"usage\":"
                "{\"input_tokens\":25,\"cache_creation_input_tokens\":30,"
                "\"cache_creation\":{\"ephemeral_5m_input_tokens\":10,"
                "\"ephemeral_1h_input_tokens\":20},"
                "\"cache_read_input_tokens\":7,\"output_tokens\":1}}}")));
    assert_string_equal(classes(&u), "25 7 10 20 0 1 0 0");
    assert_true(usage_from_event(
        &u, STR("{\"type\":\"message_delta\",\"delta\":{\"stop_reason\":"
                "\"max_tokens\"},\"usage\":{\"output_tokens\":15}}")));
    assert_string_equal(classes(&u), "25 7 10 20 0 15 0 0");
    assert_true(usage_from_event(
        &u, STR("{\"type\":\"message_delta\",\"usage\":{\"input_tokens\":0,"
                "\"cache_creation_input_tokens\":30,"
                "\"cache_read_input_tokens\":7,\"output_tokens\":20}}")));
    assert_string_equal(classes(&u), "25 7 10 20 0 20 0 0");
    assert_string_equal(u.finish, "max_tokens");
    assert_int_equal(usage_input_total(&u), 62);
    assert_int_equal(usage_output_total(&u), 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bodies_are_read),
        cmocka_unit_test(durations_are_read_as_milliseconds),
        cmocka_unit_test(openai_events_replace),
        cmocka_unit_test(anthropic_events_grow),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
