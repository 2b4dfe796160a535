/* t_xfer_body.c - Bodies of transfers: uploads of every kind, replies that are
 * paused. */
#include "lib/upfix.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

/* Whether resident memory is what the code uses, and not a sanitizer's. */
#ifndef __has_feature
#define __has_feature(x) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) ||           \
    __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define IS_MEMORY_OURS false
#else
#define IS_MEMORY_OURS true
#endif

/* --- uploads ------------------------------------------------------------ */

static void check_upload(struct rawserver *s, const char *body, size_t len)
{
    struct str log = {s->log, s->log_len};
    size_t at = str_find(log, STR("\r\n\r\n")) + 4;

    assert_int_equal(log.len - at, len);
    assert_memory_equal(log.p + at, body, len);
}

static void bodies_of_every_size_arrive(void **state)
{
    static const size_t sizes[] = {1,     1000,  16384,   65535,
                                   65536, 65537, 1048576, 20 * 1048576};
    size_t max = 20 * 1048576;
    char *body = malloc(max + 1);
    struct rawserver s;
    struct upfix f;

    (void)state;
    for (size_t i = 0; i < max; i++)
        body[i] = (char)('a' + (i * 7 + i / 251) % 26);
    body[max] = '\0';
    rawserver_start(&s, raw_answer_all, NULL, NULL);
    upfix_init(&f, NULL, s.port, false);
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct xfer_spec spec = upfix_spec(&f, "POST", "/b", "x");
        struct seen seen;

        spec.body = str_of(body, sizes[i]);
        free(s.log);
        s.log = NULL;
        s.log_len = 0;
        upfix_once(&f, &spec, &seen);
        assert_int_equal(seen.err, ERR_OK);
        check_upload(&s, body, sizes[i]);
        seen_fini(&seen);
    }
    free(body);
    upfix_fini(&f);
    rawserver_stop(&s);
}

/* Feed <len> bytes into the stream in pieces, between turns of the loop. */
static void feed_stream(struct upfix *f, struct seen *seen, const char *body,
                        size_t len)
{
    size_t at = 0, piece = 1;

    while (at < len) {
        size_t n = piece < len - at ? piece : len - at;

        assert_int_equal(chunkq_put(&f->in.stream, body + at, n), ERR_OK);
        at += n;
        piece = piece * 3 % 70001 + 1;
        f->in.body_done = at == len;
        seen->producer->ops->body_ready(seen->producer);
        upfix_turn(f);
    }
}

static void streamed_body_with_length(void **state)
{
    size_t len = 3 * 1048576;
    char *body = malloc(len);
    struct rawserver s;
    struct upfix f;
    struct seen seen;
    struct xfer_spec spec;

    (void)state;
    memset(body, 'z', len);
    for (size_t i = 0; i < len; i += 97)
        body[i] = (char)('0' + i % 10);
    rawserver_start(&s, raw_answer_all, NULL, NULL);
    upfix_init(&f, NULL, s.port, false);
    spec = upfix_spec(&f, "POST", "/files", NULL);
    spec.body_kind = XFER_BODY_STREAM;
    spec.length = (int64_t)len;
    seen_init(&seen);
    upfix_start(&f, &spec, &seen);
    feed_stream(&f, &seen, body, len);
    upfix_wait(&f, &seen);
    assert_int_equal(seen.err, ERR_OK);
    assert_true(f.taken > 0);
    assert_non_null(strstr(s.log, "Content-Length: 3145728\r\n"));
    assert_null(strstr(s.log, "Transfer-Encoding"));
    check_upload(&s, body, len);
    seen_fini(&seen);
    free(body);
    upfix_fini(&f);
    rawserver_stop(&s);
}

static void streamed_body_without_length_is_chunked(void **state)
{
    struct rawserver s;
    struct upfix f;
    struct seen seen;
    struct xfer_spec spec;

    (void)state;
    rawserver_start(&s, raw_answer_all, NULL, NULL);
    upfix_init(&f, NULL, s.port, false);
    spec = upfix_spec(&f, "PUT", "/files", NULL);
    spec.body_kind = XFER_BODY_STREAM;
    spec.length = -1;
    seen_init(&seen);
    upfix_start(&f, &spec, &seen);
    upfix_turn(&f);
    feed_stream(&f, &seen, "hello world", 11);
    upfix_wait(&f, &seen);
    assert_int_equal(seen.err, ERR_OK);
    assert_memory_equal(s.log, "PUT /v1/files ", 14);
    assert_non_null(strstr(s.log, "Transfer-Encoding: chunked\r\n"));
    assert_null(strstr(s.log, "Content-Length"));
    assert_true(str_ends(str_of(s.log, s.log_len), STR("0\r\n\r\n")));
    seen_fini(&seen);
    upfix_fini(&f);
    rawserver_stop(&s);
}

