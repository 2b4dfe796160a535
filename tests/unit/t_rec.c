/* t_rec.c - Frames, rows, counters, keys: what is written is read again, and
 * nothing else is. */
#include "account/key.h"
#include "store/rec.h"
#include "store/row.h"
#include "store/tally.h"

#include "unit/state_dir.h"

static struct usage_row sample_row(void)
{
    return (struct usage_row){
        .id = STR("01hzy3v7k2m4n6p8q0r2s4t6v8"),
        .time_wall_ms = 1795000000123,
        .key_id = STR("key_abc"),
        .team = STR("blue"),
        .endpoint = STR("chat"),
        .model = STR("gpt-5"),
        .target = STR("openai"),
        .target_model = STR("gpt-5-mini"),
        .reason = STR("stop"),
        .finish = STR("length"),
        .status = 200,
        .flags = ROW_STREAM | ROW_ESTIMATED,
        .attempts = 2,
        .usage_source = ROW_SOURCE_UPSTREAM,
        .tok = {1, 2, 3, 4, 5, 6, 7, UINT64_MAX},
        .cost_nusd = -1,
        .ms_total = 99,
        .ms_first_byte = 12,
        .bytes_in = 1000,
        .bytes_out = UINT64_MAX,
        .audio_ms = 77,
        .parent = STR("01hzy3v7k2m4n6p8q0r2s4t6v7"),
        .hold = STR("01hzy3v7k2m4n6p8q0r2s4t6v9"),
        .cache = ROW_CACHE_JOINED,
        .saved_input_tok = 11,
        .saved_output_tok = UINT64_MAX,
        .saved_nusd = 13,
    };
}

static void assert_str(struct str a, struct str b)
{
    assert_int_equal(a.len, b.len);
    assert_memory_equal(a.p, b.p, a.len);
}

static void frame_round_trip(void **state)
{
    uint8_t frame[REC_HEAD_BYTES + 5];
    struct str payload;

    (void)state;
    memcpy(frame + REC_HEAD_BYTES, "hello", 5);
    rec_seal(frame, REC_KEY, 5, 42);
    assert_int_equal(
        rec_open(str_of(frame, sizeof(frame)), REC_KEY, 42, &payload), ERR_OK);
    assert_str(payload, STR("hello"));
}

