/* Scanning product codes with NEON: a register holds the codes of one part of a
 * block, and its table. */
#include "vec/kernels_pq.h"

#include <arm_neon.h>

PQ_PLAIN

PQ_TURN(16)

static void turn(const uint8_t *const *rows, uint32_t m, uint8_t *block)
{
    size_t part;

    for (part = 0; part + 32 <= m; part += 32) {
        pq_turn_bytes_16(rows, part / 2, 32, block + 16 * part);
    }
    if (part < m) {
        pq_turn_bytes_16(rows, part / 2, m - part, block + 16 * part);
    }
}

/* Sums of 16 lanes. */
struct wide {
    uint16x8_t first;
    uint16x8_t second;
};

ALWAYS_INLINE void widen(struct wide *w, uint8x16_t bytes)
{
    w->first = vaddw_u8(w->first, vget_low_u8(bytes));
    w->second = vaddw_high_u8(w->second, bytes);
}

ALWAYS_INLINE void add_group(struct wide *low, struct wide *high,
                             const uint8_t *codes, const uint8_t *tables,
                             size_t n)
{
    uint8x16_t l = vdupq_n_u8(0);
    uint8x16_t h = vdupq_n_u8(0);
    size_t i;

#pragma GCC unroll 4
    for (i = 0; i < n; i++) {
        uint8x16_t c = vld1q_u8(codes + 16 * i);
        uint8x16_t t = vld1q_u8(tables + 16 * i);

        l = vaddq_u8(l, vqtbl1q_u8(t, vandq_u8(c, vdupq_n_u8(15))));
        h = vaddq_u8(h, vqtbl1q_u8(t, vshrq_n_u8(c, 4)));
    }
    widen(low, l);
    widen(high, h);
}

/* Keys of four lanes; bits of those not above the limit. */
ALWAYS_INLINE uint32_t put_four(const struct vec_pq_query *q,
                                const uint8_t *block, size_t from,
                                uint16x4_t sums, float limit, float *keys)
{
    static const uint32_t bits[4] = {1, 2, 4, 8};
    const struct vec_pq *pq = q->pq;
    float32x4_t key = vcvtq_f32_u32(vmovl_u16(sums));
    float32x4_t add = vdupq_n_f32(q->add);
    uint32x4_t is_below;

    key = vaddq_f32(vmulq_f32(key, vdupq_n_f32(q->step)), vdupq_n_f32(q->base));
    if (pq->ratio_at) {
        uint16x4_t ratio =
            vreinterpret_u16_u8(vld1_u8(block + pq->ratio_at + 2 * from));

        key = vmulq_f32(key, vcvtq_f32_u32(vmovl_u16(ratio)));
    }
    if (pq->square_at) {
        add = vaddq_f32(add, vreinterpretq_f32_u8(
                                 vld1q_u8(block + pq->square_at + 4 * from)));
    }
    key = vaddq_f32(add, key);
    vst1q_f32(keys + from, key);
    is_below = vcleq_f32(key, vdupq_n_f32(limit));
    return vaddvq_u32(vandq_u32(is_below, vld1q_u32(bits)));
}

ALWAYS_INLINE uint32_t put_half(const struct vec_pq_query *q,
                                const uint8_t *block, size_t from,
                                const struct wide *w, float limit, float *keys)
{
    return put_four(q, block, from, vget_low_u16(w->first), limit, keys) |
           put_four(q, block, from + 4, vget_high_u16(w->first), limit, keys)
               << 4 |
           put_four(q, block, from + 8, vget_low_u16(w->second), limit, keys)
               << 8 |
           put_four(q, block, from + 12, vget_high_u16(w->second), limit, keys)
               << 12;
}

static uint32_t scan_block(const struct vec_pq_query *q, const uint8_t *block,
                           float limit, float *keys)
{
    const size_t n = q->pq->m;
    struct wide low = {vdupq_n_u16(0), vdupq_n_u16(0)};
    struct wide high = low;
    size_t i;

    for (i = 0; i + 4 <= n; i += 4) {
        add_group(&low, &high, block + 16 * i, q->tables + 16 * i, 4);
    }
    for (; i < n; i++) {
        add_group(&low, &high, block + 16 * i, q->tables + 16 * i, 1);
    }
    return put_half(q, block, 0, &low, limit, keys) |
           put_half(q, block, 16, &high, limit, keys) << 16;
}

static void scan(const struct vec_pq_query *q, const uint8_t *const *blocks,
                 size_t n, float limit, uint32_t *below, float *keys)
{
    size_t i;

    for (i = 0; i < n; i++, keys += VEC_PQ_LANES) {
        pq_fetch(blocks, i, n, q->pq->block_bytes);
        below[i] = LIKELY(blocks[i] != NULL)
                       ? scan_block(q, blocks[i], limit, keys)
                       : 0;
    }
}

static const struct vec_pq_kernels kernels = {nearest, table, scan, turn};

void vec_neon_pq_fill(struct vec_kernels *k)
{
    k->pq = &kernels;
}