static void refuse_early(struct rawconn *c, void *arg)
{
    (void)arg;
    raw_read(c, 200);
    raw_send(c, "HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig");
    raw_drain(c);
}

static void early_answer_to_an_upload_arrives(void **state)
{
    struct rawserver s;
    struct upfix f;
    struct seen seen;
    struct xfer_spec spec;

    (void)state;
    rawserver_start(&s, refuse_early, NULL, NULL);
    upfix_init(&f, NULL, s.port, false);
    spec = upfix_spec(&f, "POST", "/files", NULL);
    spec.body_kind = XFER_BODY_STREAM;
    spec.length = 1000000;
    seen_init(&seen);
    upfix_start(&f, &spec, &seen);
    assert_int_equal(chunkq_put(&f.in.stream, seen.text, 400), ERR_OK);
    upfix_wait(&f, &seen);
    assert_int_equal(seen.err, ERR_OK);
    assert_int_equal(seen.status, 413);
    assert_string_equal(seen_text(&seen), "big");
    seen_fini(&seen);
    upfix_fini(&f);
    rawserver_stop(&s);
}

/* --- pausing ------------------------------------------------------------ */

static void hundred_megabytes(struct rawconn *c, void *arg)
{
    size_t len = 1 << 20;
    char *block = malloc(len);

    (void)arg;
    memset(block, 'x', len);
    while (raw_request(c).len > 0) {
        raw_send(c, "HTTP/1.1 200 OK\r\nContent-Length: 104857600\r\n\r\n");
        for (int i = 0; i < 100; i++)
            raw_send_bytes(c, block, len);
    }
    free(block);
}

/* Resident memory in KiB. */
static long resident_kib(void)
{
    FILE *f = fopen("/proc/self/statm", "r");
    long all, resident;

    assert_non_null(f);
    assert_int_equal(fscanf(f, "%ld %ld", &all, &resident), 2);
    fclose(f);
    return resident * (sysconf(_SC_PAGESIZE) / 1024);
}

static void paused_reply_is_whole_and_memory_is_bounded(void **state)
{
    struct rawserver s;
    struct upfix f;
    struct seen seen;
    struct xfer_spec spec;
    long before;

    (void)state;
    rawserver_start(&s, hundred_megabytes, NULL, NULL);
    upfix_init(&f, NULL, s.port, false);
    spec = upfix_spec(&f, "GET", "/files/1/content", NULL);
    seen_init(&seen);
    seen.forget = true;
    seen.pause_every = 3;
    before = resident_kib();
    upfix_run(&f, &spec, &seen);
    assert_int_equal(seen.err, ERR_OK);
    assert_int_equal(seen.bytes, 104857600);
    assert_true(seen.pauses > 1000);
    assert_true(f.stats.counter[STAT_UP_PAUSED] == (uint64_t)seen.pauses);
    /* A sanitizer keeps freed memory back: then it tells nothing. */
    if (IS_MEMORY_OURS)
        assert_true(resident_kib() - before < 16 * 1024);
    seen_fini(&seen);
    upfix_fini(&f);
    rawserver_stop(&s);
}

static void small_chunked_reply_survives_pauses(void **state)
{
    static char reply[] =
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        "3\r\nabc\r\n3\r\ndef\r\n3\r\nghi\r\n0\r\n\r\n";
    struct rawserver s;
    struct upfix f;
    struct seen seen;
    struct xfer_spec spec;

    (void)state;
    rawserver_start(&s, raw_answer_all, reply, NULL);
    upfix_init(&f, NULL, s.port, false);
    spec = upfix_spec(&f, "POST", "/x", "{}");
    spec.streaming_reply = true;
    for (int i = 1; i < 4; i++) {
        seen_init(&seen);
        seen.pause_every = i;
        upfix_run(&f, &spec, &seen);
        assert_int_equal(seen.err, ERR_OK);
        assert_string_equal(seen_text(&seen), "abcdefghi");
        assert_true(seen.pauses > 0);
        seen_fini(&seen);
    }
    assert_int_equal(s.conns, 1);
    upfix_fini(&f);
    rawserver_stop(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bodies_of_every_size_arrive),
        cmocka_unit_test(streamed_body_with_length),
        cmocka_unit_test(streamed_body_without_length_is_chunked),
        cmocka_unit_test(early_answer_to_an_upload_arrives),
        cmocka_unit_test(paused_reply_is_whole_and_memory_is_bounded),
        cmocka_unit_test(small_chunked_reply_survives_pauses),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
