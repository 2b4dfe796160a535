/* t_log.c - The log: levels, files, loss, and never waiting. */
#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/thr.h"

#include "unit/cmocka_all.h"

#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char dir[] = "/tmp/t_log.XXXXXX";

/* A path inside the test's folder; borrowed until the next but one call. */
static const char *path_of(const char *name)
{
    static char paths[2][100];
    static int turn;

    turn = !turn;
    snprintf(paths[turn], sizeof(paths[turn]), "%s/%s", dir, name);
    return paths[turn];
}

/* The bytes of a file as a C string, to be freed; "" when there is none. */
static char *slurp(const char *path)
{
    FILE *f = fopen(path, "r");
    struct buf b;
    char tmp[4096];
    size_t n;

    buf_init(&b, 64 << 20);
    while (f && (n = fread(tmp, 1, sizeof(tmp), f)) > 0)
        assert_int_equal(buf_put(&b, tmp, n), ERR_OK);
    if (f)
        fclose(f);
    assert_int_equal(buf_put(&b, "", 1), ERR_OK);
    return b.p;
}

static size_t count_lines(const char *text, const char *part)
{
    size_t n = 0;

    for (const char *at = strstr(text, part); at; at = strstr(at + 1, part))
        n++;
    return n;
}

static struct log_settings to_file(const char *name)
{
    return (struct log_settings){.level = LOG_LEVEL_INFO,
                                 .path = path_of(name)};
}

static int touched;

static int touch(void)
{
    return ++touched;
}

static void file_has_lines_of_the_level_and_above(void **state)
{
    struct log_settings s = to_file("level");
    char *text;

    (void)state;
    s.level = LOG_LEVEL_WARN;
    assert_int_equal(log_start(&s), ERR_OK);
    touched = 0;
    log_info(LOG_MAIN, "hidden: %d", touch());
    assert_int_equal(touched, 0);
    log_warn(LOG_ROUTE, "shown: %d", touch());
    log_context_set("req-1");
    log_err(LOG_STORE, "with context");
    log_context_set(NULL);
    log_level_set(LOG_LEVEL_DEBUG);
    log_debug(LOG_HTTP, "deep");
    assert_true(log_flush(10000));
    text = slurp(path_of("level"));
    assert_null(strstr(text, "hidden"));
    assert_non_null(strstr(text, "Z warn  route    shown: 1\n"));
    assert_non_null(strstr(text, "Z err   store    [req-1] with context\n"));
    assert_non_null(strstr(text, "Z debug http     deep\n"));
    free(text);
    log_stop();
}

static void long_lines_are_cut_and_marked(void **state)
{
    struct log_settings s = to_file("long");
    char *text;

    (void)state;
    assert_int_equal(log_start(&s), ERR_OK);
    log_note(LOG_MAIN, "%05000d", 7);
    log_stop();
    text = slurp(path_of("long"));
    assert_in_range(strlen(text), 2048, 2200);
    assert_non_null(strstr(text, "000...\n"));
    free(text);
}

static void lines_after_stop_go_to_the_same_file(void **state)
{
    struct log_settings s = to_file("after");
    char *text;

    (void)state;
    assert_int_equal(log_start(&s), ERR_OK);
    log_note(LOG_MAIN, "one");
    log_stop();
    log_stop();
    log_note(LOG_MAIN, "two");
    text = slurp(path_of("after"));
    assert_true(strstr(text, "one\n") < strstr(text, "two\n"));
    assert_non_null(strstr(text, "one\n"));
    assert_int_equal(count_lines(text, "\n"), 2);
    free(text);
}

static void bad_path_is_refused_and_changes_nothing(void **state)
{
    struct log_settings s = to_file("good");
    struct log_settings bad = s;
    char *text;

    (void)state;
    assert_int_equal(log_start(&s), ERR_OK);
    bad.path = "/nonexistent/dir/file";
    bad.level = LOG_LEVEL_ERR;
    assert_int_equal(log_configure(&bad), ERR_IO);
    bad.path = NULL;
    bad.access_on = true;
    bad.access = "/nonexistent/dir/file";
    assert_int_equal(log_configure(&bad), ERR_IO);
    log_note(LOG_MAIN, "still here");
    log_stop();
    text = slurp(path_of("good"));
    assert_non_null(strstr(text, "still here\n"));
    assert_int_equal(count_lines(text, "cannot open log file /nonexistent"), 2);
    free(text);
    assert_int_equal(log_start(&bad), ERR_IO);
}

