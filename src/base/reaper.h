/* The background thread for work that takes long and that nobody waits for:
 * giving back the memory of dropped sets and databases, closing files, touching
 * fresh memory before it is needed. One thread, jobs in order of arrival. */
#ifndef VECTRA_BASE_REAPER_H
#define VECTRA_BASE_REAPER_H

#include "base/err.h"

struct reaper;

/* Embedded in what is to be worked on; run() may free it. */
struct reaper_job {
    void (*run)(struct reaper_job *job); /* on the background thread */
    struct reaper_job *next;
};

/* owns   caller. */
enum err reaper_create(struct reaper **out) MUST_USE;

/* Another one, for work of another kind that is not to wait behind the first's;
 * the name is its thread's. */
enum err reaper_create_named(const char *name, struct reaper **out) MUST_USE;

/* Runs what is queued, then ends the thread. */
void reaper_destroy(struct reaper *r);

/* thread any. */
void reaper_submit(struct reaper *r, struct reaper_job *job);

/* Jobs not finished yet. */
size_t reaper_pending(struct reaper *r);

#endif
