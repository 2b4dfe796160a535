/* conf.h - The configuration: one text file becomes one immutable snapshot,
 * `struct conf`, counted by references. A reload makes a new snapshot; work
 * that is under way keeps the one it started with. Every value is ready to
 * use: durations in ms, sizes in bytes, addresses and URLs split, names
 * resolved to indexes. Each field comment tells the key's default.
 *
 * Everything a snapshot points to is owned by it and lives until its last
 * conf_unref(). Every `struct str` in it has a NUL after its last byte (not
 * counted) and none inside, so <p> is also a C string; an empty one may have
 * p == NULL. Snapshots may be read from any thread without a lock. */
#ifndef TG_CONF_CONF_H
#define TG_CONF_CONF_H

#include "base/buf.h"
#include "base/err.h"
#include "base/log.h"
#include "base/str.h"
#include "conf/conf_prices.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Most event loops. */
#define CONF_WORKERS_MAX 64

/* A value that must never be shown. There is no printf pair for it: take the
 * bytes with secret_reveal() where they are used, and nowhere else. */
struct secret {
    struct str hidden_; /* the bytes; only secret_reveal() touches this */
    struct str source;  /* "env:NAME", "file:/path", or empty for a literal */
};

/* The bytes of <s>: for the wire or a comparison, never for a log. */
static inline struct str secret_reveal(const struct secret *s)
{
    return s->hidden_;
}

/* A socket address. */
struct conf_addr {
    int family;      /* AF_INET, AF_INET6, AF_UNIX; AF_UNSPEC when absent */
    uint16_t port;   /* host order; 0 = any free port; 0 for AF_UNIX */
    struct str host; /* numeric, without brackets; empty for AF_UNIX */
    struct str path; /* of AF_UNIX, absolute, fits sun_path */
    struct str text; /* as written: "[::1]:4141", "unix:/path" */
};

/* A URL split at its parts; no user, query or fragment. */
struct conf_url {
    bool tls;          /* scheme is https */
    uint16_t port;     /* given, else 443 or 80 */
    struct str host;   /* lower case, without brackets */
    struct str path;   /* "/v1", or empty: never ends in a slash */
    struct str origin; /* "https://host[:port]", no default port */
    struct str text;   /* origin + path: append "/chat/completions" */
};

/* One certificate of a listener. With several, the name that the client
 * sends (SNI) chooses; the first one serves clients that match none. */
struct conf_cert {
    struct str cert;         /* path of the PEM chain, leaf first */
    struct str key;          /* path of the PEM private key */
    const struct str *names; /* host names, "*.host" too; none = those inside */
    size_t n_names;
};

/* One listening socket. */
struct conf_listen {
    struct conf_addr address;    /* 127.0.0.1:4141 */
    uint32_t mode;               /* of a unix socket, 0660 */
    const struct conf_cert *tls; /* none = plain HTTP */
    size_t n_tls;
};

/* Bounds on what clients may take. */
struct conf_limits {
    uint64_t body_bytes;       /* largest request body, 64 MiB */
    int64_t header_timeout_ms; /* first byte, or accept, to end of head, 10 s */
    int64_t idle_timeout_ms;   /* between requests, 75 s */
    int64_t write_stall_ms;    /* reply makes no progress, 60 s; 0 = never */
    uint64_t body_min_rate_bps;  /* bytes/s after the grace, 1 KiB; 0 = off */
    int64_t body_grace_ms;       /* before the rate counts, 10 s */
    uint64_t header_bytes;       /* request line and fields, 32 KiB */
    uint64_t max_buffered_bytes; /* all request bodies held, 1 GiB */
    uint64_t connections;        /* open client connections, 20000 */
    uint64_t connections_per_address; /* of them, 0 = no limit */
    int64_t start_wait_ms; /* a request that waits to begin, 2 s; 0 = any */
    uint64_t memory_bytes; /* before requests are refused; 0 = by the
                            * limits of cgroup and ulimit -v */
    bool half_close; /* serve clients that shut their sending side, false */
};

