/* fz_bound.c - Bodies of requests against what they may take at most. jansson
 * reads those that were let through once more: no cap, choice or prompt of
 * theirs may be above the bound, and no picture or tool of the provider's in
 * them. The first two bytes choose the operation and the budgets. */
#include "serve/bound.h"

#include "account/budget_spec.h"
#include "exchange/exchange.h"
#include "wire/jscan.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#define DEFAULT_OUTPUT 4096
#define TEXT_OUTPUT    16 /* of the older completions */

#define CHECK(cond)                                                            \
    do {                                                                       \
        if (!(cond)) {                                                         \
            fprintf(stderr, "line %d: %s\n", __LINE__, #cond);                 \
            abort();                                                           \
        }                                                                      \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const enum endpoint kinds[] = {
    ENDPOINT_CHAT,        ENDPOINT_COMPLETIONS, ENDPOINT_EMBEDDINGS,
    ENDPOINT_RESPONSES,   ENDPOINT_MESSAGES,    ENDPOINT_RERANK,
    ENDPOINT_SCORE,       ENDPOINT_POOLING,     ENDPOINT_MODERATIONS,
    ENDPOINT_PASSTHROUGH, ENDPOINT_COUNT_TOKENS};

static const char *const media[] = {"image_url", "input_image", "image",
                                    "file",      "input_audio", "video_url"};

/* What refuses is a sentence, and its param can be shown. */
static void check_refusal(enum err e, const struct bound_no *no)
{
    CHECK(e == ERR_BAD_PARAM || e == ERR_BAD_REQUEST);
    CHECK((e == ERR_BAD_PARAM) == (no->param[0] != '\0') || e == ERR_BAD_PARAM);
    CHECK(strnlen(no->text, sizeof(no->text)) < sizeof(no->text));
    CHECK(strstr(no->text, "hard budget"));
    for (const char *p = no->param; *p; p++)
        CHECK(*p >= 0x20 && *p < 0x7F);
    for (const char *p = no->text; *p; p++)
        CHECK(*p >= 0x20 && *p < 0x7F);
}

/* The number <name> of <body> as a double; <none> where there is none. */
static double number_of(const json_t *body, const char *name, double none)
{
    const json_t *v = json_object_get(body, name);

    return json_is_number(v) ? json_number_value(v) : none;
}

static void check_output(const json_t *body, enum endpoint kind,
                         const struct bound *b)
{
    const json_t *prompt = json_object_get(body, "prompt");
    double n = number_of(body, "n", 1), best = number_of(body, "best_of", 1);
    double cap = 0, out;
    static const char *const caps[] = {"max_tokens", "max_completion_tokens",
                                       "max_output_tokens"};

    for (size_t i = 0; i < sizeof(caps) / sizeof(caps[0]); i++)
        if (number_of(body, caps[i], 0) > cap)
            cap = number_of(body, caps[i], 0);
    if (cap == 0)
        cap = kind == ENDPOINT_COMPLETIONS ? TEXT_OUTPUT : DEFAULT_OUTPUT;
    out = cap * (n > best ? n : best);
    if (kind == ENDPOINT_COMPLETIONS && json_is_array(prompt) &&
        !json_is_number(json_array_get(prompt, 0)))
        out *= (double)(json_array_size(prompt) ? json_array_size(prompt) : 1);
    CHECK((double)b->output_tok >= out * 0.999999);
    CHECK(b->output_tok == UINT64_MAX ||
          b->output_tok == b->cap_tok * b->choices);
}

/* No part of the list <parts> is a picture or such. */
static void check_parts(const json_t *parts)
{
    const char *type;

    for (size_t i = 0; i < json_array_size(parts); i++) {
        const json_t *p = json_array_get(parts, i);

        type = json_string_value(json_object_get(p, "type"));
        for (size_t k = 0; type && k < sizeof(media) / sizeof(media[0]); k++)
            CHECK(strcmp(type, media[k]) != 0);
        CHECK(!json_is_string(json_object_get(p, "file_id")));
        CHECK(!json_is_string(json_object_get(p, "image_url")));
    }
}

static void check_lists(const json_t *body, enum endpoint kind)
{
    const char *const list = kind == ENDPOINT_RESPONSES ? "input" : "messages";
    const json_t *messages = json_object_get(body, list);
    const json_t *tools = json_object_get(body, "tools");

    for (size_t i = 0; i < json_array_size(messages); i++)
        check_parts(json_object_get(json_array_get(messages, i), "content"));
    if (kind == ENDPOINT_RESPONSES)
        check_parts(messages);
    for (size_t i = 0; i < json_array_size(tools); i++) {
        const char *type = json_string_value(
            json_object_get(json_array_get(tools, i), "type"));

        CHECK(!type || !strstr(type, "search"));
        CHECK(type || kind == ENDPOINT_MESSAGES);
    }
}

/* <text> was let through, with <b>. */
static void check_bound(struct str text, enum endpoint kind,
                        const struct bound_rules *rules, const struct bound *b)
{
    bool makes = kind == ENDPOINT_CHAT || kind == ENDPOINT_COMPLETIONS ||
                 kind == ENDPOINT_RESPONSES || kind == ENDPOINT_MESSAGES;
    json_t *body;

    CHECK(b->choices >= 1 && b->least_tok >= 1 && b->audio_ms == 0);
    if (b->free || b->flat) {
        CHECK(b->input_tok == 0 && b->output_tok == 0 && b->extra_tok == 0);
        return;
    }
    CHECK((b->cap_tok > 0) == makes);
    if (b->caps == 0 && makes)
        CHECK(b->cap_tok ==
              (kind == ENDPOINT_COMPLETIONS ? TEXT_OUTPUT : DEFAULT_OUTPUT));
    CHECK(b->input_tok >= b->media * rules->media_tok);
    CHECK(b->media == 0 || rules->media_tok > 0);
    if (rules->media_tok > 0)
        return;
    CHECK(b->input_tok >= text.len);
    body = json_loadb(text.p, text.len, JSON_ALLOW_NUL, NULL);
    if (json_is_object(body) && makes)
        check_output(body, kind, b);
    if (json_is_object(body) && makes)
        check_lists(body, kind);
    json_decref(body);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct str allow[] = {{"extra", 5}};
    struct request in = {.has_body = true};
    struct jscan scan;
    struct ask ask = {.scan = &scan};
    struct exchange x = {.in = &in, .ask = &ask};
    struct bound_rules rules = {
        .default_output = DEFAULT_OUTPUT, .allow = allow, .n_allow = 1};
    struct bound b;
    struct bound_no no = {.param = ""};
    enum endpoint kind;
    enum err e;

    if (size < 2)
        return 0;
    kind = kinds[data[0] % (sizeof(kinds) / sizeof(kinds[0]))];
    rules.units = data[1] & 15 ? data[1] & 15U : 1U << BUDGET_TOKENS;
    rules.media_tok = data[1] & 16 ? 1000 : 0;
    rules.priced = data[1] >> 5;
    in.ep.row = endpoint_row(kind);
    in.head.method = HTTP1_POST;
    if (jscan_run(&scan, str_of(data + 2, size - 2), &jscan_request, NULL) !=
        ERR_OK)
        return 0;
    e = bound_of(&x, &rules, &b, &no);
    if (e == ERR_OK)
        check_bound(scan.text, kind, &rules, &b);
    else
        check_refusal(e, &no);
    return 0;
}
