/* t_vocab.c - Encoding and decoding with vocabularies made for it: merges,
 * fallbacks, trust, special tokens, streams; and those that are refused. */
#include "token/vocab.h"

#include "unit/cmocka_all.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/vocab_made.h"

/* Encode <text>, all of it trusted or not, and write the tokens' bytes with
 * bars between into <out>, special tokens in brackets. */
static void show(const struct vocab *v, struct str text, bool trusted,
                 char out[400])
{
    struct vocab_span span = {text.len, trusted};
    struct vocab_ids ids = {0};
    size_t n = 0;

    assert_int_equal(vocab_encode(v, text, &span, 1, 1000, &ids), 0);
    out[0] = '\0';
    for (size_t i = 0; i < ids.n; i++) {
        struct str s = vocab_bytes(v, ids.ids[i]);
        bool control = vocab_is_control(v, ids.ids[i]);

        n += (size_t)snprintf(out + n, 400 - n, control ? "%s[%.*s]" : "%s%.*s",
                              i ? "|" : "", STR_ARG(s));
    }
    free(ids.ids);
}

#define SHOWS(v, text, trusted, want)                                          \
    do {                                                                       \
        char shown[400];                                                       \
        show((v), STR(text), (trusted), shown);                                \
        assert_string_equal(shown, (want));                                    \
    } while (0)

static void spm_joins_by_score(void **state)
{
    struct vocab *v = vocab_made_spm(VOCAB_UNSAID);

    (void)state;
    SHOWS(v, "abc", false, " |abc");
    SHOWS(v, "babc", false, " |b|abc");
    SHOWS(v, "aaaaa", false, " a|aaaa");
    SHOWS(v, "", false, "");
    SHOWS(v, "b   b", false, " |b|  | |b");
    vocab_free(v);
    v = vocab_made_spm(VOCAB_NO);
    SHOWS(v, "abc", false, "abc");
    SHOWS(v, "ab ab", false, "ab| |ab");
    vocab_free(v);
}

static void spm_falls_back_to_bytes(void **state)
{
    struct vocab *v = vocab_made_spm(VOCAB_NO);
    struct vocab_ids ids = {0};

    (void)state;
    assert_int_equal(vocab_encode(v, STR("a\xc3\xa9\xff"), NULL, 0, 100, &ids),
                     0);
    assert_int_equal(ids.n, 4);
    assert_int_equal(ids.ids[1], 3 + 0xc3);
    assert_int_equal(ids.ids[2], 3 + 0xa9);
    assert_int_equal(ids.ids[3], 3 + 0xff);
    free(ids.ids);
    vocab_free(v);
}

/* "</" and "s>" would join to a control token. */
static void text_never_becomes_a_control_token(void **state)
{
    struct vocab *v = vocab_made_spm(VOCAB_NO);

    (void)state;
    SHOWS(v, "a</s>a", false, "a|</|s>|a");
    SHOWS(v, "a</s>a", true, "a|[</s>]|a");
    SHOWS(v, "<0x41>", false, "<|0|x|4|1|>");
    vocab_free(v);
    v = vocab_made_bpe("gpt-2");
    SHOWS(v, "END", false, "E|N|D");
    SHOWS(v, "END", true, "[END]");
    vocab_free(v);
}

static void trust_ends_where_its_span_does(void **state)
{
    struct vocab *v = vocab_made_bpe("gpt-2");
    const struct vocab_span cut[] = {{5, true}, {7, false}, {12, true}};
    const struct vocab_span joined[] = {{5, true}, {0, false}, {7, true}};
    struct str text = STR("<|im_start|><|im_start|>");
    struct vocab_ids ids = {0};
    int32_t id = vocab_find(v, STR("<|im_start|>"));

    (void)state;
    assert_int_equal(vocab_encode(v, text, cut, 3, 100, &ids), 0);
    assert_int_equal(ids.n, 13);
    assert_int_equal(ids.ids[12], id);
    ids.n = 0;
    assert_int_equal(vocab_encode(v, text, joined, 3, 100, &ids), 0);
    assert_int_equal(ids.n, 13);
    assert_int_equal(ids.ids[0], id);
    ids.n = 0;
    assert_int_equal(vocab_encode(v, text, NULL, 0, 100, &ids), 0);
    assert_int_equal(ids.n, 24);
    free(ids.ids);
    vocab_free(v);
}

