/* I8 dot products and L2 with AVX-512 and VNNI.
 *
 * VPDPBUSD multiplies unsigned bytes by signed ones and adds groups of four to
 * 32-bit sums. Stored codes are made unsigned by flipping their top bit, which
 * adds 128 to each; the query's codes stay signed, so a row's sum comes out
 * larger by 128 times the sum of the query's codes, the same for all rows, and
 * is taken off in the end. Sums wrap modulo 2^32 and the true dot product fits
 * (65536 * 128 * 127 < 2^31), so nothing overflows. The query is padded with
 * zeros: what a load brings in from beyond the codes counts nothing.
 *
 * One query: sixteen rows, read one after the other, give sixteen vectors of
 * partial sums, added up together (lanes_avx512.h). Up to HELD blocks of the
 * query stay in registers.
 *
 * Several queries: per row and query even a sixteenth of adding up would be too
 * much. So 32 rows are transposed on the fly, 16 bytes at a time, until a
 * vector holds four components of each of sixteen rows; every query multiplies
 * its own four, broadcast, with them, and lane i of its sums is row i. The
 * broadcast serves two vectors, since loads are what there is least of. This
 * reads 32 rows at once, which no hardware prefetches, so it prefetches by
 * itself: from memory long before, then into the first cache for the next 32
 * (kernels_float.h says why twice). */
#include "vec/i8_avx512.h"
#include "vec/lanes_avx512.h"

enum {
    GROUP = 16,      /* rows added up together */
    HELD = 2,        /* most blocks of a query kept in registers */
    MANY = 8,        /* queries scored together */
    MANY_DIM = 2048, /* above, several queries go one by one */
    LINES = 5,       /* per 16 bytes of 16 rows, prefetched; 4.x needed */
    FAR = 12 * 1024  /* bytes from the next 32 rows on to where
                      * prefetching from memory is */
};

/* ---- one query --------------------------------------------------------- */

/* The query's vectors that may stay in registers. */
struct held {
    __m512i block[HELD];
    __m512i tail[4];
};

ALWAYS_INLINE VNNI __m512i dot_block(__m512i sum, const uint8_t *row,
                                     __m512i query)
{
    return _mm512_dpbusd_epi32(sum, flipped(_mm512_loadu_si512(row)), query);
}

/* The whole blocks of a row; `blocks` is a constant. */
ALWAYS_INLINE VNNI __m512i dot_held(const struct held *held, const uint8_t *row,
                                    size_t blocks)
{
    __m512i sum = _mm512_setzero_si512();
    size_t b;

#pragma GCC unroll 2
    for (b = 0; b < blocks; b++) {
        sum = dot_block(sum, row + 64 * b, held->block[b]);
    }
    return sum;
}

/* The same with the query in memory. Unrolled by hand: the fewer instructions
 * per load, the further the processor runs ahead of memory. */
ALWAYS_INLINE VNNI __m512i dot_long(const uint8_t *q, const uint8_t *row,
                                    size_t blocks)
{
    __m512i sum = _mm512_setzero_si512();
    size_t i;

    for (i = blocks / 4; i > 0; i--) {
        sum = dot_block(sum, row, _mm512_load_si512(q));
        sum = dot_block(sum, row + 64, _mm512_load_si512(q + 64));
        sum = dot_block(sum, row + 128, _mm512_load_si512(q + 128));
        sum = dot_block(sum, row + 192, _mm512_load_si512(q + 192));
        q += 256;
        row += 256;
    }
    for (i = blocks % 4; i > 0; i--) {
        sum = dot_block(sum, row, _mm512_load_si512(q));
        q += 64;
        row += 64;
    }
    return sum;
}

/* Of x[k] 32-bit lane first + k; the other lanes are of no matter. */
ALWAYS_INLINE __m512i merge_lanes(const __m512i *x, size_t first)
{
    __m512i low = _mm512_mask_blend_epi32((__mmask16)(2u << first), x[0], x[1]);
    __m512i high =
        _mm512_mask_blend_epi32((__mmask16)(8u << first), x[2], x[3]);

    return _mm512_mask_blend_epi32((__mmask16)(0xcu << first), low, high);
}

/* Four rows: their sums folded to one vector, and their last factors in the
 * upper 128 bits of *last, for L2 also those before these in *before. Still
 * flipped. n_held is a constant, the whole blocks, or 0 to read the query from
 * memory. */
