/* Exact search: every row is scored, in one pass that searches share.
 *
 * All searches waiting on one set ride the same pass over its memory. A pass
 * goes round the runs of the set (a run is a page of about half a megabyte): a
 * worker takes the next run and scores it for every search aboard. A search
 * that arrives gets on at the run that is next and gets off when it has seen
 * each run once, so nobody waits for company and memory is read once for all.
 * Several workers drive one pass together, each with its own run.
 *
 *     loop ── flat_ring_add ──▶ incoming ──▶ aboard (at most FLAT_ABOARD)
 *                                   └─ full: waits its turn
 *     worker: take run i, for whom ──▶ score ──▶ merge into each one's k best
 *             ──▶ whoever finishes a search's last run calls its finish()
 *
 *  F1  A search is offered each of its runs exactly once: the position advances
 *      by one, past runs that nobody aboard wants, wraps at the largest n_runs
 *      aboard, and a search counts what it has been handed.
 *  F2  `left` is the number of its runs not yet scored and merged; who brings
 *      it to zero owns the search.
 *  F3  A ring with nothing aboard, incoming or waiting is idle and may serve
 *      another set.
 *
 * Workers agree on the next run under a lock held for some tens of
 * instructions; the loop never takes it. */
#ifndef VECTRA_INDEX_FLAT_FLAT_SCAN_H
#define VECTRA_INDEX_FLAT_FLAT_SCAN_H

#include "base/lock.h"
#include "base/pool.h"
#include "index/topk.h"
#include "index/vec_source.h"
#include "vec/vec.h"

enum { FLAT_ABOARD = VEC_WITHIN_MAX };

/* One exact search. The caller embeds it, fills in the first part, and keeps it
 * until finish(). */
struct flat_search {
    const struct vec_query *query;
    struct vec_source source;
    struct topk best; /* initialised; the answer, unsorted */
    float limit;      /* rows with a larger key are of no interest */
    /* Asked before each run: true ends the search early. May be NULL. */
    bool (*stop)(struct flat_search *s);
    /* All runs are done. On a worker, or the caller of flat_scan_now(). */
    void (*finish)(struct flat_search *s, struct worker *w);

    /* the scan's */
    struct flat_search *next;
    uint32_t handed; /* ring lock: runs handed out */
    _Atomic uint32_t left;
    _Atomic uint32_t limit_bits; /* topk_key_bits of the key to beat */
    _Atomic bool stopped;
    struct lock lock; /* best */
};

/* Memory of a worker's for keys and indices; one per thread that scans. */
struct flat_scratch;
struct flat_scratch *flat_scratch_create(void);
void flat_scratch_destroy(struct flat_scratch *s);

/* Before the first run; a search in a ring is begun by flat_ring_add(). */
void flat_scan_begin(struct flat_search *s);

/* Scans what has been begun on the calling thread. */
void flat_scan_runs(struct flat_search *s, struct flat_scratch *scratch);

/* The same, and calls its finish(s, NULL). */
void flat_scan_now(struct flat_search *s, struct flat_scratch *scratch);

struct flat_ring;

/* scratch_of says where a worker keeps its flat_scratch. owns  caller. */
struct flat_ring *
flat_ring_create(struct pool *pool,
                 struct flat_scratch *(*scratch_of)(struct worker *w));

/* After the pool has been destroyed: a worker may look at a ring once more
 * after its last search. */
void flat_ring_destroy(struct flat_ring *r);

/* Adds a search of one format with the others in the ring. thread loop. */
void flat_ring_add(struct flat_ring *r, struct flat_search *s);

/* True when no worker looks at the ring and nothing is in it. thread loop. */
bool flat_ring_is_parked(const struct flat_ring *r);

#endif
