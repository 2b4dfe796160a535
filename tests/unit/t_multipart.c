/* t_multipart.c - The `model` part of form data: found in any cutting, and
 * everything refused that servers read in different ways. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "wire/multipart.h"

#define CT    "multipart/form-data; boundary=xyz"
#define D     "--xyz\r\n"
#define E     "\r\n--xyz\r\n"
#define END   "\r\n--xyz--\r\n"
#define CD    "Content-Disposition: form-data; "
#define MODEL CD "name=\"model\"\r\n\r\n"
#define FILE_H                                                                 \
    CD "name=\"file\"; filename=\"a;\\\"b.wav\"\r\n"                           \
       "Content-Type: audio/wav\r\n\r\n"

static void boundaries_are_read_from_content_type(void **state)
{
    static const struct {
        const char *type, *boundary; /* NULL: refused */
    } rows[] = {
        {"multipart/form-data; boundary=abc", "abc"},
        {"Multipart/Form-Data;BOUNDARY=abc", "abc"},
        {"multipart/form-data; boundary=\"a b\"", "a b"},
        {"multipart/form-data; boundary=\"a\\bc\"", "abc"},
        {"multipart/form-data; charset=utf-8; boundary=abc; x=\"y;z\"", "abc"},
        {"multipart/form-data; boundary=abc;", "abc"},
        {"multipart/form-data ; boundary=----WebKitFormBoundary7MA4YWxkTrZu",
         "----WebKitFormBoundary7MA4YWxkTrZu"},
        {"multipart/form-data; boundary='()+_,-./:=?", "'()+_,-./:=?"},
        {"multipart/form-data", NULL},
        {"multipart/form-data; boundary=", NULL},
        {"multipart/form-data; boundary=\"\"", NULL},
        {"multipart/form-data; boundary=\"abc", NULL},
        {"multipart/form-data; boundary=\"abc \"", NULL},
        {"multipart/form-data; boundary=a; boundary=b", NULL},
        {"multipart/form-data; boundary=a\"b", NULL},
        {"multipart/form-data; boundary=\"a\rb\"", NULL},
        {"multipart/form-data; boundary=a\xC3\xA9", NULL},
        {"multipart/form-data boundary=abc", NULL},
        {"multipart/form-datax; boundary=abc", NULL},
        {"multipart/mixed; boundary=abc", NULL},
        {"application/json", NULL},
        {"", NULL},
        {"multipart/form-data; boundary="
         "0123456789012345678901234567890123456789012345678901234567890123456"
         "789",
         "0123456789012345678901234567890123456789012345678901234567890123456"
         "789"},
        {"multipart/form-data; boundary="
         "0123456789012345678901234567890123456789012345678901234567890123456"
         "7890",
         NULL},
    };

    (void)state; /* cmocka's */
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct multipart m;
        enum err e = multipart_init(&m, str_from(rows[i].type));
        if ((e == ERR_OK) != (rows[i].boundary != NULL))
            print_error("%s\n", rows[i].type);
        assert_int_equal(e, rows[i].boundary ? ERR_OK : ERR_BAD_REQUEST);
        if (!rows[i].boundary)
            continue;
        assert_true(str_eq(str_of(m.delim + 4, m.delim_len - 4),
                           str_from(rows[i].boundary)));
    }
}

