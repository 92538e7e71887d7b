/* Vectors: how they are stored, compared and turned into scores.
 *
 * A set fixes a format: the type of its components, its metric and dimension.
 * A vector of that format is a row: the code (its components in the stored
 * type), padded to 4 bytes, then the factors that belong to it. Rows lie one
 * after the other, row_bytes apart and 4-byte aligned, nothing between them.
 *
 *     code                    pad   norm f32   [range f32]   [sumsq u32]
 *     0 ... code_bytes        ..4   factor_at  I8 only       I8 with L2 only
 *
 * Rows of products (pq_rows.h) have a code of 4 bits for each part of the
 * vector, and behind the norm a u16, the ratio of pq.h, and two bytes of 0.
 *
 * A query is prepared once (normalised; for I8 and BIT also quantised like a
 * stored row, while half-float rows meet a float32 query) and then scored
 * against rows. A score here is a key: a float that orders rows, smaller is
 * nearer. vec_distance() and vec_score() turn keys into what clients see.
 *
 *     COSINE  1 - dot of the normalised vectors; I8 clamped to [0, 2];
 *             BIT 2 * differing bits / dim
 *     L2      squared Euclidean distance
 *     IP      -dot
 *     L1      sum of absolute differences
 *
 * BIT vectors have components +1 and -1 for every metric.
 *
 * Which instructions do the work is decided once per process by
 * vec_simd_select(): scalar, AVX2, AVX-512 with what it comes with, or NEON.
 * Rows and the keys of I8 and BIT rows are the same to the bit on all of them
 * (but I8 with L1); other keys are float sums and differ by rounding.
 *
 * thread any, after vec_simd_select(). Nothing here allocates or locks. */
#ifndef VECTRA_VEC_VEC_H
#define VECTRA_VEC_VEC_H

#include <stdbool.h>

#include "base/bytes.h"
#include "base/err.h"

/* Of the types before the count a dimension is all there is to say; rows of
 * VEC_PQ mean something by the codebooks of their set alone. */
enum vec_type {
    VEC_F32,
    VEC_I8,
    VEC_BIT,
    VEC_F16,
    VEC_BF16,
    VEC_TYPE_COUNT,
    VEC_PQ
};

enum vec_metric { VEC_COSINE, VEC_L2, VEC_IP, VEC_L1, VEC_METRIC_COUNT };

enum {
    VEC_DIM_MAX = 65536,
    VEC_ALIGN = 64,       /* of query memory */
    VEC_BATCH_MAX = 16,   /* queries of one vec_scan_many() */
    VEC_WITHIN_MAX = 64,  /* queries of one vec_scan_within() */
    VEC_WITHIN_ROWS = 32, /* rows of a mask */
    VEC_OVERREAD = 64,    /* bytes past the last row that kernels may read */
};

struct vec_pq; /* pq.h */

struct vec_format {
    enum vec_type type : 8;
    enum vec_metric metric : 8;
    uint32_t overread : 16; /* VEC_OVERREAD; the memory past the last row must
                             * be there, its content is of no matter */
    uint32_t dim;
    uint32_t code_bytes;
    uint32_t factor_at; /* offset of the norm */
    uint32_t row_bytes;
    const struct vec_pq *pq; /* of VEC_PQ; outlives the format */
};

/* Fills in a format; dim is 1..VEC_DIM_MAX. */
void vec_format_init(struct vec_format *f, enum vec_type type,
                     enum vec_metric metric, uint32_t dim);

/* The same of rows of products in m parts; see vec_pq_has_rows(). Without pq
 * it says no more than how long rows are. */
void vec_format_init_pq(struct vec_format *f, enum vec_metric metric,
                        uint32_t dim, uint32_t m, const struct vec_pq *pq);

/* ---- rows -------------------------------------------------------------- */

/* Stores a vector as a row.
 *
 * in     x: dim little-endian float32, any alignment.
 * out    row_bytes bytes. COSINE rows are normalised, the other metrics store
 *        the input as it is. The norm of an all-zero vector is 1.
 * fails  ERR_NOT_FINITE for NaN, infinity, or a norm that no float32 holds;
 *        ERR_RANGE for a component that rounds to infinity in VEC_F16 or
 *        VEC_BF16. The row is then undefined. */
