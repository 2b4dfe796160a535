# Unit tests of area 'tape': replies that others follow.

check_PROGRAMS += tests/unit/t_flight
tests_unit_t_flight_SOURCES = tests/unit/t_flight.c tests/unit/tape_kit.h
tests_unit_t_flight_CPPFLAGS = $(unit_cppflags)
tests_unit_t_flight_CFLAGS = $(unit_cflags)
tests_unit_t_flight_LDADD = $(unit_libs)

check_PROGRAMS += tests/unit/t_record
tests_unit_t_record_SOURCES = tests/unit/t_record.c tests/unit/tape_kit.h
tests_unit_t_record_CPPFLAGS = $(unit_cppflags)
tests_unit_t_record_CFLAGS = $(unit_cflags)
tests_unit_t_record_LDADD = $(unit_libs)

check_PROGRAMS += tests/unit/t_tape
tests_unit_t_tape_SOURCES = tests/unit/t_tape.c tests/unit/tape_kit.h
tests_unit_t_tape_CPPFLAGS = $(unit_cppflags)
tests_unit_t_tape_CFLAGS = $(unit_cflags)
tests_unit_t_tape_LDADD = $(unit_libs)

check_PROGRAMS += tests/unit/t_tape_threads
tests_unit_t_tape_threads_SOURCES = tests/unit/t_tape_threads.c \
    tests/unit/tape_kit.h
tests_unit_t_tape_threads_CPPFLAGS = $(unit_cppflags)
tests_unit_t_tape_threads_CFLAGS = $(unit_cflags)
tests_unit_t_tape_threads_LDADD = $(unit_libs)
