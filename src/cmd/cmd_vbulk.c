/* The writes of ours beside Redis's family: VMADD and VMREM, which carry many
 * elements in one command.
 *
 * They are jobs: a command with a hundred thousand vectors is worked off
 * in slices, between which other clients are served. Each element is added or
 * removed as if by a command of its own; arguments are checked as a whole
 * before anything is changed. */
#include <stdio.h>

#include "base/mem.h"
#include "base/num.h"
#include "cmd/args.h"
#include "cmd/job.h"
#include "cmd/vset_key.h"
#include "db/vset/attribute.h"
#include "vec/fine.h"

enum {
    BULK_MAX = 10000000, /* elements of one VMADD */
    CHECK_EVERY = 16,    /* removals between looks at the clock */
    AHEAD = 8,           /* names between the steps of fetching */
    ROW_MAX = 4096,      /* bytes; longer ones are encoded one by one */
    MEASURED_MAX = 4096, /* vectors, of which it is kept what was found out */
    CHECK_WORK = 16384,  /* work between them when adding, in bytes read */
    ELEMENT_BYTES = 16,  /* of an element, besides its row and name */
};

/* ---- VMADD ------------------------------------------------------------- */

struct vmadd_job {
    struct cmd_job job;
    size_t n;
    size_t width; /* of one vector in the blob, in bytes */
    bool
        is_stored; /* ROW: the vectors are as sets store them, see cmd_vadd.c */
    uint32_t dim;  /* else: of the vectors given */
    enum vec_type type;
    bool type_given;
    size_t attrs_at;               /* in argv; 0: none */
    size_t checked;                /* vectors found good */
    struct vec_measured *measured; /* of each that is checked, or NULL */
    size_t done;                   /* elements added or replaced */
    size_t hashed; /* names; their hashes are kept until they are added */
    uint64_t hashes[2 * AHEAD];
    uint8_t *rows;                   /* room for VEC_ENCODE_MAX, or NULL */
    uint8_t *fine;                   /* behind them, their fine parts */
    size_t encoded_from, encoded_to; /* elements whose rows are there */
    int64_t added;
    bool logs_stored; /* this slice is logged as ROW */
    struct buf stored;
    struct vec_format format; /* what vectors are checked against */
};

enum { VMADD_FORM = 3, VMADD_BLOB, VMADD_NAMES };

static const uint8_t *vmadd_vector(const struct vmadd_job *m, size_t i)
{
    return m->job.argv[VMADD_BLOB].data + i * m->width;
}

/* Looks at a vector, and keeps what it will be stored by. */
static enum err vmadd_measure(struct vmadd_job *m, size_t i)
{
    return m->measured
               ? vec_measure(&m->format, vmadd_vector(m, i), &m->measured[i])
               : vec_check(&m->format, vmadd_vector(m, i));
}

/* Every vector is looked at before the first is added, so that a bad one leaves
 * the set as it was. True when there is more to check. */
static bool vmadd_check(struct vmadd_job *m)
{
    size_t work = 0;

    while (m->checked < m->n) {
        if (vmadd_measure(m, m->checked) != ERR_OK) {
            cmd_job_error(&m->job, "ERR invalid vector specification");
            return false;
        }
        m->checked++;
        work += m->width;
        if (work >= CHECK_WORK) {
            work = 0;
            if (cmd_job_should_yield(&m->job)) {
                return true;
            }
        }
    }
    return true;
}

/* Whether vectors that came as a set stores them are this one's. */
static bool vmadd_fits_stored(struct vmadd_job *m, const struct entry *e)
{
    if (!e || (e->type == VALUE_VSET &&
               vset_stored_bytes(e->value.vset) != m->width)) {
        cmd_job_error(&m->job, "ERR invalid vector specification");
        return false;
    }
    return true;
}

/* The log has less to write of what is stored than of what came, but for a set
 * that is made: its shape follows from the vectors. */
