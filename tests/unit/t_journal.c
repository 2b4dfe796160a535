/* t_journal.c - Journal files: what was appended is read again, half a record
 * is no record, damage in the middle costs the damaged stretch alone. */
#include "account/journal.h"

#include "base/id.h"

#include "unit/state_dir.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>

/* Append a row whose reason is <reason>. */
static enum err append(struct jfile *f, const char *reason)
{
    uint8_t frame[JOURNAL_RECORD_MAX];
    char id[ID_SIZE];

    id_new(id);
    const struct usage_row row = {.id = str_from(id),
                                  .reason = str_from(reason)};
    return journal_append(f, REC_ROW, frame,
                          row_encode(&row, frame + REC_HEAD_BYTES));
}

/* Read the file at <path> again; the reasons are put into <out>, separated by
 * spaces. */
static void read_again(const char *path, struct buf *out, uint64_t *skipped,
                       uint64_t *torn)
{
    struct jfile *f;
    struct journal_read r;
    enum rec_type type;
    struct str payload;

    buf_clear(out);
    assert_int_equal(journal_open(path, &f), ERR_OK);
    journal_read_init(&r, f, JOURNAL_HEAD_BYTES, atomic_load(&f->end));
    while (journal_read_next(&r, &type, &payload) == ERR_OK) {
        struct usage_row row;

        assert_int_equal(row_decode(payload, &row), ERR_OK);
        assert_int_equal(buf_put_str(out, row.reason), ERR_OK);
        assert_int_equal(buf_put_str(out, STR(" ")), ERR_OK);
    }
    assert_true(r.at == atomic_load(&f->end));
    *skipped = r.skipped;
    *torn = r.torn;
    journal_read_fini(&r);
    journal_free(f);
}

static void assert_reads(const char *path, const char *want, uint64_t skipped,
                         uint64_t torn)
{
    struct buf out;
    uint64_t got_skipped;
    uint64_t got_torn;

    buf_init(&out, 1 << 20);
    read_again(path, &out, &got_skipped, &got_torn);
    if (!str_eq(buf_str(&out), str_from(want)))
        fail_msg("read \"%.*s\", not \"%s\"", STR_ARG(buf_str(&out)), want);
    assert_true(got_skipped == skipped);
    assert_true(got_torn == torn);
    buf_fini(&out);
}

struct fixture {
    char *dir;
    struct jfile *file;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    f->dir = state_dir_make();
    assert_int_equal(journal_create(f->dir, 3, &f->file), ERR_OK);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    journal_free(f->file);
    state_dir_drop(f->dir);
    free(f);
    return 0;
}

static void appended_rows_are_read_in_order(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(append(f->file, "a"), ERR_OK);
    assert_int_equal(append(f->file, "b"), ERR_OK);
    assert_int_equal(append(f->file, "c"), ERR_OK);
    assert_reads(f->file->path, "a b c ", 0, 0);
}

static void reserve_does_not_lengthen_the_file(void **state)
{
    struct fixture *f = *state;
    struct stat st;

    assert_int_equal(journal_reserve(f->file, 1 << 20), ERR_OK);
    assert_int_equal(append(f->file, "a"), ERR_OK);
    assert_int_equal(stat(f->file->path, &st), 0);
    assert_int_equal(st.st_size, atomic_load(&f->file->end));
    if (f->file->has_reserve)
        assert_true(st.st_blocks * 512 >= 1 << 20);
}

static void torn_end_at_every_byte_costs_the_last_row_alone(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(append(f->file, "a"), ERR_OK);
    assert_int_equal(append(f->file, "b"), ERR_OK);
    const uint64_t two = atomic_load(&f->file->end);
    assert_int_equal(append(f->file, "c"), ERR_OK);
    const uint64_t three = atomic_load(&f->file->end);
    for (uint64_t size = three - 1; size >= two; size--) {
        assert_int_equal(truncate(f->file->path, (off_t)size), 0);
        assert_reads(f->file->path, "a b ", 0, size - two);
    }
}

static void zeros_at_the_end_are_a_torn_end(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(append(f->file, "a"), ERR_OK);
    const uint64_t one = atomic_load(&f->file->end);
    assert_int_equal(truncate(f->file->path, (off_t)one + 5000), 0);
    assert_reads(f->file->path, "a ", 0, 5000);
}

