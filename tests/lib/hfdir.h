/* hfdir.h - Model directories in the layout of Hugging Face, for tests: the
 * same shapes and numbers as ggufm.h. Exits when the system refuses. */
#ifndef TG_TESTS_LIB_HFDIR_H
#define TG_TESTS_LIB_HFDIR_H

#include "lib/ggufm.h"

/* Write config.json, weights in <shards> files (1: a single one without an
 * index), tokenizer.json, tokenizer_config.json and generation_config.json of
 * a byte-level BPE model of shape <s> into the directory <dir>. Rows of q and k
 * are as ggufm.h makes them: not reordered. s->dtype is a float. */
void hfdir_make(const char *dir, const struct ggufm_shape *s, unsigned shards);

/* Write the weights alone; <halves>: rows of q and k in the order that rotary
 * pairs in halves want, where ggufm.h has them for neighbours, so that the
 * directory computes what the GGUF file of a llama computes. */
void hfdir_weights(const char *dir, const struct ggufm_shape *s,
                   unsigned shards, bool halves);

/* Write file <name> of <dir>, replacing what is there. */
void hfdir_put(const char *dir, const char *name, struct str text);

/* The text of config.json for <s>: members in the order of the class, with
 * <more> (such as ",\"rope_theta\":1e6") behind them. To be freed. */
char *hfdir_config(const struct ggufm_shape *s, const char *more);

#endif
