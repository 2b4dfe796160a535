/* vocab_made.c - See vocab_made.h. */
#include "lib/vocab_made.h"

#include <stdio.h>
#include <stdlib.h>

#define MOST 400

/* A vocabulary that grows token by token. */
struct made {
    struct str text[MOST];
    float scores[MOST];
    int32_t types[MOST];
    struct str merges[MOST];
    char bytes[256][8];
    size_t n;
    size_t n_merges;
};

struct vocab_spec vocab_made_unsaid(void)
{
    return (struct vocab_spec){.bos = -1,
                               .eos = -1,
                               .eot = -1,
                               .eom = -1,
                               .unk = -1,
                               .pad = -1,
                               .add_bos = VOCAB_UNSAID,
                               .add_eos = VOCAB_UNSAID,
                               .add_space_prefix = VOCAB_UNSAID};
}

static void add(struct made *m, const char *text, float score, int32_t type)
{
    m->text[m->n] = str_from(text);
    m->scores[m->n] = score;
    m->types[m->n] = type;
    m->n++;
}

static struct vocab *finish(struct made *m, struct vocab_spec *spec)
{
    struct vocab_fault why;
    struct vocab *v = NULL;

    spec->n = m->n;
    spec->text = m->text;
    spec->scores = m->scores;
    spec->types = m->types;
    spec->merges = m->merges;
    spec->n_merges = m->n_merges;
    if (vocab_new(spec, &why, &v)) {
        fprintf(stderr, "vocab_made: %s\n", why.text);
        abort();
    }
    free(m);
    return v;
}

static struct made *begin(void)
{
    struct made *m = calloc(1, sizeof(*m));

    if (!m)
        abort();
    return m;
}

struct vocab *vocab_made_spm(enum vocab_said prefix)
{
    static const struct {
        const char *text;
        float score;
    } pieces[] = {
        {"\xe2\x96\x81", -9},
        {"a", -10},
        {"b", -11},
        {"c", -12},
        {"<", -13},
        {"/", -14},
        {"s", -15},
        {">", -16},
        {"ab", -3},
        {"bc", -2},
        {"abc", -4},
        {"\xe2\x96\x81"
         "a",
         -5},
        {"\xe2\x96\x81\xe2\x96\x81", -6},
        {"aa", -7},
        {"aaaa", -8},
        {"</", -1},
        {"s>", -1},
    };
    struct vocab_spec spec = vocab_made_unsaid();
    struct made *m = begin();

    spec.kind = VOCAB_SPM;
    spec.add_space_prefix = prefix;
    add(m, "<unk>", 0, VOCAB_UNKNOWN);
    add(m, "<s>", 0, VOCAB_CONTROL);
    add(m, "</s>", 0, VOCAB_CONTROL);
    for (unsigned b = 0; b < 256; b++) {
        snprintf(m->bytes[b], sizeof(m->bytes[b]), "<0x%02X>", b);
        add(m, m->bytes[b], 0, VOCAB_BYTE);
    }
    for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++)
        add(m, pieces[i].text, pieces[i].score, VOCAB_NORMAL);
    add(m, "<|user|>", 0, VOCAB_USER);
    return finish(m, &spec);
}

/* Add the tokens of GPT-2's alphabet, printable bytes first. */
static void add_alphabet(struct made *m)
{
    unsigned other = 0x100;

    for (unsigned pass = 0; pass < 2; pass++) {
        for (unsigned b = 0; b < 256; b++) {
            bool itself = (b >= 0x21 && b <= 0x7e) || (b >= 0xa1 && b != 0xad);
            unsigned cp = itself ? b : other;
            char *at = m->bytes[b];

            if (itself != (pass == 0))
                continue;
            other += !itself;
            if (cp >= 0x80)
                *at++ = (char)(0xc0 | cp >> 6);
            *at = (char)(cp >= 0x80 ? 0x80 | (cp & 0x3f) : cp);
            add(m, m->bytes[b], 0, VOCAB_NORMAL);
        }
    }
}

struct vocab *vocab_made_bpe(const char *pre)
{
    static const char *const tokens[] = {
        "th",
        "the",
        "\xc4\xa0the",
        "in",
        "\xc4\xa0\xc4\xa0",
        "\xc3\x83\xc2\xa9",
        "hello",
        "ing",
    };
    static const char *const merges[] = {
        "t h",
        "th e",
        "\xc4\xa0 the",
        "i n",
        "in g",
        "\xc4\xa0 \xc4\xa0",
        "\xc3\x83 \xc2\xa9",
        "E N",
        "EN D",
    };
    struct vocab_spec spec = vocab_made_unsaid();
    struct made *m = begin();

    spec.kind = VOCAB_BPE;
    spec.pre = str_from(pre);
    add_alphabet(m);
    for (size_t i = 0; i < sizeof(tokens) / sizeof(tokens[0]); i++)
        add(m, tokens[i], 0, VOCAB_NORMAL);
    add(m, "<|im_start|>", 0, VOCAB_CONTROL);
    add(m, "<|im_end|>", 0, VOCAB_CONTROL);
    add(m, "<|im|>", 0, VOCAB_USER);
    add(m, "   ", 0, VOCAB_USER);
    add(m, "END", 0, VOCAB_CONTROL);
    for (size_t i = 0; i < sizeof(merges) / sizeof(merges[0]); i++)
        m->merges[m->n_merges++] = str_from(merges[i]);
    return finish(m, &spec);
}
