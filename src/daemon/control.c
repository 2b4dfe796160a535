/* control.c - Framing and access of the admin socket; the commands themselves
 * stand in control_cmds.c and its siblings. Peers are trusted tools of the
 * same user, so a plain line buffer with a bound will do. */
#include "daemon/control.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"
#include "conf/conf.h"
#include "daemon/control_args.h"
#include "daemon/daemon.h"

#define LINE_BYTES_MAX (1024u * 1024)
#define PEERS_MAX      64

struct peer {
    LIST_ENTRY(peer) link;
    struct control *c;       /* borrowed */
    struct bufferevent *bev; /* owned */
};

struct control {
    struct daemon *d;        /* borrowed */
    int fd;                  /* owned */
    struct event *accept_ev; /* owned */
    struct event *again_ev;  /* owned: accepts again after a rest */
    char *path;              /* owned */
    unsigned n_peers;
    LIST_HEAD(, peer) peers; /* owned */
};

static void peer_free(struct peer *p)
{
    LIST_REMOVE(p, link);
    p->c->n_peers--;
    bufferevent_free(p->bev);
    free(p);
}

/* ---- one command ------------------------------------------------------- */

static const struct control_cmd *cmd_find(const char *name)
{
    const struct control_cmd *c = control_cmds;

    while (c->name && (!name || strcmp(c->name, name) != 0))
        c++;
    return c->name ? c : NULL;
}

static json_t *fail(const char *text)
{
    return json_pack("{s:b, s:s}", "ok", 0, "error", text);
}

static json_t *run_cmd(struct daemon *d, const json_t *ask)
{
    const struct control_cmd *cmd =
        cmd_find(json_string_value(json_object_get(ask, "cmd")));
    json_t *args = json_object_get(ask, "args"), *none = json_object();
    json_t *data, *answer;
    struct buf why;

    if (!cmd) {
        json_decref(none);
        return fail("unknown command; is tollctl newer than the daemon?");
    }
    buf_init(&why, CONTROL_WHY_BYTES);
    data = cmd->run(d, json_is_object(args) ? args : none, &why);
    if (cmd->changes)
        log_note(LOG_CTL, "command: name=\"%s\" result=%s", cmd->name,
                 data ? "done" : "refused");
    if (data)
        answer = json_pack("{s:b, s:o}", "ok", 1, "data", data);
    else if (why.len > 0)
        answer =
            json_pack("{s:b, s:o}", "ok", 0, "error", json_text(buf_str(&why)));
    else
        answer = fail("the command failed without a reason");
    json_decref(none);
    buf_fini(&why);
    return answer;
}

static void answer_line(struct peer *p, const char *line, size_t len)
{
    json_t *ask = json_loadb(line, len, JSON_REJECT_DUPLICATES, NULL);
    json_t *answer = json_is_object(ask)
                         ? run_cmd(p->c->d, ask)
                         : fail("the request is not a JSON object");
    char *text = answer ? json_dumps(answer, JSON_COMPACT) : NULL;

    if (text)
        evbuffer_add_printf(bufferevent_get_output(p->bev), "%s\n", text);
    free(text);
    json_decref(answer);
    json_decref(ask);
}

/* ---- connections ------------------------------------------------------- */

static void on_written(struct bufferevent *bev, void *arg)
{
    (void)bev;
    peer_free(arg);
}

static void on_read(struct bufferevent *bev, void *arg)
{
    struct peer *p = arg;
    struct evbuffer *in = bufferevent_get_input(bev);
    size_t len;
    char *line;

    while ((line = evbuffer_readln(in, &len, EVBUFFER_EOL_LF)) != NULL) {
        answer_line(p, line, len);
        free(line);
    }
    if (evbuffer_get_length(in) > LINE_BYTES_MAX) {
        log_warn(LOG_CTL, "control request is too long, closed");
        peer_free(p);
    }
}

/* A peer that has nothing more to ask may still read its answers. */
static void on_event(struct bufferevent *bev, short what, void *arg)
{
    bool is_waiting = evbuffer_get_length(bufferevent_get_output(bev)) > 0;

    if ((what & BEV_EVENT_EOF) && is_waiting)
        bufferevent_setcb(bev, NULL, on_written, on_event, arg);
    else
        peer_free(arg);
}

static bool peer_may(int fd)
{
    struct ucred cred;
    socklen_t len = sizeof(cred);

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) != 0)
        return false;
    return cred.uid == 0 || cred.uid == geteuid();
}

