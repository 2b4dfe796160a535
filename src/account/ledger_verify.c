/* ledger_verify.c - Proving the ledger, in a child process over one snapshot:
 * what store/verify.c proves, and that what keys and teams have spent is what
 * their rows say. A window of which rows were pruned cannot be summed again:
 * there the rows that are left must not come to more. Must never write. */
#include "account/ledger_spend.h"

#include "account/ledger_priv.h"
#include "account/window.h"
#include "store/child.h"

/* Findings told one by one; the rest is only counted. */
#define TOLD_MAX 20

/* A proof under way. */
struct proof {
    struct txn *t;
    struct buf *out;
    struct spend_map stored; /* as the table has them */
    struct spend_map sums;   /* of the rows, in the same windows */
    uint32_t whole_from;     /* first day of which all rows are there; 0: of
                              * all days they are */
    uint64_t faults, spends, pruned, holds, leases;
};

static bool is_told(struct proof *p)
{
    p->faults++;
    return p->faults <= TOLD_MAX;
}

/* Called with each record of a table; ERR_CORRUPT where it is not readable. */
typedef enum err prove_fn(struct proof *p, struct str key, struct str payload);

/* Give each whole record of <table> to <fn>: what fails its seal is told by
 * store/verify.c. */
static enum err each(struct proof *p, enum ldb_table table, prove_fn *fn)
{
    struct cursor c;
    struct buf none;
    enum err err = cursor_open(p->t, table, &c);

    if (err != ERR_OK)
        return err;
    buf_init(&none, 0);
    err = cursor_next(&c);
    while (err == ERR_OK) {
        if (ldb_check(table, c.key, c.value, &none) == ERR_OK)
            err = fn(p, c.key, str_skip(c.value, REC_HEAD_BYTES));
        if (err == ERR_CORRUPT) {
            err = ERR_OK;
            if (is_told(p))
                env_say(p->out, "table %s: a record is not readable\n",
                        ldb_table_name(table));
        }
        if (err == ERR_OK)
            err = cursor_next(&c);
    }
    cursor_close(&c);
    return err == ERR_NOT_FOUND ? ERR_OK : err;
}

static enum err take_spend(struct proof *p, struct str key, struct str payload)
{
    struct spend *stored;
    struct spend *sum;
    struct spend s;

    if (key.len < 1 || key.len > SPEND_NAME_MAX)
        return ERR_CORRUPT;
    ERR_TRY(spend_decode(payload, &s));
    stored = spend_map_at(&p->stored, key);
    sum = spend_map_at(&p->sums, key);
    if (!stored || !sum)
        return ERR_NOMEM;
    *stored = s;
    for (int w = 0; w < BUDGET_WINDOW_COUNT; w++)
        sum->in[w].number = s.in[w].number;
    p->spends++;
    return ERR_OK;
}

static enum err take_row(struct proof *p, struct str key, struct str payload)
{
    struct usage_row row;

    (void)key; /* proved elsewhere */
    if (row_decode(payload, &row) != ERR_OK)
        return ERR_OK; /* likewise */
    return spend_map_add_row(&p->sums, &row);
}

static enum err prove_hold(struct proof *p, struct str key, struct str payload)
{
    struct hold h;
    struct str at;

    p->holds++;
    ERR_TRY(hold_decode(payload, &h));
    if (!str_eq(h.id, key))
        return ERR_CORRUPT;
    if (ldb_get(p->t, LDB_IDS, h.id, &at) != ERR_NOT_FOUND && is_told(p))
        env_say(p->out, "request %.*s is held, but its row is there\n",
                STR_ARG(h.id));
    return ERR_OK;
}

static enum err prove_lease(struct proof *p, struct str key, struct str payload)
{
    struct spend lease;

    (void)key; /* any owner may have one */
    p->leases++;
    return spend_decode(payload, &lease);
}

/* Whether all rows of window <number> are there. Rows stand by the time at
 * which their requests began, and may be of a window that began later: a day is
 * allowed for that. */
static bool is_whole(const struct proof *p, int w, int64_t number)
{
    const int64_t day = (int64_t)p->whole_from + 1;

    return p->whole_from == 0 ||
           window_begin_ms((enum budget_window)w, number) >=
               day * (int64_t)TALLY_DAY_MS;
}

