/* Making centroids, and bytes of them.
 *
 * They are one block of memory: the struct, codes, rows, the centre. */
#include "index/ivf/centroids.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "index/ivf/centroids_impl.h"

enum { LANES = 8, FORM_VERSION = 1, FORM_HEAD = IVF_CENTROIDS_HEAD };

static size_t aligned(size_t bytes)
{
    return (bytes + VEC_ALIGN - 1) & ~(size_t)(VEC_ALIGN - 1);
}

/* ---- vectors ------------------------------------------------------------- */

static bool by_direction(enum vec_metric metric)
{
    return metric == VEC_COSINE || metric == VEC_IP;
}

static float add_up(const float *lanes)
{
    return ((lanes[0] + lanes[4]) + (lanes[2] + lanes[6])) +
           ((lanes[1] + lanes[5]) + (lanes[3] + lanes[7]));
}

static float sum_of_squares(const float *x, uint32_t dim, float scale)
{
    float lanes[LANES] = {0};
    uint32_t i, j;

    for (i = 0; i + LANES <= dim; i += LANES) {
        for (j = 0; j < LANES; j++) {
            float v = x[i + j] * scale;

            lanes[j] += v * v;
        }
    }
    for (j = 0; i < dim; i++, j++) {
        float v = x[i] * scale;

        lanes[j] += v * v;
    }
    return add_up(lanes);
}

void ivf_straighten(enum vec_metric metric, const float *x, uint32_t dim,
                    float *out)
{
    static const float scales[] = {1.0f, 0x1p80f, 0x1p-80f, 0x1p126f};
    float scale = 0, sum = 0;
    size_t i;

    if (!by_direction(metric)) {
        memmove(out, x, dim * sizeof(*out));
        return;
    }
    for (i = 0; i < ARRAY_LEN(scales); i++) {
        scale = scales[i];
        sum = sum_of_squares(x, dim, scale);
        if (sum >= 0x1p-100f && sum < INFINITY) {
            break;
        }
    }
    if (!(sum >= 0x1p-100f && sum < INFINITY)) {
        memset(out, 0, dim * sizeof(*out));
        return;
    }
    sum = 1.0f / sqrtf(sum);
    for (i = 0; i < dim; i++) {
        out[i] = x[i] * scale * sum;
    }
}

static float l1_distance(const float *a, const float *b, uint32_t dim)
{
    float lanes[LANES] = {0};
    uint32_t i, j;

    for (i = 0; i + LANES <= dim; i += LANES) {
        for (j = 0; j < LANES; j++) {
            lanes[j] += fabsf(a[i + j] - b[i + j]);
        }
    }
    for (j = 0; i < dim; i++, j++) {
        lanes[j] += fabsf(a[i] - b[i]);
    }
    return add_up(lanes);
}

float ivf_distance(enum vec_metric metric, const float *a, const float *b,
                   uint32_t dim)
{
    float lanes[LANES] = {0};
    uint32_t i, j;

    if (metric == VEC_L1) {
        return l1_distance(a, b, dim);
    }
    for (i = 0; i + LANES <= dim; i += LANES) {
        for (j = 0; j < LANES; j++) {
            float v = a[i + j] - b[i + j];

            lanes[j] += v * v;
        }
    }
    for (j = 0; i < dim; i++, j++) {
        float v = a[i] - b[i];

        lanes[j] += v * v;
    }
    return add_up(lanes);
}

bool ivf_encode(const struct vec_format *f, const float *x, const float *centre,
                float *room, uint8_t *code)
{
    uint32_t i;

    for (i = 0; i < f->dim; i++) {
        room[i] = x[i] - centre[i];
    }
    if (!vec_encode(f, room, code)) {
        return true;
    }
    memset(room, 0, f->dim * sizeof(*room));
    if (vec_encode(f, room, code)) {
        ASSERT(!"zero is a vector");
    }
    return false;
}

