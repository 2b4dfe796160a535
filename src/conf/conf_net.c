/* conf_net.c - Addresses and URLs. What is accepted here goes to bind() and to
 * libcurl as it is, so hosts, ports and paths are checked byte by byte; a URL
 * with a user or password is refused without being repeated in a message. */
#include <arpa/inet.h>
#include <stdio.h>
#include <sys/un.h>

#include "conf/conf_parse.h"

#define HOST_MAX 253

static bool is_ip(int family, struct str s)
{
    char text[INET6_ADDRSTRLEN];
    unsigned char raw[16];

    if (s.len == 0 || s.len >= sizeof(text))
        return false;
    memcpy(text, s.p, s.len);
    text[s.len] = '\0';
    return inet_pton(family, text, raw) == 1;
}

static bool parse_port(struct str s, uint16_t *out)
{
    uint64_t v;

    if (s.len > 5 || !str_to_u64(s, &v) || v > UINT16_MAX)
        return false;
    *out = (uint16_t)v;
    return true;
}

/* Split "HOST:PORT" or "[V6]:PORT"; <port> is empty when there is none. False
 * when brackets do not fit. */
static bool split_host(struct str s, struct str *host, struct str *port,
                       bool *v6)
{
    size_t at;

    *v6 = s.len > 0 && s.p[0] == '[';
    *port = (struct str){NULL, 0};
    if (*v6) {
        at = str_find_char(s, ']');
        if (at == s.len)
            return false;
        *host = str_of(s.p + 1, at - 1);
        s = str_skip(s, at + 1);
        if (s.len > 0 && s.p[0] != ':')
            return false;
        *port = str_skip(s, 1);
        return s.len != 1;
    }
    at = str_find_char(s, ':');
    *host = str_of(s.p, at);
    *port = str_skip(s, at + 1);
    return at == s.len || port->len > 0;
}

static bool is_label_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c >= '0' && c <= '9') || c == '-' || c == '_';
}

bool conf_parse_is_host(struct str s)
{
    struct str rest = s;
    struct str label;
    bool numeric = true;

    if (s.len == 0 || s.len > HOST_MAX || s.p[0] == '.')
        return false;
    while (str_split(&rest, '.', &label)) {
        if (label.len == 0 || label.len > 63 || label.p[0] == '-' ||
            label.p[label.len - 1] == '-')
            return false;
        for (size_t i = 0; i < label.len; i++) {
            if (!is_label_char(label.p[i]))
                return false;
            numeric = numeric && label.p[i] >= '0' && label.p[i] <= '9';
        }
    }
    return !numeric || is_ip(AF_INET, s);
}

bool conf_parse_is_authority(struct str s)
{
    struct str host;
    struct str port;
    bool v6;
    uint16_t n;

    if (!split_host(s, &host, &port, &v6))
        return false;
    if (port.len > 0 && (!parse_port(port, &n) || n == 0))
        return false;
    return v6 ? is_ip(AF_INET6, host) : conf_parse_is_host(host);
}

static enum err addr_unix(struct arena *mem, struct str s,
                          struct conf_addr *out, const char **why_out)
{
    struct conf_addr a = {.family = AF_UNIX};
    struct str path = str_skip(s, 5);

    if (path.len < 2 || path.p[0] != '/' || path.p[path.len - 1] == '/') {
        *why_out = "needs an absolute path of a socket; write unix:/path";
        return ERR_SYNTAX;
    }
    if (path.len >= sizeof(((struct sockaddr_un *)NULL)->sun_path)) {
        *why_out = "is too long for a unix socket; write a path of at most "
                   "107 bytes";
        return ERR_SYNTAX;
    }
    a.text = arena_dup(mem, s);
    if (!a.text.p)
        return ERR_NOMEM;
    a.host = (struct str){a.text.p + s.len, 0};
    a.path = str_skip(a.text, 5);
    *out = a;
    return ERR_OK;
}