static void access_goes_where_it_is_told(void **state)
{
    struct log_settings s = to_file("main");
    char own[100];
    struct log_stats a, b;
    char *text, *big = malloc(70000);

    (void)state;
    memset(big, 'x', 70000);
    snprintf(own, sizeof(own), "%s", path_of("access"));
    s.path = path_of("main");
    assert_int_equal(log_start(&s), ERR_OK);
    log_access_write("nowhere", 7);
    s.access_on = true;
    assert_int_equal(log_configure(&s), ERR_OK);
    log_access_write("beside", 6);
    assert_true(log_flush(10000));
    s.access = own;
    assert_int_equal(log_configure(&s), ERR_OK);
    log_stats_read(&a);
    log_access_write("{\"id\":1}", 8);
    log_access_write(big, 70000);
    log_access_write(big, 60000);
    log_stop();
    log_stats_read(&b);
    assert_int_equal(b.access_lines - a.access_lines, 2);
    assert_int_equal(b.access_dropped - a.access_dropped, 1);
    text = slurp(path_of("main"));
    assert_memory_equal(text, "beside\n", 7);
    assert_non_null(strstr(text, "lines were lost: log=0 access=1\n"));
    assert_int_equal(count_lines(text, "\n"), 2);
    free(text);
    text = slurp(own);
    assert_memory_equal(text, "{\"id\":1}\nxxx", 12);
    assert_int_equal(strlen(text), 9 + 60001);
    free(text);
    free(big);
}

static void json_lines_parse(void **state)
{
    struct log_settings s = to_file("json");
    char *text;
    json_t *j;

    (void)state;
    s.json = true;
    assert_int_equal(log_start(&s), ERR_OK);
    log_context_set("r\"1");
    log_warn(LOG_UPSTREAM, "said \"no\": n=%d", 3);
    log_context_set("");
    log_stop();
    text = slurp(path_of("json"));
    j = json_loads(text, 0, NULL);
    assert_non_null(j);
    assert_string_equal(json_string_value(json_object_get(j, "level")), "warn");
    assert_string_equal(json_string_value(json_object_get(j, "part")),
                        "upstream");
    assert_string_equal(json_string_value(json_object_get(j, "context")),
                        "r\"1");
    assert_string_equal(json_string_value(json_object_get(j, "text")),
                        "said \"no\": n=3");
    json_decref(j);
    free(text);
}

static void reopen_follows_a_rotation(void **state)
{
    struct log_settings s = to_file("rot");
    char access[100];
    char *text;

    (void)state;
    snprintf(access, sizeof(access), "%s", path_of("rot-access"));
    s.path = path_of("rot");
    s.access_on = true;
    s.access = access;
    assert_int_equal(log_start(&s), ERR_OK);
    log_note(LOG_MAIN, "before");
    log_access_write("before", 6);
    assert_true(log_flush(10000));
    assert_int_equal(rename(path_of("rot"), path_of("rot.1")), 0);
    assert_int_equal(rename(access, path_of("rot-access.1")), 0);
    log_reopen();
    log_note(LOG_MAIN, "after");
    log_access_write("after", 5);
    log_stop();
    text = slurp(path_of("rot"));
    assert_non_null(strstr(text, "after\n"));
    assert_null(strstr(text, "before"));
    free(text);
    text = slurp(access);
    assert_string_equal(text, "after\n");
    free(text);
    text = slurp(path_of("rot.1"));
    assert_non_null(strstr(text, "before\n"));
    free(text);
}

#define WRITERS 3
#define EACH    3000