struct vec_near_vector ivf_vector(const struct vec_format *f,
                                  const uint8_t *row)
{
    struct vec_near_vector v = {(const int8_t *)row, vec_range(f, row) / 127};

    return v;
}

void ivf_add_code(const struct vec_format *f, const uint8_t *code, float *sums)
{
    const int8_t *parts = (const int8_t *)code;
    const float grain = vec_range(f, code) / 127;
    uint32_t i;

    for (i = 0; i < f->dim; i++) {
        sums[i] += grain * (float)parts[i];
    }
}

/* ---- making them --------------------------------------------------------- */

/* Everything but rows and centre, which the caller fills in. */
static struct ivf_centroids *make(enum vec_metric metric, uint32_t dim,
                                  uint32_t n)
{
    struct vec_format f;
    size_t floats = ((size_t)n + 1) * dim * sizeof(float);
    size_t head = aligned(sizeof(struct ivf_centroids));
    struct ivf_centroids *c;
    size_t groups;

    vec_format_init(&f, VEC_I8, VEC_L2, dim);
    groups = ivf_groups_bytes(dim, n);
    c = mem_try_alloc(head + groups + floats + VEC_ALIGN);
    if (!c) {
        return NULL;
    }
    memset(c, 0, sizeof(*c));
    c->n = n;
    c->dim = dim;
    c->metric = metric;
    c->coded = f;
    ivf_groups_init(&c->groups, dim, n, (uint8_t *)c + head);
    c->rows = (float *)(void *)((uint8_t *)c + head + groups);
    c->centre = c->rows + (size_t)n * dim;
    c->bytes = mem_size(c);
    return c;
}

/* Codes the rows and groups them. */
static enum err code(struct ivf_centroids *c)
{
    const size_t bytes = c->coded.row_bytes;
    float *room = mem_try_alloc(c->dim * sizeof(*room));
    uint8_t *codes = mem_try_alloc(c->n * bytes + c->coded.overread);
    struct ivf_scratch *s = NULL;
    double norms = 0, grains = 0;
    enum err err = ERR_NOMEM;
    uint32_t i;

    if (!room || !codes) {
        goto out;
    }
    err = ERR_NOT_FINITE;
    for (i = 0; i < c->n; i++) {
        uint8_t *at = codes + i * bytes;

        if (!ivf_encode(&c->coded, c->rows + (size_t)i * c->dim, c->centre,
                        room, at)) {
            goto out;
        }
        norms += (double)vec_norm(&c->coded, at);
        grains += (double)vec_range(&c->coded, at) / 127;
    }
    c->reach = (float)(norms / c->n);
    c->grain = (float)(grains / c->n);
    memset(codes + c->n * bytes, 0, c->coded.overread);
    s = ivf_scratch_create();
    err = ivf_groups_make(&c->groups, &c->coded, codes, NULL, true, s);
    ivf_scratch_destroy(s);

out:
    mem_free(room);
    mem_free(codes);
    return err;
}

static void centre_of_rows(struct ivf_centroids *c)
{
    uint32_t i, j;

    for (j = 0; j < c->dim; j++) {
        double sum = 0;

        for (i = 0; i < c->n; i++) {
            sum += (double)c->rows[(size_t)i * c->dim + j];
        }
        c->centre[j] = (float)(sum / c->n);
    }
}

enum err ivf_centroids_create(enum vec_metric metric, uint32_t dim, uint32_t n,
                              const float *rows, const float *centre,
                              struct ivf_centroids **out)
{
    struct ivf_centroids *c = make(metric, dim, n);
    enum err err;
    uint32_t i;

    if (!c) {
        return ERR_NOMEM;
    }
    for (i = 0; i < n; i++) {
        ivf_straighten(metric, rows + (size_t)i * dim, dim,
                       c->rows + (size_t)i * dim);
    }
    if (centre) {
        memcpy(c->centre, centre, dim * sizeof(*centre));
    } else {
        centre_of_rows(c);
    }
    err = code(c);
    if (err) {
        ivf_centroids_destroy(c);
        return err;
    }
    *out = c;
    return ERR_OK;
}

