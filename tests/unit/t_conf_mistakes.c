/* t_conf_mistakes.c - Every mistake is told where it stands, with what to
 * write instead; several mistakes are all told; hostile text is refused. */
#include "conf/conf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

/* One text and the one problem it must give. */
struct mistake {
    const char *text;
    const char *says; /* start of the line, after "F:" */
};

#define UP      "upstreams: [{name: a, base_url: 'https://h/v1'"
#define U(x)    UP ", " x "}]"
#define C50     "cccccccccccccccccccccccccccccccccccccccccccccccccc"
#define LONG(k) k ": /" C50 "/" C50 "/abcdef"
#define EM      "engine: {models: [{name: a, path: /m"

static const struct mistake mistakes[] = {
    /* keys */
    {"stat_dir: /x", "1:1: unknown key stat_dir; write state_dir"},
    {"limits:\n  bdy: 1KiB", "2:3: unknown key bdy in limits; write body"},
    {"limits: {idle-timeout: 1s}",
     "1:10: unknown key idle-timeout in limits; write idle_timeout"},
    {"body: 1KiB", "1:1: unknown key body; it belongs at limits.body"},
    {"zzzzzz: 1", "1:1: unknown key zzzzzz; remove it"},
    {U("timeouts: {conect: 1s}"), "1:60: unknown key conect in "
                                  "upstreams[].timeouts; write connect"},
    {"workers: 1\nworkers: 2",
     "2:1: workers is set twice, first in line 1; remove"},
    {"limits: {body: 1KiB, body: 2KiB}", "1:22: body is set twice"},
    {"[a]: 1", "1:1: a key must be a word"},
    {"{a: 1}: 1", "1:1: a key must be a word"},
    {"? \n: 1", "1:2: a key must be a word"},
    {UP ", name: b}]", "1:49: name is set twice"},
    {"<<: {workers: 1}", "1:1: merge keys are not supported"},
    /* shapes */
    {"hello", "1:1: the file must hold KEY: VALUE lines"},
    {"- a", "1:1: the file must hold KEY: VALUE lines"},
    {"limits: 5", "1:9: limits needs keys below it"},
    {"limits: [5]", "1:9: limits needs keys below it"},
    {"upstreams: {name: a}", "1:12: upstreams needs a list of mappings; write"},
    {"upstreams: a", "1:12: upstreams needs a list of mappings; write"},
    {"upstreams: [a]", "1:13: upstreams: an entry must be a mapping; write"},
    {"listen: []", "1:9: listen has 0 entries; write 1 to 64"},
    {"workers: [1]", "1:10: workers: a list where a number belongs; write "
                     "workers: auto"},
    {"state_dir: {a: b}", "1:12: state_dir: a mapping where a path belongs; "
                          "write state_dir: /var/lib/tollgate"},
    {"state_dir: \"a\\nb\"", "1:12: a line break or control character"},
    {"state_dir: \"/a\\0b\"", "1:12: a line break or control character"},
    {"state_dir: \"/\\u0085b\"", "1:12: a line break or control character"},
    {"state_dir: \"/\\u2028b\"", "1:12: a line break or control character"},
    /* values */
    {"auth: {required: yes}", "1:18: auth.required: \"yes\" will not do; "
                              "write true or false"},
    {"workers: 0", "1:10: workers: \"0\" will not do; write a whole number "
                   "from 1 to 64, or auto"},
    {"workers: 65", "1:10: workers: \"65\" will not do"},
    {"workers: 1.5", "1:10: workers: \"1.5\" will not do"},
    {"workers: 0x10", "1:10: workers: \"0x10\" will not do"},
    {"workers: -1", "1:10: workers: \"-1\" will not do"},
    {"workers: 99999999999999999999", "1:10: workers: \"99999999999999999999"},
    {"limits: {connections: auto}", "1:23: limits.connections: \"auto\" will"},
    {"limits: {body: 64MB}", "1:16: limits.body: \"64MB\" will not do; write "
                             "a whole number and its unit: 512B, 64KiB"},
    {"limits: {body: 1B}", "1:16: limits.body: \"1B\" is out of range; write "
                           "a size from 1KiB to 1TiB"},
    {"limits: {body: 2TiB}", "1:16: limits.body: \"2TiB\" is out of range"},
    {"limits: {idle_timeout: 75}",
     "1:24: limits.idle_timeout: \"75\" will not do; write a whole number "
     "and its unit: 500ms, 10s, 5m, 1h or 30d"},
    {"limits: {idle_timeout: 99ms}",
     "1:24: limits.idle_timeout: \"99ms\" is out of range; write a duration "
     "from 100ms to 86400s"},
    {"limits: {body_min_rate: 1KiB}", "1:25: limits.body_min_rate: \"1KiB\""},
    {"keepalive: {mode: ping}", "1:19: keepalive.mode: \"ping\" will not do; "
                                "write one of comment, chunk, off"},
    {"keepalive: {mode: Comment}", "1:19: keepalive.mode: \"Comment\" will"},
    {"log: {level: verbose}", "1:14: log.level: \"verbose\" will not do; "
                              "write one of err, warn, note, info, debug"},
    {"log: {access: here}", "1:15: log.access: \"here\" will not do; write "
                            "stderr, off, or an absolute path"},
    {"state_dir: var/lib", "1:12: state_dir: \"var/lib\" will not do; write "
                           "an absolute path"},
    {"state_dir: ''", "1:12: state_dir: \"\" will not do"},
    {"listen: [{address: ':80'}]", "1:20: listen[].address: \":80\" has no "
                                   "numeric IP address; write"},
    {"listen: [{address: 'localhost:80'}]", "1:20: listen[].address: \"loc"},
    {"listen: [{address: '127.0.0.1:99999'}]",
     "1:20: listen[].address: \"127.0.0.1:99999\" has a bad port; write a "
     "number from 0 to 65535"},
    {"listen: [{address: '::1:80'}]", "1:20: listen[].address: \"::1:80\" is "
                                      "no address; write"},
    {"listen: [{address: ''}]", "1:20: listen[].address: \"\" is empty"},
    {"listen: [{mode: 0999}]", "1:17: listen[].mode: \"0999\" will not do"},
    {"listen: [{address: 'unix:/x', mode: 999}]", "1:37: listen[].mode"},
    {"listen: [{tls: {cert: /c}}]", "1:16: listen[].tls[].key is missing; "
                                    "add key: /path/key.pem"},
    {"listen: [{tls: [{key: /c}]}]", "1:17: listen[].tls[].cert is missing"},
    {"listen: [{tls: {cert: /c, key: /k, names: ['*']}}]",
     "1:44: listen[].tls[].names: \"*\" will not do; write a host name"},
    {"cors: {origins: ['https://a.b/x']}", "1:18: cors.origins: \"https://a."},
    {"cors: {origins: ['a.b']}", "1:18: cors.origins: \"a.b\" will not do"},
    {"cors: {origins: '*'}", "1:17: cors.origins needs a list"},
    {"metrics: {address: '127.0.0.1'}", "1:20: metrics.address: \"127.0.0.1"},
    /* upstreams */
    {"upstreams: [{base_url: 'https://h'}]",
     "1:13: upstreams[].name is missing; add name: openai"},
    {"upstreams: [{name: a}]", "1:13: upstreams[].base_url is missing; add "
                               "base_url: https://api.openai.com/v1"},
    {"upstreams: [{name: 'a b', base_url: 'https://h'}]",
     "1:20: upstreams[].name: \"a b\" will not do; write 1 to 64 letters"},
    {"upstreams: [{name: a, base_url: h/v1}]",
     "1:33: upstreams[].base_url: \"h/v1\" must begin with https://"},
    {"upstreams: [{name: a, base_url: 'https://u:secret@h/v1'}]",
     "1:33: upstreams[].base_url: \"...\" must not hold a user or password"},
    {"upstreams: [{name: a, base_url: 'https://h/v1?x=y'}]",
     "1:33: upstreams[].base_url: \"https://h/v1?x=y\" must not hold a query"},
    {"upstreams: [{name: a, base_url: 'https://h'}, {name: a, base_url: "
     "'https://i'}]",
     "1:54: upstreams[].name: \"a\" is taken by an earlier one"},
    {U("api_key: 'env:'"), "1:58: upstreams[].api_key: env: must be followed"},
    {U("api_key: env:1A"), "1:58: upstreams[].api_key: env: must be followed"},
    {U("api_key: env:TG_TEST_UNSET"), "1:58: upstreams[].api_key: the "
                                      "environment has no variable "
                                      "TG_TEST_UNSET; set it"},
    {U("api_key: env:TG_TEST_EMPTY"),
     "1:58: upstreams[].api_key: the secret is empty"},
    {U("api_key: env:TG_TEST_SPACE"),
     "1:58: upstreams[].api_key: the secret holds a space"},
    {U("api_key: file:rel"), "1:58: upstreams[].api_key: file: needs an "
                             "absolute path"},
    {U("api_key: file:/dev/null"), "1:58: upstreams[].api_key: the secret "
                                   "file /dev/null cannot be used (not a "
                                   "regular file)"},
    {U("api_key: [env:A]"), "1:58: upstreams[].api_key needs one secret"},
    {U("api_keys: env:A"), "1:59: upstreams[].api_keys needs a list of 1 to"},
    {U("api_keys: []"), "1:59: upstreams[].api_keys needs a list of 1 to"},
    {U("api_keys: [[a]]"), "1:60: upstreams[].api_keys needs one secret"},
    {U("dialect: cohere"), "1:58: upstreams[].dialect: \"cohere\" will not do"},
    {U("models: gpt*"), "1:57: upstreams[].models needs a list"},
    {U("models: ['']"), "1:58: upstreams[].models: \"\" will not do"},
    {U("models: ['*********']"), "1:58: upstreams[].models: \"*********\""},
    {U("models: [[a]]"), "1:58: upstreams[].models: a list where a list of"},
    {U("headers: [a]"), "1:58: upstreams[].headers needs a mapping"},
    {U("headers: {Host: a}"), "1:59: upstreams[].headers: Host is set by "
                              "tollgate itself; remove it"},
    {U("headers: {'a b': c}"), "1:59: upstreams[].headers: a b is no header"},
    {U("headers: {a: b, A: c}"), "1:65: upstreams[].headers: A is set twice"},
    {U("headers: {a: [b]}"), "1:62: upstreams[].headers needs one secret"},
    {U("headers: {a: \"b\\tc\"}"), "1:62: a line break or control"},
    {U("timeouts: {connect: 0s}"), "1:69: upstreams[].timeouts.connect: "
                                   "\"0s\" is out of range"},
    {U("max_in_flight: -1"), "1:64: upstreams[].max_in_flight: \"-1\" will"},
    {U("http2: 2"), "1:56: upstreams[].http2: \"2\" will not do"},
    {U("proxy: h:80"), "1:56: upstreams[].proxy: not a URL of that kind"},
    {U("proxy: 'ftp://h'"), "1:56: upstreams[].proxy: not a URL of that kind"},
    {U("tls: {verify: 1}"), "1:63: upstreams[].tls.verify: \"1\" will not do"},
    {U("tls: {server_name: 'a b'}"), "1:68: upstreams[].tls.server_name: \"a"},
    {U("api_version: 'a&b'"), "1:62: upstreams[].api_version: \"a&b\" will"},
    {"routes: [{model: '*********', targets: []}]",
     "1:18: routes[].model: \"*********\" will not do"},
    {LONG("state_dir"), "1:12: the path of the control socket is longer"},
    {LONG("control_socket"), "1:17: the path of the control socket is"},
    {U("tls: {ca: /nonexistent/ca.pem}"),
     "1:59: upstreams[].tls.ca: /nonexistent/ca.pem cannot be read (No such"},
    {U("retries: {backoff: 9s}"), "1:58: upstreams[].retries.backoff_max is "
                                  "less than backoff"},
    /* references */
    {UP "}]\npassthrough: b", "2:14: passthrough: there is no upstream "
                              "\"b\"; write a"},
    {"passthrough: openai", "1:14: passthrough: there is no upstream "
                            "\"openai\"; write the name of one"},
    {UP "}]\nroutes: [{model: m, targets: [{upstream: aa}]}]",
     "2:42: routes[].targets[].upstream: there is no upstream \"aa\"; write "
     "a"},
    {UP "}]\nroutes: [{model: m, targets: [{engine: x}]}]",
     "2:40: routes[].targets[].engine: there is no engine model \"x\""},
    {UP "}]\nroutes: [{model: m, targets: [{weight: 1}]}]",
     "2:31: routes[].targets[] needs exactly one of upstream and engine"},
    {UP "}]\n" EM "2}]}\nroutes: [{model: m, targets: [{upstream: a, engine: "
        "a2}]}]",
     NULL},
    {UP "}]\nroutes: [{model: m, targets: [{upstream: a, weight: 0}]}]",
     "2:30: routes[].targets: every weight is 0"},
    {UP "}]\nroutes: [{model: m}]", "2:10: routes[].targets is missing"},
    {UP "}]\nroutes: [{model: m, targets: []}]",
     "2:30: routes[].targets has 0 entries; write 1 to 64"},
    {UP "}]\nroutes: [{model: m, targets: [{upstream: a}]}, {model: m, "
        "targets: [{upstream: a}]}]",
     "2:56: routes[].model: \"m\" has a route already"},
    {UP "}]\nroutes: [{model: m, targets: [{upstream: a}], fallbacks: [n]}]",
     "2:59: routes[].fallbacks: there is no route \"n\""},
    {UP "}]\nroutes: [{model: m, targets: [{upstream: a}], fallbacks: [m]}]",
     "2:59: routes[].fallbacks: \"m\" falls back to itself"},
    {UP
     "}]\nroutes: [{model: m, targets: [{upstream: a}], fallback_on: error}]",
     "2:60: routes[].fallback_on: \"error\" will not do; write a list of any "
     "of error, context_length, content_filter"},
    {UP
     "}]\nroutes: [{model: m, targets: [{upstream: a}], fallback_on: [error, "
     "eror]}]",
     "2:68: routes[].fallback_on: \"eror\" will not do; write a list of"},
    {UP
     "}]\nroutes: [{model: m, targets: [{upstream: a}], fallback_on: [[a]]}]",
     "2:61: routes[].fallback_on: a list where a list of choices belongs"},
    {UP "}]\n" EM "}]}", "2:26: engine.models[].name: \"a\" is also an "
                         "upstream; write another name"},
    {EM "}, {name: a, path: /n}]}", "1:47: engine.models[].name: \"a\" is "
                                    "taken by an earlier one"},
    {"engine: {prefix_store: {size: 15MiB}}",
     "1:31: engine.prefix_store.size is too small to be of use; write 16MiB "
     "or more (16MiB a model), or 0"},
    {EM "}, {name: b, path: /m}], prefix_store: {size: 31MiB}}",
     "1:83: engine.prefix_store.size is too small to be of use; write 32MiB "
     "or more (16MiB a model), or 0"},
    {"engine: {prefix_store: {size: 8G}}",
     "1:31: engine.prefix_store.size: \"8G\" will not do; write a whole"},
    {"engine: {prefix_store: {admission: third}}",
     "1:36: engine.prefix_store.admission: \"third\" will not do; write one "
     "of first, second, auto"},
    {"engine: {prefix_store: {dir: prefix}}",
     "1:30: engine.prefix_store.dir: \"prefix\" will not do; write"},
    {"engine: {prefix_store: {write_per_hour: -1}}",
     "1:41: engine.prefix_store.write_per_hour: \"-1\" will not do; write"},
    {"engine: {prefix_store: {epoch: 4294967296}}",
     "1:32: engine.prefix_store.epoch: \"4294967296\" will not do; write"},
    {"engine: {cuda: {blas_dir: lib}}",
     "1:27: engine.cuda.blas_dir: \"lib\" will not do; write"},
    {"engine: {cuda: {reserve: 5%}}",
     "1:26: engine.cuda.reserve: \"5%\" will not do; write a whole"},
    {"engine: {models: [{name: 'a b', path: /m}]}",
     "1:26: engine.models[].name: \"a b\" will not do; write 1 to 96 letters, "
     "digits and any of . _ - / : @ +"},
    {"engine: {models: [{name: " C50 C50 ", path: /m}]}",
     "1:26: engine.models[].name: \"" C50},
    {"engine: {models: [{name: a//b, path: /m}]}",
     "1:26: engine.models[].name: \"a//b\" will not do; write one whose parts"},
    {"engine: {models: [{name: a/../b, path: /m}]}",
     "1:26: engine.models[].name: \"a/../b\" will not do; write one whose"},
    {"engine: {models: [{name: /a, path: /m}]}",
     "1:26: engine.models[].name: \"/a\" will not do; write one whose parts"},
    {"engine: {models: [{name: a/, path: /m}]}",
     "1:26: engine.models[].name: \"a/\" will not do; write one whose parts"},
    {UP "}]\nengine: {models: [{name: a/b, path: /m}]}",
     "2:26: engine.models[].name: \"a/b\" reads like a model of the upstream "
     "\"a\""},
    {EM ", context: 1}]}", "1:48: engine.models[].context: 1 is too little"},
    {EM ", context: 15}]}", "1:48: engine.models[].context: 15 is too little"},
    {EM ", device: gpu}]}", "1:47: engine.models[].device: \"gpu\" will not"},
    {EM ", device: 'cuda:'}]}",
     "1:47: engine.models[].device: \"cuda:\" will not"},
    {EM ", device: 'cuda:1,1'}]}",
     "1:47: engine.models[].device: \"cuda:1,1\" wi"},
    {"listen: [{address: 127.0.0.1:80}, {address: 127.0.0.1:80}]",
     "1:45: listen[].address: \"127.0.0.1:80\" is already listened on"},
    {"metrics: {address: 127.0.0.1:80}\nlisten: [{address: 127.0.0.1:80}]",
     "2:20: listen[].address: metrics.address is the same"},
    {"listen: [{tls: {cert: /nonexistent, key: /etc/passwd}}]",
     "1:23: listen[].tls[].cert: /nonexistent cannot be read"},
    {"limits: {body: 2GiB}", "1:9: limits.max_buffered is less than "
                             "limits.body; write at least as much"},
    {"telemetry: {otlp: 'collector:4318'}", "1:19: telemetry.otlp: \"collec"},
    {"cluster: {redis: 'http://h'}", "1:18: cluster.redis: not a URL of that"},
    /* text that is no YAML */
    {"a: b: c", "1:5: a second ': ' on one line; put the value in quotes"},
    {"limits:\n\tbody: 1KiB", "2:1: a tab where only spaces may indent"},
    {"listen:\n  - address: [::1]:4141", "2:15: a value was expected here; put "
                                         "one that holds brackets, like "
                                         "\"[::1]:4141\", in quotes"},
    {"cors: {origins: [*]}", "1:19: a '*' or '&' here means an anchor; put"},
    {"state_dir: \"/x", "1:15: a quote or bracket is still open"},
    {"state_dir: [", NULL},
    {"a: @b", "1:4: this character cannot start a value"},
    {"workers: 1\n---\nworkers: 2", "2:1: a second document; remove"},
    {"workers: 1\n...\n---\n", "3:1: a second document"},
    {"state_dir: /x\x01", "1:14: not UTF-8 text, or a control character"},
    {"workers: 1\nstate_dir: /\xff", "2:13: not UTF-8 text, or a control"},
    {"\xff\xfe"
     "a\0:\0",
     NULL},
    {"workers: *w", "1:10: no anchor &w before this alias"},
    {"a: &a [*a]", NULL},
    {"workers: !env W", "1:10: the tag !env means nothing here"},
    {"%YAML 9.9\n---\nworkers: 1", NULL},
};

