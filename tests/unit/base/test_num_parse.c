/* Text to double, against strtod(): the same verdict and the same bits. */
#include "unit/cm.h"

#include <ctype.h>
#include <errno.h>
#include <float.h>
#include <math.h>
#include <pthread.h>

#include "base/mem.h"
#include "base/num.h"
#include "base/rng.h"
#include "unit/base/doubles.h"

/* Sanitizers make everything slower by an order. */
#ifdef VECTRA_DEBUG
enum { MANY = 100000 };
#else
enum { MANY = 1000000 };
#endif

__extension__ typedef unsigned __int128 u128;

static struct rng rng;

/* strtod() reports ERANGE for denormals too; only these are lost. */
static bool is_lost(double value)
{
    return value == 0 || isinf(value);
}

/* The contract of num_parse_double(), said with strtod(). */
static bool oracle(const char *text, size_t len, double *out)
{
    char *end;
    bool ok;

    errno = 0;
    *out = strtod(text, &end);
    ok = len > 0 && end == text + len && !isspace((unsigned char)text[0]) &&
         !isnan(*out) && (errno != ERANGE || !is_lost(*out));
    errno = 0;
    return ok;
}

static void assert_same_as_strtod(const char *text, size_t len)
{
    const double untouched = -77;
    double value = untouched;
    double want;
    bool want_ok = oracle(text, len, &want);
    bool ok = num_parse_double(bytes_of(text, len), &value);

    if (!want_ok) {
        want = untouched;
    }
    if (ok != want_ok || bits_of(value) != bits_of(want)) {
        fail_msg("'%.100s' (%zu bytes): %s %a, wanted %s %a", text, len,
                 ok ? "read as" : "refused,", value,
                 want_ok ? "to read" : "refusal,", want);
    }
}

static void check(const char *text)
{
    assert_same_as_strtod(text, strlen(text));
}

/* ---- the grammar ----------------------------------------------------------
 */

static void numbers_in_strtod_syntax_are_read(void **state)
{
    static const struct {
        const char *text;
        double value;
    } cases[] = {
        {"0", 0.0},
        {"1", 1.0},
        {"-1.5", -1.5},
        {".5", 0.5},
        {"5.", 5.0},
        {"+5", 5.0},
        {"-0", -0.0},
        {"-0.0e7", -0.0},
        {"+.5e+1", 5.0},
        {"12.5e-3", 0.0125},
        {"1E2", 100.0},
        {"0e999999999999999999999", 0.0},
        {"-0e-999999999999999999999", -0.0},
        {"1e000000000000000000000000000005", 1e5},
        {"00000000000000000000000000000000001.5", 1.5},
        {"0x10", 16.0},
        {"0X1P-3", 0.125},
        {"0x1p-3", 0.125},
        {"-0x.8", -0.5},
        {"0x1.", 1.0},
        {"0x1.fffffffffffffp+1023", DBL_MAX},
        {"0x0p99999", 0.0},
        {"0x1p-1074", 0x1p-1074},
        {"0x0.fffffffffffffp-1022", 0x0.fffffffffffffp-1022},
        {"inf", INFINITY},
        {"-inf", -INFINITY},
        {"+INF", INFINITY},
        {"Infinity", INFINITY},
        {"-iNFINITy", -INFINITY},
        {"1.7976931348623157e308", DBL_MAX},
        {"1.7976931348623158e308", DBL_MAX},
        {"2.2250738585072014e-308", DBL_MIN},
        {"1e23", 1e23},
        {"9007199254740993", 9007199254740992.0},
        {"9223372036854775807", 0x1p63},
        {"18446744073709551615", 0x1p64},
        {"18446744073709551616", 0x1p64},
    };
    size_t i;

    (void)state;
    for (i = 0; i < ARRAY_LEN(cases); i++) {
        double value = -77;

        if (!num_parse_double(bytes_str(cases[i].text), &value) ||
            bits_of(value) != bits_of(cases[i].value)) {
            fail_msg("'%s' read as %a", cases[i].text, value);
        }
        check(cases[i].text);
    }
}

