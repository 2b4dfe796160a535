/* t_reqkey.c - Which requests are the same: who asks, where it goes, how it is
 * sent, and which have no key. The fields of bodies are in t_reqkey_fields.c.
 */
#include "unit/reqkey_kit.h"

#define CHAT(members)                                                          \
    ((struct asked){.body = "{\"model\":\"m\",\"messages\":[]" members "}"})

static void numbers_keep_their_meaning(void **state)
{
    (void)state;
    SAME(CHAT(",\"temperature\":0.7"), CHAT(",\"temperature\":7e-1"));
    SAME(CHAT(",\"temperature\":0"), CHAT(",\"temperature\":-0.0e7"));
    SAME(CHAT(",\"n\":1"), CHAT(",\"n\":1.0"));
    OTHER(CHAT(",\"temperature\":0.7"),
          CHAT(",\"temperature\":0.70000000000000001"));
    OTHER(CHAT(",\"seed\":9007199254740993"),
          CHAT(",\"seed\":9007199254740992"));
    OTHER(CHAT(",\"n\":1"), CHAT(",\"n\":\"1\""));
    OTHER(CHAT(",\"stop\":[\"a\",\"b\"]"), CHAT(",\"stop\":[\"b\",\"a\"]"));
    OTHER(CHAT(",\"stop\":\"a\""), CHAT(",\"stop\":[\"a\"]"));
    OTHER(CHAT(",\"top_p\":null"), CHAT(""));
}

/* ---- who, where, how ----------------------------------------------------- */

static struct asked by(const char *key_id, const char *team,
                       enum conf_scope scope)
{
    struct asked a = CHAT(",\"seed\":1");

    a.key_id = key_id;
    a.team = team;
    a.scope = scope;
    return a;
}

static void tenants_are_apart(void **state)
{
    (void)state;
    SAME(by("k1", "t", CONF_SCOPE_KEY), by("k1", "u", CONF_SCOPE_KEY));
    OTHER(by("k1", "t", CONF_SCOPE_KEY), by("k2", "t", CONF_SCOPE_KEY));
    SAME(by("k1", "t", CONF_SCOPE_TEAM), by("k2", "t", CONF_SCOPE_TEAM));
    OTHER(by("k1", "t", CONF_SCOPE_TEAM), by("k1", "u", CONF_SCOPE_TEAM));
    OTHER(by("k1", "", CONF_SCOPE_TEAM), by("k2", "", CONF_SCOPE_TEAM));
    OTHER(by("k1", "", CONF_SCOPE_TEAM), by("k2", "k1", CONF_SCOPE_TEAM));
    SAME(by("k1", "t", CONF_SCOPE_SHARED), by("k2", "u", CONF_SCOPE_SHARED));
    OTHER(by("k1", "t", CONF_SCOPE_SHARED), by("k1", "t", CONF_SCOPE_KEY));
    OTHER(by("", "", CONF_SCOPE_SHARED), by("", "", CONF_SCOPE_KEY));
    SAME(by("", "", CONF_SCOPE_KEY), by("", "", CONF_SCOPE_TEAM));
}

static void servers_are_apart(void **state)
{
    struct asked a = CHAT(""), b = CHAT("");

    (void)state;
    b.secret = "a secret of that server";
    OTHER(a, b);
}

static struct asked with(const char *fields)
{
    struct asked a = CHAT("");

    a.fields = fields;
    return a;
}

