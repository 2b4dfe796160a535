/* t_weights.c - Models that were replaced in place are seen. */
#include "recall/weights.h"

#include "unit/cmocka_all.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conf/conf.h"

static char dir[] = "/tmp/t_weights.XXXXXX";

static void write_file(const char *name, const char *text, long mtime)
{
    const struct timespec times[2] = {{mtime, 0}, {mtime, 5}};
    char path[256];
    FILE *f;

    snprintf(path, sizeof(path), "%s/%s", dir, name);
    f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
}

static struct digest mark(const char *path)
{
    struct conf_report r = {0};
    struct conf *c = NULL;
    struct digest d;
    char text[512];

    snprintf(text, sizeof(text),
             "engine: {models: [{name: m, path: \"%s/%s\"}]}\n", dir, path);
    assert_int_equal(conf_load_text("F", str_from(text), CONF_OFFLINE, &r, &c),
                     ERR_OK);
    assert_int_equal(c->engine.n_models, 1);
    d = weights_mark(c);
    conf_report_fini(&r);
    conf_unref(c);
    return d;
}

#define SAME(x, y)  assert_memory_equal((x).b, (y).b, DIGEST_BYTES)
#define OTHER(x, y) assert_memory_not_equal((x).b, (y).b, DIGEST_BYTES)

static void files_are_seen(void **state)
{
    struct digest none = mark("model.gguf"), first, second;

    (void)state;
    write_file("model.gguf", "one", 100);
    first = mark("model.gguf");
    OTHER(none, first);
    SAME(first, mark("model.gguf"));
    write_file("model.gguf", "two", 101);
    second = mark("model.gguf");
    OTHER(first, second);
    write_file("model.gguf", "three", 100);
    OTHER(first, mark("model.gguf"));
    OTHER(second, mark("model.gguf"));
    write_file("model.gguf", "one", 100);
    SAME(first, mark("model.gguf"));
}

static void folders_are_seen(void **state)
{
    char path[256];
    struct digest first;

    (void)state;
    snprintf(path, sizeof(path), "%s/hf", dir);
    assert_int_equal(mkdir(path, 0700), 0);
    write_file("hf/a.safetensors", "a", 100);
    write_file("hf/config.json", "{}", 100);
    first = mark("hf");
    SAME(first, mark("hf"));
    write_file("hf/a.safetensors", "b", 102);
    OTHER(first, mark("hf"));
    write_file("hf/a.safetensors", "a", 100);
    SAME(first, mark("hf"));
    write_file("hf/b.safetensors", "b", 100);
    OTHER(first, mark("hf"));
}

static int make_dir(void **state)
{
    (void)state;
    return mkdtemp(dir) ? 0 : -1;
}

static int drop_dir(void **state)
{
    static const char *const names[] = {"model.gguf",
                                        "hf/a.safetensors",
                                        "hf/b.safetensors",
                                        "hf/config.json",
                                        "hf",
                                        ""};
    char path[256];

    (void)state;
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
        remove(path);
    }
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_are_seen),
        cmocka_unit_test(folders_are_seen),
    };

    return cmocka_run_group_tests(tests, make_dir, drop_dir);
}
