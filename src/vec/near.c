#include "vec/near.h"

#include <math.h>

#include "vec/kernels_near.h"

size_t vec_near_block_bytes(uint32_t dim)
{
    return near_block_bytes(dim);
}

void vec_near_pack(uint32_t dim, const struct vec_near_vector *v, size_t n,
                   const float *add, uint8_t *block)
{
    float factors[2][VEC_NEAR_LANES];
    uint8_t *codes = block + NEAR_CODES_AT;
    size_t lane, i;

    memset(codes, 128, near_words(dim) * 4 * VEC_NEAR_LANES);
    for (lane = 0; lane < VEC_NEAR_LANES; lane++) {
        double square = 0;

        factors[0][lane] = INFINITY;
        factors[1][lane] = 0;
        if (lane >= n) {
            continue;
        }
        for (i = 0; i < dim; i++) {
            const int code = v[lane].codes[i];

            square += code * code;
            codes[i / 4 * 4 * VEC_NEAR_LANES + lane * 4 + i % 4] =
                (uint8_t)(code + 128);
        }
        square *= (double)v[lane].grain * (double)v[lane].grain;
        factors[0][lane] = (float)square + (add ? add[lane] : 0);
        factors[1][lane] = v[lane].grain;
    }
    memcpy(block, factors, sizeof(factors));
}

size_t vec_near_query_bytes(uint32_t dim)
{
    const size_t bytes = sizeof(struct vec_near_query) + 4 * near_words(dim);

    return (bytes + CACHE_LINE - 1) & ~(size_t)(CACHE_LINE - 1);
}

void vec_near_query_init(struct vec_near_query *q, uint32_t dim,
                         const struct vec_near_vector *v)
{
    const size_t bytes = 4 * near_words(dim);
    int64_t squares = 0;
    int32_t sum = 0;
    uint32_t i;

    for (i = 0; i < dim; i++) {
        sum += v->codes[i];
    }
    for (i = 0; i < dim; i += 4096) { /* 4,096 squares fit 32 bits */
        const uint32_t end = dim - i < 4096 ? dim : i + 4096;
        int32_t part = 0;
        uint32_t j;

        for (j = i; j < end; j++) {
            part += v->codes[j] * v->codes[j];
        }
        squares += part;
    }
    q->mul = 2 * v->grain;
    q->sum = 128 * sum;
    q->square = (float)((double)squares * (double)v->grain * (double)v->grain);
    for (i = 0; i < VEC_NEAR_LANES; i++) {
        q->keys[i] = INFINITY;
        q->at[i] = 0;
    }
    memset(q->codes + dim, 0, bytes - dim);
    memcpy(q->codes, v->codes, dim);
}

/* What any machine can do. */
void vec_scalar_near_scan(struct vec_near_query *const *q, size_t nq,
                          uint32_t dim, const uint8_t *blocks, size_t n,
                          struct near_out out)
{
    const size_t bytes = near_block_bytes(dim);
    size_t i, j, w, lane;

    for (i = 0; i < n; i++) {
        const uint8_t *block = blocks + i * bytes;
        const float *factors = (const float *)(const void *)block;

        for (j = 0; j < nq; j++) {
            int32_t sums[VEC_NEAR_LANES] = {0};

            for (w = 0; w < near_words(dim); w++) {
                const uint8_t *x =
                    block + NEAR_CODES_AT + w * 4 * VEC_NEAR_LANES;
                const int8_t *y = (const int8_t *)q[j]->codes + 4 * w;

                for (lane = 0; lane < VEC_NEAR_LANES; lane++) {
                    sums[lane] += (x[4 * lane] - 128) * y[0] +
                                  (x[4 * lane + 1] - 128) * y[1] +
                                  (x[4 * lane + 2] - 128) * y[2] +
                                  (x[4 * lane + 3] - 128) * y[3];
                }
            }
            for (lane = 0; lane < VEC_NEAR_LANES; lane++) {
                const float key =
                    factors[lane] - factors[VEC_NEAR_LANES + lane] * q[j]->mul *
                                        (float)sums[lane];

                if (out.keys) {
                    out.keys[j * out.stride + i * VEC_NEAR_LANES + lane] = key;
                } else if (key < q[j]->keys[lane]) {
                    q[j]->keys[lane] = key;
                    q[j]->at[lane] =
                        out.position + (uint32_t)(i * VEC_NEAR_LANES + lane);
                }
            }
        }
    }
}

void vec_near_scan(struct vec_near_query *const *q, size_t nq, uint32_t dim,
                   const uint8_t *blocks, size_t n, uint32_t first)
{
    const struct near_out out = {first, NULL, 0};

    vec_in_use->near_scan(q, nq, dim, blocks, n, out);
}

void vec_near_keys(struct vec_near_query *const *q, size_t nq, uint32_t dim,
                   const uint8_t *blocks, size_t n, float *keys, size_t stride)
{
    const struct near_out out = {0, keys, stride};

    vec_in_use->near_scan(q, nq, dim, blocks, n, out);
}
