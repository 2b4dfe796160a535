/* ctl_io.c - See ctl_io.h. */
#include "ctl/ctl_io.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <wchar.h>

#include "base/utf8.h"
#include "ctl/ctl_text.h"

#define COLUMNS_MAX 24

/* A column is not cut below this many places. */
#define COLUMN_WIDTH_MIN 8

int ctl_try(struct ctl_conn *c, const char *path)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    int reason = 0;

    *c = (struct ctl_conn){.fd = -1};
    if (strlen(path) >= sizeof(sa.sun_path))
        return ENAMETOOLONG;
    memcpy(sa.sun_path, path, strlen(path) + 1);
    c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd < 0 ||
        connect(c->fd, (const struct sockaddr *)&sa, sizeof(sa)) != 0)
        reason = errno;
    else if ((c->in = fdopen(c->fd, "r")) == NULL)
        reason = errno;
    if (reason != 0)
        ctl_close(c);
    return reason;
}

void ctl_say_gone(const char *path, int reason)
{
    if (reason == ENAMETOOLONG)
        fprintf(stderr, "tollctl: socket path is too long: %s\n", path);
    else
        fprintf(stderr,
                "tollctl: no daemon answers on %s: %s; is tollgate running? "
                "--socket or -c names another\n",
                path, strerror(reason));
}

bool ctl_connect(struct ctl_conn *c, const char *path)
{
    int reason = ctl_try(c, path);

    if (reason != 0)
        ctl_say_gone(path, reason);
    return reason == 0;
}

void ctl_close(struct ctl_conn *c)
{
    if (c->in)
        fclose(c->in);
    else if (c->fd >= 0)
        close(c->fd);
    *c = (struct ctl_conn){.fd = -1};
}

static bool send_all(int fd, const char *p, size_t len)
{
    while (len > 0) {
        ssize_t n = send(fd, p, len, MSG_NOSIGNAL);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        p += n;
        len -= (size_t)n;
    }
    return true;
}

static bool send_request(struct ctl_conn *c, const char *cmd, json_t *args)
{
    json_t *o = json_pack("{s:s, s:o}", "cmd", cmd, "args",
                          args ? args : json_object());
    char *text = o ? json_dumps(o, JSON_COMPACT) : NULL;
    bool ok =
        text && send_all(c->fd, text, strlen(text)) && send_all(c->fd, "\n", 1);

    free(text);
    json_decref(o);
    return ok;
}

static json_t *read_answer(struct ctl_conn *c)
{
    char *line = NULL;
    size_t room = 0;
    ssize_t len = getline(&line, &room, c->in);
    json_t *o = len > 0 ? json_loadb(line, (size_t)len, 0, NULL) : NULL;

    free(line);
    return o;
}

json_t *ctl_ask(struct ctl_conn *c, const char *cmd, json_t *args,
                enum ctl_exit *exit_out)
{
    json_t *answer, *data;

    if (!send_request(c, cmd, args) || (answer = read_answer(c)) == NULL) {
        fprintf(stderr, "tollctl: the daemon closed the connection\n");
        *exit_out = CTL_UNREACHABLE;
        return NULL;
    }
    if (!json_is_true(json_object_get(answer, "ok"))) {
        const char *why = json_string_value(json_object_get(answer, "error"));

        fprintf(stderr, "tollctl: %s\n", why ? why : "refused");
        json_decref(answer);
        *exit_out = CTL_REFUSED;
        return NULL;
    }
    data = json_incref(json_object_get(answer, "data"));
    json_decref(answer);
    *exit_out = CTL_DONE;
    return data;
}

void ctl_put_json(const json_t *v)
{
    json_dumpf(v, stdout, JSON_INDENT(2));
    putchar('\n');
}

/* ---- tables ------------------------------------------------------------ */

static const json_t *member_of(const json_t *o, const char *path)
{
    char name[64];
    const char *dot;

    while ((dot = strchr(path, '.')) != NULL) {
        snprintf(name, sizeof(name), "%.*s", (int)(dot - path), path);
        o = json_object_get(o, name);
        path = dot + 1;
    }
    return json_object_get(o, path);
}

/* Places of a terminal that the character takes. */
static int places(uint32_t cp)
{
    int n = wcwidth((wchar_t)cp);

    return n < 0 ? 1 : n;
}

static int width_of(const char *text)
{
    struct str s = str_from(text);
    uint32_t cp;
    size_t len;
    int n = 0;

    while ((len = utf8_next(s, &cp)) > 0) {
        n += places(cp);
        s = str_skip(s, len);
    }
    return n;
}

/* Cut <text> to <width> places, the last two of them dots. */
static void cut(char *text, int width)
{
    struct str s = str_from(text);
    int n = 0;

    if (width_of(text) <= width)
        return;
    while (s.len > 0) {
        uint32_t cp;
        size_t len = utf8_next(s, &cp);

        if (len == 0 || n + places(cp) > width - 2)
            break;
        n += places(cp);
        s = str_skip(s, len);
    }
    snprintf(text + (s.p - text), CELL_BYTES - (size_t)(s.p - text), "..");
}

