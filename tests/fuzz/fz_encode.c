/* fz_encode.c - Any bytes, cut into runs of either trust, for vocabularies that
 * have all bytes: what is encoded comes back, ids are in range, nothing that is
 * not trusted is a control token. The stream of the decoder gives the same text
 * as the bytes with what is no UTF-8 replaced. */
#include "base/utf8.h"
#include "token/vocab.h"

#include <stdio.h>
#include <stdlib.h>

#include "lib/vocab_made.h"

#define CHECK(cond)                                                            \
    do {                                                                       \
        if (!(cond)) {                                                         \
            fprintf(stderr, "line %d: %s\n", __LINE__, #cond);                 \
            abort();                                                           \
        }                                                                      \
    } while (0)

#define MOST_SPANS 4

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const pres[] = {
    "gpt-2",  "llama-bpe",      "qwen2",       "qwen35",     "default",
    "falcon", "starcoder",      "tekken",      "gpt-4o",     "bloom",
    "viking", "deepseek-llm",   "deepseek-v3", "seed-coder", "ufakzeka",
    "laguna", "deepseek-coder", "exaone-moe",  "minicpm5",
};

/* The stream of <ids>. */
static void decode(const struct vocab *v, const struct vocab_ids *ids,
                   struct buf *out)
{
    struct detok d = {.begun = true};

    for (size_t i = 0; i < ids->n; i++) {
        CHECK(ids->ids[i] >= 0 && (unsigned)ids->ids[i] < vocab_size(v));
        CHECK(!detok_push(&d, v, ids->ids[i], true, out));
        CHECK(d.n_held < 4);
        CHECK(utf8_is_valid(buf_str(out)));
    }
    CHECK(!detok_finish(&d, out));
    CHECK(utf8_is_valid(buf_str(out)));
}

static void check(const struct vocab *v, struct str text,
                  const struct vocab_span *spans, size_t n_spans)
{
    struct vocab_ids ids = {0};
    struct buf bytes, stream;
    bool trusted = false;

    buf_init(&bytes, 1 << 24);
    buf_init(&stream, 1 << 24);
    CHECK(!vocab_encode(v, text, spans, n_spans, 1 << 22, &ids));
    for (size_t i = 0; i < n_spans; i++)
        trusted = trusted || spans[i].trusted;
    for (size_t i = 0; i < ids.n; i++) {
        CHECK(trusted || !vocab_is_control(v, ids.ids[i]));
        CHECK(!buf_put_str(&bytes, vocab_bytes(v, ids.ids[i])));
    }
    CHECK(str_eq(buf_str(&bytes), text));
    decode(v, &ids, &stream);
    if (utf8_is_valid(text))
        CHECK(str_eq(buf_str(&stream), text));
    buf_fini(&bytes);
    buf_fini(&stream);
    free(ids.ids);
}

/* SPM cannot tell U+2581 from a space. */
static void check_spm(const struct vocab *v, struct str text)
{
    if (str_find(text, STR("\xe2\x96\x81")) == text.len)
        check(v, text, NULL, 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct vocab *bpe[sizeof(pres) / sizeof(pres[0])], *spm;
    struct vocab_span spans[MOST_SPANS];
    size_t which, left;

    if (!spm)
        spm = vocab_made_spm(VOCAB_NO);
    if (size < 1 + MOST_SPANS)
        return 0;
    which = data[0] % (sizeof(pres) / sizeof(pres[0]));
    if (!bpe[which])
        bpe[which] = vocab_made_bpe(pres[which]);
    left = size - 1 - MOST_SPANS;
    for (size_t i = 0; i < MOST_SPANS; i++) {
        size_t len = data[1 + i] >> 1;

        spans[i].len = len < left && i + 1 < MOST_SPANS ? len : left;
        spans[i].trusted = data[1 + i] & 1;
        left -= spans[i].len;
    }
    data += 1 + MOST_SPANS;
    size -= 1 + MOST_SPANS;
    check(bpe[which], str_of(data, size), spans, MOST_SPANS);
    check_spm(spm, str_of(data, size));
    return 0;
}
