/* t_cache_fault.c - Replies on disk and what befalls a disk: flipped bytes, a
 * file that was cut, removed, replaced, of another boot, larger than it may be;
 * a disk that is full, a directory that may not be written. Never a wrong
 * answer, and it works again by itself. */
#include "unit/cache_fixture.h"

#include <sys/resource.h>

/* All of the file, for what stands in it where; freed by who asked. */
static char *file_read(const struct fixture *f, size_t *len_out)
{
    const size_t len = (size_t)file_bytes(f);
    char *all = malloc(len + 1);
    const int fd = open(f->data, O_RDONLY);

    assert_true(fd >= 0);
    assert_int_equal(pread(fd, all, len, 0), (ssize_t)len);
    close(fd);
    *len_out = len;
    return all;
}

static void byte_flip(const struct fixture *f, off_t at, uint8_t mask)
{
    const int fd = open(f->data, O_RDWR);
    uint8_t byte;

    assert_int_equal(pread(fd, &byte, 1, at), 1);
    byte ^= mask;
    assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    close(fd);
}

/* Bytes before the reply's in its first slice, at most. */
#define HEAD_MOST 160

/* Flip byte <k> of the first slice of reply <i>, of <len> bytes, wherever in
 * the file it stands whole: pages that are free hold old copies. The head
 * begins with four letters, and its key and its texts follow. */
static void slice_flip(const struct fixture *f, unsigned i, size_t len,
                       size_t k, uint8_t mask)
{
    const struct cache_key key = key_of(i);
    const size_t texts = strlen(i % 2 ? "key_odd" : "key_even") +
                         strlen(i % 3 ? "" : "thirds") + strlen("small");
    char *want = malloc(len + 1);
    unsigned n = 0;
    size_t size;
    char *all = file_read(f, &size);

    bytes_make(i, 0, want, len);
    for (size_t at = 8; at + HEAD_MOST + len < size; at++) {
        if (memcmp(all + at, "TGRC", 4) != 0 ||
            memcmp(all + at + 40, key.same.b, 32) != 0 ||
            memcmp(all + at + 72, key.exact.b, 32) != 0 ||
            memcmp(all + at + 112 + texts, want, len < 3900 ? len : 3900) != 0)
            continue;
        byte_flip(f, (off_t)(at - 8 + k), mask);
        n++;
    }
    free(want);
    free(all);
    assert_true(n > 0);
}

static void purge_all(struct fixture *f)
{
    static const struct cache_purge all;
    struct cache_purged done;

    assert_int_equal(cache_store_purge(f->s, &all, &done), ERR_OK);
}

/* Flip a bit of <what> wherever in the file it stands. */
static void text_flip(const struct fixture *f, struct str what, size_t k)
{
    unsigned n = 0;
    size_t len;
    char *all = file_read(f, &len);

    for (size_t at = 0; at + what.len < len; at++) {
        if (memcmp(all + at, what.p, what.len) != 0)
            continue;
        byte_flip(f, (off_t)(at + k), 0x20);
        n++;
    }
    free(all);
    assert_true(n > 0);
}

/* --- flipped bytes ------------------------------------------------------- */

/* Store reply 1 of <len> bytes alone and flip byte <k> of what is stored. */
static void a_flip_is_a_miss(struct fixture *f, size_t len, size_t k)
{
    struct cache_found found;
    const struct cache_stats before = stats_of(f->s);

    purge_all(f); /* no old copies */
    put(f->s, 1, len);
    cache_store_flush(f->s);
    slice_flip(f, 1, len, k, (uint8_t)(1u << k % 8));
    assert_int_equal(get(f, key_of(1), CACHE_ANY, &found), ERR_CORRUPT);
    assert_int_equal(f->got.len, 0);
    cache_store_flush(f->s);
    const struct cache_stats st = stats_of(f->s);
    assert_int_equal(st.entries, 0);
    assert_int_equal(st.corrupt, before.corrupt + 1);
    assert_int_equal(get(f, key_of(1), CACHE_ANY, &found), ERR_NOT_FOUND);
}

