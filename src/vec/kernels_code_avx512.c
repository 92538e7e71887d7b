/* Making rows, conversions, projection and selection with AVX-512 (F, BW, DQ,
 * VL). Rows come out as from kernels_scalar.c, to the bit: the same operations,
 * each rounded exactly, and additions in the same order. */
#include "vec/vec_impl.h"

#include <immintrin.h>
#include <math.h>

#define BF16 __attribute__((target("avx512bf16")))

enum { LANES = 16, DENORMAL = 0x20 /* what VFPCLASSPS calls it */ };

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
 * in its shadow. Links go through memory, whence an addition takes them without
 * an instruction of its own. */

/* Four vectors of squares to sixteen links: [l][v] is the one of the l-th four
 * of vector v. */
ALWAYS_INLINE void make_links(const __m512 *squares, float (*links)[4])
{
    __m512 low01 = _mm512_unpacklo_ps(squares[0], squares[1]);
    __m512 low23 = _mm512_unpacklo_ps(squares[2], squares[3]);
    __m512 high01 = _mm512_unpackhi_ps(squares[0], squares[1]);
    __m512 high23 = _mm512_unpackhi_ps(squares[2], squares[3]);
    __m512 sum = _mm512_add_ps(_mm512_shuffle_ps(low01, low23, 0x44),
                               _mm512_shuffle_ps(low01, low23, 0xee));

    sum = _mm512_add_ps(sum, _mm512_shuffle_ps(high01, high23, 0x44));
    sum = _mm512_add_ps(sum, _mm512_shuffle_ps(high01, high23, 0xee));
    _mm512_storeu_ps(links, sum);
}

/* The first n of four vectors of squares, which are 0 from n on: whole links,
 * then one by one. */
ALWAYS_INLINE float add_squares(float sum, const __m512 *squares, size_t n)
{
    float links[4][4];
    float last[LANES];
    size_t i;

    make_links(squares, links);
#pragma GCC unroll 16
    for (i = 0; i < LANES; i++) {
        if (4 * i + 4 > n) {
            break;
        }
        sum += links[i % 4][i / 4];
    }
    if (n % 4 > 0) {
        _mm512_storeu_ps(last, squares[n / LANES]);
        for (i = n / 4 * 4; i < n; i++) {
            sum += last[i % LANES];
        }
    }
    return sum;
}

static void measure(const uint8_t *x, size_t n, struct vec_measure *m)
{
    __m512 max = _mm512_set1_ps(m->max_abs);
    float sum = m->sumsq;
    __m512 squares[4];
    size_t i;
    size_t k;

    for (i = 0; i + 4 * LANES <= n; i += 4 * LANES) {
#pragma GCC unroll 4
        for (k = 0; k < 4; k++) {
            __m512 v = _mm512_loadu_ps(x + 4 * (i + LANES * k));

            max = _mm512_max_ps(max, _mm512_abs_ps(v));
            squares[k] = _mm512_mul_ps(v, v);
        }
        sum = add_squares(sum, squares, 4 * LANES);
    }
    if (i < n) {
        const uint64_t mask = ((uint64_t)1 << (n - i)) - 1;

#pragma GCC unroll 4
        for (k = 0; k < 4; k++) {
            __m512 v = _mm512_maskz_loadu_ps((__mmask16)(mask >> (LANES * k)),
                                             x + 4 * (i + LANES * k));

            max = _mm512_max_ps(max, _mm512_abs_ps(v));
            squares[k] = _mm512_mul_ps(v, v);
        }
        sum = add_squares(sum, squares, n - i);
    }
    m->sumsq = sum;
    m->max_abs = _mm512_reduce_max_ps(max);
}

/* x / norm, sixteen of them from i on, zeros beyond n. */
ALWAYS_INLINE __m512 load_unit(const uint8_t *x, size_t i, size_t n, float norm)
{
    __m512 v = i + LANES <= n
                   ? _mm512_loadu_ps(x + 4 * i)
                   : _mm512_maskz_loadu_ps(first_lanes(n - i), x + 4 * i);

    return _mm512_div_ps(v, _mm512_set1_ps(norm));
}

static void put_f32(const uint8_t *x, size_t n, float norm, uint8_t *out)
{
    size_t i;

    for (i = 0; i < n; i += LANES) {
        _mm512_mask_storeu_ps(out + 4 * i, first_lanes(n - i),
                              load_unit(x, i, n, norm));
    }
}

