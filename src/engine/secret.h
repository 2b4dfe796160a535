/* secret.h - The secret that keeps callers' prefixes apart: a file that is
 * made once. Programs that start at the same moment end with the same. */
#ifndef TG_ENGINE_SECRET_H
#define TG_ENGINE_SECRET_H

#include "base/err.h"

#include <stdint.h>

/* Bytes of the secret. */
#define SECRET_BYTES 32

/* The secret of the directory <dir>, which is made 0700 when it is missing:
 * read from its file, which is made 0600 when it is missing. ERR_IO: neither
 * can be done, errno tells why; ERR_CORRUPT: the file is too short. */
enum err secret_get(const char *dir, uint8_t out[SECRET_BYTES]) MUST_CHECK;

#endif
