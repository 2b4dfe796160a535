/* t_gguf.c - The container: every type of value, and every kind of damage. */
#include "engine/gguf.h"

#include <inttypes.h>
#include <stdlib.h>

#include "lib/ggufw.h"
#include "unit/cmocka_all.h"

/* Parse <len> bytes at <image> in memory of exactly that size, so that a
 * sanitizer sees every step too far. */
static enum err parse_exactly(const char *image, size_t len,
                              struct model_fault *why)
{
    char *copy = malloc(len ? len : 1);
    struct gguf *g = NULL;
    enum err e;

    assert_non_null(copy);
    memcpy(copy, image, len);
    *why = (struct model_fault){""};
    e = gguf_parse(str_of(copy, len), why, &g);
    assert_int_equal(e == ERR_OK, g != NULL);
    assert_int_equal(e != ERR_OK, why->text[0] != '\0');
    gguf_free(g);
    free(copy);
    return e;
}

/* Build <w>, which must be refused with <part> in the sentence; frees <w>. */
static void must_refuse(struct ggufw *w, enum err want, const char *part)
{
    struct model_fault why;
    size_t len;
    char *image = ggufw_build(w, NULL, NULL, &len);
    enum err e = parse_exactly(image, len, &why);

    if (!strstr(why.text, part))
        fail_msg("'%s' is not in '%s'", part, why.text);
    assert_int_equal(e, want);
    free(image);
    ggufw_free(w);
}

/* A file with a little of all. */
static struct ggufw *mixed(void)
{
    const struct str words[] = {STR("a"), STR(""), STR("ccc")};
    const int32_t ints[] = {1, -2, 3};
    struct ggufw *w = ggufw_new(3);

    ggufw_str(w, "s", "text");
    ggufw_u32(w, "u32", 4000000000u);
    ggufw_f32(w, "f32", 0.5f);
    ggufw_bool(w, "yes", true);
    ggufw_strs(w, "words", words, COUNT_OF(words));
    ggufw_i32s(w, "ints", ints, COUNT_OF(ints));
    ggufw_raw(w, "u8", GGUF_U8, STR("\xff"));
    ggufw_raw(w, "i8", GGUF_I8, STR("\xff"));
    ggufw_raw(w, "u16", GGUF_U16, STR("\x34\x12"));
    ggufw_raw(w, "i16", GGUF_I16, STR("\xfe\xff"));
    ggufw_raw(w, "i32", GGUF_I32, STR("\xfd\xff\xff\xff"));
    ggufw_raw(w, "u64", GGUF_U64, STR("\1\0\0\0\0\0\0\x80"));
    ggufw_raw(w, "i64", GGUF_I64, STR("\xfc\xff\xff\xff\xff\xff\xff\xff"));
    ggufw_raw(w, "f64", GGUF_F64, STR("\0\0\0\0\0\0\xf8\x3f"));
    /* Two arrays: of two u16, and of an empty array of arrays. */
    ggufw_raw(w, "nested", GGUF_ARRAY,
              STR("\x09\0\0\0\2\0\0\0\0\0\0\0"
                  "\x02\0\0\0\2\0\0\0\0\0\0\0\1\0\2\0"
                  "\x09\0\0\0\0\0\0\0\0\0\0\0"));
    ggufw_tensor(w, "b", KRN_F16, 3, 5);
    ggufw_tensor(w, "a", KRN_F32, 0, 7);
    ggufw_tensor(w, "c", KRN_Q8_0, 2, 64);
    return w;
}

static double number(const struct gguf *g, const char *key)
{
    const struct gguf_value *v = gguf_find(g, str_from(key));
    double d = 0;

    assert_non_null(v);
    assert_true(gguf_as_f64(v, &d));
    return d;
}