static void any_flipped_byte_is_a_miss_and_a_deletion(void **state)
{
    struct fixture *f = *state;
    const size_t head = 8 + 112 + strlen("key_odd") + strlen("small");

    for (size_t k = 0; k < head + 300; k++)
        a_flip_is_a_miss(f, 300, k);
    for (size_t k = 0; k < 4080; k += 41)
        a_flip_is_a_miss(f, 5000, k);
    assert_true(lines_of(f, "is damaged, and deleted") > 400);
}

/* The same in slices behind the first: each stands at the head of a page. */
static void so_is_one_far_behind_the_head(void **state)
{
    struct fixture *f = *state;
    struct cache_found found;
    char *bytes = malloc(700000);

    for (size_t from = 300000; from < 700000; from += 9973) {
        purge_all(f);
        put(f->s, 1, 700000);
        cache_store_flush(f->s);
        bytes_make(1, 0, bytes, 700000);
        /* What is looked for may not be cut by the end of a slice. */
        const size_t begin = from / 4072 * 4072 + 500;
        text_flip(f, str_of(bytes + begin, 64), from % 64);
        assert_int_equal(get(f, key_of(1), CACHE_ANY, &found), ERR_CORRUPT);
        assert_int_equal(f->got.len, 0);
        cache_store_flush(f->s);
        assert_int_equal(stats_of(f->s).entries, 0);
    }
    free(bytes);
}

static void verify_finds_and_deletes_the_bad_ones(void **state)
{
    struct fixture *f = *state;
    struct cache_verified v;

    for (unsigned i = 0; i < 500; i++)
        put(f->s, i, 1500 + i * 9);
    cache_store_flush(f->s);
    assert_int_equal(cache_store_verify(f->s, &v), ERR_OK);
    assert_true(v.entries == 500 && v.damaged == 0);
    for (unsigned i = 3; i < 250; i += 50)
        slice_flip(f, i, 1500 + i * 9, 900, 1);
    assert_int_equal(cache_store_verify(f->s, &v), ERR_OK);
    assert_true(v.entries == 500 && v.damaged == 5);
    for (unsigned i = 0; i < 500; i++)
        assert_int_equal(is_there(f, i, 1), i >= 250 || i % 50 != 3);
    assert_int_equal(cache_store_verify(f->s, &v), ERR_OK);
    assert_true(v.entries == 495 && v.damaged == 0);
}

/* Whatever is flipped in a file that nobody has open: what is found after it is
 * opened is right, or is not found. */
static void a_damaged_file_never_lies(void **state)
{
    struct fixture *f = *state;
    uint64_t seed = 7;

    for (unsigned i = 0; i < 300; i++)
        put(f->s, i, i * 31);
    for (unsigned round = 0; round < 60; round++) {
        cache_store_close(f->s);
        f->s = NULL;
        for (unsigned k = 0; k < 1 + round % 8; k++) {
            seed = seed * UINT64_C(6364136223846793005) + 12345;
            byte_flip(f, (off_t)((seed >> 20) % file_bytes(f)),
                      (uint8_t)(1 + (seed >> 12) % 255));
        }
        open_again(f);
        cache_store_flush(f->s); /* until it is open */
        for (unsigned i = 0; i < 300; i++) {
            struct cache_found found;
            const enum err err = get(f, key_of(i), CACHE_ANY, &found);
            char want[300 * 31];

            assert_int_not_equal(err, ERR_IO);
            if (err != ERR_OK)
                continue;
            bytes_make(i, 0, want, i * 31);
            assert_int_equal(f->got.len, i * 31);
            assert_memory_equal(f->got.p, want, i * 31);
        }
        for (unsigned i = 0; i < 300; i++)
            put(f->s, i, i * 31);
        cache_store_flush(f->s);
        /* A row of the index may have another key now; damage that is met
         * late takes all with it. */
        if (stats_of(f->s).anew == 0)
            assert_in_range(stats_of(f->s).entries, 300, 300 + 8 * round);
    }
    lines_of(f, "cache");
}

/* --- the file as a whole ------------------------------------------------- */

