# Unit tests of area 'sched': the scheduler, over a double of the graph.
sched_unit_tests = \
    tests/unit/t_kvadmit \
    tests/unit/t_sched \
    tests/unit/t_sched_cache \
    tests/unit/t_sched_limit \
    tests/unit/t_sched_meter \
    tests/unit/t_sched_parts \
    tests/unit/t_sched_real \
    tests/unit/t_sched_restore \
    tests/unit/t_herd \
    tests/unit/t_sched_draw \
    tests/unit/t_sched_lost \
    tests/unit/t_sched_stage \
    tests/unit/t_sched_rules \
    tests/unit/t_sched_store \
    tests/unit/t_sched_text \
    tests/unit/t_sched_threads
check_PROGRAMS += $(sched_unit_tests)

engine_rig = \
    tests/lib/enginerig.c \
    tests/lib/enginerig.h

sched_rig = \
    tests/lib/fakegraph.c \
    tests/lib/fakegraph.h \
    tests/lib/fakerig.c \
    tests/lib/fakerig.h \
    $(engine_rig)

sched_fixture = tests/unit/sched_fixture.h $(sched_rig)

tests_unit_t_sched_SOURCES = tests/unit/t_sched.c $(sched_rig)
tests_unit_t_sched_CPPFLAGS = $(unit_cppflags)
tests_unit_t_sched_CFLAGS = $(unit_cflags)
tests_unit_t_sched_LDADD = $(unit_libs)

tests_unit_t_sched_parts_SOURCES = tests/unit/t_sched_parts.c
tests_unit_t_sched_parts_CPPFLAGS = $(unit_cppflags)
tests_unit_t_sched_parts_CFLAGS = $(unit_cflags)
tests_unit_t_sched_parts_LDADD = $(unit_libs)

tests_unit_t_sched_cache_SOURCES = tests/unit/t_sched_cache.c $(sched_fixture)
tests_unit_t_sched_cache_CPPFLAGS = $(unit_cppflags)
tests_unit_t_sched_cache_CFLAGS = $(unit_cflags)
tests_unit_t_sched_cache_LDADD = $(unit_libs)

tests_unit_t_sched_limit_SOURCES = tests/unit/t_sched_limit.c $(sched_fixture)
tests_unit_t_sched_limit_CPPFLAGS = $(unit_cppflags)
tests_unit_t_sched_limit_CFLAGS = $(unit_cflags)
tests_unit_t_sched_limit_LDADD = $(unit_libs)

tests_unit_t_sched_meter_SOURCES = tests/unit/t_sched_meter.c $(sched_fixture)
tests_unit_t_sched_meter_CPPFLAGS = $(unit_cppflags)
tests_unit_t_sched_meter_CFLAGS = $(unit_cflags)
tests_unit_t_sched_meter_LDADD = $(unit_libs)

tests_unit_t_sched_rules_SOURCES = tests/unit/t_sched_rules.c $(sched_fixture)
tests_unit_t_sched_rules_CPPFLAGS = $(unit_cppflags)
tests_unit_t_sched_rules_CFLAGS = $(unit_cflags)
tests_unit_t_sched_rules_LDADD = $(unit_libs)

tests_unit_t_sched_text_SOURCES = tests/unit/t_sched_text.c $(sched_fixture)
tests_unit_t_sched_text_CPPFLAGS = $(unit_cppflags)
tests_unit_t_sched_text_CFLAGS = $(unit_cflags)
tests_unit_t_sched_text_LDADD = $(unit_libs)

tests_unit_t_sched_threads_SOURCES = \
    tests/unit/t_sched_threads.c $(sched_fixture)
tests_unit_t_sched_threads_CPPFLAGS = $(unit_cppflags)
tests_unit_t_sched_threads_CFLAGS = $(unit_cflags)
tests_unit_t_sched_threads_LDADD = $(unit_libs)

tests_unit_t_sched_real_SOURCES = \
    tests/unit/t_sched_real.c $(engine_rig) $(ggufm_sources)
tests_unit_t_sched_real_CPPFLAGS = $(unit_cppflags)
tests_unit_t_sched_real_CFLAGS = $(unit_cflags)
tests_unit_t_sched_real_LDADD = $(unit_libs)

tests_unit_t_kvadmit_SOURCES = tests/unit/t_kvadmit.c
tests_unit_t_kvadmit_CPPFLAGS = $(unit_cppflags)
tests_unit_t_kvadmit_CFLAGS = $(unit_cflags)
tests_unit_t_kvadmit_LDADD = $(unit_libs)

tests_unit_t_sched_store_SOURCES = \
    tests/unit/t_sched_store.c tests/unit/state_dir.h \
    $(engine_rig) $(ggufm_sources)
tests_unit_t_sched_store_CPPFLAGS = $(unit_cppflags)
tests_unit_t_sched_store_CFLAGS = $(unit_cflags)
tests_unit_t_sched_store_LDADD = $(unit_libs)

tests_unit_t_sched_restore_SOURCES = \
    tests/unit/t_sched_restore.c \
    tests/lib/fakeswap.c tests/lib/fakeswap.h $(sched_fixture)
tests_unit_t_sched_restore_CPPFLAGS = $(unit_cppflags)
tests_unit_t_sched_restore_CFLAGS = $(unit_cflags)
tests_unit_t_sched_restore_LDADD = $(unit_libs)

tests_unit_t_sched_stage_SOURCES = \
    tests/unit/t_sched_stage.c \
    tests/lib/fakeswap.c tests/lib/fakeswap.h $(sched_fixture)
tests_unit_t_sched_stage_CPPFLAGS = $(unit_cppflags)
tests_unit_t_sched_stage_CFLAGS = $(unit_cflags)
tests_unit_t_sched_stage_LDADD = $(unit_libs)

tests_unit_t_sched_lost_SOURCES = \
    tests/unit/t_sched_lost.c \
    tests/lib/fakeswap.c tests/lib/fakeswap.h $(sched_fixture)
tests_unit_t_sched_lost_CPPFLAGS = $(unit_cppflags)
tests_unit_t_sched_lost_CFLAGS = $(unit_cflags)
tests_unit_t_sched_lost_LDADD = $(unit_libs)

tests_unit_t_herd_SOURCES = tests/unit/t_herd.c
tests_unit_t_herd_CPPFLAGS = $(unit_cppflags)
tests_unit_t_herd_CFLAGS = $(unit_cflags)
tests_unit_t_herd_LDADD = $(unit_libs)

tests_unit_t_sched_draw_SOURCES = tests/unit/t_sched_draw.c $(sched_fixture)
tests_unit_t_sched_draw_CPPFLAGS = $(unit_cppflags)
tests_unit_t_sched_draw_CFLAGS = $(unit_cflags)
tests_unit_t_sched_draw_LDADD = $(unit_libs)
