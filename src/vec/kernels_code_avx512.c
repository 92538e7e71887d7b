/* Making rows, conversions, projection and selection with AVX-512 (F, BW, DQ,
 * VL). Rows come out as from kernels_scalar.c, to the bit: the same operations,
 * each rounded exactly, and additions in the same order. */
#include "vec/vec_impl.h"

#include <immintrin.h>
#include <math.h>

enum { LANES = 16 };

/* Keeps the compiler from narrowing and storing under a mask in one
 * instruction, which Zen 4 takes ten times as long for as for both. */
#define APART(v) __asm__("" : "+v"(v))

ALWAYS_INLINE __mmask16 first_lanes(size_t n)
{
    return (__mmask16)(n >= LANES ? 0xffff : (1u << n) - 1);
}

/* ---- rows -------------------------------------------------------------- */

/* The sum of squares is one chain of additions, four components to a link (see
 * kernels_scalar.c), which takes longer than all the rest: vectors do the rest
 * in its shadow. */
ALWAYS_INLINE float add_links(float sum, __m512 squares)
{
    __m512 link = _mm512_add_ps(squares, _mm512_permute_ps(squares, 0x55));

    link = _mm512_add_ps(link, _mm512_permute_ps(squares, 0xaa));
    link = _mm512_add_ps(link, _mm512_permute_ps(squares, 0xff));
    sum += _mm512_cvtss_f32(link);
    sum += _mm_cvtss_f32(_mm512_extractf32x4_ps(link, 1));
    sum += _mm_cvtss_f32(_mm512_extractf32x4_ps(link, 2));
    sum += _mm_cvtss_f32(_mm512_extractf32x4_ps(link, 3));
    return sum;
}

static void measure(const uint8_t *x, size_t n, float scale,
                    struct vec_measure *out)
{
    const __m512 scales = _mm512_set1_ps(scale);
    __m512 max = _mm512_setzero_ps();
    float sum = 0;
    size_t i;

    for (i = 0; i + LANES <= n; i += LANES) {
        __m512 v = _mm512_mul_ps(_mm512_loadu_ps(x + 4 * i), scales);

        max = _mm512_max_ps(max, _mm512_abs_ps(v));
        sum = add_links(sum, _mm512_mul_ps(v, v));
    }
    if (i < n) {
        const __mmask16 mask = first_lanes(n - i);
        __m512 v =
            _mm512_mul_ps(_mm512_maskz_loadu_ps(mask, x + 4 * i), scales);
        float squares[LANES];
        size_t left = n - i;
        size_t k;

        max = _mm512_max_ps(max, _mm512_abs_ps(v));
        _mm512_storeu_ps(squares, _mm512_mul_ps(v, v));
        for (k = 0; k + 4 <= left; k += 4) {
            sum +=
                squares[k] + squares[k + 1] + squares[k + 2] + squares[k + 3];
        }
        for (; k < left; k++) {
            sum += squares[k];
        }
    }
    out->sumsq = sum;
    out->max_abs = _mm512_reduce_max_ps(max);
}

/* x * scale / norm, sixteen of them from i on, zeros beyond n. */
ALWAYS_INLINE __m512 load_unit(const uint8_t *x, size_t i, size_t n,
                               float scale, float norm)
{
    __m512 v = i + LANES <= n
                   ? _mm512_loadu_ps(x + 4 * i)
                   : _mm512_maskz_loadu_ps(first_lanes(n - i), x + 4 * i);

    v = _mm512_mul_ps(v, _mm512_set1_ps(scale));
    return _mm512_div_ps(v, _mm512_set1_ps(norm));
}

static void put_f32(const uint8_t *x, size_t n, float scale, float norm,
                    uint8_t *out)
{
    size_t i;

    for (i = 0; i < n; i += LANES) {
        _mm512_mask_storeu_ps(out + 4 * i, first_lanes(n - i),
                              load_unit(x, i, n, scale, norm));
    }
}

static void put_f16(const uint8_t *x, size_t n, float scale, float norm,
                    uint8_t *out)
{
    size_t i;

    for (i = 0; i < n; i += LANES) {
        __m256i halves = _mm512_cvtps_ph(load_unit(x, i, n, scale, norm),
                                         _MM_FROUND_TO_NEAREST_INT);

        APART(halves);
        _mm256_mask_storeu_epi16(out + 2 * i, first_lanes(n - i), halves);
    }
}

static void put_bf16(const uint8_t *x, size_t n, float scale, float norm,
                     uint8_t *out)
{
    const __m512i half = _mm512_set1_epi32(0x7fff);
    const __m512i one = _mm512_set1_epi32(1);
    size_t i;

    for (i = 0; i < n; i += LANES) {
        __m512i bits = _mm512_castps_si512(load_unit(x, i, n, scale, norm));
        __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), one);
        __m256i halves;

        bits = _mm512_add_epi32(bits, _mm512_add_epi32(half, odd));
        halves = _mm512_cvtepi32_epi16(_mm512_srli_epi32(bits, 16));
        APART(halves);
        _mm256_mask_storeu_epi16(out + 2 * i, first_lanes(n - i), halves);
    }
}

/* To the nearest, halves away from zero: round_code() of kernels_scalar.c. */
ALWAYS_INLINE __m512i to_codes(__m512 v)
{
    const __m512i sign = _mm512_set1_epi32(INT32_MIN);
    const __m512i half = _mm512_castps_si512(_mm512_set1_ps(0x1.fffffep-2f));
    __m512i away = /* (v & sign) | half */
        _mm512_ternarylogic_epi32(_mm512_castps_si512(v), sign, half, 0xea);

    return _mm512_cvttps_epi32(_mm512_add_ps(v, _mm512_castsi512_ps(away)));
}

