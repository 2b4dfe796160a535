/* t_key_file.c - A secret is made once, whoever asks for it and however many at
 * once; what is damaged is told and left alone. */

#include "base/key_file.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/wait.h>

#include "base/thr.h"
#include "unit/cmocka_all.h"
#include "unit/state_dir.h"

#define TOGETHER 8

static void is_made_once_and_read_again(void **state)
{
    char *dir = state_dir_make();
    uint8_t a[KEY_FILE_BYTES] = {0}, b[KEY_FILE_BYTES] = {0};
    static const uint8_t none[KEY_FILE_BYTES];
    char path[4096];
    struct stat st;

    (void)state;
    assert_int_equal(key_file_get(dir, "engine.key", a), ERR_OK);
    assert_int_equal(key_file_get(dir, "engine.key", b), ERR_OK);
    assert_memory_equal(a, b, KEY_FILE_BYTES);
    assert_memory_not_equal(a, none, KEY_FILE_BYTES);
    assert_int_equal(stat(state_dir_path(dir, "engine.key", path), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(st.st_size, KEY_FILE_BYTES);
    assert_int_equal(st.st_nlink, 1);
    state_dir_drop(dir);
}

static void two_directories_have_two(void **state)
{
    char *one = state_dir_make(), *two = state_dir_make();
    uint8_t a[KEY_FILE_BYTES], b[KEY_FILE_BYTES];

    (void)state;
    assert_int_equal(key_file_get(one, "engine.key", a), ERR_OK);
    assert_int_equal(key_file_get(two, "engine.key", b), ERR_OK);
    assert_memory_not_equal(a, b, KEY_FILE_BYTES);
    state_dir_drop(one);
    state_dir_drop(two);
}

static void a_missing_directory_is_made_for_the_owner_alone(void **state)
{
    char *dir = state_dir_make();
    uint8_t a[KEY_FILE_BYTES];
    char path[4096];
    struct stat st;

    (void)state;
    assert_int_equal(
        key_file_get(state_dir_path(dir, "new", path), "engine.key", a),
        ERR_OK);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
    state_dir_drop(dir);
}

/* --- at once ------------------------------------------------------------- */

struct racer {
    struct thr thread;
    const char *dir;
    enum err err;
    uint8_t got[KEY_FILE_BYTES];
};

static void race(void *arg)
{
    struct racer *r = arg;

    r->err = key_file_get(r->dir, "engine.key", r->got);
}

static unsigned names_in(const char *dir)
{
    char room[4200];
    FILE *p;
    unsigned n = 0;

    snprintf(room, sizeof(room), "ls -A '%s'", dir);
    p = popen(room, "r");
    assert_non_null(p);
    while (fgets(room, sizeof(room), p))
        n++;
    pclose(p);
    return n;
}

static void threads_at_once_get_one(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 50; round++) {
        char *dir = state_dir_make();
        struct racer r[TOGETHER];
        char path[4096];

        state_dir_path(dir, "p", path);
        for (unsigned i = 0; i < TOGETHER; i++) {
            r[i] = (struct racer){.dir = path};
            assert_int_equal(thr_start(&r[i].thread, "racer", race, &r[i]),
                             ERR_OK);
        }
        for (unsigned i = 0; i < TOGETHER; i++)
            thr_join(&r[i].thread);
        for (unsigned i = 0; i < TOGETHER; i++) {
            assert_int_equal(r[i].err, ERR_OK);
            assert_memory_equal(r[i].got, r[0].got, KEY_FILE_BYTES);
        }
        assert_int_equal(names_in(path), 1);
        state_dir_drop(dir);
    }
}

static void run_child(const char *dir, int go, int out)
{
    uint8_t got[KEY_FILE_BYTES];
    char byte;

    if (read(go, &byte, 1) != 0 ||
        key_file_get(dir, "engine.key", got) != ERR_OK)
        _exit(1);
    _exit(write(out, got, sizeof(got)) == (ssize_t)sizeof(got) ? 0 : 1);
}

static void processes_at_once_get_one(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 20; round++) {
        char *dir = state_dir_make();
        uint8_t got[TOGETHER][KEY_FILE_BYTES];
        int go[2], out[2], status;

        assert_int_equal(pipe(go), 0);
        assert_int_equal(pipe(out), 0);
        for (unsigned i = 0; i < TOGETHER; i++) {
            if (fork() != 0)
                continue;
            close(go[1]);
            run_child(dir, go[0], out[1]);
        }
        close(go[0]);
        close(go[1]); /* all start at this end of file */
        for (unsigned i = 0; i < TOGETHER; i++) {
            assert_int_equal(read(out[0], got[i], KEY_FILE_BYTES),
                             KEY_FILE_BYTES);
            assert_memory_equal(got[i], got[0], KEY_FILE_BYTES);
            assert_true(wait(&status) > 0 && status == 0);
        }
        close(out[0]);
        close(out[1]);
        state_dir_drop(dir);
    }
}

