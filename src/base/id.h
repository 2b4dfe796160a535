/* id.h - Identifiers that sort by the time they were made. */
#ifndef TG_BASE_ID_H
#define TG_BASE_ID_H

/* Bytes of an id with its NUL. */
#define ID_SIZE 27

/* Write a fresh id: 26 characters of 0-9a-z without i, l, o, u that hold 48
 * bits of cached wall time in ms, then 80 random bits. Byte order is the order
 * of the milliseconds. Any thread; about 50 ns. */
void id_new(char out[ID_SIZE]);

#endif
