/* conf_yaml.h - YAML text to a tree of nodes that know their place, and the
 * collector of mistakes. Inside conf/ only. */
#ifndef TG_CONF_CONF_YAML_H
#define TG_CONF_CONF_YAML_H

#include "base/arena.h"
#include "conf/conf.h"

/* What a node is. */
enum ynode_kind {
    YNODE_NULL = 0, /* empty, ~ or null: the same as the key left out */
    YNODE_SCALAR,
    YNODE_LIST,
    YNODE_MAP,
    YNODE_KIND_COUNT
};

struct ynode;

/* One entry of a list or map, in file order. */
struct ypair {
    struct ypair *next; /* arena */
    struct ynode *key;  /* arena, a scalar; NULL in a list */
    struct ynode *node; /* arena; shared when it came by an alias */
};

/* One node; lives in the arena given to yaml_read(). */
struct ynode {
    enum ynode_kind kind;
    unsigned line;       /* from 1 */
    unsigned column;     /* from 1, in characters */
    struct str text;     /* of a scalar: no control characters */
    struct ypair *pairs; /* arena; of a list or map */
    size_t n_pairs;
};

/* Where mistakes go. */
struct say {
    struct conf_report *report; /* borrowed */
    const char *file;           /* borrowed; stands before each line */
};

/* Text made safe to print: at most 60 bytes, anything odd as '?'. */
struct quoted {
    char c[64];
};

/* <s> cut and cleaned for a message. */
struct quoted conf_quote(struct str s);

/* Add a mistake at <at>, NULL for the file as a whole: "what is wrong; what
 * to write instead". */
void say_error(const struct say *say, const struct ynode *at, const char *fmt,
               ...) __attribute__((format(printf, 3, 4)));

/* Add a warning likewise. */
void say_warning(const struct say *say, const struct ynode *at, const char *fmt,
                 ...) __attribute__((format(printf, 3, 4)));

/* Put the problems from the <from>-th on, all of one file, in its order. */
void say_sort(const struct say *say, size_t from);

/* Parse <text>, one document, into nodes of <mem>. Bounded in depth, nodes
 * and keys; aliases are shared nodes, never cycles. The result is NULL for an
 * empty document. Mistakes go to <say>; those that leave a tree worth reading
 * on (duplicate keys, unknown aliases, tags) do not fail. ERR_SYNTAX: no tree;
 * ERR_NOMEM. */
enum err yaml_read(const struct say *say, struct str text, struct arena *mem,
                   struct ynode **root_out) MUST_CHECK;

/* The node of <key> in the map <map>; NULL when <map> is NULL or no map, or
 * the key is absent or null. */
const struct ynode *ynode_get(const struct ynode *map, const char *key);

/* Entry <i> of the list <list>; <list> itself when it is no list (a single
 * thing standing for a list of one); NULL past the end. */
const struct ynode *ynode_at(const struct ynode *list, size_t i);

#endif
