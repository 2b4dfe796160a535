# Unit tests of area 'kvns': what stored pages depend on.
check_PROGRAMS += tests/unit/t_kv_ns
tests_unit_t_kv_ns_SOURCES = tests/unit/t_kv_ns.c tests/unit/model_rig.h \
    $(ggufm_sources)
tests_unit_t_kv_ns_CPPFLAGS = $(unit_cppflags)
tests_unit_t_kv_ns_CFLAGS = $(unit_cflags)
tests_unit_t_kv_ns_LDADD = $(unit_libs)
