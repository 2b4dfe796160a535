/* tmpl_filter.h - The filters of chat templates. Each takes the value and its
 * arguments, bound in the order given here, MISSING where one was not given;
 * fails with ERR_SYNTAX for a value it cannot take, ERR_FULL, ERR_NOMEM. */
#ifndef TG_TOKEN_TMPL_FILTER_H
#define TG_TOKEN_TMPL_FILTER_H

#include "token/tmpl_run.h"

/* A filter. */
typedef enum err tmpl_filter_fn(struct tmpl_run *run, struct tmpl_val v,
                                const struct tmpl_val *a, struct tmpl_val *out);

/* --- tmpl_fstr.c --- */

/* Indent the lines: width, first, blank. */
enum err tmpl_f_indent(struct tmpl_run *run, struct tmpl_val v,
                       const struct tmpl_val *a,
                       struct tmpl_val *out) MUST_CHECK;

/* Replace: old, new, count. */
enum err tmpl_f_replace(struct tmpl_run *run, struct tmpl_val v,
                        const struct tmpl_val *a,
                        struct tmpl_val *out) MUST_CHECK;

/* JSON: ensure_ascii, indent, separators, sort_keys. */
enum err tmpl_f_tojson(struct tmpl_run *run, struct tmpl_val v,
                       const struct tmpl_val *a,
                       struct tmpl_val *out) MUST_CHECK;

/* Escape for HTML. */
enum err tmpl_f_escape(struct tmpl_run *run, struct tmpl_val v,
                       const struct tmpl_val *a,
                       struct tmpl_val *out) MUST_CHECK;

/* Center: width. */
enum err tmpl_f_center(struct tmpl_run *run, struct tmpl_val v,
                       const struct tmpl_val *a,
                       struct tmpl_val *out) MUST_CHECK;

/* Shorten: length, killwords, end, leeway. */
enum err tmpl_f_truncate(struct tmpl_run *run, struct tmpl_val v,
                         const struct tmpl_val *a,
                         struct tmpl_val *out) MUST_CHECK;

/* The number of words. */
enum err tmpl_f_wordcount(struct tmpl_run *run, struct tmpl_val v,
                          const struct tmpl_val *a,
                          struct tmpl_val *out) MUST_CHECK;

/* Split: sep, maxsplit. */
enum err tmpl_f_split(struct tmpl_run *run, struct tmpl_val v,
                      const struct tmpl_val *a,
                      struct tmpl_val *out) MUST_CHECK;

/* Strip both ends: chars. */
enum err tmpl_f_trim(struct tmpl_run *run, struct tmpl_val v,
                     const struct tmpl_val *a, struct tmpl_val *out) MUST_CHECK;

/* Upper case. */
enum err tmpl_f_upper(struct tmpl_run *run, struct tmpl_val v,
                      const struct tmpl_val *a,
                      struct tmpl_val *out) MUST_CHECK;

/* Lower case. */
enum err tmpl_f_lower(struct tmpl_run *run, struct tmpl_val v,
                      const struct tmpl_val *a,
                      struct tmpl_val *out) MUST_CHECK;

/* The first letter in upper case, the others in lower case. */
enum err tmpl_f_capitalize(struct tmpl_run *run, struct tmpl_val v,
                           const struct tmpl_val *a,
                           struct tmpl_val *out) MUST_CHECK;

/* Words with capitals. */
enum err tmpl_f_title(struct tmpl_run *run, struct tmpl_val v,
                      const struct tmpl_val *a,
                      struct tmpl_val *out) MUST_CHECK;

/* An integer: default, base. */
enum err tmpl_f_int(struct tmpl_run *run, struct tmpl_val v,
                    const struct tmpl_val *a, struct tmpl_val *out) MUST_CHECK;

/* A float: default. */
enum err tmpl_f_float(struct tmpl_run *run, struct tmpl_val v,
                      const struct tmpl_val *a,
                      struct tmpl_val *out) MUST_CHECK;

/* The absolute value. */
enum err tmpl_f_abs(struct tmpl_run *run, struct tmpl_val v,
                    const struct tmpl_val *a, struct tmpl_val *out) MUST_CHECK;