ALWAYS_INLINE VNNI __m512 dot_four(const struct vec_query *q,
                                   const struct held *held,
                                   const uint8_t *const *row, size_t n_held,
                                   __m512i *last, __m512i *before)
{
    const size_t blocks = vec_i8_whole_blocks(q->format);
    const size_t tail_at = vec_i8_tail_at(q->format, 0);
    __m512 sums[4];
    __m512i x[4];
    size_t k;

#pragma GCC unroll 4
    for (k = 0; k < 4; k++) {
        __m512i sum = n_held > 0 ? dot_held(held, row[k], n_held)
                                 : dot_long(q->code, row[k], blocks);

        x[k] = flipped(_mm512_loadu_si512(row[k] + tail_at - 4 * k));
        sums[k] =
            _mm512_castsi512_ps(_mm512_dpbusd_epi32(sum, x[k], held->tail[k]));
    }
    *last = merge_lanes(x, 12);
    if (is_l2(q)) { /* one lane lower, and one lane up again */
        *before = merge_lanes(x, 11);
        *before = _mm512_alignr_epi32(*before, *before, 15);
    }
    return fold4(sums, true);
}

/* The upper 128 bits of four vectors, flipped back. */
ALWAYS_INLINE __m512i upper_lanes(const __m512i *v)
{
    __m512i low = _mm512_shuffle_i32x4(v[0], v[1], 0xff);
    __m512i high = _mm512_shuffle_i32x4(v[2], v[3], 0xff);

    return flipped(_mm512_shuffle_i32x4(low, high, 0x88));
}

/* Rows first to first + count - 1, count <= GROUP; the last one stands in for
 * what a last four lacks. */
ALWAYS_INLINE VNNI void score_group(const struct vec_query *q,
                                    const struct held *held,
                                    const struct vec_rows *rows, size_t first,
                                    size_t count, size_t n_held, bool fetch,
                                    float *keys)
{
    const size_t row_bytes = q->format->row_bytes;
    const uint8_t *next = rows->at ? NULL : vec_row(rows, first);
    __m512 folded[4];
    __m512i last[4];
    __m512i before[4];
    __m512i dots;
    __m512i sumsqs;
    __m512 scales;
    size_t g;
    size_t k;

    for (g = 0; g < 4; g++) {
        const uint8_t *row[4];

        if (4 * g >= count) {
            folded[g] = _mm512_setzero_ps();
            last[g] = _mm512_setzero_si512();
            before[g] = last[g];
            continue;
        }
        if (fetch) {
            vec_prefetch_four(rows, first + 4 * g + vec_gather_ahead(row_bytes),
                              row_bytes);
        }
#pragma GCC unroll 4
        for (k = 0; k < 4; k++) {
            const size_t i = 4 * g + k;

            row[k] =
                rows->at ? rows->at[first + (i < count ? i : count - 1)] : next;
            if (!rows->at && i + 1 < count) {
                next += rows->stride;
            }
        }
        folded[g] = dot_four(q, held, row, n_held, &last[g], &before[g]);
        VEC_KEEP_ORDER(next);
    }
    dots = _mm512_sub_epi32(_mm512_castps_si512(fold_wide4(folded, true)),
                            bias_of(q));
    sumsqs = upper_lanes(last); /* for L2 */
    scales = _mm512_div_ps(
        _mm512_castsi512_ps(is_l2(q) ? upper_lanes(before) : sumsqs),
        _mm512_set1_ps(127.0f));
    _mm512_mask_storeu_ps(keys, (__mmask16)((1u << count) - 1),
                          keys_of(q, dots, scales, sumsqs));
}

ALWAYS_INLINE VNNI void hold_query(struct held *held, const struct vec_query *q,
                                   size_t n_held)
{
    size_t k;

#pragma GCC unroll 4
    for (k = 0; k < 4; k++) {
        held->tail[k] = _mm512_load_si512(q->tails + 64 * k);
        HOLD_VECTOR(held->tail[k]);
    }
#pragma GCC unroll 2
    for (k = 0; k < n_held; k++) {
        held->block[k] = _mm512_load_si512(q->code + 64 * k);
        HOLD_VECTOR(held->block[k]);
    }
}

/* What remains after groups of sixteen. */
static NO_INLINE VNNI void score_rest(const struct vec_query *q,
                                      const struct vec_rows *rows, size_t first,
                                      float *keys)
{
    struct held held;

    hold_query(&held, q, 0);
    score_group(q, &held, rows, first, rows->n - first, 0, rows->at != NULL,
                keys);
}

