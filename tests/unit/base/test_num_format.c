/* Double to text: shortest, closest, reads back, laid out as Redis does. */
#include "unit/cm.h"

#include <float.h>
#include <math.h>

#include "base/mem.h"
#include "base/num.h"
#include "base/rng.h"
#include "unit/base/doubles.h"

static struct rng rng;
static int many;

/* Prints into a block of exactly the promised size, for the address
 * sanitizer. */
static void print(double value, char text[NUM_TEXT_MAX + 1])
{
    char *out = mem_alloc(NUM_TEXT_MAX);
    size_t len = num_format_double(value, out);

    assert_true(len > 0 && len <= NUM_TEXT_MAX);
    memcpy(text, out, len);
    text[len] = '\0';
    mem_free(out);
}

/* ---- layout ---------------------------------------------------------------
 */

/* Each line was seen in a reply of Redis 8.0.6. */
static void numbers_are_laid_out_as_redis_does(void **state)
{
    static const struct {
        double value;
        const char *text;
    } cases[] = {
        {0.0, "0"},
        {-0.0, "-0"},
        {1.0, "1"},
        {-1.0, "-1"},
        {2.0, "2"},
        {0.5, "0.5"},
        {-12.75, "-12.75"},
        {0.1, "0.1"},
        {0.01, "0.01"},
        {0.001, "0.001"},
        {1e-4, "0.0001"},
        {1e-5, "0.00001"},
        {1e-6, "0.000001"},
        {1e-7, "1e-7"},
        {1.5e-5, "0.000015"},
        {1.25e-6, "1.25e-6"},
        {1.5e-7, "1.5e-7"},
        {1.2345e-4, "1.2345e-4"},
        {1.2345e-5, "1.2345e-5"},
        {1.23e-10, "1.23e-10"},
        {123456.789, "123456.789"},
        {0.1 + 0.2, "0.30000000000000004"},
        {1e15, "1000000000000000"},
        {1e17, "100000000000000000"},
        {1e18, "1000000000000000000"},
        {4e18, "4000000000000000000"},
        {5e18, "5e+18"},
        {1e19, "1e+19"},
        {1e21, "1e+21"},
        {1e22, "1e+22"},
        {1e25, "1e+25"},
        {1.5e20, "1.5e+20"},
        {1.2345678901234568e20, "123456789012345680000"},
        {1.2345678901234568e22, "12345678901234568000000"},
        {0x1p52, "4503599627370496"},
        {0x1p53, "9007199254740992"},
        {0x1p61, "2305843009213693952"},
        {0x1p62, "4611686018427387904"},
        {-0x1p62, "-4611686018427387904"},
        {0x1p62 + 1024, "4611686018427389000"},
        {0x1p63 - 1024, "9223372036854775000"},
        {0x1p63, "9223372036854776000"},
        {-0x1p63, "-9223372036854776000"},
        {1e100, "1e+100"},
        {1e-100, "1e-100"},
        {DBL_MAX, "1.7976931348623157e+308"},
        {-DBL_MAX, "-1.7976931348623157e+308"},
        {5e-324, "5e-324"},
        {0.9921259, "0.9921259"},
        {(double)0.9921259f, "0.992125928401947"},
        {INFINITY, "inf"},
        {-INFINITY, "-inf"},
        /* Halfway between two shortest ones: up. */
        {138.095123291015625, "138.09512329101563"},
        {-901.39605712890625, "-901.3960571289063"},
    };
    size_t i;

    (void)state;
    for (i = 0; i < ARRAY_LEN(cases); i++) {
        char text[NUM_TEXT_MAX + 1];

        print(cases[i].value, text);
        assert_string_equal(text, cases[i].text);
    }
}

static void every_nan_is_printed_alike(void **state)
{
    char text[NUM_TEXT_MAX + 1];

    (void)state;
    print((double)NAN, text);
    assert_string_equal(text, "nan");
    print(-(double)NAN, text);
    assert_string_equal(text, "nan");
    print(double_of(0xfff0000000000001), text);
    assert_string_equal(text, "nan");
}

/* Redis prints these with more digits than they need. */
static void digits_are_shortest_where_those_of_redis_are_not(void **state)
{
    char text[NUM_TEXT_MAX + 1];

    (void)state;
    print(1e23, text);
    assert_string_equal(text, "1e+23");
    print(0.007769493386149406, text);
    assert_string_equal(text, "0.007769493386149406");
    /* No 16 digits nearest to a power of two read back, others do. */
    print(0x1p-44, text);
    assert_string_equal(text, "5.684341886080802e-14");
}

