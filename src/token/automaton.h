/* automaton.h - A stack machine over bytes and single tokens: the program, and
 * how to build one. Nodes are built from the end: every builder takes the node
 * that follows and returns the node where its part begins. Mistakes stick: the
 * first one is kept in <err> and later calls give AUTO_FAIL. Only for the
 * parts of grammar.h. */
#ifndef TG_TOKEN_AUTOMATON_H
#define TG_TOKEN_AUTOMATON_H

#include "base/err.h"
#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define AUTO_NODES_MAX 400000 /* of one program */
#define AUTO_DEPTH_MAX 240    /* frames of a stack */
#define AUTO_NO_MAX    UINT32_MAX
#define AUTO_NEVER     UINT16_MAX

/* Two nodes that every program has. */
enum { AUTO_FAIL = 0, AUTO_RET = 1 };

/* What a node does. */
enum auto_op {
    AUTO_OP_FAIL = 0, /* nothing is allowed */
    AUTO_OP_RET,      /* go on where the top frame says; the end at the
                       * bottom */
    AUTO_OP_RANGE,    /* one byte of (a & 255) .. (a >> 8), then <b> */
    AUTO_OP_SET,      /* one byte of set <a>, then <b> */
    AUTO_OP_SWITCH,   /* one byte of <b> edges from <a>, then where it leads */
    AUTO_OP_SPLIT,    /* <a> or <b> */
    AUTO_OP_CALL,     /* <a> up to its RET, then <b> */
    AUTO_OP_LOOP,     /* <a> up to its RET, min .. max times, then <b> */
    AUTO_OP_TOKEN,    /* the token <a>, then <b> */
    AUTO_OP_CONTROL,  /* any control token that ends nothing, unless a TOKEN
                       * beside it waits for that one, then <b> */
};

/* A node. A body of LOOP takes at least one byte each time. */
struct auto_node {
    uint8_t op;
    bool plain; /* SET: the ASCII part of any character of a string */
    uint32_t a, b;
    uint32_t min, max; /* LOOP; AUTO_NO_MAX = no end */
};

/* One way out of a SWITCH. */
struct auto_edge {
    uint8_t byte;
    uint32_t next;
};

/* A set of bytes. */
struct auto_set {
    uint64_t bits[4];
};

/* A program. Zeroed is not ready: auto_init(). */
struct automaton {
    enum err err; /* ERR_OK, ERR_NOMEM or ERR_FULL */
    struct auto_node *nodes;
    uint32_t n_nodes, nodes_cap;
    struct auto_edge *edges;
    uint32_t n_edges, edges_cap;
    struct auto_set *sets;
    uint32_t n_sets, sets_cap;
    uint32_t start;
    /* Filled by auto_finish(). */
    uint8_t class_of[256]; /* bytes that nothing tells apart share a class */
    unsigned n_classes;
    uint16_t *need; /* (n_nodes) frames needed to come to the RET of this
                     * level; AUTO_NEVER = it cannot be reached */
    /* Shared parts, AUTO_FAIL while not built. */
    uint32_t chars, value, indent;
};

/* An empty program; auto_fini() is owed whatever happens. */
void auto_init(struct automaton *a);

/* Free. */
void auto_fini(struct automaton *a);

/* Judge the program that begins at <start>: which nodes lead to an end, which
 * bytes differ. ERR_SYNTAX when no text ends, ERR_REFUSED when a part begins
 * with itself, ERR_NOMEM, ERR_FULL. */
enum err auto_finish(struct automaton *a, uint32_t start) MUST_CHECK;

/* --- nodes -------------------------------------------------------------- */

/* One byte of <set>. */
uint32_t auto_set_of(struct automaton *a, const struct auto_set *set,
                     uint32_t next);

/* One byte of lo .. hi. */
uint32_t auto_range(struct automaton *a, uint8_t lo, uint8_t hi, uint32_t next);

/* The bytes of <text>. */
uint32_t auto_text(struct automaton *a, struct str text, uint32_t next);

/* Either; AUTO_FAIL is neutral. */
uint32_t auto_split(struct automaton *a, uint32_t x, uint32_t y);

/* <x> or nothing. */
uint32_t auto_opt(struct automaton *a, uint32_t x, uint32_t next);

/* The part that begins at <entry> and ends in AUTO_RET. */
uint32_t auto_call(struct automaton *a, uint32_t entry, uint32_t next);

/* <body> (which ends in AUTO_RET) min .. max times. */
uint32_t auto_loop(struct automaton *a, uint32_t body, uint32_t min,
                   uint32_t max, uint32_t next);

/* Token <id> as such, not its bytes; any control token. */
uint32_t auto_token(struct automaton *a, int32_t id, uint32_t next);
uint32_t auto_control(struct automaton *a, uint32_t next);

/* A node to be filled later, so that a part can call itself. */
uint32_t auto_hole(struct automaton *a);
void auto_fill(struct automaton *a, uint32_t hole, uint32_t entry);

/* One of several texts, and what follows it. */
struct auto_word {
    struct str text;
    uint32_t next;
};

/* Any of <words> (n), which the call sorts. Of equal texts only one counts. */
uint32_t auto_words(struct automaton *a, struct auto_word *words, size_t n);

/* --- text (automaton_text.c) -------------------------------------------- */

/* A run of code points. */
struct auto_run {
    uint32_t lo, hi;
};

/* One character of the <n> runs (sorted, disjoint) as it stands in a JSON
 * string: what must be escaped is. Surrogates are passed over. */
uint32_t auto_char_of(struct automaton *a, const struct auto_run *runs,
                      size_t n, uint32_t next);

/* The characters of UTF-8 <text> as they stand in a JSON string, without
 * quotes. */
uint32_t auto_string_text(struct automaton *a, struct str text, uint32_t next);

/* A JSON string of min .. max characters, in any spelling. */
uint32_t auto_string(struct automaton *a, uint32_t min, uint32_t max,
                     uint32_t next);

/* A JSON string that is none of <keys> (n), without escapes. */
uint32_t auto_string_but(struct automaton *a, const struct str *keys, size_t n,
                         uint32_t next);

/* White space where there may be some: nothing, a space, or a line break with
 * at most 16 blanks. After a colon: nothing or a space. */
uint32_t auto_space(struct automaton *a, uint32_t next);
uint32_t auto_colon(struct automaton *a, uint32_t next);

/* Any JSON value; any object. */
uint32_t auto_value(struct automaton *a, uint32_t next);
uint32_t auto_object(struct automaton *a, uint32_t next);

/* --- numbers (automaton_number.c) --------------------------------------- */

/* A bound as decimal text: sign, digits, optionally a point and digits. */
struct auto_bound {
    bool given;
    bool exclusive;
    bool negative;
    char whole[24];    /* digits without leading zeros, "0" at least */
    char fraction[24]; /* digits without trailing zeros, maybe none */
};

/* A JSON number between the bounds, without exponent when there is one. */
uint32_t auto_number(struct automaton *a, bool integer,
                     const struct auto_bound *lo, const struct auto_bound *hi,
                     uint32_t next);

#endif
