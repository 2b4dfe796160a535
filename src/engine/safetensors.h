/* safetensors.h - The container format safetensors: a JSON header, then the
 * numbers. Reads nothing beyond the image. */
#ifndef TG_ENGINE_SAFETENSORS_H
#define TG_ENGINE_SAFETENSORS_H

#include "base/err.h"
#include "base/str.h"
#include "engine/model_priv.h"

/* Most bytes of a header. */
#define SAFETENSORS_HEADER_MAX ((size_t)4 << 20)

struct json_t;

/* A parsed image. */
struct safetensors {
    struct json_t *header; /* owned; names and types of entries lie in it */
    size_t n;              /* tensors appended */
};

/* Parse <image>, which must outlive the entries, and append its tensors to
 * <all>; <file> (a name, borrowed) goes with each. Only F32, F16 and BF16 are
 * looked at closer; other types get dtype KRN_DTYPE_COUNT. On failure <all> may
 * have grown, but for its owner to free. ERR_SYNTAX, ERR_NOMEM. */
enum err safetensors_parse(struct str image, const char *file,
                           struct model_fault *why, struct model_entries *all,
                           struct safetensors *out) MUST_CHECK;

/* Free the header; entries must not be used any more. Zeroed is fine. */
void safetensors_fini(struct safetensors *s);

#endif