/* A body: which model it names (NULL: none), or how it is refused. */
static const struct {
    const char *name, *body, *model;
    enum err err;
    bool open; /* not closed */
} bodies[] = {
    {"first", D MODEL "whisper-1" E FILE_H "RIFF" END, "whisper-1", ERR_OK, 0},
    {"last", D FILE_H "RIFF" E MODEL "whisper-1" END, "whisper-1", ERR_OK, 0},
    {"unquoted name", D CD "name=model\r\n\r\nm" END, "m", ERR_OK, 0},
    {"odd case",
     D "content-DISPOSITION:Form-Data ; NAME=\"model\" \r\n\r\nm" END, "m",
     ERR_OK, 0},
    {"other headers",
     D "Content-Type: text/plain; charset=utf-8\r\n"
       "Content-Transfer-Encoding: 8bit\r\n" MODEL "m" END,
     "m", ERR_OK, 0},
    {"preamble", "hello\r\n-\r\n--xy\r\n" D MODEL "m" END, "m", ERR_OK, 0},
    {"preamble newline", "\r\n" D MODEL "m" END, "m", ERR_OK, 0},
    {"padding", "--xyz \t\r\n" MODEL "m\r\n--xyz-- \r\n", "m", ERR_OK, 0},
    {"epilogue", D MODEL "m" END "bye\r\n--xy", "m", ERR_OK, 0},
    {"no last newline", D MODEL "m\r\n--xyz--", "m", ERR_OK, 0},
    {"value like the delimiter", D MODEL "\r\n--xy\r\r\n-\r\n--x\r\n" END,
     "\r\n--xy\r\r\n-\r\n--x\r\n", ERR_OK, 0},
    {"value starts like it", D MODEL "--xy" END, "--xy", ERR_OK, 0},
    {"empty value", D MODEL END, "", ERR_OK, 0},
    {"no model", D FILE_H "\r\n\r\n--model" END, NULL, ERR_OK, 0},
    {"no parts", "--xyz--\r\n", NULL, ERR_OK, 0},
    {"other names",
     D CD "name=\"Model\"\r\n\r\na" E CD "name=\"models\"\r\n\r\nb" E CD
          "filename=\"model\"\r\n\r\nc" E "X: y\r\n\r\nd" END,
     NULL, ERR_OK, 0},
    {"escaped name", D CD "name=\"mod\\el\"\r\n\r\nm" END, "m", ERR_OK, 0},
    {"not closed", D MODEL "m" E FILE_H "RIFF", "m", ERR_OK, 1},
    {"value not complete", D MODEL "whisp", NULL, ERR_OK, 1},
    {"empty body", "", NULL, ERR_OK, 1},
    {"utf-8 file name",
     D CD "name=\"file\"; filename=\"\xE4\xBD\xA0.wav\"\r\n\r\nx" E MODEL
          "m" END,
     "m", ERR_OK, 0},

    {"two models", D MODEL "a" E MODEL "b" END, "a", ERR_BAD_PARAM, 1},
    {"two models alike", D MODEL "a" E CD "name=model\r\n\r\na" END, "a",
     ERR_BAD_PARAM, 1},
    {"extended name", D CD "name*=UTF-8''model\r\n\r\nm" END, NULL,
     ERR_BAD_REQUEST, 1},
    {"continued name", D CD "name*0=mo; name*1=del\r\n\r\nm" END, NULL,
     ERR_BAD_REQUEST, 1},
    {"name twice", D CD "name=\"file\"; name=\"model\"\r\n\r\nm" END, NULL,
     ERR_BAD_REQUEST, 1},
    {"disposition twice", D CD "name=\"x\"\r\n" MODEL "m" END, NULL,
     ERR_BAD_REQUEST, 1},
    {"disposition of another kind",
     D "Content-Disposition: attachment; name=\"model\"\r\n\r\nm" END, NULL,
     ERR_BAD_REQUEST, 1},
    {"open quote", D CD "name=\"model\r\n\r\nm" END, NULL, ERR_BAD_REQUEST, 1},
    {"folded header",
     D "Content-Disposition: form-data;\r\n name=\"model\""
       "\r\n\r\nm" END,
     NULL, ERR_BAD_REQUEST, 1},
    {"space before colon",
     D "Content-Disposition : form-data; name=\"model\"\r\n\r\nm" END, NULL,
     ERR_BAD_REQUEST, 1},
    {"no colon", D "nonsense\r\n\r\nm" END, NULL, ERR_BAD_REQUEST, 1},
    {"bare LF in header", D "A: b\n" MODEL "m" END, NULL, ERR_BAD_REQUEST, 1},
    {"bare CR in header", D "A: b\rc\r\n" MODEL "m" END, NULL, ERR_BAD_REQUEST,
     1},
    {"bare LF after delimiter", "--xyz\n" MODEL "m" END, NULL, ERR_BAD_REQUEST,
     1},
    {"longer than the boundary", D MODEL "m\r\n--xyzz\r\n", "m",
     ERR_BAD_REQUEST, 1},
    {"one dash", D MODEL "m\r\n--xyz-\r\n", "m", ERR_BAD_REQUEST, 1},
    {"delimiter at once after the header", D CD "name=\"x\"\r\n\r\n--xyz\r\n",
     NULL, ERR_BAD_REQUEST, 1},
    {"part after the end", D CD "name=\"x\"\r\n\r\nm" END E MODEL "m" END, NULL,
     ERR_BAD_REQUEST, 1},
    {"encoded value",
     D "Content-Transfer-Encoding: base64\r\n" MODEL "bQ==" END, NULL,
     ERR_BAD_REQUEST, 1},
};

