/* t_sched_text.c - How texts end and what is told of them; echo; vectors. */
#include "unit/sched_fixture.h"

#include "token/grammar.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* --- text --------------------------------------------------------------- */

/* The text of <a> alone. */
static struct str text_of(const struct rig_ask *a, struct rig_reply *out)
{
    rig_alone(a, out);
    assert_int_equal(out->err, ERR_OK);
    return buf_str(&out->choices[0].text);
}

/* Whether a character begins or the text ends at <at>. */
static bool is_cut_fair(struct str text, size_t at)
{
    return at == text.len || ((unsigned char)text.p[at] & 0xc0) != 0x80;
}

static void any_part_of_a_text_stops_it_exactly_there(void **state)
{
    struct rig_ask a = ask_of(21, 60);
    struct rig_reply all;
    struct str text;

    (void)state;
    a.temperature = 0.7f;
    text = text_of(&a, &all);
    assert_true(text.len > 60);
    for (size_t at = 0; at < text.len; at += 3)
        for (size_t len = 1; len < 12 && at + len <= text.len; len += 2) {
            char stop[16] = {0};
            struct rig_reply cut;
            struct str got;
            size_t first;

            if (!is_cut_fair(text, at) || !is_cut_fair(text, at + len))
                continue; /* a stop string is whole characters */
            memcpy(stop, text.p + at, len);
            a.stops[0] = stop;
            first = str_find(text, str_of(stop, len));
            got = text_of(&a, &cut);
            assert_int_equal(got.len, first);
            assert_memory_equal(got.p, text.p, first);
            assert_int_equal(cut.choices[0].finish, GEN_FINISH_STOP);
            assert_int_equal(cut.choices[0].stop_index, 0);
            rig_reply_fini(&cut);
        }
    rig_reply_fini(&all);
}

static void what_might_begin_a_stop_is_told_in_the_end(void **state)
{
    struct rig_ask a = ask_of(21, 12);
    struct rig_reply all;
    struct rig_reply got;
    char stop[256];
    struct str text = text_of(&a, &all);

    (void)state;
    /* the whole text and one byte more: everything is held until the end */
    assert_true(text.len > 0 && text.len < sizeof(stop) - 2);
    snprintf(stop, sizeof(stop), "%.*s\x01", STR_ARG(text));
    a.stops[0] = stop;
    a.logprobs = true;
    rig_alone(&a, &got);
    assert_int_equal(got.choices[0].n_events, 1);
    assert_true(str_eq(buf_str(&got.choices[0].text), text));
    assert_int_equal(got.choices[0].n_lps, 12);
    assert_int_equal(got.choices[0].finish, GEN_FINISH_LENGTH);
    rig_reply_fini(&got);
    rig_reply_fini(&all);
}

static void log_probabilities_are_those_of_the_text(void **state)
{
    struct rig *r = rig_of(4, 64, 64);
    struct rig_ask a = ask_of(21, 60);

    (void)state;
    a.logprobs = true;
    a.top = 3;
    a.temperature = 1;
    a.stops[0] = "abc";
    r->g->bytes_less = 100; /* each token shows its own bytes */
    for (uint64_t id = 0; id < 40; id++) {
        const struct rig_choice *c = &r->replies[id].choices[0];
        size_t len = 0;

        a.seed = id;
        rig_submit(r, id, &a);
        rig_finish(r, 100);
        for (size_t i = 0; i < c->n_lps; i++) {
            assert_int_equal(c->lps[i].n_top, 3);
            assert_true(c->lps[i].top[0].logprob >= c->lps[i].logprob);
            if (vocab_is_control(r->m->vocab, c->lps[i].id))
                continue; /* shows nothing */
            /* each token begins before the end */
            assert_true(len < c->text.len);
            len += vocab_bytes(r->m->vocab, c->lps[i].id).len;
        }
        assert_true(len >= c->text.len || c->text.len == 0);
    }
    rig_free(r);
}

static void tokens_that_end_a_text_show_nothing(void **state)
{
    struct rig *r = rig_of(4, 64, 64);
    struct rig_ask a = ask_of(21, 60);
    int32_t fifth;

    (void)state;
    a.logprobs = true;
    rig_submit(r, 0, &a);
    rig_finish(r, 100);
    fifth = r->replies[0].choices[0].lps[4].id;
    a.stop_id = fifth;
    rig_submit(r, 1, &a);
    rig_finish(r, 100);
    assert_int_equal(r->replies[1].choices[0].stop_id, fifth);
    assert_int_equal(r->replies[1].choices[0].finish, GEN_FINISH_STOP);
    assert_in_range(r->replies[1].choices[0].n_lps, 0, 4);
    /* the model's own end, made certain */
    a.stop_id = 0;
    a.ignore_eos = false;
    r->g->eog_less = -100;
    rig_submit(r, 2, &a);
    rig_finish(r, 100);
    assert_int_equal(r->replies[2].choices[0].stop_id, RIG_EOS);
    assert_int_equal(r->replies[2].counts.output_tokens, 1);
    a.ignore_eos = true;
    rig_submit(r, 3, &a);
    rig_finish(r, 100);
    assert_int_equal(r->replies[3].counts.output_tokens, 60);
    assert_int_equal(r->replies[3].choices[0].finish, GEN_FINISH_LENGTH);
    rig_free(r);
}

