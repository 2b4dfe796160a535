/* reqkey_skip.c - What is left out of the bodies of requests: made once for a
 * configuration. */
#include "recall/reqkey.h"

#include <stdlib.h>

enum err reqkey_skip_new(const struct str *paths, size_t n,
                         struct canon_skip **out)
{
    static const char *const sent[] = {"stream", "stream_options",
                                       ("tools[]." REQKEY_TOOL_STREAMS)};
    struct canon_skip *skip = calloc(1, sizeof(*skip));
    enum err e = ERR_OK;

    if (!skip)
        return ERR_NOMEM;
    for (size_t i = 0; e == ERR_OK && i < sizeof(sent) / sizeof(sent[0]); i++)
        e = canon_skip_add(skip, str_from(sent[i]));
    for (size_t i = 0; e == ERR_OK && i < n; i++)
        e = canon_skip_add(skip, paths[i]);
    if (e == ERR_OK)
        *out = skip;
    else
        reqkey_skip_free(skip);
    return e;
}

void reqkey_skip_free(struct canon_skip *skip)
{
    free(skip);
}
