/* ctl_prefix.h - The store of prefixes: what the daemon tells of it, and what
 * stands in its files. All three verbs work without a daemon, too. */
#ifndef TG_CTL_CTL_PREFIX_H
#define TG_CTL_CTL_PREFIX_H

#include "ctl/ctl_io.h"

/* What "prefix VERB" was asked with. */
struct ctl_prefix {
    const char *socket; /* of the daemon */
    const char *conf;   /* -c, or NULL */
    const char *model;  /* --model, or NULL: of all */
    bool drop;          /* --drop of "verify" */
    bool json;
};

/* Run "prefix stats". */
enum ctl_exit ctl_prefix_stats(const struct ctl_prefix *p);

/* Run "prefix purge". */
enum ctl_exit ctl_prefix_purge(const struct ctl_prefix *p);

/* Run "prefix verify": always on the files, in this process. */
enum ctl_exit ctl_prefix_verify(const struct ctl_prefix *p);

#endif
