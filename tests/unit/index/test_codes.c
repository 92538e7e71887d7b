/* The code column: what is put there comes back, what is scanned is what the
 * codes say, and memory is counted. */
#include "unit/cm.h"
#include <math.h>

#include "base/mem.h"
#include "base/rng.h"
#include "index/ivf/codes.h"
#include "vec/pq.h"

enum { LANES = IVF_CODES_LANES };

struct fixture {
    struct region region;
    struct epoch *epoch;
    struct vec_format stored;
    struct ivf_codes *codes;
    struct vec_pq *pq; /* NULL: int8 codes */
    struct rng rng;
};

static void random_vector(struct fixture *x, float *out)
{
    uint32_t i;

    for (i = 0; i < x->stored.dim; i++) {
        out[i] = (float)rng_normal(&x->rng);
    }
}

static void *aligned(size_t bytes)
{
    void *p = aligned_alloc(VEC_ALIGN, (bytes + 127) / 64 * 64);

    assert_non_null(p);
    return p;
}

/* Points learned from vectors like those that are stored. */
static void train(struct fixture *x, uint32_t m)
{
    enum { SAMPLE = 500 };
    float *sample = aligned(4 * (size_t)SAMPLE * x->stored.dim);
    uint8_t work[SAMPLE];
    uint32_t i;

    x->pq = aligned(vec_pq_bytes(x->stored.dim, m));
    vec_pq_init(x->pq, x->stored.metric, x->stored.dim, m);
    for (i = 0; i < SAMPLE; i++) {
        random_vector(x, sample + (size_t)i * x->stored.dim);
    }
    for (i = 0; i < m; i++) {
        vec_pq_train(x->pq, i, sample, SAMPLE, 5, 1, work);
    }
    free(sample);
}

/* m is 0 for int8 codes. */
static void fixture_init(struct fixture *x, enum vec_type type,
                         enum vec_metric metric, uint32_t dim, uint32_t m)
{
    struct ivf_codes_options o = {.kind = m ? IVF_CODES_PQ4 : IVF_CODES_I8};

    memset(x, 0, sizeof(*x));
    rng_seed(&x->rng, 11);
    region_init(&x->region, 1);
    x->epoch = epoch_create();
    vec_format_init(&x->stored, type, metric, dim);
    if (m) {
        train(x, m);
    }
    o.stored = &x->stored;
    o.pq = x->pq;
    o.region = &x->region;
    o.epoch = x->epoch;
    x->codes = ivf_codes_create(&o);
    assert_non_null(x->codes);
}

static void fixture_deinit(struct fixture *x)
{
    ivf_codes_destroy(x->codes);
    epoch_destroy(x->epoch);
    assert_int_equal(x->region.bytes, 0);
    region_deinit(&x->region);
    free(x->pq);
}

/* Codes of random rows in all lanes of a block; each is kept in `out`. */
static void fill_block(struct fixture *x, uint32_t block, uint8_t *out)
{
    const size_t bytes = ivf_codes_code_bytes(x->codes);
    uint8_t *row = aligned(x->stored.row_bytes);
    void *work = aligned(ivf_codes_work_bytes(x->codes));
    float *v = aligned(4 * (size_t)x->stored.dim);
    uint32_t i;

    assert_int_equal(ivf_codes_hold(x->codes, block), ERR_OK);
    for (i = 0; i < LANES; i++) {
        random_vector(x, v);
        assert_int_equal(vec_encode(&x->stored, v, row), ERR_OK);
        ivf_codes_encode(x->codes, row, work, out + i * bytes);
        ivf_codes_put(x->codes, block * LANES + i, out + i * bytes);
    }
    free(row);
    free(work);
    free(v);
}

