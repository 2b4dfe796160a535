/* vocab_files.h - Vocabularies out of files, for tests: a reader of GGUF's
 * metadata that trusts its file, and lists of one text a line. */
#ifndef TG_TESTS_UNIT_VOCAB_FILES_H
#define TG_TESTS_UNIT_VOCAB_FILES_H

#include "base/buf.h"
#include "token/vocab.h"

/* The directory of the test data: TOLLGATE_TEST_DATA, or ../shared/data from
 * the project's root. Static. */
const char *vocab_files_dir(void);

/* The bytes of <path>, malloc'd; p is NULL when it cannot be read. */
struct str vocab_files_read(const char *path);

/* The vocabulary of the GGUF file at <path>, or NULL with <why>. */
struct vocab *vocab_files_gguf(const char *path, struct vocab_fault *why);

/* The BPE vocabulary of a list of tokens and one of merges, or NULL. */
struct vocab *vocab_files_lists(const char *tokens, const char *merges,
                                const char *pre, struct vocab_fault *why);

#endif