/* How hard budgets are kept. */
struct conf_budgets {
    uint64_t min_output;     /* tokens: smallest cap worth sending, 64 */
    uint64_t default_output; /* cap of requests without one, 4096 */
    uint64_t stream_hold;    /* output tokens held ahead of a stream, 4096 */
    int64_t wait_ms;  /* for what others hold to come back, 10 s; 0 = none */
    int64_t drain_ms; /* reading on when the client has gone, 2 s */
    uint64_t media_tokens;          /* a file in a body counts so many, 0 =
                                     * such a request is refused */
    const struct str *allow_fields; /* globs: members of bodies that cost
                                     * nothing, beside those known; none */
    size_t n_allow_fields;
};

/* Cross-origin requests from browsers. */
struct conf_cors {
    const struct str *origins; /* none = CORS off; "*" = every origin */
    size_t n_origins;
    bool any; /* "*" is among the origins */
};

/* What a silent stream gets. */
enum conf_keepalive_mode {
    CONF_KEEPALIVE_COMMENT = 0, /* an SSE comment line */
    CONF_KEEPALIVE_CHUNK,       /* an empty chunk of the route's own shape */
    CONF_KEEPALIVE_OFF,
};

/* How an upstream is spoken to. */
enum conf_dialect {
    CONF_DIALECT_OPENAI = 0,
    CONF_DIALECT_AZURE,
    CONF_DIALECT_ANTHROPIC,
};

/* How a route picks among its targets. */
enum conf_strategy {
    CONF_STRATEGY_WEIGHTED = 0,
    CONF_STRATEGY_LEAST_IN_FLIGHT,
    CONF_STRATEGY_LATENCY,
    CONF_STRATEGY_PREFIX,
};

/* What makes a request go to a fallback, as bits. */
enum conf_fall {
    CONF_FALL_ERROR = 1,   /* all targets fail, or cannot be asked */
    CONF_FALL_CONTEXT = 2, /* the prompt is too long for the model */
    CONF_FALL_FILTER = 4,  /* its content is refused */
};

/* Who shares stored replies and stored prefixes. */
enum conf_scope {
    CONF_SCOPE_KEY = 0,
    CONF_SCOPE_TEAM,
    CONF_SCOPE_SHARED,
};

/* Of which requests replies are stored and calls are shared. */
enum conf_keep {
    CONF_KEEP_NEVER = 0,
    CONF_KEEP_DETERMINISTIC, /* embeddings, temperature 0, or a seed */
    CONF_KEEP_ALWAYS,
};

/* What a stored or shared reply costs who gets it. */
enum conf_charge {
    CONF_CHARGE_NONE = 0, /* nothing */
    CONF_CHARGE_FULL,     /* what it cost who it was made for */
};

/* How fast a stored stream is sent. */
enum conf_pace {
    CONF_PACE_INSTANT = 0, /* as fast as the client reads */
    CONF_PACE_RECORDED,    /* as it came */
};

/* When a prefix is stored. */
enum conf_admission {
    CONF_ADMISSION_FIRST = 0, /* as soon as it is computed */
    CONF_ADMISSION_SECOND,    /* when it is seen again */
    CONF_ADMISSION_AUTO,      /* FIRST, SECOND while that stores in vain */
};

/* Element type of an engine model's stored keys and values. */
enum conf_kv_dtype {
    CONF_KV_AUTO = 0,
    CONF_KV_F32,
    CONF_KV_F16,
    CONF_KV_BF16,
    CONF_KV_Q8,
    CONF_KV_FP8, /* on a GPU alone */
};

/* How an engine model's matrices of floats are kept. */
enum conf_weights {
    CONF_WEIGHTS_AUTO = 0, /* as the file has them */
    CONF_WEIGHTS_FP8,
};

/* How the daemon's own lines are written; access lines are always JSON. */
enum conf_log_format {
    CONF_LOG_JSON = 0,
    CONF_LOG_TEXT,
};

/* A header sent with every request to an upstream. */
struct conf_header {
    struct str name;     /* a valid field name, as written */
    struct secret value; /* a valid field value */
};

