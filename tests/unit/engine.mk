# Unit tests of area 'engine': the engine's endpoints.

check_PROGRAMS += tests/unit/t_params
tests_unit_t_params_SOURCES = tests/unit/t_params.c
tests_unit_t_params_CPPFLAGS = $(unit_cppflags)
tests_unit_t_params_CFLAGS = $(unit_cflags)
tests_unit_t_params_LDADD = $(unit_libs)

check_PROGRAMS += tests/unit/t_answer
tests_unit_t_answer_SOURCES = tests/unit/t_answer.c tests/unit/answer_rig.h
tests_unit_t_answer_CPPFLAGS = $(unit_cppflags)
tests_unit_t_answer_CFLAGS = $(unit_cflags)
tests_unit_t_answer_LDADD = $(unit_libs)

check_PROGRAMS += tests/unit/t_answer_calls
tests_unit_t_answer_calls_SOURCES = \
    tests/unit/t_answer_calls.c tests/unit/answer_rig.h
tests_unit_t_answer_calls_CPPFLAGS = $(unit_cppflags)
tests_unit_t_answer_calls_CFLAGS = $(unit_cflags)
tests_unit_t_answer_calls_LDADD = $(unit_libs)

check_PROGRAMS += tests/unit/t_jtree
tests_unit_t_jtree_SOURCES = tests/unit/t_jtree.c
tests_unit_t_jtree_CPPFLAGS = $(unit_cppflags)
tests_unit_t_jtree_CFLAGS = $(unit_cflags)
tests_unit_t_jtree_LDADD = $(unit_libs)

check_PROGRAMS += tests/unit/t_engine_device
tests_unit_t_engine_device_SOURCES = tests/unit/t_engine_device.c \
    $(gfix_sources)
tests_unit_t_engine_device_CPPFLAGS = $(unit_cppflags) $(emu_cppflags)
tests_unit_t_engine_device_CFLAGS = $(unit_cflags)
tests_unit_t_engine_device_LDADD = $(unit_libs)
