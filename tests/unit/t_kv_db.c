/* t_kv_db.c - Pages of keys and values on disk: what is found, what ages, the
 * bound, and what a damaged, foreign or torn store does. */
#include "unit/kv_fixture.h"

/* --- what is found ------------------------------------------------------- */

static void a_text_comes_back_byte_for_byte(void **state)
{
    struct fixture *f = *state;
    const struct kv_wrote first = store(f->db, 1, 5);

    assert_int_equal(first.stored, 5);
    assert_int_equal(found(f->db, 1, 9), 5);
    assert_int_equal(found(f->db, 2, 9), 0);
    open_again(f);
    for (unsigned i = 0; i < 5; i++)
        assert_int_equal(read_page(f->db, 1, i), ERR_OK);
    assert_int_equal(read_page(f->db, 1, 5), ERR_NOT_FOUND);
    const struct kv_wrote again = store(f->db, 1, 6);
    assert_int_equal(again.stored, 1);
    assert_int_equal(again.present, 5);
}

static void one_hash_of_two_texts_is_a_miss(void **state)
{
    struct fixture *f = *state;
    struct page *p = malloc(sizeof(*p));
    uint8_t *out = malloc(PAYLOAD);
    uint32_t cost_us = 0;

    store(f->db, 1, 2);
    page_make(p, 1, 1);
    p->tokens[TOKENS - 1]++;
    assert_int_equal(kv_db_read(f->db, &p->put.key, out, &cost_us),
                     ERR_NOT_FOUND);
    page_make(p, 1, 1);
    p->put.key.before.b[31] ^= 1;
    assert_int_equal(kv_db_read(f->db, &p->put.key, out, &cost_us),
                     ERR_NOT_FOUND);
    page_make(p, 1, 1);
    p->put.key.index = 2;
    assert_int_equal(kv_db_read(f->db, &p->put.key, out, &cost_us),
                     ERR_NOT_FOUND);
    page_make(p, 1, 1);
    p->put.key.n_tokens--;
    assert_int_equal(kv_db_read(f->db, &p->put.key, out, &cost_us),
                     ERR_NOT_FOUND);
    free(p);
    free(out);
}

static void what_is_dropped_or_purged_is_gone(void **state)
{
    struct fixture *f = *state;
    struct kv_db_stats s;
    const struct digest second = hash_of(1, 1);

    store(f->db, 1, 4);
    assert_int_equal(kv_db_drop(f->db, &second), ERR_OK);
    assert_int_equal(kv_db_drop(f->db, &second), ERR_NOT_FOUND);
    assert_int_equal(found(f->db, 1, 4), 1);
    assert_int_equal(kv_db_stats(f->db, &s), ERR_OK);
    assert_int_equal(s.pages, 3);
    assert_int_equal(kv_db_purge(f->db), ERR_OK);
    assert_int_equal(kv_db_stats(f->db, &s), ERR_OK);
    assert_int_equal(s.pages, 0);
    assert_int_equal(store(f->db, 1, 4).stored, 4);
}

/* --- what ages ----------------------------------------------------------- */

static void the_end_of_an_old_text_goes_first(void **state)
{
    struct fixture *f = *state;
    struct kv_db_stats s;

    assert_int_equal(kv_db_stats(f->db, &s), ERR_OK);
    const unsigned max = (unsigned)s.max_pages;
    store(f->db, 1, max / 2);
    store(f->db, 2, max - max / 2);
    assert_int_equal(store(f->db, 3, 2).evicted, 2);
    assert_int_equal(found(f->db, 1, max / 2), max / 2 - 2);
    assert_int_equal(found(f->db, 2, max - max / 2), max - max / 2);

    struct digest chain[64];
    for (unsigned i = 0; i < max / 2; i++)
        chain[i] = hash_of(1, i);
    assert_int_equal(kv_db_touch(f->db, chain, max / 2, max / 2), ERR_OK);
    const struct kv_wrote wrote = store(f->db, 4, 3);
    assert_int_equal(wrote.evicted, 3);
    assert_int_equal(wrote.unused, 3);
    assert_int_equal(found(f->db, 1, max / 2), max / 2 - 2);
    assert_int_equal(found(f->db, 2, max - max / 2), max - max / 2 - 3);
}

static void the_file_never_grows_past_its_bound(void **state)
{
    struct fixture *f = *state;
    const struct kv_db_opts opts = opts_of(f);
    struct kv_db_stats s;

    assert_int_equal(kv_db_stats(f->db, &s), ERR_OK);
    for (unsigned text = 0; text < 200; text++) {
        store(f->db, text, 3 + text % 9);
        assert_true((uint64_t)file_size(f) <= opts.max_bytes);
    }
    const uint64_t max = s.max_pages;
    assert_int_equal(kv_db_stats(f->db, &s), ERR_OK);
    assert_int_equal(s.pages, max);
    open_again(f);
    assert_int_equal(kv_db_stats(f->db, &s), ERR_OK);
    assert_int_equal(s.pages, max);
}

