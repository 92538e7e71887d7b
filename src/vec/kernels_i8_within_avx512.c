/* I8 rows that are near enough to one of many queries, with AVX-512 and VNNI.
 *
 * As vec_scan_many(), 32 rows are turned until a vector holds four components
 * of each of sixteen; here they are written down like that, once for up to
 * 64 queries, which multiply them eight at a time. So what is left per row and
 * query is two multiplications for 128 bytes and little else: 64 queries take
 * 2.4 cycles each for a row of 128 on Zen 4, and two of them are the
 * multiplications.
 *
 * Nearly no row is near enough. So sums are not made into keys: they are held,
 * in float, against what a sum would have to be, a little less than exactly.
 * Where a lane passes, the keys of its 32 rows are made and compared, which
 * gives what vec_scan() would have given. */
#include <float.h>
#include <math.h>

#include "vec/i8_avx512.h"
#include "vec/lanes_avx512.h"

enum {
    GROUP = 16,
    BLOCK = 2 * GROUP,
    TOGETHER = 8,     /* queries multiplied in registers */
    QUERIES_MIN = 16, /* fewer do as well without writing down */
    DIM_MAX = 2048,   /* of rows that are turned */
    ROOM = VEC_WITHIN_MAX + TOGETHER,
    CODES = 64 * 1024, /* bytes of queries taken along */
    LINES = 5,         /* per 16 bytes of 16 rows, prefetched; 4.x needed */
    FAR = 12 * 1024    /* see kernels_i8_avx512.c */
};

/* Lets through more than what is wanted, never less: a few units in the last
 * place of each term, and what a product of scales may lose at the lower end.
 */
#define SLACK      1e-5
#define SLACK_TINY 1e-28

/* What a row's sum is held against, by query. */
struct bounds {
    float least[ROOM];  /* dot products: of sum * scale of the row */
    float most[ROOM];   /* L2: of the row's own part less times * sum * scale */
    float times[ROOM];  /* L2 */
    int32_t bias[ROOM]; /* what a sum begins with */
};

/* 32 rows as all queries use them. */
struct turned {
    __m512i words[2 * DIM_MAX / 4];
    __m512 scales[2];
    __m512i sumsqs[2]; /* L2 */
    __m512 own[2];     /* L2: a little less than the row's part of a key */
};

static float least_dot(const struct vec_query *q, float limit)
{
    double away = (double)fabsf(q->key_add) + (double)fabsf(limit);
    double scale = (double)q->scale;
    double least;

    if (limit >= q->key_max || !(scale > 0)) {
        return -INFINITY;
    }
    least = ((double)q->key_add - (double)limit - SLACK * away - SLACK_TINY) /
            scale;
    return isnan(least) ? -INFINITY
                        : (float)fmin(fmax(least, -FLT_MAX), FLT_MAX);
}

static void bounds_set(struct bounds *b, size_t j, const struct vec_query *q,
                       float limit)
{
    b->bias[j] = (int32_t)(0u - 128u * (uint32_t)q->code_sum);
    b->least[j] = least_dot(q, limit);
    b->most[j] = (float)((double)limit - q->self * (1 - SLACK) +
                         SLACK * fabs((double)limit) + SLACK_TINY);
    b->times[j] = 2 * q->scale;
}

/* ---- 32 rows ----------------------------------------------------------- */

ALWAYS_INLINE void turn_rows(const struct vec_format *f, const uint8_t *rows,
                             struct turned *t)
{
    const size_t stride = f->row_bytes;
    const bool l2 = f->metric == VEC_L2;
    const uint8_t *ahead = rows + BLOCK * stride;
    __m512i *out = t->words;
    size_t at;
    size_t w;