enum err vec_encode(const struct vec_format *f, const void *x,
                    uint8_t *row) MUST_USE;

enum { VEC_ENCODE_MAX = 8 };

/* Stores up to VEC_ENCODE_MAX vectors that lie one after the other as
 * consecutive rows: faster than one by one between other work, since several
 * are under way at the same time. Returns how many there are before the first
 * that vec_encode() refuses; rows from there on are undefined.
 *
 * out    fine: their fine parts (fine.h) likewise; NULL when not wanted. */
size_t vec_encode_many(const struct vec_format *f, const void *x, size_t n,
                       uint8_t *rows, uint8_t *fine);

/* Whether vec_encode() would store the vector: the same errors. */
enum err vec_check(const struct vec_format *f, const void *x) MUST_USE;

/* What is found out about a vector before it is stored, in any format. */
struct vec_measured {
    float scale;   /* components are used as x * scale */
    float root;    /* norm of x * scale; 1 where the norm is 0 */
    float norm;    /* of x */
    float max_abs; /* of x * scale */
};

/* vec_check() and vec_encode_many() in two steps, which looks at vectors once
 * less: the result of one is for the other to take. */
enum err vec_measure(const struct vec_format *f, const void *x,
                     struct vec_measured *out) MUST_USE;
size_t vec_encode_measured(const struct vec_format *f, const void *x,
                           const struct vec_measured *m, size_t n,
                           uint8_t *rows, uint8_t *fine);

/* The components a row stands for: de-quantised, and for COSINE multiplied by
 * the norm. BIT gives 1 and -1. out: dim floats. */
void vec_decode(const struct vec_format *f, const uint8_t *row, float *out);

/* For COSINE: a vector that was decoded from a row and is to be searched for
 * becomes another one of its direction when it is longer than numbers can say,
 * as that of a foreign dump may be. */
void vec_keep_finite(const struct vec_format *f, const uint8_t *row,
                     float *decoded);

/* The stored components without the norm: what a distance is computed from. */
void vec_decode_unit(const struct vec_format *f, const uint8_t *row,
                     float *out);

float vec_norm(const struct vec_format *f, const uint8_t *row);

/* I8 only: the largest absolute component, the value that code 127 means. */
float vec_range(const struct vec_format *f, const uint8_t *row);

/* Makes a row of one that comes from outside: checks that it is one that
 * vec_encode() could have made, and computes what follows from its code.
 *
 * in     code, norm and range are there.
 * fails  ERR_CORRUPT. */
enum err vec_adopt_row(const struct vec_format *f, uint8_t *row) MUST_USE;

/* Copies a row, which may be written anew meanwhile: the copy is then of no
 * meaning, and its components may be of any value. out: row_bytes, 4-byte
 * aligned. */
void vec_copy_row(const struct vec_format *f, const uint8_t *row, uint8_t *out);

/* ---- queries ----------------------------------------------------------- */

struct vec_query; /* lives in memory of the caller's */

/* Bytes a query of this format needs; a multiple of VEC_ALIGN. */
size_t vec_query_bytes(const struct vec_format *f);

/* Prepares a query in `memory`, which is VEC_ALIGN-aligned and outlives it, as
 * does f.
 *
 * in     x: dim little-endian float32, any alignment.
 * fails  ERR_NOT_FINITE as vec_encode(). */
enum err vec_query_init(const struct vec_format *f, const void *x, void *memory,
                        struct vec_query **out) MUST_USE;

/* The same with a stored row as the query: its code as it is, not normalised or
 * quantised once more. For comparing rows with each other. */
struct vec_query *vec_query_from_row(const struct vec_format *f,
                                     const uint8_t *row, void *memory);

/* ---- scoring ----------------------------------------------------------- */

/* Scores n consecutive rows: keys[i] belongs to rows + i * row_bytes. */
void vec_scan(const struct vec_query *q, const uint8_t *rows, size_t n,
              float *keys);

