/* Product quantization: a vector as m codes of 4 bits.
 *
 * The components are cut into m parts of the same length, and a part is told by
 * the nearest of 16 points that were learned from a sample (Jegou, Douze and
 * Schmid, 2011). What a query has to do with each of the 16 points of a part is
 * a table that fits a register, so that a shuffle looks up 16 to 64 codes at a
 * time (Andre, Kermarrec and Le Scouarnec, 2015): codes lie by blocks of 32
 * vectors, part by part, and are scored a block at a time.
 *
 *     part 0   16 bytes: byte i has the codes of lanes i (low) and 16 + i
 *     part 1   ...
 *     ratios   32 x u16, not for L1
 *     squares  32 x f32, L2 only
 *
 * What a code stands for, x^, is shorter than the vector and points elsewhere.
 * The ratio corrects for that on average, as RaBitQ's does (Gao and Long,
 * 2024): dot(q, x) is taken for dot(q, x^) * |x|^2 / dot(x, x^). For L2 the
 * square is that of the vector itself.
 *
 * Two things are done otherwise than is usual. Codes are of vectors, not of
 * residuals to the centroid of a list: with the ratio residuals gave nothing on
 * words, images and sentences (docs/BENCHMARKS.md), and a vector's code stays
 * what it is when lists are split. And tables have 6 bits, not 8: sums of four
 * fit a byte, which is cheaper by a third, and what rounding adds to the error
 * of the codes is not to be seen.
 *
 * Keys are near to those of vec.h, and the same to the bit on all machines.
 *
 * thread any. Nothing here allocates or locks. */
#ifndef VECTRA_VEC_PQ_H
#define VECTRA_VEC_PQ_H

#include "vec/vec.h"

enum {
    VEC_PQ_POINTS = 16,
    VEC_PQ_LANES = 32, /* of a block */
    VEC_PQ_M_MAX = 4096,
};

struct vec_pq {
    enum vec_metric metric;
    uint32_t dim;
    uint32_t m;
    uint32_t part;       /* components of one */
    uint32_t code_bytes; /* of one vector by itself */
    uint32_t ratio_at;   /* in a block; 0: none */
    uint32_t square_at;  /* 0: none */
    uint32_t block_bytes;
    float points[]; /* m * part * 16: a part's, by component */
};

/* Whether dim can be cut into m. */
bool vec_pq_fits(uint32_t dim, uint32_t m);

size_t vec_pq_bytes(uint32_t dim, uint32_t m);

/* Begins in memory of vec_pq_bytes(): all points are 0. */
void vec_pq_init(struct vec_pq *pq, enum vec_metric metric, uint32_t dim,
                 uint32_t m);

/* How many of `points`. */
size_t vec_pq_n_points(const struct vec_pq *pq);

/* Learns the points of one part; parts are independent of each other.
 *
 * in     sample: n >= 1 vectors of dim floats, as they are compared
 *        (vec_decode_unit()). work: n bytes.
 * out    The same on every machine, for a seed. */
void vec_pq_train(struct vec_pq *pq, uint32_t part, const float *sample,
                  size_t n, uint32_t rounds, uint64_t seed, uint8_t *work);

/* ---- codes --------------------------------------------------------------- */

/* The code of a vector as it is compared, dim floats: m codes of 4 bits, then
 * the ratio and the square as far as there are. */
void vec_pq_encode(const struct vec_pq *pq, const float *x, uint8_t *code);

/* The vector a code stands for: of the right length where the code says it. */
void vec_pq_decode(const struct vec_pq *pq, const uint8_t *code, float *out);

/* Writes a code into a lane of a block and reads it from there. */
void vec_pq_put(const struct vec_pq *pq, uint8_t *block, uint32_t lane,
                const uint8_t *code);
void vec_pq_get(const struct vec_pq *pq, const uint8_t *block, uint32_t lane,
                uint8_t *code);

/* ---- scoring ------------------------------------------------------------- */

struct vec_pq_query;

/* A multiple of VEC_ALIGN. */
size_t vec_pq_query_bytes(const struct vec_pq *pq);

/* Prepares a query in VEC_ALIGN-aligned memory.
 *
 * in     x: dim floats, normalised for COSINE. */
struct vec_pq_query *vec_pq_query_init(const struct vec_pq *pq, const float *x,
                                       void *memory);

/* Scores n blocks: bit l of below[i] says that the key of lane l is not above
 * the limit, keys[i * VEC_PQ_LANES + l] is that key. Keys of a block without
 * any such lane are undefined. NULL is a block with none. VEC_OVERREAD bytes
 * past a block may be read. */
void vec_pq_scan(const struct vec_pq_query *q, const uint8_t *const *blocks,
                 size_t n, float limit, uint32_t *below, float *keys);

#endif
