/* prov_openai.c - OpenAI and everything that speaks like it: base_url and the
 * path after it, a bearer key. */
#include "upstream/provider.h"

#include "conf/conf.h"
#include "upstream/upstream.h"

static struct str openai_target(struct arena *a, const struct xfer_spec *spec)
{
    struct str path = provider_join(a, spec->up->url.path, spec->suffix);

    return path.p ? provider_join(a, path, spec->query) : path;
}

const struct provider provider_openai = {
    .target = openai_target,
    .key_name = {"Authorization", 13},
    .key_prefix = {"Bearer ", 7},
};
