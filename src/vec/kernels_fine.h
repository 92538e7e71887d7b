/* The kernels of fine parts (fine.h), written once for all instruction sets:
 * vectors of sixteen that the compiler splits into what there is. A file that
 * includes this may define before
 *
 *     FINE_WIDEN(from, to)   sixteen codes to floats; the compiler is bad at it
 *     FINE_SIGNS(v)          16 bits, one for each negative lane
 *
 * Fine parts are the same to the bit on all; sums are added up in one order. */
#ifndef VECTRA_VEC_KERNELS_FINE_H
#define VECTRA_VEC_KERNELS_FINE_H

#include "vec/vec_impl.h"

typedef float fine_floats __attribute__((vector_size(64)));
typedef int32_t fine_ints __attribute__((vector_size(64)));
typedef int8_t fine_codes __attribute__((vector_size(16)));

#ifndef FINE_WIDEN
#define FINE_WIDEN(from, to)                                                   \
    (*(to) = __builtin_convertvector(from, fine_floats))
#endif

#ifndef FINE_SIGNS
static uint32_t fine_signs(const fine_ints *v)
{
    uint32_t bits = 0;
    int i;

    for (i = 0; i < VEC_FINE_BLOCK; i++) {
        bits |= ((uint32_t)(*v)[i] >> 31) << i;
    }
    return bits;
}
#define FINE_SIGNS(v) fine_signs(&(v))
#endif

static const fine_ints fine_lane = {0, 1, 2,  3,  4,  5,  6,  7,
                                    8, 9, 10, 11, 12, 13, 14, 15};

/* A bit for each of n components of a block. */
ALWAYS_INLINE uint32_t fine_mask(size_t n)
{
    return n < VEC_FINE_BLOCK ? (1u << n) - 1 : 0xffff;
}

/* ---- making them --------------------------------------------------------- */

/* Up to a block, the rest of which is zeros. The size is told to the compiler
 * where it is a block's, which is nearly always. */
ALWAYS_INLINE void fine_load_codes(const uint8_t *row, size_t n,
                                   fine_floats *out)
{
    fine_codes codes = {0};

    if (LIKELY(n >= VEC_FINE_BLOCK)) {
        memcpy(&codes, row, sizeof(codes));
    } else {
        memcpy(&codes, row, n);
    }
    FINE_WIDEN(codes, out);
}

ALWAYS_INLINE void fine_load(const uint8_t *x, size_t n, fine_floats *out)
{
    if (LIKELY(n >= VEC_FINE_BLOCK)) {
        memcpy(out, x, sizeof(*out));
    } else {
        *out = (fine_floats){0};
        memcpy(out, x, 4 * n);
    }
}

/* What is left below 64 bits after another block. */
ALWAYS_INLINE void fine_flush(struct vec_fine_writer *w)
{
    for (; w->n_bits >= 16; w->n_bits -= 16, w->bits >>= 16) {
        memcpy(w->out, &w->bits, 2);
        w->out += 2;
    }
}

ALWAYS_INLINE void fine_append(struct vec_fine_writer *w, uint32_t bits,
                               uint32_t n)
{
    w->bits |= (uint64_t)bits << w->n_bits;
    w->n_bits += n;
}

/* Whole blocks, which is nearly all there are: returns how many components. */
ALWAYS_INLINE size_t fine_put_blocks(struct vec_fine_writer *w,
                                     const uint8_t *x, size_t n, float times,
                                     const uint8_t *codes)
{
    size_t i;

    for (i = 0; i + VEC_FINE_BLOCK <= n; i += VEC_FINE_BLOCK) {
        fine_floats left, code;
        fine_ints upper;
        uint16_t bits;

        fine_load(x + 4 * i, VEC_FINE_BLOCK, &left);
        fine_load_codes(codes + i, VEC_FINE_BLOCK, &code);
        upper = left * times > code;
        bits = (uint16_t)FINE_SIGNS(upper);
        memcpy(w->out, &bits, sizeof(bits));
        w->out += sizeof(bits);
    }
    return i;
}

static void fine_put(struct vec_fine_writer *writer, const uint8_t *x, size_t n,
                     float times, const uint8_t *codes)
{
    struct vec_fine_writer w = *writer;
    size_t i = 0;

    if (LIKELY(w.n_bits == 0)) {
        i = fine_put_blocks(&w, x, n, times, codes);
    }
    for (; i < n; i += VEC_FINE_BLOCK) {
        const uint32_t mask = fine_mask(n - i);
        fine_floats left, code;
        fine_ints upper;

        fine_load(x + 4 * i, n - i, &left);
        fine_load_codes(codes + i, n - i, &code);
        upper = left * times > code;
        fine_append(&w, FINE_SIGNS(upper) & mask,
                    (uint32_t)__builtin_popcount(mask));
        fine_flush(&w);
    }
    *writer = w;
}

/* The least whole number that has a code, when the largest has 127. Ties may
 * fall to either side; which it is shows when the number is put. */
ALWAYS_INLINE void fine_whole(const fine_floats *code, float per_code,
                              fine_floats *out)
{
    fine_floats from = (*code - 0.5f) * per_code - 1e-3f;
    fine_ints whole = __builtin_convertvector(from, fine_ints);

    whole -= from > __builtin_convertvector(whole, fine_floats);
    whole &= *code != 0; /* 0 or 1, not -1 */
    *out = __builtin_convertvector(whole, fine_floats);
}

