/* One lane: its connections kept full, its replies taken.
 *
 * Requests are copied into one buffer and sent with one call. Passing the
 * kernel a list of pieces instead (writev, rows from where they lie) costs it
 * more than the copy costs us: 228 against 192 ns of CPU per request of 450
 * bytes on TCP, 173 against 146 on a unix socket. */
#include "tools/bench/bench_engine_impl.h"

#include <errno.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/thread.h"

enum {
    OUT_TARGET = 256 * 1024, /* bytes rendered ahead of the socket */
    READ_BYTES = 64 * 1024,
    EVENTS = 256,
    TICK_MS = 100,
};

/* Requests rendered together: numbers first .. first + n - 1, of which `done`
 * have been answered. */
struct run {
    uint64_t first;
    uint32_t n, done;
    int64_t sent_ns;
};

/* One connection.
 *
 *  C1  runs[head % cap .. tail % cap) are the runs not fully answered, in the
 *      order sent; in_flight is the number of their unanswered requests.
 *  C2  in_flight <= pipeline, and a run has at least one unanswered request,
 *      so cap = pipeline runs are enough.
 *  C3  out[sent .. len) is what the socket has not taken yet. */
struct bench_conn {
    int fd;
    bool wants_out; /* EPOLLOUT is armed */
    struct buf out;
    size_t sent;
    size_t request_bytes; /* of the last one rendered */
    struct buf in;
    struct resp_reply_parser parser;
    struct run *runs;
    uint64_t head, tail;
    uint32_t in_flight;
    int64_t heard_ns; /* last reply, or when something to wait for was sent */
};

/* ---- sending ------------------------------------------------------------ */

/* Whether request number `index` of a mixed job is a write: a fixed random
 * choice by number, so that it is the same when the reply comes. */
static unsigned kind_of(const struct bench_job *job, uint64_t index)
{
    uint64_t z = (index + job->seed) * 0x9e3779b97f4a7c15u;

    if (!job->write) {
        return BENCH_READS;
    }
    z = (z ^ (z >> 31)) * 0xbf58476d1ce4e5b9u;
    return (z >> 32) % 100 < job->write_percent ? BENCH_WRITES : BENCH_READS;
}

static const struct bench_template *template_of(const struct bench_job *job,
                                                uint64_t index)
{
    return kind_of(job, index) == BENCH_WRITES ? job->write : job->request;
}

/* Takes up to `want` request numbers; returns how many. */
static uint32_t claim(struct bench_lane *lane, uint32_t want, uint64_t *first)
{
    struct bench_engine *e = lane->engine;

    *first = atomic_fetch_add_explicit(&e->next, want, memory_order_relaxed);
    if (*first >= e->n_requests) {
        lane->exhausted = true;
        return 0;
    }
    if (want > e->n_requests - *first) {
        want = (uint32_t)(e->n_requests - *first);
        lane->exhausted = true;
    }
    return want;
}

/* Renders requests until the pipeline or the buffer is full (C2, C3). */
static void fill(struct bench_lane *lane, struct bench_conn *c)
{
    const struct bench_job *job = lane->engine->job;

    while (!lane->exhausted && c->in_flight < job->pipeline &&
           c->out.len - c->sent < OUT_TARGET) {
        size_t fit = (OUT_TARGET - (c->out.len - c->sent)) / c->request_bytes;
        uint32_t want = job->pipeline - c->in_flight;
        struct run *run = &c->runs[c->tail % job->pipeline];
        size_t before = c->out.len;
        uint32_t n, i;

        want = want > fit + 1 ? (uint32_t)fit + 1 : want;
        n = claim(lane, want, &run->first);
        if (n == 0) {
            return;
        }
        for (i = 0; i < n; i++) {
            uint64_t index = run->first + i;

            bench_template_render(template_of(job, index), index, &c->out,
                                  &lane->scratch);
        }
        c->request_bytes = (c->out.len - before) / n + 1;
        run->n = n;
        run->done = 0;
        run->sent_ns = clock_mono_ns();
        if (c->in_flight == 0) {
            c->heard_ns = run->sent_ns;
        }
        c->tail++;
        c->in_flight += n;
        lane->in_flight += n;
    }
}