    for (at = 0; at < f->dim; at += 16) {
        __m512i x[2][4];

        transpose(rows + at, stride, x[0]);
        transpose(rows + GROUP * stride + at, stride, x[1]);
#pragma GCC unroll 10
        for (w = 0; w < 2 * LINES; w++) {
            _mm_prefetch(ahead + FAR, _MM_HINT_T1);
            _mm_prefetch(ahead, _MM_HINT_T0);
            ahead += CACHE_LINE;
        }
#pragma GCC unroll 4
        for (w = 0; w < 4; w++) {
            out[2 * w] = x[0][w];
            out[2 * w + 1] = x[1][w];
        }
        out += 8;
    }
#pragma GCC unroll 2
    for (w = 0; w < 2; w++) {
        const uint8_t *group = rows + w * GROUP * stride;

        t->scales[w] =
            _mm512_div_ps(load_factors(group, stride, f->factor_at + 4),
                          _mm512_set1_ps(127.0f));
        if (l2) {
            t->sumsqs[w] = _mm512_castps_si512(
                load_factors(group, stride, f->factor_at + 8));
            t->own[w] =
                _mm512_mul_ps(_mm512_mul_ps(t->scales[w], t->scales[w]),
                              _mm512_mul_ps(_mm512_cvtepu32_ps(t->sumsqs[w]),
                                            _mm512_set1_ps(1 - (float)SLACK)));
        }
    }
}

/* Lanes that may be near enough. */
ALWAYS_INLINE __mmask16 hopeful(const struct bounds *b, size_t j, bool l2,
                                __m512i sums, const struct turned *t,
                                size_t half)
{
    __m512 sum = _mm512_mul_ps(_mm512_cvtepi32_ps(sums), t->scales[half]);

    if (l2) {
        sum = _mm512_fnmadd_ps(sum, _mm512_set1_ps(b->times[j]), t->own[half]);
        return _mm512_cmp_ps_mask(sum, _mm512_set1_ps(b->most[j]), _CMP_NGT_UQ);
    }
    return _mm512_cmp_ps_mask(sum, _mm512_set1_ps(b->least[j]), _CMP_NLT_UQ);
}

/* Makes the keys of 32 rows, and says which are near enough. */
static NO_INLINE uint32_t note_keys(const struct vec_query *q, float limit,
                                    const __m512i *sums, const struct turned *t,
                                    float *keys)
{
    uint32_t mask = 0;
    size_t half;

    for (half = 0; half < 2; half++) {
        __m512 key = keys_of(q, sums[half], t->scales[half], t->sumsqs[half]);

        _mm512_storeu_ps(keys + half * GROUP, key);
        mask |= (uint32_t)_mm512_cmp_ps_mask(key, _mm512_set1_ps(limit),
                                             _CMP_NGT_UQ)
                << (half * GROUP);
    }
    return mask;
}

/* Some queries, and where what they find goes. */
struct group {
    const struct vec_query *const *q;
    const float *limits;
    const struct bounds *bounds;
    size_t first;         /* of these queries */
    const uint8_t *codes; /* of all queries, code_step apart */
    size_t code_step;
    size_t live;
    struct vec_within out;
};

/* vpdpbusd, in its place: given the intrinsic, GCC copies sums about and has
 * some of them go through memory, which cost a third. */
#define ADD_DOT(sum, rows, word)                                               \
    __asm__("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(rows), "v"(word))

/* Multiplies 32 rows with n queries, a constant; those past g->live stand in.
 */
ALWAYS_INLINE VNNI void score_turned(const struct group *g, size_t n,
                                     const struct turned *t, size_t n_words,
                                     size_t row, bool l2)
{
    const uint8_t *code[TOGETHER];
    const __m512i *x = t->words;
    __m512i sums[TOGETHER][2];
    size_t at, j;

#pragma GCC unroll 8
    for (j = 0; j < n; j++) {
        code[j] = g->codes + j * g->code_step;
        sums[j][0] = _mm512_set1_epi32(g->bounds->bias[g->first + j]);
        sums[j][1] = sums[j][0];
    }
    for (at = 0; at < n_words; at++) {
        const __m512i low = x[2 * at];
        const __m512i high = x[2 * at + 1];

#pragma GCC unroll 8
        for (j = 0; j < n; j++) {
            __m512i word =
                _mm512_set1_epi32((int32_t)vec_load_u32(code[j] + 4 * at));

            HOLD_VECTOR(word);
            ADD_DOT(sums[j][0], low, word);
            ADD_DOT(sums[j][1], high, word);
        }
    }
#pragma GCC unroll 8
    for (j = 0; j < n; j++) {
        uint32_t mask;

        if (j >= g->live) {
            break;
        }
        mask =
            (uint32_t)hopeful(g->bounds, g->first + j, l2, sums[j][0], t, 0) |
            (uint32_t)hopeful(g->bounds, g->first + j, l2, sums[j][1], t, 1);
        if (UNLIKELY(mask)) {
            /* By way of a copy: an array that is pointed at is in memory. */
            const __m512i both[2] = {sums[j][0], sums[j][1]};

            mask = note_keys(g->q[j], g->limits[j], both, t,
                             g->out.keys + j * g->out.key_stride + row);
        }
        g->out.masks[j * g->out.mask_stride + row / BLOCK] = mask;
    }
}

/* A function of its own has the registers to itself. */
#define INSTANCE(n, name, l2)                                                  \
    static NO_INLINE VNNI void score_##n##_##name(const struct group *g,       \
                                                  const struct turned *t,      \
                                                  size_t n_words, size_t row)  \
    {                                                                          \
        score_turned(g, n, t, n_words, row, l2);                               \
    }