/* --- damage -------------------------------------------------------------- */

/* Whether byte <at> of the file, flipped, is found out: by reading page <i> of
 * text 1, or by all of the file being thrown away. */
static bool is_found_out(struct fixture *f, off_t at, unsigned i)
{
    const int fd = open(f->data, O_RDWR);
    uint8_t byte;
    uint8_t flipped;

    assert_int_equal(pread(fd, &byte, 1, at), 1);
    flipped = byte ^ 0x10;
    assert_int_equal(pwrite(fd, &flipped, 1, at), 1);
    const enum err err = read_page(f->db, 1, i);
    assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    close(fd);
    return err == ERR_CORRUPT;
}

static void any_flipped_byte_of_a_value_is_a_miss(void **state)
{
    struct fixture *f = *state;
    struct page *p = malloc(sizeof(*p));

    store(f->db, 1, 3);
    page_make(p, 1, 1);
    const off_t payload = place_of(f, p->payload, PAYLOAD);
    for (off_t at = payload - KV_HEAD_BYTES; at < payload + PAYLOAD;
         at += at < payload ? 1 : 97)
        assert_true(is_found_out(f, at, 1));
    assert_int_equal(read_page(f->db, 1, 1), ERR_OK);
    free(p);
}

static void verify_names_the_bad_ones(void **state)
{
    struct fixture *f = *state;
    struct page *p = malloc(sizeof(*p));
    struct buf bad;
    uint64_t pages = 0;

    buf_init(&bad, 4096);
    store(f->db, 1, 20);
    assert_int_equal(kv_db_verify(f->db, &pages, &bad), ERR_OK);
    assert_int_equal(pages, 20);
    assert_int_equal(bad.len, 0);
    page_make(p, 1, 7);
    const off_t at = place_of(f, p->payload, PAYLOAD) + 1234;
    const int fd = open(f->data, O_RDWR);
    assert_int_equal(pwrite(fd, "\xff\xff", 2, at), 2);
    close(fd);
    assert_int_equal(kv_db_verify(f->db, &pages, &bad), ERR_OK);
    assert_int_equal(bad.len, DIGEST_BYTES);
    assert_memory_equal(bad.p, p->put.key.hash.b, DIGEST_BYTES);
    buf_fini(&bad);
    free(p);
}

static void a_file_cut_while_open_is_no_signal(void **state)
{
    struct fixture *f = *state;
    struct page *p = malloc(sizeof(*p));

    store(f->db, 1, 9);
    page_make(p, 1, 8);
    const off_t at = place_of(f, p->payload, PAYLOAD);
    assert_int_equal(truncate(f->data, (at + PAYLOAD / 2) & ~(off_t)4095), 0);
    assert_int_equal(read_page(f->db, 1, 8), ERR_IO);
    open_again(f); /* and begins anew */
    assert_int_equal(found(f->db, 1, 9), 0);
    assert_int_equal(store(f->db, 1, 9).stored, 9);
    free(p);
}

/* --- whose it is --------------------------------------------------------- */

static void another_namespace_is_refused(void **state)
{
    struct fixture *f = *state;
    struct kv_db_opts opts = opts_of(f);
    struct kv_db *other = NULL;

    opts.ns = digest_sha256("other", 5);
    opts.about = STR("{\"model\":\"b\"}\n");
    assert_int_equal(kv_db_open(&opts, &other, &f->why), ERR_REFUSED);
    assert_non_null(memmem(f->why.p, f->why.len, "another model", 13));
    opts = opts_of(f);
    opts.max_bytes = KV_DB_LEAST_BYTES / 2;
    assert_int_equal(kv_db_open(&opts, &other, &f->why), ERR_RANGE);
}

