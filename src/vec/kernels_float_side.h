/* Many queries at once, side by side: included after kernels_float.h by the
 * two levels of x86.
 *
 * With enough queries it pays to turn them: vector i holds component i of
 * eight queries. A component of a row is broadcast as it is loaded and meets
 * all eight at once. The sums of eight queries then lie in one vector from the
 * start, and nothing is added up across lanes, which for short rows was a third
 * of the work in tiles. Rows go by eight, so that each loaded vector of queries
 * is used eight times, and eight sums are under way.
 *
 * A sum here is to be what one query alone gets, to the bit. There, component i
 * goes into lane i % V_LANES, and the lanes are added up in a fixed tree
 * (lanes_*.h). So each lane has its sum here as well, one after the other, in
 * an order in which the tree can be added up as its leaves become known: like
 * carries of a binary counter, with one vector per level waiting.
 *
 *     SIDE_LANES         lanes whose sums are under way together: 1 or 2 */

enum {
    SIDE_ROWS = 8,
    SIDE_QUERIES = 8,
    SIDE_DIM_MAX = 320, /* more, and the first cache overflows */
    SIDE_LEVELS = 4,
    SIDE_MIN = 5 /* queries; fewer are faster in tiles */
};

/* Eight queries, component by component. */
struct side {
    const float *turned;
    size_t whole; /* components of each lane */
    size_t rest;  /* lanes that have one more */
};

/* The lane at place p of the tree: of each four 0, 2, 1, 3, and of four fours
 * the same. */
ALWAYS_INLINE size_t side_lane(size_t p)
{
    const size_t in_four = (p & 1) << 1 | (p >> 1 & 1);
    const size_t four = p >> 2;

    return (V_LANES == 16 ? (four & 1) << 1 | four >> 1 : four) * 4 + in_four;
}

ALWAYS_INLINE __m256 side_step(enum vec_op op, __m256 sum, const uint8_t *x,
                               __m256 q)
{
    const __m256 all = _mm256_set1_ps(vec_load_f32(x));
    __m256 difference;

    if (op == VEC_OP_DOT) {
        return _mm256_fmadd_ps(all, q, sum);
    }
    difference = _mm256_sub_ps(q, all);
    if (op == VEC_OP_L2) {
        return _mm256_fmadd_ps(difference, difference, sum);
    }
    return _mm256_add_ps(sum,
                         _mm256_andnot_ps(_mm256_set1_ps(-0.0f), difference));
}

/* One component of eight rows; x is that of the first. */
ALWAYS_INLINE void side_rows(enum vec_op op, __m256 *sum, const uint8_t *x,
                             size_t stride, const float *turned)
{
    const __m256 q = _mm256_load_ps(turned);
    const uint8_t *x4 = x + 4 * stride;

    sum[0] = side_step(op, sum[0], x, q);
    sum[1] = side_step(op, sum[1], x + stride, q);
    sum[2] = side_step(op, sum[2], x + 2 * stride, q);
    sum[3] = side_step(op, sum[3], x + 3 * stride, q);
    sum[4] = side_step(op, sum[4], x4, q);
    sum[5] = side_step(op, sum[5], x4 + stride, q);
    sum[6] = side_step(op, sum[6], x4 + 2 * stride, q);
    sum[7] = side_step(op, sum[7], x4 + 3 * stride, q);
}

/* The next line of the rows that follow, and one far behind it from memory. A
 * tile does this once per line of its own. */
ALWAYS_INLINE void side_prefetch(const uint8_t **ahead)
{
    __builtin_prefetch(*ahead, 0, 3);
    __builtin_prefetch(*ahead + FAR, 0, 2);
    *ahead += CACHE_LINE;
}

