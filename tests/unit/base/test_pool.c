/* The worker pool: every task runs, every completion arrives, long tasks let
 * short ones through. The test thread plays the loop. */
#include "unit/cm.h"

#include <dirent.h>
#include <poll.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/pool.h"
#include "base/reaper.h"

static int wake_fd;

static void wake(void *arg)
{
    uint64_t one = 1;

    (void)arg;
    assert_int_equal(write(wake_fd, &one, sizeof(one)), sizeof(one));
}

/* Waits for a wake-up, as the loop does, and drains. */
static size_t drain_after_wake(struct pool *p)
{
    struct pollfd pfd = {.fd = wake_fd, .events = POLLIN};
    uint64_t n;

    assert_int_equal(poll(&pfd, 1, 60000), 1);
    assert_int_equal(read(wake_fd, &n, sizeof(n)), sizeof(n));
    return pool_drain(p);
}

static struct pool *make_pool(unsigned workers)
{
    struct pool_options o = {.n_workers = workers, .wake = wake};
    struct pool *p = NULL;

    wake_fd = eventfd(0, EFD_CLOEXEC);
    assert_int_equal(pool_create(&o, &p), ERR_OK);
    return p;
}

static void end_pool(struct pool *p)
{
    pool_destroy(p);
    close(wake_fd);
}

struct job {
    struct task task;
    struct completion completion;
    struct pool *pool;
    _Atomic int units; /* left to do */
    int runs;          /* done */
    bool finished;
};

static size_t n_finished;

static void job_done(struct completion *c)
{
    struct job *j = CONTAINER_OF(c, struct job, completion);

    j->finished = true;
    n_finished++;
}

static bool job_step(struct task *t, struct worker *w)
{
    struct job *j = CONTAINER_OF(t, struct job, task);

    (void)w;
    j->runs++;
    if (--j->units > 0) {
        return true;
    }
    j->completion.done = job_done;
    pool_complete(j->pool, &j->completion);
    return false;
}

static void job_init(struct job *j, struct pool *p, int units,
                     enum task_class class)
{
    *j = (struct job){.pool = p, .units = units};
    j->task.step = job_step;
    j->task.class = class;
}

/* Says that it has begun, and ends when it may. */
static _Atomic int n_begun;
static _Atomic bool may_end;

static bool wait_step(struct task *t, struct worker *w)
{
    n_begun++;
    while (!may_end) {
        usleep(100);
    }
    return job_step(t, w);
}

static void the_loop_runs_brief_tasks_while_workers_are_busy(void **state)
{
    enum { N = 6, LONG = 5 };
    struct pool *p = make_pool(2);
    struct job busy[2], jobs[N];
    int i;

    (void)state;
    n_finished = 0;
    n_begun = 0;
    may_end = false;
    pool_may_help(p, true);
    for (i = 0; i < 2; i++) {
        job_init(&busy[i], p, 1, TASK_QUERY);
        busy[i].task.step = wait_step;
        pool_submit(p, &busy[i].task);
    }
    while (n_begun < 2) {
        usleep(100);
    }
    assert_false(pool_help(p, NULL));
    for (i = 0; i < N; i++) {
        job_init(&jobs[i], p, 1, TASK_QUERY);
        jobs[i].task.brief = i != LONG;
        pool_submit(p, &jobs[i].task);
    }
    for (i = 0; i < LONG; i++) {
        assert_true(pool_help(p, NULL));
        assert_int_equal(jobs[i].runs, 1);
    }
    assert_false(pool_help(p, NULL)); /* what is left is not brief */
    assert_int_equal(pool_pending(p), 3);
    may_end = true;
    while (n_finished < N + 2) {
        drain_after_wake(p);
    }
    while (pool_pending(p) > 0) {
        usleep(100);
    }
    end_pool(p);
}

