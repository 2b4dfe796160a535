/* ctl_store.h - The files of the store of prefixes, as tollctl works on them
 * itself: beside daemons that have them open, or without any. */
#ifndef TG_CTL_CTL_STORE_H
#define TG_CTL_CTL_STORE_H

#include <jansson.h>
#include <stdbool.h>

/* Become the owner of <root>, if root asks: what is made there must stay the
 * daemon's. A directory that is not there is fine. False: it cannot be used by
 * this user, and the reason is on stderr. */
bool ctl_store_enter(const char *root);

/* A new array of the namespaces in <root> that <model> (NULL: any) uses:
 * objects with namespace, models, in_use, bytes, pages, max_pages, reason (a
 * sentence on damage, or null). NULL with the reason on stderr. */
json_t *ctl_store_list(const char *root, const char *model);

/* Read all pages of the namespace <space> of ctl_store_list() and say in it how
 * many there are (pages) and how many are damaged (damaged). False when not all
 * is well; a reason is in it where no page could be read. */
bool ctl_store_verify(const char *root, json_t *space);

/* Forget all pages of <space>. False with the reason in it. */
bool ctl_store_purge(const char *root, json_t *space);

#endif
