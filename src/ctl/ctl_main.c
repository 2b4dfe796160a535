/* ctl_main.c - The program tollctl: finds the command in the table, turns its
 * words into a JSON object, asks the daemon and shows the answer.
 *
 *   0 done, 1 refused, 2 usage, 3 daemon not reachable */
#include "config.h"

#include <errno.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conf/conf.h"
#include "ctl/ctl_cache.h"
#include "ctl/ctl_cmds.h"
#include "ctl/ctl_export.h"
#include "ctl/ctl_io.h"
#include "ctl/ctl_prefix.h"
#include "ctl/ctl_top.h"

/* Options of the tool itself. */
struct tool {
    const char *socket; /* --socket */
    const char *conf;   /* -c */
    bool json;          /* --json */
};

static void help_cmd(FILE *to, const struct ctl_cmd *c)
{
    char usage[256];
    int n = snprintf(usage, sizeof(usage), "%s", c->name);

    for (size_t i = 0; i < 2 && c->positional[i]; i++)
        n += snprintf(usage + n, sizeof(usage) - (size_t)n, " %s%s",
                      strcmp(c->positional[i], "id") == 0      ? "ID"
                      : strcmp(c->positional[i], "name") == 0  ? "NAME"
                      : strcmp(c->positional[i], "file") == 0  ? "FILE"
                      : strcmp(c->positional[i], "key") == 0   ? "KEY"
                      : strcmp(c->positional[i], "model") == 0 ? "MODEL"
                                                               : "LEVEL",
                      "");
    fprintf(to, "  %-28s %s\n", usage, c->help);
    for (const struct ctl_opt *o = c->opts; o && o->flag; o++)
        fprintf(to, "      [%s%s%s]%s\n", o->flag, o->value ? " " : "",
                o->value ? o->value : "",
                o->kind == CTL_OPT_MORE || o->kind == CTL_OPT_PAIR ? "..."
                                                                   : "");
}

static bool is_of_noun(const struct ctl_cmd *c, const char *noun)
{
    size_t len = strlen(noun);

    return strncmp(c->name, noun, len) == 0 &&
           (c->name[len] == ' ' || c->name[len] == '\0');
}

static bool is_noun(const char *word)
{
    const struct ctl_cmd *c = ctl_cmds;

    while (c->name && !is_of_noun(c, word))
        c++;
    return c->name;
}

/* All commands, or those of one noun. */
static void help(FILE *to, const char *noun)
{
    if (!noun)
        fputs("usage: tollctl [--socket PATH] [-c FILE] [--json] NOUN VERB "
              "...\n\n",
              to);
    for (const struct ctl_cmd *c = ctl_cmds; c->name; c++)
        if (!noun || is_of_noun(c, noun))
            help_cmd(to, c);
    if (!noun)
        fputs("\nSPEC is AMOUNT/WINDOW: 500k-tokens/day, "
              "2M-input-tokens/month, '$25/month';\n"
              "WINDOW is minute, hour, day, week, month or total. --soft "
              "says of the budget\n"
              "before it, or of all when it stands before them, that it only "
              "warns.\n",
              to);
}

/* The command that <argv> begins with; <words_out> = words it took. */
static const struct ctl_cmd *find(int argc, char **argv, int *words_out)
{
    char two[128];

    if (argc >= 2) {
        snprintf(two, sizeof(two), "%s %s", argv[0], argv[1]);
        for (const struct ctl_cmd *c = ctl_cmds; c->name; c++)
            if (strcmp(c->name, two) == 0) {
                *words_out = 2;
                return c;
            }
    }
    for (const struct ctl_cmd *c = ctl_cmds; argc >= 1 && c->name; c++)
        if (strcmp(c->name, argv[0]) == 0) {
            *words_out = 1;
            return c;
        }
    return NULL;
}

static bool bad(const char *what, const char *which)
{
    fprintf(stderr, "tollctl: %s: %s\n", what, which);
    return false;
}

/* ---- words to arguments ------------------------------------------------ */

/* What jansson does not take is no UTF-8: nothing else can be wrong. */
static bool stored(int rc, const char *member)
{
    return rc == 0 || bad("not UTF-8 text", member);
}

static bool put_text(json_t *args, const char *member, const char *text)
{
    return stored(json_object_set_new(args, member, json_string(text)), member);
}

static bool put_list(json_t *args, const char *member, const char *text)
{
    json_t *list = json_array();
    char *copy = strdup(text), *rest = copy, *item;
    int rc = 0;

    while (copy && (item = strsep(&rest, ",")) != NULL)
        if (item[0] && rc == 0)
            rc = json_array_append_new(list, json_string(item));
    free(copy);
    json_object_set_new(args, member, list);
    return stored(rc, member);
}

