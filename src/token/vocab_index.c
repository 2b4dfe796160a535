/* vocab_index.c - Sorting a vocabulary into trees, once a model. */
#include "token/vocab_index.h"

#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"

/* A token on its way into a tree. */
struct entry {
    struct str bytes;
    int32_t id;
};

static int by_bytes(const void *x, const void *y)
{
    const struct entry *a = x, *b = y;
    size_t n = a->bytes.len < b->bytes.len ? a->bytes.len : b->bytes.len;
    int c = memcmp(a->bytes.p, b->bytes.p, n);

    if (c)
        return c;
    if (a->bytes.len != b->bytes.len)
        return a->bytes.len < b->bytes.len ? -1 : 1;
    return a->id < b->id ? -1 : 1;
}

/* Whether <s> may be the beginning of a sequence that RFC 3629 allows. */
static bool is_unfinished(struct str s)
{
    uint8_t c = (uint8_t)s.p[0], lo = 0x80, hi = 0xBF;
    size_t want = c < 0xE0 ? 2 : c < 0xF0 ? 3 : 4;

    if (c < 0xC2 || c > 0xF4 || s.len >= want)
        return false;
    if (c == 0xE0)
        lo = 0xA0;
    else if (c == 0xED)
        hi = 0x9F;
    else if (c == 0xF0)
        lo = 0x90;
    else if (c == 0xF4)
        hi = 0x8F;
    for (size_t i = 1; i < s.len; i++, lo = 0x80, hi = 0xBF)
        if ((uint8_t)s.p[i] < lo || (uint8_t)s.p[i] > hi)
            return false;
    return true;
}

static bool is_plain(struct str s)
{
    size_t whole = utf8_valid_len(s);

    for (size_t i = 0; i < whole; i++)
        if ((uint8_t)s.p[i] < 0x20 || s.p[i] == '"' || s.p[i] == '\\')
            return false;
    return whole == s.len || is_unfinished(str_skip(s, whole));
}

static size_t common(struct str a, struct str b)
{
    size_t i = 0;

    while (i < a.len && i < b.len && a.p[i] == b.p[i])
        i++;
    return i;
}

/* Nodes that the tree of sorted <e> takes. */
static size_t count_nodes(const struct entry *e, size_t n)
{
    size_t sum = 0;

    for (size_t i = 0; i < n; i++)
        sum += e[i].bytes.len - (i ? common(e[i - 1].bytes, e[i].bytes) : 0);
    return sum;
}

/* Lay out sorted <e>; path[] holds the node of each byte of the last token. */
static bool trie_make(struct vocab_index *ix, struct trie *t,
                      const struct entry *e, size_t n)
{
    uint32_t path[VOCAB_INDEX_LONGEST], deep = 0;

    t->nodes = malloc((count_nodes(e, n) + 1) * sizeof(*t->nodes));
    if (!t->nodes)
        return false;
    for (size_t i = 0; i < n; i++) {
        struct str s = e[i].bytes;
        size_t from = i ? common(e[i - 1].bytes, s) : 0;
        if (i && from == s.len) { /* the same bytes again */
            struct trie_node *had = &t->nodes[path[s.len - 1]];
            ix->twin[e[i].id] = had->token;
            had->token = e[i].id;
            continue;
        }
        while (deep > from)
            t->nodes[path[--deep]].skip = t->n;
        for (; deep < s.len; deep++) {
            path[deep] = t->n;
            t->nodes[t->n++] = (struct trie_node){.token = -1,
                                                  .depth = (uint16_t)deep,
                                                  .byte = (uint8_t)s.p[deep]};
        }
        t->nodes[path[deep - 1]].token = e[i].id;
        if (s.len > ix->longest)
            ix->longest = (uint32_t)s.len;
    }
    while (deep > 0)
        t->nodes[path[--deep]].skip = t->n;
    return true;
}

