/* conf_table.c - Every key of the configuration, one row each: the only place
 * where a name, default or range is decided. etc/tollgate.yaml and the man
 * page are checked against it. */
#include "conf/conf_table.h"

#include "conf/conf.h"

#define SEC  1000LL
#define MIN  (60 * SEC)
#define HOUR (60 * MIN)
#define DAY  (24 * HOUR)
#define KIB  1024LL
#define MIB  (1024 * KIB)
#define GIB  (1024 * MIB)
#define TIB  (1024 * GIB)

static const char *const keepalive_names[] = {"comment", "chunk", "off", NULL};
static const char *const dialect_names[] = {"openai", "azure", "anthropic",
                                            NULL};
static const char *const health_names[] = {"connect", "models", NULL};
static const char *const strategy_names[] = {"weighted", "least_in_flight",
                                             "latency", "prefix", NULL};
static const char *const fall_names[] = {"error", "context_length",
                                         "content_filter", NULL};
static const char *const scope_names[] = {"key", "team", "shared", NULL};
static const char *const keep_names[] = {"never", "deterministic", "always",
                                         NULL};
static const char *const charge_names[] = {"none", "full", NULL};
static const char *const pace_names[] = {"instant", "recorded", NULL};
static const char *const admission_names[] = {"first", "second", "auto", NULL};
static const char *const kv_names[] = {"auto", "f32", "f16", "bf16",
                                       "q8",   "fp8", NULL};
static const char *const weights_names[] = {"auto", "fp8", NULL};
static const char *const level_names[] = {"err",  "warn",  "note",
                                          "info", "debug", NULL};
static const char *const format_names[] = {"json", "text", NULL};

/* Where a value lies; A for arrays: pointer, count, most elements. */
#define C(f)        .off = offsetof(struct conf, f)
#define L(f)        .off = offsetof(struct conf_listen, f)
#define T(f)        .off = offsetof(struct conf_cert, f)
#define U(f)        .off = offsetof(struct conf_upstream, f)
#define E(f)        .off = offsetof(struct conf_engine_model, f)
#define R(f)        .off = offsetof(struct conf_route, f)
#define G(f)        .off = offsetof(struct conf_route_target, f)
#define N(s, f)     .off_n = offsetof(struct s, f)
#define GIVEN(s, f) .off_given = offsetof(struct s, f)
#define IN(lo, hi)  .min = (lo), .max = (hi)

/* What tells who asks or how the provider should keep it, not what for. */
#define IGNORED                                                                \
    "[user, metadata, client_metadata, prompt_cache_key, safety_identifier, "  \
    "\"input[].id\", \"system[x-anthropic-billing-header]\"]"

