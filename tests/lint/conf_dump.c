/* conf_dump.c - Writes the option table, for conf_doc.sh to compare. */
#include "conf/conf.h"

#include <stdio.h>

int main(void)
{
    struct buf b;
    int rc = 1;

    buf_init(&b, 1024UL * 1024);
    if (conf_describe(&b) == ERR_OK && fwrite(b.p, 1, b.len, stdout) == b.len &&
        fflush(stdout) == 0)
        rc = 0;
    buf_fini(&b);
    return rc;
}
