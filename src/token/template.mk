# Chat templates and tool calls.
EXTRA_DIST += tests/fuzz/template.dict tests/fuzz/toolcall.dict
src_token_libtoken_a_SOURCES += \
    src/token/template.c \
    src/token/template.h \
    src/token/tmpl_ast.h \
    src/token/tmpl_caps.c \
    src/token/tmpl_cmp.c \
    src/token/tmpl_eval.c \
    src/token/tmpl_filter.c \
    src/token/tmpl_filter.h \
    src/token/tmpl_format.c \
    src/token/tmpl_fseq.c \
    src/token/tmpl_fstr.c \
    src/token/tmpl_func.c \
    src/token/tmpl_lex.c \
    src/token/tmpl_lex.h \
    src/token/tmpl_method.c \
    src/token/tmpl_op.c \
    src/token/tmpl_pad.c \
    src/token/tmpl_parse.c \
    src/token/tmpl_parse.h \
    src/token/tmpl_parse_atom.c \
    src/token/tmpl_parse_expr.c \
    src/token/tmpl_put.c \
    src/token/tmpl_run.c \
    src/token/tmpl_run.h \
    src/token/tmpl_str.c \
    src/token/tmpl_test.c \
    src/token/tmpl_time.c \
    src/token/tmpl_uni.c \
    src/token/tmpl_uni.h \
    src/token/tmpl_val.c \
    src/token/tmpl_val.h \
    src/token/toolcall.c \
    src/token/toolcall.h \
    src/token/toolcall_object.c \
    src/token/toolcall_priv.h
