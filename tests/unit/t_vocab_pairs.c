/* t_vocab_pairs.c - Vocabularies of real models against the ids that their
 * publishers' tokenizers give: every NAME.gguf with NAME.gguf.inp and .out, and
 * NAME.vocab.txt with NAME.merges.txt, NAME.inp and .out, that the test data
 * has. */
#include "unit/cmocka_all.h"
#include "unit/vocab_files.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

#define CASE_END STR("\n__ggml_vocab_test__\n")

/* Cut the next case off <rest>. */
static bool next_case(struct str *rest, struct str *out)
{
    size_t at;

    if (!rest->p)
        return false;
    at = str_find(*rest, CASE_END);
    *out = str_of(rest->p, at);
    if (at == rest->len)
        rest->p = NULL;
    else
        *rest = str_skip(*rest, at + CASE_END.len);
    return true;
}

/* Whether the ids in decimal, spaces between, are <ids>. */
static bool same_ids(struct str line, const struct vocab_ids *ids)
{
    struct str word;
    size_t n = 0;

    while (str_split(&line, ' ', &word)) {
        uint64_t id;

        if (word.len == 0)
            continue;
        if (!str_to_u64(word, &id) || n >= ids->n || (int32_t)id != ids->ids[n])
            return false;
        n++;
    }
    return n == ids->n;
}

/* Cases of <inp> whose ids differ from the lines of <out>. */
static unsigned compare(const struct vocab *v, const char *name, struct str inp,
                        struct str out)
{
    struct str text, line;
    unsigned wrong = 0, n = 0;

    while (next_case(&inp, &text) && str_split(&out, '\n', &line)) {
        struct vocab_ids ids = {0};

        assert_int_equal(vocab_encode(v, text, NULL, 0, 1 << 20, &ids), 0);
        if (!same_ids(line, &ids)) {
            print_error("%s: case %u '%.*s'\n want %.*s\n have", name, n,
                        STR_ARG(text), STR_ARG(line));
            for (size_t i = 0; i < ids.n; i++)
                print_error(" %d", (int)ids.ids[i]);
            print_error("\n");
            wrong++;
        }
        free(ids.ids);
        n++;
    }
    print_message("%s: %u of %u\n", name, n - wrong, n);
    assert_true(n > 0);
    return wrong;
}

static unsigned compare_files(const struct vocab *v, const char *base)
{
    char path[900];
    struct str inp, out;
    unsigned wrong;

    snprintf(path, sizeof(path), "%s.inp", base);
    inp = vocab_files_read(path);
    snprintf(path, sizeof(path), "%s.out", base);
    out = vocab_files_read(path);
    if (!inp.p || !out.p) {
        free((char *)(uintptr_t)inp.p);
        free((char *)(uintptr_t)out.p);
        return 0;
    }
    wrong = compare(v, base, inp, out);
    free((char *)(uintptr_t)inp.p);
    free((char *)(uintptr_t)out.p);
    return wrong;
}

/* Compare the vocabulary of directory entry <name>, if it is one. */
static unsigned compare_entry(const char *dir, const char *name, unsigned *seen)
{
    struct vocab_fault why = {""};
    struct str s = str_from(name);
    struct vocab *v;
    char path[800], merges[800];
    unsigned wrong;

    snprintf(path, sizeof(path), "%s/%s", dir, name);
    if (str_ends(s, STR(".gguf"))) {
        v = vocab_files_gguf(path, &why);
    } else if (str_ends(s, STR(".vocab.txt"))) {
        snprintf(merges, sizeof(merges), "%s/%.*s.merges.txt", dir,
                 (int)(s.len - 10), name);
        v = vocab_files_lists(path, merges, "qwen2", &why);
        path[strlen(path) - 10] = '\0';
    } else {
        return 0;
    }
    if (!v)
        fail_msg("%s: %s", name, why.text);
    wrong = compare_files(v, path);
    vocab_free(v);
    (*seen)++;
    return wrong;
}

static void real_vocabularies_give_the_published_ids(void **state)
{
    char dir[400];
    unsigned wrong = 0, seen = 0;
    struct dirent *entry;
    DIR *d;

    (void)state;
    snprintf(dir, sizeof(dir), "%s/tokenizers", vocab_files_dir());
    d = opendir(dir);
    if (!d)
        skip();
    while ((entry = readdir(d)))
        wrong += compare_entry(dir, entry->d_name, &seen);
    closedir(d);
    assert_true(seen > 0);
    assert_int_equal(wrong, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(real_vocabularies_give_the_published_ids),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
