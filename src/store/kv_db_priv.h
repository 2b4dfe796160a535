/* kv_db_priv.h - The inside of a namespace, for kv_db.c and kv_txn.c alone. */
#ifndef TG_STORE_KV_DB_PRIV_H
#define TG_STORE_KV_DB_PRIV_H

#include "store/env.h"
#include "store/kv_db.h"

/* Tables; their keys and values. */
enum kv_table {
    KV_PAGES = 0, /* hash -> header and payload */
    KV_TICKS,     /* hash -> tick (be64), times read (be32) */
    KV_ORDER,     /* tick (be64) -> hash: the least is given up first */
    KV_TABLE_COUNT
};

/* An open namespace. Nothing changes once it is open. */
struct kv_db {
    char *dir; /* owned */
    int users_fd;
    bool alone; /* nobody else had it open when it was opened */
    struct env *env;
    struct digest ns;
    size_t payload_bytes;
    uint64_t max_bytes;  /* of the file */
    uint64_t max_pages;  /* that are kept */
    uint64_t page_bytes; /* of one on disk */
    unsigned batch;      /* pages of one transaction */
};

#endif
