/* Scoring, against oracles in double and 64-bit integers, on every instruction
 * set the machine has, in memory where reading too far faults. */
#include "unit/vec/vec_fixture.h"

#include <float.h>
#include <math.h>

enum { N_QUERIES = 5 };

static const struct vec_case {
    enum vec_type type;
    enum vec_metric metric;
} cases[] = {
    {VEC_F32, VEC_COSINE}, {VEC_F32, VEC_L2},      {VEC_F32, VEC_IP},
    {VEC_F32, VEC_L1},     {VEC_I8, VEC_COSINE},   {VEC_I8, VEC_L2},
    {VEC_I8, VEC_IP},      {VEC_I8, VEC_L1},       {VEC_BIT, VEC_COSINE},
    {VEC_BIT, VEC_L2},     {VEC_BIT, VEC_IP},      {VEC_BIT, VEC_L1},
    {VEC_F16, VEC_COSINE}, {VEC_F16, VEC_L2},      {VEC_F16, VEC_IP},
    {VEC_F16, VEC_L1},     {VEC_BF16, VEC_COSINE}, {VEC_BF16, VEC_L2},
    {VEC_BF16, VEC_IP},    {VEC_BF16, VEC_L1},
};

/* Rows and queries of one format, and what their keys should be. */
struct bench {
    struct vec_format format;
    size_t n_rows;
    struct guarded memory;
    uint8_t *rows; /* end where overreading becomes a fault */
    float *queries;
    struct vec_query *prepared[N_QUERIES];
    double *want;      /* per query and row */
    double *tolerance; /* 0: to the bit */
    bool *absurd;      /* beyond float32: infinite or NaN, of no interest */
};

static bool is_exact(const struct vec_format *f)
{
    return f->type == VEC_BIT || (f->type == VEC_I8 && f->metric != VEC_L1);
}

/* ---- oracles ----------------------------------------------------------- */

/* In the order that vec.h promises to clients of I8: Redis's. */
static float i8_dot_key(const struct vec_format *f, int64_t dot, float range_a,
                        float range_b)
{
    float part = (float)dot * ((range_a / 127) * (range_b / 127));

    if (f->metric == VEC_IP) {
        return 0 - part;
    }
    part = 1 - part;
    return part < 0 ? 0 : part > 2 ? 2 : part;
}

static float i8_l2_key(const uint8_t *a, const uint8_t *b, size_t dim, float ra,
                       float rb, int64_t dot)
{
    double u = (double)(ra / 127.0f);
    double v = (double)(rb / 127.0f);
    int64_t aa = 0;
    int64_t bb = 0;
    double key;
    size_t i;

    for (i = 0; i < dim; i++) {
        aa += (int8_t)a[i] * (int8_t)a[i];
        bb += (int8_t)b[i] * (int8_t)b[i];
    }
    key = u * u * (double)aa + v * v * (double)bb - u * v * 2 * (double)dot;
    return (float)(key < 0 ? 0 : key);
}

static float i8_key(const struct vec_format *f, const uint8_t *row,
                    const uint8_t *query)
{
    int64_t dot = 0;
    size_t i;

    for (i = 0; i < f->dim; i++) {
        dot += (int64_t)(int8_t)row[i] * (int8_t)query[i];
    }
    if (f->metric == VEC_L2) {
        return i8_l2_key(row, query, f->dim, vec_range(f, row),
                         vec_range(f, query), dot);
    }
    return i8_dot_key(f, dot, vec_range(f, row), vec_range(f, query));
}

static float bit_key(const struct vec_format *f, const uint8_t *row,
                     const uint8_t *query)
{
    int64_t differing = 0;
    size_t i;

    for (i = 0; i < f->dim; i++) {
        differing += ((row[i / 8] ^ query[i / 8]) >> (i % 8)) & 1;
    }
    switch (f->metric) {
    case VEC_COSINE:
        return (float)(2 * differing) / (float)f->dim;
    case VEC_L2:
        return (float)(4 * differing);
    case VEC_IP:
        return (float)(2 * differing - (int64_t)f->dim);
    default:
        return (float)(2 * differing);
    }
}