static void fill(struct fixture *f)
{
    for (unsigned i = 0; i < 50; i++)
        put(f->s, i, 3000);
    cache_store_flush(f->s);
}

static unsigned count(struct fixture *f)
{
    struct cache_found found;
    unsigned n = 0;

    for (unsigned i = 0; i < 50; i++)
        n +=
            get(f, key_of(i), CACHE_ANY, &found) == ERR_OK && is_there(f, i, 1);
    return n;
}

/* Whether the store is empty and works. */
static void is_anew(struct fixture *f, const char *cause)
{
    assert_int_equal(count(f), 0);
    fill(f);
    assert_int_equal(count(f), 50);
    assert_int_equal(lines_of(f, cause), 1);
}

static void a_file_cut_while_open_is_begun_anew(void **state)
{
    struct fixture *f = *state;

    fill(f);
    assert_int_equal(truncate(f->data, 8192), 0);
    assert_int_equal(count(f), 0);
    put(f->s, 1, 10);
    cache_store_flush(f->s);
    is_there(f, 1, 1);
    cache_store_drop(f->s,
                     &(struct cache_key){key_of(1).same, key_of(1).exact});
    cache_store_flush(f->s);
    is_anew(f, "cut while it was open");
}

static void a_file_removed_while_open_is_begun_anew(void **state)
{
    struct fixture *f = *state;

    fill(f);
    assert_int_equal(unlink(f->data), 0);
    assert_int_equal(count(f), 0);
    put(f->s, 60, 10);
    cache_store_flush(f->s);
    assert_true(is_there(f, 60, 1));
    is_anew(f, "removed while it was open");
}

static void what_nothing_vouches_for_is_begun_anew(void **state)
{
    struct fixture *f = *state;
    char path[4096];

    fill(f);
    cache_store_close(f->s);
    f->s = NULL;
    state_dir_path(f->dir, "cache/state", path);
    const int fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, "\x55", 1, 12), 1); /* within the boot's id */
    close(fd);
    open_again(f);
    is_anew(f, "nothing tells whether it is whole");
}

static void a_file_above_its_bound_is_begun_anew(void **state)
{
    struct fixture *f = *state;

    for (unsigned i = 0; i < 1000; i++)
        put(f->s, i, 3000);
    cache_store_flush(f->s);
    assert_true(file_bytes(f) > 2 * MIB);
    f->max_bytes = 2 * MIB;
    open_again(f);
    is_anew(f, "larger than it may be");
    assert_true(file_bytes(f) <= 2 * MIB);
}

static void rubbish_is_put_aside(void **state)
{
    struct fixture *f = *state;
    char path[4096];
    char rubbish[20000];

    fill(f);
    cache_store_close(f->s);
    f->s = NULL;
    bytes_make(1, 1, rubbish, sizeof(rubbish));
    const int fd = open(f->data, O_RDWR);
    assert_int_equal(pwrite(fd, rubbish, sizeof(rubbish), 0),
                     (ssize_t)sizeof(rubbish));
    close(fd);
    open_again(f);
    cache_store_flush(f->s);
    state_dir_path(f->dir, "cache/data.mdb.damaged", path);
    assert_int_equal(access(path, F_OK), 0);
    is_anew(f, "begins anew");
    purge_all(f);
    assert_int_not_equal(access(path, F_OK), 0);
}

/* A copy of a file is walked, and good. */
static void a_copied_file_is_used(void **state)
{
    struct fixture *f = *state;
    size_t len;

    fill(f);
    cache_store_close(f->s);
    f->s = NULL;
    char *all = file_read(f, &len);
    assert_int_equal(unlink(f->data), 0);
    const int fd = open(f->data, O_RDWR | O_CREAT, 0600);
    assert_int_equal(write(fd, all, len), (ssize_t)len);
    close(fd);
    free(all);
    open_again(f);
    cache_store_flush(f->s);
    assert_int_equal(count(f), 50);
    assert_int_equal(lines_of(f, ""), 0);
}

