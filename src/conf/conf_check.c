/* conf_check.c - What no single key can tell: names that must exist or be
 * unique, values that must fit each other, settings that are legal but likely
 * not meant. Also fills the fields that are derived from others. */
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conf/conf_bind.h"
#include "conf/conf_parse.h"

/* What every check needs. */
struct check {
    struct bind *b;           /* borrowed */
    const struct say *say;    /* borrowed */
    const struct ynode *root; /* borrowed, NULL for an empty file */
    struct conf *c;           /* borrowed; still being filled */
};

/* The node of <key> in <map>, else <map> itself: where to point. */
static const struct ynode *place(const struct ynode *map, const char *key)
{
    const struct ynode *n = ynode_get(map, key);

    return n ? n : map;
}

/* The node of entry <i> of the top-level list <key>. */
static const struct ynode *entry(const struct check *k, const char *key,
                                 size_t i)
{
    const struct ynode *n = ynode_at(ynode_get(k->root, key), i);

    return n ? n : k->root;
}

static bool is_loopback(struct str host)
{
    return str_eq(host, STR("localhost")) || str_eq(host, STR("::1")) ||
           str_starts(host, STR("127."));
}

static bool addr_is_local(const struct conf_addr *a)
{
    return a->family == AF_UNIX || is_loopback(a->host);
}

/* The file <path> of the key at <n> must be readable by the daemon; whether it
 * is given and is. */
static bool check_file(const struct check *k, struct str path,
                       const struct ynode *n, const char *what)
{
    if (path.len == 0 || (k->b->flags & CONF_OFFLINE))
        return false;
    if (access(path.p, R_OK) == 0)
        return true;
    say_error(k->say, n,
              "%s: %s cannot be read (%s); check the path and its "
              "mode",
              what, conf_quote(path).c, strerror(errno));
    return false;
}

/* A private key that others may read is none; but it may lie in a directory
 * that they cannot enter. */
static void check_key_mode(const struct check *k, struct str path,
                           const struct ynode *n)
{
    struct stat st;

    if (path.len > 0 && !(k->b->flags & CONF_OFFLINE) &&
        stat(path.p, &st) == 0 && (st.st_mode & (S_IROTH | S_IWOTH)) != 0)
        say_warning(k->say, n,
                    "listen[].tls[].key: everyone can read or write %s; chmod "
                    "o-rw it",
                    conf_quote(path).c);
}

/* Both files of the certificate <c>, written at <n>, and what is in them. */
static void check_cert(const struct check *k, const struct conf_cert *c,
                       const struct ynode *n)
{
    const struct ynode *cert = place(n, "cert");
    const struct ynode *key = place(n, "key");
    bool read = check_file(k, c->cert, cert, "listen[].tls[].cert");
    struct conf_cert_fault faults[CONF_CERT_FAULTS];
    size_t n_faults = 0;

    read = check_file(k, c->key, key, "listen[].tls[].key") && read;
    if (read && k->say->report->judge_cert)
        n_faults = k->say->report->judge_cert(c, faults);
    for (size_t i = 0; i < n_faults; i++) {
        const struct conf_cert_fault *f = &faults[i];

        (f->warning ? say_warning : say_error)(
            k->say, f->of_key ? key : cert, "listen[].tls[].%s: %s %s",
            f->of_key ? "key" : "cert",
            conf_quote(f->of_key ? c->key : c->cert).c, f->why);
    }
}

static void derive_control_socket(const struct check *k)
{
    struct conf *c = k->c;
    char *path;

    if (!ynode_get(k->root, "control_socket") &&
        ynode_get(k->root, "state_dir")) {
        path =
            arena_printf(k->b->mem, "%.*s/control.sock", STR_ARG(c->state_dir));
        k->b->nomem = k->b->nomem || !path;
        c->control_socket = str_from(path);
    }
    if (c->control_socket.len > CONF_SOCKET_MAX)
        say_error(k->say,
                  place(k->root, ynode_get(k->root, "control_socket")
                                     ? "control_socket"
                                     : "state_dir"),
                  "the path of the control socket is longer than %d bytes; "
                  "write a shorter control_socket",
                  CONF_SOCKET_MAX);
}

