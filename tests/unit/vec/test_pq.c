/* Product quantization: codes and keys are the same on every instruction set,
 * and say about what the vectors say. */
#include "unit/vec/vec_fixture.h"

#include <math.h>

#include "vec/pq.h"

enum { LANES = VEC_PQ_LANES, BLOCKS = 3, ROWS = BLOCKS * LANES };

static const enum vec_metric metrics[] = {VEC_COSINE, VEC_L2, VEC_IP, VEC_L1};

struct shape {
    uint32_t dim;
    uint32_t m;
};

static const struct shape shapes[] = {
    {1, 1},    {2, 1},    {6, 3},       {8, 4},   {15, 5},   {14, 7},
    {16, 8},   {9, 9},    {32, 16},     {17, 17}, {100, 50}, {128, 64},
    {128, 32}, {31, 31},  {366, 61},    {63, 63}, {130, 65}, {512, 128},
    {3, 3},    {512, 64}, {1200, 1200}, {96, 2},
};

struct fixture {
    struct rng rng;
    struct vec_pq *pq;
    float *rows; /* ROWS of them */
    float *query;
    uint8_t *codes;
    struct guarded memory; /* the blocks: faults past what may be read */
    const uint8_t *blocks[BLOCKS];
};

static void *aligned(size_t bytes)
{
    void *p = aligned_alloc(VEC_ALIGN, (bytes + 127) / 64 * 64);

    assert_non_null(p);
    return p;
}

static void random_vector(struct fixture *x, float *out)
{
    double square = 0;
    uint32_t i;

    for (i = 0; i < x->pq->dim; i++) {
        out[i] = (float)rng_normal(&x->rng);
        square += (double)out[i] * (double)out[i];
    }
    for (i = 0; i < x->pq->dim && x->pq->metric == VEC_COSINE; i++) {
        out[i] = (float)(out[i] / sqrt(square));
    }
}

static void train(struct fixture *x)
{
    uint8_t work[ROWS];
    uint32_t j;

    for (j = 0; j < x->pq->m; j++) {
        vec_pq_train(x->pq, j, x->rows, ROWS, 4, 5, work);
    }
}

static void encode(struct fixture *x)
{
    uint32_t i;

    for (i = 0; i < ROWS; i++) {
        uint8_t *code = x->codes + (size_t)i * x->pq->code_bytes;

        vec_pq_encode(x->pq, x->rows + (size_t)i * x->pq->dim, code);
        vec_pq_put(x->pq, (uint8_t *)(uintptr_t)x->blocks[i / LANES], i % LANES,
                   code);
    }
}

static void fixture_init(struct fixture *x, const struct shape *shape,
                         enum vec_metric metric)
{
    size_t bytes;
    uint32_t i;

    x->pq = aligned(vec_pq_bytes(shape->dim, shape->m));
    vec_pq_init(x->pq, metric, shape->dim, shape->m);
    x->rows = aligned(4 * (size_t)ROWS * shape->dim);
    x->query = aligned(4 * (size_t)shape->dim);
    x->codes = aligned((size_t)ROWS * x->pq->code_bytes);
    for (i = 0; i < ROWS; i++) {
        random_vector(x, x->rows + (size_t)i * shape->dim);
    }
    random_vector(x, x->query);
    bytes = (size_t)BLOCKS * x->pq->block_bytes + VEC_OVERREAD;
    guarded_init(&x->memory, bytes);
    for (i = 0; i < BLOCKS; i++) {
        x->blocks[i] = x->memory.end - bytes + (size_t)i * x->pq->block_bytes;
    }
    assert_int_equal(vec_simd_select("scalar"), ERR_OK);
    train(x);
    encode(x);
}

static void fixture_deinit(struct fixture *x)
{
    guarded_deinit(&x->memory);
    free(x->pq);
    free(x->rows);
    free(x->query);
    free(x->codes);
}

typedef void (*check_fn)(struct fixture *x);

static void for_all_shapes(check_fn check)
{
    struct fixture x;
    size_t i, k;

    cm_seed(&x.rng);
    for (i = 0; i < ARRAY_LEN(shapes); i++) {
        for (k = 0; k < ARRAY_LEN(metrics); k++) {
            fixture_init(&x, &shapes[i], metrics[k]);
            check(&x);
            fixture_deinit(&x);
        }
    }
}

/* ---- points and codes ---------------------------------------------------- */

