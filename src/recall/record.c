/* record.c - See record.h. */
#include "recall/record.h"

#include <string.h>

#include "store/rec.h"

#define VERSION    1
#define FIXED      24   /* bytes before the texts and counts */
#define TEXTS_MAX  1024 /* of texts and counts, more than they ever take */
#define MARK_BYTES 8    /* length and time of a frame */

/* ---- writing ----------------------------------------------------------- */

static void put_sum(struct rec_out *o, const struct tape_sum *sum)
{
    rec_put_text(o, str_from(sum->id), ID_SIZE - 1);
    rec_put_int(o, (uint64_t)sum->made_wall_ms, 8);
    rec_put_int(o, ROW_TOK_COUNT, 1);
    for (unsigned i = 0; i < ROW_TOK_COUNT; i++)
        rec_put_int(o, sum->tok[i], 8);
    rec_put_int(o, (uint64_t)sum->cost_nusd, 8);
    rec_put_text(o, sum->target, ROW_TARGET_MAX);
    rec_put_text(o, sum->target_model, ROW_MODEL_MAX);
    rec_put_text(o, str_from(sum->finish), sizeof(sum->finish) - 1);
    rec_put_int(o, sum->usage_source, 1);
    rec_put_int(o, sum->flags, 2);
    rec_put_int(o, sum->estimated, 1);
}

/* The texts and counts of <t>; gives how many bytes they take. */
static size_t put_texts(const struct tape *t, uint8_t out[TEXTS_MAX])
{
    struct rec_out o = {.p = out, .room = TEXTS_MAX};
    const struct tape_sum *sum = tape_sum(t);

    rec_put_text(&o, tape_head(t)->type, TAPE_TYPE_MAX);
    rec_put_int(&o, sum != NULL, 1);
    if (sum)
        put_sum(&o, sum);
    return o.len;
}

/* How many frames the record of <t> has. */
static uint64_t frames_of(const struct tape *t)
{
    if (tape_head(t)->events)
        return tape_frames(t);
    return tape_bytes(t) > 0 ? 1 : 0;
}

/* Write the table of <t> to <table> and its body to <body>. A plain body has
 * one frame, which came when its last piece did. */
static void put_frames(const struct tape *t, struct rec_out *table, char *body)
{
    const bool events = tape_head(t)->events;
    struct tape_pos pos = {.at = 0};
    struct str frame;
    uint32_t ms = 0;

    while (tape_scan(t, &pos, &frame, &ms)) {
        memcpy(body, frame.p, frame.len);
        body += frame.len;
        if (!events)
            continue;
        rec_put_int(table, frame.len, 4);
        rec_put_int(table, ms, 4);
    }
    if (events || tape_bytes(t) == 0)
        return;
    rec_put_int(table, tape_bytes(t), 4);
    rec_put_int(table, ms, 4);
}

uint64_t record_extra_bytes(const struct tape *t)
{
    return FIXED + TEXTS_MAX + MARK_BYTES * (tape_frames(t) + 1);
}

enum err record_put(const struct tape *t, struct buf *out)
{
    uint8_t texts[TEXTS_MAX];
    struct rec_out o;
    size_t n_texts, all;
    uint64_t frames;

    if (tape_state(t) != TAPE_COMPLETE || !tape_is_whole(t))
        return ERR_NOT_FOUND;
    frames = frames_of(t);
    if (frames > UINT32_MAX ||
        (!tape_head(t)->events && tape_bytes(t) > UINT32_MAX))
        return ERR_RANGE;
    n_texts = put_texts(t, texts);
    all = FIXED + n_texts + MARK_BYTES * frames + tape_bytes(t);
    ERR_TRY(buf_reserve(out, all));
    o = (struct rec_out){.p = (uint8_t *)out->p + out->len,
                         .room = all - tape_bytes(t)};
    rec_put_int(&o, VERSION, 1);
    rec_put_int(&o, tape_head(t)->events, 1);
    rec_put_int(&o, (uint64_t)tape_head(t)->status, 2);
    rec_put_int(&o, n_texts, 4);
    rec_put_int(&o, frames, 4);
    rec_put_int(&o, 0, 4);
    rec_put_int(&o, tape_bytes(t), 8);
    rec_put_raw(&o, texts, n_texts);
    put_frames(t, &o, (char *)o.p + o.room);
    out->len += all;
    return ERR_OK;
}

/* ---- reading ----------------------------------------------------------- */

/* The same as a C string; false when it is too long. */
static bool copy_text(char *out, size_t size, struct str s)
{
    if (s.len >= size)
        return false;
    if (s.len > 0)
        memcpy(out, s.p, s.len);
    out[s.len] = '\0';
    return true;
}