static bool same_addr(const struct conf_addr *a, const struct conf_addr *b)
{
    if (a->family != b->family || a->family == AF_UNSPEC)
        return false;
    if (a->family == AF_UNIX)
        return str_eq(a->path, b->path);
    return a->port != 0 && a->port == b->port && str_eq(a->host, b->host);
}

static void check_listen(const struct check *k, size_t i)
{
    const struct conf_listen *l = &k->c->listen[i];
    const struct ynode *n = entry(k, "listen", i);
    const struct ynode *tls = ynode_get(n, "tls");

    for (size_t j = 0; j < i; j++)
        if (same_addr(&k->c->listen[j].address, &l->address)) {
            say_error(k->say, place(n, "address"),
                      "listen[].address: \"%s\" is already listened on; "
                      "write another or remove this entry",
                      conf_quote(l->address.text).c);
            break;
        }
    if (same_addr(&k->c->metrics, &l->address))
        say_error(k->say, place(n, "address"),
                  "listen[].address: metrics.address is the same; write "
                  "another for one of them");
    if (ynode_get(n, "mode") && l->address.family != AF_UNIX)
        say_warning(k->say, place(n, "mode"),
                    "listen[].mode is for unix sockets; it does nothing here");
    if (!k->c->auth.required && !addr_is_local(&l->address))
        say_warning(k->say, place(n, "address"),
                    "auth.required is false and this address is open to "
                    "others: anyone who reaches it spends your keys");
    for (size_t j = 0; j < l->n_tls; j++) {
        const struct ynode *t = ynode_at(tls, j);

        check_cert(k, &l->tls[j], t);
        check_key_mode(k, l->tls[j].key, place(t, "key"));
    }
}

/* Neither upstreams nor engine models: where one of them is written, that is
 * the place. */
static void warn_of_nothing(const struct check *k)
{
    const struct ynode *models =
        ynode_get(ynode_get(k->root, "engine"), "models");

    say_warning(k->say, models ? models : ynode_get(k->root, "upstreams"),
                "neither an upstream nor an engine model is configured, so no "
                "model can be served; add one under upstreams or "
                "engine.models");
}

static void check_basics(const struct check *k)
{
    struct conf *c = k->c;
    const struct ynode *limits = ynode_get(k->root, "limits");

    for (size_t i = 0; i < c->cors.n_origins; i++)
        if (str_eq(c->cors.origins[i], STR("*")))
            c->cors.any = true;
    c->log.access_to = CONF_ACCESS_FILE;
    if (str_eq(c->log.access, STR("stderr")))
        c->log.access_to = CONF_ACCESS_STDERR;
    else if (str_eq(c->log.access, STR("off")))
        c->log.access_to = CONF_ACCESS_OFF;
    if (c->limits.max_buffered_bytes < c->limits.body_bytes)
        say_error(k->say, place(limits, "max_buffered"),
                  "limits.max_buffered is less than limits.body; write at "
                  "least as much");
    /* the default may be missing, also where it is written out */
    c->prices_given = ynode_get(k->root, "prices") != NULL &&
                      !str_eq(c->prices, STR(CONF_PRICES_FILE));
    if (c->prices_given)
        (void)check_file(k, c->prices, ynode_get(k->root, "prices"), "prices");
    for (size_t i = 0; i < c->n_listen; i++)
        check_listen(k, i);
    if (c->n_upstreams == 0 && c->engine.n_models == 0 &&
        k->say->report->n_errors == 0)
        warn_of_nothing(k);
}

/* --- upstreams ---------------------------------------------------------- */

static void check_base_url(const struct check *k, const struct ynode *n,
                           const struct conf_upstream *u)
{
    static const char *const ends[] = {"/chat/completions", "/completions",
                                       "/embeddings",       "/responses",
                                       "/messages",         "/models"};

    for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++)
        if (str_ends(u->url.path, str_from(ends[i]))) {
            say_warning(k->say, place(n, "base_url"),
                        "upstreams[].base_url ends in %s, which requests add "
                        "themselves; write it without",
                        ends[i]);
            break;
        }
    if (!u->url.tls && u->n_keys > 0 && u->url.host.len > 0 &&
        !is_loopback(u->url.host))
        say_warning(k->say, place(n, "base_url"),
                    "upstreams[].base_url sends the key in the clear; write "
                    "https:// if the upstream can");
}

