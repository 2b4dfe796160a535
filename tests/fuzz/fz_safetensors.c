/* fz_safetensors.c - A model directory's files without the directory. What
 * begins with 'G', 'T' or 'I' is the text of a generation_config.json, of
 * a file with chat templates or of an index of shards; all else is the text
 * of a config.json up to the first NUL, then a safetensors image. */
#include <stdlib.h>

#include "base/panic.h"
#include "engine/model_fault.h"
#include "engine/model_priv.h"
#include "engine/safetensors.h"

#define ARENA_CAP ((size_t)32 << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Every tensor lies in the image. */
static void check_entries(struct str image, const struct model_entries *all)
{
    for (size_t i = 0; i < all->n; i++) {
        const char *p = all->v[i].data;

        BUG_ON(p < image.p || p > image.p + image.len ||
               all->v[i].bytes > (size_t)(image.p + image.len - p));
    }
}

static void try_index(struct model *m, struct str text)
{
    struct model_fault why = {""};
    const char **names;
    size_t n;

    if (model_hf_shards(m, text, &why, &names, &n) != ERR_OK)
        return;
    for (size_t i = 0; i < n; i++)
        BUG_ON(strchr(names[i], '/') || names[i][0] == '.');
}

static void try_text(struct model *m, char kind, struct str text)
{
    struct model_fault why = {""};
    enum err e = ERR_OK;

    if (kind == 'G')
        e = model_hf_generation(m, text, &why);
    else if (kind == 'T')
        e = model_hf_templates(m, text, &why);
    else
        try_index(m, text);
    BUG_ON(e != ERR_OK && !why.text[0]);
}

static void try_model(struct model *m, struct str config, struct str image)
{
    struct model_fault why = {""};
    struct model_entries all = {0};
    struct safetensors shard = {0};
    struct model_binding how;
    bool configured = model_hf_config(m, config, &why, &how) == ERR_OK;
    enum err e = safetensors_parse(image, "x", &why, &all, &shard);

    if (e == ERR_OK) {
        check_entries(image, &all);
        e = model_entries_sort(&all, &why);
    }
    if (e == ERR_OK && configured)
        e = model_bind(m, &all, &how, &why);
    BUG_ON(e != ERR_OK && !why.text[0]);
    safetensors_fini(&shard);
    free(all.v);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str all = str_of(data, size);
    struct str config = str_of(data, str_find_char(all, '\0'));
    struct model *m = model_new(ARENA_CAP);

    if (!m)
        return 0;
    if (size > 0 && (data[0] == 'G' || data[0] == 'T' || data[0] == 'I'))
        try_text(m, (char)data[0], str_skip(all, 1));
    else
        try_model(m, config, str_skip(all, config.len + 1));
    model_close(m);
    return 0;
}