static bool put_more(json_t *args, const char *member, const char *text)
{
    if (!json_object_get(args, member))
        json_object_set_new(args, member, json_array());
    return stored(
        json_array_append_new(json_object_get(args, member), json_string(text)),
        member);
}

/* Of the last budget so far, or of all that come. */
static bool put_soft(json_t *args, const char *member)
{
    json_t *list = json_object_get(args, "budgets");
    const size_t n = json_array_size(list);
    const char *text = json_string_value(json_array_get(list, n - 1));

    if (n == 0)
        json_object_set_new(args, member, json_true());
    else if (!str_ends(str_from(text), STR(" soft")))
        json_array_set_new(list, n - 1, json_sprintf("%s soft", text));
    return true;
}

static bool put_pair(json_t *args, const char *member, const char *text)
{
    const char *eq = strchr(text, '=');
    char name[128];

    if (!eq || eq == text || (size_t)(eq - text) >= sizeof(name))
        return bad("metadata is k=v", text);
    snprintf(name, sizeof(name), "%.*s", (int)(eq - text), text);
    if (!json_object_get(args, member))
        json_object_set_new(args, member, json_object());
    return stored(json_object_set_new(json_object_get(args, member), name,
                                      json_string(eq + 1)),
                  member);
}

static bool put_number(json_t *args, const struct ctl_opt *o, const char *text)
{
    uint64_t v;

    if (!str_to_u64(str_from(text), &v) || v > INT64_MAX)
        return bad("not a whole number", text);
    json_object_set_new(args, o->member, json_integer((json_int_t)v));
    return true;
}

static bool put_choice(json_t *args, const struct ctl_opt *o, const char *text)
{
    size_t len = strlen(text);
    const char *at = o->value;

    while (at && len > 0) {
        if (strncmp(at, text, len) == 0 && (at[len] == '|' || !at[len])) {
            json_object_set_new(args, o->member, json_string(text));
            return true;
        }
        at = strchr(at, '|');
        at = at ? at + 1 : NULL;
    }
    fprintf(stderr, "tollctl: %s takes one of %s\n", o->flag, o->value);
    return false;
}

static bool put_opt(json_t *args, const struct ctl_opt *o, const char *text)
{
    switch (o->kind) {
    case CTL_OPT_NUMBER:
        return put_number(args, o, text);
    case CTL_OPT_CHOICE:
        return put_choice(args, o, text);
    case CTL_OPT_LIST:
        return put_list(args, o->member, text);
    case CTL_OPT_MORE:
        return put_more(args, o->member, text);
    case CTL_OPT_PAIR:
        return put_pair(args, o->member, text);
    case CTL_OPT_SOFT:
        return put_soft(args, o->member);
    case CTL_OPT_FLAG:
        json_object_set_new(args, o->member, json_true());
        return true;
    default:
        return put_text(args, o->member, text);
    }
}

/* Take the option at argv[*at], with "--flag value" or "--flag=value". */
static bool take_opt(const struct ctl_cmd *c, int argc, char **argv, int *at,
                     json_t *args)
{
    const char *word = argv[*at], *eq = strchr(word, '=');
    size_t len = eq ? (size_t)(eq - word) : strlen(word);

    for (const struct ctl_opt *o = c->opts; o && o->flag; o++) {
        const char *text = eq ? eq + 1 : NULL;

        if (strlen(o->flag) != len || strncmp(o->flag, word, len) != 0)
            continue;
        if (o->value && !text) {
            if (++*at >= argc)
                return bad("a value is missing", word);
            text = argv[*at];
        }
        return put_opt(args, o, text);
    }
    return bad("unknown option", word);
}

static json_t *read_args(const struct ctl_cmd *c, int argc, char **argv)
{
    json_t *args = json_object();
    size_t taken = 0;
    bool ok = true;

    for (int i = 0; ok && i < argc; i++) {
        if (strncmp(argv[i], "--", 2) == 0)
            ok = take_opt(c, argc, argv, &i, args);
        else if (taken < 2 && c->positional[taken])
            ok = put_text(args, c->positional[taken++], argv[i]);
        else
            ok = bad("unexpected word", argv[i]);
    }
    if (ok && taken < 2 && c->positional[taken])
        ok = bad("missing", c->positional[taken]);
    if (ok && c->required && !json_object_get(args, c->required + 2))
        ok = bad("missing", c->required);
    if (ok)
        return args;
    json_decref(args);
    return NULL;
}

/* ---- commands without the daemon --------------------------------------- */

static enum ctl_exit config_check(const struct tool *t, const char *file)
{
    struct conf_report r = {0};
    struct conf *c = NULL;
    enum err e = conf_load_file(file, 0, &r, &c);
    json_t *list = json_array();

