/* I8 dot products and L2 with AVX2.
 *
 * VPMADDUBSW, which multiplies bytes, saturates its 16-bit sums of two
 * products (255 * 127 * 2), and results must not depend on the machine. So
 * codes are widened to 16 bits and multiplied by VPMADDWD, whose 32-bit sums
 * are exact; the query keeps its codes in 16 bits. Rows are read in order, four
 * are added up together, and the factors of each come with one load right after
 * its codes. Several queries share the widening of a tile of four rows and two
 * queries; prefetching is as in kernels_float.h. For more than a few queries
 * there is kernels_i8_side_avx2.c. */
#include "vec/vec_impl.h"

#include <immintrin.h>

#include "vec/lanes_avx2.h"

enum {
    CHUNK = 16,     /* codes in a vector of 16-bit numbers */
    FAR = 16 * 1024 /* as in kernels_float.h */
};

/* ---- keys -------------------------------------------------------------- */

/* vec_i8_dot_key() */
ALWAYS_INLINE __m128 dot_keys(const struct vec_query *q, __m128i dots,
                              __m128 scales)
{
    __m128 both = _mm_mul_ps(scales, _mm_set1_ps(q->scale));
    __m128 key = _mm_sub_ps(_mm_set1_ps(q->key_add),
                            _mm_mul_ps(_mm_cvtepi32_ps(dots), both));

    key = _mm_max_ps(_mm_set1_ps(q->key_min), key);
    return _mm_min_ps(_mm_set1_ps(q->key_max), key);
}

/* vec_i8_l2_key(); sums of squares are below 2^31 */
ALWAYS_INLINE __m128 l2_keys(const struct vec_query *q, __m128i dots,
                             __m128 scales, __m128i sumsqs)
{
    __m256d r = _mm256_cvtps_pd(scales);
    __m256d both =
        _mm256_mul_pd(_mm256_mul_pd(r, _mm256_set1_pd((double)q->scale)),
                      _mm256_set1_pd(2.0));
    __m256d own =
        _mm256_mul_pd(_mm256_mul_pd(r, r), _mm256_cvtepi32_pd(sumsqs));
    __m256d key = _mm256_sub_pd(_mm256_add_pd(own, _mm256_set1_pd(q->self)),
                                _mm256_mul_pd(both, _mm256_cvtepi32_pd(dots)));

    return _mm256_cvtpd_ps(_mm256_max_pd(_mm256_setzero_pd(), key));
}

/* The factors of four rows, each loaded as norm, range, sumsq and whatever. */
ALWAYS_INLINE __m128 keys_of(const struct vec_query *q, enum vec_op op,
                             __m128i dots, const __m128 *factors)
{
    __m128 low01 = _mm_unpacklo_ps(factors[0], factors[1]);
    __m128 low23 = _mm_unpacklo_ps(factors[2], factors[3]);
    __m128 scales =
        _mm_div_ps(_mm_movehl_ps(low23, low01), _mm_set1_ps(127.0f));
    __m128 high01 = _mm_unpackhi_ps(factors[0], factors[1]);
    __m128 high23 = _mm_unpackhi_ps(factors[2], factors[3]);

    return op == VEC_OP_L2
               ? l2_keys(q, dots, scales,
                         _mm_castps_si128(_mm_movelh_ps(high01, high23)))
               : dot_keys(q, dots, scales);
}

/* ---- I8, one query ----------------------------------------------------- */

ALWAYS_INLINE __m256i codes_at(const uint8_t *p)
{
    return _mm256_cvtepi8_epi16(_mm_loadu_si128((const void *)p));
}

ALWAYS_INLINE __m256i query_at(const int16_t *p)
{
    return _mm256_load_si256((const void *)p);
}

ALWAYS_INLINE __m256i dot_chunk(__m256i sum, __m256i x, __m256i q)
{
    return _mm256_add_epi32(sum, _mm256_madd_epi16(x, q));
}

