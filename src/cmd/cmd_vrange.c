/* VRANGE: the elements of a range of names, in bytewise order.
 *
 *     VRANGE key start end [count]
 *
 * A set is a hash table of names, so an order has to be made: a small set is
 * looked through for every command (db/names/name_select.h), a large one has an
 * order made by a worker (db/names/name_order.h), for which the first command
 * waits, parked, and which those after it find ready. Iterating by pages, each
 * beginning behind the last name of the one before, then costs a binary search
 * and the names.
 *
 * A long range is read in slices; each goes on behind the last name read, so
 * elements that are there from beginning to end are returned exactly once,
 * whatever happens to others. From the first interruption on the job holds an
 * epoch ticket: a set that is deleted or renamed meanwhile is still read to the
 * end of the range, as it was. */
#include "base/mem.h"
#include "cmd/args.h"
#include "cmd/job.h"
#include "cmd/vset_key.h"
#include "db/names/name_order.h"
#include "db/names/name_select.h"

enum {
    SELECT_MAX = 128,       /* a set up to this size keeps no order, */
    BUILD_MAX = 2000,       /* and up to this one has it made on the spot */
    PART_BYTES = 256 << 10, /* names are gathered in parts of about this size */
    WAITS_MAX = 3,          /* for orders that came to nothing */
    HEADER_MAX = 32,        /* bytes of an array's header */
};

#define OOM_TEXT "OOM command not allowed when used memory > 'maxmemory'."

/* A part of the reply: bulk strings. */
struct part {
    struct part *next;
    struct buf text;
};

struct vrange_job {
    struct cmd_job job;
    struct vset *set; /* there while the job runs, or by the ticket */
    uint64_t ticket;
    bool has_ticket;
    bool is_done;   /* reading */
    bool is_joined; /* the header stands in job->out */
    int waits;
    int64_t left;    /* of count; INT64_MAX: no limit */
    int64_t n;       /* names read */
    struct buf last; /* the last of them, when a slice ends */
    struct part *first_part;
    struct part *last_part;
    size_t text_bytes; /* in all parts */
    struct name_order_waiter waiter;
    struct name_select *select; /* NULL: none under way */
    size_t select_at;
};

/* ---- bounds ------------------------------------------------------------ */

enum bound_kind { BOUND_INVALID, BOUND_LOWEST, BOUND_HIGHEST, BOUND_NAME };

/* `-`, `+`, `[name` or `(name`; a name is not empty. */
static enum bound_kind parse_bound(struct bytes text, struct bytes *name,
                                   bool *excluded)
{
    *name = BYTES_NONE;
    *excluded = false;
    if (text.len == 1 && text.data[0] == '-') {
        return BOUND_LOWEST;
    }
    if (text.len == 1 && text.data[0] == '+') {
        return BOUND_HIGHEST;
    }
    if (text.len < 2 || (text.data[0] != '[' && text.data[0] != '(')) {
        return BOUND_INVALID;
    }
    *name = bytes_of(text.data + 1, text.len - 1);
    *excluded = text.data[0] == '(';
    return BOUND_NAME;
}

/* The error of the bounds in argv[2] and argv[3], NULL when they are right. */
static const char *parse_range(const struct bytes *argv, struct name_range *r)
{
    enum bound_kind from = parse_bound(argv[2], &r->from, &r->from_excluded);
    enum bound_kind to = parse_bound(argv[3], &r->to, &r->to_excluded);

    r->has_no_end = to == BOUND_HIGHEST;
    if (from == BOUND_INVALID) {
        return "ERR invalid start range format";
    }
    if (to == BOUND_INVALID) {
        return "ERR invalid end range format";
    }
    if (from == BOUND_HIGHEST || to == BOUND_LOWEST) {
        return "ERR '-' can only be used as first argument, '+' only as second";
    }
    return NULL;
}

static bool is_empty(const struct name_range *r)
{
    return name_range_is_past(r, r->from) ||
           (r->from_excluded && !r->has_no_end && bytes_equal(r->from, r->to));
}

/* What is left of the range. The arguments may have moved. */
static struct name_range range_left(const struct vrange_job *r)
{
    struct name_range range;

    (void)parse_range(r->job.argv, &range);
    if (r->n > 0) {
        range.from = buf_bytes(&r->last);
        range.from_excluded = true;
    }
    return range;
}

/* ---- gathering names --------------------------------------------------- */

/* Where the next name goes; NULL when there is no memory for it. */
static struct buf *text_for(struct vrange_job *r, size_t name_len)
{
    struct part *p = r->last_part;