static void peer_new(struct control *c, int fd)
{
    struct peer *p = calloc(1, sizeof(*p));

    if (p)
        p->bev = bufferevent_socket_new(c->d->base, fd, BEV_OPT_CLOSE_ON_FREE);
    if (!p || !p->bev) {
        close(fd);
        free(p);
        return;
    }
    p->c = c;
    LIST_INSERT_HEAD(&c->peers, p, link);
    c->n_peers++;
    bufferevent_setcb(p->bev, on_read, NULL, on_event, p);
    bufferevent_setwatermark(p->bev, EV_READ, 0, 2 * LINE_BYTES_MAX);
    bufferevent_enable(p->bev, EV_READ | EV_WRITE);
}

static void on_again(evutil_socket_t fd, short what, void *arg)
{
    struct control *c = arg;

    (void)fd;
    (void)what;
    if (event_add(c->accept_ev, NULL) != 0)
        log_err(LOG_CTL, "no control connections from now on");
}

/* Without descriptors the peer stays in the queue and would wake us at once
 * again. */
static void rest(struct control *c)
{
    const struct timeval tv = {1, 0};

    log_warn(LOG_CTL, "cannot accept a control connection: %s",
             strerror(errno));
    if (event_add(c->again_ev, &tv) == 0)
        event_del(c->accept_ev);
}

static void on_accept(evutil_socket_t lfd, short what, void *arg)
{
    struct control *c = arg;
    int fd = accept4(lfd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

    (void)what;
    if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOBUFS ||
                   errno == ENOMEM))
        rest(c);
    if (fd < 0)
        return;
    if (c->n_peers >= PEERS_MAX || !peer_may(fd)) {
        log_warn(LOG_CTL, "control connection refused: open=%u", c->n_peers);
        close(fd);
        return;
    }
    peer_new(c, fd);
}

/* ---- the socket -------------------------------------------------------- */

/* Whether somebody answers on the socket file. */
static bool is_alive(const struct sockaddr_un *sa)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool alive =
        fd >= 0 && connect(fd, (const struct sockaddr *)sa, sizeof(*sa)) == 0;

    if (fd >= 0)
        close(fd);
    return alive;
}

/* /run/tollgate is gone after each boot, and only a service manager makes it:
 * the directory right above the socket is made when it is missing. */
static void make_dir(const char *path)
{
    const char *slash = strrchr(path, '/');
    char dir[sizeof(((struct sockaddr_un *)NULL)->sun_path)] = "";

    if (!slash || slash == path)
        return;
    memcpy(dir, path, (size_t)(slash - path));
    if (mkdir(dir, 0750) == 0)
        log_note(LOG_CTL, "directory made: path=%s", dir);
}

static enum err bind_path(struct control *c, const char *path)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    struct stat st;

    if (strlen(path) >= sizeof(sa.sun_path)) {
        log_err(LOG_CTL, "control_socket is too long: path=%s", path);
        return ERR_IO;
    }
    memcpy(sa.sun_path, path, strlen(path) + 1);
    if (is_alive(&sa)) {
        log_err(LOG_CTL, "another daemon answers on %s", path);
        return ERR_EXISTS;
    }
    if (lstat(path, &st) == 0 && S_ISSOCK(st.st_mode) && unlink(path) != 0)
        log_warn(LOG_CTL, "cannot remove the old %s", path);
    make_dir(path);
    c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0 ||
        bind(c->fd, (const struct sockaddr *)&sa, sizeof(sa)) != 0 ||
        chmod(path, 0600) != 0 || listen(c->fd, 16) != 0) {
        log_err(LOG_CTL, "cannot open control socket %s: %s", path,
                strerror(errno));
        return ERR_IO;
    }
    c->path = strdup(path);
    return c->path ? ERR_OK : ERR_NOMEM;
}

enum err control_open(struct daemon *d, struct control **out)
{
    struct control *c = calloc(1, sizeof(*c));
    enum err e;

    if (!c)
        return ERR_NOMEM;
    c->d = d;
    c->fd = -1;
    LIST_INIT(&c->peers);
    e = bind_path(c, d->conf->control_socket.p);
    if (e == ERR_OK) {
        c->accept_ev =
            event_new(d->base, c->fd, EV_READ | EV_PERSIST, on_accept, c);
        c->again_ev = evtimer_new(d->base, on_again, c);
        if (!c->accept_ev || !c->again_ev || event_add(c->accept_ev, NULL) != 0)
            e = ERR_NOMEM;
    }
    if (e != ERR_OK) {
        control_close(c);
        return e;
    }
    *out = c;
    return ERR_OK;
}

void control_close(struct control *c)
{
    struct peer *p;

    if (!c)
        return;
    while ((p = LIST_FIRST(&c->peers)) != NULL)
        peer_free(p);
    if (c->accept_ev)
        event_free(c->accept_ev);
    if (c->again_ev)
        event_free(c->again_ev);
    if (c->path)
        unlink(c->path);
    if (c->fd >= 0)
        close(c->fd);
    free(c->path);
    free(c);
}