/* The sums of one lane at place p of the tree, or of two added up. */
ALWAYS_INLINE void side_lanes(const struct side *s, const uint8_t *rows,
                              size_t stride, size_t p, const uint8_t **ahead,
                              __m256 *sums, enum vec_op op)
{
    const float *y = s->turned;
    __m256 sum[SIDE_LANES][SIDE_ROWS];
    size_t b;
    size_t l;
    size_t k;

#pragma GCC unroll 2
    for (l = 0; l < SIDE_LANES; l++) {
#pragma GCC unroll 8
        for (k = 0; k < SIDE_ROWS; k++) {
            sum[l][k] = _mm256_setzero_ps();
        }
    }
#pragma GCC unroll 1
    for (b = 0; b < s->whole; b++) {
#pragma GCC unroll 2
        for (l = 0; l < SIDE_LANES; l++) {
            const size_t lane = side_lane(p + l);

            side_rows(op, sum[l], rows + 4 * lane, stride,
                      y + SIDE_QUERIES * lane);
        }
        if (p * SIDE_LANES % 2 == 0) {
            side_prefetch(ahead);
        }
        rows += 4 * V_LANES;
        y += SIDE_QUERIES * V_LANES;
    }
#pragma GCC unroll 2
    for (l = 0; l < SIDE_LANES; l++) {
        const size_t lane = side_lane(p + l);

        if (lane < s->rest) {
            side_rows(op, sum[l], rows + 4 * lane, stride,
                      y + SIDE_QUERIES * lane);
        }
    }
#pragma GCC unroll 8
    for (k = 0; k < SIDE_ROWS; k++) {
        sums[k] = SIDE_LANES == 1
                      ? sum[0][k]
                      : _mm256_add_ps(sum[0][k], sum[SIDE_LANES - 1][k]);
    }
}

/* Eight rows for up to eight queries. */
ALWAYS_INLINE void side_tile(const struct side *s, const struct vec_query *q,
                             const uint8_t *rows, struct key_grid keys,
                             enum vec_op op)
{
    const size_t stride = q->format->row_bytes;
    const uint8_t *ahead = rows + SIDE_ROWS * stride;
    __m256 waiting[SIDE_LEVELS][SIDE_ROWS];
    __m256 sums[SIDE_ROWS];
    size_t p;
    size_t carry;
    size_t level;
    size_t k;

    for (k = V_LANES / 2 * s->whole; k < SIDE_ROWS * stride / CACHE_LINE + 2;
         k++) {
        side_prefetch(&ahead);
    }
#pragma GCC unroll 16
    for (p = 0; p < V_LANES; p += SIDE_LANES) {
        side_lanes(s, rows, stride, p, &ahead, sums, op);
        level = 0;
#pragma GCC unroll 4
        for (carry = p / SIDE_LANES; carry & 1; carry >>= 1) {
#pragma GCC unroll 8
            for (k = 0; k < SIDE_ROWS; k++) {
                sums[k] = _mm256_add_ps(waiting[level][k], sums[k]);
            }
            level++;
        }
        if (p + SIDE_LANES < V_LANES) {
#pragma GCC unroll 8
            for (k = 0; k < SIDE_ROWS; k++) {
                waiting[level][k] = sums[k];
            }
        }
    }
#pragma GCC unroll 8
    for (k = 0; k < SIDE_ROWS; k++) {
        sums[k] =
            _mm256_add_ps(_mm256_set1_ps(q->key_add),
                          _mm256_mul_ps(_mm256_set1_ps(q->key_mul), sums[k]));
    }
    turn8(sums); /* from queries of a row to rows of a query */
#pragma GCC unroll 8
    for (k = 0; k < SIDE_QUERIES; k++) {
        if (k < keys.live) {
            _mm256_storeu_ps(keys.at + k * keys.stride, sums[k]);
        }
    }
}

/* Turns up to eight queries; where there are fewer, the others are zero. */
static void side_turn_queries(const struct vec_query *const *q, size_t nq,
                              float *turned)
{
    const size_t dim = q[0]->format->dim;
    __m256 v[SIDE_QUERIES];
    size_t i;
    size_t k;

    for (i = 0; i < dim; i += 8) { /* queries are padded with zeros */
        for (k = 0; k < SIDE_QUERIES; k++) {
            v[k] = k < nq ? _mm256_load_ps(query_floats(q[k]) + i)
                          : _mm256_setzero_ps();
        }
        turn8(v);
        for (k = 0; k < SIDE_QUERIES; k++) {
            _mm256_store_ps(turned + (i + k) * SIDE_QUERIES, v[k]);
        }
    }
}