static enum err load(const char *text, struct conf_report *r, struct conf **c)
{
    return conf_load_text("F", str_from(text), 0, r, c);
}

/* Whether some error of <r> begins with <says>. */
static bool is_told(const struct conf_report *r, const char *says)
{
    for (size_t i = 0; i < r->n_items; i++)
        if (!r->items[i].warning &&
            str_starts(str_from(r->items[i].text + 2), str_from(says)))
            return true;
    return false;
}

static bool tells(const struct mistake *m)
{
    struct conf_report r = {0};
    struct conf *c = NULL;
    enum err e = load(m->text, &r, &c);
    bool good = e == ERR_SYNTAX && !c && r.n_errors > 0;

    if (!good)
        print_error("taken (%s): %s\n", err_name(e), m->text);
    if (good && m->says && !is_told(&r, m->says)) {
        print_error("wanted: F:%s\n   got: %s\n   for: %s\n", m->says,
                    r.items[0].text, m->text);
        good = false;
    }
    for (size_t j = 0; j < r.n_items; j++)
        if (!r.items[j].warning && !strchr(r.items[j].text, ';')) {
            print_error("no advice in: %s\n", r.items[j].text);
            good = false;
        }
    conf_report_fini(&r);
    conf_unref(c);
    return good;
}

static void each_mistake_is_told_in_its_place(void **state)
{
    size_t bad = 0;

    (void)state; /* cmocka's signature */
    for (size_t i = 0; i < sizeof(mistakes) / sizeof(mistakes[0]); i++)
        bad += !tells(&mistakes[i]);
    assert_int_equal(bad, 0);
}

