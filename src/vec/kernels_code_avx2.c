/* Making rows, conversions, projection and selection with AVX2, FMA and F16C:
 * as kernels_code_avx512.c, in half the width. Rows come out as from
 * kernels_scalar.c, to the bit. What is left over at the end of a vector goes
 * through the same steps in a padded copy. */
#include "vec/vec_impl.h"

#include <immintrin.h>
#include <math.h>

#include "vec/lanes_avx2.h"

enum { LANES = 8 };

/* Eight components from i on, zeros beyond n. */
ALWAYS_INLINE __m256 load_some(const uint8_t *x, size_t i, size_t n)
{
    const void *p = x + 4 * i;

    return i + LANES <= n ? _mm256_loadu_ps(p)
                          : _mm256_maskload_ps(p, first_of_eight(n - i));
}

ALWAYS_INLINE size_t some(size_t i, size_t n)
{
    return n - i < LANES ? n - i : LANES;
}

/* ---- rows -------------------------------------------------------------- */

ALWAYS_INLINE float add_links(float sum, __m256 squares)
{
    __m256 link = _mm256_add_ps(squares, _mm256_permute_ps(squares, 0x55));

    link = _mm256_add_ps(link, _mm256_permute_ps(squares, 0xaa));
    link = _mm256_add_ps(link, _mm256_permute_ps(squares, 0xff));
    sum += _mm256_cvtss_f32(link);
    sum += _mm_cvtss_f32(_mm256_extractf128_ps(link, 1));
    return sum;
}

ALWAYS_INLINE __m256 absolute(__m256 v)
{
    return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), v);
}

static void measure(const uint8_t *x, size_t n, struct vec_measure *m)
{
    __m256 max = _mm256_set1_ps(m->max_abs);
    float lanes[LANES];
    float sum = m->sumsq;
    size_t i;
    size_t k;

    for (i = 0; i + LANES <= n; i += LANES) {
        __m256 v = load_some(x, i, n);

        max = _mm256_max_ps(max, absolute(v));
        sum = add_links(sum, _mm256_mul_ps(v, v));
    }
    if (i < n) {
        __m256 v = load_some(x, i, n);

        max = _mm256_max_ps(max, absolute(v));
        _mm256_storeu_ps(lanes, _mm256_mul_ps(v, v));
        k = 0;
        if (n - i >= 4) {
            sum += lanes[0] + lanes[1] + lanes[2] + lanes[3];
            k = 4;
        }
        for (; k < n - i; k++) {
            sum += lanes[k];
        }
    }
    _mm256_storeu_ps(lanes, max);
    m->max_abs = 0;
    for (k = 0; k < LANES; k++) {
        m->max_abs = lanes[k] > m->max_abs ? lanes[k] : m->max_abs;
    }
    m->sumsq = sum;
}

/* x / norm */
ALWAYS_INLINE __m256 load_unit(const uint8_t *x, size_t i, size_t n, float norm)
{
    return _mm256_div_ps(load_some(x, i, n), _mm256_set1_ps(norm));
}

static void put_f32(const uint8_t *x, size_t n, float norm, uint8_t *out)
{
    size_t i;

    for (i = 0; i < n; i += LANES) {
        __m256 v = load_unit(x, i, n, norm);

        memcpy(out + 4 * i, &v, 4 * some(i, n));
    }
}

static void put_f16(const uint8_t *x, size_t n, float norm, uint8_t *out)
{
    size_t i;

    for (i = 0; i < n; i += LANES) {
        __m128i halves = _mm256_cvtps_ph(load_unit(x, i, n, norm),
                                         _MM_FROUND_TO_NEAREST_INT);

        memcpy(out + 2 * i, &halves, 2 * some(i, n));
    }
}

/* The lower halves of eight 32-bit numbers that fit 16 bits unsigned. */
ALWAYS_INLINE __m128i pack_halves(__m256i v)
{
    return _mm_packus_epi32(_mm256_castsi256_si128(v),
                            _mm256_extracti128_si256(v, 1));
}

static void put_bf16(const uint8_t *x, size_t n, float norm, uint8_t *out)
{
    const __m256i half = _mm256_set1_epi32(0x7fff);
    const __m256i one = _mm256_set1_epi32(1);
    size_t i;

    for (i = 0; i < n; i += LANES) {
        __m256i bits = _mm256_castps_si256(load_unit(x, i, n, norm));
        __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), one);
        __m128i halves;

        bits = _mm256_add_epi32(bits, _mm256_add_epi32(half, odd));
        halves = pack_halves(_mm256_srli_epi32(bits, 16));
        memcpy(out + 2 * i, &halves, 2 * some(i, n));
    }
}

static void put_i8(const uint8_t *x, size_t n, float norm, float mul,
                   uint8_t *out)
{
    const __m256 sign = _mm256_set1_ps(-0.0f);
    const __m256 half = _mm256_set1_ps(0x1.fffffep-2f);
    size_t i;

    for (i = 0; i < n; i += LANES) {
        __m256 v = _mm256_mul_ps(load_unit(x, i, n, norm), _mm256_set1_ps(mul));
        __m256 away = _mm256_or_ps(half, _mm256_and_ps(v, sign));
        __m256i codes = _mm256_cvttps_epi32(_mm256_add_ps(v, away));
        __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(codes),
                                        _mm256_extracti128_si256(codes, 1));
        __m128i bytes = _mm_packs_epi16(words, words);

        memcpy(out + i, &bytes, some(i, n));
    }
}

