/* Options of lists: what is refused, in which words, and their way into files.
 */
#include "../cm.h"

#include "db/lists/lists_options.h"

static void check_wrong(void **state)
{
    static const struct {
        struct lists_options o;
        const char *words;
    } cases[] = {
        {{0}, NULL},
        {{.nlist = LISTS_NLIST_MAX, .nprobe = LISTS_NLIST_MAX}, NULL},
        {{.nlist = LISTS_NLIST_MAX + 1}, "invalid NLIST"},
        {{.nprobe = LISTS_NLIST_MAX + 1}, "invalid NPROBE"},
        {{.nprobe = 9}, NULL},
        {{.nlist = 8, .nprobe = 9}, "NPROBE is more than NLIST"},
        {{.nlist = 8, .sample = 7}, "SAMPLE is less than NLIST"},
        {{.nlist = 8, .sample = 8}, NULL},
        {{.iterations = LISTS_ITERATIONS_MAX + 1}, "invalid ITERATIONS"},
        {{.codes = LISTS_CODES_I8}, NULL},
        {{.codes = LISTS_CODES_I8, .pq_m = 2}, "invalid PQ"},
        {{.codes = LISTS_CODES_PQ}, "invalid PQ"},
        {{.codes = LISTS_CODES_PQ, .pq_m = VEC_DIM_MAX + 1}, "invalid PQ"},
        {{.codes = LISTS_CODES_PQ, .pq_m = 4}, NULL},
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const char *words = lists_options_wrong(&cases[i].o);

        if (cases[i].words) {
            assert_non_null(words);
            assert_string_equal(words, cases[i].words);
        } else {
            assert_null(words);
        }
    }
}

static void check_fit(void **state)
{
    static const struct vset_options f32 = {.type = VEC_F32, .dim = 12};
    static const struct vset_options bits = {.type = VEC_BIT, .dim = 12};
    static const struct vset_options l1 = {
        .type = VEC_I8, .metric = VEC_L1, .dim = 12};
    static const struct lists_options none = {0};
    static const struct lists_options many = {.nlist = 100};
    static const struct lists_options q8 = {.codes = LISTS_CODES_I8};
    static const struct lists_options pq4 = {.codes = LISTS_CODES_PQ,
                                             .pq_m = 4};
    static const struct lists_options pq5 = {.codes = LISTS_CODES_PQ,
                                             .pq_m = 5};
    char why[128];

    (void)state;
    assert_true(lists_options_fit(&none, &f32, 1, why, sizeof(why)));
    assert_true(lists_options_fit(&none, &bits, 1, why, sizeof(why)));
    assert_true(lists_options_fit(&q8, &l1, 1, why, sizeof(why)));
    assert_true(lists_options_fit(&pq4, &f32, 1, why, sizeof(why)));
    assert_true(lists_options_fit(&many, &f32, 100, why, sizeof(why)));
    assert_false(lists_options_fit(&none, &f32, 0, why, sizeof(why)));
    assert_string_equal(why, "the set is empty, there is nothing to train on");
    assert_false(lists_options_fit(&many, &f32, 99, why, sizeof(why)));
    assert_string_equal(why, "too few elements for NLIST 100: there are 99");
    assert_false(lists_options_fit(&q8, &bits, 9, why, sizeof(why)));
    assert_string_equal(why, "Q8 and PQ are not for sets of bits");
    assert_false(lists_options_fit(&pq4, &l1, 9, why, sizeof(why)));
    assert_string_equal(why, "PQ is not for the metric L1");
    assert_false(lists_options_fit(&pq5, &f32, 9, why, sizeof(why)));
    assert_string_equal(why, "PQ 5 does not divide the dimension, 12");
}

static void check_numbers(void **state)
{
    struct lists_options o = {.nlist = 100,
                              .nprobe = 9,
                              .sample = 5000,
                              .iterations = 7,
                              .seed = UINT64_MAX,
                              .codes = LISTS_CODES_PQ,
                              .pq_m = 4};
    struct lists_options got;
    uint64_t numbers[LISTS_OPTION_WORDS];
    int i;

    (void)state;
    lists_options_put(&o, numbers);
    assert_int_equal(lists_options_get(numbers, &got), ERR_OK);
    assert_true(got.nlist == o.nlist && got.nprobe == o.nprobe &&
                got.sample == o.sample && got.iterations == o.iterations &&
                got.seed == o.seed && got.codes == o.codes &&
                got.pq_m == o.pq_m);
    for (i = 0; i < LISTS_OPTION_WORDS; i++) {
        uint64_t was = numbers[i];

        if (i != 4) {
            numbers[i] = (uint64_t)1 << 32;
            assert_int_equal(lists_options_get(numbers, &got), ERR_CORRUPT);
            numbers[i] = i == 1 ? 101 : 1 << 20;
            if (i != 2) { /* a sample may be that large */
                assert_int_equal(lists_options_get(numbers, &got), ERR_CORRUPT);
            }
        }
        numbers[i] = was;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(check_wrong),
        cmocka_unit_test(check_fit),
        cmocka_unit_test(check_numbers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
