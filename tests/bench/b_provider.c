/* b_provider.c - a scripted provider for benchmarks: one thread, one epoll. It
 * answers every POST with a fixed completion; a body with "stream":true gets
 * "max_tokens" events, "seed" ms apart, each with the moment it was sent (ns)
 * inside.
 *
 * usage: b_provider   prints its port, ends when its standard input does.
 *
 * Lines of the input make it misbehave from there on:
 *
 *   ok                  answers (so it begins)
 *   status N PER_MILLE  answers so many of a thousand with an error
 *   cut PER_MILLE       works for so many of a thousand and hangs up instead
 *   delay MS            waits before each answer
 *   slow PER_MILLE MS   waits so long before so many of a thousand
 *   hang                reads requests, and answers none
 *   reset               resets its connections, and all that are made
 *   refuse              resets its connections, and does not listen
 *   log                 prints, as a line of JSON, when it was connected to and
 *                       asked since the last such line (monotonic us), how
 *                       many it answered or cut, and how many it lost before
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MAX_FD = 65536, MAX_REQUEST = 4 << 20, MAX_OUT = 4096 };

static const char completion[] =
    "{\"id\":\"chatcmpl-bench0123456789\",\"object\":\"chat.completion\","
    "\"created\":1700000000,\"model\":\"bench\",\"choices\":[{\"index\":0,"
    "\"message\":{\"role\":\"assistant\",\"content\":\"The quick brown fox "
    "jumps over the lazy dog, and then it does so once more, since one jump "
    "does not make a benchmark; the dog does not mind at all.\","
    "\"refusal\":null},\"logprobs\":null,\"finish_reason\":\"stop\"}],"
    "\"usage\":{\"prompt_tokens\":19,\"completion_tokens\":31,"
    "\"total_tokens\":50},\"service_tier\":\"default\"}";

struct conn {
    int fd;
    char *in;
    size_t in_len, in_cap;
    char out[MAX_OUT];
    size_t out_len;
    long left;      // events still to send
    int64_t gap_ns; // between them
    int64_t due_ns; // of the next one
    bool busy;      // has a request
    bool stream;    // that wants events
    bool streaming; // and gets them
    bool waiting;   // until due_ns, to answer
    bool active;    // is in the provider's list
};

enum manner { OK, HANG, RESET, REFUSE };

/* Moments, in monotonic us. */
struct moments {
    int64_t *us;
    size_t n, cap;
};

struct provider {
    int ep, lfd;
    struct conn *conns[MAX_FD];  // by descriptor
    struct conn *active[MAX_FD]; // those that stream
    size_t n_active;
    struct sockaddr_in address;
    char line[128]; // of the input, as far as it is here
    size_t line_len;
    enum manner manner;
    long status, status_per_mille, slow_per_mille, cut_per_mille;
    int64_t delay_ns, slow_ns;
    uint64_t random;
    struct moments connections, requests;
    long answered, lost;
};

static int64_t now_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec * INT64_C(1000000000) + ts.tv_nsec;
}

static void note_now(struct moments *m)
{
    if (m->n == m->cap) {
        m->cap = m->cap ? m->cap * 2 : 4096;
        m->us = realloc(m->us, m->cap * sizeof(*m->us));
        if (!m->us)
            abort();
    }
    m->us[m->n++] = now_ns() / 1000;
}

/** True for so many of a thousand. */
static bool by_chance(struct provider *p, long per_mille)
{
    p->random = p->random * 6364136223846793005U + 1442695040888963407U;
    return (long)((p->random >> 33) % 1000) < per_mille;
}

static void conn_free(struct provider *p, struct conn *c)
{
    p->lost += c->busy;
    for (size_t i = 0; i < p->n_active; i++) {
        if (p->active[i] == c) {
            p->active[i] = p->active[--p->n_active];
            break;
        }
    }
    p->conns[c->fd] = NULL;
    close(c->fd);
    free(c->in);
    free(c);
}

/** Writes what is there; false: the connection is gone. */
static bool conn_flush(struct provider *p, struct conn *c)
{
    ssize_t n = write(c->fd, c->out, c->out_len);
    struct epoll_event ev = {.events = EPOLLIN, .data.fd = c->fd};

    if (n < 0 && errno != EAGAIN)
        return false;
    if (n < 0)
        n = 0;
    memmove(c->out, c->out + n, c->out_len - (size_t)n);
    c->out_len -= (size_t)n;
    if (n > 0 && c->out_len == 0)
        return true;
    if (c->out_len > 0)
        ev.events |= EPOLLOUT;
    epoll_ctl(p->ep, EPOLL_CTL_MOD, c->fd, &ev);
    return true;
}