static void check_upstream(const struct check *k, size_t i)
{
    const struct conf_upstream *u = &k->c->upstreams[i];
    const struct ynode *n = entry(k, "upstreams", i);
    const struct ynode *retries = ynode_get(n, "retries");
    const struct ynode *tls = ynode_get(n, "tls");

    for (size_t j = 0; j < i; j++)
        if (u->name.len > 0 && str_eq(k->c->upstreams[j].name, u->name)) {
            say_error(k->say, place(n, "name"),
                      "upstreams[].name: \"%s\" is taken by an earlier one; "
                      "write another name",
                      conf_quote(u->name).c);
            break;
        }
    if (ynode_get(n, "api_key") && ynode_get(n, "api_keys"))
        say_error(k->say, place(n, "api_keys"),
                  "upstreams[]: api_key and api_keys are both set; remove "
                  "one of them");
    if (ynode_get(n, "api_version") && u->dialect != CONF_DIALECT_AZURE)
        say_warning(k->say, place(n, "api_version"),
                    "upstreams[].api_version is for dialect azure; it does "
                    "nothing here");
    if (!u->tls.verify)
        say_warning(k->say, place(tls, "verify"),
                    "upstreams[].tls.verify is off: anyone on the way can "
                    "read the key and the requests");
    if (u->retries.backoff_max_ms < u->retries.backoff_ms)
        say_error(k->say, place(retries, "backoff_max"),
                  "upstreams[].retries.backoff_max is less than backoff; "
                  "write at least as much");
    if (u->timeouts.total_ms > 0 &&
        u->timeouts.total_ms < u->timeouts.first_byte_ms)
        say_warning(k->say, place(ynode_get(n, "timeouts"), "total"),
                    "upstreams[].timeouts.total is less than first_byte and "
                    "ends requests before it");
    (void)check_file(k, u->tls.ca, place(tls, "ca"), "upstreams[].tls.ca");
    check_base_url(k, n, u);
}

/* What the file of model <i> and its settings say for themselves. */
static void judge_model(const struct check *k, size_t i, const struct ynode *n)
{
    const struct conf_engine_model *m = &k->c->engine.models[i];
    char why[CONF_MODEL_WHY];

    if (!k->say->report->judge_model || (k->b->flags & CONF_OFFLINE) ||
        m->path.len == 0)
        return;
    if (!k->say->report->judge_model(k->say->report->judge_arg, m, why))
        say_error(k->say, place(n, "path"), "engine.models[] %s: %s",
                  conf_quote(m->name).c, why);
}

/* A target is told as TARGET/MODEL in lists and sums: what begins like an
 * upstream and a slash would be taken for a model of that one. */
static void check_model_name(const struct check *k, struct str name,
                             const struct ynode *at)
{
    struct str first = str_of(name.p, str_find_char(name, '/'));

    if (conf_upstream_find(k->c, name) >= 0)
        say_error(k->say, at,
                  "engine.models[].name: \"%s\" is also an upstream; "
                  "write another name",
                  conf_quote(name).c);
    else if (first.len < name.len && conf_upstream_find(k->c, first) >= 0)
        say_error(k->say, at,
                  "engine.models[].name: \"%s\" reads like a model of the "
                  "upstream \"%s\", since targets are told as "
                  "TARGET/MODEL; write another name for one of them",
                  conf_quote(name).c, conf_quote(first).c);
}

