/* front_rig.c - See front_rig.h. */
#include "front_rig.h"

#include "base/clock.h"
#include "conf/conf.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* ---- the scripted stages ------------------------------------------------ */

static struct rig *rig_of(struct exchange *x)
{
    return (struct rig *)(void *)((char *)x->w - offsetof(struct rig, w));
}

static bool script_is(const struct exchange *x, const char *name)
{
    struct str want = str_from(name);

    return x->in->head.query.len > 0 &&
           str_eq(str_skip(x->in->head.query, 1), want);
}

static void pull_take(struct exchange *x)
{
    struct rig *r = rig_of(x);
    struct iovec iov[4];
    int n;

    if (r->pull_stopped)
        return;
    while ((n = chunkq_peek(&x->in->stream, iov, 4)) > 0) {
        size_t len = 0;

        for (int i = 0; i < n; i++) {
            assert_int_equal(
                buf_put(&r->pulled, iov[i].iov_base, iov[i].iov_len), ERR_OK);
            len += iov[i].iov_len;
        }
        chunkq_consume(&x->in->stream, len);
    }
    x->client->ops->body_taken(x->client);
}

/* A producer that only listens to the request's body. */
struct puller {
    struct producer producer;
    struct exchange *x;
};

static void on_body_ready(struct producer *p)
{
    struct exchange *x = ((struct puller *)(void *)p)->x;

    if (script_is(x, "tunnel")) {
        struct iovec iov[1];

        while (chunkq_peek(&x->in->stream, iov, 1) == 1) {
            size_t len = iov[0].iov_len;

            x->client->ops->send(x->client, str_of(iov[0].iov_base, len));
            chunkq_consume(&x->in->stream, len);
        }
        if (x->in->body_done) {
            x->client->ops->finish(x->client);
            exchange_wake(x, WAKE_END);
        }
        return;
    }
    if (!script_is(x, "stuck"))
        pull_take(x);
    if (x->in->body_done && script_is(x, "pull") && !rig_of(x)->pull_stopped)
        exchange_wake(x, WAKE_HEAD);
}

static const struct producer_ops puller_ops = {.body_ready = on_body_ready};

static void puller_add(struct exchange *x)
{
    struct puller *p = arena_alloc(x->arena, sizeof(*p));

    assert_non_null(p);
    p->producer.ops = &puller_ops;
    p->x = x;
    x->work->producer = &p->producer;
}

static enum verdict act_run(struct exchange *x)
{
    const struct client_ops *ops = x->client->ops;

    if (script_is(x, "fail"))
        return exchange_fail(x, ERR_AUTH, NULL);
    if (script_is(x, "echo")) {
        ops->read_body(x->client, BODY_COLLECT);
        return VERDICT_WAIT;
    }
    if (script_is(x, "pull") || script_is(x, "stuck")) {
        puller_add(x);
        ops->read_body(x->client, BODY_STREAM);
        rig_of(x)->x = x;
        return VERDICT_WAIT;
    }
    if (script_is(x, "wait")) {
        rig_of(x)->x = x;
        return VERDICT_WAIT;
    }
    return VERDICT_SKIP;
}

static enum verdict act_resume(struct exchange *x, enum wake why)
{
    if (why == WAKE_BODY) {
        rig_of(x)->woken_body++;
        return script_is(x, "echo") && x->in->body_done ? VERDICT_SKIP
                                                        : VERDICT_WAIT;
    }
    return why == WAKE_DRAINED ? VERDICT_WAIT : VERDICT_SKIP;
}

static enum verdict reply_whole(struct exchange *x, int status, struct str body)
{
    struct reply_head head = {.status = status, .length = (int64_t)body.len};
    struct buf b;

    assert_int_equal(
        headers_add(&head.headers, x->arena, STR("x-test"), STR("yes")),
        ERR_OK);
    buf_init(&b, body.len);
    assert_int_equal(buf_put_str(&b, body), ERR_OK);
    x->out->status = status;
    x->client->ops->reply(x->client, &head);
    x->client->ops->send_buf(x->client, &b);
    x->client->ops->finish(x->client);
    return VERDICT_GO;
}