static void everything_else_is_refused(void **state)
{
    static const char *const texts[] = {
        "",      " ",       " 1",     "\t1",   "\n1",    "1 ",
        "1\n",   "+",       "-",      ".",     "+.",     "-.e1",
        "e5",    ".e5",     "1e",     "1e+",   "1e-",    "1e+-5",
        "1e5.",  "1e5e5",   "1.2.3",  "..5",   "--1",    "+-1",
        "-+1",   "1_0",     "1,5",    "1'0",   "1d5",    "1f",
        "0x",    "0x.",     "0x.p1",  "0xg",   "0x1p",   "0x1p+",
        "0x1pf", "0x1.8.8", "0x 1",   "x1",    "0b1",    "1x",
        "in",    "infin",   "infi",   "inf1",  "i",      "infinityy",
        "nan",   "-nan",    "NaN",    "nan()", "nan(1)", "- 1",
        "1e400", "-1e400",  "1e-400", "abc",   "0x1p-1", "0x1p5000",
    };
    size_t i;

    (void)state;
    for (i = 0; i < ARRAY_LEN(texts); i++) {
        double value = -77;

        check(texts[i]);
        if (strcmp(texts[i], "0x1p-1") == 0) {
            continue; /* the one good text shows that the list is looked at */
        }
        if (num_parse_double(bytes_str(texts[i]), &value)) {
            fail_msg("'%s' read as %a", texts[i], value);
        }
        assert_true(value == -77);
    }
}

static void a_nul_byte_is_no_digit_and_no_end(void **state)
{
    static const char text[] = "1\0002.5\0e1\000\000\000\0001";
    size_t from;
    size_t len;

    (void)state;
    for (from = 0; from < sizeof(text); from++) {
        for (len = 0; from + len <= sizeof(text); len++) {
            double value;
            bool has_nul = memchr(text + from, 0, len) != NULL;
            bool ok = num_parse_double(bytes_of(text + from, len), &value);

            assert_false(ok && has_nul);
        }
    }
    assert_false(num_parse_double(BYTES_NONE, &(double){0}));
}

/* In a block of exactly its size, so that the address sanitizer sees a byte
 * read too much on either side; and before bytes that would go on. */
static void bytes_around_a_number_do_not_matter(void **state)
{
    static const char *const texts[] = {
        "1",
        "12",
        "-1.5",
        "1e5",
        "0.123",
        "1234567",
        "12345678",
        "0.1234567",
        "1e-7",
        "123.4e15",
        "0x1p3",
        "0.12345678955316544",
        "1234567890123456789",
        "-123456789.123456789123456789e+10",
    };
    size_t i;

    (void)state;
    for (i = 0; i < ARRAY_LEN(texts); i++) {
        size_t len = strlen(texts[i]);
        char *alone = mem_alloc(len);
        char inside[80];
        double want = strtod(texts[i], NULL);
        double value;

        memcpy(alone, texts[i], len);
        assert_true(num_parse_double(bytes_of(alone, len), &value));
        assert_true(value == want);
        mem_free(alone);

        memset(inside, '9', sizeof(inside));
        memcpy(inside + 20, texts[i], len);
        assert_true(num_parse_double(bytes_of(inside + 20, len), &value));
        assert_true(value == want);
    }
}

static void errno_is_left_alone(void **state)
{
    double value;

    (void)state;
    errno = EAGAIN;
    assert_false(num_parse_double(bytes_str("1e-400"), &value));
    assert_int_equal(errno, EAGAIN);
    assert_true(num_parse_double(bytes_str("0x1p4"), &value));
    assert_int_equal(errno, EAGAIN);
    errno = ERANGE;
    assert_true(num_parse_double(bytes_str("0x1p4"), &value));
    assert_int_equal(errno, ERANGE);
}

/* ---- rounding and range ---------------------------------------------------
 */

static void values_at_the_ends_of_the_range_are_judged_like_strtod(void **state)
{
    static const char *const texts[] = {
        "1.7976931348623157e308",
        "1.7976931348623158e308",
        "1.79769313486231580793e308",
        "1.7976931348623159e308",
        "179769313486231570000e289",
        "1.7976931348623157081e308",
        "0x1.fffffffffffff7p1023",
        "0x1.fffffffffffff8p1023",
        "1e308",
        "1e309",
        "123456789e300",
        "2.2250738585072014e-308",
        "2.22507385850720138309e-308",
        "2.2250738585072013e-308",
        "2.2250738585072012e-308",
        "2.2250738585072011e-308",
        "0x0.fffffffffffff8p-1022",
        "0x0.fffffffffffffcp-1022",
        "0x0.fffffffffffffbp-1022",
        "4.9406564584124654e-324",
        "5e-324",
        "2.4703282292062328e-324",
        "2.4703282292062327e-324",
        "0x1p-1075",
        "0x1.8p-1074",
        "0x3p-1074",
        "1e-323",
        "-1e-310",
    };
    char text[64];
    size_t i;
    int e;

    (void)state;
    for (i = 0; i < ARRAY_LEN(texts); i++) {
        check(texts[i]);
    }
    for (e = -400; e <= 400; e++) {
        snprintf(text, sizeof(text), "1e%d", e);
        check(text);
        snprintf(text, sizeof(text), "-9999999999999999999e%d", e);
        check(text);
        snprintf(text, sizeof(text), "1.7976931348623157e%d", e);
        check(text);
    }
}

