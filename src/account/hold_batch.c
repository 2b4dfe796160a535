/* hold_batch.c - See hold_batch.h. */
#include "account/hold_batch.h"

#include <stdlib.h>
#include <string.h>

#include "account/ledger_spend.h"

static struct hold_item *find(const struct hold_batch *b, struct str id)
{
    struct hold_item *it;

    HASH_FIND(hh, b->items, id.p, id.len, it);
    return it;
}

static void drop(struct hold_batch *b, struct hold_item *it)
{
    HASH_DEL(b->items, it);
    free(it);
}

enum err hold_batch_add(struct hold_batch *b, struct str payload)
{
    struct hold_item *it;
    struct hold h;

    if (hold_decode(payload, &h) != ERR_OK || payload.len > HOLD_BYTES_MAX)
        return ERR_SYNTAX;
    it = find(b, h.id);
    if (it && it->change > h.change)
        return ERR_OK;
    if (!it) {
        it = calloc(1, sizeof(*it));
        if (!it)
            return ERR_NOMEM;
        memcpy(it->id, h.id.p, sizeof(it->id));
        HASH_ADD(hh, b->items, id, sizeof(it->id), it);
        if (!MAP_ADDED(it)) {
            free(it);
            return ERR_NOMEM;
        }
    }
    it->change = h.change;
    it->len = payload.len;
    memcpy(it->payload, payload.p, payload.len);
    return ERR_OK;
}

/* End the hold of <id>; whether the database cannot have one of it. */
static bool end(struct hold_batch *b, struct str id)
{
    struct hold_item *it = find(b, id);
    bool is_new;

    if (!it)
        return false;
    is_new = b->in_order && it->change == 0;
    drop(b, it);
    return is_new;
}

enum err hold_batch_end(struct hold_batch *b, struct txn *t,
                        const struct usage_row *row)
{
    const bool is_new = end(b, row->id);

    if (row->hold.len > 0)
        (void)end(b, row->hold);
    else if (is_new)
        return ERR_OK;
    return ledger_hold_end(t, row);
}

enum err hold_batch_flush(struct hold_batch *b, struct txn *t)
{
    struct hold_item *it, *next;

    HASH_ITER(hh, b->items, it, next)
    {
        const struct str payload = str_of(it->payload, it->len);

        ERR_TRY(ledger_hold_fold(t, payload));
        drop(b, it);
    }
    return ERR_OK;
}

void hold_batch_fini(struct hold_batch *b)
{
    struct hold_item *it, *next;

    HASH_ITER(hh, b->items, it, next)
    {
        drop(b, it);
    }
}