ALWAYS_INLINE __m256i dot_row(const int16_t *q, const uint8_t *row,
                              size_t chunks)
{
    __m256i sum = _mm256_setzero_si256();
    size_t i;

    for (i = chunks / 4; i > 0; i--) {
        sum = dot_chunk(sum, codes_at(row), query_at(q));
        sum = dot_chunk(sum, codes_at(row + 16), query_at(q + 16));
        sum = dot_chunk(sum, codes_at(row + 32), query_at(q + 32));
        sum = dot_chunk(sum, codes_at(row + 48), query_at(q + 48));
        row += 4 * CHUNK;
        q += 4 * CHUNK;
    }
    for (i = chunks % 4; i > 0; i--) {
        sum = dot_chunk(sum, codes_at(row), query_at(q));
        row += CHUNK;
        q += CHUNK;
    }
    return sum;
}

/* Rows first to first + count - 1, count <= 4; the last one stands in for
 * missing ones. */
ALWAYS_INLINE __m128 score_four(const struct vec_query *q,
                                const struct vec_rows *rows, size_t first,
                                size_t count, enum vec_op op)
{
    const struct vec_format *f = q->format;
    const size_t chunks = (f->dim + CHUNK - 1) / CHUNK;
    __m256i sums[4];
    __m128 factors[4];
    size_t k;

#pragma GCC unroll 4
    for (k = 0; k < 4; k++) {
        const uint8_t *row = vec_row(rows, first + (k < count ? k : count - 1));

        VEC_KEEP_ORDER(row);
        sums[k] = dot_row(q->wide, row, chunks);
        factors[k] = _mm_loadu_ps((const void *)(row + f->factor_at));
    }
    return keys_of(q, op, fold4_i32(sums), factors);
}

ALWAYS_INLINE void score_rows(const struct vec_query *q,
                              const struct vec_rows *rows, enum vec_op op,
                              float *keys)
{
    const size_t row_bytes = q->format->row_bytes;
    const size_t ahead = vec_gather_ahead(row_bytes);
    size_t i;

    for (i = 0; rows->at && i < ahead; i += 4) {
        vec_prefetch_four(rows, i, row_bytes);
    }
    for (i = 0; i + 4 <= rows->n; i += 4) {
        if (rows->at) {
            vec_prefetch_four(rows, i + ahead, row_bytes);
        }
        _mm_storeu_ps(keys + i, score_four(q, rows, i, 4, op));
    }
    if (i < rows->n) {
        _mm_maskstore_ps(keys + i, first_of_four(rows->n - i),
                         score_four(q, rows, i, rows->n - i, op));
    }
}

static void scan_dot(const struct vec_query *q, const uint8_t *rows, size_t n,
                     float *keys)
{
    const struct vec_rows set = {rows, q->format->row_bytes, NULL, n};

    score_rows(q, &set, VEC_OP_DOT, keys);
}

static void scan_l2(const struct vec_query *q, const uint8_t *rows, size_t n,
                    float *keys)
{
    const struct vec_rows set = {rows, q->format->row_bytes, NULL, n};

    score_rows(q, &set, VEC_OP_L2, keys);
}

static void gather_dot(const struct vec_query *q, const uint8_t *const *rows,
                       size_t n, float *keys)
{
    const struct vec_rows set = {NULL, 0, rows, n};

    score_rows(q, &set, VEC_OP_DOT, keys);
}

static void gather_l2(const struct vec_query *q, const uint8_t *const *rows,
                      size_t n, float *keys)
{
    const struct vec_rows set = {NULL, 0, rows, n};

    score_rows(q, &set, VEC_OP_L2, keys);
}

void vec_avx2_i8_scan(const struct vec_query *q, const uint8_t *rows, size_t n,
                      float *keys)
{
    if (q->format->metric == VEC_L2) {
        scan_l2(q, rows, n, keys);
    } else {
        scan_dot(q, rows, n, keys);
    }
}

void vec_avx2_i8_gather(const struct vec_query *q, const uint8_t *const *rows,
                        size_t n, float *keys)
{
    if (q->format->metric == VEC_L2) {
        gather_l2(q, rows, n, keys);
    } else {
        gather_dot(q, rows, n, keys);
    }
}

/* ---- I8, several queries ----------------------------------------------- */

/* What one pass over a tile of four rows prefetches: `lines` per 64 codes of
 * each. */
struct ahead {
    const uint8_t *near;
    const uint8_t *far;
    size_t lines;
};

ALWAYS_INLINE void prefetch_step(struct ahead *a)
{
    size_t k;

    for (k = 0; k < a->lines; k++) {
        __builtin_prefetch(a->near, 0, 3);
        __builtin_prefetch(a->far, 0, 2);
        a->near += CACHE_LINE;
        a->far += CACHE_LINE;
    }
}

