#include "index/ivf/groups.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "index/ivf/centroids_impl.h"

enum {
    UNGROUPED_MAX = 256, /* lists */
    ROUNDS_FRESH = 6,
    ROUNDS_AGAIN = 1,
};

static size_t aligned(size_t bytes)
{
    return (bytes + VEC_ALIGN - 1) & ~(size_t)(VEC_ALIGN - 1);
}

static uint32_t blocks_of(uint32_t n)
{
    return (n + VEC_NEAR_LANES - 1) / VEC_NEAR_LANES;
}

static uint32_t groups_for(uint32_t n_lists)
{
    uint32_t n = (uint32_t)sqrt((double)n_lists);

    if (n_lists <= UNGROUPED_MAX) {
        return 1;
    }
    return n < IVF_GROUPS_MAX ? n : IVF_GROUPS_MAX;
}

/* Each group may leave places of its last block over. */
static size_t blocks_most(uint32_t n_lists)
{
    return blocks_of(n_lists) + groups_for(n_lists);
}

size_t ivf_groups_bytes(uint32_t dim, uint32_t n_lists)
{
    const uint32_t n = groups_for(n_lists);
    const size_t most = blocks_most(n_lists);

    return (most + blocks_of(n)) * vec_near_block_bytes(dim) +
           aligned((most * VEC_NEAR_LANES + n_lists + n + 1) *
                   sizeof(uint32_t));
}

void ivf_groups_init(struct ivf_groups *g, uint32_t dim, uint32_t n_lists,
                     void *memory)
{
    const size_t block = vec_near_block_bytes(dim);
    uint8_t *at = memory;

    g->dim = dim;
    g->n_lists = n_lists;
    g->n = groups_for(n_lists);
    g->blocks = at;
    at += blocks_most(n_lists) * block;
    g->heads = at;
    at += blocks_of(g->n) * block;
    g->ids = (uint32_t *)(void *)at;
    g->group = g->ids + blocks_most(n_lists) * VEC_NEAR_LANES;
    g->start = g->group + n_lists;
    memset(g->group, 0, n_lists * sizeof(*g->group));
}

/* ---- making them --------------------------------------------------------- */

/* While groups are made. */
struct making {
    struct ivf_groups *g;
    const struct vec_format *f;
    const uint8_t *rows;
    const float *add;
    uint32_t *order; /* lists by group */
    uint32_t *first; /* in order, of each group, and the end */
    uint8_t *heads;  /* a row each */
    float *sums;     /* of dim */
    struct ivf_scratch *s;
};

static const uint8_t *row_of(const struct making *m, uint32_t list)
{
    return m->rows + (size_t)list * m->f->row_bytes;
}

static void sort(struct making *m)
{
    const struct ivf_groups *g = m->g;
    uint32_t i;

    memset(m->first, 0, (g->n + 1) * sizeof(*m->first));
    for (i = 0; i < g->n_lists; i++) {
        m->first[g->group[i] + 1]++;
    }
    for (i = 0; i < g->n; i++) {
        m->first[i + 1] += m->first[i];
    }
    /* The first of each runs up to the next one's, and is put back. */
    for (i = 0; i < g->n_lists; i++) {
        m->order[m->first[g->group[i]]++] = i;
    }
    for (i = g->n; i > 0; i--) {
        m->first[i] = m->first[i - 1];
    }
    m->first[0] = 0;
}

/* n rows into blocks. */
static void pack(const struct making *m, const uint8_t *rows, uint32_t n,
                 uint8_t *blocks)
{
    struct vec_near_vector v[VEC_NEAR_LANES];
    uint32_t i, lane;

    for (i = 0; i < n; i += lane) {
        for (lane = 0; lane < VEC_NEAR_LANES && i + lane < n; lane++) {
            v[lane] =
                ivf_vector(m->f, rows + (size_t)(i + lane) * m->f->row_bytes);
        }
        vec_near_pack(m->g->dim, v, lane, NULL, blocks);
        blocks += vec_near_block_bytes(m->g->dim);
    }
}

/* Finds each list's group. */
static void assign(struct making *m)
{
    struct ivf_groups *g = m->g;
    const size_t query_bytes = vec_near_query_bytes(g->dim);
    uint8_t *memory = ivf_scratch_room(m->s, VEC_BATCH_MAX * query_bytes);
    struct vec_near_query *queries[VEC_BATCH_MAX];
    uint32_t i, j, n;

    pack(m, m->heads, g->n, g->heads);
    for (i = 0; i < g->n_lists; i += n) {
        n = g->n_lists - i;
        n = n < VEC_BATCH_MAX ? n : (uint32_t)VEC_BATCH_MAX;
        for (j = 0; j < n; j++) {
            struct vec_near_vector v = ivf_vector(m->f, row_of(m, i + j));

            queries[j] =
                (struct vec_near_query *)(void *)(memory + j * query_bytes);
            vec_near_query_init(queries[j], g->dim, &v);
        }
        vec_near_scan(queries, n, g->dim, g->heads, blocks_of(g->n), 0);
        for (j = 0; j < n; j++) {
            g->group[i + j] = ivf_nearest_of(queries[j]);
        }
    }
}

