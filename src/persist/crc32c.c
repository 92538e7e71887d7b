#include "persist/crc32c.h"

#include <string.h>
#if defined(__aarch64__)
#include <sys/auxv.h>
#endif

#define POLYNOMIAL 0x82f63b78u /* reflected */

static uint32_t tables[4][256];
static uint32_t (*update)(uint32_t crc, const uint8_t *p, size_t len);

/* What LANE bytes of zero make of a sum whose k-th byte is b and the rest 0. */
enum { LANE = 1024 };
static uint32_t past_lane[4][256];

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

#if defined(__x86_64__) || defined(__aarch64__)
static inline uint64_t word_at(const uint8_t *p)
{
    uint64_t word;

    memcpy(&word, p, sizeof(word));
    return word;
}

static inline uint32_t shift_lane(uint32_t crc)
{
    return past_lane[0][crc & 0xff] ^ past_lane[1][crc >> 8 & 0xff] ^
           past_lane[2][crc >> 16 & 0xff] ^ past_lane[3][crc >> 24];
}
#endif

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) static uint32_t
update_hardware(uint32_t crc, const uint8_t *p, size_t len)
{
    uint64_t wide = crc;

    /* The instruction takes three cycles, and one begins in each. */
    for (; len >= 3 * LANE; len -= 3 * LANE, p += 3 * LANE) {
        uint64_t second = 0, third = 0;
        size_t i;

        for (i = 0; i < LANE; i += 8) {
            wide = __builtin_ia32_crc32di(wide, word_at(p + i));
            second = __builtin_ia32_crc32di(second, word_at(p + LANE + i));
            third = __builtin_ia32_crc32di(third, word_at(p + 2 * LANE + i));
        }
        wide = shift_lane((uint32_t)wide) ^ second;
        wide = shift_lane((uint32_t)wide) ^ third;
    }
    for (; len >= 8; len -= 8, p += 8) {
        wide = __builtin_ia32_crc32di(wide, word_at(p));
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
    for (; len >= 3 * LANE; len -= 3 * LANE, p += 3 * LANE) {
        uint32_t second = 0, third = 0;
        size_t i;

        for (i = 0; i < LANE; i += 8) {
            crc = __builtin_aarch64_crc32cx(crc, word_at(p + i));
            second = __builtin_aarch64_crc32cx(second, word_at(p + LANE + i));
            third = __builtin_aarch64_crc32cx(third, word_at(p + 2 * LANE + i));
        }
        crc = shift_lane(crc) ^ second;
        crc = shift_lane(crc) ^ third;
    }
    for (; len >= 8; len -= 8, p += 8) {
        crc = __builtin_aarch64_crc32cx(crc, word_at(p));
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

/* Of each bit alone, and then of sums of bits. */
static void fill_past_lane(void)
{
    static const uint8_t zeros[LANE];
    unsigned b, k;

    for (k = 0; k < 4; k++) {
        for (b = 1; b < 256; b++) {
            unsigned low = b & -b;

            past_lane[k][b] =
                b == low ? update_table((uint32_t)b << 8 * k, zeros, LANE)
                         : past_lane[k][low] ^ past_lane[k][b ^ low];
        }
    }
}

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
    fill_past_lane();
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
