/* ctl_cmds.c - The table of commands and how answers look to a person. */
#include "ctl/ctl_cmds.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/ctl_budget.h"
#include "ctl/ctl_io.h"
#include "ctl/ctl_prefix_table.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* ---- options ----------------------------------------------------------- */

static const struct ctl_opt key_opts[] = {
    {"--name", "name", CTL_OPT_TEXT, "NAME"},
    {"--team", "team", CTL_OPT_TEXT, "TEAM"},
    {"--models", "models", CTL_OPT_LIST, "a,b*"},
    {"--budget", "budgets", CTL_OPT_MORE, "SPEC|none"},
    {"--soft", "soft", CTL_OPT_SOFT, NULL},
    {"--rpm", "rpm", CTL_OPT_NUMBER, "N"},
    {"--tpm", "tpm", CTL_OPT_NUMBER, "N"},
    {"--parallel", "parallel", CTL_OPT_NUMBER, "N"},
    {"--expires", "expires", CTL_OPT_TEXT, "30d|DATE|never"},
    {"--metadata", "metadata", CTL_OPT_PAIR, "k=v"},
    {NULL, NULL, CTL_OPT_TEXT, NULL},
};

static const struct ctl_opt team_opts[] = {
    {"--budget", "budgets", CTL_OPT_MORE, "SPEC|none"},
    {"--soft", "soft", CTL_OPT_SOFT, NULL},
    {"--rpm", "rpm", CTL_OPT_NUMBER, "N"},
    {"--tpm", "tpm", CTL_OPT_NUMBER, "N"},
    {"--parallel", "parallel", CTL_OPT_NUMBER, "N"},
    {"--metadata", "metadata", CTL_OPT_PAIR, "k=v"},
    {NULL, NULL, CTL_OPT_TEXT, NULL},
};

static const struct ctl_opt rotate_opts[] = {
    {"--grace", "grace", CTL_OPT_TEXT, "24h"},
    {NULL, NULL, CTL_OPT_TEXT, NULL},
};

static const struct ctl_opt usage_opts[] = {
    {"--key", "key", CTL_OPT_TEXT, "ID"},
    {"--team", "team", CTL_OPT_TEXT, "TEAM"},
    {"--by", "by", CTL_OPT_CHOICE, "key|team|model|day|target"},
    {"--since", "since", CTL_OPT_TEXT, "7d|DATE"},
    {"--until", "until", CTL_OPT_TEXT, "1d|DATE"},
    {NULL, NULL, CTL_OPT_TEXT, NULL},
};

static const struct ctl_opt span_opts[] = {
    {"--since", "since", CTL_OPT_TEXT, "7d|DATE"},
    {"--until", "until", CTL_OPT_TEXT, "1d|DATE"},
    {NULL, NULL, CTL_OPT_TEXT, NULL},
};

static const struct ctl_opt reconcile_opts[] = {
    {"--key", "key", CTL_OPT_TEXT, "ID"},
    {"--team", "team", CTL_OPT_TEXT, "TEAM"},
    {"--take-back", "take_back", CTL_OPT_TEXT, "all|SPEC"},
    {"--reason", "reason", CTL_OPT_TEXT, "TEXT"},
    {NULL, NULL, CTL_OPT_TEXT, NULL},
};

static const struct ctl_opt purge_opts[] = {
    {"--key", "key", CTL_OPT_TEXT, "ID"},
    {"--model", "model", CTL_OPT_TEXT, "MODEL"},
    {NULL, NULL, CTL_OPT_TEXT, NULL},
};

static const struct ctl_opt prefix_opts[] = {
    {"--model", "model", CTL_OPT_TEXT, "MODEL"},
    {NULL, NULL, CTL_OPT_TEXT, NULL},
};

static const struct ctl_opt verify_opts[] = {
    {"--model", "model", CTL_OPT_TEXT, "MODEL"},
    {"--drop", "drop", CTL_OPT_FLAG, NULL},
    {NULL, NULL, CTL_OPT_TEXT, NULL},
};

/* ---- views ------------------------------------------------------------- */

static void show_secret(const json_t *data)
{
    const char *id = json_string_value(json_object_get(data, "id"));
    const char *name = json_string_value(json_object_get(data, "name"));
    const char *secret = json_string_value(json_object_get(data, "key"));

    printf("key   %s\nid    %s\nname  %s\n", secret ? secret : "?",
           id ? id : "?", name ? name : "?");
    fputs("note: the key is shown this once only\n", stderr);
}

static void show_fields(const json_t *data)
{
    ctl_fields(data);
}

