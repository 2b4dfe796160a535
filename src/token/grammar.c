/* grammar.c - Grammars and states: which tokens may come next. A mask is found
 * by walking the vocabulary's trees along the program, once for each place
 * that tokens can tell apart; found masks are kept, a bounded number of them.
 * One lock a grammar: its states share what is remembered. */
#include "token/grammar.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "token/automaton_run.h"
#include "token/grammar_priv.h"
#include "token/vocab_index.h"

#define MASKS_MAX 48
#define WORK_MAX  48000000u /* threads looked at for one mask */

/* A mask that was found. */
struct kept_mask {
    uint32_t place; /* RUN_DEAD = none */
    uint64_t *bits;
};

struct grammar {
    unsigned refs; /* atomic */
    const struct vocab_index *ix;
    struct automaton a;
    pthread_mutex_t lock; /* guards all below */
    struct run run;
    struct kept_mask masks[MASKS_MAX];
    unsigned turn; /* the next one to be replaced */
    struct grammar_state *states;
    size_t n_states;
};

struct grammar_state {
    struct grammar *g; /* one reference */
    uint32_t place;
    bool ended; /* a token that ends the generation was accepted */
    struct grammar_state *prev, *next;
};

/* --- grammars ----------------------------------------------------------- */

static void grammar_free(struct grammar *g)
{
    for (unsigned i = 0; i < MASKS_MAX; i++)
        free(g->masks[i].bits);
    run_fini(&g->run);
    auto_fini(&g->a);
    pthread_mutex_destroy(&g->lock);
    free(g);
}

enum err grammar_make(const struct vocab_index *ix, struct automaton *a,
                      uint32_t start, struct grammar **out)
{
    struct grammar *g = calloc(1, sizeof(*g));
    enum err err = ERR_NOMEM;

    if (!g || pthread_mutex_init(&g->lock, NULL)) {
        free(g);
        auto_fini(a);
        return err;
    }
    g->refs = 1;
    g->ix = ix;
    g->a = *a;
    memset(a, 0, sizeof(*a));
    err = auto_finish(&g->a, start);
    if (!err && !run_init(&g->run, &g->a, ix->longest))
        err = ERR_NOMEM;
    if (err)
        grammar_free(g);
    else
        *out = g;
    return err;
}

struct grammar *grammar_json_object(const struct vocab_index *ix)
{
    struct grammar *g = NULL;
    struct automaton a;
    uint32_t start;

    auto_init(&a);
    start = auto_object(&a, AUTO_RET);
    start = auto_split(&a, start, auto_text(&a, STR(" "), start));
    if (grammar_make(ix, &a, start, &g))
        return NULL;
    return g;
}

struct grammar *grammar_ref(struct grammar *g)
{
    __atomic_add_fetch(&g->refs, 1, __ATOMIC_RELAXED);
    return g;
}

void grammar_unref(struct grammar *g)
{
    if (g && __atomic_sub_fetch(&g->refs, 1, __ATOMIC_ACQ_REL) == 0)
        grammar_free(g);
}

/* --- states ------------------------------------------------------------- */

/* A state at <place>; the lock is held. NULL without memory. */
static struct grammar_state *state_at(struct grammar *g, uint32_t place)
{
    struct grammar_state *s = calloc(1, sizeof(*s));

    if (!s)
        return NULL;
    s->g = grammar_ref(g);
    s->place = place;
    s->next = g->states;
    if (s->next)
        s->next->prev = s;
    g->states = s;
    g->n_states++;
    return s;
}

struct grammar_state *grammar_start(struct grammar *g)
{
    struct grammar_state *s = NULL;
    uint32_t place;

    pthread_mutex_lock(&g->lock);
    place = run_start(&g->run);
    if (place != RUN_DEAD)
        s = state_at(g, place);
    pthread_mutex_unlock(&g->lock);
    return s;
}

struct grammar_state *grammar_state_copy(const struct grammar_state *s)
{
    struct grammar_state *copy;

    pthread_mutex_lock(&s->g->lock);
    copy = state_at(s->g, s->place);
    if (copy)
        copy->ended = s->ended;
    pthread_mutex_unlock(&s->g->lock);
    return copy;
}