INSTANCE(2, dot, false)
INSTANCE(4, dot, false)
INSTANCE(8, dot, false)
INSTANCE(2, l2, true)
INSTANCE(4, l2, true)
INSTANCE(8, l2, true)

ALWAYS_INLINE VNNI void score_block(const struct group *all,
                                    const struct turned *t, size_t n_words,
                                    size_t row, bool l2)
{
    struct group g = *all;
    size_t done;

    for (done = 0; done < all->live; done += TOGETHER) {
        g.live = all->live - done;
        if (g.live > 4) {
            (l2 ? score_8_l2 : score_8_dot)(&g, t, n_words, row);
        } else if (g.live > 2) {
            (l2 ? score_4_l2 : score_4_dot)(&g, t, n_words, row);
        } else {
            (l2 ? score_2_l2 : score_2_dot)(&g, t, n_words, row);
        }
        g.q += TOGETHER;
        g.limits += TOGETHER;
        g.first += TOGETHER;
        g.codes += TOGETHER * g.code_step;
        g.out.keys += TOGETHER * g.out.key_stride;
        g.out.masks += TOGETHER * g.out.mask_stride;
    }
}

/* ---- all of them ------------------------------------------------------- */

/* Codes of queries side by side: their blocks of memory tend to lie pages
 * apart, where the first cache has room for few of them. */
ALWAYS_INLINE VNNI void score_some(const struct vec_query *const *q, size_t nq,
                                   const float *limits, const uint8_t *rows,
                                   size_t n, const struct vec_within *out)
{
    const struct vec_format *f = q[0]->format;
    const size_t n_words = (f->dim + 3) / 4;
    struct bounds bounds;
    _Alignas(VEC_ALIGN) uint8_t codes[CODES];
    struct group all = {q,  limits, &bounds, 0, codes, VEC_ALIGN * q[0]->blocks,
                        nq, *out};
    struct turned t;
    size_t i, j;

    memset(&bounds, 0, sizeof(bounds));
    for (j = 0; j < nq; j++) {
        memcpy(codes + j * all.code_step, q[j]->code, all.code_step);
        bounds_set(&bounds, j, q[j], limits[j]);
    }
    for (; j % TOGETHER; j++) {
        memset(codes + j * all.code_step, 0, all.code_step);
    }
    for (i = 0; i < n; i += BLOCK) {
        turn_rows(f, rows + i * f->row_bytes, &t);
        if (f->metric == VEC_L2) {
            score_block(&all, &t, n_words, i, true);
        } else {
            score_block(&all, &t, n_words, i, false);
        }
    }
}

static VNNI bool within(const struct vec_query *const *q, size_t nq,
                        const float *limits, const uint8_t *rows, size_t n,
                        const struct vec_within *out)
{
    const size_t step = VEC_ALIGN * q[0]->blocks;
    const size_t most = CODES / step / TOGETHER * TOGETHER;
    struct vec_within some = *out;
    size_t done;

    if (nq < QUERIES_MIN || q[0]->format->dim > DIM_MAX) {
        return false;
    }
    for (done = 0; done < nq; done += most) {
        score_some(q + done, nq - done < most ? nq - done : most, limits + done,
                   rows, n, &some);
        some.keys += most * some.key_stride;
        some.masks += most * some.mask_stride;
    }
    return true;
}

void vec_avx512_i8_within_fill(struct vec_kernels *k)
{
    k->within[VEC_I8][VEC_OP_DOT] = within;
    k->within[VEC_I8][VEC_OP_L2] = within;
}
