/* tk_cuda_abi.c - Our declarations of the driver's ABI against a toolkit's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "kernels/abi_drv.h"
#include "kernels/cuda/drv.h"

struct number {
    const char *name;
    uint64_t value;
};

#define NUMBER(e) {#e, (uint64_t)(e)},
static const struct number ours[] = {ABI_DRV(NUMBER)};

static void every_value_size_and_offset_is_the_toolkits(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++) {
        if (ours[i].value != abi_drv_toolkit[i])
            fail_msg("%s is %llu here and %llu in the toolkit", ours[i].name,
                     (unsigned long long)ours[i].value,
                     (unsigned long long)abi_drv_toolkit[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_value_size_and_offset_is_the_toolkits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
