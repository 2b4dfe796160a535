/* main.c - The program tollgate: arguments, config, exit codes. Runs in the
 * foreground and logs to stderr; a service manager does the rest.
 *
 *   0 good, 1 run-time failure, 2 usage, 78 bad config */
#include "config.h"

#include <curl/curl.h>
#include <event2/event.h>
#include <event2/thread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "conf/conf.h"
#include "daemon/daemon.h"
#include "daemon/no_price.h"
#include "daemon/reload.h"
#include "daemon/signals.h"
#include "engine/engine.h"
#include "front/front.h"
#include "upstream/upstream.h"

enum { EXIT_OK = 0, EXIT_RUN = 1, EXIT_USAGE = 2, EXIT_CONF = 78 };

static void usage(FILE *to)
{
    fputs("usage: tollgate [-c FILE] [-t] [-V] [-h]\n"
          "  -c FILE  config; else $TOLLGATE_CONFIG, else " TG_SYSCONFDIR
          "/tollgate.yaml,\n"
          "           else /etc/tollgate/tollgate.yaml, else a built-in "
          "default\n"
          "           on 127.0.0.1:4141\n"
          "  -t       check the config and exit (0 good, 78 bad)\n"
          "  -V       print the version and exit\n"
          "  -h       print this and exit\n",
          to);
}

static void version(void)
{
    printf("tollgate %s (libevent %s, %s)\n", PACKAGE_VERSION,
           event_get_version(), curl_version());
}

static void print_report(const struct conf_report *r)
{
    for (size_t i = 0; i < r->n_items; i++)
        fprintf(stderr, "%s\n", r->items[i].text);
    if (r->n_errors > 0)
        fprintf(stderr, "tollgate: %zu mistake%s in the config\n", r->n_errors,
                r->n_errors == 1 ? "" : "s");
}

/* Load <file> (NULL: the built-in default), with a look into the certificates
 * and the models it names, which <judged> keeps; NULL when anything is wrong,
 * which has been told. */
static struct conf *load(const char *file, struct engine_judged *judged)
{
    struct conf_report r = {.judge_cert = front_judge_cert,
                            .judge_model = engine_judge_model,
                            .judge_arg = judged};
    struct conf *c = NULL;
    enum err e = conf_load(file, 0, &r, &c);

    print_report(&r);
    if (e != ERR_OK && r.n_errors == 0)
        fprintf(stderr, "tollgate: cannot read %s: %s\n",
                file ? file : "the built-in default", err_row(e)->message);
    conf_report_fini(&r);
    return c;
}

static void print_no_price(const char *text, void *arg)
{
    (void)arg;
    fprintf(stderr, "tollgate: warning: %s\n", text);
}

/* A core would hold keys and prompts. */
static void no_core_dumps(void)
{
    const struct rlimit none = {0, 0};

    if (setrlimit(RLIMIT_CORE, &none) != 0)
        perror("tollgate: cannot switch core dumps off");
}

/* Takes <c>, which came from <file>, and the models that were judged then. */
static int run(const char *file, struct conf *c, struct engine_judged *judged)
{
    struct daemon d = {.conf_file = file,
                       .conf = c,
                       .conf_start = conf_ref(c),
                       .judged = judged};
    struct log_settings log = reload_log_settings(c);
    bool ok;

    if (log_start(&log) != ERR_OK)
        return EXIT_RUN;
    d.base = event_base_new();
    ok = d.base && signals_open(&d) == ERR_OK && daemon_start(&d);
    if (ok) {
        signals_notify("READY=1");
        event_base_dispatch(d.base);
    }
    daemon_stop(&d);
    signals_close(&d);
    if (d.base)
        event_base_free(d.base);
    conf_unref(d.conf);
    conf_unref(d.conf_start);
    if (ok)
        log_note(LOG_MAIN, "stopped");
    log_stop();
    return ok ? d.exit_code : EXIT_RUN;
}

int main(int argc, char **argv)
{
    const char *file = NULL;
    bool check = false;
    struct engine_judged *judged;
    struct conf *c;
    int opt, status;

    while ((opt = getopt(argc, argv, "c:tVh")) != -1) {
        switch (opt) {
        case 'c':
            file = optarg;
            break;
        case 't':
            check = true;
            break;
        case 'V':
            version();
            return EXIT_OK;
        case 'h':
            usage(stdout);
            return EXIT_OK;
        default:
            usage(stderr);
            return EXIT_USAGE;
        }
    }
    if (optind != argc) {
        usage(stderr);
        return EXIT_USAGE;
    }
    umask(077);
    signal(SIGPIPE, SIG_IGN);
    no_core_dumps();
    /* Before certificates are read: whoever uses OpenSSL first decides whether
     * it is taken down at the exit, under a thread that reads authorities. */
    if (upstream_boot() != ERR_OK) {
        fprintf(stderr, "tollgate: OpenSSL or libcurl cannot be set up\n");
        return EXIT_RUN;
    }
    file = conf_find(file);
    if (check) {
        c = load(file, NULL);
        status = c ? EXIT_OK : EXIT_CONF;
        if (c)
            no_price_tell(c, print_no_price, NULL);
        conf_unref(c);
        return status;
    }
    judged = engine_judged_new();
    c = load(file, judged);
    evthread_use_pthreads();
    status = c ? run(file, c, judged) : EXIT_CONF;
    engine_judged_free(judged);
    return status;
}