static void check_mixed(const struct gguf *g)
{
    struct str words[3], s;
    const struct gguf_value *v;
    struct gguf_value item;
    uint64_t u;
    bool yes;

    assert_true(gguf_as_str(gguf_find(g, STR("s")), &s));
    assert_true(str_eq(s, STR("text")));
    assert_true(gguf_as_bool(gguf_find(g, STR("yes")), &yes) && yes);
    assert_true(number(g, "u32") == 4000000000.0);
    assert_true(number(g, "f32") == 0.5);
    assert_true(number(g, "u8") == 255);
    assert_true(number(g, "i8") == -1);
    assert_true(number(g, "u16") == 0x1234);
    assert_true(number(g, "i16") == -2);
    assert_true(number(g, "i32") == -3);
    assert_true(number(g, "i64") == -4);
    assert_true(number(g, "f64") == 1.5);
    assert_true(gguf_as_u64(gguf_find(g, STR("u64")), &u));
    assert_true(u == 0x8000000000000001u);
    assert_false(gguf_as_u64(gguf_find(g, STR("i8")), &u));
    assert_false(gguf_as_u64(gguf_find(g, STR("f32")), &u));
    assert_false(gguf_as_str(gguf_find(g, STR("u8")), &s));
    assert_false(gguf_as_bool(gguf_find(g, STR("u8")), &yes));
    v = gguf_find(g, STR("words"));
    assert_int_equal(v->n, 3);
    assert_true(gguf_strings(v, words));
    assert_true(str_eq(words[0], STR("a")));
    assert_int_equal(words[1].len, 0);
    assert_true(str_eq(words[2], STR("ccc")));
    v = gguf_find(g, STR("ints"));
    assert_false(gguf_strings(v, words));
    item = gguf_item(v, 2);
    assert_true(gguf_as_u64(&item, &u) && u == 3);
    v = gguf_find(g, STR("nested"));
    assert_int_equal(v->item, GGUF_ARRAY);
    assert_int_equal(v->n, 2);
    assert_null(gguf_find(g, STR("none")));
    assert_null(gguf_find(g, STR("")));
}

static const struct gguf_tensor *tensor_called(const struct gguf *g,
                                               struct str name)
{
    for (size_t i = 0; i < g->n_tensors; i++)
        if (str_eq(g->tensors[i].name, name))
            return &g->tensors[i];
    return NULL;
}

static void reads_every_type(void **state)
{
    struct model_fault why = {""};
    struct ggufw *w = mixed();
    const struct gguf_tensor *t;
    struct gguf *g;
    size_t len;
    char *image = ggufw_build(w, NULL, NULL, &len);

    (void)state;
    assert_int_equal(gguf_parse(str_of(image, len), &why, &g), ERR_OK);
    check_mixed(g);
    assert_int_equal(g->n_tensors, 3);
    t = tensor_called(g, STR("b"));
    assert_int_equal(t->dims[0], 5);
    assert_int_equal(t->dims[1], 3);
    assert_int_equal(t->dims[2], 1);
    assert_int_equal(t->bytes, 30);
    assert_int_equal(t->dtype, KRN_F16);
    assert_int_equal((size_t)((const char *)t->data - image) % 32, 0);
    t = tensor_called(g, STR("c"));
    assert_int_equal(t->bytes, 2 * 2 * 34);
    assert_null(tensor_called(g, STR("d")));
    gguf_free(g);
    free(image);
    ggufw_free(w);
}

static void refuses_every_truncation(void **state)
{
    struct model_fault why;
    struct ggufw *w = mixed();
    size_t len, whole;
    char *image = ggufw_build(w, NULL, NULL, &len);

    (void)state;
    /* Behind the last tensor there is but padding. */
    whole = len - (-(size_t)136 & 31);
    assert_int_equal(parse_exactly(image, len, &why), ERR_OK);
    assert_int_equal(parse_exactly(image, whole, &why), ERR_OK);
    for (size_t n = 0; n < whole; n++)
        assert_int_equal(parse_exactly(image, n, &why), ERR_SYNTAX);
    free(image);
    ggufw_free(w);
}

static void survives_every_changed_byte(void **state)
{
    static const unsigned char flips[] = {0x01, 0x80, 0xff, 0x7f, 0x10};
    struct model_fault why;
    struct ggufw *w = mixed();
    size_t len, refused = 0;
    char *image = ggufw_build(w, NULL, NULL, &len);

    (void)state;
    for (size_t at = 0; at < len; at++) {
        for (size_t k = 0; k < sizeof(flips); k++) {
            image[at] = (char)(image[at] ^ flips[k]);
            refused += parse_exactly(image, len, &why) != ERR_OK;
            image[at] = (char)(image[at] ^ flips[k]);
        }
    }
    assert_true(refused > 500);
    free(image);
    ggufw_free(w);
}

/* Set <len> bytes at <at> of a fresh file to <v>; it must be refused. */
static void poke(size_t at, uint64_t v, size_t len, enum err want,
                 const char *part)
{
    struct model_fault why;
    struct ggufw *w = mixed();
    size_t n;
    char *image = ggufw_build(w, NULL, NULL, &n);
    enum err e;

    memcpy(image + at, &v, len);
    e = parse_exactly(image, n, &why);
    if (!strstr(why.text, part))
        fail_msg("'%s' is not in '%s'", part, why.text);
    assert_int_equal(e, want);
    free(image);
    ggufw_free(w);
}

