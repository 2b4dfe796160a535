/* b_load.c - a load generator for benchmarks: one thread, one epoll,
 * keep-alive.
 *
 * usage: b_load closed PORT KEY CONNS SECONDS        requests back to back
 *        b_load big PORT KEY CONNS SECONDS           the same, 1 MiB bodies
 *        b_load open PORT KEY CONNS SECONDS RATE     at a fixed rate, in 1/s
 *        b_load stream PORT KEY CONNS SECONDS GAP    an event each GAP ms
 *        b_load hold PORT KEY CONNS                  streams that stay open
 *        b_load trace PORT KEY CONNS SECONDS RATE BODY   a line for each
 *
 * An open loop measures from the moment a request was to be sent, so that a
 * server that stalls is charged for those that had to wait. A stream measures
 * each event from the moment that the provider wrote into it. hold says
 * "ready" when every stream has its first event, and ends with its input.
 *
 * trace is an open loop that goes on whatever it is answered. At the end it
 * writes of each request: when it was to be sent (monotonic us), microseconds
 * from then to the first byte of use (of a stream: its first event, no comment)
 * and to the end, -1 where there was none, the status, and 1 if the answer was
 * whole: a stream with its [DONE] and no error. Status 0: the connection was
 * lost, -1: no answer, -2: no connection was free to send it on until the end.
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

#define SECOND_NS INT64_C(1000000000)

enum { MAX_CONNS = 20000, MAX_SAMPLES = 1 << 22, BIG_BODY = 1 << 20 };
enum { WARM_NS = 300000000, LATE_NS = 500000000 };
enum { GRACE_S = 5, TRACE_GRACE_S = 60 };
enum { LOST = 0, UNANSWERED = -1, UNSENT = -2 };

enum mode { CLOSED, BIG, OPEN, STREAM, HOLD, TRACE, MODES };

enum part { HEAD, BODY, SIZE, DATA, DATA_END, TRAILER };

/* What became of one request of a trace. */
struct record {
    int64_t from_ns;
    int32_t first_us, total_us; // -1: never
    int16_t status;
    bool whole;
};

struct conn {
    int fd;          // -1: not connected
    bool busy, seen; // an answer is due; the first event of it was seen
    bool waits;      // for room to send more
    bool done_seen, error_seen, closing;
    struct record *record; // of a trace
    enum part part;
    size_t sent;
    int64_t from_ns; // when the request was to be sent
    char line[2048]; // of the head, of chunk framing, of an event
    size_t line_len;
    char text[512]; // an event's line, as far as it is here
    size_t text_len;
    size_t left; // bytes of the body or of a chunk
    bool chunked, failed;
};

struct load {
    enum mode mode;
    int ep, port;
    struct conn *conns;
    int n_conns, n_busy, n_seen;
    int *idle; // a stack of numbers of connections
    int n_idle;
    char *request;
    size_t request_len;
    int64_t begin_ns, end_ns, stop_ns, step_ns, next_ns;
    long issued, max_issued;
    long completed, counted, errors;
    double *samples; // us
    size_t n_samples;
    struct record *records; // of a trace
};

static int64_t now_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec * SECOND_NS + ts.tv_nsec;
}

