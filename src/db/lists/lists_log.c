/* What was trained on its way into the log.
 *
 * It may be hundreds of megabytes, which nobody is to wait for: so it is told
 * in parts, one a turn, before it comes to answer, and the last part in the
 * turn in which it does. What others write meanwhile comes in between, there as
 * here. Who reads the log keeps the parts with the set until the last has come.
 *
 * A log that begins anew, with a base that was written meanwhile, has none of
 * them: then all are told again. Nothing comes of parts without an end. */
#include "base/mem.h"
#include "db/lists/lists_impl.h"

enum {
    PART = 64 * 1024,
    PATIENCE_NS = 20 * 1000000, /* with a log that is behind */
    KEPT_S = 30,                /* parts that nobody goes on with */
};

struct lists_log {
    struct lists_form form;
    uint64_t run;    /* of the log that has been told */
    uint64_t told;   /* bytes */
    int64_t told_ns; /* when */
    uint8_t room[PART];
};

/* ---- telling ------------------------------------------------------------- */

struct lists_form *lists_log_begin(struct lists_job *job)
{
    job->log = mem_alloc(sizeof(*job->log));
    job->log->run = job->log->told = 0;
    job->log->told_ns = clock_mono_ns();
    return &job->log->form;
}

void lists_log_free(struct lists_job *job)
{
    mem_free(job->log);
}

/* Nobody knows of parts that an earlier run of the log was told. */
static void follow(struct lists_log *log, uint64_t run)
{
    if (log->run != run) {
        log->run = run;
        log->told = 0;
    }
}

bool lists_log_some(struct lists_job *job)
{
    struct keyspace *ks = job->home->keyspace;
    struct keyspace_log whom = keyspace_log(ks);
    struct lists_log *log = job->log;
    int64_t now = clock_mono_ns();

    follow(log, whom.run);
    if (!whom.run) {
        return true;
    }
    if (!vset_entry(job->home->set)) {
        lists_job_wait(job); /* for its key */
        return false;
    }
    if (log->form.size - log->told <= PART) {
        return true;
    }
    if (whom.is_behind && now - log->told_ns > PATIENCE_NS) {
        lists_job_wait(job);
        return false;
    }
    if (!whom.is_behind) {
        lists_form_copy(&log->form, log->told, PART, log->room);
        keyspace_trained_part(ks, job->home->set, log->told,
                              bytes_of(log->room, PART));
        log->told += PART;
        log->told_ns = now;
    }
    lists_job_yield(job);
    return false;
}

void lists_log_end(struct lists_job *job, const struct vset *v)
{
    struct lists_log *log = job->log;
    size_t n = log->form.size - log->told;

    n = n < PART ? n : PART; /* more is left only where nobody listens */
    lists_form_copy(&log->form, log->told, n, log->room);
    keyspace_trained(job->home->keyspace, v, log->told, bytes_of(log->room, n));
}

/* ---- being told ---------------------------------------------------------- */

void lists_parts_forget(struct lists_home *h)
{
    buf_deinit(&h->parts);
}

void lists_parts_settle(struct lists_home *h)
{
    if (h->parts.cap && !keyspace_is_replayed(h->keyspace) &&
        clock_mono_ns() - h->parts_ns > KEPT_S * INT64_C(1000000000)) {
        lists_parts_forget(h);
    }
}

enum err lists_take_part(struct vset *v, uint64_t from, struct bytes part)
{
    struct lists_home *h = lists_home_of(v);

    if (!h) {
        return ERR_NOMEM;
    }
    if (from == 0) {
        lists_parts_forget(h);
    }
    if (from != h->parts.len) {
        lists_parts_forget(h);
        return ERR_CORRUPT;
    }
    if (!keyspace_is_replayed(v->keyspace) && !mem_has_room(part.len)) {
        lists_parts_forget(h);
        return ERR_NOMEM;
    }
    buf_append_bytes(&h->parts, part);
    h->parts_ns = clock_mono_ns();
    return ERR_OK;
}

enum err lists_parts_end(struct vset *v, uint64_t from, struct bytes rest,
                         struct buf *whole)
{
    enum err err = lists_take_part(v, from, rest);

    if (!err) {
        *whole = v->lists->parts;
        v->lists->parts = BUF_INIT;
    }
    return err;
}
