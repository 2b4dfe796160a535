/* fz_tokenizer_json.c - Any bytes as tokenizer.json, what follows a line of
 * three dashes as tokenizer_config.json: refused with a reason, or a vocabulary
 * that encodes and decodes. */
#include "token/vocab.h"

#include <stdio.h>
#include <stdlib.h>

#define CHECK(cond)                                                            \
    do {                                                                       \
        if (!(cond)) {                                                         \
            fprintf(stderr, "line %d: %s\n", __LINE__, #cond);                 \
            abort();                                                           \
        }                                                                      \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void use(const struct vocab *v, struct str text)
{
    struct vocab_span span = {text.len, true};
    struct vocab_ids ids = {0};
    struct detok d = {0};
    struct buf out;

    buf_init(&out, 1 << 24);
    CHECK(vocab_bos(v) < (int32_t)vocab_size(v));
    CHECK(vocab_eos(v) < (int32_t)vocab_size(v));
    CHECK(!vocab_encode(v, text, &span, 1, 1 << 20, &ids));
    for (size_t i = 0; i < ids.n; i++) {
        CHECK(ids.ids[i] >= 0 && (unsigned)ids.ids[i] < vocab_size(v));
        CHECK(!detok_push(&d, v, ids.ids[i], true, &out));
    }
    CHECK(!detok_finish(&d, &out));
    buf_fini(&out);
    free(ids.ids);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str all = str_of(data, size), tokenizer = all, config = {NULL, 0};
    size_t at = str_find(all, STR("\n---\n"));
    struct vocab_fault why;
    struct vocab *v = NULL;

    if (at < all.len) {
        tokenizer.len = at;
        config = str_skip(all, at + 5);
    }
    if (vocab_from_hf(tokenizer, config, &why, &v)) {
        CHECK(!v && why.text[0] != '\0');
        return 0;
    }
    use(v, STR("Hello world's  12345\n\n\xc3\xa9\xe2\x96\x81\xff</s><s>ab ab"));
    use(v, all.len < 4096 ? all : str_of(all.p, 4096));
    vocab_free(v);
    return 0;
}
