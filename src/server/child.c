/* The forked child: see child.h. */
#include "server/child.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/num.h"
#include "io/file.h"
#include "server/forked.h"
#include "server/server.h"

enum {
    NAME_ROOM = 256,
    SYNC_EVERY = 4 << 20,
    COW_EVERY_US = 1000000,
    COW_DUTY = 100, /* measuring takes at most this part of the time */
};

/* The page that parent and child share. */
struct shared {
    _Atomic uint64_t keys, bytes;
    _Atomic uint64_t cow_bytes, cow_peak;
    _Atomic int64_t cow_at;
    _Atomic int error;           /* errno */
    _Atomic(const char *) doing; /* what failed; a literal */
};

enum state { IDLE, WAITING, RUNNING, FINISHING };

struct child {
    struct server *server;
    struct keyspace *ks;
    struct shared *shared;
    enum state state;
    struct child_order order;
    char prefix[32], suffix[32], name[NAME_ROOM];
    char temp[NAME_ROOM];
    int dir_fd; /* -1: none */
    pid_t pid;
    uint64_t keys_total;
    time_us started_at;
    struct child_result result;
    struct child_stats stats;
    /* FINISHING */
    struct reaper_job job;
    _Atomic bool finished;
};

struct child *child_create(struct server *s)
{
    struct child *c = mem_calloc(1, sizeof(*c));
    void *page = mmap(NULL, sizeof(struct shared), PROT_READ | PROT_WRITE,
                      MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    ASSERT(page != MAP_FAILED);
    c->server = s;
    c->ks = s->ks;
    c->shared = page;
    c->dir_fd = -1;
    return c;
}

void child_destroy(struct child *c)
{
    ASSERT(c->state == IDLE);
    munmap(c->shared, sizeof(*c->shared));
    mem_free(c);
}

bool child_is_busy(const struct child *c)
{
    return c->state != IDLE;
}

bool child_is_waiting(const struct child *c)
{
    return c->state == WAITING ||
           (c->state == FINISHING && atomic_load(&c->finished));
}

static void format_temp(struct child *c, pid_t pid)
{
    size_t n = strlen(c->prefix);

    memcpy(c->temp, c->prefix, n);
    n += num_format_i64(pid, c->temp + n);
    memcpy(c->temp + n, c->suffix, strlen(c->suffix) + 1);
}

void child_note_fork(struct child *c, time_us took)
{
    c->stats.forks++;
    c->stats.last_fork_us = took;
}

/* ---- in the child ------------------------------------------------------ */

static void measure_cow(struct shared *s)
{
    uint64_t cow = forked_private_bytes();

    atomic_store(&s->cow_bytes, cow);
    if (cow > atomic_load(&s->cow_peak)) {
        atomic_store(&s->cow_peak, cow);
    }
    atomic_store(&s->cow_at, clock_mono_us());
}

struct writing {
    struct child *child;
    struct snapshot_progress progress;
    time_us next_cow; /* when the next measurement is due */
};

static void note_bytes(void *arg, uint64_t written)
{
    struct writing *w = arg;
    struct shared *s = w->child->shared;
    time_us now = clock_mono_us();

    atomic_store_explicit(&s->bytes, written, memory_order_relaxed);
    if (now >= w->next_cow) {
        measure_cow(s);
        w->next_cow = clock_mono_us() - now;
        w->next_cow = clock_mono_us() + COW_EVERY_US + w->next_cow * COW_DUTY;
    }
}

static void note_key(void *arg)
{
    struct writing *w = arg;

    atomic_store_explicit(&w->child->shared->keys, w->progress.keys,
                          memory_order_relaxed);
    if (w->child->order.key_delay_us > 0) {
        usleep((useconds_t)w->child->order.key_delay_us);
    }
}

static void fail_child(struct child *c, const char *doing, int error)
{
    atomic_store(&c->shared->doing, doing);
    atomic_store(&c->shared->error, error ? error : EIO);
    unlinkat(c->dir_fd, c->temp, 0);
    _exit(1);
}

static void NORETURN run_child(struct child *c, struct rdb_out *out,
                               pid_t parent)
{
    struct writing w = {.child = c,
                        .progress = {.tick = note_key},
                        .next_cow = clock_mono_us() + COW_EVERY_US};
    int fd;

    forked_settle(parent, "vectra-save", &c->dir_fd, 1);
    w.progress.arg = &w;
    out->progress = note_bytes;
    out->progress_arg = &w;
    format_temp(c, getpid());
    fd = openat(c->dir_fd, c->temp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC,
                0644);
    if (fd < 0) {
        fail_child(c, "creating", errno);
    }
    out->fd = fd;
    snapshot_write(out, c->ks, &c->order.about, &w.progress);
    if (rdb_out_finish(out) != ERR_OK) {
        fail_child(c, "writing", out->error);
    }
    if (file_fsync(fd) != 0) {
        fail_child(c, "syncing", errno);
    }
    note_bytes(&w, rdb_out_offset(out));
    atomic_store(&c->shared->keys, w.progress.keys);
    measure_cow(c->shared);
    _exit(0);
}

/* ---- starting ---------------------------------------------------------- */

static uint64_t count_keys(const struct keyspace *ks)
{
    uint64_t n = 0;
    int i;

    for (i = 0; i < ks->n_dbs; i++) {
        n += keyspace_count(ks, i);
    }
    return n;
}

static void copy_order(struct child *c, const struct child_order *order)
{
    c->order = *order;
    snprintf(c->prefix, sizeof(c->prefix), "%s", order->prefix);
    snprintf(c->suffix, sizeof(c->suffix), "%s", order->suffix);
    snprintf(c->name, sizeof(c->name), "%s", order->name);
    c->order.dir = c->order.prefix = c->order.suffix = c->order.name = NULL;
}

static enum err do_fork(struct child *c)
{
    struct err_ctx *ctx = &c->result.why;
    struct rdb_out out;
    pid_t parent = getpid();
    time_us before;
    enum err err = ERR_OK;

