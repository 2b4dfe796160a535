# src/front: sources are listed one a line, in alphabetical order.
noinst_LIBRARIES += src/front/libfront.a
TG_LIBS += src/front/libfront.a
src_front_libfront_a_SOURCES = \
    src/front/cert.c src/front/cert.h \
    src/front/conn.c src/front/conn.h \
    src/front/conn_body.c \
    src/front/conn_in.c \
    src/front/conn_out.c \
    src/front/cors.c src/front/cors.h \
    src/front/front.c src/front/front.h \
    src/front/gate.c src/front/gate.h \
    src/front/listener.c src/front/listener.h \
    src/front/net.c src/front/net.h \
    src/front/reply.c \
    src/front/tls.c src/front/tls.h
