# Unit tests of area 'front'. One program a module; front_rig is the loop,
# sockets and scripted stages that most of them share.
front_rig = tests/unit/front_rig.c tests/unit/front_rig.h

check_PROGRAMS += tests/unit/t_front_http
tests_unit_t_front_http_SOURCES = tests/unit/t_front_http.c $(front_rig)
tests_unit_t_front_http_CPPFLAGS = $(unit_cppflags)
tests_unit_t_front_http_CFLAGS = $(unit_cflags)
tests_unit_t_front_http_LDADD = $(unit_libs)

check_PROGRAMS += tests/unit/t_front_gone
tests_unit_t_front_gone_SOURCES = tests/unit/t_front_gone.c $(front_rig)
tests_unit_t_front_gone_CPPFLAGS = $(unit_cppflags)
tests_unit_t_front_gone_CFLAGS = $(unit_cflags)
tests_unit_t_front_gone_LDADD = $(unit_libs)

check_PROGRAMS += tests/unit/t_front_tls
tests_unit_t_front_tls_SOURCES = tests/unit/t_front_tls.c $(front_rig)
tests_unit_t_front_tls_CPPFLAGS = $(unit_cppflags)
tests_unit_t_front_tls_CFLAGS = $(unit_cflags)
tests_unit_t_front_tls_LDADD = $(unit_libs)

check_PROGRAMS += tests/unit/t_front_net
tests_unit_t_front_net_SOURCES = tests/unit/t_front_net.c $(front_rig)
tests_unit_t_front_net_CPPFLAGS = $(unit_cppflags)
tests_unit_t_front_net_CFLAGS = $(unit_cflags)
tests_unit_t_front_net_LDADD = $(unit_libs)

check_PROGRAMS += tests/unit/t_front_gate
tests_unit_t_front_gate_SOURCES = tests/unit/t_front_gate.c $(front_rig)
tests_unit_t_front_gate_CPPFLAGS = $(unit_cppflags)
tests_unit_t_front_gate_CFLAGS = $(unit_cflags)
tests_unit_t_front_gate_LDADD = $(unit_libs)
