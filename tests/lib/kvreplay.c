/* kvreplay.c - The traffic, the ideal store and the play. Nothing here depends
 * on a clock or on the order of a hash table. */
#include "lib/kvreplay.h"

#include <stdlib.h>
#include <string.h>

/* Pages of the longest request, and tokens of a page. */
#define PAGES_MAX 400
#define TOKENS    16

/* System prompts, and conversations that go on at once. */
#define PROMPTS 60
#define TALKS   150

/* Of a hundred requests: of one turn, and the first of a conversation. */
#define ONE_SHOT 25
#define BEGIN    15

/* Of a hundred turns so many are a conversation's last one. */
#define LAST 12

/* --- traffic ------------------------------------------------------------- */

/* What a page belongs to. */
enum kind { PROMPT = 1, TALK };

/* A conversation. */
struct talk {
    uint64_t id;     /* 0: none */
    unsigned prompt; /* PROMPTS: it has none */
    unsigned pages;  /* behind the prompt */
};

/* Who sends requests. */
struct traffic {
    uint64_t seed;
    uint64_t next_id;
    double popular[PROMPTS];        /* cumulated */
    unsigned lengths[PROMPTS];      /* pages */
    struct talk talks[TALKS];       /* latest first */
    struct digest chain[PAGES_MAX]; /* of the request */
    unsigned n;
};

static uint32_t draw(struct traffic *t, uint32_t n)
{
    t->seed =
        t->seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)((t->seed >> 33) % n);
}

static void traffic_init(struct traffic *t, uint64_t seed)
{
    double sum = 0;

    *t = (struct traffic){.seed = seed, .next_id = 1};
    for (unsigned i = 0; i < PROMPTS; i++) {
        sum += 1.0 / (i + 1);
        t->popular[i] = sum;
        t->lengths[i] = 4 + draw(t, 60);
    }
}

static unsigned draw_prompt(struct traffic *t)
{
    const double at =
        t->popular[PROMPTS - 1] * draw(t, 1 << 30) / (double)(1 << 30);
    unsigned i = 0;

    while (i < PROMPTS - 1 && t->popular[i] < at)
        i++;
    return i;
}

static void chain_add(struct traffic *t, enum kind kind, uint64_t id,
                      unsigned pages)
{
    for (unsigned i = 0; i < pages && t->n < PAGES_MAX; i++) {
        const uint64_t key[3] = {kind, id, i};

        t->chain[t->n++] = digest_sha256(key, sizeof(key));
    }
}

static void ask(struct traffic *t, const struct talk *talk)
{
    t->n = 0;
    if (talk->prompt < PROMPTS)
        chain_add(t, PROMPT, talk->prompt, t->lengths[talk->prompt]);
    chain_add(t, TALK, talk->id, talk->pages);
}

/* The one at <i> is the latest from now on. */
static void talk_up(struct traffic *t, unsigned i)
{
    const struct talk talk = t->talks[i];

    memmove(&t->talks[1], &t->talks[0], i * sizeof(talk));
    t->talks[0] = talk;
}

static void traffic_next(struct traffic *t)
{
    const unsigned what = draw(t, 100);

    if (what < ONE_SHOT) {
        const struct talk once = {.id = t->next_id++,
                                  .prompt =
                                      draw(t, 2) ? draw_prompt(t) : PROMPTS,
                                  .pages = 2 + draw(t, 40)};
        ask(t, &once);
        return;
    }
    /* Latest ones go on more often than those of long ago. */
    unsigned i = draw(t, 1 + draw(t, TALKS));
    if (what < ONE_SHOT + BEGIN || t->talks[i].id == 0) {
        i = TALKS - 1;
        t->talks[i] =
            (struct talk){.id = t->next_id++, .prompt = draw_prompt(t)};
    }
    t->talks[i].pages += 1 + draw(t, 10);
    ask(t, &t->talks[i]);
    if (draw(t, 100) < LAST)
        t->talks[i].id = 0;
    else
        talk_up(t, i);
}

/* --- a table of pages ---------------------------------------------------- */

/* Numbers of pages by their hash; grows by doubling. */
struct table {
    struct digest *keys;
    uint32_t *values; /* 0: free */
    size_t cap, n;
};

