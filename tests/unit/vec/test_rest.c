/* Selection, keys and distances, conversions, projection, dispatch. */
#include "unit/vec/vec_fixture.h"

#include <float.h>
#include <math.h>

/* ---- selection --------------------------------------------------------- */

static void select_is_the_plain_loop(void **state)
{
    struct rng *r = *state;
    size_t l;
    size_t n;

    for (l = 0; next_level(&l); l++) {
        for (n = 0; n <= 150; n++) {
            float keys[150];
            struct guarded g;
            uint32_t *at;
            uint32_t want[150];
            float limit = (float)rng_unit(r);
            size_t count = 0;
            size_t i;

            guarded_init(&g, 4 * n + 4);
            at = (uint32_t *)(void *)(g.end - 4 * n);
            for (i = 0; i < n; i++) {
                keys[i] = rng_below(r, 10)  ? (float)rng_unit(r)
                          : rng_below(r, 2) ? NAN
                                            : limit;
                if (!(keys[i] > limit)) {
                    want[count++] = (uint32_t)i;
                }
            }
            assert_int_equal(vec_select(keys, n, limit, at), count);
            assert_memory_equal(at, want, 4 * count);
            assert_int_equal(vec_select(keys, n, INFINITY, at), n);
            guarded_deinit(&g);
        }
    }
}

static void select_finds_nothing_below_the_smallest_key(void **state)
{
    float keys[100];
    uint32_t at[100];
    size_t l;
    size_t i;

    (void)state;
    for (i = 0; i < 100; i++) {
        keys[i] = 1;
    }
    for (l = 0; next_level(&l); l++) {
        assert_int_equal(vec_select(keys, 100, 0.999f, at), 0);
        assert_int_equal(vec_select(keys, 100, 1, at), 100);
    }
}

/* ---- keys and distances ------------------------------------------------ */

static void key_limit_is_the_largest_key_that_is_near_enough(void **state)
{
    static const double special[] = {0,    1e-300, 1e-46, 1e-30, 0.5, 1,
                                     1.25, 2,      1e10,  1e30,  -1,  -0.5};
    struct rng *r = *state;
    int metric;
    int n;

    for (metric = 0; metric < VEC_METRIC_COUNT; metric++) {
        struct vec_format f;

        vec_format_init(&f, VEC_F32, (enum vec_metric)metric, 8);
        for (n = 0; n < 3000; n++) {
            double distance = (size_t)n < ARRAY_LEN(special)
                                  ? special[n]
                                  : exp(rng_normal(r) * 10);
            float limit = vec_key_limit(&f, distance);

            if (limit == -INFINITY) { /* not even the smallest key passes */
                assert_true(metric == VEC_L2 || metric == VEC_L1);
                assert_true(distance < 0);
                continue;
            }
            assert_true(vec_distance(&f, limit) <= distance);
            assert_true(vec_distance(&f, nextafterf(limit, INFINITY)) >
                        distance);
        }
    }
}

static void a_row_exactly_at_the_radius_passes(void **state)
{
    struct rng *r = *state;
    int metric;
    int n;

    for (metric = 0; metric < VEC_METRIC_COUNT; metric++) {
        struct vec_format f;

        vec_format_init(&f, VEC_F32, (enum vec_metric)metric, 8);
        for (n = 0; n < 3000; n++) {
            float key = (float)exp(rng_normal(r) * 5);

            key = metric == VEC_IP && n % 2 ? -key : key;
            assert_true(vec_key_limit(&f, vec_distance(&f, key)) >= key);
        }
    }
}

static void key_limits_of_odd_distances_pass_all_or_nothing(void **state)
{
    int metric;

    (void)state;
    for (metric = 0; metric < VEC_METRIC_COUNT; metric++) {
        struct vec_format f;

        vec_format_init(&f, VEC_F32, (enum vec_metric)metric, 8);
        assert_true(vec_key_limit(&f, INFINITY) == INFINITY);
        assert_true(vec_key_limit(&f, (double)NAN) == -INFINITY);
        assert_true(vec_key_limit(&f, -INFINITY) == -INFINITY);
    }
}

static void distances_and_scores_are_what_clients_expect(void **state)
{
    struct vec_format f;

    (void)state;
    vec_format_init(&f, VEC_F32, VEC_COSINE, 2);
    assert_true(vec_distance(&f, 0.25f) == 0.25);
    assert_true(vec_score(&f, 0.25f) == 0.875);
    vec_format_init(&f, VEC_F32, VEC_L2, 2);
    assert_true(vec_distance(&f, 9) == 3);
    assert_true(vec_score(&f, 9) == 0.25);
    vec_format_init(&f, VEC_F32, VEC_IP, 2);
    assert_true(vec_distance(&f, -0.5f) == 0.5);
    assert_true(vec_score(&f, -0.5f) == 0.5);
    vec_format_init(&f, VEC_F32, VEC_L1, 2);
    assert_true(vec_distance(&f, 3) == 3);
    assert_true(vec_score(&f, 3) == 0.25);
}