static void put_i8(const uint8_t *x, size_t n, float scale, float norm,
                   float mul, uint8_t *out)
{
    const __m512 muls = _mm512_set1_ps(mul);
    size_t i;

    for (i = 0; i < n; i += LANES) {
        __m512 v = load_unit(x, i, n, scale, norm);
        __m128i codes = _mm512_cvtepi32_epi8(to_codes(_mm512_mul_ps(v, muls)));

        APART(codes);
        _mm_mask_storeu_epi8(out + i, first_lanes(n - i), codes);
    }
}

static void put_bit(const uint8_t *x, size_t n, uint8_t *out)
{
    const __m512 zero = _mm512_setzero_ps();
    size_t i;

    memset(out, 0, (n + 63) / 64 * 8);
    for (i = 0; i < n; i += LANES) {
        __m512 v = _mm512_maskz_loadu_ps(first_lanes(n - i), x + 4 * i);
        uint16_t bits = _mm512_cmp_ps_mask(v, zero, _CMP_GT_OQ);

        memcpy(out + i / 8, &bits, sizeof(bits));
    }
}

/* ---- conversions ------------------------------------------------------- */

static void widen_f16(const uint8_t *in, size_t n, float *out)
{
    size_t i;

    for (i = 0; i < n; i += LANES) {
        const __mmask16 mask = first_lanes(n - i);
        __m256i halves = _mm256_maskz_loadu_epi16(mask, in + 2 * i);

        _mm512_mask_storeu_ps(out + i, mask, _mm512_cvtph_ps(halves));
    }
}

static void widen_bf16(const uint8_t *in, size_t n, float *out)
{
    size_t i;

    for (i = 0; i < n; i += LANES) {
        const __mmask16 mask = first_lanes(n - i);
        __m256i halves = _mm256_maskz_loadu_epi16(mask, in + 2 * i);

        _mm512_mask_storeu_epi32(
            out + i, mask,
            _mm512_slli_epi32(_mm512_cvtepu16_epi32(halves), 16));
    }
}

/* ---- projection -------------------------------------------------------- */

enum { AT_ONCE = 8 }; /* vectors of outputs */

/* Lanes l in which popcount(l & j) is odd, for j of four bits. */
static const uint16_t odd_lanes[LANES] = {
    0x0000, 0xaaaa, 0xcccc, 0x6666, 0xf0f0, 0x5a5a, 0x3c3c, 0x9696,
    0xff00, 0x55aa, 0x33cc, 0x9966, 0x0ff0, 0xa55a, 0xc33c, 0x6996,
};

/* Outputs from..from + 127. popcount(i & j) is odd when exactly one of its
 * parts is, that of the lowest four bits and that of the others. The first part
 * decides signs within a vector, the same for all vectors; the second one sign
 * per vector, the same for sixteen columns. Multiplying by it within an FMA is
 * exact, so each step is the one addition or subtraction it stands for. */
static void project_some(const uint8_t *x, uint32_t in_dim, float s,
                         uint32_t from, float *out, uint32_t out_dim)
{
    __m512 sums[AT_ONCE];
    __m512 signs[AT_ONCE];
    uint32_t j;
    uint32_t k;

#pragma GCC unroll 8
    for (k = 0; k < AT_ONCE; k++) {
        sums[k] = _mm512_setzero_ps();
        signs[k] = _mm512_setzero_ps();
    }
    for (j = 0; j < in_dim; j++) {
        __m512 v = _mm512_set1_ps(vec_load_f32(x + 4 * (size_t)j) * s);

        if (j % LANES == 0) {
#pragma GCC unroll 8
            for (k = 0; k < AT_ONCE; k++) {
                int odd = __builtin_parity((from + LANES * k) & j);

                signs[k] = _mm512_set1_ps(odd ? -1.0f : 1.0f);
            }
        }
        v = _mm512_mask_sub_ps(v, odd_lanes[j % LANES], _mm512_set1_ps(-0.0f),
                               v);
#pragma GCC unroll 8
        for (k = 0; k < AT_ONCE; k++) {
            sums[k] = _mm512_fmadd_ps(v, signs[k], sums[k]);
        }
    }
#pragma GCC unroll 8
    for (k = 0; k < AT_ONCE; k++) {
        const uint32_t i = from + LANES * k;

        if (i < out_dim) {
            _mm512_mask_storeu_ps(out + i, first_lanes(out_dim - i), sums[k]);
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
    const __m512 limits = _mm512_set1_ps(limit);
    __m512i index =
        _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    size_t count = 0;
    size_t i;

    for (i = 0; i + LANES <= n; i += LANES) {
        __mmask16 mask =
            _mm512_cmp_ps_mask(_mm512_loadu_ps(keys + i), limits, _CMP_NGT_UQ);

        if (mask) { /* count <= i: the whole vector has room */
            _mm512_storeu_si512(at + count,
                                _mm512_maskz_compress_epi32(mask, index));
            count += (size_t)__builtin_popcount(mask);
        }
        index = _mm512_add_epi32(index, _mm512_set1_epi32(LANES));
    }
    for (; i < n; i++) {
        at[count] = (uint32_t)i;
        count += !(keys[i] > limit);
    }
    return count;
}

void vec_avx512_code_fill(struct vec_kernels *k)
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
