/* Vectors to rows and back: exactness, refusals, the same bytes everywhere. */
#include "unit/vec/vec_fixture.h"

#include <float.h>
#include <math.h>

#include "vec/fine.h"

/* A vector of dim components that ends where reading on becomes a fault, so
 * that it is aligned to four bytes only. */
static float *guarded_vector(struct guarded *g, size_t dim)
{
    guarded_init(g, 4 * dim);
    return (float *)(void *)(g->end - 4 * dim);
}

static double norm_of(const float *x, size_t dim)
{
    double sum = 0;
    size_t i;

    for (i = 0; i < dim; i++) {
        sum += (double)x[i] * (double)x[i];
    }
    return sqrt(sum);
}

/* What rounding to the type may change a component of that size by. */
static double step_of(const struct vec_format *f, const uint8_t *row,
                      double value)
{
    switch (f->type) {
    case VEC_F32:
        return fabs(value) * 0x1p-23 + 0x1p-149;
    case VEC_F16:
        return fabs(value) * 0x1p-11 + 0x1p-25;
    case VEC_BF16:
        return fabs(value) * 0x1p-8 + 0x1p-133;
    default:
        return (double)vec_range(f, row) * (0.5 / 127 + 1e-6) + 0x1p-149;
    }
}

static void check_decoding(const struct vec_format *f, const float *x,
                           const uint8_t *row)
{
    const bool cosine = f->metric == VEC_COSINE;
    double norm = cosine ? norm_of(x, f->dim) : 1;
    float *unit = malloc(4 * (size_t)f->dim);
    float *full = malloc(4 * (size_t)f->dim);
    size_t i;

    norm = norm > 0 ? norm : 1;
    vec_decode_unit(f, row, unit);
    vec_decode(f, row, full);
    for (i = 0; i < f->dim; i++) {
        double want = (double)x[i] / norm;
        double step;

        if (f->type == VEC_BIT) {
            assert_float_equal(unit[i], x[i] > 0 ? 1 : -1, 0);
            assert_float_equal(full[i], unit[i], 0);
            continue;
        }
        step = step_of(f, row, want) + fabs(want) * 3e-6;
        if (!(fabs((double)unit[i] - want) <= step)) {
            fail_msg("%s %s %s dim %u: component %zu is %.9g, not %.9g +- %.3g",
                     vec_simd_name(), vec_type_name(f->type),
                     vec_metric_name(f->metric), f->dim, i, (double)unit[i],
                     want, step);
        }
        assert_float_equal(full[i],
                           cosine ? unit[i] * vec_norm(f, row) : unit[i], 0);
    }
    free(full);
    free(unit);
}

/* ---- tests ------------------------------------------------------------- */

static void decoding_gives_back_the_vector_within_one_step(void **state)
{
    struct rng *r = *state;
    uint32_t dim;
    int type;
    int metric;
    size_t l;

    for (l = 0; next_level(&l); l++) {
        for (dim = 1; dim < 600; dim += 1 + dim / 40) {
            for (type = 0; type < VEC_TYPE_COUNT; type++) {
                for (metric = 0; metric < VEC_METRIC_COUNT; metric++) {
                    enum kind kind = (enum kind)rng_below(r, KIND_COUNT);
                    struct vec_format f;
                    struct guarded g;
                    float *x = guarded_vector(&g, dim);
                    uint8_t *row;

                    if (type == VEC_F16 && kind == KIND_HUGE) {
                        kind = KIND_NORMAL;
                    }
                    vec_format_init(&f, (enum vec_type)type,
                                    (enum vec_metric)metric, dim);
                    row = malloc(f.row_bytes);
                    fill_vector(r, kind, x, dim);
                    assert_int_equal(vec_encode(&f, x, row), ERR_OK);
                    check_decoding(&f, x, row);
                    free(row);
                    guarded_deinit(&g);
                }
            }
        }
    }
}

