/* iolog.h - What a program writes to files, and what a power cut may leave of
 * it. The calls that write, sync, make, rename and delete are replaced by ones
 * that note what they did; from the notes the files are made again as they
 * stood at any moment: all that was synced by then, and any part of what was
 * not, in any order, torn at sectors.
 *
 * A file's sync makes its name and what was written to it durable, that of a
 * directory what was renamed and deleted in it; a write to a file opened with
 * O_DSYNC is durable at once. Mapped memory is not seen: LMDB's lock.mdb, which
 * nothing needs after a start of the machine, is left out. */
#ifndef TG_TESTS_LIB_IOLOG_H
#define TG_TESTS_LIB_IOLOG_H

#include <stddef.h>
#include <stdint.h>

/* Begin to note what happens under <root>, which must be empty. One at a
 * time; any thread. */
void iolog_begin(const char *root);

/* Note no more; the notes stay until the next beginning. */
void iolog_end(void);

/* Free the notes. */
void iolog_fini(void);

/* Note something of the caller's own. */
void iolog_mark(unsigned kind, int64_t a, int64_t b);

/* How many notes there are. */
size_t iolog_count(void);

/* Whether note <i> is a mark; what it says. */
int iolog_is_mark(size_t i, unsigned *kind_out, int64_t *a_out, int64_t *b_out);

/* What is left of that which was not synced. */
enum iolog_left {
    IOLOG_NOTHING = 0,
    IOLOG_ALL, /* as when only the process dies */
    IOLOG_SOME /* by <seed>, also of the note at the cut itself */
};

/* Make the files again under <to>, an empty directory, as of before note
 * <at>. */
void iolog_rebuild(size_t at, enum iolog_left left, uint64_t seed,
                   const char *to);

/* The boot of the machine that is told from now on: 36 characters as Linux has
 * them; NULL: the real one. */
void iolog_boot(const char *id);

#endif
