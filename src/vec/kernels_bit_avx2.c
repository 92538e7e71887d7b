/* BIT rows with AVX2: exclusive or, count, add.
 *
 * There is no instruction that counts bits in vectors, so a table of sixteen
 * counts is looked up for each half of a byte (Mula's way). That beats the
 * processor's own counting of 64-bit words for rows of some length; short rows
 * are left to the latter. Four rows become keys together, since the division
 * would else be the dearest part of a short one; of rows that take half a
 * vector eight do. */
#include "vec/vec_impl.h"

#include <immintrin.h>

#include "vec/lanes_avx2.h"

enum {
    CHUNK = 32,        /* bytes of a vector */
    SHORT = 2 * CHUNK, /* shorter rows are counted by words */
    FLUSH = 31,        /* chunks until a byte of counts, 8 each, may be full */
    PIECE = 16 * 1024  /* bytes of rows that several queries take turns on */
};

/* ---- counting ---------------------------------------------------------- */

ALWAYS_INLINE uint64_t load_u64(const uint8_t *p)
{
    uint64_t value;

    memcpy(&value, p, sizeof(value));
    return value;
}

ALWAYS_INLINE int count_words(const uint8_t *q, const uint8_t *row, size_t end)
{
    int bits = 0;
    size_t i;

    for (i = 0; i < end; i += 8) {
        bits += __builtin_popcountll(load_u64(row + i) ^ load_u64(q + i));
    }
    return bits;
}

/* Per byte. */
ALWAYS_INLINE __m256i count_bytes(__m256i x)
{
    const __m256i counts = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4));
    const __m256i low = _mm256_set1_epi8(15);
    __m256i halves[2];

    halves[0] = _mm256_and_si256(x, low);
    halves[1] = _mm256_and_si256(_mm256_srli_epi16(x, 4), low);
    return _mm256_add_epi8(_mm256_shuffle_epi8(counts, halves[0]),
                           _mm256_shuffle_epi8(counts, halves[1]));
}

ALWAYS_INLINE __m256i add_bytes(__m256i sum, __m256i bytes)
{
    return _mm256_add_epi64(sum,
                            _mm256_sad_epu8(bytes, _mm256_setzero_si256()));
}

/* Which 64-bit words of the last chunk there are, 1 to 4 of them. */
ALWAYS_INLINE __m256i rest_mask(size_t end)
{
    return _mm256_cmpgt_epi64(
        _mm256_set1_epi64x((int64_t)((end - 1) % CHUNK / 8 + 1)),
        _mm256_set_epi64x(3, 2, 1, 0));
}

/* Four partial sums. */
ALWAYS_INLINE __m256i count_row(const uint8_t *q, const uint8_t *row,
                                size_t end, __m256i mask)
{
    const size_t whole = (end - 1) / CHUNK;
    __m256i sum = _mm256_setzero_si256();
    __m256i bytes = _mm256_setzero_si256();
    __m256i x;
    size_t i;

    for (i = 0; i < whole; i++) {
        x = _mm256_xor_si256(
            _mm256_loadu_si256((const void *)(row + CHUNK * i)),
            _mm256_load_si256((const void *)(q + CHUNK * i)));
        bytes = _mm256_add_epi8(bytes, count_bytes(x));
        if (i % FLUSH == FLUSH - 1) {
            sum = add_bytes(sum, bytes);
            bytes = _mm256_setzero_si256();
        }
    }
    sum = add_bytes(sum, bytes);
    x = _mm256_maskload_epi64((const void *)(row + CHUNK * i), mask);
    x = _mm256_xor_si256(x, _mm256_load_si256((const void *)(q + CHUNK * i)));
    return add_bytes(sum, count_bytes(x)); /* beyond the row, q is 0 */
}

/* ---- rows -------------------------------------------------------------- */

ALWAYS_INLINE __m128 keys_of(const struct vec_query *q, __m128i bits)
{
    __m128 sum =
        _mm_add_ps(_mm_set1_ps(q->key_add),
                   _mm_mul_ps(_mm_set1_ps(q->key_mul), _mm_cvtepi32_ps(bits)));

    return _mm_div_ps(sum, _mm_set1_ps(q->key_div));
}

ALWAYS_INLINE __m256 eight_keys_of(const struct vec_query *q, __m256i bits)
{
    __m256 sum = _mm256_add_ps(
        _mm256_set1_ps(q->key_add),
        _mm256_mul_ps(_mm256_set1_ps(q->key_mul), _mm256_cvtepi32_ps(bits)));

    return _mm256_div_ps(sum, _mm256_set1_ps(q->key_div));
}

/* Rows first to first + count - 1, count <= 4; the last one stands in for
 * missing ones. */