static void choices_differ_and_seeds_repeat(void **state)
{
    struct rig_ask a = ask_of(21, 30);
    struct rig_reply one;
    struct rig_reply two;

    (void)state;
    a.n = 3;
    a.temperature = 1;
    a.seed = 5;
    rig_alone(&a, &one);
    rig_alone(&a, &two);
    rig_same(&one, &two);
    assert_false(
        str_eq(buf_str(&one.choices[0].text), buf_str(&one.choices[1].text)));
    assert_false(
        str_eq(buf_str(&one.choices[1].text), buf_str(&one.choices[2].text)));
    rig_reply_fini(&two);
    a.n = 1;
    rig_alone(&a, &two);
    assert_true(
        str_eq(buf_str(&one.choices[0].text), buf_str(&two.choices[0].text)));
    rig_reply_fini(&two);
    rig_reply_fini(&one);
}

/* --- grammars ----------------------------------------------------------- */

static void a_grammar_holds_for_every_choice(void **state)
{
    struct rig *r = rig_of(8, 64, 64);
    struct vocab_index *ix = vocab_index_new(r->m->vocab);
    struct grammar *g = grammar_json_object(ix);
    struct rig_ask a = ask_of(21, 200);
    unsigned n_ended = 0;

    (void)state;
    assert_non_null(g);
    a.grammar = g;
    a.n = 4;
    a.temperature = 1;
    for (uint64_t id = 0; id < 20; id++) {
        a.seed = id;
        rig_submit(r, id, &a);
    }
    rig_finish(r, 5000);
    for (unsigned i = 0; i < 80; i++) {
        const struct rig_choice *c = &r->replies[i / 4].choices[i % 4];
        json_t *value;

        assert_true(str_starts(str_trim(buf_str(&c->text)), STR("{")));
        if (c->finish != GEN_FINISH_STOP)
            continue;
        value = json_loadb(c->text.p, c->text.len, 0, NULL);
        assert_true(json_is_object(value));
        json_decref(value);
        n_ended++;
    }
    assert_true(n_ended > 5);
    rig_free(r);
    grammar_unref(g);
    vocab_index_free(ix);
}

/* --- echo and embeddings ------------------------------------------------ */

static void echo_tells_of_every_token_but_the_first(void **state)
{
    struct rig_ask a = ask_of(40, 1);
    struct rig_reply whole;
    struct rig *r = rig_of(4, 3, 64);

    (void)state;
    a.prompt_logprobs = true;
    a.top = 2;
    rig_alone(&a, &whole);
    assert_int_equal(whole.n_prompt_lps, 39);
    for (size_t i = 0; i < 39; i++)
        assert_int_equal(whole.prompt_lps[i].id, prompt[i + 1]);
    /* a cache that holds all of it changes nothing */
    rig_submit(r, 0, &a);
    rig_finish(r, 100);
    rig_same(&r->replies[0], &whole);
    rig_submit(r, 1, &a);
    rig_finish(r, 100);
    rig_same(&r->replies[1], &whole);
    rig_reply_fini(&whole);
    rig_free(r);
}

static void an_embedding_is_of_length_one_however_it_is_cut(void **state)
{
    struct rig_ask a = ask_of(50, 0);
    struct rig_reply whole;
    double squares = 0;

    (void)state;
    a.kind = GEN_EMBED;
    rig_alone(&a, &whole);
    assert_int_equal(whole.n_vector, 12);
    for (size_t i = 0; i < 12; i++)
        squares += (double)whole.vector[i] * whole.vector[i];
    assert_true(fabs(squares - 1) < 1e-6);
    for (unsigned chunk = 1; chunk < 50; chunk += 7) {
        struct rig *r = rig_of(4, chunk, 64);

        rig_submit(r, 0, &a);
        rig_finish(r, 100);
        rig_same(&r->replies[0], &whole);
        rig_free(r);
    }
    rig_reply_fini(&whole);
}

static void an_embedding_may_be_of_the_last_row(void **state)
{
    struct rig *r = rig_of(4, 64, 64);
    struct rig_ask a = ask_of(50, 0);

    (void)state;
    a.kind = GEN_EMBED;
    r->m->p.pooling = MODEL_POOL_LAST;
    assert_int_equal(cached(r, 0, &a), 0);
    assert_int_equal(cached(r, 1, &a), 48);
    rig_same(&r->replies[0], &r->replies[1]);
    r->m->p.pooling = MODEL_POOL_MEAN;
    assert_int_equal(cached(r, 2, &a), 0);
    assert_memory_not_equal(r->replies[0].vector, r->replies[2].vector,
                            12 * sizeof(float));
    rig_free(r);
}