/* Each head becomes the mean of its group; one without a group becomes what it
 * is not: nothing is near to it. */
static void move_heads(struct making *m)
{
    const uint32_t dim = m->g->dim;
    uint32_t i, j;

    for (i = 0; i < m->g->n; i++) {
        const uint32_t from = m->first[i], to = m->first[i + 1];

        if (from == to) {
            continue;
        }
        memset(m->sums, 0, dim * sizeof(*m->sums));
        for (j = from; j < to; j++) {
            ivf_add_code(m->f, row_of(m, m->order[j]), m->sums);
        }
        for (j = 0; j < dim; j++) {
            m->sums[j] /= (float)(to - from);
        }
        /* Sums of what codes stand for may leave float32's range. */
        if (vec_encode(m->f, m->sums, m->heads + (size_t)i * m->f->row_bytes)) {
            memcpy(m->heads + (size_t)i * m->f->row_bytes,
                   row_of(m, m->order[from]), m->f->row_bytes);
        }
    }
}

/* Puts the lists into their groups' blocks. */
static void place(const struct making *m)
{
    struct ivf_groups *g = m->g;
    const size_t bytes = vec_near_block_bytes(g->dim);
    struct vec_near_vector v[VEC_NEAR_LANES];
    float add[VEC_NEAR_LANES];
    uint32_t i, j, lane, block = 0;

    for (i = 0; i < g->n; i++) {
        g->start[i] = block;
        for (j = m->first[i]; j < m->first[i + 1]; block++) {
            uint32_t *ids = g->ids + (size_t)block * VEC_NEAR_LANES;

            for (lane = 0; lane < VEC_NEAR_LANES; lane++) {
                ids[lane] = IVF_LIST_NONE;
            }
            for (lane = 0; lane < VEC_NEAR_LANES && j < m->first[i + 1];
                 lane++) {
                uint32_t list = m->order[j++];

                ids[lane] = list;
                v[lane] = ivf_vector(m->f, row_of(m, list));
                add[lane] = m->add ? m->add[list] : 0;
            }
            vec_near_pack(g->dim, v, lane, add, g->blocks + block * bytes);
        }
    }
    g->start[g->n] = block;
}

/* Where heads begin: some of the lists, or the means of the groups so far. */
static void begin(struct making *m, bool fresh)
{
    const size_t bytes = m->f->row_bytes;
    uint32_t i;

    for (i = 0; i < m->g->n; i++) {
        uint64_t list = (uint64_t)i * m->g->n_lists / m->g->n;

        memcpy(m->heads + i * bytes, row_of(m, (uint32_t)list), bytes);
    }
    if (!fresh) {
        sort(m);
        move_heads(m);
    }
}

enum err ivf_groups_make(struct ivf_groups *g, const struct vec_format *f,
                         const uint8_t *rows, const float *add, bool fresh,
                         struct ivf_scratch *s)
{
    struct making m = {.g = g, .f = f, .rows = rows, .add = add, .s = s};
    uint32_t i, rounds = fresh ? ROUNDS_FRESH : ROUNDS_AGAIN;
    enum err err = ERR_NOMEM;

    m.order = mem_try_alloc(g->n_lists * sizeof(*m.order));
    m.first = mem_try_alloc((g->n + 1) * sizeof(*m.first));
    m.heads = mem_try_alloc(g->n * (size_t)f->row_bytes);
    m.sums = mem_try_alloc(g->dim * sizeof(*m.sums));
    if (!m.order || !m.first || !m.heads || !m.sums) {
        goto out;
    }
    if (g->n == 1) {
        memset(g->group, 0, g->n_lists * sizeof(*g->group));
        sort(&m);
        move_heads(&m);
    } else {
        begin(&m, fresh);
    }
    for (i = 0; g->n > 1 && i < rounds; i++) {
        assign(&m);
        sort(&m);
        move_heads(&m);
    }
    pack(&m, m.heads, g->n, g->heads);
    place(&m);
    err = ERR_OK;

out:
    mem_free(m.order);
    mem_free(m.first);
    mem_free(m.heads);
    mem_free(m.sums);
    return err;
}

/* ---- choosing ------------------------------------------------------------ */

uint32_t ivf_groups_choose(const struct ivf_groups *g, const float *keys,
                           uint32_t want, uint32_t *out)
{
    float least[IVF_GROUPS_MAX];
    uint32_t i, j, n = 0;

    for (i = 0; i < g->n; i++) {
        if (g->start[i] == g->start[i + 1] ||
            (n == want && !(keys[i] < least[n - 1]))) {
            continue;
        }
        n += n < want;
        for (j = n - 1; j > 0 && keys[i] < least[j - 1]; j--) {
            least[j] = least[j - 1];
            out[j] = out[j - 1];
        }
        least[j] = keys[i];
        out[j] = i;
    }
    return n;
}
