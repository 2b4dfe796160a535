/* t_kv_models.c - The names of a namespace's models are noted once each, read
 * whole, and never more than the file may hold. */
#include "store/kv_models.h"

#include "unit/state_dir.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static void names_are_noted_once(void **state)
{
    char *dir = *state;
    char path[4400];
    struct stat st;
    struct buf b;

    buf_init(&b, 1 << 20);
    assert_int_equal(kv_models_read(dir, &b), ERR_OK);
    assert_int_equal(b.len, 0);
    assert_int_equal(kv_models_note(dir, STR("a/b:c")), ERR_OK);
    assert_int_equal(kv_models_note(dir, STR("a")), ERR_OK);
    assert_int_equal(kv_models_note(dir, STR("a/b:c")), ERR_OK);
    assert_int_equal(kv_models_read(dir, &b), ERR_OK);
    assert_true(str_eq(buf_str(&b), STR("a/b:c\na\n")));
    assert_true(kv_models_has(buf_str(&b), STR("a")));
    assert_true(kv_models_has(buf_str(&b), STR("a/b:c")));
    assert_false(kv_models_has(buf_str(&b), STR("b:c")));
    assert_false(kv_models_has(buf_str(&b), STR("a/b")));
    assert_false(kv_models_has(STR("a\nab"), STR("b")));
    assert_true(kv_models_has(STR("a\nab"), STR("ab")));
    snprintf(path, sizeof(path), "%s/" KV_MODELS_FILE, dir);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    buf_fini(&b);
}

static void too_many_names_are_refused(void **state)
{
    char *dir = *state;
    char name[128];
    unsigned n = 0;
    enum err err = ERR_OK;
    struct buf b;

    while (err == ERR_OK && n < 10000) {
        snprintf(name, sizeof(name), "model-%0100u", n++);
        err = kv_models_note(dir, str_from(name));
    }
    assert_int_equal(err, ERR_FULL);
    buf_init(&b, 1 << 20);
    assert_int_equal(kv_models_read(dir, &b), ERR_OK);
    assert_true(b.len <= 65536);
    assert_int_equal(b.p[b.len - 1], '\n');
    buf_fini(&b);
}

static void what_cannot_be_opened_is_an_error(void **state)
{
    char path[4400];
    struct buf b;

    snprintf(path, sizeof(path), "%s/none", (char *)*state);
    assert_int_equal(kv_models_note(path, STR("a")), ERR_IO);
    buf_init(&b, 1 << 20);
    assert_int_equal(kv_models_read(path, &b), ERR_OK);
    assert_int_equal(b.len, 0);
    snprintf(path, sizeof(path), "%s/" KV_MODELS_FILE, (char *)*state);
    assert_int_equal(symlink("/etc/passwd", path), 0);
    assert_int_equal(kv_models_read(*state, &b), ERR_IO);
    assert_int_equal(kv_models_note(*state, STR("a")), ERR_IO);
    buf_fini(&b);
}

static int setup(void **state)
{
    *state = state_dir_make();
    return 0;
}

static int teardown(void **state)
{
    state_dir_drop(*state);
    return 0;
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(names_are_noted_once),
        TEST(too_many_names_are_refused),
        TEST(what_cannot_be_opened_is_an_error),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
