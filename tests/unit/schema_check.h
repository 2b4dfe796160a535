/* schema_check.h - Whether a value is of a schema, read plainly from the
 * specification: the judge of what grammars write. */
#ifndef TG_TESTS_SCHEMA_CHECK_H
#define TG_TESTS_SCHEMA_CHECK_H

#include <jansson.h>
#include <stdbool.h>

/* Whether <v> is of <s>, a part of <root>. Keywords that it does not know make
 * it false; patterns are POSIX extended regular expressions here. */
bool schema_check(const json_t *root, const json_t *s, const json_t *v);

#endif
