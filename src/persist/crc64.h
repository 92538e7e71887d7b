/* CRC-64 as Redis's files carry it: the Jones polynomial, reflected, start 0,
 * no final xor.
 *
 * thread any. */
#ifndef VECTRA_PERSIST_CRC64_H
#define VECTRA_PERSIST_CRC64_H

#include <stddef.h>
#include <stdint.h>

/* Continues a sum, which begins as 0. crc64(0, "123456789", 9) is
 * 0xe9c6d914c4b8d9ca. */
uint64_t crc64(uint64_t crc, const void *data, size_t len);

/* The same by table, for tests. */
uint64_t crc64_portable(uint64_t crc, const void *data, size_t len);

#endif
