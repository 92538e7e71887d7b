/* BIT rows with AVX-512 and VPOPCNTDQ: exclusive or, count, add.
 *
 * One query: rows are read one after the other, 64 bytes at a time, the last
 * ones under a mask. Counts fit 32 bits, so the 64-bit counts of two rows share
 * a vector before sixteen rows are added up together (lanes_avx512.h). Rows so
 * short that four fit a vector are counted by fours.
 *
 * Several queries: eight rows are transposed, 16 bytes at a time, until a
 * vector holds 64 components of each; every query meets them with its own 64,
 * broadcast. Prefetching is as in kernels_i8_avx512.c. */
#include "vec/vec_impl.h"

#include <immintrin.h>

#include "vec/lanes_avx512.h"

#define POPCNT __attribute__((target("avx512vpopcntdq")))

enum {
    GROUP = 16,
    EIGHT = 8,        /* rows of a vector when several queries meet them */
    MANY = 8,         /* queries scored together */
    MANY_WORDS = 256, /* of 64 components; above, queries go one by one */
    PIECE = 64,       /* rows that queries one by one take turns on */
    FAR = 12 * 1024   /* as in kernels_i8_avx512.c */
};

ALWAYS_INLINE __m512 keys_of(const struct vec_query *q, __m512i bits)
{
    __m512 sum = _mm512_add_ps(
        _mm512_set1_ps(q->key_add),
        _mm512_mul_ps(_mm512_set1_ps(q->key_mul), _mm512_cvtepi32_ps(bits)));

    return _mm512_div_ps(sum, _mm512_set1_ps(q->key_div));
}

/* ---- one query --------------------------------------------------------- */

enum { HELD = 3 }; /* most blocks of a query kept in registers */

/* How rows fall into blocks of 64 bytes, the last one perhaps in part; and the
 * query's blocks, where they are few enough to be held. */
struct split {
    size_t whole; /* all but the last */
    __mmask8 rest;
    __m512i held[HELD];
};

ALWAYS_INLINE struct split split_row(const struct vec_format *f)
{
    const size_t words = f->code_bytes / 8;
    struct split split;

    split.whole = (words - 1) / 8;
    split.rest = (__mmask8)((2u << ((words - 1) % 8)) - 1);
    return split;
}

ALWAYS_INLINE POPCNT __m512i count_block(__m512i sum, __m512i x, __m512i q)
{
    return _mm512_add_epi64(sum, _mm512_popcnt_epi64(_mm512_xor_si512(x, q)));
}

/* n_held is a constant: the number of blocks, or 0 to read the query. */
ALWAYS_INLINE POPCNT __m512i count_row(const struct split *split,
                                       const uint8_t *q, const uint8_t *row,
                                       size_t n_held)
{
    __m512i sum = _mm512_setzero_si512();
    size_t b;

    if (n_held > 0) {
#pragma GCC unroll 3
        for (b = 0; b + 1 < n_held; b++) {
            sum = count_block(sum, _mm512_loadu_si512(row + 64 * b),
                              split->held[b]);
        }
        return count_block(sum,
                           _mm512_maskz_loadu_epi64(split->rest, row + 64 * b),
                           split->held[b]);
    }
#pragma GCC unroll 4
    for (b = 0; b < split->whole; b++) {
        sum = count_block(sum, _mm512_loadu_si512(row + 64 * b),
                          _mm512_load_si512(q + 64 * b));
    }
    return count_block(sum, _mm512_maskz_loadu_epi64(split->rest, row + 64 * b),
                       _mm512_load_si512(q + 64 * b));
}

/* Rows first to first + count - 1, count <= GROUP; the last one stands in for
 * missing ones. */
ALWAYS_INLINE POPCNT void score_group(const struct vec_query *q,
                                      const struct split *split,
                                      const struct vec_rows *rows, size_t first,
                                      size_t count, size_t n_held, float *keys)
{
    const size_t row_bytes = q->format->row_bytes;
    const uint8_t *next = rows->at ? NULL : vec_row(rows, first);
    __m512 pairs[8];
    __m512 fours[4];
    __m512i bits;
    size_t i;
    size_t k;

    for (k = 0; rows->at && k < GROUP; k += 4) {
        vec_prefetch_four(rows, first + k + vec_gather_ahead(row_bytes),
                          row_bytes);
    }
#pragma GCC unroll 1
    for (k = 0; k < 8; k++) { /* the pairs rest in memory meanwhile */
        __m512i sums[2];

#pragma GCC unroll 2
        for (i = 0; i < 2; i++) {
            const size_t at = 2 * k + i;
            const uint8_t *row =
                rows->at ? rows->at[first + (at < count ? at : count - 1)]
                         : next;

            sums[i] = count_row(split, q->code, row, n_held);
            if (!rows->at && at + 1 < count) {
                next += rows->stride;
            }
            VEC_KEEP_ORDER(next);
        }
        pairs[k] = _mm512_castsi512_ps(
            _mm512_or_si512(sums[0], _mm512_slli_epi64(sums[1], 32)));
    }
    /* A pair's even lanes are one row's and its odd lanes the other's. */
#pragma GCC unroll 4
    for (k = 0; k < 4; k++) {
        fours[k] = fold_halves(pairs[2 * k], pairs[2 * k + 1], true);
    }
    bits = _mm512_castps_si512(fold_wide4(fours, true));
    _mm512_mask_storeu_ps(keys, (__mmask16)((1u << count) - 1),
                          keys_of(q, bits));
}

