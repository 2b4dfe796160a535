/* t_err.c - The error table is whole and sane; panics end the process. */
#include "base/err.h"
#include "base/map.h"
#include "base/panic.h"

#include "unit/cmocka_all.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static void every_row_is_filled(void **state)
{
    (void)state;
    for (int i = 0; i < ERR_COUNT; i++) {
        const struct err_row *r = err_row((enum err)i);

        assert_non_null(r->name);
        assert_true(strlen(r->name) > 0);
        assert_non_null(r->type);
        assert_non_null(r->anthropic);
        assert_non_null(r->message);
        assert_true(r->status == 0 || r->status == 200 ||
                    (r->status >= 400 && r->status < 600));
        for (int k = 0; k < i; k++)
            assert_string_not_equal(r->name, err_name((enum err)k));
        if (i > ERR_AGAIN) {
            const char *m = r->message;

            assert_int_equal(m[strlen(m) - 1], '.');
        }
    }
}

static void unknown_codes_are_internal(void **state)
{
    (void)state;
    assert_ptr_equal(err_row(ERR_COUNT), err_row(ERR_INTERNAL));
    assert_ptr_equal(err_row((enum err) - 1), err_row(ERR_INTERNAL));
}

static void advice_to_retry_fits_the_status(void **state)
{
    (void)state;
    for (int i = ERR_BAD_HTTP; i < ERR_COUNT; i++) {
        const struct err_row *r = err_row((enum err)i);

        if (r->status == 429 && i != ERR_QUOTA && i != ERR_BUDGET_CUT &&
            i != ERR_RATE_SIZE && i != ERR_UP_SPENT)
            assert_int_equal(r->retry, RETRY_YES);
        if (r->status < 429 && r->status != 408)
            assert_int_not_equal(r->retry, RETRY_YES);
        if (r->status == 503 && i != ERR_MODEL_DOWN)
            assert_int_equal(r->retry, RETRY_YES);
    }
    assert_int_equal(err_row(ERR_QUOTA)->retry, RETRY_NO);
    assert_int_equal(err_row(ERR_RATE_SIZE)->retry, RETRY_NO);
    assert_int_equal(err_row(ERR_UP_SPENT)->retry, RETRY_NO);
    assert_int_equal(err_row(ERR_MODEL_DOWN)->retry, RETRY_NO);
}

static void panic_tells_where_and_aborts(void **state)
{
    int fds[2], status;
    char text[4096];
    ssize_t n, len = 0;
    pid_t pid;

    (void)state;
    assert_int_equal(pipe(fds), 0);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct rlimit none = {0, 0};

        setrlimit(RLIMIT_CORE, &none);
        signal(SIGABRT, SIG_DFL);
        dup2(fds[1], STDERR_FILENO);
        BUG_ON(fds[0] >= 0);
        _exit(0);
    }
    close(fds[1]);
    while ((n = read(fds[0], text + len, sizeof(text) - 1 - (size_t)len)) > 0)
        len += n;
    text[len] = 0;
    close(fds[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGABRT);
    assert_non_null(strstr(text, "t_err.c:"));
    assert_non_null(strstr(text, "fds[0] >= 0"));
}

/* A map's element. */
struct item {
    int key;
    UT_hash_handle hh;
};

static void maps_find_what_was_added(void **state)
{
    static struct item items[1000];
    struct item *map = NULL, *it;

    (void)state;
    assert_int_equal(map_hash("abc", 3), map_hash("abc", 3));
    assert_int_not_equal(map_hash("abc", 3), map_hash("abd", 3));
    for (int i = 0; i < 1000; i++) {
        it = &items[i];
        it->key = i * 7;
        HASH_ADD_INT(map, key, it);
        assert_true(MAP_ADDED(it));
    }
    for (int i = 0; i < 7000; i++) {
        HASH_FIND_INT(map, &i, it);
        assert_int_equal(it != NULL, i % 7 == 0);
    }
    HASH_CLEAR(hh, map);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_row_is_filled),
        cmocka_unit_test(unknown_codes_are_internal),
        cmocka_unit_test(advice_to_retry_fits_the_status),
        cmocka_unit_test(panic_tells_where_and_aborts),
        cmocka_unit_test(maps_find_what_was_added),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
