/* usage.h - What a reply says it used, from every dialect, in classes that do
 * not overlap: their sum is the total, whatever the provider counts as part of
 * what. Numbers of a provider are not trusted: they are clamped to
 * [0, USAGE_MAX], parts to their total, and anything that is no number counts
 * as not said. */
#ifndef TG_WIRE_USAGE_H
#define TG_WIRE_USAGE_H

#include "base/str.h"
#include "wire/jscan.h"

#include <stdbool.h>
#include <stdint.h>

/* No count is above this; sums of all classes are far from overflow. */
#define USAGE_MAX (INT64_C(1) << 40)

/* Bits of usage.said: the classes that the reply gave a number for. A class
 * derived from others (uncached input) counts as said with its total. */
enum usage_said {
    USAGE_INPUT = 1,
    USAGE_CACHE_READ = 2,
    USAGE_CACHE_WRITE = 4,
    USAGE_OUTPUT = 8,
    USAGE_REASONING = 16,
    USAGE_AUDIO_IN = 32,
    USAGE_AUDIO_OUT = 64,
    USAGE_SECONDS = 128,
};

/* Tokens by class, disjoint. Zeroed is "nothing said". */
struct usage {
    int64_t input;          /* uncached, without audio */
    int64_t cache_read;     /* input found in the provider's cache */
    int64_t cache_write_5m; /* input written to it, short-lived or unsaid */
    int64_t cache_write_1h; /* input written to it for an hour */
    int64_t audio_in;       /* uncached audio input */
    int64_t output;         /* without reasoning and audio */
    int64_t reasoning;
    int64_t audio_out;
    int64_t duration_ms; /* audio billed by time */
    unsigned said;       /* enum usage_said bits */
    bool present;        /* a usage object with at least one usable number */
    bool odd;            /* something had to be clamped or ignored */
    char finish[32];     /* finish or stop reason, NUL-terminated, "" unsaid */
};

/* Read usage and finish reason of a whole reply body, which need not be JSON
 * (then nothing is said). <u> is set anew. */
void usage_from_body(struct usage *u, struct str body);

/* Read those of a scanned reply (table jscan_reply) and merge them into <u>:
 * OpenAI's dialects repeat the whole object and the last one holds;
 * Anthropic's counts only grow and the largest holds. True when this reply or
 * event had usage. */
bool usage_from_scan(struct usage *u, const struct jscan *reply);

/* As usage_from_scan() on the data of one event, scanned here. */
bool usage_from_event(struct usage *u, struct str data);

/* All input tokens: uncached, cached, written, audio. */
int64_t usage_input_total(const struct usage *u);

/* All output tokens: text, reasoning, audio. */
int64_t usage_output_total(const struct usage *u);

/* Copy the string <v> to the 32 bytes at <finish>, cut and with control and
 * non-ASCII bytes as '?'; "" when it is no string. */
void usage_finish_copy(char finish[32], const struct jmember *v);

#endif
