/* What the files of vec/ share: prepared queries and the table of kernels.
 *
 * Four metrics come down to three operations on stored numbers (cosine and
 * inner product are both a dot product), and BIT knows only one. A kernel sums
 * over the components and turns the sum into a key with constants from the
 * query, so that no kernel knows metrics:
 *
 *     floats     key = key_add + key_mul * sum
 *     BIT        key = (key_add + key_mul * differing bits) / key_div
 *     I8 dot     vec_i8_dot_key()
 *     I8 L2      vec_i8_l2_key()
 *
 * Kernels come from one set of files per instruction set. Each set starts from
 * the table of the one below it and replaces the entries for which it has
 * something better; what a machine lacks (say, VNNI) falls back by itself.
 *
 * Two findings shape the kernels (both measured on Zen 4, on data beyond the
 * caches). Rows must be read strictly in the order of memory: reading just two
 * rows side by side halves the bandwidth, since the hardware then sees no
 * stream to prefetch. And the processor runs ahead of memory by a number of
 * instructions, so what is not computed per 64 bytes is bandwidth gained. */
#ifndef VECTRA_VEC_VEC_IMPL_H
#define VECTRA_VEC_VEC_IMPL_H

#include "vec/fine.h"
#include "vec/vec.h"

enum vec_op { VEC_OP_DOT, VEC_OP_L2, VEC_OP_L1, VEC_OP_COUNT };

enum vec_op vec_op_of(enum vec_metric metric);

struct vec_query {
    const struct vec_format *format;
    size_t blocks;    /* of VEC_ALIGN bytes in code[], the last one padded */
    int32_t code_sum; /* I8: sum of the codes */
    float scale;      /* I8: what code 1 means */
    double self;      /* I8 with L2: sum of squares in units, scale^2 * sumsq */
    float key_add;
    float key_mul;
    float key_div;
    float key_min;
    float key_max;
    /* I8 except for L1: the codes once more, in shapes some kernels want. */
    const uint8_t *tails; /* see vec_i8_tail_at(); NULL where rows are short */
    const int16_t *wide;  /* VEC_ALIGN * blocks of them; see i8_by_tails */
    /* Zero-padded: float32 for the float types and for I8 with L1, otherwise
     * codes as in a stored row. */
    _Alignas(VEC_ALIGN) uint8_t code[];
};

/* ---- rows -------------------------------------------------------------- */

/* Rows to score: consecutive ones, or scattered ones when at is set. Which of
 * the two is known where a kernel is instantiated, so asking costs nothing. */
struct vec_rows {
    const uint8_t *base;
    size_t stride;
    const uint8_t *const *at;
    size_t n;
};

ALWAYS_INLINE const uint8_t *vec_row(const struct vec_rows *rows, size_t i)
{
    return rows->at ? rows->at[i] : rows->base + i * rows->stride;
}

ALWAYS_INLINE float vec_load_f32(const void *p)
{
    float value;

    memcpy(&value, p, sizeof(value));
    return value;
}

ALWAYS_INLINE uint32_t vec_load_u32(const void *p)
{
    uint32_t value;

    memcpy(&value, p, sizeof(value));
    return value;
}

/* Makes the compiler finish the loads of one row before those of the next. Left
 * alone it mixes several rows' loads, and memory sees no stream any more. */
#define VEC_KEEP_ORDER(row) __asm__ volatile("" : "+r"(row))

/* What vec_gather() does ahead of the rows it scores: all lines of rows
 * `first` to first + 3, as far as there are such rows. */
ALWAYS_INLINE void vec_prefetch_four(const struct vec_rows *rows, size_t first,
                                     size_t row_bytes)
{
    size_t end = first + 4 < rows->n ? first + 4 : rows->n;
    size_t i;
    size_t at;

    for (i = first; i < end; i++) {
        for (at = 0; at < row_bytes; at += CACHE_LINE) {
            __builtin_prefetch(rows->at[i] + at, 0, 2);
        }
        __builtin_prefetch(rows->at[i] + row_bytes - 1, 0, 2);
    }
}

/* How many rows ahead that is: enough to cover memory's latency, not so many
 * that prefetches wait for each other. */
ALWAYS_INLINE size_t vec_gather_ahead(size_t row_bytes)
{
    return row_bytes <= 512 ? 16 : 8;
}

/* ---- I8 ---------------------------------------------------------------- */

/* At most 65536 * 128^2 = 2^30. */
ALWAYS_INLINE uint32_t vec_i8_sumsq(const uint8_t *codes, size_t n)
{
    int32_t sum = 0;
    size_t i;

    for (i = 0; i < n; i++) {
        sum += (int8_t)codes[i] * (int8_t)codes[i];
    }
    return (uint32_t)sum;
}

