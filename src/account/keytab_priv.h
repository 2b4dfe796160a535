/* keytab_priv.h - The inside of the key table, for keytab*.c alone. */
#ifndef TG_ACCOUNT_KEYTAB_PRIV_H
#define TG_ACCOUNT_KEYTAB_PRIV_H

#include "account/keytab.h"
#include "base/map.h"
#include "store/ledger_db.h"

#include <pthread.h>

/* A key in the maps. Map keys point into <key>, so the entry leaves every map
 * before its key is exchanged. */
struct entry {
    const struct key *key; /* counted */
    UT_hash_handle hh;     /* by digest */
    UT_hash_handle h_old;  /* by old digest, where there is one */
    UT_hash_handle h_id;
    UT_hash_handle h_name;
};

/* A team in the map. */
struct team_entry {
    const struct team *team; /* counted */
    UT_hash_handle hh;       /* by name */
    size_t n_keys;           /* keys in it */
};

/* The table of keys; see keytab.h. */
struct keytab {
    struct ledger *ledger;   /* borrowed */
    pthread_mutex_t change;  /* one change at a time; outermost */
    pthread_rwlock_t lock;   /* guards the maps; inside of change, held for
                                stores and probes only */
    struct entry *by_digest; /* owns the entries */
    struct entry *by_old;
    struct entry *by_id;
    struct entry *by_name;
    struct team_entry *teams;    /* owned */
    const struct key *anonymous; /* counted */
};

/* The entry of team <name>, or NULL. Under the lock, or the change lock. */
struct team_entry *keytab_team_entry(struct keytab *tab, struct str name);

/* Put <key>, whose reference moves here, in the place of what <e> holds; <e>
 * NULL links <fresh>. *key_out, where there, gets a reference of its own. */
void keytab_show_key(struct keytab *tab, struct entry *e, struct entry *fresh,
                     const struct key *key, const struct key **key_out);

/* Take <e> out of every map; the caller frees it. Under the lock. */
void keytab_unlink(struct keytab *tab, struct entry *e);

/* Give <te> the team <team>, whose reference moves here; is_new links it. */
void keytab_show_team(struct keytab *tab, struct team_entry *te,
                      const struct team *team, bool is_new,
                      const struct team **team_out);

/* Make a record durable, or its absence when <payload> is NULL. ERR_LEDGER
 * with a sentence. */
enum err keytab_make_durable(struct keytab *tab, enum ldb_table table,
                             struct str name, const struct buf *payload,
                             struct buf *why) MUST_CHECK;

/* Take from <spec> what <fields> (enum key_field) names. */
void keytab_apply(struct key_spec *to, unsigned fields,
                  const struct key_spec *spec);

#endif
