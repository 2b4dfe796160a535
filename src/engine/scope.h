/* scope.h - Who shares prefixes with whom: the salt that the keys of stored
 * pages begin with. The server draws it from its secret and from whose key a
 * request came with; what the client says is mixed into it, so that a client
 * can only ever narrow what its key has. Pure functions. */
#ifndef TG_ENGINE_SCOPE_H
#define TG_ENGINE_SCOPE_H

#include "base/str.h"
#include "conf/conf.h"

#include <stdint.h>

/* Bytes of a scope. */
#define SCOPE_BYTES 32

/* The scope of a caller: of all, of its team, or of its key where it has no
 * team. Without a key (nobody needs one) all callers have one scope. Two
 * callers have the same scope only if they are to share. */
void scope_of(struct str secret, enum conf_scope how, struct str key_id,
              struct str team, uint8_t out[SCOPE_BYTES]);

/* The part of <scope> that <salt> and <cache_key> name, each of them left out
 * when it is empty; <scope> itself when both are. <out> may be <scope>. */
void scope_narrow(const uint8_t scope[SCOPE_BYTES], struct str salt,
                  struct str cache_key, uint8_t out[SCOPE_BYTES]);

#endif
