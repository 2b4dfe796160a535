/* enginerig.c - See enginerig.h. */
#include "lib/enginerig.h"

#include "base/arena.h"
#include "base/clock.h"
#include "base/utf8.h"
#include "engine/meter.h"
#include "engine/sched_priv.h"
#include "token/grammar.h"

#include "unit/cmocka_all.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- life --------------------------------------------------------------- */

struct rig *rig_open(struct graph *g, struct model *m,
                     const struct sched_opts *o, bool has_thread)
{
    struct rig *r = calloc(1, sizeof(*r));
    struct sched_opts own = *o;
    enum err e;

    if (own.step_ms == 0)
        own.step_ms = UINT32_MAX; /* nothing depends on the time */

    assert_non_null(r);
    r->g = g;
    r->m = m;
    assert_int_equal(mbox_init(&r->answer), ERR_OK);
    e = has_thread ? sched_new(g, m, &own, &r->s)
                   : sched_make(g, m, &own, &r->s);
    assert_int_equal(e, ERR_OK);
    return r;
}

void rig_close(struct rig *r)
{
    sched_free(r->s);
    rig_collect(r);
    for (unsigned i = 0; i < RIG_JOBS; i++)
        rig_reply_fini(&r->replies[i]);
    mbox_fini(&r->answer);
    free(r);
}

void rig_reply_fini(struct rig_reply *reply)
{
    for (unsigned i = 0; i < RIG_CHOICES; i++) {
        buf_fini(&reply->choices[i].text);
        free(reply->choices[i].lps);
    }
    free(reply->prompt_lps);
    free(reply->vector);
    memset(reply, 0, sizeof(*reply));
}

/* --- jobs --------------------------------------------------------------- */

static void copy_stops(struct gen_job *j, const struct rig_ask *ask)
{
    struct str *to = arena_alloc(j->arena, sizeof(*to) * COUNT_OF(ask->stops));
    size_t n = 0;

    while (n < COUNT_OF(ask->stops) && ask->stops[n]) {
        to[n] = arena_dup(j->arena, str_from(ask->stops[n]));
        n++;
    }
    j->stops = to;
    j->n_stops = n;
}

void rig_expect(struct rig *r, uint64_t id)
{
    assert_true(id < RIG_JOBS && !r->replies[id].asked);
    r->replies[id].asked = true;
    for (unsigned i = 0; i < RIG_CHOICES; i++)
        buf_init(&r->replies[id].choices[i].text, 1 << 20);
}

void rig_submit(struct rig *r, uint64_t id, const struct rig_ask *ask)
{
    rig_expect(r, id);
    rig_send(r, id, ask);
}

void rig_send(struct rig *r, uint64_t id, const struct rig_ask *ask)
{
    struct gen_job *j = gen_job_new(1 << 20);
    int32_t *room;

    assert_non_null(j);
    room = arena_alloc(j->arena, (ask->n_tokens + 1) * sizeof(*room));
    if (ask->n_tokens > 0)
        memcpy(room, ask->tokens, ask->n_tokens * sizeof(*room));
    room[ask->n_tokens] = ask->stop_id;
    j->id = id;
    j->answer = &r->answer;
    j->kind = ask->kind;
    j->tokens = room;
    j->n_tokens = ask->n_tokens;
    j->n = ask->n > 0 ? ask->n : 1;
    j->max_tokens = ask->max_tokens;
    j->sampling.temperature = ask->temperature;
    j->sampling.frequency_penalty = ask->frequency_penalty;
    j->sampling.seed = ask->seed;
    copy_stops(j, ask);
    j->stop_ids = room + ask->n_tokens;
    j->n_stop_ids = ask->stop_id > 0;
    j->ignore_eos = ask->ignore_eos;
    j->logprobs = ask->logprobs;
    j->top_logprobs = ask->top;
    j->prompt_logprobs = ask->prompt_logprobs;
    memset(j->scope, ask->scope, sizeof(j->scope));
    snprintf(j->key, sizeof(j->key), "%s", ask->key ? ask->key : "");
    j->deadline_ms = ask->deadline_ms;
    j->grammar = ask->grammar ? grammar_ref(ask->grammar) : NULL;
    j->meter = meter_ref(ask->meter);
    sched_submit(r->s, j);
}

/* --- events ------------------------------------------------------------- */

/* Append <n> numbers to a list. */
static void add_lps(struct gen_logprob **list, size_t *n_list,
                    const struct gen_logprob *lps, size_t n)
{
    if (n == 0)
        return;
    *list = reallocarray(*list, *n_list + n, sizeof(**list));
    assert_non_null(*list);
    memcpy(*list + *n_list, lps, n * sizeof(*lps));
    *n_list += n;
}

static void take_text(struct rig_reply *reply, const struct gen_event *ev)
{
    struct rig_choice *c = &reply->choices[ev->choice];

    assert_true(reply->started && !c->over);
    assert_true(ev->text.len > 0 || ev->n_logprobs > 0);
    assert_true(utf8_is_valid(ev->text));
    assert_int_equal(buf_put_str(&c->text, ev->text), ERR_OK);
    add_lps(&c->lps, &c->n_lps, ev->logprobs, ev->n_logprobs);
    c->n_events++;
}