void ivf_centroids_destroy(struct ivf_centroids *c)
{
    mem_free(c);
}

/* ---- bytes --------------------------------------------------------------- */

static void put_u32(uint8_t *out, uint32_t value)
{
    out[0] = (uint8_t)value;
    out[1] = (uint8_t)(value >> 8);
    out[2] = (uint8_t)(value >> 16);
    out[3] = (uint8_t)(value >> 24);
}

static uint32_t get_u32(const uint8_t *in)
{
    return (uint32_t)in[0] | (uint32_t)in[1] << 8 | (uint32_t)in[2] << 16 |
           (uint32_t)in[3] << 24;
}

size_t ivf_centroids_size(const struct ivf_centroids *c)
{
    return FORM_HEAD + ((size_t)c->n + 1) * c->dim * sizeof(float);
}

void ivf_centroids_head(const struct ivf_centroids *c,
                        uint8_t out[IVF_CENTROIDS_HEAD])
{
    memset(out, 0, FORM_HEAD);
    out[0] = FORM_VERSION;
    out[1] = (uint8_t)c->metric;
    put_u32(out + 4, c->dim);
    put_u32(out + 8, c->n);
}

/* The centre lies behind the rows: see make(). */
struct bytes ivf_centroids_floats(const struct ivf_centroids *c)
{
    return bytes_of(c->rows, ((size_t)c->n + 1) * c->dim * sizeof(float));
}

void ivf_centroids_write(const struct ivf_centroids *c, uint8_t *out)
{
    struct bytes floats = ivf_centroids_floats(c);

    ivf_centroids_head(c, out);
    memcpy(out + FORM_HEAD, floats.data, floats.len);
}

/* Whether a row is what ivf_straighten() gives. */
static bool is_straight(const struct ivf_centroids *c, const float *row)
{
    double sum = 0;
    uint32_t i;

    for (i = 0; i < c->dim; i++) {
        if (!isfinite(row[i])) {
            return false;
        }
        sum += (double)row[i] * (double)row[i];
    }
    return !by_direction(c->metric) || sum == 0 || fabs(sum - 1) < 1e-3;
}

enum err ivf_centroids_read(const uint8_t *data, size_t len,
                            enum vec_metric metric, uint32_t dim,
                            struct ivf_centroids **out)
{
    struct ivf_centroids *c;
    enum err err = ERR_CORRUPT;
    size_t floats;
    uint32_t n, i;

    if (len < FORM_HEAD || data[0] != FORM_VERSION || data[1] != metric ||
        data[2] || data[3] || get_u32(data + 4) != dim ||
        get_u32(data + 12) != 0) {
        return ERR_CORRUPT;
    }
    n = get_u32(data + 8);
    floats = (size_t)n * dim * sizeof(float);
    if (n == 0 || n > IVF_LISTS_MAX ||
        len != FORM_HEAD + floats + dim * sizeof(float)) {
        return ERR_CORRUPT;
    }
    c = make(metric, dim, n);
    if (!c) {
        return ERR_NOMEM;
    }
    memcpy(c->rows, data + FORM_HEAD, floats);
    memcpy(c->centre, data + FORM_HEAD + floats, dim * sizeof(float));
    for (i = 0; i < n; i++) {
        if (!is_straight(c, c->rows + (size_t)i * dim)) {
            goto fail;
        }
    }
    for (i = 0; i < dim; i++) {
        if (!isfinite(c->centre[i])) {
            goto fail;
        }
    }
    err = code(c);
    if (err) {
        err = err == ERR_NOMEM ? err : ERR_CORRUPT;
        goto fail;
    }
    *out = c;
    return ERR_OK;

fail:
    ivf_centroids_destroy(c);
    return err;
}
