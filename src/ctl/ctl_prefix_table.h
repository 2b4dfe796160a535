/* ctl_prefix_table.h - The store of prefixes as tables for people. */
#ifndef TG_CTL_CTL_PREFIX_TABLE_H
#define TG_CTL_CTL_PREFIX_TABLE_H

#include <jansson.h>

/* Print a row for each element of the array <models>: its name is the member
 * <name>, the store's numbers are those of its member <store> or, where that is
 * NULL, its own. */
void ctl_prefix_table(const json_t *models, const char *name,
                      const char *store);

/* Print what the files of each namespace of the array <spaces> hold. */
void ctl_prefix_spaces(const json_t *spaces, const char *empty);

#endif
