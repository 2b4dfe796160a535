/* prov_azure.c - Azure OpenAI in its two styles. With a base_url that ends in
 * /openai/v1 it is like OpenAI but for the name of the key's field. Otherwise
 * the model is a deployment named in the path, and api-version is needed:
 *
 *   {base}/openai/deployments/{model}/chat/completions?api-version=V
 *   {base}/openai/files?api-version=V        (what has no deployment)
 *
 * A base_url that goes down to one deployment is taken as it is. A version that
 * the client sends holds: its query goes as it came, and the configured version
 * is added only where there is none. */
#include "upstream/provider.h"

#include "base/arena.h"
#include "base/buf.h"
#include "conf/conf.h"
#include "upstream/upstream.h"
#include "wire/endpoint.h"

/* Operations that Azure serves below a deployment. */
static const struct str deployed[] = {
    {"/chat/completions", 17},     {"/completions", 12},
    {"/embeddings", 11},           {"/images/generations", 19},
    {"/images/edits", 13},         {"/audio/speech", 13},
    {"/audio/transcriptions", 21}, {"/audio/translations", 19},
};

/* Longest path and query built here. */
#define TARGET_BYTES 16384

/* Longest decoded name of a parameter that is compared. */
#define NAME_BYTES 32

static bool is_deployed(struct str suffix)
{
    for (size_t i = 0; i < sizeof(deployed) / sizeof(deployed[0]); i++)
        if (str_eq(suffix, deployed[i]))
            return true;
    return false;
}

/* Whether the client's query says which version it wants. */
static bool has_version(struct str query)
{
    char room[NAME_BYTES];
    struct str rest = str_skip(query, 1); /* its '?' */
    struct str param, name;

    while (str_split(&rest, '&', &param)) {
        struct str raw = {param.p, str_find_char(param, '=')};

        if (endpoint_decode(raw, room, sizeof(room), &name) == ERR_OK &&
            str_ieq(name, STR("api-version")))
            return true;
    }
    return false;
}

/* Append the client's query, and the version where it names none. */
static enum err put_query(struct buf *b, struct str version, struct str query)
{
    enum err e = buf_put_str(b, query);

    if (e != ERR_OK || has_version(query))
        return e;
    if (query.len == 0)
        e = buf_put_str(b, STR("?"));
    else if (query.len > 1 && !str_ends(query, STR("&")))
        e = buf_put_str(b, STR("&"));
    if (e == ERR_OK)
        e = buf_put_str(b, STR("api-version="));
    return e == ERR_OK ? provider_put_encoded(b, version) : e;
}

/* Whether the base_url goes down to one deployment. */
static bool is_fixed(struct str base)
{
    return str_find(base, STR("/openai/deployments/")) < base.len;
}

static enum err put_target(struct buf *b, const struct xfer_spec *spec)
{
    struct str base = spec->up->url.path;
    bool fixed = is_fixed(base);
    enum err e = buf_put_str(b, base);

    if (e == ERR_OK && !fixed && !str_ends(base, STR("/openai")))
        e = buf_put_str(b, STR("/openai"));
    if (e == ERR_OK && !fixed && spec->model.len > 0 &&
        is_deployed(spec->suffix)) {
        e = buf_put_str(b, STR("/deployments/"));
        if (e == ERR_OK)
            e = provider_put_encoded(b, spec->model);
    }
    if (e == ERR_OK)
        e = buf_put_str(b, spec->suffix);
    if (e == ERR_OK)
        e = put_query(b, spec->up->api_version, spec->query);
    return e;
}

/* Whether <up> is spoken to as OpenAI is. */
static bool is_like_openai(const struct conf_upstream *up)
{
    return str_ends(up->url.path, STR("/openai/v1"));
}

static bool azure_path_has_model(const struct conf_upstream *up,
                                 struct str suffix)
{
    return !is_like_openai(up) &&
           (is_fixed(up->url.path) || is_deployed(suffix));
}

static struct str azure_target(struct arena *a, const struct xfer_spec *spec)
{
    struct str done = {NULL, 0};
    struct buf b;

    if (is_like_openai(spec->up))
        return provider_openai.target(a, spec);
    buf_init(&b, TARGET_BYTES);
    if (put_target(&b, spec) == ERR_OK)
        done = arena_dup(a, buf_str(&b));
    buf_fini(&b);
    return done;
}

const struct provider provider_azure = {
    .target = azure_target,
    .path_has_model = azure_path_has_model,
    .key_name = {"api-key", 7},
    .key_prefix = {"", 0},
};