static void rows_are_the_same_bytes_on_every_level(void **state)
{
    struct rng *r = *state;
    uint32_t dim;
    int type;
    int metric;
    int kind;
    size_t l;

    for (dim = 1; dim < 300; dim += 1 + dim / 30) {
        for (type = 0; type < VEC_TYPE_COUNT; type++) {
            for (kind = 0; kind < KIND_COUNT; kind++) {
                struct vec_format f;
                struct guarded g;
                float *x = guarded_vector(&g, dim);
                uint8_t *first;
                uint8_t *row;
                size_t done = 0;

                metric = (int)rng_below(r, VEC_METRIC_COUNT);
                if (type == VEC_F16 && kind == KIND_HUGE) {
                    metric = VEC_COSINE;
                }
                vec_format_init(&f, (enum vec_type)type,
                                (enum vec_metric)metric, dim);
                first = malloc(f.row_bytes);
                row = malloc(f.row_bytes);
                fill_vector(r, (enum kind)kind, x, dim);
                for (l = 0; next_level(&l); l++) {
                    memset(row, 0xa5, f.row_bytes);
                    assert_int_equal(vec_encode(&f, x, row), ERR_OK);
                    if (done++ == 0) {
                        memcpy(first, row, f.row_bytes);
                    }
                    if (memcmp(first, row, f.row_bytes) != 0) {
                        fail_msg("%s: %s %s dim %u kind %d", vec_simd_name(),
                                 vec_type_name(f.type),
                                 vec_metric_name(f.metric), dim, kind);
                    }
                }
                free(row);
                free(first);
                guarded_deinit(&g);
            }
        }
    }
}

static void many_rows_at_once_are_those_made_one_by_one(void **state)
{
    enum { DIM = 100 };
    struct rng *r = *state;
    float x[VEC_ENCODE_MAX][DIM];
    size_t l, i, n;
    int type, metric;

    for (l = 0; next_level(&l); l++) {
        for (type = 0; type < VEC_TYPE_COUNT; type++) {
            for (metric = 0; metric < VEC_METRIC_COUNT; metric++) {
                struct vec_format f;
                uint8_t *rows, *row;
                uint8_t fine[DIM], fines[VEC_ENCODE_MAX * DIM];
                size_t fine_bytes;

                vec_format_init(&f, (enum vec_type)type,
                                (enum vec_metric)metric, DIM);
                fine_bytes = vec_fine_bytes(&f);
                rows = malloc(VEC_ENCODE_MAX * f.row_bytes);
                row = malloc(f.row_bytes);
                for (i = 0; i < VEC_ENCODE_MAX; i++) {
                    fill_vector(r, i % 3 ? KIND_NORMAL : KIND_TINY, x[i], DIM);
                }
                for (n = 0; n <= VEC_ENCODE_MAX; n++) {
                    assert_int_equal(
                        vec_encode_many(&f, x, n, rows, n % 2 ? fines : NULL),
                        n);
                    for (i = 0; i < n; i++) {
                        assert_int_equal(vec_encode_fine(&f, x[i], row, fine),
                                         ERR_OK);
                        assert_memory_equal(row, rows + i * f.row_bytes,
                                            f.row_bytes);
                        assert_true(n % 2 == 0 ||
                                    memcmp(fine, fines + i * fine_bytes,
                                           fine_bytes) == 0);
                    }
                }
                for (i = 0; i < VEC_ENCODE_MAX; i++) {
                    struct vec_measured m;

                    assert_int_equal(vec_measure(&f, x[i], &m), ERR_OK);
                    assert_int_equal(
                        vec_encode_measured(&f, x[i], &m, 1, row, fine), 1);
                    assert_memory_equal(row, rows + i * f.row_bytes,
                                        f.row_bytes);
                }
                x[5][DIM - 1] = NAN;
                assert_int_equal(vec_encode_many(&f, x, n - 1, rows, NULL), 5);
                free(row);
                free(rows);
            }
        }
    }
}

static void input_may_have_any_alignment(void **state)
{
    struct rng *r = *state;
    size_t offset;
    int type;
    size_t l;

    for (l = 0; next_level(&l); l++) {
        for (type = 0; type < VEC_TYPE_COUNT; type++) {
            float x[77];
            uint8_t moved[64 + sizeof(x)];
            uint8_t rows[2][77 * 4 + 16];
            struct vec_format f;

            vec_format_init(&f, (enum vec_type)type, VEC_COSINE, 77);
            fill_vector(r, KIND_NORMAL, x, 77);
            assert_int_equal(vec_encode(&f, x, rows[0]), ERR_OK);
            for (offset = 0; offset < 64; offset++) {
                memcpy(moved + offset, x, sizeof(x));
                assert_int_equal(vec_encode(&f, moved + offset, rows[1]),
                                 ERR_OK);
                assert_memory_equal(rows[0], rows[1], f.row_bytes);
            }
        }
    }
}