static bool fine_put_whole(struct vec_fine_writer *writer, const uint8_t *x,
                           size_t n, float times, float most,
                           const uint8_t *codes)
{
    struct vec_fine_writer w = *writer;
    size_t i;

    for (i = 0; i < n; i += VEC_FINE_BLOCK) {
        fine_floats left, code, whole;
        uint32_t of = fine_mask(n - i);
        fine_ints wrong;

        fine_load(x + 4 * i, n - i, &left);
        fine_load_codes(codes + i, n - i, &code);
        fine_whole(&code, most / 127, &whole);
        left = left * times - whole;
        /* Neither 0 nor 1, but for what a float loses. */
        wrong = ((left < -1e-3f) | (left > 1e-3f)) &
                ((left < 0.999f) | (left > 1.001f));
        if (FINE_SIGNS(wrong)) {
            return false;
        }
        wrong = left > 0.5f;
        fine_append(&w, FINE_SIGNS(wrong) & of,
                    (uint32_t)__builtin_popcount(of));
        fine_flush(&w);
    }
    *writer = w;
    return true;
}

/* ---- reading them -------------------------------------------------------- */

/* The components of a row, block by block, in steps of its codes. */
struct fine_reader {
    const struct vec_fine_row *r;
    size_t at;      /* in the fine part */
    float per_code; /* 0: not whole numbers */
    bool none;
};

ALWAYS_INLINE struct fine_reader fine_read(const struct vec_fine_row *r)
{
    const bool none = r->fine[0] == VEC_FINE_NONE;

    return (struct fine_reader){r, 1, none ? 0 : (float)r->fine[0] / 127, none};
}

ALWAYS_INLINE void fine_next(struct fine_reader *from, size_t i, size_t n,
                             fine_floats *out)
{
    uint16_t set;
    fine_ints bits;

    memcpy(&set, from->r->fine + from->at, sizeof(set));
    from->at += sizeof(set);
    fine_load_codes(from->r->row + i, n, out);
    if (from->none) {
        return;
    }
    bits = (int32_t)(set & fine_mask(n)) >> fine_lane & 1;
    if (from->per_code > 0) {
        fine_floats code = *out;

        fine_whole(&code, from->per_code, out);
        *out += __builtin_convertvector(bits, fine_floats);
        return;
    }
    /* 1 where set, -1 where not, 0 past the last component */
    bits = 2 * bits - ((int32_t)fine_mask(n) >> fine_lane & 1);
    *out += 0.25f * __builtin_convertvector(bits, fine_floats);
}

static void fine_open(const struct vec_fine_row *r, size_t dim, float *out)
{
    struct fine_reader from = fine_read(r);
    size_t i;

    for (i = 0; i < dim; i += VEC_FINE_BLOCK) {
        fine_floats v;

        fine_next(&from, i, dim - i, &v);
        if (LIKELY(dim - i >= VEC_FINE_BLOCK)) {
            memcpy(out + i, &v, sizeof(v));
        } else {
            memcpy(out + i, &v, 4 * (dim - i));
        }
    }
}

ALWAYS_INLINE float fine_add_up(const fine_floats *v)
{
    float sum = 0;
    int i;

    for (i = 0; i < VEC_FINE_BLOCK / 2; i++) {
        sum += (*v)[i] + (*v)[i + VEC_FINE_BLOCK / 2];
    }
    return sum;
}

/* Of the query, padded with zeros to whole blocks, and a row: sums[0] is the
 * one of the operation, sums[1] for DOT that of the row's squares in steps. */
ALWAYS_INLINE void fine_sum(const float *q, const struct vec_fine_row *r,
                            size_t dim, float scale, enum vec_op op,
                            float *sums)
{
    struct fine_reader from = fine_read(r);
    fine_floats sum = {0}, squares = {0};
    size_t i;

    for (i = 0; i < dim; i += VEC_FINE_BLOCK) {
        fine_floats v, of_query;

        fine_next(&from, i, dim - i, &v);
        memcpy(&of_query, q + i, sizeof(of_query));
        if (op == VEC_OP_DOT) {
            sum += of_query * v;
            squares += v * v;
        } else {
            fine_floats away = of_query - v * scale;

            if (op == VEC_OP_L1) { /* without the sign */
                sum += (fine_floats)((fine_ints)away & INT32_MAX);
            } else {
                sum += away * away;
            }
        }
    }
    sums[0] = fine_add_up(&sum);
    sums[1] = fine_add_up(&squares);
}

static void fine_dot(const float *q, const struct vec_fine_row *r, size_t dim,
                     float scale, float *sums)
{
    fine_sum(q, r, dim, scale, VEC_OP_DOT, sums);
}

static void fine_l2(const float *q, const struct vec_fine_row *r, size_t dim,
                    float scale, float *sums)
{
    fine_sum(q, r, dim, scale, VEC_OP_L2, sums);
}

static void fine_l1(const float *q, const struct vec_fine_row *r, size_t dim,
                    float scale, float *sums)
{
    fine_sum(q, r, dim, scale, VEC_OP_L1, sums);
}

#define FINE_KERNELS                                                           \
    {                                                                          \
        .put = fine_put, .put_whole = fine_put_whole, .open = fine_open,       \
        .sum = {[VEC_OP_DOT] = fine_dot,                                       \
                [VEC_OP_L2] = fine_l2,                                         \
                [VEC_OP_L1] = fine_l1},                                        \
    }

#endif