/* A text that loads, and the warning it gives; NULL for none at all. */
static const struct mistake warnings[] = {
    {UP "}]", NULL},
    {UP ", retries: ~, headers: {X-A: b}, proxy: 'socks5://h:1080'}]", NULL},
    {"", "1:1: warning: neither an upstream nor an engine"},
    {"# nothing\n", "1:1: warning: neither an upstream nor an engine"},
    {"engine: {models: []}",
     "1:18: warning: neither an upstream nor an engine model is configured, so "
     "no model can be served; add one under upstreams or engine.models"},
    {EM ", context: 16}]}", NULL},
    {"engine: {models: [{name: HuggingFaceTB/SmolLM2-135M-Instruct, path: /m}]"
     "}\nroutes: [{model: m, targets: [{engine: "
     "HuggingFaceTB/SmolLM2-135M-Instruct}]}]",
     NULL},
    {"engine: {models: [{name: llama3:8b, path: /m}]}", NULL},
    {UP "}]\nengine: {models: [{name: b/a, path: /m}]}", NULL},
    {"upstreams: []", "1:12: warning: neither an upstream nor an engine"},
    {U("api_key: sk-x"), "1:58: warning: upstreams[].api_key: a secret stands "
                         "in this file; write env:NAME or file:/path"},
    {U("headers: {X-Api-Key: b}"), "1:70: warning: upstreams[].headers: a "
                                   "secret stands in this file"},
    {U("proxy: 'http://u:p@h:1'"), "1:56: warning: upstreams[].proxy: a "
                                   "secret stands in this file"},
    {U("retries: {attempts: 3}"), NULL},
    {U("breaker: {failures: 0}"), NULL},
    {U("api_version: '1'"), "1:62: warning: upstreams[].api_version is for"},
    {U("tls: {verify: false}"), "1:63: warning: upstreams[].tls.verify is off"},
    {U("timeouts: {total: 1s}"), "1:67: warning: upstreams[].timeouts.total "
                                 "is less than first_byte"},
    {"upstreams: [{name: a, base_url: 'http://h', api_key: env:TG_TEST_KEY}]",
     "1:33: warning: upstreams[].base_url sends the key in the clear"},
    {"upstreams: [{name: a, base_url: 'http://127.0.0.1', api_key: "
     "env:TG_TEST_KEY}]",
     NULL},
    {"upstreams: [{name: a, base_url: 'https://h/v1/chat/completions'}]",
     "1:33: warning: upstreams[].base_url ends in /chat/completions"},
    {UP "}]\nroutes: [{model: m, targets: [{upstream: a}], strategy: "
        "weighted}]",
     NULL},
    {UP "}]\nroutes: [{model: m, targets: [{upstream: a}], strategy: "
        "latency}]",
     NULL},
    {UP "}]\nroutes: [{model: m, targets: [{upstream: a}], hedge_after: 1s}]",
     NULL},
    {UP "}]\nengine: {prefix_store: {size: 16MiB}}", NULL},
    {EM "}, {name: b, path: /m, prefix_store: false}], prefix_store: {size: "
        "16MiB}}",
     NULL},
    {UP "}]\nengine: {prefix_store: {size: 0, dir: '', admission: auto}}",
     NULL},
    {UP "}]\nengine: {}", NULL},
    {UP "}]\nlisten: [{tls: {cert: /etc/passwd, key: /etc/passwd}}]",
     "2:41: warning: listen[].tls[].key: everyone can read or write"},
    {UP "}]\ncache: {coalesce: true, ignore: ['input[].id', 'system[x-y: ]', "
        "a.b]}",
     NULL},
    {UP "}]\ntelemetry: {otlp: ''}", "2:1: warning: telemetry has no effect"},
    {UP "}]\ncluster: {redis: ''}", "2:1: warning: cluster has no effect"},
    {UP "}]\nlisten: [{mode: 0600}]", "2:17: warning: listen[].mode is for"},
    {UP "}]\nlisten: [{address: 0.0.0.0:0}]\nauth: {required: false}",
     "2:20: warning: auth.required is false and this address is open"},
    {UP "}]\nauth: {required: false}", NULL},
};

