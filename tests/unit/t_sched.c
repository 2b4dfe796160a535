/* t_sched.c - The scheduler over the double of fakegraph.h: what a job gets
 * does not depend on who runs beside it, on how its prompt is cut, on how often
 * it is preempted or on what was cached before. */
#include "lib/fakerig.h"

#include "base/clock.h"
#include "engine/sched_priv.h"

#include "unit/cmocka_all.h"

#include <stdlib.h>
#include <string.h>

#define MOST_TOKENS 160

/* Deterministic random numbers. */
static uint64_t next(uint64_t *r)
{
    *r ^= *r << 13;
    *r ^= *r >> 7;
    *r ^= *r << 17;
    return *r;
}

static unsigned below(uint64_t *r, unsigned n)
{
    return (unsigned)((next(r) >> 20) % n);
}

/* --- random jobs -------------------------------------------------------- */

/* A job with room for its prompt. */
struct some_ask {
    struct rig_ask ask;
    int32_t tokens[MOST_TOKENS];
};

/* Prompts share beginnings: token <i> of family <f>. */
static int32_t family_token(unsigned f, unsigned i)
{
    return (int32_t)(RIG_BYTES + (f * 7919 + i * 31 + i * i) % 250);
}

static const char *const stop_words[] = {"ab",  "abca", "xx", "\xc3\xa9",
                                         "bca", " a",   "zz", "aaaa"};
static const char *const key_names[] = {"", "k1", "k2", "k3"};

static void random_prompt(uint64_t *r, struct some_ask *a)
{
    unsigned family = below(r, 3);
    unsigned shared = below(r, 100);
    unsigned n = 1 + below(r, MOST_TOKENS - 1);

    for (unsigned i = 0; i < n; i++)
        a->tokens[i] = i < shared ? family_token(family, i)
                                  : (int32_t)(RIG_BYTES + below(r, 250));
    a->ask.tokens = a->tokens;
    a->ask.n_tokens = n;
}

static void random_ask(uint64_t *r, struct some_ask *a)
{
    memset(a, 0, sizeof(*a));
    random_prompt(r, a);
    a->ask.scope = (uint8_t)below(r, 2);
    a->ask.key = key_names[below(r, 4)];
    if (below(r, 8) == 0) {
        a->ask.kind = GEN_EMBED;
        return;
    }
    a->ask.n = 1 + (below(r, 3) == 0 ? below(r, 4) : 0);
    a->ask.max_tokens = below(r, 12) == 0 ? 0 : 1 + below(r, 50);
    a->ask.temperature = below(r, 3) == 0 ? 0.0f : 1.0f;
    a->ask.frequency_penalty = below(r, 4) == 0 ? 0.7f : 0.0f;
    a->ask.seed = next(r);
    for (unsigned i = below(r, 3); i > 0; i--)
        a->ask.stops[i - 1] = stop_words[below(r, COUNT_OF(stop_words))];
    a->ask.ignore_eos = below(r, 4) == 0;
    a->ask.logprobs = below(r, 3) == 0;
    a->ask.top = a->ask.logprobs ? below(r, 4) : 0;
    a->ask.prompt_logprobs = below(r, 6) == 0;
    if (below(r, 6) == 0)
        a->ask.stop_id = (int32_t)(RIG_BYTES + 256 + below(r, 20));
}

/* --- one random schedule ------------------------------------------------ */

#define JOBS 10

/* What is done to a job, and when. */
struct fate {
    unsigned arrives;
    unsigned cancelled; /* turn; 0 = never */
    unsigned paused;    /* turn; 0 = never */
    unsigned resumed;
};

static void random_fate(uint64_t *r, struct fate *f)
{
    f->arrives = below(r, 40);
    f->cancelled = below(r, 6) == 0 ? f->arrives + 1 + below(r, 40) : 0;
    f->paused = below(r, 4) == 0 ? f->arrives + 1 + below(r, 30) : 0;
    f->resumed = f->paused + 1 + below(r, 40);
}

/* What is due in turn <turn>. */
static void apply(struct rig *r, const struct some_ask *asks,
                  const struct fate *fates, unsigned turn)
{
    for (uint64_t i = 0; i < JOBS; i++) {
        const struct fate *f = &fates[i];

        if (f->arrives == turn)
            rig_submit(r, i, &asks[i].ask);
        if (f->cancelled > 0 && f->cancelled == turn)
            sched_cancel(r->s, i);
        if (f->paused > 0 && f->paused == turn)
            sched_pause(r->s, i, true);
        if (f->paused > 0 && f->resumed == turn)
            sched_pause(r->s, i, false);
    }
}

/* The table shows the pages of those that run, and no others. */
static void check_table(const struct sched *s)
{
    size_t n = s->o.slots * s->max_pages;
    size_t n_shown = 0;
    const struct seq *q;

    for (size_t i = 0; i < n; i++)
        n_shown += s->table[i] != -1;
    TAILQ_FOREACH(q, &s->running, run)
    {
        if (q->n_pages > 0)
            assert_memory_equal(s->table + (size_t)q->slot * s->max_pages,
                                q->pages, q->n_pages * sizeof(*q->pages));
        n_shown -= q->n_pages;
    }
    assert_int_equal(n_shown, 0);
}