static void two_cannot_have_it(void **state)
{
    struct fixture *f = *state;
    const struct cache_store_opts opts = {
        .dir = f->cache, .max_bytes = f->max_bytes, .max_entry_bytes = MIB};
    struct cache_store *other;
    struct cache_found found;
    struct buf none;

    fill(f);
    buf_init(&none, MIB);
    assert_int_equal(cache_store_open(&opts, &other), ERR_OK);
    assert_false(stats_of(other).is_open);
    const struct cache_key key = key_of(1);
    assert_int_equal(
        cache_store_find(other, &key, CACHE_ANY, NOW, &found, &none),
        ERR_NOT_FOUND);
    put(other, 70, 10);
    cache_store_close(other);
    assert_int_equal(count(f), 50);
    assert_int_equal(lines_of(f, ""), 0);
    buf_fini(&none);
}

/* --- a disk that refuses ------------------------------------------------- */

static void set_largest_file(rlim_t bytes)
{
    struct rlimit rl;

    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &rl);
    rl.rlim_cur = bytes;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &rl), 0);
}

static void a_full_disk_is_lived_with(void **state)
{
    struct fixture *f = *state;
    unsigned n = 0;

    for (unsigned i = 0; i < 600; i++)
        put(f->s, i, 3000);
    cache_store_flush(f->s);
    const uint64_t before = file_bytes(f);
    set_largest_file(before + 65536);
    for (unsigned i = 600; i < 2000; i++) {
        put(f->s, i, 3000);
        if (i % 20 == 0)
            cache_store_flush(f->s);
    }
    cache_store_flush(f->s);
    const struct cache_stats st = stats_of(f->s);
    assert_true(st.is_open);
    assert_true(file_bytes(f) <= before + 65536);
    for (unsigned i = 0; i < 2000; i++)
        n += is_there(f, i, 1);
    assert_int_equal(n, st.entries);
    assert_true(n > 200 && is_there(f, 1999, 1));
    set_largest_file(RLIM_INFINITY);
    open_again(f);
    assert_int_equal(stats_of(f->s).entries, n);
    assert_true(lines_of(f, "response cache") > 0);
}

static void a_directory_that_may_not_be_written_is_no_store(void **state)
{
    struct fixture *f = *state;
    struct cache_found found;

    if (geteuid() == 0)
        skip(); /* root may */
    fill(f);
    cache_store_close(f->s);
    f->s = NULL;
    assert_int_equal(chmod(f->dir, 0500), 0);
    state_dir_path(f->dir, "none", f->cache);
    open_again(f);
    assert_false(stats_of(f->s).is_open);
    put(f->s, 1, 10);
    assert_int_equal(get(f, key_of(1), CACHE_ANY, &found), ERR_NOT_FOUND);
    assert_int_equal(stats_of(f->s).dropped_shut, 1);
    assert_int_equal(chmod(f->dir, 0700), 0);
    assert_int_equal(lines_of(f, "cannot be made"), 1);
}

static void a_file_in_the_way_is_no_store(void **state)
{
    struct fixture *f = *state;
    struct cache_found found;

    cache_store_close(f->s);
    f->s = NULL;
    state_dir_path(f->dir, "file", f->cache);
    const int fd = open(f->cache, O_RDWR | O_CREAT, 0600);
    close(fd);
    open_again(f);
    assert_false(stats_of(f->s).is_open);
    put(f->s, 1, 10);
    assert_int_equal(get(f, key_of(1), CACHE_ANY, &found), ERR_NOT_FOUND);
    assert_int_equal(lines_of(f, "does not work"), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        T(any_flipped_byte_is_a_miss_and_a_deletion),
        T(so_is_one_far_behind_the_head),
        T(verify_finds_and_deletes_the_bad_ones),
        T(a_damaged_file_never_lies),
        T(a_file_cut_while_open_is_begun_anew),
        T(a_file_removed_while_open_is_begun_anew),
        T(what_nothing_vouches_for_is_begun_anew),
        T(a_file_above_its_bound_is_begun_anew),
        T(rubbish_is_put_aside),
        T(a_copied_file_is_used),
        T(two_cannot_have_it),
        T(a_full_disk_is_lived_with),
        T(a_directory_that_may_not_be_written_is_no_store),
        T(a_file_in_the_way_is_no_store),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
