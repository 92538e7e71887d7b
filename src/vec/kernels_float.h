/* Float kernels, written once for vectors of any width.
 *
 * A file for an instruction set defines the vocabulary below and includes this
 * text, which gives it scan, gather and many for the float types and for I8
 * with L1, and a function fill_floats() that puts them into the table:
 *
 *     V, V_LANES         a vector of floats and how many it holds
 *     MANY               queries scored together: 4 * MANY sums in registers
 *     v_in_tiles(dim)    whether one query, too, is scored in tiles, where rows
 *                        are half floats
 *     v_zero() v_query(const float *)             aligned
 *     v_row(type, p, scale)                       V_LANES stored components
 *     v_row_part(type, p, scale, n)               the last n, 1 <= n <= V_LANES
 *     v_scale(float)                              what v_row() takes for I8
 *     v_step(op, sum, x, q)                       sum + the terms of op
 *     v_keys4(q, const V *)                       4 vectors of sums to 4 keys
 *     V4, v4_store(float *, V4), v4_store_part(float *, V4, n)
 *
 * One query: rows are read one after the other, in vectors, with one vector of
 * sums each; consecutive rows do not depend on each other, so the processor
 * overlaps them by itself. Four rows are then added up together.
 *
 * Several queries: a tile of four rows and MANY queries stays in registers, so
 * that each loaded vector is used several times. Four rows at once would end
 * the hardware's prefetching, so the tile prefetches by itself, twice: from
 * memory into the second cache long before, in one stream, and from there into
 * the first cache for the next tile. Loads in the tile then never wait, which
 * matters: waiting loads share the few miss registers with the prefetches. Long
 * rows are cut into slices of SLICE components, lest four rows and the next
 * four flush the first cache; sums rest in memory between slices.
 *
 * A row and a query meet in the same order in all of these (one vector of sums,
 * front to back), so the results are equal to the bit. kernels_float_side.h has
 * one more way, for many queries on rows that are not long. */

enum {
    SLICE = 256,    /* components */
    PIECE = 16384,  /* bytes of rows that queries take turns on */
    FAR = 16 * 1024 /* bytes from the next tile to where prefetching is */
};

ALWAYS_INLINE size_t type_bytes(enum vec_type type)
{
    return type == VEC_F32 ? 4 : type == VEC_I8 ? 1 : 2;
}

ALWAYS_INLINE V row_scale(enum vec_type type, const struct vec_query *q,
                          const uint8_t *row)
{
    return v_scale(type == VEC_I8 ? vec_i8_scale(q->format, row) : 1.0f);
}

ALWAYS_INLINE const float *query_floats(const struct vec_query *q)
{
    return (const float *)(const void *)q->code;
}

/* How a query, and so a row, falls into vectors: by fours, one by one, and what
 * is left, at least one component. */
struct split {
    const float *fours_end;
    const float *whole_end;
    size_t rest;
};

ALWAYS_INLINE struct split split_query(const struct vec_query *q)
{
    const size_t whole = (q->format->dim - 1) / V_LANES;
    struct split s;

    s.fours_end = query_floats(q) + whole / 4 * 4 * V_LANES;
    s.whole_end = query_floats(q) + whole * V_LANES;
    s.rest = q->format->dim - whole * V_LANES;
    return s;
}

/* ---- one query --------------------------------------------------------- */

/* Unrolled by hand: the fewer instructions per load, the further the processor
 * runs ahead of memory. */
ALWAYS_INLINE V sum_row(const struct vec_query *q, const uint8_t *row,
                        struct split split, enum vec_type type, enum vec_op op)
{
    const size_t step = V_LANES * type_bytes(type);
    const V scale = row_scale(type, q, row);
    const float *y = query_floats(q);
    V sum = v_zero();

