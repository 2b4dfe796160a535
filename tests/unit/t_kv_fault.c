/* t_kv_fault.c - What a namespace does when its disk, its files or other
 * processes fail while it is open: what was stored is a miss at worst, the next
 * page is stored again, and the log says in one line what happened. */
#include "unit/kv_fixture.h"

#include <stdatomic.h>
#include <sys/syscall.h>

/* Writes of head pages fail while this is above 0, and count it down. */
static _Atomic(int) head_writes_to_fail;

/* Stands before the C library's for LMDB, too. */
ssize_t pwrite(int fd, const void *p, size_t len, off_t at)
{
    if (at < 8192 && len < 4096 && atomic_load(&head_writes_to_fail) > 0) {
        atomic_fetch_sub(&head_writes_to_fail, 1);
        errno = EIO;
        return -1;
    }
    return syscall(SYS_pwrite64, fd, p, len, at);
}

/* Open again what refuses everything, and find that it does its work. */
static void mend(struct fixture *f)
{
    assert_true(kv_db_is_panicked(f->db));
    assert_int_equal(kv_db_reopen(f->db, &f->why), ERR_OK);
    assert_false(kv_db_is_panicked(f->db));
    assert_int_equal(store(f->db, 7, 5).stored, 5);
    assert_int_equal(found(f->db, 7, 5), 5);
    assert_int_equal(read_page(f->db, 7, 4), ERR_OK);
}

static void is_refused(struct fixture *f)
{
    const struct digest hash = hash_of(1, 0);
    unsigned n = 99;
    unsigned warm = 99;

    assert_int_equal(read_page(f->db, 1, 0), ERR_IO);
    assert_int_equal(kv_db_find(f->db, &hash, 1, &n, &warm), ERR_IO);
    assert_int_equal(kv_db_touch(f->db, &hash, 1, 1), ERR_IO);
    assert_true(kv_db_is_panicked(f->db));
}

static void a_failed_head_page_needs_one_reopen(void **state)
{
    struct fixture *f = *state;
    const struct digest hash = hash_of(1, 0);

    store(f->db, 1, 5);
    atomic_store(&head_writes_to_fail, 1);
    assert_int_equal(kv_db_touch(f->db, &hash, 1, 1), ERR_IO);
    atomic_store(&head_writes_to_fail, 0);
    is_refused(f);
    mend(f);
    for (unsigned i = 0; i < 5; i++)
        assert_int_equal(read_page(f->db, 1, i), ERR_OK);
}

static void a_file_cut_while_open_begins_anew(void **state)
{
    static const off_t sizes[] = {0, 1, 4096, 8192, 40960, 200000};
    struct fixture *f = *state;

    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        store(f->db, 1, 5);
        assert_int_equal(truncate(f->data, sizes[i]), 0);
        is_refused(f);
        mend(f);
        assert_int_equal(found(f->db, 1, 5), 0);
    }
}

static void a_file_removed_while_open_begins_anew(void **state)
{
    struct fixture *f = *state;

    store(f->db, 1, 5);
    assert_int_equal(unlink(f->data), 0);
    is_refused(f);
    mend(f);
    assert_int_equal(found(f->db, 1, 5), 0);
    nftw(f->ns, state_dir_unlink, 16, FTW_DEPTH | FTW_PHYS);
    is_refused(f);
    mend(f);
}

static void what_is_in_memory_is_told(void **state)
{
    struct fixture *f = *state;
    struct digest chain[4];
    unsigned n = 99;
    unsigned warm = 99;

    store(f->db, 1, 4);
    for (unsigned i = 0; i < 4; i++)
        chain[i] = hash_of(1, i);
    assert_int_equal(kv_db_find(f->db, chain, 4, &n, &warm), ERR_OK);
    assert_int_equal(n, 4);
    assert_int_equal(warm, 4);
    assert_int_equal(kv_db_sync(f->db), ERR_OK);
    const int fd = open(f->data, O_RDONLY);
    assert_int_equal(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED), 0);
    close(fd);
    assert_int_equal(kv_db_find(f->db, chain, 4, &n, &warm), ERR_OK);
    assert_int_equal(n, 4);
    print_message("warm after the advice: %u of 4\n", warm);
    assert_true(warm <= 4);
    assert_int_equal(read_page(f->db, 1, 0), ERR_OK);
    assert_int_equal(kv_db_find(f->db, chain, 1, &n, &warm), ERR_OK);
    assert_int_equal(warm, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        T(a_failed_head_page_needs_one_reopen),
        T(a_file_cut_while_open_begins_anew),
        T(a_file_removed_while_open_begins_anew),
        T(what_is_in_memory_is_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
