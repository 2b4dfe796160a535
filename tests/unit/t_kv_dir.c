/* t_kv_dir.c - All namespaces of a root directory: what is told of them, who
 * makes room for whom, and what a tool may do whether or not somebody has them
 * open. */
#include "store/kv_dir.h"

#include "unit/kv_fixture.h"

#include <sys/time.h>
#include <time.h>

/* Another namespace of the same root. */
static struct kv_db *open_other(struct fixture *f, const char *name,
                                uint64_t max_bytes, uint64_t root_bytes)
{
    struct kv_db_opts opts = opts_of(f);
    struct kv_db *db = NULL;
    char dir[4096];

    opts.dir = state_dir_path(f->dir, name, dir);
    opts.max_bytes = max_bytes;
    opts.root_bytes = root_bytes;
    if (kv_db_open(&opts, &db, &f->why) != ERR_OK)
        fail_msg("%.*s", STR_ARG(buf_str(&f->why)));
    return db;
}

/* Say that <name> was used <s> seconds ago. */
static void age(const struct fixture *f, const char *name, time_t s)
{
    static const char *const files[] = {"users", "data.mdb"};
    const time_t at = time(NULL) - s;
    const struct timeval times[2] = {{.tv_sec = at}, {.tv_sec = at}};
    char path[8192];

    for (size_t i = 0; i < 2; i++) {
        snprintf(path, sizeof(path), "%s/%s/%s", f->dir, name, files[i]);
        assert_int_equal(utimes(path, times), 0);
    }
}

static bool is_there(const struct fixture *f, const char *name)
{
    char path[4096];
    struct stat st;

    return stat(state_dir_path(f->dir, name, path), &st) == 0;
}

static uint64_t sum_bytes;
static uint64_t disk_bytes;

static int add_size(const char *path, const struct stat *st, int type,
                    struct FTW *ftw)
{
    (void)ftw;
    if (strstr(path, "/log"))
        return 0;
    if (type == FTW_F)
        sum_bytes += (uint64_t)st->st_size;
    disk_bytes += ((uint64_t)st->st_size + 4095) / 4096 * 4096;
    return 0;
}

/* Bytes of all files in the root. */
static uint64_t file_bytes(const struct fixture *f)
{
    sum_bytes = 0;
    nftw(f->dir, add_size, 16, FTW_PHYS);
    return sum_bytes;
}

/* Bytes that all of the root takes of the disk, as du has it. */
static uint64_t root_bytes(const struct fixture *f)
{
    disk_bytes = 0;
    nftw(f->dir, add_size, 16, FTW_PHYS);
    return disk_bytes;
}

/* Flip a byte of the payload of page <i> of <text>. */
static void damage(const struct fixture *f, unsigned text, unsigned i)
{
    struct page *p = malloc(sizeof(*p));

    page_make(p, text, i);
    const off_t at = place_of(f, p->payload, PAYLOAD) + 1234;
    const uint8_t byte = p->payload[1234] ^ 1;
    const int fd = open(f->data, O_RDWR);
    assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    close(fd);
    free(p);
}

/* --- what is told -------------------------------------------------------- */

