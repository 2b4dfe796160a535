/* target_gate.c - Who is let in at a target, and what is made of what they
 * met. Two breakers stand in the way of an attempt, that of the target and
 * that of the key that it uses:
 *
 *   what it met                      the target is told    its key is told
 *   a good reply                     GOOD                  GOOD
 *   nobody there, broken off         BAD                   nothing
 *   the upstream says that it failed BAD                   BAD if there are
 *                                                          others, else ALIVE
 *   it refuses the key               ALIVE                 BAD
 *   limits, the caller's mistakes    ALIVE                 ALIVE
 */
#include "serve/target.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/panic.h"
#include "conf/conf.h"
#include "serve/pick.h"
#include "serve/retry.h"
#include "serve/target_priv.h"

/* Whether anything may shut <up>. */
static bool is_watched(const struct conf_upstream *up)
{
    return up && up->breaker.failures > 0;
}

static struct breaker_rules rules_of(const struct conf_upstream *up)
{
    return (struct breaker_rules){.failures = up->breaker.failures,
                                  .window_ms = (uint64_t)up->breaker.window_ms,
                                  .open_ms = (uint64_t)up->breaker.open_ms};
}

/* --- whether one may come in --------------------------------------------- */

/* Whether attempts may pass <g>; rests do not bar any where they <may_rest>.
 */
static bool gate_lets(const struct target_gate *g,
                      const struct conf_upstream *up, bool may_rest,
                      uint64_t now_ms)
{
    if (!may_rest &&
        atomic_load_explicit(&g->rest_until_ms, memory_order_relaxed) > now_ms)
        return false;
    return !is_watched(up) || breaker_is_ready(&g->breaker, now_ms);
}

static bool is_tried(uint64_t tried_keys, unsigned key)
{
    return key < 64 && (tried_keys >> key & 1) != 0;
}

/* The first of the keys from number <first> on that may be used. */
static unsigned key_from(const struct target *t, const struct conf_upstream *up,
                         unsigned first, uint64_t tried_keys, bool may_rest,
                         uint64_t now_ms)
{
    const unsigned n = (unsigned)up->n_keys;

    for (unsigned i = 0; i < n; i++) {
        const unsigned key = (first + i) % n;
        const struct target_key *k;

        if (is_tried(tried_keys, key))
            continue;
        k = target_key_find(t, up, key);
        if (!k || gate_lets(&k->gate, up, may_rest, now_ms))
            return key;
    }
    return TARGET_NO_KEY;
}

static bool is_passable(const struct target *t, const struct conf_upstream *up,
                        uint64_t tried_keys, bool may_rest, uint64_t now_ms)
{
    if (!target_is_open(t) || !gate_lets(&t->gate, up, may_rest, now_ms))
        return false;
    return !up || up->n_keys == 0 ||
           key_from(t, up, 0, tried_keys, may_rest, now_ms) != TARGET_NO_KEY;
}

bool target_is_ready(const struct target *t, const struct conf_upstream *up,
                     uint64_t tried_keys, uint64_t now_ms)
{
    return is_passable(t, up, tried_keys, false, now_ms);
}

bool target_is_last_resort(const struct target *t,
                           const struct conf_upstream *up, uint64_t tried_keys,
                           uint64_t now_ms)
{
    return is_passable(t, up, tried_keys, true, now_ms);
}

bool target_is_sound(const struct target *t, const struct conf_upstream *up,
                     uint64_t now_ms)
{
    struct pick_view v = {.weight = 1};

    target_see(t, up, now_ms, &v);
    return target_is_ready(t, up, 0, now_ms) &&
           breaker_is_closed(&t->gate.breaker) &&
           (v.limit == 0 || v.in_flight < v.limit);
}

/* --- in ------------------------------------------------------------------ */

/* Choose the key of <p>, one that does not rest if there is such; false when
 * none may be used. */
static bool key_choose(struct target_pass *p, const struct conf_upstream *up,
                       uint64_t tried_keys, uint64_t now_ms)
{
    unsigned first;

    p->key = TARGET_NO_KEY;
    if (!up || up->n_keys == 0)
        return true;
    first = atomic_fetch_add_explicit(&p->t->turn, 1, memory_order_relaxed) %
            (unsigned)up->n_keys;
    p->key = key_from(p->t, up, first, tried_keys, false, now_ms);
    if (p->key == TARGET_NO_KEY)
        p->key = key_from(p->t, up, first, tried_keys, true, now_ms);
    return p->key != TARGET_NO_KEY;
}

