/* The code column: where codes lie, how they are made and put there.
 *
 * Chunks of blocks hang in a directory that is replaced as it grows; what it
 * replaces, and chunks that are empty, live on until the searches that may know
 * them have ended. */
#include "index/ivf/codes.h"

#include "index/ivf/codes_impl.h"

enum { DIR_FIRST = 16 };

enum ivf_codes_kind ivf_codes_kind_for(const struct vec_format *stored)
{
    return ivf_codes_suits(IVF_CODES_I8, stored) ? IVF_CODES_I8
                                                 : IVF_CODES_NONE;
}

bool ivf_codes_suits(enum ivf_codes_kind kind, const struct vec_format *stored)
{
    switch (kind) {
    case IVF_CODES_NONE:
        return true;
    case IVF_CODES_I8:
        return stored->type != VEC_I8 && stored->type != VEC_BIT &&
               stored->type != VEC_PQ;
    case IVF_CODES_PQ4:
        return stored->type != VEC_BIT && stored->type != VEC_PQ;
    }
    return false;
}

const char *ivf_codes_name(enum ivf_codes_kind kind)
{
    static const char *const names[] = {"none", "int8", "pq4"};

    return names[kind];
}

/* ---- memory -------------------------------------------------------------- */

static size_t dir_bytes(uint32_t n_chunks)
{
    return sizeof(struct codes_dir) +
           n_chunks * sizeof(_Atomic(struct codes_chunk *));
}

static struct codes_dir *dir_create(struct ivf_codes *c, uint32_t n_chunks)
{
    struct codes_dir *d = region_alloc(c->region, dir_bytes(n_chunks), 1);

    if (d) {
        memset(d, 0, dir_bytes(n_chunks));
        d->region = c->region;
        d->n_chunks = n_chunks;
        c->n_bytes += dir_bytes(n_chunks);
    }
    return d;
}

static void dir_reclaim(struct retired *r, void *arg)
{
    struct codes_dir *d = CONTAINER_OF(r, struct codes_dir, retired);

    (void)arg;
    region_free(d->region, d, dir_bytes(d->n_chunks), 1);
}

static enum err dir_grow(struct ivf_codes *c, uint32_t n_chunks)
{
    struct codes_dir *old = atomic_load_explicit(&c->dir, memory_order_relaxed);
    uint32_t cap = old->n_chunks;
    struct codes_dir *d;
    uint32_t i;

    while (cap < n_chunks) {
        cap += cap / 2;
    }
    d = dir_create(c, cap);
    if (!d) {
        return ERR_NOMEM;
    }
    for (i = 0; i < old->n_chunks; i++) {
        atomic_init(&d->chunks[i], atomic_load_explicit(&old->chunks[i],
                                                        memory_order_relaxed));
    }
    atomic_store_explicit(&c->dir, d, memory_order_release);
    c->n_bytes -= dir_bytes(old->n_chunks);
    epoch_retire(c->epoch, &old->retired, dir_reclaim, NULL);
    return ERR_OK;
}

static struct codes_chunk *chunk_create(struct ivf_codes *c)
{
    size_t bytes = sizeof(struct codes_chunk) +
                   (size_t)CHUNK_BLOCKS * c->block_bytes + VEC_OVERREAD;
    struct codes_chunk *chunk = region_alloc(c->region, bytes, VEC_ALIGN);

    if (chunk) {
        memset(chunk, 0, bytes);
        chunk->region = c->region;
        chunk->bytes = bytes;
        c->n_bytes += bytes;
    }
    return chunk;
}

static void chunk_reclaim(struct retired *r, void *arg)
{
    struct codes_chunk *chunk = CONTAINER_OF(r, struct codes_chunk, retired);

    (void)arg;
    region_free(chunk->region, chunk, chunk->bytes, VEC_ALIGN);
}

/* ---- the column ---------------------------------------------------------- */

static void set_sizes(struct ivf_codes *c)
{
    if (c->kind == IVF_CODES_PQ4) {
        c->code_bytes = c->pq->code_bytes;
        c->block_bytes = c->pq->block_bytes;
    } else {
        c->code_bytes = c->i8.row_bytes;
        c->block_bytes = IVF_CODES_LANES * c->code_bytes;
    }
}

struct ivf_codes *ivf_codes_create(const struct ivf_codes_options *o)
{
    struct ivf_codes *c = region_alloc(o->region, sizeof(*c), 1);
    struct codes_dir *d;

    ASSERT(o->kind != IVF_CODES_NONE && ivf_codes_suits(o->kind, o->stored));
    if (!c) {
        return NULL;
    }
    memset(c, 0, sizeof(*c));
    c->kind = o->kind;
    c->stored = *o->stored;
    vec_format_init(&c->i8, VEC_I8, o->stored->metric, o->stored->dim);
    vec_format_init(&c->floats, VEC_F32, o->stored->metric, o->stored->dim);
    c->region = o->region;
    c->epoch = o->epoch;
    c->pq = o->pq;
    set_sizes(c);
    d = dir_create(c, DIR_FIRST);
    if (!d) {
        region_free(o->region, c, sizeof(*c), 1);
        return NULL;
    }
    atomic_init(&c->dir, d);
    return c;
}

void ivf_codes_destroy(struct ivf_codes *c)
{
    struct codes_dir *d;
    uint32_t i;

    if (!c) {
        return;
    }
    d = atomic_load_explicit(&c->dir, memory_order_relaxed);
    for (i = 0; i < d->n_chunks; i++) {
        struct codes_chunk *chunk =
            atomic_load_explicit(&d->chunks[i], memory_order_relaxed);

        if (chunk) {
            chunk_reclaim(&chunk->retired, NULL);
        }
    }
    dir_reclaim(&d->retired, NULL);
    region_free(c->region, c, sizeof(*c), 1);
}