/* One worker is left to sleep, but not both. */
static void brief_tasks_run_when_nobody_helps(void **state)
{
    enum { N = 200 };
    struct pool *p = make_pool(2);
    struct job jobs[N];
    size_t done = 0, i;

    (void)state;
    n_finished = 0;
    pool_may_help(p, true);
    for (i = 0; i < N; i++) {
        job_init(&jobs[i], p, 1, TASK_QUERY);
        jobs[i].task.brief = i % 3 > 0;
        pool_submit(p, &jobs[i].task);
        if (i % 7 == 0) {
            while (n_finished <= i) {
                drain_after_wake(p);
            }
        }
    }
    while (n_finished < N) {
        drain_after_wake(p);
    }
    for (i = 0; i < N; i++) {
        done += (size_t)jobs[i].runs;
    }
    assert_int_equal(done, N);
    end_pool(p);
}

static void run_many(unsigned workers, size_t n, int units)
{
    struct pool *p = make_pool(workers);
    struct job *jobs = calloc(n, sizeof(*jobs));
    size_t i;

    n_finished = 0;
    for (i = 0; i < n; i++) {
        job_init(&jobs[i], p, units, i % 2 ? TASK_QUERY : TASK_INDEX);
        pool_submit(p, &jobs[i].task);
    }
    while (n_finished < n) {
        drain_after_wake(p);
    }
    for (i = 0; i < n; i++) {
        assert_true(jobs[i].finished);
        assert_int_equal(jobs[i].runs, units);
    }
    end_pool(p);
    free(jobs);
}

static void every_task_runs_once_on_one_worker(void **state)
{
    (void)state;
    run_many(1, 1000, 1);
}

static void every_unit_runs_on_many_workers(void **state)
{
    (void)state;
    run_many(4, 2000, 5);
}

static void more_tasks_than_the_ring_holds_all_run(void **state)
{
    (void)state;
    run_many(2, 20000, 1);
}

static void a_long_task_lets_a_short_one_through(void **state)
{
    struct pool *p = make_pool(1);
    struct job longer, shorter;

    (void)state;
    n_finished = 0;
    job_init(&longer, p, 2000000, TASK_QUERY);
    job_init(&shorter, p, 1, TASK_QUERY);
    pool_submit(p, &longer.task);
    pool_submit(p, &shorter.task);
    while (!shorter.finished) {
        drain_after_wake(p);
    }
    assert_false(longer.finished);
    while (!longer.finished) {
        drain_after_wake(p);
    }
    end_pool(p);
}

/* Waits until n threads of the pool sleep. */
static void wait_for_sleepers(unsigned n)
{
    unsigned asleep = 0;

    while (asleep < n) {
        DIR *d = opendir("/proc/self/task");
        struct dirent *e;

        assert_non_null(d);
        asleep = 0;
        while ((e = readdir(d))) {
            char path[300], line[200] = "", state = 0;
            FILE *f;

            snprintf(path, sizeof(path), "/proc/self/task/%s/stat", e->d_name);
            f = fopen(path, "r");
            if (f) {
                asleep += fgets(line, sizeof(line), f) &&
                          sscanf(line, "%*d (vectra-w%*[^)]) %c", &state) &&
                          state == 'S';
                fclose(f);
            }
        }
        closedir(d);
    }
}

struct twin {
    struct task task;
    struct twin *other;
    unsigned units;
    _Atomic int worker; /* that began it; -1 before */
    _Atomic bool ended;
};

static bool twin_step(struct task *t, struct worker *w)
{
    struct twin *twin = CONTAINER_OF(t, struct twin, task);

    if (twin->units++ == 0) {
        twin->worker = (int)w->index;
    }
    if (twin->units < 8) {
        return true; /* now is the time to take the other one as well */
    }
    while (twin->other->worker < 0) {
        usleep(100);
    }
    twin->ended = true;
    return false;
}

static void a_busy_worker_leaves_tasks_to_one_that_sleeps(void **state)
{
    struct pool *p = make_pool(2);
    int round;
    int i;

    (void)state;
    for (round = 0; round < 50; round++) {
        struct twin twins[2] = {{.other = &twins[1], .worker = -1},
                                {.other = &twins[0], .worker = -1}};

        wait_for_sleepers(2);
        for (i = 0; i < 2; i++) {
            twins[i].task.step = twin_step;
            twins[i].task.class = TASK_QUERY;
            pool_submit(p, &twins[i].task);
        }
        while (!twins[0].ended || !twins[1].ended || pool_pending(p) > 0) {
            usleep(100);
        }
        assert_int_not_equal(twins[0].worker, twins[1].worker);
    }
    end_pool(p);
}

