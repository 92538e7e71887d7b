/* The inside of a search: shared by search*.c. */
#ifndef VECTRA_DB_SEARCH_IMPL_H
#define VECTRA_DB_SEARCH_IMPL_H

#include "db/graph/graph.h"
#include "db/lists/lists.h"
#include "db/search/filter_memo.h"
#include "db/search/search.h"
#include "db/vset/vset_fine.h"
#include "db/vset/vset_impl.h"
#include "index/flat/flat_scan.h"
#include "index/ivf/ivf.h"

/* What a thread that runs searches keeps for them. */
struct search_scratch {
    struct flat_scratch *flat;
    struct hnsw_scratch *hnsw;
    struct ivf_scratch *ivf;
    uint32_t cap_near;
    struct ivf_near *near; /* lists, and what search_lists.c keeps of them */
    size_t cap_coded;
    void *coded; /* of search_codes.c */
    size_t cap;  /* rows that are scored once more, or one by one */
    const uint8_t **rows;
    float *keys;
};

/* Where an answer comes from. */
enum search_plan {
    PLAN_FLAT,    /* all rows */
    PLAN_HNSW,    /* the graph, and the rows it does not hold yet */
    PLAN_TWO_HOP, /* likewise, past nodes that fail the filter */
    PLAN_LISTED,  /* the rows that are not known to fail the filter */
    PLAN_IVF,     /* inverted lists, and the rows in none */
};

struct search {
    struct flat_search scan;
    struct completion completion;
    struct search_pool *pool;
    struct vset *set;
    struct slots_view view;
    uint64_t ticket;
    enum search_plan plan;
    bool in_ring;
    bool on_loop;     /* where a worker would have run it */
    bool cut_short;   /* the client's bound was met before there were k */
    uint32_t ef_most; /* EF_MAX, or the bound the client set to filtering */
    struct graph_view graph;
    struct vec_query *code_query; /* of the graph's codes */
    struct lists_view lists;      /* lists.ivf NULL: none, or not asked */
    struct ivf_view in_lists, in_coming; /* of them */
    float *vector;       /* the query as given, for its lists; NULL: no lists */
    uint32_t n_probe;    /* lists to look through */
    uint32_t most_lists; /* so many at most; the client set a bound */
    bool may_end_early;  /* n_probe is what is usual, not what is kept to */
    bool all_lists;      /* nothing was left out */
    size_t k;            /* asked for; the heap may hold more */
    struct vec_fine_query *fine; /* scores the best once more; NULL: nothing */
    float fine_limit;            /* then */
    uint32_t ef;                 /* as if there were no filter */
    double share;                /* of the rows, estimated, that pass it */
    int64_t expected_ns;
    struct filter_memo *memo;     /* NULL: none, or no filter */
    slot_id learn_from, learn_to; /* slots to ask for the next search's sake */
    uint32_t n_seeds;
    slot_id seeds[MEMO_SEEDS];
    size_t n_extra, cap_extra; /* hits from the graph, behind the heap */
    uint64_t scored;           /* by the graph and in its tail */
    uint64_t tail_scored;      /* of them, in the tail */
    struct task task;
    struct filter *filter;
    slot_id exclude;
    time_us deadline; /* 0: none */
    bool cancelled;   /* loop */
    int64_t started_ns;
    int64_t run_ns;
    int64_t
        alone_ns; /* on one thread, from beginning to end; 0: it was not so */
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
    bool rested;      /* since then there was nothing to do */
    bool all_inline;
    struct search_pool_stats stats;
};

/* ---- search_pool.c ----------------------------------------------------- */

enum { SEARCH_BLOCK_LARGE = 16 * 1024 }; /* larger ones are not kept */

/* A block, its `block_bytes` and `reply` set. answer_bytes: the part of it that
 * grows with the answer. NULL when there is no memory. */
struct search *search_block_take(struct search_pool *p, size_t bytes,
                                 size_t answer_bytes);
void search_block_return(struct search_pool *p, struct search *s);

struct flat_ring *search_ring_take(struct search_pool *p);
void search_ring_return(struct search_pool *p, struct flat_ring *r);

/* ---- search_lists.c ---------------------------------------------------- */

/* Whether the set's lists may answer; and takes what is needed of them. */
bool search_may_use_lists(const struct vset *v, const struct search_request *r);
void search_take_lists(struct search *s);

/* Decides how many lists are looked through; false when all of them, or so many
 * that the rows are better scored at once. */