/* A key or a team, its budgets as a table below. */
static void show_key(const json_t *data)
{
    const json_t *budgets = json_object_get(data, "budgets");
    json_t *copy = json_copy((json_t *)(uintptr_t)data);

    if (json_array_size(budgets) > 0)
        json_object_del(copy, "budgets");
    ctl_fields(copy);
    json_decref(copy);
    if (json_array_size(budgets) > 0)
        putchar('\n');
    ctl_budget_table(budgets);
}

static void show_keys(const json_t *data)
{
    static const struct ctl_column columns[] = {
        {"ID", "id", false},           {"NAME", "name", false},
        {"TEAM", "team", false},       {"MODELS", "models", false},
        {"BUDGETS", "budgets", false}, {"EXPIRES", "expires", false},
        {"BLOCKED", "blocked", false}, {"CREATED", "created", false},
    };

    ctl_table(json_object_get(data, "data"), columns, COUNT(columns),
              "no keys; make one with: tollctl key create --name me");
}

static void show_teams(const json_t *data)
{
    static const struct ctl_column columns[] = {
        {"NAME", "name", false},
        {"BUDGETS", "budgets", false},
        {"RPM", "limits.rpm", true},
        {"TPM", "limits.tpm", true},
        {"PARALLEL", "limits.parallel", true},
        {"CREATED", "created", false},
    };

    ctl_table(json_object_get(data, "data"), columns, COUNT(columns),
              "no teams");
}

/* The first column is what the sums are grouped by, if they are. */
static size_t usage_group(const json_t *row, struct ctl_column *columns)
{
    static const struct ctl_column groups[] = {
        {"KEY", "key", false},   {"NAME", "name", false},
        {"TEAM", "team", false}, {"MODEL", "model", false},
        {"DAY", "day", false},   {"TARGET", "target", false},
    };
    size_t n = 0;

    for (size_t i = 0; i < COUNT(groups); i++)
        if (json_object_get(row, groups[i].member))
            columns[n++] = groups[i];
    return n;
}

/* Billionths of the dollars in a text as the daemon writes them. */
static long long nusd_of(const json_t *v)
{
    const char *text = json_string_value(v);
    const char *dot = text ? strchr(text, '.') : NULL;

    if (!dot || strlen(dot + 1) != 9)
        return 0;
    return strtoll(text, NULL, 10) * 1000000000 + strtoll(dot + 1, NULL, 10);
}

/* The text of <nusd>, as the daemon writes it. */
static json_t *usd_text(long long nusd)
{
    char text[48];

    snprintf(text, sizeof(text), "%lld.%09lld", nusd / 1000000000,
             nusd % 1000000000);
    return json_string(text);
}

/* The sum of all <rows>, with <name> in its first column. */
static json_t *usage_total(const json_t *rows, const char *name)
{
    json_t *total = json_pack("{s:s}", name, "TOTAL"), *row;
    long long nusd = 0, saved = 0;
    size_t i;

    json_array_foreach(rows, i, row)
    {
        const char *member;
        json_t *v;

        nusd += nusd_of(json_object_get(row, "cost_usd"));
        saved += nusd_of(json_object_get(row, "saved_usd"));
        json_object_foreach(row, member, v)
        {
            if (!json_is_integer(v))
                continue;
            json_object_set_new(total, member,
                                json_integer(json_integer_value(v) +
                                             json_integer_value(json_object_get(
                                                 total, member))));
        }
    }
    json_object_set_new(total, "cost_usd", usd_text(nusd));
    json_object_set_new(total, "saved_usd", usd_text(saved));
    return total;
}

static void show_usage(const json_t *data)
{
    static const struct ctl_column sums[] = {
        {"REQUESTS", "requests", true},
        {"ERRORS", "errors", true},
        {"INPUT", "input_tokens", true},
        {"CACHED", "cached_tokens", true},
        {"OUTPUT", "output_tokens", true},
        {"COST USD", "cost_usd", true},
        {"ESTIMATED", "estimated", true},
        {"UNPRICED", "unpriced", true},
        {"STALE", "stale_price", true},
        {"LEGS", "legs", true},
        {"HITS", "cache_hits", true},
        {"JOINED", "coalesced", true},
        {"SAVED IN", "saved_input_tokens", true},
        {"SAVED OUT", "saved_output_tokens", true},
        {"SAVED USD", "saved_usd", true},
    };
    const json_t *data_rows = json_object_get(data, "data");
    json_t *rows = json_copy((json_t *)(uintptr_t)data_rows);
    struct ctl_column columns[COUNT(sums) + 6];
    size_t n = usage_group(json_array_get(rows, 0), columns);

    if (n > 0 && json_array_size(rows) > 1)
        json_array_append_new(rows, usage_total(data_rows, columns[0].member));
    for (size_t i = 0; i < COUNT(sums); i++)
        columns[n++] = sums[i];
    ctl_table(rows, columns, n, "no usage in this span");
    json_decref(rows);
    if (json_is_true(json_object_get(data, "rounded")))
        fputs("note: the rows of the day in which the span begins or ends "
              "are gone; that day is counted whole\n",
              stderr);
    if (json_is_true(json_object_get(data, "behind")))
        fputs("note: the ledger cannot be written now; the newest requests "
              "are not counted\n",
              stderr);
}

