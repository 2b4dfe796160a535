/* ctl_top.c - Asks for all metrics once a second and shows differences. The
 * signals that end a program come through a descriptor here: the terminal has
 * to be put right before the end. */
#include "ctl/ctl_top.h"

#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <termios.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/str.h"
#include "ctl/ctl_cmds.h"
#include "ctl/ctl_prefix_table.h"

#define FRAME_MS 1000

/* The bound of the last bucket, which has none. */
#define BOUND_NONE 1e18

/* Sums of a frame. */
struct frame {
    double requests, errors, input, output, cached;
    double conns, in_flight, resident, lag;
    double engine_queue, engine_batch, engine_rate; /* over all models */
    double over_budget, cut, holding, waiting;      /* at hard budgets */
    double from_memory, from_store, computed;       /* prompt tokens */
    double hits, misses, joined, saved_usd;         /* of the cache */
    bool has_engine;
    double at_s; /* when it was taken */
    double seconds_sum, seconds_count;
    double buckets[64]; /* of tollgate_request_seconds, summed by bound */
    double bounds[64];
    size_t n_bounds;
};

static void add_bucket(struct frame *f, const char *line, double v)
{
    const char *le = strstr(line, "le=\"");
    double bound = le && strncmp(le + 4, "+Inf", 4) != 0 ? strtod(le + 4, NULL)
                                                         : BOUND_NONE;
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

static void add_engine(struct frame *f, const char *line, double v)
{
    if (line_is(line, "tollgate_engine_queue"))
        f->engine_queue += v;
    else if (line_is(line, "tollgate_engine_batch"))
        f->engine_batch += v;
    else if (line_is(line, "tollgate_engine_tokens_per_second"))
        f->engine_rate += v;
    f->has_engine = true;
}

static void add_prefix(struct frame *f, const char *line, double v)
{
    if (strstr(line, "source=\"device\""))
        f->from_memory += v;
    else if (strstr(line, "source=\"store\""))
        f->from_store += v;
    else if (strstr(line, "source=\"computed\""))
        f->computed += v;
}

static void add_budget(struct frame *f, const char *line, double v)
{
    if (line_is(line, "tollgate_budget_refusals_total"))
        f->over_budget += v;
    else if (line_is(line, "tollgate_budget_cuts_total"))
        f->cut += v;
    else if (line_is(line, "tollgate_budget_holds"))
        f->holding = v;
    else if (line_is(line, "tollgate_budget_waiting"))
        f->waiting = v;
}

static void add_cache(struct frame *f, const char *line, double v)
{
    if (line_is(line, "tollgate_cache_hits_total"))
        f->hits += v;
    else if (line_is(line, "tollgate_cache_misses_total"))
        f->misses += v;
    else if (line_is(line, "tollgate_cache_saved_cost_usd_total"))
        f->saved_usd += v;
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
    else if (str_starts(str_from(line), STR("tollgate_engine_")))
        add_engine(f, line, v);
    else if (str_starts(str_from(line), STR("tollgate_budget_")))
        add_budget(f, line, v);
    else if (str_starts(str_from(line), STR("tollgate_cache_")))
        add_cache(f, line, v);
    else if (line_is(line, "tollgate_coalesced_total"))
        f->joined += v;
    else if (line_is(line, "tollgate_prefix_tokens_total"))
        add_prefix(f, line, v);
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

    *f = (struct frame){.at_s = (double)clock_now_us() / 1e6};
    while (copy && (line = strsep(&rest, "\n")) != NULL)
        if (line[0] != '#')
            add_line(f, line);
    free(copy);
}

/* Print where the <q> quantile lies of what came between the frames. */
static void put_quantile(const struct frame *a, const struct frame *b, double q,
                         const char *name)
{
    double want = (b->seconds_count - a->seconds_count) * q;

    for (size_t i = 0; i < b->n_bounds && want > 0; i++) {
        double before = i < a->n_bounds ? a->buckets[i] : 0;

        if (b->buckets[i] - before < want)
            continue;
        if (b->bounds[i] < BOUND_NONE)
            printf("%s <= %.1f ms   ", name, b->bounds[i] * 1000);
        else
            printf("%s  > %.1f ms   ", name,
                   i > 0 ? b->bounds[i - 1] * 1000 : 0);
        return;
    }
    printf("%s -   ", name);
}

/* How many of the requests that a stored reply could have answered, or the
 * call of another, were. */
static void put_cache(const struct frame *a, const struct frame *b, double secs)
{
    const double hits = b->hits - a->hits, joined = b->joined - a->joined;
    const double all = hits + joined + b->misses - a->misses;

    if (b->hits + b->joined + b->misses == 0)
        return;
    printf("cache     %10.1f /s hits     %5.1f /s joined   ", hits / secs,
           joined / secs);
    if (all > 0)
        printf("hit rate %5.1f %%   ", (hits + joined) / all * 100);
    else
        printf("hit rate     -   ");
    printf("saved $%.6f\n", b->saved_usd);
}

static void show(const struct frame *a, const struct frame *b,
                 const json_t *targets, const json_t *models)
{
    static const struct ctl_column columns[] = {
        {"TARGET", "name", false},           {"KIND", "kind", false},
        {"STATE", "state", false},           {"IN FLIGHT", "in_flight", true},
        {"ATTEMPTS", "requests", true},      {"FAILURES", "failures", true},
        {"LAST ERROR", "last_error", false},
    };
    double secs = b->at_s - a->at_s > 0.001 ? b->at_s - a->at_s : 0.001;

    printf("requests  %10.1f /s   errors %8.1f /s   in flight %6.0f   "
           "connections %6.0f\n",
           (b->requests - a->requests) / secs, (b->errors - a->errors) / secs,
           b->in_flight, b->conns);
    printf("tokens    %10.1f /s in   %8.1f /s out   %8.1f /s cached\n",
           (b->input - a->input) / secs, (b->output - a->output) / secs,
           (b->cached - a->cached) / secs);
    printf("budgets   %10.1f /s over     %5.1f /s cut   %6.0f holding   "
           "%6.0f waiting\n",
           (b->over_budget - a->over_budget) / secs, (b->cut - a->cut) / secs,
           b->holding, b->waiting);
    put_cache(a, b, secs);
    if (b->has_engine)
        printf("engine    %10.1f /s out  %8.0f running   %6.0f waiting\n",
               b->engine_rate, b->engine_batch, b->engine_queue);
    if (b->has_engine)
        printf("prompts   %10.1f /s computed   %8.1f /s from memory   "
               "%8.1f /s from disk\n",
               (b->computed - a->computed) / secs,
               (b->from_memory - a->from_memory) / secs,
               (b->from_store - a->from_store) / secs);
    fputs("latency   ", stdout);
    put_quantile(a, b, 0.5, "p50");
    put_quantile(a, b, 0.99, "p99");
    printf("loop lag %.1f ms   memory %.1f MiB\n\n", b->lag * 1000,
           b->resident / 1048576);
    ctl_table(json_object_get(targets, "data"), columns,
              sizeof(columns) / sizeof(columns[0]), "no targets");
    if (json_array_size(models) > 0) {
        putchar('\n');
        ctl_engine_table(models);
        putchar('\n');
        ctl_prefix_table(models, "name", "prefix");
    }
    fflush(stdout);
}

/* Wait one frame; true when it is time to leave. */
static bool wait_frame(int signals, bool keys)
{
    struct pollfd p[2] = {{.fd = signals, .events = POLLIN},
                          {.fd = keys ? STDIN_FILENO : -1, .events = POLLIN}};
    uint64_t end_us = clock_now_us() + FRAME_MS * 1000;

    for (;;) {
        uint64_t now_us = clock_now_us();
        char c = 0;

        if (now_us >= end_us)
            return false;
        if (poll(p, 2, (int)((end_us - now_us) / 1000) + 1) <= 0)
            continue;
        if (p[0].revents)
            return true;
        if (p[1].revents &&
            (read(STDIN_FILENO, &c, 1) <= 0 || c == 'q' || c == 3))
            return true;
    }
}

static enum ctl_exit loop(struct ctl_conn *c, int signals, bool tty)
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
            show(&a, &b, json_object_get(data, "targets"),
                 json_object_get(data, "engine"));
        }
        json_decref(data);
        if (!first && !tty)
            return CTL_DONE;
        first = false;
        a = b;
        if (wait_frame(signals, tty))
            return CTL_DONE;
    }
}

enum ctl_exit ctl_top(struct ctl_conn *c)
{
    bool tty = isatty(STDOUT_FILENO) && isatty(STDIN_FILENO);
    struct termios was, raw;
    enum ctl_exit status;
    sigset_t ends;
    int signals;

    if (!tty || tcgetattr(STDIN_FILENO, &was) != 0)
        return loop(c, -1, false);
    sigemptyset(&ends);
    sigaddset(&ends, SIGTERM);
    sigaddset(&ends, SIGINT);
    sigaddset(&ends, SIGHUP);
    signals = signalfd(-1, &ends, SFD_CLOEXEC);
    if (signals >= 0)
        sigprocmask(SIG_BLOCK, &ends, NULL);
    raw = was;
    raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO | ISIG);
    tcsetattr(STDIN_FILENO, TCSANOW, &raw);
    status = loop(c, signals, true);
    tcsetattr(STDIN_FILENO, TCSANOW, &was);
    if (signals >= 0)
        close(signals);
    return status;
}