static enum err arm(struct bench_lane *lane, struct bench_conn *c, bool out)
{
    struct epoll_event ev = {.events = EPOLLIN | (out ? EPOLLOUT : 0U),
                             .data.ptr = c};

    if (c->wants_out == out) {
        return ERR_OK;
    }
    c->wants_out = out;
    if (epoll_ctl(lane->epoll_fd, EPOLL_CTL_MOD, c->fd, &ev) != 0) {
        return err_set(&lane->ctx, ERR_IO, "epoll: %s", strerror(errno));
    }
    return ERR_OK;
}

/* Fills and sends until there is nothing to send or the socket is full. */
static enum err pump(struct bench_lane *lane, struct bench_conn *c)
{
    for (;;) {
        ssize_t n;

        fill(lane, c);
        if (c->sent == c->out.len) {
            c->sent = c->out.len = 0;
            return arm(lane, c, false);
        }
        n = send(c->fd, c->out.data + c->sent, c->out.len - c->sent,
                 MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN) {
            return arm(lane, c, true);
        }
        if (n < 0 && errno != EINTR) {
            return err_set(&lane->ctx, ERR_IO, "cannot send: %s",
                           strerror(errno));
        }
        c->sent += n > 0 ? (size_t)n : 0;
        if (c->sent == c->out.len) {
            c->sent = c->out.len = 0;
        }
    }
}

/* ---- receiving ---------------------------------------------------------- */

/* The next n replies, all of one kind, have come. */
static void settle(struct bench_lane *lane, struct bench_conn *c, unsigned kind,
                   uint64_t n, int64_t now)
{
    struct bench_outcome *out = lane->out;
    const struct bench_job *job = lane->engine->job;

    out->requests += n;
    lane->in_flight -= n;
    c->in_flight -= (uint32_t)n;
    while (n) {
        struct run *run = &c->runs[c->head % job->pipeline];
        uint64_t m = run->n - run->done;

        m = m < n ? m : n;
        bench_hist_record(&out->hist[kind], now - run->sent_ns, m);
        run->done += (uint32_t)m;
        c->head += run->done == run->n;
        n -= m;
    }
}

/* A server's message for a terminal: replies may quote what they were sent. */
static void copy_printable(struct bytes text, char *out, size_t cap)
{
    size_t n = text.len < cap - 1 ? text.len : cap - 1;
    size_t i;

    for (i = 0; i < n; i++) {
        out[i] = text.data[i] >= 0x20 && text.data[i] < 0x7f
                     ? (char)text.data[i]
                     : '?';
    }
    out[n] = '\0';
}

static void note_error(struct bench_outcome *out, const uint8_t *reply,
                       size_t len)
{
    if (out->errors++ == 0) {
        struct resp_reply_parser p;
        size_t used;

        /* Read once more for the text alone; it was found well formed. */
        resp_reply_init(&p, true, BENCH_REPLY_TEXT_MAX, BENCH_REPLY_NODES_MAX);
        if (resp_reply_parse(&p, reply, len, &used) == ERR_OK && used) {
            copy_printable(resp_reply_text(resp_reply_root(&p), reply),
                           out->first_error, sizeof(out->first_error));
        }
        resp_reply_deinit(&p);
    }
}

/* Bytes of a status, integer or boolean that is wholly in the buffer: most
 * replies of a load, found here without the parser's state. 0: not one, or one
 * that does not look right; the parser then says what it is. */
static size_t short_reply(const uint8_t *p, size_t n)
{
    size_t i;

    if (n < 4) {
        return 0;
    }
    if (*p == ':' ? p[1] != '-' && (p[1] < '0' || p[1] > '9')
                  : *p != '+' && *p != '#') {
        return 0;
    }
    n = n < 32 ? n : 32;
    for (i = 2; i < n; i++) {
        if (p[i] == '\n') {
            return p[i - 1] == '\r' ? i + 1 : 0;
        }
    }
    return 0;
}

