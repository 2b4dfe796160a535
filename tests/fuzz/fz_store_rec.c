/* fz_store_rec.c - Any bytes as a stored record: they are refused, or they
 * decode to something that encodes and decodes to itself again. The first
 * byte chooses the kind of record. */
#include "account/key.h"
#include "base/panic.h"
#include "store/rec.h"
#include "store/row.h"
#include "store/tally.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_frame(struct str bytes)
{
    struct str payload = {NULL, 0};

    if (rec_open(bytes, REC_ROW, 0, &payload) != ERR_OK)
        return;
    BUG_ON(payload.p != bytes.p + REC_HEAD_BYTES);
    BUG_ON(payload.len > bytes.len - REC_HEAD_BYTES);
}

static void try_row(struct str bytes)
{
    uint8_t a[ROW_BYTES_MAX];
    uint8_t b[ROW_BYTES_MAX];
    struct usage_row row;

    if (row_decode(bytes, &row) != ERR_OK)
        return;
    const size_t len = row_encode(&row, a);
    const struct tally_key key = tally_key_of(&row);
    struct tally sum = {0};
    uint8_t name[TALLY_KEY_MAX];
    struct tally_key back;
    BUG_ON(row_decode(str_of(a, len), &row) != ERR_OK);
    BUG_ON(row_encode(&row, b) != len || memcmp(a, b, len) != 0);
    const size_t n = tally_key_encode(&key, name);
    BUG_ON(n > sizeof(name));
    BUG_ON(tally_key_decode(str_of(name, n), &back) != ERR_OK);
    for (unsigned i = 0; i < 3; i++)
        tally_add_row(&sum, &row);
    BUG_ON(sum.requests + sum.legs != 3);
}

static void try_tally(struct str bytes)
{
    uint8_t a[TALLY_BYTES_MAX];
    struct tally t;
    struct tally back;

    if (tally_decode(bytes, &t) != ERR_OK)
        return;
    BUG_ON(tally_decode(str_of(a, tally_encode(&t, a)), &back) != ERR_OK);
    BUG_ON(!tally_is_same(&t, &back));
}

static void try_tally_key(struct str bytes)
{
    uint8_t a[TALLY_KEY_MAX];
    struct tally_key k;

    if (tally_key_decode(bytes, &k) != ERR_OK)
        return;
    BUG_ON(!str_eq(str_of(a, tally_key_encode(&k, a)), bytes));
}

static void try_key(struct str bytes)
{
    struct key *key = NULL;
    struct key *again = NULL;
    struct buf a;
    struct buf b;

    if (key_decode(bytes, &key) != ERR_OK)
        return;
    buf_init(&a, REC_PAYLOAD_MAX);
    buf_init(&b, REC_PAYLOAD_MAX);
    if (key_encode(key, &a) == ERR_OK) {
        BUG_ON(key_decode(buf_str(&a), &again) != ERR_OK);
        BUG_ON(key_encode(again, &b) != ERR_OK);
        BUG_ON(!str_eq(buf_str(&a), buf_str(&b)));
        key_unref(again);
    }
    key_may_use(key, STR("gpt-5"));
    key_unref(key);
    buf_fini(&a);
    buf_fini(&b);
}

static void try_team(struct str bytes)
{
    struct team *team = NULL;
    struct buf a;

    if (team_decode(bytes, &team) != ERR_OK)
        return;
    buf_init(&a, REC_PAYLOAD_MAX);
    if (team_encode(team, &a) == ERR_OK) {
        struct team *again = NULL;

        BUG_ON(team_decode(buf_str(&a), &again) != ERR_OK);
        team_unref(again);
    }
    team_unref(team);
    buf_fini(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void (*const tries[])(struct str) = {
        try_frame, try_row, try_tally, try_tally_key, try_key, try_team};

    if (size > 0)
        tries[data[0] % 6](str_of(data + 1, size - 1));
    return 0;
}
