/* fz_toolcall.c - Text with tool calls in it: any cut tells the same as one
 * piece, and what is no call comes out byte for byte. */
#include "token/toolcall.h"

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

/* What was told, runs of one kind as one. */
struct told {
    struct buf log;
    struct buf text; /* only the text */
    int last;        /* kind and index of the open run */
    unsigned n_calls;
    bool in_call;
};

static void on_piece(enum toolcall_kind kind, unsigned index, struct str text,
                     void *arg)
{
    struct told *t = arg;
    int run = (int)(index * 4 + kind) + 1;

    if (run != t->last || kind == TOOLCALL_BEGIN || kind == TOOLCALL_END)
        CHECK(buf_printf(&t->log, "|%d:%u:", (int)kind, index) == ERR_OK);
    t->last = run;
    CHECK(buf_put_str(&t->log, text) == ERR_OK);
    if (kind == TOOLCALL_TEXT) {
        CHECK(buf_put_str(&t->text, text) == ERR_OK && text.len > 0);
        t->in_call = false;
    } else if (kind == TOOLCALL_BEGIN) {
        CHECK(index == t->n_calls && text.len > 0);
        t->n_calls++;
        t->in_call = true;
    } else {
        CHECK(t->in_call && index + 1 == t->n_calls);
        t->in_call = kind != TOOLCALL_END;
    }
}

static void read_all(enum toolcall_style style, struct str text, unsigned seed,
                     struct told *t)
{
    struct toolcall_reader *r = toolcall_reader_new(style);

    CHECK(r);
    *t = (struct told){.n_calls = 0};
    buf_init(&t->log, (size_t)1 << 26);
    buf_init(&t->text, (size_t)1 << 26);
    while (text.len > 0) {
        size_t n = text.len;

        if (seed != 0) {
            seed = seed * 1103515245u + 12345u;
            n = 1 + (seed >> 16) % ((seed >> 8) % 3 == 0 ? 40 : 3);
            n = n < text.len ? n : text.len;
        }
        CHECK(toolcall_read(r, str_of(text.p, n), on_piece, t) == ERR_OK);
        text = str_skip(text, n);
    }
    CHECK(toolcall_finish(r, on_piece, t) == ERR_OK);
    CHECK(toolcall_count(r) == t->n_calls);
    toolcall_reader_free(r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum toolcall_style style;
    struct told whole, cut;
    struct str text;

    if (size < 2)
        return 0;
    style = (enum toolcall_style)(data[0] % 4);
    text = str_of(data + 2, size - 2);
    read_all(style, text, 0, &whole);
    read_all(style, text, data[1] + 1u, &cut);
    CHECK(str_eq(buf_str(&whole.log), buf_str(&cut.log)));
    if (whole.n_calls == 0)
        CHECK(str_eq(buf_str(&whole.text), text));
    buf_fini(&whole.log);
    buf_fini(&whole.text);
    buf_fini(&cut.log);
    buf_fini(&cut.text);
    return 0;
}
