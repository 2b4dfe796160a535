/* conf.c - Finds and reads the file, makes the snapshot, counts references.
 * A snapshot is one arena: the structure itself lies in it, so the last
 * reference frees everything at once. */
#include "conf/conf.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/panic.h"
#include "conf/conf_bind.h"

#define FILE_MAX   (4UL * 1024 * 1024)
#define CONF_MAX   (512UL * 1024 * 1024)
#define NODES_CAP  (256UL * 1024 * 1024)
#define ETC_FILE   "/etc/tollgate/tollgate.yaml"
#define DEMO_FILE  "demo.gguf"
#define PRICE_FILE "prices.yaml"

/* A snapshot and what keeps it. */
struct conf_own {
    struct conf c; /* first: a struct conf * is a struct conf_own * */
    atomic_uint refs;
    struct arena *mem;      /* owned; holds this, too */
    struct conf *engine_of; /* counted: where c.engine lies, or NULL */
};

static struct conf_own *own_new(void)
{
    struct arena *mem = arena_new(16384, CONF_MAX);
    struct conf_own *o = mem ? arena_alloc(mem, sizeof(*o)) : NULL;

    if (!o) {
        arena_free(mem);
        return NULL;
    }
    atomic_init(&o->refs, 1);
    o->mem = mem;
    return o;
}

struct conf *conf_ref(struct conf *c)
{
    struct conf_own *o = (struct conf_own *)c;

    atomic_fetch_add_explicit(&o->refs, 1, memory_order_relaxed);
    return c;
}

static void wipe(const struct secret *s)
{
    struct str v = secret_reveal(s);
    char *p;

    memcpy(&p, &v.p, sizeof(p));
    if (v.len > 0)
        explicit_bzero(p, v.len);
}

void conf_unref(struct conf *c)
{
    struct conf_own *o = (struct conf_own *)c;

    if (!c || atomic_fetch_sub_explicit(&o->refs, 1, memory_order_acq_rel) > 1)
        return;
    for (size_t i = 0; i < c->n_upstreams; i++) {
        const struct conf_upstream *u = &c->upstreams[i];

        for (size_t j = 0; j < u->n_keys; j++)
            wipe(&u->keys[j]);
        for (size_t j = 0; j < u->n_headers; j++)
            wipe(&u->headers[j].value);
        wipe(&u->proxy);
    }
    wipe(&c->redis);
    conf_unref(o->engine_of);
    arena_free(o->mem);
}

/* The index of the engine model called <name>, -1 if there is none. */
static int engine_index(const struct conf *c, struct str name)
{
    for (size_t i = 0; i < c->engine.n_models; i++)
        if (str_eq(c->engine.models[i].name, name))
            return (int)i;
    return -1;
}

void conf_prefix_root(const struct conf *c, char out[CONF_PREFIX_ROOT_BYTES])
{
    const struct str dir = c->engine.prefix_dir;

    snprintf(out, CONF_PREFIX_ROOT_BYTES, "%.*s%s",
             STR_ARG(dir.len > 0 ? dir : c->state_dir),
             dir.len > 0 ? "" : "/prefix");
}

void conf_keep_engine(struct conf *fresh, struct conf *running)
{
    struct conf_own *o = (struct conf_own *)fresh;
    struct conf_own *from = (struct conf_own *)running;

    BUG_ON(o->engine_of || fresh == running);
    o->engine_of = conf_ref(from->engine_of ? from->engine_of : running);
    fresh->engine = running->engine;
    for (size_t i = 0; i < fresh->n_routes; i++) {
        const struct conf_route *r = &fresh->routes[i];
        struct conf_route_target *t;

        memcpy(&t, &r->targets, sizeof(t));
        for (size_t j = 0; j < r->n_targets; j++, t++)
            if (t->upstream < 0)
                t->engine = engine_index(fresh, t->engine_name);
    }
}

void conf_keep_cache(struct conf *fresh, const struct conf *running)
{
    fresh->cache.responses = running->cache.responses;
    fresh->cache.size_bytes = running->cache.size_bytes;
}

/* Append all of <fd> to <text>. */
static enum err read_all(int fd, struct buf *text)
{
    for (;;) {
        ssize_t got;

        if (text->len > FILE_MAX)
            return ERR_FULL;
        if (buf_reserve(text, 65536) != ERR_OK)
            return ERR_NOMEM;
        got = read(fd, text->p + text->len, 65536);
        if (got == 0)
            return ERR_OK;
        if (got < 0 && errno != EINTR)
            return ERR_IO;
        if (got > 0)
            text->len += (size_t)got;
    }
}

