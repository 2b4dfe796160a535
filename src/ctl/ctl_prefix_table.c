/* ctl_prefix_table.c - See ctl_prefix_table.h. Programs get numbers in bytes
 * and seconds, people get them in units that they can read. */
#include "ctl/ctl_prefix_table.h"

#include <stdint.h>
#include <stdio.h>

#include "ctl/ctl_io.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* The member <name> of <o> as a size for people; null stays null. */
static json_t *size_text(const json_t *o, const char *name)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    const json_t *v = json_object_get(o, name);
    double n = json_number_value(v);
    char text[32];
    size_t u = 0;

    if (!json_is_number(v))
        return json_null();
    for (; n >= 1024 && u + 1 < COUNT(units); u++)
        n /= 1024;
    snprintf(text, sizeof(text), u > 0 ? "%.1f %s" : "%.0f %s", n, units[u]);
    return json_string(text);
}

/* The member <name> of <o> over <unit>, with <digits> behind the point. */
static json_t *number_text(const json_t *o, const char *name, double unit,
                           int digits)
{
    const json_t *v = json_object_get(o, name);
    char text[64];

    if (!json_is_number(v))
        return json_null();
    snprintf(text, sizeof(text), "%.*f", digits, json_number_value(v) / unit);
    return json_string(text);
}

/* <v> with its numbers as people read them. */
static json_t *shown(const json_t *v, const json_t *name)
{
    json_t *o = json_object();

    json_object_update(o, (json_t *)(uintptr_t)v);
    json_object_set(o, "name", (json_t *)(uintptr_t)name);
    json_object_set_new(
        o, "state",
        json_string(json_is_true(json_object_get(v, "on")) ? "on" : "off"));
    json_object_set_new(o, "size", size_text(v, "bytes"));
    json_object_set_new(o, "bound", size_text(v, "max_bytes"));
    json_object_set_new(o, "ratio", number_text(v, "hit_ratio", 1, 3));
    json_object_set_new(o, "rate",
                        number_text(v, "restore_bytes_per_second", 1e9, 2));
    json_object_set_new(o, "saved", number_text(v, "saved_seconds", 1, 1));
    return o;
}

void ctl_prefix_table(const json_t *models, const char *name, const char *store)
{
    static const struct ctl_column columns[] = {
        {"MODEL", "name", false},
        {"STORE", "state", false},
        {"SIZE", "size", true},
        {"BOUND", "bound", true},
        {"ENTRIES", "pages", true},
        {"HIT RATIO", "ratio", true},
        {"TOKENS SAVED", "restored_tokens", true},
        {"GB/S", "rate", true},
        {"SECONDS SAVED", "saved", true},
        {"RESTORED", "restores", true},
        {"RECOMPUTED", "recomputes", true},
        {"REASON", "reason", false},
    };
    json_t *rows = json_array();

    for (size_t i = 0; i < json_array_size(models); i++) {
        const json_t *m = json_array_get(models, i);

        json_array_append_new(rows, shown(store ? json_object_get(m, store) : m,
                                          json_object_get(m, name)));
    }
    ctl_table(rows, columns, COUNT(columns), "no engine models");
    json_decref(rows);
}

void ctl_prefix_spaces(const json_t *spaces, const char *empty)
{
    static const struct ctl_column columns[] = {
        {"NAMESPACE", "namespace", false},
        {"MODELS", "models", false},
        {"OPEN", "in_use", false},
        {"USED", "used", false},
        {"SIZE", "size", true},
        {"ENTRIES", "pages", true},
        {"DAMAGED", "damaged", true},
        {"REASON", "reason", false},
    };
    json_t *rows = json_array();

    for (size_t i = 0; i < json_array_size(spaces); i++) {
        const json_t *s = json_array_get(spaces, i);

        json_array_append_new(rows, shown(s, NULL));
    }
    ctl_table(rows, columns, COUNT(columns), empty);
    json_decref(rows);
}
