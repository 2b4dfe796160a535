/* herd.c - See herd.h. A table remembers of hashes of prompts' beginnings, one
 * at the end of each page, which schedulers they were sent to; newer ones take
 * the places of older ones. */
#include "engine/herd.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

#include "base/panic.h"
#include "engine/sched.h"

#define SETS      4096 /* a power of two */
#define WAYS      4    /* places of a set */
#define PAGES_MAX 256  /* of a prompt that are looked at */

struct place {
    uint64_t hash;
    uint32_t whose; /* a bit for each scheduler */
    uint32_t used;  /* when it was, by the herd's count of jobs */
};

struct herd {
    struct sched *scheds[HERD_MAX]; /* borrowed */
    unsigned n;
    unsigned page_tokens;
    pthread_mutex_t lock; /* guards what follows; innermost */
    unsigned last;        /* where the last job went */
    uint32_t n_jobs;
    struct place places[SETS][WAYS];
};

_Static_assert(HERD_MAX <= 32, "a bit for each");

struct herd *herd_new(struct sched *const *scheds, unsigned n,
                      unsigned page_tokens)
{
    struct herd *h = calloc(1, sizeof(*h));

    BUG_ON(n == 0 || n > HERD_MAX || page_tokens == 0);
    if (!h)
        return NULL;
    memcpy(h->scheds, scheds, n * sizeof(*scheds));
    h->n = n;
    h->page_tokens = page_tokens;
    pthread_mutex_init(&h->lock, NULL);
    return h;
}

void herd_free(struct herd *h)
{
    if (!h)
        return;
    pthread_mutex_destroy(&h->lock);
    free(h);
}

/* Hashes of the beginning of the prompt up to the end of each full page, <out>
 * (PAGES_MAX); how many. */
static unsigned hashes_of(const struct herd *h, const struct gen_job *j,
                          uint64_t *out)
{
    const size_t step = h->page_tokens;
    uint64_t hash = XXH3_64bits(j->scope, sizeof(j->scope));
    unsigned n = 0;

    for (size_t at = step; at <= j->n_tokens && n < PAGES_MAX; at += step) {
        hash = XXH3_64bits_withSeed(j->tokens + at - step,
                                    step * sizeof(*j->tokens), hash);
        out[n++] = hash;
    }
    return n;
}

/* The place of <hash>, or of what was used the longest ago among those that
 * could have it. */
static struct place *place_of(struct herd *h, uint64_t hash)
{
    struct place *set = h->places[hash & (SETS - 1)];
    struct place *oldest = set;

    for (unsigned i = 0; i < WAYS; i++) {
        if (set[i].hash == hash)
            return &set[i];
        if (h->n_jobs - set[i].used > h->n_jobs - oldest->used)
            oldest = &set[i];
    }
    return oldest;
}

/* Tokens of the prompt that each scheduler is thought to have: <out> (n). */
static void known_tokens(struct herd *h, const uint64_t *hashes, unsigned n,
                         uint64_t *out)
{
    uint32_t still = UINT32_MAX; /* those that have had all pages so far */

    memset(out, 0, h->n * sizeof(*out));
    for (unsigned i = 0; i < n && still != 0; i++) {
        const struct place *p = place_of(h, hashes[i]);

        still &= p->hash == hashes[i] ? p->whose : 0;
        for (unsigned s = 0; s < h->n; s++)
            if (still >> s & 1)
                out[s] += h->page_tokens;
    }
}

/* The scheduler that is done with <j> first; those behind the last one that was
 * chosen come first among equals. h->n when all are down. */
static unsigned choose(struct herd *h, const struct gen_job *j,
                       const uint64_t *known)
{
    unsigned best = h->n;
    uint64_t least = UINT64_MAX;

    for (unsigned i = 1; i <= h->n; i++) {
        const unsigned s = (h->last + i) % h->n;
        uint64_t tokens;

        if (sched_is_down(h->scheds[s]))
            continue;
        tokens = sched_ahead(h->scheds[s]) + j->n_tokens - known[s];
        if (tokens < least) {
            least = tokens;
            best = s;
        }
    }
    return best;
}

static void remember(struct herd *h, const uint64_t *hashes, unsigned n,
                     unsigned s)
{
    for (unsigned i = 0; i < n; i++) {
        struct place *p = place_of(h, hashes[i]);

        if (p->hash != hashes[i])
            *p = (struct place){.hash = hashes[i]};
        p->whose |= 1u << s;
        p->used = h->n_jobs;
    }
}

struct sched *herd_place(struct herd *h, const struct gen_job *j)
{
    uint64_t hashes[PAGES_MAX], known[HERD_MAX];
    unsigned n, s;

    if (h->n == 1)
        return h->scheds[0];
    n = hashes_of(h, j, hashes);
    pthread_mutex_lock(&h->lock);
    h->n_jobs++;
    known_tokens(h, hashes, n, known);
    s = choose(h, j, known);
    if (s < h->n) {
        remember(h, hashes, n, s);
        h->last = s;
    }
    pthread_mutex_unlock(&h->lock);
    return h->scheds[s < h->n ? s : 0]; /* any one refuses it */
}
