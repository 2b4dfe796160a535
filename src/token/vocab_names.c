/* vocab_names.c - Tokens that published models use for the same purpose are
 * known by their texts, because files often fail to say what they are. */
#include "token/vocab_impl.h"

/* DeepSeek writes its special tokens with a full-width bar and U+2581. */
#define BAR   "\xef\xbd\x9c"
#define DS(a) "<" BAR a BAR ">"
#define SP    "\xe2\x96\x81"

static const char *const eog_names[] = {
    "<|eot_id|>",
    "<|im_end|>",
    "<|end|>",
    "<|return|>",
    "<|call|>",
    "<|flush|>",
    "<|calls|>",
    "<end_of_turn>",
    "<|endoftext|>",
    "</s>",
    "<|eom_id|>",
    "<EOT>",
    "_<EOT>",
    "[EOT]",
    "[EOS]",
    "<|end_of_text|>",
    "<end_of_utterance>",
    "<eos>",
    "<turn|>",
    "<|tool_response>",
    DS("end" SP "of" SP "sentence"),
    "[e~[",
    NULL,
};

/* Tokens for filling in the middle of code; the first that is there counts. */
static const char *const fim_prefix[] = {
    "<|fim_prefix|>",     "<fim-prefix>", "<fim_prefix>",
    DS("fim" SP "begin"), "<PRE>",        SP "<PRE>",
    "<|code_prefix|>",    "<|prefix|>",   NULL,
};
static const char *const fim_suffix[] = {
    "<|fim_suffix|>",    "<fim-suffix>", "<fim_suffix>",
    DS("fim" SP "hole"), "<SUF>",        SP "<SUF>",
    "<|code_suffix|>",   "<|suffix|>",   NULL,
};
static const char *const fim_middle[] = {
    "<|fim_middle|>",   "<fim-middle>", "<fim_middle>",
    DS("fim" SP "end"), "<MID>",        SP "<MID>",
    "<|code_middle|>",  "<|middle|>",   NULL,
};
static const char *const fim_pad[] = {
    "<|fim_pad|>", "<fim-pad>", "<fim_pad>", "<PAD>", "[PAD]", NULL,
};
static const char *const fim_repo[] = {
    "<|fim_repo|>", "<|repo_name|>", "<fim-repo>", "<REPO>", "<reponame>", NULL,
};
static const char *const fim_file[] = {"<|file_sep|>", NULL};

/* Always shown, also where special tokens are not. */
static const char *const shown_names[] = {
    "<|channel|>", "<|message|>", "<|start|>", "<|constrain|>", NULL,
};

static void mark(struct vocab *v, int32_t id, uint8_t type, uint8_t flags)
{
    if (id < 0)
        return;
    v->type[id] = type;
    v->flags[id] |= flags;
}

static int32_t find(const struct vocab *v, const char *name)
{
    return vocab_find(v, str_from(name));
}

/* Mark the token of smallest id that has one of <names>. */
static void mark_one(struct vocab *v, const char *const *names, uint8_t flags)
{
    int32_t first = -1;

    for (; *names; names++) {
        int32_t id = find(v, *names);

        if (id >= 0 && (first < 0 || id < first))
            first = id;
    }
    mark(v, first, VOCAB_CONTROL, flags);
}

/* Whether there is a token <name> that ends a generation. */
static bool ends(const struct vocab *v, const char *name)
{
    return vocab_is_eog(v, find(v, name));
}

static void unmark(struct vocab *v, const char *name, uint8_t type)
{
    int32_t id = find(v, name);

    v->type[id] = type;
    v->flags[id] &= (uint8_t)~VOCAB_EOG;
}

void vocab_mark_names(struct vocab *v)
{
    mark_one(v, fim_prefix, 0);
    mark_one(v, fim_suffix, 0);
    mark_one(v, fim_middle, 0);
    mark_one(v, fim_pad, VOCAB_EOG);
    mark_one(v, fim_repo, VOCAB_EOG);
    mark_one(v, fim_file, VOCAB_EOG);
    for (size_t i = 0; eog_names[i]; i++)
        mark(v, find(v, eog_names[i]), VOCAB_CONTROL, VOCAB_EOG);
    for (size_t i = 0; shown_names[i]; i++)
        mark(v, find(v, shown_names[i]), VOCAB_USER, 0);
    if (v->eos >= 0)
        v->flags[v->eos] |= VOCAB_EOG;
    if (v->eot >= 0)
        v->flags[v->eot] |= VOCAB_EOG;
    if (v->eom >= 0)
        v->flags[v->eom] |= VOCAB_EOG;
    if (ends(v, "<|end|>") &&
        ((ends(v, "<|return|>") &&
          (ends(v, "<|call|>") || ends(v, "<|calls|>"))) ||
         (ends(v, "<|flush|>") &&
          (ends(v, "<|call|>") || ends(v, "<|calls|>")))))
        unmark(v, "<|end|>", VOCAB_USER);
    if (ends(v, "<|tool_response>") && ends(v, "</s>"))
        unmark(v, "</s>", VOCAB_NORMAL);
}