static void norms_are_right_for_tiny_and_huge_vectors(void **state)
{
    static const float sizes[] = {1e-45f, 1e-40f, 1e-38f, 1e-30f,
                                  1e-20f, 1e-16f, 1,      1e15f,
                                  1e19f,  1e25f,  1e36f};
    struct rng *r = *state;
    size_t s;
    size_t l;
    int n;

    for (l = 0; next_level(&l); l++) {
        for (s = 0; s < ARRAY_LEN(sizes); s++) {
            for (n = 0; n < 20; n++) {
                float x[50];
                float unit[50];
                uint8_t row[50 * 4 + 4];
                struct vec_format f;
                double norm;
                size_t i;

                vec_format_init(&f, VEC_F32, VEC_COSINE, 50);
                for (i = 0; i < 50; i++) {
                    x[i] = (float)rng_normal(r) * sizes[s];
                }
                x[0] = sizes[s];
                norm = norm_of(x, 50);
                assert_int_equal(vec_encode(&f, x, row), ERR_OK);
                assert_true(fabs((double)vec_norm(&f, row) - norm) <=
                            norm * 1e-6 + 0x1p-150);
                vec_decode_unit(&f, row, unit);
                assert_true(fabs(norm_of(unit, 50) - 1) < 1e-6);
            }
        }
    }
}

/* One component large, the others so small that their squares vanish. */
static void small_components_next_to_large_ones_survive(void **state)
{
    size_t l;

    (void)state;
    for (l = 0; next_level(&l); l++) {
        float x[20];
        float out[20];
        uint8_t row[20 * 4 + 4];
        struct vec_format f;
        size_t i;

        for (i = 0; i < 20; i++) {
            x[i] = i == 7 ? 3e38f : 1e10f;
        }
        vec_format_init(&f, VEC_F32, VEC_COSINE, 20);
        assert_int_equal(vec_encode(&f, x, row), ERR_OK);
        vec_decode_unit(&f, row, out);
        assert_float_equal(out[7], 1, 1e-6);
        assert_true(out[0] > 3.3e-29f && out[0] < 3.4e-29f);
    }
}

static void infinities_nans_and_norms_beyond_float32_are_refused(void **state)
{
    static const float bad[] = {INFINITY, -INFINITY, NAN};
    int type;
    int metric;
    uint32_t dim;
    uint32_t at;
    size_t b;
    size_t l;

    (void)state;
    for (l = 0; next_level(&l); l++) {
        for (type = 0; type < VEC_TYPE_COUNT; type++) {
            for (metric = 0; metric < VEC_METRIC_COUNT; metric++) {
                for (dim = 1; dim <= 70; dim += dim < 4 ? 1 : 11) {
                    float x[70];
                    uint8_t row[70 * 4 + 16];
                    struct vec_format f;
                    struct vec_query *q = NULL;
                    void *memory;

                    vec_format_init(&f, (enum vec_type)type,
                                    (enum vec_metric)metric, dim);
                    memory = query_memory(&f);
                    for (at = 0; at < dim; at++) {
                        for (b = 0; b < ARRAY_LEN(bad); b++) {
                            uint32_t i;

                            for (i = 0; i < dim; i++) {
                                x[i] = i == at ? bad[b] : (float)i - 3;
                            }
                            assert_int_equal(vec_encode(&f, x, row),
                                             ERR_NOT_FINITE);
                            assert_int_equal(vec_check(&f, x), ERR_NOT_FINITE);
                            assert_int_equal(vec_query_init(&f, x, memory, &q),
                                             ERR_NOT_FINITE);
                            assert_null(q);
                        }
                    }
                    for (at = 0; at < dim; at++) {
                        x[at] = FLT_MAX;
                    }
                    if (dim > 1) {
                        assert_int_equal(vec_encode(&f, x, row),
                                         ERR_NOT_FINITE);
                    }
                    free(memory);
                }
            }
        }
    }
}