static void longer_special_tokens_win(void **state)
{
    struct vocab *v = vocab_made_bpe("gpt-2");

    (void)state;
    SHOWS(v, "x<|im|><|im_end|>", true, "x|<|im|>|[<|im_end|>]");
    SHOWS(v, "x<|im|>x", false, "x|<|im|>|x");
    SHOWS(v, "x       x", false, "x|   |   | |x");
    SHOWS(v, "<|im<|im|>", true, "<|||i|m|<|im|>");
    vocab_free(v);
}

static void bpe_joins_by_rank_within_words(void **state)
{
    struct vocab *v = vocab_made_bpe("gpt-2");

    (void)state;
    SHOWS(v, "the thing", false, "the| |th|ing");
    SHOWS(v, " the", false, " the");
    SHOWS(v, "t he", false, "t| |h|e");
    SHOWS(v, "\xc3\xa9", false, "\xc3\xa9");
    SHOWS(v, "hello", false, "h|e|l|l|o");
    vocab_free(v);
    v = vocab_made_bpe("llama-bpe");
    SHOWS(v, "hello", false, "hello");
    assert_true(vocab_is_eog(v, vocab_find(v, STR("<|im_end|>"))));
    assert_false(vocab_is_eog(v, vocab_find(v, STR("<|im_start|>"))));
    vocab_free(v);
}

/* Long words are joined another way than short ones. */
static void long_words_join_as_short_ones(void **state)
{
    struct vocab *v = vocab_made_spm(VOCAB_NO);
    size_t n = 9999;
    char *text = malloc(n);
    struct vocab_ids ids = {0};

    (void)state;
    assert_non_null(text);
    memset(text, 'a', n);
    assert_int_equal(vocab_encode(v, str_of(text, n), NULL, 0, n, &ids), 0);
    assert_int_equal(ids.n, 2499 + 2);
    for (size_t i = 0; i < 2499; i++)
        assert_int_equal(ids.ids[i], vocab_find(v, STR("aaaa")));
    assert_int_equal(ids.ids[2499], vocab_find(v, STR("aa")));
    assert_int_equal(ids.ids[2500], vocab_find(v, STR("a")));
    free(ids.ids);
    free(text);
    vocab_free(v);
}

static void round_trip(const struct vocab *v, struct str text)
{
    struct vocab_ids ids = {0};
    struct buf all;

    buf_init(&all, 1 << 20);
    assert_int_equal(vocab_encode(v, text, NULL, 0, 1 << 20, &ids), 0);
    for (size_t i = 0; i < ids.n; i++)
        assert_int_equal(buf_put_str(&all, vocab_bytes(v, ids.ids[i])), 0);
    assert_true(str_eq(buf_str(&all), text));
    buf_fini(&all);
    free(ids.ids);
}

/* Fill <text> with bytes, of all or of a few kinds. */
static void fill(char *text, size_t n, bool all, uint32_t *seed)
{
    for (size_t i = 0; i < n; i++) {
        *seed = *seed * 1664525 + 1013904223;
        text[i] = " \n'a1./A"[*seed >> 29];
        if (all)
            text[i] = (char)(*seed >> 24);
    }
}

static void any_bytes_come_back(void **state)
{
    static const char *const pres[] = {
        "gpt-2",  "llama-bpe", "qwen2",  "falcon",      "default",
        "tekken", "viking",    "laguna", "deepseek-v3", "exaone-moe"};
    uint32_t seed = 7;
    char text[64];

    (void)state;
    for (size_t p = 0; p < COUNT_OF(pres); p++) {
        struct vocab *v = vocab_made_bpe(pres[p]);

        for (size_t k = 0; k < 200; k++) {
            fill(text, sizeof(text), k % 2, &seed);
            round_trip(v, str_of(text, sizeof(text)));
        }
        vocab_free(v);
    }
}