    if (c->order.before_fork) {
        err = c->order.before_fork(c->order.arg, &c->order.about, ctx);
        if (err) {
            server_forked(c->server);
            return err;
        }
    }
    memset(c->shared, 0, sizeof(*c->shared));
    c->keys_total = count_keys(c->ks);
    rdb_out_open(&out, -1);
    out.compress = c->order.compress;
    out.checksum = c->order.checksum;
    out.past_cache = true;
    out.sync_every = c->order.sync_often ? SYNC_EVERY : 0;
    c->started_at = before = clock_mono_us();
    c->pid = fork();
    if (c->pid == 0) {
        run_child(c, &out, parent);
    }
    if (c->pid < 0) {
        c->pid = 0;
        err = err_set(ctx, ERR_LIMIT, "fork: %s", strerror(errno));
    } else {
        child_note_fork(c, clock_mono_us() - before);
        format_temp(c, c->pid);
        c->state = RUNNING;
    }
    rdb_out_close(&out);
    server_forked(c->server);
    return err;
}

static void become_idle(struct child *c)
{
    if (c->dir_fd >= 0) {
        close(c->dir_fd);
        c->dir_fd = -1;
    }
    c->pid = 0;
    c->state = IDLE;
}

static void end(struct child *c)
{
    struct child_result result = c->result;
    struct child_order order = c->order;

    become_idle(c);
    order.done(order.arg, &result);
}

enum err child_start(struct child *c, const struct child_order *order,
                     struct err_ctx *ctx)
{
    enum err err;

