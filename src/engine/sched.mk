# The scheduler and its messages.
src_engine_libengine_a_SOURCES += \
    src/engine/gen.c \
    src/engine/gen.h \
    src/engine/sched.h