/* clang-format off */
const struct opt conf_opts[] = {
{"listen", OPT_LIST, OPT_RESTART, C(listen), N(conf, n_listen), IN(1, 64),
 .size = sizeof(struct conf_listen), .example = "[{address: 127.0.0.1:4141}]",
 .help = "sockets to listen on"},
{"listen[].address", OPT_ADDRESS, OPT_RESTART, L(address),
 .def = "127.0.0.1:4141",
 .help = "IP:PORT, [IPV6]:PORT or unix:/PATH; port 0 takes any free one"},
{"listen[].mode", OPT_MODE, OPT_RESTART, L(mode), .def = "0660",
 .help = "file mode of a unix socket, octal"},
{"listen[].tls", OPT_LIST, OPT_ONE, L(tls),
 N(conf_listen, n_tls), IN(0, 64), .size = sizeof(struct conf_cert),
 .example = "{cert: /path/chain.pem, key: /path/key.pem}",
 .help = "certificate, or a list of several; absent = plain HTTP"},
{"listen[].tls[].cert", OPT_PATH, OPT_REQUIRED, T(cert),
 .example = "/path/chain.pem", .help = "PEM certificate chain, leaf first"},
{"listen[].tls[].key", OPT_PATH, OPT_REQUIRED, T(key),
 .example = "/path/key.pem", .help = "PEM private key of that certificate"},
{"listen[].tls[].names", OPT_HOSTS, 0, T(names), N(conf_cert, n_names),
 IN(0, 256), .example = "[api.example.com, \"*.example.org\"]",
 .help = "server names it is for; absent = those inside the certificate"},
{"state_dir", OPT_PATH, OPT_RESTART, C(state_dir), .def = "/var/lib/tollgate",
 .help = "directory of the ledger, journal and caches"},
{"control_socket", OPT_PATH, OPT_RESTART, C(control_socket),
 .def = "/run/tollgate/control.sock",
 .help = "socket of tollctl; with state_dir set, STATE/control.sock"},
{"workers", OPT_COUNT, OPT_RESTART | OPT_AUTO, C(workers),
 IN(1, CONF_WORKERS_MAX), .def = "auto", .help = "event loops; auto = one per core"},
{"drain_timeout", OPT_DURATION, 0, C(drain_timeout_ms), IN(0, DAY),
 .def = "30s", .help = "how long open requests may take after SIGTERM"},

{"auth", OPT_MAP, .help = "who may send requests"},
{"auth.required", OPT_BOOL, 0, C(auth.required), .def = "true",
 .help = "ask for a key; false: everyone is the key \"anonymous\""},
{"auth.failures", OPT_MAP, .help = "throttle of wrong keys, per address"},
{"auth.failures.limit", OPT_COUNT, 0, C(auth.failures_limit), IN(0, 1000000),
 .def = "20", .help = "wrong keys within the window; 0 = no throttle"},
{"auth.failures.window", OPT_DURATION, 0, C(auth.failures_window_ms),
 IN(SEC, DAY), .def = "60s", .help = "time over which they count"},

{"limits", OPT_MAP, .help = "bounds on what clients may take"},
{"limits.body", OPT_SIZE, 0, C(limits.body_bytes), IN(1 * KIB, TIB),
 .def = "64MiB", .help = "largest request body"},
{"limits.header_timeout", OPT_DURATION, 0, C(limits.header_timeout_ms),
 IN(100, HOUR), .def = "10s",
 .help = "first byte of a request (or a new connection) to the end of its "
         "header"},
{"limits.idle_timeout", OPT_DURATION, 0, C(limits.idle_timeout_ms),
 IN(100, DAY), .def = "75s", .help = "between requests of a connection"},
{"limits.connections", OPT_COUNT, 0, C(limits.connections), IN(1, 10000000),
 .def = "20000", .help = "open client connections"},
{"limits.connections_per_address", OPT_COUNT, 0,
 C(limits.connections_per_address), IN(0, 10000000), .def = "0",
 .help = "of them from one IP address (IPv6: one /64); 0 = no limit"},
{"limits.start_wait", OPT_DURATION, 0, C(limits.start_wait_ms), IN(0, HOUR),
 .def = "2s",
 .help = "how long a request may wait to begin; 503 after it; 0 = for ever"},
{"limits.memory", OPT_SIZE, 0, C(limits.memory_bytes), IN(0, 64 * TIB),
 .def = "0",
 .help = "memory at which requests are refused; 0 = by the process's own limits"},
{"limits.half_close", OPT_BOOL, 0, C(limits.half_close), .def = "false",
 .help = "serve a client that shuts its sending side; false: it has left"},
{"limits.header_bytes", OPT_SIZE, 0, C(limits.header_bytes),
 IN(1 * KIB, 1 * MIB), .def = "32KiB",
 .help = "largest request line and header together"},
{"limits.body_min_rate", OPT_RATE, 0, C(limits.body_min_rate_bps),
 IN(0, GIB), .def = "1KiB/s", .help = "slowest request body; 0 = any"},
{"limits.body_grace", OPT_DURATION, 0, C(limits.body_grace_ms), IN(0, HOUR),
 .def = "10s", .help = "before body_min_rate counts"},
{"limits.write_stall", OPT_DURATION, 0, C(limits.write_stall_ms), IN(0, DAY),
 .def = "60s", .help = "a client that reads nothing is cut; 0 = never"},
{"limits.max_buffered", OPT_SIZE, 0, C(limits.max_buffered_bytes),
 IN(1 * MIB, 64 * TIB), .def = "1GiB",
 .help = "memory for all request bodies together"},

{"budgets", OPT_MAP, .help = "how hard budgets are kept"},
{"budgets.min_output", OPT_COUNT, 0, C(budgets.min_output), IN(1, 1000000),
 .def = "64",
 .help = "tokens: the smallest cap that a budget's end lowers a request to"},
{"budgets.default_output", OPT_COUNT, 0, C(budgets.default_output),
 IN(1, 100000000), .def = "4096",
 .help = "tokens: the cap of requests that name none"},
{"budgets.stream_hold", OPT_COUNT, 0, C(budgets.stream_hold),
 IN(16, 100000000), .def = "4096",
 .help = "output tokens that are held ahead of a stream"},
{"budgets.wait", OPT_DURATION, 0, C(budgets.wait_ms), IN(0, HOUR),
 .def = "10s", .help = "how long to wait for what others under way hold"},
{"budgets.drain", OPT_DURATION, 0, C(budgets.drain_ms), IN(0, MIN),
 .def = "2s",
 .help = "reading on for the usage when the client has left"},
{"budgets.media_tokens", OPT_COUNT, 0, C(budgets.media_tokens),
 IN(0, 100000000), .def = "0",
 .help = "tokens that a picture or file counts; 0 = it is refused"},
{"budgets.allow_fields", OPT_GLOBS, 0, C(budgets.allow_fields),
 N(conf, budgets.n_allow_fields), IN(0, 1000), .def = "[]",
 .example = "[vendor_hint]",
 .help = "further members of bodies that cost nothing"},

{"cors", OPT_MAP, .help = "requests from web pages of other origins"},
{"cors.origins", OPT_ORIGINS, 0, C(cors.origins), N(conf, cors.n_origins),
 IN(0, 256), .def = "[]",
 .help = "[\"*\"] or a list; preflights are answered without a key"},

{"keepalive", OPT_MAP, .help = "what keeps a silent stream alive"},
{"keepalive.mode", OPT_ENUM, 0, C(keepalive), .names = keepalive_names,
 .def = "comment", .help = "an SSE comment, an empty chunk, or nothing"},
{"keepalive.interval", OPT_DURATION, 0, C(keepalive_ms), IN(100, HOUR),
 .def = "10s", .help = "silence before one is sent"},

{"passthrough", OPT_NAME, 0, C(passthrough_name), .example = "openai",
 .help = "upstream of every route tollgate does not know; absent = 404"},

{"upstreams", OPT_LIST, 0, C(upstreams), N(conf, n_upstreams), IN(0, 1000),
 .size = sizeof(struct conf_upstream),
 .example = "[{name: openai, base_url: \"https://api.openai.com/v1\"}]",
 .help = "providers to send requests to"},
{"upstreams[].name", OPT_NAME, OPT_REQUIRED, U(name), .example = "openai",
 .help = "name in routes, metrics and logs"},
{"upstreams[].base_url", OPT_BASE_URL, OPT_REQUIRED, U(url),
 .example = "https://api.openai.com/v1",
 .help = "where its API begins, mostly ending in /v1"},
{"upstreams[].api_key", OPT_SECRET, 0, U(keys), N(conf_upstream, n_keys),
 IN(1, 1), .example = "env:OPENAI_API_KEY",
 .help = "key to send: env:NAME or file:/path; absent = none"},
{"upstreams[].api_keys", OPT_SECRETS, 0, U(keys), N(conf_upstream, n_keys),
 IN(1, 256), .example = "[env:OPENAI_KEY_1, env:OPENAI_KEY_2]",
 .help = "instead of api_key: several, rotated"},
{"upstreams[].dialect", OPT_ENUM, 0, U(dialect), .names = dialect_names,
 .def = "openai", .help = "API it speaks"},
{"upstreams[].api_version", OPT_NAME, 0, U(api_version), .def = "2024-10-21",
 .help = "api-version of dialect azure, if the client sends none"},
{"upstreams[].headers", OPT_HEADERS, 0, U(headers),
 N(conf_upstream, n_headers), IN(0, 64), .def = "{}",
 .example = "{OpenAI-Organization: org-1}",
 .help = "added to each request; env: and file: work here too"},
{"upstreams[].models", OPT_GLOBS, 0, U(models), N(conf_upstream, n_models),
 GIVEN(conf_upstream, models_given), IN(0, 10000),
 .example = "[gpt-5*, text-embedding-*]",
 .help = "model names it serves, globs; absent = ask its GET /models"},
{"upstreams[].timeouts", OPT_MAP, .help = "deadlines of one request"},
{"upstreams[].timeouts.connect", OPT_DURATION, 0, U(timeouts.connect_ms),
 IN(1, HOUR), .def = "5s", .help = "TCP and TLS handshakes"},
{"upstreams[].timeouts.first_byte", OPT_DURATION, 0,
 U(timeouts.first_byte_ms), IN(0, DAY), .def = "120s",
 .help = "request sent to first byte of the reply; 0 = no limit"},
{"upstreams[].timeouts.idle", OPT_DURATION, 0, U(timeouts.idle_ms),
 IN(0, DAY), .def = "60s", .help = "between bytes of the reply; 0 = no limit"},
{"upstreams[].timeouts.total", OPT_DURATION, 0, U(timeouts.total_ms),
 IN(0, 30 * DAY), .def = "10m", .help = "all of it; 0 = no limit"},
{"upstreams[].retries", OPT_MAP, 0, .help = "trying again"},
{"upstreams[].retries.attempts", OPT_COUNT, 0, U(retries.attempts),
 IN(1, 10), .def = "3", .help = "tries at this upstream"},
{"upstreams[].retries.backoff", OPT_DURATION, 0, U(retries.backoff_ms),
 IN(0, MIN), .def = "250ms", .help = "bound of the first pause, doubled each time"},
{"upstreams[].retries.backoff_max", OPT_DURATION, 0,
 U(retries.backoff_max_ms), IN(0, HOUR), .def = "8s",
 .help = "longest of these bounds"},
{"upstreams[].retries.retry_ambiguous", OPT_BOOL, 0,
 U(retries.retry_ambiguous), .def = "false",
 .help = "also after a break that may have been served"},
{"upstreams[].breaker", OPT_MAP, 0,
 .help = "leaving a failing upstream alone"},
{"upstreams[].breaker.failures", OPT_COUNT, 0, U(breaker.failures),
 IN(0, 1000000), .def = "5",
 .help = "failures that open it; 0 = it is never left alone"},
{"upstreams[].breaker.window", OPT_DURATION, 0, U(breaker.window_ms),
 IN(SEC, DAY), .def = "30s", .help = "time over which they count"},
{"upstreams[].breaker.open", OPT_DURATION, 0, U(breaker.open_ms),
 IN(100, DAY), .def = "15s", .help = "pause before a probe is let through"},
{"upstreams[].max_in_flight", OPT_COUNT, 0, U(max_in_flight),
 IN(0, 1000000), .def = "0", .help = "requests at once; 0 = no limit"},
{"upstreams[].queue", OPT_MAP, 0,
 .help = "waiting where max_in_flight requests are under way"},
{"upstreams[].queue.size", OPT_COUNT, 0, U(queue.size), IN(0, 100000),
 .def = "256", .help = "requests that may wait; 0 = none"},
{"upstreams[].queue.wait", OPT_DURATION, 0, U(queue.wait_ms), IN(0, HOUR),
 .def = "10s", .help = "longest wait"},
{"upstreams[].health", OPT_MAP, 0,
 .help = "checks besides what requests meet; none of them costs anything"},
{"upstreams[].health.interval", OPT_DURATION, 0, U(health.interval_ms),
 IN(0, DAY), .def = "0s", .help = "time between two; 0 = none"},
{"upstreams[].health.kind", OPT_ENUM, 0, U(health.kind),
 .names = health_names, .def = "connect",
 .help = "whether it can be connected to, or answers GET /models"},
{"upstreams[].http2", OPT_BOOL, 0, U(http2), .def = "false",
 .help = "offer HTTP/2; experimental"},
{"upstreams[].proxy", OPT_PROXY, OPT_EMPTY, U(proxy), .def = "\"\"",
 .example = "socks5://127.0.0.1:1080",
 .help = "http://, https://, socks5:// or socks5h:// proxy to go through"},
{"upstreams[].tls", OPT_MAP, .help = "how its certificate is judged"},
{"upstreams[].tls.ca", OPT_PATH, OPT_EMPTY, U(tls.ca), .def = "\"\"",
 .example = "/etc/ssl/private-ca.pem",
 .help = "PEM file or directory of authorities; empty = the system's"},
{"upstreams[].tls.verify", OPT_BOOL, 0, U(tls.verify), .def = "true",
 .help = "check it; false is for tests only"},
{"upstreams[].tls.server_name", OPT_HOST, OPT_EMPTY, U(tls.server_name),
 .def = "\"\"", .example = "api.example.com",
 .help = "name to ask for and expect; empty = host of base_url"},

{"engine", OPT_MAP, .help = "the built-in engine"},
{"engine.models", OPT_LIST, OPT_RESTART, C(engine.models), N(conf, engine.n_models),
 IN(0, 64), .size = sizeof(struct conf_engine_model),
 .example = "[{name: demo, path: /usr/share/tollgate/demo.gguf}]",
 .help = "models it serves"},
{"engine.models[].name", OPT_MODEL, OPT_REQUIRED | OPT_RESTART, E(name), .example = "demo",
 .help = "name in routes, metrics and logs"},
{"engine.models[].path", OPT_WEIGHTS, OPT_REQUIRED | OPT_RESTART, E(path),
 .example = "/usr/share/tollgate/demo.gguf",
 .help = "GGUF file, or directory with *.safetensors"},
{"engine.models[].device", OPT_DEVICE, OPT_RESTART, E(device), .def = "auto",
 .help = "auto, cpu, cuda:N, cuda:N,M or cuda:*; auto = a GPU, if any"},
{"engine.models[].context", OPT_COUNT, OPT_RESTART, E(context), IN(0, 16777216),
 .def = "0", .help = "tokens, 16 or more; 0 = what the model says"},
{"engine.models[].slots", OPT_COUNT, OPT_RESTART, E(slots), IN(0, 4096), .def = "0",
 .help = "sequences at once; 0 = 16, on a GPU 64; memory may bound them"},
{"engine.models[].kv_dtype", OPT_ENUM, OPT_RESTART, E(kv_dtype), .names = kv_names,
 .def = "auto", .help = "element type of keys and values; auto = f16; f32 only on cpu"},
{"engine.models[].weights", OPT_ENUM, OPT_RESTART, E(weights), .names = weights_names,
 .def = "auto", .help = "auto = as the file has them; fp8: floats in 8 bits, on a GPU"},
{"engine.models[].prefix_store", OPT_BOOL, OPT_RESTART, E(prefix_store), .def = "true",
 .help = "keep prefixes of this model on disk"},
{"engine.prefix_store", OPT_MAP, .help = "prefixes of prompts kept for reuse"},
{"engine.prefix_store.size", OPT_SIZE, OPT_RESTART, C(engine.prefix_size_bytes),
 IN(0, 1024 * TIB), .def = "8GiB",
 .help = "disk space for them, 16MiB or more a model; 0 = none are kept"},
{"engine.prefix_store.scope", OPT_ENUM, OPT_RESTART, C(engine.prefix_scope),
 .names = scope_names, .def = "key", .help = "who shares them"},
{"engine.prefix_store.admission", OPT_ENUM, OPT_RESTART, C(engine.prefix_admission),
 .names = admission_names, .def = "first",
 .help = "kept when seen for the first or the second time, or as it pays"},
{"engine.prefix_store.dir", OPT_PATH, OPT_RESTART | OPT_EMPTY, C(engine.prefix_dir),
 .def = "\"\"", .example = "/var/cache/tollgate/prefix",
 .help = "where they are; empty = prefix in state_dir; daemons may share one"},
{"engine.prefix_store.write_per_hour", OPT_SIZE, OPT_RESTART,
 C(engine.prefix_write_bytes), IN(0, 1024 * TIB), .def = "0",
 .help = "written to disk an hour at most, of each model; 0 = no limit"},
{"engine.prefix_store.epoch", OPT_COUNT, OPT_RESTART, C(engine.prefix_epoch),
 IN(0, UINT32_MAX), .def = "0",
 .help = "another number begins an empty store and leaves the old one behind"},
{"engine.cuda", OPT_MAP, .help = "models on NVIDIA GPUs"},
{"engine.cuda.blas_dir", OPT_PATH, OPT_RESTART | OPT_EMPTY, C(engine.cuda_blas_dir),
 .def = "\"\"", .example = "/usr/local/cuda/lib64",
 .help = "folder of libcublasLt.so.13 or .12; empty = the usual places"},
{"engine.cuda.reserve", OPT_SIZE, OPT_RESTART, C(engine.cuda_reserve_bytes),
 IN(0, 1024 * TIB), .def = "0",
 .help = "device memory left alone; 0 = 5 %, 512MiB or more"},
{"engine.deterministic", OPT_BOOL, OPT_RESTART, C(engine.deterministic), .def = "false",
 .help = "no answer depends on what else runs, on GPUs too; slower there"},
{"engine.threads", OPT_COUNT, OPT_AUTO | OPT_RESTART, C(engine.threads), IN(1, 1024),
 .def = "auto", .help = "compute threads; auto = one per core"},

{"routes", OPT_LIST, 0, C(routes), N(conf, n_routes),
 GIVEN(conf, routes_given), IN(0, 5000), .size = sizeof(struct conf_route),
 .example = "[{model: fast, targets: [{upstream: openai}]}]",
 .help = "where models go; absent = every model name a target serves"},
{"routes[].model", OPT_GLOB, OPT_REQUIRED, R(model), .example = "fast",
 .help = "what clients send; a glob is allowed"},
{"routes[].targets", OPT_LIST, OPT_REQUIRED, R(targets),
 N(conf_route, n_targets), IN(1, 64),
 .size = sizeof(struct conf_route_target),
 .example = "[{upstream: openai, model: gpt-5-mini}]",
 .help = "who may answer"},
{"routes[].targets[].upstream", OPT_NAME, 0, G(upstream_name),
 .example = "openai", .help = "name of an upstream"},
{"routes[].targets[].engine", OPT_MODEL, 0, G(engine_name),
 .example = "demo", .help = "instead of upstream: name of an engine model"},
{"routes[].targets[].model", OPT_TEXT, 0, G(model), .example = "gpt-5-mini",
 .help = "name sent there; absent = the one the client sent"},
{"routes[].targets[].weight", OPT_COUNT, 0, G(weight), IN(0, 1000),
 .def = "1", .help = "share of the requests; 0 = none"},
{"routes[].strategy", OPT_ENUM, 0, R(strategy), .names = strategy_names,
 .def = "weighted", .help = "how a target is picked"},
{"routes[].fallbacks", OPT_STRS, 0, R(fallbacks),
 N(conf_route, n_fallbacks), IN(0, 16), .def = "[]", .example = "[smart]",
 .help = "routes tried when all targets fail"},
{"routes[].fallback_on", OPT_SET, 0, R(fallback_on),
 .names = fall_names, .def = "[error]",
 .help = "what makes a request go to a fallback"},
{"routes[].hedge_after", OPT_DURATION, 0, R(hedge_after_ms),
 IN(0, HOUR), .def = "0s",
 .help = "a second try beside a first one that is silent so long; 0 = never"},

{"routes[].cache", OPT_ENUM, 0, R(keep), GIVEN(conf_route, keep_given),
 .names = keep_names, .example = "always",
 .help = "whose replies are kept; absent = cache.responses.keep"},
{"routes[].cache_ttl", OPT_DURATION, 0, R(ttl_ms),
 GIVEN(conf_route, ttl_given), IN(SEC, 3650 * DAY), .example = "10m",
 .help = "how long one is served; absent = cache.responses.ttl"},

{"cache", OPT_MAP, .help = "stored replies"},
{"cache.responses", OPT_MAP, .help = "exact repeats of a request"},
{"cache.responses.enabled", OPT_BOOL, OPT_RESTART, C(cache.responses),
 .def = "false", .help = "keep replies and serve them again"},
{"cache.responses.size", OPT_SIZE, OPT_RESTART, C(cache.size_bytes),
 IN(MIB, 1024 * TIB), .def = "1GiB", .help = "disk space for them"},
{"cache.responses.ttl", OPT_DURATION, 0, C(cache.ttl_ms), IN(SEC, 3650 * DAY),
 .def = "1h", .help = "how long one is served"},
{"cache.responses.scope", OPT_ENUM, 0, C(cache.scope), .names = scope_names,
 .def = "key", .help = "who shares them"},
{"cache.responses.max_entry", OPT_SIZE, 0, C(cache.max_entry_bytes),
 IN(KIB, GIB), .def = "4MiB", .help = "largest reply kept"},
{"cache.responses.keep", OPT_ENUM, 0, C(cache.keep), .names = keep_names,
 .def = "deterministic",
 .help = "whose replies are kept: never, deterministic or always"},
{"cache.responses.stale_if_error", OPT_DURATION, 0, C(cache.stale_if_error_ms),
 IN(0, 3650 * DAY), .def = "0s",
 .help = "served so long after its time when nobody else answers"},
{"cache.responses.stale_while_revalidate", OPT_DURATION, 0,
 C(cache.stale_while_refresh_ms), IN(0, 3650 * DAY), .def = "0s",
 .help = "served so long after its time while it is asked for anew"},
{"cache.coalesce", OPT_BOOL, 0, C(cache.coalesce), .def = "true",
 .help = "identical requests in flight share one upstream call"},
{"cache.charge", OPT_ENUM, 0, C(cache.charge), .names = charge_names,
 .def = "none", .help = "what such a reply costs who gets it: none or full"},
{"cache.exact_mode", OPT_BOOL, 0, C(cache.exact_mode), .def = "false",
 .help = "a stored stream answers streams only, a plain reply plain ones"},
{"cache.pace", OPT_ENUM, 0, C(cache.pace), .names = pace_names,
 .def = "instant", .help = "how fast a stored stream is sent: instant or recorded"},
{"cache.ignore", OPT_STRS, 0, C(cache.ignore), N(conf, cache.n_ignore),
 IN(0, 60), .def = IGNORED,
 .help = "members of bodies that carry no meaning for the answer"},

{"prices", OPT_PATH, 0, C(prices),
 .def = CONF_PRICES_FILE, .help = "file of USD per million tokens"},
{"metrics", OPT_MAP, .help = "Prometheus metrics"},
{"metrics.address", OPT_ADDRESS, OPT_RESTART | OPT_EMPTY, C(metrics),
 .example = "127.0.0.1:4142",
 .help = "where /metrics is; absent = main listener, loopback peers only"},
{"log", OPT_MAP, .help = "logs"},
{"log.level", OPT_ENUM, 0, C(log.level), .names = level_names, .def = "info",
 .help = "least urgent lines that are written"},
{"log.access", OPT_ACCESS, 0, C(log.access), .def = "stderr",
 .help = "one line per request: stderr, off or a file"},
{"log.format", OPT_ENUM, 0, C(log.format), .names = format_names,
 .def = "json", .help = "shape of the daemon's own lines: json or text"},
{"telemetry", OPT_MAP, OPT_LATER, .help = "OpenTelemetry"},
{"telemetry.otlp", OPT_HTTP_URL, OPT_EMPTY, C(otlp), .def = "\"\"",
 .example = "http://collector:4318", .help = "OTLP/HTTP collector"},
{"cluster", OPT_MAP, OPT_LATER, .help = "several nodes as one"},
{"cluster.redis", OPT_REDIS, OPT_EMPTY, C(redis), .def = "\"\"",
 .example = "redis://127.0.0.1:6379", .help = "what the nodes share"},
};
/* clang-format on */