/* Take the passes of <p>; none when one of its breakers is shut meanwhile. */
static bool passes_take(struct target_pass *p, const struct conf_upstream *up,
                        uint64_t now_ms)
{
    const struct breaker_rules rules = rules_of(up);
    struct target_key *k = NULL;

    if (p->key != TARGET_NO_KEY)
        k = target_key_get(p->t, up, p->key, now_ms);
    if (!breaker_enter(&p->t->gate.breaker, &rules, now_ms, &p->all))
        return false;
    if (k && !breaker_enter(&k->gate.breaker, &rules, now_ms, &p->own)) {
        (void)breaker_leave(&p->t->gate.breaker, &rules, &p->all,
                            BREAKER_SILENT, now_ms);
        return false;
    }
    p->watched = true;
    p->key_watched = k != NULL;
    return true;
}

static void log_probe(const struct target_pass *p)
{
    if (p->all.probe)
        log_note(LOG_ROUTE, "target is probed: name=%s", p->t->name);
    if (p->own.probe)
        log_note(LOG_ROUTE, "upstream key is probed: upstream=%s key=%u",
                 p->t->name, p->key);
}

/* Whether <t> lets nobody in whoever comes. */
static bool is_closed(const struct target *t, const struct conf_upstream *up,
                      uint64_t now_ms)
{
    return !target_is_open(t) || !gate_lets(&t->gate, up, true, now_ms);
}

/* Let in who is counted in flight, and count it out if that cannot be. */
static enum target_answer enter(struct target *t,
                                const struct conf_upstream *up,
                                uint64_t tried_keys, uint64_t now_ms,
                                struct target_pass *out)
{
    struct target_pass p = {.t = t, .in = true};

    if (is_closed(t, up, now_ms) || !key_choose(&p, up, tried_keys, now_ms) ||
        (is_watched(up) && !passes_take(&p, up, now_ms))) {
        atomic_fetch_sub(&t->in_flight, 1);
        return TARGET_SHUT;
    }
    atomic_fetch_add_explicit(&t->requests, 1, memory_order_relaxed);
    log_probe(&p);
    *out = p;
    return TARGET_IN;
}

enum target_answer target_enter_placed(struct target *t,
                                       const struct conf_upstream *up,
                                       uint64_t tried_keys, uint64_t now_ms,
                                       struct target_pass *out)
{
    const enum target_answer a = enter(t, up, tried_keys, now_ms, out);

    if (a != TARGET_IN)
        target_hand_on(t, now_ms);
    return a;
}

enum target_answer target_enter(struct target *t,
                                const struct conf_upstream *up,
                                uint64_t tried_keys, uint64_t now_ms,
                                struct target_pass *out)
{
    const uint64_t most = up ? up->max_in_flight : 0;
    enum target_answer a;

    if (is_closed(t, up, now_ms))
        return TARGET_SHUT;
    if (up && atomic_load(&t->limit) != most)
        target_set_limit(t, most, now_ms);
    /* Nobody comes before those who wait. */
    if (most > 0 && atomic_load(&t->waiting) > 0)
        return TARGET_FULL;
    if (atomic_fetch_add(&t->in_flight, 1) >= most && most > 0)
        a = TARGET_FULL;
    else
        a = enter(t, up, tried_keys, now_ms, out);
    if (a == TARGET_FULL)
        atomic_fetch_sub(&t->in_flight, 1);
    if (a != TARGET_IN)
        target_hand_on(t, now_ms);
    return a;
}

/* --- what was met -------------------------------------------------------- */

/* Let <g> rest until <until_ms>; until when it did so far. */
static uint64_t gate_rest(struct target_gate *g, uint64_t until_ms)
{
    uint64_t was = atomic_load(&g->rest_until_ms);

    while (was < until_ms &&
           !atomic_compare_exchange_weak(&g->rest_until_ms, &was, until_ms))
        ;
    return was;
}