static void components_beyond_a_half_float_are_refused(void **state)
{
    static const struct {
        enum vec_type type;
        float fits;
        float does_not;
    } limits[] = {{VEC_F16, 65519.0f, -65520.0f},
                  {VEC_BF16, 0x1.fefffep127f, -0x1.ffp127f}};
    size_t k;
    size_t l;

    (void)state;
    for (l = 0; next_level(&l); l++) {
        for (k = 0; k < ARRAY_LEN(limits); k++) {
            float x[3] = {1, limits[k].fits, 0};
            float out[3];
            uint8_t row[16];
            struct vec_format f;

            vec_format_init(&f, limits[k].type, VEC_L2, 3);
            assert_int_equal(vec_encode(&f, x, row), ERR_OK);
            assert_int_equal(vec_check(&f, x), ERR_OK);
            vec_decode(&f, row, out);
            assert_true(isfinite(out[1]));
            x[1] = limits[k].does_not;
            assert_int_equal(vec_encode(&f, x, row), ERR_RANGE);
            assert_int_equal(vec_check(&f, x), ERR_RANGE);
            vec_format_init(&f, limits[k].type, VEC_COSINE, 3);
            assert_int_equal(vec_encode(&f, x, row), ERR_OK);
        }
    }
}

static void zero_vectors_stay_zero_with_norm_one(void **state)
{
    int type;
    int metric;
    size_t l;

    (void)state;
    for (l = 0; next_level(&l); l++) {
        for (type = 0; type < VEC_TYPE_COUNT; type++) {
            for (metric = 0; metric < VEC_METRIC_COUNT; metric++) {
                float x[33] = {0};
                float out[33];
                uint8_t row[33 * 4 + 16];
                struct vec_format f;
                size_t i;

                vec_format_init(&f, (enum vec_type)type,
                                (enum vec_metric)metric, 33);
                assert_int_equal(vec_encode(&f, x, row), ERR_OK);
                assert_float_equal(vec_norm(&f, row), 1, 0);
                vec_decode(&f, row, out);
                for (i = 0; i < 33; i++) {
                    assert_float_equal(out[i], type == VEC_BIT ? -1 : 0, 0);
                }
            }
        }
    }
}

/* Seen on Redis 8.0.6: VADD ... Q8, then VEMB ... RAW. */
static void int8_rows_are_those_of_redis(void **state)
{
    static const struct {
        float x[4];
        int8_t codes[4];
        float norm;
        float range;
    } seen[] = {
        {{1, 2, 3, 0},
         {42, 85, 127, 0},
         3.7416574954986572f,
         0.8017836809158325f},
        {{0, 0, 0, 0}, {0, 0, 0, 0}, 1, 0},
    };
    size_t k;
    size_t l;

    (void)state;
    for (l = 0; next_level(&l); l++) {
        for (k = 0; k < ARRAY_LEN(seen); k++) {
            uint8_t row[16];
            struct vec_format f;

            vec_format_init(&f, VEC_I8, VEC_COSINE, 4);
            assert_int_equal(f.row_bytes, 12);
            assert_int_equal(vec_encode(&f, seen[k].x, row), ERR_OK);
            assert_memory_equal(row, seen[k].codes, 4);
            assert_float_equal(vec_norm(&f, row), seen[k].norm, 0);
            assert_float_equal(vec_range(&f, row), seen[k].range, 0);
        }
    }
}

/* Integers over powers of two, so that no libm has a part in them: vectors in
 * general, ties, single components, sparse ones and zeros. */
static void fill_crowd_vector(struct rng *r, int n, float *x, uint32_t dim)
{
    uint32_t i;

    for (i = 0; i < dim; i++) {
        float value = (float)((int)rng_below(r, 2000001) - 1000000) / 65536;

        switch (n % 8) {
        case 5:
            value = (float)((int)rng_below(r, 9) - 4) / 8;
            break;
        case 6:
            value = i == (uint32_t)n % dim ? value : 0;
            break;
        case 7:
            value = rng_below(r, 4) && n % 100 ? 0 : value;
            break;
        default:
            break;
        }
        x[i] = n == 999 ? 0 : value;
    }
}

/* With range 127 / 128 of the largest component a step is exactly one, so the
 * halves in between are true ties; and the float below a half is none. */
static void int8_codes_round_halves_away_from_zero(void **state)
{
    static const float x[] = {127,   0.5f, -0.5f,          1.5f,
                              -1.5f, 2.5f, 0x1.fffffep-2f, -126.5f};
    static const int8_t want[] = {127, 1, -1, 2, -2, 3, 0, -127};
    size_t l;

    (void)state;
    for (l = 0; next_level(&l); l++) {
        uint8_t row[32];
        struct vec_format f;

        vec_format_init(&f, VEC_I8, VEC_IP, ARRAY_LEN(want));
        assert_int_equal(vec_encode(&f, x, row), ERR_OK);
        assert_memory_equal(row, want, sizeof(want));
    }
}

