/* control_price.c - See control_price.h. Asks as billing does, so that what is
 * shown is what is charged. */
#include "daemon/control_price.h"

#include <inttypes.h>
#include <stdio.h>

#include "account/price.h"
#include "base/clock.h"
#include "conf/conf.h"
#include "daemon/control_args.h"

#define DAY_MS UINT64_C(86400000)

/* Where the name of the target in <text> ends: names of engine models may hold
 * a slash, those of upstreams do not. */
static size_t name_length(const struct conf *c, struct str text, bool *engine)
{
    for (size_t i = 0; i < c->engine.n_models; i++) {
        struct str name = c->engine.models[i].name;

        *engine = str_starts(text, name) && text.len > name.len &&
                  text.p[name.len] == '/';
        if (*engine)
            return name.len;
    }
    return str_find_char(text, '/');
}

/* The amount <v> of 10^-<places> USD, without zeros at its end. */
static json_t *amount_json(int64_t v, unsigned places)
{
    int64_t unit = places == 6 ? 1000000 : 1000000000;
    char text[40];
    int len = snprintf(text, sizeof(text), "%" PRId64 ".%0*" PRId64, v / unit,
                       (int)places, v % unit);

    while (text[len - 1] == '0')
        len--;
    if (text[len - 1] == '.')
        len--;
    return json_text(str_of(text, (size_t)len));
}

static void put_entry(json_t *o, const struct conf_price *p)
{
    char day[CLOCK_RFC3339_SIZE];

    clock_format_rfc3339((uint64_t)p->updated_days * DAY_MS, day);
    json_object_set_new(o, "line", json_integer(p->line));
    json_object_set_new(o, "updated", json_text(str_of(day, 10)));
    for (unsigned i = 0; i < CONF_PRICE_COUNT; i++)
        if ((p->given & (1U << i)) != 0)
            json_object_set_new(
                o, conf_price_item_name((enum conf_price_item)i),
                amount_json(p->at[i], i < CONF_PRICE_TOKENS ? 6 : 9));
}

static json_t *price_json(const struct conf *c, struct str text)
{
    bool engine = false;
    size_t len = name_length(c, text, &engine);
    struct price_quote q =
        price_find(&c->price, str_of(text.p, len), str_skip(text, len + 1),
                   engine, (int64_t)clock_now_wall_ms());
    json_t *o = json_pack("{s:o, s:b, s:b, s:b}", "target", json_text(text),
                          "unpriced", (q.marks & PRICE_MISSING) != 0, "stale",
                          (q.marks & PRICE_STALE) != 0, "free",
                          !q.price && q.marks == 0);

    if (q.price)
        put_entry(o, q.price);
    return o;
}

json_t *control_price_list(const struct conf *c, const json_t *targets)
{
    json_t *list = json_array();

    for (size_t i = 0; i < json_array_size(targets); i++)
        json_array_append_new(list,
                              price_json(c, str_from(json_string_value(
                                                json_array_get(targets, i)))));
    return list;
}