static void vmadd_choose_log(struct vmadd_job *m, const struct vset *v,
                             bool made)
{
    m->stored.len = 0;
    m->logs_stored = propagate_is_on(&m->job.env->stream) && !m->is_stored &&
                     !made && vset_stored_bytes(v) < m->width;
}

/* The set as it is in this slice: made when it is not there. */
static struct vset *vmadd_set(struct vmadd_job *m, struct entry **entry,
                              bool *projected)
{
    struct keyspace *ks = m->job.env->ks;
    struct entry *e = keyspace_write(ks, m->job.db, m->job.argv[1]);
    const struct vset_options *o;
    bool made = !e;

    *projected = false;
    if (m->is_stored && !vmadd_fits_stored(m, e)) {
        return NULL;
    }
    if (!e) {
        struct vset_options fresh = {.type = m->type,
                                     .metric = VEC_COSINE,
                                     .dim = m->dim,
                                     .m = VSET_M_DEFAULT};

        e = vset_key_create(ks, m->job.db, m->job.argv[1], &fresh);
        if (!e) {
            cmd_job_error(&m->job, "OOM command not allowed when used memory > "
                                   "'maxmemory'.");
            return NULL;
        }
    }
    if (e->type != VALUE_VSET) {
        cmd_job_error(&m->job, "WRONGTYPE Operation against a key holding the "
                               "wrong kind of value");
        return NULL;
    }
    vmadd_choose_log(m, e->value.vset, made);
    *entry = e;
    o = vset_options(e->value.vset);
    *projected = !m->is_stored && o->input_dim && m->dim == o->input_dim;
    if (m->type_given && m->type != o->type) {
        cmd_job_error(&m->job, "ERR asked quantization mismatch with existing "
                               "vector set");
        return NULL;
    }
    if (!m->is_stored && !*projected && (o->input_dim || m->dim != o->dim)) {
        char text[96];

        snprintf(text, sizeof(text),
                 "ERR Vector dimension mismatch - got %u but set has %u",
                 m->dim, o->dim);
        cmd_job_error(&m->job, text);
        return NULL;
    }
    return e->value.vset;
}

static enum err vmadd_one(struct vmadd_job *m, struct vset *v, bool projected)
{
    const struct bytes *argv = m->job.argv;
    struct vset_element e = {.name = argv[VMADD_NAMES + m->done],
                             .hash = m->hashes[m->done % (2 * AHEAD)],
                             .vector = vmadd_vector(m, m->done),
                             .projected = projected};
    bool added = false;
    slot_id slot;
    enum err err;

    if (m->is_stored) {
        /* The length was compared. */
        (void)vset_element_stored(
            v, bytes_of(vmadd_vector(m, m->done), m->width), &e);
    } else if (m->done < m->encoded_to) {
        const struct vec_format *f = vset_format(v);
        size_t i = m->done - m->encoded_from;

        e.row = m->rows + i * f->row_bytes;
        e.fine = m->fine + i * vec_fine_bytes(f);
    }
    if (m->attrs_at) {
        e.attribute = argv[m->attrs_at + m->done];
        e.has_attribute = true;
    }
    err = vset_put(v, &e, &added, &slot);
    m->added += added;
    if (m->logs_stored && !err) {
        vset_stored(v, slot, &m->stored);
    }
    return err;
}

/* What adding the next element takes: a projection reads the vector once for
 * each component it makes, in wide registers. */
static size_t vmadd_work(const struct vmadd_job *m, const struct vset *v,
                         bool projected)
{
    size_t work = m->width;

    if (projected) {
        work *= 1 + vset_options(v)->dim / 16;
    }
    if (m->attrs_at) {
        work += m->job.argv[m->attrs_at + m->done].len;
    }
    return work;
}

