/* kv_models.h - Names of the models that use a namespace: for people and for
 * tools that see only the files. Nothing that is stored depends on a name, and
 * several models may share a namespace. */
#ifndef TG_STORE_KV_MODELS_H
#define TG_STORE_KV_MODELS_H

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

/* The file of names in a namespace's directory. */
#define KV_MODELS_FILE "models"

/* Note that model <name> uses the namespace in <dir>, which must exist, unless
 * that is noted. ERR_IO; ERR_FULL when there are too many; ERR_NOMEM. */
enum err kv_models_note(const char *dir, struct str name) MUST_CHECK;

/* Append the names to <out>, a line each; none when none was noted. ERR_IO
 * (errno tells why), ERR_NOMEM. */
enum err kv_models_read(const char *dir, struct buf *out) MUST_CHECK;

/* Whether <name> is a line of <names>. */
bool kv_models_has(struct str names, struct str name);

#endif
