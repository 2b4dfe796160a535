/* weigh.c - See weigh.h. Text is told from pictures and sounds by the length of
 * its words: no language has words of a kilobyte, base64 has nothing else. */
#include "admit/weigh.h"

#include "exchange/exchange.h"
#include "wire/jscan.h"

#define BYTES_PER_TOK 4    /* of plain English */
#define WORD_MAX      1024 /* bytes; longer ones are no text */

/* One bit for each byte that base64 has, in either alphabet: "+-/", digits and
 * "=" of the first 64, letters and "_" of the second. */
static const uint64_t base64_bytes[4] = {
    UINT64_C(0x23ffa80000000000),
    UINT64_C(0x07fffffe87fffffe),
    0,
    0,
};

static bool is_base64(char c)
{
    const unsigned char b = (unsigned char)c;

    return (base64_bytes[b >> 6] >> (b & 63)) & 1;
}

/* Bytes that the word at the start of <s> has, which may be none. Some write a
 * slash as JSON lets them, with a backslash. */
static size_t word_len(struct str s)
{
    size_t n = 0;

    for (;;) {
        if (n < s.len && is_base64(s.p[n]))
            n++;
        else if (n + 1 < s.len && s.p[n] == '\\' && s.p[n + 1] == '/')
            n += 2;
        else
            return n;
    }
}

uint64_t weigh_input(struct str text)
{
    uint64_t bytes = 0;

    while (text.len > 0) {
        size_t n = word_len(text);

        if (n <= WORD_MAX)
            bytes += n;
        if (n < text.len) { /* what ended the word */
            bytes++;
            n++;
        }
        text = str_skip(text, n);
    }
    return (bytes + BYTES_PER_TOK - 1) / BYTES_PER_TOK;
}

/* The number <m>; 0 when it is none, which is for the upstream to judge. */
static uint64_t number_of(const struct jmember *m)
{
    int64_t v = 0;
    enum err e = m->type == JT_NUMBER ? jval_uint(m, &v) : ERR_BAD_PARAM;

    if (e == ERR_RANGE && m->value.p[0] != '-')
        return INT64_MAX;
    return e == ERR_OK ? (uint64_t)v : 0;
}

uint64_t weigh_output(const struct jscan *scan, unsigned n)
{
    static const enum jreq caps[] = {
        JREQ_MAX_TOKENS, JREQ_MAX_COMPLETION_TOKENS, JREQ_MAX_OUTPUT_TOKENS};
    uint64_t most = 0, choices = number_of(&scan->m[JREQ_BEST_OF]), out;

    for (size_t i = 0; i < sizeof(caps) / sizeof(caps[0]); i++) {
        uint64_t cap = number_of(&scan->m[caps[i]]);

        most = cap > most ? cap : most;
    }
    if (choices < n)
        choices = n;
    if (__builtin_mul_overflow(most, choices, &out) || out > INT64_MAX)
        return INT64_MAX;
    return out;
}

bool weigh_is_metered(const struct exchange *x)
{
    enum endpoint_usage u = x->in->ep.row->usage;

    return u != ENDPOINT_USAGE_NONE && u != ENDPOINT_USAGE_COUNT;
}

uint64_t weigh_tokens(const struct exchange *x)
{
    if (!weigh_is_metered(x) || !x->ask->scan)
        return 0;
    return weigh_input(buf_str(&x->in->body)) +
           weigh_output(x->ask->scan, x->ask->n);
}