static void conn_put(struct conn *c, const char *data, size_t n)
{
    if (n > sizeof(c->out) - c->out_len) {
        fprintf(stderr, "b_provider: a reader is too slow\n");
        exit(1);
    }
    memcpy(c->out + c->out_len, data, n);
    c->out_len += n;
}

static void put_chunk(struct conn *c, const char *data, size_t n)
{
    char size[24];

    conn_put(c, size, (size_t)snprintf(size, sizeof(size), "%zx\r\n", n));
    conn_put(c, data, n);
    conn_put(c, "\r\n", 2);
}

/** Sends one event; after the last one the end. */
static bool send_event(struct provider *p, struct conn *c)
{
    static const char usage[] =
        "data: {\"id\":\"chatcmpl-bench\",\"object\":\"chat.completion.chunk\","
        "\"created\":1700000000,\"model\":\"bench\",\"choices\":[],\"usage\":"
        "{\"prompt_tokens\":19,\"completion_tokens\":31,\"total_tokens\":50}}"
        "\n\ndata: [DONE]\n\n";
    char ev[512];
    int n = snprintf(
        ev, sizeof(ev),
        "data: {\"id\":\"chatcmpl-bench\",\"object\":\"chat.completion.chunk\","
        "\"created\":1700000000,\"model\":\"bench\",\"choices\":[{\"index\":0,"
        "\"delta\":{\"content\":\"t%lld\"},\"finish_reason\":null}]}\n\n",
        (long long)now_ns());

    put_chunk(c, ev, (size_t)n);
    c->due_ns += c->gap_ns;
    if (--c->left <= 0) {
        c->streaming = c->busy = false;
        p->answered++;
        put_chunk(c, usage, sizeof(usage) - 1);
        conn_put(c, "0\r\n\r\n", 5);
    }
    return conn_flush(p, c);
}

/** The number after a key of the body, or what is said instead. */
static long number_of(const char *body, size_t n, const char *key, long none)
{
    const char *at = memmem(body, n, key, strlen(key));

    return at ? strtol(at + strlen(key), NULL, 10) : none;
}

/** Answers without a stream. */
static bool send_plain(struct provider *p, struct conn *c)
{
    static const char error[] =
        "{\"error\":{\"message\":\"no\",\"type\":\"server_error\","
        "\"param\":null,\"code\":null}}";
    bool bad = p->status && by_chance(p, p->status_per_mille);
    const char *body = bad ? error : completion;
    char head[256];
    int k = snprintf(head, sizeof(head),
                     "HTTP/1.1 %ld %s\r\nContent-Type: application/json\r\n"
                     "Content-Length: %zu\r\n\r\n",
                     bad ? p->status : 200, bad ? "No" : "OK", strlen(body));

    c->busy = false;
    p->answered += !bad;
    conn_put(c, head, (size_t)k);
    conn_put(c, body, strlen(body));
    return conn_flush(p, c);
}

static bool answer(struct provider *p, struct conn *c)
{
    static const char head[] =
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
        "X-Accel-Buffering: no\r\nTransfer-Encoding: chunked\r\n\r\n";

    c->waiting = false;
    if (by_chance(p, p->cut_per_mille)) {
        c->busy = false;
        p->answered++;
        return false;
    }
    if (!c->stream || p->status)
        return send_plain(p, c);
    c->due_ns = now_ns();
    c->streaming = true;
    conn_put(c, head, sizeof(head) - 1);
    return send_event(p, c);
}

/** A request is here: answers it, now or when its time comes. */
static bool take_request(struct provider *p, struct conn *c, const char *body,
                         size_t n)
{
    static const char stream_key[] = "\"stream\":true";
    size_t edge = n < 1024 ? n : 1024;
    int64_t wait_ns = p->delay_ns;

    note_now(&p->requests);
    c->busy = true;
    if (p->manner == HANG)
        return true;
    c->stream = memmem(body, edge, stream_key, sizeof(stream_key) - 1);
    c->left = number_of(body, edge, "\"max_tokens\":", 10);
    c->gap_ns = number_of(body, edge, "\"seed\":", 10) * 1000000;
    if (by_chance(p, p->slow_per_mille))
        wait_ns = p->slow_ns;
    c->waiting = wait_ns > 0;
    c->due_ns = now_ns() + wait_ns;
    if (!c->active && (c->waiting || c->stream))
        p->active[p->n_active++] = c;
    c->active |= c->waiting || c->stream;
    return c->waiting || answer(p, c);
}