static void put_bit(const uint8_t *x, size_t n, uint8_t *out)
{
    size_t i;

    memset(out, 0, (n + 63) / 64 * 8);
    for (i = 0; i < n; i += LANES) {
        out[i / 8] = (uint8_t)_mm256_movemask_ps(
            _mm256_cmp_ps(load_some(x, i, n), _mm256_setzero_ps(), _CMP_GT_OQ));
    }
}

/* ---- conversions ------------------------------------------------------- */

ALWAYS_INLINE __m128i load_halves(const uint8_t *in, size_t i, size_t n)
{
    __m128i halves = _mm_setzero_si128();

    memcpy(&halves, in + 2 * i, 2 * some(i, n));
    return halves;
}

static void widen_f16(const uint8_t *in, size_t n, float *out)
{
    size_t i;

    for (i = 0; i < n; i += LANES) {
        __m256 v = _mm256_cvtph_ps(load_halves(in, i, n));

        memcpy(out + i, &v, 4 * some(i, n));
    }
}

static void widen_bf16(const uint8_t *in, size_t n, float *out)
{
    size_t i;

    for (i = 0; i < n; i += LANES) {
        __m256i v =
            _mm256_slli_epi32(_mm256_cvtepu16_epi32(load_halves(in, i, n)), 16);

        memcpy(out + i, &v, 4 * some(i, n));
    }
}

/* ---- projection: see kernels_code_avx512.c ----------------------------- */

enum { AT_ONCE = 8 };

/* Lanes l in which popcount(l & j) is odd, for j of three bits. */
ALWAYS_INLINE __m256 odd_lanes(uint32_t j)
{
    static const uint8_t odd[LANES] = {0x00, 0xaa, 0xcc, 0x66,
                                       0xf0, 0x5a, 0x3c, 0x96};
    const __m256i bits = _mm256_set_epi32(128, 64, 32, 16, 8, 4, 2, 1);
    __m256i mask = _mm256_and_si256(_mm256_set1_epi32(odd[j]), bits);

    return _mm256_castsi256_ps(_mm256_cmpeq_epi32(mask, bits));
}

static void project_some(const uint8_t *x, uint32_t in_dim, float s,
                         uint32_t from, float *out, uint32_t out_dim)
{
    __m256 sums[AT_ONCE];
    __m256 flip[LANES];
    float signs[AT_ONCE];
    uint32_t j;
    uint32_t k;

#pragma GCC unroll 8
    for (k = 0; k < LANES; k++) {
        flip[k] = _mm256_and_ps(odd_lanes(k), _mm256_set1_ps(-0.0f));
        sums[k] = _mm256_setzero_ps();
        signs[k] = 1.0f;
    }
    for (j = 0; j < in_dim; j++) {
        __m256 v = _mm256_set1_ps(vec_load_f32(x + 4 * (size_t)j) * s);

        if (j % LANES == 0) {
            for (k = 0; k < AT_ONCE; k++) {
                int odd = __builtin_parity((from + LANES * k) & j);

                signs[k] = odd ? -1.0f : 1.0f;
            }
        }
        v = _mm256_xor_ps(v, flip[j % LANES]);
#pragma GCC unroll 8
        for (k = 0; k < AT_ONCE; k++) {
            sums[k] =
                _mm256_fmadd_ps(v, _mm256_broadcast_ss(&signs[k]), sums[k]);
        }
    }
#pragma GCC unroll 8
    for (k = 0; k < AT_ONCE; k++) {
        const uint32_t i = from + LANES * k;

        if (i < out_dim) {
            memcpy(out + i, &sums[k], 4 * some(i, out_dim));
        }
    }
}

static void project(const uint8_t *x, uint32_t in_dim, float *out,
                    uint32_t out_dim)
{
    const float s = (float)(1.0 / sqrt((double)in_dim));
    uint32_t from;

    for (from = 0; from < out_dim; from += LANES * AT_ONCE) {
        project_some(x, in_dim, s, from, out, out_dim);
    }
}

/* ---- selection --------------------------------------------------------- */

static size_t select_keys(const float *keys, size_t n, float limit,
                          uint32_t *at)
{
    const __m256 limits = _mm256_set1_ps(limit);
    size_t count = 0;
    size_t i;

    for (i = 0; i + LANES <= n; i += LANES) {
        unsigned mask = (unsigned)_mm256_movemask_ps(
            _mm256_cmp_ps(_mm256_loadu_ps(keys + i), limits, _CMP_NGT_UQ));

        for (; mask; mask &= mask - 1) {
            at[count++] = (uint32_t)i + (uint32_t)__builtin_ctz(mask);
        }
    }
    for (; i < n; i++) {
        at[count] = (uint32_t)i;
        count += !(keys[i] > limit);
    }
    return count;
}

void vec_avx2_code_fill(struct vec_kernels *k)
{
    k->measure = measure;
    k->put_f32 = put_f32;
    k->put_f16 = put_f16;
    k->put_bf16 = put_bf16;
    k->put_i8 = put_i8;
    k->put_bit = put_bit;
    k->widen_f16 = widen_f16;
    k->widen_bf16 = widen_bf16;
    k->project = project;
    k->select = select_keys;
}
