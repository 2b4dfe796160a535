/* pretok_names.c - Which models cut words how: the rules, and the names that
 * model files give them. */
#include "token/pretok.h"

/* Names of one family, at most. */
#define MOST_NAMES 24

/* A rule with the names that mean it. */
struct named {
    struct pretok_family family;
    const char *names[MOST_NAMES];
};

/* The first is what holds where a file names none. */
static const struct named families[] = {
    {{{{PRETOK_DEFAULT_PUNCT, PRETOK_GPT2, PRETOK_DIGITS, PRETOK_ASCII3},
       false},
      false,
      false},
     {"default"}},
    {{{{PRETOK_LLAMA3}, false}, true, true},
     {"llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral",
      "midm-2.0", "lfm2", "jina-v5-nano"}},
    {{{{PRETOK_LLAMA3}, false}, false, false},
     {"smaug-bpe", "dbrx", "glm4", "chatglm-bpe"}},
    {{{{PRETOK_QWEN2}, false}, false, false},
     {"qwen2", "deepseek-r1-qwen", "kormo", "f2llmv2", "megrez", "stablelm2",
      "hunyuan", "solar-open", "grok-2", "bailingmoe", "bailingmoe2",
      "llada-moe"}},
    {{{{PRETOK_QWEN35}, false}, false, false}, {"qwen35"}},
    {{{{PRETOK_SEED_CODER}, false}, false, false}, {"seed-coder"}},
    {{{{PRETOK_UFAKZEKA}, false}, false, false}, {"ufakzeka"}},
    {{{{PRETOK_LINES, PRETOK_QWEN2}, false}, false, false}, {"laguna"}},
    {{{{PRETOK_EXAONE_MOE}, false}, false, false}, {"exaone-moe"}},
    {{{{PRETOK_DIGITS3, PRETOK_MINICPM5}, false}, true, false}, {"minicpm5"}},
    {{{{PRETOK_GPT2}, false}, false, false},
     {"gpt-2", "phi-2", "jina-es", "jina-de", "jina-v2-es", "jina-v2-de",
      "gigachat", "a.x-4.0", "mellum", "modern-bert", "jina-v1-en",
      "jina-v2-code", "roberta-bpe", "exaone4", "mpt", "olmo", "jais",
      "trillion", "granite-docling"}},
    {{{{PRETOK_DIGIT, PRETOK_GPT2}, false}, false, false},
     {"starcoder", "refact", "command-r", "smollm", "codeshell", "exaone",
      "minerva-7b", "mellum2"}},
    {{{{PRETOK_FALCON_PUNCT, PRETOK_GPT2, PRETOK_ASCII3}, false}, false, false},
     {"falcon"}},
    {{{{PRETOK_LINE_END, PRETOK_DEEPSEEK_LETTERS, PRETOK_DEEPSEEK_PUNCT,
        PRETOK_TRAILING, PRETOK_DEEPSEEK_CJK, PRETOK_DIGITS},
       false},
      false,
      false},
     {"deepseek-llm"}},
    {{{{PRETOK_LINE_END, PRETOK_LETTERS, PRETOK_PUNCT, PRETOK_DEEPSEEK_CJK,
        PRETOK_DIGIT},
       false},
      false,
      false},
     {"deepseek-coder"}},
    {{{{PRETOK_DIGITS3, PRETOK_DEEPSEEK3_CJK, PRETOK_DEEPSEEK3}, false},
      false,
      false},
     {"deepseek-v3", "hunyuan-dense", "joyai-llm", "hy_v4"}},
    {{{{PRETOK_GPT4O_GGUF}, false}, false, false},
     {"gpt-4o", "llama4", "kanana2", "talkie", "minimax-m2"}},
    {{{{PRETOK_TEKKEN_GGUF}, false}, true, true}, {"tekken"}},
    {{{{PRETOK_BLOOM}, false}, false, false},
     {"bloom", "gpt3-finnish", "poro-chat"}},
    {{{{PRETOK_BLOOM, PRETOK_DIGIT}, false}, false, false}, {"viking"}},
};

#define N_FAMILIES (sizeof(families) / sizeof(families[0]))

const char *pretok_nth_name(size_t i)
{
    for (size_t f = 0; f < N_FAMILIES; f++) {
        for (size_t k = 0; k < MOST_NAMES && families[f].names[k]; k++) {
            if (i-- == 0)
                return families[f].names[k];
        }
    }
    return NULL;
}

const struct pretok_family *pretok_by_name(struct str name)
{
    if (name.len == 0)
        return &families[0].family;
    for (size_t f = 0; f < N_FAMILIES; f++) {
        for (size_t k = 0; k < MOST_NAMES && families[f].names[k]; k++) {
            if (str_eq(str_from(families[f].names[k]), name))
                return &families[f].family;
        }
    }
    return NULL;
}