/* The text of a cell; a limit of 0 is none. */
static void read_cell(const json_t *row, const struct ctl_column *column,
                      char cell[CELL_BYTES])
{
    const json_t *v = member_of(row, column->member);

    if (str_starts(str_from(column->member), STR("limits.")) &&
        json_integer_value(v) == 0)
        v = NULL;
    ctl_text(v, cell, CELL_BYTES);
}

static void put_cell(char *text, int width, bool right, bool last)
{
    int pad;

    cut(text, width);
    pad = width - width_of(text);
    if (right)
        printf("%*s%s", pad > 0 ? pad : 0, "", text);
    else
        printf("%s%*s", text, last || pad < 0 ? 0 : pad, "");
    fputs(last ? "\n" : "  ", stdout);
}

/* Places in a line of the terminal; 0 when stdout is none. */
static int terminal_width(void)
{
    struct winsize w;

    if (!isatty(STDOUT_FILENO) || ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) != 0)
        return 0;
    return w.ws_col;
}

/* Take from the widest texts until the line fits, but never from the first
 * column, which is what one goes on with, nor from numbers. */
static void fit(int *width, const struct ctl_column *columns, size_t n)
{
    int line = terminal_width();
    int sum = 2 * ((int)n - 1);

    for (size_t c = 0; c < n; c++)
        sum += width[c];
    while (line > 0 && sum > line) {
        size_t widest = 0;

        for (size_t c = 1; c < n; c++)
            if (!columns[c].right && width[c] > COLUMN_WIDTH_MIN &&
                width[c] > width_of(columns[c].title) &&
                (widest == 0 || width[c] > width[widest]))
                widest = c;
        if (widest == 0)
            return;
        width[widest]--;
        sum--;
    }
}

void ctl_table(const json_t *rows, const struct ctl_column *columns, size_t n,
               const char *empty)
{
    int width[COLUMNS_MAX] = {0};
    char cell[CELL_BYTES];

    if (json_array_size(rows) == 0) {
        puts(empty);
        return;
    }
    for (size_t c = 0; c < n; c++)
        width[c] = width_of(columns[c].title);
    for (size_t r = 0; r < json_array_size(rows); r++)
        for (size_t c = 0; c < n; c++) {
            read_cell(json_array_get(rows, r), &columns[c], cell);
            if (width_of(cell) > width[c])
                width[c] = width_of(cell);
        }
    fit(width, columns, n);
    for (size_t c = 0; c < n; c++) {
        snprintf(cell, sizeof(cell), "%s", columns[c].title);
        put_cell(cell, width[c], columns[c].right, c + 1 == n);
    }
    for (size_t r = 0; r < json_array_size(rows); r++)
        for (size_t c = 0; c < n; c++) {
            read_cell(json_array_get(rows, r), &columns[c], cell);
            put_cell(cell, width[c], columns[c].right, c + 1 == n);
        }
}

/* 7384 seconds as "2h 3m", the two largest units that are not 0. */
static void put_seconds(long long v, char *out, size_t room)
{
    if (v >= 86400)
        snprintf(out, room, "%lldd %lldh", v / 86400, v / 3600 % 24);
    else if (v >= 3600)
        snprintf(out, room, "%lldh %lldm", v / 3600, v / 60 % 60);
    else if (v >= 60)
        snprintf(out, room, "%lldm %llds", v / 60, v % 60);
    else
        snprintf(out, room, "%llds", v);
}

/* A member that stands alone: its name tells what kind of number it is. */
static void put_field(const char *name, const json_t *v, char *out, size_t room)
{
    struct str n = str_from(name);

    if (json_is_integer(v) && str_eq(n, STR("pid")))
        snprintf(out, room, "%lld", (long long)json_integer_value(v));
    else if (json_is_integer(v) && str_ends(n, STR("_seconds")))
        put_seconds(json_integer_value(v), out, room);
    else if (json_is_integer(v) && str_ends(n, STR("_bytes")))
        snprintf(out, room, "%.1f MiB",
                 (double)json_integer_value(v) / 1048576);
    else
        ctl_text(v, out, room);
}

/* Columns of the name without its unit, which the value shows. */
static int label_width(const char *name)
{
    struct str n = str_from(name);

    if (str_ends(n, STR("_seconds")))
        n.len -= strlen("_seconds");
    else if (str_ends(n, STR("_bytes")))
        n.len -= strlen("_bytes");
    return (int)n.len;
}

void ctl_fields(const json_t *o)
{
    json_t *copy = json_copy((json_t *)(uintptr_t)o);
    const char *name;
    json_t *value;
    char text[2048];
    int width = 0;

    json_object_foreach(copy, name, value)
    {
        if (label_width(name) > width)
            width = label_width(name);
    }
    json_object_foreach(copy, name, value)
    {
        put_field(name, value, text, sizeof(text));
        printf("%-*.*s  %s\n", width, label_width(name), name, text);
    }
    json_decref(copy);
}
