/* conf_parse.h - The notations of values: pure functions from text to numbers,
 * addresses and URLs. Inside conf/ only. */
#ifndef TG_CONF_CONF_PARSE_H
#define TG_CONF_CONF_PARSE_H

#include "base/arena.h"
#include "conf/conf.h"

/* "10s" to ms: a whole number and ms, s, m, h or d; "0" alone is fine. False
 * if it is not that or is over INT64_MAX ms. */
bool conf_parse_duration(struct str s, int64_t *ms_out);

/* "64MiB" to bytes: a whole number and B, KiB, MiB, GiB or TiB; "0" alone is
 * fine. False if it is not that or is over INT64_MAX. */
bool conf_parse_size(struct str s, uint64_t *bytes_out);

/* "1KiB/s" to bytes a second; "0" alone is fine. */
bool conf_parse_rate(struct str s, uint64_t *bps_out);

/* "0660" (also "660", "0o660") to a mode up to 0777. */
bool conf_parse_mode(struct str s, uint32_t *mode_out);

/* "IP:PORT", "[IPV6]:PORT" or "unix:/PATH". ERR_SYNTAX: <why_out> tells what
 * is wrong and what to write. Strings are copied into <mem>. */
enum err conf_parse_addr(struct arena *mem, struct str s, struct conf_addr *out,
                         const char **why_out) MUST_CHECK;

/* An http or https URL without user, query and fragment; else as
 * conf_parse_addr(). */
enum err conf_parse_url(struct arena *mem, struct str s, struct conf_url *out,
                        const char **why_out) MUST_CHECK;

/* Whether <s> is "HOST", "HOST:PORT" or with an IPv6 host in brackets. */
bool conf_parse_is_authority(struct str s);

/* Whether <s> is a host name: labels of letters, digits, '-' and '_'. */
bool conf_parse_is_host(struct str s);

/* Whether <s> is a model name or a glob: 1 to 256 bytes, at most 8 stars. */
bool conf_parse_is_glob(struct str s);

/* Whether every byte of <s> is printable ASCII without the space. */
bool conf_parse_is_visible(struct str s);

/* Smallest number of edits (insert, delete, change, swap neighbours) from <a>
 * to <b>, where case and '-' against '_' do not count; 99 when either is
 * longer than 40 bytes. */
unsigned conf_parse_distance(struct str a, struct str b);

#endif