/* No page may be held by fewer than the pool thinks. */
static void check_refs(struct rig *r)
{
    struct sched *s = r->s;
    uint32_t *held = calloc(s->o.n_pages, sizeof(*held));
    struct task *t;

    assert_non_null(held);
    TAILQ_FOREACH(t, &s->tasks, link)
    for (unsigned i = 0; i < t->n_seqs; i++)
        for (size_t p = 0; p < t->seqs[i].n_pages; p++)
            held[t->seqs[i].pages[p]]++;
    for (unsigned i = 0; i < s->o.n_pages; i++)
        assert_int_equal(held[i], s->pool.pages[i].refs);
    free(held);
}

/* A reply that was cut short holds a beginning of the whole. */
static void begins(const struct rig_reply *part, const struct rig_reply *all)
{
    for (unsigned i = 0; i < RIG_CHOICES; i++) {
        const struct rig_choice *p = &part->choices[i];
        const struct rig_choice *a = &all->choices[i];

        assert_true(p->text.len <= a->text.len);
        if (p->text.len > 0)
            assert_memory_equal(p->text.p, a->text.p, p->text.len);
        assert_true(p->n_lps <= a->n_lps);
        if (p->over)
            assert_int_equal(p->text.len, a->text.len);
    }
}

static void check_reply(const struct some_ask *a, const struct rig_reply *got)
{
    struct rig_reply want;

    rig_alone(&a->ask, &want);
    if (got->err == ERR_CLIENT_GONE) {
        begins(got, &want);
    } else {
        rig_same(got, &want);
        assert_true(got->counts.cached_tokens < a->ask.n_tokens);
        assert_int_equal(got->counts.cached_tokens % KRN_PAGE_TOKENS, 0);
    }
    rig_reply_fini(&want);
}

/* What all schedules did in sum, so that the test is known to try it. */
struct sum {
    uint64_t preemptions, cached, output, copies, text, stops;
    uint64_t lps, choices, vectors, gone;
};

static void add_up(struct sum *sum, struct rig *rig)
{
    struct sched_stats st;

    sched_read(rig->s, &st);
    sum->preemptions += st.preemptions;
    sum->cached += st.cached_tokens;
    sum->output += st.output_tokens;
    sum->copies += rig->g->n_copies;
    for (unsigned i = 0; i < JOBS; i++) {
        const struct rig_reply *y = &rig->replies[i];

        sum->vectors += y->n_vector > 0;
        sum->gone += y->err == ERR_CLIENT_GONE;
        for (unsigned c = 0; c < RIG_CHOICES; c++) {
            sum->text += y->choices[c].text.len;
            sum->stops += y->choices[c].over && y->choices[c].stop_index >= 0;
            sum->lps += y->choices[c].n_lps;
            sum->choices += y->choices[c].over;
        }
    }
}

static void random_schedule(uint64_t seed, struct sum *sum)
{
    uint64_t r = seed * 0x9e3779b97f4a7c15u + 1;
    struct sched_opts o = {0};
    struct some_ask asks[JOBS];
    struct fate fates[JOBS];
    struct rig *rig;

    next(&r);
    o.slots = 1 + below(&r, 8);
    o.step_tokens = 1 + below(&r, below(&r, 2) ? 24 : 512);
    /* the longest of these jobs takes 14 pages */
    o.n_pages = 14 + below(&r, below(&r, 3) ? 12 : 200);
    rig = rig_new(&o, 512);
    for (unsigned i = 0; i < JOBS; i++) {
        random_ask(&r, &asks[i]);
        random_fate(&r, &fates[i]);
    }
    for (unsigned turn = 0; turn < 120; turn++) {
        apply(rig, asks, fates, turn);
        rig_turn(rig);
        check_refs(rig);
        check_table(rig->s);
        if (below(&r, 50) == 0)
            sched_purge(rig->s);
    }
    rig_finish(rig, 20000);
    assert_true(rig->g->most_rows <= o.step_tokens);
    for (unsigned i = 0; i < JOBS; i++)
        check_reply(&asks[i], &rig->replies[i]);
    add_up(sum, rig);
    rig_free(rig);
}

static void any_schedule_gives_what_a_job_gets_alone(void **state)
{
    struct sum sum = {0};

    (void)state;
    for (uint64_t seed = 1; seed <= 300; seed++)
        random_schedule(seed, &sum);
    /* all of it was tried, and often */
    assert_true(sum.preemptions > 200 && sum.cached > 5000);
    assert_true(sum.output > 30000 && sum.text > 50000);
    assert_true(sum.gone > 100 && sum.copies > 300 && sum.stops > 100);
    assert_true(sum.lps > 5000 && sum.choices > 1500 && sum.vectors > 100);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_schedule_gives_what_a_job_gets_alone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
