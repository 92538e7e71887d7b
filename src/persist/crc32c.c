#include "persist/crc32c.h"

#include <string.h>
#if defined(__aarch64__)
#include <sys/auxv.h>
#endif

#define POLYNOMIAL 0x82f63b78u /* reflected */

static uint32_t tables[4][256];
static uint32_t (*update)(uint32_t crc, const uint8_t *p, size_t len);

static uint32_t update_table(uint32_t crc, const uint8_t *p, size_t len)
{
    for (; len >= 4; len -= 4, p += 4) {
        crc ^= (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 |
               (uint32_t)p[3] << 24;
        crc = tables[3][crc & 0xff] ^ tables[2][crc >> 8 & 0xff] ^
              tables[1][crc >> 16 & 0xff] ^ tables[0][crc >> 24];
    }
    for (; len > 0; len--, p++) {
        crc = tables[0][(crc ^ *p) & 0xff] ^ crc >> 8;
    }
    return crc;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) static uint32_t
update_hardware(uint32_t crc, const uint8_t *p, size_t len)
{
    uint64_t wide = crc;

    for (; len >= 8; len -= 8, p += 8) {
        uint64_t word;

        memcpy(&word, p, sizeof(word));
        wide = __builtin_ia32_crc32di(wide, word);
    }
    crc = (uint32_t)wide;
    for (; len > 0; len--, p++) {
        crc = __builtin_ia32_crc32qi(crc, *p);
    }
    return crc;
}

static int has_hardware(void)
{
    return __builtin_cpu_supports("sse4.2");
}
#elif defined(__aarch64__)
__attribute__((target("+crc"))) static uint32_t
update_hardware(uint32_t crc, const uint8_t *p, size_t len)
{
    for (; len >= 8; len -= 8, p += 8) {
        uint64_t word;

        memcpy(&word, p, sizeof(word));
        crc = __builtin_aarch64_crc32cx(crc, word);
    }
    for (; len > 0; len--, p++) {
        crc = __builtin_aarch64_crc32cb(crc, *p);
    }
    return crc;
}

static int has_hardware(void)
{
    return (getauxval(AT_HWCAP) & 1u << 7) != 0; /* HWCAP_CRC32 */
}
#else
#define update_hardware update_table

static int has_hardware(void)
{
    return 0;
}
#endif

static void __attribute__((constructor)) choose(void)
{
    unsigned b, k;
    int bit;

    for (b = 0; b < 256; b++) {
        uint32_t crc = b;

        for (bit = 0; bit < 8; bit++) {
            crc = crc & 1 ? crc >> 1 ^ POLYNOMIAL : crc >> 1;
        }
        tables[0][b] = crc;
    }
    for (k = 1; k < 4; k++) {
        for (b = 0; b < 256; b++) {
            uint32_t crc = tables[k - 1][b];

            tables[k][b] = tables[0][crc & 0xff] ^ crc >> 8;
        }
    }
    update = has_hardware() ? update_hardware : update_table;
}

uint32_t crc32c(uint32_t crc, const void *data, size_t len)
{
    return ~update(~crc, data, len);
}

uint32_t crc32c_portable(uint32_t crc, const void *data, size_t len)
{
    return ~update_table(~crc, data, len);
}