ALWAYS_INLINE VNNI void score_rows(const struct vec_query *q,
                                   const struct vec_rows *rows, size_t n_held,
                                   float *keys)
{
    const size_t row_bytes = q->format->row_bytes;
    struct held held;
    size_t i;

    hold_query(&held, q, n_held);
    for (i = 0; rows->at && i < vec_gather_ahead(row_bytes); i += 4) {
        vec_prefetch_four(rows, i, row_bytes);
    }
    for (i = 0; i + GROUP <= rows->n; i += GROUP) {
        score_group(q, &held, rows, i, GROUP, n_held, rows->at != NULL,
                    keys + i);
    }
    if (i < rows->n) {
        score_rest(q, rows, i, keys + i);
    }
}

/* Dimensions up to about 180 have the query in registers. For longer rows that
 * was faster within the caches, by a fifth at 768, but not from memory. */
static VNNI void scan(const struct vec_query *q, const uint8_t *rows, size_t n,
                      float *keys)
{
    const struct vec_rows set = {rows, q->format->row_bytes, NULL, n};

    if (!q->tails) {
        vec_avx2_i8_scan(q, rows, n, keys);
        return;
    }
    switch (vec_i8_whole_blocks(q->format)) {
    case 1:
        score_rows(q, &set, 1, keys);
        break;
    case HELD:
        score_rows(q, &set, HELD, keys);
        break;
    default:
        score_rows(q, &set, 0, keys);
        break;
    }
}

static VNNI void gather(const struct vec_query *q, const uint8_t *const *rows,
                        size_t n, float *keys)
{
    const struct vec_rows set = {NULL, 0, rows, n};

    if (q->tails) {
        score_rows(q, &set, 0, keys);
    } else {
        vec_avx2_i8_gather(q, rows, n, keys);
    }
}

/* Rows that are in the cache or on their way there, most often fewer than
 * sixteen: four by four, the number of whole blocks a constant where rows are
 * short. */
ALWAYS_INLINE VNNI void score_fetched(const struct vec_query *q,
                                      const struct vec_rows *rows,
                                      size_t n_held, float *keys)
{
    struct held held;
    size_t i;

    hold_query(&held, q, n_held);
    for (i = 0; i < rows->n; i += GROUP) {
        const size_t left = rows->n - i;

        score_group(q, &held, rows, i, left < GROUP ? left : GROUP, n_held,
                    false, keys + i);
    }
}

static VNNI void fetched(const struct vec_query *q, const uint8_t *const *rows,
                         size_t n, float *keys)
{
    const struct vec_rows set = {NULL, 0, rows, n};

    if (!q->tails) {
        vec_avx2_i8_gather(q, rows, n, keys);
        return;
    }
    switch (vec_i8_whole_blocks(q->format)) {
    case 1:
        score_fetched(q, &set, 1, keys);
        break;
    case HELD:
        score_fetched(q, &set, HELD, keys);
        break;
    default:
        score_fetched(q, &set, 0, keys);
        break;
    }
}

/* ---- several queries --------------------------------------------------- */

/* Queries in the order in which they are used: of each, four codes, then the
 * next four. nq counts stand-ins, q[j] for j >= live, too. */
struct batch {
    const struct vec_query *const *q;
    size_t live;
    const uint32_t *words;
    float *keys;
    size_t key_stride;
};

/* Multiplies four components of 32 rows with those of nq queries. */
ALWAYS_INLINE VNNI void multiply(__m512i (*sums)[2], size_t nq,
                                 const uint32_t *words, __m512i low,
                                 __m512i high)
{
    size_t j;

#pragma GCC unroll 8
    for (j = 0; j < nq; j++) {
        __m512i word = _mm512_set1_epi32((int32_t)words[j]);

        HOLD_VECTOR(word);
        sums[j][0] = _mm512_dpbusd_epi32(sums[j][0], low, word);
        sums[j][1] = _mm512_dpbusd_epi32(sums[j][1], high, word);
    }
}

