/* ctl_store.h - The files of the store of prefixes, as tollctl works on them
 * itself: beside daemons that have them open, or without any. */
#ifndef TG_CTL_CTL_STORE_H
#define TG_CTL_CTL_STORE_H

#include <jansson.h>
#include <stdbool.h>

/* A new array of the namespaces in <root> that <model> (NULL: any) uses,
 * longest unused first: objects with namespace, models, in_use, used (a time),
 * bytes, max_bytes, pages, about (what it was made of), reason (why its pages
 * cannot be read, or null). None where there is no root. NULL with the reason
 * on stderr. */
json_t *ctl_store_list(const char *root, const char *model);

/* Read all pages of the namespace <space> of ctl_store_list() and say in it how
 * many were read (pages), how many of them are damaged (damaged) and, with
 * <drop>, how many of these are dropped now (dropped). False when not all is
 * well, with the reason in it. */
bool ctl_store_verify(const char *root, json_t *space, bool drop);

/* Forget all pages of <space>. False with the reason in it. */
bool ctl_store_purge(const char *root, json_t *space);

#endif
