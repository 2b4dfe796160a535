/* row.c - Bytes of a usage row. Decides the order of its fields, which is
 * for ever; new fields go to the end. */
#include "store/row.h"

#include "base/panic.h"
#include "store/rec.h"

uint64_t row_input_tokens(const uint64_t tok[ROW_TOK_COUNT])
{
    return tok[ROW_TOK_INPUT] + tok[ROW_TOK_CACHE_READ] +
           tok[ROW_TOK_CACHE_WRITE_5M] + tok[ROW_TOK_CACHE_WRITE_1H] +
           tok[ROW_TOK_AUDIO_IN];
}

uint64_t row_output_tokens(const uint64_t tok[ROW_TOK_COUNT])
{
    return tok[ROW_TOK_OUTPUT] + tok[ROW_TOK_REASONING] +
           tok[ROW_TOK_AUDIO_OUT];
}

const char *row_cache_name(unsigned cache)
{
    static const char *const names[ROW_CACHE_COUNT] = {"none", "miss", "hit",
                                                       "joined"};

    return cache < ROW_CACHE_COUNT ? names[cache] : names[0];
}

struct str row_hold_id(const struct usage_row *row)
{
    return row->hold.len > 0 ? row->hold : row->id;
}

static bool is_id(struct str s)
{
    return s.len == 0 || s.len == ROW_ID_LEN;
}

size_t row_encode(const struct usage_row *row, void *out)
{
    struct rec_out o = {.p = out, .room = ROW_BYTES_MAX};

    BUG_ON(row->id.len != ROW_ID_LEN || !is_id(row->parent) ||
           !is_id(row->hold));
    rec_put_raw(&o, row->id.p, ROW_ID_LEN);
    rec_put_int(&o, (uint64_t)row->time_wall_ms, 8);
    rec_put_int(&o, row->status, 2);
    rec_put_int(&o, row->flags, 2);
    rec_put_int(&o, row->attempts, 1);
    rec_put_int(&o, row->usage_source, 1);
    rec_put_int(&o, ROW_TOK_COUNT, 1);
    for (unsigned i = 0; i < ROW_TOK_COUNT; i++)
        rec_put_int(&o, row->tok[i], 8);
    rec_put_int(&o, (uint64_t)row->cost_nusd, 8);
    rec_put_int(&o, row->ms_total, 4);
    rec_put_int(&o, row->ms_first_byte, 4);
    rec_put_int(&o, row->bytes_in, 8);
    rec_put_int(&o, row->bytes_out, 8);
    rec_put_text(&o, row->key_id, ROW_NAME_MAX);
    rec_put_text(&o, row->team, ROW_NAME_MAX);
    rec_put_text(&o, row->endpoint, ROW_NAME_MAX);
    rec_put_text(&o, row->model, ROW_MODEL_MAX);
    rec_put_text(&o, row->target, ROW_TARGET_MAX);
    rec_put_text(&o, row->target_model, ROW_MODEL_MAX);
    rec_put_text(&o, row->reason, ROW_REASON_MAX);
    rec_put_text(&o, row->finish, ROW_FINISH_MAX);
    rec_put_int(&o, row->audio_ms, 8);
    rec_put_int(
        &o, (uint64_t)(row->budget_ms ? row->budget_ms : row->time_wall_ms), 8);
    rec_put_text(&o, row->parent, ROW_ID_LEN);
    rec_put_text(&o, row->hold, ROW_ID_LEN);
    rec_put_int(&o, row->cache, 1);
    rec_put_int(&o, row->saved_input_tok, 8);
    rec_put_int(&o, row->saved_output_tok, 8);
    rec_put_int(&o, (uint64_t)row->saved_nusd, 8);
    BUG_ON(o.full);
    return o.len;
}

/* Token kinds are counted in the record: a newer writer may know more of
 * them, which are dropped here, an older one fewer, which are then 0. */
static void get_tokens(struct rec_in *in, uint64_t tok[ROW_TOK_COUNT])
{
    const unsigned n = (unsigned)rec_get_int(in, 1);

    for (unsigned i = 0; i < n; i++) {
        const uint64_t v = rec_get_int(in, 8);

        if (i < ROW_TOK_COUNT)
            tok[i] = v;
    }
}

enum err row_decode(struct str bytes, struct usage_row *row_out)
{
    struct rec_in in = {.p = (const uint8_t *)bytes.p, .left = bytes.len};
    struct usage_row r = {.id = rec_get_raw(&in, ROW_ID_LEN)};

    r.time_wall_ms = (int64_t)rec_get_int(&in, 8);
    r.status = (uint16_t)rec_get_int(&in, 2);
    r.flags = (uint16_t)rec_get_int(&in, 2);
    r.attempts = (uint8_t)rec_get_int(&in, 1);
    r.usage_source = (uint8_t)rec_get_int(&in, 1);
    get_tokens(&in, r.tok);
    r.cost_nusd = (int64_t)rec_get_int(&in, 8);
    r.ms_total = (uint32_t)rec_get_int(&in, 4);
    r.ms_first_byte = (uint32_t)rec_get_int(&in, 4);
    r.bytes_in = rec_get_int(&in, 8);
    r.bytes_out = rec_get_int(&in, 8);
    r.key_id = rec_get_text(&in);
    r.team = rec_get_text(&in);
    r.endpoint = rec_get_text(&in);
    r.model = rec_get_text(&in);
    r.target = rec_get_text(&in);
    r.target_model = rec_get_text(&in);
    r.reason = rec_get_text(&in);
    r.finish = rec_get_text(&in);
    r.audio_ms = rec_get_int(&in, 8);
    /* rows of the first format end here */
    r.budget_ms = in.left > 0 ? (int64_t)rec_get_int(&in, 8) : r.time_wall_ms;
    if (in.left > 0) { /* nor did the second know legs */
        r.parent = rec_get_text(&in);
        r.hold = rec_get_text(&in);
    }
    if (in.left > 0) { /* and the third no stored replies */
        r.cache = (uint8_t)rec_get_int(&in, 1);
        r.saved_input_tok = rec_get_int(&in, 8);
        r.saved_output_tok = rec_get_int(&in, 8);
        r.saved_nusd = (int64_t)rec_get_int(&in, 8);
    }
    if (in.bad || !is_id(r.parent) || !is_id(r.hold) ||
        r.key_id.len > ROW_NAME_MAX || r.team.len > ROW_NAME_MAX ||
        r.endpoint.len > ROW_NAME_MAX || r.model.len > ROW_MODEL_MAX ||
        r.target.len > ROW_TARGET_MAX || r.target_model.len > ROW_MODEL_MAX ||
        r.reason.len > ROW_REASON_MAX || r.finish.len > ROW_FINISH_MAX)
        return ERR_CORRUPT;
    *row_out = r;
    return ERR_OK;
}
