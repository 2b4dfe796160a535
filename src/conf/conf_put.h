/* conf_put.h - Values of a snapshot as YAML. Inside conf/ only. */
#ifndef TG_CONF_CONF_PUT_H
#define TG_CONF_CONF_PUT_H

#include "conf/conf_bind.h"

/* Where and how text goes. */
struct out {
    struct buf *b; /* borrowed */
    enum err e;    /* first failure; nothing is written after it */
    bool bare;     /* write secrets out: for comparing only */
};

/* Append <s> as it is. */
void conf_put(struct out *o, struct str s);

/* Append <s> as a YAML scalar, quoted where it must be. */
void conf_put_text(struct out *o, struct str s);

/* Append "KEY: VALUE" for the row <row> of the struct at <base>, on one line
 * without its end. False when the key is absent: nothing is written. */
bool conf_put_value(struct out *o, const struct opt *row, const void *base);

/* How many elements the array row <row> has at <base>. */
size_t opt_count(const struct opt *row, const void *base);

/* The elements of the array row <row> at <base>, borrowed. */
const void *opt_array(const struct opt *row, const void *base);

#endif