static void all_namespaces_are_listed(void **state)
{
    struct fixture *f = *state;
    struct kv_db *other =
        open_other(f, "00000000000000aa", KV_DB_LEAST_BYTES, 0);
    struct kv_dir_ns *list = NULL;
    unsigned n = 99;
    char path[4096];

    store(f->db, 1, 5);
    store(other, 2, 3);
    kv_db_close(other);
    age(f, "00000000000000aa", 1000);
    assert_int_equal(
        mkdir(state_dir_path(f->dir, "00000000000000bb", path), 0700),
        0); /* is none: nobody ever opened it */
    assert_int_equal(kv_dir_list(f->dir, &list, &n, &f->why), ERR_OK);
    assert_int_equal(n, 2);
    assert_string_equal(list[0].name, "00000000000000aa");
    assert_false(list[0].is_open);
    assert_int_equal(list[0].pages, 3);
    assert_string_equal(list[1].name, KV_NAME);
    assert_true(list[1].is_open);
    assert_int_equal(list[1].pages, 5);
    assert_int_equal(list[1].page_bytes, PAYLOAD);
    assert_int_equal(list[1].max_bytes, KV_DB_LEAST_BYTES);
    assert_true(list[1].bytes > (uint64_t)file_size(f));
    assert_true(list[1].used_ms > list[0].used_ms + 900000);
    assert_string_equal(list[1].about, "{\"model\":\"a\"}\n");
    assert_null(list[1].trouble);
    assert_true(list[0].bytes + list[1].bytes == file_bytes(f));
    kv_dir_free(list, n);
    is_whole(f, 1, 5); /* in spite of a child that looked */
}

static void a_root_that_is_not_there_has_none(void **state)
{
    struct fixture *f = *state;
    struct kv_dir_ns *list = NULL;
    unsigned n = 99;
    char path[4096];

    state_dir_path(f->dir, "none", path);
    assert_int_equal(kv_dir_list(path, &list, &n, &f->why), ERR_OK);
    assert_int_equal(n, 0);
    kv_dir_free(list, n);
    state_dir_path(f->dir, "log", path);
    assert_int_equal(kv_dir_list(path, &list, &n, &f->why), ERR_IO);
    assert_true(f->why.len > 0);
}

static void a_damaged_namespace_is_listed_with_its_trouble(void **state)
{
    struct fixture *f = *state;
    struct kv_dir_ns *list = NULL;
    unsigned n = 99;

    store(f->db, 1, 9);
    kv_db_close(f->db);
    f->db = NULL;
    assert_int_equal(truncate(f->data, 20000), 0);
    assert_int_equal(kv_dir_list(f->dir, &list, &n, &f->why), ERR_OK);
    assert_int_equal(n, 1);
    assert_non_null(list[0].trouble);
    assert_non_null(strstr(list[0].trouble, "cut short"));
    kv_dir_free(list, n);
}

/* --- verify -------------------------------------------------------------- */

static void verify_reads_what_others_have_open(void **state)
{
    struct fixture *f = *state;
    struct kv_dir_verified v;

    store(f->db, 1, 20);
    assert_int_equal(kv_dir_verify(f->dir, KV_NAME, true, &v, &f->why), ERR_OK);
    assert_true(v.pages == 20 && v.bad == 0 && v.dropped == 0);
    damage(f, 1, 7);
    assert_int_equal(kv_dir_verify(f->dir, KV_NAME, false, &v, &f->why),
                     ERR_OK);
    assert_true(v.pages == 20 && v.bad == 1 && v.dropped == 0);
    assert_int_equal(read_page(f->db, 1, 7), ERR_CORRUPT);
    assert_int_equal(kv_dir_verify(f->dir, KV_NAME, true, &v, &f->why), ERR_OK);
    assert_true(v.pages == 20 && v.bad == 1 && v.dropped == 1);
    assert_int_equal(read_page(f->db, 1, 7), ERR_NOT_FOUND);
    is_whole(f, 1, 7);
    assert_int_equal(store(f->db, 1, 20).stored, 1);
    assert_int_equal(lines_of(f, "none"), 0);
}

