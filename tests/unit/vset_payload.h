/* Vector sets as bytes that are tampered with: the blocks of our own form carry
 * checksums, which are made right again, so that what is behind them is met. */
#ifndef VECTRA_TESTS_VSET_PAYLOAD_H
#define VECTRA_TESTS_VSET_PAYLOAD_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "persist/crc32c.h"

/* A length of the container; 0: there is none. */
static inline size_t payload_len(const uint8_t *at, size_t left, uint64_t *out)
{
    size_t n, i;

    if (left == 0) {
        return 0;
    }
    if (at[0] >> 6 == 0) {
        *out = at[0];
        return 1;
    }
    if (at[0] >> 6 == 1) {
        *out = left < 2 ? 0 : (uint64_t)(at[0] & 0x3f) << 8 | at[1];
        return left < 2 ? 0 : 2;
    }
    n = at[0] == 0x80 ? 4 : at[0] == 0x81 ? 8 : 0;
    if (n == 0 || left < 1 + n) {
        return 0;
    }
    for (*out = 0, i = 0; i < n; i++) {
        *out = *out << 8 | at[1 + i];
    }
    return 1 + n;
}

/* Sums up every block of the fields that begin here; returns how far the fields
 * could be walked. */
static inline size_t payload_mend(uint8_t *fields, size_t len)
{
    size_t at = 0, n;
    uint64_t opcode, value;
    uint32_t crc;

    while ((n = payload_len(fields + at, len - at, &opcode)) > 0) {
        size_t m = payload_len(fields + at + n, len - at - n, &value);

        if (m == 0 || (opcode != 2 && opcode != 5)) {
            break;
        }
        at += n + m;
        if (opcode == 5) {
            if (value > len - at) {
                break;
            }
            if (value >= 20) {
                crc = crc32c(0, fields + at, (size_t)value - 4);
                memcpy(fields + at + value - 4, &crc, sizeof(crc));
            }
            at += (size_t)value;
        }
    }
    return at;
}

#endif