/* 65519.996 is the last float that is not refused: every float in between
 * rounds as a search among all half floats says. */
static void half_floats_round_to_the_nearest_even(void **state)
{
    struct rng *r = *state;
    size_t l;
    int n;

    for (l = 0; next_level(&l); l++) {
        struct vec_format f;

        vec_format_init(&f, VEC_F16, VEC_L2, 1);
        for (n = 0; n < 20000; n++) {
            uint16_t below = (uint16_t)rng_below(r, 0x7bff);
            uint16_t pair[2];
            float ends[2];
            float x;
            uint8_t row[8];
            uint16_t got;
            double middle;
            int want;

            pair[0] = below;
            pair[1] = (uint16_t)(below + 1);
            vec_widen_f16(pair, 2, ends);
            middle = ((double)ends[0] + (double)ends[1]) / 2;
            switch (n % 3) {
            case 0:
                x = (float)middle; /* exact in float32 */
                break;
            case 1:
                x = nextafterf((float)middle, n % 2 ? INFINITY : 0);
                break;
            default:
                x = ends[0] + (float)rng_unit(r) * (ends[1] - ends[0]);
                break;
            }
            if ((double)x == middle) {
                want = pair[0] % 2 ? pair[1] : pair[0];
            } else {
                want = (double)x < middle ? pair[0] : pair[1];
            }
            assert_int_equal(vec_encode(&f, &x, row), ERR_OK);
            memcpy(&got, row, sizeof(got));
            if (got != want) {
                fail_msg("%s: %a becomes %04x, not %04x", vec_simd_name(),
                         (double)x, got, want);
            }
        }
    }
}

/* Any bits of a finite float, denormals too, in vectors of mixed size: rows of
 * L2 are x itself. */
static void bfloat16_rounds_to_the_nearest_even(void **state)
{
    struct rng *r = *state;
    size_t l;
    int n;

    for (l = 0; next_level(&l); l++) {
        for (n = 0; n < 3000; n++) {
            const uint32_t dim = 1 + (uint32_t)rng_below(r, 40);
            /* a largest exponent that keeps the norm finite */
            const uint32_t span = n % 2 ? 0x5f000000u : 0x01000000u;
            uint32_t bits[40];
            uint8_t row[40 * 2 + 8];
            struct vec_format f;
            uint32_t i;

            vec_format_init(&f, VEC_BF16, VEC_L2, dim);
            for (i = 0; i < dim; i++) {
                bits[i] = (uint32_t)rng_below(r, span) |
                          (rng_below(r, 2) ? 0x80000000u : 0);
                if (rng_below(r, 4) == 0) {
                    bits[i] = (bits[i] & 0xffff0000u) | 0x8000u; /* a tie */
                }
            }
            assert_int_equal(vec_encode(&f, bits, row), ERR_OK);
            for (i = 0; i < dim; i++) {
                uint32_t want =
                    (bits[i] + 0x7fff + ((bits[i] >> 16) & 1)) >> 16;
                uint16_t got;

                memcpy(&got, row + 2 * (size_t)i, sizeof(got));
                if (got != want) {
                    fail_msg("%s: %08x becomes %04x, not %04x", vec_simd_name(),
                             bits[i], got, want);
                }
            }
        }
    }
}

/* A fixed crowd of vectors, and the digest of what Redis 8.0.6 stored for them
 * (VADD ... Q8, then VEMB ... RAW: the codes, the norm, the range). */
static void int8_rows_of_many_vectors_are_those_of_redis(void **state)
{
    enum { VECTORS = 2000, LONGEST = 300 };
    const uint64_t digest = 0x5911631ab79a508fu;
    size_t l;

    (void)state;
    for (l = 0; next_level(&l); l++) {
        uint64_t hash = 0xcbf29ce484222325u; /* FNV-1a */
        struct rng r;
        int n;

        rng_seed(&r, 8006);
        for (n = 0; n < VECTORS; n++) {
            const uint32_t dim = 1 + (uint32_t)rng_below(&r, LONGEST);
            float x[LONGEST];
            uint8_t row[LONGEST + 16];
            struct vec_format f;
            size_t i;

            fill_crowd_vector(&r, n, x, dim);
            vec_format_init(&f, VEC_I8, VEC_COSINE, dim);
            assert_int_equal(vec_encode(&f, x, row), ERR_OK);
            for (i = 0; i < f.row_bytes; i++) {
                hash = (hash ^ row[i]) * 0x100000001b3u;
            }
        }
        if (hash != digest) {
            fail_msg("%s: 0x%016llx", vec_simd_name(),
                     (unsigned long long)hash);
        }
    }
}