static void each_warning_is_told_in_its_place(void **state)
{
    (void)state; /* cmocka's signature */
    for (size_t i = 0; i < sizeof(warnings) / sizeof(warnings[0]); i++) {
        const struct mistake *m = &warnings[i];
        struct conf_report r = {0};
        struct conf *c = NULL;
        enum err e = load(m->text, &r, &c);

        if (e != ERR_OK)
            fail_msg("refused (%s): %s", r.items[0].text, m->text);
        if (r.n_warnings != (m->says ? 1 : 0))
            fail_msg("%zu warnings, first %s, for: %s", r.n_warnings,
                     r.n_items ? r.items[0].text : "", m->text);
        if (m->says &&
            strncmp(r.items[0].text + 2, m->says, strlen(m->says)) != 0)
            fail_msg("wanted: F:%s\n   got: %s", m->says, r.items[0].text);
        conf_report_fini(&r);
        conf_unref(c);
    }
}

static void all_mistakes_are_told_in_order(void **state)
{
    static const char text[] = "passthrough: nobody\n"
                               "worker: 1\n"
                               "limits:\n"
                               "  body: lots\n"
                               "  idle_timeout: soon\n"
                               "upstreams:\n"
                               "  - name: a\n"
                               "    base_url: nowhere\n"
                               "    dialect: own\n"
                               "workers: many\n";
    static const unsigned lines[] = {1, 2, 4, 5, 8, 9, 10};
    struct conf_report r = {0};
    struct conf *c = NULL;

    (void)state; /* cmocka's signature */
    assert_int_equal(load(text, &r, &c), ERR_SYNTAX);
    assert_int_equal(r.n_errors, 7);
    assert_int_equal(r.n_items, 7);
    for (size_t i = 0; i < r.n_items; i++)
        assert_int_equal(r.items[i].line, lines[i]);
    conf_report_fini(&r);
}