void grammar_state_free(struct grammar_state *s)
{
    struct grammar *g;

    if (!s)
        return;
    g = s->g;
    pthread_mutex_lock(&g->lock);
    if (s->prev)
        s->prev->next = s->next;
    else
        g->states = s->next;
    if (s->next)
        s->next->prev = s->prev;
    g->n_states--;
    pthread_mutex_unlock(&g->lock);
    free(s);
    grammar_unref(g);
}

/* Forget what no state and none of <path> (n) needs. */
static void forget(struct grammar *g, uint32_t *path, size_t n)
{
    uint32_t **roots = malloc((g->n_states + n + 1) * sizeof(*roots));
    size_t k = 0;

    if (!roots)
        return;
    for (struct grammar_state *s = g->states; s; s = s->next)
        roots[k++] = &s->place;
    for (size_t i = 0; i < n; i++)
        roots[k++] = &path[i];
    run_collect(&g->run, roots, k);
    for (unsigned i = 0; i < MASKS_MAX; i++)
        g->masks[i].place = RUN_DEAD;
    free(roots);
}

/* --- masks -------------------------------------------------------------- */

/* A walk through a tree: path[d] is the place after d bytes. */
struct walk {
    struct grammar *g;
    uint32_t path[VOCAB_INDEX_LONGEST + 1];
    uint64_t *mask;
    uint64_t work;
};

/* Allow <token> and all of the same bytes. */
static void put_token(const struct vocab_index *ix, uint64_t *mask,
                      int32_t token)
{
    for (; token >= 0; token = ix->twin[token])
        mask_put(mask, token);
}

/* Walk along all of <t>; false when it was too much work. */
static bool walk_tree(struct walk *w, const struct trie *t)
{
    struct grammar *g = w->g;
    struct run *r = &g->run;
    uint32_t i = 0;

    while (i < t->n) {
        const struct trie_node *n = &t->nodes[i];
        uint32_t from = w->path[n->depth], to;
        w->work += run_at(r, from)->n + 1;
        if (w->work > WORK_MAX)
            return false;
        to = run_step(r, from, n->byte);
        if (to == RUN_DEAD) {
            i = n->skip;
            continue;
        }
        w->path[n->depth + 1] = to;
        if (n->token >= 0)
            put_token(g->ix, w->mask, n->token);
        i++;
        if (run_is_full(r))
            forget(g, w->path, n->depth + 2u);
    }
    return true;
}

/* Tokens of one byte, where there was too much work for the others: with them
 * every text can be written. */
static void walk_bytes(struct walk *w, const struct trie *t)
{
    for (uint32_t i = 0; i < t->n; i = t->nodes[i].skip)
        if (t->nodes[i].token >= 0 &&
            run_step(&w->g->run, w->path[0], t->nodes[i].byte) != RUN_DEAD)
            put_token(w->g->ix, w->mask, t->nodes[i].token);
}

/* The plain tokens of at most <room> characters, and no others. */
static void put_plain(const struct vocab_index *ix, uint32_t room,
                      uint64_t *mask)
{
    uint32_t n = ix->plain_upto[ix->longest];

    memcpy(mask, ix->plain_set, ix->n_words * sizeof(*mask));
    for (uint32_t i = room < ix->longest ? ix->plain_upto[room] : n; i < n; i++)
        mask[ix->plain_ids[i] / 64] &= ~((uint64_t)1 << ix->plain_ids[i] % 64);
}

/* What is allowed at <place> beside tokens by their bytes. */
static void put_special(const struct grammar *g, uint32_t place, uint64_t *mask)
{
    const struct run_place *p = run_at(&g->run, place);

    for (size_t i = 0; p->accepts && i < g->ix->n_words; i++)
        mask[i] |= g->ix->eog[i];
    for (uint32_t k = 0; k < p->n; k++) {
        const struct auto_node *n =
            &g->a.nodes[g->run.store.threads[p->first + k].node];
        if (n->op == AUTO_OP_TOKEN && n->a < g->ix->n_vocab)
            mask_put(mask, (int32_t)n->a);
        for (size_t i = 0; n->op == AUTO_OP_CONTROL && i < g->ix->n_words; i++)
            mask[i] |= g->ix->control[i];
    }
}