static enum verdict reply_run(struct exchange *x)
{
    static char big[1024 * 1024];
    struct reply_head head = {.status = 200, .length = -1};

    if (!x->client)
        return VERDICT_GO;
    if (exchange_has_failed(x))
        return reply_whole(x, err_row(x->fail.err)->status,
                           str_from(err_name(x->fail.err)));
    if (x->local.ready) {
        x->client->ops->reply(x->client, &x->local.head);
        x->client->ops->finish(x->client);
        return VERDICT_GO;
    }
    if (script_is(x, "echo"))
        return reply_whole(x, 200, buf_str(&x->in->body));
    if (script_is(x, "big"))
        return reply_whole(x, 200,
                           str_of(memset(big, 'b', sizeof(big)), sizeof(big)));
    if (script_is(x, "pull"))
        return reply_whole(x, 200, STR("done"));
    if (script_is(x, "open") || script_is(x, "tunnel")) {
        rig_of(x)->x = x;
        if (script_is(x, "tunnel"))
            head.status = 101;
        x->client->ops->reply(x->client, &head);
        if (head.status == 101) {
            puller_add(x);
            x->client->ops->tunnel(x->client);
        }
        return VERDICT_WAIT;
    }
    return reply_whole(x, 200, STR("hello"));
}

static enum verdict reply_resume(struct exchange *x, enum wake why)
{
    if (why == WAKE_DRAINED)
        rig_of(x)->drained++;
    if (why == WAKE_FAIL && x->client)
        x->client->ops->abort(x->client);
    return why == WAKE_END || why == WAKE_GONE || why == WAKE_FAIL
               ? VERDICT_GO
               : VERDICT_WAIT;
}

static enum verdict settle(struct exchange *x)
{
    struct rig *r = rig_of(x);

    r->settled++;
    if (!x->client)
        r->gone++;
    if (r->x == x)
        r->x = NULL;
    r->last_err = x->fail.err;
    return VERDICT_GO;
}

static enum verdict pass(struct exchange *x)
{
    (void)x; /* nothing to do */
    return VERDICT_GO;
}

static const struct stage_row rig_stages[STAGE_COUNT] = {
    [STAGE_FRONT] = {"front", front_run, front_resume,
                     STAGE_BIT(STAGE_ADMIT) | STAGE_BIT(STAGE_RELAY)},
    [STAGE_ADMIT] = {"admit", act_run, act_resume,
                     STAGE_BIT(STAGE_PROMPT) | STAGE_BIT(STAGE_RELAY)},
    [STAGE_PROMPT] = {"prompt", pass, NULL, STAGE_BIT(STAGE_HOLD)},
    [STAGE_HOLD] = {"hold", pass, NULL, STAGE_BIT(STAGE_RECALL)},
    [STAGE_RECALL] = {"recall", pass, NULL, STAGE_BIT(STAGE_SERVE)},
    [STAGE_SERVE] = {"serve", pass, NULL, STAGE_BIT(STAGE_RELAY)},
    [STAGE_RELAY] = {"relay", reply_run, reply_resume, STAGE_BIT(STAGE_SETTLE)},
    [STAGE_SETTLE] = {"settle", settle, NULL, STAGE_BIT(STAGE_DONE)},
    [STAGE_DONE] = {"done", NULL, NULL, 0},
};

/* ---- the rig ------------------------------------------------------------ */

struct conf *rig_conf(struct rig *r, const char *yaml, const char *listen)
{
    struct conf_report report = {0};
    struct conf *c = NULL;
    struct buf text;
    enum err e;