/* Round: precision, method. */
enum err tmpl_f_round(struct tmpl_run *run, struct tmpl_val v,
                      const struct tmpl_val *a,
                      struct tmpl_val *out) MUST_CHECK;

/* As text. */
enum err tmpl_f_string(struct tmpl_run *run, struct tmpl_val v,
                       const struct tmpl_val *a,
                       struct tmpl_val *out) MUST_CHECK;

/* As a boolean. */
enum err tmpl_f_bool(struct tmpl_run *run, struct tmpl_val v,
                     const struct tmpl_val *a, struct tmpl_val *out) MUST_CHECK;

/* --- tmpl_fseq.c --- */

/* Join: d, attribute. */
enum err tmpl_f_join(struct tmpl_run *run, struct tmpl_val v,
                     const struct tmpl_val *a, struct tmpl_val *out) MUST_CHECK;

/* The first element. */
enum err tmpl_f_first(struct tmpl_run *run, struct tmpl_val v,
                      const struct tmpl_val *a,
                      struct tmpl_val *out) MUST_CHECK;

/* The last element. */
enum err tmpl_f_last(struct tmpl_run *run, struct tmpl_val v,
                     const struct tmpl_val *a, struct tmpl_val *out) MUST_CHECK;

/* A list of the elements. */
enum err tmpl_f_list(struct tmpl_run *run, struct tmpl_val v,
                     const struct tmpl_val *a, struct tmpl_val *out) MUST_CHECK;

/* The other way round. */
enum err tmpl_f_reverse(struct tmpl_run *run, struct tmpl_val v,
                        const struct tmpl_val *a,
                        struct tmpl_val *out) MUST_CHECK;

/* Sort: reverse, case_sensitive, attribute. */
enum err tmpl_f_sort(struct tmpl_run *run, struct tmpl_val v,
                     const struct tmpl_val *a, struct tmpl_val *out) MUST_CHECK;

/* Each once: case_sensitive, attribute. */
enum err tmpl_f_unique(struct tmpl_run *run, struct tmpl_val v,
                       const struct tmpl_val *a,
                       struct tmpl_val *out) MUST_CHECK;

/* The least: case_sensitive, attribute. */
enum err tmpl_f_min(struct tmpl_run *run, struct tmpl_val v,
                    const struct tmpl_val *a, struct tmpl_val *out) MUST_CHECK;

/* The greatest: case_sensitive, attribute. */
enum err tmpl_f_max(struct tmpl_run *run, struct tmpl_val v,
                    const struct tmpl_val *a, struct tmpl_val *out) MUST_CHECK;

/* The sum: attribute, start. */
enum err tmpl_f_sum(struct tmpl_run *run, struct tmpl_val v,
                    const struct tmpl_val *a, struct tmpl_val *out) MUST_CHECK;

/* Rows: linecount, fill_with. */
enum err tmpl_f_batch(struct tmpl_run *run, struct tmpl_val v,
                      const struct tmpl_val *a,
                      struct tmpl_val *out) MUST_CHECK;

/* Columns: slices, fill_with. */
enum err tmpl_f_slice(struct tmpl_run *run, struct tmpl_val v,
                      const struct tmpl_val *a,
                      struct tmpl_val *out) MUST_CHECK;

/* Groups: attribute, default, case_sensitive. */
enum err tmpl_f_groupby(struct tmpl_run *run, struct tmpl_val v,
                        const struct tmpl_val *a,
                        struct tmpl_val *out) MUST_CHECK;

/* Pairs of key and value. */
enum err tmpl_f_items(struct tmpl_run *run, struct tmpl_val v,
                      const struct tmpl_val *a,
                      struct tmpl_val *out) MUST_CHECK;

/* Sorted pairs: case_sensitive, by, reverse. */
enum err tmpl_f_dictsort(struct tmpl_run *run, struct tmpl_val v,
                         const struct tmpl_val *a,
                         struct tmpl_val *out) MUST_CHECK;

/* The number of elements or characters. */
enum err tmpl_f_length(struct tmpl_run *run, struct tmpl_val v,
                       const struct tmpl_val *a,
                       struct tmpl_val *out) MUST_CHECK;

#endif