static void show_targets(const json_t *data)
{
    static const struct ctl_column columns[] = {
        {"NAME", "name", false},
        {"KIND", "kind", false},
        {"STATE", "state", false},
        {"BREAKER", "breaker", false},
        {"RETRY IN", "retry_in", true},
        {"KEYS", "keys_ready", true},
        {"IN FLIGHT", "in_flight", true},
        {"QUEUED", "queued", true},
        {"ATTEMPTS", "requests", true},
        {"FAILURES", "failures", true},
        {"LAST ERROR", "last_error", false},
        {"WHEN", "last_error_time", false},
    };

    ctl_table(json_object_get(data, "data"), columns, COUNT(columns),
              "no upstreams or engine models are configured");
}

static void show_models(const json_t *data)
{
    static const struct ctl_column columns[] = {
        {"MODEL", "id", false},
        {"TARGETS", "targets", false},
        {"CONTEXT", "context_length", true},
        {"STATE", "engine.state", false},
        {"SLOTS", "engine.slots", true},
        {"RUNNING", "engine.running", true},
        {"QUEUE", "engine.queue", true},
        {"TOKENS/S", "engine.tokens_per_second", true},
    };

    ctl_table(json_object_get(data, "data"), columns, COUNT(columns),
              "no model can be listed (globs and unknown upstreams serve "
              "names that are listed nowhere)");
}

void ctl_engine_table(const json_t *models)
{
    static const struct ctl_column columns[] = {
        {"MODEL", "name", false},
        {"STATE", "state", false},
        {"%", "percent", true},
        {"DEVICE", "device", false},
        {"CONTEXT", "context_length", true},
        {"RUNNING", "running", true},
        {"SLOTS", "slots", true},
        {"QUEUE", "queue", true},
        {"KV USED", "kv_blocks_used", true},
        {"KV BLOCKS", "kv_blocks", true},
        {"TOKENS/S", "tokens_per_second", true},
        {"REASON", "reason", false},
    };

    ctl_table(models, columns, COUNT(columns), "no engine models");
}

static void show_status(const json_t *data)
{
    json_t *copy = json_copy((json_t *)(uintptr_t)data);

    json_object_del(copy, "engine");
    json_object_del(copy, "cache");
    ctl_fields(copy);
    json_decref(copy);
    if (json_is_true(json_object_get(json_object_get(data, "cache"), "on"))) {
        fputs("\nstored replies:\n", stdout);
        ctl_fields(json_object_get(data, "cache"));
    }
    putchar('\n');
    ctl_engine_table(json_object_get(data, "engine"));
    if (json_array_size(json_object_get(data, "engine")) > 0) {
        fputs("\nprefixes on disk:\n", stdout);
        ctl_prefix_table(json_object_get(data, "engine"), "name", "prefix");
    }
}

static void show_yaml(const json_t *data)
{
    const char *text = json_string_value(json_object_get(data, "yaml"));

    fputs(text ? text : "", stdout);
}

static void show_report(const json_t *data)
{
    const char *text = json_string_value(json_object_get(data, "report"));

    fputs(text ? text : "", stdout);
    puts("ok");
}

static void show_rows(const json_t *data)
{
    static const struct ctl_column columns[] = {
        {"TIME", "time", false},
        {"ID", "id", false},
        {"KEY", "key", false},
        {"ENDPOINT", "endpoint", false},
        {"MODEL", "model", false},
        {"TARGET", "target", false},
        {"STATUS", "status", true},
        {"INPUT", "input_tokens", true},
        {"OUTPUT", "output_tokens", true},
        {"COST USD", "cost_usd", true},
        {"MS", "ms_total", true},
        {"REASON", "reason", false},
    };

    ctl_table(json_object_get(data, "data"), columns, COUNT(columns),
              "no rows in this span");
}

