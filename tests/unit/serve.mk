# Unit tests of area 'serve'. One program a module.

check_PROGRAMS += tests/unit/t_affinity
tests_unit_t_affinity_SOURCES = tests/unit/t_affinity.c
tests_unit_t_affinity_CPPFLAGS = $(unit_cppflags)
tests_unit_t_affinity_CFLAGS = $(unit_cflags)
tests_unit_t_affinity_LDADD = $(unit_libs)

check_PROGRAMS += tests/unit/t_breaker
tests_unit_t_breaker_SOURCES = tests/unit/t_breaker.c
tests_unit_t_breaker_CPPFLAGS = $(unit_cppflags)
tests_unit_t_breaker_CFLAGS = $(unit_cflags)
tests_unit_t_breaker_LDADD = $(unit_libs)

check_PROGRAMS += tests/unit/t_breaker_run
tests_unit_t_breaker_run_SOURCES = tests/unit/t_breaker_run.c
tests_unit_t_breaker_run_CPPFLAGS = $(unit_cppflags)
tests_unit_t_breaker_run_CFLAGS = $(unit_cflags)
tests_unit_t_breaker_run_LDADD = $(unit_libs)

check_PROGRAMS += tests/unit/t_delay
tests_unit_t_delay_SOURCES = tests/unit/t_delay.c
tests_unit_t_delay_CPPFLAGS = $(unit_cppflags)
tests_unit_t_delay_CFLAGS = $(unit_cflags)
tests_unit_t_delay_LDADD = $(unit_libs)

check_PROGRAMS += tests/unit/t_pick
tests_unit_t_pick_SOURCES = tests/unit/t_pick.c
tests_unit_t_pick_CPPFLAGS = $(unit_cppflags)
tests_unit_t_pick_CFLAGS = $(unit_cflags)
tests_unit_t_pick_LDADD = $(unit_libs)

check_PROGRAMS += tests/unit/t_pick_prefix
tests_unit_t_pick_prefix_SOURCES = tests/unit/t_pick_prefix.c
tests_unit_t_pick_prefix_CPPFLAGS = $(unit_cppflags)
tests_unit_t_pick_prefix_CFLAGS = $(unit_cflags)
tests_unit_t_pick_prefix_LDADD = $(unit_libs)

check_PROGRAMS += tests/unit/t_queue
tests_unit_t_queue_SOURCES = tests/unit/t_queue.c
tests_unit_t_queue_CPPFLAGS = $(unit_cppflags)
tests_unit_t_queue_CFLAGS = $(unit_cflags)
tests_unit_t_queue_LDADD = $(unit_libs)

check_PROGRAMS += tests/unit/t_retry
tests_unit_t_retry_SOURCES = tests/unit/t_retry.c
tests_unit_t_retry_CPPFLAGS = $(unit_cppflags)
tests_unit_t_retry_CFLAGS = $(unit_cflags)
tests_unit_t_retry_LDADD = $(unit_libs)

check_PROGRAMS += tests/unit/t_retry_budget
tests_unit_t_retry_budget_SOURCES = tests/unit/t_retry_budget.c
tests_unit_t_retry_budget_CPPFLAGS = $(unit_cppflags)
tests_unit_t_retry_budget_CFLAGS = $(unit_cflags)
tests_unit_t_retry_budget_LDADD = $(unit_libs)

check_PROGRAMS += tests/unit/t_retry_plan
tests_unit_t_retry_plan_SOURCES = tests/unit/t_retry_plan.c
tests_unit_t_retry_plan_CPPFLAGS = $(unit_cppflags)
tests_unit_t_retry_plan_CFLAGS = $(unit_cflags)
tests_unit_t_retry_plan_LDADD = $(unit_libs)

check_PROGRAMS += tests/unit/t_target
tests_unit_t_target_SOURCES = tests/unit/t_target.c
tests_unit_t_target_CPPFLAGS = $(unit_cppflags)
tests_unit_t_target_CFLAGS = $(unit_cflags)
tests_unit_t_target_LDADD = $(unit_libs)

check_PROGRAMS += tests/unit/t_turn
tests_unit_t_turn_SOURCES = tests/unit/t_turn.c
tests_unit_t_turn_CPPFLAGS = $(unit_cppflags)
tests_unit_t_turn_CFLAGS = $(unit_cflags)
tests_unit_t_turn_LDADD = $(unit_libs)
