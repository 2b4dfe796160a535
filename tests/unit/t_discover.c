/* t_discover.c - Model lists: shapes, bounds, failures, reload, readers. */
#include "lib/upfix.h"

#include <event2/event.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

/* What the server answers next; swapped by tests between requests. */
struct script {
    pthread_mutex_t lock;
    char *reply;
};

static void set_reply(struct script *sc, const char *status, const char *body)
{
    size_t room = strlen(body) + 256;
    char *text = malloc(room);

    snprintf(text, room, "HTTP/1.1 %s\r\nContent-Length: %zu\r\n\r\n%s", status,
             strlen(body), body);
    pthread_mutex_lock(&sc->lock);
    free(sc->reply);
    sc->reply = text;
    pthread_mutex_unlock(&sc->lock);
}

static void serve(struct rawconn *c, void *arg)
{
    struct script *sc = arg;
    struct str req;

    while ((req = raw_request(c)).len > 0) {
        char *copy;

        raw_note(c, str_of(req.p, str_find_char(req, '\r')));
        raw_note(c, STR("\n"));
        pthread_mutex_lock(&sc->lock);
        copy = strdup(sc->reply);
        pthread_mutex_unlock(&sc->lock);
        raw_send(c, copy);
        free(copy);
    }
}

struct world {
    struct upfix f;
    struct rawserver s;
    struct script sc;
    struct discover *d;
    struct conf *conf;
};

/* A snapshot with one upstream of <dialect> called "up" at the server. */
static struct conf *make_conf(struct world *w, const char *dialect,
                              const char *more)
{
    struct conf_report r = {0};
    struct conf *c = NULL;
    char text[512];

    snprintf(text, sizeof(text),
             "upstreams:\n  - name: up\n    base_url: http://127.0.0.1:%u/v1\n"
             "    dialect: %s\n%s",
             w->s.port, dialect, more);
    if (conf_load_text("test", str_from(text), CONF_OFFLINE, &r, &c) != ERR_OK)
        fail_msg("%s", r.n_items > 0 ? r.items[0].text : "?");
    conf_report_fini(&r);
    return c;
}

static void world_init(struct world *w, const char *dialect)
{
    memset(w, 0, sizeof(*w));
    pthread_mutex_init(&w->sc.lock, NULL);
    set_reply(&w->sc, "200 OK", "{\"data\":[]}");
    rawserver_start(&w->s, serve, &w->sc, NULL);
    upfix_init(&w->f, NULL, w->s.port, false);
    w->conf = make_conf(w, dialect, "");
    w->f.w.conf = w->conf;
    w->d = discover_new(w->f.resolver);
    assert_non_null(w->d);
}

static void world_fini(struct world *w)
{
    discover_stop(w->d);
    discover_free(w->d);
    conf_unref(w->conf);
    upfix_fini(&w->f);
    rawserver_stop(&w->s);
    free(w->sc.reply);
    pthread_mutex_destroy(&w->sc.lock);
}

/* Turn the loop until the answer for <model> is <want>. */
static void until(struct world *w, const char *model, enum discover_answer want)
{
    while (discover_serves(w->d, STR("up"), str_from(model)) != want)
        upfix_turn(&w->f);
}

static void openai_list(void **state)
{
    struct world w;
    const struct discover_list *l;

    (void)state;
    world_init(&w, "openai");
    set_reply(&w.sc, "200 OK",
              "{\"object\":\"list\",\"data\":[{\"id\":\"gpt-b\"},{\"id\":"
              "\"gpt-a\",\"x\":1},{\"id\":\"gpt-b\"},{\"id\":7},{},3,"
              "{\"id\":\"\"},{\"id\":\"a\\u0001b\"},{\"id\":\"z\\u00e9\"}]}");
    assert_int_equal(discover_serves(w.d, STR("up"), STR("gpt-a")),
                     DISCOVER_UNKNOWN);
    assert_null(discover_list_get(w.d, STR("up")));
    discover_run(w.d, &w.f.w);
    until(&w, "gpt-a", DISCOVER_YES);
    assert_int_equal(discover_serves(w.d, STR("up"), STR("gpt-b")),
                     DISCOVER_YES);
    assert_int_equal(discover_serves(w.d, STR("up"), STR("gpt")), DISCOVER_NO);
    assert_int_equal(discover_serves(w.d, STR("other"), STR("gpt-a")),
                     DISCOVER_UNKNOWN);
    l = discover_list_get(w.d, STR("up"));
    assert_non_null(l);
    assert_int_equal(l->count, 3);
    assert_string_equal(l->ids[0].p, "gpt-a");
    assert_string_equal(l->ids[1].p, "gpt-b");
    assert_string_equal(l->ids[2].p, "z\xc3\xa9");
    assert_true(l->fetched_wall_ms > 0);
    assert_string_equal(w.s.log, "GET /v1/models HTTP/1.1\n");
    world_fini(&w);
    assert_string_equal(l->ids[0].p, "gpt-a"); /* our reference holds it */
    discover_list_unref(l);
}