/* Builds the text from the digits alone: the rule behind the table above. */
static void lay_out(const char *digits, int exp10, char *out)
{
    int n = (int)strlen(digits);
    int ulp = exp10 - (n - 1);

    if (ulp >= 0 && exp10 < n + 7) {
        sprintf(out, "%s%.*s", digits, ulp, "0000000");
    } else if (ulp < 0 && exp10 < 0 && (ulp > -7 || exp10 > -4)) {
        sprintf(out, "0.%.*s%s", -exp10 - 1, "0000000", digits);
    } else if (ulp < 0 && exp10 >= 0 && (ulp > -7 || exp10 < 4)) {
        sprintf(out, "%.*s.%s", exp10 + 1, digits, digits + exp10 + 1);
    } else {
        sprintf(out, "%c%s%se%+d", digits[0], n > 1 ? "." : "", digits + 1,
                exp10);
    }
}

/* ---- digits ---------------------------------------------------------------
 */

struct digits {
    char digit[24]; /* no zeros at the end */
    int n;
    int exp10;
};

/* The n digits of |value| as printf() rounds them. */
static struct digits digits_of_printf(double value, int n)
{
    struct digits d;
    char text[64];
    char *e;

    snprintf(text, sizeof(text), "%.*e", n - 1, fabs(value));
    e = strchr(text, 'e');
    d.exp10 = atoi(e + 1);
    d.digit[0] = text[0];
    if (n > 1) {
        memcpy(d.digit + 1, text + 2, (size_t)n - 1);
    }
    d.n = n;
    while (d.n > 1 && d.digit[d.n - 1] == '0') {
        d.n--;
    }
    d.digit[d.n] = '\0';
    return d;
}

static double value_of(const struct digits *d)
{
    char text[64];

    snprintf(text, sizeof(text), "%se%d", d->digit, d->exp10 - (d->n - 1));
    return strtod(text, NULL);
}

/* When |value| lies exactly halfway between two numbers of d->n digits (a 5
 * and zeros follow the first n), printf() has chosen the even one; this makes
 * it the upper one. */
static void choose_upper_of_tie(double value, int n, struct digits *d)
{
    char text[1200];
    const char *p = text + 1 + n; /* behind the point and n digits */

    snprintf(text, sizeof(text), "%.25e", fabs(value));
    if (strncmp(p, "500", 3) != 0) {
        return; /* mostly */
    }
    snprintf(text, sizeof(text), "%.1100e", fabs(value));
    if (*p != '5' || strspn(p + 1, "0") != (size_t)(1100 - n)) {
        return;
    }
    /* The even one ends in 0, 2, 4, 6 or 8. If it is the lower one, one more
     * is the upper one. */
    if (d->n == n && strncmp(d->digit + 1, text + 2, (size_t)n - 1) == 0) {
        d->digit[n - 1]++;
    } else if (d->n < n && text[n] == '0') {
        memset(d->digit + d->n, '0', (size_t)(n - d->n));
        d->digit[n - 1] = '1';
        d->digit[n] = '\0';
        d->n = n;
    }
}

static int count_digits(const char *text)
{
    int n = 0;
    int zeros = 0;

    for (; *text && *text != 'e'; text++) {
        if (*text >= '1' && *text <= '9') {
            n += zeros + 1;
            zeros = 0;
        } else if (*text == '0' && n > 0) {
            zeros++;
        }
    }
    return n;
}

/* `text` is what num_format_double() printed for a finite value that is not
 * printed as a whole number. The smallest precision at which printf() reads
 * back must be its number of digits; if one precision does not, smaller ones
 * do not either. For powers of two, whose interval is not symmetric, fewer
 * digits may read back although they are not what rounding yields: then any
 * are accepted. */
static void assert_shortest(double value, const char *text)
{
    char want[64];
    struct digits d;
    int n = count_digits(text);

    if (n > 1) {
        d = digits_of_printf(value, n - 1);
        assert_true(value_of(&d) != fabs(value));
    }
    for (; n < 17; n++) {
        d = digits_of_printf(value, n);
        if (value_of(&d) == fabs(value)) {
            break;
        }
    }
    d = digits_of_printf(value, n);
    choose_upper_of_tie(value, n, &d);
    want[0] = '-';
    lay_out(d.digit, d.exp10, want + signbit(value));
    if (strcmp(text, want) == 0) {
        return;
    }
    if (bits_of(value) << 12 == 0 && strlen(text) < strlen(want)) {
        return;
    }
    fail_msg("%a printed as %s, wanted %s", value, text, want);
}