static enum err read_file(const struct say *say, const char *path,
                          struct buf *text)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    enum err e;

    if (fd == -1) {
        say_error(say, NULL,
                  "cannot be opened (%s); check the path and its "
                  "mode",
                  strerror(errno));
        return ERR_IO;
    }
    e = read_all(fd, text);
    if (e == ERR_IO)
        say_error(say, NULL, "cannot be read (%s); name a file",
                  strerror(errno));
    else if (e == ERR_FULL)
        say_error(say, NULL,
                  "is larger than 4 MiB; no file of settings needs that");
    close(fd);
    return e == ERR_FULL ? ERR_SYNTAX : e;
}

/* The price file of <c>; NULL when none is given and none is there. */
static const char *prices_find(const struct conf *c)
{
    if (c->prices_given)
        return c->prices.p;
    if (access(TG_SYSCONFDIR "/" PRICE_FILE, F_OK) == 0)
        return TG_SYSCONFDIR "/" PRICE_FILE;
    return access(c->prices.p, F_OK) == 0 ? c->prices.p : NULL;
}

/* Read the price file of <o>; ERR_SYNTAX when a mistake was found. */
static enum err take_prices(struct conf_own *o, struct conf_report *r)
{
    const char *path = prices_find(&o->c);
    const struct say say = {r, path};
    struct buf text;
    enum err e;

    /* one that is given and cannot be read has been told by its line */
    if (!path || (o->c.prices_given && access(path, R_OK) != 0))
        return ERR_OK;
    buf_init(&text, FILE_MAX + 2 * 65536);
    e = read_file(&say, path, &text);
    if (e == ERR_OK)
        e = conf_prices_read(&say, buf_str(&text), &o->c, o->mem, &o->c.price);
    buf_fini(&text);
    if (e == ERR_OK)
        o->c.price.file = arena_dup(o->mem, str_from(path));
    if (e == ERR_OK && !o->c.price.file.p)
        e = ERR_NOMEM;
    return e == ERR_OK || e == ERR_NOMEM ? e : ERR_SYNTAX;
}

/* Fill <o> from <text>; ERR_SYNTAX when a mistake was found. */
static enum err fill(struct conf_own *o, const struct say *say, struct str text,
                     unsigned flags)
{
    struct arena *nodes = arena_new(16384, NODES_CAP);
    struct bind b = {.say = say, .mem = o->mem, .flags = flags};
    struct ynode *root = NULL;
    enum err e = nodes ? yaml_read(say, text, nodes, &root) : ERR_NOMEM;

    if (e == ERR_OK) {
        conf_bind_all(&b, root, &o->c);
        if (!b.stop && !b.nomem)
            conf_check_all(&b, root, &o->c);
        if (b.nomem)
            e = ERR_NOMEM;
    }
    arena_free(nodes);
    say_sort(say, 0);
    if (e == ERR_OK && !b.stop && !(flags & CONF_OFFLINE))
        e = take_prices(o, say->report);
    if (e == ERR_OK && say->report->n_errors > 0 &&
        (b.stop || !(flags & CONF_OFFLINE)))
        e = ERR_SYNTAX;
    return e;
}

enum err conf_load_text(const char *name, struct str text, unsigned flags,
                        struct conf_report *r, struct conf **out)
{
    const struct say say = {r, name};
    struct conf_own *o = own_new();
    enum err e;

    if (!o)
        return ERR_NOMEM;
    o->c.file = arena_dup(o->mem, str_from(name));
    e = o->c.file.p ? fill(o, &say, text, flags) : ERR_NOMEM;
    if (e != ERR_OK) {
        conf_unref(&o->c);
        return e;
    }
    *out = &o->c;
    return ERR_OK;
}

enum err conf_load_file(const char *path, unsigned flags, struct conf_report *r,
                        struct conf **out)
{
    const struct say say = {r, path};
    struct buf text;
    enum err e;

    buf_init(&text, FILE_MAX + 2 * 65536);
    e = read_file(&say, path, &text);
    if (e == ERR_OK)
        e = conf_load_text(path, buf_str(&text), flags, r, out);
    if (text.room > 0)
        explicit_bzero(text.p, text.room);
    buf_fini(&text);
    return e;
}

/* The file of the demo model, or NULL. */
static const char *demo_find(void)
{
    const char *env = getenv("TOLLGATE_DEMO_MODEL");
    const char *const places[] = {TG_DATADIR "/" DEMO_FILE,
                                  TG_SRCDIR "/etc/" DEMO_FILE};

    if (env && env[0] != '\0')
        return env;
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++)
        if (access(places[i], R_OK) == 0)
            return places[i];
    return NULL;
}

