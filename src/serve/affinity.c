/* affinity.c - See affinity.h. The bytes are taken as they were sent, quotes,
 * braces and all: clients write the same prompt the same way. At most
 * AFFINITY_BYTES are ever copied, and hardly more are read. */
#include "serve/affinity.h"

#include "serve/pick.h"
#include "wire/jscan.h"

#define AFFINITY_BYTES ((size_t)PICK_BLOCK_BYTES * PICK_BLOCKS)

/* The beginning of a prompt. */
struct head {
    char text[AFFINITY_BYTES];
    size_t len;
};

static void head_put(struct head *h, struct str s)
{
    const size_t room = AFFINITY_BYTES - h->len;
    const size_t n = s.len < room ? s.len : room;

    if (n > 0)
        memcpy(h->text + h->len, s.p, n);
    h->len += n;
}

/* Whether <item> is a message of the user. */
static bool is_users(const struct jmember *item)
{
    const struct jmember role = jval_member(item, STR("role"));

    return role.type == JT_STRING && jval_is(role.value, STR("user"));
}

/* The elements of <list> up to the first message of the user, as one slice, or
 * more than is ever copied; all of them when there is no such message. */
static struct str first_items(const struct jmember *list)
{
    struct str out = str_of(list->value.p, 0);
    struct jmember item;
    struct jiter it;

    jiter_init(&it, list->value);
    while (out.len < AFFINITY_BYTES + 1 && jiter_next(&it, &item)) {
        out.len = (size_t)(item.value.p + item.value.len - out.p);
        if (item.type == JT_OBJECT && out.len < AFFINITY_BYTES + 1 &&
            is_users(&item))
            break;
    }
    return out.len > 0 ? str_skip(out, 1) : out;
}

static void head_put_value(struct head *h, const struct jmember *v)
{
    if (v->type == JT_STRING)
        head_put(h, str_of(v->value.p + 1, v->value.len - 2));
    else if (v->type == JT_ARRAY)
        head_put(h, first_items(v));
    else if (v->type == JT_OBJECT)
        head_put(h, v->value);
}

/* What comes before the messages, in the dialects that have it apart. */
static void head_put_system(struct head *h, const struct jscan *scan)
{
    struct jmember m;
    struct jiter it;

    jiter_init(&it, scan->root.value);
    while (jiter_next(&it, &m))
        if (jval_is(m.key, STR("system")) ||
            jval_is(m.key, STR("instructions")))
            head_put_value(h, &m);
}

bool affinity_key(const struct jscan *scan, struct str model, uint64_t *key_out)
{
    static const enum jreq prompts[] = {JREQ_MESSAGES, JREQ_INPUT, JREQ_PROMPT};
    const struct jmember *v = NULL;
    struct head h = {.len = 0};

    for (size_t i = 0; scan && i < sizeof(prompts) / sizeof(prompts[0]); i++)
        if (!v && !jval_is_unset(&scan->m[prompts[i]]))
            v = &scan->m[prompts[i]];
    if (!v)
        return false;
    head_put_system(&h, scan);
    head_put_value(&h, v);
    if (h.len == 0)
        return false;
    *key_out = pick_prefix_key(pick_hash(0, model), str_of(h.text, h.len));
    return true;
}