/* Prove window <w> of <name>; false where it is not what its rows say. */
static bool is_proved(const struct proof *p, int w, const struct spend *stored,
                      const struct spend *sum, int *unit_out)
{
    if (sum->in[w].number != stored->in[w].number)
        return false; /* there are rows of a later one */
    for (int u = 0; u < BUDGET_UNIT_COUNT; u++) {
        const int64_t took = stored->in[w].took.of[u];
        const int64_t rows = sum->in[w].took.of[u];
        int64_t seen;

        *unit_out = u;
        if (took == INT64_MAX ||
            __builtin_sub_overflow(took, stored->in[w].lost.of[u], &seen))
            continue; /* more than can be added up */
        if (seen < 0 || rows > seen)
            return false;
        if (rows != seen && is_whole(p, w, stored->in[w].number))
            return false;
    }
    return true;
}

/* What amounts of <u> are told in. */
static const char *unit_of(int u)
{
    return u == BUDGET_NUSD ? "nano-dollars"
                            : budget_unit_name((enum budget_unit)u);
}

/* "key key_01", "team blue". */
static const char *kind_of(const struct spend_item *it)
{
    return it->name[0] == 't' ? "team" : "key";
}

static void prove_owner(struct proof *p, const struct spend_item *it,
                        const struct spend *sum)
{
    const struct spend *s = &it->sum;

    for (int w = 0; w < BUDGET_WINDOW_COUNT; w++) {
        int u = 0;

        if (!is_whole(p, w, s->in[w].number))
            p->pruned++;
        if (is_proved(p, w, s, sum, &u) || !is_told(p))
            continue;
        env_say(p->out,
                "spend of %s %.*s in its %s: %lld %s of which %lld were lost, "
                "its rows sum to %lld\n",
                kind_of(it), (int)it->name_len - 1, it->name + 1,
                budget_window_name((enum budget_window)w),
                (long long)s->in[w].took.of[u], unit_of(u),
                (long long)s->in[w].lost.of[u],
                (long long)sum->in[w].took.of[u]);
    }
}

static void prove_owners(struct proof *p)
{
    const struct spend_item *it;
    const struct spend_item *sum;

    for (sum = p->sums.items; sum; sum = sum->hh.next) {
        const struct spend_item *stored;

        HASH_FIND(hh, p->stored.items, sum->name, sum->name_len, stored);
        if (!stored && is_told(p))
            env_say(p->out, "%s %.*s has rows, but no spend\n", kind_of(sum),
                    (int)sum->name_len - 1, sum->name + 1);
    }
    for (it = p->stored.items; it; it = it->hh.next) {
        HASH_FIND(hh, p->sums.items, it->name, it->name_len, sum);
        if (sum)
            prove_owner(p, it, &sum->sum);
    }
}

static enum err prove_spends(struct proof *p)
{
    ERR_TRY(ldb_whole_from_day(p->t, &p->whole_from));
    ERR_TRY(each(p, LDB_SPENDS, take_spend));
    ERR_TRY(each(p, LDB_ROWS, take_row));
    ERR_TRY(each(p, LDB_HOLDS, prove_hold));
    ERR_TRY(each(p, LDB_LEASES, prove_lease));
    prove_owners(p);
    return ERR_OK;
}

/* As env_look_fn. */
static enum err prove(struct txn *t, void *unused, struct buf *out)
{
    struct proof p = {.t = t, .out = out};
    const enum err records = ldb_verify(t, unused, out);

    if (records != ERR_OK && records != ERR_CORRUPT)
        return records;
    const enum err err = prove_spends(&p);
    spend_map_fini(&p.stored);
    spend_map_fini(&p.sums);
    if (err != ERR_OK) {
        env_say(out, "spends cannot be read to their end: %s\n", err_name(err));
        return err;
    }
    env_say(out,
            "spends=%llu windows_without_all_rows=%llu holds=%llu leases=%llu "
            "faults=%llu\n",
            (unsigned long long)p.spends, (unsigned long long)p.pruned,
            (unsigned long long)p.holds, (unsigned long long)p.leases,
            (unsigned long long)p.faults);
    return p.faults == 0 ? records : ERR_CORRUPT;
}

static enum err verify_in_child(void *arg, struct buf *out)
{
    const struct ledger *l = arg;
    const struct ldb_opts opts = {.dir = l->dir};
    const struct env_opts env = ldb_env_opts(&opts);

    return env_look(&env, true, prove, NULL, out);
}

enum err ledger_verify(struct ledger *l, struct buf *report)
{
    struct child child;
    enum err err = ledger_flush(l);

    if (err != ERR_OK)
        return err;
    err = child_start(verify_in_child, l, &child);
    if (err != ERR_OK)
        return err;
    return child_finish(&child, report);
}