const size_t conf_opts_count = sizeof(conf_opts) / sizeof(conf_opts[0]);

static const char *const type_names[OPT_TYPE_COUNT] = {
    [OPT_MAP] = "mapping",
    [OPT_LIST] = "list of mappings",
    [OPT_BOOL] = "boolean",
    [OPT_COUNT] = "number",
    [OPT_DURATION] = "duration",
    [OPT_SIZE] = "size",
    [OPT_RATE] = "rate",
    [OPT_MODE] = "mode",
    [OPT_ENUM] = "choice",
    [OPT_SET] = "list of choices",
    [OPT_NAME] = "name",
    [OPT_MODEL] = "model name",
    [OPT_TEXT] = "string",
    [OPT_GLOB] = "glob",
    [OPT_HOST] = "host name",
    [OPT_PATH] = "path",
    [OPT_WEIGHTS] = "path",
    [OPT_ACCESS] = "log target",
    [OPT_DEVICE] = "device",
    [OPT_HTTP_URL] = "URL",
    [OPT_ADDRESS] = "address",
    [OPT_BASE_URL] = "URL",
    [OPT_SECRET] = "secret",
    [OPT_SECRETS] = "list of secrets",
    [OPT_PROXY] = "proxy URL",
    [OPT_REDIS] = "redis URL",
    [OPT_GLOBS] = "list of globs",
    [OPT_STRS] = "list of strings",
    [OPT_ORIGINS] = "list of origins",
    [OPT_HOSTS] = "list of host names",
    [OPT_HEADERS] = "mapping of headers",
};