/* Of components as they are compared; also the sum of the terms' sizes, to
 * which rounding errors are in proportion. */
static double float_key(enum vec_metric metric, const float *a, const float *b,
                        size_t dim, double *size)
{
    double sum = 0;
    size_t i;

    *size = 0;
    for (i = 0; i < dim; i++) {
        double x = (double)a[i];
        double y = (double)b[i];
        double term = metric == VEC_L2   ? (x - y) * (x - y)
                      : metric == VEC_L1 ? fabs(x - y)
                                         : x * y;

        sum += term;
        *size += fabs(term);
    }
    *size += metric == VEC_COSINE ? 1 : 0;
    return metric == VEC_COSINE ? 1 - sum : metric == VEC_IP ? -sum : sum;
}

/* I8 with L1 multiplies codes by range / 127, one rounding from decoding. */
static void components(const struct vec_format *f, const uint8_t *row,
                       float *out)
{
    float scale;
    size_t i;

    if (f->type != VEC_I8) {
        vec_decode_unit(f, row, out);
        return;
    }
    scale = vec_range(f, row) / 127.0f;
    for (i = 0; i < f->dim; i++) {
        out[i] = (float)(int8_t)row[i] * scale;
    }
}

/* ---- set-up ------------------------------------------------------------ */

static void encode_or_fail(const struct vec_format *f, const float *x,
                           uint8_t *row)
{
    if (vec_encode(f, x, row) != ERR_OK) {
        fail_msg("%s %s dim %u does not encode", vec_type_name(f->type),
                 vec_metric_name(f->metric), f->dim);
    }
}

/* The query's components as they are compared. */
static void query_floats(const struct vec_format *f, const float *x, float *out)
{
    struct vec_format own = *f;
    uint8_t *row;

    if (f->type == VEC_F16 || f->type == VEC_BF16) {
        vec_format_init(&own, VEC_F32, f->metric, f->dim);
    }
    row = malloc(own.row_bytes);
    encode_or_fail(&own, x, row);
    components(&own, row, out);
    free(row);
}

static void expect_key(struct bench *b, size_t j, size_t i, const float *query,
                       const uint8_t *query_row, float *scratch)
{
    const struct vec_format *f = &b->format;
    const uint8_t *row = b->rows + i * f->row_bytes;
    size_t at = j * b->n_rows + i;
    double size = 0;

    if (f->type == VEC_BIT) {
        b->want[at] = (double)bit_key(f, row, query_row);
    } else if (is_exact(f)) {
        b->want[at] = (double)i8_key(f, row, query_row);
    } else {
        components(f, row, scratch);
        b->want[at] = float_key(f->metric, scratch, query, f->dim, &size);
    }
    b->absurd[at] = !(fabs(b->want[at]) < 1e37 && size < 1e37);
    /* 4 ulp * sqrt(dim), and what denormals lose */
    b->tolerance[at] =
        is_exact(f) ? 0 : 4 * 0x1p-24 * sqrt(f->dim) * size + f->dim * 0x1p-149;
}

