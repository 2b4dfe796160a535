/* t_provider.c - Targets and fields of each dialect. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/buf.h"
#include "conf/conf.h"
#include "upstream/provider.h"
#include "upstream/upstream.h"
#include "wire/http1.h"

struct target_row {
    enum conf_dialect dialect;
    const char *path, *suffix, *query, *model, *want;
};

static const struct target_row targets[] = {
    {CONF_DIALECT_OPENAI, "/v1", "/chat/completions", "", "m",
     "/v1/chat/completions"},
    {CONF_DIALECT_OPENAI, "", "/chat/completions", "?a=b", "m",
     "/chat/completions?a=b"},
    {CONF_DIALECT_OPENAI, "/api/v1", "", "", "", "/api/v1"},
    {CONF_DIALECT_OPENAI, "", "", "", "", "/"},
    {CONF_DIALECT_OPENAI, "/v1", "/files/a%2Fb//c", "?x=?y&", "",
     "/v1/files/a%2Fb//c?x=?y&"},
    {CONF_DIALECT_ANTHROPIC, "", "/messages", "", "m", "/v1/messages"},
    {CONF_DIALECT_ANTHROPIC, "/v1", "/messages", "?beta=true", "m",
     "/v1/messages?beta=true"},
    {CONF_DIALECT_ANTHROPIC, "/proxy/v1", "/messages", "", "m",
     "/proxy/v1/messages"},
    {CONF_DIALECT_ANTHROPIC, "/proxy", "/messages", "", "m",
     "/proxy/v1/messages"},
    {CONF_DIALECT_ANTHROPIC, "/xv1", "/messages", "", "m", "/xv1/v1/messages"},
    {CONF_DIALECT_AZURE, "", "/chat/completions", "", "gpt-4o",
     "/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21"},
    {CONF_DIALECT_AZURE, "/openai", "/embeddings", "?a=1&api-version=old&b=2",
     "e m/b",
     "/openai/deployments/e%20m%2Fb/embeddings"
     "?a=1&api-version=old&b=2"},
    {CONF_DIALECT_AZURE, "", "/embeddings", "?a=b&api-version=2024-06-01&c=%2f",
     "m", "/openai/deployments/m/embeddings?a=b&api-version=2024-06-01&c=%2f"},
    {CONF_DIALECT_AZURE, "", "/files", "?&&a=%2f&&b", "",
     "/openai/files?&&a=%2f&&b&api-version=2024-10-21"},
    {CONF_DIALECT_AZURE, "", "/files", "?a&", "",
     "/openai/files?a&api-version=2024-10-21"},
    {CONF_DIALECT_AZURE, "", "/files", "?", "",
     "/openai/files?api-version=2024-10-21"},
    {CONF_DIALECT_AZURE, "", "/files", "?x=api-version&my-api-version=1", "",
     "/openai/files?x=api-version&my-api-version=1&api-version=2024-10-21"},
    {CONF_DIALECT_AZURE, "", "/files", "?api%2Dversion=1", "",
     "/openai/files?api%2Dversion=1"},
    {CONF_DIALECT_AZURE, "", "/files", "?api-version=", "",
     "/openai/files?api-version="},
    {CONF_DIALECT_AZURE, "", "/audio/speech", "?API-Version=1", "tts",
     "/openai/deployments/tts/audio/speech?API-Version=1"},
    {CONF_DIALECT_AZURE, "", "/files", "?purpose=x", "",
     "/openai/files?purpose=x&api-version=2024-10-21"},
    {CONF_DIALECT_AZURE, "", "/responses", "", "gpt-4o",
     "/openai/responses?api-version=2024-10-21"},
    {CONF_DIALECT_AZURE, "/openai/v1", "/responses", "", "gpt-4o",
     "/openai/v1/responses"},
    {CONF_DIALECT_AZURE, "/openai/v1", "/chat/completions",
     "?api-version=preview", "gpt-4o",
     "/openai/v1/chat/completions?api-version=preview"},
    {CONF_DIALECT_AZURE, "/openai/deployments/d", "/chat/completions", "",
     "gpt-4o", "/openai/deployments/d/chat/completions?api-version=2024-10-21"},
};

static void targets_of_all_dialects(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(targets) / sizeof(targets[0]); i++) {
        const struct target_row *r = &targets[i];
        struct arena *a = arena_new(4096, 65536);
        struct conf_upstream up = {.dialect = r->dialect,
                                   .url.path = str_from(r->path),
                                   .api_version = STR("2024-10-21")};
        struct xfer_spec spec = {.up = &up,
                                 .suffix = str_from(r->suffix),
                                 .query = str_from(r->query),
                                 .model = str_from(r->model)};
        struct str t = provider_target(a, &spec);

        if (!t.p || strcmp(t.p, r->want) != 0)
            fail_msg("row %zu: %s", i, t.p ? t.p : "(none)");
        assert_int_equal(t.len, strlen(t.p));
        arena_free(a);
    }
}

/* --- fields ------------------------------------------------------------- */