static NO_INLINE POPCNT void score_rest(const struct vec_query *q,
                                        const struct split *split,
                                        const struct vec_rows *rows,
                                        size_t first, float *keys)
{
    score_group(q, split, rows, first, rows->n - first, 0, keys);
}

ALWAYS_INLINE POPCNT void score_rows(const struct vec_query *q,
                                     const struct vec_rows *rows, size_t n_held,
                                     float *keys)
{
    const size_t row_bytes = q->format->row_bytes;
    struct split split = split_row(q->format);
    size_t i;

#pragma GCC unroll 3
    for (i = 0; i < n_held; i++) {
        split.held[i] = _mm512_load_si512(q->code + 64 * i);
        HOLD_VECTOR(split.held[i]);
    }
    for (i = 0; rows->at && i < vec_gather_ahead(row_bytes); i += 4) {
        vec_prefetch_four(rows, i, row_bytes);
    }
    for (i = 0; i + GROUP <= rows->n; i += GROUP) {
        score_group(q, &split, rows, i, GROUP, n_held, keys + i);
    }
    if (i < rows->n) {
        score_rest(q, &split, rows, i, keys + i);
    }
}

/* ---- one query, short rows --------------------------------------------- */

/* Up to 128 components, four rows fit a vector: two loads bring them in and one
 * shuffle takes the codes from between the norms. */
struct pick {
    __m512i index; /* into both loads, PICK_STEP bytes apart */
    __mmask16 mask;
};

enum { PICK_STEP = 16, SHORT = 16 };

ALWAYS_INLINE struct pick pick_codes(const struct vec_format *f)
{
    const uint32_t step = f->row_bytes / 4;
    const uint32_t words = f->code_bytes / 4;
    uint32_t index[16];
    struct pick pick = {.mask = 0};
    uint32_t l;

    for (l = 0; l < 16; l++) {
        const uint32_t at = l / 4 * step + l % 4;

        index[l] = at < 16 ? at : 16 + at - PICK_STEP / 4;
        pick.mask |= (__mmask16)((l % 4 < words) << l);
    }
    pick.index = _mm512_loadu_si512(index);
    return pick;
}

/* Rows 0 to 3: their two counts each, 64 bits wide. */
ALWAYS_INLINE POPCNT __m512i count_four(const struct pick *pick, __m512i query,
                                        const uint8_t *row)
{
    __m512i codes = _mm512_maskz_permutex2var_epi32(
        pick->mask, _mm512_loadu_si512(row), pick->index,
        _mm512_loadu_si512(row + PICK_STEP));

    return _mm512_popcnt_epi64(_mm512_xor_si512(codes, query));
}

ALWAYS_INLINE __m512i add_words(__m512i a, __m512i b)
{
    return _mm512_add_epi64(_mm512_unpacklo_epi64(a, b),
                            _mm512_unpackhi_epi64(a, b));
}

/* Rows of 16 bytes of code and 4 of norm: sixteen fill five blocks, so four
 * shuffles bring the codes together without a load that lies across two. */
enum { BLOCKS = 5, FIVE_ROW = 20 };

/* The words of rows 4 * k to 4 * k + 3 in blocks k and k + 1. Calculating them
 * would take a scan of a few hundred rows longer than some of its rows. */
#define FIVE_WORDS(at) (at), (at) + 1, (at) + 2, (at) + 3
#define FIVE_PICK(k)                                                           \
    {                                                                          \
        FIVE_WORDS(4 * (k)), FIVE_WORDS(4 * (k) + 5),                          \
            FIVE_WORDS(4 * (k) + 10), FIVE_WORDS(4 * (k) + 15),                \
    }

static const _Alignas(64) uint32_t five_pick[4][16] = {
    FIVE_PICK(0), FIVE_PICK(1), FIVE_PICK(2), FIVE_PICK(3)};

