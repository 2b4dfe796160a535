/* key.h - What a key and a team are. Both are immutable once made and
 * counted: a change makes a new one, and requests under way keep theirs. */
#ifndef TG_ACCOUNT_KEY_H
#define TG_ACCOUNT_KEY_H

#include "account/budget_spec.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

struct rate;

/* Every secret begins with this. */
#define KEY_SECRET_PREFIX "sk-tg-"

/* Bytes of a whole secret: prefix and 36 base-62 digits, 214 random bits. */
#define KEY_SECRET_LEN 42

/* Bytes of a digest: SHA-256 of the whole secret, prefix included. */
#define KEY_DIGEST_LEN 32

/* Most bytes of a key id ("key_" and 16 characters today). */
#define KEY_ID_MAX 32

/* Most bytes of a key's or team's name. */
#define KEY_NAME_MAX 64

/* Most model globs, budgets and metadata pairs of one key or team. */
#define KEY_LIST_MAX 64

/* A rate or count that is not limited. */
#define KEY_NO_LIMIT 0

/* One pair of metadata; slices belong to the key. */
struct key_meta {
    struct str name;  /* 1..64 bytes */
    struct str value; /* 0..256 bytes */
};

/* Limits of a key or team; 0 is none. */
struct key_limits {
    uint64_t rpm;      /* requests a minute */
    uint64_t tpm;      /* tokens a minute */
    uint64_t parallel; /* requests at once */
};

/* What one may set on a key or team, and all that is set on it. Slices and
 * arrays belong to whoever holds the struct. */
struct key_spec {
    struct str name;          /* unique; 1..KEY_NAME_MAX bytes */
    struct str team;          /* name of its team, or empty */
    const struct str *models; /* globs; none means every model */
    size_t n_models;
    const struct budget_spec *budgets;
    size_t n_budgets;
    const struct key_meta *meta;
    size_t n_meta;
    struct key_limits limits;
    int64_t expires_wall_ms; /* 0: never */
    bool blocked;
};

/* A key. Everything is read-only but the count and what <rate> points to. */
struct key {
    struct str id; /* "key_..." */
    struct key_spec spec;
    struct rate *rate; /* counted, shared by all records of this key: how far
                        * its limits are used; NULL: it has none, ever */
    int64_t created_wall_ms;
    uint8_t digest[KEY_DIGEST_LEN];
    uint8_t old_digest[KEY_DIGEST_LEN]; /* of the secret before rotation */
    int64_t old_until_wall_ms; /* old secret holds before this; 0: none */
};

/* A team: a name, budgets and limits that bound all its keys together. Of
 * its spec, team, models and expiry are unused. */
struct team {
    struct key_spec spec;
    struct rate *rate; /* as a key's */
    int64_t created_wall_ms;
};

/* One more reference on <key>; gives it back for convenience. Any thread. */
const struct key *key_ref(const struct key *key);

/* Drop a reference; the last one frees. NULL is fine. Any thread. */
void key_unref(const struct key *key);

/* One more reference on <team>. Any thread. */
const struct team *team_ref(const struct team *team);

/* Drop a reference; the last one frees. NULL is fine. Any thread. */
void team_unref(const struct team *team);

/* A key of one reference holding copies of all that <model> points to, but for
 * its rate, of which it is one more holder. NULL without memory. */
struct key *key_new(const struct key *model);

/* A team of one reference, as key_new(). */
struct team *team_new(const struct team *model);

/* Whether <key> may use <model>: one of its globs matches, or it has none. */
bool key_may_use(const struct key *key, struct str model);

/* Whether <key>, which may be NULL, is limited to some models. */
static inline bool key_is_limited(const struct key *key)
{
    return key && key->spec.n_models > 0;
}

/* Check names, counts and lengths of a spec. On ERR_BAD_PARAM a sentence for
 * people is appended to <why>. */
enum err key_spec_check(const struct key_spec *spec,
                        struct buf *why) MUST_CHECK;

/* Make a fresh secret of KEY_SECRET_LEN bytes and a NUL. */
void key_secret_make(char secret_out[KEY_SECRET_LEN + 1]);

/* Make a fresh key id with its NUL. */
void key_id_make(char id_out[KEY_ID_MAX + 1]);

/* Append the record payload of <key>. */
enum err key_encode(const struct key *key, struct buf *out) MUST_CHECK;

/* Append the record payload of <team>. */
enum err team_encode(const struct team *team, struct buf *out) MUST_CHECK;

/* A key from its record payload, one reference. ERR_CORRUPT on bytes that
 * are no key, ERR_NOMEM. */
enum err key_decode(struct str bytes, struct key **key_out) MUST_CHECK;

/* A team from its record payload, one reference. */
enum err team_decode(struct str bytes, struct team **team_out) MUST_CHECK;

#endif