/* Hashes the names to come and has the places fetched that they lead to. */
static void vmadd_expect(struct vmadd_job *m, const struct vset *v)
{
    const struct bytes *names = m->job.argv + VMADD_NAMES;

    for (; m->hashed < m->n && m->hashed < m->done + 2 * AHEAD; m->hashed++) {
        uint64_t hash = vset_hash(names[m->hashed]);

        m->hashes[m->hashed % (2 * AHEAD)] = hash;
        vset_expect(v, hash, 0);
    }
    if (m->done + AHEAD < m->hashed) {
        vset_expect(v, m->hashes[(m->done + AHEAD) % (2 * AHEAD)], 1);
    }
}

/* Makes the rows of the next elements, some at a time. One that is refused is
 * left to vset_put() to refuse. */
static void vmadd_encode(struct vmadd_job *m, const struct vset *v)
{
    const struct vec_format *f = vset_format(v);
    size_t n = m->n - m->done;

    n = n < VEC_ENCODE_MAX ? n : VEC_ENCODE_MAX;
    if (f->row_bytes > ROW_MAX || n == 1) {
        return;
    }
    if (!m->rows) {
        m->rows = mem_alloc(VEC_ENCODE_MAX *
                            ((size_t)f->row_bytes + vec_fine_bytes(f)));
        m->fine = m->rows + VEC_ENCODE_MAX * (size_t)f->row_bytes;
    }
    vset_expect_rows(v, (uint32_t)n);
    m->encoded_from = m->done;
    m->encoded_to =
        m->done +
        (m->measured
             ? vec_encode_measured(f, vmadd_vector(m, m->done),
                                   m->measured + m->done, n, m->rows, m->fine)
             : vec_encode_many(f, vmadd_vector(m, m->done), n, m->rows,
                               m->fine));
}

/* Adds until all are added, one fails or the slice is over. */
static enum err vmadd_some(struct vmadd_job *m, struct vset *v, bool projected)
{
    enum err err = ERR_OK;
    size_t work = 0;

    m->encoded_to = 0;
    while (m->done < m->n && !err) {
        vmadd_expect(m, v);
        if (m->done >= m->encoded_to && !projected && !m->is_stored) {
            vmadd_encode(m, v);
        }
        work += vmadd_work(m, v, projected);
        err = vmadd_one(m, v, projected);
        m->done += err == ERR_OK;
        if (work >= CHECK_WORK) {
            work = 0;
            if (cmd_job_should_yield(&m->job)) {
                break;
            }
        }
    }
    mem_free(m->rows); /* it may be another set in the next slice */
    m->rows = NULL;
    return err;
}

/* What one slice added: the elements from `from` on. All of it goes as it
 * came, if what is stored is no shorter. */
static void vmadd_propagate(const struct vmadd_job *m, size_t from)
{
    const struct cmd_job *job = &m->job;
    size_t n = m->done - from;
    char digits[NUM_TEXT_MAX];
    struct bytes *argv;
    size_t at = 0;
    size_t i;

    if (!propagate_is_on(&job->env->stream) || n == 0) {
        return;
    }
    if (n == m->n && !m->logs_stored) {
        propagate_append(job->env, job->db, job->argv, job->argc);
        return;
    }
    argv = mem_alloc((job->argc + 1) * sizeof(*argv));
    memcpy(argv, job->argv, VMADD_BLOB * sizeof(*argv));
    argv[2] = bytes_of(digits, num_format_u64(n, digits));
    argv[VMADD_BLOB] = bytes_of(vmadd_vector(m, from), n * m->width);
    if (m->logs_stored) {
        argv[VMADD_FORM] = bytes_str("ROW");
        argv[VMADD_BLOB] = buf_bytes(&m->stored);
    }
    at = VMADD_NAMES;
    for (i = from; i < m->done; i++) {
        argv[at++] = job->argv[VMADD_NAMES + i];
    }
    if (m->type_given && !m->logs_stored) {
        argv[at++] = bytes_str(m->type == VEC_F32   ? "NOQUANT"
                               : m->type == VEC_BIT ? "BIN"
                                                    : "Q8");
    }
    if (m->attrs_at) {
        argv[at++] = bytes_str("ATTRS");
        for (i = from; i < m->done; i++) {
            argv[at++] = job->argv[m->attrs_at + i];
        }
    }
    propagate_append(job->env, job->db, argv, at);
    mem_free(argv);
}