static void write_many(void *arg)
{
    int me = *(const int *)arg;
    char line[40];

    for (int i = 0; i < EACH; i++) {
        int n = snprintf(line, sizeof(line), "A%d %d", me, i);

        log_note(LOG_MAIN, "L%d %d", me, i);
        log_access_write(line, (size_t)n);
        if (i % 500 == 0)
            assert_true(log_flush(20000));
    }
}

/* Every line of writer <me> in the file, once and in order. */
static void check_writer(const char *text, char kind, int me)
{
    char want[40];

    for (int i = 0; i < EACH; i++) {
        snprintf(want, sizeof(want), "%c%d %d\n", kind, me, i);
        text = strstr(text, want);
        if (!text)
            fail_msg("no line %s", want);
    }
}

static void lines_of_many_threads_stay_whole(void **state)
{
    struct log_settings s = to_file("many");
    struct thr t[WRITERS];
    int me[WRITERS];
    char access[100];
    char *log, *acc;

    (void)state;
    snprintf(access, sizeof(access), "%s", path_of("many-access"));
    s.path = path_of("many");
    s.access_on = true;
    s.access = access;
    s.ring_bytes = 4 << 20;
    assert_int_equal(log_start(&s), ERR_OK);
    for (int i = 0; i < WRITERS; i++) {
        me[i] = i;
        assert_int_equal(thr_start(&t[i], "writer", write_many, &me[i]),
                         ERR_OK);
    }
    for (int i = 0; i < WRITERS; i++)
        thr_join(&t[i]);
    log_stop();
    log = slurp(path_of("many"));
    acc = slurp(access);
    assert_int_equal(count_lines(log, "\n"), WRITERS * EACH);
    assert_int_equal(count_lines(acc, "\n"), WRITERS * EACH);
    for (int i = 0; i < WRITERS; i++) {
        check_writer(log, 'L', i);
        check_writer(acc, 'A', i);
    }
    free(log);
    free(acc);
}

/* Let stderr be a pipe; return its reading end and in <saved_out> the former
 * stderr. */
static int stderr_to_pipe(int *saved_out)
{
    int fds[2];

    assert_int_equal(pipe(fds), 0);
    *saved_out = dup(STDERR_FILENO);
    assert_int_not_equal(dup2(fds[1], STDERR_FILENO), -1);
    close(fds[1]);
    return fds[0];
}

/* Write until the reader's stall shows; return how many lines that took. */
static uint64_t fill_until_stalled(void)
{
    uint64_t n = 0;

    do
        log_note(LOG_MAIN, "line %d of a pipe that nobody reads", (int)n++);
    while (n % 50 != 0 || log_flush(20));
    return n;
}

/* Wait until the file <path> reads <want>. */
static bool comes_to_read(const char *path, const char *want)
{
    for (int i = 0; i < 10000; i++) {
        char *text = slurp(path);
        bool ok = strcmp(text, want) == 0;

        free(text);
        if (ok)
            return true;
        log_flush(1);
    }
    return false;
}

static void stalled_stderr_stops_nobody(void **state)
{
    struct log_settings s = {.level = LOG_LEVEL_INFO,
                             .access_on = true,
                             .ring_bytes = 8192,
                             .stop_wait_ms = 50};
    struct log_stats a, b;
    char *access = strdup(path_of("stall-access"));
    int saved, fd, n;
    uint64_t lines;
    bool passes;
    char tmp[65537];

    (void)state;
    s.access = access;
    fd = stderr_to_pipe(&saved);
    assert_int_equal(log_start(&s), ERR_OK);
    log_stats_read(&a);
    lines = fill_until_stalled();
    for (int i = 0; i < 1000; i++, lines++)
        log_note(LOG_MAIN, "one of a thousand more");
    log_access_write("passes", 6);
    passes = comes_to_read(access, "passes\n");
    log_stats_read(&b);
    log_stop();
    dup2(saved, STDERR_FILENO);
    close(saved);
    n = (int)read(fd, tmp, sizeof(tmp) - 1);
    close(fd);
    assert_true(passes); /* the other sink was not held up */
    assert_true(b.dropped - a.dropped > 800);
    assert_int_equal(b.lines - a.lines + b.dropped - a.dropped, lines);
    assert_true(n > 1000);
    tmp[n] = 0;
    assert_non_null(strstr(tmp, "line 0 of a pipe that nobody reads\n"));
    free(access);
}