static void header_fields_count_that_mean_something(void **state)
{
    static const char *const means[] = {
        "anthropic-version: 2023-06-01\r\n",
        "anthropic-version: 2026-10-21\r\n",
        "anthropic-version:\r\n",
        "anthropic-beta: a\r\n",
        "anthropic-beta: a,b\r\n",
        "anthropic-beta: b,a\r\n",
        "anthropic-beta: a\r\nanthropic-beta: b\r\n",
        "OpenAI-Beta: assistants=v2\r\n",
        "openai-organization: o\r\n",
        "openai-organization: p\r\n",
        "openai-project: o\r\n",
        "openai-version: 2020-10-01\r\n",
        "extra-parameters: pass-through\r\n",
        "azureml-model-deployment: d\r\n",
        "x-vendor-beta: 1\r\n",
    };
    static const char *const says_nothing[] = {
        "Idempotency-Key: 1\r\n",
        "Accept: text/event-stream\r\nAccept-Encoding: br\r\n",
        "X-Stainless-Retry-Count: 1\r\nx-stainless-package-version: 9\r\n",
        "User-Agent: a\r\nx-request-id: 5\r\ntraceparent: 00-1\r\n",
        "Cache-Control: max-age=1\r\nPragma: x\r\n",
        "Authorization: Bearer x\r\nx-api-key: y\r\nCookie: z\r\n",
        "anthropic-dangerous-direct-browser-access: true\r\n",
        "Content-Type: application/json\r\nX-Session-Id: s\r\n",
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(means); i++) {
        OTHER(with(means[i]), with(""));
        for (size_t k = 0; k < i; k++)
            OTHER(with(means[i]), with(means[k]));
    }
    for (size_t i = 0; i < COUNT_OF(says_nothing); i++)
        SAME(with(says_nothing[i]), with(""));
    SAME(with("Anthropic-Beta:  a \r\nOPENAI-PROJECT: p\r\n"),
         with("openai-project: p\r\nanthropic-beta: a\r\n"));
    OTHER(with("anthropic-beta: A\r\n"), with("anthropic-beta: a\r\n"));
    OTHER(with("openai-beta: a\r\nopenai-project: b\r\n"),
          with("openai-beta: b\r\nopenai-project: a\r\n"));
}

static struct asked at(const char *target)
{
    struct asked a = CHAT(",\"input\":1,\"prompt\":2");

    a.target = target;
    return a;
}

static void operations_are_apart(void **state)
{
    static const char *const all[] = {
        "/v1/chat/completions",
        "/v1/completions",
        "/v1/embeddings",
        "/v1/responses",
        "/v1/responses/input_tokens",
        "/v1/messages",
        "/v1/messages/count_tokens",
        "/v1/moderations",
        "/v1/rerank",
        "/v1/score",
        "/v1/classify",
        "/v1/pooling",
        "/v1/tokenize",
        "/v1/detokenize",
        "/v1/messages?beta=true",
        "/v1/chat/completions?api-version=1",
        "/openai/deployments/m/chat/completions?api-version=1",
        "/openai/deployments/m/chat/completions?api-version=2",
        "/openai/deployments/n/chat/completions?api-version=2",
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(all); i++)
        for (size_t k = 0; k < i; k++)
            OTHER(at(all[i]), at(all[k]));
    SAME(at("/v1/chat/completions"), at("/chat/completions"));
    SAME(at("/v1/chat/completions"), at("/v1/v1/chat/completions/"));
}

#define UP(more)                                                               \
    "upstreams: [{name: up, base_url: \"http://h:9/v1\"" more                  \
    "}, {name: two, base_url: \"http://i/v1\"}]\n"
#define ROUTE(more) "routes: [{model: m, targets: [{upstream: " more "]}]\n"

static struct asked under(const char *conf)
{
    struct asked a = CHAT("");

    a.conf = conf;
    return a;
}

static void where_it_goes_counts(void **state)
{
    static const char *const all[] = {
        UP("") ROUTE("up}"),
        UP("") ROUTE("two}"),
        UP("") ROUTE("up, model: x}"),
        UP("") ROUTE("up}, {upstream: two}"),
        UP("") "routes: [{model: \"*\", targets: [{upstream: up}]}]\n",
        UP(", dialect: anthropic") ROUTE("up}"),
        UP(", headers: {X-A: b}") ROUTE("up}"),
        UP(", headers: {X-A: c}") ROUTE("up}"),
        "upstreams: [{name: up, base_url: \"http://h:8/v1\"}]\n" ROUTE("up}"),
        "upstreams: [{name: up, base_url: \"http://h:9/v2\"}]\n" ROUTE("up}"),
        UP("") "routes: [{model: m, targets: [{upstream: up}], "
               "fallbacks: [f]}, {model: f, targets: [{upstream: two}]}]\n",
        UP("") "routes: [{model: m, targets: [{upstream: up}], "
               "fallbacks: [f]}, {model: f, targets: [{upstream: up}]}]\n",
        UP(""),
        UP(", headers: {X-A: c}"),
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(all); i++)
        for (size_t k = 0; k < i; k++)
            OTHER(under(all[i]), under(all[k]));
    SAME(under(UP("") ROUTE("up}")), under(UP(", api_key: k") ROUTE("up}")));
    SAME(under(UP("") ROUTE("up}")),
         under(UP(", timeouts: {idle: 1s}") ROUTE("up, weight: 2}")));
}

