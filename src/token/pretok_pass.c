/* pretok_pass.c - The simple passes: runs of one kind, with at most a space
 * before them. */
#include "token/pretok.h"

struct range {
    uint32_t first, last;
};

/* The letters that DeepSeek LLM's rule counts one by one. */
static const struct range deepseek_letters[] = {
    {0x0041, 0x005a},   {0x0061, 0x007a},   {0x00b5, 0x00b5},
    {0x00c0, 0x00d6},   {0x00d8, 0x00f6},   {0x00f8, 0x01ba},
    {0x01bc, 0x01bf},   {0x01c4, 0x0293},   {0x0295, 0x02af},
    {0x0370, 0x0373},   {0x0376, 0x0376},   {0x0377, 0x0377},
    {0x037b, 0x037d},   {0x037f, 0x037f},   {0x0386, 0x0386},
    {0x0388, 0x038a},   {0x038c, 0x038c},   {0x038e, 0x03a1},
    {0x03a3, 0x03f5},   {0x03f7, 0x0481},   {0x048a, 0x052f},
    {0x0531, 0x0556},   {0x10a0, 0x10c5},   {0x13a0, 0x13f5},
    {0x13f8, 0x13fd},   {0x1c90, 0x1cba},   {0x1cbd, 0x1cbf},
    {0x1d00, 0x1d2b},   {0x1d6b, 0x1d77},   {0x1d79, 0x1d9a},
    {0x1e00, 0x1f15},   {0x1f18, 0x1f1d},   {0x1f20, 0x1f45},
    {0x1f48, 0x1f4d},   {0x1f50, 0x1f57},   {0x1f59, 0x1f59},
    {0x1f5b, 0x1f5b},   {0x1f5d, 0x1f5d},   {0x1f5f, 0x1f7d},
    {0x1f80, 0x1fb4},   {0x1fb6, 0x1fbc},   {0x1fbe, 0x1fbe},
    {0x1fc2, 0x1fc4},   {0x1fc6, 0x1fcc},   {0x1fd0, 0x1fd3},
    {0x1fd6, 0x1fdb},   {0x1fe0, 0x1fec},   {0x1ff2, 0x1ff4},
    {0x1ff6, 0x1ffc},   {0x2102, 0x2102},   {0x2107, 0x2107},
    {0x210a, 0x2113},   {0x2115, 0x2115},   {0x2119, 0x211d},
    {0x2124, 0x2124},   {0x2126, 0x2126},   {0x2128, 0x2128},
    {0x212a, 0x212d},   {0x212f, 0x2134},   {0x2139, 0x2139},
    {0x213c, 0x213f},   {0x2145, 0x2149},   {0x214e, 0x214e},
    {0x2183, 0x2183},   {0x2184, 0x2184},   {0x2c00, 0x2c7b},
    {0x2c7e, 0x2ce4},   {0x2ceb, 0x2cee},   {0x2cf2, 0x2cf2},
    {0x2cf3, 0x2cf3},   {0xa640, 0xa66d},   {0xa680, 0xa69b},
    {0xa722, 0xa76f},   {0xa771, 0xa787},   {0xa78b, 0xa78e},
    {0xab70, 0xabbf},   {0xfb00, 0xfb06},   {0xfb13, 0xfb17},
    {0xff21, 0xff3a},   {0xff41, 0xff5a},   {0x10400, 0x1044f},
    {0x104b0, 0x104d3}, {0x104d8, 0x104fb}, {0x10c80, 0x10cb2},
    {0x10cc0, 0x10cf2}, {0x118a0, 0x118df}, {0x1e900, 0x1e943},
};

static const struct range deepseek_punct[] = {
    {0x21, 0x2f},     {0x3a, 0x7e},     {0x2018, 0x201f},
    {0x3000, 0x3002}, {0xff01, 0xff0f}, {0xff1a, 0xff5e},
};

static const struct range deepseek_cjk[] = {
    {0x0800, 0x4e00},
    {0x4e00, 0x9fa5},
    {0xac00, 0xd7ff},
};