/* Takes the replies that are complete in c->in. */
static enum err take_replies(struct bench_lane *lane, struct bench_conn *c,
                             int64_t now)
{
    const struct bench_job *job = lane->engine->job;
    uint64_t plain = 0; /* taken, but not settled yet */
    size_t at = 0;
    enum err err = ERR_OK;

    while (at < c->in.len) {
        const uint8_t *p = c->in.data + at;
        size_t have = c->in.len - at;
        bool has_next = c->in_flight > plain;
        struct run *run = &c->runs[c->head % job->pipeline];
        uint64_t index = has_next ? run->first + run->done : UINT64_MAX;
        bool by_number = job->write || index < job->capture_n;
        size_t len = 0;

        /* The number is known when no reply before it is unsettled. */
        if (has_next && plain && (job->write || job->capture_n)) {
            settle(lane, c, BENCH_READS, plain, now);
            plain = 0;
            continue;
        }
        if (c->parser.at == 0 && !by_number) {
            len = short_reply(p, have);
        }
        if (len == 0) {
            c->parser.keep = by_number && index < job->capture_n;
            err = resp_reply_parse(&c->parser, p, have, &len);
            if (err || len == 0) {
                break;
            }
        }
        if (*p != '>') {
            if (!has_next) {
                err = ERR_SYNTAX;
                break;
            }
            if (*p == '-' || *p == '!') {
                note_error(lane->out, p, len);
            }
            if (c->parser.at && c->parser.keep) {
                job->on_reply(job->arg, index, resp_reply_root(&c->parser), p);
            }
            if (by_number) {
                settle(lane, c, kind_of(job, index), 1, now);
            } else {
                plain++;
            }
        }
        resp_reply_reset(&c->parser);
        at += len;
    }
    settle(lane, c, BENCH_READS, plain, now);
    buf_consume(&c->in, at);
    if (err) {
        return err_set(&lane->ctx, ERR_CORRUPT,
                       "malformed reply (%s) after %llu good ones",
                       err_text(err), (unsigned long long)lane->out->requests);
    }
    return ERR_OK;
}

static enum err receive(struct bench_lane *lane, struct bench_conn *c)
{
    uint64_t before = lane->out->requests;
    ssize_t n = recv(c->fd, buf_room(&c->in, READ_BYTES), READ_BYTES, 0);
    int64_t now;
    enum err err;

    if (n == 0) {
        return err_set(&lane->ctx, ERR_IO,
                       "the server closed the connection after %llu replies",
                       (unsigned long long)lane->out->requests);
    }
    if (n < 0) {
        return errno == EAGAIN || errno == EINTR
                   ? ERR_OK
                   : err_set(&lane->ctx, ERR_IO, "cannot receive: %s",
                             strerror(errno));
    }
    c->in.len += (size_t)n;
    now = clock_mono_ns();
    err = take_replies(lane, c, now);
    if (lane->out->requests != before) {
        lane->last_reply_ns = now;
        atomic_store_explicit(&lane->answered, lane->out->requests,
                              memory_order_relaxed);
    }
    c->heard_ns = now;
    return err;
}

/* ---- lanes -------------------------------------------------------------- */

/* Half the pipeline is left to the server while the other half is on the way
 * back: refilling at every reply would send one request at a time. */
static bool is_low(const struct bench_lane *lane, const struct bench_conn *c)
{
    return c->in_flight <= lane->engine->job->pipeline / 2;
}

static enum err serve(struct bench_lane *lane, const struct epoll_event *ev)
{
    struct bench_conn *c = ev->data.ptr;
    enum err err = ERR_OK;

    if (ev->events & (EPOLLIN | EPOLLERR | EPOLLHUP)) {
        err = receive(lane, c);
    }
    if (!err && (c->wants_out || is_low(lane, c))) {
        err = pump(lane, c);
    }
    return err;
}

/* A connection that waits in vain ends the run. */
static enum err check_timeouts(struct bench_lane *lane, int64_t now)
{
    int64_t limit = lane->engine->job->address->timeout_ms * INT64_C(1000000);
    unsigned i;

