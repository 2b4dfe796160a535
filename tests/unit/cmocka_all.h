/* cmocka_all.h - cmocka with the headers it wants before it. */
#ifndef TG_TESTS_UNIT_CMOCKA_ALL_H
#define TG_TESTS_UNIT_CMOCKA_ALL_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* Entries of an array. */
#define COUNT_OF(a) (sizeof(a) / sizeof((a)[0]))

#endif
