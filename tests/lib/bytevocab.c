/* bytevocab.c - See bytevocab.h. */
#include "lib/bytevocab.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"

/* <s> in the byte alphabet of GPT-2, malloc'ed. */
static struct str spell(struct str s)
{
    char *out = malloc(4 * s.len + 1);
    size_t n = 0;

    for (size_t i = 0; i < s.len; i++) {
        uint32_t c = (uint8_t)s.p[i], k = 0;
        bool own = (c >= 33 && c <= 126) || (c >= 161 && c <= 172) || c >= 174;
        for (uint32_t b = 0; b < c; b++)
            k += !((b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174);
        n += utf8_put(own ? c : 256 + k, out + n);
    }
    return str_of(out, n);
}

struct vocab *bytevocab_new(const struct str *words, size_t n)
{
    struct vocab_spec spec = {.kind = VOCAB_BPE,
                              .pre = STR("gpt-2"),
                              .n = BYTEVOCAB_WORDS + n,
                              .bos = -1,
                              .eos = BYTEVOCAB_EOS,
                              .eot = -1,
                              .eom = -1,
                              .unk = -1,
                              .pad = -1,
                              .add_bos = VOCAB_UNSAID,
                              .add_eos = VOCAB_UNSAID,
                              .add_space_prefix = VOCAB_UNSAID};
    struct str *text = calloc(spec.n, sizeof(*text));
    int32_t *types = calloc(spec.n, sizeof(*types));
    struct vocab_fault why = {""};
    struct vocab *v = NULL;

    for (size_t i = 0; i < spec.n; i++) {
        char c = (char)i;
        types[i] = VOCAB_NORMAL;
        if (i < 256)
            text[i] = spell(str_of(&c, 1));
        else if (i >= BYTEVOCAB_WORDS)
            text[i] = spell(words[i - BYTEVOCAB_WORDS]);
        else
            types[i] = VOCAB_CONTROL;
    }
    text[BYTEVOCAB_EOS] = str_from(strdup("</s>"));
    text[BYTEVOCAB_TOOL_CALLS] = str_from(strdup("[TOOL_CALLS]"));
    text[BYTEVOCAB_PYTHON] = str_from(strdup("<|python_tag|>"));
    spec.text = text;
    spec.types = types;
    if (vocab_new(&spec, &why, &v)) {
        fprintf(stderr, "%s\n", why.text);
        abort();
    }
    for (size_t i = 0; i < spec.n; i++)
        free((void *)(uintptr_t)text[i].p);
    free(text);
    free(types);
    return v;
}

/* Words that cross JSON's borders in many ways, parts of characters. */
static const struct str usual[] = {
    STR("{\""),
    STR("\":"),
    STR("\": "),
    STR("\", \""),
    STR("\",\""),
    STR("\"}"),
    STR("}}"),
    STR("}]"),
    STR("[{\""),
    STR("[["),
    STR("]]"),
    STR("],"),
    STR(" \""),
    STR("true"),
    STR("true,"),
    STR("null"),
    STR("null}"),
    STR("false"),
    STR("abc"),
    STR("ab"),
    STR("a\":"),
    STR("name"),
    STR("\"name"),
    STR("12"),
    STR("123,"),
    STR("0.5"),
    STR("-1"),
    STR("1e5"),
    STR("\\n"),
    STR("\\u00"),
    STR("\\ud83d"),
    STR("d83d\\u"),
    STR("\xc3\xa9"),
    STR("\xc3"),
    STR("\xa9\""),
    STR("\xe2\x82"),
    STR("\xf0\x9f"),
    STR("\n"),
    STR("\n  "),
    STR("    "),
    STR("\t"),
    STR("  "),
    STR("\"a\":1}"),
    STR("},{"),
    STR("\\\""),
    STR("\\"),
    STR("<tool_call>"),
    STR("</tool_call>"),
    STR("\n{\"name\": \""),
    STR("\", \"arguments\": {"),
    STR("<tool"),
    STR("call>\n{"),
    STR("the "),
    STR("hello world"),
    STR("\":[\""),
    STR("e-"),
    STR("00"),
    STR("\"\""),
    STR("\"\"}"),
    STR("{}"),
    STR("[]"),
    STR("{}}"),
    STR("\xed\xa0"),
    STR("\xff"),
    STR("z\xc3"),
    STR("-0"),
    STR("zz\"}]"),
};

struct vocab *bytevocab_new_usual(void)
{
    return bytevocab_new(usual, sizeof(usual) / sizeof(*usual));
}