static void die(const char *what)
{
    fprintf(stderr, "b_load: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void sample(struct load *l, int64_t ns)
{
    if (l->n_samples < MAX_SAMPLES)
        l->samples[l->n_samples++] = (double)ns / 1e3;
}

/** Connects; a trace waits for nothing, its reader finds what failed. */
static void conn_open(struct load *l, int i)
{
    struct conn *c = &l->conns[i];
    struct sockaddr_in sa = {.sin_family = AF_INET};
    struct epoll_event ev = {.events = EPOLLIN, .data.u32 = (uint32_t)i};
    int type = SOCK_STREAM | SOCK_CLOEXEC;
    int one = 1;

    memset(c, 0, sizeof(*c));
    sa.sin_port = htons((uint16_t)l->port);
    sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    c->fd = socket(AF_INET, l->mode == TRACE ? type | SOCK_NONBLOCK : type, 0);
    if (c->fd < 0)
        die("socket");
    if (connect(c->fd, (struct sockaddr *)&sa, sizeof(sa)) != 0 &&
        l->mode != TRACE)
        die("connect");
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    fcntl(c->fd, F_SETFL, O_NONBLOCK);
    if (epoll_ctl(l->ep, EPOLL_CTL_ADD, c->fd, &ev) != 0)
        die("epoll_ctl");
}

static void conn_close(struct conn *c)
{
    if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
}

static int32_t since_us(const struct record *r)
{
    return (int32_t)((now_ns() - r->from_ns) / 1000);
}

/** Notes that what a reader waits for has come. */
static void note_first(struct conn *c)
{
    if (c->record && c->record->first_us < 0)
        c->record->first_us = since_us(c->record);
}

static void note_done(struct conn *c)
{
    struct record *r = c->record;

    if (!r)
        return;
    note_first(c);
    r->total_us = since_us(r);
    r->whole = !c->error_seen && (c->done_seen || !c->chunked);
    if (c->closing)
        conn_close(c);
}

static void conn_done(struct load *l, struct conn *c)
{
    int64_t now = now_ns();

    note_done(c);
    c->busy = false;
    l->n_busy--;
    l->completed++;
    if (c->failed)
        l->errors++;
    if (now >= l->begin_ns + WARM_NS && now < l->end_ns)
        l->counted++;
    if (l->mode != STREAM && c->from_ns >= l->begin_ns + WARM_NS)
        sample(l, now - c->from_ns);
    l->idle[l->n_idle++] = (int)(c - l->conns);
}

/** The peer closed, or answered what is not understood. */
static void conn_lost(struct load *l, struct conn *c)
{
    int i = (int)(c - l->conns);
    bool was_busy = c->busy;

    conn_close(c);
    if (l->mode != TRACE)
        conn_open(l, i);
    c->busy = false;
    if (was_busy) {
        if (c->record)
            c->record->total_us = since_us(c->record);
        l->errors++;
        l->n_busy--;
        l->idle[l->n_idle++] = i;
    }
}

/** Sends what is left of the request; waits for room if it must. */
static void conn_send(struct load *l, struct conn *c)
{
    struct epoll_event ev = {.events = EPOLLIN};
    bool waited = c->waits;
    ssize_t n = write(c->fd, l->request + c->sent, l->request_len - c->sent);

    if (n < 0 && errno != EAGAIN)
        return; // the reader finds the same and counts it
    if (n > 0)
        c->sent += (size_t)n;
    ev.data.u32 = (uint32_t)(c - l->conns);
    c->waits = c->sent < l->request_len;
    if (c->waits)
        ev.events |= EPOLLOUT;
    if (waited != c->waits)
        epoll_ctl(l->ep, EPOLL_CTL_MOD, c->fd, &ev);
}

static void issue(struct load *l, int64_t from_ns)
{
    struct conn *c = &l->conns[l->idle[--l->n_idle]];

    if (c->fd < 0)
        conn_open(l, (int)(c - l->conns));
    if (l->records) {
        c->record = &l->records[l->issued];
        *c->record = (struct record){from_ns, -1, -1, LOST, false};
    }
    c->busy = true;
    c->seen = c->failed = c->done_seen = c->error_seen = c->closing = false;
    c->part = HEAD;
    c->sent = c->line_len = c->text_len = 0;
    c->from_ns = from_ns;
    l->n_busy++;
    l->issued++;
    conn_send(l, c);
}

/** A line of a stream that is traced. */
static void note_text(struct conn *c)
{
    static const char data[] = "data:";
    static const char done[] = "data: [DONE]";
    static const char error[] = "data: {\"error\"";

    if (strncmp(c->text, data, sizeof(data) - 1) != 0)
        return;
    note_first(c);
    c->done_seen |= strncmp(c->text, done, sizeof(done) - 1) == 0;
    c->error_seen |= strncmp(c->text, error, sizeof(error) - 1) == 0;
}

/** An event's line is whole. */
static void take_text(struct load *l, struct conn *c)
{
    static const char mark[] = "\"content\":\"t";
    int64_t now = now_ns();
    char *at;

    c->text[c->text_len] = '\0';
    c->text_len = 0;
    if (c->record)
        note_text(c);
    at = strstr(c->text, mark);
    if (!at || c->record)
        return;
    if (!c->seen)
        l->n_seen++;
    c->seen = true;
    if (now >= l->begin_ns + WARM_NS)
        sample(l, now - strtoll(at + sizeof(mark) - 1, NULL, 10));
}

static void take_data(struct load *l, struct conn *c, const char *data,
                      size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (data[i] == '\n')
            take_text(l, c);
        else if (c->text_len < sizeof(c->text) - 1)
            c->text[c->text_len++] = data[i];
    }
}

/** The head is whole, its lines kept in c->line. */
static void take_head(struct load *l, struct conn *c)
{
    char *length = strcasestr(c->line, "\ncontent-length:");

    c->chunked = strcasestr(c->line, "\ntransfer-encoding: chunked") != NULL;
    c->failed = strncmp(c->line, "HTTP/1.1 200", 12) != 0;
    c->closing = strcasestr(c->line, "\nconnection: close") != NULL;
    if (c->record)
        c->record->status = (int16_t)atoi(c->line + 9);
    if (!c->chunked)
        note_first(c);
    c->line_len = 0;
    c->left = length ? strtoul(length + 16, NULL, 10) : 0;
    c->part = c->chunked ? SIZE : BODY;
    if (!c->chunked && c->left == 0)
        conn_done(l, c);
}

/** A line of the framing is whole; false: it makes no sense. */
static bool take_line(struct load *l, struct conn *c)
{
    char *end;

    c->line[c->line_len] = '\0';
    if (c->part == HEAD) {
        if (c->line_len >= 4 &&
            strcmp(c->line + c->line_len - 4, "\r\n\r\n") == 0)
            take_head(l, c);
        return true;
    }
    if (c->part == SIZE) {
        c->left = strtoul(c->line, &end, 16);
        if (end == c->line)
            return false;
        c->part = c->left > 0 ? DATA : TRAILER;
    } else if (c->part == DATA_END) {
        c->part = SIZE;
    } else if (c->line_len <= 2) {
        conn_done(l, c);
    }
    c->line_len = 0;
    return true;
}

/** Takes bytes of an answer; false: they make no sense. */
static bool take(struct load *l, struct conn *c, const char *data, size_t n)
{
    while (n > 0) {
        size_t k = 1;

        if (!c->busy)
            return false;
        if (c->part == BODY || c->part == DATA) {
            k = n < c->left ? n : c->left;
            take_data(l, c, data, c->part == DATA ? k : 0);
            c->left -= k;
            if (c->left == 0 && c->part == BODY)
                conn_done(l, c);
            else if (c->left == 0)
                c->part = DATA_END;
        } else {
            if (c->line_len >= sizeof(c->line) - 1)
                return false;
            c->line[c->line_len++] = *data;
            if (*data == '\n' && !take_line(l, c))
                return false;
        }
        data += k;
        n -= k;
    }
    return true;
}

static void serve_event(struct load *l, const struct epoll_event *ev)
{
    static char in[65536];
    struct conn *c = &l->conns[ev->data.u32];
    ssize_t n;

    if (ev->events & EPOLLOUT)
        conn_send(l, c);
    if (!(ev->events & ~(uint32_t)EPOLLOUT))
        return;
    n = read(c->fd, in, sizeof(in));
    if (n < 0 && errno == EAGAIN)
        return;
    if (n <= 0 || !take(l, c, in, (size_t)n))
        conn_lost(l, c);
}

/** Sends what is due; returns the moment of the next one, or the end. */
static int64_t issue_due(struct load *l)
{
    int64_t now = now_ns();

    if (l->step_ns == 0) {
        while (l->n_idle > 0 && now < l->end_ns && l->issued < l->max_issued)
            issue(l, now_ns());
        return l->end_ns;
    }
    if (l->mode == TRACE && now >= l->stop_ns)
        return l->end_ns;
    while (l->n_idle > 0 && l->next_ns <= now && l->next_ns < l->end_ns &&
           l->issued < l->max_issued) {
        issue(l, l->next_ns);
        l->next_ns += l->step_ns;
    }
    return l->n_idle > 0 && l->next_ns < l->end_ns ? l->next_ns : l->end_ns;
}

static bool finished(const struct load *l, int64_t now)
{
    int64_t grace_s = l->mode == TRACE ? TRACE_GRACE_S : GRACE_S;

    if (l->mode == HOLD)
        return l->n_seen == l->n_conns || now > l->end_ns;
    if (l->n_busy > 0)
        return now > l->end_ns + grace_s * SECOND_NS;
    return l->issued >= l->max_issued || now >= l->stop_ns;
}

static void drive(struct load *l)
{
    struct epoll_event evs[256];

    l->begin_ns = l->next_ns = now_ns();
    l->end_ns += l->begin_ns;
    l->stop_ns = l->end_ns + (l->mode == TRACE ? LATE_NS : 0);
    while (!finished(l, now_ns())) {
        int64_t wait = issue_due(l) - now_ns();
        struct timespec ts;
        int n;

        if (wait < 0)
            wait = now_ns() < l->end_ns ? 0 : SECOND_NS / 10;
        ts.tv_sec = wait / SECOND_NS;
        ts.tv_nsec = wait % SECOND_NS;
        n = epoll_pwait2(l->ep, evs, 256, &ts, NULL);
        for (int i = 0; i < n; i++)
            serve_event(l, &evs[i]);
    }
    l->errors += l->mode == HOLD ? 0 : l->n_busy;
}

/** The body of all requests, to be freed. */
static char *build_body(const struct load *l, long chunks, long gap_ms)
{
    static const char text[] = "Tell me about the fox and the dog. ";
    size_t pad = l->mode == BIG ? BIG_BODY - 200 : sizeof(text) - 1;
    size_t cap = pad + 1024;
    char *body = malloc(cap);
    size_t n;

    if (!body)
        die("malloc");
    n = (size_t)snprintf(body, cap, "{\"model\":\"bench\",");
    if (l->mode == STREAM || l->mode == HOLD)
        n += (size_t)snprintf(body + n, cap - n,
                              "\"stream\":true,\"max_tokens\":%ld,\"seed\":%ld,"
                              "\"stream_options\":{\"include_usage\":true},",
                              chunks, gap_ms);
    n += (size_t)snprintf(body + n, cap - n,
                          "\"messages\":[{\"role\":\"user\","
                          "\"content\":\"");
    for (size_t i = 0; i < pad; i++)
        body[n++] = text[i % (sizeof(text) - 1)];
    snprintf(body + n, cap - n, "\"}]}");
    return body;
}

static void build_request(struct load *l, const char *key, const char *body)
{
    size_t n = strlen(body);

    l->request = malloc(n + 1024);
    if (!l->request)
        die("malloc");
    l->request_len = (size_t)snprintf(
        l->request, 1024,
        "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        "Authorization: Bearer %s\r\nContent-Type: application/json\r\n"
        "Content-Length: %zu\r\n\r\n",
        key, n);
    memcpy(l->request + l->request_len, body, n);
    l->request_len += n;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;

    return (x > y) - (x < y);
}

static double quantile(const struct load *l, double q)
{
    if (l->n_samples == 0)
        return 0;
    return l->samples[(size_t)(q * (double)(l->n_samples - 1) + 0.5)];
}

static void report(struct load *l)
{
    double s = (double)(l->end_ns - l->begin_ns - WARM_NS) / SECOND_NS;

    qsort(l->samples, l->n_samples, sizeof(double), by_value);
    printf("{\"requests\": %ld, \"errors\": %ld, \"rate\": %.1f, "
           "\"samples\": %zu, \"p50_us\": %.2f, \"p99_us\": %.2f, "
           "\"max_us\": %.2f}\n",
           l->completed, l->errors, (double)l->counted / s, l->n_samples,
           quantile(l, 0.5), quantile(l, 0.99), quantile(l, 1));
}

/** Writes what became of each request of a trace. */
static void report_trace(struct load *l)
{
    for (int i = 0; i < l->n_conns; i++) {
        if (l->conns[i].busy && l->conns[i].record)
            l->conns[i].record->status = UNANSWERED;
    }
    for (; l->next_ns < l->end_ns; l->next_ns += l->step_ns)
        l->records[l->issued++] =
            (struct record){l->next_ns, -1, -1, UNSENT, false};
    for (long i = 0; i < l->issued; i++) {
        const struct record *r = &l->records[i];

        printf("%lld %d %d %d %d\n", (long long)(r->from_ns / 1000),
               r->first_us, r->total_us, r->status, r->whole);
    }
}

/** Reads the words of the command into what the run is to be. */
static void parse(struct load *l, int argc, char **argv)
{
    static const char *const modes[] = {"closed", "big",  "open",
                                        "stream", "hold", "trace"};
    double seconds = argc > 5 ? strtod(argv[5], NULL) : 60;
    long extra = argc > 6 ? strtol(argv[6], NULL, 10) : 0;
    long chunks = 2;
    char *body;
    int m = 0;

    while (m < MODES && (argc < 5 || strcmp(argv[1], modes[m]) != 0))
        m++;
    l->n_conns = argc > 4 ? atoi(argv[4]) : 0;
    if (m == MODES || l->n_conns < 1 || l->n_conns > MAX_CONNS ||
        ((m == OPEN || m == STREAM || m == TRACE) && extra < 1) ||
        (m == TRACE && argc < 8)) {
        fprintf(stderr, "usage: b_load MODE PORT KEY CONNS [SECONDS [N]]\n");
        exit(2);
    }
    l->mode = (enum mode)m;
    l->port = atoi(argv[2]);
    l->end_ns = (int64_t)(seconds * SECOND_NS);
    l->max_issued = m == STREAM || m == HOLD ? l->n_conns : INT64_MAX;
    if (m == OPEN || m == TRACE)
        l->step_ns = SECOND_NS / extra;
    if (m == STREAM) {
        l->step_ns = extra * 1000000 / l->n_conns;
        chunks = (long)(seconds * 1000) / extra;
    }
    if (m == TRACE) {
        build_request(l, argv[3], argv[7]);
        l->records =
            calloc((size_t)(l->end_ns / l->step_ns) + 2, sizeof(*l->records));
        if (!l->records)
            die("calloc");
        return;
    }
    body = build_body(l, chunks, m == HOLD ? 600000 : extra);
    build_request(l, argv[3], body);
    free(body);
}

int main(int argc, char **argv)
{
    struct load l = {0};

    parse(&l, argc, argv);
    prctl(PR_SET_TIMERSLACK, 1000UL);
    signal(SIGPIPE, SIG_IGN);
    l.ep = epoll_create1(EPOLL_CLOEXEC);
    l.conns = calloc((size_t)l.n_conns, sizeof(*l.conns));
    l.idle = calloc((size_t)l.n_conns, sizeof(*l.idle));
    l.samples = calloc(MAX_SAMPLES, sizeof(*l.samples));
    if (l.ep < 0 || !l.conns || !l.idle || !l.samples)
        die("start");
    for (int i = l.n_conns - 1; i >= 0; i--) {
        if (l.mode == TRACE)
            l.conns[i].fd = -1;
        else
            conn_open(&l, i);
        l.idle[l.n_idle++] = i;
    }
    drive(&l);
    if (l.mode == HOLD) {
        char c;

        printf("{\"ready\": %d, \"errors\": %ld}\n", l.n_seen, l.errors);
        fflush(stdout);
        while (read(0, &c, 1) > 0)
            continue;
    } else if (l.mode == TRACE) {
        report_trace(&l);
    } else {
        report(&l);
    }
    return 0;
}
