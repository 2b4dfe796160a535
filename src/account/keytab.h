/* keytab.h - All keys and teams in memory, each change durable in the ledger
 * before it is seen. Lookups come from any thread; changes may come from any
 * thread but wait for the disk, so a worker's loop is no place for them.
 *
 * Lock: one rwlock guards the maps (rank: below the writer's queue lock,
 * never held while waiting for the disk); one mutex puts changes in a row. */
#ifndef TG_ACCOUNT_KEYTAB_H
#define TG_ACCOUNT_KEYTAB_H

#include "account/key.h"
#include "account/ledger.h"

struct keytab;

/* Why a lookup gave a key or not. Clients see one answer for all but OK. */
enum key_verdict {
    KEY_OK = 0,
    KEY_MISSING, /* no secret was presented */
    KEY_UNKNOWN, /* never existed, deleted, or rotated out */
    KEY_BLOCKED, /* the key or its team is blocked */
    KEY_EXPIRED,
    KEY_VERDICT_COUNT
};

/* What key_update() and team_update() change; or-ed together. */
enum key_field {
    KEY_SET_NAME = 1,
    KEY_SET_TEAM = 2,
    KEY_SET_MODELS = 4,
    KEY_SET_BUDGETS = 8,
    KEY_SET_META = 16,
    KEY_SET_RPM = 32,
    KEY_SET_TPM = 64,
    KEY_SET_PARALLEL = 128,
    KEY_SET_EXPIRES = 256,
    KEY_SET_BLOCKED = 512
};

/* Load every key and team of <ledger>, which must outlive the table.
 * ERR_CORRUPT names the bad record in <why>. */
enum err keytab_open(struct ledger *ledger, struct keytab **tab_out,
                     struct buf *why) MUST_CHECK;

/* Free the table; keys still referenced live on. NULL is fine. */
void keytab_close(struct keytab *tab);

/* "ok", "missing", "unknown", "blocked", "expired"; static, for logs. */
const char *key_verdict_name(enum key_verdict v);

/* Judge the presented <secret> at <now_wall_ms>. *key_out gets a counted key
 * for OK, BLOCKED and EXPIRED, else NULL. Any thread; about a hash and a
 * probe; takes no lock that a change holds while it waits for the disk. */
enum key_verdict keytab_check(struct keytab *tab, struct str secret,
                              int64_t now_wall_ms, const struct key **key_out);

/* The key everybody is when no authentication is asked for: id
 * "anonymous", name "anonymous", no limits. Counted. */
const struct key *keytab_anonymous(struct keytab *tab);

/* The key whose id, name or secret is <ref>, counted, or NULL. The secret
 * before its last rotation with a grace names it too, the grace over or not. */
const struct key *keytab_find(struct keytab *tab, struct str ref);

/* The team called <name>, counted, or NULL. */
const struct team *keytab_find_team(struct keytab *tab, struct str name);

/* How far the limits of the team called <name> are used, counted; NULL when
 * there is none. Any thread. */
struct rate *keytab_team_rate(struct keytab *tab, struct str name);

/* How many keys there are. */
size_t keytab_count(struct keytab *tab);

/* All keys, oldest first, each counted, in a malloc'd array the caller frees
 * after unref-ing each. ERR_NOMEM. */
enum err keytab_list(struct keytab *tab, const struct key ***keys_out,
                     size_t *n_out) MUST_CHECK;

/* All teams by name, as keytab_list(). */
enum err keytab_list_teams(struct keytab *tab, const struct team ***teams_out,
                           size_t *n_out) MUST_CHECK;

/* The changes below return once the change is on disk and seen by the next
 * lookup. Failures append a sentence for people to <why>: ERR_BAD_PARAM (the
 * spec), ERR_EXISTS (name taken), ERR_NOT_FOUND (no such key or team),
 * ERR_REFUSED (team still has keys), ERR_LEDGER (the disk refused; nothing
 * changed), ERR_NOMEM. *key_out, where there, gets a counted key. */

/* Make a key; its secret is written once to <secret_out> with a NUL. */
enum err keytab_create(struct keytab *tab, const struct key_spec *spec,
                       int64_t now_wall_ms, char secret_out[KEY_SECRET_LEN + 1],
                       const struct key **key_out, struct buf *why) MUST_CHECK;

/* Set the fields of <spec> that <fields> (enum key_field) names. */
enum err keytab_update(struct keytab *tab, struct str ref, unsigned fields,
                       const struct key_spec *spec, const struct key **key_out,
                       struct buf *why) MUST_CHECK;

/* Block or unblock. */
enum err keytab_block(struct keytab *tab, struct str ref, bool blocked,
                      const struct key **key_out, struct buf *why) MUST_CHECK;

/* When a secret is renewed and for how long the old one still holds. */
struct key_rotation {
    int64_t now_wall_ms;
    int64_t grace_ms; /* >= 0 */
};

/* Renew the secret; the old one holds until now + grace. A secret before
 * that one stops holding at once. */
enum err keytab_rotate(struct keytab *tab, struct str ref,
                       struct key_rotation when,
                       char secret_out[KEY_SECRET_LEN + 1],
                       const struct key **key_out, struct buf *why) MUST_CHECK;

/* Delete the key; its rows stay. */
enum err keytab_delete(struct keytab *tab, struct str ref,
                       struct buf *why) MUST_CHECK;

/* Make a team. */
enum err keytab_team_create(struct keytab *tab, const struct key_spec *spec,
                            int64_t now_wall_ms, const struct team **team_out,
                            struct buf *why) MUST_CHECK;

/* Set the fields of <spec> that <fields> names; the name cannot change. */
enum err keytab_team_update(struct keytab *tab, struct str name,
                            unsigned fields, const struct key_spec *spec,
                            const struct team **team_out,
                            struct buf *why) MUST_CHECK;

/* Delete a team that no key is in. */
enum err keytab_team_delete(struct keytab *tab, struct str name,
                            struct buf *why) MUST_CHECK;

#endif