static void bench_init(struct bench *b, const struct vec_case *c, uint32_t dim,
                       size_t n_rows, enum kind kind, struct rng *r)
{
    struct vec_format *f = &b->format;
    float *x = malloc(4 * (size_t)dim);
    float *query = malloc(4 * (size_t)dim);
    uint8_t *query_row;
    size_t i;
    size_t j;

    if ((c->type == VEC_F16 && c->metric != VEC_COSINE) && kind == KIND_HUGE) {
        kind = KIND_NORMAL;
    }
    vec_format_init(f, c->type, c->metric, dim);
    b->n_rows = n_rows;
    guarded_init(&b->memory, n_rows * f->row_bytes + f->overread);
    b->rows = b->memory.end - f->overread - n_rows * f->row_bytes;
    memset(b->memory.start, 0x7f, (size_t)(b->memory.end - b->memory.start));
    b->queries = malloc(N_QUERIES * 4 * (size_t)dim);
    b->want = malloc(N_QUERIES * n_rows * sizeof(double));
    b->tolerance = malloc(N_QUERIES * n_rows * sizeof(double));
    b->absurd = malloc(N_QUERIES * n_rows * sizeof(bool));
    for (i = 0; i < n_rows; i++) {
        fill_vector(r, kind, x, dim);
        encode_or_fail(f, x, b->rows + i * f->row_bytes);
    }
    query_row = malloc(f->row_bytes);
    for (j = 0; j < N_QUERIES; j++) {
        float *q = b->queries + j * dim;

        fill_vector(r, j == 1 ? KIND_NORMAL : kind, q, dim);
        encode_or_fail(f, q, query_row);
        query_floats(f, q, query);
        for (i = 0; i < n_rows; i++) {
            expect_key(b, j, i, query, query_row, x);
        }
        b->prepared[j] = query_memory(f);
    }
    free(query_row);
    free(query);
    free(x);
}

static void bench_deinit(struct bench *b)
{
    size_t j;

    for (j = 0; j < N_QUERIES; j++) {
        free(b->prepared[j]);
    }
    free(b->queries);
    free(b->want);
    free(b->tolerance);
    free(b->absurd);
    guarded_deinit(&b->memory);
}

/* For the level just selected. */
static void prepare_queries(struct bench *b)
{
    size_t j;

    for (j = 0; j < N_QUERIES; j++) {
        assert_int_equal(vec_query_init(&b->format,
                                        b->queries + j * b->format.dim,
                                        b->prepared[j], &b->prepared[j]),
                         ERR_OK);
    }
}

/* ---- checks ------------------------------------------------------------ */

static void check_keys(const struct bench *b, size_t j, const float *keys)
{
    const struct vec_format *f = &b->format;
    size_t i;

    for (i = 0; i < b->n_rows; i++) {
        size_t at = j * b->n_rows + i;

        if (!b->absurd[at] &&
            !(fabs((double)keys[i] - b->want[at]) <= b->tolerance[at])) {
            fail_msg("%s: %s %s dim %u row %zu: %.9g, not %.9g +- %.3g",
                     vec_simd_name(), vec_type_name(f->type),
                     vec_metric_name(f->metric), f->dim, i, (double)keys[i],
                     b->want[at], b->tolerance[at]);
        }
    }
}

static void check_equal(const struct bench *b, const char *what,
                        const float *keys, const float *scanned, size_t n)
{
    size_t i;

    for (i = 0; i < n; i++) {
        if (memcmp(&keys[i], &scanned[i], sizeof(float)) != 0 &&
            !(isnan(keys[i]) && isnan(scanned[i]))) {
            fail_msg(
                "%s: %s %s dim %u: %s of row %zu of %zu is %.9g, scan %.9g",
                vec_simd_name(), vec_type_name(b->format.type),
                vec_metric_name(b->format.metric), b->format.dim, what, i, n,
                (double)keys[i], (double)scanned[i]);
        }
    }
}

static void check_gather(const struct bench *b, const struct vec_query *q,
                         const float *scanned, float *keys)
{
    const uint8_t **at = malloc(b->n_rows * sizeof(*at));
    float *want = malloc(b->n_rows * sizeof(*want));
    size_t i;

    for (i = 0; i < b->n_rows; i++) { /* 7 and 8 rows further each time */
        size_t from = (i * 7 + i / 8) % b->n_rows;

        at[i] = b->rows + from * b->format.row_bytes;
        want[i] = scanned[from];
    }
    vec_gather(q, at, b->n_rows, keys);
    check_equal(b, "gather", keys, want, b->n_rows);
    free(want);
    free(at);
}

