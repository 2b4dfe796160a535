/* conf_secret.c - Where secrets come from: the environment, a file, or the
 * configuration itself. No message here ever repeats a value, and copies on
 * the stack are wiped. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conf/conf_bind.h"

#define SECRET_MAX 16384

/* What is wrong with a value, NULL if nothing. */
static const char *value_fault(struct str s, bool spaces)
{
    if (s.len == 0)
        return "is empty";
    if (s.len > SECRET_MAX)
        return "is longer than 16 KiB";
    for (size_t i = 0; i < s.len; i++) {
        if (s.p[i] < 0x20 || s.p[i] >= 0x7f)
            return "holds a byte that is not printable ASCII";
        if (s.p[i] == ' ' && !spaces)
            return "holds a space";
    }
    if (s.p[0] == ' ' || s.p[s.len - 1] == ' ')
        return "begins or ends with a space";
    return NULL;
}

static bool is_env_name(struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        char c = s.p[i];

        if (!(c == '_' || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
              (i > 0 && c >= '0' && c <= '9')))
            return false;
    }
    return s.len > 0;
}

static bool keep(struct bind *b, const struct opt *o, const struct ynode *n,
                 struct str value, bool spaces, struct secret *out)
{
    const char *fault = value_fault(value, spaces);

    if (fault) {
        say_error(b->say, n, "%s: the secret %s; check where it comes from",
                  o->path, fault);
        return false;
    }
    out->hidden_ = bind_dup(b, value);
    return true;
}

static bool from_env(struct bind *b, const struct opt *o, const struct ynode *n,
                     bool spaces, struct secret *out)
{
    struct str name = str_skip(n->text, 4);
    const char *value;

    if (!is_env_name(name)) {
        say_error(b->say, n,
                  "%s: env: must be followed by the name of a variable; "
                  "write env:NAME",
                  o->path);
        return false;
    }
    out->source = bind_dup(b, n->text);
    if (b->flags & CONF_OFFLINE)
        return true;
    value = getenv(name.p);
    if (!value) {
        say_error(b->say, n,
                  "%s: the environment has no variable %s; set it for the "
                  "daemon",
                  o->path, conf_quote(name).c);
        return false;
    }
    return keep(b, o, n, str_from(value), spaces, out);
}

/* Read at most <room> bytes of the regular file <path>; tells what is wrong
 * by <fault_out>. */
static bool read_secret(const char *path, char *p, size_t room, size_t *len_out,
                        const char **fault_out)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    struct stat st;
    size_t len = 0;
    ssize_t got = 1;

    *fault_out = NULL;
    if (fd == -1) {
        *fault_out = strerror(errno);
        return false;
    }
    if (fstat(fd, &st) != 0)
        *fault_out = strerror(errno);
    else if (!S_ISREG(st.st_mode))
        *fault_out = "not a regular file";
    else if (st.st_mode & (S_IROTH | S_IWOTH))
        *fault_out = "everyone can read or write it: chmod o-rw";
    while (!*fault_out && got > 0 && len < room) {
        got = read(fd, p + len, room - len);
        if (got > 0)
            len += (size_t)got;
        else if (got < 0)
            *fault_out = strerror(errno);
    }
    close(fd);
    *len_out = len;
    return !*fault_out;
}

static bool from_file(struct bind *b, const struct opt *o,
                      const struct ynode *n, bool spaces, struct secret *out)
{
    struct str path = str_skip(n->text, 5);
    char text[SECRET_MAX + 3];
    const char *fault;
    size_t len = 0;
    bool good;

    if (path.len == 0 || path.p[0] != '/') {
        say_error(b->say, n,
                  "%s: file: needs an absolute path; write file:/path",
                  o->path);
        return false;
    }
    out->source = bind_dup(b, n->text);
    if (b->flags & CONF_OFFLINE)
        return true;
    good = read_secret(path.p, text, sizeof(text), &len, &fault);
    if (!good)
        say_error(b->say, n,
                  "%s: the secret file %s cannot be used (%s); make it a "
                  "file that only the daemon may read",
                  o->path, conf_quote(path).c, fault);
    if (good && len > 0 && text[len - 1] == '\n')
        len--;
    if (good && len > 0 && text[len - 1] == '\r')
        len--;
    good = good && keep(b, o, n, str_of(text, len), spaces, out);
    explicit_bzero(text, sizeof(text));
    return good;
}

bool bind_secret(struct bind *b, const struct opt *o, const struct ynode *n,
                 enum literal literal, bool spaces, struct secret *out)
{
    struct secret s = {0};
    bool good;

    if (n->kind != YNODE_SCALAR) {
        say_error(b->say, n,
                  "%s needs one secret; write env:NAME or "
                  "file:/path",
                  o->path);
        return false;
    }
    if (str_starts(n->text, STR("env:"))) {
        good = from_env(b, o, n, spaces, &s);
    } else if (str_starts(n->text, STR("file:"))) {
        good = from_file(b, o, n, spaces, &s);
    } else {
        good = keep(b, o, n, n->text, spaces, &s);
        if (good && literal == LITERAL_WARN)
            say_warning(b->say, n,
                        "%s: a secret stands in this file; write env:NAME "
                        "or file:/path",
                        o->path);
    }
    if (good)
        *out = s;
    return good;
}

bool conf_header_is_secret(struct str name)
{
    static const char *const words[] = {"auth",   "key",    "token",
                                        "secret", "cookie", "password"};

    for (size_t w = 0; w < sizeof(words) / sizeof(words[0]); w++) {
        struct str word = str_from(words[w]);

        for (size_t i = 0; i + word.len <= name.len; i++)
            if (str_ieq(str_of(name.p + i, word.len), word))
                return true;
    }
    return false;
}
