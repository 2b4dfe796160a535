/* t_pretok.c - Cutting words, against the published regular expressions, which
 * are also known by their text; names of pre-tokenizers. */
#include "token/hf_pretok.h"
#include "token/pretok.h"

#include "unit/cmocka_all.h"

/* Regular expressions, one after another. */
struct pretok_rule_case {
    const char *res[PRETOK_PASSES];
};

/* A text, and the bytes of its words by one of the rules. */
struct pretok_case {
    size_t rule;
    const char *text;
    size_t words[40];
};

#include "unit/pretok_cases.h"

/* The rule that <c> means. */
static struct pretok rule_of(const struct pretok_rule_case *c)
{
    struct pretok rule = {.published = true};

    for (size_t i = 0; i < PRETOK_PASSES && c->res[i]; i++) {
        enum pretok_pass pass = hf_pretok_regex(str_from(c->res[i]));

        if (pass == PRETOK_END)
            fail_msg("unknown: %s", c->res[i]);
        rule.passes[i] = (unsigned char)pass;
    }
    return rule;
}

static void cuts_as_the_published_expressions(void **state)
{
    struct pretok_room room = {0};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct pretok rule = rule_of(&rules[cases[i].rule]);
        size_t word = 0, bytes = 0;

        assert_int_equal(pretok_split(&room, &rule, str_from(cases[i].text)),
                         0);
        for (size_t k = 0; k < room.n && word < 40; k++) {
            bytes += room.width[k];
            if (k + 1 < room.n && !room.cut[k + 1])
                continue;
            if (bytes != cases[i].words[word])
                fail_msg("case %zu '%s': word %zu has %zu bytes, not %zu", i,
                         cases[i].text, word, bytes, cases[i].words[word]);
            bytes = 0;
            word++;
        }
    }
    pretok_room_fini(&room);
}

static void splits_nothing_and_invalid_bytes(void **state)
{
    const struct pretok *rule = &pretok_by_name(STR("llama3"))->rule;
    struct pretok_room room = {0};

    (void)state;
    assert_int_equal(pretok_split(&room, rule, STR("")), 0);
    assert_int_equal(room.n, 0);
    assert_int_equal(pretok_split(&room, rule, STR("a\xff\xe2\x96")), 0);
    assert_int_equal(room.n, 4);
    assert_int_equal(room.cp[1], 0xfffd);
    assert_int_equal(room.width[3], 1);
    assert_true(room.cut[1] && !room.cut[2] && !room.cut[3]);
    pretok_room_fini(&room);
}

/* A line separator is in the list of DeepSeek's characters, but not where GGUF
 * files are read. */
static void published_and_gguf_differ_in_lists(void **state)
{
    const struct pretok *gguf = &pretok_by_name(STR("deepseek-coder"))->rule;
    struct pretok published = *gguf;
    struct pretok_room room = {0};

    (void)state;
    published.published = true;
    assert_int_equal(pretok_split(&room, gguf, STR(" \xe2\x80\xa8")), 0);
    assert_false(room.cut[1]);
    assert_int_equal(pretok_split(&room, &published, STR(" \xe2\x80\xa8")), 0);
    assert_true(room.cut[1]);
    pretok_room_fini(&room);
}

static void names_stand_for_rules(void **state)
{
    const struct pretok_family *f = pretok_by_name(STR("llama-bpe"));
    size_t n = 0;

    (void)state;
    assert_true(f && f->ignore_merges && f->adds_bos);
    assert_ptr_equal(f, pretok_by_name(STR("llama3")));
    assert_ptr_equal(pretok_by_name(STR("")), pretok_by_name(STR("default")));
    assert_ptr_equal(pretok_by_name(STR("smollm")),
                     pretok_by_name(STR("starcoder")));
    assert_null(pretok_by_name(STR("llama")));
    assert_null(pretok_by_name(STR("qwen2 ")));
    for (; pretok_nth_name(n); n++)
        assert_non_null(pretok_by_name(str_from(pretok_nth_name(n))));
    assert_true(n > 60);
}

static void classes_are_those_of_unicode(void **state)
{
    (void)state;
    assert_int_equal(pretok_class_of('a'), PRETOK_L | PRETOK_LOWER);
    assert_int_equal(pretok_class_of(0x1c5), PRETOK_L | PRETOK_UPPER);
    assert_int_equal(pretok_class_of(0x4e00), PRETOK_L);
    assert_int_equal(pretok_class_of(0xbd), PRETOK_N);
    assert_int_equal(pretok_class_of('~'), PRETOK_S);
    assert_int_equal(pretok_class_of('_'), PRETOK_P);
    assert_int_equal(pretok_class_of(0x301), PRETOK_M);
    assert_int_equal(pretok_class_of(0x85), PRETOK_Z);
    assert_int_equal(pretok_class_of(0x200b), 0);
    assert_int_equal(pretok_class_of(0x2ebf0), PRETOK_L);
    assert_int_equal(pretok_class_of(0x110000), 0);
}

static void unknown_expressions_are_not_guessed(void **state)
{
    (void)state;
    assert_int_equal(hf_pretok_regex(STR("")), PRETOK_END);
    assert_int_equal(hf_pretok_regex(STR("\\p{L}+")), PRETOK_END);
    assert_int_equal(hf_pretok_regex(STR("\\s?[a-z]+")), PRETOK_END);
    assert_int_equal(hf_pretok_regex(STR("[\xe4\xb8\x80-")), PRETOK_END);
    assert_int_equal(hf_pretok_regex(STR("[]+")), PRETOK_END);
    assert_int_equal(hf_pretok_regex(STR("[\r\n]")), PRETOK_LINE_END);
    assert_int_equal(hf_pretok_regex(STR("[\\r\\n]")), PRETOK_LINE_END);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cuts_as_the_published_expressions),
        cmocka_unit_test(splits_nothing_and_invalid_bytes),
        cmocka_unit_test(published_and_gguf_differ_in_lists),
        cmocka_unit_test(names_stand_for_rules),
        cmocka_unit_test(classes_are_those_of_unicode),
        cmocka_unit_test(unknown_expressions_are_not_guessed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