enum ivf_codes_kind ivf_codes_kind_of(const struct ivf_codes *c)
{
    return c->kind;
}

size_t ivf_codes_bytes(const struct ivf_codes *c)
{
    return sizeof(*c) + c->n_bytes;
}

size_t ivf_codes_block_bytes(const struct ivf_codes *c)
{
    return c->block_bytes;
}

/* ---- blocks -------------------------------------------------------------- */

enum err ivf_codes_hold(struct ivf_codes *c, uint32_t block)
{
    struct codes_dir *d = atomic_load_explicit(&c->dir, memory_order_relaxed);
    const uint32_t at = block / CHUNK_BLOCKS;
    struct codes_chunk *chunk;
    enum err err;

    if (at >= d->n_chunks) {
        err = dir_grow(c, at + 1);
        if (err) {
            return err;
        }
        d = atomic_load_explicit(&c->dir, memory_order_relaxed);
    }
    chunk = atomic_load_explicit(&d->chunks[at], memory_order_relaxed);
    if (!chunk) {
        chunk = chunk_create(c);
        if (!chunk) {
            return ERR_NOMEM;
        }
        atomic_store_explicit(&d->chunks[at], chunk, memory_order_release);
    }
    ASSERT(!(chunk->held >> (block % CHUNK_BLOCKS) & 1));
    chunk->held |= (uint64_t)1 << (block % CHUNK_BLOCKS);
    return ERR_OK;
}

bool ivf_codes_is_held(const struct ivf_codes *c, uint32_t block)
{
    const struct codes_dir *d =
        atomic_load_explicit(&c->dir, memory_order_relaxed);
    const struct codes_chunk *chunk;

    if (block / CHUNK_BLOCKS >= d->n_chunks) {
        return false;
    }
    chunk = atomic_load_explicit(&d->chunks[block / CHUNK_BLOCKS],
                                 memory_order_relaxed);
    return chunk && chunk->held >> (block % CHUNK_BLOCKS) & 1;
}

void ivf_codes_let_go(struct ivf_codes *c, uint32_t block)
{
    struct codes_dir *d = atomic_load_explicit(&c->dir, memory_order_relaxed);
    struct codes_chunk *chunk;

    ASSERT(ivf_codes_is_held(c, block));
    chunk = atomic_load_explicit(&d->chunks[block / CHUNK_BLOCKS],
                                 memory_order_relaxed);
    chunk->held &= ~((uint64_t)1 << (block % CHUNK_BLOCKS));
    if (chunk->held == 0) {
        atomic_store_explicit(&d->chunks[block / CHUNK_BLOCKS], NULL,
                              memory_order_release);
        c->n_bytes -= chunk->bytes;
        epoch_retire(c->epoch, &chunk->retired, chunk_reclaim, NULL);
    }
}

void ivf_codes_validate(const struct ivf_codes *c)
{
    const struct codes_dir *d =
        atomic_load_explicit(&c->dir, memory_order_relaxed);
    size_t bytes = dir_bytes(d->n_chunks);
    uint32_t i;

    for (i = 0; i < d->n_chunks; i++) {
        const struct codes_chunk *chunk =
            atomic_load_explicit(&d->chunks[i], memory_order_relaxed);

        if (chunk) {
            ASSERT(chunk->held != 0); /* C3 */
            bytes += chunk->bytes;
        }
    }
    ASSERT(bytes == c->n_bytes); /* C4 */
}

/* ---- codes --------------------------------------------------------------- */

static size_t padded(size_t bytes)
{
    return (bytes + VEC_ALIGN - 1) & ~(size_t)(VEC_ALIGN - 1);
}

size_t ivf_codes_code_bytes(const struct ivf_codes *c)
{
    return c->code_bytes;
}

size_t ivf_codes_work_bytes(const struct ivf_codes *c)
{
    return padded(c->floats.code_bytes);
}

void ivf_codes_encode(const struct ivf_codes *c, const uint8_t *row, void *work,
                      uint8_t *code)
{
    enum err err;

    vec_decode_unit(&c->stored, row, work);
    if (c->kind == IVF_CODES_PQ4) {
        vec_pq_encode(c->pq, work, code);
        return;
    }
    err = vec_encode(&c->i8, work, code);
    ASSERT(!err); /* a row's components are finite, and so is their norm */
}

void ivf_codes_put(struct ivf_codes *c, uint32_t slot, const uint8_t *code)
{
    uint8_t *block = codes_block(c, slot / IVF_CODES_LANES);

    if (c->kind == IVF_CODES_PQ4) {
        vec_pq_put(c->pq, block, slot % IVF_CODES_LANES, code);
        return;
    }
    memcpy(block + (size_t)(slot % IVF_CODES_LANES) * c->code_bytes, code,
           c->code_bytes);
}

void ivf_codes_get(const struct ivf_codes *c, uint32_t slot, uint8_t *code)
{
    const uint8_t *block = codes_block(c, slot / IVF_CODES_LANES);

    if (c->kind == IVF_CODES_PQ4) {
        vec_pq_get(c->pq, block, slot % IVF_CODES_LANES, code);
        return;
    }
    memcpy(code, block + (size_t)(slot % IVF_CODES_LANES) * c->code_bytes,
           c->code_bytes);
}