static bool vmadd_step(struct cmd_job *job)
{
    struct vmadd_job *m = CONTAINER_OF(job, struct vmadd_job, job);
    struct keyspace *ks = job->env->ks;
    struct entry *e = NULL;
    bool projected;
    struct vset *v = vmadd_set(m, &e, &projected);
    size_t from = m->done;
    enum err err;

    if (!v) {
        return false;
    }
    if (m->checked < m->n && (!vmadd_check(m) || m->checked < m->n)) {
        vset_key_drop_if_empty(ks, job->db, e);
        return !job->failed;
    }
    err = vmadd_some(m, v, projected);
    vmadd_propagate(m, from);
    if (m->done > 0) {
        keyspace_changed(ks, job->db, job->argv[1]);
    }
    if (!err && m->done < m->n) {
        return true;
    }
    if (err) {
        vset_key_drop_if_empty(ks, job->db, e);
        cmd_job_error(job, err == ERR_NOT_FINITE || err == ERR_RANGE ||
                                   err == ERR_CORRUPT
                               ? "ERR invalid vector specification"
                               : "OOM command not allowed when used memory > "
                                 "'maxmemory'.");
    } else {
        reply_int(&job->reply, m->added);
    }
    return false;
}

static void vmadd_destroy(struct cmd_job *job)
{
    struct vmadd_job *m = CONTAINER_OF(job, struct vmadd_job, job);

    buf_deinit(&m->stored);
    mem_free(m->measured);
    mem_free(m);
}

/* VMADD key n FP32 blob e1 ... en [NOQUANT | Q8 | BIN] [ATTRS a1 ... an] */
static bool vmadd_parse(struct cmd_ctx *ctx, struct vmadd_job *m)
{
    size_t blob = ctx->argv[VMADD_BLOB].len;
    size_t unit, at;
    int64_t n;

    if (!arg_int_in(ctx, 2, 1, BULK_MAX, "ERR invalid element count", &n)) {
        return false;
    }
    m->n = (size_t)n;
    m->is_stored = arg_is(ctx, VMADD_FORM, "ROW");
    unit = m->is_stored ? 1 : sizeof(float);
    if (!(m->is_stored || arg_is(ctx, VMADD_FORM, "FP32")) || blob == 0 ||
        blob % (m->n * unit) != 0 ||
        (!m->is_stored && blob / (m->n * unit) > VEC_DIM_MAX)) {
        cmd_error(ctx, "ERR invalid vector specification");
        return false;
    }
    if (ctx->argc - VMADD_NAMES < m->n) {
        cmd_error_arity(ctx);
        return false;
    }
    m->width = blob / m->n;
    m->dim = m->is_stored ? 1 : (uint32_t)(m->width / sizeof(float));
    m->checked = m->is_stored ? m->n : 0; /* each when it is added */
    m->type = VEC_I8;
    for (at = VMADD_NAMES + m->n; at < ctx->argc; at++) {
        if (arg_is(ctx, at, "ATTRS") && ctx->argc - at - 1 >= m->n) {
            m->attrs_at = at + 1;
            at += m->n;
            continue;
        }
        m->type_given = true;
        if (arg_is(ctx, at, "NOQUANT")) {
            m->type = VEC_F32;
        } else if (arg_is(ctx, at, "Q8")) {
            m->type = VEC_I8;
        } else if (arg_is(ctx, at, "BIN")) {
            m->type = VEC_BIT;
        } else {
            cmd_error(ctx, "ERR syntax error in VMADD command");
            return false;
        }
    }
    return true;
}

/* The format of the set, or, if vectors are yet to be projected or the set to
 * be made, one that refuses what cannot be a vector at all. */
