/* Whole numbers: what counts as one, and printing. */
#include "unit/cm.h"

#include "base/num.h"
#include "base/rng.h"

static struct rng rng;

static bool parses_as(const char *text, int64_t want)
{
    int64_t value = 77;

    return num_parse_i64(bytes_str(text), &value) && value == want;
}

static void canonical_integers_are_read(void **state)
{
    (void)state;
    assert_true(parses_as("0", 0));
    assert_true(parses_as("7", 7));
    assert_true(parses_as("-1", -1));
    assert_true(parses_as("10", 10));
    assert_true(parses_as("-1234567890", -1234567890));
    assert_true(parses_as("9223372036854775807", INT64_MAX));
    assert_true(parses_as("-9223372036854775808", INT64_MIN));
    assert_true(parses_as("1000000000000000000", 1000000000000000000));
}

static void anything_else_is_no_integer(void **state)
{
    static const char *const texts[] = {
        "",
        "-",
        "+",
        "+1",
        "-0",
        "00",
        "03",
        "-01",
        "--1",
        "1-",
        " 1",
        "1 ",
        "1.0",
        "1e2",
        "0x1",
        "a",
        "1a",
        "/",
        ":",
        "9223372036854775808",
        "-9223372036854775809",
        "9999999999999999999",
        "-9999999999999999999",
        "10000000000000000000",
        "18446744073709551615",
        "18446744073709551616",
        "18446744073709551617",
        "-18446744073709551617",
        "92233720368547758070",
        "100000000000000000000000000000",
    };
    size_t i;

    (void)state;
    for (i = 0; i < ARRAY_LEN(texts); i++) {
        int64_t value = 77;

        if (num_parse_i64(bytes_str(texts[i]), &value)) {
            fail_msg("'%s' read as %lld", texts[i], (long long)value);
        }
        assert_int_equal(value, 77);
    }
}

static void an_integer_ends_where_its_bytes_end(void **state)
{
    int64_t value = 77;

    (void)state;
    assert_true(num_parse_i64(bytes_of("123456", 3), &value));
    assert_int_equal(value, 123);
    assert_false(num_parse_i64(bytes_of("1\0", 2), &value));
    assert_false(num_parse_i64(bytes_of("1\0002", 3), &value));
    assert_false(num_parse_i64(BYTES_NONE, &value));
}

static void assert_prints(int64_t value)
{
    char want[32];
    char out[NUM_TEXT_MAX];
    size_t len;
    int64_t back;

    memset(out, '#', sizeof(out));
    snprintf(want, sizeof(want), "%lld", (long long)value);
    len = num_format_i64(value, out);
    assert_int_equal(len, strlen(want));
    assert_memory_equal(out, want, len);
    assert_int_equal(out[len], '#');
    assert_true(num_parse_i64(bytes_of(out, len), &back));
    assert_int_equal(back, value);
}

static void assert_prints_unsigned(uint64_t value)
{
    char want[32];
    char out[NUM_TEXT_MAX];
    size_t len;

    memset(out, '#', sizeof(out));
    snprintf(want, sizeof(want), "%llu", (unsigned long long)value);
    len = num_format_u64(value, out);
    assert_int_equal(len, strlen(want));
    assert_memory_equal(out, want, len);
    assert_int_equal(out[len], '#');
}

static void integers_around_powers_of_ten_are_printed(void **state)
{
    uint64_t ten;
    int i;

    (void)state;
    for (i = 0, ten = 1; i < 19; i++, ten *= 10) {
        int64_t value = (int64_t)ten;

        assert_prints(value - 1);
        assert_prints(value);
        assert_prints(value + 1);
        assert_prints(-value + 1);
        assert_prints(-value);
        assert_prints(-value - 1);
        assert_prints_unsigned(ten - 1);
        assert_prints_unsigned(ten);
    }
    assert_prints_unsigned(ten - 1);
    assert_prints_unsigned(ten);
    assert_prints_unsigned(UINT64_MAX);
    assert_prints(INT64_MAX);
    assert_prints(INT64_MIN);
}

static void random_integers_are_printed_and_read_back(void **state)
{
    int i;

    (void)state;
    for (i = 0; i < 300000; i++) {
        uint64_t value = rng_next(&rng) >> rng_below(&rng, 64);

        assert_prints_unsigned(value);
        assert_prints((int64_t)value);
        assert_prints((int64_t)(0 - value));
    }
}

/* Nearly integers: a correct text with one byte replaced, beside strtoll(). */
static void damaged_integers_are_read_only_when_canonical(void **state)
{
    int i;

    (void)state;
    for (i = 0; i < 300000; i++) {
        char text[NUM_TEXT_MAX + 1];
        char canonical[NUM_TEXT_MAX + 1];
        int64_t value;
        size_t len;
        bool ok;

        value = (int64_t)rng_next(&rng) >> rng_below(&rng, 64);
        len = num_format_i64(value, text);
        text[len] = '\0';
        text[rng_below(&rng, len)] = "0123456789-+ ."[rng_below(&rng, 14)];
        snprintf(canonical, sizeof(canonical), "%lld", strtoll(text, NULL, 10));
        ok = num_parse_i64(bytes_of(text, len), &value);
        if (ok != (strcmp(text, canonical) == 0) ||
            (ok && value != strtoll(text, NULL, 10))) {
            fail_msg("'%s': %d", text, ok);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(canonical_integers_are_read),
        cmocka_unit_test(anything_else_is_no_integer),
        cmocka_unit_test(an_integer_ends_where_its_bytes_end),
        cmocka_unit_test(integers_around_powers_of_ten_are_printed),
        cmocka_unit_test(random_integers_are_printed_and_read_back),
        cmocka_unit_test(damaged_integers_are_read_only_when_canonical),
    };

    cm_seed(&rng);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