    while (y < split.fours_end) {
        sum = v_step(op, sum, v_row(type, row, scale), v_query(y));
        sum = v_step(op, sum, v_row(type, row + step, scale),
                     v_query(y + V_LANES));
        sum = v_step(op, sum, v_row(type, row + 2 * step, scale),
                     v_query(y + 2 * V_LANES));
        sum = v_step(op, sum, v_row(type, row + 3 * step, scale),
                     v_query(y + 3 * V_LANES));
        row += 4 * step;
        y += 4 * V_LANES;
    }
#pragma GCC unroll 1
    while (y < split.whole_end) {
        sum = v_step(op, sum, v_row(type, row, scale), v_query(y));
        row += step;
        y += V_LANES;
    }
    return v_step(op, sum, v_row_part(type, row, scale, split.rest),
                  v_query(y));
}

/* Scattered rows. The last ones are scored as four, too: the very last stands
 * in for what is missing. Sums rest in memory until there are four of them, so
 * that the loop over a row is written once; the wait for memory hides it. */
ALWAYS_INLINE void score_scattered(const struct vec_query *q,
                                   const uint8_t *const *at, size_t n,
                                   float *keys, enum vec_type type,
                                   enum vec_op op)
{
    const size_t row_bytes = q->format->row_bytes;
    const size_t ahead = vec_gather_ahead(row_bytes);
    const struct vec_rows rows = {NULL, 0, at, n};
    const struct split split = split_query(q);
    V sums[4];
    size_t i;
    size_t k;

    for (i = 0; i < ahead; i += 4) {
        vec_prefetch_four(&rows, i, row_bytes);
    }
    for (i = 0; i < n; i += 4) {
        vec_prefetch_four(&rows, i + ahead, row_bytes);
#pragma GCC unroll 1
        for (k = 0; k < 4; k++) {
            sums[k] =
                sum_row(q, at[i + k < n ? i + k : n - 1], split, type, op);
        }
        if (i + 4 <= n) {
            v4_store(keys + i, v_keys4(q, sums));
        } else {
            v4_store_part(keys + i, v_keys4(q, sums), n - i);
        }
    }
}

/* Rows one after the other; returns how many it did, by fours. */
ALWAYS_INLINE size_t score_rows(const struct vec_query *q, const uint8_t *rows,
                                size_t n, float *keys, enum vec_type type,
                                enum vec_op op)
{
    const size_t row_bytes = q->format->row_bytes;
    const struct split split = split_query(q);
    size_t i;
    size_t k;

    for (i = 0; i + 4 <= n; i += 4) {
        V sums[4];

#pragma GCC unroll 4
        for (k = 0; k < 4; k++) {
            const uint8_t *row = rows + (i + k) * row_bytes;

            VEC_KEEP_ORDER(row);
            sums[k] = sum_row(q, row, split, type, op);
        }
        v4_store(keys + i, v_keys4(q, sums));
    }
    return i;
}

/* What is left of consecutive rows, at most three. */
static void score_rest(const struct vec_query *q, const uint8_t *rows, size_t n,
                       float *keys, vec_gather_fn gather)
{
    const uint8_t *at[4];
    size_t k;

    for (k = 0; k < n; k++) {
        at[k] = rows + k * q->format->row_bytes;
    }
    if (n > 0) {
        gather(q, at, n, keys);
    }
}

/* ---- several queries --------------------------------------------------- */

/* What a tile prefetches at each step. */
struct ahead {
    const uint8_t *near; /* where the rows of the next slice or tile begin */
    size_t near_first;   /* which of these rows, */
    size_t near_end;     /* and up to which */
    const uint8_t *far;  /* next line of the stream from memory */
    size_t far_lines;
};

/* Where the keys of a tile go; queries from `live` on are stand-ins. */
struct key_grid {
    float *at;
    size_t stride;
    size_t live;
};

struct tile {
    const uint8_t *row[4];
    size_t from; /* vectors from, up to and without to, of whole ones */
    size_t to;
    bool first; /* sums start here; else they come from memory */
    bool last;  /* keys are stored; else sums go to memory */
};

ALWAYS_INLINE void prefetch_step(struct ahead *a, size_t stride, size_t at)
{
    size_t k;

    for (k = a->near_first; k < a->near_end; k++) {
        __builtin_prefetch(a->near + k * stride + at, 0, 3);
    }
    for (k = 0; k < a->far_lines; k++) {
        __builtin_prefetch(a->far, 0, 2);
        a->far += CACHE_LINE;
    }
}