static void check_points_and_codes(struct fixture *x)
{
    const size_t point_bytes = 4 * vec_pq_n_points(x->pq);
    const size_t code_bytes = (size_t)ROWS * x->pq->code_bytes;
    void *points = aligned(point_bytes);
    void *codes = aligned(code_bytes);
    size_t l;

    memcpy(points, x->pq->points, point_bytes);
    memcpy(codes, x->codes, code_bytes);
    for (l = 0; next_level(&l); l++) {
        train(x);
        encode(x);
        assert_memory_equal(points, x->pq->points, point_bytes);
        assert_memory_equal(codes, x->codes, code_bytes);
    }
    free(points);
    free(codes);
}

static void points_and_codes_are_the_same_on_every_level(void **state)
{
    (void)state;
    for_all_shapes(check_points_and_codes);
}

static void check_blocks(struct fixture *x)
{
    uint8_t *code = aligned(x->pq->code_bytes);
    uint32_t i;

    for (i = 0; i < ROWS; i++) {
        vec_pq_get(x->pq, x->blocks[i / LANES], i % LANES, code);
        assert_memory_equal(code, x->codes + (size_t)i * x->pq->code_bytes,
                            x->pq->code_bytes);
    }
    free(code);
}

static void what_is_put_into_a_lane_comes_back(void **state)
{
    (void)state;
    for_all_shapes(check_blocks);
}

static void check_decoding(struct fixture *x)
{
    float *out = aligned(4 * (size_t)x->pq->dim);
    double wrong = 0;
    double all = 0;
    uint32_t i, j;

    for (i = 0; i < ROWS; i++) {
        const float *row = x->rows + (size_t)i * x->pq->dim;
        double square = 0;

        vec_pq_decode(x->pq, x->codes + (size_t)i * x->pq->code_bytes, out);
        for (j = 0; j < x->pq->dim; j++) {
            wrong += (double)(out[j] - row[j]) * (double)(out[j] - row[j]);
            all += (double)row[j] * (double)row[j];
            square += (double)out[j] * (double)out[j];
        }
        if (x->pq->metric == VEC_COSINE) {
            assert_true(fabs(square - 1) < 1e-4);
        }
    }
    if (x->pq->part <= 2 && x->pq->dim > 2) {
        assert_true(wrong < 0.25 * all);
    }
    free(out);
}

static void codes_stand_for_about_their_vectors(void **state)
{
    (void)state;
    for_all_shapes(check_decoding);
}

/* ---- keys ---------------------------------------------------------------- */

struct scanned {
    uint32_t below[BLOCKS];
    float keys[ROWS];
};

static void scan(struct fixture *x, float limit, struct scanned *out)
{
    void *memory = aligned(vec_pq_query_bytes(x->pq));
    struct vec_pq_query *q = vec_pq_query_init(x->pq, x->query, memory);

    vec_pq_scan(q, x->blocks, BLOCKS, limit, out->below, out->keys);
    free(memory);
}

static void check_keys(struct fixture *x)
{
    struct scanned want, got;
    float sorted, limit;
    uint32_t i;
    size_t l;

    assert_int_equal(vec_simd_select("scalar"), ERR_OK);
    scan(x, INFINITY, &want);
    limit = want.keys[rng_below(&x->rng, ROWS)];
    sorted = limit;
    for (l = 0; next_level(&l); l++) {
        scan(x, INFINITY, &got);
        assert_memory_equal(got.keys, want.keys, sizeof(want.keys));
        scan(x, limit, &got);
        for (i = 0; i < ROWS; i++) {
            bool below = got.below[i / LANES] >> (i % LANES) & 1;

            assert_int_equal(below, want.keys[i] <= sorted);
            if (below) {
                assert_true(got.keys[i] == want.keys[i]);
            }
        }
        scan(x, -INFINITY, &got);
        for (i = 0; i < BLOCKS; i++) {
            assert_int_equal(got.below[i], 0);
        }
    }
}

static void keys_are_the_same_on_every_level(void **state)
{
    (void)state;
    for_all_shapes(check_keys);
}

