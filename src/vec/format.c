/* Formats, and what keys mean to clients. */
#include "vec/vec.h"

#include <math.h>

#include "vec/pq_rows.h"
#include "vec/vec_impl.h"

static const char *const type_names[VEC_PQ + 1] = {
    [VEC_F32] = "f32", [VEC_I8] = "int8",   [VEC_BIT] = "bin",
    [VEC_F16] = "f16", [VEC_BF16] = "bf16", [VEC_PQ] = "pq4"};
static const char *const metric_names[VEC_METRIC_COUNT] = {"cosine", "l2", "ip",
                                                           "l1"};

const char *vec_type_name(enum vec_type type)
{
    return type_names[type];
}

const char *vec_metric_name(enum vec_metric metric)
{
    return metric_names[metric];
}

static uint32_t code_bytes(enum vec_type type, uint32_t dim)
{
    switch (type) {
    case VEC_F32:
        return 4 * dim;
    case VEC_F16:
    case VEC_BF16:
        return 2 * dim;
    case VEC_I8:
        return dim;
    case VEC_BIT:
    case VEC_TYPE_COUNT:
    case VEC_PQ:
        break;
    }
    return (dim + 63) / 64 * 8; /* whole 64-bit words, as Redis stores them */
}

void vec_format_init(struct vec_format *f, enum vec_type type,
                     enum vec_metric metric, uint32_t dim)
{
    uint32_t factors = 1;

    ASSERT(type < VEC_TYPE_COUNT && metric < VEC_METRIC_COUNT);
    ASSERT(dim >= 1 && dim <= VEC_DIM_MAX);
    if (type == VEC_I8) {
        factors = metric == VEC_L2 ? 3 : 2;
    }
    f->type = type;
    f->metric = metric;
    f->dim = dim;
    f->code_bytes = code_bytes(type, dim);
    f->factor_at = (f->code_bytes + 3) & ~3u;
    f->row_bytes = f->factor_at + 4 * factors;
    f->overread = VEC_OVERREAD;
    f->pq = NULL;
}

void vec_format_init_pq(struct vec_format *f, enum vec_metric metric,
                        uint32_t dim, uint32_t m, const struct vec_pq *pq)
{
    ASSERT(vec_pq_has_rows(metric, dim, m));
    f->type = VEC_PQ;
    f->metric = metric;
    f->dim = dim;
    f->code_bytes = (m + 1) / 2;
    f->factor_at = (f->code_bytes + 3) & ~3u;
    f->row_bytes = f->factor_at + 8;
    f->overread = VEC_OVERREAD;
    f->pq = pq;
}

float vec_norm(const struct vec_format *f, const uint8_t *row)
{
    return vec_load_f32(row + f->factor_at);
}

float vec_range(const struct vec_format *f, const uint8_t *row)
{
    ASSERT(f->type == VEC_I8);
    return vec_load_f32(row + f->factor_at + 4);
}

/* Keys of products are estimates: they may go past what keys can be. */
static float possible(const struct vec_format *f, float key)
{
    if (f->type != VEC_PQ || f->metric == VEC_IP || !(key == key)) {
        return key;
    }
    key = key < 0 ? 0 : key;
    return f->metric == VEC_COSINE && key > 2 ? 2 : key;
}

double vec_distance(const struct vec_format *f, float key)
{
    key = possible(f, key);
    switch (f->metric) {
    case VEC_L2:
        return sqrt((double)key);
    case VEC_IP:
        return 1.0 + (double)key;
    case VEC_COSINE:
    case VEC_L1:
    case VEC_METRIC_COUNT:
        break;
    }
    return (double)key;
}

double vec_score(const struct vec_format *f, float key)
{
    switch (f->metric) {
    case VEC_COSINE:
        return 1.0 - (double)possible(f, key) / 2.0;
    case VEC_IP:
        return -(double)key;
    case VEC_L2:
    case VEC_L1:
    case VEC_METRIC_COUNT:
        break;
    }
    return 1.0 / (1.0 + vec_distance(f, key));
}

/* Maps floats to integers of the same order, and back. */
static int32_t order_of(float value)
{
    int32_t bits;

    memcpy(&bits, &value, sizeof(bits));
    return bits < 0 ? (int32_t)(0x80000000u - (uint32_t)bits) : bits;
}

static float float_at(int32_t order)
{
    uint32_t bits = order < 0 ? 0x80000000u - (uint32_t)order : (uint32_t)order;
    float value;

    memcpy(&value, &bits, sizeof(value));
    return value;
}

/* Distances grow with keys but round, so the limit is searched for among the
 * keys themselves instead of being computed: 32 steps. */
float vec_key_limit(const struct vec_format *f, double distance)
{
    bool negative = f->metric == VEC_COSINE || f->metric == VEC_IP;
    int32_t low = order_of(negative ? -INFINITY : 0.0f);
    int32_t high = order_of(INFINITY);

    if (!(vec_distance(f, float_at(low)) <= distance)) {
        return -INFINITY;
    }
    while (low < high) { /* low passes; what is above high does not */
        int32_t middle = (int32_t)(((int64_t)low + high + 1) >> 1);

        if (vec_distance(f, float_at(middle)) <= distance) {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    return float_at(low);
}