    if (c->state != IDLE) {
        return err_set(ctx, ERR_BUSY, "a child is at work already");
    }
    c->dir_fd = file_open(order->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    if (c->dir_fd < 0) {
        return err_set(ctx, ERR_IO, "opening %s: %s", order->dir,
                       strerror(errno));
    }
    memset(&c->result, 0, sizeof(c->result));
    copy_order(c, order);
    c->state = WAITING;
    if (!server_may_fork(c->server)) {
        return ERR_OK; /* child_poll() will */
    }
    err = do_fork(c);
    if (err) {
        err_set(ctx, err, "%s", c->result.why.text);
        become_idle(c);
    }
    return err;
}

/* ---- ending ------------------------------------------------------------ */

/* On the background thread: the file gets its name, or goes. */
static void finish_file(struct reaper_job *job)
{
    struct child *c = CONTAINER_OF(job, struct child, job);
    struct child_result *r = &c->result;

    if (r->ok && renameat(c->dir_fd, c->temp, c->dir_fd, c->name) != 0) {
        r->ok = false;
        err_set(&r->why, ERR_IO, "renaming %s to %s: %s", c->temp, c->name,
                strerror(errno));
    }
    if (r->ok && file_fsync(c->dir_fd) != 0) {
        r->ok = false;
        err_set(&r->why, ERR_IO, "syncing the directory of %s: %s", c->name,
                strerror(errno));
    }
    if (!r->ok) {
        unlinkat(c->dir_fd, c->temp, 0);
    }
    atomic_store(&c->finished, true);
    loop_wake(c->server->loop);
}

static void note_end(struct child *c, int status)
{
    struct child_result *r = &c->result;
    struct shared *s = c->shared;

    r->keys = atomic_load(&s->keys);
    r->bytes = atomic_load(&s->bytes);
    r->cow_bytes = atomic_load(&s->cow_peak);
    r->took_us = clock_mono_us() - c->started_at;
    r->ok = !r->killed && WIFEXITED(status) && WEXITSTATUS(status) == 0;
    if (WIFSIGNALED(status)) {
        err_set(&r->why, ERR_IO, "the child was ended by signal %d",
                WTERMSIG(status));
    } else if (!r->ok) {
        const char *doing = atomic_load(&s->doing);

        err_set(&r->why, ERR_IO, "%s %s: %s", doing ? doing : "writing",
                c->temp, strerror(atomic_load(&s->error)));
    }
}

static void start_finishing(struct child *c, int status)
{
    note_end(c, status);
    c->state = FINISHING;
    c->pid = 0;
    atomic_store(&c->finished, false);
    c->job.run = finish_file;
    reaper_submit(c->server->reaper, &c->job);
}

static void poll_waiting(struct child *c)
{
    if (server_may_fork(c->server) && do_fork(c) != ERR_OK) {
        end(c);
    }
}

static void poll_running(struct child *c)
{
    int status;
    pid_t got = waitpid(c->pid, &status, WNOHANG);

    if (got == c->pid) {
        start_finishing(c, status);
    } else if (got < 0 && errno == ECHILD) {
        start_finishing(c, SIGKILL); /* somebody else has seen its end */
    }
}

void child_poll(struct child *c)
{
    switch (c->state) {
    case IDLE:
        break;
    case WAITING:
        poll_waiting(c);
        break;
    case RUNNING:
        poll_running(c);
        break;
    case FINISHING:
        if (atomic_load(&c->finished)) {
            end(c);
        }
        break;
    }
}

void child_kill(struct child *c)
{
    int status = 0;

    if (c->state == WAITING) {
        server_forked(c->server);
        c->result.killed = true;
        end(c);
        return;
    }
    if (c->state == RUNNING) {
        kill(c->pid, SIGKILL);
        while (waitpid(c->pid, &status, 0) < 0 && errno == EINTR) {
        }
        c->result.killed = true;
        start_finishing(c, SIGKILL);
    }
    while (c->state == FINISHING) {
        child_poll(c);
        if (c->state == FINISHING) {
            usleep(200);
        }
    }
}

void child_abandon(struct child *c)
{
    if (c->state == WAITING) {
        child_kill(c);
    } else if (c->state == RUNNING) {
        c->result.killed = true;
        kill(c->pid, SIGKILL);
    }
}

/* ---- leftovers --------------------------------------------------------- */

/* The process id in a name of that form; 0 when it has another. */
static pid_t pid_in(const char *name, const char *prefix, const char *suffix)
{
    size_t before = strlen(prefix), len = strlen(name), after = strlen(suffix);
    int64_t pid;

    if (len <= before + after || strncmp(name, prefix, before) != 0 ||
        strcmp(name + len - after, suffix) != 0 ||
        !num_parse_i64(bytes_of(name + before, len - before - after), &pid) ||
        pid < 1 || pid > INT_MAX) {
        return 0;
    }
    return (pid_t)pid;
}

/* A process that has ended, though nobody has asked how, is no more. */
static bool is_alive(pid_t pid)
{
    char path[64], text[256];
    const char *state;
    ssize_t got;
    int fd;

    if (kill(pid, 0) != 0 && errno == ESRCH) {
        return false;
    }
    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return true;
    }
    got = read(fd, text, sizeof(text) - 1);
    close(fd);
    text[got > 0 ? got : 0] = '\0';
    state = strrchr(text, ')'); /* behind the name, which may be anything */
    return !state || !strchr("ZX", state[1] ? state[2] : 'R');
}

void child_remove_leftovers(const char *dir, const char *prefix,
                            const char *suffix)
{
    DIR *d = opendir(dir);
    struct dirent *entry;

    while (d && (entry = readdir(d))) {
        pid_t pid = pid_in(entry->d_name, prefix, suffix);

        if (pid && !is_alive(pid) &&
            unlinkat(dirfd(d), entry->d_name, 0) == 0) {
            LOG_NOTE(PERSIST, "removed what a child that died had left",
                     "file=%s", entry->d_name);
        }
    }
    if (d) {
        closedir(d);
    }
}

/* ---- what is known ----------------------------------------------------- */

void child_progress_read(const struct child *c, struct child_progress *out)
{
    const struct shared *s = c->shared;

    *out = (struct child_progress){
        .pid = c->pid,
        .started_at = c->started_at,
        .keys = atomic_load(&s->keys),
        .keys_total = c->keys_total,
        .bytes = atomic_load(&s->bytes),
        .cow_bytes = (size_t)atomic_load(&s->cow_bytes),
        .cow_peak = (size_t)atomic_load(&s->cow_peak),
        .cow_at = atomic_load(&s->cow_at),
    };
}

const struct child_stats *child_stats(const struct child *c)
{
    return &c->stats;
}