    if (p && p->text.len < PART_BYTES && name_len < PART_BYTES) {
        return &p->text;
    }
    if ((p || name_len >= PART_BYTES) && !mem_has_room(PART_BYTES + name_len)) {
        return NULL;
    }
    p = mem_calloc(1, sizeof(*p));
    if (r->last_part) {
        r->last_part->next = p;
    } else {
        r->first_part = p;
    }
    r->last_part = p;
    return &p->text;
}

static bool gather_one(struct vrange_job *r, struct bytes name)
{
    struct reply out = {text_for(r, name.len), r->job.reply.proto};
    size_t before;

    if (!out.out) {
        cmd_job_error(&r->job, OOM_TEXT);
        return false;
    }
    before = out.out->len;
    reply_bulk(&out, name);
    r->text_bytes += out.out->len - before;
    r->n++;
    r->left--;
    return true;
}

/* Takes over names up to the end of the range; false when reading has ended.
 * The last one is remembered, since a slice may end here. */
static bool gather(struct vrange_job *r, const struct name_range *range,
                   const struct bytes *names, size_t n)
{
    size_t i = 0;

    while (i < n && r->left > 0) {
        if (name_range_is_past(range, names[i])) {
            r->left = 0;
        } else if (!gather_one(r, names[i++])) {
            return false;
        }
    }
    if (i > 0) {
        r->last.len = 0;
        buf_append_bytes(&r->last, names[i - 1]);
    }
    return r->left > 0;
}

/* ---- reading ----------------------------------------------------------- */

enum progress { YIELD, ENDED, AGAIN };

static bool runs_to_end(const struct vrange_job *r)
{
    return r->job.slice_end_ns == INT64_MAX;
}

/* From the order, which is ready. */
static enum progress read_order(struct vrange_job *r)
{
    struct name_range range = range_left(r);
    struct bytes names[NAME_ORDER_TAKE_MAX];
    struct name_order_cursor c;

    r->waits = 0;
    name_order_seek(r->set, range.from, range.from_excluded, &c);
    while (!name_order_at_end(r->set, &c)) {
        size_t want = r->left < NAME_ORDER_TAKE_MAX ? (size_t)r->left
                                                    : NAME_ORDER_TAKE_MAX;
        size_t n = name_order_take(r->set, &c, names, want);

        if (n > 0 && !gather(r, &range, names, n)) {
            return ENDED;
        }
        if (cmd_job_should_yield(&r->job)) {
            return YIELD;
        }
    }
    return ENDED;
}

static void select_end(struct vrange_job *r)
{
    name_select_destroy(r->select);
    r->select = NULL;
    r->select_at = 0;
}

/* Takes over what was selected. */
static enum progress read_selected(struct vrange_job *r,
                                   const struct name_range *range)
{
    size_t count = name_select_count(r->select);
    bool more;

    while (r->select_at < count) {
        struct bytes name = name_select_name(r->select, r->select_at++);

        if (!gather(r, range, &name, 1)) {
            return ENDED;
        }
        if (r->select_at % 64 == 0 && cmd_job_should_yield(&r->job)) {
            return YIELD;
        }
    }
    more = name_select_has_more(r->select);
    select_end(r);
    return more ? AGAIN : ENDED;
}

/* By looking through the set: as often as needed when there are more names than
 * it may select at a time. */
static enum progress read_by_selecting(struct vrange_job *r)
{
    struct name_range range = range_left(r);

    if (!r->select) {
        size_t want = r->left < UINT32_MAX ? (size_t)r->left : UINT32_MAX;

        if (name_select_create(r->set, want, &r->select) != ERR_OK) {
            cmd_job_error(&r->job, OOM_TEXT);
            return ENDED;
        }
    }
    if (r->select_at == 0) {
        while (name_select_step(r->select, &range)) {
            if (cmd_job_should_yield(&r->job)) {
                return YIELD;
            }
        }
    }
    return read_selected(r, &range);
}

/* Whether the set is still what its key holds. Only then may an order be made:
 * one of a set that was dropped would never be. */
static bool is_in_keyspace(const struct vrange_job *r)
{
    const struct entry *e;

    if (!r->has_ticket) {
        return true; /* it was a moment ago */
    }
    e = keyspace_find(r->job.env->ks, r->job.db, r->job.argv[1]);
    return e && e->type == VALUE_VSET && e->value.vset == r->set;
}

static void told(struct name_order_waiter *w)
{
    cmd_job_unpark(&CONTAINER_OF(w, struct vrange_job, waiter)->job);
}

