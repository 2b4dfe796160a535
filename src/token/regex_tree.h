/* regex_tree.h - A regular expression as a tree. Only for schema_regex.c. */
#ifndef TG_TOKEN_REGEX_TREE_H
#define TG_TOKEN_REGEX_TREE_H

#include "token/automaton.h"

#define REGEX_NODES_MAX  4096 /* of a tree */
#define REGEX_RUNS_MAX   8192 /* of all its classes */
#define REGEX_REPEAT_MAX 4096 /* in a quantifier */

/* What a node is. */
enum regex_op {
    REGEX_EMPTY = 0,
    REGEX_CLASS,  /* one of <n> runs from <a> */
    REGEX_CAT,    /* <a>, then <b> */
    REGEX_ALT,    /* <a> or <b> */
    REGEX_REPEAT, /* <a> min .. max times */
};

/* A node; <nullable>: it matches nothing, too. */
struct regex_node {
    enum regex_op op;
    uint32_t a, b, n;
    uint32_t min, max; /* AUTO_NO_MAX = no end */
    bool nullable;
};

/* A tree. */
struct regex_tree {
    struct regex_node nodes[REGEX_NODES_MAX];
    uint32_t n_nodes;
    struct auto_run runs[REGEX_RUNS_MAX];
    uint32_t n_runs;
    uint32_t root;
};

/* Read <pattern> into <t>: what is not anchored at an end gets any characters
 * there. Errors as regex_build(). */
enum err regex_parse(struct str pattern, struct regex_tree *t,
                     const char **why) MUST_CHECK;

#endif
