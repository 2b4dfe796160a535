/* fz_request.c - Bodies for the engine: the tree against jansson's, then all
 * that reads fields out of it. What jansson does not read, and is meant to be
 * taken: half surrogate pairs, numbers past its range. What it reads, and is
 * meant to be refused: depth past the scanner's, a NUL behind a number. */
#include "engine/jtree.h"
#include "engine/params.h"
#include "engine/prep.h"

#include "base/arena.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#define VOCAB 300

#define CHECK(cond)                                                            \
    do {                                                                       \
        if (!(cond)) {                                                         \
            fprintf(stderr, "line %d: %s\n", __LINE__, #cond);                 \
            abort();                                                           \
        }                                                                      \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_refusal(enum err e, const struct params_fault *why)
{
    CHECK(e == ERR_OK || e == ERR_BAD_PARAM);
    CHECK(e == ERR_OK || strlen(why->text) > 10);
}

static void read_fields(const json_t *body, enum endpoint kind,
                        struct arena *mem)
{
    struct params_fault why = {.param = ""};
    struct params p = {0};
    enum err e = params_read(body, kind, VOCAB, mem, &why, &p);

    check_refusal(e, &why);
    if (e == ERR_OK) {
        CHECK(p.n >= 1 && p.best_of >= p.n && p.n <= GEN_CHOICES_MAX);
        CHECK(p.n_stops <= GEN_STOPS_MAX && p.top_logprobs <= GEN_LOGPROBS_MAX);
        CHECK(p.max_tokens >= -1 && p.max_tokens <= INT32_MAX);
        CHECK(p.sampling.temperature >= 0 && p.sampling.temperature <= 2);
        CHECK(p.format != PARAMS_JSON_SCHEMA || p.schema);
        CHECK(p.tool_choice == PARAMS_TOOLS_NONE || p.tools);
    }
    params_fini(&p);
}

static void read_messages(const json_t *body, bool raw, struct arena *mem)
{
    struct params_fault why = {.param = ""};
    json_t *list = NULL;
    enum err e = prep_messages(body, raw, mem, &why, &list);

    check_refusal(e, &why);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *m = json_array_get(list, i);

        CHECK(json_is_string(json_object_get(m, "role")));
        CHECK(json_is_string(json_object_get(m, "content")));
    }
    json_decref(list);
}

/* jansson reads <text>: it is an object, and equal to <got>. */
static void compare(struct str text, enum err e, const json_t *got)
{
    json_t *want = json_loadb(text.p, text.len,
                              JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES, NULL);

    if (json_is_object(want) && got)
        CHECK(json_equal(want, got));
    /* Only depth, and a NUL byte, are known to part us. */
    if (json_is_object(want) && e != ERR_OK)
        CHECK(memchr(text.p, '\0', text.len) || text.len > 128);
    json_decref(want);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena *mem = arena_new(4096, 64u << 20);
    struct params_fault why = {.param = ""};
    char *text = malloc(size ? size : 1);
    json_t *body = NULL, *last = NULL;
    enum err e;

    CHECK(text && mem);
    memcpy(text, data, size);
    e = jtree_read(str_of(text, size), JTREE_TWICE_REFUSED, mem, &why, &body);
    CHECK(e == ERR_OK ? body != NULL : e == ERR_BAD_JSON && !body);
    CHECK(e == ERR_OK || strlen(why.text) > 10);
    compare(str_of(text, size), e, body);
    if (jtree_read(str_of(text, size), JTREE_TWICE_LAST, mem, &why, &last) ==
        ERR_OK)
        CHECK(!body || json_equal(body, last));
    else
        CHECK(!body);
    if (last) {
        read_fields(last, ENDPOINT_CHAT, mem);
        read_fields(last, ENDPOINT_COMPLETIONS, mem);
        read_messages(last, false, mem);
        read_messages(last, true, mem);
    }
    json_decref(body);
    json_decref(last);
    arena_free(mem);
    free(text);
    return 0;
}