static void assert_printed_well(double value)
{
    char text[NUM_TEXT_MAX + 1];
    double back;

    if (!isfinite(value)) {
        return;
    }
    print(value, text);
    if (bits_of(strtod(text, NULL)) != bits_of(value)) {
        fail_msg("%a printed as %s", value, text);
    }
    if (num_parse_double(bytes_str(text), &back)) {
        assert_true(bits_of(back) == bits_of(value));
    } else {
        assert_true(fabs(value) < DBL_MIN);
    }
    if (fabs(value) <= 0x1p62 && value == nearbyint(value)) {
        char want[32];

        snprintf(want, sizeof(want), "%.0f", value);
        assert_string_equal(text, want);
    } else {
        assert_shortest(value, text);
    }
}

static void any_double_is_printed_shortest(void **state)
{
    int i;

    (void)state;
    for (i = 0; i < many; i++) {
        assert_printed_well(double_of(rng_next(&rng)));
    }
}

static void components_and_scores_are_printed_shortest(void **state)
{
    int i;

    (void)state;
    for (i = 0; i < many; i++) {
        double value = rng_normal(&rng);

        assert_printed_well(value);
        assert_printed_well((double)(float)value);
        assert_printed_well((double)(float)(value * 1000));
        assert_printed_well(rng_unit(&rng));
    }
}

static void denormals_are_printed_shortest(void **state)
{
    uint64_t bits;
    int i;

    (void)state;
    for (bits = 1; bits < 2000; bits++) {
        assert_printed_well(double_of(bits));
        assert_printed_well(double_of(((uint64_t)1 << 52) - bits));
    }
    for (i = 0; i < many / 4; i++) {
        assert_printed_well(
            double_of(rng_next(&rng) >> (12 + rng_below(&rng, 52))));
    }
}

static void
powers_of_two_and_their_neighbours_are_printed_shortest(void **state)
{
    uint64_t biased;
    int i;

    (void)state;
    for (biased = 0; biased < 2047; biased++) {
        for (i = -3; i <= 3; i++) {
            uint64_t bits = (biased << 52) + (uint64_t)(int64_t)i;

            assert_printed_well(double_of(bits));
            assert_printed_well(double_of(bits | (uint64_t)1 << 63));
        }
    }
}

/* There, the ends of an interval are whole numbers and may be short decimals
 * themselves; they belong to the even doubles only. */
static void intervals_ending_in_short_decimals_are_respected(void **state)
{
    int i;

    (void)state;
    for (i = 0; i < many; i++) {
        uint64_t biased = 1023 + 62 + rng_below(&rng, 16);

        assert_printed_well(double_of(biased << 52 | rng_next(&rng) >> 12));
    }
}

static void short_decimals_come_back_as_they_were(void **state)
{
    int i;

    (void)state;
    for (i = 0; i < many; i++) {
        /* 15 digits survive the way through a double. */
        uint64_t whole = rng_next(&rng) >> (14 + rng_below(&rng, 50));
        int exp10 = (int)rng_below(&rng, 590) - 300;
        char text[40];
        double value;

        whole %= 1000000000000000;
        snprintf(text, sizeof(text), "%llue%d", (unsigned long long)whole,
                 exp10);
        value = strtod(text, NULL);
        if (whole % 10 != 0 && (exp10 < 0 || fabs(value) > 0x1p62)) {
            struct digits d;
            char want[64];
            char got[NUM_TEXT_MAX + 1];

            d.n = sprintf(d.digit, "%llu", (unsigned long long)whole);
            lay_out(d.digit, exp10 + d.n - 1, want);
            print(value, got);
            assert_string_equal(got, want);
        }
        assert_printed_well(value);
    }
}

static void whole_numbers_are_printed_exactly_up_to_two_to_the_62(void **state)
{
    int i;

    (void)state;
    for (i = 0; i < many; i++) {
        assert_printed_well(
            (double)((int64_t)rng_next(&rng) >> rng_below(&rng, 63)));
    }
    assert_printed_well(nextafter(0x1p62, 0));
    assert_printed_well(nextafter(0x1p62, INFINITY));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_are_laid_out_as_redis_does),
        cmocka_unit_test(every_nan_is_printed_alike),
        cmocka_unit_test(digits_are_shortest_where_those_of_redis_are_not),
        cmocka_unit_test(any_double_is_printed_shortest),
        cmocka_unit_test(components_and_scores_are_printed_shortest),
        cmocka_unit_test(denormals_are_printed_shortest),
        cmocka_unit_test(
            powers_of_two_and_their_neighbours_are_printed_shortest),
        cmocka_unit_test(intervals_ending_in_short_decimals_are_respected),
        cmocka_unit_test(short_decimals_come_back_as_they_were),
        cmocka_unit_test(whole_numbers_are_printed_exactly_up_to_two_to_the_62),
    };

    cm_seed(&rng);
    many = cm_often(50000);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
