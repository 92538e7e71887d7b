/* Recall: how many of the nearest elements a search through the graph or the
 * lists of a set finds.
 *
 * It is measured: elements drawn at random are searched for, exactly and with
 * the efforts in question, one search after the other on the workers, the
 * element itself left out. A set's calibration is such a measurement of a row
 * of efforts; a search that is asked for a recall gets the effort that reached
 * it.
 *
 * thread loop. */
#ifndef VECTRA_DB_RECALL_H
#define VECTRA_DB_RECALL_H

#include "base/clock.h"
#include "db/vset/vset.h"

enum { RECALL_EFS_MAX = 7 };

struct recall;

struct recall_request {
    uint32_t samples;
    uint32_t k;
    uint32_t n_efs;
    uint32_t efs[RECALL_EFS_MAX];
    bool probes; /* these are not EF but lists to look through */
    bool about;  /* as many as that, about */
};

struct recall_result {
    uint32_t samples; /* taken; 0: there was nothing to search for */
    double recall[RECALL_EFS_MAX]; /* for each effort */
    time_us p50, p99;              /* of searches with the first effort */
    time_us exact;                 /* of exact ones, the mean */
};

/* Called when the measurement is over. */
typedef void recall_done_fn(const struct recall_result *r, void *arg);

/* Begins to measure; done() is called later. The set may change, and go, in
 * which case the measurement ends with what it has.
 *
 * fails  NULL when memory is out. */
struct recall *recall_begin(struct vset *v, const struct recall_request *q,
                            recall_done_fn *done, void *arg);

/* Nobody waits for it any more: done() is not called. */
void recall_cancel(struct recall *r);

/* Measures on this thread, and calls done(), before it returns. */
enum err recall_run(struct vset *v, const struct recall_request *q,
                    recall_done_fn *done, void *arg) MUST_USE;

/* Ends all measurements after the search that each is making. */
void recall_stop_all(struct keyspace *ks);

/* The effort for a recall of k nearest: EF, or lists to look through when the
 * set has lists. 0: only an exact search reaches it. Sees to it that the set is
 * calibrated; until it is, the effort is generous. */
uint32_t recall_effort(struct vset *v, double recall, size_t k);

/* Elements there were when the set was calibrated; 0: it has not been. */
uint32_t recall_calibrated_at(const struct vset *v);

#endif
