/* By tables of eight bytes at a time, or, where the processor multiplies
 * without carries, by folding: what lies D bits before other bits counts as
 * much as its product with x^D modulo the polynomial lying there, so 64 bytes
 * are folded into the next 64 until few are left (Gopal et al., "Fast CRC
 * Computation for Generic Polynomials Using PCLMULQDQ", 2009). */
#include "persist/crc64.h"

#include <string.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "base/macros.h"

#define POLYNOMIAL UINT64_C(0x95ac9329ac4bc9b5) /* reflected */

/* tables[k][b]: what byte b does to the sum when k more bytes follow. */
static uint64_t tables[8][256];
static uint64_t (*update)(uint64_t crc, const uint8_t *p, size_t len);

static uint64_t load_le64(const uint8_t *p)
{
    uint64_t word;

    memcpy(&word, p, sizeof(word));
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    word = __builtin_bswap64(word);
#endif
    return word;
}

static uint64_t update_table(uint64_t crc, const uint8_t *p, size_t len)
{
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

#if defined(__x86_64__)

enum { LANES = 4, LANE = 16, STEP = LANES * LANE };

/* For going on by 128 and by 512 bits: the factor of the first eight bytes of a
 * lane, which lie 64 bits further ahead, and that of the other eight. */
static uint64_t by_lane[2], by_step[2];

/* x^n modulo the polynomial; bits are reflected, so x^0 is the top bit. */
static uint64_t power(unsigned n)
{
    uint64_t value = (uint64_t)1 << 63;

    for (; n > 0; n--) {
        value = value & 1 ? value >> 1 ^ POLYNOMIAL : value >> 1;
    }
    return value;
}

/* A product of reflected factors comes out one bit short: hence the 1. */
static void fill_powers(void)
{
    by_lane[0] = power(64 + 128 - 1);
    by_lane[1] = power(128 - 1);
    by_step[0] = power(64 + 512 - 1);
    by_step[1] = power(512 - 1);
}

__attribute__((target("pclmul,sse4.1"))) ALWAYS_INLINE __m128i
fold(__m128i lane, __m128i by, __m128i next)
{
    __m128i first = _mm_clmulepi64_si128(lane, by, 0x00);
    __m128i second = _mm_clmulepi64_si128(lane, by, 0x11);

    return _mm_xor_si128(_mm_xor_si128(first, second), next);
}

__attribute__((target("pclmul,sse4.1"))) static uint64_t
update_folding(uint64_t crc, const uint8_t *p, size_t len)
{
    const __m128i step = _mm_loadu_si128((const void *)by_step);
    const __m128i one = _mm_loadu_si128((const void *)by_lane);
    __m128i lane[LANES];
    uint8_t rest[LANE];
    int i;

    if (len < 2 * STEP) {
        return update_table(crc, p, len);
    }
    for (i = 0; i < LANES; i++) {
        lane[i] = _mm_loadu_si128((const void *)(p + (size_t)i * LANE));
    }
    lane[0] = _mm_xor_si128(lane[0], _mm_cvtsi64_si128((long long)crc));
    for (p += STEP, len -= STEP; len >= STEP; p += STEP, len -= STEP) {
        for (i = 0; i < LANES; i++) {
            lane[i] =
                fold(lane[i], step,
                     _mm_loadu_si128((const void *)(p + (size_t)i * LANE)));
        }
    }
    for (i = 1; i < LANES; i++) {
        lane[0] = fold(lane[0], one, lane[i]);
    }
    _mm_storeu_si128((void *)rest, lane[0]);
    return update_table(update_table(0, rest, LANE), p, len);
}

static int has_hardware(void)
{
    return __builtin_cpu_supports("pclmul") && __builtin_cpu_supports("sse4.1");
}
#else
#define update_folding update_table

static void fill_powers(void)
{
}

static int has_hardware(void)
{
    return 0;
}
#endif

/* Before main(), so that no thread and no forked child has to. */
static void __attribute__((constructor)) choose(void)
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
    fill_powers();
    update = has_hardware() ? update_folding : update_table;
}

uint64_t crc64(uint64_t crc, const void *data, size_t len)
{
    return update(crc, data, len);
}

uint64_t crc64_portable(uint64_t crc, const void *data, size_t len)
{
    return update_table(crc, data, len);
}
