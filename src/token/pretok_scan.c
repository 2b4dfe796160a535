/* pretok_scan.c - The passes that cut all of a text into words: contractions,
 * letters with what stands before them, numbers, symbols, white space. They
 * differ in few places, which `struct words` names. */
#include "token/pretok.h"

/* How letters are collected; <head> is one code point that is neither a letter
 * nor a number nor a line end, and may be absent. */
enum letters {
    LETTERS_PLAIN,  /* head? L+ */
    LETTERS_MARKS,  /* head? [LM]+ */
    LETTERS_PHRASE, /* head? (L M* ( ' ' L M*)*)+ */
    LETTERS_ASCII,  /* as CASED, but U is L other than a-z, l is L other than
                     * A-Z: marks are no letters */
    LETTERS_CASED,  /* head? [UM]*[lM]+ | head? [UM]+[lM]*, where a letter
                     * that has no case is both U and l */
};

struct words {
    enum letters letters;
    bool contractions; /* 's and the like are words */
    bool suffixes;     /* and belong to the letters before them */
    size_t digits;     /* most in a word */
    uint8_t not_symbols;
    bool tail_slash; /* symbols take slashes after them */
    bool tail_lines; /* and line ends */
    bool tail_one;   /* one of these at most */
};

#define LNZ (PRETOK_L | PRETOK_N | PRETOK_Z)

static const struct words rules[PRETOK_PASS_COUNT] = {
    [PRETOK_LLAMA3] = {.contractions = true,
                       .digits = 3,
                       .not_symbols = LNZ,
                       .tail_lines = true},
    [PRETOK_QWEN2] = {.contractions = true,
                      .digits = 1,
                      .not_symbols = LNZ,
                      .tail_lines = true},
    [PRETOK_QWEN35] = {.letters = LETTERS_MARKS,
                       .contractions = true,
                       .digits = 1,
                       .not_symbols = LNZ | PRETOK_M,
                       .tail_lines = true},
    [PRETOK_MINICPM5] = {.contractions = true,
                         .digits = SIZE_MAX,
                         .not_symbols = LNZ,
                         .tail_lines = true},
    [PRETOK_SEED_CODER] = {.contractions = true,
                           .digits = 1,
                           .not_symbols = LNZ},
    [PRETOK_UFAKZEKA] = {.digits = 1, .not_symbols = LNZ, .tail_lines = true},
    [PRETOK_EXAONE_MOE] = {.letters = LETTERS_PHRASE,
                           .contractions = true,
                           .digits = 1,
                           .not_symbols = LNZ,
                           .tail_slash = true,
                           .tail_lines = true,
                           .tail_one = true},
    [PRETOK_GPT4O] = {.letters = LETTERS_CASED,
                      .suffixes = true,
                      .digits = 3,
                      .not_symbols = LNZ,
                      .tail_slash = true,
                      .tail_lines = true},
    [PRETOK_TEKKEN] = {.letters = LETTERS_CASED,
                       .digits = 1,
                       .not_symbols = LNZ,
                       .tail_slash = true,
                       .tail_lines = true},
    [PRETOK_GPT4O_GGUF] = {.letters = LETTERS_ASCII,
                           .suffixes = true,
                           .digits = 3,
                           .not_symbols = LNZ,
                           .tail_slash = true,
                           .tail_lines = true},
    [PRETOK_TEKKEN_GGUF] = {.letters = LETTERS_ASCII,
                            .digits = 1,
                            .not_symbols = LNZ,
                            .tail_slash = true,
                            .tail_lines = true},
};

static bool is_line_end(uint32_t cp)
{
    return cp == '\r' || cp == '\n';
}

/* The code point at <at> in lower case if it is ASCII and <any_case>; 0 past
 * the end. */
static uint32_t letter_at(const struct pretok_text *t, size_t at, size_t end,
                          bool any_case)
{
    uint32_t cp = at < end ? t->cp[at] : 0;

    return any_case && cp >= 'A' && cp <= 'Z' ? cp + 32 : cp;
}