static size_t print_u128(u128 value, char *out)
{
    char reversed[40];
    size_t n = 0;
    size_t i;

    do {
        reversed[n++] = (char)('0' + (int)(value % 10));
        value /= 10;
    } while (value > 0);
    for (i = 0; i < n; i++) {
        out[i] = reversed[n - 1 - i];
    }
    out[n] = '\0';
    return n;
}

/* Exact decimals of numbers with 54 bits, the last one set: halfway between
 * two doubles; and the neighbours one unit in the last place away. */
static void halfway_cases_round_to_even(void **state)
{
    int i;

    (void)state;
    for (i = 0; i < MANY / 10; i++) {
        u128 mantissa =
            (rng_next(&rng) >> 10) | 1 | (uint64_t)1 << (53 - (i & 3) * 10);
        int scale = (int)rng_below(&rng, 31);
        int around;
        int j;

        for (j = 0; j < scale; j++) {
            mantissa *= 5;
        }
        for (around = -1; around <= 1; around++) {
            char text[80];
            size_t len = print_u128(mantissa + (u128)(int64_t)around, text);

            snprintf(text + len, sizeof(text) - len, "e-%d", scale);
            check(text);
        }
    }
    for (i = 0; i < MANY / 10; i++) {
        u128 whole = (u128)((rng_next(&rng) >> 10) | 1) << rng_below(&rng, 70);
        char text[80];

        print_u128(whole, text);
        check(text);
        print_u128(whole - 1, text);
        check(text);
        print_u128(whole + 1, text);
        check(text);
    }
}

static void any_double_printed_with_17_digits_is_read_back(void **state)
{
    int i;

    (void)state;
    for (i = 0; i < MANY; i++) {
        double value = double_of(rng_next(&rng));
        char text[40];

        snprintf(text, sizeof(text), "%.17g", value);
        check(text);
        snprintf(text, sizeof(text), "%.*e", (int)rng_below(&rng, 19), value);
        check(text);
    }
}

static void denormals_are_judged_like_strtod(void **state)
{
    int i;

    (void)state;
    for (i = 0; i < MANY / 10; i++) {
        double value = double_of(rng_next(&rng) >> (11 + rng_below(&rng, 53)));
        char text[1200];

        snprintf(text, sizeof(text), "%.17g", value);
        check(text);
        snprintf(text, sizeof(text), "%a", value);
        check(text);
        if (i % 16 == 0) {
            snprintf(text, sizeof(text), "%.1100g", value); /* exact */
            check(text);
        }
    }
}

static size_t append_digits(char *text, size_t n)
{
    size_t i;

    for (i = 0; i < n; i++) {
        text[i] = (char)('0' + rng_below(&rng, 10));
    }
    return n;
}

/* Sign, digits around a point or none, an exponent or none. */
static size_t make_decimal(char *text, size_t max_digits, int max_exponent)
{
    size_t n = 1 + rng_below(&rng, max_digits);
    size_t before = rng_below(&rng, n + 1);
    size_t len = 0;

    if (rng_below(&rng, 3) == 0) {
        text[len++] = "+-"[rng_below(&rng, 2)];
    }
    if (rng_below(&rng, 4) == 0) {
        size_t zeros = rng_below(&rng, 8);

        memset(text + len, '0', zeros);
        len += zeros;
    }
    len += append_digits(text + len, before);
    if (before < n || rng_below(&rng, 8) == 0) {
        text[len++] = '.';
    }
    if (rng_below(&rng, 4) == 0 && before < n) {
        size_t zeros = rng_below(&rng, 8);

        memset(text + len, '0', zeros);
        len += zeros;
    }
    len += append_digits(text + len, n - before);
    if (rng_below(&rng, 2) == 0) {
        len += (size_t)sprintf(text + len, rng_below(&rng, 2) ? "e%d" : "E%+d",
                               (int)rng_below(&rng, 2 * max_exponent + 1) -
                                   max_exponent);
    }
    text[len] = '\0';
    return len;
}

