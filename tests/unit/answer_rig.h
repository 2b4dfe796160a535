/* answer_rig.h - An answer over a vocabulary of a few tokens: events go in,
 * what a client reads comes out, and all of it is parsed as JSON. */
#ifndef TG_TESTS_UNIT_ANSWER_RIG_H
#define TG_TESTS_UNIT_ANSWER_RIG_H

#include "unit/cmocka_all.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "engine/answer.h"
#include "token/vocab.h"

/* Ids of the vocabulary below. */
enum { UNK, BOS, EOS, THE, CAT, QUOTE, HALF_A, HALF_B, N_TOKENS };

struct rig {
    struct vocab *v;
    struct answer *a;
    struct plan plan;
    struct plan_prompt prompts[4];
    struct buf out;
};

static inline struct vocab *make_vocab(void)
{
    static const struct str text[N_TOKENS] = {STR("<unk>"),
                                              STR("<s>"),
                                              STR("</s>"),
                                              STR("\xE2\x96\x81the"),
                                              STR("\xE2\x96\x81"
                                                  "cat"),
                                              STR("\""),
                                              STR("<0xC3>"),
                                              STR("<0xA9>")};
    static const float scores[N_TOKENS] = {0};
    static const int32_t types[N_TOKENS] = {
        VOCAB_UNKNOWN, VOCAB_CONTROL, VOCAB_CONTROL, VOCAB_NORMAL,
        VOCAB_NORMAL,  VOCAB_NORMAL,  VOCAB_BYTE,    VOCAB_BYTE};
    struct vocab_spec spec = {.kind = VOCAB_SPM,
                              .n = N_TOKENS,
                              .text = text,
                              .scores = scores,
                              .types = types,
                              .bos = BOS,
                              .eos = EOS,
                              .eot = -1,
                              .eom = -1,
                              .unk = UNK,
                              .pad = -1};
    struct vocab_fault why;
    struct vocab *v = NULL;

    if (vocab_new(&spec, &why, &v) != ERR_OK)
        fail_msg("%s", why.text);
    return v;
}

static inline void rig_open(struct rig *r, struct plan plan)
{
    struct answer_who who = {.model = STR("m\"x"),
                             .fingerprint = "fp_0123456789ab",
                             .created_s = 1700000000};

    memset(r, 0, sizeof(*r));
    r->v = make_vocab();
    r->plan = plan;
    r->plan.n = plan.n ? plan.n : 1;
    r->plan.best_of = plan.best_of ? plan.best_of : r->plan.n;
    r->plan.n_prompts = plan.n_prompts ? plan.n_prompts : 1;
    r->plan.prompts = r->prompts;
    who.vocab = r->v;
    buf_init(&r->out, 1u << 20);
    r->a = answer_new(&r->plan, &who);
    assert_non_null(r->a);
}

static inline void rig_close(struct rig *r)
{
    answer_free(r->a);
    buf_fini(&r->out);
    vocab_free(r->v);
}

static inline void send(struct rig *r, unsigned prompt, struct gen_event ev)
{
    assert_int_equal(answer_event(r->a, prompt, &ev, &r->out), ERR_OK);
}

static inline void text(struct rig *r, unsigned choice, const char *s)
{
    send(r, 0,
         (struct gen_event){.kind = GEN_EV_TEXT,
                            .choice = choice,
                            .text = str_from(s),
                            .counts = {.prompt_tokens = 3,
                                       .cached_tokens = 1,
                                       .output_tokens = 2}});
}

static inline void finish(struct rig *r, unsigned choice, enum gen_finish how)
{
    send(r, 0,
         (struct gen_event){.kind = GEN_EV_FINISH,
                            .choice = choice,
                            .finish = how,
                            .counts = {.prompt_tokens = 3,
                                       .cached_tokens = 1,
                                       .output_tokens = 2}});
}

/* The events of a stream, each parsed; the last one must be [DONE]. */
static inline json_t *events(struct rig *r)
{
    json_t *all = json_array();
    struct str rest = buf_str(&r->out);

    while (rest.len > 0) {
        size_t end = str_find(rest, STR("\n\n"));
        struct str line = str_of(rest.p, end);

        assert_true(end < rest.len);
        assert_true(str_starts(line, STR("data: ")));
        line = str_skip(line, 6);
        rest = str_skip(rest, end + 2);
        if (str_eq(line, STR("[DONE]"))) {
            assert_int_equal(rest.len, 0);
            return all;
        }
        json_t *v = json_loadb(line.p, line.len, 0, NULL);

        assert_non_null(v);
        json_array_append_new(all, v);
    }
    json_decref(all);
    fail_msg("no [DONE]");
    return NULL;
}

static inline json_t *body(struct rig *r)
{
    json_t *v = json_loadb(r->out.p, r->out.len, 0, NULL);

    assert_non_null(v);
    return v;
}

/* The value at a path like "choices.0.message.content". */
static inline const json_t *at(const json_t *v, const char *path)
{
    char name[64];

    while (v && *path) {
        size_t n = strcspn(path, ".");

        snprintf(name, sizeof(name), "%.*s", (int)n, path);
        v = json_is_array(v) ? json_array_get(v, strtoul(name, NULL, 10))
                             : json_object_get(v, name);
        path += n + (path[n] == '.');
    }
    return v;
}

static inline const char *text_at(const json_t *v, const char *path)
{
    return json_string_value(at(v, path));
}

static inline long long int_at(const json_t *v, const char *path)
{
    return json_integer_value(at(v, path));
}

#endif
