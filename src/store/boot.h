/* boot.h - Which boot of the machine this is. */
#ifndef TG_STORE_BOOT_H
#define TG_STORE_BOOT_H

#include <stdbool.h>
#include <stdint.h>

/* The id of a boot; zeros: unknown. */
struct boot_id {
    uint8_t b[16];
};

/* Read the one of now. */
void boot_id_read(struct boot_id *out);

/* Whether both are known and the same. */
bool boot_id_eq(const struct boot_id *a, const struct boot_id *b);

#endif
