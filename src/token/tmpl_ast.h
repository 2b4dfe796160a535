/* tmpl_ast.h - What a chat template is parsed into: a tree of nodes, immutable
 * and shared by all renderings. */
#ifndef TG_TOKEN_TMPL_AST_H
#define TG_TOKEN_TMPL_AST_H

#include "token/tmpl_val.h"

/* Deepest nesting of a template's nodes. */
#define TMPL_NEST_MAX 160

/* What a node is. */
enum tmpl_kind {
    /* statements; kids in brackets */
    TMPL_N_BLOCK = 0, /* [statements] */
    TMPL_N_TEXT,      /* <lit> */
    TMPL_N_PRINT,     /* [expression] */
    TMPL_N_IF,        /* [condition, block, else or NULL] */
    TMPL_N_FOR,       /* [target, iterable, condition or NULL, block, else] */
    TMPL_N_SET,       /* [target, expression] */
    TMPL_N_SETBLOCK,  /* [target, block, filter or NULL] */
    TMPL_N_MACRO,     /* <id>; [block, defaults...], <params> */
    TMPL_N_CALLBLOCK, /* [block, call, defaults...], <params> */
    TMPL_N_FILTERED,  /* [block, filter] */
    TMPL_N_WITH,      /* [block, target, expression, ...] */
    TMPL_N_SCOPE,     /* [block] */
    TMPL_N_BREAK,
    TMPL_N_CONTINUE,
    /* expressions */
    TMPL_N_LIT,  /* <lit> */
    TMPL_N_NAME, /* <id> */
    TMPL_N_LIST, /* [elements], also tuples */
    TMPL_N_TUPLE,
    TMPL_N_DICT,   /* [key, value, ...] */
    TMPL_N_ATTR,   /* [object], <lit> */
    TMPL_N_ITEM,   /* [object, key] */
    TMPL_N_SLICE,  /* [object, from, to, step], NULL where left out */
    TMPL_N_CALL,   /* [callee, arguments...] */
    TMPL_N_FILTER, /* <id>; [operand, arguments...] */
    TMPL_N_TEST,   /* <id>; [operand, arguments...], <flag>: not */
    TMPL_N_NEG,    /* [x] */
    TMPL_N_POS,    /* [x] */
    TMPL_N_NOT,    /* [x] */
    TMPL_N_ARITH,  /* [operands], <ops> between them */
    TMPL_N_CONCAT, /* [operands] */
    TMPL_N_CMP,    /* [operands], <ops> between them */
    TMPL_N_AND,    /* [operands] */
    TMPL_N_OR,     /* [operands] */
    TMPL_N_COND,   /* [value, condition, else or NULL] */
    TMPL_N_HOLE,   /* what a filter block filters */
};

/* What stands between the operands of a node. */
enum tmpl_op {
    TMPL_O_ADD = 0,
    TMPL_O_SUB,
    TMPL_O_MUL,
    TMPL_O_DIV,
    TMPL_O_FLOOR,
    TMPL_O_MOD,
    TMPL_O_POW,
    TMPL_O_EQ,
    TMPL_O_NE,
    TMPL_O_LT,
    TMPL_O_LE,
    TMPL_O_GT,
    TMPL_O_GE,
    TMPL_O_IN,
    TMPL_O_NOT_IN,
};

/* How an argument of a call is given. */
enum tmpl_arg { TMPL_A_POS = 0, TMPL_A_KEY, TMPL_A_STAR, TMPL_A_STARS };

/* A node. */
struct tmpl_node {
    enum tmpl_kind kind;
    bool flag;      /* FOR: recursive; TEST: negated */
    unsigned depth; /* of its deepest leaf, from 1 */
    unsigned pos;   /* byte of the source */
    int id;         /* name, filter or test */
    unsigned n;     /* kids */
    struct tmpl_node **kid;
    const unsigned char *ops;   /* enum tmpl_op, or enum tmpl_arg of each kid */
    const struct tmpl_val *key; /* names of arguments; (n) with <ops> */
    const int *params;          /* names of MACRO and CALLBLOCK */
    unsigned n_params;
    struct tmpl_val lit;
};

/* A compiled template. */
struct template
{
    struct arena *arena;
    struct str source; /* normalized; owned by the arena */
    struct tmpl_node *root;
    struct str *names; /* by id */
    unsigned n_names;
    unsigned cap_names;
    struct template_caps caps;
};

/* Parse t->source into t->root. */
enum err tmpl_parse(struct template *t, struct template_fault *why) MUST_CHECK;

/* Line and column of byte <pos> of the source. */
void tmpl_place(const struct template *t, size_t pos,
                struct template_fault *why);

/* The number of the filter or test called <name>, -1 when there is none. */
int tmpl_filter_find(struct str name);
int tmpl_test_find(struct str name);

/* Find what <t> can do. */
enum err tmpl_probe_caps(struct template *t) MUST_CHECK;

#endif
