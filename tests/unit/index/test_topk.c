/* The k best, against sorting everything. */
#include "unit/cm.h"

#include <math.h>

#include "index/topk.h"

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

static void keys_keep_their_order_as_bits(void **state)
{
    static const float keys[] = {-INFINITY, -3e38f, -2.5f, -1e-40f, -0.0f,
                                 0.0f,      1e-40f, 1.0f,  3e38f,   INFINITY};
    size_t i;

    (void)state;
    for (i = 0; i < ARRAY_LEN(keys); i++) {
        assert_true(topk_bits_key(topk_key_bits(keys[i])) == keys[i]);
        assert_true(i == 0 ||
                    topk_key_bits(keys[i - 1]) < topk_key_bits(keys[i]));
    }
    assert_int_equal(topk_key_bits(NAN), topk_key_bits(INFINITY));
    assert_int_equal(topk_entry_slot(topk_entry(-1.5f, 77)), 77);
    assert_true(topk_entry_key(topk_entry(-1.5f, 77)) == -1.5f);
}

static void the_best_are_kept_in_any_order_of_arrival(void **state)
{
    struct rng rng;
    int round;

    (void)state;
    cm_seed(&rng);
    for (round = 0; round < 300; round++) {
        size_t n = 1 + rng_below(&rng, 500);
        size_t k = 1 + rng_below(&rng, 60);
        uint64_t all[500], heap[60];
        struct topk t;
        size_t i;

        topk_init(&t, heap, k);
        for (i = 0; i < n; i++) {
            /* Few distinct keys, so that slots decide. */
            all[i] = topk_entry((float)rng_below(&rng, 20) - 10, (uint32_t)i);
            if (topk_wants(&t, all[i])) {
                topk_push(&t, all[i]);
            }
        }
        qsort(all, n, sizeof(all[0]), by_value);
        topk_sort(&t);
        assert_int_equal(t.n, n < k ? n : k);
        assert_memory_equal(heap, all, t.n * sizeof(all[0]));
    }
}

static void the_limit_is_the_worst_once_there_are_k(void **state)
{
    uint64_t heap[2];
    struct topk t;

    (void)state;
    topk_init(&t, heap, 2);
    assert_true(isinf(topk_limit(&t)));
    topk_push(&t, topk_entry(5, 1));
    assert_true(isinf(topk_limit(&t)));
    topk_push(&t, topk_entry(3, 2));
    assert_true(topk_limit(&t) == 5);
    assert_true(topk_wants(&t, topk_entry(5, 0)));
    assert_false(topk_wants(&t, topk_entry(5, 2)));
    topk_push(&t, topk_entry(1, 3));
    assert_true(topk_limit(&t) == 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_keep_their_order_as_bits),
        cmocka_unit_test(the_best_are_kept_in_any_order_of_arrival),
        cmocka_unit_test(the_limit_is_the_worst_once_there_are_k),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