/* To the nearest, ties to even; no infinities, no NaN. VPMOVDW would pack the
 * upper halves and takes several times as long as this. */
ALWAYS_INLINE __m256i narrow_bf16(__m512 v)
{
    const __m512i upper =
        _mm512_set_epi32(0, 0, 0, 0, 0, 0, 0, 0, 0x1f001d, 0x1b0019, 0x170015,
                         0x130011, 0xf000d, 0xb0009, 0x70005, 0x30001);
    __m512i bits = _mm512_castps_si512(v);
    __m512i odd =
        _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));

    bits = _mm512_add_epi32(bits,
                            _mm512_add_epi32(_mm512_set1_epi32(0x7fff), odd));
    return _mm512_castsi512_si256(_mm512_permutexvar_epi16(upper, bits));
}

ALWAYS_INLINE void store_halves(uint8_t *out, __m256i halves, size_t n)
{
    if (n >= LANES) {
        _mm256_storeu_si256((void *)out, halves);
        return;
    }
    APART(halves);
    _mm256_mask_storeu_epi16(out, first_lanes(n), halves);
}

static void put_f16(const uint8_t *x, size_t n, float norm, uint8_t *out)
{
    size_t i;

    for (i = 0; i < n; i += LANES) {
        __m256i halves = _mm512_cvtps_ph(load_unit(x, i, n, norm),
                                         _MM_FROUND_TO_NEAREST_INT);

        store_halves(out + 2 * i, halves, n - i);
    }
}

static void put_bf16(const uint8_t *x, size_t n, float norm, uint8_t *out)
{
    size_t i;

    for (i = 0; i < n; i += LANES) {
        __m256i halves = narrow_bf16(load_unit(x, i, n, norm));

        store_halves(out + 2 * i, halves, n - i);
    }
}

/* VCVTNEPS2BF16 rounds the same way, but takes denormals for zeros. */
static BF16 void put_bf16_native(const uint8_t *x, size_t n, float norm,
                                 uint8_t *out)
{
    size_t i;

    for (i = 0; i < n; i += LANES) {
        __m512 v = load_unit(x, i, n, norm);
        __m256i halves = _mm512_fpclass_ps_mask(v, DENORMAL)
                             ? narrow_bf16(v)
                             : (__m256i)_mm512_cvtneps_pbh(v);

        store_halves(out + 2 * i, halves, n - i);
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

/* Four vectors of 32-bit numbers that fit 8 bits, in order. VPMOVDB would do it
 * one by one and took a quarter of the time that making a row takes. */
ALWAYS_INLINE __m512i pack_codes(const __m512i *v)
{
    const __m512i order =
        _mm512_set_epi32(15, 11, 7, 3, 14, 10, 6, 2, 13, 9, 5, 1, 12, 8, 4, 0);
    __m512i low = _mm512_packs_epi32(v[0], v[1]);
    __m512i high = _mm512_packs_epi32(v[2], v[3]);

    return _mm512_permutexvar_epi32(order, _mm512_packs_epi16(low, high));
}

static void put_i8(const uint8_t *x, size_t n, float norm, float mul,
                   uint8_t *out)
{
    const __m512 norms = _mm512_set1_ps(norm);
    const __m512 muls = _mm512_set1_ps(mul);
    __m512i codes[4];
    size_t i;
    size_t k;

    for (i = 0; i + 4 * LANES <= n; i += 4 * LANES) {
#pragma GCC unroll 4
        for (k = 0; k < 4; k++) {
            __m512 v = _mm512_loadu_ps(x + 4 * (i + LANES * k));

            codes[k] = to_codes(_mm512_mul_ps(_mm512_div_ps(v, norms), muls));
        }
        _mm512_storeu_si512(out + i, pack_codes(codes));
    }
    if (i < n) {
        const uint64_t mask = ((uint64_t)1 << (n - i)) - 1;
        __m512i packed;

#pragma GCC unroll 4
        for (k = 0; k < 4; k++) {
            __m512 v = _mm512_maskz_loadu_ps((__mmask16)(mask >> (LANES * k)),
                                             x + 4 * (i + LANES * k));

            codes[k] = to_codes(_mm512_mul_ps(_mm512_div_ps(v, norms), muls));
        }
        packed = pack_codes(codes);
        APART(packed);
        _mm512_mask_storeu_epi8(out + i, mask, packed);
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

void vec_avx512_bf16_fill(struct vec_kernels *k)
{
    k->put_bf16 = put_bf16_native;
}
