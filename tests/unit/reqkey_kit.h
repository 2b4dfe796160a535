/* reqkey_kit.h - Requests in a few words, their keys, and how two of those are
 * compared. */
#ifndef TG_TESTS_UNIT_REQKEY_KIT_H
#define TG_TESTS_UNIT_REQKEY_KIT_H

#include "recall/reqkey.h"

#include "unit/cmocka_all.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "exchange/exchange.h"
#include "wire/jscan.h"

#define OUT_CAP (1 << 22)

static const char reqkey_conf_text[] =
    "upstreams:\n"
    "  - {name: up, base_url: \"http://127.0.0.1:9/v1\", api_key: k1}\n"
    "  - {name: two, base_url: \"http://127.0.0.1:8/v1\", api_key: k2}\n"
    "routes:\n"
    "  - {model: m, targets: [{upstream: up, model: real}]}\n"
    "  - {model: \"*\", targets: [{upstream: two}]}\n";

/* A request; what is NULL or 0 has the value in ask_make(). */
struct asked {
    const char *method, *target, *fields, *body;
    const char *key_id, *team;
    const char *conf, *secret;
    const char *const *ignore; /* up to NULL */
    enum conf_scope scope;
    bool unread; /* the body flows past */
};

/* What is made of one, freed by ask_free(). */
struct ask_rig {
    struct exchange x;
    struct request in;
    struct caller who;
    struct ask ask;
    struct http1_header table[HTTP1_FIELDS];
    struct jscan scan;
    struct arena *arena;
    struct conf *conf;
    struct buf head;
};

static inline struct conf *conf_of(const char *text)
{
    struct conf_report r = {0};
    struct conf *c = NULL;

    if (conf_load_text("F", str_from(text), 0, &r, &c) != ERR_OK)
        fail_msg("%s", r.n_items ? r.items[0].text : "no configuration");
    conf_report_fini(&r);
    return c;
}

static inline void read_body(struct ask_rig *rig, const struct asked *a)
{
    const struct str body = str_from(a->body);
    const struct jmember *stream = &rig->scan.m[JREQ_STREAM];

    buf_init(&rig->in.body, OUT_CAP);
    assert_int_equal(buf_put_str(&rig->in.body, body), ERR_OK);
    if (jscan_run(&rig->scan, buf_str(&rig->in.body), &jscan_request, NULL) !=
        ERR_OK)
        return;
    rig->ask.scan = &rig->scan;
    if (rig->in.ep.model.len > 0) {
        rig->ask.model = rig->in.ep.model;
        rig->ask.where = MODEL_PATH;
    } else if (rig->scan.m[JREQ_MODEL].type == JT_STRING) {
        assert_int_equal(jval_str(&rig->scan.m[JREQ_MODEL], 256, rig->arena,
                                  &rig->ask.model),
                         ERR_OK);
        rig->ask.where = MODEL_JSON;
    }
    rig->ask.stream = stream->type == JT_TRUE;
}

static inline struct ask_rig *ask_make(const struct asked *a)
{
    struct ask_rig *rig = calloc(1, sizeof(*rig));

    assert_non_null(rig);
    rig->arena = arena_new(4096, OUT_CAP);
    rig->conf = conf_of(a->conf ? a->conf : reqkey_conf_text);
    buf_init(&rig->head, OUT_CAP);
    assert_int_equal(
        buf_printf(&rig->head,
                   "%s %s HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n%s\r\n",
                   a->method ? a->method : "POST",
                   a->target ? a->target : "/v1/chat/completions",
                   a->fields ? a->fields : ""),
        ERR_OK);
    assert_int_equal(http1_parse(buf_str(&rig->head), rig->table, HTTP1_FIELDS,
                                 &rig->in.head),
                     ERR_OK);
    assert_int_equal(
        endpoint_lookup(rig->in.head.method, rig->in.head.path, &rig->in.ep),
        ERR_OK);
    rig->in.mode = a->unread ? BODY_STREAM : BODY_COLLECT;
    rig->in.body_done = true;
    rig->who.key_id = str_from(a->key_id ? a->key_id : "key_1");
    rig->who.team = str_from(a->team);
    rig->x = (struct exchange){.in = &rig->in,
                               .who = &rig->who,
                               .ask = &rig->ask,
                               .conf = rig->conf,
                               .arena = rig->arena};
    read_body(rig, a);
    return rig;
}

static inline void ask_free(struct ask_rig *rig)
{
    buf_fini(&rig->in.body);
    buf_fini(&rig->head);
    conf_unref(rig->conf);
    arena_free(rig->arena);
    free(rig);
}

static inline enum err try_key(const struct asked *a, struct reqkey *out)
{
    struct ask_rig *rig = ask_make(a);
    const struct conf_cache *cache = &rig->conf->cache;
    struct reqkey_conf rc = {
        .secret = str_from(a->secret ? a->secret : "a secret of this server"),
        .scope = a->scope};
    struct str ignore[8];
    size_t n = 0;
    struct canon_skip *skip;
    enum err e;

    while (a->ignore && a->ignore[n]) {
        ignore[n] = str_from(a->ignore[n]);
        n++;
    }
    e = a->ignore ? reqkey_skip_new(ignore, n, &skip)
                  : reqkey_skip_new(cache->ignore, cache->n_ignore, &skip);
    assert_int_equal(e, ERR_OK);
    rc.skip = skip;
    e = reqkey_make(&rig->x, &rc, out);
    reqkey_skip_free(skip);
    ask_free(rig);
    return e;
}

static inline struct reqkey key_of(struct asked a)
{
    struct reqkey key;

    if (try_key(&a, &key) != ERR_OK)
        fail_msg("no key: %s", a.body);
    return key;
}

static inline bool same_digest(const struct digest *a, const struct digest *b)
{
    return memcmp(a->b, b->b, sizeof(a->b)) == 0;
}

#define SAME(a, b)  expect(key_of(a), key_of(b), true, true, __LINE__)
#define OTHER(a, b) expect(key_of(a), key_of(b), false, false, __LINE__)
#define MODES(a, b) expect(key_of(a), key_of(b), true, false, __LINE__)

static inline void expect(struct reqkey a, struct reqkey b, bool same,
                          bool exact, int line)
{
    if (same_digest(&a.same, &b.same) != same)
        fail_msg("line %d: %s", line, same ? "two keys" : "one key");
    if (same_digest(&a.exact, &b.exact) != exact)
        fail_msg("line %d: %s", line, exact ? "two exact keys" : "one");
}

#endif