/* Four rows, two queries, which may be the same. */
ALWAYS_INLINE void score_tile(const struct vec_query *a,
                              const struct vec_query *b, const uint8_t *rows,
                              struct ahead *ahead, enum vec_op op,
                              float *keys_a, float *keys_b)
{
    const struct vec_format *f = a->format;
    const size_t stride = f->row_bytes;
    __m256i sums_a[4];
    __m256i sums_b[4];
    __m128 factors[4];
    size_t i;
    size_t k;

#pragma GCC unroll 4
    for (k = 0; k < 4; k++) {
        sums_a[k] = _mm256_setzero_si256();
        sums_b[k] = _mm256_setzero_si256();
    }
    for (i = 0; i < f->dim; i += CHUNK) {
        const __m256i qa = query_at(a->wide + i);
        const __m256i qb = query_at(b->wide + i);

        if (i % 64 == 0) {
            prefetch_step(ahead);
        }
#pragma GCC unroll 4
        for (k = 0; k < 4; k++) {
            const __m256i x = codes_at(rows + k * stride + i);

            sums_a[k] = dot_chunk(sums_a[k], x, qa);
            sums_b[k] = dot_chunk(sums_b[k], x, qb);
        }
    }
#pragma GCC unroll 4
    for (k = 0; k < 4; k++) {
        factors[k] =
            _mm_loadu_ps((const void *)(rows + k * stride + f->factor_at));
    }
    _mm_storeu_ps(keys_a, keys_of(a, op, fold4_i32(sums_a), factors));
    _mm_storeu_ps(keys_b, keys_of(b, op, fold4_i32(sums_b), factors));
}

ALWAYS_INLINE void score_many(const struct vec_query *const *q, size_t nq,
                              const uint8_t *rows, size_t n, enum vec_op op,
                              float *keys, size_t key_stride)
{
    const size_t stride = q[0]->format->row_bytes;
    const size_t passes = (nq + 1) / 2;
    size_t i;
    size_t j;

    for (i = 0; i + 4 <= n; i += 4) {
        const uint8_t *tile = rows + i * stride;
        struct ahead ahead = {tile + 4 * stride, tile + 4 * stride + FAR,
                              passes == 1   ? 5
                              : passes == 2 ? 3
                              : passes <= 4 ? 2
                                            : 1};

        for (j = 0; j < nq; j += 2) {
            const size_t other = j + 1 < nq ? j + 1 : j;

            score_tile(q[j], q[other], tile, &ahead, op,
                       keys + j * key_stride + i,
                       keys + other * key_stride + i);
        }
    }
    for (j = 0; i < n && j < nq; j++) {
        vec_avx2_i8_scan(q[j], rows + i * stride, n - i,
                         keys + j * key_stride + i);
    }
}

static void many_dot(const struct vec_query *const *q, size_t nq,
                     const uint8_t *rows, size_t n, float *keys,
                     size_t key_stride)
{
    score_many(q, nq, rows, n, VEC_OP_DOT, keys, key_stride);
}

static void many_l2(const struct vec_query *const *q, size_t nq,
                    const uint8_t *rows, size_t n, float *keys,
                    size_t key_stride)
{
    score_many(q, nq, rows, n, VEC_OP_L2, keys, key_stride);
}

void vec_avx2_i8_many(const struct vec_query *const *q, size_t nq,
                      const uint8_t *rows, size_t n, float *keys,
                      size_t key_stride)
{
    if (q[0]->format->metric == VEC_L2) {
        many_l2(q, nq, rows, n, keys, key_stride);
    } else {
        many_dot(q, nq, rows, n, keys, key_stride);
    }
}

void vec_avx2_i8_fill(struct vec_kernels *k)
{
    k->scan[VEC_I8][VEC_OP_DOT] = scan_dot;
    k->scan[VEC_I8][VEC_OP_L2] = scan_l2;
    k->gather[VEC_I8][VEC_OP_DOT] = gather_dot;
    k->gather[VEC_I8][VEC_OP_L2] = gather_l2;
    k->many[VEC_I8][VEC_OP_DOT] = many_dot;
    k->many[VEC_I8][VEC_OP_L2] = many_l2;
}
