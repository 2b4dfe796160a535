/* fz_multipart.c - Form data cut anywhere gives the same verdict and model,
 * and the model is the bytes it is said to be, up to the next delimiter.
 *
 * Input: two bytes that seed the cutting, then the body; the boundary is "x"
 * or, with an odd first byte, "x-y". */
#include "wire/multipart.h"

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

static enum err feed(struct multipart *m, const char *type, struct str body,
                     unsigned seed)
{
    enum err e = multipart_init(m, str_from(type));

    CHECK(e == ERR_OK);
    while (body.len > 0 && e == ERR_OK) {
        seed = seed > 1 ? seed * 1103515245 + 12345 : seed;
        size_t step = seed > 1 ? seed >> 16 & 31 : seed;
        if (seed == 0 || step > body.len)
            step = body.len;
        e = multipart_feed(m, str_of(body.p, step));
        body = str_skip(body, step);
    }
    return e;
}

/* The model as the first delimiter after its start bounds it. */
static void check_model(const struct multipart *m, struct str body)
{
    struct str rest = str_skip(body, (size_t)m->value_at);
    const char *hit = memmem(rest.p, rest.len, m->delim, m->delim_len);

    CHECK(m->value_at <= body.len && hit);
    CHECK(str_eq(str_of(rest.p, (size_t)(hit - rest.p)), multipart_model(m)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *type = "multipart/form-data; boundary=x";
    struct multipart a, b;
    struct str body;
    enum err e;

    /* the header itself must be safe to read, whatever it is */
    if (multipart_init(&a, str_of(data, size)) == ERR_OK)
        CHECK(a.delim_len > 4);
    if (size < 2)
        return 0;
    if ((data[0] & 1) != 0)
        type = "multipart/form-data; boundary=\"x-y\"";
    body = str_of(data + 2, size - 2);
    e = feed(&a, type, body, 0);
    for (unsigned i = 0; i < 2; i++) {
        CHECK(feed(&b, type, body,
                   i == 0 ? 1 : 2U + data[0] + 256U * data[1]) == e);
        CHECK(a.state == b.state && a.found == b.found);
        /* how far a failing feed got is nobody's business */
        CHECK(e != ERR_OK || a.at == b.at);
        CHECK(!a.found || (a.value_at == b.value_at &&
                           str_eq(multipart_model(&a), multipart_model(&b))));
    }
    if (a.found)
        check_model(&a, body);
    return 0;
}