    for (i = 0; limit && i < lane->n_conns; i++) {
        const struct bench_conn *c = &lane->conns[i];

        if (c->in_flight && now - c->heard_ns > limit) {
            return err_set(&lane->ctx, ERR_TIMEOUT,
                           "no reply in %d s, %u requests under way",
                           lane->engine->job->address->timeout_ms / 1000,
                           c->in_flight);
        }
    }
    return ERR_OK;
}

static bool is_stopped(const struct bench_lane *lane)
{
    const struct bench_job *job = lane->engine->job;

    return atomic_load_explicit(&lane->engine->failed, memory_order_relaxed) ||
           (job->stop && atomic_load_explicit(job->stop, memory_order_relaxed));
}

static enum err drive(struct bench_lane *lane)
{
    struct epoll_event events[EVENTS];
    int64_t checked = lane->engine->start_ns;
    enum err err = ERR_OK;
    unsigned i;

    for (i = 0; !err && i < lane->n_conns; i++) {
        err = pump(lane, &lane->conns[i]);
    }
    while (!err && !(lane->exhausted && lane->in_flight == 0) &&
           !is_stopped(lane)) {
        int n = epoll_wait(lane->epoll_fd, events, EVENTS, TICK_MS);
        int64_t now = clock_mono_ns();
        int at;

        if (n < 0 && errno != EINTR) {
            return err_set(&lane->ctx, ERR_IO, "epoll: %s", strerror(errno));
        }
        if (now >= lane->engine->deadline_ns) {
            lane->exhausted = true;
        }
        for (at = 0; !err && at < n; at++) {
            err = serve(lane, &events[at]);
        }
        if (!err && now - checked > TICK_MS * INT64_C(1000000)) {
            checked = now;
            err = check_timeouts(lane, now);
        }
    }
    return err;
}

void bench_lane_main(void *arg)
{
    struct bench_lane *lane = arg;
    int64_t cpu = thread_cpu_ns();

    lane->err = drive(lane);
    lane->cpu_ns = thread_cpu_ns() - cpu;
    if (lane->err) {
        atomic_store(&lane->engine->failed, true);
    }
    atomic_fetch_sub(&lane->engine->running, 1);
}

enum err bench_lane_open(struct bench_lane *lane, unsigned n,
                         struct err_ctx *ctx)
{
    const struct bench_job *job = lane->engine->job;
    enum err err;

    lane->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (lane->epoll_fd < 0) {
        return err_set(ctx, ERR_IO, "epoll: %s", strerror(errno));
    }
    lane->conns = mem_calloc(n, sizeof(*lane->conns));
    while (lane->n_conns < n) {
        struct bench_conn *c = &lane->conns[lane->n_conns];
        struct epoll_event ev = {.events = EPOLLIN, .data.ptr = c};
        struct bench_client client;

        err = bench_client_open(job->address, &client, ctx);
        if (err) {
            return err;
        }
        c->fd = client.fd;
        client.fd = -1;
        bench_client_close(&client);
        c->request_bytes = 1024;
        c->runs = mem_calloc(job->pipeline, sizeof(*c->runs));
        resp_reply_init(&c->parser, false, BENCH_REPLY_TEXT_MAX,
                        BENCH_REPLY_NODES_MAX);
        lane->n_conns++;
        if (epoll_ctl(lane->epoll_fd, EPOLL_CTL_ADD, c->fd, &ev) != 0) {
            return err_set(ctx, ERR_IO, "epoll: %s", strerror(errno));
        }
    }
    return ERR_OK;
}

void bench_lane_close(struct bench_lane *lane)
{
    unsigned i;

    for (i = 0; i < lane->n_conns; i++) {
        struct bench_conn *c = &lane->conns[i];

        close(c->fd);
        buf_deinit(&c->out);
        buf_deinit(&c->in);
        resp_reply_deinit(&c->parser);
        mem_free(c->runs);
    }
    if (lane->epoll_fd >= 0) {
        close(lane->epoll_fd);
    }
    mem_free(lane->conns);
    mem_free(lane->out);
    buf_deinit(&lane->scratch);
}