/* The end of 's|'t|'re|'ve|'m|'ll|'d at <at>, or <at>. */
static size_t contraction(const struct pretok_text *t, size_t at, size_t end,
                          bool any_case)
{
    uint32_t a = letter_at(t, at + 1, end, any_case);
    uint32_t b = letter_at(t, at + 2, end, any_case);

    if (at >= end || t->cp[at] != '\'')
        return at;
    if (a == 's' || a == 't' || a == 'm' || a == 'd')
        return at + 2;
    if ((a == 'r' && b == 'e') || (a == 'v' && b == 'e') ||
        (a == 'l' && b == 'l'))
        return at + 3;
    return at;
}

/* The end of the run of code points whose class meets <any>. */
static size_t run_of(const struct pretok_text *t, size_t at, size_t end,
                     uint8_t any)
{
    while (at < end && (t->cls[at] & any))
        at++;
    return at;
}

/* The end of the run of code points whose class meets none of <none>. */
static size_t run_without(const struct pretok_text *t, size_t at, size_t end,
                          uint8_t none)
{
    while (at < end && !(t->cls[at] & none))
        at++;
    return at;
}

/* \s*[\r\n]+|\s+(?!\S)|\s+ where <lines> is the first of these tried. */
static size_t white(const struct pretok_text *t, size_t at, size_t end,
                    bool lines)
{
    size_t to = run_of(t, at, end, PRETOK_Z), last = at;

    for (size_t i = at; lines && i < to; i++) {
        if (is_line_end(t->cp[i]))
            last = i + 1;
    }
    if (last > at)
        return last;
    return to < end && to - at > 1 ? to - 1 : to;
}

static bool is_upper(const struct words *w, const struct pretok_text *t,
                     size_t at)
{
    if (w->letters == LETTERS_ASCII)
        return (t->cls[at] & PRETOK_L) &&
               !(t->cp[at] >= 'a' && t->cp[at] <= 'z');
    return (t->cls[at] & (PRETOK_L | PRETOK_M)) && !(t->cls[at] & PRETOK_LOWER);
}

static bool is_lower(const struct words *w, const struct pretok_text *t,
                     size_t at)
{
    if (w->letters == LETTERS_ASCII)
        return (t->cls[at] & PRETOK_L) &&
               !(t->cp[at] >= 'A' && t->cp[at] <= 'Z');
    return (t->cls[at] & (PRETOK_L | PRETOK_M)) && !(t->cls[at] & PRETOK_UPPER);
}

/* The end of [U]*[l]+ at <at>, or <at>. Greedy: the first run gives back what
 * the second needs. */
static size_t upper_lower(const struct words *w, const struct pretok_text *t,
                          size_t at, size_t end)
{
    size_t to = at, back;

    while (to < end && is_upper(w, t, to))
        to++;
    if (to < end && is_lower(w, t, to)) {
        while (to < end && is_lower(w, t, to))
            to++;
        return to;
    }
    for (back = to; back > at; back--) {
        if (is_lower(w, t, back - 1))
            return back;
    }
    return at;
}

/* The end of [U]+[l]* at <at> where [U]*[l]+ does not match, or <at>. */
static size_t upper_only(const struct words *w, const struct pretok_text *t,
                         size_t at, size_t end)
{
    while (at < end && is_upper(w, t, at))
        at++;
    return at;
}

static size_t phrase(const struct pretok_text *t, size_t at, size_t end)
{
    while (at < end && (t->cls[at] & PRETOK_L)) {
        at = run_of(t, at + 1, end, PRETOK_M);
        if (at + 1 < end && t->cp[at] == ' ' && (t->cls[at + 1] & PRETOK_L))
            at++;
    }
    return at;
}

/* A word of letters at <at> without a head, or <at>. */
static size_t bare_letters(const struct words *w, const struct pretok_text *t,
                           size_t at, size_t end)
{
    switch (w->letters) {
    case LETTERS_MARKS:
        return run_of(t, at, end, PRETOK_L | PRETOK_M);
    case LETTERS_PHRASE:
        return phrase(t, at, end);
    default:
        return run_of(t, at, end, PRETOK_L);
    }
}

/* The same with or without a head; each alternative is tried with it first. */
static size_t letters(const struct words *w, const struct pretok_text *t,
                      size_t at, size_t end)
{
    bool head =
        !is_line_end(t->cp[at]) && !(t->cls[at] & (PRETOK_L | PRETOK_N));
    size_t to;

    if (w->letters < LETTERS_ASCII) {
        to = head ? bare_letters(w, t, at + 1, end) : at;
        return to > at + 1 ? to : bare_letters(w, t, at, end);
    }
    if (head && (to = upper_lower(w, t, at + 1, end)) > at + 1)
        return to;
    if ((to = upper_lower(w, t, at, end)) > at)
        return to;
    if (head && (to = upper_only(w, t, at + 1, end)) > at + 1)
        return to;
    return upper_only(w, t, at, end);
}

