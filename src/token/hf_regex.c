/* hf_regex.c - The regular expressions that published tokenizers cut words
 * with, known by their text. */
#include "base/utf8.h"
#include "token/hf_pretok.h"

/* Parts that many have in common. */
#define ANY_CASE  "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define ANY_CASE2 "'(?i:[sdmt]|ll|ve|re)"
#define HEAD      "[^\\r\\n\\p{L}\\p{N}]?"
#define SYMBOLS   " ?[^\\s\\p{L}\\p{N}]+"
#define WHITE     "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define UPPER     "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]"
#define LOWER     "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"
#define GPT2      "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+|" SYMBOLS
#define CASED(suffix)                                                          \
    HEAD UPPER "*" LOWER "+" suffix "|" HEAD UPPER "+" LOWER "*" suffix "|"

struct known {
    const char *re;
    unsigned char pass;
};

static const struct known known[] = {
    {GPT2 "|\\s+(?!\\S)|\\s+", PRETOK_GPT2},
    {GPT2 "|\\s+(?!\\S)", PRETOK_GPT2},
    {ANY_CASE "|" HEAD "\\p{L}+|\\p{N}{1,3}|" SYMBOLS "[\\r\\n]*|" WHITE,
     PRETOK_LLAMA3},
    {ANY_CASE2 "|" HEAD "+\\p{L}+|\\p{N}{1,3}|" SYMBOLS
               "+[\\r\\n]*|\\s*[\\r\\n]|\\s+(?!\\S)|\\s+",
     PRETOK_LLAMA3},
    {ANY_CASE "|" HEAD "\\p{L}+|\\p{N}|" SYMBOLS "[\\r\\n]*|" WHITE,
     PRETOK_QWEN2},
    {ANY_CASE2 "|" HEAD "+\\p{L}+|\\p{N}|" SYMBOLS
               "+[\\r\\n]*|\\s*[\\r\\n]|\\s+(?!\\S)|\\s+",
     PRETOK_QWEN2},
    {ANY_CASE "|" HEAD "[\\p{L}\\p{M}]+|\\p{N}| ?[^\\s\\p{L}\\p{M}\\p{N}]+"
              "[\\r\\n]*|" WHITE,
     PRETOK_QWEN35},
    {ANY_CASE "|" HEAD "\\p{L}+|\\p{N}+|" SYMBOLS "[\\r\\n]*|" WHITE,
     PRETOK_MINICPM5},
    {ANY_CASE "|" HEAD "\\p{L}+|\\p{N}{1}| ?[^\\s\\p{L}\\p{N}\\r\\n]+|" WHITE,
     PRETOK_SEED_CODER},
    {ANY_CASE "|" HEAD "(?:\\p{L}\\p{M}*(?: \\p{L}\\p{M}*)*)+|\\p{N}|" SYMBOLS
              "[\\r\\n/]?|\\s*[\\r\\n]|\\s+(?!\\S)|\\s+",
     PRETOK_EXAONE_MOE},
    {CASED(ANY_CASE "?") "\\p{N}{1,3}|" SYMBOLS "[\\r\\n/]*|" WHITE,
     PRETOK_GPT4O},
    {CASED("") "\\p{N}|" SYMBOLS "[\\r\\n/]*|" WHITE, PRETOK_TEKKEN},
    {"[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|"
     "[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| "
     "?[\\p{P}\\p{S}]+[\\r\\n]*|" WHITE,
     PRETOK_DEEPSEEK3},
    {"\\p{N}", PRETOK_DIGIT},
    {"\\p{N}+", PRETOK_DIGITS},
    {"\\p{N}{1,3}", PRETOK_DIGITS3},
    {"[0-9][0-9][0-9]", PRETOK_ASCII3},
    {"[\\r\\n]", PRETOK_LINE_END},
    {"[^\\n]+|[\\n]+", PRETOK_LINES},
    {"\\s+$", PRETOK_TRAILING},
    {"\\s?\\p{L}+", PRETOK_LETTERS},
    {"\\s?\\p{P}+", PRETOK_PUNCT},
    {" ?[^(\\s|[.,!?\xe2\x80\xa6\xe3\x80\x82\xef\xbc\x8c\xe3\x80\x81"
     "\xe0\xa5\xa4\xdb\x94\xd8\x8c])]+",
     PRETOK_BLOOM},
};

/* Whether <re> is <text>, where a line end may be written as one or escaped. */
static bool same_text(struct str re, const char *text)
{
    size_t at = 0;

    for (size_t i = 0; i < re.len; i++) {
        char c = re.p[i];

        if ((c == '\r' || c == '\n') && text[at] == '\\') {
            at++;
            c = c == '\r' ? 'r' : 'n';
        }
        if (text[at] != c || c == '\0')
            return false;
        at++;
    }
    return text[at] == '\0';
}

/* One member of a class, escaped or not; its bytes, or 0. */
static size_t member(struct str s, uint32_t *cp_out)
{
    size_t skip = s.len > 1 && s.p[0] == '\\' ? 1 : 0;
    size_t n = utf8_next(str_skip(s, skip), cp_out);

    return n > 0 ? n + skip : 0;
}

/* Whether the class body <s>, literal characters and ranges, has exactly the
 * code points of <pass>. Every code point is asked, so that the order and the
 * cut of the ranges do not matter. */
static bool same_class(struct str s, enum pretok_pass pass)
{
    uint32_t next = 0;

    while (s.len > 0) {
        uint32_t first, last;
        size_t n = member(s, &first);

        if (n == 0)
            return false;
        s = str_skip(s, n);
        last = first;
        if (s.len > 1 && s.p[0] == '-') {
            n = member(str_skip(s, 1), &last);
            if (n == 0)
                return false;
            s = str_skip(s, n + 1);
        }
        for (uint32_t cp = first; cp <= last; cp++) {
            if (!pretok_is_listed(pass, cp))
                return false;
            next++;
        }
    }
    return next == pretok_count_listed(pass);
}

enum pretok_pass hf_pretok_regex(struct str re)
{
    static const unsigned char listed[] = {
        PRETOK_DEEPSEEK_LETTERS, PRETOK_DEEPSEEK_PUNCT, PRETOK_DEEPSEEK_CJK,
        PRETOK_DEEPSEEK3_CJK};

    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (same_text(re, known[i].re))
            return known[i].pass;
    }
    for (size_t i = 0; i < sizeof(listed); i++) {
        struct str head = i < 2 ? STR("\\s?[") : STR("[");
        struct str body = str_skip(re, head.len);

        if (!str_starts(re, head) || !str_ends(re, STR("]+")))
            continue;
        body.len = body.len >= 2 ? body.len - 2 : 0;
        if (same_class(body, listed[i]))
            return listed[i];
    }
    return PRETOK_END;
}
