/* key_file.h - A secret of this installation: a file that is made once.
 * Programs that start at the same moment end with the same. */
#ifndef TG_BASE_KEY_FILE_H
#define TG_BASE_KEY_FILE_H

#include "base/err.h"

#include <stdint.h>

/* Bytes of a secret. */
#define KEY_FILE_BYTES 32

/* The secret <name> of the directory <dir>, which is made 0700 when it is
 * missing: read from its file, which is made 0600 when it is missing. ERR_IO:
 * neither can be done, errno tells why; ERR_CORRUPT: the file is too short. */
enum err key_file_get(const char *dir, const char *name,
                      uint8_t out[KEY_FILE_BYTES]) MUST_CHECK;

#endif
