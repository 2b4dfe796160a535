/* vocab_made.h - Small vocabularies made by code, for tests and fuzz targets.
 */
#ifndef TG_TESTS_LIB_VOCAB_MADE_H
#define TG_TESTS_LIB_VOCAB_MADE_H

#include "token/vocab.h"

/* A specification that says nothing. */
struct vocab_spec vocab_made_unsaid(void);

/* SPM with all byte tokens: <unk>, <s>, </s>, 256 bytes, then pieces; see
 * vocab_made.c. <prefix>: add_space_prefix. Aborts without memory. */
struct vocab *vocab_made_spm(enum vocab_said prefix);

/* Byte-level BPE with all bytes (id = its place in the byte order of GPT-2's
 * alphabet: 0 is '!'), some merges, and special tokens. <pre>: the name of a
 * pre-tokenizer. */
struct vocab *vocab_made_bpe(const char *pre);

#endif