/* ---- conversions ------------------------------------------------------- */

static double half_value(uint16_t half)
{
    int exponent = (half >> 10) & 31;
    double mantissa = half & 1023;
    double sign = half & 0x8000 ? -1 : 1;

    if (exponent == 31) {
        return mantissa > 0 ? (double)NAN : sign * INFINITY;
    }
    return sign * (exponent == 0 ? ldexp(mantissa, -24)
                                 : ldexp(1024 + mantissa, exponent - 25));
}

static void all_half_floats_widen_to_their_value(void **state)
{
    uint16_t *in = malloc(65536 * sizeof(*in));
    float *out = malloc(65536 * sizeof(*out));
    size_t l;
    size_t i;

    (void)state;
    for (i = 0; i < 65536; i++) {
        in[i] = (uint16_t)i;
    }
    for (l = 0; next_level(&l); l++) {
        vec_widen_f16(in, 65536, out);
        for (i = 0; i < 65536; i++) {
            double want = half_value((uint16_t)i);

            if ((double)out[i] != want && !(isnan(out[i]) && isnan(want))) {
                fail_msg("%s: half float %04zx", vec_simd_name(), i);
            }
        }
        vec_widen_bf16(in, 65536, out);
        for (i = 0; i < 65536; i++) {
            uint32_t bits;

            memcpy(&bits, &out[i], sizeof(bits));
            assert_int_equal(bits, i << 16);
        }
    }
    free(out);
    free(in);
}

static void widening_reads_and_writes_exactly_n_numbers(void **state)
{
    struct rng *r = *state;
    size_t l;
    size_t n;

    for (l = 0; next_level(&l); l++) {
        for (n = 1; n <= 70; n++) {
            struct guarded in;
            struct guarded out;
            uint16_t *halves;
            float *floats;
            size_t i;

            guarded_init(&in, 2 * n);
            guarded_init(&out, 4 * n);
            halves = (uint16_t *)(void *)(in.end - 2 * n);
            floats = (float *)(void *)(out.end - 4 * n);
            for (i = 0; i < n; i++) {
                halves[i] = (uint16_t)rng_below(r, 0x7c00);
            }
            vec_widen_f16(halves, n, floats);
            assert_true((double)floats[n - 1] == half_value(halves[n - 1]));
            vec_widen_bf16(halves, n, floats);
            vec_widen_f16(in.start + 1, 3, (float *)(void *)out.start);
            guarded_deinit(&in);
            guarded_deinit(&out);
        }
    }
}

/* ---- projection -------------------------------------------------------- */

static void project_plainly(const float *x, uint32_t in_dim, float *out,
                            uint32_t out_dim)
{
    float s = (float)(1 / sqrt((double)in_dim));
    uint32_t i;
    uint32_t j;

    for (i = 0; i < out_dim; i++) {
        volatile float sum = 0; /* no rounding may be left out */

        for (j = 0; j < in_dim; j++) {
            volatile float value = x[j] * s;

            sum = __builtin_popcount(i & j) % 2 ? sum - value : sum + value;
        }
        out[i] = sum;
    }
}

static void projection_is_exact_and_in_order(void **state)
{
    static const uint32_t dims[][2] = {
        {1, 1},    {2, 1},     {2, 2},     {7, 5},     {15, 15},   {16, 16},
        {17, 16},  {33, 31},   {64, 9},    {100, 17},  {128, 127}, {130, 129},
        {255, 64}, {300, 128}, {384, 200}, {768, 129}, {768, 300}, {1000, 999}};
    struct rng *r = *state;
    size_t d;
    size_t l;

    for (l = 0; next_level(&l); l++) {
        for (d = 0; d < ARRAY_LEN(dims); d++) {
            const uint32_t in_dim = dims[d][0];
            const uint32_t out_dim = dims[d][1];
            struct guarded in;
            struct guarded out;
            float *x;
            float *got;
            float *want = malloc(4 * (size_t)out_dim);

            guarded_init(&in, 4 * (size_t)in_dim);
            guarded_init(&out, 4 * (size_t)out_dim);
            x = (float *)(void *)(in.end - 4 * (size_t)in_dim);
            got = (float *)(void *)(out.end - 4 * (size_t)out_dim);
            fill_vector(r, KIND_NORMAL, x, in_dim);
            project_plainly(x, in_dim, want, out_dim);
            vec_project(x, in_dim, got, out_dim);
            if (memcmp(got, want, 4 * (size_t)out_dim) != 0) {
                fail_msg("%s: %u to %u", vec_simd_name(), in_dim, out_dim);
            }
            free(want);
            guarded_deinit(&in);
            guarded_deinit(&out);
        }
    }
}