static void anthropic_list_is_asked_for_whole(void **state)
{
    struct world w;

    (void)state;
    world_init(&w, "anthropic");
    set_reply(&w.sc, "200 OK",
              "{\"data\":[{\"type\":\"model\",\"id\":\"claude-x\","
              "\"display_name\":\"X\"}],\"has_more\":false}");
    discover_run(w.d, &w.f.w);
    until(&w, "claude-x", DISCOVER_YES);
    assert_string_equal(w.s.log, "GET /v1/models?limit=1000 HTTP/1.1\n");
    world_fini(&w);
}

/* Pages of Anthropic's list by the id they begin after. */
static const struct {
    const char *asked, *body;
} pages[] = {
    {"limit=1000 ",
     "{\"data\":[{\"id\":\"c\"},{\"id\":\"o/x&y\"}],\"has_more\":"
     "true,\"first_id\":\"c\",\"last_id\":\"o/x&y\"}"},
    {"&after_id=o%2Fx%26y ", "{\"data\":[{\"id\":\"a\"},{\"id\":\"c\"}],"
                             "\"has_more\":true,\"last_id\":\"a\"}"},
    {"&after_id=a ", "{\"data\":[{\"id\":\"b\"}],\"has_more\":false,"
                     "\"last_id\":\"b\"}"},
};

/* Answers with the page asked for; with <arg>, the same one forever. */
static void serve_pages(struct rawconn *c, void *arg)
{
    struct str req;

    while ((req = raw_request(c)).len > 0) {
        struct str line = str_of(req.p, str_find_char(req, '\r'));
        size_t i = 2;
        char head[128];

        raw_note(c, line);
        raw_note(c, STR("\n"));
        while (i > 0 && str_find(line, str_from(pages[i].asked)) == line.len)
            i--;
        if (arg)
            i = 0;
        snprintf(head, sizeof(head),
                 "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n",
                 strlen(pages[i].body));
        raw_send(c, head);
        raw_send(c, pages[i].body);
    }
}

static void pages_world(struct world *w, void *stuck)
{
    world_init(w, "anthropic");
    rawserver_stop(&w->s);
    memset(&w->s, 0, sizeof(w->s));
    rawserver_start(&w->s, serve_pages, stuck, NULL);
    conf_unref(w->conf);
    w->conf = make_conf(w, "anthropic", "");
    w->f.w.conf = w->conf;
    discover_run(w->d, &w->f.w);
    until(w, "c", DISCOVER_YES);
}

static void pages_are_read_to_the_last(void **state)
{
    const struct discover_list *l;
    struct world w;

    (void)state;
    pages_world(&w, NULL);
    assert_string_equal(
        w.s.log, "GET /v1/models?limit=1000 HTTP/1.1\n"
                 "GET /v1/models?limit=1000&after_id=o%2Fx%26y HTTP/1.1\n"
                 "GET /v1/models?limit=1000&after_id=a HTTP/1.1\n");
    l = discover_list_get(w.d, STR("up"));
    assert_int_equal(l->count, 4);
    assert_string_equal(l->ids[0].p, "a");
    assert_string_equal(l->ids[1].p, "b");
    assert_string_equal(l->ids[2].p, "c");
    assert_string_equal(l->ids[3].p, "o/x&y");
    discover_list_unref(l);
    world_fini(&w);
}

static void a_page_without_news_is_the_last(void **state)
{
    struct world w;

    (void)state;
    pages_world(&w, &w);
    assert_int_equal(w.s.requests, 2);
    world_fini(&w);
}

static void bare_array(void **state)
{
    struct world w;

    (void)state;
    world_init(&w, "openai");
    set_reply(&w.sc, "200 OK", "[{\"id\":\"m\"}]");
    discover_run(w.d, &w.f.w);
    until(&w, "m", DISCOVER_YES);
    world_fini(&w);
}

static void many_models_are_bounded(void **state)
{
    struct world w;
    struct buf b;
    const struct discover_list *l;

    (void)state;
    world_init(&w, "openai");
    buf_init(&b, 4 * 1024 * 1024);
    assert_int_equal(buf_put_str(&b, STR("{\"data\":[")), ERR_OK);
    for (int i = 0; i < 12000; i++)
        assert_int_equal(
            buf_printf(&b, "%s{\"id\":\"model-%05d\"}", i ? "," : "", i),
            ERR_OK);
    assert_int_equal(buf_put(&b, "]}", 3), ERR_OK);
    set_reply(&w.sc, "200 OK", b.p);
    buf_fini(&b);
    discover_run(w.d, &w.f.w);
    until(&w, "model-09999", DISCOVER_YES);
    l = discover_list_get(w.d, STR("up"));
    assert_int_equal(l->count, 10000);
    discover_list_unref(l);
    world_fini(&w);
}