static void refuses_other_versions(void **state)
{
    (void)state;
    poke(0, 0x47475547, 4, ERR_SYNTAX, "this is not a GGUF file");
    poke(4, 0, 4, ERR_REFUSED, "version 0 is not supported; supported: 2, 3");
    poke(4, 1, 4, ERR_REFUSED, "version 1 is not supported; supported: 2, 3");
    poke(4, 4, 4, ERR_REFUSED, "version 4 is not supported");
    poke(4, 0x03000000, 4, ERR_REFUSED, "big-endian GGUF is not supported");
}

static void refuses_impossible_counts(void **state)
{
    static const uint64_t counts[] = {
        1000,       1u << 20,           (uint64_t)1 << 32, (uint64_t)1 << 61,
        UINT64_MAX, UINT64_MAX / 2 + 1, UINT64_MAX / 32,
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(counts); i++) {
        poke(8, counts[i], 8, ERR_SYNTAX, "tensors cannot be in this file");
        poke(16, counts[i], 8, ERR_SYNTAX, "pairs cannot be in this file");
        poke(24, counts[i], 8, ERR_SYNTAX, "metadata key 0 is cut off");
    }
    poke(24, 0, 8, ERR_SYNTAX, "metadata key 0 has a length of 0");
    poke(33, 13, 4, ERR_SYNTAX, "has no known type");
    poke(33, UINT32_MAX, 4, ERR_SYNTAX, "has no known type");
}

/* An array <head> in a file of its own. */
static void refuse_array(struct str head)
{
    struct ggufw *w = ggufw_new(3);

    ggufw_raw(w, "x", GGUF_ARRAY, head);
    must_refuse(w, ERR_SYNTAX, "metadata 'x' (array) is damaged or cut off");
}

static void refuses_impossible_arrays(void **state)
{
    char deep[12 * 64];

    (void)state;
    refuse_array(STR("\x04\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff"));
    refuse_array(STR("\x0a\0\0\0\0\0\0\0\0\0\0\x20"));
    refuse_array(STR("\x08\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff"));
    refuse_array(STR("\x08\0\0\0\1\0\0\0\0\0\0\0"
                     "\xff\xff\xff\xff\xff\xff\xff\xff"));
    refuse_array(STR("\x09\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff"));
    refuse_array(STR("\x0d\0\0\0\1\0\0\0\0\0\0\0\1"));
    refuse_array(STR("\xff\xff\xff\xff\0\0\0\0\0\0\0\0"));
    for (size_t i = 0; i < sizeof(deep); i += 12)
        memcpy(deep + i, "\x09\0\0\0\1\0\0\0\0\0\0\0", 12);
    refuse_array(str_of(deep, sizeof(deep)));
}

static void refuses_booleans_that_are_none(void **state)
{
    struct ggufw *w = ggufw_new(3);

    (void)state;
    ggufw_raw(w, "x", GGUF_BOOL, STR("\2"));
    must_refuse(w, ERR_SYNTAX, "metadata 'x' (bool) is damaged");
}

static void refuses_doubles(void **state)
{
    struct ggufw *w = mixed();

    (void)state;
    ggufw_u32(w, "u32", 1);
    must_refuse(w, ERR_SYNTAX, "metadata 'u32' is there twice");
    w = mixed();
    ggufw_tensor(w, "c", KRN_F32, 0, 1);
    must_refuse(w, ERR_SYNTAX, "tensor 'c' is there twice");
}

static void checks_the_alignment(void **state)
{
    static const uint32_t bad[] = {0, 3, 33, UINT32_MAX};
    struct model_fault why;
    struct ggufw *w;
    size_t len;
    char *image;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        w = mixed();
        ggufw_u32(w, "general.alignment", bad[i]);
        must_refuse(w, ERR_SYNTAX, "general.alignment is not a power of two");
    }
    w = mixed();
    ggufw_str(w, "general.alignment", "32");
    must_refuse(w, ERR_SYNTAX, "general.alignment is not a power of two");
    w = mixed();
    ggufw_u32(w, "general.alignment", 64);
    must_refuse(w, ERR_SYNTAX, "is not aligned to 64");
    w = mixed();
    ggufw_u32(w, "general.alignment", 0x80000000u);
    must_refuse(w, ERR_SYNTAX, "reaches beyond the end");
    w = mixed();
    ggufw_u32(w, "general.alignment", 16);
    image = ggufw_build(w, NULL, NULL, &len);
    assert_int_equal(parse_exactly(image, len, &why), ERR_OK);
    free(image);
    ggufw_free(w);
}

