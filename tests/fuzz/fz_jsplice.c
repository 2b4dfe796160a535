/* fz_jsplice.c - Splices of whatever JSON: the result is JSON, its slices and
 * its copy are the same bytes, and what was not edited is as it was.
 *
 * Input: a byte for each of two edits, a byte of switches, then the text. */
#include "wire/jsplice.h"

#include <stdio.h>
#include <stdlib.h>

#define CHECK(cond)                                                            \
    do {                                                                       \
        if (!(cond)) {                                                         \
            fprintf(stderr, "line %d: %s\n", __LINE__, #cond);                 \
            abort();                                                           \
        }                                                                      \
    } while (0)

enum { INSERT = 1, WANT_USAGE = 2, RENAME = 4 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What happened to the members of the root, by their place. */
struct plan {
    unsigned removed[2], replaced[2]; /* place + 1, 0 = none */
    unsigned inserted;
};

/* The member at <place>; JT_NONE past the last. */
static struct jmember member_at(struct str object, unsigned place)
{
    struct jmember m;
    struct jiter it;

    jiter_init(&it, object);
    while (jiter_next(&it, &m) && place > 0)
        place--;
    return m;
}

/* One edit: the low bits choose the member, the top bit what happens. */
static void edit(struct jsplice *s, struct str root, uint8_t byte, int which,
                 struct plan *plan)
{
    unsigned place = byte & 31;
    struct jmember m = member_at(root, place);

    if (m.type == JT_NONE)
        return;
    if ((byte & 128) != 0) {
        if (jsplice_remove(s, root, &m) == ERR_OK)
            plan->removed[which] = place + 1;
    } else if (jsplice_replace(s, m.value, STR("[0]")) == ERR_OK) {
        plan->replaced[which] = place + 1;
    }
}

/* Compare members: those not edited must be the same bytes. */
static void check_members(struct str before, struct str after,
                          const struct plan *plan)
{
    struct jmember a, b;
    struct jiter ia, ib;
    unsigned place = 0;

    jiter_init(&ia, before);
    jiter_init(&ib, after);
    for (unsigned i = 0; i < plan->inserted; i++)
        CHECK(jiter_next(&ib, &b));
    while (jiter_next(&ia, &a)) {
        place++;
        if (plan->removed[0] == place || plan->removed[1] == place)
            continue;
        CHECK(jiter_next(&ib, &b));
        CHECK(str_eq(a.key, b.key));
        if (plan->replaced[0] == place || plan->replaced[1] == place)
            CHECK(str_eq(b.value, STR("[0]")));
        else
            CHECK(str_eq(a.value, b.value));
    }
    CHECK(!jiter_next(&ib, &b));
}

/* Every byte of the text outside the cuts must stand in the result, in its
 * place, with only what was put between. */
static void check_bytes(const struct jsplice *s, struct str out)
{
    struct iovec iov[JSPLICE_IOV];
    unsigned n = jsplice_iov(s, iov);
    size_t at = 0, kept = 0, cut = 0;
    const char *last = s->text.p;

    for (unsigned i = 0; i < n; i++) {
        const char *p = iov[i].iov_base;
        CHECK(memcmp(out.p + at, p, iov[i].iov_len) == 0);
        at += iov[i].iov_len;
        if (p < s->text.p || p >= s->text.p + s->text.len)
            continue;
        CHECK(p >= last);
        last = p + iov[i].iov_len;
        kept += iov[i].iov_len;
    }
    for (unsigned i = 0; i < s->count; i++)
        cut += s->edit[i].cut;
    CHECK(at == out.len && at == jsplice_len(s));
    CHECK(kept + cut == s->text.len);
}

static void run(const struct jscan *scan, const uint8_t *head,
                struct arena *arena, struct buf *out)
{
    struct plan plan = {0};
    struct jsplice s;
    struct jscan again;

    jsplice_init(&s, scan->text, arena);
    if (scan->root.type == JT_OBJECT) {
        edit(&s, scan->root.value, head[0], 0, &plan);
        if ((head[2] & INSERT) != 0 &&
            jsplice_insert(&s, scan->root.value, STR("k\"\n"), STR("{}")) ==
                ERR_OK)
            plan.inserted++;
        edit(&s, scan->root.value, head[1], 1, &plan);
    }
    CHECK(jsplice_put(&s, out) == ERR_OK);
    check_bytes(&s, buf_str(out));
    CHECK(jscan_run(&again, buf_str(out), NULL, NULL) == ERR_OK);
    CHECK(again.root.type == scan->root.type);
    if (scan->root.type == JT_OBJECT)
        check_members(scan->root.value, again.root.value, &plan);
}

/* The edits that requests get: afterwards they hold what was asked for. */
static void run_request(struct str text, const uint8_t *head,
                        struct arena *arena, struct buf *out)
{
    struct jsplice s;
    struct jscan scan, again;
    struct str name;

    if (jscan_run(&scan, text, &jscan_request, NULL) != ERR_OK)
        return;
    jsplice_init(&s, text, arena);
    bool wants =
        (head[2] & WANT_USAGE) != 0 && jsplice_want_usage(&s, &scan) == ERR_OK;
    bool capped = (head[2] & INSERT) != 0 &&
                  jsplice_cap(&s, &scan, &scan.m[JREQ_MAX_TOKENS],
                              STR("max_tokens"), 77) == ERR_OK;
    bool renamed =
        (head[2] & RENAME) != 0 &&
        jsplice_rename(&s, &scan.m[JREQ_MODEL], str_of(head, 3)) == ERR_OK;
    buf_clear(out);
    CHECK(jsplice_put(&s, out) == ERR_OK);
    check_bytes(&s, buf_str(out));
    enum err e = jscan_run(&again, buf_str(out), &jscan_request, NULL);
    CHECK(
        e == ERR_OK ||
        (e == ERR_BAD_PARAM && strcmp(again.reason, "too many keys") == 0) ||
        (e == ERR_BAD_JSON && strcmp(again.reason, "nested too deeply") == 0));
    if (e != ERR_OK)
        return;
    CHECK(!wants || again.m[JREQ_INCLUDE_USAGE].type == JT_TRUE);
    CHECK(!capped || str_eq(again.m[JREQ_MAX_TOKENS].value, STR("77")));
    CHECK(!renamed ||
          jval_str(&again.m[JREQ_MODEL], 16, arena, &name) == ERR_OK);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena *arena;
    struct jscan scan;
    struct buf out;
    struct str text;

    if (size < 3)
        return 0;
    text = str_of(data + 3, size - 3);
    if (jscan_run(&scan, text, NULL, NULL) != ERR_OK)
        return 0;
    arena = arena_new(1024, 1 << 20);
    CHECK(arena);
    buf_init(&out, (size_t)1 << 24);
    run(&scan, data, arena, &out);
    run_request(text, data, arena, &out);
    buf_fini(&out);
    arena_free(arena);
    return 0;
}
