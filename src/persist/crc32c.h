/* CRC-32C (Castagnoli), by the processor's instruction where it has one.
 *
 * thread any. */
#ifndef VECTRA_PERSIST_CRC32C_H
#define VECTRA_PERSIST_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* Continues a sum, which begins as 0. crc32c(0, "123456789", 9) is
 * 0xe3069283. */
uint32_t crc32c(uint32_t crc, const void *data, size_t len);

/* The same by table, for tests. */
uint32_t crc32c_portable(uint32_t crc, const void *data, size_t len);

#endif
