/* cache_fixture.h - A store of replies of a test, and replies that follow from
 * their number. */
#ifndef TG_TESTS_UNIT_CACHE_FIXTURE_H
#define TG_TESTS_UNIT_CACHE_FIXTURE_H

#include "store/cache_store.h"

#include "unit/state_dir.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define MIB ((uint64_t)1 << 20)

/* The time of most tests, and how long a reply is good. */
#define NOW     INT64_C(1700000000000)
#define AN_HOUR INT64_C(3600000)

struct fixture {
    char *dir;
    char cache[4096];
    char data[4096];
    uint64_t max_bytes;
    struct cache_store *s;
    struct buf got;
    int log_fd; /* what is logged */
    int err_fd; /* what descriptor 2 was */
};

/* Begin to keep what is logged; print it at the end. */
static inline void log_keep(struct fixture *f)
{
    char path[4096];

    state_dir_path(f->dir, "log", path);
    f->log_fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_APPEND, 0600);
    f->err_fd = dup(2);
    assert_true(f->log_fd >= 0 && f->err_fd >= 0);
    assert_int_equal(dup2(f->log_fd, 2), 2);
}

static inline void log_let_go(struct fixture *f)
{
    char text[4096];
    ssize_t n;

    dup2(f->err_fd, 2);
    for (off_t at = 0; (n = pread(f->log_fd, text, sizeof(text), at)) > 0;
         at += n)
        fwrite(text, 1, (size_t)n, stderr);
    close(f->log_fd);
    close(f->err_fd);
}

/* How many lines were logged since the last call; all of them have <text>. */
static inline unsigned lines_of(struct fixture *f, const char *text)
{
    static char all[1 << 20];
    unsigned n = 0;
    const ssize_t len = pread(f->log_fd, all, sizeof(all) - 1, 0);

    assert_true(len >= 0);
    all[len] = '\0';
    for (char *line = all; *line; n++) {
        char *end = strchr(line, '\n');

        assert_non_null(end);
        *end = '\0';
        fprintf(stdout, "%s\n", line);
        if (!strstr(line, text))
            fail_msg("\"%s\" is not about \"%s\"", line, text);
        line = end + 1;
    }
    assert_int_equal(ftruncate(f->log_fd, 0), 0);
    return n;
}

/* --- replies ------------------------------------------------------------- */

/* Reply <i> of a sort: its key and its bytes. */
static inline struct cache_key key_of(unsigned i)
{
    const unsigned both[2] = {i, 1};

    return (struct cache_key){.same = digest_sha256(&i, sizeof(i)),
                              .exact = digest_sha256(both, sizeof(both))};
}

/* Its sibling: the same request, sent in another way. */
static inline struct cache_key sibling_of(unsigned i)
{
    const unsigned both[2] = {i, 2};
    struct cache_key k = key_of(i);

    k.exact = digest_sha256(both, sizeof(both));
    return k;
}

/* Write version <v> of the <len> bytes of reply <i>. */
static inline void bytes_make(unsigned i, unsigned v, char *out, size_t len)
{
    uint64_t x = (uint64_t)i * 1000003 + v + 1;

    for (size_t k = 0; k < len; k++) {
        if (k % 8 == 0)
            x = x * UINT64_C(6364136223846793005) + 1442695040888963407u;
        out[k] = (char)(x >> (k % 8) * 8);
    }
}

static inline struct cache_put *put_made(struct cache_store *s,
                                         struct cache_key key, unsigned i,
                                         unsigned v, size_t len)
{
    const struct cache_about about = {
        .key_id = str_from(i % 2 ? "key_odd" : "key_even"),
        .team = str_from(i % 3 ? "" : "thirds"),
        .model = str_from(i % 5 ? "small" : "large")};
    struct cache_put *p = cache_put_new(s, &about);

    assert_non_null(p);
    p->key = key;
    p->made_wall_ms = NOW;
    p->until_wall_ms = NOW + AN_HOUR;
    p->epoch = cache_store_epoch(s);
    if (buf_reserve(&p->bytes, len) == ERR_OK) {
        bytes_make(i, v, p->bytes.p, len);
        p->bytes.len = len;
    }
    return p;
}

static inline void put(struct cache_store *s, unsigned i, size_t len)
{
    cache_store_put(s, put_made(s, key_of(i), i, 0, len));
}

/* Look for <key> and read all of it into f->got. */
static inline enum err get(struct fixture *f, struct cache_key key,
                           enum cache_how how, struct cache_found *found)
{
    buf_clear(&f->got);
    enum err err = cache_store_find(f->s, &key, how, NOW + 1, found, &f->got);

    while (err == ERR_OK && found->bytes_read < found->bytes_total)
        err = cache_store_read_on(f->s, found, &f->got);
    return err;
}

/* Whether reply <i> is there: whole, and of one of the first <versions>. */
static inline bool is_there(struct fixture *f, unsigned i, unsigned versions)
{
    struct cache_found found;
    const enum err err = get(f, key_of(i), CACHE_EXACT_ONLY, &found);
    char *want;
    bool same = false;

    if (err == ERR_NOT_FOUND)
        return false;
    assert_int_equal(err, ERR_OK);
    assert_int_equal(found.bytes_total, f->got.len);
    want = malloc(f->got.len + 1);
    for (unsigned v = 0; v < versions && !same; v++) {
        bytes_make(i, v, want, f->got.len);
        same = f->got.len == 0 || memcmp(want, f->got.p, f->got.len) == 0;
    }
    free(want);
    assert_true(same);
    return true;
}

static inline struct cache_stats stats_of(struct cache_store *s)
{
    struct cache_stats st;

    cache_store_stats(s, &st);
    return st;
}

/* --- set up -------------------------------------------------------------- */

static inline void open_again(struct fixture *f)
{
    const struct cache_store_opts opts = {.dir = f->cache,
                                          .max_bytes = f->max_bytes,
                                          .max_entry_bytes = 4 * MIB,
                                          .wait_ms = 60000};

    cache_store_close(f->s);
    f->s = NULL;
    assert_int_equal(cache_store_open(&opts, &f->s), ERR_OK);
}

static inline int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    f->dir = state_dir_make();
    f->max_bytes = 16 * MIB;
    state_dir_path(f->dir, "cache", f->cache);
    state_dir_path(f->dir, "cache/data.mdb", f->data);
    buf_init(&f->got, 64 * MIB);
    log_keep(f);
    open_again(f);
    *state = f;
    return 0;
}

static inline int teardown(void **state)
{
    struct fixture *f = *state;

    cache_store_close(f->s);
    log_let_go(f);
    state_dir_drop(f->dir);
    buf_fini(&f->got);
    free(f);
    return 0;
}

static inline uint64_t file_bytes(const struct fixture *f)
{
    struct stat st;

    return stat(f->data, &st) == 0 ? (uint64_t)st.st_size : 0;
}

#endif