static enum err table_init(struct table *t, size_t cap)
{
    *t = (struct table){.cap = cap,
                        .keys = calloc(cap, sizeof(*t->keys)),
                        .values = calloc(cap, sizeof(*t->values))};
    return t->keys && t->values ? ERR_OK : ERR_NOMEM;
}

static void table_fini(struct table *t)
{
    free(t->keys);
    free(t->values);
}

static size_t table_at(const struct table *t, const struct digest *key)
{
    uint64_t h;

    memcpy(&h, key->b, sizeof(h));
    for (size_t i = h % t->cap;; i = (i + 1) % t->cap) {
        if (t->values[i] == 0 ||
            memcmp(t->keys[i].b, key->b, sizeof(key->b)) == 0)
            return i;
    }
}

static enum err table_grow(struct table *t)
{
    struct table more;

    if (table_init(&more, t->cap * 2) != ERR_OK) {
        table_fini(&more);
        return ERR_NOMEM;
    }
    for (size_t i = 0; i < t->cap; i++) {
        if (t->values[i] == 0)
            continue;
        const size_t at = table_at(&more, &t->keys[i]);
        more.keys[at] = t->keys[i];
        more.values[at] = t->values[i];
        more.n++;
    }
    table_fini(t);
    *t = more;
    return ERR_OK;
}

/* The number of <key>, which gets the next one when it has none. */
static enum err table_number(struct table *t, const struct digest *key,
                             uint32_t *out, bool *is_new)
{
    if (t->n >= t->cap / 2)
        ERR_TRY(table_grow(t));
    const size_t i = table_at(t, key);
    *is_new = t->values[i] == 0;
    if (*is_new) {
        t->keys[i] = *key;
        t->values[i] = (uint32_t)++t->n;
    }
    *out = t->values[i];
    return ERR_OK;
}

/* --- the ideal store ----------------------------------------------------- */

/* A list of pages by use, in arrays over their numbers; 0 is its head. */
struct ideal {
    uint32_t *older, *newer; /* of each page that is stored */
    bool *has;
    size_t cap;
    uint64_t n, most;
};

static enum err ideal_room(struct ideal *s, size_t number)
{
    size_t cap = s->cap ? s->cap : 1024;

    while (cap <= number)
        cap *= 2;
    if (cap == s->cap)
        return ERR_OK;
    uint32_t *older = realloc(s->older, cap * sizeof(*older));
    s->older = older ? older : s->older;
    uint32_t *newer = realloc(s->newer, cap * sizeof(*newer));
    s->newer = newer ? newer : s->newer;
    bool *has = realloc(s->has, cap * sizeof(*has));
    s->has = has ? has : s->has;
    if (!older || !newer || !has)
        return ERR_NOMEM;
    memset(has + s->cap, 0, (cap - s->cap) * sizeof(*has));
    if (s->cap == 0)
        older[0] = newer[0] = 0;
    s->cap = cap;
    return ERR_OK;
}

static void ideal_fini(struct ideal *s)
{
    free(s->older);
    free(s->newer);
    free(s->has);
}

static void ideal_out(struct ideal *s, uint32_t page)
{
    s->newer[s->older[page]] = s->newer[page];
    s->older[s->newer[page]] = s->older[page];
    s->has[page] = false;
    s->n--;
}

/* <page> is used now. */
static void ideal_use(struct ideal *s, uint32_t page)
{
    if (s->has[page])
        ideal_out(s, page);
    else if (s->n >= s->most)
        ideal_out(s, s->newer[0]); /* the oldest */
    s->newer[s->older[0]] = page;
    s->older[page] = s->older[0];
    s->older[0] = page;
    s->newer[page] = 0;
    s->has[page] = true;
    s->n++;
}

/* --- the play ------------------------------------------------------------ */

/* All that a play has. */
struct play {
    const struct kvreplay_opts *o;
    struct traffic traffic;
    struct table table;
    struct ideal ideal;
    uint32_t numbers[PAGES_MAX]; /* of the request's pages */
    bool wanted[PAGES_MAX];      /* they may be stored */
    int32_t tokens[TOKENS];
    uint8_t *payloads; /* (PAGES_MAX, KVREPLAY_PAYLOAD) */
    struct kvreplay *out;
};