/* nq is a constant, at most MANY; sums holds four vectors per query. Half
 * floats take two vectors from a line, so they prefetch at every other one. */
ALWAYS_INLINE void score_tile(const struct vec_query *const *q, size_t nq,
                              const struct tile *t, struct ahead *ahead,
                              V (*sums)[4], struct key_grid keys,
                              enum vec_type type, enum vec_op op)
{
    const size_t stride = q[0]->format->row_bytes;
    const size_t step = V_LANES * type_bytes(type);
    const size_t line_mask = step < CACHE_LINE ? CACHE_LINE / step - 1 : 0;
    const float *y[MANY];
    V scale[4];
    V s[MANY][4];
    V x[4];
    size_t b;
    size_t j;
    size_t k;

#pragma GCC unroll 4
    for (j = 0; j < nq; j++) {
        y[j] = query_floats(q[j]);
#pragma GCC unroll 4
        for (k = 0; k < 4; k++) {
            s[j][k] = t->first ? v_zero() : sums[j][k];
        }
    }
#pragma GCC unroll 4
    for (k = 0; k < 4; k++) {
        scale[k] = row_scale(type, q[0], t->row[k]);
    }
    for (b = t->from; b < t->to; b++) {
#pragma GCC unroll 4
        for (k = 0; k < 4; k++) {
            x[k] = v_row(type, t->row[k] + b * step, scale[k]);
        }
        if ((b & line_mask) == 0) {
            prefetch_step(ahead, stride, (b - t->from) * step);
        }
#pragma GCC unroll 4
        for (j = 0; j < nq; j++) {
            const V yb = v_query(y[j] + b * V_LANES);

#pragma GCC unroll 4
            for (k = 0; k < 4; k++) {
                s[j][k] = v_step(op, s[j][k], x[k], yb);
            }
        }
    }
    if (!t->last) {
#pragma GCC unroll 4
        for (j = 0; j < nq; j++) {
#pragma GCC unroll 4
            for (k = 0; k < 4; k++) {
                sums[j][k] = s[j][k];
            }
        }
        return;
    }
#pragma GCC unroll 4
    for (k = 0; k < 4; k++) {
        x[k] = v_row_part(type, t->row[k] + b * step, scale[k],
                          split_query(q[0]).rest);
    }
#pragma GCC unroll 4
    for (j = 0; j < nq; j++) {
        const V yb = v_query(y[j] + b * V_LANES);

#pragma GCC unroll 4
        for (k = 0; k < 4; k++) {
            s[j][k] = v_step(op, s[j][k], x[k], yb);
        }
        if (j < keys.live) {
            v4_store(keys.at + j * keys.stride, v_keys4(q[j], s[j]));
        }
    }
}

/* Shares prefetching out to the passes over a tile: pass p of n takes 4 / n of
 * the four next rows, and enough lines of the stream for all passes to bring in
 * one tile with some to spare. */
ALWAYS_INLINE void share_prefetch(struct ahead *a, size_t p, size_t n)
{
    const size_t rows = n == 1 ? 4 : n <= 3 ? 2 : 1;

    a->near_first = p * rows < 4 ? p * rows : 4;
    a->near_end = a->near_first + rows < 4 ? a->near_first + rows : 4;
    a->far_lines = n == 1 ? 5 : n == 2 ? 3 : n <= 4 ? 2 : 1;
}

/* Four consecutive rows for all queries. */
ALWAYS_INLINE void score_four_many(const struct vec_query *const *q, size_t nq,
                                   const uint8_t *rows, float *keys,
                                   size_t key_stride, enum vec_type type,
                                   enum vec_op op)
{
    const size_t stride = q[0]->format->row_bytes;
    const size_t step = V_LANES * type_bytes(type);
    const size_t whole = (q[0]->format->dim - 1) / V_LANES;
    const size_t passes = (nq + MANY - 1) / MANY;
    V sums[VEC_BATCH_MAX][4];
    struct ahead ahead;
    struct tile t;
    size_t p;
    size_t k;

