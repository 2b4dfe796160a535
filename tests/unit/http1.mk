# Unit tests of area 'http1'. One program a module:
check_PROGRAMS += tests/unit/t_endpoint
tests_unit_t_endpoint_SOURCES = tests/unit/t_endpoint.c
tests_unit_t_endpoint_CPPFLAGS = $(unit_cppflags)
tests_unit_t_endpoint_CFLAGS = $(unit_cflags)
tests_unit_t_endpoint_LDADD = $(unit_libs)

check_PROGRAMS += tests/unit/t_http1
tests_unit_t_http1_SOURCES = tests/unit/t_http1.c
tests_unit_t_http1_CPPFLAGS = $(unit_cppflags)
tests_unit_t_http1_CFLAGS = $(unit_cflags)
tests_unit_t_http1_LDADD = $(unit_libs)

check_PROGRAMS += tests/unit/t_http1_body
tests_unit_t_http1_body_SOURCES = tests/unit/t_http1_body.c
tests_unit_t_http1_body_CPPFLAGS = $(unit_cppflags)
tests_unit_t_http1_body_CFLAGS = $(unit_cflags)
tests_unit_t_http1_body_LDADD = $(unit_libs)

check_PROGRAMS += tests/unit/t_http1_out
tests_unit_t_http1_out_SOURCES = tests/unit/t_http1_out.c
tests_unit_t_http1_out_CPPFLAGS = $(unit_cppflags)
tests_unit_t_http1_out_CFLAGS = $(unit_cflags)
tests_unit_t_http1_out_LDADD = $(unit_libs)

# Vectors are read from the source tree, also by the end-to-end tests.
EXTRA_DIST += tests/lib/http1_vectors.json
check_PROGRAMS += tests/unit/t_http1_vectors
tests_unit_t_http1_vectors_SOURCES = tests/unit/t_http1_vectors.c
tests_unit_t_http1_vectors_CPPFLAGS = $(unit_cppflags) \
    -DTG_TESTS_DIR='"$(abs_top_srcdir)/tests"'
tests_unit_t_http1_vectors_CFLAGS = $(unit_cflags)
tests_unit_t_http1_vectors_LDADD = $(unit_libs)
