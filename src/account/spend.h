/* spend.h - What a key or team has taken in the calendar windows of now, in
 * every unit that budgets know; its bytes on disk; and many of them by name.
 * Not tied to the budgets that are set: a new one counts from its window's
 * beginning. Pure. Sums stop at the largest number rather than wrap. */
#ifndef TG_ACCOUNT_SPEND_H
#define TG_ACCOUNT_SPEND_H

#include "account/budget.h"
#include "base/map.h"
#include "store/row.h"

/* What was taken, by window. */
struct spend {
    struct {
        int64_t number; /* window_number() of what follows */
        struct budget_amounts took;
        struct budget_amounts lost; /* of that, what nobody saw: it was leased
                                     * when the machine went down; below 0:
                                     * what rows say beyond that */
    } in[BUDGET_WINDOW_COUNT];
};

/* Bytes of an encoded spend, at most. */
#define SPEND_BYTES_MAX 512

/* Bytes of an owner's name with its kind. */
#define SPEND_NAME_MAX (1 + ROW_NAME_MAX)

/* The amounts of a row. */
struct budget_amounts spend_of_row(const struct usage_row *row);

/* A spend of nothing: windows so early that any other begins anew. */
void spend_init(struct spend *s);

/* Add what was taken at <at_ms>; of no effect where a later window is known. */
void spend_add(struct spend *s, int64_t at_ms,
               const struct budget_amounts *took);

/* Add all of <more>, window by window. */
void spend_merge(struct spend *s, const struct spend *more);

/* Keep the larger of both, window by window: of leases. */
void spend_most(struct spend *s, const struct spend *other);

/* Where <s> stands after a death: <charged>, for requests under way, is added.
 * But where something was leased when the machine went down, and what was seen
 * before does not come to more, the lease is what was taken: the difference to
 * what is seen now is lost, and below 0 where that came to more, since the ends
 * of requests are gone. */
void spend_recover(struct spend *s, const struct spend *charged,
                   const struct spend *lease);

/* Take <less> (amounts of each window) back from <s>: never more than was lost
 * there. What was, in *taken_out, with the numbers of its windows. */
void spend_take_back(struct spend *s,
                     const struct budget_amounts less[BUDGET_WINDOW_COUNT],
                     struct spend *taken_out);

/* Encode into <out> of SPEND_BYTES_MAX bytes; gives the length. */
size_t spend_encode(const struct spend *s, void *out);

/* Decode; units and windows of a newer version are skipped. ERR_CORRUPT. */
enum err spend_decode(struct str bytes, struct spend *out) MUST_CHECK;

/* The name of key <id> or of team <name> in <out>; gives its length. */
size_t spend_key_name(struct str id, char out[SPEND_NAME_MAX]);
size_t spend_team_name(struct str name, char out[SPEND_NAME_MAX]);

/* One entry of a map. */
struct spend_item {
    UT_hash_handle hh;
    struct spend sum;
    size_t name_len;
    char name[SPEND_NAME_MAX];
};

/* Sums by name. Zeroed is empty. */
struct spend_map {
    struct spend_item *items; /* uthash, owned */
};

/* Free every entry; <m> is empty again. */
void spend_map_fini(struct spend_map *m);

/* The sum of <name>, of nothing when it is new; NULL without memory. */
struct spend *spend_map_at(struct spend_map *m, struct str name);

/* Add <row> to its key and its team. ERR_NOMEM. */
enum err spend_map_add_row(struct spend_map *m,
                           const struct usage_row *row) MUST_CHECK;

#endif
