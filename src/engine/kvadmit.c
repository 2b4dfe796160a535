/* kvadmit.c - See kvadmit.h. */
#include "engine/kvadmit.h"

#include <stdlib.h>
#include <string.h>

/* AUTO becomes strict when so many of a hundred were of no use, and is not any
 * more when so many are. */
#define STRICT_PERCENT 90
#define LAX_PERCENT    60

enum err kvadmit_init(struct kvadmit *a, enum kvadmit_rule rule, uint64_t limit)
{
    *a = (struct kvadmit){.rule = rule, .limit = limit};
    a->seen = calloc(KVADMIT_SEEN, sizeof(*a->seen));
    return a->seen ? ERR_OK : ERR_NOMEM;
}

void kvadmit_fini(struct kvadmit *a)
{
    free(a->seen);
    a->seen = NULL;
}

/* Whether <hash> was seen; it is from now on. */
static bool saw(struct kvadmit *a, const struct digest *hash)
{
    uint64_t place, mark;

    memcpy(&place, hash->b, sizeof(place));
    memcpy(&mark, hash->b + sizeof(place), sizeof(mark));
    mark |= 1; /* 0 is none */
    place &= KVADMIT_SEEN - 1;
    if (a->seen[place] == mark)
        return true;
    a->seen[place] = mark;
    return false;
}

bool kvadmit_wants(struct kvadmit *a, const struct digest *hash)
{
    const bool again = a->rule != KVADMIT_FIRST && saw(a, hash);

    if (a->rule == KVADMIT_FIRST || (a->rule == KVADMIT_AUTO && !a->strict))
        return true;
    return again;
}

/* Forget the minutes that are an hour old at <minute>. */
static void roll(struct kvadmit *a, uint64_t minute)
{
    if (minute >= a->minute + KVADMIT_MINUTES) {
        memset(a->bytes, 0, sizeof(a->bytes));
        a->hour = 0;
        a->minute = minute;
    }
    while (a->minute < minute) {
        uint64_t *old = &a->bytes[++a->minute % KVADMIT_MINUTES];

        a->hour -= *old;
        *old = 0;
    }
}

bool kvadmit_spend(struct kvadmit *a, uint64_t minute, uint64_t bytes)
{
    if (a->limit == 0)
        return true;
    roll(a, minute);
    if (bytes > a->limit || a->hour > a->limit - bytes)
        return false;
    a->bytes[a->minute % KVADMIT_MINUTES] += bytes;
    a->hour += bytes;
    return true;
}

bool kvadmit_learn(struct kvadmit *a, uint64_t gone, uint64_t unused)
{
    const bool was = a->strict;

    if (a->rule != KVADMIT_AUTO)
        return false;
    a->gone += gone;
    a->unused += unused;
    if (a->gone < KVADMIT_WINDOW)
        return false;
    if (a->unused * 100 > a->gone * STRICT_PERCENT)
        a->strict = true;
    else if (a->unused * 100 < a->gone * LAX_PERCENT)
        a->strict = false;
    a->gone = 0;
    a->unused = 0;
    return a->strict != was;
}
