# Unit tests of area 'stages'. One program a module.

check_PROGRAMS += tests/unit/t_query
tests_unit_t_query_SOURCES = tests/unit/t_query.c
tests_unit_t_query_CPPFLAGS = $(unit_cppflags)
tests_unit_t_query_CFLAGS = $(unit_cflags)
tests_unit_t_query_LDADD = $(unit_libs)

check_PROGRAMS += tests/unit/t_throttle
tests_unit_t_throttle_SOURCES = tests/unit/t_throttle.c
tests_unit_t_throttle_CPPFLAGS = $(unit_cppflags)
tests_unit_t_throttle_CFLAGS = $(unit_cflags)
tests_unit_t_throttle_LDADD = $(unit_libs)

check_PROGRAMS += tests/unit/t_rewrite
tests_unit_t_rewrite_SOURCES = tests/unit/t_rewrite.c
tests_unit_t_rewrite_CPPFLAGS = $(unit_cppflags)
tests_unit_t_rewrite_CFLAGS = $(unit_cflags)
tests_unit_t_rewrite_LDADD = $(unit_libs)

check_PROGRAMS += tests/unit/t_weigh
tests_unit_t_weigh_SOURCES = tests/unit/t_weigh.c
tests_unit_t_weigh_CPPFLAGS = $(unit_cppflags)
tests_unit_t_weigh_CFLAGS = $(unit_cflags)
tests_unit_t_weigh_LDADD = $(unit_libs)

check_PROGRAMS += tests/unit/t_bill
tests_unit_t_bill_SOURCES = tests/unit/t_bill.c tests/unit/price_kit.h
tests_unit_t_bill_CPPFLAGS = $(unit_cppflags)
tests_unit_t_bill_CFLAGS = $(unit_cflags)
tests_unit_t_bill_LDADD = $(unit_libs)

check_PROGRAMS += tests/unit/t_bound
tests_unit_t_bound_SOURCES = tests/unit/t_bound.c tests/unit/bound_kit.h
tests_unit_t_bound_CPPFLAGS = $(unit_cppflags)
tests_unit_t_bound_CFLAGS = $(unit_cflags)
tests_unit_t_bound_LDADD = $(unit_libs)

check_PROGRAMS += tests/unit/t_bound_members
tests_unit_t_bound_members_SOURCES = tests/unit/t_bound_members.c tests/unit/bound_kit.h
tests_unit_t_bound_members_CPPFLAGS = $(unit_cppflags)
tests_unit_t_bound_members_CFLAGS = $(unit_cflags)
tests_unit_t_bound_members_LDADD = $(unit_libs)

check_PROGRAMS += tests/unit/t_bound_parts
tests_unit_t_bound_parts_SOURCES = tests/unit/t_bound_parts.c tests/unit/bound_kit.h
tests_unit_t_bound_parts_CPPFLAGS = $(unit_cppflags)
tests_unit_t_bound_parts_CFLAGS = $(unit_cflags)
tests_unit_t_bound_parts_LDADD = $(unit_libs)

check_PROGRAMS += tests/unit/t_leg
tests_unit_t_leg_SOURCES = tests/unit/t_leg.c tests/unit/leg_rig.h \
    tests/unit/state_dir.h tests/unit/ledger_fixture.h tests/unit/price_kit.h
tests_unit_t_leg_CPPFLAGS = $(unit_cppflags)
tests_unit_t_leg_CFLAGS = $(unit_cflags)
tests_unit_t_leg_LDADD = $(unit_libs)

check_PROGRAMS += tests/unit/t_leg_death
tests_unit_t_leg_death_SOURCES = tests/unit/t_leg_death.c tests/unit/leg_rig.h \
    tests/unit/state_dir.h tests/unit/ledger_fixture.h tests/unit/price_kit.h
tests_unit_t_leg_death_CPPFLAGS = $(unit_cppflags)
tests_unit_t_leg_death_CFLAGS = $(unit_cflags)
tests_unit_t_leg_death_LDADD = $(unit_libs)

check_PROGRAMS += tests/unit/t_demand
tests_unit_t_demand_SOURCES = tests/unit/t_demand.c
tests_unit_t_demand_CPPFLAGS = $(unit_cppflags)
tests_unit_t_demand_CFLAGS = $(unit_cflags)
tests_unit_t_demand_LDADD = $(unit_libs)

check_PROGRAMS += tests/unit/t_reqkey
tests_unit_t_reqkey_SOURCES = tests/unit/t_reqkey.c tests/unit/reqkey_kit.h
tests_unit_t_reqkey_CPPFLAGS = $(unit_cppflags)
tests_unit_t_reqkey_CFLAGS = $(unit_cflags)
tests_unit_t_reqkey_LDADD = $(unit_libs)

check_PROGRAMS += tests/unit/t_reqkey_fields
tests_unit_t_reqkey_fields_SOURCES = tests/unit/t_reqkey_fields.c \
    tests/unit/reqkey_kit.h tests/unit/reqkey_bodies.h
tests_unit_t_reqkey_fields_CPPFLAGS = $(unit_cppflags)
tests_unit_t_reqkey_fields_CFLAGS = $(unit_cflags)
tests_unit_t_reqkey_fields_LDADD = $(unit_libs)

check_PROGRAMS += tests/unit/t_worth
tests_unit_t_worth_SOURCES = tests/unit/t_worth.c
tests_unit_t_worth_CPPFLAGS = $(unit_cppflags)
tests_unit_t_worth_CFLAGS = $(unit_cflags)
tests_unit_t_worth_LDADD = $(unit_libs)

check_PROGRAMS += tests/unit/t_weights
tests_unit_t_weights_SOURCES = tests/unit/t_weights.c
tests_unit_t_weights_CPPFLAGS = $(unit_cppflags)
tests_unit_t_weights_CFLAGS = $(unit_cflags)
tests_unit_t_weights_LDADD = $(unit_libs)
