/* access.c - Formats the line on the stack; a line that does not fit loses
 * its longest texts, never its shape. */
#include "settle/access.h"

#include <inttypes.h>

#include "base/clock.h"
#include "base/log.h"
#include "exchange/exchange.h"
#include "store/row.h"
#include "wire/jsplice.h"

#define LINE_MAX_BYTES 8192
#define TEXT_MAX_BYTES 512 /* of one free text, before escaping */

static struct str cut(struct str s)
{
    return s.len > TEXT_MAX_BYTES ? str_of(s.p, TEXT_MAX_BYTES) : s;
}

/* Appends `"name":"value",`; a full buffer shows in <ok>. */
static void put_text(struct buf *b, const char *name, struct str value,
                     bool *ok)
{
    *ok = *ok && buf_printf(b, "\"%s\":", name) == ERR_OK &&
          json_put_str(b, cut(value)) == ERR_OK && buf_put(b, ",", 1) == ERR_OK;
}

static const char *source_name(unsigned source)
{
    static const char *const names[ROW_SOURCE_COUNT] = {"none", "upstream",
                                                        "engine", "estimated"};

    return source < ROW_SOURCE_COUNT ? names[source] : "none";
}

static bool put_head(struct buf *b, const struct exchange *x,
                     const struct usage_row *row)
{
    char time[CLOCK_RFC3339_SIZE];
    bool ok = true;

    clock_format_rfc3339((uint64_t)x->start_wall_ms, time);
    ok = buf_put(b, "{", 1) == ERR_OK;
    put_text(b, "time", str_from(time), &ok);
    put_text(b, "id", row->id, &ok);
    put_text(b, "key", row->key_id, &ok);
    put_text(b, "team", row->team, &ok);
    put_text(b, "method", x->in->head.method_text, &ok);
    put_text(b, "path", x->in->head.path, &ok);
    put_text(b, "model", row->model, &ok);
    put_text(b, "target", x->work->target_name, &ok);
    return ok;
}

static bool put_numbers(struct buf *b, const struct exchange *x,
                        const struct usage_row *row)
{
    const struct bill *bill = x->bill;
    int64_t overhead_us = x->stage_us[STAGE_SERVE]
                              ? x->stage_us[STAGE_SERVE] - x->in->head_us
                              : 0;

    return buf_printf(b,
                      "\"status\":%u,\"stream\":%s,\"attempts\":%u,"
                      "\"cache\":\"bypass\",\"input_tokens\":%" PRIu64
                      ",\"cached_tokens\":%" PRIu64
                      ",\"output_tokens\":%" PRIu64
                      ",\"usage_source\":\"%s\",\"cost_nusd\":%" PRId64 ",",
                      row->status, (row->flags & ROW_STREAM) ? "true" : "false",
                      row->attempts, bill->input_tok, bill->cached_tok,
                      bill->output_tok, source_name(row->usage_source),
                      row->cost_nusd) == ERR_OK &&
           buf_printf(b,
                      "\"ms_total\":%u,\"ms_first_byte\":%u,\"us_overhead\":"
                      "%" PRId64 ",\"bytes_in\":%" PRIu64
                      ",\"bytes_out\":%" PRIu64 ",",
                      row->ms_total, row->ms_first_byte,
                      overhead_us < 0 ? 0 : overhead_us, row->bytes_in,
                      row->bytes_out) == ERR_OK;
}

void access_write(const struct exchange *x, const struct usage_row *row)
{
    struct buf b;
    bool ok;

    buf_init(&b, LINE_MAX_BYTES);
    ok = buf_reserve(&b, 1024) == ERR_OK && put_head(&b, x, row) &&
         put_numbers(&b, x, row);
    put_text(&b, "finish", str_from(x->out->usage.finish), &ok);
    put_text(&b, "reason", row->reason, &ok);
    if (ok && b.len > 1) {
        b.p[b.len - 1] = '}';
        log_access_write(b.p, b.len);
    }
    buf_fini(&b);
}