/* Damage a file of the namespace as a power cut or a bad disk would. */
static void damage(const struct fixture *f, const char *name, const char *text)
{
    char path[4200];

    snprintf(path, sizeof(path), "%s/%s", f->ns, name);
    const int fd = open(path, O_WRONLY | O_TRUNC);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

static void either_file_about_it_may_be_damaged(void **state)
{
    static const char *const texts[] = {"", "junk", "namespace 00\n"};
    struct fixture *f = *state;

    store(f->db, 1, 3);
    for (unsigned i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        damage(f, "ns.json", texts[i]);
        open_again(f);
        assert_int_equal(found(f->db, 1, 3), 3);
        damage(f, "layout", texts[i]);
        open_again(f);
        assert_int_equal(found(f->db, 1, 3), 3);
    }
    assert_int_equal(lines_of(f, "none is said"), 0);
    damage(f, "ns.json", "");
    damage(f, "layout", "");
    open_again(f);
    assert_int_equal(lines_of(f, "begins anew"), 1);
    assert_int_equal(found(f->db, 1, 3), 0);
    store(f->db, 1, 3);
    open_again(f);
    assert_int_equal(found(f->db, 1, 3), 3);
}

static void a_store_of_another_boot_begins_anew(void **state)
{
    struct fixture *f = *state;
    char users[4096];

    state_dir_path(f->dir, KV_NAME "/users", users);
    store(f->db, 1, 3);
    open_again(f); /* closed in between: kept */
    assert_int_equal(found(f->db, 1, 3), 3);
    kv_db_close(f->db);
    f->db = NULL;
    const int fd = open(users, O_RDWR);
    assert_int_equal(lseek(fd, 0, SEEK_END), 0);
    assert_int_equal(pwrite(fd, "another boot's..", 16, 0), 16);
    close(fd);
    open_again(f);
    assert_int_equal(found(f->db, 1, 3), 0);
}

static void a_file_above_its_bound_begins_anew(void **state)
{
    struct fixture *f = *state;
    struct kv_db_opts opts = opts_of(f);

    kv_db_close(f->db);
    opts.max_bytes *= 4;
    assert_int_equal(kv_db_open(&opts, &f->db, &f->why), ERR_OK);
    for (unsigned text = 0; text < 20; text++)
        store(f->db, text, 10);
    assert_true((uint64_t)file_size(f) > opts.max_bytes / 2);
    open_again(f);
    assert_int_equal(found(f->db, 19, 10), 0);
    assert_true((uint64_t)file_size(f) <= KV_DB_LEAST_BYTES);
}

static void a_larger_map_of_another_process_is_taken_over(void **state)
{
    struct fixture *f = *state;
    struct kv_db_opts opts = opts_of(f);
    struct kv_db *db = NULL;
    const pid_t pid = fork();
    int status;

    if (pid == 0) {
        opts.max_bytes *= 4;
        if (kv_db_open(&opts, &db, &f->why) != ERR_OK)
            _exit(1);
        for (unsigned text = 0; text < 20; text++)
            store(db, text, 10);
        kv_db_close(db);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_true((uint64_t)file_size(f) > opts.max_bytes);
    store(f->db, 30, 5); /* gives up what is above its own bound */
    assert_int_equal(found(f->db, 30, 5), 5);
    assert_int_equal(read_page(f->db, 30, 4), ERR_OK);
}

/* A process that stores texts <from>, <from>+2, ... until it is killed. */
static pid_t child_write(const struct fixture *f, unsigned from)
{
    const struct kv_db_opts opts = opts_of(f);
    const pid_t pid = fork();

    if (pid != 0)
        return pid;
    struct kv_db *db = NULL;
    struct buf why;
    buf_init(&why, 4096);
    if (kv_db_open(&opts, &db, &why) != ERR_OK)
        _exit(1);
    for (unsigned text = from;; text += 2)
        store(db, text % 10, 4);
}

static void processes_share_it_and_die_in_it(void **state)
{
    struct fixture *f = *state;
    struct kv_db_stats s;
    struct buf bad;
    uint64_t pages;

    buf_init(&bad, 4096);
    for (unsigned round = 0; round < 10; round++) {
        const pid_t pid = child_write(f, 1);
        int status;

        for (unsigned text = 0; text < 20 + round; text += 2)
            store(f->db, text % 10, 5);
        for (unsigned i = 0; i < 4; i++)
            assert_int_not_equal(read_page(f->db, 1, i), ERR_CORRUPT);
        kill(pid, SIGKILL);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFSIGNALED(status));
        if (round % 3 == 0)
            open_again(f);
        assert_int_equal(kv_db_verify(f->db, &pages, &bad), ERR_OK);
        assert_int_equal(bad.len, 0);
        assert_int_equal(kv_db_stats(f->db, &s), ERR_OK);
        assert_true(s.pages == pages && pages <= s.max_pages);
        assert_int_equal(kv_db_sync(f->db), ERR_OK);
    }
    buf_fini(&bad);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        T(a_text_comes_back_byte_for_byte),
        T(one_hash_of_two_texts_is_a_miss),
        T(what_is_dropped_or_purged_is_gone),
        T(the_end_of_an_old_text_goes_first),
        T(the_file_never_grows_past_its_bound),
        T(any_flipped_byte_of_a_value_is_a_miss),
        T(verify_names_the_bad_ones),
        T(a_file_cut_while_open_is_no_signal),
        T(another_namespace_is_refused),
        T(either_file_about_it_may_be_damaged),
        T(a_store_of_another_boot_begins_anew),
        T(a_file_above_its_bound_begins_anew),
        T(a_larger_map_of_another_process_is_taken_over),
        T(processes_share_it_and_die_in_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