static float limit_for(const float *keys, size_t n, size_t j, struct rng *r)
{
    float key = keys[rng_below(r, n)];

    switch (j % 5) {
    case 0:
        return INFINITY;
    case 1:
        return -INFINITY;
    case 2:
        return nextafterf(key, -INFINITY);
    default: /* to the bit what one row has */
        return key;
    }
}

/* Who is near enough, and with which key, as looking through all keys says. */
static void check_within(struct bench *b, const float *scanned, size_t nq,
                         struct rng *r)
{
    const size_t n = b->n_rows;
    const size_t n_masks = n / VEC_WITHIN_ROWS + 2;
    const size_t stride = (n_masks - 1) * VEC_WITHIN_ROWS;
    float *keys = malloc(VEC_WITHIN_MAX * stride * sizeof(float));
    uint32_t *masks = malloc(VEC_WITHIN_MAX * n_masks * sizeof(*masks));
    struct vec_within out = {keys, stride, masks, n_masks};
    const struct vec_query *q[VEC_WITHIN_MAX];
    float limits[VEC_WITHIN_MAX];
    size_t i, j;

    for (j = 0; j < nq; j++) {
        q[j] = b->prepared[j % N_QUERIES];
        limits[j] = limit_for(scanned + j % N_QUERIES * n, n, j, r);
    }
    vec_scan_within(q, nq, limits, b->rows, n, &out);
    for (j = 0; j < nq; j++) {
        const float *want = scanned + j % N_QUERIES * n;

        for (i = 0; i < n; i++) {
            bool is_near = masks[j * n_masks + i / VEC_WITHIN_ROWS] >>
                               (i % VEC_WITHIN_ROWS) &
                           1;

            assert_int_equal(is_near, !(want[i] > limits[j]));
            if (is_near) {
                check_equal(b, "within", keys + j * stride + i, want + i, 1);
            }
        }
        if (n % VEC_WITHIN_ROWS) { /* no rows where there are none */
            assert_int_equal(masks[j * n_masks + n / VEC_WITHIN_ROWS] >>
                                 (n % VEC_WITHIN_ROWS),
                             0);
        }
    }
    free(keys);
    free(masks);
}

static void check_level(struct bench *b)
{
    const size_t n = b->n_rows;
    float *scanned = malloc(N_QUERIES * n * sizeof(float));
    float *keys = malloc(VEC_BATCH_MAX * (n + 3) * sizeof(float));
    struct rng limits;
    size_t nq;
    size_t j;

    rng_seed(&limits, n);
    prepare_queries(b);
    for (j = 0; j < N_QUERIES; j++) {
        vec_scan(b->prepared[j], b->rows, n, scanned + j * n);
        check_keys(b, j, scanned + j * n);
    }
    check_gather(b, b->prepared[0], scanned, keys);
    for (nq = 1; nq <= VEC_BATCH_MAX; nq += nq < 8 ? 1 : 4) {
        const struct vec_query *q[VEC_BATCH_MAX];

        for (j = 0; j < nq; j++) {
            q[j] = b->prepared[j % N_QUERIES];
        }
        vec_scan_many(q, nq, b->rows, n, keys, n + 3);
        for (j = 0; j < nq; j++) {
            check_equal(b, "scan_many", keys + j * (n + 3),
                        scanned + j % N_QUERIES * n, n);
        }
        if (b->format.dim > 1000 && nq > 2) {
            break; /* enough of long rows */
        }
    }
    for (nq = 1; nq <= VEC_WITHIN_MAX; nq += nq < 16 ? 5 : 12) {
        check_within(b, scanned, nq, &limits);
        if (b->format.dim > 1000 && nq > 16) {
            break;
        }
    }
    free(keys);
    free(scanned);
}