/* Deadlines of one request to an upstream; 0 = none (not for connect). */
struct conf_timeouts {
    int64_t connect_ms;    /* TCP and TLS, 5 s */
    int64_t first_byte_ms; /* request sent to first reply byte, 120 s */
    int64_t idle_ms;       /* between reply bytes, 60 s */
    int64_t total_ms;      /* whole exchange, 10 min */
};

/* Trying again at the same upstream. */
struct conf_retries {
    uint64_t attempts;      /* tries at it, 3 */
    int64_t backoff_ms;     /* first pause, 250 ms */
    int64_t backoff_max_ms; /* longest pause, 8 s */
    bool retry_ambiguous;   /* also when it may have been served, false */
};

/* Leaving a failing upstream alone, and each of its keys. */
struct conf_breaker {
    uint64_t failures; /* that open it, 5; 0: it is asked whatever it says */
    int64_t window_ms; /* within which they count, 30 s */
    int64_t open_ms;   /* before one probe is let through, 15 s */
};

/* Waiting for a place where max_in_flight requests are under way. */
struct conf_queue {
    uint64_t size;   /* that may wait, 256; 0: none */
    int64_t wait_ms; /* so long at most, 10 s */
};

/* What a check of an upstream looks at; none of it costs anything. */
enum conf_health_kind {
    CONF_HEALTH_CONNECT = 0, /* whether it can be connected to */
    CONF_HEALTH_MODELS,      /* whether it answers GET /models */
};

/* Checking an upstream now and then, besides what requests meet. */
struct conf_health {
    int64_t interval_ms; /* between two checks; 0: none */
    enum conf_health_kind kind;
};

/* How an upstream's certificate is judged. */
struct conf_up_tls {
    struct str ca;          /* PEM file or directory; empty = the system's */
    struct str server_name; /* expected name and SNI; empty = URL host */
    bool verify;            /* true */
};

/* One provider. */
struct conf_upstream {
    struct str name;                   /* unique; label of metrics and rows */
    struct conf_url url;               /* base_url, required */
    enum conf_dialect dialect;         /* openai */
    const struct secret *keys;         /* api_key or api_keys, rotated */
    size_t n_keys;                     /* 0 = no key is sent */
    struct str api_version;            /* azure only, 2024-10-21 */
    const struct conf_header *headers; /* added to every request */
    size_t n_headers;
    bool models_given;        /* false: ask the upstream's GET /models */
    const struct str *models; /* globs of what it serves */
    size_t n_models;
    struct conf_timeouts timeouts;
    struct conf_retries retries;
    struct conf_breaker breaker;
    uint64_t max_in_flight; /* requests at once, 0 = no limit */
    struct conf_queue queue;
    struct conf_health health;
    bool http2;          /* offer HTTP/2 by ALPN, false */
    struct secret proxy; /* URL, may hold a password; empty = none */
    struct conf_up_tls tls;
};

/* Bytes of an engine model's name: a Hugging Face id has at most so many. */
#define CONF_MODEL_NAME_MAX 96

/* Fewest tokens of a context: a short question and a word in answer. */
#define CONF_CONTEXT_MIN 16

/* Least of engine.prefix_store.size for each model that has a share of it. */
#define CONF_PREFIX_MIN_BYTES (16ULL << 20)

/* Default of conf.prices: it need not be there. */
#define CONF_PRICES_FILE "/etc/tollgate/prices.yaml"

/* One model of the built-in engine. */
struct conf_engine_model {
    struct str name;             /* unique among engine models */
    struct str path;             /* .gguf file or model directory */
    struct str device;           /* auto | cpu | cuda:N, auto */
    uint64_t context;            /* tokens, 0 = what the model says */
    uint64_t slots;              /* sequences at once, 0 = what is usual */
    enum conf_kv_dtype kv_dtype; /* auto */
    enum conf_weights weights;   /* auto */
    bool prefix_store;           /* keep its prefixes on disk, true */
};

