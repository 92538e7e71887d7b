/* What searches use in turn: blocks of memory, rings, a thread's scratch. See
 * search.h. */
#include "base/clock.h"
#include "base/mem.h"
#include "db/search/search_impl.h"
#include "index/ivf/centroids.h"

enum {
    BLOCK_SMALL = 4 * 1024, /* and SEARCH_BLOCK_LARGE are kept */
    BLOCKS_KEPT = 2048,     /* of each */
    REPLY_KEEP = 64 * 1024,
    LATELY_NS = 200000,
    ANSWER_FREE = 64 * 1024, /* bytes of an answer that maxmemory lets pass */
};

/* ---- the pool ---------------------------------------------------------- */

void *search_worker_init(void *arg)
{
    struct search_scratch *s = mem_calloc(1, sizeof(*s));

    (void)arg;
    s->flat = flat_scratch_create();
    s->hnsw = hnsw_scratch_create();
    s->ivf = ivf_scratch_create();
    return s;
}

void search_worker_deinit(void *scratch, void *arg)
{
    struct search_scratch *s = scratch;

    (void)arg;
    flat_scratch_destroy(s->flat);
    hnsw_scratch_destroy(s->hnsw);
    ivf_scratch_destroy(s->ivf);
    mem_free(s->near);
    mem_free(s->coded);
    mem_free(s->rows);
    mem_free(s->keys);
    mem_free(s);
}

static struct flat_scratch *scratch_of(struct worker *w)
{
    return ((struct search_scratch *)w->scratch)->flat;
}

struct search_pool *search_pool_create(struct pool *workers)
{
    struct search_pool *p = mem_calloc(1, sizeof(*p));

    p->workers = workers;
    p->scratch = search_worker_init(NULL);
    return p;
}

void search_pool_destroy(struct search_pool *p)
{
    int i;

    ASSERT(p->under_way == 0);
    for (i = 0; i < 2; i++) {
        while (p->free[i]) {
            struct search *s = p->free[i];

            p->free[i] = s->next_free;
            buf_deinit(&s->reply);
            mem_free(s);
        }
    }
    while (p->n_rings > 0) {
        flat_ring_destroy(p->rings[--p->n_rings]);
    }
    mem_free(p->rings);
    search_worker_deinit(p->scratch, NULL);
    mem_free(p);
}

void search_pool_set_inline(struct search_pool *p, bool all)
{
    p->all_inline = all;
}

void search_pool_rest(struct search_pool *p)
{
    p->rested = true;
}

bool search_pool_help(struct search_pool *p)
{
    return pool_help(p->workers, p->scratch);
}

bool search_pool_has_ended(const struct search_pool *p)
{
    return p->under_way == 0 && clock_mono_ns() - p->ended_ns < LATELY_NS;
}

size_t search_pool_under_way(const struct search_pool *p)
{
    return p->under_way;
}

void search_pool_stats_read(const struct search_pool *p,
                            struct search_pool_stats *out)
{
    *out = p->stats;
}

void search_pool_stats_reset(struct search_pool *p)
{
    p->stats = (struct search_pool_stats){.inline_runs = 0};
}

struct flat_ring *search_ring_take(struct search_pool *p)
{
    if (p->n_rings > 0) {
        return p->rings[--p->n_rings];
    }
    return flat_ring_create(p->workers, scratch_of);
}

void search_ring_return(struct search_pool *p, struct flat_ring *r)
{
    if (p->n_rings == p->cap_rings) {
        p->cap_rings = p->cap_rings ? p->cap_rings * 2 : 16;
        p->rings =
            mem_realloc(p->rings, p->cap_rings * sizeof(struct flat_ring *));
    }
    p->rings[p->n_rings++] = r;
}

/* ---- blocks ------------------------------------------------------------ */

struct search *search_block_take(struct search_pool *p, size_t bytes,
                                 size_t answer_bytes)
{
    int size = bytes <= BLOCK_SMALL ? 0 : 1;
    struct search *s = p->free[size];

    /* Reading goes on when memory is used up, but for reading a lot at once. */
    if (answer_bytes > ANSWER_FREE && !mem_has_room(answer_bytes)) {
        return NULL;
    }
    if (bytes <= SEARCH_BLOCK_LARGE && s) {
        p->free[size] = s->next_free;
        p->n_free[size]--;
        return s;
    }
    if (bytes <= SEARCH_BLOCK_LARGE) {
        bytes = size ? SEARCH_BLOCK_LARGE : BLOCK_SMALL;
    }
    s = mem_try_alloc(bytes);
    if (s) {
        s->block_bytes = bytes;
        s->reply = BUF_INIT;
    }
    return s;
}

void search_block_return(struct search_pool *p, struct search *s)
{
    int size = s->block_bytes == BLOCK_SMALL ? 0 : 1;

    if (s->reply.cap > REPLY_KEEP) {
        buf_deinit(&s->reply);
    }
    if (s->block_bytes > SEARCH_BLOCK_LARGE || p->n_free[size] >= BLOCKS_KEPT) {
        buf_deinit(&s->reply);
        mem_free(s);
        return;
    }
    s->next_free = p->free[size];
    p->free[size] = s;
    p->n_free[size]++;
}