static void bits_are_set_for_positive_components_only(void **state)
{
    static const float x[] = {0.0f, -0.0f, 1e-45f, -1e-45f, 1, -1, FLT_MAX, 0};
    size_t l;
    uint32_t dim;

    (void)state;
    for (l = 0; next_level(&l); l++) {
        for (dim = 1; dim <= ARRAY_LEN(x); dim++) {
            uint8_t row[12];
            struct vec_format f;

            vec_format_init(&f, VEC_BIT, VEC_COSINE, dim);
            assert_int_equal(f.code_bytes, 8);
            memset(row, 0xff, sizeof(row));
            assert_int_equal(vec_encode(&f, x, row), ERR_OK);
            assert_int_equal(row[0], 0x54 & ((1 << dim) - 1));
            assert_int_equal(row[7], 0);
        }
    }
}

static void rows_are_laid_out_as_the_header_says(void **state)
{
    struct vec_format f;

    (void)state;
    vec_format_init(&f, VEC_F32, VEC_COSINE, 5);
    assert_int_equal(f.code_bytes, 20);
    assert_int_equal(f.factor_at, 20);
    assert_int_equal(f.row_bytes, 24);
    vec_format_init(&f, VEC_I8, VEC_COSINE, 5);
    assert_int_equal(f.code_bytes, 5);
    assert_int_equal(f.factor_at, 8);
    assert_int_equal(f.row_bytes, 16);
    vec_format_init(&f, VEC_I8, VEC_L2, 5);
    assert_int_equal(f.row_bytes, 20);
    vec_format_init(&f, VEC_F16, VEC_L2, 5);
    assert_int_equal(f.factor_at, 12);
    assert_int_equal(f.row_bytes, 16);
    vec_format_init(&f, VEC_BIT, VEC_COSINE, 65);
    assert_int_equal(f.code_bytes, 16);
    assert_int_equal(f.row_bytes, 20);
}

/* Kernels count on a code of -128 not being there, wherever it is. */
static void codes_that_no_vector_has_are_not_adopted(void **state)
{
    float x[40] = {1};
    uint32_t dim, at;

    (void)state;
    for (dim = 1; dim <= ARRAY_LEN(x); dim++) {
        struct vec_format f;
        uint8_t row[128];

        vec_format_init(&f, VEC_I8, VEC_COSINE, dim);
        assert_int_equal(vec_encode(&f, x, row), ERR_OK);
        for (at = 0; at < dim; at++) {
            uint8_t was = row[at];
            int code;

            for (code = -127; code <= 127; code++) {
                row[at] = (uint8_t)code;
                assert_int_equal(vec_adopt_row(&f, row), ERR_OK);
            }
            row[at] = 0x80;
            assert_int_equal(vec_adopt_row(&f, row), ERR_CORRUPT);
            row[at] = was;
        }
    }
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
        cmocka_unit_test(decoding_gives_back_the_vector_within_one_step),
        cmocka_unit_test(rows_are_the_same_bytes_on_every_level),
        cmocka_unit_test(many_rows_at_once_are_those_made_one_by_one),
        cmocka_unit_test(input_may_have_any_alignment),
        cmocka_unit_test(norms_are_right_for_tiny_and_huge_vectors),
        cmocka_unit_test(small_components_next_to_large_ones_survive),
        cmocka_unit_test(infinities_nans_and_norms_beyond_float32_are_refused),
        cmocka_unit_test(components_beyond_a_half_float_are_refused),
        cmocka_unit_test(zero_vectors_stay_zero_with_norm_one),
        cmocka_unit_test(int8_rows_are_those_of_redis),
        cmocka_unit_test(int8_codes_round_halves_away_from_zero),
        cmocka_unit_test(half_floats_round_to_the_nearest_even),
        cmocka_unit_test(bfloat16_rounds_to_the_nearest_even),
        cmocka_unit_test(int8_rows_of_many_vectors_are_those_of_redis),
        cmocka_unit_test(bits_are_set_for_positive_components_only),
        cmocka_unit_test(rows_are_laid_out_as_the_header_says),
        cmocka_unit_test(codes_that_no_vector_has_are_not_adopted),
    };

    return cmocka_run_group_tests(tests, set_up, NULL);
}
