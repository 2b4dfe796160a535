/* t_kv_fault.c - What a namespace does when its disk, its files or other
 * processes fail while it is open: what was stored is a miss at worst, the next
 * page is stored again, and the log says in one line what happened. */
#include "unit/kv_fixture.h"

#include <linux/magic.h>
#include <lmdb.h>
#include <stdatomic.h>
#include <sys/mount.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/vfs.h>

/* Writes of head pages fail while this is above 0, and count it down. */
static _Atomic(int) head_writes_to_fail;

/* A disk has room for files of so many bytes, 0 = for all. */
static _Atomic(off_t) disk_bytes;

/* How much of <len> bytes at <at> the disk takes; 0 = none. */
static size_t taken(off_t at, size_t len)
{
    const off_t most = atomic_load(&disk_bytes);

    if (most == 0 || at + (off_t)len <= most)
        return len;
    errno = ENOSPC;
    return at < most ? (size_t)(most - at) : 0;
}

/* These three stand before the C library's for LMDB, too. */
ssize_t pwrite(int fd, const void *p, size_t len, off_t at)
{
    if (at < 8192 && len < 4096 && atomic_load(&head_writes_to_fail) > 0) {
        atomic_fetch_sub(&head_writes_to_fail, 1);
        errno = EIO;
        return -1;
    }
    const size_t n = taken(at, len);
    return n > 0 ? syscall(SYS_pwrite64, fd, p, n, at) : -1;
}

ssize_t writev(int fd, const struct iovec *iov, int n)
{
    const off_t at = lseek(fd, 0, SEEK_CUR);
    ssize_t done = 0;

    if (at < 0) /* no file */
        return syscall(SYS_writev, fd, iov, n);
    for (int i = 0; i < n; i++) {
        const ssize_t wrote =
            pwrite(fd, iov[i].iov_base, iov[i].iov_len, at + done);

        if (wrote < 0 && done == 0)
            return -1;
        done += wrote > 0 ? wrote : 0;
        if (wrote < (ssize_t)iov[i].iov_len)
            break;
    }
    lseek(fd, at + done, SEEK_SET);
    return done;
}

int statvfs(const char *path, struct statvfs *out)
{
    struct statfs fs;

    if (statfs(path, &fs) != 0)
        return -1;
    *out = (struct statvfs){.f_frsize = (unsigned long)fs.f_bsize,
                            .f_bavail = fs.f_bavail};
    if (atomic_load(&disk_bytes) != 0)
        out->f_bavail = 10;
    return 0;
}

/* Readers are refused until the writer comes. */
static void is_refused(struct fixture *f)
{
    const struct digest hash = hash_of(1, 0);
    unsigned n = 99;
    unsigned warm = 99;

    assert_int_equal(read_page(f->db, 1, 0), ERR_IO);
    assert_int_equal(kv_db_find(f->db, &hash, 1, &n, &warm), ERR_IO);
    assert_true(kv_db_is_panicked(f->db));
}

/* Its next call opens again what refuses everything. */
static void is_mended(struct fixture *f, const char *cause)
{
    assert_int_equal(store(f->db, 7, 5).stored, 5);
    assert_false(kv_db_is_panicked(f->db));
    is_whole(f, 7, 5);
    assert_int_equal(lines_of(f, cause), 1);
}

/* --- the disk ------------------------------------------------------------ */

static void a_failed_head_page_costs_no_page(void **state)
{
    struct fixture *f = *state;
    const struct digest hash = hash_of(1, 0);

    store(f->db, 1, 5);
    atomic_store(&head_writes_to_fail, 1);
    assert_int_equal(kv_db_touch(f->db, &hash, 1, 1), ERR_OK);
    assert_int_equal(atomic_load(&head_writes_to_fail), 0);
    assert_int_equal(lines_of(f, "opened again"), 1);
    is_whole(f, 1, 5);
}

static void a_head_page_that_keeps_failing_is_an_error(void **state)
{
    struct fixture *f = *state;
    const struct digest hash = hash_of(1, 0);

    store(f->db, 1, 5);
    atomic_store(&head_writes_to_fail, 1000);
    assert_int_equal(kv_db_touch(f->db, &hash, 1, 1), ERR_IO);
    is_refused(f);
    assert_string_equal(kv_db_last_error(f->db), "Input/output error");
    lines_of(f, "opened again");
    atomic_store(&head_writes_to_fail, 0);
    is_mended(f, "opened again");
    is_whole(f, 1, 5);
}

/* Store texts 100, 101, .. until one fails; gives how many did not. */
static unsigned store_until_full(struct fixture *f, unsigned most)
{
    static struct page page;
    struct kv_wrote wrote;
    unsigned n = 0;

    for (; n < most; n++) {
        page_make(&page, 100 + n, 0);
        if (kv_db_write(f->db, &page.put, 1, &wrote) != ERR_OK)
            break;
    }
    return n;
}

