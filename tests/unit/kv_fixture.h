/* kv_fixture.h - A namespace of a test, and texts whose pages follow from
 * their number. */
#ifndef TG_TESTS_UNIT_KV_FIXTURE_H
#define TG_TESTS_UNIT_KV_FIXTURE_H

#include "store/kv_db.h"

#include "unit/state_dir.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

/* Of the namespace in its root, which is the state directory. */
#define KV_NAME "0123456789abcdef"

#define TOKENS  16
#define PAYLOAD 65536

struct fixture {
    char *dir;
    char ns[4096];
    char data[4096];
    struct buf why;
    struct kv_db *db;
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
    char all[65536];
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

static inline struct kv_db_opts opts_of(const struct fixture *f)
{
    return (struct kv_db_opts){.dir = f->ns,
                               .ns = digest_sha256("ns", 2),
                               .about = STR("{\"model\":\"a\"}\n"),
                               .payload_bytes = PAYLOAD,
                               .max_bytes = KV_DB_LEAST_BYTES};
}

static inline void open_again(struct fixture *f)
{
    const struct kv_db_opts opts = opts_of(f);

    kv_db_close(f->db);
    f->db = NULL;
    buf_clear(&f->why);
    assert_int_equal(kv_db_open(&opts, &f->db, &f->why), ERR_OK);
}

static inline int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    f->dir = state_dir_make();
    state_dir_path(f->dir, KV_NAME, f->ns);
    state_dir_path(f->dir, KV_NAME "/data.mdb", f->data);
    buf_init(&f->why, 4096);
    log_keep(f);
    open_again(f);
    *state = f;
    return 0;
}

static inline int teardown(void **state)
{
    struct fixture *f = *state;

    kv_db_close(f->db);
    log_let_go(f);
    state_dir_drop(f->dir);
    buf_fini(&f->why);
    free(f);
    return 0;
}

/* Page <i> of text <text>: all of it follows from the two. */
struct page {
    struct kv_put put;
    int32_t tokens[TOKENS];
    uint8_t payload[PAYLOAD];
};

static inline struct digest hash_of(unsigned text, unsigned i)
{
    const unsigned both[2] = {text, i};

    return digest_sha256(both, sizeof(both));
}

static inline void page_make(struct page *p, unsigned text, unsigned i)
{
    for (unsigned k = 0; k < TOKENS; k++)
        p->tokens[k] = (int32_t)(text * 1000 + i * TOKENS + k);
    for (size_t k = 0; k < PAYLOAD; k++)
        p->payload[k] = (uint8_t)(k * 7 + text * 31 + i);
    p->put = (struct kv_put){.key = {.hash = hash_of(text, i),
                                     .before = hash_of(text, i - 1),
                                     .index = i,
                                     .n_tokens = TOKENS,
                                     .tokens = p->tokens,
                                     .cost_us = text * 100 + i},
                             .payload = p->payload};
}

/* Store pages 0 .. n-1 of <text>. */
static inline struct kv_wrote store(struct kv_db *db, unsigned text, unsigned n)
{
    struct page *pages = calloc(n, sizeof(*pages));
    struct kv_put *puts = calloc(n, sizeof(*puts));
    struct digest *chain = calloc(n, sizeof(*chain));
    struct kv_wrote wrote;

    for (unsigned i = 0; i < n; i++) {
        page_make(&pages[i], text, i);
        puts[i] = pages[i].put;
        chain[i] = puts[i].key.hash;
    }
    assert_int_equal(kv_db_write(db, puts, n, &wrote), ERR_OK);
    assert_int_equal(kv_db_touch(db, chain, n, 0), ERR_OK);
    free(pages);
    free(puts);
    free(chain);
    return wrote;
}

static inline unsigned found(struct kv_db *db, unsigned text, unsigned n)
{
    struct digest chain[64];
    unsigned out = 99;
    unsigned warm = 99;

    for (unsigned i = 0; i < n; i++)
        chain[i] = hash_of(text, i);
    assert_int_equal(kv_db_find(db, chain, n, &out, &warm), ERR_OK);
    assert_true(warm <= out);
    return out;
}

static inline enum err read_page(struct kv_db *db, unsigned text, unsigned i)
{
    struct page *want = malloc(sizeof(*want));
    uint8_t *got = malloc(PAYLOAD);

    page_make(want, text, i);
    uint32_t cost_us = 0;
    const enum err err = kv_db_read(db, &want->put.key, got, &cost_us);
    if (err == ERR_OK)
        assert_int_equal(cost_us, want->put.key.cost_us);
    if (err == ERR_OK)
        assert_memory_equal(got, want->payload, PAYLOAD);
    free(want);
    free(got);
    return err;
}

/* All of text <text>, and no other page, is what it was. */
static inline void is_whole(struct fixture *f, unsigned text, unsigned n)
{
    assert_int_equal(found(f->db, text, n), n);
    for (unsigned i = 0; i < n; i++)
        assert_int_equal(read_page(f->db, text, i), ERR_OK);
}

static inline off_t file_size(const struct fixture *f)
{
    struct stat st;

    assert_int_equal(stat(f->data, &st), 0);
    return st.st_size;
}

/* Where in the file <len> bytes at <p> stand. */
static inline off_t place_of(const struct fixture *f, const void *p, size_t len)
{
    const off_t size = file_size(f);
    const int fd = open(f->data, O_RDONLY);
    char *all = malloc((size_t)size);

    assert_int_equal(pread(fd, all, (size_t)size, 0), size);
    const char *at = memmem(all, (size_t)size, p, len);
    assert_non_null(at);
    const off_t place = at - all;
    free(all);
    close(fd);
    return place;
}

#endif
