/* b_upstream.c - What the pool of one worker costs: CPU time of a kept-alive
 * request over loopback, and memory of a stream that is open. The server runs
 * in a process of its own and is not counted.
 *
 *   b_upstream [requests] [concurrency] [streams] */
#include "lib/rawserver.h"
#include "lib/upfix.h"

#include <event2/event.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define BODY "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"x\":1}]}  "

#define CHUNK                                                                  \
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"                   \
    "x-request-id: req_0123456789\r\nTransfer-Encoding: chunked\r\n\r\n"       \
    "d\r\ndata: {\"a\":1}\r\n"

static void serve(struct rawconn *c, void *arg)
{
    struct str req;

    (void)arg;
    while ((req = raw_request(c)).len > 0) {
        if (str_starts(req, STR("GET"))) {
            raw_send(c, CHUNK);
            raw_drain(c);
            return;
        }
        raw_send(c, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                    "x-request-id: req_0123456789\r\nContent-Length: 16\r\n"
                    "\r\n{\"usage\":12345}\n");
    }
}

/* A server in a child; gives its port, and the pipe that ends it. */
static pid_t spawn_server(uint16_t *port_out, int *stop_out)
{
    int up[2], down[2];
    pid_t pid;
    char c;

    if (pipe(up) != 0 || pipe(down) != 0)
        abort();
    pid = fork();
    if (pid == 0) {
        struct rawserver s;

        close(down[1]);
        rawserver_start(&s, serve, NULL, NULL);
        if (write(up[1], &s.port, sizeof(s.port)) != sizeof(s.port))
            abort();
        if (read(down[0], &c, 1) < 0)
            abort();
        _exit(0);
    }
    if (read(up[0], port_out, sizeof(*port_out)) != sizeof(*port_out))
        abort();
    *stop_out = down[1];
    return pid;
}

static double cpu_s(void)
{
    struct rusage u;

    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

/* --- requests ----------------------------------------------------------- */

/* One of the requests kept in flight. */
struct lane {
    struct sink sink;
    struct upfix *f;
    struct xfer_spec spec;
    struct arena *arena;
    unsigned *left;
    unsigned *failed;
    bool idle;
};

static void lane_start(struct lane *l)
{
    arena_free(l->arena);
    l->arena = l->spec.arena = arena_new(2048, 1024 * 1024);
    l->idle = !xfer_start(l->f->pool, NULL, &l->spec, &l->sink);
}

static void on_head(struct sink *s, const struct reply_head *head)
{
    (void)s;
    (void)head;
}

static enum flow on_data(struct sink *s, struct str bytes)
{
    (void)s;
    (void)bytes;
    return FLOW_MORE;
}

static void on_end(struct sink *s, const struct produce_end *how)
{
    struct lane *l = (struct lane *)s;

    if (how->err != ERR_OK)
        ++*l->failed;
    l->idle = true;
    if (*l->left > 0)
        --*l->left;
}

static const struct sink_ops lane_ops = {on_head, on_data, on_end};

static void run_lanes(struct upfix *f, struct lane *lanes, int n,
                      unsigned *left)
{
    while (*left > 0) {
        for (int i = 0; i < n; i++)
            if (lanes[i].idle)
                lane_start(&lanes[i]);
        event_base_loop(f->w.base, EVLOOP_ONCE);
    }
    while (upstream_pool_open(f->pool) > 0)
        event_base_loop(f->w.base, EVLOOP_ONCE);
}

static void bench_requests(struct upfix *f, unsigned requests, int n)
{
    struct lane *lanes = calloc((size_t)n, sizeof(*lanes));
    unsigned left = requests / 10, failed = 0;
    double cpu;
    uint64_t start;

    upfix_client(f, "User-Agent: OpenAI/Python 1.99.9\r\n"
                    "Accept: application/json\r\n"
                    "Content-Type: application/json\r\n"
                    "Authorization: Bearer sk-tg-0123456789\r\n"
                    "X-Stainless-Lang: python\r\n");
    for (int i = 0; i < n; i++) {
        lanes[i] = (struct lane){.sink = {&lane_ops}, .f = f, .idle = true};
        lanes[i].spec = upfix_spec(f, "POST", "/chat/completions", BODY);
        lanes[i].left = &left;
        lanes[i].failed = &failed;
    }
    run_lanes(f, lanes, n, &left); /* warm up */
    left = requests;
    cpu = cpu_s();
    clock_update();
    start = clock_mono_us();
    run_lanes(f, lanes, n, &left);
    clock_update();
    printf("requests=%u concurrency=%d cpu_us=%.2f per_s=%.0f failed=%u\n",
           requests, n, (cpu_s() - cpu) * 1e6 / requests,
           requests * 1e6 / (double)(clock_mono_us() - start), failed);
    for (int i = 0; i < n; i++)
        arena_free(lanes[i].arena);
    free(lanes);
}

/* --- streams ------------------------------------------------------------ */

static size_t heap_bytes(void)
{
    struct mallinfo2 m = mallinfo2();

    return m.uordblks + m.hblkhd;
}

static void bench_streams(struct upfix *f, int n)
{
    struct seen *all = calloc((size_t)n, sizeof(*all));
    struct arena **arenas = calloc((size_t)n, sizeof(*arenas));
    size_t before = heap_bytes(), open;

    for (int i = 0; i < n; i++) {
        struct xfer_spec spec = upfix_spec(f, "GET", "/stream", NULL);

        seen_init(&all[i]);
        all[i].forget = true;
        spec.streaming_reply = true;
        spec.arena = arenas[i] = arena_new(2048, 1024 * 1024);
        all[i].producer = xfer_start(f->pool, NULL, &spec, &all[i].sink);
    }
    for (int i = 0; i < n; i++)
        while (all[i].bytes == 0 && !all[i].ended)
            event_base_loop(f->w.base, EVLOOP_ONCE);
    open = heap_bytes();
    printf("streams=%d open=%u bytes_each=%zu (arena of 2 KiB not counted)\n",
           n, upstream_pool_open(f->pool), (open - before) / (size_t)n - 2048);
    for (int i = 0; i < n; i++) {
        all[i].producer->ops->cancel(all[i].producer);
        arena_free(arenas[i]);
        seen_fini(&all[i]);
    }
    free(arenas);
    free(all);
}

int main(int argc, char **argv)
{
    unsigned requests = argc > 1 ? (unsigned)atoi(argv[1]) : 50000;
    int lanes = argc > 2 ? atoi(argv[2]) : 32;
    int streams = argc > 3 ? atoi(argv[3]) : 1000;
    struct rlimit files = {8192, 8192};
    struct upfix f;
    uint16_t port;
    int stop;
    pid_t pid;

    setrlimit(RLIMIT_NOFILE, &files);
    pid = spawn_server(&port, &stop);
    upfix_init(&f, NULL, port, false);
    if (requests > 0)
        bench_requests(&f, requests, lanes);
    if (streams > 0)
        bench_streams(&f, streams);
    upfix_fini(&f);
    close(stop);
    waitpid(pid, NULL, 0);
    return 0;
}
