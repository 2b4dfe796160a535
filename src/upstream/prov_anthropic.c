/* prov_anthropic.c - Anthropic: base_url with or without its /v1, the key in
 * x-api-key, a version that must be named. */
#include "upstream/provider.h"

#include "base/arena.h"
#include "conf/conf.h"
#include "upstream/upstream.h"

/* Sent when the client names no version; all of the API's examples use it. */
#define ANTHROPIC_VERSION "2023-06-01"

static struct str anthropic_target(struct arena *a,
                                   const struct xfer_spec *spec)
{
    struct str base = spec->up->url.path;
    struct str path;

    if (!str_ends(base, STR("/v1"))) {
        base = provider_join(a, base, STR("/v1"));
        if (!base.p)
            return base;
    }
    path = provider_join(a, base, spec->suffix);
    return path.p ? provider_join(a, path, spec->query) : path;
}

static void anthropic_extra(struct fields *f, const struct xfer_spec *spec)
{
    (void)spec; /* part of the interface */
    if (!fields_have(f, STR("anthropic-version")))
        fields_put(f, STR("anthropic-version"), STR(ANTHROPIC_VERSION));
}

const struct provider provider_anthropic = {
    .target = anthropic_target,
    .key_name = {"x-api-key", 9},
    .key_prefix = {"", 0},
    .extra = anthropic_extra,
};
