/* fz_record.c - Any bytes as the record of a reply: they are refused, or they
 * become a tape whose own record reads the same and is stable. */
#include "base/panic.h"
#include "recall/record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Its frames, one after the other, are the body. */
static void walk(const struct record_view *v)
{
    struct record_pos pos = {.index = 0};
    struct str frame;
    uint64_t at = 0;
    uint32_t ms;

    while (record_next(v, &pos, &frame, &ms)) {
        BUG_ON(frame.len == 0 || frame.p != v->body.p + at);
        at += frame.len;
    }
    BUG_ON(at != v->body.len || pos.index != v->frames);
}

/* The beginning of a record tells the same as all of it. */
static void try_part(struct str bytes, const struct record_view *v)
{
    const struct str part = {bytes.p, bytes.len / 2};
    struct record_view p;
    enum err e = record_view_part(part, bytes.len, &p);

    BUG_ON(e != ERR_OK && e != ERR_AGAIN);
    BUG_ON(e == ERR_OK &&
           (p.frames != v->frames || p.body_bytes != v->body.len ||
            p.head.status != v->head.status || p.body.p != v->body.p));
}

static struct buf record_again(struct str bytes)
{
    struct tape *t = NULL;
    struct buf b;

    buf_init(&b, bytes.len + 4096);
    if (record_open(bytes, 1, &t) == ERR_OK) {
        BUG_ON(record_put(t, &b) != ERR_OK);
        tape_unref(t);
    }
    return b;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct str bytes = str_of(data, size);
    struct record_view v, w;
    struct buf a, b;

    if (record_view(bytes, &v) != ERR_OK) {
        (void)record_view_part(bytes, size * 2, &v);
        return 0;
    }
    walk(&v);
    try_part(bytes, &v);
    a = record_again(bytes);
    b = record_again(buf_str(&a));
    BUG_ON(!str_eq(buf_str(&a), buf_str(&b)));
    BUG_ON(record_view(buf_str(&a), &w) != ERR_OK);
    BUG_ON(!str_eq(v.body, w.body) || !str_eq(v.head.type, w.head.type));
    BUG_ON(v.head.events && v.frames != w.frames);
    BUG_ON(v.has_sum != w.has_sum);
    buf_fini(&a);
    buf_fini(&b);
    return 0;
}
