/* The last step of a search of a Q8 set: its best, scored once more.
 *
 * Rows are found by their codes, against a query of codes; some more than asked
 * for. These are scored by their fine parts (vec/fine.h) against the query as
 * given, and the k best of them are the answer, with the scores of then. So an
 * exact search and one through the graph agree about each row, and nothing
 * that is done for thousands of rows is done any slower. */
#include <math.h>

#include "db/search/search_impl.h"

enum {
    CANDIDATES_MIN = 16, /* besides the k */
    CANDIDATES_MAX = 1024,
    RADIUS_K_MAX = 4096,
};

bool search_wants_fine(const struct vset *v, const struct search_request *r,
                       size_t k)
{
    /* What is within a radius is not known before, so that all of the heap is
     * filled: no good idea when it is as large as the set. */
    return vset_has_fine(v) && !r->as_stored &&
           (isinf(r->radius) || k <= RADIUS_K_MAX);
}

size_t search_fine_candidates(const struct vset *v, size_t k)
{
    size_t more = k / 2;

    more = more < CANDIDATES_MIN ? CANDIDATES_MIN : more;
    more = more > CANDIDATES_MAX ? CANDIDATES_MAX : more;
    return k + more < vset_count(v) ? k + more : vset_count(v);
}

void search_fine_part(struct search *s)
{
    struct topk *best = &s->scan.best;
    size_t n = best->n;
    size_t i;

    for (i = 0; i < n; i++) {
        slot_id slot = topk_entry_slot(best->heap[i]);
        struct vec_fine_row row = vset_fine_row(&s->view, slot);

        __builtin_prefetch(row.row);
        __builtin_prefetch(row.fine);
    }
    /* In place: there are never more in the new heap than have been read. */
    topk_init(best, best->heap, s->k ? s->k : 1);
    for (i = 0; i < n; i++) {
        uint64_t coarse = best->heap[i];
        slot_id slot = topk_entry_slot(coarse);
        struct vec_fine_row row = vset_fine_row(&s->view, slot);
        float key = vec_fine_key(s->fine, &row);
        uint64_t entry;

        /* Codes that are the query's own are at no distance. */
        if (s->set->format.metric == VEC_L2 && topk_entry_key(coarse) == 0) {
            key = 0;
        }
        entry = topk_entry(key, slot);
        if (key <= s->fine_limit && topk_wants(best, entry)) {
            topk_push(best, entry);
        }
    }
}
