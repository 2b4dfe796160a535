/* kvadmit.h - Which pages are worth being written to the disk: at once, or when
 * they are seen for the second time; and how much is written an hour. Pure:
 * times come from the caller, who also locks. */
#ifndef TG_ENGINE_KVADMIT_H
#define TG_ENGINE_KVADMIT_H

#include "base/digest.h"

#include <stdbool.h>
#include <stdint.h>

/* When a page is stored. */
enum kvadmit_rule {
    KVADMIT_FIRST = 0, /* as soon as it is computed */
    KVADMIT_SECOND,    /* when its text is seen again */
    KVADMIT_AUTO,      /* FIRST, until most of what is given up was of no use;
                        * and again once it is of use */
};

/* Hashes that were seen once: a newer one may take an older one's place. */
#define KVADMIT_SEEN (1u << 16)

/* Pages given up after which AUTO judges. */
#define KVADMIT_WINDOW 1024

/* Minutes over which writes are counted. */
#define KVADMIT_MINUTES 60

/* The state of one namespace. */
struct kvadmit {
    enum kvadmit_rule rule;
    bool strict;                     /* AUTO: as SECOND now */
    uint64_t *seen;                  /* (KVADMIT_SEEN) owned; 0 = none */
    uint64_t gone;                   /* given up in this window */
    uint64_t unused;                 /* of them, never read */
    uint64_t limit;                  /* bytes an hour; 0 = no limit */
    uint64_t minute;                 /* the newest one counted */
    uint64_t bytes[KVADMIT_MINUTES]; /* by minute */
    uint64_t hour;                   /* their sum */
};

/* Begin. ERR_NOMEM. */
enum err kvadmit_init(struct kvadmit *a, enum kvadmit_rule rule,
                      uint64_t limit) MUST_CHECK;

/* Free. */
void kvadmit_fini(struct kvadmit *a);

/* Whether the page of <hash> is to be stored, having been seen now. */
bool kvadmit_wants(struct kvadmit *a, const struct digest *hash);

/* Whether <bytes> may be written in <minute> (of any clock that only goes on);
 * then they are counted. */
bool kvadmit_spend(struct kvadmit *a, uint64_t minute, uint64_t bytes);

/* Learn that <gone> pages were given up, <unused> of them never read. True when
 * AUTO has changed its mind. */
bool kvadmit_learn(struct kvadmit *a, uint64_t gone, uint64_t unused);

#endif