ALWAYS_INLINE POPCNT void load_five(const uint8_t *rows, __m512i query,
                                    const __m512i *pick, __m512i *counts)
{
    __m512i blocks[BLOCKS];
    size_t k;

#pragma GCC unroll 5
    for (k = 0; k < BLOCKS; k++) {
        blocks[k] = _mm512_loadu_si512(rows + 64 * k);
    }
#pragma GCC unroll 4
    for (k = 0; k < 4; k++) {
        counts[k] = _mm512_popcnt_epi64(_mm512_xor_si512(
            query,
            _mm512_permutex2var_epi32(blocks[k], pick[k], blocks[k + 1])));
    }
}

/* Keys of sixteen rows from the two counts of each. */
ALWAYS_INLINE POPCNT __m512 keys_of_counts(const struct vec_query *q,
                                           const __m512i *counts)
{
    /* Where add_words() and a merge of 32-bit halves leave each row. */
    const __m512i order =
        _mm512_setr_epi32(0, 4, 8, 12, 2, 6, 10, 14, 1, 5, 9, 13, 3, 7, 11, 15);
    __m512i a = add_words(counts[0], counts[1]);
    __m512i b = add_words(counts[2], counts[3]);
    __m512i bits = _mm512_or_si512(a, _mm512_slli_epi64(b, 32));

    return keys_of(q, _mm512_permutexvar_epi32(order, bits));
}

static POPCNT size_t scan_five(const struct vec_query *q, const uint8_t *rows,
                               size_t n, float *keys)
{
    const __m512i query =
        _mm512_broadcast_i32x4(_mm_load_si128((const void *)q->code));
    __m512i pick[4];
    size_t i;

    for (i = 0; i < ARRAY_LEN(pick); i++) {
        pick[i] = _mm512_load_si512(five_pick[i]);
    }
    for (i = 0; i + GROUP <= n; i += GROUP) {
        __m512i counts[4];

        load_five(rows + i * FIVE_ROW, query, pick, counts);
        _mm512_storeu_ps(keys + i, keys_of_counts(q, counts));
    }
    return i;
}

static POPCNT size_t scan_fours(const struct vec_query *q, const uint8_t *rows,
                                size_t n, float *keys)
{
    const struct pick pick = pick_codes(q->format);
    const __m512i query =
        _mm512_broadcast_i32x4(_mm_load_si128((const void *)q->code));
    const size_t four = 4 * q->format->row_bytes;
    size_t i;

    for (i = 0; i + GROUP <= n; i += GROUP) {
        __m512i counts[4];
        size_t k;

#pragma GCC unroll 4
        for (k = 0; k < 4; k++) {
            counts[k] = count_four(&pick, query, rows + k * four);
        }
        _mm512_storeu_ps(keys + i, keys_of_counts(q, counts));
        rows += 4 * four;
    }
    return i;
}

static POPCNT void scan_short(const struct vec_query *q, const uint8_t *rows,
                              size_t n, float *keys)
{
    const struct vec_rows set = {rows, q->format->row_bytes, NULL, n};
    const size_t done = q->format->row_bytes == FIVE_ROW
                            ? scan_five(q, rows, n, keys)
                            : scan_fours(q, rows, n, keys);

    if (done < n) {
        const struct split split = split_row(q->format);

        score_rest(q, &split, &set, done, keys + done);
    }
}

static POPCNT void scan(const struct vec_query *q, const uint8_t *rows,
                        size_t n, float *keys)
{
    const struct vec_rows set = {rows, q->format->row_bytes, NULL, n};

    if (q->format->code_bytes <= SHORT) {
        scan_short(q, rows, n, keys);
        return;
    }
    switch (q->blocks) {
    case 1:
        score_rows(q, &set, 1, keys);
        break;
    case 2:
        score_rows(q, &set, 2, keys);
        break;
    case HELD:
        score_rows(q, &set, HELD, keys);
        break;
    default:
        score_rows(q, &set, 0, keys);
        break;
    }
}

static POPCNT void gather(const struct vec_query *q, const uint8_t *const *rows,
                          size_t n, float *keys)
{
    const struct vec_rows set = {NULL, 0, rows, n};

    score_rows(q, &set, 0, keys);
}

/* ---- several queries --------------------------------------------------- */

/* 16 bytes of rows 0, 2, 4 and 6 from p on. */
ALWAYS_INLINE __m512i four_pieces(const uint8_t *p, size_t stride)
{
    __m256i low = _mm256_inserti128_si256(
        _mm256_castsi128_si256(_mm_loadu_si128((const void *)p)),
        _mm_loadu_si128((const void *)(p + 2 * stride)), 1);
    __m256i high = _mm256_inserti128_si256(
        _mm256_castsi128_si256(_mm_loadu_si128((const void *)(p + 4 * stride))),
        _mm_loadu_si128((const void *)(p + 6 * stride)), 1);

    return _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
}