/* Feed <body> cut at <cut>, and check what is known after it. */
static void check_body(size_t row, size_t cut)
{
    struct str body = str_from(bodies[row].body);
    const char *model = bodies[row].model;
    struct multipart m;
    enum err e;

    assert_int_equal(multipart_init(&m, STR(CT)), ERR_OK);
    e = multipart_feed(&m, str_of(body.p, cut));
    if (e == ERR_OK)
        e = multipart_feed(&m, str_skip(body, cut));
    if (e != bodies[row].err || multipart_has_model(&m) != (model != NULL))
        print_error("%s cut at %zu: %s\n", bodies[row].name, cut, err_name(e));
    assert_int_equal(e, bodies[row].err);
    assert_int_equal(multipart_is_closed(&m), !bodies[row].open);
    assert_int_equal(multipart_has_model(&m), model != NULL);
    if (model) {
        assert_true(str_eq(multipart_model(&m), str_from(model)));
        assert_memory_equal(body.p + m.value_at, model, m.value_len);
    }
    if (e != ERR_OK)
        assert_int_equal(multipart_feed(&m, STR("x")), ERR_BAD_REQUEST);
}

static void bodies_are_read_alike_however_cut(void **state)
{
    (void)state; /* cmocka's */
    for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++)
        for (size_t cut = 0; cut <= strlen(bodies[i].body); cut++)
            check_body(i, cut);
}

static void bodies_are_read_a_byte_at_a_time(void **state)
{
    (void)state; /* cmocka's */
    for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
        struct multipart m;
        enum err e = multipart_init(&m, STR(CT));
        for (const char *p = bodies[i].body; *p && e == ERR_OK; p++)
            e = multipart_feed(&m, str_of(p, 1));
        assert_int_equal(e, bodies[i].err);
        assert_int_equal(multipart_has_model(&m), bodies[i].model != NULL);
    }
}

/* Feed <head>, <n> bytes of <fill> and <tail>. */
static enum err feed_filled(const char *head, size_t n, char fill,
                            const char *tail)
{
    struct multipart m;
    enum err e = multipart_init(&m, STR(CT));

    assert_int_equal(e, ERR_OK);
    e = multipart_feed(&m, str_from(head));
    for (size_t i = 0; i < n && e == ERR_OK; i++)
        e = multipart_feed(&m, str_of(&fill, 1));
    return e == ERR_OK ? multipart_feed(&m, str_from(tail)) : e;
}

static void sizes_are_bounded(void **state)
{
    (void)state; /* cmocka's */
    assert_int_equal(feed_filled(D MODEL, 256, 'm', END), ERR_OK);
    assert_int_equal(feed_filled(D MODEL, 257, 'm', END), ERR_BAD_PARAM);
    assert_int_equal(feed_filled(D "X: ", 8192 - 7, 'm', "\r\n\r\n" END),
                     ERR_OK);
    assert_int_equal(feed_filled(D "X: ", 8192 - 6, 'm', "\r\n\r\n" END),
                     ERR_BAD_REQUEST);
    assert_int_equal(feed_filled(D CD "name=\"x\"; filename=\"", 2100, 'f',
                                 "\"\r\n\r\n" END),
                     ERR_BAD_REQUEST);
}

static void parts_are_bounded(void **state)
{
    struct multipart m;

    (void)state; /* cmocka's */
    assert_int_equal(multipart_init(&m, STR(CT)), ERR_OK);
    for (int i = 0; i < MULTIPART_PARTS_MAX; i++)
        assert_int_equal(multipart_feed(&m, STR(E "A: b\r\n\r\n")), ERR_OK);
    assert_int_equal(multipart_feed(&m, STR(E "A: b\r\n\r\n")),
                     ERR_BAD_REQUEST);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(boundaries_are_read_from_content_type),
        cmocka_unit_test(bodies_are_read_alike_however_cut),
        cmocka_unit_test(bodies_are_read_a_byte_at_a_time),
        cmocka_unit_test(sizes_are_bounded),
        cmocka_unit_test(parts_are_bounded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