static void check_case(const struct vec_case *c, uint32_t dim, size_t n,
                       enum kind kind, struct rng *r)
{
    struct bench b;
    size_t l;

    assert_int_equal(vec_simd_select("scalar"), ERR_OK);
    bench_init(&b, c, dim, n, kind, r);
    for (l = 0; next_level(&l); l++) {
        check_level(&b);
    }
    bench_deinit(&b);
}

/* ---- tests ------------------------------------------------------------- */

static void keys_match_the_oracle_for_dimensions_1_to_130(void **state)
{
    struct rng *r = *state;
    uint32_t dim;
    size_t c;

    for (dim = 1; dim <= 130; dim++) {
        for (c = 0; c < ARRAY_LEN(cases); c++) {
            check_case(&cases[c], dim, 1 + (dim * 5 + c * 11) % 70,
                       (enum kind)((dim + c) % KIND_COUNT), r);
        }
    }
}

static void keys_match_the_oracle_for_long_rows(void **state)
{
    static const uint32_t dims[] = {255,  256,  257,  383,  384,  385,
                                    512,  767,  768,  769,  1024, 1535,
                                    1536, 1537, 2047, 2049, 3072, 4096};
    struct rng *r = *state;
    size_t d;
    size_t c;

    for (d = 0; d < ARRAY_LEN(dims); d++) {
        for (c = 0; c < ARRAY_LEN(cases); c++) {
            check_case(&cases[c], dims[d], dims[d] < 800 ? 37 : 5 + c % 3,
                       (enum kind)((d + c) % KIND_COUNT), r);
        }
    }
}

static void keys_match_the_oracle_for_the_longest_rows(void **state)
{
    static const uint32_t dims[] = {32768, VEC_DIM_MAX};
    struct rng *r = *state;
    size_t d;
    size_t c;

    for (d = 0; d < ARRAY_LEN(dims); d++) {
        for (c = 0; c < ARRAY_LEN(cases); c++) {
            check_case(&cases[c], dims[d], 5, (enum kind)(c % 3), r);
        }
    }
}

static void number_of_rows_may_be_anything(void **state)
{
    struct rng *r = *state;
    size_t n;
    size_t c;

    for (n = 1; n <= 100; n++) {
        c = n % ARRAY_LEN(cases);
        check_case(&cases[c], 100, n, KIND_NORMAL, r);
        check_case(&cases[VEC_I8 * 4], 100, n, KIND_NORMAL, r);
    }
}

/* Reading before the first row faults here, and no row is aligned to more than
 * four bytes. */
static void rows_may_lie_at_any_multiple_of_four(void **state)
{
    static const uint32_t dims[] = {3, 52, 53, 56, 57, 64, 100, 128, 300};
    struct rng *r = *state;
    size_t d;
    size_t c;
    size_t l;
    size_t offset;

    for (c = 0; c < ARRAY_LEN(cases); c++) {
        for (d = 0; d < ARRAY_LEN(dims); d++) {
            struct bench b;
            float scanned[17];
            float keys[17];

            assert_int_equal(vec_simd_select("scalar"), ERR_OK);
            bench_init(&b, &cases[c], dims[d], 17, KIND_NORMAL, r);
            for (l = 0; next_level(&l); l++) {
                prepare_queries(&b);
                vec_scan(b.prepared[0], b.rows, 17, scanned);
                for (offset = 0; offset < 64; offset += 4) {
                    struct guarded g;
                    size_t bytes = 17 * b.format.row_bytes;

                    guarded_init(&g, offset + bytes + b.format.overread);
                    memcpy(g.start + offset, b.rows, bytes);
                    vec_scan(b.prepared[0], g.start + offset, 17, keys);
                    check_equal(&b, "moved scan", keys, scanned, 17);
                    guarded_deinit(&g);
                }
            }
            bench_deinit(&b);
        }
    }
}

