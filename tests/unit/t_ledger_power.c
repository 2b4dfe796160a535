/* t_ledger_power.c - The power is cut at every moment of a busy ledger's life,
 * and any part of what was not synced is gone: budgets hold, what was told to
 * be durable is there, and nothing is there twice. TG_CUTS sets how many
 * variants of every cut are tried (default 4), TG_CUT_SEED which. */
#include "unit/accounts_fixture.h"

#include "lib/iolog.h"

#include <stdatomic.h>

#define THREADS  2
#define REQUESTS 40 /* of each */

#define FIRST_BOOT  "00000000-0000-0000-0000-00000000000a"
#define SECOND_BOOT "00000000-0000-0000-0000-00000000000b"

/* Marks: the upstream takes <a> tokens more for request <b>, whatever becomes
 * of us; the row of request <b> is durable. */
enum { MARK_SENT = 1, MARK_DURABLE };

/* A request: what its row says in the end. */
struct asked {
    char id[ID_SIZE];
    uint64_t in, out;
    bool has_row;
};

struct life {
    struct fixture *f;
    struct accounts *a;
    struct budget_spec key, team;
    struct asked all[THREADS * REQUESTS];
};

/* One thread of it. */
struct lane {
    struct life *l;
    struct client c;
    pthread_t thread;
    unsigned first; /* its first request */
    uint64_t x;
};

static uint64_t next_random(uint64_t *x)
{
    *x = *x * 6364136223846793005u + 1442695040888963407u;
    return *x >> 33;
}

static struct accounts_ask ask_for(const struct lane *w, const char *id,
                                   int64_t in, int64_t out)
{
    const struct usage_row row = {.id = str_from(id)};

    return ask_of(&w->c, &row, in, out);
}

/* A request of at most <in> and <out>, whose hold may grow. */
static void one(struct lane *w, unsigned i)
{
    struct asked *r = &w->l->all[i];
    struct accounts_hold hold;
    struct usage_row row = row_at(r->id, DAY0);
    const int64_t in = 1 + (int64_t)(next_random(&w->x) % 20);
    int64_t out = 1 + (int64_t)(next_random(&w->x) % 20);
    struct accounts_ask what = ask_for(w, r->id, in, out);

    if (ask_now(&w->c, &what, &hold) != ACCOUNTS_HELD)
        return;
    int64_t took = in + (int64_t)(next_random(&w->x) % (uint64_t)(out + 1));
    iolog_mark(MARK_SENT, took, i);
    if (next_random(&w->x) % 3 == 0) {
        what = ask_for(w, r->id, in, out + 10);
        if (grow(&w->c, &what, &hold) == ACCOUNTS_HELD) {
            const int64_t more = in + out + 10 - took;

            iolog_mark(MARK_SENT, more, i);
            took += more;
        }
    }
    r->in = (uint64_t)in;
    r->out = (uint64_t)(took - in);
    r->has_row = true;
    end(&w->c, &hold, &row, r->in, r->out);
}

static void *live(void *arg)
{
    struct lane *w = arg;
    unsigned known = w->first;

    for (unsigned i = w->first; i < w->first + REQUESTS; i++) {
        one(w, i);
        if (next_random(&w->x) % 8 != 0)
            continue;
        if (ledger_flush(w->l->f->ledger) != ERR_OK)
            abort();
        for (; known <= i; known++)
            if (w->l->all[known].has_row)
                iolog_mark(MARK_DURABLE, 0, known);
    }
    return NULL;
}

/* Everything from an empty directory to a clean end. */
static void live_all(struct life *l)
{
    struct ledger_worker *seats[THREADS];
    struct lane lanes[THREADS];

    memset(lanes, 0, sizeof(lanes));
    open_ledger(l->f);
    open_seat(l->f);
    l->a = accounts_new(l->f->ledger);
    for (unsigned i = 0; i < THREADS; i++) {
        assert_int_equal(ledger_worker_open(l->f->ledger, i + 1, &seats[i]),
                         ERR_OK);
        client_init(&lanes[i].c, l->f, l->a, seats[i]);
        lanes[i].c.key = &l->key;
        lanes[i].c.team = &l->team;
        lanes[i].l = l;
        lanes[i].first = i * REQUESTS;
        lanes[i].x = 77 + i;
    }
    for (unsigned i = 0; i < THREADS; i++)
        pthread_create(&lanes[i].thread, NULL, live, &lanes[i]);
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(lanes[i].thread, NULL);
    accounts_free(l->a);
    for (unsigned i = 0; i < THREADS; i++)
        ledger_worker_close(seats[i]);
    close_all(l->f);
}

/* --- after a cut ---------------------------------------------------------- */

/* What was so before a cut. */
struct truth {
    int64_t tokens; /* that the upstream took, and takes */
    bool is_durable[THREADS * REQUESTS];
};

static void truth_of(size_t at, struct truth *out)
{
    *out = (struct truth){0};
    for (size_t i = 0; i < at; i++) {
        unsigned kind;
        int64_t a, b;

        if (!iolog_is_mark(i, &kind, &a, &b))
            continue;
        if (kind == MARK_SENT)
            out->tokens += a;
        else
            out->is_durable[b] = true;
    }
}

