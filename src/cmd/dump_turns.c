/* Values written in turns with the loop: see dump_turns.h. */
#include "cmd/dump_turns.h"

#include "base/baton.h"
#include "base/epoch.h"
#include "base/mem.h"
#include "db/dump.h"
#include "db/vset/vset.h"

enum {
    AT_ONCE = 256 << 10,     /* bytes of a set */
    APPEND_PART = 256 << 10, /* bytes copied between two looks at the time */
    TRIES = 3,
};

static void told(struct graph_waiter *w)
{
    cmd_job_unpark(CONTAINER_OF(w, struct dump_turns, waiter)->job);
}

void dump_turns_begin(struct dump_turns *d, struct cmd_job *job, int db,
                      size_t key_at)
{
    d->job = job;
    d->db = db;
    d->key_at = key_at;
    d->waiter.told = told;
}

/* ---- the other thread -------------------------------------------------- */

static bool has_changed(const struct dump_turns *d)
{
    return d->watcher.keys_changed || vset_is_dropped(d->set);
}

static bool go_on(void *arg)
{
    struct dump_turns *d = arg;

    baton_yield_if_due(d->baton);
    return !d->stop && !has_changed(d);
}

/* The payload is a value of its own by now, whatever becomes of the key. */
static void append_payload(struct dump_turns *d)
{
    size_t at = 0;

    buf_printf(d->to, "$%zu\r\n", d->out.len);
    while (at < d->out.len && !d->stop) {
        size_t n = d->out.len - at;

        n = n < APPEND_PART ? n : APPEND_PART;
        buf_append(d->to, d->out.data + at, n);
        at += n;
        if (d->baton) {
            baton_yield_if_due(d->baton);
        }
    }
    buf_append_str(d->to, "\r\n");
    buf_deinit(&d->out);
}

static void write_in_turns(struct baton *b, void *arg)
{
    struct dump_turns *d = arg;

    (void)b;
    if (has_changed(d)) { /* since the thread was started */
        d->err = ERR_TIMEOUT;
        return;
    }
    d->err = dump_write_while(d->entry, &d->out, go_on, d);
    if (d->err == ERR_OK && d->to) {
        append_payload(d);
    }
}

/* ---- the loop ---------------------------------------------------------- */

static void let_go(struct dump_turns *d)
{
    struct cmd_env *env = d->job->env;

    if (d->baton) { /* its client is gone */
        d->stop = true;
        baton_cancel(d->baton);
        baton_join(d->baton);
        d->baton = NULL;
    }
    graph_stop_waiting(&d->waiter);
    if (d->set) {
        vset_thaw(d->set);
        d->set = NULL;
        client_deinit(&d->watcher, env);
        epoch_leave(env->ks->epoch, d->ticket);
    }
}

static enum dump_step done(struct dump_turns *d, enum err err)
{
    let_go(d);
    d->err = err;
    return DUMP_DONE;
}

static enum dump_step write_at_once(struct dump_turns *d, const struct entry *e)
{
    enum err err = dump_write(e, &d->out);

    if (!err && d->to) {
        append_payload(d);
    }
    return done(d, err);
}

static bool is_long(const struct entry *e)
{
    return e->type == VALUE_VSET && vset_memory(e->value.vset) > AT_ONCE;
}

/* Holds on to the set, and has what works on it come to an end. */
static enum err take_hold(struct dump_turns *d, const struct entry *e)
{
    struct cmd_env *env = d->job->env;

    client_init(&d->watcher, 0, NULL);
    d->watcher.db = d->db;
    if (multi_watch(env, &d->watcher, d->job->argv[d->key_at]) != ERR_OK) {
        client_deinit(&d->watcher, env);
        return ERR_NOMEM;
    }
    d->set = e->value.vset;
    d->ticket = epoch_enter(env->ks->epoch);
    vset_freeze(d->set);
    return ERR_OK;
}

/* Looks the key up; what is not long, or is not to be interrupted, is written
 * here. */
static enum dump_step begin(struct dump_turns *d)
{
    struct cmd_job *job = d->job;
    const struct entry *e =
        keyspace_read(job->env->ks, d->db, job->argv[d->key_at]);

    if (!e) {
        return done(d, ERR_NOT_FOUND);
    }
    d->expires_at = e->expires_at;
    if (d->at_once || job->slice_end_ns == INT64_MAX || job->env->is_loading ||
        !is_long(e) || d->tries++ == TRIES) {
        return write_at_once(d, e);
    }
    return take_hold(d, e) == ERR_OK ? DUMP_MORE : done(d, ERR_NOMEM);
}

static enum dump_step begin_again(struct dump_turns *d)
{
    let_go(d);
    buf_deinit(&d->out);
    return DUMP_MORE;
}

static enum dump_step start_thread(struct dump_turns *d)
{
    struct cmd_job *job = d->job;

    if (!vset_is_at_rest(d->set)) {
        graph_wait(job->env->ks, &d->waiter);
        cmd_job_park(job);
        return DUMP_PARK;
    }
    /* Keys move when the table grows, the entry is what it was. */
    d->entry = keyspace_find(job->env->ks, d->db, job->argv[d->key_at]);
    if (!d->entry) {
        return begin_again(d);
    }
    if (baton_start(&d->baton, "vectra-dump", write_in_turns, d) != ERR_OK) {
        d->baton = NULL;
        return write_at_once(d, d->entry);
    }
    return DUMP_MORE;
}

enum dump_step dump_turns_step(struct dump_turns *d)
{
    if (!d->set) {
        return begin(d);
    }
    if (!d->baton) {
        return has_changed(d) ? begin_again(d) : start_thread(d);
    }
    if (baton_run(d->baton, JOB_SLICE_US)) {
        return DUMP_MORE;
    }
    baton_join(d->baton);
    d->baton = NULL;
    return d->err == ERR_TIMEOUT ? begin_again(d) : done(d, d->err);
}

void dump_turns_end(struct dump_turns *d)
{
    if (d->job) {
        let_go(d);
        d->job = NULL;
    }
    buf_deinit(&d->out);
}