/* Wait for request number <n>, and then a while for its answer's failure. */
static void until_requests(struct world *w, unsigned n)
{
    while (w->s.requests < n)
        upfix_turn(&w->f);
    while (upstream_pool_open(w->f.pool) > 0)
        upfix_turn(&w->f);
}

static void failures_keep_the_list_and_are_retried(void **state)
{
    static const struct {
        const char *status, *body;
    } bad[] = {{"500 Oops", "{}"},
               {"200 OK", "<html>"},
               {"200 OK", "{\"data\":{}}"},
               {"200 OK", ""}};
    struct world w;
    unsigned n = 1;

    (void)state;
    world_init(&w, "openai");
    set_reply(&w.sc, "200 OK", "{\"data\":[{\"id\":\"m\"}]}");
    discover_run(w.d, &w.f.w);
    until(&w, "m", DISCOVER_YES);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        set_reply(&w.sc, bad[i].status, bad[i].body);
        discover_run(w.d, &w.f.w); /* as a reload does */
        until_requests(&w, ++n);
        assert_int_equal(discover_serves(w.d, STR("up"), STR("m")),
                         DISCOVER_YES);
    }
    set_reply(&w.sc, "200 OK", "{\"data\":[{\"id\":\"n\"}]}");
    discover_run(w.d, &w.f.w);
    until(&w, "n", DISCOVER_YES);
    assert_int_equal(discover_serves(w.d, STR("up"), STR("m")), DISCOVER_NO);
    world_fini(&w);
}

static void reload_forgets_what_is_named_now(void **state)
{
    struct world w;
    struct conf *old;

    (void)state;
    world_init(&w, "openai");
    set_reply(&w.sc, "200 OK", "{\"data\":[{\"id\":\"m\"}]}");
    discover_run(w.d, &w.f.w);
    until(&w, "m", DISCOVER_YES);
    old = w.conf;
    w.conf = w.f.w.conf = make_conf(&w, "openai", "    models: [a]\n");
    discover_run(w.d, &w.f.w);
    conf_unref(old);
    assert_int_equal(discover_serves(w.d, STR("up"), STR("m")),
                     DISCOVER_UNKNOWN);
    upfix_turn(&w.f);
    assert_int_equal(w.s.requests, 1);
    world_fini(&w);
}

static void stop_in_the_middle(void **state)
{
    struct world w;

    (void)state;
    world_init(&w, "openai");
    discover_run(w.d, &w.f.w);
    upfix_turn(&w.f);
    discover_stop(w.d);
    discover_stop(w.d);
    assert_int_equal(upstream_pool_open(w.f.pool), 0);
    discover_run(w.d, &w.f.w);
    until(&w, "m", DISCOVER_NO);
    world_fini(&w);
}

/* --- readers on other threads ------------------------------------------- */

struct reader {
    struct discover *d;
    _Atomic bool stop;
    _Atomic unsigned seen;
};

static void *read_lists(void *arg)
{
    struct reader *r = arg;

    while (!r->stop) {
        const struct discover_list *l = discover_list_get(r->d, STR("up"));

        for (size_t i = 0; l && i < l->count; i++)
            assert_true(l->ids[i].p[l->ids[i].len] == '\0');
        if (l)
            r->seen++;
        discover_list_unref(l);
        (void)discover_serves(r->d, STR("up"), STR("m7"));
    }
    return NULL;
}

static void readers_while_lists_change(void **state)
{
    struct world w;
    struct reader r;
    pthread_t t[2];
    char body[64], model[16];

    (void)state;
    world_init(&w, "openai");
    r = (struct reader){.d = w.d};
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&t[i], NULL, read_lists, &r), 0);
    for (int i = 0; i < 20; i++) {
        snprintf(body, sizeof(body), "[{\"id\":\"m%d\"}]", i);
        snprintf(model, sizeof(model), "m%d", i);
        set_reply(&w.sc, "200 OK", body);
        discover_run(w.d, &w.f.w);
        until(&w, model, DISCOVER_YES);
    }
    while (r.seen < 10)
        sched_yield();
    r.stop = true;
    for (int i = 0; i < 2; i++)
        pthread_join(t[i], NULL);
    world_fini(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(openai_list),
        cmocka_unit_test(anthropic_list_is_asked_for_whole),
        cmocka_unit_test(pages_are_read_to_the_last),
        cmocka_unit_test(a_page_without_news_is_the_last),
        cmocka_unit_test(bare_array),
        cmocka_unit_test(many_models_are_bounded),
        cmocka_unit_test(failures_keep_the_list_and_are_retried),
        cmocka_unit_test(reload_forgets_what_is_named_now),
        cmocka_unit_test(stop_in_the_middle),
        cmocka_unit_test(readers_while_lists_change),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
