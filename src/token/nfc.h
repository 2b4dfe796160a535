/* nfc.h - Unicode's composed normal form, in time linear in the text whatever
 * it is. */
#ifndef TG_TOKEN_NFC_H
#define TG_TOKEN_NFC_H

#include "base/buf.h"

/* Append <s> in NFC. Stretches that are no UTF-8, or in which one character
 * carries more than 64 marks, are appended as they are. ERR_NOMEM. */
enum err nfc_put(struct str s, struct buf *out) MUST_CHECK;

#endif