enum err conf_parse_addr(struct arena *mem, struct str s, struct conf_addr *out,
                         const char **why_out)
{
    struct conf_addr a = {0};
    struct str host;
    struct str port;
    bool v6;

    if (str_starts(s, STR("unix:")))
        return addr_unix(mem, s, out, why_out);
    if (!split_host(s, &host, &port, &v6) || port.len == 0) {
        *why_out = "is no address; write 127.0.0.1:4141, [::1]:4141 or "
                   "unix:/path";
        return ERR_SYNTAX;
    }
    if (!parse_port(port, &a.port)) {
        *why_out = v6 || is_ip(AF_INET, host)
                       ? "has a bad port; write a number from 0 to 65535"
                       : "is no address; write an IPv6 address in brackets, "
                         "like \"[::1]:4141\"";
        return ERR_SYNTAX;
    }
    if (!is_ip(v6 ? AF_INET6 : AF_INET, host)) {
        *why_out = "has no numeric IP address; write 127.0.0.1:PORT, or "
                   "0.0.0.0:PORT for every interface";
        return ERR_SYNTAX;
    }
    a.family = v6 ? AF_INET6 : AF_INET;
    a.text = arena_dup(mem, s);
    a.host = arena_dup(mem, host);
    if (!a.text.p || !a.host.p)
        return ERR_NOMEM;
    a.path = (struct str){a.text.p + s.len, 0};
    *out = a;
    return ERR_OK;
}

static bool path_is_good(struct str s)
{
    if (!conf_parse_is_visible(s))
        return false;
    for (size_t i = 0; i < s.len; i++)
        if (strchr("\"<>\\^`{|}", s.p[i]))
            return false;
    while (s.len > 0) {
        struct str part;

        if (!str_split(&s, '/', &part))
            return true;
        if (str_eq(part, STR(".")) || str_eq(part, STR("..")))
            return false;
    }
    return true;
}

/* The first half of conf_parse_url(): what is wrong with <s>, NULL if nothing;
 * <authority> and <path> get its parts. */
static const char *url_fault(struct str s, bool *tls, struct str *authority,
                             struct str *path)
{
    static const struct str schemes[] = {{"https://", 8}, {"http://", 7}};
    size_t i = 0;
    size_t end = 0;

    while (i < 2 && (s.len < schemes[i].len ||
                     !str_ieq(str_of(s.p, schemes[i].len), schemes[i])))
        i++;
    if (i == 2)
        return "must begin with https:// or http://; write it with its scheme";
    *tls = i == 0;
    s = str_skip(s, schemes[i].len);
    if (str_find_char(s, '@') < s.len)
        return "must not hold a user or password; write api_key or headers";
    if (str_find_char(s, '?') < s.len || str_find_char(s, '#') < s.len)
        return "must not hold a query or fragment; write it without them";
    end = str_find_char(s, '/');
    *authority = str_of(s.p, end);
    *path = str_skip(s, end);
    if (!conf_parse_is_authority(*authority))
        return "has no valid host and port; write https://HOST[:PORT]/PATH";
    if (!path_is_good(*path))
        return "has a path that is not plain; percent-encode it and write "
               "no . or .. in it";
    return NULL;
}

enum err conf_parse_url(struct arena *mem, struct str s, struct conf_url *out,
                        const char **why_out)
{
    struct conf_url u = {0};
    struct str authority;
    struct str path;
    struct str host;
    struct str port;
    char shown[8] = "";
    bool v6;
    char *text;

    *why_out = url_fault(s, &u.tls, &authority, &path);
    if (*why_out || !split_host(authority, &host, &port, &v6))
        return ERR_SYNTAX;
    u.port = u.tls ? 443 : 80;
    if (port.len > 0 && parse_port(port, &u.port) &&
        u.port != (u.tls ? 443 : 80))
        snprintf(shown, sizeof(shown), ":%u", u.port);
    while (str_ends(path, STR("/")))
        path.len--;
    text = arena_printf(mem, "%.*s", STR_ARG(host));
    if (!text)
        return ERR_NOMEM;
    for (char *c = text; *c; c++)
        if (*c >= 'A' && *c <= 'Z')
            *c = (char)(*c - 'A' + 'a');
    u.host = str_from(text);
    u.path = arena_dup(mem, path);
    u.origin =
        str_from(arena_printf(mem, "http%s://%s%s%s%s", u.tls ? "s" : "",
                              v6 ? "[" : "", text, v6 ? "]" : "", shown));
    if (!u.path.p || !u.origin.p)
        return ERR_NOMEM;
    u.text = str_from(arena_printf(mem, "%s%.*s", u.origin.p, STR_ARG(u.path)));
    if (!u.text.p)
        return ERR_NOMEM;
    *out = u;
    return ERR_OK;
}