static void verify_begins_nothing_anew(void **state)
{
    struct fixture *f = *state;
    struct kv_dir_verified v;
    char users[4096];

    store(f->db, 1, 9);
    kv_db_close(f->db);
    f->db = NULL;
    assert_int_equal(kv_dir_verify(f->dir, KV_NAME, false, &v, &f->why),
                     ERR_OK);
    assert_int_equal(v.pages, 9);
    /* The machine went down. */
    state_dir_path(f->dir, KV_NAME "/users", users);
    const int fd = open(users, O_RDWR);
    assert_int_equal(lseek(fd, 0, SEEK_END), 0); /* verify has closed it */
    assert_int_equal(pwrite(fd, "another boot's..", 16, 0), 16);
    assert_int_equal(kv_dir_verify(f->dir, KV_NAME, true, &v, &f->why),
                     ERR_CORRUPT);
    assert_true(str_find(buf_str(&f->why), STR("machine went down")) <
                f->why.len);
    assert_int_equal(ftruncate(fd, 0), 0);
    close(fd);
    /* The file was cut. */
    buf_clear(&f->why);
    const off_t size = file_size(f);
    assert_int_equal(truncate(f->data, size / 2), 0);
    assert_int_equal(kv_dir_verify(f->dir, KV_NAME, true, &v, &f->why),
                     ERR_CORRUPT);
    assert_true(str_find(buf_str(&f->why), STR("cut short")) < f->why.len);
    assert_int_equal(file_size(f), size / 2);
    assert_int_equal(lines_of(f, "none"), 0);
}

static void what_is_not_there_is_told(void **state)
{
    static const char *const names[] = {"ffffffffffffffff", "..", "log",
                                        "../0123456789abcdef"};
    struct fixture *f = *state;
    struct kv_dir_verified v;

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        buf_clear(&f->why);
        assert_int_equal(kv_dir_verify(f->dir, names[i], true, &v, &f->why),
                         ERR_NOT_FOUND);
        assert_int_equal(kv_dir_purge(f->dir, names[i], &f->why),
                         ERR_NOT_FOUND);
        assert_int_equal(kv_dir_remove(f->dir, names[i], &f->why),
                         ERR_NOT_FOUND);
        assert_true(f->why.len > 0);
    }
}

/* --- whose files --------------------------------------------------------- */

static int is_of_nobody(const char *path, const struct stat *st, int type,
                        struct FTW *ftw)
{
    (void)type;
    (void)ftw;
    if (!strstr(path, KV_NAME))
        return 0;
    fprintf(stdout, "%s: user %u\n", path, (unsigned)st->st_uid);
    return st->st_uid == 65534 && st->st_gid == 65534 ? 0 : 1;
}

static int give_to_nobody(const char *path, const struct stat *st, int type,
                          struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return chown(path, 65534, 65534);
}

static void what_root_makes_is_the_owners(void **state)
{
    struct fixture *f = *state;
    struct kv_dir_verified v;
    struct kv_dir_ns *list = NULL;
    unsigned n;
    char lock[4096];

    if (geteuid() != 0)
        skip();
    store(f->db, 1, 9);
    kv_db_close(f->db);
    f->db = NULL;
    assert_int_equal(nftw(f->dir, give_to_nobody, 16, FTW_PHYS), 0);
    state_dir_path(f->dir, KV_NAME "/lock.mdb", lock);
    assert_int_equal(unlink(lock), 0);
    assert_int_equal(kv_dir_list(f->dir, &list, &n, &f->why), ERR_OK);
    assert_true(n == 1 && list[0].pages == 9);
    kv_dir_free(list, n);
    assert_int_equal(kv_dir_verify(f->dir, KV_NAME, true, &v, &f->why), ERR_OK);
    assert_int_equal(v.pages, 9);
    assert_int_equal(nftw(f->dir, is_of_nobody, 16, FTW_PHYS), 0);
    assert_int_equal(geteuid(), 0);
}

/* As a user who may read and not write, or nothing at all. */
static int tools_as_nobody(struct fixture *f)
{
    struct kv_dir_verified v;

    if (geteuid() == 0 && (setegid(65534) != 0 || seteuid(65534) != 0))
        return 1;
    if (kv_dir_verify(f->dir, KV_NAME, true, &v, &f->why) != ERR_IO ||
        str_find(buf_str(&f->why), STR("Permission denied")) == f->why.len)
        return 2;
    buf_clear(&f->why);
    if (kv_dir_purge(f->dir, KV_NAME, &f->why) != ERR_IO ||
        str_find(buf_str(&f->why), STR("Permission denied")) == f->why.len)
        return 3;
    return memchr(f->why.p, '\n', f->why.len) ? 4 : 0;
}