static void int8_codes_are_scanned_as_rows_of_that_format(void **state)
{
    static const enum vec_metric metrics[] = {VEC_COSINE, VEC_L2, VEC_IP,
                                              VEC_L1};
    size_t k;

    (void)state;
    for (k = 0; k < ARRAY_LEN(metrics); k++) {
        struct fixture x;
        struct vec_format i8;
        struct vec_query *want_query;
        struct ivf_codes_query *q;
        uint32_t blocks[] = {3, 200, 1};
        uint32_t below[3];
        float keys[3 * LANES], want[LANES], v[37], limit;
        uint8_t *rows;
        void *a, *b;
        uint32_t i, j;

        fixture_init(&x, VEC_F32, metrics[k], 37, 0);
        vec_format_init(&i8, VEC_I8, metrics[k], 37);
        assert_int_equal(ivf_codes_code_bytes(x.codes), i8.row_bytes);
        rows = aligned(3 * LANES * (size_t)i8.row_bytes + VEC_OVERREAD);
        for (i = 0; i < 3; i++) {
            fill_block(&x, blocks[i], rows + i * LANES * (size_t)i8.row_bytes);
        }
        random_vector(&x, v);
        a = aligned(vec_query_bytes(&i8));
        b = aligned(ivf_codes_query_bytes(x.codes));
        assert_int_equal(vec_query_init(&i8, v, a, &want_query), ERR_OK);
        assert_int_equal(ivf_codes_query_init(x.codes, v, b, &q), ERR_OK);
        vec_scan(want_query, rows, LANES, want);
        limit = want[7];
        ivf_codes_scan(q, blocks, 3, limit, below, keys);
        for (i = 0; i < 3; i++) {
            vec_scan(want_query, rows + i * LANES * (size_t)i8.row_bytes, LANES,
                     want);
            for (j = 0; j < LANES; j++) {
                assert_int_equal(below[i] >> j & 1, want[j] <= limit);
                if (want[j] <= limit) {
                    assert_true(keys[i * LANES + j] == want[j]);
                }
            }
        }
        free(rows);
        free(a);
        free(b);
        fixture_deinit(&x);
    }
}

static void product_codes_are_scanned_by_blocks(void **state)
{
    static const enum vec_type types[] = {VEC_F32, VEC_I8, VEC_F16};
    size_t k;

    (void)state;
    for (k = 0; k < ARRAY_LEN(types); k++) {
        struct fixture x;
        struct vec_pq_query *want_query;
        struct ivf_codes_query *q;
        uint32_t blocks[] = {3, 200}, below[2], want_below, i;
        float keys[2 * LANES], want[LANES], v[36];
        uint8_t *codes, *block;
        const uint8_t *at;
        void *a, *b;

        fixture_init(&x, types[k], VEC_L2, 36, 18);
        codes = aligned(LANES * x.pq->code_bytes);
        block = aligned(x.pq->block_bytes + VEC_OVERREAD);
        fill_block(&x, 200, codes);
        fill_block(&x, 3, codes);
        for (i = 0; i < LANES; i++) {
            vec_pq_put(x.pq, block, i, codes + i * x.pq->code_bytes);
        }
        random_vector(&x, v);
        a = aligned(vec_pq_query_bytes(x.pq));
        b = aligned(ivf_codes_query_bytes(x.codes));
        want_query = vec_pq_query_init(x.pq, v, a);
        at = block;
        vec_pq_scan(want_query, &at, 1, INFINITY, &want_below, want);
        assert_int_equal(ivf_codes_query_init(x.codes, v, b, &q), ERR_OK);
        ivf_codes_scan(q, blocks, 2, INFINITY, below, keys);
        assert_int_equal(below[0], UINT32_MAX);
        assert_memory_equal(keys, want, sizeof(want));
        ivf_codes_scan(q, blocks, 2, want[4], below, keys);
        assert_true(below[0] & 1 << 4);
        free(codes);
        free(block);
        free(a);
        free(b);
        fixture_deinit(&x);
    }
}

