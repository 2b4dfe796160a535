/* ctl_cache.h - Stored replies: what the daemon tells of them, and what stands
 * in their files. All three verbs work without a daemon, too. */
#ifndef TG_CTL_CTL_CACHE_H
#define TG_CTL_CTL_CACHE_H

#include "ctl/ctl_io.h"

/* What "cache VERB" was asked with. */
struct ctl_cache {
    const char *socket; /* of the daemon */
    const char *conf;   /* -c, or NULL */
    const char *key;    /* --key of "purge", or NULL: of all */
    const char *model;  /* --model of "purge", or NULL: of all */
    bool json;
};

/* Run "cache stats". */
enum ctl_exit ctl_cache_stats(const struct ctl_cache *c);

/* Run "cache purge". */
enum ctl_exit ctl_cache_purge(const struct ctl_cache *c);

/* Run "cache verify". */
enum ctl_exit ctl_cache_verify(const struct ctl_cache *c);

#endif
