/* t_hf_tokenizer.c - tokenizer.json and tokenizer_config.json: what is read,
 * and what is refused by name. */
#include "token/vocab.h"

#include "unit/cmocka_all.h"

#include <stdio.h>
#include <stdlib.h>

/* Characters of SPM: merges as pairs, a user token that strips to its right. */
#define SPM_MODEL                                                              \
    "\"model\":{\"type\":\"BPE\",\"unk_token\":\"<unk>\",\"fuse_unk\":true,"   \
    "\"byte_fallback\":%s,\"vocab\":{\"<unk>\":0,\"<s>\":1,\"</s>\":2,"        \
    "\"<0xC3>\":3,\"<0xA9>\":4,\"\\u2581\":5,\"a\":6,\"b\":7,\"ab\":8,"        \
    "\"\\u2581ab\":9},\"merges\":[[\"a\",\"b\"],[\"\\u2581\",\"ab\"]]}"
#define SPM_ADDED                                                              \
    "\"added_tokens\":["                                                       \
    "{\"id\":0,\"content\":\"<unk>\",\"special\":true},"                       \
    "{\"id\":1,\"content\":\"<s>\",\"special\":true},"                         \
    "{\"id\":2,\"content\":\"</s>\",\"special\":true},"                        \
    "{\"id\":10,\"content\":\"[U]\",\"special\":false,\"rstrip\":true},"       \
    "{\"id\":11,\"content\":\"<|x|>\",\"special\":false}],"
