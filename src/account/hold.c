/* hold.c - Bytes of a hold; the order of its fields is for ever. */
#include "account/hold.h"

#include "base/panic.h"
#include "store/rec.h"

size_t hold_encode(const struct hold *h, void *out)
{
    struct rec_out o = {.p = out, .room = HOLD_BYTES_MAX};

    BUG_ON(h->id.len != ROW_ID_LEN);
    rec_put_raw(&o, h->id.p, ROW_ID_LEN);
    rec_put_int(&o, (uint64_t)h->at_ms, 8);
    rec_put_int(&o, h->input_tok, 8);
    rec_put_int(&o, h->output_tok, 8);
    rec_put_int(&o, (uint64_t)h->cost_nusd, 8);
    rec_put_text(&o, h->key_id, ROW_NAME_MAX);
    rec_put_text(&o, h->team, ROW_NAME_MAX);
    rec_put_int(&o, h->change, 4);
    rec_put_text(&o, h->parent, ROW_ID_LEN);
    BUG_ON(o.full);
    return o.len;
}

enum err hold_decode(struct str bytes, struct hold *out)
{
    struct rec_in in = {.p = (const uint8_t *)bytes.p, .left = bytes.len};
    struct hold h = {.id = rec_get_raw(&in, ROW_ID_LEN)};

    h.at_ms = (int64_t)rec_get_int(&in, 8);
    h.input_tok = rec_get_int(&in, 8);
    h.output_tok = rec_get_int(&in, 8);
    h.cost_nusd = (int64_t)rec_get_int(&in, 8);
    h.key_id = rec_get_text(&in);
    h.team = rec_get_text(&in);
    h.change = (uint32_t)rec_get_int(&in, 4);
    if (in.left > 0) /* else of a version that knew no legs */
        h.parent = rec_get_text(&in);
    if (in.bad || h.cost_nusd < 0 ||
        (h.parent.len > 0 && h.parent.len != ROW_ID_LEN))
        return ERR_CORRUPT;
    *out = h;
    return ERR_OK;
}

void hold_row(const struct hold *h, struct usage_row *out)
{
    const unsigned leg = h->parent.len > 0 ? ROW_LEG : 0;

    *out = (struct usage_row){
        .id = h->id,
        .time_wall_ms = h->at_ms,
        .key_id = h->key_id,
        .team = h->team,
        .reason = STR("the daemon died before it was over"),
        .flags =
            (uint16_t)(ROW_ESTIMATED | ROW_INCOMPLETE | ROW_IN_DOUBT | leg),
        .usage_source = ROW_SOURCE_ESTIMATED,
        .tok =
            {[ROW_TOK_INPUT] = h->input_tok, [ROW_TOK_OUTPUT] = h->output_tok},
        .cost_nusd = h->cost_nusd,
        .budget_ms = h->at_ms,
        .parent = h->parent,
    };
}
