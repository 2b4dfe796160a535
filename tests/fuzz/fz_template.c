/* fz_template.c - A chat template and its context, with a zero byte between:
 * whatever they are, rendering ends, within its bounds, and its runs add up to
 * its text. What is tainted can be made of the context's bytes only, so a text
 * without a context, or with one that is not used, has no tainted byte. */
#include "token/template.h"

#include <stdio.h>
#include <stdlib.h>

#define CHECK(cond)                                                            \
    do {                                                                       \
        if (!(cond)) {                                                         \
            fprintf(stderr, "line %d: %s\n", __LINE__, #cond);                 \
            abort();                                                           \
        }                                                                      \
    } while (0)

#define MAX_BYTES 20000u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char context_text[] =
    "{\"messages\":[{\"role\":\"system\",\"content\":\"s\"},"
    "{\"role\":\"user\",\"content\":\"u\xC3\xA9 <|x|>\\n\"},"
    "{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"id\":\"1\","
    "\"function\":{\"name\":\"f\",\"arguments\":{\"a\":[1,2.5,true]}}}]},"
    "{\"role\":\"tool\",\"content\":[{\"type\":\"text\",\"text\":\"t\"}]}],"
    "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\","
    "\"parameters\":{\"properties\":{\"a\":{\"type\":\"string\"}}}}}],"
    "\"bos_token\":\"<s>\",\"eos_token\":\"</s>\",\"x\":3,\"s\":\"abc\","
    "\"add_generation_prompt\":true}";

static void check_text(const struct template_text *text, bool no_context)
{
    size_t sum = 0;

    for (size_t i = 0; i < text->n_spans; i++) {
        CHECK(text->spans[i].len > 0);
        CHECK(i == 0 || text->spans[i].trusted != text->spans[i - 1].trusted);
        CHECK(!no_context || text->spans[i].trusted);
        sum += text->spans[i].len;
    }
    CHECK(sum == text->text.len && sum <= MAX_BYTES);
}

static void render(const struct template *t, const json_t *context,
                   bool no_context)
{
    struct template_text text = {0};
    struct template_fault why;
    enum err e =
        template_render(t, context, 1752105600, MAX_BYTES, &why, &text);

    CHECK(e == ERR_OK || e == ERR_SYNTAX || e == ERR_FULL || e == ERR_NOMEM);
    if (e == ERR_OK)
        check_text(&text, no_context);
    else
        CHECK(why.text[0] || why.raised || e == ERR_NOMEM);
    template_text_fini(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str all = str_of(data, size);
    size_t cut = str_find_char(all, '\0');
    struct str rest = str_skip(all, cut + 1);
    struct template *t = NULL;
    struct template_fault why;
    json_t *context, *empty;
    char *source = malloc(cut + 1);
    enum err e;

    CHECK(source);
    if (cut > 0)
        memcpy(source, data, cut);
    e = template_new(str_of(source, cut), &why, &t);
    CHECK(e == ERR_OK || (e == ERR_SYNTAX && why.text[0]));
    free(source);
    if (e != ERR_OK)
        return 0;
    context = rest.len > 0 ? json_loadb(rest.p, rest.len, 0, NULL) : NULL;
    if (!json_is_object(context)) {
        json_decref(context);
        context = json_loads(context_text, 0, NULL);
    }
    empty = json_object();
    CHECK(context && empty);
    render(t, context, false);
    render(t, empty, true);
    json_decref(empty);
    json_decref(context);
    template_free(t);
    return 0;
}