#define LEGACY                                                                 \
    "\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":["                  \
    "{\"type\":\"Prepend\",\"prepend\":\"\\u2581\"},"                          \
    "{\"type\":\"Replace\",\"pattern\":{\"String\":\" \"},"                    \
    "\"content\":\"\\u2581\"}]},"
#define METASPACE(scheme)                                                      \
    "\"pre_tokenizer\":{\"type\":\"Metaspace\",\"replacement\":\"\\u2581\","   \
    "\"prepend_scheme\":\"" scheme "\",\"split\":false},"
#define BOS_TEMPLATE                                                           \
    "\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":["         \
    "{\"SpecialToken\":{\"id\":\"<s>\",\"type_id\":0}},"                       \
    "{\"Sequence\":{\"id\":\"A\",\"type_id\":0}}]},"

/* Bytes of GPT-2's alphabet: \u00c3\u00a9 spells U+00E9. */
#define BPE_MODEL                                                              \
    "\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1,\"\\u0120\":2,"    \
    "\"ab\":3,\"\\u0120ab\":4,\"1\":5,\"11\":6,\"\\u00c3\":7,\"\\u00a9\":8,"   \
    "\"\\u00c3\\u00a9\":9,\"e\":10,\"\\u00cc\":11,\"\\u0123\":12},"            \
    "\"merges\":[\"a b\",\"\\u0120 ab\",\"1 1\",\"\\u00c3 \\u00a9\"]}"
#define BYTE_LEVEL                                                             \
    "\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false},"
#define QWEN                                                                   \
    "\"normalizer\":{\"type\":\"NFC\"},\"pre_tokenizer\":{\"type\":"           \
    "\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\",\"pattern\":"         \
    "{\"Regex\":\"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\\\r\\\\n\\\\p{L}"           \
    "\\\\p{N}]?\\\\p{L}+|\\\\p{N}| ?[^\\\\s\\\\p{L}\\\\p{N}]+[\\\\r\\\\n]*"    \
    "|\\\\s*[\\\\r\\\\n]+|\\\\s+(?!\\\\S)|\\\\s+\"},\"behavior\":"             \
    "\"Isolated\",\"invert\":false},{\"type\":\"ByteLevel\","                  \
    "\"add_prefix_space\":false,\"use_regex\":false}]},"

static struct vocab *made(const char *json, const char *config)
{
    struct vocab_fault why;
    struct vocab *v = NULL;

    if (vocab_from_hf(str_from(json), str_from(config), &why, &v))
        fail_msg("%s", why.text);
    return v;
}

/* The ids of <text>, all trusted, as decimal numbers. */
static void check(const struct vocab *v, const char *text, const char *want)
{
    struct vocab_span span = {strlen(text), true};
    struct vocab_ids ids = {0};
    char have[200] = "";
    size_t n = 0;

    assert_int_equal(vocab_encode(v, str_from(text), &span, 1, 50, &ids), 0);
    for (size_t i = 0; i < ids.n; i++)
        n += (size_t)snprintf(have + n, sizeof(have) - n, "%s%d", i ? " " : "",
                              (int)ids.ids[i]);
    assert_string_equal(have, want);
    free(ids.ids);
}

static void spm_is_read_from_merges(void **state)
{
    char json[3000];
    struct vocab *v;

    (void)state;
    snprintf(json, sizeof(json),
             "{" LEGACY SPM_ADDED BOS_TEMPLATE SPM_MODEL "}", "true");
    v = made(json, "");
    check(v, "ab", "9");
    check(v, "ab ab", "9 9");
    check(v, " ab", "5 9");
    check(v, "ab</s>ab", "9 2 9");
    check(v, "b\xc3\xa9", "5 7 3 4");
    check(v, "b\xc3\xaa\xc3\xaa", "5 7 0");
    check(v, "[U]  ab", "10 9");
    assert_true(vocab_adds_bos(v) && vocab_bos(v) == 1);
    assert_true(vocab_is_control(v, 11));
    assert_false(vocab_is_control(v, 10));
    vocab_free(v);
}

static void metaspace_prefixes_by_its_scheme(void **state)
{
    char json[3000];
    struct vocab *v;

    (void)state;
    snprintf(json, sizeof(json), "{" METASPACE("first") SPM_ADDED SPM_MODEL "}",
             "false");
    v = made(json, "{\"add_bos_token\":true,\"bos_token\":{\"content\":"
                   "\"<s>\"},\"eos_token\":\"</s>\",\"model_max_length\":"
                   "1000000000000000019884624838656}");
    check(v, "ab", "9");
    check(v, " ab", "9");
    check(v, "</s>ab", "2 8");
    check(v, "b\xc3\xa9", "5 7 0");
    assert_true(vocab_adds_bos(v) && vocab_eos(v) == 2);
    assert_true(vocab_is_eog(v, 2));
    vocab_free(v);
    snprintf(json, sizeof(json), "{" METASPACE("never") SPM_ADDED SPM_MODEL "}",
             "false");
    v = made(json, "");
    check(v, "ab", "8");
    assert_false(vocab_adds_bos(v));
    vocab_free(v);
}

static void byte_level_is_read(void **state)
{
    struct vocab *v = made("{" BYTE_LEVEL BPE_MODEL "}", "{}");

    (void)state;
    check(v, "ab ab", "3 4");
    check(v, "11", "6");
    check(v, "e\xcc\x81", "10 11 12");
    assert_int_equal(vocab_eos(v), -1);
    vocab_free(v);
    v = made("{" QWEN BPE_MODEL "}", "");
    check(v, "11", "5 5");
    check(v, "e\xcc\x81", "9");
    vocab_free(v);
}

/* A text of the one token <stored>. */
static void check_decoded(const char *json, const char *stored,
                          const char *want)
{
    struct vocab *v = made(json, "");
    struct detok d = {0};
    struct buf text;

    buf_init(&text, 100);
    assert_int_equal(
        detok_push(&d, v, vocab_find(v, str_from(stored)), false, &text),
        ERR_OK);
    if (!str_eq(buf_str(&text), str_from(want)))
        fail_msg("%.*s, not %s", STR_ARG(buf_str(&text)), want);
    buf_fini(&text);
    vocab_free(v);
}

static void a_prefix_goes_where_the_decoder_strips_it(void **state)
{
    static const char bar_ab[] = "\xe2\x96\x81"
                                 "ab";
    char json[3000];

    (void)state;
    snprintf(json, sizeof(json), "{" LEGACY SPM_ADDED SPM_MODEL "}", "true");
    check_decoded(json, bar_ab, "ab");
    snprintf(json, sizeof(json), "{" METASPACE("first") SPM_ADDED SPM_MODEL "}",
             "false");
    check_decoded(json, bar_ab, "ab");
    snprintf(json, sizeof(json), "{" METASPACE("never") SPM_ADDED SPM_MODEL "}",
             "false");
    check_decoded(json, bar_ab, " ab");
    check_decoded("{\"added_tokens\":[]," BYTE_LEVEL BPE_MODEL "}",
                  "\xc4\xa0"
                  "ab",
                  " ab");
    check_decoded("{\"added_tokens\":[],\"pre_tokenizer\":{\"type\":"
                  "\"ByteLevel\",\"add_prefix_space\":true}," BPE_MODEL "}",
                  "\xc4\xa0"
                  "ab",
                  " ab");
}

static void check_refused(const char *json, enum err want, const char *part)
{
    struct vocab_fault why;
    struct vocab *v = NULL;

    assert_int_equal(vocab_from_hf(str_from(json), STR(""), &why, &v), want);
    assert_null(v);
    if (!strstr(why.text, part))
        fail_msg("'%s' does not say '%s'", why.text, part);
}

static void what_is_not_supported_is_named(void **state)
{
    (void)state;
    check_refused("{\"model\":{\"type\":\"Unigram\",\"vocab\":[]}}",
                  ERR_REFUSED, "\"Unigram\"");
    check_refused("{\"model\":{\"type\":\"WordPiece\",\"vocab\":{}}}",
                  ERR_REFUSED, "\"WordPiece\"");
    check_refused("{\"pre_tokenizer\":{\"type\":\"Whitespace\"}," BPE_MODEL "}",
                  ERR_REFUSED, "\"Whitespace\"");
    check_refused(
        "{\"normalizer\":{\"type\":\"Lowercase\"}," BYTE_LEVEL BPE_MODEL "}",
        ERR_REFUSED, "\"Lowercase\"");
    check_refused(
        "{\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":"
        "{\"Regex\":\"[aeiou]+\"},\"behavior\":\"Isolated\"}," BPE_MODEL "}",
        ERR_REFUSED, "[aeiou]+");
    check_refused("{" BPE_MODEL "}", ERR_REFUSED, "ByteLevel");
}

static void broken_files_are_refused(void **state)
{
    (void)state;
    check_refused("", ERR_SYNTAX, "tokenizer.json");
    check_refused("[]", ERR_SYNTAX, "not an object");
    check_refused("{}", ERR_SYNTAX, "model.vocab");
    check_refused("{" BYTE_LEVEL "\"model\":{\"vocab\":{\"a\":-1},"
                  "\"merges\":[]}}",
                  ERR_SYNTAX, "out of range");
    check_refused("{" BYTE_LEVEL "\"model\":{\"vocab\":{\"a\":4000000},"
                  "\"merges\":[]}}",
                  ERR_SYNTAX, "out of range");
    check_refused("{" BYTE_LEVEL "\"model\":{\"vocab\":{\"a\":0},"
                  "\"merges\":[\"a\"]}}",
                  ERR_SYNTAX, "two pieces");
    check_refused("{" BYTE_LEVEL "\"added_tokens\":[{\"id\":0}],"
                  "\"model\":{\"vocab\":{\"a\":0},\"merges\":[]}}",
                  ERR_SYNTAX, "added_tokens");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(spm_is_read_from_merges),
        cmocka_unit_test(metaspace_prefixes_by_its_scheme),
        cmocka_unit_test(byte_level_is_read),
        cmocka_unit_test(a_prefix_goes_where_the_decoder_strips_it),
        cmocka_unit_test(what_is_not_supported_is_named),
        cmocka_unit_test(broken_files_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