/* The built-in engine. */
struct conf_engine {
    const struct conf_engine_model *models; /* none */
    size_t n_models;
    uint64_t prefix_size_bytes;           /* of all models, 8 GiB; 0 = off */
    enum conf_scope prefix_scope;         /* key */
    enum conf_admission prefix_admission; /* first */
    struct str prefix_dir;       /* empty = "prefix" in the state directory */
    uint64_t prefix_write_bytes; /* an hour and model, 0 = no limit */
    uint64_t prefix_epoch;       /* 0..2^32-1, 0; another: another store */
    struct str cuda_blas_dir;    /* empty = the usual places */
    uint64_t cuda_reserve_bytes; /* 0 = 5 % of the device, 512 MiB or more */
    bool deterministic;          /* false */
    uint64_t threads;            /* 0 = auto: one per core */
};

/* Where a route may send a request: exactly one of upstream and engine. */
struct conf_route_target {
    int upstream;     /* index into conf.upstreams, -1 = an engine model */
    int engine;       /* index into conf.engine.models, -1 = an upstream, or,
                       * where that is -1 too, a model that a restart loads */
    struct str model; /* name sent there; empty = the name the client sent */
    uint64_t weight;  /* share, 0..1000; 1. 0 = none */
    struct str upstream_name; /* as written, empty for an engine target */
    struct str engine_name;   /* as written, empty for an upstream target */
};

/* What clients may name as a model, and where it goes. */
struct conf_route {
    struct str model;                        /* name or glob */
    const struct conf_route_target *targets; /* at least one */
    size_t n_targets;
    enum conf_strategy strategy; /* weighted */
    const struct str *fallbacks; /* names of routes, none */
    size_t n_fallbacks;
    unsigned fallback_on;   /* bits of enum conf_fall, CONF_FALL_ERROR */
    int64_t hedge_after_ms; /* 0 = never */
    bool keep_given;        /* false: conf.cache.keep holds */
    enum conf_keep keep;    /* of its replies; see conf_keep_of() */
    bool ttl_given;         /* false: conf.cache.ttl_ms holds */
    int64_t ttl_ms;         /* of its replies; see conf_ttl_of() */
};

/* Recorded replies and shared flights. */
struct conf_cache {
    bool responses;                 /* responses.enabled, false */
    uint64_t size_bytes;            /* 1 GiB */
    int64_t ttl_ms;                 /* 1 h */
    enum conf_scope scope;          /* key */
    uint64_t max_entry_bytes;       /* 4 MiB */
    enum conf_keep keep;            /* deterministic */
    int64_t stale_if_error_ms;      /* after its time, when calls fail; 0 s */
    int64_t stale_while_refresh_ms; /* after its time, while it is asked for
                                     * anew; 0 s */
    bool coalesce;                  /* true */
    enum conf_charge charge;        /* none */
    bool exact_mode;          /* streams answer streams only, false: all */
    enum conf_pace pace;      /* instant */
    const struct str *ignore; /* paths of bodies that carry no meaning */
    size_t n_ignore;
};

/* Where the access log goes. */
enum conf_access_to {
    CONF_ACCESS_STDERR = 0,
    CONF_ACCESS_OFF,
    CONF_ACCESS_FILE,
};

/* Logging. */
struct conf_log {
    enum log_level level;          /* info */
    enum conf_log_format format;   /* json */
    struct str access;             /* stderr | off | /path, stderr */
    enum conf_access_to access_to; /* what <access> means */
};

/* Access by key. */
struct conf_auth {
    bool required;              /* true; false: everyone is "anonymous" */
    uint64_t failures_limit;    /* per address and window, 20; 0 = unlimited */
    int64_t failures_window_ms; /* 60 s */
};

/* One snapshot. Filled by the loaders, then never written again. */
struct conf {
    struct str file;                  /* where it came from; empty = built in */
    const struct conf_listen *listen; /* at least one */
    size_t n_listen;
    struct str state_dir;      /* /var/lib/tollgate, see conf_default() */
    struct str control_socket; /* path, see conf_load_file() */
    uint64_t workers;          /* event loops, 0 = auto: one per core */
    int64_t drain_timeout_ms;  /* open requests after SIGTERM, 30 s */
    struct conf_auth auth;
    struct conf_limits limits;
    struct conf_budgets budgets;
    struct conf_cors cors;
    enum conf_keepalive_mode keepalive; /* comment */
    int64_t keepalive_ms;               /* keepalive.interval, 10 s */
    int passthrough; /* index into upstreams; -1 = absent: other routes 404 */
    struct str passthrough_name;           /* as written */
    const struct conf_upstream *upstreams; /* none */
    size_t n_upstreams;
    struct conf_engine engine;
    bool routes_given; /* false: every model name a target serves */
    const struct conf_route *routes;
    size_t n_routes;
    struct conf_cache cache;
    struct str prices;        /* path of the price file, see conf_load_file() */
    bool prices_given;        /* prices is another than the default */
    struct conf_prices price; /* what that file holds */
    struct conf_addr metrics; /* AF_UNSPEC: main listener, loopback only */
    struct conf_log log;
    struct str otlp;     /* telemetry.otlp, URL. No effect yet */
    struct secret redis; /* cluster.redis, URL. No effect yet */
};

