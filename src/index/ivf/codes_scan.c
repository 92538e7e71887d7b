/* Scanning codes, block after block. */
#include "index/ivf/codes.h"
#include "index/ivf/codes_impl.h"

static size_t padded(size_t bytes)
{
    return (bytes + VEC_ALIGN - 1) & ~(size_t)(VEC_ALIGN - 1);
}

size_t ivf_codes_query_bytes(const struct ivf_codes *c)
{
    size_t bytes = c->kind == IVF_CODES_PQ4
                       ? vec_pq_query_bytes(c->pq) + padded(c->floats.row_bytes)
                       : vec_query_bytes(&c->i8);

    return sizeof(struct ivf_codes_query) + bytes;
}

enum err ivf_codes_query_init(const struct ivf_codes *c, const void *x,
                              void *memory, struct ivf_codes_query **out)
{
    struct ivf_codes_query *q = memory;
    enum err err;

    q->codes = c;
    if (c->kind == IVF_CODES_PQ4) {
        uint8_t *row = q->memory + vec_pq_query_bytes(c->pq);

        err = vec_encode(&c->floats, x, row);
        if (!err) {
            q->pq =
                vec_pq_query_init(c->pq, (const float *)(void *)row, q->memory);
        }
    } else {
        err = vec_query_init(&c->i8, x, q->memory, &q->i8);
    }
    if (err) {
        return err;
    }
    *out = q;
    return ERR_OK;
}

static void fetch(const uint8_t *codes, size_t bytes)
{
    size_t i;

    for (i = 0; codes && i < bytes; i += CACHE_LINE) {
        __builtin_prefetch(codes + i, 0, 2);
    }
}

static uint32_t select_lanes(const float *keys, float limit)
{
    uint32_t at[IVF_CODES_LANES];
    size_t n = vec_select(keys, IVF_CODES_LANES, limit, at);
    uint32_t lanes = 0;
    size_t i;

    for (i = 0; i < n; i++) {
        lanes |= (uint32_t)1 << at[i];
    }
    return lanes;
}

static void scan_i8(const struct ivf_codes_query *q,
                    const uint8_t *const *blocks, size_t n, float limit,
                    uint32_t *below, float *keys)
{
    size_t i;

    for (i = 0; i < n; i++, keys += IVF_CODES_LANES) {
        if (i + 1 < n) {
            fetch(blocks[i + 1], q->codes->block_bytes);
        }
        below[i] = 0;
        if (LIKELY(blocks[i] != NULL)) {
            vec_scan(q->i8, blocks[i], IVF_CODES_LANES, keys);
            below[i] = select_lanes(keys, limit);
        }
    }
}

void ivf_codes_scan(const struct ivf_codes_query *q, const uint32_t *blocks,
                    size_t n, float limit, uint32_t *below, float *keys)
{
    const uint8_t *at[IVF_CODES_SCAN_MAX];
    size_t i;

    ASSERT(n <= IVF_CODES_SCAN_MAX);
    for (i = 0; i < n; i++) {
        at[i] = codes_block(q->codes, blocks[i]);
    }
    if (q->codes->kind == IVF_CODES_PQ4) {
        vec_pq_scan(q->pq, at, n, limit, below, keys);
    } else {
        scan_i8(q, at, n, limit, below, keys);
    }
}
