/* slab.c - See slab.h. A table of slots points at the objects; a free slot
 * keeps its object's memory for the next user. An object's header holds its
 * slot number, so that slab_put() needs no search. */
#include "base/slab.h"
#include "config.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/panic.h"

#define NO_SLOT     UINT32_MAX
#define FIRST_SLOTS 16
#define BLOCK_BYTES 65536
#define POISON      0xdb
#define HEAD_MAGIC  0x51ab51abu

/* Stands before every object; keeps it aligned to 16. */
struct head {
    uint32_t slot;
    uint32_t magic;
    uint64_t pad;
};

struct slab_slot {
    struct head *head;  /* owned; NULL: no memory behind it yet */
    uint32_t gen;       /* odd while the object lives */
    uint32_t next_free; /* while it does not */
};

/* Memory for several objects. */
struct block {
    struct block *next; /* owned */
    size_t pad;
    char data[];
};

void slab_init(struct slab *s, const char *name, size_t obj_bytes, uint32_t max)
{
    *s = (struct slab){.name = name,
                       .obj_bytes = obj_bytes,
                       .max = max < NO_SLOT ? max : NO_SLOT - 1,
                       .free_head = NO_SLOT};
}

static size_t unit_bytes(const struct slab *s)
{
    return (sizeof(struct head) + s->obj_bytes + 15) & ~(size_t)15;
}

void slab_fini(struct slab *s)
{
    BUG_ON(s->live != 0);
#ifdef TG_NO_ARENA
    for (uint32_t i = 0; i < s->slot_count; i++)
        free(s->slots[i].head);
#endif
    while (s->blocks) {
        struct block *b = s->blocks;

        s->blocks = b->next;
        free(b);
    }
    free(s->slots);
    s->slots = NULL;
    s->slot_count = 0;
    s->slot_room = 0;
    s->free_head = NO_SLOT;
}

/* Room for <want> slots in the table. */
static bool grow_slots(struct slab *s, uint32_t want)
{
    uint32_t room = s->slot_room ? s->slot_room : FIRST_SLOTS;
    struct slab_slot *slots;

    if (want <= s->slot_room)
        return true;
    while (room < want)
        room = room > UINT32_MAX / 2 ? want : room * 2;
    slots = reallocarray(s->slots, room, sizeof(*slots));
    if (!slots)
        return false;
    s->slots = slots;
    s->slot_room = room;
    return true;
}

static void add_slot(struct slab *s, struct head *h)
{
    s->slots[s->slot_count] =
        (struct slab_slot){.head = h, .next_free = s->free_head};
    s->free_head = s->slot_count++;
}

#ifdef TG_NO_ARENA
static bool grow(struct slab *s)
{
    if (!grow_slots(s, s->slot_count + 1))
        return false;
    add_slot(s, NULL);
    return true;
}
#else
/* Add free slots, a block's worth at a time. */
static bool grow(struct slab *s)
{
    size_t unit = unit_bytes(s);
    size_t n = unit < BLOCK_BYTES ? BLOCK_BYTES / unit : 1;
    struct block *b;

    if (n > s->max - s->slot_count)
        n = s->max - s->slot_count;
    if (!grow_slots(s, s->slot_count + (uint32_t)n))
        return false;
    b = malloc(sizeof(*b) + n * unit);
    if (!b)
        return false;
    b->next = s->blocks;
    s->blocks = b;
    while (n-- > 0)
        add_slot(s, (struct head *)(void *)(b->data + n * unit));
    return true;
}
#endif

void *slab_get(struct slab *s)
{
    struct slab_slot *at;
    uint32_t slot;

    s->gets++;
    if ((s->fail_at > 0 && --s->fail_at == 0) || s->live >= s->max ||
        (s->free_head == NO_SLOT && !grow(s))) {
        s->fails++;
        return NULL;
    }
    slot = s->free_head;
    at = &s->slots[slot];
    if (!at->head)
        at->head = malloc(unit_bytes(s));
    if (!at->head) {
        s->fails++;
        return NULL;
    }
    s->free_head = at->next_free;
    at->gen++;
    *at->head = (struct head){.slot = slot, .magic = HEAD_MAGIC};
    s->live++;
    if (s->live > s->peak)
        s->peak = s->live;
    return memset(at->head + 1, 0, s->obj_bytes);
}

/* The slot of the living object <p>; anything else is a bug of the caller. */
static struct slab_slot *slot_of(const struct slab *s, const void *p)
{
    const struct head *h = (const struct head *)p - 1;

    BUG_ON(h->magic != HEAD_MAGIC || h->slot >= s->slot_count ||
           s->slots[h->slot].head != h || s->slots[h->slot].gen % 2 == 0);
    return &s->slots[h->slot];
}

void slab_put(struct slab *s, void *p)
{
    struct slab_slot *at;

    if (!p)
        return;
    at = slot_of(s, p);
    at->gen++;
    at->next_free = s->free_head;
    s->free_head = (uint32_t)(at - s->slots);
    s->live--;
#ifdef TG_DEBUG
    memset(p, POISON, s->obj_bytes);
#endif
#ifdef TG_NO_ARENA
    free(at->head);
    at->head = NULL;
#endif
}

uint32_t slab_slot(const struct slab *s, const void *p)
{
    return (uint32_t)(slot_of(s, p) - s->slots);
}

uint32_t slab_gen(const struct slab *s, const void *p)
{
    return slot_of(s, p)->gen;
}

void *slab_find(const struct slab *s, uint32_t slot, uint32_t gen)
{
    if (slot >= s->slot_count || gen % 2 == 0 || s->slots[slot].gen != gen)
        return NULL;
    return s->slots[slot].head + 1;
}

void slab_fail_at(struct slab *s, uint64_t nth)
{
    s->fail_at = nth;
}