bool search_plan_lists(struct search *s, const struct search_request *r);

/* Nanoseconds, about: of PLAN_IVF. */
double search_lists_ns(const struct search *s);

/* Scans lists by codes and keeps what is best by the rows. Where `lists` is
 * NULL, they are found as by ivf_search(), with that n and near. thread any. */
void search_by_codes(struct search *s, struct ivf_scan *scan,
                     const struct ivf_codes *codes, const uint32_t *lists,
                     uint32_t n, struct ivf_near *near,
                     struct search_scratch *scratch);

/* Searches the lists and the tail. thread any. */
void search_in_lists(struct search *s, struct search_scratch *scratch);

/* ---- search_fine.c ----------------------------------------------------- */

/* Whether the answer of a search is to be scored by fine parts. */
bool search_wants_fine(const struct vset *v, const struct search_request *r,
                       size_t k);

/* Candidates for k of them, and bytes of the query. */
size_t search_fine_candidates(const struct vset *v, size_t k);

/* Scores the heap's rows, and leaves the k best of them. thread any. */
void search_fine_part(struct search *s);

/* ---- search_plan.c ----------------------------------------------------- */

/* Decides, when the search has its view and filter, where the answer comes
 * from; then says with what effort and which part of the set is scanned. */
void search_decide(struct search *s, const struct search_request *r);

/* Nanoseconds, about: of a plan, with an effort in the graph. thread any. */
int64_t search_plan_ns(const struct search *s, enum search_plan plan,
                       uint32_t ef);

/* The size of PLAN_HNSW's pool. thread any. */
uint32_t search_hnsw_ef(const struct search *s);

/* How many of the graph's nodes are as many live ones as are wanted. thread
 * any. */
size_t search_graph_k(const struct search *s);

/* Nanoseconds, about: of scanning rows; and questions to the filter among rows
 * in no order. */
double search_scan_ns(const struct search *s, double rows);
double search_asks_ns(const struct search *s, double rows);

/* How many questions to the filter PLAN_TWO_HOP takes, about. */
double search_two_hop_asks(double ef, double share);

enum { SEARCH_EF_MAX = 1 << 20 };

/* ---- search_graph.c ---------------------------------------------------- */

/* Hits the graph may contribute to an answer of k. */
size_t search_graph_hits(const struct vset *v, size_t k);

/* What the graph compares that answers, NULL when that is the rows; and bytes
 * of the query it wants besides, 0 when it takes the set's own. */
const struct vec_format *search_codes_of(const struct vset *v);
size_t search_code_query_bytes(const struct vset *v);

/* What remains when the runs that the plan leaves have been scanned: the rest
 * of the tail, the graph, and putting it together. thread any. */
void search_second_part(struct search *s, struct search_scratch *scratch);

/* Looks through the graph that gives way to lists, and adds what it finds to
 * the best. thread any. */
void search_left(struct search *s, struct search_scratch *scratch);

/* Scores all rows anew. thread any. */
void search_all(struct search *s, struct search_scratch *scratch);

/* Nanoseconds, about: of a graph, with an effort. */
double search_hnsw_ns(const struct search *s, const struct hnsw *h, double ef);

/* Memory for cap_extra hits. */
uint64_t *search_extra(struct search *s);

/* Scores rows one by one; those not known to fail before they are asked. */
void search_score(struct search *s, struct search_scratch *scratch,
                  const slot_id *slots, uint32_t n);

/* Likewise of rows that may be listed twice, after hnsw_meet_begin(). */
void search_score_once(struct search *s, struct search_scratch *scratch,
                       const slot_id *slots, uint32_t n);

bool search_should_stop(const void *search);

/* ---- search_tail.c ----------------------------------------------------- */

/* Nanoseconds, about, that the tail takes. thread any. */
double search_tail_ns(const struct search *s);

/* The slots from here on are scanned as a whole. */
slot_id search_raw_from(const struct search *s);

/* Scores what of the tail was not scanned. thread any. */
void search_tail(struct search *s, struct search_scratch *scratch);

/* ---- search_filter.c --------------------------------------------------- */

/* Estimates the share that passes, and chooses seeds. */
void search_sample(struct search *s);

/* Scores what is not known to fail. thread any. */
void search_list(struct search *s, struct search_scratch *scratch);

/* Decides what search_learn() does. */
void search_plan_learning(struct search *s);

/* Asks for some slots that nobody asked for, so that the next search with this
 * filter knows. thread any. */
void search_learn(struct search *s);

#endif