/** Answers each request that is whole; false: the connection is to go. */
static bool take_requests(struct provider *p, struct conn *c)
{
    while (c->in_len > 0 && !c->busy) {
        char *end = memmem(c->in, c->in_len, "\r\n\r\n", 4);
        char *field;
        size_t head, body;

        if (!end)
            return c->in_len < 65536;
        *end = '\0';
        field = strcasestr(c->in, "\r\ncontent-length:");
        *end = '\r';
        head = (size_t)(end - c->in) + 4;
        body = field ? strtoul(field + 17, NULL, 10) : 0;
        if (!field || body > MAX_REQUEST - head)
            return false;
        if (c->in_len < head + body)
            return true;
        if (!take_request(p, c, c->in + head, body))
            return false;
        c->in_len -= head + body;
        memmove(c->in, c->in + head + body, c->in_len);
    }
    return true;
}

static bool conn_read(struct provider *p, struct conn *c)
{
    ssize_t n;

    if (c->in_len == c->in_cap) {
        size_t cap = c->in_cap ? c->in_cap * 4 : 4096;
        char *in = cap <= 2 * MAX_REQUEST ? realloc(c->in, cap) : NULL;

        if (!in)
            return false;
        c->in = in;
        c->in_cap = cap;
    }
    n = read(c->fd, c->in + c->in_len, c->in_cap - c->in_len);
    if (n < 0)
        return errno == EAGAIN;
    if (n == 0)
        return false;
    c->in_len += (size_t)n;
    return take_requests(p, c);
}

static void reset(int fd)
{
    struct linger now = {.l_onoff = 1};

    setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    close(fd);
}

