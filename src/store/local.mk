# src/store: sources are listed one a line, in alphabetical order.
noinst_LIBRARIES += src/store/libstore.a
TG_LIBS += src/store/libstore.a
src_store_libstore_a_SOURCES = \
    src/store/boot.c src/store/boot.h \
    src/store/cache_dir.c src/store/cache_dir.h \
    src/store/cache_entry.c src/store/cache_entry.h \
    src/store/cache_file.c \
    src/store/cache_find.c \
    src/store/cache_hint.c \
    src/store/cache_priv.h \
    src/store/cache_queue.c src/store/cache_queue.h \
    src/store/cache_store.c src/store/cache_store.h \
    src/store/cache_write.c \
    src/store/child.c src/store/child.h \
    src/store/env.c src/store/env.h src/store/env_priv.h \
    src/store/env_page.c src/store/env_walk.c \
    src/store/kv_db.c src/store/kv_db.h src/store/kv_db_priv.h \
    src/store/kv_dir.c src/store/kv_dir.h \
    src/store/kv_files.c \
    src/store/kv_models.c src/store/kv_models.h \
    src/store/kv_page.c src/store/kv_page.h \
    src/store/kv_room.c src/store/kv_room.h \
    src/store/kv_txn.c \
    src/store/kv_write.c \
    src/store/ledger_db.c src/store/ledger_db.h \
    src/store/rec.c src/store/rec.h \
    src/store/row.c src/store/row.h \
    src/store/tally.c src/store/tally.h \
    src/store/txn.c \
    src/store/verify.c \
    src/store/writer.c src/store/writer.h
EXTRA_DIST += doc/store-format.md
