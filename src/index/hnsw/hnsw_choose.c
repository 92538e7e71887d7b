/* Choosing a node's neighbours among candidates.
 *
 * The paper's heuristic (algorithm 4): going through the candidates from the
 * nearest, one is taken when it is nearer to the node than to every neighbour
 * taken before, so that links lead in different directions. Worked from the
 * other side: each candidate that is taken is compared with all that remain, in
 * one call, and crosses out those that it is nearer to than the node is. */
#include <string.h>

#include "base/mem.h"
#include "index/hnsw/hnsw_impl.h"

void hnsw_scratch_fit_choice(struct hnsw_scratch *s, const struct hnsw *h,
                             size_t n)
{
    size_t query = vec_query_bytes(h->options.format);

    if (s->choose_cap < n) {
        s->choose_cap = n + n / 2;
        s->chosen = mem_realloc(s->chosen, s->choose_cap * sizeof(*s->chosen));
        s->choose_rows = mem_realloc(s->choose_rows,
                                     s->choose_cap * sizeof(*s->choose_rows));
        s->choose_at =
            mem_realloc(s->choose_at, s->choose_cap * sizeof(*s->choose_at));
        s->choose_keys = mem_realloc(s->choose_keys,
                                     s->choose_cap * sizeof(*s->choose_keys));
    }
    if (s->merge_cap < n) {
        s->merge_cap = n + n / 2;
        s->merge = mem_realloc(s->merge, s->merge_cap * sizeof(*s->merge));
        s->fresh = mem_realloc(s->fresh, s->merge_cap * sizeof(*s->fresh));
    }
    if (s->query_cap < query) {
        mem_free(s->choose_query);
        mem_free(s->plan_query);
        s->choose_query = mem_calloc_aligned(query, VEC_ALIGN);
        s->plan_query = mem_calloc_aligned(query, VEC_ALIGN);
        s->query_cap = query;
    }
}

/* Adds the nearest of those crossed out until there are `least`: nodes with few
 * neighbours are hard to find. */
static size_t top_up(struct hnsw_scratch *s, const uint64_t *candidates,
                     size_t n, size_t n_chosen, size_t least)
{
    size_t n_diverse = n_chosen;
    size_t i, j = 0;

    if (n_chosen >= least) {
        return n_chosen;
    }
    /* Both are in order, so one pass tells which were taken. */
    for (i = 0; i < n && n_chosen < least; i++) {
        if (j < n_diverse && s->chosen[j] == candidates[i]) {
            j++;
        } else {
            s->chosen[n_chosen++] = candidates[i];
        }
    }
    hnsw_sort_entries(s->chosen, n_chosen);
    return n_chosen;
}

size_t hnsw_choose(const struct hnsw *h, const struct row_map *rows,
                   const uint64_t *candidates, size_t n, size_t want,
                   size_t least, struct hnsw_scratch *s)
{
    size_t n_chosen = 0;
    size_t left = n;
    size_t i, kept;

    hnsw_scratch_fit_choice(s, h, n);
    for (i = 0; i < n; i++) {
        s->choose_at[i] = (uint32_t)i;
        s->choose_rows[i] = node_row(h, rows, pool_node(candidates[i]));
    }
    while (left > 0 && n_chosen < want) {
        uint64_t taken = candidates[s->choose_at[0]];
        struct vec_query *q;

        s->chosen[n_chosen++] = taken;
        left--;
        if (left == 0 || n_chosen == want) {
            break;
        }
        q = vec_query_from_row(h->options.format, s->choose_rows[0],
                               s->choose_query);
        memmove(s->choose_at, s->choose_at + 1, left * sizeof(*s->choose_at));
        memmove(s->choose_rows, s->choose_rows + 1,
                left * sizeof(*s->choose_rows));
        vec_gather_fetched(q, s->choose_rows, left, s->choose_keys);
        for (i = kept = 0; i < left; i++) {
            float far = pool_key(candidates[s->choose_at[i]]);

            if (s->choose_keys[i] > far) {
                s->choose_at[kept] = s->choose_at[i];
                s->choose_rows[kept++] = s->choose_rows[i];
            }
        }
        left = kept;
    }
    return top_up(s, candidates, n, n_chosen, least < want ? least : want);
}

void hnsw_write_links(link *row, uint32_t cap, uint32_t chain,
                      const uint64_t *entries, size_t n)
{
    uint32_t at = 0;
    size_t i;

    if (chain != LINK_NONE) {
        link_store(&row[at++], chain | LINK_CHAIN);
    }
    for (i = 0; i < n && at < cap; i++) {
        link_store(&row[at++], pool_node(entries[i]));
    }
    while (at < cap) {
        link_store(&row[at++], LINK_NONE);
    }
}

bool hnsw_row_has(const link *row, uint32_t n, uint32_t node)
{
    uint32_t i;

    for (i = 0; i < n; i++) {
        if ((link_load(&row[i]) & ~LINK_CHAIN) == node) {
            return true;
        }
    }
    return false;
}

uint32_t hnsw_chain_of(const struct hnsw *h, uint32_t node)
{
    const link *row = base_links(h, node);
    uint32_t i;

    for (i = 0; i < h->row_links; i++) {
        uint32_t id = link_load(&row[i]);

        if (id == LINK_NONE) {
            break;
        }
        if (id & LINK_CHAIN) {
            return id & ~LINK_CHAIN;
        }
    }
    return LINK_NONE;
}
