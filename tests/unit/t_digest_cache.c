/* t_digest_cache.c - A digest that was kept is found again for the same files
 * and for no others, whatever happened to them or to the cache. Rows are told
 * from what would be computed by digests that no file has. */
#include "engine/digest_cache.h"

#include <fcntl.h>
#include <sys/wait.h>

#include "lib/hfdir.h"
#include "unit/cmocka_all.h"
#include "unit/model_rig.h"
#include "unit/state_dir.h"

#define FAKE  "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
#define OTHER "ff112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

/* A directory with a model's file and a cache. */
struct rig {
    char *dir;
    char cache[4096];
    char model[4096];
    char rows[4200]; /* path of the cache's file */
};

/* --- files --------------------------------------------------------------- */

static void write_model(const char *path, uint64_t seed)
{
    struct ggufm_shape s = small;
    size_t len;
    char *image;
    FILE *f = fopen(path, "we");

    s.seed = seed;
    image = ggufm_build(&s, &len);
    assert_non_null(f);
    assert_int_equal(fwrite(image, 1, len, f), len);
    assert_int_equal(fclose(f), 0);
    free(image);
}

/* Give <path> a time of last change in the past. */
static void age(const char *path)
{
    const struct timespec times[2] = {{1000000000, 5}, {1000000000, 7}};

    assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
}

/* Age <path> until that shows in the time that cannot be set. */
static void age_anew(const char *path)
{
    struct stat was, now;

    assert_int_equal(stat(path, &was), 0);
    do {
        age(path);
        assert_int_equal(stat(path, &now), 0);
    } while (now.st_ctim.tv_sec == was.st_ctim.tv_sec &&
             now.st_ctim.tv_nsec == was.st_ctim.tv_nsec);
}

static struct rig rig_make(void)
{
    struct rig r = {.dir = state_dir_make()};

    state_dir_path(r.dir, "cache", r.cache);
    state_dir_path(r.dir, "model.gguf", r.model);
    snprintf(r.rows, sizeof(r.rows), "%s/digests", r.cache);
    write_model(r.model, 1);
    age(r.model);
    return r;
}

static void rig_drop(struct rig *r)
{
    state_dir_drop(r->dir);
}

static struct model *open_at(const char *path)
{
    struct model_fault why = {""};
    struct model *m = NULL;
    enum err e = model_open(path, &why, &m);

    assert_string_equal(why.text, "");
    assert_int_equal(e, ERR_OK);
    return m;
}

/* Keep <digest> for the model at <path>. */
static enum err keep(const struct rig *r, const char *path, const char *digest)
{
    struct model *m = open_at(path);
    enum err e;

    memcpy(m->digest, digest, DIGEST_HEX_SIZE);
    e = digest_cache_put(r->cache, m);
    model_close(m);
    return e;
}

/* Whether <digest> is kept for the model at <path>, or (NULL) none is. */
static void must_find(const struct rig *r, const char *path, const char *digest)
{
    struct model *m = open_at(path);
    enum err e = digest_cache_get(r->cache, m);

    assert_int_equal(e, digest ? ERR_OK : ERR_NOT_FOUND);
    assert_string_equal(m->digest, digest ? digest : "");
    model_close(m);
}

static char *read_file(const char *path, size_t *len_out)
{
    FILE *f = fopen(path, "re");
    char *text = malloc(1 << 20);

    assert_non_null(f);
    assert_non_null(text);
    *len_out = fread(text, 1, 1 << 20, f);
    fclose(f);
    return text;
}

static void write_file(const char *path, const char *text, size_t len)
{
    FILE *f = fopen(path, "we");

    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, len, f), len);
    assert_int_equal(fclose(f), 0);
}

/* --- the same files ------------------------------------------------------ */