/* 32 rows for nq queries, a constant. */
ALWAYS_INLINE VNNI void score_many(const struct batch *batch, size_t nq,
                                   const uint8_t *rows, size_t first)
{
    const struct vec_format *f = batch->q[0]->format;
    const size_t stride = f->row_bytes;
    const uint8_t *ahead = rows + 2 * GROUP * stride;
    const uint8_t *p = rows;
    const uint8_t *const end = rows + (f->dim & ~15u);
    const uint32_t *words = batch->words;
    __m512i sums[MANY][2];
    __m512i x[2][4];
    __m512 scales[2];
    __m512i sumsqs[2];
    size_t j;
    size_t w;

#pragma GCC unroll 8
    for (j = 0; j < nq; j++) {
        sums[j][0] = _mm512_sub_epi32(
            _mm512_setzero_si512(), bias_of(batch->q[j < batch->live ? j : 0]));
        sums[j][1] = sums[j][0];
    }
    for (; p < end; p += 16) {
        transpose(p, stride, x[0]);
        transpose(p + GROUP * stride, stride, x[1]);
#pragma GCC unroll 10
        for (w = 0; w < 2 * LINES; w++) {
            _mm_prefetch(ahead + FAR, _MM_HINT_T1);
            _mm_prefetch(ahead, _MM_HINT_T0);
            ahead += CACHE_LINE;
        }
#pragma GCC unroll 4
        for (w = 0; w < 4; w++) {
            multiply(sums, nq, words, x[0][w], x[1][w]);
            words += nq;
        }
    }
    if (f->dim % 16 > 0) {
        transpose(p, stride, x[0]);
        transpose(p + GROUP * stride, stride, x[1]);
#pragma GCC unroll 4
        for (w = 0; w < 4; w++) {
            if (4 * w < f->dim % 16) {
                multiply(sums, nq, words, x[0][w], x[1][w]);
                words += nq;
            }
        }
    }
#pragma GCC unroll 2
    for (w = 0; w < 2; w++) {
        const uint8_t *group = rows + w * GROUP * stride;

        scales[w] = _mm512_div_ps(load_factors(group, stride, f->factor_at + 4),
                                  _mm512_set1_ps(127.0f));
        sumsqs[w] = is_l2(batch->q[0]) ? _mm512_castps_si512(load_factors(
                                             group, stride, f->factor_at + 8))
                                       : _mm512_setzero_si512();
    }
#pragma GCC unroll 8
    for (j = 0; j < nq; j++) {
        float *keys = batch->keys + j * batch->key_stride + first;

        if (j >= batch->live) {
            break;
        }
        _mm512_storeu_ps(
            keys, keys_of(batch->q[j], sums[j][0], scales[0], sumsqs[0]));
        _mm512_storeu_ps(keys + GROUP, keys_of(batch->q[j], sums[j][1],
                                               scales[1], sumsqs[1]));
    }
}

/* All whole 32 rows for up to nq queries; what is left is not done here. */
ALWAYS_INLINE VNNI void score_batch(const struct vec_query *const *q,
                                    size_t live, size_t nq, const uint8_t *rows,
                                    size_t n, float *keys, size_t key_stride)
{
    const struct vec_format *f = q[0]->format;
    uint32_t words[MANY * MANY_DIM / 4];
    const struct batch batch = {q, live, words, keys, key_stride};
    size_t i;
    size_t j;

    for (i = 0; 4 * i < f->dim; i++) {
        for (j = 0; j < nq; j++) {
            words[i * nq + j] = j < live ? vec_load_u32(q[j]->code + 4 * i) : 0;
        }
    }
    for (i = 0; i + 2 * GROUP <= n; i += 2 * GROUP) {
        score_many(&batch, nq, rows + i * f->row_bytes, i);
    }
}

/* Few instances: a batch is rounded up with stand-ins. */
static VNNI void many(const struct vec_query *const *q, size_t nq,
                      const uint8_t *rows, size_t n, float *keys,
                      size_t key_stride)
{
    const size_t row_bytes = q[0]->format->row_bytes;
    const bool together = q[0]->format->dim <= MANY_DIM;
    const size_t whole = together ? n - n % (2 * GROUP) : 0;
    const size_t passes = (nq + MANY - 1) / MANY;
    size_t p;
    size_t i;
    size_t j;

    for (p = 0; p < passes && whole > 0; p++) {
        const size_t from = p * nq / passes;
        const size_t live = (p + 1) * nq / passes - from;
        const struct vec_query *const *some = q + from;
        float *out = keys + from * key_stride;

        if (live <= 2) {
            score_batch(some, live, 2, rows, whole, out, key_stride);
        } else if (live <= 4) {
            score_batch(some, live, 4, rows, whole, out, key_stride);
        } else {
            score_batch(some, live, MANY, rows, whole, out, key_stride);
        }
    }
    for (i = whole; i < n; i += GROUP) {
        const size_t count = n - i < GROUP ? n - i : GROUP;

        for (j = 0; j < nq; j++) {
            scan(q[j], rows + i * row_bytes, count, keys + j * key_stride + i);
        }
    }
}

void vec_avx512_i8_fill(struct vec_kernels *k)
{
    int op;

    k->i8_by_tails = true;
    for (op = VEC_OP_DOT; op <= VEC_OP_L2; op++) {
        k->scan[VEC_I8][op] = scan;
        k->gather[VEC_I8][op] = gather;
        k->fetched[VEC_I8][op] = fetched;
        k->many[VEC_I8][op] = many;
    }
}
