/* t_bound_parts.c - Pictures, sounds, files, and what stands for something
 * that is elsewhere. */
#include "unit/bound_kit.h"

/* ---- media ------------------------------------------------------------- */

#define USER(part) "{\"messages\":[{\"role\":\"user\",\"content\":[" part "]}]}"

/* Parts that are pictures, sounds or files, however they say so. */
static void media_is_seen(void **state)
{
    static const struct {
        const char *body;
        unsigned media;
    } rows[] = {
        {USER("{\"type\":\"text\",\"text\":\"image_url\"}"), 0},
        {USER("{\"type\":\"image_url\",\"image_url\":{\"url\":\"x\"}}"), 1},
        {USER("{\"type\":\"image_url\",\"image_url\":\"x\"}"), 1},
        {USER("{\"type\":\"text\",\"type\":\"image_url\",\"image_url\":\"x\"}"),
         1},
        {USER("{\"type\":\"image_url\",\"type\":\"text\",\"image_url\":\"x\"}"),
         1},
        {USER("{\"type\":\"text\",\"image_url\":\"x\"}"), 1},
        {USER("{\"image_url\":\"x\"}"), 1},
        {USER("{\"image\\u005furl\":\"x\"}"), 1},
        {USER("{\"IMAGE_URL\":\"x\"}"), 1},
        {USER("{\"image_url\":\"x\",\"image_url\":\"y\"}"), 2},
        {USER("{\"image_url\":[\"x\",\"y\",\"z\"]}"), 3},
        {USER("{\"\\u0074ype\":\"im\\u0061ge_url\"}"), 1},
        {USER("{\"type\":\"image_url\"}"), 1},
        {USER("{\"image_url\":null}"), 0},
        {USER("{\"type\":\"file\",\"file\":{\"file_data\":\"x\"}}"), 1},
        {USER("{\"type\":\"input_audio\",\"input_audio\":{\"data\":\"x\"}}"),
         1},
        {USER("{\"type\":\"video_url\",\"video_url\":{\"url\":\"x\"}}"), 1},
        {USER("{\"type\":\"image\",\"source\":{\"type\":\"base64\"}}"), 1},
        {USER("[{\"type\":\"image_url\"}],{\"type\":\"image_url\"}"), 2},
        {"{\"messages\":[{\"role\":\"user\",\"content\":{\"type\":"
         "\"image_url\"}}]}",
         1},
        {"{\"messages\":[{\"content\":\"a\",\"content\":[{\"type\":"
         "\"image_url\"}],\"content\":\"b\"}]}",
         1},
        {"{\"messages\":[{\"role\":\"user\",\"content\":\"a\",\"images\":["
         "\"x\",\"y\"]}]}",
         2},
        {"{\"messages\":{\"role\":\"user\",\"content\":[{\"type\":\"image\"}]}"
         "}",
         1},
    };
    struct rig r;

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        rig_init(&r, ENDPOINT_CHAT);
        if (rows[i].media > 0)
            assert_int_equal(rig_ask(&r, rows[i].body), ERR_BAD_PARAM);
        r.rules.media_tok = 100000;
        if (rig_ask(&r, rows[i].body) != ERR_OK)
            fail_msg("%s: %s", rows[i].body, r.no.text);
        if (r.bound.media != rows[i].media)
            fail_msg("%s: %u", rows[i].body, r.bound.media);
        assert_true(r.bound.input_tok >= rows[i].media * UINT64_C(100000));
        assert_true(r.bound.input_tok < rows[i].media * UINT64_C(100000) + 600);
    }
}

static void parts_from_elsewhere_are_refused(void **state)
{
    static const char *const bodies[] = {
        USER("{\"type\":\"file\",\"file\":{\"file_id\":\"file-1\"}}"),
        USER("{\"type\":\"file\",\"file\":{\"FILE_ID\":\"file-1\"}}"),
        USER("{\"type\":\"input_image\",\"file_id\":\"file-1\"}"),
        USER("{\"type\":\"hologram\"}"),
        USER("{\"type\":\"text\",\"type\":\"hologram\"}"),
        USER("{\"type\":5}"),
        USER("{\"type\":\"\"}"),
        USER("{\"type\":\"text\\u0000\"}"),
        "{\"messages\":[{\"role\":\"assistant\",\"audio\":{\"id\":\"a\"}}]}",
    };
    struct rig r;

    (void)state;
    for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
        rig_init(&r, ENDPOINT_CHAT);
        r.rules.media_tok = 1000;
        if (rig_ask(&r, bodies[i]) != ERR_BAD_PARAM)
            fail_msg("%s", bodies[i]);
        assert_string_equal(r.no.param, "messages[0]");
    }
}

/* The input of a chat whose only part is <head>, many letters, <tail>. */
static uint64_t input_with(const char *head, const char *tail)
{
    enum { LETTERS = 100000 };
    static char body[LETTERS + 1024];
    struct rig r;
    int n = snprintf(body, sizeof(body),
                     "{\"messages\":[{\"role\":\"user\",\"content\":[%s", head);

    memset(body + n, 'A', LETTERS);
    (void)snprintf(body + n + LETTERS, sizeof(body) - LETTERS - (size_t)n,
                   "%s]}]}", tail);
    rig_init(&r, ENDPOINT_CHAT);
    r.rules.media_tok = 1000;
    assert_int_equal(rig_ask(&r, body), ERR_OK);
    assert_int_equal(r.bound.media, 1);
    return r.bound.input_tok;
}

