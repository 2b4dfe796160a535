/* fold.c - See fold.h. Walks the events, and folds those of the Responses API,
 * whose last event holds the whole reply. */
#include "wire/fold.h"

#include "wire/fold_priv.h"
#include "wire/sse.h"

/* First block of the arena, and its bound: for every piece of a stream some
 * bytes of bookkeeping, and its own where it must be copied. */
enum { FOLD_FIRST = 8192, FOLD_FIXED = 1 << 20, FOLD_TIMES = 16 };

/* Steps of search: about one for each byte of the stream, and these. */
enum { FOLD_STEPS = 1 << 16 };

static void responses_event(struct fold *f, const struct jmember *root)
{
    struct jmember type = jval_member(root, STR("type"));
    struct jmember item, at;
    int64_t index = 0;

    if (jval_is(type.value, STR("response.completed")) ||
        jval_is(type.value, STR("response.incomplete"))) {
        f->final = jval_member(root, STR("response"));
        return;
    }
    if (jval_is(type.value, STR("response.failed")) ||
        jval_is(type.value, STR("response.cancelled")) ||
        jval_is(type.value, STR("error")))
        jmerge_fail(&f->m, ERR_NOT_FOUND);
    if (!jval_is(type.value, STR("response.output_item.done")))
        return;
    item = jval_member(root, STR("item"));
    at = jval_member(root, STR("output_index"));
    if (item.type != JT_OBJECT || jval_uint(&at, &index) != ERR_OK) {
        jmerge_fail(&f->m, ERR_NOT_FOUND);
        return;
    }
    f->list = &f->top;
    jnode_set(jnode_at(&f->m, f->list, index), item.value);
}

/* Some providers leave the items out of the last event. */
static enum err responses_put(struct fold *f, struct buf *out)
{
    struct jmember output = jval_member(&f->final, STR("output"));
    struct jmember first;
    struct jiter it;
    struct str whole = f->final.value;

    if (f->final.type != JT_OBJECT)
        return ERR_NOT_FOUND;
    jiter_init(&it, output.value);
    if (!f->list || output.type == JT_OBJECT || jiter_next(&it, &first))
        return buf_put_str(out, whole);
    if (output.type != JT_NONE) {
        size_t at = (size_t)(output.value.p - whole.p);

        ERR_TRY(buf_put(out, whole.p, at));
        ERR_TRY(jnode_put(f->list, out));
        return buf_put_str(out, str_skip(whole, at + output.value.len));
    }
    ERR_TRY(buf_put_str(out, STR("{\"output\":")));
    ERR_TRY(jnode_put(f->list, out));
    jiter_init(&it, whole);
    if (jiter_next(&it, &first))
        ERR_TRY(buf_put_str(out, STR(",")));
    return buf_put_str(out, str_skip(whole, 1));
}

static void take_event(struct fold *f, const struct sse_event *e,
                       struct str sse)
{
    struct str data = e->data;
    struct jscan scan;

    if (!e->has_data || str_trim(data).len == 0 ||
        str_starts(str_trim(data), STR("[DONE]")))
        return;
    if (data.p < sse.p || data.p >= sse.p + sse.len) { /* not for long */
        data = arena_dup(f->m.arena, data);
        if (!data.p) {
            jmerge_fail(&f->m, ERR_NOMEM);
            return;
        }
    }
    if (str_eq(e->name, STR("error")) ||
        jscan_run(&scan, data, NULL, NULL) != ERR_OK ||
        scan.root.type != JT_OBJECT) {
        jmerge_fail(&f->m, ERR_NOT_FOUND);
        return;
    }
    if (f->kind == ENDPOINT_RESPONSES)
        responses_event(f, &scan.root);
    else if (f->kind == ENDPOINT_MESSAGES)
        fold_message_event(f, &scan.root);
    else
        fold_chat_event(f, &scan.root);
}

/* Take every event of <sse>. */
static void take_stream(struct fold *f, struct str sse)
{
    struct str rest = sse, end = STR("\n\n");
    struct sse_event event;
    struct sse_in in;
    enum err e = ERR_OK;

    sse_in_init(&in, sse.len + 1, sse.len + 2);
    while (e == ERR_OK && f->m.err == ERR_OK) {
        e = sse_in_next(&in, &rest, &event);
        if (e == ERR_AGAIN && sse_in_pending(&in).len > 0 && end.len > 0) {
            rest = end; /* the last event may want its blank line */
            end.len = 0;
            e = sse_in_next(&in, &rest, &event);
        }
        if (e == ERR_OK)
            take_event(f, &event, sse);
    }
    if (e != ERR_AGAIN)
        jmerge_fail(&f->m, e == ERR_NOMEM ? ERR_NOMEM : ERR_NOT_FOUND);
    sse_in_fini(&in);
}

static enum err fold_put(struct fold *f, struct buf *out)
{
    if (f->m.err != ERR_OK)
        return f->m.err;
    if (f->kind == ENDPOINT_RESPONSES)
        return responses_put(f, out);
    if (f->kind == ENDPOINT_MESSAGES)
        return fold_message_put(f, out);
    return fold_chat_put(f, out);
}

enum err fold_events(enum endpoint kind, struct str sse,
                     const struct usage *told, struct buf *json_out)
{
    struct fold f = {.kind = kind, .told = told};
    size_t start = json_out->len;
    enum err e;

    if (kind != ENDPOINT_CHAT && kind != ENDPOINT_COMPLETIONS &&
        kind != ENDPOINT_RESPONSES && kind != ENDPOINT_MESSAGES)
        return ERR_NOT_FOUND;
    f.m.arena = arena_new(FOLD_FIRST, FOLD_FIXED + FOLD_TIMES * sse.len);
    if (!f.m.arena)
        return ERR_NOMEM;
    f.m.steps = FOLD_STEPS + sse.len;
    take_stream(&f, sse);
    e = fold_put(&f, json_out);
    if (e != ERR_OK)
        json_out->len = start;
    arena_free(f.m.arena);
    return e;
}
