/* Checksums against their published values and against bit-by-bit twins. */
#include "unit/cm.h"

#include "persist/crc32c.h"
#include "persist/crc64.h"

static uint64_t twin64(uint64_t crc, const uint8_t *p, size_t n)
{
    int bit;

    for (; n > 0; n--, p++) {
        crc ^= *p;
        for (bit = 0; bit < 8; bit++) {
            crc = crc & 1 ? crc >> 1 ^ UINT64_C(0x95ac9329ac4bc9b5) : crc >> 1;
        }
    }
    return crc;
}

static uint32_t twin32(uint32_t crc, const uint8_t *p, size_t n)
{
    int bit;

    for (crc = ~crc; n > 0; n--, p++) {
        crc ^= *p;
        for (bit = 0; bit < 8; bit++) {
            crc = crc & 1 ? crc >> 1 ^ 0x82f63b78u : crc >> 1;
        }
    }
    return ~crc;
}

static void known_sums_come_out(void **state)
{
    static const uint8_t zeros[32];

    (void)state;
    assert_true(crc64(0, "123456789", 9) == UINT64_C(0xe9c6d914c4b8d9ca));
    assert_int_equal(crc32c(0, "123456789", 9), 0xe3069283u);
    assert_int_equal(crc32c(0, zeros, 32), 0x8a9136aau);
    assert_true(crc64(0, "", 0) == 0);
    assert_int_equal(crc32c(0, "", 0), 0);
}

static void any_length_and_any_split_sum_up_alike(void **state)
{
    uint8_t data[700];
    struct rng rng;
    size_t n, at;
    int i;

    (void)state;
    cm_seed(&rng);
    for (i = 0; i < 700; i++) {
        data[i] = (uint8_t)rng_next(&rng);
    }
    for (n = 0; n < sizeof(data); n++) {
        at = n ? rng_next(&rng) % n : 0;
        assert_true(crc64(crc64(0, data, at), data + at, n - at) ==
                    twin64(0, data, n));
        assert_true(crc64_portable(0, data, n) == twin64(0, data, n));
        assert_int_equal(crc32c(crc32c(0, data, at), data + at, n - at),
                         twin32(0, data, n));
        assert_int_equal(crc32c_portable(0, data, n), twin32(0, data, n));
    }
}

/* The processor sums up several stretches of what is long at once. */
static void what_is_long_sums_up_like_what_is_short(void **state)
{
    static uint8_t data[20000];
    struct rng rng;
    size_t i, n;

    (void)state;
    cm_seed(&rng);
    for (i = 0; i < sizeof(data); i++) {
        data[i] = (uint8_t)rng_next(&rng);
    }
    for (n = 2900; n <= sizeof(data); n += 1 + rng_next(&rng) % 97) {
        size_t at = rng_next(&rng) % n;

        assert_int_equal(crc32c(7, data, n), crc32c_portable(7, data, n));
        assert_int_equal(crc32c(crc32c(0, data, at), data + at, n - at),
                         crc32c_portable(0, data, n));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_sums_come_out),
        cmocka_unit_test(any_length_and_any_split_sum_up_alike),
        cmocka_unit_test(what_is_long_sums_up_like_what_is_short),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
