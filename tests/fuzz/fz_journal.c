/* fz_journal.c - A journal of three rows, with bytes changed, cut or added as
 * the input says: reading it ends, never gives a row that was not written,
 * and accounts for every byte. */
#include "account/journal.h"
#include "base/panic.h"

#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define ROWS 3

static void write_rows(struct jfile *f)
{
    atomic_store(&f->end, JOURNAL_HEAD_BYTES);
    for (unsigned i = 0; i < ROWS; i++) {
        uint8_t frame[JOURNAL_RECORD_MAX];
        const struct usage_row row = {.id = STR("01hzy3v7k2m4n6p8q0r2s4t6v8"),
                                      .ms_total = i + 1};

        BUG_ON(journal_append(f, REC_ROW, frame,
                              row_encode(&row, frame + REC_HEAD_BYTES)) !=
               ERR_OK);
    }
}

/* Each four bytes of the input: offset (2), how, value. */
static void damage(struct jfile *f, const uint8_t *data, size_t size)
{
    for (size_t i = 0; i + 4 <= size; i += 4) {
        const uint64_t end = atomic_load(&f->end);
        const uint64_t at =
            JOURNAL_HEAD_BYTES + (data[i] | data[i + 1] << 8) % (end + 512);

        if (data[i + 2] % 8 == 0) {
            BUG_ON(ftruncate(f->fd, (off_t)at) != 0);
            atomic_store(&f->end, at);
        } else {
            BUG_ON(pwrite(f->fd, data + i + 3, 1, (off_t)at) != 1);
            if (at >= end)
                atomic_store(&f->end, at + 1);
        }
    }
}

static void read_rows(const struct jfile *f)
{
    struct journal_read r;
    enum rec_type type;
    struct str payload;
    uint64_t told = 0;
    uint32_t last = 0;

    journal_read_init(&r, f, JOURNAL_HEAD_BYTES, atomic_load(&f->end));
    while (journal_read_next(&r, &type, &payload) == ERR_OK) {
        struct usage_row row;

        BUG_ON(row_decode(payload, &row) != ERR_OK);
        BUG_ON(row.ms_total <= last || row.ms_total > ROWS);
        last = row.ms_total;
        told += REC_HEAD_BYTES + payload.len;
    }
    BUG_ON(r.at != r.limit);
    BUG_ON(JOURNAL_HEAD_BYTES + told + r.skipped + r.torn != r.limit);
    journal_read_fini(&r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct jfile f = {.id = {1, 2, 3}};

    f.fd = memfd_create("journal", 0);
    BUG_ON(f.fd < 0);
    write_rows(&f);
    damage(&f, data, size);
    read_rows(&f);
    close(f.fd);
    return 0;
}