static bool get_sum(struct rec_in *in, struct tape_sum *sum)
{
    bool fits = copy_text(sum->id, sizeof(sum->id), rec_get_text(in));

    sum->made_wall_ms = (int64_t)rec_get_int(in, 8);
    fits = fits && rec_get_int(in, 1) == ROW_TOK_COUNT;
    for (unsigned i = 0; i < ROW_TOK_COUNT; i++)
        sum->tok[i] = rec_get_int(in, 8);
    sum->cost_nusd = (int64_t)rec_get_int(in, 8);
    sum->target = rec_get_text(in);
    sum->target_model = rec_get_text(in);
    fits =
        fits && copy_text(sum->finish, sizeof(sum->finish), rec_get_text(in));
    sum->usage_source = (uint8_t)rec_get_int(in, 1);
    sum->flags = (uint16_t)rec_get_int(in, 2);
    sum->estimated = rec_get_int(in, 1) != 0;
    return fits && sum->usage_source < ROW_SOURCE_COUNT;
}

static bool get_texts(struct str texts, struct record_view *v)
{
    struct rec_in in = {.p = (const uint8_t *)texts.p, .left = texts.len};

    v->head.type = rec_get_text(&in);
    if (v->head.type.len > TAPE_TYPE_MAX)
        return false;
    v->has_sum = rec_get_int(&in, 1) == 1;
    if (v->has_sum && !get_sum(&in, &v->sum))
        return false;
    return !in.bad;
}

/* Whether the frames are none of them empty and together the body. */
static bool table_is_right(const struct record_view *v)
{
    struct rec_in in = {.p = (const uint8_t *)v->table.p, .left = v->table.len};
    uint64_t sum = 0;

    for (uint32_t i = 0; i < v->frames; i++) {
        const uint64_t len = rec_get_int(&in, 4);

        (void)rec_get_int(&in, 4);
        if (len == 0)
            return false;
        sum += len;
    }
    return sum == v->body_bytes;
}

enum err record_view_part(struct str bytes, uint64_t total_bytes,
                          struct record_view *out)
{
    struct rec_in in = {.p = (const uint8_t *)bytes.p, .left = bytes.len};
    const enum err more = bytes.len < total_bytes ? ERR_AGAIN : ERR_CORRUPT;
    struct record_view v = {.frames = 0};
    uint64_t version, events, reserved, before;
    size_t n_texts;

    if (bytes.len < FIXED)
        return more;
    version = rec_get_int(&in, 1);
    events = rec_get_int(&in, 1);
    v.head.events = events == 1;
    v.head.status = (int)rec_get_int(&in, 2);
    n_texts = (size_t)rec_get_int(&in, 4);
    v.frames = (uint32_t)rec_get_int(&in, 4);
    reserved = rec_get_int(&in, 4);
    v.body_bytes = rec_get_int(&in, 8);
    if (version != VERSION || events > 1 || reserved != 0 ||
        v.head.status < 200 || v.head.status > 599)
        return ERR_CORRUPT;
    before = FIXED + (uint64_t)n_texts + (uint64_t)v.frames * MARK_BYTES;
    if (before > total_bytes || total_bytes - before != v.body_bytes ||
        bytes.len > total_bytes)
        return ERR_CORRUPT;
    if (bytes.len < before)
        return ERR_AGAIN;
    v.table = rec_get_raw(&in, n_texts);
    if (!get_texts(v.table, &v))
        return ERR_CORRUPT;
    v.table = rec_get_raw(&in, (size_t)v.frames * MARK_BYTES);
    v.body = str_of(in.p, in.left);
    if (!table_is_right(&v))
        return ERR_CORRUPT;
    *out = v;
    return ERR_OK;
}

enum err record_view(struct str bytes, struct record_view *out)
{
    return record_view_part(bytes, bytes.len, out);
}

bool record_next(const struct record_view *v, struct record_pos *pos,
                 struct str *frame_out, uint32_t *ms_out)
{
    struct rec_in in;
    uint64_t len;

    if (pos->index >= v->frames)
        return false;
    in = (struct rec_in){.p = (const uint8_t *)v->table.p +
                              (size_t)pos->index * MARK_BYTES,
                         .left = MARK_BYTES};
    len = rec_get_int(&in, 4);
    if (pos->at + len > v->body.len)
        return false;
    *frame_out = str_of(v->body.p + pos->at, (size_t)len);
    *ms_out = (uint32_t)rec_get_int(&in, 4);
    pos->at += len;
    pos->index++;
    return true;
}

enum err record_open(struct str bytes, unsigned n_workers, struct tape **out)
{
    struct record_pos pos = {.index = 0};
    struct record_view v;
    struct str frame;
    struct tape *t;
    uint32_t ms;

    ERR_TRY(record_view(bytes, &v));
    t = tape_new(UINT64_MAX / 2, n_workers);
    if (!t)
        return ERR_NOMEM;
    tape_start(t, &v.head);
    while (record_next(&v, &pos, &frame, &ms))
        tape_put_at(t, frame, ms);
    tape_end(t, true, v.has_sum ? &v.sum : NULL);
    if (!tape_is_whole(t)) {
        tape_unref(t);
        return ERR_NOMEM;
    }
    *out = t;
    return ERR_OK;
}
