/* weights.h - Which files the engine's models are made of, so that replies of
 * other weights under the same name are not given for theirs. */
#ifndef TG_RECALL_WEIGHTS_H
#define TG_RECALL_WEIGHTS_H

#include "base/digest.h"

struct conf;

/* A digest of the name, size and time of change of each file of the engine
 * models in <conf>. Looks at the disk: for the start of the process, which is
 * when models are opened. A file that cannot be seen counts as none. */
struct digest weights_mark(const struct conf *conf);

#endif