const char *opt_type_name(enum opt_type t)
{
    return type_names[t];
}

const char *opt_leaf(const struct opt *o)
{
    const char *dot = strrchr(o->path, '.');

    return dot ? dot + 1 : o->path;
}

bool opt_is_child(const struct opt *o, const struct opt *parent)
{
    size_t n = 0;

    if (parent) {
        const char *joint = parent->type == OPT_LIST ? "[]." : ".";

        n = strlen(parent->path);
        if (strncmp(o->path, parent->path, n) != 0 ||
            strncmp(o->path + n, joint, strlen(joint)) != 0)
            return false;
        n += strlen(joint);
    }
    return strchr(o->path + n, '.') == NULL;
}

bool opt_is_later(const struct opt *o)
{
    for (size_t i = 0; i < conf_opts_count; i++) {
        const struct opt *up = &conf_opts[i];
        size_t n = strlen(up->path);

        if ((up->flags & OPT_LATER) && strncmp(o->path, up->path, n) == 0 &&
            (o->path[n] == '\0' || o->path[n] == '.' || o->path[n] == '['))
            return true;
    }
    return false;
}

const struct opt *opt_find(const char *path)
{
    for (size_t i = 0; i < conf_opts_count; i++)
        if (strcmp(conf_opts[i].path, path) == 0)
            return &conf_opts[i];
    return NULL;
}
