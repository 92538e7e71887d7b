#include "db/vset/vset_estimate.h"

#include <string.h>

#include "base/mem.h"
#include "db/graph/graph.h"
#include "db/lists/lists.h"
#include "db/vset/attribute.h"
#include "db/vset/index_choice.h"
#include "db/vset/vset_impl.h"
#include "index/ivf/codes.h"
#include "index/ivf/ivf.h"
#include "store/slots_blocks.h"
#include "vec/fine.h"
#include "vec/pq.h"

/* Regions count the same whatever they are used for. */
static struct region nobody;

static struct row_layout layout_of(const struct vec_format *f)
{
    return (struct row_layout){.row_bytes = f->row_bytes,
                               .side_bytes = vec_fine_bytes(f),
                               .overread = f->overread};
}

/* Of a set that rests: there is nothing ahead. */
static uint64_t rows_bytes(const struct vec_format *f, uint64_t n)
{
    struct row_layout layout = layout_of(f);
    size_t ahead, all;

    all = slots_bytes_for(&layout, n > SLOTS_MAX ? SLOTS_MAX : (uint32_t)n,
                          &ahead);
    return all - ahead;
}

/* ---- lists --------------------------------------------------------------- */

static uint32_t n_lists_of(const struct vset_estimate_of *of)
{
    return of->lists.nlist ? of->lists.nlist : lists_n_for(of->count);
}

/* The last block of a list is half full, on average. As many slots are left
 * over when lists have been filled, and those of the rows that were moved
 * together; of these whole pages rest. */
static uint64_t lanes_of(const struct vset_estimate_of *of)
{
    enum { TOGETHER = 8192 }; /* see lists_move.c */
    uint64_t halves = (uint64_t)n_lists_of(of) * IVF_BLOCK / 2;
    uint64_t left = halves + (of->count < TOGETHER ? of->count : TOGETHER);
    uint64_t page;
    struct vec_format f;

    if (of->lists.discard) {
        vec_format_init_pq(&f, of->options.metric, of->options.dim,
                           of->lists.pq_m, NULL);
    } else {
        vec_format_init(&f, of->options.type, of->options.metric,
                        of->options.dim);
    }
    page = PAGE_BYTES / (f.row_bytes + vec_fine_bytes(&f));
    if (left > page) {
        left = left < page + page / 2 ? page : page / 2;
    }
    return of->count + halves + left;
}

/* Codes beside the rows; rows of bytes are scanned themselves. */
static uint64_t code_of_lane(const struct vset_estimate_of *of)
{
    struct vec_format i8;

    if (of->lists.discard) {
        return 0;
    }
    switch (of->lists.codes) {
    case LISTS_CODES_PQ:
        return (of->lists.pq_m + 1) / 2;
    case LISTS_CODES_I8:
        vec_format_init(&i8, VEC_I8, of->options.metric, of->options.dim);
        return of->options.type == VEC_I8 ? 0 : i8.row_bytes;
    default:
        vec_format_init(&i8, of->options.type, of->options.metric,
                        of->options.dim);
        if (ivf_codes_kind_for(&i8) != IVF_CODES_I8) {
            return 0;
        }
        vec_format_init(&i8, VEC_I8, of->options.metric, of->options.dim);
        return i8.row_bytes;
    }
}

static uint64_t lists_bytes_for(const struct vset_estimate_of *of)
{
    enum { BLOCK_BOOKS = 28, LIST_BOOKS = 64 }; /* see ivf_impl.h */
    uint64_t lanes = lanes_of(of), n = n_lists_of(of);
    struct vec_format i8;

    vec_format_init(&i8, VEC_I8, of->options.metric, of->options.dim);
    return slots_blocks_bytes_for(
               (uint32_t)(lanes < SLOTS_MAX ? lanes : SLOTS_MAX)) +
           lanes / IVF_BLOCK * BLOCK_BOOKS + lanes * code_of_lane(of) +
           n * (LIST_BOOKS + of->options.dim * sizeof(float) + i8.row_bytes) +
           (of->lists.pq_m ? vec_pq_bytes(of->options.dim, of->lists.pq_m) : 0);
}

/* ---- all of it ----------------------------------------------------------- */

static uint64_t attributes_bytes(const struct vset_estimate_of *of)
{
    struct region r;
    struct buf work = {0};
    struct attribute *a;
    uint64_t bytes = 0;

    if (of->attribute.len == 0) {
        return 0;
    }
    region_init(&r, 0);
    a = attribute_create(&r, of->attribute, NULL, 0, &work);
    if (a) {
        bytes = r.bytes * (uint64_t)of->count;
        attribute_free(&r, a);
    }
    buf_deinit(&work);
    region_deinit(&r);
    return bytes;
}

static enum vset_index index_of(const struct vset_estimate_of *of,
                                const struct vec_format *f, uint64_t besides)
{
    struct index_facts facts = {.now = VSET_INDEX_FLAT, .count = of->count};

    if (of->options.index != VSET_INDEX_AUTO) {
        return of->options.index;
    }
    facts.graph_at = graph_worthwhile_for(f);
    facts.lists_at = lists_worthwhile_for(f);
    facts.graph_bytes = graph_bytes_for(f, of->options.m, of->count);
    facts.room = index_choice_room(besides);
    return index_choose(&facts).index;
}

void vset_estimate(const struct vset_estimate_of *of, struct vset_estimate *out)
{
    const struct vset_options *o = &of->options;
    struct vec_format f;

    memset(out, 0, sizeof(*out));
    if (of->lists.discard) {
        vec_format_init_pq(&f, o->metric, o->dim, of->lists.pq_m, NULL);
    } else {
        vec_format_init(&f, o->type, o->metric, o->dim);
    }
    out->code_bytes = rows_bytes(&f, of->count);
    out->name_bytes = name_heap_bytes_for(of->count, of->name_len) +
                      table_bytes_for(4, &nobody, of->count);
    out->attribute_bytes = attributes_bytes(of);
    if (of->attribute.len) {
        out->name_bytes += (uint64_t)of->count * sizeof(struct page_attr);
    }
    out->index = index_of(
        of, &f, out->code_bytes + out->name_bytes + out->attribute_bytes);
    if (out->index == VSET_INDEX_HNSW) {
        out->index_bytes = graph_bytes_for(&f, o->m, of->count);
    } else if (out->index == VSET_INDEX_IVF && of->count) {
        out->index_bytes = lists_bytes_for(of);
        out->code_bytes = rows_bytes(&f, lanes_of(of));
        out->name_bytes -= table_bytes_for(4, &nobody, of->count) -
                           table_bytes_fit(4, &nobody, of->count);
    }
    out->memory_bytes = vset_create_cost() + out->code_bytes + out->name_bytes +
                        out->attribute_bytes + out->index_bytes;
}
