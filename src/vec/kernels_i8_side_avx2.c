/* I8 dot products and L2 of many queries side by side, with AVX2: as
 * kernels_float_side.h, but sums of integers have no order to keep.
 *
 * Eight queries are turned: vector i holds components 2i and 2i + 1 of each, in
 * 16 bits. Rows are widened to 16 bits eight at a time, into memory that stays
 * in the first cache, and two components at once are broadcast from there,
 * multiplied by those of eight queries and added up: three instructions for
 * sixteen products. */
#include "vec/vec_impl.h"

#include <immintrin.h>

#include "vec/lanes_turn.h"

enum {
    ROWS = 8,
    QUERIES = 8,
    QUERIES_MIN = 5, /* fewer are faster in tiles */
    DIM_MAX = 1536,  /* turned queries lie on the stack */
    CHUNK = 16,      /* codes that are widened at once */
    SLICE = 512,     /* components of rows that are widened at a time */
    PIECE = 16384,   /* bytes of rows that groups of queries take turns on */
    FAR = 16 * 1024  /* as in kernels_float.h */
};

/* Up to eight queries; what is missing is zero. */
struct group {
    __m256 scales;
    __m256d self[2];
    _Alignas(VEC_ALIGN) int32_t turned[DIM_MAX / 2 * QUERIES];
};

/* Components of rows in 16 bits, by twos. Rows are an odd number of twos apart,
 * since the first cache does not read two places at once whose addresses have
 * too many bits in common. */
struct widened {
    int32_t pairs[ROWS][SLICE / 2 + 1];
};

/* Makes the compiler add to a sum where it is. Left alone it needs so many
 * registers for what is on the way that sums go through memory. */
#define IN_PLACE(v) __asm__ volatile("" : "+x"(v))

static void turn_queries(const struct vec_query *const *q, size_t nq,
                         struct group *g)
{
    const size_t pairs = (q[0]->format->dim + 1) / 2;
    float scales[QUERIES] = {0};
    double self[QUERIES] = {0};
    __m256 v[QUERIES];
    size_t i;
    size_t k;

    nq = nq < QUERIES ? nq : QUERIES;
    for (k = 0; k < nq; k++) {
        scales[k] = q[k]->scale;
        self[k] = q[k]->self;
    }
    g->scales = _mm256_loadu_ps(scales);
    g->self[0] = _mm256_loadu_pd(self);
    g->self[1] = _mm256_loadu_pd(self + 4);
    for (i = 0; i < pairs; i += 8) { /* codes are padded with zeros */
        for (k = 0; k < QUERIES; k++) {
            v[k] = k < nq ? _mm256_castsi256_ps(_mm256_load_si256(
                                (const void *)(q[k]->wide + 2 * i)))
                          : _mm256_setzero_ps();
        }
        turn8(v);
        for (k = 0; k < 8; k++) {
            _mm256_store_si256((void *)(g->turned + (i + k) * QUERIES),
                               _mm256_castps_si256(v[k]));
        }
    }
}

/* Components from `from` on, n of them, of eight rows; more may be read and
 * meets zeros. Prefetches what comes after these rows. */
ALWAYS_INLINE void widen_rows(const uint8_t *rows, size_t stride, size_t from,
                              size_t n, struct widened *w)
{
    const uint8_t *ahead = rows + ROWS * stride;
    size_t i;
    size_t k;

    for (k = 0; k < ROWS; k++) {
        const uint8_t *row = rows + k * stride + from;

#pragma GCC unroll 1
        for (i = 0; i < n; i += CHUNK) {
            if (i % CACHE_LINE == 0) {
                __builtin_prefetch(ahead + k * stride + from + i, 0, 3);
                __builtin_prefetch(ahead + k * stride + from + i + FAR, 0, 2);
            }
            _mm256_storeu_si256(
                (void *)(w->pairs[k] + i / 2),
                _mm256_cvtepi8_epi16(_mm_loadu_si128((const void *)(row + i))));
        }
    }
}

ALWAYS_INLINE void add_pairs(const struct group *g, const struct widened *w,
                             size_t from, size_t n, __m256i *sums)
{
    const int32_t *turned = g->turned + from * QUERIES;
    size_t i;
    size_t k;

#pragma GCC unroll 1
    for (i = 0; i < n; i++) {
        const __m256i q = _mm256_load_si256((const void *)turned);

#pragma GCC unroll 8
        for (k = 0; k < ROWS; k++) {
            const __m256i x = _mm256_set1_epi32(w->pairs[k][i]);

            sums[k] = _mm256_add_epi32(sums[k], _mm256_madd_epi16(x, q));
            IN_PLACE(sums[k]);
        }
        turned += QUERIES;
    }
}

/* vec_i8_dot_key() */
ALWAYS_INLINE __m256 dot_keys(const struct vec_query *q, const struct group *g,
                              __m256i dots, const uint8_t *row)
{
    const __m256 both =
        _mm256_mul_ps(_mm256_set1_ps(vec_i8_scale(q->format, row)), g->scales);
    __m256 key = _mm256_sub_ps(_mm256_set1_ps(q->key_add),
                               _mm256_mul_ps(_mm256_cvtepi32_ps(dots), both));

    key = _mm256_max_ps(_mm256_set1_ps(q->key_min), key);
    return _mm256_min_ps(_mm256_set1_ps(q->key_max), key);
}