/* Scores n consecutive rows against nq <= VEC_BATCH_MAX queries of one format
 * in one pass over the rows: keys[j * key_stride + i]. Equal, bit for bit, to
 * nq calls of vec_scan(). */
void vec_scan_many(const struct vec_query *const *q, size_t nq,
                   const uint8_t *rows, size_t n, float *keys,
                   size_t key_stride);

/* Where vec_scan_within() writes: bit i % VEC_WITHIN_ROWS of
 * masks[j * mask_stride + i / VEC_WITHIN_ROWS] says that row i is near enough
 * to query j. Only then does keys[j * key_stride + i] mean something. */
struct vec_within {
    float *keys;
    size_t key_stride; /* at least the rows, rounded up to VEC_WITHIN_ROWS */
    uint32_t *masks;
    size_t mask_stride;
};

/* Finds the rows whose key is !(key > limits[j]) for nq <= VEC_WITHIN_MAX
 * queries of one format, in one pass over n consecutive rows. Keys are equal,
 * bit for bit, to those of vec_scan(). */
void vec_scan_within(const struct vec_query *const *q, size_t nq,
                     const float *limits, const uint8_t *rows, size_t n,
                     const struct vec_within *out);

/* Scores scattered rows, prefetching ahead: keys[i] belongs to rows[i]. Equal,
 * bit for bit, to vec_scan() of each. */
void vec_gather(const struct vec_query *q, const uint8_t *const *rows, size_t n,
                float *keys);

/* The same for rows that the caller has prefetched. */
void vec_gather_fetched(const struct vec_query *q, const uint8_t *const *rows,
                        size_t n, float *keys);

/* Indices i < n with !(keys[i] > limit), ascending; NaN passes. Returns how
 * many; at holds n entries. */
size_t vec_select(const float *keys, size_t n, float limit, uint32_t *at);

/* Of keys, as the comment at the top says. */
double vec_distance(const struct vec_format *f, float key);
double vec_score(const struct vec_format *f, float key);

/* The largest key whose distance is still <= the given one. */
float vec_key_limit(const struct vec_format *f, double distance);

/* ---- conversions ------------------------------------------------------- */

/* Widens n little-endian half or bfloat16 numbers, any alignment. */
void vec_widen_f16(const void *in, size_t n, float *out);
void vec_widen_bf16(const void *in, size_t n, float *out);

/* The fixed projection behind REDUCE: out[i] = sum over j, in order, of
 * s(i, j) * x[j] / sqrt(in_dim) in float32, s = +1 when popcount(i & j) is even
 * and -1 otherwise.
 *
 * in     x: in_dim little-endian float32, any alignment; no overlap with out.
 */
void vec_project(const void *x, uint32_t in_dim, float *out, uint32_t out_dim);

/* The matrix of that projection, row by row: out_dim * in_dim floats from entry
 * `first` on, n of them. */
void vec_project_matrix(uint32_t in_dim, size_t first, size_t n, float *out);

/* A projection by another matrix, of unaligned float32: sums in the order of
 * the columns, in float32. */
void vec_project_by(const void *matrix, const void *x, uint32_t in_dim,
                    float *out, uint32_t out_dim);

/* ---- instruction sets -------------------------------------------------- */

/* Chooses the kernels: "auto", "scalar", "avx2", "avx512", "neon", or
 * "avx512f", which is avx512 without what only newer processors add to it.
 * Without a call they are scalar.
 *
 * thread before any other thread uses vec_*, or while none does.
 * fails  ERR_UNSUPPORTED when the machine cannot run them (the choice made
 *        before stays), ERR_SYNTAX for another word. */
enum err vec_simd_select(const char *level) MUST_USE;

/* What is in use, such as "avx512 vnni vpopcntdq bf16"; for INFO. */
const char *vec_simd_name(void);

const char *vec_type_name(enum vec_type type); /* "f32", "int8" ... "pq4" */
const char *vec_metric_name(enum vec_metric metric); /* "cosine" ... */

#endif