/* What is done to tensor 2, "c", 64 x 2 of Q8_0, and what must be said. */
struct harm {
    unsigned n_dims;
    uint64_t dims[3];
    uint32_t type;
    uint64_t offset;
    const char *part;
};

static void refuses_damaged_tensors(void **state)
{
    const uint32_t q8 = ggufw_type(KRN_Q8_0);
    const struct harm rows[] = {
        {0, {64, 2, 1}, q8, 64, "no sound number of dimensions"},
        {5, {64, 2, 1}, q8, 64, "no sound number of dimensions"},
        {2, {0, 2, 1}, q8, 64, "no sound dimension 0"},
        {2, {64, 0, 1}, q8, 64, "no sound dimension 1"},
        {2, {63, 2, 1}, q8, 64, "impossible shape for type Q8_0"},
        {3, {64, UINT64_MAX, 2}, q8, 64, "impossible shape for type Q8_0"},
        {3, {32, 1ull << 32, 1ull << 32}, q8, 64, "impossible shape"},
        {2, {64, 1ull << 57, 1}, q8, 64, "impossible shape"},
        {2, {64, 1ull << 50, 1}, q8, 64, "reaches beyond the end"},
        {2, {64, 4, 1}, q8, 64, "reaches beyond the end"},
        {2, {64, 2, 1}, q8, 65, "is not aligned to 32"},
        {2, {64, 2, 1}, q8, 32, "overlap"},
        {2, {64, 2, 1}, q8, 0, "overlap"},
        {2, {64, 2, 1}, q8, 1ull << 40, "reaches beyond the end"},
        {2, {64, 2, 1}, q8, ~31ull, "reaches beyond the end"},
        {2, {64, 2, 1}, 4, 64, "has the unknown type 4"},
        {2, {64, 2, 1}, 9999, 64, "has the unknown type 9999"},
    };
    struct ggufw_tensor *t;
    struct ggufw *w;
    unsigned n;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        w = mixed();
        t = &ggufw_tensors(w, &n)[2];
        t->n_dims = rows[i].n_dims;
        memcpy(t->dims, rows[i].dims, sizeof(rows[i].dims));
        t->type = rows[i].type;
        t->offset = rows[i].offset;
        must_refuse(w, ERR_SYNTAX, rows[i].part);
    }
}

static void knows_types_by_name(void **state)
{
    const struct gguf_tensor *t;
    struct model_fault why = {""};
    struct ggufw *w = mixed();
    struct gguf *g;
    unsigned n;
    size_t len;
    char *image;

    (void)state;
    ggufw_tensors(w, &n)[2].type = 39;
    image = ggufw_build(w, NULL, NULL, &len);
    assert_int_equal(gguf_parse(str_of(image, len), &why, &g), ERR_OK);
    t = tensor_called(g, STR("c"));
    assert_int_equal(t->dtype, KRN_DTYPE_COUNT);
    assert_null(t->data);
    assert_string_equal(gguf_tensor_type_name(t->type), "MXFP4");
    gguf_free(g);
    free(image);
    ggufw_free(w);
    assert_string_equal(gguf_tensor_type_name(3), "Q4_1");
    assert_string_equal(gguf_tensor_type_name(16), "IQ2_XXS");
    assert_null(gguf_tensor_type_name(UINT32_MAX));
    for (unsigned d = 0; d < KRN_DTYPE_COUNT; d++)
        assert_string_equal(
            gguf_tensor_type_name(ggufw_type((enum krn_dtype)d)),
            krn_dtype_name((enum krn_dtype)d));
    assert_int_equal(ggufw_type(KRN_Q4_0), 2);
    assert_int_equal(ggufw_type(KRN_Q8_0), 8);
    assert_int_equal(ggufw_type(KRN_Q4_K), 12);
    assert_int_equal(ggufw_type(KRN_Q5_K), 13);
    assert_int_equal(ggufw_type(KRN_Q6_K), 14);
    assert_int_equal(ggufw_type(KRN_BF16), 30);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_every_type),
        cmocka_unit_test(refuses_every_truncation),
        cmocka_unit_test(survives_every_changed_byte),
        cmocka_unit_test(refuses_other_versions),
        cmocka_unit_test(refuses_impossible_counts),
        cmocka_unit_test(refuses_impossible_arrays),
        cmocka_unit_test(refuses_booleans_that_are_none),
        cmocka_unit_test(refuses_doubles),
        cmocka_unit_test(checks_the_alignment),
        cmocka_unit_test(refuses_damaged_tensors),
        cmocka_unit_test(knows_types_by_name),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
