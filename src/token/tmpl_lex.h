/* tmpl_lex.h - Cuts the text of a chat template into tokens. Whitespace is
 * handled here: trim_blocks and lstrip_blocks as models' templates expect, and
 * the signs - and + at the edges of tags. */
#ifndef TG_TOKEN_TMPL_LEX_H
#define TG_TOKEN_TMPL_LEX_H

#include "base/err.h"
#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

/* What a token is. */
enum tmpl_tok_kind {
    TMPL_T_EOF = 0,
    TMPL_T_DATA,
    TMPL_T_VAR_BEGIN,
    TMPL_T_VAR_END,
    TMPL_T_TAG_BEGIN,
    TMPL_T_TAG_END,
    TMPL_T_NAME,
    TMPL_T_STRING, /* <text> still has its escapes, not its quotes */
    TMPL_T_INT,
    TMPL_T_REAL,
    TMPL_T_OP, /* <text> is the operator */
};

/* A token. */
struct tmpl_tok {
    enum tmpl_tok_kind kind;
    struct str text; /* of the source */
    size_t pos;
    int64_t i;
    double r;
};

/* Where the lexer is: in text, in a variable, in a statement. */
enum tmpl_lex_state { TMPL_L_DATA = 0, TMPL_L_VAR, TMPL_L_TAG };

/* The lexer: zeroed but for <src> and <line_start>, which is true. */
struct tmpl_lex {
    struct str src;
    size_t at;
    size_t tag_at; /* where the open tag began */
    enum tmpl_lex_state state;
    bool line_start; /* what was consumed last ended a line */
    char open[64];   /* brackets that are open within a tag */
    unsigned n_open;
    const char *why; /* set on failure, with the place in <at> */
};

/* The next token. ERR_SYNTAX: lx->why, at lx->at. */
enum err tmpl_lex_next(struct tmpl_lex *lx, struct tmpl_tok *out) MUST_CHECK;

#endif