    for (size_t i = 0; i < r.n_items; i++) {
        if (!t->json)
            puts(r.items[i].text);
        json_array_append_new(list, json_pack("{s:b, s:i, s:i, s:s}", "warning",
                                              r.items[i].warning, "line",
                                              (int)r.items[i].line, "column",
                                              (int)r.items[i].column, "text",
                                              r.items[i].text));
    }
    if (e != ERR_OK)
        fprintf(stderr, "tollctl: %s is not good: mistakes=%zu\n", file,
                r.n_errors);
    if (t->json) {
        json_t *o = json_pack("{s:b, s:O}", "ok", e == ERR_OK, "data", list);

        ctl_put_json(o);
        json_decref(o);
    } else if (e == ERR_OK) {
        puts("ok");
    }
    json_decref(list);
    conf_unref(c);
    conf_report_fini(&r);
    return e == ERR_OK ? CTL_DONE : CTL_REFUSED;
}

static const char *first_mistake(const struct conf_report *r)
{
    for (size_t i = 0; i < r->n_items; i++)
        if (!r->items[i].warning)
            return r->items[i].text;
    return "no file";
}

/* Where the daemon listens; false with the reason on stderr. */
static bool socket_path(const struct tool *t, char *out, size_t room)
{
    struct conf_report r = {0};
    struct conf *c = NULL;
    bool ok;

    if (t->socket) {
        snprintf(out, room, "%s", t->socket);
        return true;
    }
    ok = conf_load(t->conf, CONF_OFFLINE, &r, &c) == ERR_OK;
    if (ok)
        snprintf(out, room, "%s", c->control_socket.p);
    else
        fprintf(stderr,
                "tollctl: the config cannot be read (%s); name the "
                "socket with --socket\n",
                first_mistake(&r));
    conf_unref(c);
    conf_report_fini(&r);
    return ok;
}

/* The commands of the noun "prefix", which need no daemon. */
static enum ctl_exit run_prefix(const struct tool *t, const struct ctl_cmd *c,
                                const json_t *args)
{
    const char *verb = c->name + strlen("prefix ");
    char path[512];
    const struct ctl_prefix p = {
        .socket = path,
        .conf = t->conf,
        .model = json_string_value(json_object_get(args, "model")),
        .drop = json_is_true(json_object_get(args, "drop")),
        .json = t->json};

    if (p.model && !p.model[0]) {
        bad("a model's name is empty", c->name);
        return CTL_USAGE;
    }
    if (!socket_path(t, path, sizeof(path)))
        return CTL_UNREACHABLE;
    if (strcmp(verb, "stats") == 0)
        return ctl_prefix_stats(&p);
    return strcmp(verb, "purge") == 0 ? ctl_prefix_purge(&p)
                                      : ctl_prefix_verify(&p);
}

/* The commands of the noun "cache", which need no daemon either. */
static enum ctl_exit run_cache(const struct tool *t, const struct ctl_cmd *c,
                               const json_t *args)
{
    const char *verb = c->name + strlen("cache ");
    char path[512];
    const struct ctl_cache cache = {
        .socket = path,
        .conf = t->conf,
        .key = json_string_value(json_object_get(args, "key")),
        .model = json_string_value(json_object_get(args, "model")),
        .json = t->json};

    if ((cache.key && !cache.key[0]) || (cache.model && !cache.model[0])) {
        bad("a name is empty", c->name);
        return CTL_USAGE;
    }
    if (!socket_path(t, path, sizeof(path)))
        return CTL_UNREACHABLE;
    if (strcmp(verb, "stats") == 0)
        return ctl_cache_stats(&cache);
    return strcmp(verb, "purge") == 0 ? ctl_cache_purge(&cache)
                                      : ctl_cache_verify(&cache);
}

/* Ask once and show the answer. */
static enum ctl_exit ask_once(const struct tool *t, struct ctl_conn *conn,
                              const struct ctl_cmd *c, json_t *args)
{
    enum ctl_exit status;
    json_t *data = ctl_ask(conn, c->name, args, &status);

    if (data && (t->json || !c->show))
        ctl_put_json(data);
    else if (data)
        c->show(data);
    json_decref(data);
    return status;
}

static enum ctl_exit run_cmd(const struct tool *t, const struct ctl_cmd *c,
                             json_t *args)
{
    struct ctl_conn conn;
    enum ctl_exit status;
    char path[512];

    if (!socket_path(t, path, sizeof(path)) || !ctl_connect(&conn, path)) {
        json_decref(args);
        return CTL_UNREACHABLE;
    }
    if (strcmp(c->name, "top") == 0 && !t->json) {
        json_decref(args);
        status = ctl_top(&conn);
    } else if (strcmp(c->name, "ledger export") == 0) {
        status = ctl_export(&conn, args, t->json ? NULL : c->show);
    } else {
        status = ask_once(t, &conn, c, args);
    }
    ctl_close(&conn);
    return status;
}