static void accept_all(struct provider *p)
{
    for (;;) {
        int one = 1;
        int fd = accept4(p->lfd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        struct epoll_event ev = {.events = EPOLLIN, .data.fd = fd};
        struct conn *c;

        if (fd < 0)
            return;
        note_now(&p->connections);
        if (p->manner == RESET) {
            reset(fd);
            continue;
        }
        c = fd < MAX_FD ? calloc(1, sizeof(*c)) : NULL;
        if (!c) {
            close(fd);
            continue;
        }
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
        c->fd = fd;
        p->conns[fd] = c;
        epoll_ctl(p->ep, EPOLL_CTL_ADD, fd, &ev);
    }
}

/** Sends the events that are due; returns when the next one is, or -1. */
static int64_t send_due(struct provider *p)
{
    int64_t next = -1;

    for (size_t i = 0; i < p->n_active;) {
        struct conn *c = p->active[i];

        if ((c->waiting || c->streaming) && c->due_ns <= now_ns() &&
            !(c->waiting ? answer(p, c) : send_event(p, c))) {
            conn_free(p, c);
            continue;
        }
        if (!c->waiting && !c->streaming) {
            c->active = false;
            p->active[i] = p->active[--p->n_active];
            continue;
        }
        if (next < 0 || c->due_ns < next)
            next = c->due_ns;
        i++;
    }
    return next;
}

static bool listen_again(struct provider *p)
{
    socklen_t len = sizeof(p->address);
    struct sockaddr *sa = (struct sockaddr *)&p->address;
    struct epoll_event ev = {.events = EPOLLIN};
    int one = 1;

    p->lfd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (p->lfd < 0)
        return false;
    setsockopt(p->lfd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    ev.data.fd = p->lfd;
    return bind(p->lfd, sa, len) == 0 && listen(p->lfd, 4096) == 0 &&
           getsockname(p->lfd, sa, &len) == 0 &&
           epoll_ctl(p->ep, EPOLL_CTL_ADD, p->lfd, &ev) == 0;
}

static void behave(struct provider *p, enum manner m)
{
    p->manner = m;
    for (int fd = 0; fd < MAX_FD && m >= RESET; fd++) {
        int copy = p->conns[fd] ? dup(fd) : -1;

        if (copy >= 0) {
            conn_free(p, p->conns[fd]);
            reset(copy);
        }
    }
    if (m == REFUSE && p->lfd >= 0) {
        close(p->lfd);
        p->lfd = -1;
    } else if (m != REFUSE && p->lfd < 0 && !listen_again(p)) {
        perror("b_provider");
        exit(1);
    }
}

static void print_moments(const char *name, struct moments *m)
{
    printf("\"%s\": [", name);
    for (size_t i = 0; i < m->n; i++)
        printf("%s%lld", i ? "," : "", (long long)m->us[i]);
    m->n = 0;
    printf("], ");
}

static void print_log(struct provider *p)
{
    printf("{");
    print_moments("connections", &p->connections);
    print_moments("requests", &p->requests);
    printf("\"answered\": %ld, \"lost\": %ld}\n", p->answered, p->lost);
    fflush(stdout);
    p->answered = p->lost = 0;
}

static void obey(struct provider *p)
{
    static const char *const manners[] = {"ok", "hang", "reset", "refuse"};
    long a = 0, b = 0;
    char word[16] = "";

    sscanf(p->line, "%15s %ld %ld", word, &a, &b);
    if (strcmp(word, "log") == 0) {
        print_log(p);
    } else if (strcmp(word, "status") == 0) {
        p->status = a;
        p->status_per_mille = b;
    } else if (strcmp(word, "cut") == 0) {
        p->cut_per_mille = a;
    } else if (strcmp(word, "delay") == 0) {
        p->delay_ns = a * 1000000;
    } else if (strcmp(word, "slow") == 0) {
        p->slow_per_mille = a;
        p->slow_ns = b * 1000000;
    }
    for (int m = OK; m <= REFUSE; m++) {
        if (strcmp(word, manners[m]) == 0)
            behave(p, (enum manner)m);
    }
    if (strcmp(word, "ok") == 0)
        p->status = p->delay_ns = p->slow_per_mille = p->cut_per_mille = 0;
}

static void read_commands(struct provider *p)
{
    char c;

    for (;;) {
        ssize_t n = read(0, &c, 1);

        if (n < 0 && errno == EAGAIN)
            return;
        if (n <= 0)
            exit(0);
        if (c == '\n' || p->line_len == sizeof(p->line) - 1) {
            p->line[p->line_len] = '\0';
            p->line_len = 0;
            obey(p);
        } else {
            p->line[p->line_len++] = c;
        }
    }
}

static void serve_event(struct provider *p, const struct epoll_event *ev)
{
    struct conn *c;

    if (ev->data.fd == 0) {
        read_commands(p);
        return;
    }
    if (ev->data.fd == p->lfd) {
        accept_all(p);
        return;
    }
    c = p->conns[ev->data.fd];
    if (!c)
        return;
    if ((ev->events & EPOLLOUT) && !conn_flush(p, c)) {
        conn_free(p, c);
        return;
    }
    if ((ev->events & ~(uint32_t)EPOLLOUT) && !conn_read(p, c))
        conn_free(p, c);
}

static void serve(struct provider *p)
{
    struct epoll_event evs[256];

    for (;;) {
        int64_t next = send_due(p);
        int64_t wait = next < 0 ? 0 : next - now_ns();
        struct timespec ts;
        int n;

        if (wait < 0)
            wait = 0;
        ts.tv_sec = wait / 1000000000;
        ts.tv_nsec = wait % 1000000000;
        n = epoll_pwait2(p->ep, evs, 256, next < 0 ? NULL : &ts, NULL);
        for (int i = 0; i < n; i++)
            serve_event(p, &evs[i]);
    }
}

int main(void)
{
    struct provider *p = calloc(1, sizeof(*p));
    struct epoll_event ev = {.events = EPOLLIN, .data.fd = 0};

    if (!p)
        return 1;
    prctl(PR_SET_TIMERSLACK, 1000UL);
    p->random = 1;
    p->address.sin_family = AF_INET;
    p->address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    p->ep = epoll_create1(EPOLL_CLOEXEC);
    if (p->ep < 0 || !listen_again(p)) {
        perror("b_provider");
        return 1;
    }
    fcntl(0, F_SETFL, O_NONBLOCK);
    if (epoll_ctl(p->ep, EPOLL_CTL_ADD, 0, &ev) != 0) {
        fprintf(stderr, "b_provider: standard input must be a pipe\n");
        return 1;
    }
    printf("%d\n", ntohs(p->address.sin_port));
    fflush(stdout);
    signal(SIGPIPE, SIG_IGN);
    serve(p);
}
