# src/serve: sources are listed one a line, in alphabetical order.
noinst_LIBRARIES += src/serve/libserve.a
TG_LIBS += src/serve/libserve.a
src_serve_libserve_a_SOURCES = \
    src/serve/affinity.c src/serve/affinity.h \
    src/serve/afford.c src/serve/afford.h \
    src/serve/attempt.c src/serve/attempt.h \
    src/serve/blame.c src/serve/blame.h \
    src/serve/bound.c src/serve/bound.h \
    src/serve/bound_fields.c src/serve/bound_priv.h \
    src/serve/bound_members.c \
    src/serve/bound_parts.c \
    src/serve/bound_text.c \
    src/serve/bound_think.c \
    src/serve/bound_tools.c \
    src/serve/breaker.c src/serve/breaker.h \
    src/serve/candidates.c src/serve/candidates.h \
    src/serve/delay.c src/serve/delay.h \
    src/serve/health.c src/serve/health.h \
    src/serve/hedge.c src/serve/hedge.h \
    src/serve/loop.c src/serve/loop.h \
    src/serve/pick.c src/serve/pick.h \
    src/serve/queue.c src/serve/queue.h \
    src/serve/reply.c src/serve/reply.h \
    src/serve/retry.c src/serve/retry.h \
    src/serve/retry_budget.c src/serve/retry_budget.h \
    src/serve/route.c src/serve/route.h \
    src/serve/route_list.c \
    src/serve/route_none.c src/serve/route_none.h \
    src/serve/seek.c src/serve/seek.h \
    src/serve/serve.c src/serve/serve.h \
    src/serve/splice.c src/serve/splice.h \
    src/serve/target.c src/serve/target.h \
    src/serve/target_gate.c src/serve/target_priv.h \
    src/serve/target_keys.c \
    src/serve/turn.c src/serve/turn.h
