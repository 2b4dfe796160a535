# Unit tests of area 'upstream'. One program a module.
upstream_fixture = \
    tests/lib/rawserver.c \
    tests/lib/rawserver.h \
    tests/lib/upfix.c \
    tests/lib/upfix.h

check_PROGRAMS += tests/unit/t_xfer
tests_unit_t_xfer_SOURCES = tests/unit/t_xfer.c $(upstream_fixture)
tests_unit_t_xfer_CPPFLAGS = $(unit_cppflags)
tests_unit_t_xfer_CFLAGS = $(unit_cflags)
tests_unit_t_xfer_LDADD = $(unit_libs)

check_PROGRAMS += tests/unit/t_xfer_body
tests_unit_t_xfer_body_SOURCES = tests/unit/t_xfer_body.c $(upstream_fixture)
tests_unit_t_xfer_body_CPPFLAGS = $(unit_cppflags)
tests_unit_t_xfer_body_CFLAGS = $(unit_cflags)
tests_unit_t_xfer_body_LDADD = $(unit_libs)

check_PROGRAMS += tests/unit/t_xfer_faults
tests_unit_t_xfer_faults_SOURCES = tests/unit/t_xfer_faults.c $(upstream_fixture)
tests_unit_t_xfer_faults_CPPFLAGS = $(unit_cppflags)
tests_unit_t_xfer_faults_CFLAGS = $(unit_cflags)
tests_unit_t_xfer_faults_LDADD = $(unit_libs)

check_PROGRAMS += tests/unit/t_xfer_time
tests_unit_t_xfer_time_SOURCES = tests/unit/t_xfer_time.c $(upstream_fixture)
tests_unit_t_xfer_time_CPPFLAGS = $(unit_cppflags)
tests_unit_t_xfer_time_CFLAGS = $(unit_cflags)
tests_unit_t_xfer_time_LDADD = $(unit_libs)

check_PROGRAMS += tests/unit/t_provider
tests_unit_t_provider_SOURCES = tests/unit/t_provider.c
tests_unit_t_provider_CPPFLAGS = $(unit_cppflags)
tests_unit_t_provider_CFLAGS = $(unit_cflags)
tests_unit_t_provider_LDADD = $(unit_libs)

check_PROGRAMS += tests/unit/t_resolve
tests_unit_t_resolve_SOURCES = tests/unit/t_resolve.c
tests_unit_t_resolve_CPPFLAGS = $(unit_cppflags)
tests_unit_t_resolve_CFLAGS = $(unit_cflags)
tests_unit_t_resolve_LDADD = $(unit_libs)

check_PROGRAMS += tests/unit/t_tunnel
tests_unit_t_tunnel_SOURCES = tests/unit/t_tunnel.c $(upstream_fixture)
tests_unit_t_tunnel_CPPFLAGS = $(unit_cppflags)
tests_unit_t_tunnel_CFLAGS = $(unit_cflags)
tests_unit_t_tunnel_LDADD = $(unit_libs)

check_PROGRAMS += tests/unit/t_discover
tests_unit_t_discover_SOURCES = tests/unit/t_discover.c $(upstream_fixture)
tests_unit_t_discover_CPPFLAGS = $(unit_cppflags)
tests_unit_t_discover_CFLAGS = $(unit_cflags)
tests_unit_t_discover_LDADD = $(unit_libs)

check_PROGRAMS += tests/unit/t_proxy
tests_unit_t_proxy_SOURCES = tests/unit/t_proxy.c $(upstream_fixture)
tests_unit_t_proxy_CPPFLAGS = $(unit_cppflags)
tests_unit_t_proxy_CFLAGS = $(unit_cflags)
tests_unit_t_proxy_LDADD = $(unit_libs)
