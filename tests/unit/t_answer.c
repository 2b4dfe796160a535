/* t_answer.c - From events to what a client reads: chunks and bodies of chat,
 * of completions and of embeddings, log probabilities, usage.
 * Everything that comes out is parsed as JSON. */
#include "unit/answer_rig.h"

#include <math.h>

/* --- chat --------------------------------------------------------------- */

static void a_message_is_whole(void **state)
{
    struct rig r;
    json_t *v;

    (void)state;
    rig_open(&r, (struct plan){.kind = ENDPOINT_CHAT, .n = 2});
    text(&r, 0, "he said \"no\"\n");
    text(&r, 1, "b");
    text(&r, 0, "\x01");
    finish(&r, 0, GEN_FINISH_STOP);
    finish(&r, 1, GEN_FINISH_LENGTH);
    assert_int_equal(r.out.len, 0);
    assert_int_equal(answer_finish(r.a, &r.out), ERR_OK);
    v = body(&r);
    assert_string_equal(text_at(v, "object"), "chat.completion");
    assert_string_equal(text_at(v, "model"), "m\"x");
    assert_string_equal(text_at(v, "system_fingerprint"), "fp_0123456789ab");
    assert_int_equal(int_at(v, "created"), 1700000000);
    assert_int_equal(json_array_size(at(v, "choices")), 2);
    assert_string_equal(text_at(v, "choices.0.message.content"),
                        "he said \"no\"\n\x01");
    assert_string_equal(text_at(v, "choices.0.finish_reason"), "stop");
    assert_string_equal(text_at(v, "choices.1.finish_reason"), "length");
    assert_true(json_is_null(at(v, "choices.0.message.refusal")));
    assert_true(json_is_null(at(v, "choices.0.logprobs")));
    assert_int_equal(int_at(v, "usage.prompt_tokens"), 3);
    assert_int_equal(int_at(v, "usage.completion_tokens"), 2);
    assert_int_equal(int_at(v, "usage.total_tokens"), 5);
    assert_int_equal(int_at(v, "usage.prompt_tokens_details.cached_tokens"), 1);
    json_decref(v);
    rig_close(&r);
}

/* What is cut is text without an end, then what it cost, and no more. */
static void a_cut_stream_has_no_end_but_its_usage(void **state)
{
    struct rig r;
    char *all;

    (void)state;
    for (int chat = 0; chat < 2; chat++) {
        rig_open(&r, (struct plan){.kind = chat ? ENDPOINT_CHAT
                                                : ENDPOINT_COMPLETIONS,
                                   .stream = true,
                                   .include_usage = true});
        send(&r, 0, (struct gen_event){.kind = GEN_EV_START});
        text(&r, 0, "ab");
        finish(&r, 0, GEN_FINISH_CUT);
        assert_int_equal(answer_break(r.a, &r.out), ERR_OK);
        assert_true(answer_is_finished(r.a));
        assert_int_equal(buf_put(&r.out, "", 1), ERR_OK);
        all = r.out.p;
        assert_non_null(strstr(all, "\"ab\""));
        assert_non_null(strstr(all, "\"choices\":[],\"usage\":{"));
        assert_non_null(strstr(all, "\"completion_tokens\":2"));
        assert_null(strstr(all, "[DONE]"));
        assert_null(strstr(all, "\"length\""));
        assert_null(strstr(all, "\"stop\""));
        rig_close(&r);
    }
}

static void a_cut_message_ends_by_its_length(void **state)
{
    struct rig r;
    json_t *v;

    (void)state;
    rig_open(&r, (struct plan){.kind = ENDPOINT_CHAT});
    text(&r, 0, "ab");
    finish(&r, 0, GEN_FINISH_CUT);
    assert_int_equal(answer_finish(r.a, &r.out), ERR_OK);
    v = body(&r);
    assert_string_equal(text_at(v, "choices.0.message.content"), "ab");
    assert_string_equal(text_at(v, "choices.0.finish_reason"), "length");
    json_decref(v);
    rig_close(&r);
}

