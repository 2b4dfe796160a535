/* fz_safetensors.c - A model directory's files without the directory: up to
 * the first NUL the text of a config.json (also tried as the other small JSON
 * files), then a safetensors image. */
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

static void try_texts(struct model *m, struct str text)
{
    struct model_fault why = {""};
    const char **names;
    size_t n;

    BUG_ON(model_hf_generation(m, text, &why) != ERR_OK && !why.text[0]);
    BUG_ON(model_hf_templates(m, text, &why) != ERR_OK && !why.text[0]);
    if (model_hf_shards(m, text, &why, &names, &n) != ERR_OK)
        return;
    for (size_t i = 0; i < n; i++)
        BUG_ON(strchr(names[i], '/') || names[i][0] == '.');
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
    try_texts(m, config);
    try_model(m, config, str_skip(all, config.len + 1));
    model_close(m);
    return 0;
}