/* vec_i8_l2_key(), of four queries */
ALWAYS_INLINE __m128 l2_keys4(__m256d self, __m128 scales, __m128i dots,
                              double r, double sumsq)
{
    const __m256d both =
        _mm256_mul_pd(_mm256_mul_pd(_mm256_set1_pd(r), _mm256_cvtps_pd(scales)),
                      _mm256_set1_pd(2.0));
    const __m256d key =
        _mm256_sub_pd(_mm256_add_pd(_mm256_set1_pd(r * r * sumsq), self),
                      _mm256_mul_pd(both, _mm256_cvtepi32_pd(dots)));

    return _mm256_cvtpd_ps(_mm256_max_pd(_mm256_setzero_pd(), key));
}

ALWAYS_INLINE __m256 l2_keys(const struct vec_query *q, const struct group *g,
                             __m256i dots, const uint8_t *row)
{
    const struct vec_format *f = q->format;
    const double r = vec_i8_scale(f, row);
    const double sumsq = vec_load_u32(row + f->factor_at + 8);
    const __m128 low = l2_keys4(g->self[0], _mm256_castps256_ps128(g->scales),
                                _mm256_castsi256_si128(dots), r, sumsq);
    const __m128 high =
        l2_keys4(g->self[1], _mm256_extractf128_ps(g->scales, 1),
                 _mm256_extracti128_si256(dots, 1), r, sumsq);

    return _mm256_insertf128_ps(_mm256_castps128_ps256(low), high, 1);
}

/* Eight rows; stores the keys of the first nq queries. */
ALWAYS_INLINE void score_tile(const struct vec_query *q, const struct group *g,
                              size_t nq, const uint8_t *rows, float *keys,
                              size_t key_stride, enum vec_op op)
{
    const struct vec_format *f = q->format;
    struct widened w;
    __m256i sums[ROWS];
    __m256 out[ROWS];
    size_t from;
    size_t k;

#pragma GCC unroll 8
    for (k = 0; k < ROWS; k++) {
        sums[k] = _mm256_setzero_si256();
    }
    for (from = 0; from < f->dim; from += SLICE) {
        const size_t n = f->dim - from < SLICE ? f->dim - from : SLICE;

        widen_rows(rows, f->row_bytes, from, n, &w);
        add_pairs(g, &w, from / 2, (n + 1) / 2, sums);
    }
#pragma GCC unroll 8
    for (k = 0; k < ROWS; k++) {
        const uint8_t *row = rows + k * f->row_bytes;

        out[k] = op == VEC_OP_L2 ? l2_keys(q, g, sums[k], row)
                                 : dot_keys(q, g, sums[k], row);
    }
    turn8(out);
#pragma GCC unroll 8
    for (k = 0; k < QUERIES; k++) {
        if (k < nq) {
            _mm256_storeu_ps(keys + k * key_stride, out[k]);
        }
    }
}

ALWAYS_INLINE void score_many(const struct vec_query *const *q, size_t nq,
                              const uint8_t *rows, size_t n, float *keys,
                              size_t key_stride, enum vec_op op)
{
    const size_t stride = q[0]->format->row_bytes;
    const size_t piece = PIECE / stride & ~(size_t)(ROWS - 1);
    struct group groups[VEC_BATCH_MAX / QUERIES];
    size_t i;
    size_t j;

    for (j = 0; j + QUERIES_MIN <= nq; j += QUERIES) {
        turn_queries(q + j, nq - j, &groups[j / QUERIES]);
    }
    for (i = 0; i < n; i += piece) {
        const size_t some = n - i < piece ? n - i : piece;
        const uint8_t *from = rows + i * stride;

        for (j = 0; j < nq; j += QUERIES) {
            const size_t live = nq - j < QUERIES ? nq - j : QUERIES;
            float *at = keys + j * key_stride + i;
            size_t done = 0;

            for (; live >= QUERIES_MIN && done + ROWS <= some; done += ROWS) {
                score_tile(q[j], &groups[j / QUERIES], live,
                           from + done * stride, at + done, key_stride, op);
            }
            if (done < some) {
                vec_avx2_i8_many(q + j, live, from + done * stride, some - done,
                                 at + done, key_stride);
            }
        }
    }
}

static bool pays(const struct vec_query *q, size_t nq, size_t n)
{
    return nq >= QUERIES_MIN && q->format->dim <= DIM_MAX && n >= ROWS;
}

static void many_dot(const struct vec_query *const *q, size_t nq,
                     const uint8_t *rows, size_t n, float *keys,
                     size_t key_stride)
{
    if (pays(q[0], nq, n)) {
        score_many(q, nq, rows, n, keys, key_stride, VEC_OP_DOT);
    } else {
        vec_avx2_i8_many(q, nq, rows, n, keys, key_stride);
    }
}

static void many_l2(const struct vec_query *const *q, size_t nq,
                    const uint8_t *rows, size_t n, float *keys,
                    size_t key_stride)
{
    if (pays(q[0], nq, n)) {
        score_many(q, nq, rows, n, keys, key_stride, VEC_OP_L2);
    } else {
        vec_avx2_i8_many(q, nq, rows, n, keys, key_stride);
    }
}

void vec_avx2_i8_side_fill(struct vec_kernels *k)
{
    k->many[VEC_I8][VEC_OP_DOT] = many_dot;
    k->many[VEC_I8][VEC_OP_L2] = many_l2;
}