static const struct range deepseek3_cjk[] = {
    {0x3040, 0x30ff},
    {0x4e00, 0x9fa5},
};

/* What Bloom's rule cuts at, but for white space. */
static const struct range bloom_stops[] = {
    {'(', ')'},       {',', ','},       {'.', '.'},       {'!', '!'},
    {'?', '?'},       {'|', '|'},       {0x060c, 0x060c}, {0x06d4, 0x06d4},
    {0x0964, 0x0964}, {0x2026, 0x2026}, {0x3001, 0x3002}, {0xff0c, 0xff0c},
};

#define IN(table, cp) in((table), sizeof(table) / sizeof((table)[0]), (cp))

static bool in(const struct range *table, size_t n, uint32_t cp)
{
    for (size_t i = 0; i < n; i++) {
        if (cp >= table[i].first && cp <= table[i].last)
            return true;
    }
    return false;
}

/* Whether code point <at> is of the kind that a pass collects. */
typedef bool kind(const struct pretok_text *t, size_t at);

static bool is_number(const struct pretok_text *t, size_t at)
{
    return t->cls[at] & PRETOK_N;
}

static bool is_letter(const struct pretok_text *t, size_t at)
{
    return t->cls[at] & PRETOK_L;
}

static bool is_punct(const struct pretok_text *t, size_t at)
{
    return t->cls[at] & PRETOK_P;
}

static bool is_ascii_digit(const struct pretok_text *t, size_t at)
{
    return t->cp[at] >= '0' && t->cp[at] <= '9';
}

static bool is_line_end(const struct pretok_text *t, size_t at)
{
    return t->cp[at] == '\r' || t->cp[at] == '\n';
}

static bool is_newline(const struct pretok_text *t, size_t at)
{
    return t->cp[at] == '\n';
}

static bool is_no_newline(const struct pretok_text *t, size_t at)
{
    return t->cp[at] != '\n';
}

static bool is_default_punct(const struct pretok_text *t, size_t at)
{
    uint32_t c = t->cp[at];

    return (t->cls[at] & PRETOK_P) || c == '$' || c == '+' || c == '<' ||
           c == '=' || c == '>' || c == '^' || c == '~' || c == '|';
}

static bool is_falcon_punct(const struct pretok_text *t, size_t at)
{
    return is_default_punct(t, at) || t->cp[at] == '`';
}

static bool is_deepseek_letter(const struct pretok_text *t, size_t at)
{
    return IN(deepseek_letters, t->cp[at]);
}

static bool is_deepseek_punct(const struct pretok_text *t, size_t at)
{
    return IN(deepseek_punct, t->cp[at]);
}

static bool is_deepseek_cjk(const struct pretok_text *t, size_t at)
{
    return IN(deepseek_cjk, t->cp[at]);
}

static bool is_deepseek3_cjk(const struct pretok_text *t, size_t at)
{
    return IN(deepseek3_cjk, t->cp[at]);
}

static bool is_bloom_word(const struct pretok_text *t, size_t at)
{
    return !(t->cls[at] & PRETOK_Z) && !IN(bloom_stops, t->cp[at]);
}

static bool is_white(const struct pretok_text *t, size_t at)
{
    return t->cls[at] & PRETOK_Z;
}

/* What may stand before a run. */
enum head { HEAD_NONE = 0, HEAD_WHITE, HEAD_SPACE };

struct run {
    kind *is;
    size_t most; /* code points; 0: no bound */
    enum head head;
};