struct fixture {
    struct arena *arena;
    struct conf_upstream up;
    struct secret keys[2];
    struct conf_header headers[3];
    struct http1_header table[HTTP1_FIELDS];
    struct http1_head head;
    struct xfer_spec spec;
    struct buf text;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    f->arena = arena_new(4096, 1024 * 1024);
    f->keys[0].hidden_ = STR("k0");
    f->keys[1].hidden_ = STR("k1");
    f->up.keys = f->keys;
    f->up.n_keys = 2;
    f->up.headers = f->headers;
    f->spec.up = &f->up;
    f->spec.client_head = &f->head;
    buf_init(&f->text, 65536);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    buf_fini(&f->text);
    arena_free(f->arena);
    free(f);
    return 0;
}

static void client_sends(struct fixture *f, const char *start,
                         const char *lines)
{
    char *text = arena_printf(f->arena, "%s HTTP/1.1\r\nHost: t\r\n%s\r\n",
                              start, lines);

    assert_int_equal(
        http1_parse(str_from(text), f->table, HTTP1_FIELDS, &f->head), ERR_OK);
}

static const char *fields_text(struct fixture *f, bool upgrade)
{
    struct fields out = {.arena = f->arena};

    provider_fields(&out, &f->spec, upgrade);
    assert_false(out.failed);
    buf_clear(&f->text);
    for (const struct curl_slist *l = out.first; l; l = l->next)
        assert_int_equal(buf_printf(&f->text, "%s\n", l->data), ERR_OK);
    assert_int_equal(buf_put(&f->text, "", 1), ERR_OK);
    return f->text.p;
}

static void keys_by_dialect_and_index(void **state)
{
    struct fixture *f = *state;

    f->spec.client_head = NULL;
    assert_string_equal(fields_text(f, false),
                        "Authorization: Bearer k0\nAccept-Encoding: "
                        "identity\n");
    f->spec.key_index = 3;
    assert_string_equal(fields_text(f, false),
                        "Authorization: Bearer k1\nAccept-Encoding: "
                        "identity\n");
    f->up.dialect = CONF_DIALECT_AZURE;
    assert_string_equal(fields_text(f, false),
                        "api-key: k1\nAccept-Encoding: identity\n");
    f->up.dialect = CONF_DIALECT_ANTHROPIC;
    assert_string_equal(fields_text(f, false),
                        "x-api-key: k1\nanthropic-version: 2023-06-01\n"
                        "Accept-Encoding: identity\n");
    f->up.n_keys = 0;
    f->up.dialect = CONF_DIALECT_OPENAI;
    assert_string_equal(fields_text(f, false), "Accept-Encoding: identity\n");
}