/* What the codes of a row are multiplied by. */
ALWAYS_INLINE float vec_i8_scale(const struct vec_format *f, const uint8_t *row)
{
    return vec_load_f32(row + f->factor_at + 4) / 127.0f;
}

/* Redis's formula, in float32 and in this order; clamped for COSINE only. */
ALWAYS_INLINE float vec_i8_dot_key(const struct vec_query *q, int32_t dot,
                                   float row_scale)
{
    float key = q->key_add - (float)dot * (row_scale * q->scale);

    key = key < q->key_min ? q->key_min : key;
    return key > q->key_max ? q->key_max : key;
}

/* In double: products of two float32 are exact there, so that for a row against
 * itself all terms are made of the same number and the result is 0. */
ALWAYS_INLINE float vec_i8_l2_key(const struct vec_query *q, int32_t dot,
                                  float row_scale, uint32_t row_sumsq)
{
    double r = row_scale;
    double both = r * (double)q->scale * 2.0;
    double key = r * r * (double)row_sumsq + q->self - both * (double)dot;

    return (float)(key < 0 ? 0 : key);
}

/* A row ends in the factor that its score needs most. A load of its own for
 * those four bytes was the dearest part of a scan, up to half of the time, so
 * the last 64-byte load of a row is placed where it brings in the remaining
 * codes together with that factor: in four variants (place 0 to 3) that put the
 * factor into 32-bit lanes 12 to 15, from where those of four rows merge with
 * blends alone. The codes before are read in whole blocks. q->tails holds the
 * query's remaining codes at the four matching places. Rows must be at least
 * VEC_ALIGN bytes long for this. */
ALWAYS_INLINE size_t vec_i8_tail_at(const struct vec_format *f, size_t place)
{
    return f->row_bytes - 52 - 4 * place;
}

/* Whole blocks before the tail. */
ALWAYS_INLINE size_t vec_i8_whole_blocks(const struct vec_format *f)
{
    return (vec_i8_tail_at(f, 0) + VEC_ALIGN - 1) / VEC_ALIGN;
}

/* ---- kernels ----------------------------------------------------------- */

/* n is a multiple of VEC_WITHIN_ROWS. False: not these rows. */
typedef bool (*vec_within_fn)(const struct vec_query *const *q, size_t nq,
                              const float *limits, const uint8_t *rows,
                              size_t n, const struct vec_within *out);

struct vec_measure {
    float sumsq; /* infinite or NaN when a component or the sum is not finite */
    float max_abs; /* meaningless then */
};

typedef void (*vec_scan_fn)(const struct vec_query *q, const uint8_t *rows,
                            size_t n, float *keys);
typedef void (*vec_gather_fn)(const struct vec_query *q,
                              const uint8_t *const *rows, size_t n,
                              float *keys);
struct vec_near_query; /* near.h */
struct near_out;
typedef void (*vec_near_fn)(struct vec_near_query *const *q, size_t nq,
                            uint32_t dim, const uint8_t *blocks, size_t n,
                            struct near_out out);
typedef void (*vec_many_fn)(const struct vec_query *const *q, size_t nq,
                            const uint8_t *rows, size_t n, float *keys,
                            size_t key_stride);

/* Where the fine part of a row is being written: whole bytes, and bits that do
 * not make one yet. */
struct vec_fine_writer {
    uint64_t bits;
    uint32_t n_bits;
    uint8_t *out;
};

/* What a row's components are multiples of, but for bits. */
ALWAYS_INLINE float vec_fine_scale(const struct vec_format *f,
                                   const struct vec_fine_row *r)
{
    const float range = vec_load_f32(r->row + f->factor_at + 4);

    const uint8_t most = r->fine[0];

    return range / (most && most != VEC_FINE_NONE ? (float)most : 127.0f);
}

/* See kernels_fine.h. */
struct vec_fine_kernels {
    /* Of n components, which are in steps of their codes when multiplied by
     * `times`; n % VEC_FINE_BLOCK == 0 in all calls but the last. */
    void (*put)(struct vec_fine_writer *w, const uint8_t *x, size_t n,
                float times, const uint8_t *codes);
    /* The same of a vector that is one of whole numbers when multiplied by
     * `times`, `most` the largest;
     * false when it is none, what has been written is then to be forgotten. */
    bool (*put_whole)(struct vec_fine_writer *w, const uint8_t *x, size_t n,
                      float times, float most, const uint8_t *codes);
    /* The components in steps of vec_fine_scale(). */
    void (*open)(const struct vec_fine_row *r, size_t dim, float *out);
    void (*sum[VEC_OP_COUNT])(const float *q, const struct vec_fine_row *r,
                              size_t dim, float scale, float *sums);
};

