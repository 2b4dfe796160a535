/* fz_digest_cache.c - Any bytes as the file of digests: they are refused, or
 * they are rows that write and read as themselves. Since nothing passes whose
 * checksum is wrong, the first byte says whether one is put in place. */
#include <stdlib.h>

#include "base/panic.h"
#include "engine/digest_cache.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define SUM_BYTES (4 + 2 * DIGEST_BYTES + 1)

static void try_text(struct str text)
{
    struct digest_rows rows, again;
    struct buf b;

    if (digest_cache_parse(text, &rows) != ERR_OK)
        return;
    BUG_ON(rows.n > DIGEST_CACHE_ROWS);
    buf_init(&b, 1 << 20);
    if (digest_cache_write(&rows, &b) == ERR_OK) {
        BUG_ON(b.len != text.len);
        BUG_ON(digest_cache_parse(buf_str(&b), &again) != ERR_OK);
        BUG_ON(again.n != rows.n);
        BUG_ON(memcmp(again.v, rows.v, rows.n * sizeof(rows.v[0])) != 0);
    }
    buf_fini(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char hex[DIGEST_HEX_SIZE];
    struct digest d;
    char *text;

    if (size == 0)
        return 0;
    size--;
    text = malloc(size + 1);
    if (!text)
        return 0;
    memcpy(text, data + 1, size);
    if (data[0] % 2 && size > SUM_BYTES) {
        d = digest_sha256(text, size - SUM_BYTES);
        digest_hex(d.b, DIGEST_BYTES, hex);
        memcpy(text + size - SUM_BYTES, "sum ", 4);
        memcpy(text + size - SUM_BYTES + 4, hex, 2 * DIGEST_BYTES);
        text[size - 1] = '\n';
    }
    try_text(str_of(text, size));
    free(text);
    return 0;
}