static void clients_versions_cross_unchanged(void **state)
{
    struct fixture *f = *state;

    f->up.dialect = CONF_DIALECT_ANTHROPIC;
    client_sends(f, "POST /v1/messages",
                 "Anthropic-Version: 2024-99-99 \r\n"
                 "anthropic-beta: a,b\r\nanthropic-beta: c\r\n");
    assert_string_equal(fields_text(f, false),
                        "Anthropic-Version: 2024-99-99\n"
                        "anthropic-beta: a,b\nanthropic-beta: c\n"
                        "x-api-key: k0\nAccept-Encoding: identity\n");
}

static void secrets_and_connection_fields_stay(void **state)
{
    struct fixture *f = *state;

    client_sends(f, "POST /v1/x",
                 "AUTHORIZATION: Bearer c\r\nX-API-KEY: c\r\nAPI-Key: c\r\n"
                 "cookie: c\r\nCONNECTION: close, X-Named\r\n"
                 "x-named: 1\r\nKeep-Alive: 1\r\nTE: trailers\r\n"
                 "Proxy-Connection: x\r\nProxy-Authorization: c\r\n"
                 "Trailer: x\r\nUpgrade: h2c\r\nHTTP2-Settings: AAA\r\n"
                 "accept-encoding: zstd\r\nExpect: 100-continue\r\n"
                 "Content-Length: 0\r\nX-Stays: 1\r\nConnection: x-two\r\n"
                 "X-Two: 2\r\n");
    assert_string_equal(fields_text(f, false),
                        "X-Stays: 1\nAuthorization: Bearer k0\n"
                        "Accept-Encoding: identity\n");
}

static void configured_fields_win(void **state)
{
    struct fixture *f = *state;

    f->headers[0] = (struct conf_header){STR("X-Org"), {STR("ours"), {0}}};
    f->headers[1] =
        (struct conf_header){STR("authorization"), {STR("Basic x"), {0}}};
    f->headers[2] =
        (struct conf_header){STR("Accept-Encoding"), {STR("br"), {0}}};
    f->up.n_headers = 3;
    client_sends(f, "POST /v1/x", "x-org: theirs\r\nX-Other: 1\r\n");
    assert_string_equal(fields_text(f, false),
                        "X-Other: 1\nX-Org: ours\nauthorization: Basic x\n"
                        "Accept-Encoding: br\n");
}

static void handshake_fields_cross_with_upgrade(void **state)
{
    struct fixture *f = *state;

    client_sends(f, "GET /v1/realtime",
                 "Connection: Upgrade\r\nUpgrade: websocket\r\n"
                 "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: abc\r\n"
                 "Sec-WebSocket-Extensions: permessage-deflate\r\n"
                 "OpenAI-Beta: realtime=v1\r\nAuthorization: Bearer c\r\n");
    assert_string_equal(fields_text(f, true),
                        "Sec-WebSocket-Version: 13\nSec-WebSocket-Key: abc\n"
                        "Sec-WebSocket-Extensions: permessage-deflate\n"
                        "OpenAI-Beta: realtime=v1\n"
                        "Authorization: Bearer k0\nConnection: Upgrade\n"
                        "Upgrade: websocket\n");
}

static void small_arena_is_noticed(void **state)
{
    struct fixture *f = *state;
    struct arena *tiny = arena_new(64, 64);
    struct fields out = {.arena = tiny};

    client_sends(f, "POST /v1/x",
                 "A: 0123456789012345678901234567890123\r\n"
                 "B: 0123456789012345678901234567890123\r\n");
    provider_fields(&out, &f->spec, false);
    assert_true(out.failed);
    arena_free(tiny);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(targets_of_all_dialects),
        T(keys_by_dialect_and_index),
        T(clients_versions_cross_unchanged),
        T(secrets_and_connection_fields_stay),
        T(configured_fields_win),
        T(handshake_fields_cross_with_upgrade),
        T(small_arena_is_noticed),
    };
#undef T

    return cmocka_run_group_tests(tests, NULL, NULL);
}
