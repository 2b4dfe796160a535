/* t_reqkey_fields.c - Every value of every field of every dialect is changed,
 * one at a time, and each of its members is taken away: the key is another one,
 * unless the field is one of the few that say nothing. And the same in other
 * words is the same. */
#include "unit/reqkey_bodies.h"
#include "unit/reqkey_kit.h"

/* ---- every field -------------------------------------------------------- */

/* A body that is changed. */
struct table {
    struct asked base;
    struct reqkey key;
    unsigned changed, kept;
};

/* Places that say nothing, each within its dialect. */
static bool is_volatile(const char *path)
{
    static const char *const all[] = {"user",
                                      "metadata",
                                      "client_metadata",
                                      "prompt_cache_key",
                                      "safety_identifier",
                                      "input.0.id",
                                      "input.1.id",
                                      "input.2.id",
                                      "input.3.id",
                                      "input.4.id"};

    for (size_t i = 0; i < COUNT_OF(all); i++) {
        const size_t n = strlen(all[i]);

        if (strncmp(path, all[i], n) == 0 && (!path[n] || path[n] == '.'))
            return true;
    }
    return false;
}

/* The key of the body with <with> in place of the <len> bytes at <at>. */
static void change(struct table *t, const char *path, size_t at, size_t len,
                   const char *with)
{
    struct asked a = t->base;
    struct reqkey key;
    struct buf b;
    bool same;

    buf_init(&b, OUT_CAP);
    assert_int_equal(buf_put(&b, a.body, at), ERR_OK);
    assert_int_equal(buf_put(&b, with, strlen(with)), ERR_OK);
    assert_int_equal(
        buf_put(&b, a.body + at + len, strlen(a.body) - at - len + 1), ERR_OK);
    a.body = b.p;
    key = key_of(a);
    same = same_digest(&key.same, &t->key.same);
    if (same != is_volatile(path))
        fail_msg("%s: %s with %s", path, same ? "one key" : "two keys", with);
    assert_int_equal(same_digest(&key.exact, &t->key.exact), same);
    if (same)
        t->kept++;
    else
        t->changed++;
    buf_fini(&b);
}

/* Another value of each type for <m>, and one that means nearly the same. */
static void change_value(struct table *t, const char *path,
                         const struct jmember *m)
{
    static const char *const values[] = {"null", "false", "true",   "0",
                                         "\"\"", "[]",    "{}",     "12345",
                                         "1e-9", "\"0\"", "[null]", "\"x y\""};
    const size_t at = (size_t)(m->value.p - t->base.body);

    for (size_t i = 0; i < COUNT_OF(values); i++) {
        if (str_eq(m->value, str_from(values[i])))
            continue;
        if (strcmp(path, "background") == 0 ||
            (strcmp(path, "conversation") == 0))
            continue;
        if (strcmp(path, "model") == 0 && values[i][0] != '"')
            continue;
        change(t, path, at, m->value.len, values[i]);
    }
}

/* The body without the member <m>, whose comma goes with it. */
static void take_away(struct table *t, const char *path,
                      const struct jmember *m)
{
    const char *body = t->base.body;
    size_t at = (size_t)((m->key.p ? m->key.p : m->value.p) - body);
    size_t end = (size_t)(m->value.p + m->value.len - body);

    if (body[at - 1] == ',')
        at--;
    else if (body[end] == ',')
        end++;
    change(t, path, at, end - at, "");
}

static void walk(struct table *t, const char *prefix, struct str value)
{
    struct jmember m;
    struct jiter it;
    unsigned n = 0;

    jiter_init(&it, value);
    while (jiter_next(&it, &m)) {
        char path[256];

        if (m.key.p)
            snprintf(path, sizeof(path), "%s%s%.*s", prefix, *prefix ? "." : "",
                     (int)m.key.len - 2, m.key.p + 1);
        else
            snprintf(path, sizeof(path), "%s%s%u", prefix, *prefix ? "." : "",
                     n);
        n++;
        /* A line that is left out, and all of it. */
        if (strncmp(path, "system.0", 8) == 0)
            continue;
        change_value(t, path, &m);
        if (strcmp(path, "input.0.content") != 0 &&
            strcmp(path, "background") != 0 &&
            strcmp(path, "conversation") != 0)
            take_away(t, path, &m);
        walk(t, path, m.value);
    }
}

static void every_field(const char *target, const char *body, unsigned least)
{
    struct table t = {.base = {.target = target, .body = body}};

    t.key = key_of(t.base);
    walk(&t, "", str_from(body));
    if (t.changed < least)
        fail_msg("%s: %u changes", target, t.changed);
}

