# The scheduler and its messages.
src_engine_libengine_a_SOURCES += \
    src/engine/fair.c \
    src/engine/fair.h \
    src/engine/gen.c \
    src/engine/gen.h \
    src/engine/kvpool.c \
    src/engine/kvpool.h \
    src/engine/kv_ns.c \
    src/engine/kv_ns.h \
    src/engine/kvadmit.c \
    src/engine/kvadmit.h \
    src/engine/kvswap.c \
    src/engine/kvswap.h \
    src/engine/kvswap_load.c \
    src/engine/kvswap_priv.h \
    src/engine/kvswap_write.c \
    src/engine/meter.c \
    src/engine/meter.h \
    src/engine/prefix.c \
    src/engine/prefix.h \
    src/engine/sched.c \
    src/engine/sched.h \
    src/engine/sched_keep.c \
    src/engine/sched_limit.c \
    src/engine/sched_plan.c \
    src/engine/sched_priv.h \
    src/engine/sched_restore.c \
    src/engine/sched_seq.c \
    src/engine/sched_step.c \
    src/engine/sched_task.c \
    src/engine/seq.c \
    src/engine/seq.h \
    src/engine/seq_text.c \
    src/engine/seq_text.h \
    src/engine/stop.c \
    src/engine/stop.h