static void a_stream_has_role_text_end_and_usage(void **state)
{
    struct rig r;
    json_t *v;

    (void)state;
    rig_open(&r, (struct plan){.kind = ENDPOINT_CHAT,
                               .stream = true,
                               .include_usage = true});
    send(&r, 0, (struct gen_event){.kind = GEN_EV_START});
    text(&r, 0, "a");
    text(&r, 0, "b");
    finish(&r, 0, GEN_FINISH_STOP);
    assert_int_equal(answer_finish(r.a, &r.out), ERR_OK);
    v = events(&r);
    assert_int_equal(json_array_size(v), 5);
    assert_string_equal(text_at(v, "0.object"), "chat.completion.chunk");
    assert_string_equal(text_at(v, "0.choices.0.delta.role"), "assistant");
    assert_string_equal(text_at(v, "0.choices.0.delta.content"), "");
    assert_string_equal(text_at(v, "2.choices.0.delta.content"), "b");
    assert_true(json_is_null(at(v, "2.choices.0.finish_reason")));
    assert_true(json_is_null(at(v, "2.usage")));
    assert_int_equal(json_object_size(at(v, "3.choices.0.delta")), 0);
    assert_string_equal(text_at(v, "3.choices.0.finish_reason"), "stop");
    assert_int_equal(json_array_size(at(v, "4.choices")), 0);
    assert_int_equal(int_at(v, "4.usage.total_tokens"), 5);
    for (size_t i = 1; i < 5; i++)
        assert_string_equal(
            json_string_value(json_object_get(json_array_get(v, i), "id")),
            text_at(v, "0.id"));
    json_decref(v);
    rig_close(&r);
}

/* --- log probabilities -------------------------------------------------- */

static struct gen_logprob logprob(int32_t id, float p, int32_t rival)
{
    struct gen_logprob l = {.id = id, .logprob = p, .n_top = 1};

    l.top[0].id = rival;
    l.top[0].logprob = p / 2;
    return l;
}

static void a_token_within_a_character_is_told_by_its_bytes(void **state)
{
    const struct gen_logprob l[] = {logprob(HALF_A, -1.5f, CAT),
                                    logprob(HALF_B, -INFINITY, HALF_B)};
    struct rig r;
    json_t *v;

    (void)state;
    rig_open(&r, (struct plan){
                     .kind = ENDPOINT_CHAT, .logprobs = true, .stream = true});
    send(&r, 0,
         (struct gen_event){
             .kind = GEN_EV_TEXT, .n_logprobs = 1, .logprobs = &l[0]});
    send(&r, 0,
         (struct gen_event){.kind = GEN_EV_TEXT,
                            .text = STR("\xC3\xA9"),
                            .n_logprobs = 1,
                            .logprobs = &l[1]});
    finish(&r, 0, GEN_FINISH_LENGTH);
    assert_int_equal(answer_finish(r.a, &r.out), ERR_OK);
    v = events(&r);
    assert_int_equal(int_at(v, "1.choices.0.logprobs.content.0.bytes.0"), 0xC3);
    assert_string_equal(text_at(v, "1.choices.0.delta.content"), "");
    assert_string_equal(
        text_at(v, "1.choices.0.logprobs.content.0.top_logprobs.0.token"),
        " cat");
    assert_string_equal(text_at(v, "2.choices.0.delta.content"), "\xC3\xA9");
    assert_true(json_number_value(at(
                    v, "2.choices.0.logprobs.content.0.logprob")) == -9999.0);
    json_decref(v);
    rig_close(&r);
}

