/* state_dir.h - A state directory of a test, and small things that several
 * tests of the ledger need. */
#ifndef TG_TESTS_UNIT_STATE_DIR_H
#define TG_TESTS_UNIT_STATE_DIR_H

#include <ftw.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <setjmp.h>

#include <cmocka.h>

/* A fresh directory under $TMPDIR or /tmp; freed by state_dir_drop(). */
static inline char *state_dir_make(void)
{
    const char *tmp = getenv("TMPDIR");
    char *path = NULL;

    assert_true(asprintf(&path, "%s/tg-XXXXXX", tmp ? tmp : "/tmp") > 0);
    assert_non_null(mkdtemp(path));
    return path;
}

static inline int state_dir_unlink(const char *path, const struct stat *st,
                                   int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

/* Delete it and all in it. */
static inline void state_dir_drop(char *path)
{
    nftw(path, state_dir_unlink, 16, FTW_DEPTH | FTW_PHYS);
    free(path);
}

/* "<dir>/<name>" in a buffer of the caller. */
static inline const char *state_dir_path(const char *dir, const char *name,
                                         char room[4096])
{
    assert_true(snprintf(room, 4096, "%s/%s", dir, name) < 4096);
    return room;
}

#endif
