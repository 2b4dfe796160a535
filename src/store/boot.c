/* boot.c - Reads what Linux says of its boot. */
#include "store/boot.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/digest.h"

void boot_id_read(struct boot_id *out)
{
    char text[40] = "";
    char digits[2 * sizeof(out->b)];
    size_t n = 0;
    const int fd =
        open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);

    memset(out, 0, sizeof(*out));
    if (fd < 0)
        return;
    const ssize_t len = read(fd, text, sizeof(text) - 1);
    close(fd);
    for (ssize_t i = 0; i < len && n < sizeof(digits); i++) {
        if (text[i] != '-' && text[i] != '\n')
            digits[n++] = text[i];
    }
    if (n != sizeof(digits) ||
        digest_unhex(str_of(digits, n), out->b) != ERR_OK)
        memset(out, 0, sizeof(*out));
}

bool boot_id_eq(const struct boot_id *a, const struct boot_id *b)
{
    static const struct boot_id unknown;

    return memcmp(a->b, b->b, sizeof(a->b)) == 0 &&
           memcmp(a->b, unknown.b, sizeof(a->b)) != 0;
}