/* ---- dispatch ---------------------------------------------------------- */

static void an_unknown_level_is_a_syntax_error_and_changes_nothing(void **state)
{
    (void)state;
    assert_int_equal(vec_simd_select("scalar"), ERR_OK);
    assert_int_equal(vec_simd_select("sse9"), ERR_SYNTAX);
    assert_int_equal(vec_simd_select(""), ERR_SYNTAX);
    assert_string_equal(vec_simd_name(), "scalar");
}

static void a_level_for_another_processor_is_unsupported(void **state)
{
    (void)state;
    assert_int_equal(vec_simd_select("scalar"), ERR_OK);
#if defined(__x86_64__)
    assert_int_equal(vec_simd_select("neon"), ERR_UNSUPPORTED);
#else
    assert_int_equal(vec_simd_select("avx2"), ERR_UNSUPPORTED);
    assert_int_equal(vec_simd_select("avx512"), ERR_UNSUPPORTED);
    assert_int_equal(vec_simd_select("avx512f"), ERR_UNSUPPORTED);
#endif
    assert_string_equal(vec_simd_name(), "scalar");
}

/* Else the tests above would pass by testing little. */
static void what_this_processor_has_is_found(void **state)
{
    (void)state;
#if defined(__x86_64__)
    __builtin_cpu_init();
    assert_int_equal(vec_simd_select("avx2") == ERR_OK,
                     __builtin_cpu_supports("avx2") &&
                         __builtin_cpu_supports("fma"));
    assert_int_equal(vec_simd_select("avx512") == ERR_OK,
                     __builtin_cpu_supports("avx512bw") &&
                         __builtin_cpu_supports("avx512dq") &&
                         __builtin_cpu_supports("avx512vl"));
    if (vec_simd_select("avx512") == ERR_OK) {
        const char *name = vec_simd_name();

        assert_int_equal(strstr(name, "vnni") != NULL,
                         __builtin_cpu_supports("avx512vnni") != 0);
        assert_int_equal(strstr(name, "vpopcntdq") != NULL,
                         __builtin_cpu_supports("avx512vpopcntdq") != 0);
        assert_int_equal(vec_simd_select("avx512f"), ERR_OK);
        assert_string_equal(vec_simd_name(), "avx512f");
    }
#endif
}

static void auto_selects_a_level_that_runs(void **state)
{
    char name[64];
    size_t l;
    bool found = false;

    (void)state;
    assert_int_equal(vec_simd_select("auto"), ERR_OK);
    snprintf(name, sizeof(name), "%s", vec_simd_name());
    for (l = 0; next_level(&l); l++) {
        found = found || strcmp(name, vec_simd_name()) == 0;
    }
    assert_true(found);
}

static void types_and_metrics_have_names(void **state)
{
    (void)state;
    assert_string_equal(vec_type_name(VEC_F32), "f32");
    assert_string_equal(vec_type_name(VEC_I8), "int8");
    assert_string_equal(vec_type_name(VEC_BIT), "bin");
    assert_string_equal(vec_type_name(VEC_F16), "f16");
    assert_string_equal(vec_type_name(VEC_BF16), "bf16");
    assert_string_equal(vec_metric_name(VEC_COSINE), "cosine");
    assert_string_equal(vec_metric_name(VEC_L2), "l2");
    assert_string_equal(vec_metric_name(VEC_IP), "ip");
    assert_string_equal(vec_metric_name(VEC_L1), "l1");
}

static int set_up(void **state)
{
    static struct rng r;

    cm_seed(&r);
    *state = &r;
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(select_is_the_plain_loop),
        cmocka_unit_test(select_finds_nothing_below_the_smallest_key),
        cmocka_unit_test(key_limit_is_the_largest_key_that_is_near_enough),
        cmocka_unit_test(a_row_exactly_at_the_radius_passes),
        cmocka_unit_test(key_limits_of_odd_distances_pass_all_or_nothing),
        cmocka_unit_test(distances_and_scores_are_what_clients_expect),
        cmocka_unit_test(all_half_floats_widen_to_their_value),
        cmocka_unit_test(widening_reads_and_writes_exactly_n_numbers),
        cmocka_unit_test(projection_is_exact_and_in_order),
        cmocka_unit_test(
            an_unknown_level_is_a_syntax_error_and_changes_nothing),
        cmocka_unit_test(a_level_for_another_processor_is_unsupported),
        cmocka_unit_test(what_this_processor_has_is_found),
        cmocka_unit_test(auto_selects_a_level_that_runs),
        cmocka_unit_test(types_and_metrics_have_names),
    };

    return cmocka_run_group_tests(tests, set_up, NULL);
}