static void assert_rows_durable(struct fixture *f, const struct life *l,
                                const struct truth *truth)
{
    struct buf room;

    buf_init(&room, 64 << 10);
    for (unsigned i = 0; i < THREADS * REQUESTS; i++) {
        const struct asked *r = &l->all[i];
        struct usage_row row;

        if (!truth->is_durable[i])
            continue;
        buf_clear(&room);
        if (ledger_row_find(f->ledger, str_from(r->id), &room, &row) != ERR_OK)
            fail_msg("request %u was durable, and is gone", i);
        assert_int_equal(row.tok[ROW_TOK_INPUT], r->in);
        assert_int_equal(row.tok[ROW_TOK_OUTPUT], r->out);
        assert_int_equal(row.flags & ROW_IN_DOUBT, 0);
    }
    buf_fini(&room);
}

/* The rows that are there, each once, of a request of this life. */
struct seen {
    const struct life *l;
    bool is_there[THREADS * REQUESTS];
};

static enum err see_row(void *arg, const struct usage_row *row)
{
    struct seen *s = arg;

    for (unsigned i = 0; i < THREADS * REQUESTS; i++) {
        if (!str_eq(row->id, str_from(s->l->all[i].id)))
            continue;
        assert_false(s->is_there[i]);
        s->is_there[i] = true;
        return ERR_OK;
    }
    fail_msg("a row of nobody: %.*s", STR_ARG(row->id));
    return ERR_OK;
}

static struct spend spend_of(struct fixture *f, const char *name)
{
    struct spend s;

    assert_int_equal(ledger_spend_read(f->ledger, str_from(name), &s), ERR_OK);
    return s;
}

static void assert_spent(struct fixture *f, const struct life *l,
                         const struct truth *truth)
{
    const struct spend key = spend_of(f, "kkey_a");
    const struct spend team = spend_of(f, "tblue");
    const int64_t tokens = key.in[BUDGET_TOTAL].took.of[BUDGET_TOKENS];
    const int64_t nusd = team.in[BUDGET_TOTAL].took.of[BUDGET_NUSD];

    if (tokens < truth->tokens || tokens > l->key.amount)
        fail_msg("the key: %lld taken, %lld spent, %lld budget",
                 (long long)truth->tokens, (long long)tokens,
                 (long long)l->key.amount);
    if (nusd < 10 * truth->tokens || nusd > l->team.amount)
        fail_msg("the team: %lld taken, %lld spent, %lld budget",
                 (long long)(10 * truth->tokens), (long long)nusd,
                 (long long)l->team.amount);
}

/* Start after the cut, as another boot unless only the process died. */
static void start_again(const struct life *l, size_t at, enum iolog_left left,
                        uint64_t seed)
{
    struct fixture f = {.dir = state_dir_make()};
    struct seen seen = {.l = l};
    struct truth truth;

    f.opts = (struct ledger_opts){
        .state_dir = f.dir, .workers = 8, .map_bytes = 4 << 20};
    buf_init(&f.why, 64 << 10);
    truth_of(at, &truth);
    iolog_rebuild(at, left, seed, f.dir);
    iolog_boot(left == IOLOG_ALL ? FIRST_BOOT : SECOND_BOOT);
    if (ledger_open(&f.opts, &f.ledger, &f.why) != ERR_OK)
        fail_msg("cut at %zu: %.*s", at, STR_ARG(buf_str(&f.why)));
    assert_spent(&f, l, &truth);
    assert_rows_durable(&f, l, &truth);
    assert_int_equal(ledger_export(f.ledger, 0, 0, see_row, &seen), ERR_OK);
    if (at % 16 == 0)
        assert_proved(&f);
    ledger_close(f.ledger);
    state_dir_drop(f.dir);
    buf_fini(&f.why);
}

static unsigned number_of(const char *name, unsigned otherwise)
{
    const char *text = getenv(name);

    return text ? (unsigned)atoi(text) : otherwise;
}

static void whenever_the_power_is_cut(void **state)
{
    static const enum iolog_left kinds[] = {IOLOG_NOTHING, IOLOG_SOME,
                                            IOLOG_ALL, IOLOG_SOME};
    const unsigned variants = number_of("TG_CUTS", 4);
    uint64_t seed = number_of("TG_CUT_SEED", 1);
    struct life l = {.f = *state};
    unsigned n = 0;

    l.key = spec_of("1000-tokens/total");
    l.team = spec_of("$1/total");
    l.team.amount = 9000; /* nano-dollars: 900 tokens */
    l.f->opts.map_bytes = 4 << 20;
    l.f->opts.journal_bytes = 2048; /* some files */
    iolog_boot(FIRST_BOOT);
    iolog_begin(l.f->dir);
    live_all(&l);
    iolog_end();
    for (size_t at = 0; at <= iolog_count(); at++)
        for (unsigned v = 0; v < variants; v++) {
            start_again(&l, at, kinds[(at + v) % 4], seed++);
            n++;
        }
    print_message("%zu notes, %u starts\n", iolog_count(), n);
    iolog_boot(NULL);
    iolog_fini();
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        SHUT(whenever_the_power_is_cut),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