/* Why somebody rests after an end of kind <k>. */
static enum target_shut why_of(enum retry_kind k)
{
    switch (k) {
    case RETRY_KIND_KEY:
        return TARGET_REFUSED_KEY;
    case RETRY_KIND_LIMIT:
        return TARGET_LIMITED;
    case RETRY_KIND_SPENT:
        return TARGET_SPENT;
    case RETRY_KIND_BUSY:
        return TARGET_BUSY;
    default:
        return TARGET_BROKEN;
    }
}

/* What the key is told that <v> is the end of. */
static enum breaker_word key_word(const struct conf_upstream *up,
                                  const struct retry_verdict *v)
{
    switch (v->kind) {
    case RETRY_KIND_KEY:
        return BREAKER_BAD;
    case RETRY_KIND_BUSY:
    case RETRY_KIND_FAILED:
        return up->n_keys > 1 ? BREAKER_BAD : BREAKER_ALIVE;
    case RETRY_KIND_UNREACHED:
    case RETRY_KIND_CERT:
    case RETRY_KIND_BROKEN:
        return BREAKER_SILENT;
    default:
        return v->word;
    }
}

/* Log what <event> did to the target of <p>, or to its key. Nobody waits for a
 * place at a target that has opened. */
static void note_event(const struct target_pass *p, bool key,
                       const struct conf_upstream *up, enum breaker_event event,
                       const struct retry_verdict *v, uint64_t now_ms)
{
    static const char *const did[] = {[BREAKER_OPENED] = "opened",
                                      [BREAKER_REOPENED] = "opened again",
                                      [BREAKER_RECOVERED] = "closed"};
    char which[32] = "";

    if (event == BREAKER_SAME)
        return;
    if (key)
        snprintf(which, sizeof(which), " key=%u", p->key);
    log_at(event == BREAKER_RECOVERED ? LOG_LEVEL_NOTE : LOG_LEVEL_WARN,
           LOG_ROUTE, "breaker %s: upstream=%s%s reason=%s open_ms=%" PRId64,
           did[event], p->t->name, which,
           v ? retry_kind_name(v->kind) : "unheard",
           event == BREAKER_RECOVERED ? 0 : up->breaker.open_ms);
    if (key || event == BREAKER_RECOVERED)
        return;
    if (v)
        atomic_store(&p->t->gate.opened_by, v->kind);
    target_put_off(p->t, now_ms);
}

static struct target_key *key_of(const struct target_pass *p,
                                 const struct conf_upstream *up)
{
    return p->key == TARGET_NO_KEY ? NULL : target_key_find(p->t, up, p->key);
}

/* Say a word to both breakers; <v> NULL: it was not heard what became of the
 * attempt. */
static void words_say(const struct target_pass *p,
                      const struct conf_upstream *up,
                      const struct retry_verdict *v, uint64_t now_ms)
{
    const enum breaker_word word = v ? v->word : BREAKER_SILENT;
    struct target_key *k = p->key_watched ? key_of(p, up) : NULL;
    struct breaker_rules rules;
    enum breaker_word own;

    if (!p->watched)
        return;
    rules = rules_of(up);
    note_event(
        p, false, up,
        breaker_leave(&p->t->gate.breaker, &rules, &p->all, word, now_ms), v,
        now_ms);
    if (!k)
        return;
    own = v ? key_word(up, v) : BREAKER_SILENT;
    if (own == BREAKER_BAD)
        atomic_store(&k->gate.why, why_of(v->kind));
    note_event(p, true, up,
               breaker_leave(&k->gate.breaker, &rules, &p->own, own, now_ms), v,
               now_ms);
}

/* Leave alone whom <v> says. An end that was told when it is over shuts, and so
 * does an account that is used up; others just come last. */
static void rest(const struct target_pass *p, const struct conf_upstream *up,
                 const struct retry_verdict *v, uint64_t now_ms)
{
    const uint64_t until_ms = now_ms + v->rest_ms;
    const bool shuts =
        is_watched(up) && (v->kind == RETRY_KIND_SPENT ||
                           (v->kind == RETRY_KIND_LIMIT && v->said));
    struct target_gate *g = &p->t->gate;
    struct target_key *k;
    uint64_t was_ms;

    if (v->rest == RETRY_REST_KEY && p->key != TARGET_NO_KEY) {
        k = target_key_get(p->t, up, p->key, now_ms);
        if (!k)
            return;
        g = &k->gate;
    }
    atomic_store(&g->why, why_of(v->kind));
    was_ms = gate_rest(g, until_ms);
    if (shuts)
        breaker_rest(&g->breaker, until_ms);
    if (shuts && g == &p->t->gate)
        target_put_off(p->t, now_ms);
    if (was_ms > now_ms) /* who rests already is no news */
        return;
    log_at(v->kind == RETRY_KIND_SPENT ? LOG_LEVEL_WARN : LOG_LEVEL_INFO,
           LOG_ROUTE, "%s rests: upstream=%s key=%d reason=%s rest_ms=%" PRIu64,
           g == &p->t->gate ? "target" : "upstream key", p->t->name,
           p->key == TARGET_NO_KEY ? -1 : (int)p->key, retry_kind_name(v->kind),
           v->rest_ms);
}