/* ---- main -------------------------------------------------------------- */

/* Take the tool's own options, wherever they stand; the words that remain are
 * moved to the front of <argv>. False on a usage error. */
static bool tool_options(struct tool *t, int *argc, char **argv)
{
    int kept = 0;

    for (int i = 0; i < *argc; i++) {
        if (strcmp(argv[i], "--json") == 0) {
            t->json = true;
        } else if (strncmp(argv[i], "--socket=", 9) == 0) {
            t->socket = argv[i] + 9;
        } else if (strcmp(argv[i], "--socket") == 0 ||
                   strcmp(argv[i], "-c") == 0) {
            if (i + 1 >= *argc)
                return bad("a value is missing", argv[i]);
            if (argv[i][1] == 'c')
                t->conf = argv[i + 1];
            else
                t->socket = argv[i + 1];
            i++;
        } else {
            argv[kept++] = argv[i];
        }
    }
    *argc = kept;
    return true;
}

static bool is_help(const char *word)
{
    return strcmp(word, "help") == 0 || strcmp(word, "--help") == 0 ||
           strcmp(word, "-h") == 0;
}

static enum ctl_exit unknown(int argc, char **argv)
{
    if (!is_noun(argv[0])) {
        fprintf(stderr, "tollctl: unknown command: %s; see: tollctl help\n",
                argv[0]);
        return CTL_USAGE;
    }
    if (argc > 1)
        fprintf(stderr, "tollctl: %s has no verb %s:\n", argv[0], argv[1]);
    else
        fprintf(stderr, "tollctl: %s needs a verb:\n", argv[0]);
    help(stderr, argv[0]);
    return CTL_USAGE;
}

/* Help of the noun argv[0]. */
static enum ctl_exit help_noun(int argc, char **argv)
{
    if (!is_noun(argv[0]))
        return unknown(argc, argv);
    help(stdout, argv[0]);
    return CTL_DONE;
}

static enum ctl_exit run_words(const struct tool *t, const struct ctl_cmd *c,
                               int argc, char **argv)
{
    enum ctl_exit e;
    json_t *args;

    for (int i = 0; i < argc; i++) {
        if (is_help(argv[i]) && argv[i][0] == '-') {
            help_cmd(stdout, c);
            return CTL_DONE;
        }
    }
    args = read_args(c, argc, argv);
    if (!args) {
        fputs("usage:\n", stderr);
        help_cmd(stderr, c);
        return CTL_USAGE;
    }
    if (is_of_noun(c, "prefix"))
        e = run_prefix(t, c, args);
    else if (is_of_noun(c, "cache"))
        e = run_cache(t, c, args);
    else if (strcmp(c->name, "config check") == 0)
        e = config_check(t, json_string_value(json_object_get(args, "file")));
    else
        return run_cmd(t, c, args);
    json_decref(args);
    return e;
}

static enum ctl_exit dispatch(const struct tool *t, int argc, char **argv)
{
    const struct ctl_cmd *c;
    int words = 0;

    if (argc == 0) {
        help(stderr, NULL);
        return CTL_USAGE;
    }
    if (is_help(argv[0]) && argc > 1)
        return help_noun(argc - 1, argv + 1);
    if (is_help(argv[0])) {
        help(stdout, NULL);
        return CTL_DONE;
    }
    if (strcmp(argv[0], "--version") == 0 || strcmp(argv[0], "-V") == 0) {
        printf("tollctl %s\n", PACKAGE_VERSION);
        return CTL_DONE;
    }
    if (argc > 1 && is_help(argv[1]))
        return help_noun(argc, argv);
    c = find(argc, argv, &words);
    return c ? run_words(t, c, argc - words, argv + words)
             : unknown(argc, argv);
}

int main(int argc, char **argv)
{
    struct tool t = {0};
    enum ctl_exit e;

    /* Texts are UTF-8; this tells how wide they are. */
    if (!setlocale(LC_CTYPE, "C.UTF-8"))
        setlocale(LC_CTYPE, "");
    argc--;
    argv++;
    e = tool_options(&t, &argc, argv) ? dispatch(&t, argc, argv) : CTL_USAGE;
    /* A secret that was not written is lost: that must not look well. */
    if (fflush(stdout) == 0 && !ferror(stdout))
        return e;
    fprintf(stderr, "tollctl: the answer cannot be written: %s\n",
            strerror(errno));
    return e == CTL_DONE ? CTL_REFUSED : e;
}