ALWAYS_INLINE __m128 score_four(const struct vec_query *q,
                                const struct vec_rows *rows, size_t first,
                                size_t count)
{
    const size_t end = q->format->code_bytes;
    const uint8_t *row[4];
    __m256i sums[4];
    size_t k;

#pragma GCC unroll 4
    for (k = 0; k < 4; k++) {
        row[k] = vec_row(rows, first + (k < count ? k : count - 1));
    }
    if (end < SHORT) {
        return keys_of(q, _mm_setr_epi32(count_words(q->code, row[0], end),
                                         count_words(q->code, row[1], end),
                                         count_words(q->code, row[2], end),
                                         count_words(q->code, row[3], end)));
    }
#pragma GCC unroll 1
    for (k = 0; k < 4; k++) {
        sums[k] = count_row(q->code, row[k], end, rest_mask(end));
    }
    return keys_of(q, fold4_i32(sums));
}

ALWAYS_INLINE void score_rows(const struct vec_query *q,
                              const struct vec_rows *rows, float *keys)
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
        _mm_storeu_ps(keys + i, score_four(q, rows, i, 4));
    }
    if (i < rows->n) {
        _mm_maskstore_ps(keys + i, first_of_four(rows->n - i),
                         score_four(q, rows, i, rows->n - i));
    }
}

/* ---- one query, 65 to 128 components ----------------------------------- */

enum { HALF = 16, EIGHT = 8 };

/* The counts of rows 0 and 4, two of each. */
ALWAYS_INLINE __m256i count_halves(__m256i query, const uint8_t *row,
                                   size_t stride)
{
    __m256i x = _mm256_inserti128_si256(
        _mm256_castsi128_si256(_mm_loadu_si128((const void *)row)),
        _mm_loadu_si128((const void *)(row + 4 * stride)), 1);

    return _mm256_sad_epu8(count_bytes(_mm256_xor_si256(x, query)),
                           _mm256_setzero_si256());
}

/* Eight rows of half a vector each become keys together. Returns how many rows
 * are done, all but the last few. */
static size_t scan_halves(const struct vec_query *q, const uint8_t *rows,
                          size_t n, float *keys)
{
    const __m256i query =
        _mm256_broadcastsi128_si256(_mm_load_si128((const void *)q->code));
    const size_t stride = q->format->row_bytes;
    size_t i, k;

    for (i = 0; i + EIGHT <= n; i += EIGHT) {
        const uint8_t *row = rows + i * stride;
        __m256i pairs[2]; /* a count of rows 0 and 1, then the other one */
        __m256i bits;

#pragma GCC unroll 2
        for (k = 0; k < 2; k++) {
            pairs[k] = _mm256_or_si256(
                count_halves(query, row + 2 * k * stride, stride),
                _mm256_slli_epi64(
                    count_halves(query, row + (2 * k + 1) * stride, stride),
                    32));
        }
        bits = _mm256_add_epi32(_mm256_unpacklo_epi64(pairs[0], pairs[1]),
                                _mm256_unpackhi_epi64(pairs[0], pairs[1]));
        _mm256_storeu_ps(keys + i, eight_keys_of(q, bits));
    }
    return i;
}

static void scan(const struct vec_query *q, const uint8_t *rows, size_t n,
                 float *keys)
{
    const size_t row_bytes = q->format->row_bytes;
    const size_t done =
        q->format->code_bytes == HALF ? scan_halves(q, rows, n, keys) : 0;
    const struct vec_rows set = {rows + done * row_bytes, row_bytes, NULL,
                                 n - done};

    score_rows(q, &set, keys + done);
}

static void gather(const struct vec_query *q, const uint8_t *const *rows,
                   size_t n, float *keys)
{
    const struct vec_rows set = {NULL, 0, rows, n};

    score_rows(q, &set, keys);
}

/* Counting is what takes the time, and that cannot be shared; reading can. */
static void many(const struct vec_query *const *q, size_t nq,
                 const uint8_t *rows, size_t n, float *keys, size_t key_stride)
{
    const size_t row_bytes = q[0]->format->row_bytes;
    const size_t piece = row_bytes < PIECE / 4 ? PIECE / row_bytes & ~3u : 4;
    size_t i;
    size_t j;

    for (i = 0; i < n; i += piece) {
        for (j = 0; j < nq; j++) {
            scan(q[j], rows + i * row_bytes, n - i < piece ? n - i : piece,
                 keys + j * key_stride + i);
        }
    }
}

void vec_avx2_bit_fill(struct vec_kernels *k)
{
    int op;

    for (op = 0; op < VEC_OP_COUNT; op++) {
        k->scan[VEC_BIT][op] = scan;
        k->gather[VEC_BIT][op] = gather;
        k->many[VEC_BIT][op] = many;
    }
}