/* What the attempt or the check with <p> met. */
static void met(const struct target_pass *p, const struct conf_upstream *up,
                const struct retry_verdict *v, uint64_t now_ms)
{
    struct breaker_rules rules;

    words_say(p, up, v, now_ms);
    if (v->trip && p->watched) {
        rules = rules_of(up);
        note_event(p, false, up,
                   breaker_trip(&p->t->gate.breaker, &rules, now_ms), v,
                   now_ms);
    }
    if (up && v->rest != RETRY_REST_NONE)
        rest(p, up, v, now_ms);
}

void target_tell(struct target_pass *p, const struct conf_upstream *up,
                 const struct retry_verdict *v, uint64_t now_ms)
{
    if (!p->in || p->told)
        return;
    p->told = true;
    p->good = v->word == BREAKER_GOOD;
    met(p, up, v, now_ms);
}

/* --- checks -------------------------------------------------------------- */

/* Whether a check of that kind can tell that what opened <g> is over. */
static bool check_tells(const struct target_gate *g,
                        const struct conf_upstream *up)
{
    switch ((enum retry_kind)atomic_load(&g->opened_by)) {
    case RETRY_KIND_UNREACHED:
    case RETRY_KIND_CERT:
        return true;
    case RETRY_KIND_BROKEN:
        return up->health.kind == CONF_HEALTH_MODELS;
    default:
        return false;
    }
}

bool target_check(struct target *t, const struct conf_upstream *up,
                  uint64_t now_ms, struct target_pass *out)
{
    struct target_pass p = {.t = t, .key = TARGET_NO_KEY};
    struct breaker_view v;

    if (!is_watched(up) || is_closed(t, up, now_ms))
        return false;
    breaker_see(&t->gate.breaker, now_ms, &v);
    if (v.state != BREAKER_CLOSED && !check_tells(&t->gate, up))
        return false;
    if (up->health.kind == CONF_HEALTH_MODELS && !key_choose(&p, up, 0, now_ms))
        return false;
    if (!passes_take(&p, up, now_ms))
        return false;
    atomic_fetch_add(&t->checks, 1);
    log_probe(&p);
    *out = p;
    return true;
}

void target_checked(struct target_pass *p, const struct conf_upstream *up,
                    const struct retry_verdict *v, uint64_t now_ms)
{
    struct retry_verdict judged = *v;

    if (p->told)
        return;
    p->told = true;
    if (judged.word == BREAKER_GOOD)
        judged.word = BREAKER_ALIVE;
    if (judged.word == BREAKER_BAD)
        atomic_fetch_add(&p->t->checks_failed, 1);
    met(p, up, &judged, now_ms);
}

/* --- out ----------------------------------------------------------------- */

/* Whether <e> is the upstream's fault though it began well. */
static bool is_break(enum err e)
{
    return e == ERR_UP_INCOMPLETE || e == ERR_UP_TIMEOUT || e == ERR_UP_RESET ||
           e == ERR_UP_BAD;
}

static void note_error(struct target *t, enum err e, const char *text)
{
    atomic_fetch_add_explicit(&t->failures, 1, memory_order_relaxed);
    pthread_mutex_lock(&t->lock);
    snprintf(t->last_error, sizeof(t->last_error), "%s: %s", err_name(e),
             text ? text : err_row(e)->message);
    t->last_error_wall_ms = clock_wall_ms();
    pthread_mutex_unlock(&t->lock);
}

void target_leave(struct target_pass *p, const struct conf_upstream *up,
                  enum err e, const char *text, uint64_t now_ms)
{
    const struct retry_verdict broken = {.kind = RETRY_KIND_BROKEN,
                                         .word = BREAKER_BAD};

