/* Rows that come from outside, such as a file: see vec.h. */
#include <math.h>

#include "vec/pq.h"
#include "vec/vec.h"
#include "vec/vec_impl.h"

/* Each loop has no early way out, so that the compiler can make it wide. */

static bool floats_are_finite(const uint8_t *code, uint32_t n)
{
    uint32_t bad = 0;
    uint32_t i;

    for (i = 0; i < n; i++) {
        uint32_t bits;

        memcpy(&bits, code + 4 * (size_t)i, sizeof(bits));
        bad |= (bits & 0x7f800000u) == 0x7f800000u;
    }
    return !bad;
}

static bool halves_are_finite(const uint8_t *code, uint32_t n, uint16_t mask)
{
    uint16_t bad = 0;
    uint32_t i;

    for (i = 0; i < n; i++) {
        uint16_t bits;

        memcpy(&bits, code + 2 * (size_t)i, sizeof(bits));
        bad |= (bits & mask) == mask;
    }
    return !bad;
}

/* Kernels count on -128 not being there. Eight codes at a time: a byte of
 * `rest` that is zero leaves its highest bit in `bad`. */
static bool codes_are_in_range(const uint8_t *code, uint32_t n)
{
    const uint64_t ones = UINT64_C(0x0101010101010101);
    const uint64_t highs = ones << 7;
    uint64_t bad = 0;
    uint32_t i;

    for (i = 0; i + 8 <= n; i += 8) {
        uint64_t rest;

        memcpy(&rest, code + i, sizeof(rest));
        rest ^= highs;
        bad |= (rest - ones) & ~rest & highs;
    }
    for (; i < n; i++) {
        bad |= code[i] == 0x80;
    }
    return !bad;
}

static bool padding_is_zero(const struct vec_format *f, const uint8_t *code)
{
    uint32_t i;

    for (i = f->dim; i < f->code_bytes * 8; i++) {
        if (code[i / 8] >> (i % 8) & 1) {
            return false;
        }
    }
    return true;
}

/* Half a byte is over where the number of parts is odd. */
static bool product_is_sound(const struct vec_format *f, const uint8_t *row)
{
    const uint8_t *behind = row + f->row_bytes - 2;

    return !(f->pq->m % 2 && row[f->code_bytes - 1] >> 4) && !behind[0] &&
           !behind[1];
}

static bool factor_is_sound(const uint8_t *row, uint32_t at)
{
    float value = vec_load_f32(row + at);

    return isfinite(value) && value >= 0;
}

static bool code_is_sound(const struct vec_format *f, const uint8_t *row)
{
    switch (f->type) {
    case VEC_F32:
        return floats_are_finite(row, f->dim);
    case VEC_F16:
        return halves_are_finite(row, f->dim, 0x7c00);
    case VEC_BF16:
        return halves_are_finite(row, f->dim, 0x7f80);
    case VEC_I8:
        return codes_are_in_range(row, f->dim) &&
               factor_is_sound(row, f->factor_at + 4);
    case VEC_BIT:
        return padding_is_zero(f, row);
    case VEC_PQ:
        return product_is_sound(f, row);
    case VEC_TYPE_COUNT:
        break;
    }
    return false;
}

enum err vec_adopt_row(const struct vec_format *f, uint8_t *row)
{
    if (!code_is_sound(f, row) || !factor_is_sound(row, f->factor_at)) {
        return ERR_CORRUPT;
    }
    if (f->factor_at > f->code_bytes) {
        memset(row + f->code_bytes, 0, f->factor_at - f->code_bytes);
    }
    if (f->type == VEC_I8 && f->metric == VEC_L2) {
        uint32_t sumsq = vec_i8_sumsq(row, f->dim);

        memcpy(row + f->factor_at + 8, &sumsq, sizeof(sumsq));
    }
    return ERR_OK;
}
