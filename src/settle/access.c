/* access.c - Formats the line in one piece. Its free texts are cut, so that a
 * line always fits. */
#include "settle/access.h"

#include "base/clock.h"
#include "base/log.h"
#include "exchange/exchange.h"
#include "store/row.h"
#include "wire/jsplice.h"

#define LINE_MAX_BYTES   8192
#define TEXT_MAX_BYTES   512 /* of one free text, before escaping */
#define LINE_USUAL_BYTES 1024

static struct str cut(struct str s)
{
    return s.len > TEXT_MAX_BYTES ? str_of(s.p, TEXT_MAX_BYTES) : s;
}

/* A line on its way; <ok> is false once something did not fit. */
struct line {
    struct buf b;
    bool ok;
};

/* What stands before the value of <name>. */
#define NAME(name) STR(",\"" name "\":")

/* Appends <name>, from NAME(), and the text. */
static void put_text(struct line *l, struct str name, struct str value)
{
    l->ok = l->ok && buf_put_str(&l->b, name) == ERR_OK &&
            json_put_str(&l->b, cut(value)) == ERR_OK;
}

/* Appends <name>, from NAME(), and the number. */
static void put_number(struct line *l, struct str name, int64_t value)
{
    l->ok = l->ok && buf_put_str(&l->b, name) == ERR_OK &&
            buf_put_i64(&l->b, value) == ERR_OK;
}

/* Appends <name>, from NAME(), and the truth. */
static void put_bool(struct line *l, struct str name, bool value)
{
    l->ok = l->ok && buf_put_str(&l->b, name) == ERR_OK &&
            buf_put_str(&l->b, value ? STR("true") : STR("false")) == ERR_OK;
}

static const char *source_name(unsigned source)
{
    static const char *const names[ROW_SOURCE_COUNT] = {"none", "upstream",
                                                        "engine", "estimated"};

    return source < ROW_SOURCE_COUNT ? names[source] : "none";
}

static void put_head(struct line *l, const struct exchange *x,
                     const struct usage_row *row)
{
    char time[CLOCK_RFC3339_SIZE];

    clock_format_rfc3339((uint64_t)x->start_wall_ms, time);
    put_text(l, STR("{\"time\":"), str_from(time));
    put_text(l, NAME("id"), row->id);
    put_text(l, NAME("key"), row->key_id);
    put_text(l, NAME("team"), row->team);
    put_text(l, NAME("method"), x->in->head.method_text);
    put_text(l, NAME("path"), x->in->head.path);
    put_text(l, NAME("model"), row->model);
    put_text(l, NAME("target"), x->work->target_name);
}

static void put_numbers(struct line *l, const struct exchange *x,
                        const struct usage_row *row)
{
    const struct bill *bill = x->bill;
    const int64_t chosen_us = x->stage_us[STAGE_SERVE]
                                  ? x->stage_us[STAGE_SERVE]
                                  : x->stage_us[STAGE_RELAY];
    const int64_t overhead_us = chosen_us ? chosen_us - x->in->head_us : 0;

    put_number(l, NAME("status"), row->status);
    put_bool(l, NAME("stream"), (row->flags & ROW_STREAM) != 0);
    put_number(l, NAME("attempts"), row->attempts);
    put_text(l, NAME("cache"), recall_name(x->found->how));
    put_number(l, NAME("input_tokens"), (int64_t)bill->input_tok);
    put_number(l, NAME("cached_tokens"), (int64_t)bill->cached_tok);
    put_number(l, NAME("output_tokens"), (int64_t)bill->output_tok);
    put_text(l, NAME("usage_source"), str_from(source_name(row->usage_source)));
    put_number(l, NAME("cost_nusd"), row->cost_nusd);
    put_number(l, NAME("ms_total"), row->ms_total);
    put_number(l, NAME("ms_first_byte"), row->ms_first_byte);
    put_number(l, NAME("us_overhead"), overhead_us < 0 ? 0 : overhead_us);
    put_number(l, NAME("bytes_in"), (int64_t)row->bytes_in);
    put_number(l, NAME("bytes_out"), (int64_t)row->bytes_out);
}

void access_write(const struct exchange *x, const struct usage_row *row)
{
    struct line l = {.ok = true};

    buf_init(&l.b, LINE_MAX_BYTES);
    l.ok = buf_reserve(&l.b, LINE_USUAL_BYTES) == ERR_OK;
    put_head(&l, x, row);
    put_numbers(&l, x, row);
    put_text(&l, NAME("finish"), str_from(x->out->usage.finish));
    put_text(&l, NAME("reason"), row->reason);
    if (l.ok && buf_put(&l.b, "}", 1) == ERR_OK)
        log_access_write(l.b.p, l.b.len);
    buf_fini(&l.b);
}
