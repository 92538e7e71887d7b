/* What the tests of vec/ share: seeds, levels, and memory that faults when a
 * kernel reads where it may not. */
#ifndef VECTRA_TESTS_VEC_FIXTURE_H
#define VECTRA_TESTS_VEC_FIXTURE_H

#include "unit/cm.h"

#include <sys/mman.h>
#include <unistd.h>

#include "base/rng.h"
#include "vec/vec.h"

static const char *const level_words[] = {"scalar", "avx2", "avx512f", "avx512",
                                          "neon"};

/* Selects the levels that run here one after the other:
 * for (l = 0; next_level(&l); l++) { ... } */
static inline bool next_level(size_t *l)
{
    for (; *l < ARRAY_LEN(level_words); (*l)++) {
        if (vec_simd_select(level_words[*l]) == ERR_OK) {
            return true;
        }
    }
    return false;
}

/* Memory between two pages that fault. */
struct guarded {
    uint8_t *map;
    size_t map_bytes;
    uint8_t *start; /* right behind the first such page */
    uint8_t *end;   /* right before the second */
};

static inline void guarded_init(struct guarded *g, size_t bytes)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t inner = (bytes + page - 1) / page * page;

    g->map_bytes = inner + 2 * page;
    g->map =
        mmap(NULL, g->map_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(g->map != MAP_FAILED);
    g->start = g->map + page;
    g->end = g->start + inner;
    assert_int_equal(mprotect(g->start, inner, PROT_READ | PROT_WRITE), 0);
}

static inline void guarded_deinit(struct guarded *g)
{
    munmap(g->map, g->map_bytes);
}

/* Exactly as much memory as a query may use; owns caller, free(). */
static inline void *query_memory(const struct vec_format *f)
{
    void *memory = aligned_alloc(VEC_ALIGN, vec_query_bytes(f));

    assert_non_null(memory);
    return memory;
}

/* Kinds of components, from harmless to nasty. */
enum kind {
    KIND_NORMAL,      /* normally distributed */
    KIND_POSITIVE,    /* all of one sign, sums grow */
    KIND_ALTERNATING, /* largest size, signs alternate */
    KIND_EQUAL,       /* all the same */
    KIND_SPARSE,      /* mostly zeros */
    KIND_TIES,        /* halves and thirds, which quantise to ties */
    KIND_TINY,        /* denormals */
    KIND_HUGE,        /* squares overflow */
    KIND_COUNT
};

static inline void fill_vector(struct rng *r, enum kind kind, float *x,
                               size_t dim)
{
    static const float ties[] = {0.5f, 0.25f, 1.0f / 3, 1, -0.5f, -1, 0.125f};
    float all = (float)rng_unit(r) + 0.1f;
    size_t i;

    for (i = 0; i < dim; i++) {
        switch (kind) {
        case KIND_POSITIVE:
            x[i] = (float)rng_unit(r) + 0.01f;
            break;
        case KIND_ALTERNATING:
            x[i] = i % 2 ? -1.0f : 1.0f;
            break;
        case KIND_EQUAL:
            x[i] = all;
            break;
        case KIND_SPARSE:
            x[i] = rng_below(r, 8) ? 0.0f : (float)rng_normal(r);
            break;
        case KIND_TIES:
            x[i] = ties[rng_below(r, ARRAY_LEN(ties))];
            break;
        case KIND_TINY:
            x[i] = (float)rng_normal(r) * 1e-41f;
            break;
        case KIND_HUGE:
            x[i] = (float)rng_normal(r) * 1e30f;
            break;
        case KIND_NORMAL:
        case KIND_COUNT:
            x[i] = (float)rng_normal(r);
            break;
        }
    }
    if (kind == KIND_SPARSE || kind == KIND_TINY) {
        x[rng_below(r, dim)] = kind == KIND_TINY ? 3e-42f : 1.0f;
    }
}

#endif