/* Add the demo model, and have it judged like one of a file. */
static enum err add_demo(struct conf_own *o, const struct say *say)
{
    const char *path = demo_find();
    struct conf_engine_model *m;
    char why[CONF_MODEL_WHY];

    if (!path) {
        say_warning(say, NULL,
                    "there is no " TG_DATADIR "/" DEMO_FILE
                    ": no model is served; install it, name a file in "
                    "TOLLGATE_DEMO_MODEL, or write a configuration");
        return ERR_OK;
    }
    m = arena_alloc(o->mem, sizeof(*m));
    if (!m)
        return ERR_NOMEM;
    m->name = STR("demo");
    m->path = arena_dup(o->mem, str_from(path));
    m->device = STR("auto");
    m->prefix_store = true;
    if (!m->path.p)
        return ERR_NOMEM;
    o->c.engine.models = m;
    o->c.engine.n_models = 1;
    if (!say->report->judge_model ||
        say->report->judge_model(say->report->judge_arg, m, why))
        return ERR_OK;
    say_error(say, NULL, "the demo model cannot be served: %s", why);
    return ERR_SYNTAX;
}

enum err conf_default(struct conf_report *r, struct conf **out)
{
    const struct say say = {r, "built-in default"};
    struct conf_report aside = {0};
    const struct say none = {&aside, "built-in default"};
    const char *base = getenv("XDG_STATE_HOME");
    const char *below = "";
    struct conf_own *o = own_new();
    struct conf *c;
    char *dir;
    char *ctl;
    enum err e;

    if (!o)
        return ERR_NOMEM;
    c = &o->c;
    if (!base || base[0] != '/') {
        base = getenv("HOME");
        below = "/.local/state";
    }
    if (!base || base[0] != '/') {
        say_error(&say, NULL,
                  "neither XDG_STATE_HOME nor HOME is an absolute path; set "
                  "one, or name a file with -c");
        conf_unref(c);
        return ERR_SYNTAX;
    }
    /* only says that nothing is configured */
    e = fill(o, &none, STR(""), CONF_OFFLINE);
    conf_report_fini(&aside);
    dir = arena_printf(o->mem, "%s%s/tollgate", base, below);
    ctl = dir ? arena_printf(o->mem, "%s/control.sock", dir) : NULL;
    if (e != ERR_OK || !ctl) {
        conf_unref(c);
        return ERR_NOMEM;
    }
    c->state_dir = str_from(dir);
    c->control_socket = str_from(ctl);
    if (c->control_socket.len > CONF_SOCKET_MAX) {
        say_error(&say, NULL,
                  "%s is too long a path for a socket; set XDG_STATE_HOME "
                  "to a shorter one",
                  conf_quote(c->control_socket).c);
        conf_unref(c);
        return ERR_SYNTAX;
    }
    e = add_demo(o, &say);
    if (e == ERR_OK)
        e = take_prices(o, r);
    if (e != ERR_OK) {
        conf_unref(c);
        return e;
    }
    *out = c;
    return ERR_OK;
}

const char *conf_find(const char *arg)
{
    const char *env = getenv("TOLLGATE_CONFIG");

    if (arg)
        return arg;
    if (env && env[0] != '\0')
        return env;
    if (access(TG_SYSCONFDIR "/tollgate.yaml", F_OK) == 0)
        return TG_SYSCONFDIR "/tollgate.yaml";
    return access(ETC_FILE, F_OK) == 0 ? ETC_FILE : NULL;
}

enum err conf_load(const char *arg, unsigned flags, struct conf_report *r,
                   struct conf **out)
{
    const char *path = conf_find(arg);

    return path ? conf_load_file(path, flags, r, out) : conf_default(r, out);
}

int conf_upstream_find(const struct conf *c, struct str name)
{
    for (size_t i = 0; i < c->n_upstreams; i++)
        if (name.len > 0 && str_eq(c->upstreams[i].name, name))
            return (int)i;
    return -1;
}

const struct conf_route *conf_route_find(const struct conf *c, struct str model)
{
    for (size_t i = 0; i < c->n_routes; i++)
        if (str_eq(c->routes[i].model, model))
            return &c->routes[i];
    for (size_t i = 0; i < c->n_routes; i++)
        if (str_glob(c->routes[i].model, model))
            return &c->routes[i];
    return NULL;
}

bool conf_upstream_serves(const struct conf_upstream *u, struct str model)
{
    for (size_t i = 0; i < u->n_models; i++)
        if (str_glob(u->models[i], model))
            return true;
    return false;
}