    buf_init(&text, 65536);
    assert_int_equal(
        buf_printf(&text, "state_dir: %s\nlisten: %s\n%s\n", r->dir,
                   listen ? listen : "[{address: \"127.0.0.1:0\"}]",
                   yaml ? yaml : ""),
        ERR_OK);
    e = conf_load_text("rig", buf_str(&text), 0, &report, &c);
    for (size_t i = 0; e != ERR_OK && i < report.n_items; i++)
        print_error("%s\n", report.items[i].text);
    assert_int_equal(e, ERR_OK);
    conf_report_fini(&report);
    buf_fini(&text);
    return c;
}

struct rig *rig_new(const char *yaml, const char *listen)
{
    struct rig *r = calloc(1, sizeof(*r));

    assert_non_null(r);
    signal(SIGPIPE, SIG_IGN);
    snprintf(r->dir, sizeof(r->dir), "/tmp/front_rig_XXXXXX");
    assert_non_null(mkdtemp(r->dir));
    clock_update();
    buf_init(&r->pulled, SIZE_MAX / 2);
    chunk_pool_init(&r->chunks, 64);
    for (int i = 0; i < STAGE_COUNT; i++)
        TAILQ_INIT(&r->w.by_stage[i]);
    r->w.base = event_base_new();
    r->w.stages = rig_stages;
    r->w.conf = rig_conf(r, yaml, listen);
    r->w.svc = &r->svc;
    r->w.stats = &r->stats;
    r->w.chunks = &r->chunks;
    r->w.scratch = malloc(WORKER_SCRATCH);
    assert_non_null(r->w.base);
    assert_non_null(r->w.scratch);
    assert_int_equal(front_net_open(r->w.conf, 1, &r->net), ERR_OK);
    assert_int_equal(front_open(&r->w, r->net, &r->front), ERR_OK);
    return r;
}

void rig_remove_folder(const char *dir)
{
    DIR *d = opendir(dir);
    const struct dirent *e;

    assert_non_null(d);
    while ((e = readdir(d)) != NULL) {
        if (e->d_name[0] != '.')
            assert_int_equal(unlinkat(dirfd(d), e->d_name, 0), 0);
    }
    closedir(d);
    assert_int_equal(rmdir(dir), 0);
}

void rig_free(struct rig *r)
{
    front_close(r->front);
    front_net_close(r->net);
    assert_int_equal(r->w.exchanges, 0);
    assert_int_equal(r->stats.conns, 0);
    assert_int_equal(r->stats.buffered_bytes, 0);
    assert_int_equal(r->chunks.live, 0);
    event_base_free(r->w.base);
    chunk_pool_fini(&r->chunks);
    conf_unref(r->w.conf);
    buf_fini(&r->pulled);
    free(r->w.scratch);
    rig_remove_folder(r->dir);
    free(r);
}

void rig_turn(struct rig *r)
{
    /* A timer that is due at once still needs a turn of its own. */
    assert_true(event_base_loop(r->w.base, EVLOOP_ONCE | EVLOOP_NONBLOCK) >= 0);
}

void rig_turn_waiting(struct rig *r, unsigned *turns)
{
    enum { FAST = 3000, SLOW = 30000 };

    assert_true((*turns)++ < FAST + SLOW);
    rig_turn(r);
    if (*turns > FAST)
        (void)poll(NULL, 0, 1);
}

void rig_settle(struct rig *r)
{
    for (int i = 0; i < 50; i++)
        rig_turn(r);
}

/* ---- clients ------------------------------------------------------------ */

void cli_open(struct cli *c, struct rig *r, size_t at)
{
    char text[FRONT_ADDRESS_BYTES];
    struct sockaddr_in in = {.sin_family = AF_INET};
    struct sockaddr_un un = {.sun_family = AF_UNIX};

    *c = (struct cli){.rig = r};
    buf_init(&c->got, SIZE_MAX / 2);
    front_net_address(r->net, at, text);
    if (strncmp(text, "unix:", 5) == 0) {
        snprintf(un.sun_path, sizeof(un.sun_path), "%.100s", text + 5);
        c->fd = socket(AF_UNIX, SOCK_STREAM, 0);
        assert_int_equal(connect(c->fd, (struct sockaddr *)&un, sizeof(un)), 0);
    } else {
        in.sin_port = htons(front_net_port(r->net, at));
        in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        c->fd = socket(AF_INET, SOCK_STREAM, 0);
        assert_int_equal(connect(c->fd, (struct sockaddr *)&in, sizeof(in)), 0);
    }
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    assert_int_equal(fcntl(c->fd, F_SETFL, O_NONBLOCK), 0);
}

