/* control_cmds.c - The table of admin commands, and those about the daemon
 * itself. */
#include "config.h"

#include <unistd.h>

#include "account/ledger.h"
#include "base/clock.h"
#include "base/log.h"
#include "conf/conf.h"
#include "daemon/control.h"
#include "daemon/control_args.h"
#include "daemon/control_budget.h"
#include "daemon/control_cache.h"
#include "daemon/control_info.h"
#include "daemon/control_keys.h"
#include "daemon/control_prefix.h"
#include "daemon/control_reconcile.h"
#include "daemon/control_rows.h"
#include "daemon/control_target.h"
#include "daemon/daemon.h"
#include "daemon/status.h"
#include "daemon/status_cache.h"
#include "daemon/status_engine.h"
#include "front/front.h"

#define DAY_MS INT64_C(86400000)

static json_t *listen_list(const struct daemon *d)
{
    json_t *list = json_array();
    char text[FRONT_ADDRESS_BYTES];

    for (size_t i = 0; i < d->n_listen; i++) {
        front_net_address(d->net, i, text);
        json_array_append_new(list, json_pack("{s:s}", "address", text));
    }
    return list;
}

/* The metrics address stands behind those of `listen`. */
static json_t *metrics_address(const struct daemon *d)
{
    char text[FRONT_ADDRESS_BYTES];

    if (front_net_count(d->net) <= d->n_listen)
        return json_null();
    front_net_address(d->net, d->n_listen, text);
    return json_string(text);
}

static const char *state_name(const struct daemon *d)
{
    switch (atomic_load(&d->state)) {
    case DAEMON_STARTING:
        return "starting";
    case DAEMON_READY:
        return "ready";
    case DAEMON_DRAINING:
        return "draining";
    default:
        return "stopping";
    }
}

/* The price file: its path, day and entries, and whether it is stale. */
static json_t *prices_json(const struct conf_prices *p)
{
    int64_t age_ms = (int64_t)clock_now_wall_ms() - p->updated_days * DAY_MS;
    char day[CLOCK_RFC3339_SIZE];

    if (p->file.len == 0)
        return json_null();
    clock_format_rfc3339((uint64_t)(p->updated_days * DAY_MS), day);
    day[10] = '\0';
    return json_pack("{s:s, s:s, s:I, s:b}", "file", p->file.p, "updated", day,
                     "entries", (json_int_t)p->n_prices, "stale",
                     p->stale_after_ms > 0 && age_ms > p->stale_after_ms);
}

static json_t *cmd_status(struct daemon *d, const json_t *args, struct buf *why)
{
    int64_t conns = 0, in_flight = 0;
    char since[CLOCK_RFC3339_SIZE];

    (void)args;
    (void)why;
    for (unsigned i = 0; i < d->n_workers; i++) {
        conns += stat_level(&d->workers[i]->w.stats->conns);
        in_flight += stat_level(&d->workers[i]->w.stats->in_flight);
    }
    clock_format_rfc3339(d->start_wall_ms, since);
    return json_pack(
        "{s:s, s:s, s:I, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:s, s:s, s:o, "
        "s:o, s:o, s:o, s:o, s:o}",
        "version", PACKAGE_VERSION, "state", state_name(d), "pid",
        (json_int_t)getpid(), "started", since, "uptime_seconds",
        (json_int_t)((clock_now_us() / 1000 - d->start_mono_ms) / 1000),
        "workers", (json_int_t)d->n_workers, "connections", (json_int_t)conns,
        "in_flight", (json_int_t)in_flight, "reloads", (json_int_t)d->reloads,
        "resident_bytes", (json_int_t)status_resident_bytes(), "config",
        d->conf->file.len > 0 ? d->conf->file.p : "(built in)", "state_dir",
        d->conf->state_dir.p, "listen", listen_list(d), "metrics",
        metrics_address(d), "prices", prices_json(&d->conf->price), "budgets",
        control_budget_sums(d), "cache", status_cache_json(d), "engine",
        status_engine_list(d));
}

static json_t *cmd_reload(struct daemon *d, const json_t *args, struct buf *why)
{
    struct buf report;
    json_t *data = NULL;
    bool ok;

    (void)args;
    buf_init(&report, CONTROL_WHY_BYTES - 1024);
    ok = daemon_reload(d, &report);
    if (ok)
        data = json_pack("{s:o}", "report", json_text(buf_str(&report)));
    while (report.len > 0 && report.p[report.len - 1] == '\n')
        report.len--;
    if (!ok && buf_printf(why, "the config is bad, the old one stays:\n%.*s",
                          STR_ARG(buf_str(&report))) != ERR_OK)
        log_debug(LOG_CTL, "reason is cut");
    buf_fini(&report);
    return data;
}

static json_t *cmd_drain(struct daemon *d, const json_t *args, struct buf *why)
{
    (void)args;
    (void)why;
    daemon_drain(d);
    return json_object();
}

static json_t *cmd_log_level(struct daemon *d, const json_t *args,
                             struct buf *why)
{
    const char *name = json_string_value(json_object_get(args, "level"));
    enum log_level level;

    (void)d;
    if (!log_level_parse(str_from(name), &level))
        return control_fail(why, "unknown level; write err, warn, note, info "
                                 "or debug");
    log_level_set(level);
    log_note(LOG_MAIN, "log level set: level=%s", log_level_name(level));
    return json_pack("{s:s}", "level", log_level_name(level));
}

const struct control_cmd control_cmds[] = {
    {"status", cmd_status, false},
    {"reload", cmd_reload, true},
    {"drain", cmd_drain, true},
    {"log-level", cmd_log_level, true},
    {"key create", control_key_create, true},
    {"key list", control_key_list, false},
    {"key show", control_key_show, false},
    {"key update", control_key_update, true},
    {"key block", control_key_block, true},
    {"key unblock", control_key_unblock, true},
    {"key rotate", control_key_rotate, true},
    {"key delete", control_key_delete, true},
    {"team create", control_team_create, true},
    {"team list", control_team_list, false},
    {"team show", control_team_show, false},
    {"team update", control_team_update, true},
    {"team delete", control_team_delete, true},
    {"usage", control_usage, false},
    {"target list", control_target_list, false},
    {"target drain", control_target_drain, true},
    {"target resume", control_target_resume, true},
    {"model list", control_model_list, false},
    {"config show", control_config_show, false},
    {"config explain", control_config_explain, false},
    {"ledger verify", control_ledger_verify, false},
    {"ledger export", control_ledger_export, false},
    {"ledger reconcile", control_ledger_reconcile, true},
    {"request show", control_request_show, false},
    {"cache stats", control_cache_stats, false},
    {"cache purge", control_cache_purge, true},
    {"cache verify", control_cache_verify, false},
    {"prefix stats", control_prefix_stats, false},
    {"prefix purge", control_prefix_purge, true},
    {"top", control_top, false},
    {NULL, NULL, false},
};
