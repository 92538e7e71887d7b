/* Scanning codes, block after block. */
#include "index/ivf/codes.h"
#include "index/ivf/codes_impl.h"

size_t ivf_codes_query_bytes(const struct ivf_codes *c)
{
    return sizeof(struct ivf_codes_query) + vec_query_bytes(&c->i8);
}

enum err ivf_codes_query_init(const struct ivf_codes *c, const void *x,
                              void *memory, struct ivf_codes_query **out)
{
    struct ivf_codes_query *q = memory;
    enum err err;

    q->codes = c;
    err = vec_query_init(&c->i8, x, q->memory, &q->i8);
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

void ivf_codes_scan(const struct ivf_codes_query *q, const uint32_t *blocks,
                    size_t n, float limit, uint32_t *below, float *keys)
{
    const struct ivf_codes *c = q->codes;
    const uint8_t *next = codes_block(c, blocks[0]);
    size_t i;

    ASSERT(n <= IVF_CODES_SCAN_MAX);
    for (i = 0; i < n; i++, keys += IVF_CODES_LANES) {
        const uint8_t *codes = next;

        if (i + 1 < n) {
            next = codes_block(c, blocks[i + 1]);
            fetch(next, c->block_bytes);
        }
        below[i] = 0;
        if (LIKELY(codes != NULL)) {
            vec_scan(q->i8, codes, IVF_CODES_LANES, keys);
            below[i] = select_lanes(keys, limit);
        }
    }
}