    ahead.far = rows + 4 * stride + FAR;
    t.to = 0;
    do {
        t.from = t.to;
        t.to =
            whole - t.from > SLICE / V_LANES ? t.from + SLICE / V_LANES : whole;
        t.first = t.from == 0;
        t.last = t.to == whole;
        ahead.near = t.last ? rows + 4 * stride : rows + t.to * step;
        for (k = 0; k < 4; k++) {
            t.row[k] = rows + k * stride;
        }
        for (p = 0; p < passes; p++) {
            const size_t j = p * MANY;
            const struct key_grid grid = {keys + j * key_stride, key_stride,
                                          nq - j};
            const struct vec_query *some[MANY];

            for (k = 0; k < MANY; k++) {
                some[k] = q[j + k < nq ? j + k : j];
            }
            share_prefetch(&ahead, p, passes);
            if (nq - j > MANY / 2) {
                score_tile(some, MANY, &t, &ahead, sums + j, grid, type, op);
            } else {
                score_tile(some, MANY / 2, &t, &ahead, sums + j, grid, type,
                           op);
            }
        }
    } while (!t.last);
}

ALWAYS_INLINE void score_rows_many(const struct vec_query *const *q, size_t nq,
                                   const uint8_t *rows, size_t n, float *keys,
                                   size_t key_stride, enum vec_type type,
                                   enum vec_op op, vec_gather_fn gather)
{
    const size_t row_bytes = q[0]->format->row_bytes;
    size_t i;
    size_t j;

    for (i = 0; i + 4 <= n; i += 4) {
        score_four_many(q, nq, rows + i * row_bytes, keys + i, key_stride, type,
                        op);
    }
    for (j = 0; j < nq; j++) {
        score_rest(q[j], rows + i * row_bytes, n - i, keys + j * key_stride + i,
                   gather);
    }
}

/* For sums that few ask for: queries take turns on pieces of rows that stay in
 * the cache, which shares the way to memory, if not the loads. */
static void take_turns(const struct vec_query *const *q, size_t nq,
                       const uint8_t *rows, size_t n, float *keys,
                       size_t key_stride, vec_scan_fn scan)
{
    const size_t row_bytes = q[0]->format->row_bytes;
    const size_t piece = row_bytes < PIECE / 4 ? PIECE / row_bytes & ~3u : 4;
    size_t i;
    size_t j;

    for (i = 0; i < n; i += piece) {
        for (j = 0; j < nq; j++) {
            scan(q[j], rows + i * row_bytes, n - i < piece ? n - i : piece,
                 keys + j * key_stride + i);
        }
    }
}

/* ---- instances --------------------------------------------------------- */

#define FLOAT_KERNELS(name, type, op)                                          \
    static void gather_##name(const struct vec_query *q,                       \
                              const uint8_t *const *rows, size_t n,            \
                              float *keys)                                     \
    {                                                                          \
        score_scattered(q, rows, n, keys, type, op);                           \
    }                                                                          \
    static void scan_##name(const struct vec_query *q, const uint8_t *rows,    \
                            size_t n, float *keys)                             \
    {                                                                          \
        size_t done = score_rows(q, rows, n, keys, type, op);                  \
                                                                               \
        score_rest(q, rows + done * q->format->row_bytes, n - done,            \
                   keys + done, gather_##name);                                \
    }

#define MANY_TOGETHER(name, type, op)                                          \
    static void many_##name(const struct vec_query *const *q, size_t nq,       \
                            const uint8_t *rows, size_t n, float *keys,        \
                            size_t key_stride)                                 \
    {                                                                          \
        score_rows_many(q, nq, rows, n, keys, key_stride, type, op,            \
                        gather_##name);                                        \
    }

#define MANY_IN_TURN(name)                                                     \
    static void many_##name(const struct vec_query *const *q, size_t nq,       \
                            const uint8_t *rows, size_t n, float *keys,        \
                            size_t key_stride)                                 \
    {                                                                          \
        take_turns(q, nq, rows, n, keys, key_stride, scan_##name);             \
    }

/* Long rows for one query: a row by itself is one chain of additions, which
 * then takes longer than reading it. A tile has four of them. */
#define SCAN_LONG(name)                                                        \
    static void scan_long_##name(const struct vec_query *q,                    \
                                 const uint8_t *rows, size_t n, float *keys)   \
    {                                                                          \
        if (v_in_tiles(q->format->dim)) {                                      \
            many_##name(&q, 1, rows, n, keys, n);                              \
        } else {                                                               \
            scan_##name(q, rows, n, keys);                                     \
        }                                                                      \
    }

