/* oracle.h - Another reader's opinion of one HTTP request. Each oracle is an
 * object of its own, since their headers define the same names. */
#ifndef TG_TESTS_FUZZ_ORACLE_H
#define TG_TESTS_FUZZ_ORACLE_H

#include <stdbool.h>
#include <stddef.h>

/* What an oracle made of the bytes; offsets are from their start. */
struct oracle {
    bool has_head; /* the head is complete, <head> long */
    bool complete; /* the message is, it ends at <end> */
    bool keep;     /* another message may follow */
    size_t head;
    size_t end;
    char *body; /* the caller's room, as long as the input */
    size_t body_len;
    const char *error; /* static text when refused, else NULL */
};

/* Let llhttp in strict mode read one request from the start of <p>. */
void oracle_llhttp(struct oracle *o, const char *p, size_t len);

/* Let http_parser read one request from the start of <p>. */
void oracle_http_parser(struct oracle *o, const char *p, size_t len);

#endif