    if (!p->in)
        return;
    if (!p->told)
        words_say(p, up, NULL, now_ms);
    else if (p->good && is_break(e))
        words_say(p, up, &broken, now_ms);
    p->told = true;
    p->in = false;
    atomic_fetch_sub(&p->t->in_flight, 1);
    target_hand_on(p->t, now_ms);
    if (e == ERR_OK)
        atomic_store_explicit(&p->t->last_ok_wall_ms, clock_wall_ms(),
                              memory_order_relaxed);
    else if (e != ERR_CLIENT_GONE && e != ERR_DRAINING)
        note_error(p->t, e, text);
}

/* --- why ----------------------------------------------------------------- */

/* Why nobody passes <g>, and for how long. */
static enum target_shut gate_why(struct target_gate *g,
                                 const struct conf_upstream *up, bool is_target,
                                 uint64_t now_ms, uint64_t *wait_ms_out)
{
    const uint64_t until_ms = atomic_load(&g->rest_until_ms);
    const uint64_t rest_ms = until_ms > now_ms ? until_ms - now_ms : 0;
    const enum target_shut why = (enum target_shut)atomic_load(&g->why);
    struct breaker_view v = {.wait_ms = 0};

    if (is_watched(up))
        breaker_see(&g->breaker, now_ms, &v);
    *wait_ms_out = v.wait_ms > rest_ms ? v.wait_ms : rest_ms;
    if (*wait_ms_out == 0)
        return TARGET_OPEN;
    if (v.wait_ms > 0 && v.state != BREAKER_CLOSED &&
        (is_target || why != TARGET_REFUSED_KEY))
        return TARGET_BROKEN;
    return why;
}

/* The key of <up> that is back first tells why none may be used. */
static enum target_shut keys_why(struct target *t,
                                 const struct conf_upstream *up,
                                 uint64_t tried_keys, uint64_t now_ms,
                                 uint64_t *wait_ms_out)
{
    enum target_shut why = TARGET_OPEN;

    *wait_ms_out = UINT64_MAX;
    for (unsigned i = 0; i < up->n_keys; i++) {
        struct target_key *k = target_key_find(t, up, i);
        uint64_t wait_ms = 0;
        enum target_shut w =
            k ? gate_why(&k->gate, up, false, now_ms, &wait_ms) : TARGET_OPEN;

        if ((is_tried(tried_keys, i) && w == TARGET_OPEN) ||
            wait_ms >= *wait_ms_out)
            continue;
        *wait_ms_out = wait_ms;
        why = w;
    }
    if (*wait_ms_out == UINT64_MAX)
        *wait_ms_out = 0;
    return why;
}

enum target_shut target_why(struct target *t, const struct conf_upstream *up,
                            uint64_t tried_keys, uint64_t now_ms,
                            uint64_t *wait_ms_out)
{
    enum target_shut why;

    *wait_ms_out = 0;
    if (!target_is_open(t))
        return TARGET_DRAINED;
    why = gate_why(&t->gate, up, true, now_ms, wait_ms_out);
    if (why == TARGET_OPEN && up && up->n_keys > 0)
        why = keys_why(t, up, tried_keys, now_ms, wait_ms_out);
    return why;
}

const char *target_shut_name(enum target_shut s)
{
    static const char *const names[TARGET_SHUT_COUNT] = {
        [TARGET_OPEN] = "open",     [TARGET_DRAINED] = "drained",
        [TARGET_BROKEN] = "broken", [TARGET_LIMITED] = "limited",
        [TARGET_SPENT] = "spent",   [TARGET_REFUSED_KEY] = "refused_key",
        [TARGET_BUSY] = "busy",
    };

    BUG_ON((unsigned)s >= TARGET_SHUT_COUNT);
    return names[s];
}

void target_key_view(struct target *t, const struct conf_upstream *up,
                     unsigned key, uint64_t now_ms, struct target_key_view *out)
{
    struct target_key *k = target_key_find(t, up, key);

    *out = (struct target_key_view){.why = TARGET_OPEN};
    if (!k)
        return;
    breaker_see(&k->gate.breaker, now_ms, &out->breaker);
    out->why = gate_why(&k->gate, up, false, now_ms, &out->wait_ms);
}
