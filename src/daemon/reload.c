/* reload.c - A new config for a running process: read it whole, refuse it
 * whole, or hand the snapshot to everybody. Requests under way keep theirs. */
#include "daemon/reload.h"

#include "base/clock.h"
#include "base/log.h"
#include "conf/conf.h"
#include "daemon/daemon.h"
#include "daemon/no_price.h"
#include "engine/engine.h"
#include "front/front.h"
#include "serve/target.h"
#include "settle/unpriced.h"
#include "upstream/upstream.h"

#define DAY_MS UINT64_C(86400000)
#define ENGINE_STAYS                                                           \
    "engine changes need a restart; until then the models that run are "       \
    "served, "                                                                 \
    "and no others"

static enum log_level level_of(const struct conf *c)
{
    return (enum log_level)c->log.level;
}

struct log_settings reload_log_settings(const struct conf *c)
{
    return (struct log_settings){
        .level = level_of(c),
        .json = c->log.format == CONF_LOG_JSON,
        .access_on = c->log.access_to != CONF_ACCESS_OFF,
        .access = c->log.access_to == CONF_ACCESS_FILE ? c->log.access.p : NULL,
    };
}

static void say(struct buf *report, const char *text)
{
    if (report && buf_printf(report, "%s\n", text) != ERR_OK)
        log_debug(LOG_CONF, "report is full");
}

static void warn_no_price(const char *text, void *report)
{
    log_warn(LOG_CONF, "%s", text);
    say(report, text);
}

void reload_tell_prices(const struct conf *c, struct buf *report)
{
    const struct conf_prices *p = &c->price;
    char day[CLOCK_RFC3339_SIZE];

    if (p->file.len == 0) {
        if (c->n_upstreams > 0)
            log_note(LOG_CONF, "no price file: the cost of what upstreams do "
                               "counts as 0; see PRICES in tollgate.yaml(5)");
        return;
    }
    clock_format_rfc3339((uint64_t)p->updated_days * DAY_MS, day);
    log_note(LOG_CONF, "prices: file=%.*s entries=%zu updated=%.10s",
             STR_ARG(p->file), p->n_prices, day);
    no_price_tell(c, warn_no_price, report);
}

static void tell_problems(const struct conf_report *r, struct buf *report)
{
    for (size_t i = 0; i < r->n_items; i++) {
        if (r->items[i].warning)
            log_warn(LOG_CONF, "%s", r->items[i].text);
        else
            log_err(LOG_CONF, "%s", r->items[i].text);
        say(report, r->items[i].text);
    }
    if (r->n_errors + r->n_warnings > r->n_items && report &&
        buf_printf(report, "... and %zu more\n",
                   r->n_errors + r->n_warnings - r->n_items) != ERR_OK)
        log_debug(LOG_CONF, "report is full");
}

/* What differs from <from>: all that holds now or, with <restart>, all that
 * does not. */
static void tell_changes(const struct conf *from, const struct conf *to,
                         bool restart, struct buf *report)
{
    struct conf_changes ch = {0};
    bool engine = false;

    if (conf_diff(from, to, &ch) != ERR_OK)
        return;
    for (size_t i = 0; i < ch.n_items; i++) {
        if (ch.items[i].restart != restart)
            continue;
        engine =
            engine || str_starts(str_from(ch.items[i].key), STR("engine."));
        log_note(LOG_CONF, "config change: key=%s%s", ch.items[i].key,
                 restart ? " (holds after a restart)" : "");
        if (restart && report &&
            buf_printf(report, "%s holds only after a restart\n",
                       ch.items[i].key) != ERR_OK)
            log_debug(LOG_CONF, "report is full");
    }
    if (restart && engine) {
        log_note(LOG_CONF, ENGINE_STAYS);
        say(report, ENGINE_STAYS);
    }
    conf_changes_fini(&ch);
}

/* Open the files that <fresh> names: the last step that may fail, so that a
 * failure leaves everything as it was. */
static bool take_files(struct daemon *d, const struct conf *fresh,
                       struct buf *report)
{
    struct log_settings log = reload_log_settings(fresh);
    struct log_settings was = reload_log_settings(d->conf);

    if (log_configure(&log) != ERR_OK) {
        say(report, "the log cannot be opened; see the log");
        return false;
    }
    if (front_net_reload(d->net, fresh) == ERR_OK)
        return true;
    say(report, "the certificates cannot be loaded; see the log");
    if (log_configure(&was) != ERR_OK)
        log_warn(LOG_CONF, "the log stays where the refused config has it");
    return false;
}

/* The running engine's models keep their names until a restart. */
static bool names_are_free(const struct daemon *d, const struct conf *fresh,
                           struct buf *report)
{
    const struct conf_engine *own = &d->conf_start->engine;

    for (size_t i = 0; i < own->n_models; i++) {
        struct str name = own->models[i].name;

        if (conf_upstream_find(fresh, name) < 0)
            continue;
        log_err(LOG_CONF,
                "an upstream is called like a running engine model: "
                "name=%.*s",
                STR_ARG(name));
        if (report &&
            buf_printf(report,
                       "upstreams[].name: \"%.*s\" is an engine model "
                       "that runs until a restart; restart, or write another "
                       "name\n",
                       STR_ARG(name)) != ERR_OK)
            log_debug(LOG_CONF, "report is full");
        return false;
    }
    return true;
}

static void apply(struct daemon *d, struct conf *fresh, struct buf *report)
{
    tell_changes(d->conf, fresh, false, report);
    tell_changes(d->conf_start, fresh, true, report);
    conf_keep_engine(fresh, d->conf_start);
    conf_keep_cache(fresh, d->conf_start);
    for (size_t i = 0; i < fresh->n_upstreams; i++)
        (void)target_get(d->targets, fresh->upstreams[i].name);
    conf_unref(d->conf);
    d->conf = conf_ref(fresh);
    reload_tell_prices(fresh, report);
    d->reloads++;
    resolver_refresh_trust(d->resolver);
    unpriced_reset(d->unpriced);
    for (unsigned i = 0; i < d->n_workers; i++)
        worker_tell(d->workers[i], WORKER_CONF, fresh);
}

bool daemon_reload(struct daemon *d, struct buf *report)
{
    struct conf_report r = {.judge_cert = front_judge_cert,
                            .judge_model = engine_judge_model};
    struct conf *fresh = NULL;
    bool ok;

    ok = conf_load(d->conf_file, 0, &r, &fresh) == ERR_OK;
    tell_problems(&r, report);
    if (ok)
        ok = names_are_free(d, fresh, report) && take_files(d, fresh, report);
    if (ok) {
        apply(d, fresh, report);
        log_note(LOG_CONF, "config loaded: warnings=%zu", r.n_warnings);
    } else {
        log_err(LOG_CONF, "config not loaded, the old one stays: mistakes=%zu",
                r.n_errors);
    }
    conf_unref(fresh);
    conf_report_fini(&r);
    return ok;
}