static void a_directory_that_cannot_be_written_is_told(void **state)
{
    struct fixture *f = *state;
    int status = 0;

    store(f->db, 1, 9);
    assert_int_equal(chmod(f->dir, 0755), 0);
    const pid_t pid = fork();
    if (pid == 0)
        _exit(tools_as_nobody(f));
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    is_whole(f, 1, 9);
}

/* --- what goes ----------------------------------------------------------- */

static void purge_takes_what_is_open_or_not(void **state)
{
    struct fixture *f = *state;
    char path[4096];

    store(f->db, 1, 9);
    assert_int_equal(kv_dir_remove(f->dir, KV_NAME, &f->why), ERR_EXISTS);
    is_whole(f, 1, 9);
    assert_int_equal(kv_dir_purge(f->dir, KV_NAME, &f->why), ERR_OK);
    assert_int_equal(read_page(f->db, 1, 0), ERR_IO);
    assert_int_equal(kv_db_sync(f->db), ERR_OK);
    assert_int_equal(lines_of(f, "its file was removed"), 1);
    assert_int_equal(found(f->db, 1, 9), 0);
    store(f->db, 1, 9);
    is_whole(f, 1, 9);
    kv_db_close(f->db);
    f->db = NULL;
    assert_int_equal(kv_dir_purge(f->dir, KV_NAME, &f->why), ERR_OK);
    assert_false(is_there(f, KV_NAME));
    open_again(f);
    kv_db_close(f->db);
    f->db = NULL;
    state_dir_path(f->dir, KV_NAME "/mine.txt", path);
    close(open(path, O_CREAT | O_WRONLY, 0600));
    assert_int_equal(kv_dir_remove(f->dir, KV_NAME, &f->why), ERR_OK);
    assert_true(is_there(f, KV_NAME "/mine.txt"));
    assert_false(is_there(f, KV_NAME "/data.mdb"));
}

static void the_longest_unused_make_room(void **state)
{
    static const char *const names[] = {"00000000000000aa", "00000000000000bb",
                                        "00000000000000cc"};
    struct fixture *f = *state;
    struct kv_db *db[3];

    for (unsigned i = 0; i < 3; i++) {
        db[i] = open_other(f, names[i], KV_DB_LEAST_BYTES, 0);
        store(db[i], 1, 9);
    }
    kv_db_close(db[0]);
    kv_db_close(db[1]);
    age(f, names[0], 100);
    age(f, names[1], 200);
    age(f, names[2], 300);
    kv_dir_make_room(f->dir, root_bytes(f) + 1000, 1000, f->ns);
    assert_int_equal(lines_of(f, "none"), 0);
    kv_dir_make_room(f->dir, root_bytes(f) + 1000, 1001, f->ns);
    assert_int_equal(lines_of(f, "removed to make room"), 1);
    assert_false(is_there(f, names[1]));
    assert_true(is_there(f, names[0]));
    kv_dir_make_room(f->dir, 0, 0, f->ns);
    assert_int_equal(lines_of(f, "removed to make room"), 1);
    assert_false(is_there(f, names[0]));
    assert_true(is_there(f, names[2])); /* is in use */
    assert_true(is_there(f, KV_NAME));
    kv_db_close(db[2]);
}

/* --- the bound of the root ----------------------------------------------- */

#define ROOT_BYTES ((uint64_t)8 << 20)

/* Store <n> texts, and find the bound kept after each. */
static unsigned fill(struct fixture *f, struct kv_db *db, unsigned n)
{
    unsigned stored = 0;

    for (unsigned text = 0; text < n; text++) {
        stored += store(db, 1000 + text, 5).stored;
        assert_true(root_bytes(f) <= ROOT_BYTES);
    }
    return stored;
}

