/* worth.h - Whether a reply that ended as it should is one to give to others:
 * providers tell of errors with status 200, and in the midst of a stream. */
#ifndef TG_RECALL_WORTH_H
#define TG_RECALL_WORTH_H

#include "wire/endpoint.h"

#include <stdbool.h>

struct tape;

/* Whether the reply on <t>, which is COMPLETE and whole, to an operation of
 * <row> that asked for <choices> choices is worth keeping: its status is 200,
 * every event and every other body is JSON, none tells of an error, and a
 * stream has come to the end that its kind has. Reads all of it. */
bool worth_keeping(const struct endpoint_row *row, unsigned choices,
                   const struct tape *t);

#endif