static void choose_format(struct cmd_ctx *ctx, struct vmadd_job *m)
{
    struct entry *e = keyspace_find(ctx->ks, ctx->client->db, ctx->argv[1]);

    if (e && e->type == VALUE_VSET &&
        (m->is_stored || vset_format(e->value.vset)->dim == m->dim)) {
        m->format = *vset_format(e->value.vset);
    } else {
        vec_format_init(&m->format, m->type, VEC_COSINE, m->dim);
    }
}

/* What the elements will take if all are new, so that it is known before any of
 * it is taken: rows, names, attributes and the table that finds them. */
static size_t vmadd_cost(const struct cmd_ctx *ctx, const struct vmadd_job *m)
{
    size_t bytes = m->n * (m->format.row_bytes + vec_fine_bytes(&m->format) +
                           ELEMENT_BYTES);
    size_t i;

    for (i = 0; i < m->n; i++) {
        bytes += ctx->argv[VMADD_NAMES + i].len;
        if (m->attrs_at) {
            bytes += attribute_cost(ctx->argv[m->attrs_at + i]);
        }
    }
    return bytes;
}

void cmd_vmadd(struct cmd_ctx *ctx)
{
    struct vmadd_job *m = cmd_job_alloc(sizeof(*m), vmadd_step, vmadd_destroy);

    if (!vmadd_parse(ctx, m)) {
        vmadd_destroy(&m->job);
        return;
    }
    choose_format(ctx, m);
    if (!m->is_stored && m->n <= MEASURED_MAX &&
        m->format.row_bytes <= ROW_MAX) {
        m->measured = mem_alloc(m->n * sizeof(*m->measured));
    }
    if (mem_limit() && !mem_has_room(vmadd_cost(ctx, m))) {
        vmadd_destroy(&m->job);
        cmd_error_oom(ctx);
        return;
    }
    cmd_propagate_none(ctx); /* each slice does */
    cmd_job_start(ctx, &m->job);
}

/* ---- VMREM ------------------------------------------------------------- */

struct vmrem_job {
    struct cmd_job job;
    size_t at; /* in argv */
    int64_t removed;
};

static bool vmrem_step(struct cmd_job *job)
{
    struct vmrem_job *m = CONTAINER_OF(job, struct vmrem_job, job);
    struct keyspace *ks = job->env->ks;
    struct entry *e = keyspace_write(ks, job->db, job->argv[1]);
    int64_t n_before = m->removed;
    size_t from = m->at;
    enum err err = ERR_OK;
    bool removed;

    if (e && e->type != VALUE_VSET) {
        cmd_job_error(job, "WRONGTYPE Operation against a key holding the "
                           "wrong kind of value");
        return false;
    }
    while (e && m->at < job->argc && !err) {
        err = vset_remove(e->value.vset, job->argv[m->at], &removed);
        m->removed += removed;
        m->at += err == ERR_OK;
        if (m->at % CHECK_EVERY == 0 && cmd_job_should_yield(job)) {
            break;
        }
    }
    if (m->removed > n_before) {
        propagate_slice(job->env, job->db, job->argv, 2, from, m->at);
    }
    if (e) { /* as VREM: also when none was there */
        keyspace_changed(ks, job->db, job->argv[1]);
        vset_key_drop_if_empty(ks, job->db, e);
    }
    if (e && !err && m->at < job->argc) {
        return true;
    }
    if (err) {
        cmd_job_error(job, "OOM command not allowed when used memory > "
                           "'maxmemory'.");
    } else {
        reply_int(&job->reply, m->removed);
    }
    return false;
}

static void vmrem_destroy(struct cmd_job *job)
{
    mem_free(CONTAINER_OF(job, struct vmrem_job, job));
}

void cmd_vmrem(struct cmd_ctx *ctx)
{
    struct vmrem_job *m = cmd_job_alloc(sizeof(*m), vmrem_step, vmrem_destroy);

    m->at = 2;
    cmd_propagate_none(ctx); /* each slice does */
    cmd_job_start(ctx, &m->job);
}
