/* access.h - One JSON object a request in the access log. */
#ifndef TG_SETTLE_ACCESS_H
#define TG_SETTLE_ACCESS_H

struct exchange;
struct usage_row;

/* Write the access line of <x>, whose bill and row are computed. Never a
 * prompt, a completion, a key or a header value. */
void access_write(const struct exchange *x, const struct usage_row *row);

#endif