static void too_many_ids_are_refused(void **state)
{
    struct vocab *v = vocab_made_bpe("gpt-2");
    struct vocab_ids ids = {0};

    (void)state;
    assert_int_equal(vocab_encode(v, STR("xyz"), NULL, 0, 2, &ids), ERR_FULL);
    ids.n = 0;
    assert_int_equal(vocab_encode(v, STR("xyz"), NULL, 0, 3, &ids), 0);
    free(ids.ids);
    vocab_free(v);
}

/* --- decoding ----------------------------------------------------------- */

/* Push ids one by one; what each gave, bars between. */
static void stream(const struct vocab *v, const int32_t *ids, size_t n,
                   bool special, char *out)
{
    struct detok d = {0};
    struct buf text;

    buf_init(&text, 1000);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(detok_push(&d, v, ids[i], special, &text), 0);
        assert_int_equal(buf_put_str(&text, STR("|")), 0);
    }
    assert_int_equal(detok_finish(&d, &text), 0);
    memcpy(out, text.p, text.len);
    out[text.len] = '\0';
    buf_fini(&text);
}

#define BYTE(b) (3 + (b))

static void characters_wait_until_they_are_whole(void **state)
{
    struct vocab *v = vocab_made_spm(VOCAB_NO);
    const int32_t emoji[] = {BYTE(0xf0), BYTE(0x9f), BYTE(0x98), BYTE(0x80)};
    const int32_t broken[] = {BYTE(0xe2), BYTE(0x96), BYTE('a'),
                              BYTE(0xff), BYTE(0xf0), BYTE(0x9f)};
    const int32_t twice[] = {BYTE(0xe2), BYTE(0xe2), BYTE(0x82), BYTE(0xac)};
    char out[100];

    (void)state;
    stream(v, emoji, 4, false, out);
    assert_string_equal(out, "|||\xf0\x9f\x98\x80|");
    stream(v, broken, 6, false, out);
    assert_string_equal(out, "||\xef\xbf\xbd"
                             "a|\xef\xbf\xbd|||\xef\xbf\xbd");
    stream(v, twice, 4, false, out);
    assert_string_equal(out, "|\xef\xbf\xbd||\xe2\x82\xac|");
    vocab_free(v);
}

static void the_prefix_space_goes_only_at_the_start(void **state)
{
    struct vocab *v = vocab_made_spm(VOCAB_UNSAID);
    int32_t a = vocab_find(v, STR("\xe2\x96\x81"
                                  "a"));
    const int32_t ids[] = {1, a, a, 2};
    char out[100];

    (void)state;
    stream(v, ids, 4, false, out);
    assert_string_equal(out, "|a| a||");
    stream(v, ids, 4, true, out);
    assert_string_equal(out, "<s>| a| a|</s>|");
    vocab_free(v);
    v = vocab_made_spm(VOCAB_NO);
    stream(v, ids, 4, false, out);
    assert_string_equal(out, "| a| a||");
    vocab_free(v);
}

static void ids_out_of_range_are_nothing(void **state)
{
    struct vocab *v = vocab_made_spm(VOCAB_NO);
    const int32_t ids[] = {-1, INT32_MAX, INT32_MIN, (int32_t)vocab_size(v)};
    char out[20];

    (void)state;
    stream(v, ids, 4, true, out);
    assert_string_equal(out, "||||");
    assert_false(vocab_is_control(v, -1) || vocab_is_eog(v, INT32_MAX));
    assert_int_equal(vocab_bytes(v, INT32_MIN).len, 0);
    assert_int_equal(vocab_find(v, STR("nothing")), -1);
    vocab_free(v);
}

/* --- what files say ----------------------------------------------------- */

