/* The inside of a search: shared by search*.c. */
#ifndef VECTRA_DB_SEARCH_IMPL_H
#define VECTRA_DB_SEARCH_IMPL_H

#include "db/graph.h"
#include "db/search.h"
#include "db/vset_impl.h"
#include "index/flat/flat_scan.h"

/* What a thread that runs searches keeps for them. */
struct search_scratch {
    struct flat_scratch *flat;
    struct hnsw_scratch *hnsw;
    size_t cap; /* rows that are scored once more, or one by one */
    const uint8_t **rows;
    float *keys;
};

struct search {
    struct flat_search scan;
    struct completion completion;
    struct search_pool *pool;
    struct vset *set;
    struct slots_view view;
    uint64_t ticket;
    bool uses_graph;
    bool in_ring;
    bool cut_short;   /* the client's bound was met before there were k */
    uint32_t ef_most; /* EF_MAX, or the bound the client set to filtering */
    struct graph_view graph;
    struct vec_query *code_query; /* of the graph's codes */
    uint32_t ef;
    size_t n_extra, cap_extra; /* hits from the graph, behind the heap */
    uint64_t scored;           /* by the graph and in its tail */
    struct task task;
    struct filter *filter;
    slot_id exclude;
    time_us deadline; /* 0: none */
    bool cancelled;   /* loop */
    int64_t started_ns;
    int64_t run_ns;
    struct buf reply;
    void (*format)(const struct search *s, const void *data, struct buf *out);
    search_done_fn *done;
    void *arg;
    struct search *next_free;
    size_t block_bytes;
    _Alignas(8) uint8_t format_data[SEARCH_FORMAT_BYTES];
};

struct search_pool {
    struct pool *workers;
    struct search_scratch *scratch; /* the loop's */
    struct search *free[2];         /* small and large blocks */
    size_t n_free[2];
    struct flat_ring **rings; /* idle ones */
    size_t n_rings, cap_rings;
    size_t under_way;
    int64_t ended_ns; /* when the last search ended */
    bool all_inline;
    struct search_pool_stats stats;
};

/* ---- search_graph.c ---------------------------------------------------- */

/* Decides, when the search has its view and filter, whether the graph answers
 * it; then says with what effort and which part of the set is scanned. */
void search_plan(struct search *s, const struct search_request *r);

/* Hits the graph may contribute to an answer of k. */
size_t search_graph_hits(const struct vset *v, size_t k);

/* Bytes of the query the graph wants besides, 0 when it takes the set's own. */
size_t search_code_query_bytes(const struct vset *v);

/* What remains when the tail's runs have been scanned: the rest of the tail,
 * the graph, and putting it together. thread any. */
void search_graph_part(struct search *s, struct search_scratch *scratch);

/* Nanoseconds it will take, about. */
uint64_t search_graph_ns(const struct search *s);

#endif