/* The end of a word of symbols with a space before it, or <at>. */
static size_t symbols(const struct words *w, const struct pretok_text *t,
                      size_t at, size_t end)
{
    size_t from = t->cp[at] == ' ' ? at + 1 : at;
    size_t to = run_without(t, from, end, w->not_symbols);
    size_t most = w->tail_one ? 1 : SIZE_MAX, tail;

    if (to == from)
        return at;
    for (tail = 0; to < end && tail < most; tail++, to++) {
        if (!(w->tail_lines && is_line_end(t->cp[to])) &&
            !(w->tail_slash && t->cp[to] == '/'))
            break;
    }
    return to;
}

/* The end of the word at <at>; these and gpt2() leave nothing over. */
static size_t words(const struct words *w, const struct pretok_text *t,
                    size_t at, size_t end)
{
    size_t to = w->contractions ? contraction(t, at, end, true) : at;

    if (to == at) {
        to = letters(w, t, at, end);
        if (to > at && w->suffixes)
            to = contraction(t, to, end, true);
    }
    while (to < end && to - at < w->digits && (t->cls[at] & PRETOK_N) &&
           (t->cls[to] & PRETOK_N))
        to++;
    if (to == at)
        to = symbols(w, t, at, end);
    if (to == at)
        to = white(t, at, end, true);
    return to;
}

static size_t gpt2(const struct pretok_text *t, size_t at, size_t end)
{
    size_t to = contraction(t, at, end, false);
    size_t from = t->cp[at] == ' ' ? at + 1 : at;

    if (to == at) {
        to = run_of(t, from, end, PRETOK_L);
        if (to == from)
            to = run_of(t, from, end, PRETOK_N);
        if (to == from)
            to = run_without(t, from, end, LNZ);
        if (to == from)
            to = white(t, at, end, false);
    }
    return to;
}

/* [!-/:-@\[-`{-~][A-Za-z]+ at <at>, or <at>. */
static size_t ascii_word(const struct pretok_text *t, size_t at, size_t end)
{
    uint32_t c = t->cp[at];
    size_t to = at + 1;

    if (!(c >= 0x21 && c <= 0x7e) || (t->cls[at] & (PRETOK_L | PRETOK_N)))
        return at;
    while (to < end && t->cp[to] < 0x80 && (t->cls[to] & PRETOK_L))
        to++;
    return to > at + 1 ? to : at;
}

/* [^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+ at <at>, or <at>. */
static size_t marked_word(const struct pretok_text *t, size_t at, size_t end)
{
    bool head = !is_line_end(t->cp[at]) &&
                !(t->cls[at] & (PRETOK_L | PRETOK_P | PRETOK_S));
    size_t to = head ? run_of(t, at + 1, end, PRETOK_L | PRETOK_M) : at;

    return to > at + 1 ? to : run_of(t, at, end, PRETOK_L | PRETOK_M);
}

/* Numbers and CJK were cut off before; what is left over, such as control
 * characters, stays between the matches. */
static size_t deepseek3(const struct pretok_text *t, size_t at, size_t end)
{
    size_t from = t->cp[at] == ' ' ? at + 1 : at;
    size_t to = ascii_word(t, at, end);

    if (to == at)
        to = marked_word(t, at, end);
    if (to == at) {
        to = run_of(t, from, end, PRETOK_P | PRETOK_S);
        if (to == from)
            to = at;
        while (to > at && to < end && is_line_end(t->cp[to]))
            to++;
    }
    if (to == at)
        to = white(t, at, end, true);
    return to;
}

bool pretok_scan_words(enum pretok_pass pass, const struct pretok_text *t,
                       size_t at, size_t end, size_t *to_out)
{
    size_t to;

    if (pass == PRETOK_GPT2)
        to = gpt2(t, at, end);
    else if (pass == PRETOK_DEEPSEEK3)
        to = deepseek3(t, at, end);
    else
        to = words(&rules[pass], t, at, end);
    *to_out = to > at ? to : at + 1;
    return to > at;
}
