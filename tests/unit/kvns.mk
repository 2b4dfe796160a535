# Unit tests of area 'kvns': what stored pages depend on.
check_PROGRAMS += tests/unit/t_kv_ns
tests_unit_t_kv_ns_SOURCES = tests/unit/t_kv_ns.c tests/unit/model_rig.h \
    $(ggufm_sources)
tests_unit_t_kv_ns_CPPFLAGS = $(unit_cppflags)
tests_unit_t_kv_ns_CFLAGS = $(unit_cflags)
tests_unit_t_kv_ns_LDADD = $(unit_libs)

check_PROGRAMS += tests/unit/t_scope
tests_unit_t_scope_SOURCES = tests/unit/t_scope.c
tests_unit_t_scope_CPPFLAGS = $(unit_cppflags)
tests_unit_t_scope_CFLAGS = $(unit_cflags)
tests_unit_t_scope_LDADD = $(unit_libs)

check_PROGRAMS += tests/unit/t_key_file
tests_unit_t_key_file_SOURCES = tests/unit/t_key_file.c tests/unit/state_dir.h
tests_unit_t_key_file_CPPFLAGS = $(unit_cppflags)
tests_unit_t_key_file_CFLAGS = $(unit_cflags)
tests_unit_t_key_file_LDADD = $(unit_libs)

check_PROGRAMS += tests/unit/t_digest_cache
tests_unit_t_digest_cache_SOURCES = tests/unit/t_digest_cache.c \
    tests/unit/model_rig.h tests/unit/state_dir.h $(ggufm_sources)
tests_unit_t_digest_cache_CPPFLAGS = $(unit_cppflags)
tests_unit_t_digest_cache_CFLAGS = $(unit_cflags)
tests_unit_t_digest_cache_LDADD = $(unit_libs)
