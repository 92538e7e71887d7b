/* The inside of the code column: shared by codes*.c. */
#ifndef VECTRA_INDEX_IVF_CODES_IMPL_H
#define VECTRA_INDEX_IVF_CODES_IMPL_H

#include <stdatomic.h>

#include "index/ivf/codes.h"
#include "vec/pq.h"

enum { CHUNK_BLOCKS = 64 };

/* The memory of CHUNK_BLOCKS blocks in a row. */
struct codes_chunk {
    struct retired retired;
    struct region *region;
    size_t bytes;  /* of all of it */
    uint64_t held; /* the owner's: which of its blocks */
    _Alignas(VEC_ALIGN) uint8_t codes[];
};

struct codes_dir {
    struct retired retired;
    struct region *region;
    uint32_t n_chunks;
    _Atomic(struct codes_chunk *) chunks[]; /* NULL: none of its blocks held */
};

/* Invariants, checked by ivf_codes_validate():
 *
 *  C3  A chunk is there exactly while one of its blocks is held.
 *  C4  n_bytes is the memory of the directory and of all chunks. */
struct ivf_codes {
    enum ivf_codes_kind kind;
    struct vec_format stored;
    struct vec_format i8;     /* I8: of the codes */
    struct vec_format floats; /* of components as they are compared */
    const struct vec_pq *pq;  /* PQ4 */
    uint32_t block_bytes;
    uint32_t code_bytes;
    struct region *region;
    struct epoch *epoch;
    size_t n_bytes;
    _Atomic(struct codes_dir *) dir;
};

struct ivf_codes_query {
    const struct ivf_codes *codes;
    struct vec_query *i8; /* one of these, by kind */
    struct vec_pq_query *pq;
    _Alignas(VEC_ALIGN) uint8_t memory[];
};

/* The codes of a block, NULL when it is not held. */
ALWAYS_INLINE uint8_t *codes_block(const struct ivf_codes *c, uint32_t block)
{
    const struct codes_dir *d =
        atomic_load_explicit(&c->dir, memory_order_acquire);
    struct codes_chunk *chunk;

    if (UNLIKELY(block / CHUNK_BLOCKS >= d->n_chunks)) {
        return NULL;
    }
    chunk = atomic_load_explicit(&d->chunks[block / CHUNK_BLOCKS],
                                 memory_order_acquire);
    return chunk
               ? chunk->codes + (size_t)(block % CHUNK_BLOCKS) * c->block_bytes
               : NULL;
}

#endif