static void building_goes_on_beside_a_stream_of_queries(void **state)
{
    struct pool *p = make_pool(1);
    struct job build, query;

    (void)state;
    n_finished = 0;
    job_init(&build, p, 50, TASK_INDEX);
    job_init(&query, p, 100000000, TASK_QUERY);
    pool_submit(p, &query.task);
    pool_submit(p, &build.task);
    while (!build.finished) {
        drain_after_wake(p);
    }
    assert_false(query.finished);
    query.units = 1; /* the worker sees it some time: let it end */
    while (!query.finished) {
        drain_after_wake(p);
    }
    end_pool(p);
}

static int n_parked;

static void note_parked(void *arg)
{
    n_parked++;
    assert_true(pool_is_parked(arg));
}

static void parked_workers_begin_nothing_until_they_resume(void **state)
{
    struct pool *p = make_pool(3);
    struct job jobs[8];
    int units, i;

    (void)state;
    n_finished = 0;
    n_parked = 0;
    for (i = 0; i < 8; i++) {
        job_init(&jobs[i], p, 1000000, i % 2 ? TASK_QUERY : TASK_INDEX);
        pool_submit(p, &jobs[i].task);
    }
    pool_pause(p, note_parked, p);
    assert_int_equal(n_parked, 0);
    while (n_parked == 0) {
        drain_after_wake(p);
    }
    units = 0;
    for (i = 0; i < 8; i++) {
        units += jobs[i].units;
        jobs[i].units = 1;
    }
    assert_true(units > 0);
    assert_int_equal(n_finished, 0);
    pool_resume(p);
    assert_false(pool_is_parked(p));
    while (n_finished < 8) {
        drain_after_wake(p);
    }
    assert_int_equal(n_parked, 1);
    end_pool(p);
}

static void idle_workers_are_parked_at_once(void **state)
{
    struct pool *p = make_pool(2);
    struct job job;

    (void)state;
    n_finished = 0;
    n_parked = 0;
    pool_pause(p, NULL, NULL);
    assert_true(pool_wait_parked(p, 60000000));
    job_init(&job, p, 1, TASK_QUERY);
    pool_submit(p, &job.task);
    assert_true(pool_is_parked(p));
    assert_false(job.finished);
    pool_resume(p);
    while (!job.finished) {
        drain_after_wake(p);
    }
    pool_pause(p, note_parked, p);
    pool_resume(p); /* before it was told: it is not */
    pool_drain(p);
    assert_int_equal(n_parked, 0);
    pool_pause(p, note_parked, p);
    while (n_parked == 0) {
        drain_after_wake(p);
    }
    pool_resume(p);
    end_pool(p);
}

static void a_pool_ends_while_it_is_paused(void **state)
{
    struct pool *p = make_pool(2);
    struct job jobs[4];
    int i;

    (void)state;
    pool_pause(p, NULL, NULL);
    for (i = 0; i < 4; i++) {
        job_init(&jobs[i], p, 10, TASK_INDEX);
        pool_submit(p, &jobs[i].task);
    }
    end_pool(p);
    for (i = 0; i < 4; i++) {
        assert_int_equal(jobs[i].runs, 10);
    }
}