static void how_it_is_sent_is_apart(void **state)
{
    (void)state;
    MODES(CHAT(",\"stream\":true"), CHAT(""));
    SAME(CHAT(",\"stream\":false"), CHAT(""));
    SAME(CHAT(",\"stream\":null,\"stream_options\":null"), CHAT(""));
    SAME(CHAT(",\"stream\":true,\"stream_options\":{}"),
         CHAT(",\"stream\":true"));
    SAME(CHAT(",\"stream\":true,\"stream_options\":{\"include_usage\":false}"),
         CHAT(",\"stream\":true"));
    MODES(CHAT(",\"stream\":true,\"stream_options\":{\"include_usage\":true}"),
          CHAT(",\"stream\":true"));
    MODES(CHAT(",\"stream\":true,\"stream_options\":{\"include_obfuscation\":"
               "false}"),
          CHAT(",\"stream\":true"));
    SAME(CHAT(",\"stream\":true,\"stream_options\":{\"a\":1,\"b\":2}"),
         CHAT(",\"stream\":true,\"stream_options\":{\"b\":2.0, \"a\":1}"));
    MODES(CHAT(",\"stream\":true,\"tools\":[{\"name\":\"f\","
               "\"eager_input_streaming\":true}]"),
          CHAT(",\"tools\":[{\"name\":\"f\"}]"));
    MODES(
        CHAT(",\"tools\":[{\"name\":\"f\",\"eager_input_streaming\":true}]"),
        CHAT(",\"tools\":[{\"name\":\"f\",\"eager_input_streaming\":false}]"));
    assert_true(key_of(CHAT(",\"stream\":true")).streams);
    assert_false(key_of(CHAT(",\"stream\":false")).streams);
}

static void the_table_can_be_changed(void **state)
{
    static const char *const none[] = {NULL};
    static const char *const own[] = {"top_p", "messages[].name", NULL};
    struct asked a = CHAT(",\"user\":\"a\""), b = CHAT(",\"user\":\"b\"");

    (void)state;
    SAME(a, b);
    a.ignore = b.ignore = none;
    OTHER(a, b);
    a = CHAT(",\"top_p\":1");
    b = CHAT("");
    a.ignore = b.ignore = own;
    SAME(a, b);
    a.ignore = b.ignore = none;
    OTHER(a, b);
    MODES(a, ((struct asked){.body = "{\"model\":\"m\",\"messages\":[],"
                                     "\"top_p\":1,\"stream\":true}",
                             .ignore = none}));
}

#define SYSTEM(text)                                                           \
    ((struct asked){.target = "/v1/messages",                                  \
                    .body = "{\"model\":\"m\",\"system\":[" text               \
                            "{\"type\":\"text\",\"text\":\"kind\"}]}"})
#define BLOCK(text) "{\"type\":\"text\",\"text\":\"" text "\"},"

static void billing_lines_say_nothing(void **state)
{
    (void)state;
    SAME(SYSTEM(BLOCK("x-anthropic-billing-header: cc_version=2; cch=a1;")),
         SYSTEM(BLOCK("x-anthropic-billing-header: cc_version=3; cch=b2;")));
    SAME(SYSTEM(BLOCK("x-anthropic-billing-header: cch=1")), SYSTEM(""));
    OTHER(SYSTEM(BLOCK("x-anthropic-billing-header: a\\nBe rude.")),
          SYSTEM(""));
    OTHER(SYSTEM(BLOCK("see x-anthropic-billing-header: a")), SYSTEM(""));
    OTHER(SYSTEM(BLOCK("kind")), SYSTEM(""));
}