static void fields_of_chat(void **state)
{
    (void)state;
    every_field("/v1/chat/completions", BODY_CHAT, 1200);
}

static void fields_of_completions(void **state)
{
    (void)state;
    every_field("/v1/completions", BODY_COMPLETIONS, 150);
}

static void fields_of_embeddings(void **state)
{
    (void)state;
    every_field("/v1/embeddings", BODY_EMBEDDINGS, 50);
}

static void fields_of_responses(void **state)
{
    (void)state;
    every_field("/v1/responses", BODY_RESPONSES, 600);
    every_field("/v1/responses/input_tokens", BODY_RESPONSES, 600);
}

static void fields_of_messages(void **state)
{
    (void)state;
    every_field("/v1/messages", BODY_MESSAGES, 500);
    every_field("/v1/messages/count_tokens", BODY_MESSAGES, 500);
}

static void fields_of_others(void **state)
{
    (void)state;
    every_field("/v1/rerank", BODY_RERANK, 50);
    every_field("/v1/moderations", BODY_MODERATIONS, 50);
    every_field("/v1/score", BODY_SCORE, 40);
    every_field("/v1/classify", BODY_TOKENS, 40);
    every_field("/v1/pooling", BODY_TOKENS, 40);
    every_field("/v1/tokenize", BODY_TOKENS, 40);
    every_field("/v1/detokenize", BODY_TOKENS, 40);
}

/* ---- the same in other words -------------------------------------------- */

static void put(struct buf *b, const char *text)
{
    assert_int_equal(buf_put(b, text, strlen(text)), ERR_OK);
}

/* Each character of ASCII escaped. */
static void reword_string(struct buf *b, struct str raw)
{
    put(b, "\"");
    for (size_t i = 1; i + 1 < raw.len; i++)
        if (raw.p[i] == '\\')
            assert_int_equal(buf_put(b, raw.p + i++, 2), ERR_OK);
        else
            assert_int_equal(buf_printf(b, "\\u%04X", (unsigned)raw.p[i]),
                             ERR_OK);
    put(b, "\"");
}

/* <value> with its members the other way round, space all over, other numbers.
 */
static void reword(struct buf *b, struct str value, enum jtype type)
{
    struct jmember m[64];
    struct jiter it;
    unsigned n = 0;

    put(b, " \t");
    if (type == JT_STRING) {
        reword_string(b, value);
    } else if (type == JT_NUMBER) {
        assert_int_equal(
            buf_printf(b, "%.*s%s", STR_ARG(value),
                       memchr(value.p, '.', value.len) ? "00e0" : ".0E+00"),
            ERR_OK);
    } else if (type == JT_OBJECT || type == JT_ARRAY) {
        jiter_init(&it, value);
        while (jiter_next(&it, &m[n]))
            assert_true(++n < COUNT_OF(m));
        put(b, type == JT_OBJECT ? "{ " : "[\r\n");
        for (unsigned i = 0; i < n; i++) {
            const struct jmember *one = &m[type == JT_OBJECT ? n - 1 - i : i];

            put(b, i > 0 ? "\n," : "");
            if (type == JT_OBJECT) {
                reword_string(b, one->key);
                put(b, " :");
            }
            reword(b, one->value, one->type);
        }
        put(b, type == JT_OBJECT ? " }" : "\t]");
    } else {
        assert_int_equal(buf_put_str(b, value), ERR_OK);
    }
    put(b, "\n");
}

static void other_words_are_the_same(void **state)
{
    static const struct {
        const char *target, *body;
    } all[] = {
        {"/v1/chat/completions", BODY_CHAT},
        {"/v1/completions", BODY_COMPLETIONS},
        {"/v1/embeddings", BODY_EMBEDDINGS},
        {"/v1/responses", BODY_RESPONSES},
        {"/v1/messages", BODY_MESSAGES},
        {"/v1/rerank", BODY_RERANK},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(all); i++) {
        struct asked a = {.target = all[i].target, .body = all[i].body};
        struct asked other = a;
        struct buf b;

        buf_init(&b, OUT_CAP);
        reword(&b, str_from(a.body), JT_OBJECT);
        assert_int_equal(buf_put(&b, "", 1), ERR_OK);
        assert_true(b.len > 2 * strlen(a.body));
        other.body = b.p;
        SAME(a, other);
        buf_fini(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fields_of_chat),
        cmocka_unit_test(fields_of_completions),
        cmocka_unit_test(fields_of_embeddings),
        cmocka_unit_test(fields_of_responses),
        cmocka_unit_test(fields_of_messages),
        cmocka_unit_test(fields_of_others),
        cmocka_unit_test(other_words_are_the_same),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
