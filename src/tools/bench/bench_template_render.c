/* Rendering templates. */
#include "tools/bench/bench_template_impl.h"

#include "base/num.h"

/* ---- facts -------------------------------------------------------------- */

bool bench_template_uses_vectors(const struct bench_template *t)
{
    return t->uses_vectors;
}

bool bench_template_uses_values(const struct bench_template *t)
{
    return t->uses_values;
}

unsigned bench_template_extras(const struct bench_template *t)
{
    return t->extras;
}

/* The rows one pass goes over. */
static uint64_t items(const struct bench_template *t)
{
    if (t->uses_vectors) {
        return t->env->vec_n;
    }
    return t->uses_rows ? t->env->row_n : 1;
}

uint64_t bench_template_pass(const struct bench_template *t)
{
    return (items(t) + t->env->batch - 1) / t->env->batch;
}

uint64_t bench_template_first(const struct bench_template *t, uint64_t index)
{
    return index % bench_template_pass(t) * t->env->batch;
}

uint32_t bench_template_rows(const struct bench_template *t, uint64_t index)
{
    uint64_t left = items(t) - bench_template_first(t, index);

    return left < t->env->batch ? (uint32_t)left : t->env->batch;
}

/* ---- rendering ---------------------------------------------------------- */

/* What one rendering works with. */
struct request {
    const struct bench_template *t;
    uint64_t index;
    uint64_t first; /* within the vectors */
    uint64_t row;   /* within the names */
    uint32_t rows;
    struct buf *out, *scratch;
};

static void put_head(struct buf *out, char type, uint64_t n)
{
    char *p = (char *)buf_room(out, NUM_TEXT_MAX + 3);
    size_t len;

    p[0] = type;
    len = 1 + num_format_u64(n, p + 1);
    p[len] = '\r';
    p[len + 1] = '\n';
    out->len += len + 2;
}

static void put_bulk(struct buf *out, struct bytes s)
{
    put_head(out, '$', s.len);
    buf_append_bytes(out, s);
    buf_append(out, "\r\n", 2);
}

static void put_number(struct buf *out, uint64_t v)
{
    out->len += num_format_u64(v, (char *)buf_room(out, NUM_TEXT_MAX));
}

/* The name of the i-th row of the request, as text or as its number. */
static struct bytes name_of(const struct request *r, uint32_t i,
                            char number[NUM_TEXT_MAX])
{
    const struct bench_template_env *e = r->t->env;
    uint64_t row = e->row_first + (r->row + i) % e->row_n;

    if (e->names) {
        return bench_lines_at(e->names, row);
    }
    return bytes_of(number, num_format_u64(row, number));
}

static struct bytes attr_of(const struct request *r, uint32_t i)
{
    const struct bench_template_env *e = r->t->env;

    return bench_lines_at(e->attrs, e->row_first + (r->row + i) % e->row_n);
}

/* SplitMix64 of the request's number: no state, any thread, the same run. */
static uint64_t random_below(const struct request *r,
                             const struct bench_part *p)
{
    uint64_t z = r->index * 0x9e3779b97f4a7c15u + r->t->env->seed +
                 (uint64_t)(p - r->t->parts);

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    z ^= z >> 31;
    return z % p->below;
}

static void put_part(const struct request *r, const struct bench_part *p,
                     struct buf *out)
{
    const struct bench_template_env *e = r->t->env;
    char number[NUM_TEXT_MAX];

    switch (p->kind) {
    case PART_TEXT:
        buf_append(out, r->t->texts.data + p->from, p->to - p->from);
        break;
    case PART_INDEX:
        put_number(out, r->index);
        break;
    case PART_RAND:
        put_number(out, random_below(r, p));
        break;
    case PART_NAME:
        buf_append_bytes(out, name_of(r, 0, number));
        break;
    case PART_ATTR:
        buf_append_bytes(out, attr_of(r, 0));
        break;
    case PART_QUERY_NAME:
        buf_append_bytes(
            out, bench_lines_at(e->query_names, r->index % e->query_names->n));
        break;
    }
}

static void put_word(const struct request *r, const struct bench_op *op)
{
    const struct bench_part *p = r->t->parts + op->from;
    char number[NUM_TEXT_MAX];
    size_t i;

    if (op->to - op->from == 1 && p->kind == PART_NAME) {
        put_bulk(r->out, name_of(r, 0, number));
        return;
    }
    r->scratch->len = 0;
    for (i = op->from; i < op->to; i++) {
        put_part(r, &r->t->parts[i], r->scratch);
    }
    put_bulk(r->out, buf_bytes(r->scratch));
}

static const void *vector_of(const struct request *r, uint32_t i)
{
    const struct bench_template_env *e = r->t->env;

    return bench_vectors_row(e->vectors, e->vec_first + r->first + i);
}

static void put_vecs(const struct request *r)
{
    const struct bench_template_env *e = r->t->env;
    size_t row_bytes = (size_t)e->dim * 4;
    uint32_t i;

    put_head(r->out, '$', row_bytes * r->rows);
    for (i = 0; i < r->rows; i++) {
        buf_append(r->out, vector_of(r, i), row_bytes);
    }
    buf_append(r->out, "\r\n", 2);
}

static void put_values(const struct request *r)
{
    const struct bench_template_env *e = r->t->env;
    uint64_t row = e->vec_first + r->first;

    if (e->values) {
        buf_append_bytes(r->out, bench_values_row(e->values, row));
    } else {
        bench_values_render(e->vectors, row, e->decimals, r->out);
    }
}

static void put_op(const struct request *r, const struct bench_op *op)
{
    const struct bench_template *t = r->t;
    char number[NUM_TEXT_MAX];
    uint32_t i;

    switch (op->kind) {
    case OP_LITERAL:
        buf_append(r->out, t->pool.data + op->from, op->to - op->from);
        break;
    case OP_ARGC:
        put_head(r->out, '*', t->argc + t->argc_per_row * r->rows);
        break;
    case OP_N:
        put_bulk(r->out, bytes_of(number, num_format_u64(r->rows, number)));
        break;
    case OP_VEC:
        buf_append(r->out, vector_of(r, 0), (size_t)t->env->dim * 4);
        break;
    case OP_VECS:
        put_vecs(r);
        break;
    case OP_VALUES:
        put_values(r);
        break;
    case OP_NAMES:
        for (i = 0; i < r->rows; i++) {
            put_bulk(r->out, name_of(r, i, number));
        }
        break;
    case OP_ATTRS:
        for (i = 0; i < r->rows; i++) {
            put_bulk(r->out, attr_of(r, i));
        }
        break;
    case OP_WORD:
        put_word(r, op);
        break;
    }
}

void bench_template_render(const struct bench_template *t, uint64_t index,
                           struct buf *out, struct buf *scratch)
{
    struct request r = {.t = t,
                        .index = index,
                        .first = bench_template_first(t, index),
                        .rows = bench_template_rows(t, index),
                        .out = out,
                        .scratch = scratch};
    size_t i;

    /* Names follow the rows of a batch; one by one they go their own round,
     * which may be longer than that of the vectors (queries). */
    if (t->env->row_n) {
        r.row = (t->env->batch > 1 ? r.first : index) % t->env->row_n;
    }
    for (i = 0; i < t->n_ops; i++) {
        put_op(&r, &t->ops[i]);
    }
}