static void no_secret_is_repeated(void **state)
{
    static const char *const texts[] = {
        U("api_key: 'hunter2 x'"),
        U("api_keys: [hunter2, hunter2, \"hunter2\xc3\xa9\"]"),
        U("headers: {Authorization: \"hunter2 \"}"),
        U("proxy: 'ftp://u:hunter2@h'"),
        "cluster: {redis: 'x://:hunter2@h'}",
        "upstreams: [{name: a, base_url: 'https://u:hunter2@h/v1'}]",
        "telemetry: {otlp: 'https://u:hunter2@h/v1'}",
    };

    (void)state; /* cmocka's signature */
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct conf_report r = {0};
        struct conf *c = NULL;

        assert_int_equal(load(texts[i], &r, &c), ERR_SYNTAX);
        for (size_t j = 0; j < r.n_items; j++)
            assert_null(strstr(r.items[j].text, "hunter2"));
        conf_report_fini(&r);
    }
}

/* A text made of <head>, <n> times <part>, <tail>. */
static char *repeat(const char *head, const char *part, size_t n,
                    const char *tail)
{
    size_t len = strlen(part);
    char *p = malloc(strlen(head) + n * len + strlen(tail) + 1);
    char *at;

    assert_non_null(p);
    memcpy(p, head, strlen(head));
    at = p + strlen(head);
    for (size_t i = 0; i < n; i++, at += len)
        memcpy(at, part, len);
    memcpy(at, tail, strlen(tail) + 1);
    return p;
}