static const struct run runs[PRETOK_GPT2] = {
    [PRETOK_DIGIT] = {is_number, 1, HEAD_NONE},
    [PRETOK_DIGITS] = {is_number, 0, HEAD_NONE},
    [PRETOK_DIGITS3] = {is_number, 3, HEAD_NONE},
    [PRETOK_ASCII3] = {is_ascii_digit, 3, HEAD_NONE},
    [PRETOK_LINE_END] = {is_line_end, 1, HEAD_NONE},
    [PRETOK_LINES] = {is_newline, 0, HEAD_NONE},
    [PRETOK_TRAILING] = {is_white, 0, HEAD_NONE},
    [PRETOK_DEFAULT_PUNCT] = {is_default_punct, 0, HEAD_NONE},
    [PRETOK_FALCON_PUNCT] = {is_falcon_punct, 0, HEAD_NONE},
    [PRETOK_LETTERS] = {is_letter, 0, HEAD_WHITE},
    [PRETOK_PUNCT] = {is_punct, 0, HEAD_WHITE},
    [PRETOK_DEEPSEEK_LETTERS] = {is_deepseek_letter, 0, HEAD_WHITE},
    [PRETOK_DEEPSEEK_PUNCT] = {is_deepseek_punct, 0, HEAD_WHITE},
    [PRETOK_DEEPSEEK_CJK] = {is_deepseek_cjk, 0, HEAD_NONE},
    [PRETOK_DEEPSEEK3_CJK] = {is_deepseek3_cjk, 0, HEAD_NONE},
    [PRETOK_BLOOM] = {is_bloom_word, 0, HEAD_SPACE},
};

/* Whether the run <r> may begin after the code point at <at>, which is then
 * its head. */
static bool is_head(const struct run *r, const struct pretok_text *t, size_t at,
                    size_t end)
{
    if (at + 1 >= end || !r->is(t, at + 1))
        return false;
    return (r->head == HEAD_WHITE && is_white(t, at)) ||
           (r->head == HEAD_SPACE && t->cp[at] == ' ');
}

/* [U+2581]?[^U+2581]* */
static size_t bars(const struct pretok_text *t, size_t at, size_t end)
{
    size_t to = at + 1;

    while (to < end && t->cp[to] != 0x2581)
        to++;
    return to;
}

bool pretok_scan_run(enum pretok_pass pass, const struct pretok_text *t,
                     size_t at, size_t end, size_t *to_out)
{
    struct run r = runs[pass];
    size_t from, to;

    if (pass == PRETOK_BARS) {
        *to_out = bars(t, at, end);
        return true;
    }
    if (pass == PRETOK_LINES && !is_newline(t, at))
        r.is = is_no_newline;
    from = is_head(&r, t, at, end) ? at + 1 : at;
    to = from;
    while (to < end && (r.most == 0 || to - from < r.most) && r.is(t, to))
        to++;
    *to_out = to > at ? to : at + 1;
    if (pass == PRETOK_ASCII3)
        return to - at == 3;
    if (pass == PRETOK_TRAILING)
        return to > at && to == end;
    return to > at;
}

/* The ranges of a pass with a list. */
static const struct range *list_of(enum pretok_pass pass, size_t *n_out)
{
    switch (pass) {
    case PRETOK_DEEPSEEK_LETTERS:
        *n_out = sizeof(deepseek_letters) / sizeof(deepseek_letters[0]);
        return deepseek_letters;
    case PRETOK_DEEPSEEK_PUNCT:
        *n_out = sizeof(deepseek_punct) / sizeof(deepseek_punct[0]);
        return deepseek_punct;
    case PRETOK_DEEPSEEK_CJK:
        *n_out = sizeof(deepseek_cjk) / sizeof(deepseek_cjk[0]);
        return deepseek_cjk;
    default:
        *n_out = sizeof(deepseek3_cjk) / sizeof(deepseek3_cjk[0]);
        return deepseek3_cjk;
    }
}

bool pretok_is_listed(enum pretok_pass pass, uint32_t cp)
{
    size_t n;
    const struct range *list = list_of(pass, &n);

    return in(list, n, cp);
}

uint32_t pretok_count_listed(enum pretok_pass pass)
{
    size_t n;
    const struct range *list = list_of(pass, &n);
    uint32_t count = 0;

    for (size_t i = 0; i < n; i++)
        count += list[i].last - list[i].first + 1;
    return count;
}