static void take_finish(struct rig_reply *reply, const struct gen_event *ev)
{
    struct rig_choice *c = &reply->choices[ev->choice];

    assert_true(reply->started && !c->over);
    c->over = true;
    c->finish = ev->finish;
    c->stop_index = ev->stop_index;
    c->stop_id = ev->stop_id;
}

static void take(struct rig *r, struct rig_reply *reply,
                 const struct gen_event *ev)
{
    assert_true(reply->asked && !reply->over);
    assert_in_range(ev->choice, 0, RIG_CHOICES - 1);
    reply->counts = ev->counts;
    switch (ev->kind) {
    case GEN_EV_START:
        assert_false(reply->started);
        reply->started = true;
        add_lps(&reply->prompt_lps, &reply->n_prompt_lps, ev->logprobs,
                ev->n_logprobs);
        break;
    case GEN_EV_TEXT:
        take_text(reply, ev);
        break;
    case GEN_EV_FINISH:
        take_finish(reply, ev);
        break;
    case GEN_EV_EMBED:
        reply->vector = malloc(ev->n_vector * sizeof(float));
        assert_non_null(reply->vector);
        memcpy(reply->vector, ev->vector, ev->n_vector * sizeof(float));
        reply->n_vector = ev->n_vector;
        break;
    case GEN_EV_SHORT:
        reply->n_short++;
        break;
    default:
        reply->over = true;
        reply->err = ev->kind == GEN_EV_FAIL ? ev->err : ERR_OK;
        reply->retry_after_ms = ev->retry_after_ms;
        reply->turn = r->turns;
    }
}

static void on_event(struct mbox_msg *m, void *arg)
{
    struct gen_event *ev = MBOX_ENTRY(m, struct gen_event, link);
    struct rig *r = arg;

    assert_in_range(ev->job, 0, RIG_JOBS - 1);
    take(r, &r->replies[ev->job], ev);
    gen_event_free(ev);
}

void rig_collect(struct rig *r)
{
    mbox_drain(&r->answer, 0, on_event, r);
}

bool rig_turn(struct rig *r)
{
    bool ran = sched_turn(r->s);

    r->turns++;
    rig_collect(r);
    return ran;
}

/* Whether some job is not over. */
static bool is_open(const struct rig *r)
{
    for (unsigned i = 0; i < RIG_JOBS; i++)
        if (r->replies[i].asked && !r->replies[i].over)
            return true;
    return false;
}

void rig_finish(struct rig *r, unsigned most)
{
    struct sched_stats st;

    rig_collect(r);
    for (unsigned i = 0; is_open(r); i++) {
        assert_in_range(i, 0, most);
        rig_turn(r);
    }
    rig_turn(r);
    sched_read(r->s, &st);
    assert_int_equal(st.waiting, 0);
    assert_int_equal(st.running, 0);
    assert_int_equal(st.pages_used, 0);
    assert_int_equal(r->s->pool.n_free + r->s->pool.n_cached, r->s->o.n_pages);
    assert_int_equal(r->s->prefix.n, r->s->pool.n_cached);
    assert_int_equal(atomic_load(&r->s->n.ahead), 0);
}

void rig_wait(struct rig *r)
{
    struct pollfd p = {.fd = mbox_fd(&r->answer), .events = POLLIN};

    rig_collect(r);
    while (is_open(r)) {
        assert_int_equal(poll(&p, 1, 60000), 1);
        rig_collect(r);
    }
}

/* --- comparing ---------------------------------------------------------- */

static void same_lps(const struct gen_logprob *a, size_t n_a,
                     const struct gen_logprob *b, size_t n_b)
{
    assert_int_equal(n_a, n_b);
    for (size_t i = 0; i < n_a; i++) {
        assert_int_equal(a[i].id, b[i].id);
        assert_memory_equal(&a[i].logprob, &b[i].logprob, sizeof(float));
        assert_int_equal(a[i].n_top, b[i].n_top);
        for (unsigned k = 0; k < a[i].n_top; k++)
            assert_memory_equal(&a[i].top[k], &b[i].top[k],
                                sizeof(a[i].top[k]));
    }
}

static void same_choice(const struct rig_choice *a, const struct rig_choice *b)
{
    assert_int_equal(a->text.len, b->text.len);
    if (a->text.len > 0)
        assert_memory_equal(a->text.p, b->text.p, a->text.len);
    same_lps(a->lps, a->n_lps, b->lps, b->n_lps);
    assert_int_equal(a->over, b->over);
    assert_int_equal(a->finish, b->finish);
    assert_int_equal(a->stop_index, b->stop_index);
    assert_int_equal(a->stop_id, b->stop_id);
}

void rig_same(const struct rig_reply *a, const struct rig_reply *b)
{
    assert_int_equal(a->over, b->over);
    assert_int_equal(a->err, b->err);
    assert_int_equal(a->started, b->started);
    same_lps(a->prompt_lps, a->n_prompt_lps, b->prompt_lps, b->n_prompt_lps);
    assert_int_equal(a->n_vector, b->n_vector);
    if (a->n_vector > 0)
        assert_memory_equal(a->vector, b->vector, a->n_vector * sizeof(float));
    assert_int_equal(a->counts.prompt_tokens, b->counts.prompt_tokens);
    assert_int_equal(a->counts.output_tokens, b->counts.output_tokens);
    for (unsigned i = 0; i < RIG_CHOICES; i++)
        same_choice(&a->choices[i], &b->choices[i]);
}