static void hostile_text_is_bounded(void **state)
{
    static const struct {
        const char *head;
        const char *part;
        size_t n;
        const char *tail;
        const char *says;
    } cases[] = {
        {"a: ", "[", 100000, "", "nested too deeply"},
        {"", "{a: ", 100000, "", "nested too deeply"},
        {"a: [", "1,", 300000, "]", "too many values in one file"},
        {"", "a: b\n", 100000, "", "is set twice"},
        {"a: ", "&x ", 1, "[", NULL},
        {"a: [", "&x 1,", 1000, "]", "anchors"},
        {"upstreams: [&u {name: a, base_url: 'https://h', models: &m [",
         "gpt-*,", 9999, "]},", NULL},
        {"routes: [", "{},", 5001, "]", "has 5001 entries"},
        {"workers: ", "9", 1000000, "", "will not do"},
        {"", "x", 1000000, ": 1", NULL},
        {"limits: {", "zz: 1, zy: 2,", 200, "}", "set twice"},
    };

    (void)state; /* cmocka's signature */
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char *text =
            repeat(cases[i].head, cases[i].part, cases[i].n, cases[i].tail);
        struct conf_report r = {0};
        struct conf *c = NULL;
        bool told = !cases[i].says;

        assert_int_equal(load(text, &r, &c), ERR_SYNTAX);
        assert_true(r.n_items > 0 && r.n_items <= 200);
        for (size_t j = 0; j < r.n_items; j++) {
            assert_true(strlen(r.items[j].text) < 600);
            told = told || strstr(r.items[j].text, cases[i].says);
        }
        if (!told)
            fail_msg("%zu: %s", i, r.items[0].text);
        conf_report_fini(&r);
        free(text);
    }
}

