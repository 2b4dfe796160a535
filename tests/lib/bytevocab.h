/* bytevocab.h - A small vocabulary that can write every byte, made by hand,
 * for tests and fuzz targets of constrained decoding. */
#ifndef TG_TESTS_LIB_BYTEVOCAB_H
#define TG_TESTS_LIB_BYTEVOCAB_H

#include "token/vocab.h"

/* Ids: bytes are 0 .. 255, then the end, then two markers that are control
 * tokens, then tokens of several bytes. */
enum {
    BYTEVOCAB_EOS = 256,
    BYTEVOCAB_TOOL_CALLS, /* [TOOL_CALLS] */
    BYTEVOCAB_PYTHON,     /* <|python_tag|> */
    BYTEVOCAB_WORDS,
};

/* A vocabulary of all bytes and <words> (n, any bytes). Aborts when that
 * fails. */
struct vocab *bytevocab_new(const struct str *words, size_t n);

/* The same with words that cross JSON's borders in many ways, and with parts
 * of characters. */
struct vocab *bytevocab_new_usual(void);

#endif