static void a_namespace_grows_where_unused_ones_stood(void **state)
{
    struct fixture *f = *state;
    struct kv_db *a =
        open_other(f, "00000000000000aa", (uint64_t)8 << 20, ROOT_BYTES);

    fill(f, a, 60);
    kv_db_close(a);
    assert_int_equal(lines_of(f, "none"), 0);
    struct kv_db *b =
        open_other(f, "00000000000000bb", (uint64_t)8 << 20, ROOT_BYTES);
    assert_int_equal(fill(f, b, 60), 300);
    assert_int_equal(lines_of(f, "removed to make room"), 1);
    assert_true(kv_db_bytes(b) > (uint64_t)4 << 20);
    kv_db_close(b);
}

static void one_opened_beside_full_ones_keeps_the_bound(void **state)
{
    struct fixture *f = *state;
    struct kv_db *a =
        open_other(f, "00000000000000aa", (uint64_t)8 << 20, ROOT_BYTES);

    fill(f, a, 60);
    struct kv_db *b =
        open_other(f, "00000000000000bb", (uint64_t)8 << 20, ROOT_BYTES);
    assert_true(root_bytes(f) <= ROOT_BYTES);
    for (unsigned i = 0; i < 20; i++) {
        struct kv_wrote wrote;
        struct page p;

        page_make(&p, i, 0);
        /* there may be no room for it, which is no mistake */
        (void)!kv_db_write(b, &p.put, 1, &wrote);
        assert_true(root_bytes(f) <= ROOT_BYTES);
    }
    assert_int_equal(fill(f, a, 3), 15);
    kv_db_close(b);
    kv_db_close(a);
}

static void namespaces_in_use_share_the_root(void **state)
{
    struct fixture *f = *state;
    struct kv_db *a =
        open_other(f, "00000000000000aa", (uint64_t)8 << 20, ROOT_BYTES);
    struct kv_db *b =
        open_other(f, "00000000000000bb", (uint64_t)8 << 20, ROOT_BYTES);

    for (unsigned i = 0; i < 40; i++) {
        assert_int_equal(fill(f, a, 3), i == 0 ? 15 : 0);
        store(b, i, 5);
        assert_true(root_bytes(f) <= ROOT_BYTES);
        store(a, i, 5);
        assert_true(root_bytes(f) <= ROOT_BYTES);
    }
    assert_true(root_bytes(f) > ROOT_BYTES / 2);
    assert_int_equal(found(a, 39, 5), 5);
    assert_int_equal(found(b, 39, 5), 5);
    assert_int_equal(lines_of(f, "none"), 0);
    kv_db_close(a);
    kv_db_close(b);
}

static void processes_keep_the_bound_together(void **state)
{
    struct fixture *f = *state;
    int status = 0;
    const pid_t pid = fork();

    if (pid == 0) {
        struct kv_db *a =
            open_other(f, "00000000000000aa", (uint64_t)8 << 20, ROOT_BYTES);

        for (unsigned i = 0; i < 60; i++)
            store(a, i, 5);
        kv_db_close(a);
        _exit(0);
    }
    struct kv_db *b =
        open_other(f, "00000000000000bb", (uint64_t)8 << 20, ROOT_BYTES);
    fill(f, b, 60);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_true(root_bytes(f) <= ROOT_BYTES);
    kv_db_close(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        T(all_namespaces_are_listed),
        T(a_root_that_is_not_there_has_none),
        T(a_damaged_namespace_is_listed_with_its_trouble),
        T(verify_reads_what_others_have_open),
        T(verify_begins_nothing_anew),
        T(what_is_not_there_is_told),
        T(what_root_makes_is_the_owners),
        T(a_directory_that_cannot_be_written_is_told),
        T(purge_takes_what_is_open_or_not),
        T(the_longest_unused_make_room),
        T(a_namespace_grows_where_unused_ones_stood),
        T(one_opened_beside_full_ones_keeps_the_bound),
        T(namespaces_in_use_share_the_root),
        T(processes_keep_the_bound_together),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