/* Codes as they may come from a foreign file, where -128 is possible, at the
 * length where sums are largest. */
static void i8_sums_do_not_overflow_at_the_extremes(void **state)
{
    static const int8_t extremes[] = {127, -127, -128};
    static const uint32_t dims[] = {64, 128, 4097, VEC_DIM_MAX};
    size_t d;
    size_t a;
    size_t c;
    size_t l;

    (void)state;
    for (d = 0; d < ARRAY_LEN(dims); d++) {
        struct vec_format f;
        size_t n = 33;
        float *x = malloc(4 * (size_t)dims[d]);
        uint8_t *rows;
        void *memory;
        size_t i;

        vec_format_init(&f, VEC_I8, VEC_IP, dims[d]);
        rows = calloc(n * f.row_bytes + f.overread, 1);
        memory = query_memory(&f);
        for (c = 0; c < 2; c++) {
            for (i = 0; i < dims[d]; i++) {
                x[i] = c == 1 && i % 2 ? -127.0f : 127.0f;
            }
            for (a = 0; a < ARRAY_LEN(extremes); a++) {
                float one = 127;
                int64_t dot = 0;

                for (i = 0; i < n; i++) {
                    uint8_t *row = rows + i * f.row_bytes;

                    memset(row, (uint8_t)extremes[a], f.dim);
                    memcpy(row + f.factor_at + 4, &one, 4);
                }
                for (i = 0; i < dims[d]; i++) {
                    dot += extremes[a] * (int64_t)x[i];
                }
                for (l = 0; next_level(&l); l++) {
                    struct vec_query *q;
                    const struct vec_query *both[2];
                    float keys[2][33];

                    assert_int_equal(vec_query_init(&f, x, memory, &q), ERR_OK);
                    both[0] = both[1] = q;
                    vec_scan_many(both, 2, rows, n, keys[0], 33);
                    vec_scan(q, rows, n, keys[1]);
                    for (i = 0; i < n; i++) {
                        if (keys[0][i] != (float)-dot ||
                            keys[1][i] != (float)-dot) {
                            fail_msg("%s dim %u: %.0f and %.0f, not %lld",
                                     vec_simd_name(), dims[d],
                                     (double)keys[0][i], (double)keys[1][i],
                                     (long long)-dot);
                        }
                    }
                }
            }
        }
        free(memory);
        free(rows);
        free(x);
    }
}

static void keys_of_codes_are_the_same_on_every_level(void **state)
{
    struct rng *r = *state;
    uint32_t dim;
    size_t c;

    for (c = 0; c < ARRAY_LEN(cases); c++) {
        for (dim = 1; dim < 400; dim += 1 + dim / 3) {
            struct bench b;
            float first[40];
            float keys[40];
            size_t done = 0;
            size_t l;

            assert_int_equal(vec_simd_select("scalar"), ERR_OK);
            bench_init(&b, &cases[c], dim, 40, KIND_NORMAL, r);
            for (l = 0; is_exact(&b.format) && next_level(&l); l++) {
                prepare_queries(&b);
                vec_scan(b.prepared[0], b.rows, 40, keys);
                if (done++ == 0) {
                    memcpy(first, keys, sizeof(first));
                }
                check_equal(&b, "this level's scan", keys, first, 40);
            }
            bench_deinit(&b);
        }
    }
}

static void a_row_has_distance_zero_to_itself(void **state)
{
    struct rng *r = *state;
    uint32_t dim;
    size_t c;
    size_t l;

    for (l = 0; next_level(&l); l++) {
        for (c = 0; c < ARRAY_LEN(cases); c++) {
            for (dim = 1; dim <= 200; dim += 3) {
                float x[200];
                struct vec_format f;
                uint8_t *row;
                void *memory;
                float key;

                if (cases[c].metric != VEC_L2 && cases[c].metric != VEC_L1) {
                    continue;
                }
                vec_format_init(&f, cases[c].type, cases[c].metric, dim);
                row = calloc(f.row_bytes + f.overread, 1);
                memory = query_memory(&f);
                fill_vector(r, KIND_NORMAL, x, dim);
                encode_or_fail(&f, x, row);
                vec_scan(vec_query_from_row(&f, row, memory), row, 1, &key);
                assert_float_equal(key, 0, 0);
                free(memory);
                free(row);
            }
        }
    }
}

