/* b_http1.c - Time to scan and to parse a request head as a Node client sends
 * it, and to decode chunks. Prints the best of several rounds. */
#include "wire/endpoint.h"
#include "wire/http1.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define ROUNDS 15
#define TIMES  20000

static const char request[] =
    "POST /v1/chat/completions HTTP/1.1\r\n"
    "host: gateway.example.internal:8080\r\n"
    "connection: keep-alive\r\n"
    "accept: application/json\r\n"
    "content-type: application/json\r\n"
    "user-agent: OpenAI/JS 7.55.0\r\n"
    "x-stainless-retry-count: 0\r\n"
    "x-stainless-lang: js\r\n"
    "x-stainless-package-version: 7.55.0\r\n"
    "x-stainless-os: Linux\r\n"
    "x-stainless-arch: x64\r\n"
    "x-stainless-runtime: node\r\n"
    "x-stainless-runtime-version: v22.11.0\r\n"
    "authorization: Bearer sk-tg-abcdefghijklmnopqrstuvwxyz012345\r\n"
    "accept-language: *\r\n"
    "sec-fetch-mode: cors\r\n"
    "accept-encoding: gzip, deflate\r\n"
    "content-length: 512\r\n"
    "\r\n";

static double now_ns(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t); /* cannot fail */
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void must(enum err e)
{
    if (e != ERR_OK && e != ERR_AGAIN) {
        fprintf(stderr, "%s\n", err_name(e));
        exit(1);
    }
}

static void do_scan(void)
{
    struct http1_scan s = {0};
    size_t used;

    must(http1_scan(&s, request, sizeof(request) - 1, NULL, &used));
}

static void do_parse(void)
{
    static struct http1_header table[HTTP1_FIELDS];
    struct http1_head head;

    must(http1_parse(str_of(request, sizeof(request) - 1), table, HTTP1_FIELDS,
                     &head));
}

static void do_lookup(void)
{
    struct endpoint_match m;

    must(endpoint_lookup(HTTP1_POST, STR("/v1/chat/completions"), &m));
}

static void do_chunks(void)
{
    static const char body[] = "5\r\nhello\r\n5\r\nhello\r\n5\r\nhello\r\n"
                               "5\r\nhello\r\n0\r\n\r\n";
    struct http1_head head = {.framing = HTTP1_CHUNKED};
    struct http1_body b;
    struct str in = str_of(body, sizeof(body) - 1), data;
    size_t used;

    must(http1_body_start(&b, &head, 100));
    while (in.len > 0) {
        must(http1_body_feed(&b, in.p, in.len, &used, &data));
        in = str_skip(in, used);
    }
}

static void measure(const char *what, void (*run)(void))
{
    double best = 1e18, start, each;

    for (int r = 0; r < ROUNDS; r++) {
        start = now_ns();
        for (int i = 0; i < TIMES; i++)
            run();
        each = (now_ns() - start) / TIMES;
        if (each < best)
            best = each;
    }
    printf("%-28s %8.0f ns\n", what, best);
}

int main(void)
{
    printf("head of %zu bytes\n", sizeof(request) - 1);
    measure("scan", do_scan);
    measure("parse", do_parse);
    measure("endpoint lookup", do_lookup);
    measure("four 5-byte chunks", do_chunks);
    return 0;
}
