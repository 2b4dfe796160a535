/* scope.c - See scope.h. What is hashed has one length for every kind of
 * caller: a tag, and a digest where names of any length stand, so that no
 * name can be taken for another, cut or run into the next. */
#include "engine/scope.h"

#include <string.h>

#include "base/digest.h"

/* Whom a scope is of; part of what is hashed, never to be renumbered. */
enum kind { KIND_SHARED = 1, KIND_TEAM, KIND_KEY, KIND_ANYBODY };

#define TAG_BYTES 16

static const char scope_tag[TAG_BYTES] = "tollgate scope";
static const char narrow_tag[TAG_BYTES] = "tollgate narrow";

static enum kind kind_of(enum conf_scope how, struct str key_id,
                         struct str team)
{
    if (how == CONF_SCOPE_SHARED)
        return KIND_SHARED;
    if (how == CONF_SCOPE_TEAM && team.len > 0)
        return KIND_TEAM;
    return key_id.len > 0 ? KIND_KEY : KIND_ANYBODY;
}

void scope_of(struct str secret, enum conf_scope how, struct str key_id,
              struct str team, uint8_t out[SCOPE_BYTES])
{
    const enum kind kind = kind_of(how, key_id, team);
    char text[TAG_BYTES + 1 + DIGEST_BYTES];
    struct str name = STR("");
    struct digest d;

    if (kind == KIND_TEAM)
        name = team;
    else if (kind == KIND_KEY)
        name = key_id;
    d = digest_sha256(name.p, name.len);
    memcpy(text, scope_tag, TAG_BYTES);
    text[TAG_BYTES] = (char)kind;
    memcpy(text + TAG_BYTES + 1, d.b, DIGEST_BYTES);
    d = digest_hmac(secret, str_of(text, sizeof(text)));
    memcpy(out, d.b, SCOPE_BYTES);
}

/* Write whether there is a <name>, and its digest. */
static char *put_name(char *at, struct str name)
{
    struct digest d = {{0}};

    *at = name.len > 0;
    if (name.len > 0)
        d = digest_sha256(name.p, name.len);
    memcpy(at + 1, d.b, DIGEST_BYTES);
    return at + 1 + DIGEST_BYTES;
}

void scope_narrow(const uint8_t scope[SCOPE_BYTES], struct str salt,
                  struct str cache_key, uint8_t out[SCOPE_BYTES])
{
    char text[TAG_BYTES + 2 * (1 + DIGEST_BYTES)];
    char *at = text + TAG_BYTES;
    struct digest d;

    if (salt.len == 0 && cache_key.len == 0) {
        memmove(out, scope, SCOPE_BYTES);
        return;
    }
    memcpy(text, narrow_tag, TAG_BYTES);
    at = put_name(at, salt);
    (void)put_name(at, cache_key);
    d = digest_hmac(str_of(scope, SCOPE_BYTES), str_of(text, sizeof(text)));
    memcpy(out, d.b, SCOPE_BYTES);
}