FLOAT_KERNELS(f32_dot, VEC_F32, VEC_OP_DOT)
FLOAT_KERNELS(f32_l2, VEC_F32, VEC_OP_L2)
FLOAT_KERNELS(f32_l1, VEC_F32, VEC_OP_L1)
FLOAT_KERNELS(f16_dot, VEC_F16, VEC_OP_DOT)
FLOAT_KERNELS(f16_l2, VEC_F16, VEC_OP_L2)
FLOAT_KERNELS(f16_l1, VEC_F16, VEC_OP_L1)
FLOAT_KERNELS(bf16_dot, VEC_BF16, VEC_OP_DOT)
FLOAT_KERNELS(bf16_l2, VEC_BF16, VEC_OP_L2)
FLOAT_KERNELS(bf16_l1, VEC_BF16, VEC_OP_L1)
FLOAT_KERNELS(i8_l1, VEC_I8, VEC_OP_L1)

MANY_TOGETHER(f32_dot, VEC_F32, VEC_OP_DOT)
MANY_TOGETHER(f32_l2, VEC_F32, VEC_OP_L2)
MANY_TOGETHER(f32_l1, VEC_F32, VEC_OP_L1)
MANY_TOGETHER(f16_dot, VEC_F16, VEC_OP_DOT)
MANY_TOGETHER(f16_l2, VEC_F16, VEC_OP_L2)
MANY_TOGETHER(bf16_dot, VEC_BF16, VEC_OP_DOT)
MANY_TOGETHER(bf16_l2, VEC_BF16, VEC_OP_L2)
MANY_IN_TURN(f16_l1)
MANY_IN_TURN(bf16_l1)
MANY_IN_TURN(i8_l1)

SCAN_LONG(f16_dot)
SCAN_LONG(f16_l2)
SCAN_LONG(bf16_dot)
SCAN_LONG(bf16_l2)

#define PUT_KERNELS(k, name, type, op)                                         \
    do {                                                                       \
        (k)->scan[type][op] = scan_##name;                                     \
        (k)->gather[type][op] = gather_##name;                                 \
        (k)->many[type][op] = many_##name;                                     \
    } while (0)

static void fill_floats(struct vec_kernels *k)
{
    PUT_KERNELS(k, f32_dot, VEC_F32, VEC_OP_DOT);
    PUT_KERNELS(k, f32_l2, VEC_F32, VEC_OP_L2);
    PUT_KERNELS(k, f32_l1, VEC_F32, VEC_OP_L1);
    PUT_KERNELS(k, f16_dot, VEC_F16, VEC_OP_DOT);
    PUT_KERNELS(k, f16_l2, VEC_F16, VEC_OP_L2);
    PUT_KERNELS(k, f16_l1, VEC_F16, VEC_OP_L1);
    PUT_KERNELS(k, bf16_dot, VEC_BF16, VEC_OP_DOT);
    PUT_KERNELS(k, bf16_l2, VEC_BF16, VEC_OP_L2);
    PUT_KERNELS(k, bf16_l1, VEC_BF16, VEC_OP_L1);
    PUT_KERNELS(k, i8_l1, VEC_I8, VEC_OP_L1);
    k->scan[VEC_F16][VEC_OP_DOT] = scan_long_f16_dot;
    k->scan[VEC_F16][VEC_OP_L2] = scan_long_f16_l2;
    k->scan[VEC_BF16][VEC_OP_DOT] = scan_long_bf16_dot;
    k->scan[VEC_BF16][VEC_OP_L2] = scan_long_bf16_l2;
}
