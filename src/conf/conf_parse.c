/* conf_parse.c - Numbers with units, modes, and how far apart two words are.
 * Units are spelled one way only, so that a file reads the same to everyone:
 * no bare numbers that mean seconds here and milliseconds there. */
#include "conf/conf_parse.h"

#define WORD_MAX       40
#define GLOB_STARS_MAX 8
#define GLOB_LEN_MAX   256

struct unit {
    const char *name;
    uint64_t factor;
};

static const struct unit time_units[] = {
    {"ms", 1},      {"s", 1000},     {"m", 60000},
    {"h", 3600000}, {"d", 86400000}, {NULL, 0},
};

static const struct unit size_units[] = {
    {"B", 1},
    {"KiB", 1ULL << 10},
    {"MiB", 1ULL << 20},
    {"GiB", 1ULL << 30},
    {"TiB", 1ULL << 40},
    {NULL, 0},
};

static bool parse_unit(struct str s, const struct unit *units, uint64_t *out)
{
    size_t digits = 0;
    uint64_t v;

    while (digits < s.len && s.p[digits] >= '0' && s.p[digits] <= '9')
        digits++;
    if (!str_to_u64(str_of(s.p, digits), &v))
        return false;
    if (digits == s.len && v == 0) {
        *out = 0;
        return true;
    }
    for (const struct unit *u = units; u->name; u++) {
        if (!str_eq(str_skip(s, digits), str_from(u->name)))
            continue;
        if (__builtin_mul_overflow(v, u->factor, &v) || v > INT64_MAX)
            return false;
        *out = v;
        return true;
    }
    return false;
}

bool conf_parse_duration(struct str s, int64_t *ms_out)
{
    uint64_t v;

    if (!parse_unit(s, time_units, &v))
        return false;
    *ms_out = (int64_t)v;
    return true;
}

bool conf_parse_size(struct str s, uint64_t *bytes_out)
{
    return parse_unit(s, size_units, bytes_out);
}

bool conf_parse_rate(struct str s, uint64_t *bps_out)
{
    if (str_ends(s, STR("/s")))
        s.len -= 2;
    else if (!str_eq(s, STR("0")))
        return false;
    return parse_unit(s, size_units, bps_out);
}

bool conf_parse_mode(struct str s, uint32_t *mode_out)
{
    uint32_t v = 0;

    if (str_starts(s, STR("0o")))
        s = str_skip(s, 2);
    if (s.len < 3 || s.len > 4)
        return false;
    for (size_t i = 0; i < s.len; i++) {
        if (s.p[i] < '0' || s.p[i] > '7')
            return false;
        v = v * 8 + (uint32_t)(s.p[i] - '0');
    }
    if (v > 0777)
        return false;
    *mode_out = v;
    return true;
}

bool conf_parse_is_glob(struct str s)
{
    size_t stars = 0;

    for (size_t i = 0; i < s.len; i++)
        stars += s.p[i] == '*';
    return s.len > 0 && s.len <= GLOB_LEN_MAX && stars <= GLOB_STARS_MAX;
}

bool conf_parse_is_visible(struct str s)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.p[i] <= 0x20 || s.p[i] >= 0x7f)
            return false;
    return true;
}

static char fold(char c)
{
    if (c >= 'A' && c <= 'Z')
        return (char)(c - 'A' + 'a');
    return c == '-' ? '_' : c;
}

static unsigned least(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

unsigned conf_parse_distance(struct str a, struct str b)
{
    unsigned row[3][WORD_MAX + 1]; /* row[i % 3] is the one of a[0..i) */

    if (a.len > WORD_MAX || b.len > WORD_MAX)
        return 99;
    for (unsigned j = 0; j <= b.len; j++)
        row[0][j] = j;
    for (unsigned i = 1; i <= a.len; i++) {
        unsigned *now = row[i % 3];
        const unsigned *up = row[(i + 2) % 3];
        const unsigned *up2 = row[(i + 1) % 3];

        now[0] = i;
        for (unsigned j = 1; j <= b.len; j++) {
            char x = fold(a.p[i - 1]);
            char y = fold(b.p[j - 1]);

            now[j] = least(up[j] + 1, now[j - 1] + 1);
            now[j] = least(now[j], up[j - 1] + (x != y));
            if (i > 1 && j > 1 && x == fold(b.p[j - 2]) &&
                y == fold(a.p[i - 2]))
                now[j] = least(now[j], up2[j - 2] + 1);
        }
    }
    return row[a.len % 3][b.len];
}
