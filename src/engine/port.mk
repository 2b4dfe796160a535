# The workers' side: requests in, replies out.
src_engine_libengine_a_SOURCES += \
    src/engine/answer.c src/engine/answer.h \
    src/engine/answer_chat.c \
    src/engine/answer_logprobs.c \
    src/engine/answer_put.c src/engine/answer_put.h \
    src/engine/engine.c src/engine/engine.h \
    src/engine/engine_device.c src/engine/engine_device.h \
    src/engine/engine_model.c src/engine/engine_model.h \
    src/engine/engine_part.c src/engine/engine_part.h \
    src/engine/engine_priv.h \
    src/engine/engine_store.c \
    src/engine/jtree.c src/engine/jtree.h \
    src/engine/params.c src/engine/params.h \
    src/engine/params_known.c \
    src/engine/params_tools.c \
    src/engine/params_value.c \
    src/engine/flight.c \
    src/engine/flight_meter.c \
    src/engine/port.c src/engine/port.h \
    src/engine/prep.c src/engine/prep.h \
    src/engine/prep_chat.c \
    src/engine/prep_messages.c \
    src/engine/prep_text.c \
    src/engine/prep_token.c \
    src/engine/scope.c src/engine/scope.h