static void
a_query_from_a_row_scores_like_the_vector_it_was_made_of(void **state)
{
    struct rng *r = *state;
    size_t c;
    size_t l;

    for (l = 0; next_level(&l); l++) {
        for (c = 0; c < ARRAY_LEN(cases); c++) {
            float x[77];
            float keys[2][9];
            struct vec_format f;
            struct vec_query *q;
            uint8_t *rows;
            void *memory;
            size_t i;

            vec_format_init(&f, cases[c].type, cases[c].metric, 77);
            if (f.type == VEC_F16 || f.type == VEC_BF16) {
                continue; /* the vector keeps more digits than the row */
            }
            rows = calloc(9 * f.row_bytes + f.overread, 1);
            memory = query_memory(&f);
            for (i = 0; i < 9; i++) {
                fill_vector(r, KIND_NORMAL, x, 77);
                encode_or_fail(&f, x, rows + i * f.row_bytes);
            }
            assert_int_equal(vec_query_init(&f, x, memory, &q), ERR_OK);
            vec_scan(q, rows, 9, keys[0]);
            q = vec_query_from_row(&f, rows + 8 * f.row_bytes, memory);
            vec_scan(q, rows, 9, keys[1]);
            assert_memory_equal(keys[0], keys[1], sizeof(keys[0]));
            free(memory);
            free(rows);
        }
    }
}

static void zero_vectors_have_cosine_distance_one(void **state)
{
    static const enum vec_type types[] = {VEC_F32, VEC_I8, VEC_F16, VEC_BF16};
    struct rng *r = *state;
    size_t t;
    size_t l;

    for (l = 0; next_level(&l); l++) {
        for (t = 0; t < ARRAY_LEN(types); t++) {
            float x[100] = {0};
            float keys[2];
            struct vec_format f;
            struct vec_query *q;
            uint8_t *rows;
            void *memory;

            vec_format_init(&f, types[t], VEC_COSINE, 100);
            rows = calloc(2 * f.row_bytes + f.overread, 1);
            memory = query_memory(&f);
            encode_or_fail(&f, x, rows);
            assert_int_equal(vec_query_init(&f, x, memory, &q), ERR_OK);
            fill_vector(r, KIND_NORMAL, x, 100);
            encode_or_fail(&f, x, rows + f.row_bytes);
            vec_scan(q, rows, 2, keys);
            assert_float_equal(keys[0], 1, 0);
            assert_float_equal(keys[1], 1, 0);
            assert_float_equal(vec_score(&f, keys[0]), 0.5, 0);
            free(memory);
            free(rows);
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
        cmocka_unit_test(keys_match_the_oracle_for_dimensions_1_to_130),
        cmocka_unit_test(keys_match_the_oracle_for_long_rows),
        cmocka_unit_test(keys_match_the_oracle_for_the_longest_rows),
        cmocka_unit_test(number_of_rows_may_be_anything),
        cmocka_unit_test(rows_may_lie_at_any_multiple_of_four),
        cmocka_unit_test(i8_sums_do_not_overflow_at_the_extremes),
        cmocka_unit_test(keys_of_codes_are_the_same_on_every_level),
        cmocka_unit_test(a_row_has_distance_zero_to_itself),
        cmocka_unit_test(
            a_query_from_a_row_scores_like_the_vector_it_was_made_of),
        cmocka_unit_test(zero_vectors_have_cosine_distance_one),
    };

    return cmocka_run_group_tests(tests, set_up, NULL);
}