static void a_full_disk_is_lived_with(void **state)
{
    struct fixture *f = *state;
    struct kv_db_opts opts = opts_of(f);
    struct kv_db_stats s;

    kv_db_close(f->db);
    opts.max_bytes = 32 << 20;
    assert_int_equal(kv_db_open(&opts, &f->db, &f->why), ERR_OK);
    store(f->db, 1, 5);
    atomic_store(&disk_bytes, (12 << 20) + 1000);
    const unsigned fit = store_until_full(f, 1000);
    assert_true(fit > 50 && fit < 200);
    assert_string_equal(kv_db_last_error(f->db), "No space left on device");
    /* It goes on with the room that it has, without another failure. */
    assert_int_equal(store_until_full(f, 300), 300);
    assert_true(file_size(f) <= (12 << 20) + 1000);
    assert_int_equal(kv_db_stats(f->db, &s), ERR_OK);
    assert_true(s.pages > fit / 2);
    /* The disk has room again: so has the store. */
    atomic_store(&disk_bytes, 0);
    assert_int_equal(kv_db_sync(f->db), ERR_OK);
    assert_int_equal(store_until_full(f, 1000), 1000);
    assert_true(file_size(f) > 20 << 20);
    assert_int_equal(lines_of(f, "none"), 0);
}

static void a_full_tmpfs_says_so(void **state)
{
    struct fixture *f = *state;
    struct kv_db_opts opts = opts_of(f);
    char mnt[4096];
    char ns[4200];

    state_dir_path(f->dir, "mnt", mnt);
    assert_int_equal(mkdir(mnt, 0700), 0);
    if (mount("none", mnt, "tmpfs", 0, "size=6m") != 0)
        skip(); /* only root may */
    kv_db_close(f->db);
    snprintf(ns, sizeof(ns), "%s/ns", mnt);
    opts.dir = ns;
    opts.max_bytes = 32 << 20;
    assert_int_equal(kv_db_open(&opts, &f->db, &f->why), ERR_OK);
    const unsigned fit = store_until_full(f, 1000);
    assert_true(fit > 20 && fit < 100);
    assert_string_equal(kv_db_last_error(f->db), "No space left on device");
    assert_int_equal(store_until_full(f, 100), 100);
    kv_db_close(f->db);
    f->db = NULL;
    assert_int_equal(umount(mnt), 0);
}

static void a_full_map_is_lived_with(void **state)
{
    struct fixture *f = *state;
    struct kv_db_stats s;
    int go[2];
    int ready[2];
    char c;

    store(f->db, 1, 5);
    assert_true(pipe(go) == 0 && pipe(ready) == 0);
    const pid_t pid = fork();
    if (pid == 0) {
        /* A reader that stays keeps all that it may see. */
        MDB_env *env;
        MDB_txn *txn;

        close(go[1]);
        if (mdb_env_create(&env) != 0 || mdb_env_set_maxdbs(env, 4) != 0 ||
            mdb_env_open(env, f->ns, MDB_RDONLY, 0) != 0 ||
            mdb_txn_begin(env, NULL, MDB_RDONLY, &txn) != 0)
            _exit(1);
        _exit(write(ready[1], "r", 1) != 1 || read(go[0], &c, 1) != 0);
    }
    close(ready[1]);
    close(go[0]);
    assert_int_equal(read(ready[0], &c, 1), 1);
    assert_int_equal(kv_db_stats(f->db, &s), ERR_OK);
    const unsigned fit = store_until_full(f, 1000);
    assert_true(fit < 200);
    assert_non_null(strstr(kv_db_last_error(f->db), "largest size"));
    assert_true((uint64_t)file_size(f) <= s.max_bytes);
    close(go[1]);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    assert_int_equal(kv_db_sync(f->db), ERR_OK);
    store_until_full(f, 3); /* what was freed is used again two writes later */
    assert_int_equal(store_until_full(f, 200), 200);
    assert_true((uint64_t)file_size(f) <= s.max_bytes);
    assert_int_equal(lines_of(f, "what dead readers held"), 1);
    close(ready[0]);
}

/* --- the files ----------------------------------------------------------- */

static void a_file_cut_while_open_begins_anew(void **state)
{
    static const off_t sizes[] = {0, 1, 4096, 8192, 40960, 200000};
    struct fixture *f = *state;

    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        store(f->db, 1, 5);
        assert_int_equal(truncate(f->data, sizes[i]), 0);
        is_refused(f);
        is_mended(f, "the file was cut while it was open");
        assert_int_equal(found(f->db, 1, 5), 0);
    }
}

