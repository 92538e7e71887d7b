/* The table of powers of ten, checked by what its entries promise.
 *
 * The table is computed by division; here only multiplication and comparison
 * of whole numbers are used: s <= x < s + 1 becomes a * s <= b < a * (s + 1).
 */
#include "unit/cm.h"

#include "base/num_impl.h"

/* Room for 5^342 * 2^128. */
enum { WORDS = 40 };

struct big {
    uint32_t word[WORDS]; /* least significant first */
};

static void big_multiply(struct big *b, uint32_t factor)
{
    uint64_t carry = 0;
    int i;

    for (i = 0; i < WORDS; i++) {
        carry += (uint64_t)b->word[i] * factor;
        b->word[i] = (uint32_t)carry;
        carry >>= 32;
    }
    assert_int_equal(carry, 0);
}

static struct big big_shift(const struct big *b, int bits)
{
    struct big r = {{0}};
    int i;

    for (i = 0; i < WORDS * 32 - bits; i++) {
        int to = i + bits;

        r.word[to / 32] |= (b->word[i / 32] >> (i % 32) & 1) << (to % 32);
    }
    return r;
}

static struct big big_of(num_u128 x)
{
    struct big r = {{0}};
    int i;

    for (i = 0; i < 4; i++) {
        r.word[i] = (uint32_t)(x >> (32 * i));
    }
    return r;
}

static int big_compare(const struct big *a, const struct big *b)
{
    int i;

    for (i = WORDS - 1; i >= 0; i--) {
        if (a->word[i] != b->word[i]) {
            return a->word[i] < b->word[i] ? -1 : 1;
        }
    }
    return 0;
}

static void big_multiply_by_5s(struct big *b, int n)
{
    for (; n > 0; n--) {
        big_multiply(b, 5);
    }
}

/* Compares s, as a significand of 10^q, with the true one. With
 * e = num_log2_pow10(q) - 127 that is s * 2^e against 10^q, and divided by 2^q,
 * s * 2^(e - q) against 5^q; negative exponents change sides. */
static int compare_significand(num_u128 s, int q)
{
    struct big left = big_of(s);
    struct big right = big_of(1);
    int shift = num_log2_pow10(q) - 127 - q;

    if (q < 0) {
        big_multiply_by_5s(&left, -q);
    } else {
        big_multiply_by_5s(&right, q);
    }
    if (shift < 0) {
        right = big_shift(&right, -shift);
    } else {
        left = big_shift(&left, shift);
    }
    return big_compare(&left, &right);
}

static num_u128 significand(int q)
{
    const struct num_pow10 *entry = num_pow10(q);

    return (num_u128)entry->hi << 64 | entry->lo;
}

static void every_power_has_its_top_bit_set(void **state)
{
    int q;

    (void)state;
    for (q = NUM_POW10_MIN; q <= NUM_POW10_MAX; q++) {
        assert_int_equal(num_pow10(q)->hi >> 63, 1);
    }
}

static void T1_far_powers_are_rounded_down_and_never_whole(void **state)
{
    int q;

    (void)state;
    for (q = NUM_POW10_MIN; q <= NUM_POW10_MAX; q++) {
        if (q < NUM_POW10_SAFE_MIN || q > NUM_POW10_SAFE_MAX) {
            assert_int_equal(compare_significand(significand(q), q), -1);
            assert_int_equal(compare_significand(significand(q) + 1, q), 1);
        }
    }
}

static void T2_near_negative_powers_are_rounded_up(void **state)
{
    int q;

    (void)state;
    for (q = NUM_POW10_SAFE_MIN; q < 0; q++) {
        assert_int_equal(compare_significand(significand(q), q), 1);
        assert_int_equal(compare_significand(significand(q) - 1, q), -1);
    }
}

static void T3_near_positive_powers_are_exact(void **state)
{
    int q;

    (void)state;
    for (q = 0; q <= NUM_POW10_SAFE_MAX; q++) {
        assert_int_equal(compare_significand(significand(q), q), 0);
    }
}

/* What the proof in num_parse.c needs of NUM_POW10_SAFE_MIN. */
static void five_to_the_27_fits_in_64_bits(void **state)
{
    num_u128 power = 1;
    int i;

    (void)state;
    for (i = 0; i < -NUM_POW10_SAFE_MIN; i++) {
        power *= 5;
    }
    assert_true(power <= UINT64_MAX);
    assert_true(power * 5 > UINT64_MAX);
}

static void eight_digits_are_joined_and_split(void **state)
{
    uint32_t value;

    (void)state;
    for (value = 0; value < 100000000; value += 1 + value / 97) {
        uint64_t word = num_split_digits(value);
        char text[9];
        uint64_t ascii;

        snprintf(text, sizeof(text), "%08u", (unsigned)value);
        memcpy(&ascii, text, sizeof(ascii));
        assert_true((word | NUM_ASCII_ZEROS) == ascii);
        assert_int_equal(num_join_digits(word), value);
    }
    for (value = 0; value < 10000; value++) {
        uint64_t word = num_split_digits(value * 10000 + value);

        assert_int_equal(num_join_digits(word), value * 10000 + value);
        assert_true((word & 0xf0f0f0f0f0f0f0f0u) == 0);
    }
    assert_true(num_split_digits(99999999) == 0x0909090909090909u);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_power_has_its_top_bit_set),
        cmocka_unit_test(T1_far_powers_are_rounded_down_and_never_whole),
        cmocka_unit_test(T2_near_negative_powers_are_rounded_up),
        cmocka_unit_test(T3_near_positive_powers_are_exact),
        cmocka_unit_test(five_to_the_27_fits_in_64_bits),
        cmocka_unit_test(eight_digits_are_joined_and_split),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