struct vec_pq_kernels;

struct vec_kernels {
    vec_scan_fn scan[VEC_TYPE_COUNT][VEC_OP_COUNT];
    vec_gather_fn gather[VEC_TYPE_COUNT][VEC_OP_COUNT];
    /* NULL where gather does as well for rows that are in the cache. */
    vec_gather_fn fetched[VEC_TYPE_COUNT][VEC_OP_COUNT];
    vec_many_fn many[VEC_TYPE_COUNT][VEC_OP_COUNT]; /* nq >= 2, n >= 1 */
    /* NULL where nothing beats looking through the keys of `many`. */
    vec_within_fn within[VEC_TYPE_COUNT][VEC_OP_COUNT];
    /* Queries with tails need no wide codes. */
    bool i8_by_tails;

    /* The input x is unaligned float32 throughout, n >= 1. These give the same
     * bytes on every machine, sums included: see kernels_scalar.c.
     *
     * measure adds to what *m holds; all calls but the last have n % 4 == 0. */
    void (*measure)(const uint8_t *x, size_t n, struct vec_measure *m);
    /* out = x / norm in the stored type. */
    void (*put_f32)(const uint8_t *x, size_t n, float norm, uint8_t *out);
    void (*put_f16)(const uint8_t *x, size_t n, float norm, uint8_t *out);
    void (*put_bf16)(const uint8_t *x, size_t n, float norm, uint8_t *out);
    /* Codes round(x / norm * mul), halves away from zero. */
    void (*put_i8)(const uint8_t *x, size_t n, float norm, float mul,
                   uint8_t *out);
    /* Whole 64-bit words; unused bits are 0. */
    void (*put_bit)(const uint8_t *x, size_t n, uint8_t *out);

    void (*widen_f16)(const uint8_t *in, size_t n, float *out);
    void (*widen_bf16)(const uint8_t *in, size_t n, float *out);
    void (*project)(const uint8_t *x, uint32_t in_dim, float *out,
                    uint32_t out_dim);
    size_t (*select)(const float *keys, size_t n, float limit, uint32_t *at);
    const struct vec_fine_kernels *fine;
    const struct vec_pq_kernels *pq; /* kernels_pq.h */
    vec_near_fn near_scan;           /* see kernels_near.h */
};

/* The kernels in use; vec_scalar until vec_simd_select(). */
extern const struct vec_kernels *vec_in_use;

extern const struct vec_kernels vec_scalar;
extern const struct vec_fine_kernels vec_scalar_fine;
extern const struct vec_pq_kernels vec_scalar_pq;
void vec_scalar_near_scan(struct vec_near_query *const *q, size_t nq,
                          uint32_t dim, const uint8_t *blocks, size_t n,
                          struct near_out out);

/* Replace the entries that this instruction set does better. */
void vec_avx2_float_fill(struct vec_kernels *k);
void vec_avx2_i8_fill(struct vec_kernels *k);
void vec_avx2_i8_side_fill(struct vec_kernels *k);
void vec_avx2_bit_fill(struct vec_kernels *k);
void vec_avx2_code_fill(struct vec_kernels *k);
void vec_avx2_fine_fill(struct vec_kernels *k);
void vec_avx2_near_fill(struct vec_kernels *k);
void vec_avx2_pq_fill(struct vec_kernels *k);
void vec_avx512_float_fill(struct vec_kernels *k);
void vec_avx512_code_fill(struct vec_kernels *k);
void vec_avx512_fine_fill(struct vec_kernels *k);
void vec_avx512_pq_fill(struct vec_kernels *k);
void vec_avx512_i8_fill(struct vec_kernels *k);        /* needs VNNI too */
void vec_avx512_near_fill(struct vec_kernels *k);      /* likewise */
void vec_avx512_i8_within_fill(struct vec_kernels *k); /* likewise */
void vec_avx512_bit_fill(struct vec_kernels *k);       /* needs VPOPCNTDQ too */
void vec_avx512_bf16_fill(struct vec_kernels *k);      /* needs BF16 too */
void vec_neon_fill(struct vec_kernels *k); /* needs DOTPROD and FP16 */
void vec_neon_pq_fill(struct vec_kernels *k);

/* I8 scoring with AVX2, to which AVX-512 leaves rows shorter than a vector. */
void vec_avx2_i8_scan(const struct vec_query *q, const uint8_t *rows, size_t n,
                      float *keys);
void vec_avx2_i8_gather(const struct vec_query *q, const uint8_t *const *rows,
                        size_t n, float *keys);
void vec_avx2_i8_many(const struct vec_query *const *q, size_t nq,
                      const uint8_t *rows, size_t n, float *keys,
                      size_t key_stride);

#endif