/* --- what cannot be used ------------------------------------------------- */

static void a_short_file_is_told_and_left_alone(void **state)
{
    char *dir = state_dir_make();
    uint8_t a[KEY_FILE_BYTES] = {7};
    char path[4096];
    struct stat st;

    (void)state;
    for (unsigned len = 0; len < KEY_FILE_BYTES; len += 31) {
        FILE *f = fopen(state_dir_path(dir, "engine.key", path), "we");

        assert_non_null(f);
        assert_int_equal(fwrite(a, 1, len, f), len);
        fclose(f);
        assert_int_equal(key_file_get(dir, "engine.key", a), ERR_CORRUPT);
        assert_int_equal(a[0], 7);
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_size, len);
    }
    state_dir_drop(dir);
}

static void a_file_in_the_way_is_told(void **state)
{
    char *dir = state_dir_make();
    uint8_t a[KEY_FILE_BYTES] = {7};
    char path[4096];
    FILE *f = fopen(state_dir_path(dir, "p", path), "we");

    (void)state;
    assert_non_null(f);
    fclose(f);
    assert_int_equal(key_file_get(path, "engine.key", a), ERR_IO);
    assert_int_equal(errno, ENOTDIR);
    assert_int_equal(a[0], 7);
    state_dir_drop(dir);
}

static void a_directory_that_cannot_be_written_is_told(void **state)
{
    char *dir = state_dir_make();
    uint8_t a[KEY_FILE_BYTES] = {7}, b[KEY_FILE_BYTES];
    char path[4096];

    (void)state;
    if (geteuid() == 0) { /* modes do not bind it */
        state_dir_drop(dir);
        skip();
    }
    assert_int_equal(mkdir(state_dir_path(dir, "p", path), 0500), 0);
    assert_int_equal(key_file_get(path, "engine.key", a), ERR_IO);
    assert_int_equal(errno, EACCES);
    assert_int_equal(a[0], 7);
    assert_int_equal(chmod(path, 0700), 0);
    assert_int_equal(key_file_get(path, "engine.key", a), ERR_OK);
    assert_int_equal(chmod(path, 0500), 0);
    assert_int_equal(key_file_get(path, "engine.key", b), ERR_OK);
    assert_memory_equal(a, b, KEY_FILE_BYTES);
    assert_int_equal(chmod(path, 0700), 0);
    state_dir_drop(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(is_made_once_and_read_again),
        cmocka_unit_test(two_directories_have_two),
        cmocka_unit_test(a_missing_directory_is_made_for_the_owner_alone),
        cmocka_unit_test(threads_at_once_get_one),
        cmocka_unit_test(processes_at_once_get_one),
        cmocka_unit_test(a_short_file_is_told_and_left_alone),
        cmocka_unit_test(a_file_in_the_way_is_told),
        cmocka_unit_test(a_directory_that_cannot_be_written_is_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