static void random_decimals_are_read_like_strtod(void **state)
{
    char text[128];
    int i;

    (void)state;
    for (i = 0; i < MANY; i++) {
        make_decimal(text, 25, i & 1 ? 30 : 350);
        check(text);
    }
}

/* Texts of up to ten characters, most of them a point among digits. The oracle
 * takes what is refused, too. */
static void little_texts_are_read_like_strtod(void **state)
{
    static const char some[] = "0123456789.eE+-x /:\x80\x1e";
    char text[16];
    int i;

    (void)state;
    for (i = 0; i < 4 * MANY; i++) {
        size_t len = rng_below(&rng, 11), k;

        for (k = 0; k < len; k++) {
            text[k] = (char)('0' + rng_below(&rng, 10));
        }
        if (len) {
            text[rng_below(&rng, len)] = '.';
            text[0] = i % 3 == 0 ? '-' : text[0];
        }
        if (len && i % 4 == 0) {
            text[rng_below(&rng, len)] =
                some[rng_below(&rng, sizeof(some) - 1)];
        }
        text[len] = '\0';
        check(text);
    }
}

static void every_power_of_ten_is_read_with_19_digits(void **state)
{
    int q;
    int i;

    (void)state;
    for (q = -345; q <= 310; q++) {
        for (i = 0; i < 100; i++) {
            char text[40];

            snprintf(
                text, sizeof(text), "%llue%d",
                (unsigned long long)(rng_next(&rng) >> rng_below(&rng, 60)) | 1,
                q);
            check(text);
        }
    }
}

/* Any byte anywhere: what is no number must be refused by both. */
static void damaged_decimals_are_judged_like_strtod(void **state)
{
    char text[128];
    int i;

    (void)state;
    for (i = 0; i < MANY; i++) {
        size_t len = make_decimal(text, 20, 20);
        static const char likely[] = "0123456789.eE+-xXpPinfINFtyab ";
        size_t at = rng_below(&rng, len);

        if (i & 1) {
            text[at] = likely[rng_below(&rng, sizeof(likely) - 1)];
        } else {
            text[at] = (char)rng_below(&rng, 256);
        }
        assert_same_as_strtod(text, len);
    }
}

static void hexadecimals_are_read_like_strtod(void **state)
{
    char text[128];
    int i;

    (void)state;
    for (i = 0; i < MANY / 4; i++) {
        size_t len = (size_t)sprintf(text, "%s0%c", i & 1 ? "-" : "",
                                     "xX"[rng_below(&rng, 2)]);
        size_t n = 1 + rng_below(&rng, 30);
        size_t point = rng_below(&rng, 40);
        size_t j;

        for (j = 0; j < n; j++) {
            if (j == point) {
                text[len++] = '.';
            }
            text[len++] = "0123456789abcdefABCDEF00008888"[rng_below(&rng, 30)];
        }
        text[len] = '\0';
        if (i % 3) {
            sprintf(text + len, "p%d", (int)rng_below(&rng, 2400) - 1200);
        }
        check(text);
    }
}

/* ---- long texts -----------------------------------------------------------
 */

static void hundreds_of_digits_are_read_like_strtod(void **state)
{
    char *text = mem_alloc(4096);
    int i;

    (void)state;
    for (i = 0; i < MANY / 100; i++) {
        make_decimal(text, 1 + rng_below(&rng, 2000), 400);
        check(text);
    }
    mem_free(text);
}

/* The exact decimals of doubles have up to 767 digits and of the points
 * halfway between two of them up to 768; one more digit anywhere decides. */
static void digits_far_behind_a_tie_decide_it(void **state)
{
    /* 1 + 2^-53, halfway between 1 and the next double. */
    static const char tie[] =
        "1.00000000000000011102230246251565404236316680908203125";
    const size_t room = 3 << 20;
    char *text = mem_alloc(room);
    size_t zeros;
    double value;

    (void)state;
    for (zeros = 0; zeros < room - 128; zeros = zeros * 4 + 1) {
        size_t len = strlen(tie);

        memcpy(text, tie, len);
        memset(text + len, '0', zeros);
        len += zeros;
        assert_true(num_parse_double(bytes_of(text, len), &value));
        assert_true(value == 1.0);
        text[len++] = '1';
        assert_true(num_parse_double(bytes_of(text, len), &value));
        assert_true(value == 0x1.0000000000001p0);
        text[len] = '\0';
        check(text);
    }
    mem_free(text);
}