static void lost_lines_are_told_when_it_works_again(void **state)
{
    struct log_settings s = {.level = LOG_LEVEL_INFO, .path = "/dev/full"};
    uint64_t start_us = clock_now_us();
    struct log_stats a, b;
    bool told;
    char *text;

    (void)state;
    log_stats_read(&a);
    assert_int_equal(log_start(&s), ERR_OK);
    for (int i = 0; i < 10; i++)
        log_note(LOG_MAIN, "into the void");
    assert_true(log_flush(10000));
    log_stats_read(&b);
    assert_true(b.dropped - a.dropped >= 10);
    s = to_file("told");
    assert_int_equal(log_configure(&s), ERR_OK);
    /* It tells once a second at most, so this may take one. */
    do {
        log_note(LOG_MAIN, "works");
        assert_true(log_flush(10000));
        text = slurp(path_of("told"));
        told = strstr(text, "lines were lost: log=") != NULL;
        free(text);
    } while (!told && clock_now_us() - start_us < 60000000);
    assert_true(told);
    log_stop();
}

static void exit_writes_what_waits(void **state)
{
    struct log_settings s = to_file("exit");
    char *text;
    int status;
    pid_t pid = fork();

    (void)state;
    assert_true(pid >= 0);
    if (pid == 0) {
        if (log_start(&s) != ERR_OK)
            _exit(1);
        for (int i = 0; i < 100; i++)
            log_note(LOG_MAIN, "line %d", i);
        exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    text = slurp(path_of("exit"));
    assert_non_null(strstr(text, "line 99\n"));
    free(text);
}

static void without_a_thread_lines_are_written_at_once(void **state)
{
    struct log_settings s = {.level = LOG_LEVEL_INFO};
    char tmp[1000];
    int saved, fd;
    ssize_t n;

    (void)state;
    assert_int_equal(log_configure(&s), ERR_OK);
    fd = stderr_to_pipe(&saved);
    log_note(LOG_MAIN, "at once");
    n = read(fd, tmp, sizeof(tmp) - 1);
    dup2(saved, STDERR_FILENO);
    close(saved);
    close(fd);
    assert_true(n > 0);
    tmp[n] = 0;
    assert_non_null(strstr(tmp, "note  main     at once\n"));
}

static int make_dir(void **state)
{
    (void)state;
    return mkdtemp(dir) ? 0 : -1;
}

static int stop_log(void **state)
{
    (void)state;
    log_stop();
    return 0;
}

static int drop_dir(void **state)
{
    static const char *const names[] = {
        "level", "long", "after",       "good",        "main",         "access",
        "json",  "rot",  "rot-access",  "rot.1",       "rot-access.1", "many",
        "told",  "exit", "many-access", "stall-access"};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(names); i++)
        unlink(path_of(names[i]));
    return rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(without_a_thread_lines_are_written_at_once,
                                  stop_log),
        cmocka_unit_test_teardown(file_has_lines_of_the_level_and_above,
                                  stop_log),
        cmocka_unit_test_teardown(long_lines_are_cut_and_marked, stop_log),
        cmocka_unit_test_teardown(lines_after_stop_go_to_the_same_file,
                                  stop_log),
        cmocka_unit_test_teardown(bad_path_is_refused_and_changes_nothing,
                                  stop_log),
        cmocka_unit_test_teardown(access_goes_where_it_is_told, stop_log),
        cmocka_unit_test_teardown(json_lines_parse, stop_log),
        cmocka_unit_test_teardown(reopen_follows_a_rotation, stop_log),
        cmocka_unit_test_teardown(lines_of_many_threads_stay_whole, stop_log),
        cmocka_unit_test_teardown(stalled_stderr_stops_nobody, stop_log),
        cmocka_unit_test_teardown(lost_lines_are_told_when_it_works_again,
                                  stop_log),
        cmocka_unit_test_teardown(exit_writes_what_waits, stop_log),
    };

    return cmocka_run_group_tests(tests, make_dir, drop_dir);
}