static void determinism_is_seen(void **state)
{
    static const char *const yes[] = {",\"temperature\":0",
                                      ",\"temperature\":0.0",
                                      ",\"temperature\":0e5",
                                      ",\"temperature\":-0",
                                      ",\"seed\":0",
                                      ",\"seed\":7,\"temperature\":1",
                                      ",\"temp\\u0065rature\":0"};
    static const char *const no[] = {"",
                                     ",\"temperature\":1",
                                     ",\"temperature\":0.01",
                                     ",\"temperature\":1e-30",
                                     ",\"temperature\":null",
                                     ",\"temperature\":\"0\"",
                                     ",\"temperature\":[0]",
                                     ",\"seed\":null",
                                     ",\"top_p\":0",
                                     ",\"metadata\":{\"seed\":1}"};
    struct asked a = {.target = "/v1/embeddings",
                      .body = "{\"model\":\"m\",\"input\":\"i\"}"};
    char body[128];

    (void)state;
    assert_true(key_of(a).deterministic);
    for (size_t i = 0; i < COUNT_OF(yes) + COUNT_OF(no); i++) {
        const bool want = i < COUNT_OF(yes);

        snprintf(body, sizeof(body), "{\"model\":\"m\"%s}",
                 want ? yes[i] : no[i - COUNT_OF(yes)]);
        if (key_of((struct asked){.body = body}).deterministic != want)
            fail_msg("%s", body);
    }
}

static void some_have_none(void **state)
{
    static const struct asked all[] = {
        {.body = "{\"model\":\"m\",\"a\":{\"b\":1,\"b\":2}}"},
        {.body = "{\"model\":\"m\",\"model\":\"m\"}"},
        {.body = "{\"model\":\"m\"}", .fields = "Range: bytes=0-1\r\n"},
        {.body = "{\"model\":\"m\"}", .unread = true},
        {.body = "[]"},
        {.body = "{\"model\":"},
        {.body = "{\"model\":\"m\",\"background\":true}",
         .target = "/v1/responses"},
        {.body = "{\"model\":\"m\",\"background\":1}",
         .target = "/v1/responses"},
        {.body = "{\"model\":\"m\",\"conversation\":\"conv_1\"}",
         .target = "/v1/responses"},
        {.body = "{\"model\":\"m\",\"conversation\":{\"id\":\"conv_1\"}}",
         .target = "/v1/responses"},
        {.body = "{\"model\":\"m\"}", .target = "/v1/responses/compact"},
        {.body = "{\"model\":\"m\"}", .target = "/v1/images/generations"},
        {.body = "{\"model\":\"m\"}", .target = "/v1/audio/speech"},
        {.body = "{\"model\":\"m\"}", .target = "/v1/audio/transcriptions"},
        {.body = "{\"model\":\"m\"}", .target = "/v1/videos"},
        {.body = "{\"model\":\"m\"}", .target = "/v1/files"},
        {.body = "{\"model\":\"m\"}", .target = "/v1/batches"},
        {.body = "{\"model\":\"m\"}", .target = "/v1/messages/batches"},
        {.body = "{\"model\":\"m\"}", .target = "/v1/models", .method = "GET"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(all); i++) {
        struct reqkey key;

        if (try_key(&all[i], &key) != ERR_NOT_FOUND)
            fail_msg("%zu: %s has a key", i, all[i].body);
    }
    key_of((struct asked){.body = "{\"model\":\"m\",\"background\":false}",
                          .target = "/v1/responses"});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_keep_their_meaning),
        cmocka_unit_test(tenants_are_apart),
        cmocka_unit_test(servers_are_apart),
        cmocka_unit_test(header_fields_count_that_mean_something),
        cmocka_unit_test(operations_are_apart),
        cmocka_unit_test(where_it_goes_counts),
        cmocka_unit_test(how_it_is_sent_is_apart),
        cmocka_unit_test(the_table_can_be_changed),
        cmocka_unit_test(billing_lines_say_nothing),
        cmocka_unit_test(determinism_is_seen),
        cmocka_unit_test(some_have_none),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
