/* ctl_top.c - Asks for all metrics once a second and shows differences. */
#include "ctl/ctl_top.h"

#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#define FRAME_MS 1000

/* Sums of a frame. */
struct frame {
    double requests, errors, input, output, cached;
    double conns, in_flight, resident, lag;
    double seconds_sum, seconds_count;
    double buckets[64]; /* of tollgate_request_seconds, summed by bound */
    double bounds[64];
    size_t n_bounds;
};

static void add_bucket(struct frame *f, const char *line, double v)
{
    const char *le = strstr(line, "le=\"");
    double bound =
        le && strncmp(le + 4, "+Inf", 4) != 0 ? strtod(le + 4, NULL) : 1e18;
    size_t i = 0;

    while (i < f->n_bounds && f->bounds[i] != bound)
        i++;
    if (i == sizeof(f->bounds) / sizeof(f->bounds[0]))
        return;
    if (i == f->n_bounds) {
        f->bounds[i] = bound;
        f->n_bounds++;
    }
    f->buckets[i] += v;
}

static bool line_is(const char *line, const char *name)
{
    size_t n = strlen(name);

    return strncmp(line, name, n) == 0 && (line[n] == '{' || line[n] == ' ');
}

static void add_requests(struct frame *f, const char *line, double v)
{
    const char *status = strstr(line, "status=\"");

    f->requests += v;
    if (status && strtol(status + 8, NULL, 10) >= 400)
        f->errors += v;
}

static void add_tokens(struct frame *f, const char *line, double v)
{
    if (strstr(line, "kind=\"input\""))
        f->input += v;
    else if (strstr(line, "kind=\"output\""))
        f->output += v;
    else if (strstr(line, "kind=\"cached\""))
        f->cached += v;
}

static void add_line(struct frame *f, const char *line)
{
    const char *space = strrchr(line, ' ');
    double v = space ? strtod(space + 1, NULL) : 0;

    if (line_is(line, "tollgate_requests_total"))
        add_requests(f, line, v);
    else if (line_is(line, "tollgate_tokens_total"))
        add_tokens(f, line, v);
    else if (line_is(line, "tollgate_connections"))
        f->conns = v;
    else if (line_is(line, "tollgate_in_flight"))
        f->in_flight = v;
    else if (line_is(line, "tollgate_resident_bytes"))
        f->resident = v;
    else if (line_is(line, "tollgate_loop_lag_seconds"))
        f->lag = v;
    else if (line_is(line, "tollgate_request_seconds_sum"))
        f->seconds_sum += v;
    else if (line_is(line, "tollgate_request_seconds_count"))
        f->seconds_count += v;
    else if (line_is(line, "tollgate_request_seconds_bucket"))
        add_bucket(f, line, v);
}

static void frame_read(struct frame *f, const char *text)
{
    char *copy = strdup(text), *rest = copy, *line;

    *f = (struct frame){0};
    while (copy && (line = strsep(&rest, "\n")) != NULL)
        if (line[0] != '#')
            add_line(f, line);
    free(copy);
}

/* The <q> quantile in ms of what came between the frames. */
static double quantile_ms(const struct frame *a, const struct frame *b,
                          double q)
{
    double want = (b->seconds_count - a->seconds_count) * q;

    for (size_t i = 0; i < b->n_bounds; i++) {
        double before = i < a->n_bounds ? a->buckets[i] : 0;

        if (b->buckets[i] - before >= want && want > 0)
            return b->bounds[i] * 1000;
    }
    return 0;
}

static void show(const struct frame *a, const struct frame *b,
                 const json_t *targets, double secs)
{
    static const struct ctl_column columns[] = {
        {"TARGET", "name", false},        {"STATE", "state", false},
        {"IN FLIGHT", "in_flight", true}, {"ATTEMPTS", "requests", true},
        {"FAILURES", "failures", true},   {"LAST ERROR", "last_error", false},
    };

    printf("requests  %10.1f /s   errors %8.1f /s   in flight %6.0f   "
           "connections %6.0f\n",
           (b->requests - a->requests) / secs, (b->errors - a->errors) / secs,
           b->in_flight, b->conns);
    printf("tokens    %10.1f /s in   %8.1f /s out   %8.1f /s cached\n",
           (b->input - a->input) / secs, (b->output - a->output) / secs,
           (b->cached - a->cached) / secs);
    printf("latency   p50 <= %.1f ms   p99 <= %.1f ms   loop lag %.1f ms   "
           "memory %.1f MiB\n\n",
           quantile_ms(a, b, 0.5), quantile_ms(a, b, 0.99), b->lag * 1000,
           b->resident / 1048576);
    ctl_table(json_object_get(targets, "data"), columns,
              sizeof(columns) / sizeof(columns[0]), "no upstreams");
    fflush(stdout);
}

/* Wait one frame; true when the user wants to leave. */
static bool wait_frame(bool keys)
{
    struct pollfd p = {.fd = STDIN_FILENO, .events = POLLIN};
    char c = 0;

    if (poll(&p, keys ? 1 : 0, FRAME_MS) <= 0)
        return false;
    return read(STDIN_FILENO, &c, 1) <= 0 || c == 'q' || c == 3;
}

static enum ctl_exit loop(struct ctl_conn *c, bool tty)
{
    struct frame a, b;
    enum ctl_exit status;
    bool first = true;

    for (;;) {
        json_t *data = ctl_ask(c, "top", NULL, &status);
        const char *text = json_string_value(json_object_get(data, "metrics"));

        if (!data)
            return status;
        frame_read(&b, text ? text : "");
        if (!first) {
            if (tty)
                fputs("\033[H\033[2J", stdout);
            show(&a, &b, json_object_get(data, "targets"), FRAME_MS / 1000.0);
        }
        json_decref(data);
        if (!first && !tty)
            return CTL_DONE;
        first = false;
        a = b;
        if (wait_frame(tty))
            return CTL_DONE;
    }
}

enum ctl_exit ctl_top(struct ctl_conn *c)
{
    bool tty = isatty(STDOUT_FILENO) && isatty(STDIN_FILENO);
    struct termios was, raw;
    enum ctl_exit status;

    if (!tty || tcgetattr(STDIN_FILENO, &was) != 0)
        return loop(c, false);
    raw = was;
    raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO | ISIG);
    tcsetattr(STDIN_FILENO, TCSANOW, &raw);
    status = loop(c, true);
    tcsetattr(STDIN_FILENO, TCSANOW, &was);
    return status;
}
