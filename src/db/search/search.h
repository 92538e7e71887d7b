/* Searching a vector set: from a request to the k nearest elements.
 *
 * A search is made on the loop thread: it captures the set as it is then (a
 * view and an epoch ticket), the query, prepared, and the filter. It runs on
 * the spot when that is cheaper than handing it over, or on the workers, in the
 * pass they share with other searches of the set. Where it ran, its answer is
 * turned into reply bytes by the requester's format(), so that the loop only
 * sends them. Then done() is called on the loop thread.
 *
 * The set may be changed, renamed or deleted meanwhile: the search sees it as
 * it was.
 *
 * thread loop, but for format(). */
#ifndef VECTRA_DB_SEARCH_H
#define VECTRA_DB_SEARCH_H

#include "base/buf.h"
#include "db/vset/vset.h"
#include "filter/filter.h"

struct search;
struct search_pool;

enum { SEARCH_FORMAT_BYTES = 64 };

struct search_request {
    /* The query: dim float32 components of any alignment, or, when NULL, the
     * element in `slot`. */
    const void *vector;
    slot_id slot;
    slot_id exclude; /* an element that is not to be in the answer, or
                      * SLOT_NONE */
    bool as_stored;  /* with a slot: compares its row as one row is compared
                      * with another, not as a query that is normalised and
                      * quantised anew */
    size_t k;        /* at least 1; may exceed the set */
    bool exact;      /* every row is scored */
    uint32_t ef;     /* effort in a graph; 0: the default, 100 in lists */
    uint32_t nprobe; /* lists to look through; 0: by ef */
    bool about;      /* fewer lists than that where it is easy, or more */
    double recall;   /* instead of ef, the share to be found; 0: not given */
    /* Nearest candidates that are looked at for rows that pass the filter; the
     * answer may then be short. 0: as many as it takes. */
    size_t filter_ef;
    double radius;   /* only rows at most that far away; INFINITY for all */
    time_us timeout; /* microseconds from now; 0: none */
    struct filter *filter;    /* NULL: none. The search takes it over, also when
                               * it fails */
    struct bytes filter_text; /* what it was compiled from */
    /* Writes the reply. On any thread; may use search_hit() and friends. `data`
     * is the copy of format_data. */
    void (*format)(const struct search *s, const void *data, struct buf *out);
    uint8_t format_data[SEARCH_FORMAT_BYTES];
};

/* Prepares a search of a set.
 *
 * owns   the search itself, until done() returns.
 * fails  ERR_NOT_FINITE (the query), ERR_LIMIT (k rows of answer do not fit
 *        under maxmemory), ERR_NOMEM. */
enum err search_create(struct vset *v, struct search_request *request,
                       struct search **out) MUST_USE;

/* Whether running it here is the right thing: it takes less time than handing
 * it to a worker and being woken again. */
bool search_is_cheap(const struct search *s);

/* Called on the loop thread when the answer is there: search_reply() has it.
 * The search is freed after it. */
typedef void search_done_fn(struct search *s, void *arg);

/* Runs it on this thread, calls done() and frees it. */
void search_run(struct search *s, search_done_fn *done, void *arg);

/* Hands it to the workers. */
void search_submit(struct search *s, search_done_fn *done, void *arg);

/* Nobody waits for the answer: it ends soon, and done() is called all the same.
 * thread loop. */
void search_cancel(struct search *s);
bool search_was_cancelled(const struct search *s);

/* About the memory that it and its reply will take. */
size_t search_expects(const struct search *s);

/* ---- the answer -------------------------------------------------------- */

/* The k nearest, nearest first: valid in format(). */
size_t search_hit_count(const struct search *s);

struct search_hit {
    struct bytes name;
    struct bytes attribute; /* empty when there is none */
    double distance;
    double score;
};
void search_hit_read(const struct search *s, size_t i, struct search_hit *out);

enum search_outcome {
    SEARCH_COMPLETE,
    SEARCH_TIMED_OUT, /* there are no hits */
};
enum search_outcome search_outcome(const struct search *s);

struct search_stats {
    /* "flat": all rows were scored. "hnsw": the graph was searched. With a
     * filter also "hnsw-two-hop", past nodes that fail, and "listed": the rows
     * not known to fail were scored. "ivf": inverted lists were. */
    const char *plan;
    uint64_t scored; /* rows compared with the query */
    uint64_t tail;   /* of them, rows no index body holds yet */
    bool exact;
    bool complete; /* neither time nor filter_ef ended it early: K rows, or all
                    * that pass */
};
void search_stats_read(const struct search *s, struct search_stats *out);

/* What format() wrote; done() may take the memory. */
struct buf *search_reply(struct search *s);

/* Time it took to run, on whatever thread. */
time_us search_run_us(const struct search *s);

/* ---- all searches ------------------------------------------------------ */

/* Blocks and rings that searches use in turn. owns  caller. */
struct search_pool *search_pool_create(struct pool *workers);

/* No search may be under way, and the workers have ended. */
void search_pool_destroy(struct search_pool *p);

/* vset-force-single-threaded-execution: run everything on the loop. */
void search_pool_set_inline(struct search_pool *p, bool all);

size_t search_pool_under_way(const struct search_pool *p);

/* Runs one that waits for a worker: see pool_help(). */
bool search_pool_help(struct search_pool *p);

/* One has ended a moment ago, and none is under way. */
bool search_pool_has_ended(const struct search_pool *p);

/* Nobody wants anything just now: the next search will not have waited behind
 * the one before it. */
void search_pool_rest(struct search_pool *p);

struct search_pool_stats {
    uint64_t inline_runs; /* on the loop thread */
    uint64_t worker_runs;
    uint64_t rows_scored;
    uint64_t timeouts;
};
void search_pool_stats_read(const struct search_pool *p,
                            struct search_pool_stats *out);
void search_pool_stats_reset(struct search_pool *p);

/* What the pool's workers are to be created with: see pool_options. */
void *search_worker_init(void *arg);
void search_worker_deinit(void *scratch, void *arg);

#endif