static void check_model(const struct check *k, size_t i, const struct ynode *n)
{
    const struct conf_engine *e = &k->c->engine;
    struct str name = e->models[i].name;
    uint64_t context = e->models[i].context;

    check_model_name(k, name, place(n, "name"));
    for (size_t j = 0; j < i && name.len > 0; j++)
        if (str_eq(e->models[j].name, name)) {
            say_error(k->say, place(n, "name"),
                      "engine.models[].name: \"%s\" is taken by an "
                      "earlier one; write another name",
                      conf_quote(name).c);
            break;
        }
    if (context > 0 && context < CONF_CONTEXT_MIN)
        say_error(k->say, place(n, "context"),
                  "engine.models[].context: %llu is too little for a question "
                  "and its answer; write %d or more, or 0 for what the model "
                  "says",
                  (unsigned long long)context, CONF_CONTEXT_MIN);
    else if (name.len > 0)
        judge_model(k, i, n);
}

/* Each model has an equal share of the prefix store, which must be of use. */
static void check_prefix_size(const struct check *k)
{
    const struct conf_engine *e = &k->c->engine;
    const struct ynode *at = ynode_get(
        ynode_get(ynode_get(k->root, "engine"), "prefix_store"), "size");
    uint64_t n = 0;

    for (size_t i = 0; i < e->n_models; i++)
        n += e->models[i].prefix_store;
    n = n > 0 ? n : 1;
    if (e->prefix_size_bytes > 0 &&
        e->prefix_size_bytes < n * CONF_PREFIX_MIN_BYTES)
        say_error(k->say, at,
                  "engine.prefix_store.size is too small to be of use; write "
                  "%lluMiB or more (%lluMiB a model), or 0 for no store",
                  (unsigned long long)(n * CONF_PREFIX_MIN_BYTES >> 20),
                  CONF_PREFIX_MIN_BYTES >> 20);
}

static void check_engine(const struct check *k)
{
    const struct ynode *list =
        ynode_get(ynode_get(k->root, "engine"), "models");

    check_prefix_size(k);

    for (size_t i = 0; i < k->c->engine.n_models; i++)
        check_model(k, i, ynode_at(list, i));
}

/* --- references --------------------------------------------------------- */

/* The upstream whose name is nearest to <name>, NULL if none is near. */
static const struct conf_upstream *nearest(const struct conf *c,
                                           struct str name)
{
    const struct conf_upstream *near = NULL;
    unsigned best = 1 + (unsigned)(name.len / 3);

    for (size_t i = 0; i < c->n_upstreams; i++) {
        unsigned d = conf_parse_distance(name, c->upstreams[i].name);

        if (d > best || (near && d == best))
            continue;
        best = d;
        near = &c->upstreams[i];
    }
    return near;
}

/* The index of the upstream that <key> names; tells when there is none. */
static int resolve_upstream(const struct check *k, struct str name,
                            const struct ynode *at, const char *key)
{
    int i = conf_upstream_find(k->c, name);
    const struct conf_upstream *near;

    if (i >= 0 || name.len == 0)
        return name.len == 0 ? -1 : i;
    near = nearest(k->c, name);
    if (near)
        say_error(k->say, at, "%s: there is no upstream \"%s\"; write %s", key,
                  conf_quote(name).c, conf_quote(near->name).c);
    else
        say_error(k->say, at,
                  "%s: there is no upstream \"%s\"; write the name of one "
                  "under upstreams",
                  key, conf_quote(name).c);
    return -1;
}

static int resolve_engine(const struct check *k, struct str name,
                          const struct ynode *at)
{
    const struct conf_engine *e = &k->c->engine;

    for (size_t i = 0; i < e->n_models; i++)
        if (str_eq(e->models[i].name, name))
            return (int)i;
    if (name.len > 0)
        say_error(k->say, at,
                  "routes[].targets[].engine: there is no engine model "
                  "\"%s\"; write the name of one under engine.models",
                  conf_quote(name).c);
    return -1;
}