static void a_file_cut_while_closed_begins_anew(void **state)
{
    struct fixture *f = *state;

    store(f->db, 1, 9);
    const off_t size = file_size(f);
    for (off_t cut = 0; cut < size; cut += 8191 * 5) {
        kv_db_close(f->db);
        f->db = NULL;
        assert_int_equal(truncate(f->data, cut), 0);
        open_again(f);
        assert_int_equal(lines_of(f, "begins anew"), 1);
        assert_int_equal(found(f->db, 1, 9), 0);
        store(f->db, 1, 9);
        is_whole(f, 1, 9);
    }
}

static void a_file_removed_while_open_begins_anew(void **state)
{
    struct fixture *f = *state;

    store(f->db, 1, 5);
    assert_int_equal(unlink(f->data), 0);
    is_refused(f);
    is_mended(f, "missing or empty");
    assert_int_equal(found(f->db, 1, 5), 0);
    nftw(f->ns, state_dir_unlink, 16, FTW_DEPTH | FTW_PHYS);
    is_refused(f);
    is_mended(f, "its file was removed");
    open_again(f);
    is_whole(f, 7, 5);
}

static void a_root_removed_while_open_is_made_again(void **state)
{
    struct fixture *f = *state;
    char root[4096];

    state_dir_path(f->dir, "root", root);
    state_dir_path(f->dir, "root/" KV_NAME, f->ns);
    state_dir_path(f->dir, "root/" KV_NAME "/data.mdb", f->data);
    assert_int_equal(mkdir(root, 0700), 0);
    open_again(f);
    store(f->db, 1, 5);
    nftw(root, state_dir_unlink, 16, FTW_DEPTH | FTW_PHYS);
    is_refused(f);
    is_mended(f, "its file was removed");
    open_again(f);
    is_whole(f, 7, 5);
}

/* Open the namespace as a user who may not. */
static int open_as_nobody(struct fixture *f)
{
    struct kv_db_opts opts = opts_of(f);
    struct kv_db *db = NULL;

    if (geteuid() == 0 && (setegid(65534) != 0 || seteuid(65534) != 0))
        return 1;
    buf_clear(&f->why);
    if (kv_db_open(&opts, &db, &f->why) != ERR_IO)
        return 2;
    const struct str why = buf_str(&f->why);
    if (str_find(why, STR("Permission denied")) == why.len ||
        str_find(why, str_from(f->ns)) == why.len)
        return 3;
    return 0;
}

static void a_directory_that_cannot_be_written_is_told(void **state)
{
    static const mode_t modes[] = {0500, 0000};
    struct fixture *f = *state;

    kv_db_close(f->db);
    f->db = NULL;
    assert_int_equal(chmod(f->dir, 0755), 0);
    for (size_t i = 0; i < 2; i++) {
        int status = 0;

        assert_int_equal(chmod(f->ns, modes[i]), 0);
        const pid_t pid = fork();
        if (pid == 0)
            _exit(open_as_nobody(f));
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_int_equal(status, 0);
    }
    assert_int_equal(chmod(f->ns, 0700), 0);
    assert_int_equal(lines_of(f, "none"), 0);
}

static void what_is_in_memory_is_told(void **state)
{
    struct fixture *f = *state;
    struct digest chain[4];
    struct statfs fs;
    unsigned n = 99;
    unsigned warm = 99;

    store(f->db, 1, 4);
    for (unsigned i = 0; i < 4; i++)
        chain[i] = hash_of(1, i);
    assert_int_equal(kv_db_find(f->db, chain, 4, &n, &warm), ERR_OK);
    assert_int_equal(n, 4);
    assert_int_equal(warm, 4);
    open_again(f); /* nothing of it is mapped now */
    const int fd = open(f->data, O_RDONLY);
    assert_int_equal(fsync(fd), 0);
    assert_int_equal(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED), 0);
    close(fd);
    assert_int_equal(kv_db_find(f->db, chain, 4, &n, &warm), ERR_OK);
    assert_int_equal(n, 4);
    print_message("warm after the advice: %u of 4\n", warm);
    assert_int_equal(kv_db_find(f->db, chain, 4, &n, &warm), ERR_OK);
    if (statfs(f->dir, &fs) == 0 && fs.f_type == TMPFS_MAGIC)
        skip();            /* it is nowhere but in memory */
    assert_true(warm < 4); /* looking brings none in */
    assert_int_equal(read_page(f->db, 1, 0), ERR_OK);
    assert_int_equal(kv_db_find(f->db, chain, 1, &n, &warm), ERR_OK);
    assert_int_equal(warm, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        T(a_failed_head_page_costs_no_page),
        T(a_head_page_that_keeps_failing_is_an_error),
        T(a_full_disk_is_lived_with),
        T(a_full_tmpfs_says_so),
        T(a_full_map_is_lived_with),
        T(a_file_cut_while_open_begins_anew),
        T(a_file_cut_while_closed_begins_anew),
        T(a_file_removed_while_open_begins_anew),
        T(a_root_removed_while_open_is_made_again),
        T(a_directory_that_cannot_be_written_is_told),
        T(what_is_in_memory_is_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