/* Sees to it that an order is being made and waits for it; false when there is
 * none to be had. */
static bool wait_for_order(struct vrange_job *r)
{
    if (r->waits++ == WAITS_MAX || !is_in_keyspace(r)) {
        return false;
    }
    if (!name_order_is_building(r->set) && name_order_begin(r->set) != ERR_OK) {
        return false;
    }
    name_order_wait(r->set, &r->waiter);
    cmd_job_park(&r->job);
    return true;
}

static enum progress read_some(struct vrange_job *r)
{
    if (r->select) {
        return read_by_selecting(r);
    }
    if (name_order_is_ready(r->set)) {
        return read_order(r);
    }
    if (vset_count(r->set) <= SELECT_MAX) {
        return read_by_selecting(r);
    }
    if (runs_to_end(r) || vset_count(r->set) <= BUILD_MAX) {
        if (is_in_keyspace(r) && name_order_build(r->set) == ERR_OK) {
            return read_order(r);
        }
    } else if (wait_for_order(r)) {
        return YIELD;
    }
    return read_by_selecting(r);
}

/* ---- the reply --------------------------------------------------------- */

/* Puts the parts behind the header, now that it is known; true when there is
 * more to move. */
static bool join(struct vrange_job *r)
{
    struct buf *out = &r->job.out;

    if (!r->is_joined) {
        size_t cap = r->text_bytes + HEADER_MAX;

        r->is_joined = true;
        out->data =
            cap < PART_BYTES || mem_has_room(cap) ? mem_try_alloc(cap) : NULL;
        if (!out->data) {
            cmd_job_error(&r->job, OOM_TEXT);
            return false;
        }
        out->cap = cap;
        reply_array(&r->job.reply, (size_t)r->n);
    }
    while (r->first_part) {
        struct part *p = r->first_part;

        buf_append_bytes(out, buf_bytes(&p->text));
        buf_deinit(&p->text);
        r->first_part = p->next;
        mem_free(p);
        if (r->first_part && cmd_job_should_yield(&r->job)) {
            return true;
        }
    }
    return false;
}

/* ---- the job ----------------------------------------------------------- */

static bool vrange_step(struct cmd_job *job)
{
    struct vrange_job *r = CONTAINER_OF(job, struct vrange_job, job);
    enum progress p = ENDED;

    if (!r->is_done) {
        do {
            p = read_some(r);
        } while (p == AGAIN);
        r->is_done = p == ENDED;
    }
    if (r->is_done && (job->failed || !join(r))) {
        return false;
    }
    if (!r->has_ticket && !runs_to_end(r)) {
        r->ticket = epoch_enter(job->env->ks->epoch);
        r->has_ticket = true;
    }
    return true;
}

static void vrange_destroy(struct cmd_job *job)
{
    struct vrange_job *r = CONTAINER_OF(job, struct vrange_job, job);
    struct epoch *epoch = job->env->ks->epoch;
    bool has_ticket = r->has_ticket;
    uint64_t ticket = r->ticket;

    name_order_stop_waiting(&r->waiter);
    if (r->select) {
        select_end(r);
    }
    while (r->first_part) {
        struct part *p = r->first_part;

        r->first_part = p->next;
        buf_deinit(&p->text);
        mem_free(p);
    }
    buf_deinit(&r->last);
    mem_free(r);
    if (has_ticket) {
        epoch_leave(epoch, ticket); /* the set may go with it */
    }
}

void cmd_vrange(struct cmd_ctx *ctx)
{
    struct vrange_job *r;
    struct name_range range;
    int64_t count = -1;
    const char *error;
    struct vset *v;

    if (ctx->argc > 5) {
        cmd_error_arity(ctx);
        return;
    }
    if (ctx->argc == 5 && !arg_int_in(ctx, 4, INT64_MIN, INT64_MAX,
                                      "ERR invalid COUNT value", &count)) {
        return;
    }
    error = parse_range(ctx->argv, &range);
    if (error) {
        cmd_error(ctx, error);
        return;
    }
    if (!vset_key_read(ctx, &v)) {
        return;
    }
    if (!v || count == 0 || vset_count(v) == 0 || is_empty(&range)) {
        reply_array(&ctx->reply, 0);
        return;
    }
    r = cmd_job_alloc(sizeof(*r), vrange_step, vrange_destroy);
    r->waiter.told = told;
    r->set = v;
    r->left = count < 0 ? INT64_MAX : count;
    cmd_job_start(ctx, &r->job);
}
