/* Projections: see vec.h. The fixed one is a kernel. */
#include <math.h>

#include "vec/vec.h"
#include "vec/vec_impl.h"

void vec_project(const void *x, uint32_t in_dim, float *out, uint32_t out_dim)
{
    vec_in_use->project(x, in_dim, out, out_dim);
}

void vec_project_matrix(uint32_t in_dim, size_t first, size_t n, float *out)
{
    const float s = (float)(1.0 / sqrt((double)in_dim));
    size_t i;

    for (i = 0; i < n; i++) {
        uint32_t row = (uint32_t)((first + i) / in_dim);
        uint32_t column = (uint32_t)((first + i) % in_dim);

        out[i] = __builtin_parity(row & column) ? -s : s;
    }
}

void vec_project_by(const void *matrix, const void *x, uint32_t in_dim,
                    float *out, uint32_t out_dim)
{
    const uint8_t *row = matrix;
    const uint8_t *in = x;
    uint32_t i, j;

    for (i = 0; i < out_dim; i++, row += 4 * (size_t)in_dim) {
        float sum = 0;

        for (j = 0; j < in_dim; j++) {
            sum += vec_load_f32(in + 4 * (size_t)j) *
                   vec_load_f32(row + 4 * (size_t)j);
        }
        out[i] = sum;
    }
}