/* Find the mask of <place>, which is canonical; its number afterwards. */
static uint32_t find_mask(struct grammar *g, uint32_t place, uint64_t *mask)
{
    struct walk w = {.g = g, .path = {place}, .mask = mask};
    uint32_t room = run_string_room(&g->run, place);
    bool whole = true;

    if (room)
        put_plain(g->ix, room, mask);
    else
        memset(mask, 0, g->ix->n_words * sizeof(*mask));
    put_special(g, place, mask);
    whole = walk_tree(&w, &g->ix->other);
    if (whole && !room)
        whole = walk_tree(&w, &g->ix->plain);
    if (!whole) {
        walk_bytes(&w, &g->ix->other);
        walk_bytes(&w, &g->ix->plain);
    }
    return w.path[0];
}

/* The mask of <place>, kept or found; NULL without memory. */
static const uint64_t *mask_of(struct grammar *g, uint32_t place)
{
    struct kept_mask *m;

    for (unsigned i = 0; i < MASKS_MAX; i++)
        if (g->masks[i].place == place)
            return g->masks[i].bits;
    m = &g->masks[g->turn++ % MASKS_MAX];
    m->place = RUN_DEAD;
    if (!m->bits)
        m->bits = malloc((g->ix->n_words + 1) * sizeof(*m->bits));
    if (!m->bits)
        return NULL;
    place = find_mask(g, place, m->bits);
    if (!g->run.lost)
        m->place = place;
    return m->bits;
}

void grammar_mask(const struct grammar_state *s, uint64_t *mask)
{
    struct grammar *g = s->g;
    const uint64_t *found = NULL;

    pthread_mutex_lock(&g->lock);
    if (run_is_full(&g->run))
        forget(g, NULL, 0);
    if (!s->ended)
        found = mask_of(g, run_canon(&g->run, s->place));
    if (found)
        memcpy(mask, found, g->ix->n_words * sizeof(*mask));
    else
        memset(mask, 0, g->ix->n_words * sizeof(*mask));
    pthread_mutex_unlock(&g->lock);
}

/* Where token <id>, which ends nothing, leads from <place>. */
static uint32_t after_token(struct grammar *g, uint32_t place, int32_t id)
{
    bool control = mask_has(g->ix->control, id);
    struct str bytes = vocab_bytes(g->ix->v, id);
    uint32_t by_id = run_token(&g->run, place, id, control);

    if (by_id != RUN_DEAD || control || bytes.len == 0 ||
        bytes.len > VOCAB_INDEX_LONGEST)
        return by_id;
    for (size_t i = 0; i < bytes.len && place != RUN_DEAD; i++)
        place = run_step(&g->run, place, (uint8_t)bytes.p[i]);
    return place;
}

bool grammar_accept(struct grammar_state *s, int32_t id)
{
    struct grammar *g = s->g;
    uint32_t to = RUN_DEAD;
    bool ok = false;

    if (id < 0 || (uint32_t)id >= g->ix->n_vocab || s->ended)
        return false;
    pthread_mutex_lock(&g->lock);
    if (run_is_full(&g->run))
        forget(g, NULL, 0);
    if (mask_has(g->ix->eog, id)) {
        ok = s->ended = run_at(&g->run, s->place)->accepts;
    } else {
        to = after_token(g, s->place, id);
        ok = to != RUN_DEAD;
        s->place = ok ? to : s->place;
    }
    pthread_mutex_unlock(&g->lock);
    return ok;
}

bool grammar_may_end(const struct grammar_state *s)
{
    bool may;

    pthread_mutex_lock(&s->g->lock);
    may = run_at(&s->g->run, s->place)->accepts;
    pthread_mutex_unlock(&s->g->lock);
    return may || s->ended;
}

bool grammar_must_end(const struct grammar_state *s)
{
    const struct run_place *p;
    bool must;

    pthread_mutex_lock(&s->g->lock);
    p = run_at(&s->g->run, s->place);
    must = p->accepts && p->n == 0;
    pthread_mutex_unlock(&s->g->lock);
    return must || s->ended;
}
