/* vocab_new.c - A vocabulary from what a model file says: which rules hold
 * where the file is silent, as llama.cpp has them. */
#include "token/vocab.h"

#include <stdio.h>
#include <stdlib.h>

#include "token/vocab_impl.h"

/* Cut "left right"; a merge without a space joins nothing. */
static void cut_merge(struct str s, struct vocab_merge *out)
{
    size_t at = s.len > 0 ? 1 + str_find_char(str_skip(s, 1), ' ') : 0;

    if (at >= s.len) {
        *out = (struct vocab_merge){{s.p, 0}, {s.p, 0}};
        return;
    }
    out->left = str_of(s.p, at);
    out->right = str_skip(s, at + 1);
}

/* Say which names there are, as many as there is room for. */
static void refuse_pre(struct str pre, struct vocab_fault *why)
{
    size_t at;

    vocab_fault_set(why, "pre-tokenizer \"%.*s\" is not supported; supported:",
                    (int)(pre.len < 40 ? pre.len : 40), pre.p);
    at = strlen(why->text);
    for (size_t i = 0; pretok_nth_name(i); i++) {
        const char *name = pretok_nth_name(i);

        if (at + strlen(name) + 6 > sizeof(why->text)) {
            snprintf(why->text + at, sizeof(why->text) - at, " ...");
            return;
        }
        at += (size_t)snprintf(why->text + at, sizeof(why->text) - at, "%s%s",
                               i ? ", " : " ", name);
    }
}

/* Whether <s> has <part>, which is in lower case, in any case. */
static bool has(struct str s, struct str part)
{
    for (size_t i = 0; i + part.len <= s.len; i++) {
        if (str_ieq(str_of(s.p + i, part.len), part))
            return true;
    }
    return false;
}

/* Phi-3's special tokens swallow the white space after them, but for three;
 * Jina's mask token what is before it. */
static void set_strip(const struct vocab_spec *spec, uint8_t *strip)
{
    bool phi = has(spec->model_name, STR("phi-3")) ||
               has(spec->model_name, STR("phi3"));
    bool jina = has(spec->pre, STR("jina-v2-de")) ||
                has(spec->pre, STR("jina-v2-es")) ||
                has(spec->pre, STR("jina-v2-code"));

    for (size_t i = 0; i < spec->n; i++) {
        struct str t = spec->text[i];

        strip[i] = 0;
        if (phi && !str_eq(t, STR("<unk>")) && !str_eq(t, STR("<s>")) &&
            !str_eq(t, STR("<|endoftext|>")))
            strip[i] = VOCAB_RSTRIP;
        if (jina && str_eq(t, STR("<mask>")))
            strip[i] = VOCAB_LSTRIP;
    }
}

/* What holds for SPM where <spec> is silent. */
static void default_spm(struct vocab_spec *spec, struct vocab_plan *plan)
{
    if (spec->bos < 0 && spec->n > 1)
        spec->bos = 1;
    if (spec->eos < 0 && spec->n > 2)
        spec->eos = 2;
    if (spec->unk < 0 && spec->n > 0)
        spec->unk = 0;
    plan->adds_bos = spec->add_bos != VOCAB_NO;
    plan->prefix = spec->add_space_prefix == VOCAB_NO ? VOCAB_PREFIX_NONE
                                                      : VOCAB_PREFIX_ALWAYS;
}

/* And for BPE. Files that name no eos are of Falcon's time, whose own is 11. */
static enum err default_bpe(struct vocab_spec *spec, struct vocab_plan *plan,
                            struct vocab_fault *why)
{
    const struct pretok_family *pre = pretok_by_name(spec->pre);
    bool falcon = spec->n > 11 && str_eq(spec->text[11], STR("<|endoftext|>"));

    if (!pre) {
        refuse_pre(spec->pre, why);
        return ERR_REFUSED;
    }
    if (spec->bos < 0 && falcon)
        spec->bos = 11;
    if (spec->eos < 0 && falcon)
        spec->eos = 11;
    plan->pre = &pre->rule;
    plan->ignore_merges = pre->ignore_merges;
    plan->adds_bos = spec->add_bos == VOCAB_UNSAID ? pre->adds_bos
                                                   : spec->add_bos == VOCAB_YES;
    return ERR_OK;
}

enum err vocab_new(const struct vocab_spec *spec, struct vocab_fault *why,
                   struct vocab **out)
{
    struct vocab_spec filled = *spec;
    struct vocab_plan plan = {.spec = &filled,
                              .adds_eos = spec->add_eos == VOCAB_YES};
    struct vocab_merge *merges = NULL;
    uint8_t *strip = malloc(spec->n + 1);
    enum err e = ERR_NOMEM;

    why->text[0] = '\0';
    if (!strip)
        goto out;
    set_strip(spec, strip);
    plan.strip = strip;
    if (spec->kind == VOCAB_SPM) {
        default_spm(&filled, &plan);
        filled.n_merges = 0;
    } else {
        e = default_bpe(&filled, &plan, why);
        if (e)
            goto out;
        e = ERR_NOMEM;
        merges = calloc(spec->n_merges + 1, sizeof(*merges));
        if (!merges)
            goto out;
        for (size_t i = 0; i < spec->n_merges; i++)
            cut_merge(spec->merges[i], &merges[i]);
        plan.merges = merges;
    }
    e = vocab_build(&plan, why, out);
out:
    free(merges);
    free(strip);
    return e;
}