static void frame_refuses_each_flipped_bit(void **state)
{
    uint8_t frame[REC_HEAD_BYTES + 5];
    struct str payload;

    (void)state;
    memcpy(frame + REC_HEAD_BYTES, "hello", 5);
    rec_seal(frame, REC_KEY, 5, 42);
    for (size_t bit = 0; bit < 8 * sizeof(frame); bit++) {
        frame[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_equal(
            rec_open(str_of(frame, sizeof(frame)), REC_KEY, 42, &payload),
            ERR_CORRUPT);
        frame[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}

static void frame_refuses_each_shorter_length(void **state)
{
    uint8_t frame[REC_HEAD_BYTES + 5];
    struct str payload;

    (void)state;
    memcpy(frame + REC_HEAD_BYTES, "hello", 5);
    rec_seal(frame, REC_KEY, 5, 42);
    for (size_t n = 0; n < sizeof(frame); n++)
        assert_int_equal(rec_open(str_of(frame, n), REC_KEY, 42, &payload),
                         ERR_CORRUPT);
}

static void frame_belongs_to_its_place(void **state)
{
    uint8_t frame[REC_HEAD_BYTES];
    struct str payload;

    (void)state;
    rec_seal(frame, REC_KEY, 0, rec_seed(1, STR("a")));
    assert_int_equal(rec_open(str_of(frame, sizeof(frame)), REC_KEY,
                              rec_seed(1, STR("b")), &payload),
                     ERR_CORRUPT);
    assert_int_equal(rec_open(str_of(frame, sizeof(frame)), REC_KEY,
                              rec_seed(2, STR("a")), &payload),
                     ERR_CORRUPT);
    assert_int_equal(rec_open(str_of(frame, sizeof(frame)), REC_TEAM,
                              rec_seed(1, STR("a")), &payload),
                     ERR_CORRUPT);
}

static void row_round_trip(void **state)
{
    const struct usage_row row = sample_row();
    uint8_t bytes[ROW_BYTES_MAX];
    struct usage_row back;

    (void)state;
    const size_t len = row_encode(&row, bytes);
    assert_int_equal(row_decode(str_of(bytes, len), &back), ERR_OK);
    assert_str(back.id, row.id);
    assert_true(back.time_wall_ms == row.time_wall_ms);
    assert_str(back.key_id, row.key_id);
    assert_str(back.team, row.team);
    assert_str(back.endpoint, row.endpoint);
    assert_str(back.model, row.model);
    assert_str(back.target, row.target);
    assert_str(back.target_model, row.target_model);
    assert_str(back.reason, row.reason);
    assert_str(back.finish, row.finish);
    assert_int_equal(back.status, row.status);
    assert_int_equal(back.flags, row.flags);
    assert_int_equal(back.attempts, row.attempts);
    assert_int_equal(back.usage_source, row.usage_source);
    assert_memory_equal(back.tok, row.tok, sizeof(row.tok));
    assert_true(back.cost_nusd == row.cost_nusd);
    assert_int_equal(back.ms_total, row.ms_total);
    assert_int_equal(back.ms_first_byte, row.ms_first_byte);
    assert_true(back.bytes_in == row.bytes_in);
    assert_true(back.bytes_out == row.bytes_out);
    assert_true(back.audio_ms == row.audio_ms);
    assert_str(back.parent, row.parent);
    assert_str(back.hold, row.hold);
    assert_str(row_hold_id(&back), row.hold);
    assert_int_equal(back.cache, row.cache);
    assert_true(back.saved_input_tok == row.saved_input_tok);
    assert_true(back.saved_output_tok == row.saved_output_tok);
    assert_true(back.saved_nusd == row.saved_nusd);
}

static void row_of_a_newer_version_is_read(void **state)
{
    const struct usage_row row = sample_row();
    uint8_t bytes[ROW_BYTES_MAX + 16];
    struct usage_row back;

    (void)state;
    const size_t len = row_encode(&row, bytes);
    memset(bytes + len, 0xff, 16);
    assert_int_equal(row_decode(str_of(bytes, len + 16), &back), ERR_OK);
    assert_true(back.audio_ms == row.audio_ms);
}

static void row_cut_anywhere_is_refused(void **state)
{
    const struct usage_row row = sample_row();
    uint8_t bytes[ROW_BYTES_MAX];
    struct usage_row back;

    (void)state;
    const size_t len = row_encode(&row, bytes);
    const size_t cache = 1 + 3 * 8;
    const size_t ids = 2 * (2 + ROW_ID_LEN) + cache;
    for (size_t n = 0; n < len; n++) {
        uint8_t *cut = malloc(n + 1); /* so that a sanitizer sees the end */

        memcpy(cut, bytes, n);
        /* where the time of budgets, the ids of legs or what the cache saved
         * would begin, it is an older row */
        const bool is_old =
            n == len - cache || n == len - ids || n == len - ids - 8;

        assert_int_equal(row_decode(str_of(cut, n), &back),
                         is_old ? ERR_OK : ERR_CORRUPT);
        if (n == len - ids - 8)
            assert_true(back.budget_ms == row.time_wall_ms);
        if (n == len - ids)
            assert_int_equal(back.parent.len + back.hold.len, 0);
        if (n == len - cache)
            assert_int_equal(back.cache, ROW_CACHE_NONE);
        free(cut);
    }
}

static void longest_row_fits(void **state)
{
    char big[4096];
    uint8_t bytes[ROW_BYTES_MAX];
    struct usage_row row = sample_row();
    struct usage_row back;
    const struct str s = str_of(big, sizeof(big));

    (void)state;
    memset(big, 'x', sizeof(big));
    row.key_id = row.team = row.endpoint = row.model = s;
    row.target = row.target_model = row.reason = row.finish = s;
    const size_t len = row_encode(&row, bytes);
    assert_true(len <= sizeof(bytes));
    assert_int_equal(row_decode(str_of(bytes, len), &back), ERR_OK);
    assert_int_equal(back.model.len, ROW_MODEL_MAX);
    assert_int_equal(back.target.len, ROW_TARGET_MAX);
    assert_int_equal(back.reason.len, ROW_REASON_MAX);
}

static void counter_round_trip(void **state)
{
    struct usage_row row = sample_row();
    const struct tally_key k = tally_key_of(&row);
    uint8_t name[TALLY_KEY_MAX];
    uint8_t bytes[TALLY_BYTES_MAX];
    struct tally_key back;
    struct tally sum = {0};
    struct tally read;

    (void)state;
    const size_t n = tally_key_encode(&k, name);
    assert_int_equal(tally_key_decode(str_of(name, n), &back), ERR_OK);
    assert_int_equal(back.day, 1795000000123 / TALLY_DAY_MS);
    assert_str(back.team, STR("blue"));
    assert_str(back.target_model, STR("gpt-5-mini"));
    for (size_t i = 0; i < n; i++)
        assert_int_equal(tally_key_decode(str_of(name, i), &back), ERR_CORRUPT);
    tally_add_row(&sum, &row);
    tally_add_row(&sum, &row);
    const size_t len = tally_encode(&sum, bytes);
    assert_int_equal(tally_decode(str_of(bytes, len), &read), ERR_OK);
    assert_true(tally_is_same(&sum, &read));
    assert_int_equal(read.requests, 2);
    assert_true(read.tok[ROW_TOK_AUDIO_OUT] == UINT64_MAX); /* saturates */
    assert_int_equal(read.joined, 2);
    assert_int_equal(read.hits + read.misses, 0);
    assert_int_equal(read.saved_input_tok, 22);
    assert_true(read.saved_output_tok == UINT64_MAX);
    assert_int_equal(read.saved_nusd, 26);
    /* before there was a cache the record ended 48 bytes earlier, before there
     * were legs 8 more, and before there were prices 16 more */
    for (size_t i = 0; i < len; i++)
        assert_int_equal(tally_decode(str_of(bytes, i), &read),
                         i == len - 48 || i == len - 56 || i == len - 72
                             ? ERR_OK
                             : ERR_CORRUPT);
    row.flags |= ROW_LEG;
    tally_add_row(&sum, &row);
    assert_int_equal(sum.requests, 2);
    assert_int_equal(sum.legs, 1);
    assert_int_equal(sum.estimated, 3);
}

static void counter_keys_sort_by_day(void **state)
{
    struct usage_row row = sample_row();
    uint8_t a[TALLY_KEY_MAX];
    uint8_t b[TALLY_KEY_MAX];

    (void)state;
    row.time_wall_ms = 255LL * TALLY_DAY_MS;
    struct tally_key k = tally_key_of(&row);
    tally_key_encode(&k, a);
    row.time_wall_ms = 256LL * TALLY_DAY_MS;
    k = tally_key_of(&row);
    tally_key_encode(&k, b);
    assert_true(memcmp(a, b, 4) < 0);
}

static void models_nobody_serves_share_a_counter(void **state)
{
    struct usage_row row = sample_row();

    (void)state;
    memset(row.tok, 0, sizeof(row.tok));
    row.status = 404;
    assert_int_equal(tally_key_of(&row).model.len, 0);
    row.status = 502;
    assert_str(tally_key_of(&row).model, STR("gpt-5"));
}

static void tally_map_keeps_names_apart(void **state)
{
    struct tally_map m = {0};
    size_t seen = 0;
    char name[16];

    (void)state;
    for (unsigned i = 0; i < 5000; i++) {
        const int n = snprintf(name, sizeof(name), "n%u", i % 1000);
        struct tally *t = tally_map_at(&m, str_of(name, (size_t)n));

        assert_non_null(t);
        t->requests++;
    }
    assert_int_equal(m.n, 1000);
    for (const struct tally_item *it = tally_map_next(&m, NULL); it;
         it = tally_map_next(&m, it)) {
        assert_int_equal(it->sum.requests, 5);
        seen++;
    }
    assert_int_equal(seen, 1000);
    tally_map_fini(&m);
    assert_null(tally_map_next(&m, NULL));
}

static struct key sample_key(struct str models[2], struct budget_spec *budget,
                             struct key_meta *meta)
{
    models[0] = STR("gpt-*");
    models[1] = STR("o4");
    *budget = (struct budget_spec){
        .amount = 5, .unit = BUDGET_NUSD, .window = BUDGET_DAY, .soft = true};
    *meta = (struct key_meta){.name = STR("owner"), .value = STR("me")};
    return (struct key){
        .id = STR("key_1"),
        .spec = {.name = STR("ci"),
                 .team = STR("blue"),
                 .models = models,
                 .n_models = 2,
                 .budgets = budget,
                 .n_budgets = 1,
                 .meta = meta,
                 .n_meta = 1,
                 .limits = {1, 2, 3},
                 .expires_wall_ms = 9,
                 .blocked = true},
        .created_wall_ms = 7,
        .digest = {1, 2},
        .old_digest = {3, 4},
        .old_until_wall_ms = 11,
    };
}

static void key_round_trip(void **state)
{
    struct str models[2];
    struct budget_spec budget;
    struct key_meta meta;
    const struct key k = sample_key(models, &budget, &meta);
    struct key *back = NULL;
    struct buf b;

    (void)state;
    buf_init(&b, REC_PAYLOAD_MAX);
    assert_int_equal(key_encode(&k, &b), ERR_OK);
    for (size_t n = 0; n < b.len; n++)
        assert_int_equal(key_decode(str_of(b.p, n), &back), ERR_CORRUPT);
    assert_int_equal(key_decode(buf_str(&b), &back), ERR_OK);
    assert_str(back->id, STR("key_1"));
    assert_str(back->spec.name, STR("ci"));
    assert_str(back->spec.models[1], STR("o4"));
    assert_str(back->spec.meta[0].value, STR("me"));
    assert_true(back->spec.budgets[0].soft);
    assert_int_equal(back->spec.budgets[0].unit, BUDGET_NUSD);
    assert_int_equal(back->spec.limits.parallel, 3);
    assert_true(back->spec.blocked);
    assert_memory_equal(back->digest, k.digest, KEY_DIGEST_LEN);
    assert_memory_equal(back->old_digest, k.old_digest, KEY_DIGEST_LEN);
    assert_true(back->old_until_wall_ms == 11);
    assert_true(key_may_use(back, STR("gpt-5")));
    assert_false(key_may_use(back, STR("claude")));
    key_unref(back);
    buf_fini(&b);
}

static void longest_key_can_be_stored(void **state)
{
    static char text[256];
    struct str models[KEY_LIST_MAX];
    struct budget_spec budgets[KEY_LIST_MAX] = {0};
    struct key_meta meta[KEY_LIST_MAX];
    struct buf b;
    struct key *back = NULL;

    (void)state;
    memset(text, 'm', sizeof(text));
    for (size_t i = 0; i < KEY_LIST_MAX; i++) {
        models[i] = str_of(text, 128);
        meta[i] =
            (struct key_meta){str_of(text, 64), str_of(text, sizeof(text))};
    }
    const struct key k = {.id = str_of(text, KEY_ID_MAX),
                          .spec = {.name = str_of(text, KEY_NAME_MAX),
                                   .team = str_of(text, KEY_NAME_MAX),
                                   .models = models,
                                   .n_models = KEY_LIST_MAX,
                                   .budgets = budgets,
                                   .n_budgets = KEY_LIST_MAX,
                                   .meta = meta,
                                   .n_meta = KEY_LIST_MAX}};
    buf_init(&b, REC_PAYLOAD_MAX);
    assert_int_equal(key_spec_check(&k.spec, &b), ERR_OK);
    assert_int_equal(key_encode(&k, &b), ERR_OK);
    assert_int_equal(key_decode(buf_str(&b), &back), ERR_OK);
    key_unref(back);
    buf_fini(&b);
}

static void names_that_are_refused(void **state)
{
    static const char *const bad[] = {
        "",
        " a",
        "a ",
        "key_x",
        "sk-abc",
        "a\n",
        "anonymous",
        "\xff\xfe",
        "a\x7f",
        ("12345678901234567890123456789012345678901234567890"
         "123456789012345")};
    struct buf why;

    (void)state;
    buf_init(&why, 512);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        const struct key_spec spec = {.name = str_from(bad[i])};

        buf_clear(&why);
        assert_int_equal(key_spec_check(&spec, &why), ERR_BAD_PARAM);
        assert_true(why.len > 0);
    }
    buf_fini(&why);
}

static void secrets_have_their_form(void **state)
{
    char a[KEY_SECRET_LEN + 1];
    char b[KEY_SECRET_LEN + 1];

    (void)state;
    key_secret_make(a);
    key_secret_make(b);
    assert_int_equal(strlen(a), KEY_SECRET_LEN);
    assert_memory_equal(a, KEY_SECRET_PREFIX, 6);
    assert_string_not_equal(a, b);
    assert_int_equal(strspn(a + 6, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                   "abcdefghijklmnopqrstuvwxyz"),
                     KEY_SECRET_LEN - 6);
}

/* A text, what it means, and its canonical form. */
static void budget_specs_that_are_read(void **state)
{
    static const struct {
        const char *text;
        struct budget_spec spec;
        const char *canonical;
    } t[] = {
        {"500k-tokens/day",
         {500000, BUDGET_TOKENS, BUDGET_DAY, false},
         "500k-tokens/day"},
        {"2M-input-tokens/month",
         {2000000, BUDGET_INPUT_TOKENS, BUDGET_MONTH, false},
         "2M-input-tokens/month"},
        {"1M-output-tokens/hour",
         {1000000, BUDGET_OUTPUT_TOKENS, BUDGET_HOUR, false},
         "1M-output-tokens/hour"},
        {"$25/total",
         {25000000000, BUDGET_NUSD, BUDGET_TOTAL, false},
         "$25/total"},
        {"$0.50/week",
         {500000000, BUDGET_NUSD, BUDGET_WEEK, false},
         "$0.5/week"},
        {"$0.000000001/minute",
         {1, BUDGET_NUSD, BUDGET_MINUTE, false},
         "$0.000000001/minute"},
        {"$1.5k/day",
         {1500000000000, BUDGET_NUSD, BUDGET_DAY, false},
         "$1500/day"},
        {"1.5k-tokens/day",
         {1500, BUDGET_TOKENS, BUDGET_DAY, false},
         "1500-tokens/day"},
        {"1.000-tokens/day",
         {1, BUDGET_TOKENS, BUDGET_DAY, false},
         "1-tokens/day"},
        {"0-tokens/day", {0, BUDGET_TOKENS, BUDGET_DAY, false}, "0-tokens/day"},
        {"9223372036854775807-tokens/total",
         {INT64_MAX, BUDGET_TOKENS, BUDGET_TOTAL, false},
         "9223372036854775807-tokens/total"},
        {"$9223372036.854775807/total",
         {INT64_MAX, BUDGET_NUSD, BUDGET_TOTAL, false},
         "$9223372036.854775807/total"},
    };
    struct buf b;

    (void)state;
    buf_init(&b, 256);
    for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
        struct budget_spec s;

        assert_int_equal(budget_spec_parse(str_from(t[i].text), &s), ERR_OK);
        assert_true(s.amount == t[i].spec.amount);
        assert_int_equal(s.unit, t[i].spec.unit);
        assert_int_equal(s.window, t[i].spec.window);
        buf_clear(&b);
        assert_int_equal(budget_spec_print(&s, &b), ERR_OK);
        assert_str(buf_str(&b), str_from(t[i].canonical));
    }
    buf_fini(&b);
}

static void budget_specs_that_are_refused(void **state)
{
    static const struct {
        const char *text;
        enum err err;
    } t[] = {
        {"", ERR_SYNTAX},
        {"/day", ERR_SYNTAX},
        {"500k-tokens", ERR_SYNTAX},
        {"500k-tokens/", ERR_SYNTAX},
        {"500k-tokens/year", ERR_SYNTAX},
        {"500k-tokens/day/day", ERR_SYNTAX},
        {"500k/day", ERR_SYNTAX},
        {"500 k-tokens/day", ERR_SYNTAX},
        {"500T-tokens/day", ERR_SYNTAX},
        {"-5-tokens/day", ERR_SYNTAX},
        {"+5-tokens/day", ERR_SYNTAX},
        {"1.-tokens/day", ERR_SYNTAX},
        {".5k-tokens/day", ERR_SYNTAX},
        {"1e6-tokens/day", ERR_SYNTAX},
        {"0x10-tokens/day", ERR_SYNTAX},
        {"$/day", ERR_SYNTAX},
        {"$25-tokens/day", ERR_SYNTAX},
        {"25$/day", ERR_SYNTAX},
        {"$25 /day", ERR_SYNTAX},
        {"1.5-tokens/day", ERR_RANGE},
        {"1.0005k-tokens/day", ERR_RANGE},
        {"$0.0000000001/day", ERR_RANGE},
        {"9223372036854775808-tokens/day", ERR_RANGE},
        {"9223372036854776k-tokens/day", ERR_RANGE},
        {"99999999999999999999-tokens/day", ERR_RANGE},
        {"$9223372036.854775808/day", ERR_RANGE},
        {"9223372037G-tokens/day", ERR_RANGE},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
        struct budget_spec s = {.amount = 77};
        const enum err err = budget_spec_parse(str_from(t[i].text), &s);

        if (err != t[i].err)
            fail_msg("%s: %s", t[i].text, err_name(err));
        assert_true(s.amount == 77);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frame_round_trip),
        cmocka_unit_test(frame_refuses_each_flipped_bit),
        cmocka_unit_test(frame_refuses_each_shorter_length),
        cmocka_unit_test(frame_belongs_to_its_place),
        cmocka_unit_test(row_round_trip),
        cmocka_unit_test(row_of_a_newer_version_is_read),
        cmocka_unit_test(row_cut_anywhere_is_refused),
        cmocka_unit_test(longest_row_fits),
        cmocka_unit_test(counter_round_trip),
        cmocka_unit_test(counter_keys_sort_by_day),
        cmocka_unit_test(models_nobody_serves_share_a_counter),
        cmocka_unit_test(tally_map_keeps_names_apart),
        cmocka_unit_test(key_round_trip),
        cmocka_unit_test(longest_key_can_be_stored),
        cmocka_unit_test(names_that_are_refused),
        cmocka_unit_test(secrets_have_their_form),
        cmocka_unit_test(budget_specs_that_are_read),
        cmocka_unit_test(budget_specs_that_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