static void an_echoed_prompt_comes_first_with_its_offsets(void **state)
{
    const int32_t ids[] = {BOS, THE, CAT};
    const struct gen_logprob before[] = {logprob(THE, -1, CAT),
                                         logprob(CAT, -2, CAT)};
    const struct gen_logprob after[] = {logprob(QUOTE, -3, THE)};
    struct rig r;
    json_t *v;

    (void)state;
    rig_open(&r, (struct plan){.kind = ENDPOINT_COMPLETIONS,
                               .logprobs = true,
                               .echo = true});
    r.prompts[0] = (struct plan_prompt){STR("the cat"), ids, 3};
    send(&r, 0,
         (struct gen_event){
             .kind = GEN_EV_START, .n_logprobs = 2, .logprobs = before});
    send(&r, 0,
         (struct gen_event){.kind = GEN_EV_TEXT,
                            .text = STR("\""),
                            .n_logprobs = 1,
                            .logprobs = after});
    finish(&r, 0, GEN_FINISH_LENGTH);
    assert_int_equal(answer_finish(r.a, &r.out), ERR_OK);
    v = body(&r);
    assert_string_equal(text_at(v, "choices.0.text"), "the cat\"");
    assert_int_equal(json_array_size(at(v, "choices.0.logprobs.tokens")), 4);
    assert_true(json_is_null(at(v, "choices.0.logprobs.token_logprobs.0")));
    assert_true(json_is_null(at(v, "choices.0.logprobs.top_logprobs.0")));
    assert_int_equal(int_at(v, "choices.0.logprobs.text_offset.1"), 0);
    assert_int_equal(int_at(v, "choices.0.logprobs.text_offset.2"), 3);
    assert_int_equal(int_at(v, "choices.0.logprobs.text_offset.3"), 7);
    assert_int_equal(
        json_object_size(at(v, "choices.0.logprobs.top_logprobs.3")), 2);
    json_decref(v);
    rig_close(&r);
}

static void best_of_keeps_the_likeliest_by_token(void **state)
{
    const struct gen_logprob l[] = {
        logprob(THE, -3, THE), logprob(CAT, -1, CAT), logprob(CAT, -1, CAT),
        logprob(THE, -2, THE)};
    struct rig r;
    json_t *v;

    (void)state;
    rig_open(&r,
             (struct plan){.kind = ENDPOINT_COMPLETIONS, .n = 2, .best_of = 3});
    for (unsigned c = 0; c < 3; c++) {
        static const char *const says[] = {"worst", "best", "second"};

        send(&r, 0,
             (struct gen_event){.kind = GEN_EV_TEXT,
                                .choice = c,
                                .text = str_from(says[c]),
                                .n_logprobs = c == 1 ? 2 : 1,
                                .logprobs = &l[c == 2 ? 3 : c]});
        finish(&r, c, GEN_FINISH_LENGTH);
    }
    assert_int_equal(answer_finish(r.a, &r.out), ERR_OK);
    v = body(&r);
    assert_int_equal(json_array_size(at(v, "choices")), 2);
    assert_string_equal(text_at(v, "choices.0.text"), "best");
    assert_string_equal(text_at(v, "choices.1.text"), "second");
    assert_int_equal(int_at(v, "choices.1.index"), 1);
    json_decref(v);
    rig_close(&r);
}

/* --- the rest ----------------------------------------------------------- */

static void choices_of_prompts_are_numbered_through(void **state)
{
    struct rig r;
    json_t *v;

    (void)state;
    rig_open(&r, (struct plan){.kind = ENDPOINT_COMPLETIONS,
                               .n = 2,
                               .n_prompts = 2,
                               .stream = true});
    for (unsigned p = 0; p < 2; p++)
        for (unsigned c = 0; c < 2; c++)
            send(&r, p,
                 (struct gen_event){.kind = GEN_EV_FINISH,
                                    .choice = c,
                                    .finish = GEN_FINISH_STOP});
    assert_int_equal(answer_finish(r.a, &r.out), ERR_OK);
    v = events(&r);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(int_at(json_array_get(v, i), "choices.0.index"), i);
    json_decref(v);
    rig_close(&r);
}