static void pauses_come_and_go_while_tasks_run(void **state)
{
    struct pool *p = make_pool(3);
    struct job jobs[4];
    struct rng rng;
    int round, i;

    (void)state;
    cm_seed(&rng);
    n_finished = 0;
    n_parked = 0;
    for (i = 0; i < 4; i++) {
        job_init(&jobs[i], p, 1000000000, TASK_INDEX);
        pool_submit(p, &jobs[i].task);
    }
    for (round = 0; round < 1000; round++) {
        int parked = n_parked;

        pool_pause(p, note_parked, p);
        if (rng_below(&rng, 2)) {
            while (n_parked == parked) {
                drain_after_wake(p);
            }
            for (i = 0; i < 4; i++) {
                jobs[i].runs = 0; /* theirs alone while they run */
            }
        } else if (rng_below(&rng, 2)) {
            pool_drain(p);
        }
        pool_resume(p);
    }
    for (i = 0; i < 4; i++) {
        jobs[i].units = 1;
    }
    while (n_finished < 4) {
        drain_after_wake(p);
    }
    end_pool(p);
}

struct scratch_count {
    _Atomic int made;
    _Atomic int freed;
};

static void *scratch_make(void *arg)
{
    struct scratch_count *n = arg;

    n->made++;
    return n;
}

static void scratch_free(void *scratch, void *arg)
{
    struct scratch_count *n = arg;

    assert_ptr_equal(scratch, arg);
    n->freed++;
}

static void each_worker_has_a_scratch_of_its_own(void **state)
{
    static struct scratch_count n;
    struct pool_options o = {.n_workers = 3,
                             .wake = wake,
                             .worker_init = scratch_make,
                             .worker_deinit = scratch_free,
                             .worker_arg = &n};
    struct pool *p = NULL;

    (void)state;
    assert_int_equal(pool_create(&o, &p), ERR_OK);
    assert_int_equal(pool_size(p), 3);
    pool_destroy(p);
    assert_int_equal(n.made, 3);
    assert_int_equal(n.freed, 3);
}

static void absurd_worker_counts_are_refused(void **state)
{
    struct pool_options o = {.n_workers = 0, .wake = wake};
    struct pool *p = NULL;

    (void)state;
    assert_int_equal(pool_create(&o, &p), ERR_RANGE);
    o.n_workers = POOL_WORKERS_MAX + 1;
    assert_int_equal(pool_create(&o, &p), ERR_RANGE);
}

/* ---- the reaper -------------------------------------------------------- */

struct reaped {
    struct reaper_job job;
    int id;
};

static int reaped_ids[100];
static int n_reaped;

static void reap(struct reaper_job *job)
{
    struct reaped *r = CONTAINER_OF(job, struct reaped, job);

    reaped_ids[n_reaped++] = r->id;
    mem_free(r);
}

static void the_reaper_runs_jobs_in_order_and_all_before_it_ends(void **state)
{
    struct reaper *r = NULL;
    int i;

    (void)state;
    assert_int_equal(reaper_create(&r), ERR_OK);
    for (i = 0; i < 100; i++) {
        struct reaped *job = mem_alloc(sizeof(*job));

        job->job.run = reap;
        job->id = i;
        reaper_submit(r, &job->job);
    }
    reaper_destroy(r);
    assert_int_equal(n_reaped, 100);
    for (i = 0; i < 100; i++) {
        assert_int_equal(reaped_ids[i], i);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_task_runs_once_on_one_worker),
        cmocka_unit_test(every_unit_runs_on_many_workers),
        cmocka_unit_test(more_tasks_than_the_ring_holds_all_run),
        cmocka_unit_test(the_loop_runs_brief_tasks_while_workers_are_busy),
        cmocka_unit_test(brief_tasks_run_when_nobody_helps),
        cmocka_unit_test(a_long_task_lets_a_short_one_through),
        cmocka_unit_test(a_busy_worker_leaves_tasks_to_one_that_sleeps),
        cmocka_unit_test(building_goes_on_beside_a_stream_of_queries),
        cmocka_unit_test(parked_workers_begin_nothing_until_they_resume),
        cmocka_unit_test(idle_workers_are_parked_at_once),
        cmocka_unit_test(a_pool_ends_while_it_is_paused),
        cmocka_unit_test(pauses_come_and_go_while_tasks_run),
        cmocka_unit_test(each_worker_has_a_scratch_of_its_own),
        cmocka_unit_test(absurd_worker_counts_are_refused),
        cmocka_unit_test(the_reaper_runs_jobs_in_order_and_all_before_it_ends),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