static void each_damaged_byte_in_the_middle_costs_one_row(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(append(f->file, "a"), ERR_OK);
    const uint64_t one = atomic_load(&f->file->end);
    assert_int_equal(append(f->file, "b"), ERR_OK);
    const uint64_t two = atomic_load(&f->file->end);
    assert_int_equal(append(f->file, "c"), ERR_OK);
    for (uint64_t at = one; at < two; at++) {
        uint8_t c;

        assert_int_equal(pread(f->file->fd, &c, 1, (off_t)at), 1);
        c ^= 0x10;
        assert_int_equal(pwrite(f->file->fd, &c, 1, (off_t)at), 1);
        assert_reads(f->file->path, "a c ", two - one, 0);
        c ^= 0x10;
        assert_int_equal(pwrite(f->file->fd, &c, 1, (off_t)at), 1);
    }
    assert_reads(f->file->path, "a b c ", 0, 0);
}

static void record_at_another_offset_is_no_record(void **state)
{
    struct fixture *f = *state;
    uint8_t copy[4096];

    assert_int_equal(append(f->file, "a"), ERR_OK);
    const uint64_t end = atomic_load(&f->file->end);
    const size_t len = (size_t)(end - JOURNAL_HEAD_BYTES);
    assert_int_equal(pread(f->file->fd, copy, len, JOURNAL_HEAD_BYTES), len);
    assert_int_equal(pwrite(f->file->fd, copy, len, (off_t)end), len);
    assert_reads(f->file->path, "a ", 0, len);
}

static void head_that_is_none_is_refused(void **state)
{
    struct fixture *f = *state;
    struct jfile *again = NULL;

    assert_int_equal(append(f->file, "a"), ERR_OK);
    for (off_t at = 0; at < JOURNAL_HEAD_BYTES; at += 7) {
        uint8_t c;

        assert_int_equal(pread(f->file->fd, &c, 1, at), 1);
        c ^= 1;
        assert_int_equal(pwrite(f->file->fd, &c, 1, at), 1);
        assert_int_equal(journal_open(f->file->path, &again), ERR_CORRUPT);
        c ^= 1;
        assert_int_equal(pwrite(f->file->fd, &c, 1, at), 1);
    }
    assert_int_equal(truncate(f->file->path, 20), 0);
    assert_int_equal(journal_open(f->file->path, &again), ERR_CORRUPT);
    assert_null(again);
}

/* The size limit makes a write stop half-way, as a full disk does. */
static void half_written_row_is_overwritten_by_the_next(void **state)
{
    struct fixture *f = *state;
    struct rlimit old;

    assert_int_equal(append(f->file, "a"), ERR_OK);
    const uint64_t end = atomic_load(&f->file->end);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    signal(SIGXFSZ, SIG_IGN);
    const struct rlimit tight = {end + 50, old.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &tight), 0);
    const enum err err = append(f->file, "lost");
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    assert_int_equal(err, ERR_IO);
    assert_true(atomic_load(&f->file->end) == end);
    assert_int_equal(append(f->file, "b"), ERR_OK);
    assert_reads(f->file->path, "a b ", 0, 0);
}

static void long_files_are_read_in_pieces(void **state)
{
    struct fixture *f = *state;
    struct jfile *again;
    struct journal_read r;
    enum rec_type type;
    struct str payload;
    unsigned n = 0;

    for (unsigned i = 0; i < 3000; i++)
        assert_int_equal(append(f->file, "x"), ERR_OK);
    assert_int_equal(journal_open(f->file->path, &again), ERR_OK);
    journal_read_init(&r, again, JOURNAL_HEAD_BYTES, atomic_load(&again->end));
    while (journal_read_next(&r, &type, &payload) == ERR_OK)
        n++;
    assert_int_equal(n, 3000);
    assert_true(r.skipped == 0 && r.torn == 0);
    journal_read_fini(&r);
    journal_free(again);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(appended_rows_are_read_in_order),
        TEST(reserve_does_not_lengthen_the_file),
        TEST(torn_end_at_every_byte_costs_the_last_row_alone),
        TEST(zeros_at_the_end_are_a_torn_end),
        TEST(each_damaged_byte_in_the_middle_costs_one_row),
        TEST(record_at_another_offset_is_no_record),
        TEST(head_that_is_none_is_refused),
        TEST(half_written_row_is_overwritten_by_the_next),
        TEST(long_files_are_read_in_pieces),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
