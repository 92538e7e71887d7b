#include "persist/crc64.h"

#include <string.h>

#define POLYNOMIAL UINT64_C(0x95ac9329ac4bc9b5) /* reflected */

/* tables[k][b]: what byte b does to the sum when k more bytes follow. */
static uint64_t tables[8][256];

/* Before main(), so that no thread and no forked child has to. */
static void __attribute__((constructor)) fill_tables(void)
{
    unsigned b, k;
    int bit;

    for (b = 0; b < 256; b++) {
        uint64_t crc = b;

        for (bit = 0; bit < 8; bit++) {
            crc = crc & 1 ? crc >> 1 ^ POLYNOMIAL : crc >> 1;
        }
        tables[0][b] = crc;
    }
    for (k = 1; k < 8; k++) {
        for (b = 0; b < 256; b++) {
            uint64_t crc = tables[k - 1][b];

            tables[k][b] = tables[0][crc & 0xff] ^ crc >> 8;
        }
    }
}

static uint64_t load_le64(const uint8_t *p)
{
    uint64_t word;

    memcpy(&word, p, sizeof(word));
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    word = __builtin_bswap64(word);
#endif
    return word;
}

uint64_t crc64(uint64_t crc, const void *data, size_t len)
{
    const uint8_t *p = data;

    for (; len >= 8; len -= 8, p += 8) {
        crc ^= load_le64(p);
        crc = tables[7][crc & 0xff] ^ tables[6][crc >> 8 & 0xff] ^
              tables[5][crc >> 16 & 0xff] ^ tables[4][crc >> 24 & 0xff] ^
              tables[3][crc >> 32 & 0xff] ^ tables[2][crc >> 40 & 0xff] ^
              tables[1][crc >> 48 & 0xff] ^ tables[0][crc >> 56];
    }
    for (; len > 0; len--, p++) {
        crc = tables[0][(crc ^ *p) & 0xff] ^ crc >> 8;
    }
    return crc;
}