static void show_lost(const json_t *data)
{
    static const struct ctl_column columns[] = {
        {"KIND", "kind", false},     {"OWNER", "owner", false},
        {"NAME", "name", false},     {"WINDOW", "window", false},
        {"UNIT", "unit", false},     {"LOST", "lost", true},
        {"OF SPENT", "spent", true}, {"RESETS", "resets", false},
    };

    ctl_table(json_object_get(data, "data"), columns, COUNT(columns),
              "nothing is lost");
}

static void show_done(const json_t *data)
{
    (void)data;
    puts("done");
}

static void show_drain(const json_t *data)
{
    (void)data;
    puts("draining; the daemon ends with its last request");
}

/* ---- the table --------------------------------------------------------- */

const struct ctl_cmd ctl_cmds[] = {
    {"key create",
     {NULL},
     key_opts,
     show_secret,
     "make a key; prints it once",
     "--name"},
    {"key list", {NULL}, NULL, show_keys, "all keys", NULL},
    {"key show",
     {"id"},
     NULL,
     show_key,
     "one key, by id, name or itself",
     NULL},
    {"key update", {"id"}, key_opts, show_key, "change what is given", NULL},
    {"key block",
     {"id"},
     NULL,
     show_done,
     "refuse it from the next request",
     NULL},
    {"key unblock", {"id"}, NULL, show_done, "accept it again", NULL},
    {"key rotate",
     {"id", NULL},
     rotate_opts,
     show_secret,
     "renew its secret; the old one holds for the grace",
     NULL},
    {"key delete", {"id"}, NULL, show_done, "for ever; its usage stays", NULL},
    {"team create", {"name"}, team_opts, show_key, "make a team", NULL},
    {"team list", {NULL}, NULL, show_teams, "all teams", NULL},
    {"team show", {"name"}, NULL, show_key, "one team", NULL},
    {"team update",
     {"name"},
     team_opts,
     show_key,
     "change what is given",
     NULL},
    {"team delete",
     {"name"},
     NULL,
     show_done,
     "only when no key is in it",
     NULL},
    {"usage",
     {NULL},
     usage_opts,
     show_usage,
     "requests, tokens and cost",
     NULL},
    {"target list",
     {NULL},
     NULL,
     show_targets,
     "health of upstreams and engine models",
     NULL},
    {"target drain", {"name"}, NULL, show_done, "send it nothing new", NULL},
    {"target resume", {"name"}, NULL, show_done, "send to it again", NULL},
    {"model list",
     {NULL},
     NULL,
     show_models,
     "models and who serves them",
     NULL},
    {"config check",
     {"file"},
     NULL,
     NULL,
     "read a config, list its mistakes",
     NULL},
    {"config show",
     {NULL},
     NULL,
     show_yaml,
     "the running config, no secrets",
     NULL},
    {"config explain",
     {"key", "model"},
     NULL,
     show_fields,
     "which target, which limits, why",
     NULL},
    {"ledger verify",
     {NULL},
     NULL,
     show_report,
     "prove the records whole",
     NULL},
    {"ledger export", {NULL}, span_opts, show_rows, "usage rows", NULL},
    {"ledger reconcile",
     {NULL},
     reconcile_opts,
     show_lost,
     "what was lost with the machine",
     NULL},
    {"request show",
     {"id"},
     NULL,
     show_fields,
     "the usage row of a request",
     NULL},
    {"cache stats",
     {NULL},
     NULL,
     NULL,
     "stored replies: size, hits, what they save",
     NULL},
    {"cache purge",
     {NULL},
     purge_opts,
     NULL,
     "forget them; without a daemon, too",
     NULL},
    {"cache verify",
     {NULL},
     NULL,
     NULL,
     "prove each of them whole; without a daemon, too",
     NULL},
    {"prefix stats",
     {NULL},
     prefix_opts,
     NULL,
     "stored prefixes: size, hits, what they save",
     NULL},
    {"prefix purge",
     {NULL},
     prefix_opts,
     NULL,
     "forget them; without a daemon, too",
     NULL},
    {"prefix verify",
     {NULL},
     verify_opts,
     NULL,
     "prove each of them whole; without a daemon, too",
     NULL},
    {"status", {NULL}, NULL, show_status, "the daemon at a glance", NULL},
    {"top", {NULL}, NULL, NULL, "a live view; q or ^C ends it", NULL},
    {"reload", {NULL}, NULL, show_report, "read the config again", NULL},
    {"drain",
     {NULL},
     NULL,
     show_drain,
     "finish open requests, then stop",
     NULL},
    {"log-level",
     {"level"},
     NULL,
     show_fields,
     "err|warn|note|info|debug",
     NULL},
    {NULL, {NULL}, NULL, NULL, NULL, NULL},
};