/* --- the first token ---------------------------------------------------- */

enum { UNK, BOS, EOS, ONCE, UPON, BAR, TAG, N_WORDS };

/* An SPM vocabulary, with or without the space before a text. */
static struct vocab *words_new(enum vocab_said prefix)
{
    static const struct str text[N_WORDS] = {STR("<unk>"),
                                             STR("<s>"),
                                             STR("</s>"),
                                             STR("\xE2\x96\x81Once"),
                                             STR("\xE2\x96\x81upon"),
                                             STR("\xE2\x96\x81"),
                                             STR("<tag>")};
    static const int32_t types[N_WORDS] = {
        VOCAB_UNKNOWN, VOCAB_CONTROL, VOCAB_CONTROL, VOCAB_NORMAL,
        VOCAB_NORMAL,  VOCAB_NORMAL,  VOCAB_CONTROL};
    static const float scores[N_WORDS] = {0};
    struct vocab_spec spec = {.kind = VOCAB_SPM,
                              .n = N_WORDS,
                              .text = text,
                              .types = types,
                              .scores = scores,
                              .bos = BOS,
                              .eos = EOS,
                              .eot = -1,
                              .eom = -1,
                              .unk = UNK,
                              .pad = -1,
                              .add_space_prefix = prefix};
    struct vocab_fault why;
    struct vocab *v = NULL;

    if (vocab_new(&spec, &why, &v) != ERR_OK)
        fail_msg("%s", why.text);
    return v;
}

/* What a text of the tokens <ids> shows, ended by -1. */
static void check_words(enum vocab_said prefix, bool new_text, bool special,
                        const int32_t *ids, const char *want)
{
    struct vocab *v = words_new(prefix);
    struct gen_job *j = gen_job_new(1u << 16);
    struct seq_rules rules = {
        .job = j, .vocab = v, .most_tokens = 10, .n_vocab = N_WORDS};
    float logits[N_WORDS], room[N_WORDS];
    uint64_t mask[1];
    struct seq_scratch scratch = {room, mask};
    struct gen_event *ev = NULL;
    struct seq_text t;

    j->new_text = new_text;
    j->keep_special = special;
    j->logprobs = true;
    j->sampling.temperature = 0;
    assert_int_equal(seq_text_init(&t, &rules, 0), ERR_OK);
    for (size_t i = 0; ids[i] >= 0; i++) {
        int32_t got = -1;

        for (int k = 0; k < N_WORDS; k++)
            logits[k] = k == ids[i] ? 1 : 0;
        assert_int_equal(seq_text_next(&t, &rules, &scratch, logits, &got),
                         ERR_OK);
        assert_int_equal(got, ids[i]);
    }
    assert_int_equal(seq_text_flush(&t, &rules, &ev), ERR_OK);
    assert_non_null(ev);
    assert_true(str_eq(ev->text, str_from(want)));
    assert_int_equal(ev->n_logprobs, t.n_tokens);
    gen_event_free(ev);
    seq_text_fini(&t);
    gen_job_free(j);
    vocab_free(v);
}

static void a_new_text_begins_without_the_prefix_space(void **state)
{
    static const int32_t once[] = {ONCE, UPON, -1};
    static const int32_t bar[] = {BAR, ONCE, -1};
    static const int32_t tag[] = {TAG, ONCE, -1};

    (void)state;
    check_words(VOCAB_UNSAID, true, false, once, "Once upon");
    check_words(VOCAB_UNSAID, false, false, once, " Once upon");
    check_words(VOCAB_NO, true, false, once, " Once upon");
    check_words(VOCAB_UNSAID, true, false, bar, " Once");
    check_words(VOCAB_UNSAID, true, false, tag, "Once");
    check_words(VOCAB_UNSAID, true, true, tag, "<tag> Once");
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_part_of_a_text_stops_it_exactly_there),
        cmocka_unit_test(what_might_begin_a_stop_is_told_in_the_end),
        cmocka_unit_test(log_probabilities_are_those_of_the_text),
        cmocka_unit_test(tokens_that_end_a_text_show_nothing),
        cmocka_unit_test(choices_differ_and_seeds_repeat),
        cmocka_unit_test(a_grammar_holds_for_every_choice),
        cmocka_unit_test(a_new_text_begins_without_the_prefix_space),
        cmocka_unit_test(echo_tells_of_every_token_but_the_first),
        cmocka_unit_test(an_embedding_is_of_length_one_however_it_is_cut),
        cmocka_unit_test(an_embedding_may_be_of_the_last_row),
    };

    return cmocka_run_group_tests(tests, fill_prompt, NULL);
}