static void alias_bombs_are_bounded(void **state)
{
    char *models = repeat("upstreams:\n - &u {name: a, base_url: 'https://h', "
                          "models: [",
                          "gpt-*,", 9000, "]}\n");
    char *text = repeat(models, " - *u\n", 900, "");
    struct conf_report r = {0};
    struct conf *c = NULL;
    bool told = false;

    (void)state; /* cmocka's signature */
    assert_int_equal(load(text, &r, &c), ERR_SYNTAX);
    for (size_t j = 0; j < r.n_items; j++)
        told = told || strstr(r.items[j].text, "aliases counted each time");
    assert_true(told);
    conf_report_fini(&r);
    free(text);
    free(models);
}

static void aliases_of_whole_values_work(void **state)
{
    struct conf_report r = {0};
    struct conf *c = NULL;

    (void)state; /* cmocka's signature */
    assert_int_equal(load("upstreams:\n"
                          "  - name: a\n"
                          "    base_url: https://a\n"
                          "    timeouts: &t {connect: 7s}\n"
                          "  - name: b\n"
                          "    base_url: https://b\n"
                          "    timeouts: *t\n",
                          &r, &c),
                     ERR_OK);
    assert_int_equal(c->upstreams[1].timeouts.connect_ms, 7000);
    assert_int_equal(c->upstreams[1].timeouts.idle_ms, 60000);
    conf_report_fini(&r);
    conf_unref(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_mistake_is_told_in_its_place),
        cmocka_unit_test(each_warning_is_told_in_its_place),
        cmocka_unit_test(all_mistakes_are_told_in_order),
        cmocka_unit_test(no_secret_is_repeated),
        cmocka_unit_test(hostile_text_is_bounded),
        cmocka_unit_test(alias_bombs_are_bounded),
        cmocka_unit_test(aliases_of_whole_values_work),
    };

    unsetenv("TG_TEST_UNSET");
    setenv("TG_TEST_EMPTY", "", 1);
    setenv("TG_TEST_SPACE", "a b", 1);
    setenv("TG_TEST_KEY", "sk-test", 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
