# Unit tests of area 'base'. One program a module:
EXTRA_DIST += tests/unit/cmocka_all.h

check_PROGRAMS += tests/unit/t_chunkq
tests_unit_t_chunkq_SOURCES = tests/unit/t_chunkq.c
tests_unit_t_chunkq_CPPFLAGS = $(unit_cppflags)
tests_unit_t_chunkq_CFLAGS = $(unit_cflags)
tests_unit_t_chunkq_LDADD = $(unit_libs)

check_PROGRAMS += tests/unit/t_clock
tests_unit_t_clock_SOURCES = tests/unit/t_clock.c
tests_unit_t_clock_CPPFLAGS = $(unit_cppflags)
tests_unit_t_clock_CFLAGS = $(unit_cflags)
tests_unit_t_clock_LDADD = $(unit_libs)

check_PROGRAMS += tests/unit/t_digest
tests_unit_t_digest_SOURCES = tests/unit/t_digest.c
tests_unit_t_digest_CPPFLAGS = $(unit_cppflags)
tests_unit_t_digest_CFLAGS = $(unit_cflags)
tests_unit_t_digest_LDADD = $(unit_libs)

check_PROGRAMS += tests/unit/t_err
tests_unit_t_err_SOURCES = tests/unit/t_err.c
tests_unit_t_err_CPPFLAGS = $(unit_cppflags)
tests_unit_t_err_CFLAGS = $(unit_cflags)
tests_unit_t_err_LDADD = $(unit_libs)

check_PROGRAMS += tests/unit/t_log
tests_unit_t_log_SOURCES = tests/unit/t_log.c
tests_unit_t_log_CPPFLAGS = $(unit_cppflags)
tests_unit_t_log_CFLAGS = $(unit_cflags)
tests_unit_t_log_LDADD = $(unit_libs)

check_PROGRAMS += tests/unit/t_log_line
tests_unit_t_log_line_SOURCES = tests/unit/t_log_line.c
tests_unit_t_log_line_CPPFLAGS = $(unit_cppflags)
tests_unit_t_log_line_CFLAGS = $(unit_cflags)
tests_unit_t_log_line_LDADD = $(unit_libs)

check_PROGRAMS += tests/unit/t_mbox
tests_unit_t_mbox_SOURCES = tests/unit/t_mbox.c
tests_unit_t_mbox_CPPFLAGS = $(unit_cppflags)
tests_unit_t_mbox_CFLAGS = $(unit_cflags)
tests_unit_t_mbox_LDADD = $(unit_libs)

check_PROGRAMS += tests/unit/t_memory
tests_unit_t_memory_SOURCES = tests/unit/t_memory.c
tests_unit_t_memory_CPPFLAGS = $(unit_cppflags)
tests_unit_t_memory_CFLAGS = $(unit_cflags)
tests_unit_t_memory_LDADD = $(unit_libs)

check_PROGRAMS += tests/unit/t_ring
tests_unit_t_ring_SOURCES = tests/unit/t_ring.c
tests_unit_t_ring_CPPFLAGS = $(unit_cppflags)
tests_unit_t_ring_CFLAGS = $(unit_cflags)
tests_unit_t_ring_LDADD = $(unit_libs)

check_PROGRAMS += tests/unit/t_str
tests_unit_t_str_SOURCES = tests/unit/t_str.c
tests_unit_t_str_CPPFLAGS = $(unit_cppflags)
tests_unit_t_str_CFLAGS = $(unit_cflags)
tests_unit_t_str_LDADD = $(unit_libs)

check_PROGRAMS += tests/unit/t_utf8
tests_unit_t_utf8_SOURCES = tests/unit/t_utf8.c
tests_unit_t_utf8_CPPFLAGS = $(unit_cppflags)
tests_unit_t_utf8_CFLAGS = $(unit_cflags)
tests_unit_t_utf8_LDADD = $(unit_libs)

check_PROGRAMS += tests/unit/t_thr
tests_unit_t_thr_SOURCES = tests/unit/t_thr.c
tests_unit_t_thr_CPPFLAGS = $(unit_cppflags)
tests_unit_t_thr_CFLAGS = $(unit_cflags)
tests_unit_t_thr_LDADD = $(unit_libs)