static void vectors_come_as_numbers_or_base64(void **state)
{
    static const float vector[] = {1.0f, -0.5f, 0.333333343f};
    const struct gen_event ev = {.kind = GEN_EV_EMBED,
                                 .n_vector = 3,
                                 .vector = vector,
                                 .counts = {.prompt_tokens = 4}};
    struct rig r;
    json_t *v;

    (void)state;
    for (int base64 = 0; base64 < 2; base64++) {
        rig_open(&r, (struct plan){.kind = ENDPOINT_EMBEDDINGS,
                                   .n_prompts = 2,
                                   .base64 = base64 != 0});
        send(&r, 1, ev);
        send(&r, 0, ev);
        assert_int_equal(answer_finish(r.a, &r.out), ERR_OK);
        v = body(&r);
        assert_int_equal(json_array_size(at(v, "data")), 2);
        assert_int_equal(int_at(v, "data.1.index"), 1);
        assert_int_equal(int_at(v, "usage.prompt_tokens"), 8);
        if (base64)
            assert_string_equal(text_at(v, "data.0.embedding"),
                                "AACAPwAAAL+rqqo+");
        else
            assert_true((float)json_real_value(at(v, "data.0.embedding.2")) ==
                        vector[2]);
        json_decref(v);
        rig_close(&r);
    }
}

/* Fill <r>, which has two prompts, with so much text or so many numbers. */
static void fill_large(struct rig *r, bool embed)
{
    enum { N = 200000 };
    float *vector = malloc(N * sizeof(*vector));

    assert_non_null(vector);
    memset(vector, 1, N * sizeof(*vector));
    for (unsigned i = 0; i < 2; i++) {
        if (embed)
            assert_int_equal(
                answer_event(r->a, i,
                             &(struct gen_event){.kind = GEN_EV_EMBED,
                                                 .n_vector = N,
                                                 .vector = vector},
                             &r->out),
                ERR_OK);
        for (unsigned k = 0; k < 200 && !embed; k++)
            assert_int_equal(
                answer_event(
                    r->a, i,
                    &(struct gen_event){.kind = GEN_EV_TEXT,
                                        .text = str_of((char *)vector, 1000)},
                    &r->out),
                ERR_OK);
    }
    free(vector);
}

static void a_long_body_comes_in_parts(void **state)
{
    static const enum endpoint kinds[] = {ENDPOINT_EMBEDDINGS,
                                          ENDPOINT_COMPLETIONS};
    struct rig r;
    json_t *v;

    (void)state;
    for (size_t k = 0; k < 2; k++) {
        unsigned parts = 0;

        rig_open(&r, (struct plan){
                         .kind = kinds[k], .n_prompts = 2, .base64 = true});
        r.out.cap = SIZE_MAX / 2;
        fill_large(&r, k == 0);
        while (!answer_is_finished(r.a)) {
            size_t before = r.out.len;

            assert_int_equal(answer_finish(r.a, &r.out), ERR_OK);
            assert_true(r.out.len > before);
            parts++;
        }
        assert_int_equal(parts, 2);
        v = body(&r);
        assert_int_equal(json_array_size(at(v, k == 0 ? "data" : "choices")),
                         2);
        json_decref(v);
        rig_close(&r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_message_is_whole),
        cmocka_unit_test(a_cut_stream_has_no_end_but_its_usage),
        cmocka_unit_test(a_cut_message_ends_by_its_length),
        cmocka_unit_test(a_stream_has_role_text_end_and_usage),
        cmocka_unit_test(a_token_within_a_character_is_told_by_its_bytes),
        cmocka_unit_test(an_echoed_prompt_comes_first_with_its_offsets),
        cmocka_unit_test(best_of_keeps_the_likeliest_by_token),
        cmocka_unit_test(choices_of_prompts_are_numbered_through),
        cmocka_unit_test(vectors_come_as_numbers_or_base64),
        cmocka_unit_test(a_long_body_comes_in_parts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
