/* Lists that have codes besides rows: what is scanned are the codes, and what
 * comes out best is scored by its rows, as everything else is.
 *
 * How many are scored again depends on how exact codes are. Those of 8 bits
 * hardly err. Of products with two components to a part the ten nearest of
 * 100,000 words are among the 120 best (docs/BENCHMARKS.md), and wider parts
 * err more. */
#include <math.h>

#include "base/mem.h"
#include "db/search/search_impl.h"
#include "index/ivf/codes.h"

enum {
    I8_MORE_MIN = 16,
    PQ_TIMES = 6, /* and PQ_MORE: parts of two components */
    PQ_MORE = 64,
    PART_WIDE = 4, /* components: three times as many */
    /* So many are enough while one list in so many is looked through. */
    PQ_LISTS = 16,
    PQ_LISTS_WIDE = 64,
};

/* Components that one code of 4 bits stands for, about. */
static size_t part_of(const struct search *s, const struct ivf_codes *codes)
{
    const struct vec_format *f = &s->set->format;
    size_t factors = f->metric == VEC_L2 ? 6 : 2;
    size_t m = 2 * (ivf_codes_code_bytes(codes) - factors);

    return m ? (f->dim + m - 1) / m : f->dim;
}

/* More lists are looked through for more recall, and their rows stand between
 * the nearest ones by codes: these have to be looked for further down. So what
 * an effort finds, which is measured (recall.h), is not bounded by the codes.
 */
static double further(const struct search *s, double lists)
{
    double more = lists * s->n_probe / s->in_lists.dir->n_lists;

    return more > 1 ? sqrt(more) : 1;
}

static size_t n_candidates(const struct search *s,
                           const struct ivf_codes *codes)
{
    size_t n = s->scan.best.cap;
    size_t part;
    bool wide;

    if (ivf_codes_kind_of(codes) == IVF_CODES_I8) {
        n += n / 2 > I8_MORE_MIN ? n / 2 : I8_MORE_MIN;
    } else {
        part = part_of(s, codes);
        wide = part >= PART_WIDE - 1;
        n = (PQ_TIMES * s->k + PQ_MORE) * (!wide               ? 1
                                           : part <= PART_WIDE ? 3
                                                               : 6);
        n = (size_t)((double)n * further(s, wide ? PQ_LISTS_WIDE : PQ_LISTS));
    }
    return n < s->lists.n_listed ? n : s->lists.n_listed + 1;
}

static void *scratch_fit(struct search_scratch *scratch, size_t bytes)
{
    if (scratch->cap_coded < bytes) {
        scratch->cap_coded = bytes + bytes / 2;
        mem_free(scratch->coded);
        scratch->coded = mem_alloc(scratch->cap_coded);
    }
    return (void *)(((uintptr_t)scratch->coded + VEC_ALIGN - 1) &
                    ~(uintptr_t)(VEC_ALIGN - 1));
}

static void scan_some(const struct search *s, struct ivf_scan *scan,
                      const uint32_t *lists, uint32_t n, struct ivf_near *near,
                      struct search_scratch *scratch)
{
    if (lists) {
        ivf_scan_lists(scan, lists, n);
    } else {
        ivf_search(scan, s->vector, n, s->most_lists, near, scratch->ivf);
    }
}

void search_by_codes(struct search *s, struct ivf_scan *scan,
                     const struct ivf_codes *codes, const uint32_t *lists,
                     uint32_t n, struct ivf_near *near,
                     struct search_scratch *scratch)
{
    size_t cap = n_candidates(s, codes);
    size_t query_bytes = ivf_codes_query_bytes(codes);
    uint8_t *memory =
        scratch_fit(scratch, query_bytes + VEC_ALIGN +
                                 cap * (sizeof(uint64_t) + sizeof(slot_id)));
    uint64_t *heap = (void *)(memory + query_bytes);
    slot_id *slots = (void *)(heap + cap);
    struct ivf_scan coded = *scan;
    struct ivf_codes_query *q;
    struct topk best;
    size_t i;

    if (ivf_codes_query_init(codes, s->vector, memory, &q)) {
        scan_some(s, scan, lists, n, near, scratch);
        return; /* there are no codes for such a vector */
    }
    topk_init(&best, heap, cap);
    coded.codes = q;
    coded.best = &best;
    coded.limit = INFINITY;
    scan_some(s, &coded, lists, n, near, scratch);
    scan->scored = coded.scored;
    scan->admitted = coded.admitted;
    scan->n_lists = coded.n_lists;
    scan->n_blocks = coded.n_blocks;
    scan->stopped = coded.stopped;
    for (i = 0; i < best.n; i++) {
        slots[i] = topk_entry_slot(heap[i]);
    }
    if (best.n) {
        search_score(s, scratch, slots, (uint32_t)best.n);
    }
}
