/* verify.c - Proving the ledger: every seal, every cross-reference, and that
 * counters are the sums of the rows. Runs in a child process over one
 * snapshot; must never write. Days of which rows were pruned cannot be
 * summed again and are left out. */
#include "store/ledger_db.h"

/* Findings told one by one; the rest is only counted. */
#define TOLD_MAX 20

/* A proof under way. */
struct proof {
    struct txn *t;
    struct buf *out;
    struct tally_map sums; /* of the rows, by counter key */
    uint32_t whole_from;   /* days before it are not summed */
    uint64_t faults;
    uint64_t n[LDB_TABLE_COUNT]; /* records seen */
};

/* Whether one more finding should be told; counts it. */
static bool is_told(struct proof *p)
{
    p->faults++;
    return p->faults <= TOLD_MAX;
}

static enum err prove_row(struct proof *p, struct str key, struct str payload)
{
    struct usage_row row;
    char name[TALLY_KEY_MAX];
    struct str at;

    if (key.len != LDB_ROW_KEY_LEN || row_decode(payload, &row) != ERR_OK ||
        !str_eq(str_skip(key, 8), row.id)) {
        if (is_told(p))
            env_say(p->out, "row %llu: not readable\n",
                    (unsigned long long)p->n[LDB_ROWS]);
        return ERR_OK;
    }
    if (ldb_get(p->t, LDB_IDS, row.id, &at) != ERR_OK && is_told(p))
        env_say(p->out, "row %.*s: its id is not in the index\n",
                STR_ARG(row.id));
    const struct tally_key tk = tally_key_of(&row);
    if (tk.day < p->whole_from)
        return ERR_OK;
    struct tally *sum =
        tally_map_at(&p->sums, str_of(name, tally_key_encode(&tk, name)));
    if (!sum)
        return ERR_NOMEM;
    tally_add_row(sum, &row);
    return ERR_OK;
}

/* Compare a counter with the sum of its rows, which is taken out of the map
 * by setting it to zero: what is left at the end has no counter. */
static enum err prove_counter(struct proof *p, struct str key,
                              struct str payload)
{
    struct tally_key tk;
    struct tally stored;

    if (tally_key_decode(key, &tk) != ERR_OK ||
        tally_decode(payload, &stored) != ERR_OK) {
        if (is_told(p))
            env_say(p->out, "counter %llu: not readable\n",
                    (unsigned long long)p->n[LDB_COUNTERS]);
        return ERR_OK;
    }
    if (tk.day < p->whole_from)
        return ERR_OK;
    struct tally *sum = tally_map_at(&p->sums, key);
    if (!sum)
        return ERR_NOMEM;
    if (!tally_is_same(sum, &stored) && is_told(p))
        env_say(p->out,
                "counter of day %u key %.*s model %.*s: %llu requests, its "
                "rows sum to %llu%s\n",
                tk.day, STR_ARG(tk.key_id), STR_ARG(tk.model),
                (unsigned long long)stored.requests,
                (unsigned long long)sum->requests,
                stored.requests == sum->requests ? " (tokens differ)" : "");
    *sum = (struct tally){0};
    return ERR_OK;
}

static enum err prove_record(struct proof *p, unsigned table, struct str key,
                             struct str payload)
{
    switch (table) {
    case LDB_ROWS:
        return prove_row(p, key, payload);
    case LDB_COUNTERS:
        return prove_counter(p, key, payload);
    default:
        return ERR_OK; /* its seal is all that can be said here */
    }
}

static enum err prove_value(struct proof *p, unsigned table,
                            const struct cursor *c)
{
    struct buf none;
    struct str payload;

    buf_init(&none, 0);
    p->n[table]++;
    if (ldb_check(table, c->key, c->value, &none) != ERR_OK) {
        if (is_told(p))
            env_say(p->out, "table %s, record %llu: fails its checksum\n",
                    ldb_table_name(table), (unsigned long long)p->n[table]);
        return ERR_OK;
    }
    payload = str_skip(c->value, REC_HEAD_BYTES);
    return prove_record(p, table, c->key, payload);
}

static enum err prove_table(struct proof *p, unsigned table)
{
    struct cursor c;
    enum err err = cursor_open(p->t, table, &c);

    if (err != ERR_OK)
        return err;
    err = cursor_next(&c);
    while (err == ERR_OK) {
        err = prove_value(p, table, &c);
        if (err == ERR_OK)
            err = cursor_next(&c);
    }
    cursor_close(&c);
    return err == ERR_NOT_FOUND ? ERR_OK : err;
}

static void prove_nothing_left(struct proof *p)
{
    for (const struct tally_item *it = tally_map_next(&p->sums, NULL); it;
         it = tally_map_next(&p->sums, it)) {
        if (it->sum.requests != 0 && is_told(p))
            env_say(p->out, "%llu rows have no counter\n",
                    (unsigned long long)it->sum.requests);
    }
}

enum err ldb_verify(struct txn *t, void *unused, struct buf *out)
{
    struct proof p = {.t = t, .out = out};
    enum err err = ldb_whole_from_day(t, &p.whole_from);

    (void)unused; /* the shape of env_look_fn */
    for (unsigned i = 0; err == ERR_OK && i < LDB_TABLE_COUNT; i++)
        err = prove_table(&p, i);
    prove_nothing_left(&p);
    tally_map_fini(&p.sums);
    if (err != ERR_OK) {
        env_say(out, "cannot be read to its end: %s\n", err_name(err));
        return err;
    }
    if (p.n[LDB_IDS] != p.n[LDB_ROWS] && is_told(&p))
        env_say(out, "%llu ids for %llu rows\n",
                (unsigned long long)p.n[LDB_IDS],
                (unsigned long long)p.n[LDB_ROWS]);
    env_say(out, "rows=%llu counters=%llu keys=%llu teams=%llu faults=%llu\n",
            (unsigned long long)p.n[LDB_ROWS],
            (unsigned long long)p.n[LDB_COUNTERS],
            (unsigned long long)p.n[LDB_KEYS],
            (unsigned long long)p.n[LDB_TEAMS], (unsigned long long)p.faults);
    return p.faults == 0 ? ERR_OK : ERR_CORRUPT;
}
