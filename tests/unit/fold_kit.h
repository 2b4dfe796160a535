/* fold_kit.h - Streams and replies that should mean the same, compared as
 * parsed JSON. */
#ifndef TG_TESTS_UNIT_FOLD_KIT_H
#define TG_TESTS_UNIT_FOLD_KIT_H

#include "cmocka_all.h"

#include <jansson.h>
#include <stdio.h>

#include "wire/fold.h"
#include "wire/unfold.h"

enum { KIT_MAX = 8 << 20 };

/* A stream, and the reply that it amounts to; NULL: it has none. */
struct fold_row {
    const char *name;
    enum endpoint kind;
    const char *sse, *json;
};

/* Fail unless <got> parses to what <want> does. */
static inline void kit_equal(const char *name, struct str got, const char *want)
{
    json_t *a = json_loadb(got.p, got.len, JSON_REJECT_DUPLICATES, NULL);
    json_t *b = json_loads(want, JSON_REJECT_DUPLICATES, NULL);

    if (!a || !b || !json_equal(a, b))
        fail_msg("%s: got %.*s, wanted %s", name, (int)got.len, got.p, want);
    json_decref(a);
    json_decref(b);
}

/* Fold each row, whose stream may stand in quotes of one kind: every ' of it
 * and of the reply is a ". */
static inline void kit_fold(const struct fold_row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        char *sse = strdup(rows[i].sse);
        char *json = rows[i].json ? strdup(rows[i].json) : NULL;
        struct buf out;
        enum err e;

        for (char *p = sse; *p; p++)
            *p = *p == '\'' ? '"' : *p;
        for (char *p = json; p && *p; p++)
            *p = *p == '\'' ? '"' : *p;
        buf_init(&out, KIT_MAX);
        e = fold_events(rows[i].kind, str_from(sse), NULL, &out);
        if (e != (json ? ERR_OK : ERR_NOT_FOUND))
            fail_msg("%s: code %d", rows[i].name, e);
        if (json)
            kit_equal(rows[i].name, buf_str(&out), json);
        else
            assert_int_equal(out.len, 0);
        buf_fini(&out);
        free(sse);
        free(json);
    }
}

/* Tell <json> in events and put them together again. */
static inline void kit_round(const char *name, enum endpoint kind,
                             const char *quoted, bool include_usage)
{
    char *json = strdup(quoted);
    struct buf sse, back;

    for (char *p = json; *p; p++)
        *p = *p == '\'' ? '"' : *p;
    buf_init(&sse, KIT_MAX);
    buf_init(&back, KIT_MAX);
    if (unfold_reply(kind, str_from(json), include_usage, &sse) != ERR_OK)
        fail_msg("%s: not told", name);
    if (fold_events(kind, buf_str(&sse), NULL, &back) != ERR_OK)
        fail_msg("%s: not put together: %.*s", name, (int)sse.len, sse.p);
    kit_equal(name, buf_str(&back), json);
    buf_fini(&sse);
    buf_fini(&back);
    free(json);
}

#endif