/* The halfway point between zero and the smallest double, and between the two
 * largest denormals, in full. */
static void the_longest_halfway_points_are_exact(void **state)
{
    static const double lower[] = {0x1p-1073, 0x0.ffffffffffffep-1022,
                                   0x1.0000000000001p-1022};
    char text[1200];
    size_t i;

    (void)state;
    for (i = 0; i < ARRAY_LEN(lower); i++) {
        /* x87 and IEEE quadruple long doubles can hold it; elsewhere this is
         * the double itself, which is as good a number. */
        long double middle = (long double)lower[i] + (long double)0x1p-1074 / 2;
        char *e;

        snprintf(text, sizeof(text), "%.1100Le", middle);
        check(text);
        e = strchr(text, 'e');
        assert_non_null(e);
        e[-1] = '1'; /* the last of many zeros */
        check(text);
    }
}

static void megabytes_of_digits_take_linear_time(void **state)
{
    const size_t n = 1 << 20;
    char *text = mem_alloc(2 * n + 64);
    double value;

    (void)state;
    memset(text, '7', n);
    assert_false(num_parse_double(bytes_of(text, n), &value));
    sprintf(text + n, "e-%zu", n);
    check(text);

    memset(text, '0', n);
    text[0] = '-';
    text[2] = '.';
    sprintf(text + n, "125e%zu", n);
    check(text);
    assert_true(num_parse_double(bytes_str(text), &value));
    assert_true(value == -125.0);

    memset(text, '0', n);
    memcpy(text, "0x", 2);
    strcpy(text + n, ".8p+1");
    check(text);

    memset(text, '0', 2 * n);
    text[0] = '1';
    text[1] = 'e';
    strcpy(text + 2 * n, "3");
    check(text);
    assert_true(num_parse_double(bytes_str(text), &value));
    assert_true(value == 1000.0);

    memset(text, '9', n);
    text[0] = '1';
    text[1] = 'e';
    assert_false(num_parse_double(bytes_of(text, n), &value));
    text[2] = '-';
    assert_false(num_parse_double(bytes_of(text, n), &value));
    text[0] = '0';
    assert_true(num_parse_double(bytes_of(text, n), &value));
    assert_true(value == 0);
    mem_free(text);
}

/* ---- threads --------------------------------------------------------------
 */

static void *parse_one(void *arg)
{
    double *value = arg;

    if (!num_parse_double(bytes_str("0.12345678955316544"), value)) {
        *value = -1;
    }
    return NULL;
}

/* Stands first, when no table has been computed yet. */
static void many_threads_may_read_the_first_number(void **state)
{
    pthread_t thread[8];
    double value[ARRAY_LEN(thread)];
    size_t i;

    (void)state;
    for (i = 0; i < ARRAY_LEN(thread); i++) {
        assert_int_equal(pthread_create(&thread[i], NULL, parse_one, &value[i]),
                         0);
    }
    for (i = 0; i < ARRAY_LEN(thread); i++) {
        pthread_join(thread[i], NULL);
        assert_true(value[i] == 0.12345678955316544);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(many_threads_may_read_the_first_number),
        cmocka_unit_test(numbers_in_strtod_syntax_are_read),
        cmocka_unit_test(everything_else_is_refused),
        cmocka_unit_test(a_nul_byte_is_no_digit_and_no_end),
        cmocka_unit_test(bytes_around_a_number_do_not_matter),
        cmocka_unit_test(errno_is_left_alone),
        cmocka_unit_test(
            values_at_the_ends_of_the_range_are_judged_like_strtod),
        cmocka_unit_test(halfway_cases_round_to_even),
        cmocka_unit_test(any_double_printed_with_17_digits_is_read_back),
        cmocka_unit_test(denormals_are_judged_like_strtod),
        cmocka_unit_test(random_decimals_are_read_like_strtod),
        cmocka_unit_test(little_texts_are_read_like_strtod),
        cmocka_unit_test(every_power_of_ten_is_read_with_19_digits),
        cmocka_unit_test(damaged_decimals_are_judged_like_strtod),
        cmocka_unit_test(hexadecimals_are_read_like_strtod),
        cmocka_unit_test(hundreds_of_digits_are_read_like_strtod),
        cmocka_unit_test(digits_far_behind_a_tie_decide_it),
        cmocka_unit_test(the_longest_halfway_points_are_exact),
        cmocka_unit_test(megabytes_of_digits_take_linear_time),
    };

    cm_seed(&rng);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