static void what_was_kept_is_found(void **state)
{
    struct rig r = rig_make();
    struct stat st;

    (void)state;
    must_find(&r, r.model, NULL);
    assert_int_equal(keep(&r, r.model, FAKE), ERR_OK);
    must_find(&r, r.model, FAKE);
    must_find(&r, r.model, FAKE);
    assert_int_equal(keep(&r, r.model, OTHER), ERR_OK);
    must_find(&r, r.model, OTHER);
    assert_int_equal(stat(r.cache, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
    assert_int_equal(stat(r.rows, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    rig_drop(&r);
}

static void another_name_of_the_file_finds_it(void **state)
{
    struct rig r = rig_make();
    char path[4096];

    (void)state;
    assert_int_equal(keep(&r, r.model, FAKE), ERR_OK);
    assert_int_equal(symlink(r.model, state_dir_path(r.dir, "b", path)), 0);
    must_find(&r, path, FAKE);
    rig_drop(&r);
}

static void filling_computes_once(void **state)
{
    struct rig r = rig_make();
    struct model *m = open_at(r.model);
    char want[DIGEST_HEX_SIZE];

    (void)state;
    assert_int_equal(model_digest(m), ERR_OK);
    memcpy(want, m->digest, sizeof(want));
    m->digest[0] = '\0';
    assert_int_equal(digest_cache_fill(r.cache, m), ERR_OK);
    assert_string_equal(m->digest, want);
    model_close(m);
    must_find(&r, r.model, want);
    assert_int_equal(keep(&r, r.model, FAKE), ERR_OK);
    m = open_at(r.model);
    assert_int_equal(digest_cache_fill(r.cache, m), ERR_OK);
    assert_string_equal(m->digest, FAKE);
    model_close(m);
    rig_drop(&r);
}

/* --- other files --------------------------------------------------------- */

static void a_young_file_is_not_kept(void **state)
{
    struct rig r = rig_make();

    (void)state;
    write_model(r.model, 1);
    assert_int_equal(keep(&r, r.model, FAKE), ERR_REFUSED);
    must_find(&r, r.model, NULL);
    rig_drop(&r);
}

static void a_file_from_the_future_is_not_kept(void **state)
{
    const struct timespec times[2] = {{4000000000, 0}, {4000000000, 0}};
    struct rig r = rig_make();

    (void)state;
    assert_int_equal(utimensat(AT_FDCWD, r.model, times, 0), 0);
    assert_int_equal(keep(&r, r.model, FAKE), ERR_REFUSED);
    must_find(&r, r.model, NULL);
    rig_drop(&r);
}

/* Same path, same size, same time of last change. */
static void a_replaced_file_is_another(void **state)
{
    struct rig r = rig_make();
    char path[4096];

    (void)state;
    assert_int_equal(keep(&r, r.model, FAKE), ERR_OK);
    write_model(state_dir_path(r.dir, "new", path), 2);
    age(path);
    assert_int_equal(rename(path, r.model), 0);
    must_find(&r, r.model, NULL);
    rig_drop(&r);
}

/* Same inode as well. */
static void a_file_written_over_is_another(void **state)
{
    struct rig r = rig_make();

    (void)state;
    assert_int_equal(keep(&r, r.model, FAKE), ERR_OK);
    write_model(r.model, 2);
    age_anew(r.model);
    must_find(&r, r.model, NULL);
    rig_drop(&r);
}

static void times_and_size_count(void **state)
{
    const struct timespec later[2] = {{1000000000, 5}, {1000000000, 8}};
    struct rig r = rig_make();
    struct stat st;

    (void)state;
    assert_int_equal(keep(&r, r.model, FAKE), ERR_OK);
    assert_int_equal(utimensat(AT_FDCWD, r.model, later, 0), 0);
    must_find(&r, r.model, NULL);
    assert_int_equal(keep(&r, r.model, FAKE), ERR_OK);
    must_find(&r, r.model, FAKE);
    assert_int_equal(stat(r.model, &st), 0);
    assert_int_equal(truncate(r.model, st.st_size + 1), 0);
    assert_int_equal(utimensat(AT_FDCWD, r.model, later, 0), 0);
    must_find(&r, r.model, NULL);
    rig_drop(&r);
}

static void a_change_while_it_is_open_counts(void **state)
{
    struct rig r = rig_make();
    struct model *m;

    (void)state;
    assert_int_equal(keep(&r, r.model, FAKE), ERR_OK);
    m = open_at(r.model);
    age_anew(r.model);
    assert_int_equal(digest_cache_get(r.cache, m), ERR_NOT_FOUND);
    memcpy(m->digest, OTHER, DIGEST_HEX_SIZE);
    assert_int_equal(digest_cache_put(r.cache, m), ERR_REFUSED);
    model_close(m);
    must_find(&r, r.model, NULL);
    rig_drop(&r);
}

static void a_model_in_memory_is_not_kept(void **state)
{
    struct rig r = rig_make();
    struct opened o = must_open(ggufm_new(&small));

    (void)state;
    memcpy(o.m->digest, FAKE, DIGEST_HEX_SIZE);
    assert_int_equal(digest_cache_put(r.cache, o.m), ERR_REFUSED);
    assert_int_equal(digest_cache_get(r.cache, o.m), ERR_NOT_FOUND);
    close_opened(o);
    rig_drop(&r);
}

/* Every shard of a directory, and config.json. */
static void all_files_of_a_directory_count(void **state)
{
    static const char *const files[] = {"model-00001-of-00002.safetensors",
                                        "model-00002-of-00002.safetensors"};
    struct rig r = rig_make();
    struct ggufm_shape s = small;
    char dir[4096], path[4200];
    char *config = hfdir_config(&s, ",\"x\":1");

    (void)state;
    s.dtype = KRN_F16;
    assert_int_equal(mkdir(state_dir_path(r.dir, "hf", dir), 0700), 0);
    hfdir_make(dir, &s, 2);
    for (unsigned i = 0; i < 2; i++) {
        snprintf(path, sizeof(path), "%s/%s", dir, files[i]);
        age(path);
    }
    assert_int_equal(keep(&r, dir, FAKE), ERR_OK);
    must_find(&r, dir, FAKE);
    for (unsigned i = 0; i < 2; i++) {
        snprintf(path, sizeof(path), "%s/%s", dir, files[i]);
        age_anew(path);
        must_find(&r, dir, NULL);
        assert_int_equal(keep(&r, dir, FAKE), ERR_OK);
        must_find(&r, dir, FAKE);
    }
    hfdir_put(dir, "config.json", str_from(config));
    must_find(&r, dir, NULL);
    free(config);
    rig_drop(&r);
}

/* --- a cache that is no good --------------------------------------------- */

static void any_damage_is_as_if_nothing_was_kept(void **state)
{
    struct rig r = rig_make();
    size_t len;
    char *text;

    (void)state;
    assert_int_equal(keep(&r, r.model, FAKE), ERR_OK);
    text = read_file(r.rows, &len);
    for (size_t i = 0; i < len; i++) {
        text[i] ^= 1;
        write_file(r.rows, text, len);
        must_find(&r, r.model, NULL);
        text[i] ^= 1;
        write_file(r.rows, text, i);
        must_find(&r, r.model, NULL);
    }
    write_file(r.rows, text, len);
    must_find(&r, r.model, FAKE);
    text[len] = '\n';
    write_file(r.rows, text, len + 1);
    must_find(&r, r.model, NULL);
    assert_int_equal(keep(&r, r.model, OTHER), ERR_OK);
    must_find(&r, r.model, OTHER);
    free(text);
    rig_drop(&r);
}

static void what_others_can_write_is_not_believed(void **state)
{
    struct rig r = rig_make();
    char aside[4200];

    (void)state;
    assert_int_equal(keep(&r, r.model, FAKE), ERR_OK);
    assert_int_equal(chmod(r.rows, 0620), 0);
    must_find(&r, r.model, NULL);
    assert_int_equal(chmod(r.rows, 0602), 0);
    must_find(&r, r.model, NULL);
    assert_int_equal(chmod(r.rows, 0600), 0);
    must_find(&r, r.model, FAKE);
    snprintf(aside, sizeof(aside), "%s/aside", r.dir);
    assert_int_equal(rename(r.rows, aside), 0);
    assert_int_equal(symlink(aside, r.rows), 0);
    must_find(&r, r.model, NULL);
    assert_int_equal(keep(&r, r.model, OTHER), ERR_OK);
    must_find(&r, r.model, OTHER);
    rig_drop(&r);
}

static void nothing_can_be_kept_where_nothing_can_be_written(void **state)
{
    struct rig r = rig_make();
    struct model *m;

    (void)state;
    write_file(r.cache, "", 0);
    must_find(&r, r.model, NULL);
    assert_int_equal(keep(&r, r.model, FAKE), ERR_IO);
    m = open_at(r.model);
    assert_int_equal(digest_cache_fill(r.cache, m), ERR_OK);
    assert_int_equal(strlen(m->digest), 64);
    model_close(m);
    rig_drop(&r);
}

/* --- bounds, and several at once ----------------------------------------- */

static void the_longest_unused_makes_room(void **state)
{
    struct rig r = rig_make();
    struct digest_rows rows = {.n = DIGEST_CACHE_ROWS}, after;
    struct buf b;
    size_t len;
    char *text;

    (void)state;
    for (unsigned i = 0; i < rows.n; i++)
        rows.v[i].files.b[0] = (uint8_t)i;
    buf_init(&b, 1 << 20);
    assert_int_equal(digest_cache_write(&rows, &b), ERR_OK);
    assert_int_equal(mkdir(r.cache, 0700), 0);
    write_file(r.rows, b.p, b.len);
    assert_int_equal(chmod(r.rows, 0600), 0);
    assert_int_equal(keep(&r, r.model, FAKE), ERR_OK);
    must_find(&r, r.model, FAKE);
    text = read_file(r.rows, &len);
    assert_int_equal(len, b.len);
    assert_int_equal(digest_cache_parse(str_of(text, len), &after), ERR_OK);
    assert_int_equal(after.n, DIGEST_CACHE_ROWS);
    assert_memory_equal(&after.v[1], &rows.v[0],
                        (DIGEST_CACHE_ROWS - 1) * sizeof(rows.v[0]));
    free(text);
    buf_fini(&b);
    rig_drop(&r);
}

static void a_row_that_is_used_leads(void **state)
{
    struct rig r = rig_make();
    struct digest_rows rows;
    char path[4096];
    struct model *m;
    size_t len;
    char *text;

    (void)state;
    write_model(state_dir_path(r.dir, "other", path), 2);
    age(path);
    assert_int_equal(keep(&r, r.model, FAKE), ERR_OK);
    assert_int_equal(keep(&r, path, OTHER), ERR_OK);
    m = open_at(r.model);
    assert_int_equal(digest_cache_fill(r.cache, m), ERR_OK);
    model_close(m);
    text = read_file(r.rows, &len);
    assert_int_equal(digest_cache_parse(str_of(text, len), &rows), ERR_OK);
    assert_int_equal(rows.n, 2);
    assert_int_equal(rows.v[0].weights.b[0], 0x00);
    assert_int_equal(rows.v[1].weights.b[0], 0xff);
    free(text);
    rig_drop(&r);
}

#define PROCESSES 6
#define EACH      5

static void run_child(const struct rig *r, unsigned i, int go)
{
    char path[4096], name[32], byte;

    if (read(go, &byte, 1) != 0)
        _exit(1);
    for (unsigned k = 0; k < EACH; k++) {
        snprintf(name, sizeof(name), "m%u.%u", i, k);
        if (keep(r, state_dir_path(r->dir, name, path), FAKE) != ERR_OK)
            _exit(2);
    }
    _exit(0);
}

static void programs_at_once_lose_nothing(void **state)
{
    struct rig r = rig_make();
    char path[4096], name[32];
    int go[2], status;

    (void)state;
    for (unsigned i = 0; i < PROCESSES * EACH; i++) {
        snprintf(name, sizeof(name), "m%u.%u", i / EACH, i % EACH);
        write_model(state_dir_path(r.dir, name, path), i);
        age(path);
    }
    assert_int_equal(pipe(go), 0);
    for (unsigned i = 0; i < PROCESSES; i++) {
        if (fork() != 0)
            continue;
        close(go[1]);
        run_child(&r, i, go[0]);
    }
    close(go[0]);
    close(go[1]); /* all start at this end of file */
    for (unsigned i = 0; i < PROCESSES; i++)
        assert_true(wait(&status) > 0 && status == 0);
    for (unsigned i = 0; i < PROCESSES * EACH; i++) {
        snprintf(name, sizeof(name), "m%u.%u", i / EACH, i % EACH);
        must_find(&r, state_dir_path(r.dir, name, path), FAKE);
    }
    rig_drop(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_kept_is_found),
        cmocka_unit_test(another_name_of_the_file_finds_it),
        cmocka_unit_test(filling_computes_once),
        cmocka_unit_test(a_young_file_is_not_kept),
        cmocka_unit_test(a_file_from_the_future_is_not_kept),
        cmocka_unit_test(a_replaced_file_is_another),
        cmocka_unit_test(a_file_written_over_is_another),
        cmocka_unit_test(times_and_size_count),
        cmocka_unit_test(a_change_while_it_is_open_counts),
        cmocka_unit_test(a_model_in_memory_is_not_kept),
        cmocka_unit_test(all_files_of_a_directory_count),
        cmocka_unit_test(any_damage_is_as_if_nothing_was_kept),
        cmocka_unit_test(what_others_can_write_is_not_believed),
        cmocka_unit_test(nothing_can_be_kept_where_nothing_can_be_written),
        cmocka_unit_test(the_longest_unused_makes_room),
        cmocka_unit_test(a_row_that_is_used_leads),
        cmocka_unit_test(programs_at_once_lose_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
