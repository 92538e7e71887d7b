/* Rows of products: scored the same on every instruction set and every way, and
 * as the codes of a block are. */
#include "unit/vec/vec_fixture.h"

#include <math.h>

#include "vec/pq_rows.h"

enum { ROWS = 77, QUERIES = 5, LEARNED = 200 };

static const enum vec_metric metrics[] = {VEC_COSINE, VEC_L2, VEC_IP};

static const struct shape {
    uint32_t dim, m;
} shapes[] = {{1, 1},    {8, 4},    {15, 5},     {17, 17},
              {100, 50}, {128, 64}, {128, 32},   {130, 65},
              {366, 61}, {192, 96}, {1200, 1200}};

struct fixture {
    struct rng rng;
    struct vec_pq *pq;
    struct vec_format f;
    float *vectors; /* as given */
    struct guarded memory;
    uint8_t *rows;
    struct vec_query *queries[QUERIES];
};

static void random_vector(struct fixture *x, float *out)
{
    uint32_t i;

    for (i = 0; i < x->f.dim; i++) {
        out[i] = (float)rng_normal(&x->rng) * 3;
    }
}

static void learn(struct fixture *x)
{
    const uint32_t dim = x->f.dim;
    float *sample = malloc(sizeof(float) * LEARNED * dim);
    uint8_t work[LEARNED];
    struct vec_format floats;
    uint8_t *row;
    uint32_t i;

    vec_format_init(&floats, VEC_F32, x->f.metric, dim);
    row = malloc(floats.row_bytes);
    for (i = 0; i < LEARNED; i++) {
        float *v = sample + (size_t)i * dim;

        random_vector(x, v);
        assert_int_equal(vec_encode(&floats, v, row), ERR_OK);
        vec_decode_unit(&floats, row, v);
    }
    for (i = 0; i < x->pq->m; i++) {
        vec_pq_train(x->pq, i, sample, LEARNED, 4, 5, work);
    }
    free(row);
    free(sample);
}

static void fixture_init(struct fixture *x, const struct shape *s,
                         enum vec_metric metric)
{
    size_t bytes, i;

    x->pq = malloc(vec_pq_bytes(s->dim, s->m));
    vec_pq_init(x->pq, metric, s->dim, s->m);
    vec_format_init_pq(&x->f, metric, s->dim, s->m, x->pq);
    assert_int_equal(vec_simd_select("scalar"), ERR_OK);
    learn(x);
    x->vectors = malloc(sizeof(float) * ROWS * s->dim);
    bytes = (size_t)ROWS * x->f.row_bytes;
    guarded_init(&x->memory, bytes + x->f.overread);
    x->rows = x->memory.end - x->f.overread - bytes;
    for (i = 0; i < ROWS; i++) {
        random_vector(x, x->vectors + i * s->dim);
    }
    memset(x->vectors, 0, sizeof(float) * s->dim); /* the first is zero */
    assert_int_equal(vec_encode_many(&x->f, x->vectors, 8, x->rows, NULL), 8);
    for (i = 8; i < ROWS; i++) {
        assert_int_equal(vec_encode(&x->f, x->vectors + i * s->dim,
                                    x->rows + i * x->f.row_bytes),
                         ERR_OK);
    }
}

static void make_queries(struct fixture *x)
{
    float *v = malloc(sizeof(float) * x->f.dim);
    struct rng before = x->rng;
    size_t i;

    for (i = 0; i < QUERIES; i++) {
        void *memory = query_memory(&x->f);

        random_vector(x, v);
        assert_int_equal(vec_query_init(&x->f, v, memory, &x->queries[i]),
                         ERR_OK);
    }
    x->rng = before;
    free(v);
}

static void free_queries(struct fixture *x)
{
    size_t i;

    for (i = 0; i < QUERIES; i++) {
        free(x->queries[i]);
    }
}