/* What the code of a row says of its distance, in double. */
static double oracle(const struct fixture *x, uint32_t i, double *spread)
{
    const struct vec_pq *pq = x->pq;
    const uint8_t *code = x->codes + (size_t)i * pq->code_bytes;
    double sum = 0;
    double square = 0;
    double own = 0;
    uint16_t ratio = 0;
    uint32_t j;

    for (j = 0; j < pq->dim; j++) {
        uint32_t part = j / pq->part;
        uint32_t c = code[part / 2] >> (4 * (part % 2)) & 15;
        double p = (double)pq->points[(size_t)j * VEC_PQ_POINTS + c];
        double q = (double)x->query[j];

        sum += pq->metric == VEC_L1 ? fabs(q - p) : q * p;
        square += q * q;
        own += (double)x->rows[(size_t)i * pq->dim + j] *
               (double)x->rows[(size_t)i * pq->dim + j];
    }
    /* Each table may be off by half a step of the widest one. */
    *spread = 0;
    for (j = 0; j < pq->m; j++) {
        double least = INFINITY, greatest = -INFINITY;
        uint32_t c, t;

        for (c = 0; c < VEC_PQ_POINTS; c++) {
            double entry = 0;

            for (t = j * pq->part; t < (j + 1) * pq->part; t++) {
                double p = (double)pq->points[(size_t)t * VEC_PQ_POINTS + c];
                double q = (double)x->query[t];

                entry += pq->metric == VEC_L1 ? fabs(q - p) : q * p;
            }
            least = fmin(least, entry);
            greatest = fmax(greatest, entry);
        }
        *spread = fmax(*spread, greatest - least);
    }
    *spread *= 0.5 * pq->m / fmin(63, 65535 / pq->m);
    if (pq->metric == VEC_L1) {
        return sum;
    }
    memcpy(&ratio, code + (pq->m + 1) / 2, 2);
    sum *= ratio / 16384.0;
    *spread *= ratio / 16384.0;
    if (pq->metric == VEC_L2) {
        *spread *= 2;
        return own + square - 2 * sum;
    }
    return pq->metric == VEC_COSINE ? 1 - sum : -sum;
}

static void check_against_oracle(struct fixture *x)
{
    struct scanned got;
    uint32_t i;
    size_t l;

    for (l = 0; next_level(&l); l++) {
        scan(x, INFINITY, &got);
        for (i = 0; i < ROWS; i++) {
            double spread;
            double want = oracle(x, i, &spread);

            assert_true(fabs((double)got.keys[i] - want) <=
                        spread + 1e-4 * (1 + fabs(want)));
        }
    }
}

static void keys_are_what_the_codes_say(void **state)
{
    (void)state;
    for_all_shapes(check_against_oracle);
}

static void a_block_that_is_not_there_has_no_lanes(void **state)
{
    struct fixture x;
    struct scanned got;
    size_t l;

    (void)state;
    cm_seed(&x.rng);
    fixture_init(&x, &shapes[10], VEC_COSINE);
    x.blocks[1] = NULL;
    for (l = 0; next_level(&l); l++) {
        scan(&x, INFINITY, &got);
        assert_int_equal(got.below[0], UINT32_MAX);
        assert_int_equal(got.below[1], 0);
        assert_int_equal(got.below[2], UINT32_MAX);
    }
    fixture_deinit(&x);
}

static void what_a_dimension_can_be_cut_into(void **state)
{
    (void)state;
    assert_true(vec_pq_fits(128, 64));
    assert_true(vec_pq_fits(15, 5));
    assert_true(vec_pq_fits(1, 1));
    assert_false(vec_pq_fits(128, 0));
    assert_false(vec_pq_fits(128, 60));
    assert_false(vec_pq_fits(128, 256));
    assert_false(vec_pq_fits(65536, 65536));
}

static void equal_vectors_and_zeros_have_codes(void **state)
{
    struct fixture x;
    struct scanned got;
    uint32_t i;
    size_t k;

    (void)state;
    for (k = 0; k < ARRAY_LEN(metrics); k++) {
        cm_seed(&x.rng);
        fixture_init(&x, &shapes[8], metrics[k]);
        memset(x.rows, 0, 4 * (size_t)ROWS * x.pq->dim);
        train(&x);
        encode(&x);
        scan(&x, INFINITY, &got);
        for (i = 0; i < ROWS; i++) {
            assert_true(isfinite(got.keys[i]));
            assert_true(got.keys[i] == got.keys[0]);
        }
        fixture_deinit(&x);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_a_dimension_can_be_cut_into),
        cmocka_unit_test(points_and_codes_are_the_same_on_every_level),
        cmocka_unit_test(what_is_put_into_a_lane_comes_back),
        cmocka_unit_test(codes_stand_for_about_their_vectors),
        cmocka_unit_test(keys_are_the_same_on_every_level),
        cmocka_unit_test(keys_are_what_the_codes_say),
        cmocka_unit_test(a_block_that_is_not_there_has_no_lanes),
        cmocka_unit_test(equal_vectors_and_zeros_have_codes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