static void silent_files_have_the_usual_ends(void **state)
{
    struct vocab *v = vocab_made_spm(VOCAB_UNSAID);

    (void)state;
    assert_int_equal(vocab_bos(v), 1);
    assert_int_equal(vocab_eos(v), 2);
    assert_true(vocab_adds_bos(v) && !vocab_adds_eos(v));
    assert_true(vocab_is_eog(v, 2) && vocab_is_control(v, 1));
    vocab_free(v);
    v = vocab_made_bpe("gpt-2");
    assert_int_equal(vocab_bos(v), -1);
    assert_false(vocab_adds_bos(v));
    vocab_free(v);
}

static void phi3_swallows_white_space(void **state)
{
    const struct str text[] = {STR("<unk>"), STR("<s>"), STR("<|end|>"),
                               STR("a"),     STR(" "),   STR("\xe2\x96\x81")};
    const int32_t types[] = {VOCAB_CONTROL, VOCAB_CONTROL, VOCAB_CONTROL,
                             VOCAB_NORMAL,  VOCAB_NORMAL,  VOCAB_NORMAL};
    struct vocab_spec spec = vocab_made_unsaid();
    struct vocab_fault why;
    struct vocab *v = NULL;

    (void)state;
    spec.kind = VOCAB_SPM;
    spec.n = COUNT_OF(text);
    spec.text = text;
    spec.types = types;
    spec.model_name = STR("Phi-3 mini");
    spec.add_space_prefix = VOCAB_NO;
    assert_int_equal(vocab_new(&spec, &why, &v), 0);
    SHOWS(v, "a<|end|> \n a<s> a", true, "a|[<|end|>]|a|[<s>]| |a");
    vocab_free(v);
}

static enum err refused(const struct vocab_spec *spec, const char *part)
{
    struct vocab_fault why;
    struct vocab *v = NULL;
    enum err e = vocab_new(spec, &why, &v);

    assert_null(v);
    if (!strstr(why.text, part))
        fail_msg("'%s' does not say '%s'", why.text, part);
    return e;
}

static void inconsistent_vocabularies_are_refused(void **state)
{
    const struct str text[] = {STR("a"), STR("b")};
    const float scores[] = {0, NAN};
    struct vocab_spec spec = vocab_made_unsaid(), bad;

    (void)state;
    spec.kind = VOCAB_BPE;
    spec.n = 2;
    spec.text = text;
    bad = spec;
    bad.pre = STR("nobody-knows");
    assert_int_equal(refused(&bad, "\"nobody-knows\""), ERR_REFUSED);
    assert_int_equal(refused(&bad, "llama-bpe"), ERR_REFUSED);
    bad = spec;
    bad.eos = 2;
    assert_int_equal(refused(&bad, "eos"), ERR_SYNTAX);
    bad = spec;
    bad.n = 0;
    assert_int_equal(refused(&bad, "0 tokens"), ERR_SYNTAX);
    bad = spec;
    bad.kind = VOCAB_SPM;
    bad.scores = scores;
    assert_int_equal(refused(&bad, "score"), ERR_SYNTAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(spm_joins_by_score),
        cmocka_unit_test(spm_falls_back_to_bytes),
        cmocka_unit_test(text_never_becomes_a_control_token),
        cmocka_unit_test(trust_ends_where_its_span_does),
        cmocka_unit_test(longer_special_tokens_win),
        cmocka_unit_test(bpe_joins_by_rank_within_words),
        cmocka_unit_test(long_words_join_as_short_ones),
        cmocka_unit_test(any_bytes_come_back),
        cmocka_unit_test(too_many_ids_are_refused),
        cmocka_unit_test(characters_wait_until_they_are_whole),
        cmocka_unit_test(the_prefix_space_goes_only_at_the_start),
        cmocka_unit_test(ids_out_of_range_are_nothing),
        cmocka_unit_test(silent_files_have_the_usual_ends),
        cmocka_unit_test(phi3_swallows_white_space),
        cmocka_unit_test(inconsistent_vocabularies_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