static void fixture_deinit(struct fixture *x)
{
    guarded_deinit(&x->memory);
    free(x->vectors);
    free(x->pq);
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

/* ---- scoring ---------------------------------------------------------------
 */

/* The key of a row by the definition, in double. */
static double key_by_hand(const struct fixture *x, const float *query,
                          const uint8_t *row)
{
    float *unit = malloc(sizeof(float) * x->f.dim);
    double qx = 0, qq = 0, ratio, norm, key;
    uint16_t bits;
    uint32_t i, j;

    for (i = 0; i < x->f.dim; i++) {
        uint32_t part = i / x->pq->part;
        uint32_t code = row[part / 2] >> (4 * (part % 2)) & 15;

        j = i % x->pq->part;
        unit[i] = x->pq->points[((size_t)part * x->pq->part + j) * 16 + code];
        qx += (double)unit[i] * (double)query[i];
        qq += (double)query[i] * (double)query[i];
    }
    memcpy(&bits, row + x->f.factor_at + 4, 2);
    ratio = bits / 16384.0;
    norm = (double)vec_norm(&x->f, row);
    key = x->f.metric == VEC_COSINE ? 1 - ratio * qx / sqrt(qq)
          : x->f.metric == VEC_IP   ? -ratio * qx
                                    : qq + norm * norm - 2 * ratio * qx;
    free(unit);
    return key;
}

static void check_ways(struct fixture *x)
{
    float expected[QUERIES][ROWS], keys[QUERIES][96], limits[QUERIES];
    uint32_t masks[QUERIES][3];
    const uint8_t *at[ROWS];
    struct vec_within out = {keys[0], 96, masks[0], 3};
    size_t l, i, j, n;
    bool first = true;

    for (l = 0; next_level(&l); l++) {
        make_queries(x);
        for (j = 0; j < QUERIES; j++) {
            vec_scan(x->queries[j], x->rows, ROWS, keys[j]);
            if (first) {
                memcpy(expected[j], keys[j], sizeof(expected[j]));
            }
            assert_memory_equal(keys[j], expected[j], sizeof(expected[j]));
            for (n = 1; n < ROWS; n += 13) {
                for (i = 0; i < n; i++) {
                    at[i] = x->rows + (ROWS - 1 - i) * x->f.row_bytes;
                }
                vec_gather(x->queries[j], at, n, keys[j]);
                for (i = 0; i < n; i++) {
                    assert_true(keys[j][i] == expected[j][ROWS - 1 - i]);
                }
            }
            limits[j] = expected[j][j];
        }
        vec_scan_many((const struct vec_query *const *)x->queries, QUERIES,
                      x->rows, ROWS, keys[0], 96);
        for (j = 0; j < QUERIES; j++) {
            assert_memory_equal(keys[j], expected[j], sizeof(expected[j]));
        }
        vec_scan_within((const struct vec_query *const *)x->queries, QUERIES,
                        limits, x->rows, ROWS, &out);
        for (j = 0; j < QUERIES; j++) {
            for (i = 0; i < ROWS; i++) {
                bool below = masks[j][i / 32] >> (i % 32) & 1;

                assert_true(below == (expected[j][i] <= limits[j]));
                assert_true(!below || keys[j][i] == expected[j][i]);
            }
            assert_int_equal(masks[j][2] >> (ROWS - 64), 0);
        }
        free_queries(x);
        first = false;
    }
}

static void keys_are_the_same_whichever_way(void **state)
{
    (void)state;
    for_all_shapes(check_ways);
}

/* Adds how far the keys of one query lie from the distances, and how far those
 * from their mean. */
static void compare_keys(struct fixture *x, double *error, double *spread)
{
    float *query = malloc(sizeof(float) * x->f.dim);
    void *memory = query_memory(&x->f);
    struct vec_query *q;
    double mean = 0;
    float keys[ROWS];
    size_t i;

    random_vector(x, query);
    assert_int_equal(vec_query_init(&x->f, query, memory, &q), ERR_OK);
    vec_scan(q, x->rows, ROWS, keys);
    for (i = 0; i < ROWS; i++) {
        mean += key_by_hand(x, query, x->rows + i * x->f.row_bytes) / ROWS;
    }
    for (i = 0; i < ROWS; i++) {
        double wanted = key_by_hand(x, query, x->rows + i * x->f.row_bytes);

        *spread += (wanted - mean) * (wanted - mean);
        *error += (wanted - (double)keys[i]) * (wanted - (double)keys[i]);
    }
    free(memory);
    free(query);
}

/* One query may be coarser than most; many are not. */
static void check_keys(struct fixture *x)
{
    double error = 0, spread = 0;
    int i;

    for (i = 0; i < 16; i++) {
        compare_keys(x, &error, &spread);
    }
    assert_true(error <= 0.03 * spread); /* tables have 6 bits or less */
}

static void keys_are_what_rows_say(void **state)
{
    (void)state;
    for_all_shapes(check_keys);
}

/* ---- rows ------------------------------------------------------------------
 */

static void check_rows(struct fixture *x)
{
    float *unit = malloc(sizeof(float) * x->f.dim);
    float *out = malloc(sizeof(float) * x->f.dim);
    uint8_t *row = malloc(x->f.row_bytes);
    struct vec_format floats;
    uint8_t *exact;
    size_t i, k;

    vec_format_init(&floats, VEC_F32, x->f.metric, x->f.dim);
    exact = malloc(floats.row_bytes);
    for (i = 0; i < ROWS; i++) {
        const uint8_t *made = x->rows + i * x->f.row_bytes;
        double dot = 0, wanted = 0, got = 0;

        /* By way of a float32 row it is the same. */
        assert_int_equal(vec_encode(&floats, x->vectors + i * x->f.dim, exact),
                         ERR_OK);
        vec_decode_unit(&floats, exact, unit);
        vec_pq_row_put(&x->f, unit, vec_norm(&floats, exact), row);
        assert_memory_equal(row, made, x->f.row_bytes);
        assert_int_equal(vec_adopt_row(&x->f, row), ERR_OK);
        assert_memory_equal(row, made, x->f.row_bytes);
        vec_decode(&x->f, row, out);
        for (k = 0; k < x->f.dim; k++) {
            double given = (double)x->vectors[i * x->f.dim + k];

            dot += given * (double)out[k];
            wanted += given * given;
            got += (double)out[k] * (double)out[k];
        }
        assert_true(fabs(wanted - got) <= 1e-3 * wanted);
        /* About where the vector points. */
        assert_true(x->f.dim < 100 || x->pq->part > 2 || dot >= 0.8 * wanted);
    }
    free(exact);
    free(unit);
    free(out);
    free(row);
}

static void rows_stand_for_their_vectors(void **state)
{
    (void)state;
    for_all_shapes(check_rows);
}

/* A row is at no distance from what it stands for: not at less than none. */
static void check_self(struct fixture *x)
{
    float *out = malloc(sizeof(float) * x->f.dim);
    void *memory = query_memory(&x->f);
    struct vec_query *q;
    float key;
    size_t i;

    for (i = 1; i < ROWS; i++) {
        const uint8_t *row = x->rows + i * x->f.row_bytes;

        vec_decode(&x->f, row, out);
        assert_int_equal(vec_query_init(&x->f, out, memory, &q), ERR_OK);
        vec_scan(q, row, 1, &key);
        if (x->f.metric != VEC_IP) {
            assert_true(vec_distance(&x->f, key) >= 0);
            assert_true(vec_score(&x->f, key) <= 1);
            assert_true(key <= vec_key_limit(&x->f, vec_distance(&x->f, key)));
            assert_true(vec_key_limit(&x->f, 0) >= 0);
        }
    }
    free(memory);
    free(out);
}

static void a_row_is_at_no_distance_from_itself(void **state)
{
    (void)state;
    for_all_shapes(check_self);
}

static void rows_that_cannot_be_are_refused(void **state)
{
    struct fixture x;
    uint8_t row[64];
    float bad = -1;

    (void)state;
    cm_seed(&x.rng);
    fixture_init(&x, &shapes[2], VEC_COSINE);
    memcpy(row, x.rows + x.f.row_bytes, x.f.row_bytes);
    assert_int_equal(vec_adopt_row(&x.f, row), ERR_OK);
    row[2] |= 0x10; /* a sixth part */
    assert_int_equal(vec_adopt_row(&x.f, row), ERR_CORRUPT);
    row[2] &= 15;
    row[x.f.row_bytes - 1] = 1;
    assert_int_equal(vec_adopt_row(&x.f, row), ERR_CORRUPT);
    row[x.f.row_bytes - 1] = 0;
    memcpy(row + x.f.factor_at, &bad, sizeof(bad));
    assert_int_equal(vec_adopt_row(&x.f, row), ERR_CORRUPT);
    fixture_deinit(&x);
}

static void what_can_be_kept_as_products(void **state)
{
    (void)state;
    assert_true(vec_pq_has_rows(VEC_COSINE, 128, 64));
    assert_true(vec_pq_has_rows(VEC_IP, 128, 16));
    assert_false(vec_pq_has_rows(VEC_IP, 128, 8)); /* parts too wide */
    assert_false(vec_pq_has_rows(VEC_L1, 128, 64));
    assert_false(vec_pq_has_rows(VEC_L2, 128, 60));
    assert_false(vec_pq_has_rows(VEC_L2, 16384, 2048));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_are_the_same_whichever_way),
        cmocka_unit_test(keys_are_what_rows_say),
        cmocka_unit_test(rows_stand_for_their_vectors),
        cmocka_unit_test(a_row_is_at_no_distance_from_itself),
        cmocka_unit_test(rows_that_cannot_be_are_refused),
        cmocka_unit_test(what_can_be_kept_as_products),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