/* What is a picture's is no text; all else is. */
static void data_is_no_text(void **state)
{
    (void)state;
    assert_in_range(input_with("{\"type\":\"image_url\",\"image_url\":{"
                               "\"url\":\"",
                               "\"}}"),
                    1000, 2000);
    assert_in_range(
        input_with("{\"type\":\"input_file\",\"file_data\":\"", "\"}"), 1000,
        2000);
    /* the same bytes in what is text as well */
    assert_true(input_with("{\"type\":\"image_url\",\"type\":\"text\","
                           "\"image_url\":{\"url\":\"",
                           "\"}}") > 100000);
    /* beside the data */
    assert_true(input_with("{\"type\":\"file\",\"file\":{\"file_data\":"
                           "\"x\",\"filename\":\"",
                           "\"}}") > 100000);
    /* in a source that may be text */
    assert_true(input_with("{\"type\":\"document\",\"source\":{\"type\":"
                           "\"text\",\"type\":\"base64\",\"data\":\"",
                           "\"}}") > 100000);
}

static void depth_has_an_end(void **state)
{
    static const char open[] = "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
                      close[] = "]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]";
    char body[256];
    struct rig r;

    (void)state;
    for (int depth = 1; depth <= 40; depth++) {
        (void)snprintf(body, sizeof(body), "{\"messages\":%.*s%.*s}", depth,
                       open, depth, close);
        rig_init(&r, ENDPOINT_CHAT);
        assert_int_equal(rig_ask(&r, body),
                         depth <= 16 ? ERR_OK : ERR_BAD_PARAM);
    }
}

static void sound_has_its_own_kinds(void **state)
{
    struct rig r;

    (void)state;
    rig_init(&r, ENDPOINT_CHAT);
    r.rules.media_tok = 1000;
    assert_int_equal(rig_ask(&r, USER("{\"type\":\"input_audio\"}")), ERR_OK);
    assert_int_equal(r.bound.kinds,
                     PRICE_KINDS_TEXT | PRICE_KIND(ROW_TOK_AUDIO_IN));
    assert_int_equal(rig_ask(&r, "{\"modalities\":[\"audio\"]}"), ERR_OK);
    assert_int_equal(r.bound.kinds,
                     PRICE_KINDS_TEXT | PRICE_KIND(ROW_TOK_AUDIO_OUT));
}

static void cache_writes_are_seen(void **state)
{
    static const struct {
        enum endpoint kind;
        const char *body;
        unsigned priced, kinds;
    } rows[] = {
        {ENDPOINT_MESSAGES, "{\"system\":\"a cache_control\"}", 0, 0},
        {ENDPOINT_MESSAGES, "{\"messages\":[{\"cache_control\":{}}]}", 0,
         PRICE_KIND(ROW_TOK_CACHE_WRITE_5M)},
        {ENDPOINT_MESSAGES,
         "{\"messages\":[{\"cache_control\":{\"ttl\":\"1h\"}}]}", 0,
         PRICE_KINDS_CACHE_WRITE},
        {ENDPOINT_MESSAGES, "{\"cache_control\":{\"ttl\":\"\\u0031h\"}}", 0,
         PRICE_KINDS_CACHE_WRITE},
        {ENDPOINT_MESSAGES, "{\"cach\\u0065_control\":{}}", 0,
         PRICE_KINDS_CACHE_WRITE},
        {ENDPOINT_MESSAGES, "{\"messages\":[{\"\\u0063ache_control\":{}}]}", 0,
         PRICE_KINDS_CACHE_WRITE},
        {ENDPOINT_MESSAGES, "{\"system\":\"\\u0063ache \\u00e9\"}", 0, 0},
        {ENDPOINT_MESSAGES, "{\"system\":\"a\"}", 1U << CONF_PRICE_CACHE_WRITE,
         0},
        {ENDPOINT_CHAT, "{\"user\":\"a\"}", 1U << CONF_PRICE_CACHE_WRITE,
         PRICE_KIND(ROW_TOK_CACHE_WRITE_5M)},
        {ENDPOINT_CHAT, "{\"user\":\"a\"}", 0, 0},
        {ENDPOINT_CHAT, "{\"messages\":[{\"cache_control\":{}}]}", 0,
         PRICE_KIND(ROW_TOK_CACHE_WRITE_5M)},
    };
    struct rig r;

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        rig_init(&r, rows[i].kind);
        r.rules.priced |= rows[i].priced;
        assert_int_equal(rig_ask(&r, rows[i].body), ERR_OK);
        if (r.bound.kinds != (rows[i].kinds | PRICE_KINDS_TEXT))
            fail_msg("%s: %x", rows[i].body, r.bound.kinds);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(media_is_seen),
        cmocka_unit_test(parts_from_elsewhere_are_refused),
        cmocka_unit_test(data_is_no_text),
        cmocka_unit_test(depth_has_an_end),
        cmocka_unit_test(sound_has_its_own_kinds),
        cmocka_unit_test(cache_writes_are_seen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
