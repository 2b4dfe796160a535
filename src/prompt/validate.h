/* validate.h - Reads the model and parameters out of a collected body. */
#ifndef TG_PROMPT_VALIDATE_H
#define TG_PROMPT_VALIDATE_H

#include "exchange/stage.h"

/* Scan the collected body as JSON and fill x->ask. VERDICT_GO, or SKIP with
 * the failure noted: 400 for bad JSON, duplicate keys and bad parameters. */
enum verdict validate_json(struct exchange *x);

/* The same for a body that begins as JSON does but is not called so. One that
 * is none is passed on unread, unless the key is limited to some models: its
 * reader may be more lenient than ours. */
enum verdict validate_text(struct exchange *x);

/* Find the `model` part of the collected multipart body. VERDICT_GO, or SKIP
 * with a 400 noted. A form that cannot be read is passed on as it is where we
 * do not know the operation and the key is not limited. */
enum verdict validate_multipart(struct exchange *x);

#endif