static enum err number_all(struct play *p)
{
    const struct traffic *t = &p->traffic;

    for (unsigned i = 0; i < t->n; i++) {
        bool is_new;

        ERR_TRY(table_number(&p->table, &t->chain[i], &p->numbers[i], &is_new));
        ERR_TRY(ideal_room(&p->ideal, p->numbers[i]));
        p->out->distinct += is_new;
        p->wanted[i] = !p->o->second || !is_new;
    }
    return ERR_OK;
}

static void play_ideal(struct play *p)
{
    const unsigned n = p->traffic.n;
    unsigned hits = 0;

    while (hits < n && p->ideal.has[p->numbers[hits]])
        hits++;
    p->out->asked += n;
    p->out->ideal += hits;
    for (unsigned i = n; i > 0; i--) {
        if (p->wanted[i - 1])
            ideal_use(&p->ideal, p->numbers[i - 1]);
    }
}

/* A payload follows from its page's hash. */
static void payload_make(const struct digest *hash, uint8_t *out)
{
    for (size_t at = 0; at < KVREPLAY_PAYLOAD; at += sizeof(hash->b))
        memcpy(out + at, hash->b, sizeof(hash->b));
}

static struct kv_key key_of(const struct play *p, unsigned i)
{
    const struct digest *chain = p->traffic.chain;
    struct kv_key key = {.index = i, .n_tokens = TOKENS, .tokens = p->tokens};

    key.hash = chain[i];
    if (i > 0)
        key.before = chain[i - 1];
    return key;
}

static enum err play_read(struct play *p, unsigned n)
{
    uint8_t want[KVREPLAY_PAYLOAD];
    uint32_t cost_us;

    for (unsigned i = 0; i < n; i++) {
        const struct kv_key key = key_of(p, i);

        ERR_TRY(kv_db_read(p->o->db, &key, p->payloads, &cost_us));
        payload_make(&key.hash, want);
        p->out->wrong += memcmp(want, p->payloads, sizeof(want)) != 0;
    }
    p->out->hits += n;
    return ERR_OK;
}

/* Store what was computed: all behind page <from> that is wanted. */
static enum err play_write(struct play *p, unsigned from)
{
    struct kv_put puts[PAGES_MAX];
    struct kv_wrote wrote;
    unsigned n = 0;

    for (unsigned i = from; i < p->traffic.n; i++) {
        uint8_t *payload = p->payloads + (size_t)n * KVREPLAY_PAYLOAD;

        if (!p->wanted[i])
            continue;
        payload_make(&p->traffic.chain[i], payload);
        puts[n++] = (struct kv_put){.key = key_of(p, i), .payload = payload};
    }
    ERR_TRY(kv_db_write(p->o->db, puts, n, &wrote));
    p->out->stored += wrote.stored;
    return ERR_OK;
}

static enum err play_store(struct play *p)
{
    const struct traffic *t = &p->traffic;
    unsigned found = 0;
    unsigned warm = 0;

    ERR_TRY(kv_db_find(p->o->db, t->chain, t->n, &found, &warm));
    ERR_TRY(play_read(p, found));
    ERR_TRY(play_write(p, found));
    return kv_db_touch(p->o->db, t->chain, t->n, found);
}

enum err kvreplay_run(const struct kvreplay_opts *o, struct kvreplay *out)
{
    struct play *p = calloc(1, sizeof(*p));
    enum err err = ERR_NOMEM;

    if (!p)
        return ERR_NOMEM;
    *out = (struct kvreplay){0};
    p->o = o;
    p->out = out;
    p->ideal.most = o->pages;
    p->payloads = malloc((size_t)PAGES_MAX * KVREPLAY_PAYLOAD);
    traffic_init(&p->traffic, o->seed);
    if (p->payloads)
        err = table_init(&p->table, 1 << 16);
    for (unsigned i = 0; i < o->requests && err == ERR_OK; i++) {
        traffic_next(&p->traffic);
        err = number_all(p);
        if (err == ERR_OK)
            play_ideal(p);
        if (err == ERR_OK)
            err = play_store(p);
    }
    table_fini(&p->table);
    ideal_fini(&p->ideal);
    free(p->payloads);
    free(p);
    return err;
}