/* Queries in the order in which they are used: a word of each, then the next
 * word. */
struct batch {
    const struct vec_query *const *q;
    size_t live; /* what follows up to a round number are stand-ins */
    const int64_t *words;
    float *keys;
    size_t key_stride;
};

ALWAYS_INLINE POPCNT void count_word(__m512i *sums, size_t nq,
                                     const int64_t *words, __m512i x)
{
    size_t j;

#pragma GCC unroll 8
    for (j = 0; j < nq; j++) {
        sums[j] = count_block(sums[j], x, _mm512_set1_epi64(words[j]));
    }
}

/* Eight rows for nq queries, a constant. */
ALWAYS_INLINE POPCNT void score_eight(const struct batch *batch, size_t nq,
                                      const uint8_t *rows, size_t first)
{
    const struct vec_format *f = batch->q[0]->format;
    const size_t stride = f->row_bytes;
    const uint8_t *ahead = rows + EIGHT * stride;
    const int64_t *words = batch->words;
    __m512i sums[MANY];
    size_t at;
    size_t j;

#pragma GCC unroll 8
    for (j = 0; j < nq; j++) {
        sums[j] = _mm512_setzero_si512();
    }
    for (at = 0; at < f->code_bytes; at += 16) {
        __m512i even = four_pieces(rows + at, stride);
        __m512i odd = four_pieces(rows + at + stride, stride);

#pragma GCC unroll 3
        for (j = 0; j < 3; j++) {
            _mm_prefetch(ahead + FAR, _MM_HINT_T1);
            _mm_prefetch(ahead, _MM_HINT_T0);
            ahead += CACHE_LINE;
        }
        count_word(sums, nq, words, _mm512_unpacklo_epi64(even, odd));
        if (at + 8 < f->code_bytes) {
            count_word(sums, nq, words + nq, _mm512_unpackhi_epi64(even, odd));
        }
        words += 2 * nq;
    }
#pragma GCC unroll 8
    for (j = 0; j < nq; j++) {
        __m512i bits = _mm512_castsi256_si512(_mm512_cvtepi64_epi32(sums[j]));

        if (j >= batch->live) {
            break;
        }
        _mm256_storeu_ps(batch->keys + j * batch->key_stride + first,
                         _mm512_castps512_ps256(keys_of(batch->q[j], bits)));
    }
}

static POPCNT void score_batch(const struct vec_query *const *q, size_t live,
                               const uint8_t *rows, size_t n, float *keys,
                               size_t key_stride)
{
    const struct vec_format *f = q[0]->format;
    const size_t nq = live <= MANY / 2 ? MANY / 2 : MANY;
    int64_t words[MANY * MANY_WORDS];
    const struct batch batch = {q, live, words, keys, key_stride};
    size_t i;
    size_t j;

    for (i = 0; 8 * i < f->code_bytes; i++) {
        for (j = 0; j < nq; j++) {
            memcpy(&words[i * nq + j], q[j < live ? j : 0]->code + 8 * i, 8);
        }
    }
    for (i = 0; i < n; i += EIGHT) {
        if (nq == MANY) {
            score_eight(&batch, MANY, rows + i * f->row_bytes, i);
        } else {
            score_eight(&batch, MANY / 2, rows + i * f->row_bytes, i);
        }
    }
}

/* Few queries, long rows and the last rows go one query after the other, in
 * pieces that stay in the cache. */
static POPCNT void many(const struct vec_query *const *q, size_t nq,
                        const uint8_t *rows, size_t n, float *keys,
                        size_t key_stride)
{
    const size_t row_bytes = q[0]->format->row_bytes;
    const bool together = nq > 3 && q[0]->format->code_bytes <= 8 * MANY_WORDS;
    const size_t whole = together ? n - n % EIGHT : 0;
    const size_t passes = (nq + MANY - 1) / MANY;
    size_t p;
    size_t i;
    size_t j;

    for (p = 0; p < passes && whole > 0; p++) {
        const size_t from = p * nq / passes;
        const size_t live = (p + 1) * nq / passes - from;

        score_batch(q + from, live, rows, whole, keys + from * key_stride,
                    key_stride);
    }
    for (i = whole; i < n; i += PIECE) {
        const size_t count = n - i < PIECE ? n - i : PIECE;

        for (j = 0; j < nq; j++) {
            scan(q[j], rows + i * row_bytes, count, keys + j * key_stride + i);
        }
    }
}

void vec_avx512_bit_fill(struct vec_kernels *k)
{
    int op;

    for (op = 0; op < VEC_OP_COUNT; op++) {
        k->scan[VEC_BIT][op] = scan;
        k->gather[VEC_BIT][op] = gather;
        k->many[VEC_BIT][op] = many;
    }
}