ALWAYS_INLINE bool side_pays(const struct vec_query *q, size_t nq)
{
    return nq >= SIDE_MIN && q->format->dim <= SIDE_DIM_MAX;
}

/* One group of queries on some rows; returns how many it did, by eights. */
ALWAYS_INLINE size_t score_side_rows(const struct side *s,
                                     const struct vec_query *q,
                                     const uint8_t *rows, size_t n,
                                     struct key_grid keys, enum vec_op op)
{
    const size_t stride = q->format->row_bytes;
    size_t i;

    for (i = 0; i + SIDE_ROWS <= n; i += SIDE_ROWS) {
        side_tile(s, q, rows + i * stride, keys, op);
        keys.at += SIDE_ROWS;
    }
    return i;
}

/* Queries by eights; few that remain are scored in tiles. They take turns on
 * pieces of rows. */
ALWAYS_INLINE void score_side(const struct vec_query *const *q, size_t nq,
                              const uint8_t *rows, size_t n, float *keys,
                              size_t key_stride, enum vec_op op,
                              vec_many_fn tiles)
{
    const struct vec_format *f = q[0]->format;
    const size_t piece = PIECE / f->row_bytes & ~(size_t)(SIDE_ROWS - 1);
    _Alignas(VEC_ALIGN) float turned[VEC_BATCH_MAX / SIDE_QUERIES]
                                    [SIDE_DIM_MAX * SIDE_QUERIES];
    size_t i;
    size_t j;

    for (j = 0; j + SIDE_MIN <= nq; j += SIDE_QUERIES) {
        side_turn_queries(q + j, nq - j, turned[j / SIDE_QUERIES]);
    }
    for (i = 0; i < n; i += piece) {
        const uint8_t *some = rows + i * f->row_bytes;
        const size_t n_some = n - i < piece ? n - i : piece;

        for (j = 0; j < nq; j += SIDE_QUERIES) {
            const struct side s = {turned[j / SIDE_QUERIES], f->dim / V_LANES,
                                   f->dim % V_LANES};
            const struct key_grid grid = {keys + j * key_stride + i, key_stride,
                                          nq - j};
            size_t done = 0;

            if (nq - j >= SIDE_MIN) {
                done = score_side_rows(&s, q[0], some, n_some, grid, op);
            }
            if (done < n_some) {
                tiles(q + j, nq - j < SIDE_QUERIES ? nq - j : SIDE_QUERIES,
                      some + done * f->row_bytes, n_some - done, grid.at + done,
                      key_stride);
            }
        }
    }
}

#define SIDE_BY_SIDE(name, op)                                                 \
    static void side_##name(const struct vec_query *const *q, size_t nq,       \
                            const uint8_t *rows, size_t n, float *keys,        \
                            size_t key_stride)                                 \
    {                                                                          \
        if (side_pays(q[0], nq)) {                                             \
            score_side(q, nq, rows, n, keys, key_stride, op, many_##name);     \
        } else {                                                               \
            many_##name(q, nq, rows, n, keys, key_stride);                     \
        }                                                                      \
    }

SIDE_BY_SIDE(f32_dot, VEC_OP_DOT)
SIDE_BY_SIDE(f32_l2, VEC_OP_L2)
SIDE_BY_SIDE(f32_l1, VEC_OP_L1)

static void fill_side(struct vec_kernels *k)
{
    k->many[VEC_F32][VEC_OP_DOT] = side_f32_dot;
    k->many[VEC_F32][VEC_OP_L2] = side_f32_l2;
    k->many[VEC_F32][VEC_OP_L1] = side_f32_l1;
}