/* Put each token where it belongs; the plain ones to the front of <e>, the
 * others to its end. */
static void sort_out(struct vocab_index *ix, struct entry *e, size_t n[2])
{
    size_t front = 0, back = ix->n_vocab;

    for (int32_t id = 0; (uint32_t)id < ix->n_vocab; id++) {
        struct str s = vocab_bytes(ix->v, id);
        ix->twin[id] = -1;
        if (vocab_is_eog(ix->v, id))
            mask_put(ix->eog, id);
        else if (vocab_is_control(ix->v, id))
            mask_put(ix->control, id);
        else if (s.len == 0 || s.len > VOCAB_INDEX_LONGEST)
            continue;
        else if (is_plain(s))
            e[front++] = (struct entry){s, id};
        else
            e[--back] = (struct entry){s, id};
    }
    for (size_t i = 0; i < front; i++)
        mask_put(ix->plain_set, e[i].id);
    n[0] = front;
    n[1] = ix->n_vocab - back;
}

/* Characters of <s>, an unfinished one counts. */
static uint32_t count_chars(struct str s)
{
    uint32_t n = 0;

    for (size_t i = 0; i < s.len; i++)
        n += ((uint8_t)s.p[i] & 0xC0) != 0x80;
    return n;
}

/* Order the plain tokens (n) by their characters. */
static bool plain_order(struct vocab_index *ix, const struct entry *e, size_t n)
{
    uint32_t *upto = calloc(ix->longest + 2, sizeof(*upto));

    ix->plain_upto = upto;
    ix->plain_ids = malloc((n + 1) * sizeof(*ix->plain_ids));
    if (!upto || !ix->plain_ids)
        return false;
    for (size_t i = 0; i < n; i++)
        upto[count_chars(e[i].bytes) + 1]++;
    for (uint32_t k = 0; k <= ix->longest; k++)
        upto[k + 1] += upto[k];
    /* upto[k] is where those of k characters begin, then where they end. */
    for (size_t i = 0; i < n; i++)
        ix->plain_ids[upto[count_chars(e[i].bytes)]++] = e[i].id;
    return true;
}

struct vocab_index *vocab_index_new(const struct vocab *v)
{
    struct vocab_index *ix = calloc(1, sizeof(*ix));
    struct entry *e = NULL;
    size_t n[2];
    bool ok;

    if (!ix)
        return NULL;
    ix->v = v;
    ix->n_vocab = vocab_size(v);
    ix->n_words = ((size_t)ix->n_vocab + 63) / 64;
    ix->longest = 1;
    ix->twin = malloc((ix->n_vocab + 1) * sizeof(*ix->twin));
    ix->plain_set = calloc(ix->n_words + 1, sizeof(uint64_t));
    ix->control = calloc(ix->n_words + 1, sizeof(uint64_t));
    ix->eog = calloc(ix->n_words + 1, sizeof(uint64_t));
    e = malloc((ix->n_vocab + 1) * sizeof(*e));
    ok = ix->twin && ix->plain_set && ix->control && ix->eog && e;
    if (ok) {
        sort_out(ix, e, n);
        qsort(e, n[0], sizeof(*e), by_bytes);
        qsort(e + ix->n_vocab - n[1], n[1], sizeof(*e), by_bytes);
        ok = trie_make(ix, &ix->plain, e, n[0]) &&
             trie_make(ix, &ix->other, e + ix->n_vocab - n[1], n[1]) &&
             plain_order(ix, e, n[0]);
    }
    free(e);
    if (ok)
        return ix;
    vocab_index_free(ix);
    return NULL;
}

void vocab_index_free(struct vocab_index *ix)
{
    if (!ix)
        return;
    free(ix->plain.nodes);
    free(ix->other.nodes);
    free(ix->twin);
    free(ix->plain_ids);
    free(ix->plain_upto);
    free(ix->plain_set);
    free(ix->control);
    free(ix->eog);
    free(ix);
}