static void check_targets(const struct check *k, const struct conf_route *r,
                          const struct ynode *route)
{
    const struct ynode *list = ynode_get(route, "targets");
    const struct ypair *p =
        list && list->kind == YNODE_LIST ? list->pairs : NULL;
    struct conf_route_target *t;
    uint64_t weights = 0;

    memcpy(&t, &r->targets, sizeof(t));
    for (size_t i = 0; i < r->n_targets; i++, t++) {
        const struct ynode *n = p ? p->node : list;
        const struct ynode *up = ynode_get(n, "upstream");
        const struct ynode *engine = ynode_get(n, "engine");

        p = p ? p->next : NULL;
        if (n && n->kind == YNODE_MAP && !up == !engine)
            say_error(k->say, engine ? engine : n,
                      "routes[].targets[] needs exactly one of upstream and "
                      "engine; write e.g. {upstream: NAME}");
        t->upstream = resolve_upstream(k, t->upstream_name, up,
                                       "routes[].targets[].upstream");
        t->engine = resolve_engine(k, t->engine_name, engine);
        weights += t->weight;
    }
    if (r->n_targets > 0 && weights == 0)
        say_error(k->say, list,
                  "routes[].targets: every weight is 0, so no target would "
                  "ever be chosen; write 1 for at least one");
}

static void check_fallbacks(const struct check *k, const struct conf_route *r,
                            const struct ynode *route)
{
    const struct ynode *list = ynode_get(route, "fallbacks");

    for (size_t i = 0; i < r->n_fallbacks; i++) {
        struct str name = r->fallbacks[i];
        size_t j = 0;

        while (j < k->c->n_routes && !str_eq(k->c->routes[j].model, name))
            j++;
        if (name.len > 0 && j == k->c->n_routes)
            say_error(k->say, ynode_at(list, i),
                      "routes[].fallbacks: there is no route \"%s\"; write "
                      "the model of another route",
                      conf_quote(name).c);
        else if (name.len > 0 && str_eq(name, r->model))
            say_error(k->say, ynode_at(list, i),
                      "routes[].fallbacks: \"%s\" falls back to itself; "
                      "write another route",
                      conf_quote(name).c);
    }
}

/* Order by name, then by place, so that the later of two is known. */
static int compare_routes(const void *a, const void *b)
{
    const struct conf_route *const *x = a;
    const struct conf_route *const *y = b;
    struct str s = (*x)->model;
    struct str t = (*y)->model;
    int d = memcmp(s.len ? s.p : "", t.len ? t.p : "",
                   s.len < t.len ? s.len : t.len);

    if (d != 0)
        return d;
    if (s.len != t.len)
        return s.len < t.len ? -1 : 1;
    return *x < *y ? -1 : *x > *y;
}

static void check_route_names(const struct check *k)
{
    const struct conf *c = k->c;
    const struct conf_route **v =
        arena_alloc(k->b->mem, (c->n_routes + 1) * sizeof(*v));

    if (!v) {
        k->b->nomem = true;
        return;
    }
    for (size_t i = 0; i < c->n_routes; i++)
        v[i] = &c->routes[i];
    qsort(v, c->n_routes, sizeof(*v), compare_routes);
    for (size_t i = 1; i < c->n_routes; i++)
        if (v[i]->model.len > 0 && str_eq(v[i]->model, v[i - 1]->model))
            say_error(
                k->say,
                place(entry(k, "routes", (size_t)(v[i] - c->routes)), "model"),
                "routes[].model: \"%s\" has a route already; put its "
                "targets into one",
                conf_quote(v[i]->model).c);
}

static void check_routes(const struct check *k)
{
    const struct conf *c = k->c;
    const struct ynode *list = ynode_get(k->root, "routes");
    const struct ypair *p =
        list && list->kind == YNODE_LIST ? list->pairs : NULL;

    check_route_names(k);
    for (size_t i = 0; i < c->n_routes; i++) {
        const struct ynode *n = p ? p->node : list;

        p = p ? p->next : NULL;
        check_targets(k, &c->routes[i], n);
        check_fallbacks(k, &c->routes[i], n);
    }
}

void conf_check_all(struct bind *b, const struct ynode *root, struct conf *c)
{
    const struct check k = {b, b->say, root, c};

    derive_control_socket(&k);
    check_basics(&k);
    for (size_t i = 0; i < c->n_upstreams; i++)
        check_upstream(&k, i);
    check_engine(&k);
    c->passthrough = resolve_upstream(
        &k, c->passthrough_name, ynode_get(root, "passthrough"), "passthrough");
    check_routes(&k);
    conf_check_cache(b, root, c);
}
