/* Scanning product codes in plain C: the reference for the others. */
#include "vec/kernels_pq.h"

PQ_PLAIN

static void turn(const uint8_t *const *rows, uint32_t m, uint8_t *block)
{
    const uint32_t half = VEC_PQ_LANES / 2;
    uint32_t i, j;

    for (j = 0; j < m; j++) {
        for (i = 0; i < half; i++) {
            block[half * j + i] =
                (uint8_t)((rows[i][j / 2] >> (4 * (j % 2)) & 15) |
                          (rows[half + i][j / 2] >> (4 * (j % 2)) & 15) << 4);
        }
    }
}

static uint32_t sum_of(const struct vec_pq_query *q, const uint8_t *block,
                       uint32_t lane)
{
    const uint32_t half = VEC_PQ_LANES / 2;
    uint32_t sum = 0;
    uint32_t j;

    for (j = 0; j < q->pq->m; j++) {
        uint32_t both = block[half * j + lane % half];

        sum += q->tables[VEC_PQ_POINTS * j +
                         (lane < half ? both & 15 : both >> 4)];
    }
    return sum;
}

static void scan(const struct vec_pq_query *q, const uint8_t *const *blocks,
                 size_t n, float limit, uint32_t *below, float *keys)
{
    uint32_t lane;
    size_t i;

    for (i = 0; i < n; i++, keys += VEC_PQ_LANES) {
        below[i] = 0;
        for (lane = 0; blocks[i] && lane < VEC_PQ_LANES; lane++) {
            keys[lane] = pq_key(q, blocks[i], lane, sum_of(q, blocks[i], lane));
            below[i] |= (uint32_t)(keys[lane] <= limit) << lane;
        }
    }
}

const struct vec_pq_kernels vec_scalar_pq = {nearest, table, scan, turn};
