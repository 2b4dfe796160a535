/* model_fault.c - See model_fault.h. A sentence may carry names that a
 * stranger's file made up: they are cut and cleaned here. */
#include "engine/model_fault.h"

#include <stdarg.h>
#include <stdio.h>

/* Most bytes of a place: the sentence behind it must stay readable. */
enum { PLACE_MAX = 160 };

enum err model_fail(struct model_fault *why, enum err e, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(why->text, sizeof(why->text), fmt, ap);
    va_end(ap);
    return e;
}

void model_fault_place(struct model_fault *why, const char *place)
{
    struct model_fault old = *why;
    size_t len = strlen(place);
    size_t skip = len > PLACE_MAX ? len - PLACE_MAX : 0;
    const int room = (int)(sizeof(why->text) - PLACE_MAX - 8);

    snprintf(why->text, sizeof(why->text), "%s%s: %.*s", skip ? "..." : "",
             place + skip, room, old.text);
}

struct model_shown model_show(struct str name)
{
    struct model_shown out;
    size_t n = name.len < MODEL_SHOW_SIZE ? name.len : MODEL_SHOW_SIZE - 1;

    for (size_t i = 0; i < n; i++)
        out.text[i] = name.p[i] >= ' ' && name.p[i] < 127 ? name.p[i] : '?';
    out.text[n] = '\0';
    return out;
}