/* --- problems ----------------------------------------------------------- */

/* One mistake or warning. */
struct conf_problem {
    bool warning;     /* false: the file is refused */
    unsigned line;    /* from 1 */
    unsigned column;  /* from 1 */
    const char *text; /* "FILE:LINE:COL: [warning: ]what; what to write" */
};

/* What is wrong with one certificate or its key. */
struct conf_cert_fault {
    bool warning;  /* false: the file is refused */
    bool of_key;   /* of the private key, else of the certificate */
    char why[200]; /* "what is wrong; what to write", the path before it */
};

/* Most faults of one certificate. */
#define CONF_CERT_FAULTS 4

/* Bytes of the reason why an engine model is refused. */
#define CONF_MODEL_WHY 512

/* What a loader has to say, in the order of the file. Zeroed is empty. */
struct conf_report {
    /* Set by the caller, or NULL: looks into a certificate that is read
     * without CONF_OFFLINE, fills <faults> and returns how many. */
    size_t (*judge_cert)(const struct conf_cert *c,
                         struct conf_cert_fault faults[CONF_CERT_FAULTS]);
    /* Set by the caller, or NULL: looks into a model that is read without
     * CONF_OFFLINE; false with a sentence in <why> refuses it. */
    bool (*judge_model)(void *arg, const struct conf_engine_model *m,
                        char why[CONF_MODEL_WHY]);
    void *judge_arg;            /* borrowed: for judge_model */
    struct conf_problem *items; /* in <mem> */
    size_t n_items;
    size_t n_errors;   /* counted even past the cap on kept items */
    size_t n_warnings; /* likewise */
    struct arena *mem; /* owned; holds items and texts */
};

/* Free what <r> holds and zero it. */
void conf_report_fini(struct conf_report *r);

/* --- loading ------------------------------------------------------------ */

/* How to load. */
enum conf_load_flags {
    /* Look at no other file and no environment variable: secrets stay empty,
     * paths are not checked. Mistakes are told but refuse nothing, as long as
     * the text is YAML; what is mistaken has its default. For tollctl, which
     * needs the socket alone, to have the daemon tell of the mistakes. */
    CONF_OFFLINE = 1,
};

/* The file that `-c` <arg> (NULL if not given) leads to: <arg>, else
 * $TOLLGATE_CONFIG if set and not empty, else SYSCONFDIR/tollgate.yaml if it
 * exists, else NULL: the built-in default. Borrowed from its origin. */
const char *conf_find(const char *arg);

/* Read <path> into a new snapshot with one reference. <r> (zeroed by the
 * caller but for its functions) gets every mistake and warning, also on
 * success; free it with conf_report_fini(). control_socket, when not set, is
 * STATE_DIR/control.sock if the file sets state_dir, else
 * /run/tollgate/control.sock. The price file, when none is given, may be
 * absent: SYSCONFDIR/prices.yaml if it exists, else the default; its mistakes
 * are mistakes here. ERR_IO: unreadable; ERR_SYNTAX: at least one
 * mistake is in <r>; ERR_NOMEM. */
enum err conf_load_file(const char *path, unsigned flags, struct conf_report *r,
                        struct conf **out) MUST_CHECK;

/* As conf_load_file() from memory; <name> stands for the file in messages. */
enum err conf_load_text(const char *name, struct str text, unsigned flags,
                        struct conf_report *r, struct conf **out) MUST_CHECK;