static void check_coming_back(uint32_t m)
{
    struct fixture x;
    uint8_t *codes, got[256];
    size_t bytes;
    uint32_t i;

    fixture_init(&x, VEC_F16, VEC_COSINE, 20, m);
    bytes = ivf_codes_code_bytes(x.codes);
    codes = aligned(LANES * bytes);
    fill_block(&x, 70, codes);
    for (i = 0; i < LANES; i++) {
        ivf_codes_get(x.codes, 70 * LANES + i, got);
        assert_memory_equal(got, codes + i * bytes, bytes);
    }
    free(codes);
    fixture_deinit(&x);
}

static void what_is_put_comes_back(void **state)
{
    (void)state;
    check_coming_back(0);
    check_coming_back(5);
}

static void memory_is_counted_and_given_back(void **state)
{
    struct fixture x;
    size_t empty;
    uint32_t i;

    (void)state;
    fixture_init(&x, VEC_F32, VEC_COSINE, 64, 0);
    empty = ivf_codes_bytes(x.codes);
    for (i = 0; i < 200; i++) {
        assert_int_equal(ivf_codes_hold(x.codes, 17 * i), ERR_OK);
        assert_true(ivf_codes_is_held(x.codes, 17 * i));
        assert_false(ivf_codes_is_held(x.codes, 17 * i + 1));
        ivf_codes_validate(x.codes);
    }
    assert_true(ivf_codes_bytes(x.codes) >
                empty + 200 * ivf_codes_block_bytes(x.codes));
    assert_true(x.region.bytes >= ivf_codes_bytes(x.codes));
    for (i = 0; i < 200; i++) {
        ivf_codes_let_go(x.codes, 17 * i);
        ivf_codes_validate(x.codes);
    }
    assert_true(ivf_codes_bytes(x.codes) < empty + 4096);
    fixture_deinit(&x);
}

static void a_search_under_way_may_scan_what_was_let_go(void **state)
{
    struct fixture x;
    struct ivf_codes_query *q;
    uint32_t block = 5, below;
    float keys[LANES], v[16];
    uint8_t *codes;
    uint64_t ticket;
    void *memory;

    (void)state;
    fixture_init(&x, VEC_F32, VEC_COSINE, 16, 0);
    codes = aligned(LANES * ivf_codes_code_bytes(x.codes));
    fill_block(&x, block, codes);
    memory = aligned(ivf_codes_query_bytes(x.codes));
    random_vector(&x, v);
    assert_int_equal(ivf_codes_query_init(x.codes, v, memory, &q), ERR_OK);
    ticket = epoch_enter(x.epoch);
    ivf_codes_let_go(x.codes, block);
    ivf_codes_scan(q, &block, 1, 2.0f, &below, keys);
    assert_int_equal(below, 0);
    block = 100000;
    ivf_codes_scan(q, &block, 1, 2.0f, &below, keys);
    assert_int_equal(below, 0);
    epoch_leave(x.epoch, ticket);
    free(codes);
    free(memory);
    fixture_deinit(&x);
}

static void when_memory_is_out_nothing_changes(void **state)
{
    struct fixture x;
    uint64_t n;

    (void)state;
    fixture_init(&x, VEC_F32, VEC_COSINE, 16, 0);
    for (n = 1;; n++) {
        size_t before = ivf_codes_bytes(x.codes);
        enum err err;

        mem_fail_after(n);
        err = ivf_codes_hold(x.codes, 3000);
        mem_fail_after(0);
        ivf_codes_validate(x.codes);
        if (!err) {
            break;
        }
        assert_int_equal(err, ERR_NOMEM);
        assert_true(ivf_codes_bytes(x.codes) >= before);
        assert_false(ivf_codes_is_held(x.codes, 3000));
    }
    assert_true(n > 1);
    fixture_deinit(&x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(int8_codes_are_scanned_as_rows_of_that_format),
        cmocka_unit_test(product_codes_are_scanned_by_blocks),
        cmocka_unit_test(what_is_put_comes_back),
        cmocka_unit_test(memory_is_counted_and_given_back),
        cmocka_unit_test(a_search_under_way_may_scan_what_was_let_go),
        cmocka_unit_test(when_memory_is_out_nothing_changes),
    };

    if (vec_simd_select("auto")) {
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