/* Whether an SSL call that gave <ret> only has to be tried again. */
static bool ssl_must_wait(struct cli *c, int ret)
{
    int e = SSL_get_error(c->ssl, ret);

    return e == SSL_ERROR_WANT_READ || e == SSL_ERROR_WANT_WRITE;
}

void cli_send_bytes(struct cli *c, const void *p, size_t len)
{
    const char *at = p;
    unsigned turns = 0;

    while (len > 0) {
        ssize_t n = c->ssl ? SSL_write(c->ssl, at, (int)len)
                           : send(c->fd, at, len, MSG_NOSIGNAL);

        if (n > 0) {
            at += n;
            len -= (size_t)n;
            turns = 0;
            continue;
        }
        assert_true(c->ssl ? ssl_must_wait(c, (int)n) : errno == EAGAIN);
        rig_turn_waiting(c->rig, &turns);
    }
}

void cli_send(struct cli *c, const char *text)
{
    cli_send_bytes(c, text, strlen(text));
}

bool cli_recv(struct cli *c)
{
    char room[65536];
    ssize_t n;

    for (;;) {
        errno = 0;
        n = c->ssl ? SSL_read(c->ssl, room, sizeof(room))
                   : recv(c->fd, room, sizeof(room), 0);
        if (n <= 0)
            break;
        assert_int_equal(buf_put(&c->got, room, (size_t)n), ERR_OK);
    }
    if (c->ssl ? ssl_must_wait(c, (int)n) : (n < 0 && errno == EAGAIN))
        return true;
    if (c->ssl ? errno == ECONNRESET : n < 0)
        c->reset = true;
    else
        c->eof = true;
    return false;
}

bool cli_has(const struct cli *c, const char *text)
{
    return str_find(buf_str(&c->got), str_from(text)) < c->got.len;
}

unsigned cli_count(const struct cli *c, const char *text)
{
    struct str rest = buf_str(&c->got), want = str_from(text);
    unsigned n = 0;

    for (;;) {
        size_t at = str_find(rest, want);

        if (at >= rest.len)
            return n;
        n++;
        rest = str_skip(rest, at + want.len);
    }
}

/* Wait for the end, or for <text> if it is given. */
static void cli_wait(struct cli *c, const char *text)
{
    int turns = 0;

    while (!text || !cli_has(c, text)) {
        bool open = cli_recv(c);

        if (!open && (!text || cli_has(c, text)))
            return;
        if (!open || turns++ > 10000) {
            print_error("wanted: %s\ngot: %.*s\n", text ? text : "the end",
                        (int)c->got.len, c->got.p ? c->got.p : "");
            fail();
        }
        if (turns > 100)
            poll(&(struct pollfd){.fd = c->fd, .events = POLLIN}, 1, 1);
        rig_turn(c->rig);
    }
}

void cli_expect(struct cli *c, const char *text)
{
    cli_wait(c, text);
}

void cli_expect_end(struct cli *c)
{
    cli_wait(c, NULL);
}

void cli_forget(struct cli *c)
{
    buf_fini(&c->got);
}

void cli_close(struct cli *c)
{
    if (c->ssl)
        SSL_free(c->ssl);
    close(c->fd);
    buf_fini(&c->got);
    c->ssl = NULL;
}

void cli_reset(struct cli *c)
{
    const struct linger now = {.l_onoff = 1, .l_linger = 0};

    assert_int_equal(
        setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now)), 0);
    cli_close(c);
}