/* The built-in default: listen on 127.0.0.1:4141, state under
 * ${XDG_STATE_HOME:-$HOME/.local/state}/tollgate with the control socket in
 * it, auth on, no upstream, and the engine model "demo" if its file is there:
 * $TOLLGATE_DEMO_MODEL, else DATADIR/demo.gguf, else etc/demo.gguf of the
 * sources that the program was built from. ERR_SYNTAX with a line in <r> when
 * neither variable is an absolute path. */
enum err conf_default(struct conf_report *r, struct conf **out) MUST_CHECK;

/* conf_find() and then the loader that fits. */
enum err conf_load(const char *arg, unsigned flags, struct conf_report *r,
                   struct conf **out) MUST_CHECK;

/* Give <fresh>, which nobody else has yet, the engine of <running>, whose
 * models stay until a restart; a route's target on a model that does not run
 * has neither an upstream nor an engine then. */
void conf_keep_engine(struct conf *fresh, struct conf *running);

/* Give <fresh>, which nobody else has yet, what of the response cache of
 * <running> stays until a restart: whether there is one, and its size. */
void conf_keep_cache(struct conf *fresh, const struct conf *running);

/* One more reference; returns <c>. Any thread. */
struct conf *conf_ref(struct conf *c);

/* Drop a reference; the last one frees the snapshot and wipes its secrets.
 * NULL is fine. Any thread. */
void conf_unref(struct conf *c);

/* --- looking things up -------------------------------------------------- */

/* Index of the upstream called <name>, -1 if there is none. */
int conf_upstream_find(const struct conf *c, struct str name);

/* Bytes of conf_prefix_root(), with its NUL. */
#define CONF_PREFIX_ROOT_BYTES 4200

/* The directory of stored prefixes: engine.prefix_store.dir, or "prefix" in the
 * state directory. */
void conf_prefix_root(const struct conf *c, char out[CONF_PREFIX_ROOT_BYTES]);

/* The first route whose glob matches <model>, an exact name before any glob;
 * NULL if there is none. */
const struct conf_route *conf_route_find(const struct conf *c,
                                         struct str model);

/* The rule of <c> for replies of <r>, NULL for what has no route. */
static inline enum conf_keep conf_keep_of(const struct conf *c,
                                          const struct conf_route *r)
{
    return r && r->keep_given ? r->keep : c->cache.keep;
}

/* How long they are served, in ms. */
static inline int64_t conf_ttl_of(const struct conf *c,
                                  const struct conf_route *r)
{
    return r && r->ttl_given ? r->ttl_ms : c->cache.ttl_ms;
}

/* Whether one of the globs of <u> matches <model>; false when models_given
 * is false (what it serves is then known only to the upstream). */
bool conf_upstream_serves(const struct conf_upstream *u, struct str model);

/* --- showing ------------------------------------------------------------ */

/* Append the whole snapshot to <b> as YAML that loads again. A secret prints
 * as its source (env:NAME, file:/path), or as "***" if it has none. */
enum err conf_print(const struct conf *c, struct buf *b) MUST_CHECK;

/* Append the option table to <b>, one key a line, fields split by tabs: path,
 * type, default, example, flags ("restart", "later", "required"; "-" none),
 * help. For tools and for the checks of the documents. */
enum err conf_describe(struct buf *b) MUST_CHECK;

/* One changed key. */
struct conf_change {
    const char *key; /* "upstreams[openai].timeouts.total" */
    bool restart;    /* true: holds only after a restart */
};

/* What differs between two snapshots. Zeroed is empty. */
struct conf_changes {
    struct conf_change *items;
    size_t n_items;
    size_t n_restart;  /* how many need a restart */
    struct arena *mem; /* owned; holds items and keys */
};

/* List what differs from <a> to <b> into <out> (zeroed by the caller; free
 * with conf_changes_fini()). Values are not told, secrets are compared. */
enum err conf_diff(const struct conf *a, const struct conf *b,
                   struct conf_changes *out) MUST_CHECK;

/* Free what <ch> holds and zero it. */
void conf_changes_fini(struct conf_changes *ch);

#endif
