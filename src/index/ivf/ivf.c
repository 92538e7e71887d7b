/* The owner's side of the inverted lists: blocks, lanes, and what is counted.
 *
 * A run grows by being copied; the copy takes its place in the directory and
 * readers of the old one see what there was then, which is all they may see
 * (V1, V2 in ivf.h). A block that leaves makes a hole, which the next block of
 * the list fills, so leaving needs no memory and cannot fail. */
#include "index/ivf/ivf_impl.h"

#include <string.h>

/* ---- memory -------------------------------------------------------------- */

static void *take_memory(struct ivf *v, size_t bytes)
{
    void *memory = region_alloc(v->region, bytes, 1);

    if (memory) {
        v->bytes += bytes;
    }
    return memory;
}

static void give_memory(struct ivf *v, void *memory, size_t bytes)
{
    if (memory) {
        v->bytes -= bytes;
        region_free(v->region, memory, bytes, 1);
    }
}

static size_t run_bytes(uint32_t cap)
{
    return sizeof(struct ivf_run) + cap * sizeof(uint64_t);
}

static size_t dir_bytes(uint32_t n_lists)
{
    return sizeof(struct ivf_dir) + n_lists * sizeof(struct ivf_run *);
}

static struct ivf_dir *dir_create(struct ivf *v, uint32_t n_lists,
                                  struct ivf_centroids *centroids)
{
    struct ivf_dir *d = take_memory(v, dir_bytes(n_lists));
    uint32_t i;

    if (d) {
        d->region = v->region;
        d->free_centroids = v->free_centroids;
        d->centroids = centroids;
        d->n_lists = n_lists;
        for (i = 0; i < n_lists; i++) {
            atomic_init(&d->runs[i], NULL);
        }
    }
    return d;
}

static void dir_free(struct ivf_dir *d)
{
    if (d->free_centroids && d->centroids) {
        d->free_centroids(d->centroids);
    }
    region_free(d->region, d, dir_bytes(d->n_lists), 1);
}

static void dir_reclaim(struct retired *r, void *arg)
{
    (void)arg;
    dir_free(CONTAINER_OF(r, struct ivf_dir, retired));
}

static void run_reclaim(struct retired *r, void *arg)
{
    struct ivf_run *run = CONTAINER_OF(r, struct ivf_run, retired);

    (void)arg;
    region_free(run->region, run, run_bytes(run->cap), 1);
}

static void list_init(struct list_record *l)
{
    *l = (struct list_record){
        .open_first = IVF_NONE, .open_last = IVF_NONE, .hole = IVF_NONE};
}

struct ivf *ivf_create(const struct ivf_options *o)
{
    struct ivf *v = region_alloc(o->region, sizeof(*v), 1);
    uint32_t i;

    ASSERT(o->n_lists > 0);
    if (!v) {
        return NULL;
    }
    *v = (struct ivf){.bytes = sizeof(*v),
                      .region = o->region,
                      .epoch = o->epoch,
                      .free_centroids = o->free_centroids};
    v->lists = take_memory(v, o->n_lists * sizeof(*v->lists));
    v->dir = v->lists ? dir_create(v, o->n_lists, o->centroids) : NULL;
    if (!v->dir) {
        give_memory(v, v->lists, o->n_lists * sizeof(*v->lists));
        region_free(o->region, v, sizeof(*v), 1);
        return NULL;
    }
    for (i = 0; i < o->n_lists; i++) {
        list_init(&v->lists[i]);
    }
    return v;
}

bool ivf_take_apart(struct ivf *v, uint32_t n)
{
    for (; n > 0 && v->n_apart < v->dir->n_lists; n--) {
        struct ivf_run *run = ivf_run_of(v, v->n_apart++);

        if (run) {
            give_memory(v, run, run_bytes(run->cap));
        }
    }
    for (; n > 0 && v->n_chunks > 0; n--) {
        give_memory(v, v->records[--v->n_chunks],
                    RECORD_CHUNK * sizeof(**v->records));
    }
    return n == 0;
}

void ivf_destroy(struct ivf *v)
{
    uint32_t n = v->dir->n_lists;

    (void)ivf_take_apart(v, UINT32_MAX);
    dir_free(v->dir);
    region_free(v->region, v->records, v->cap_chunks * sizeof(*v->records), 1);
    region_free(v->region, v->lists, n * sizeof(*v->lists), 1);
    region_free(v->region, v, sizeof(*v), 1);
}

uint32_t ivf_n_lists(const struct ivf *v)
{
    return v->dir->n_lists;
}

const struct ivf_centroids *ivf_centroids_of(const struct ivf *v)
{
    return v->dir->centroids;
}

size_t ivf_bytes(const struct ivf *v)
{
    return v->bytes;
}

/* Records up to a block's. What was made stays when something fails: it is
 * found the next time. */
static enum err records_reserve(struct ivf *v, uint32_t block)
{
    uint32_t chunk = block / RECORD_CHUNK;
    struct block_record *r;
    uint32_t i;

    if (chunk >= v->n_chunks) {
        uint32_t n = chunk + 1 + chunk / 2;
        struct block_record **records = take_memory(v, n * sizeof(*records));

        if (!records) {
            return ERR_NOMEM;
        }
        if (v->n_chunks) {
            memcpy(records, v->records, v->n_chunks * sizeof(*records));
        }
        memset(records + v->n_chunks, 0, (n - v->n_chunks) * sizeof(*records));
        give_memory(v, v->records, v->n_chunks * sizeof(*records));
        v->records = records;
        v->n_chunks = v->cap_chunks = n;
    }
    if (!v->records[chunk]) {
        r = take_memory(v, RECORD_CHUNK * sizeof(*r));
        if (!r) {
            return ERR_NOMEM;
        }
        for (i = 0; i < RECORD_CHUNK; i++) {
            r[i].list = IVF_NONE;
        }
        v->records[chunk] = r;
    }
    return ERR_OK;
}

/* ---- the open chain ------------------------------------------------------ */

static void chain_add(struct ivf *v, struct list_record *l, uint32_t block,
                      bool first)
{
    struct block_record *r = ivf_record(v, block);

    r->prev = first ? IVF_NONE : l->open_last;
    r->next = first ? l->open_first : IVF_NONE;
    if (r->prev != IVF_NONE) {
        ivf_record(v, r->prev)->next = block;
    } else {
        l->open_first = block;
    }
    if (r->next != IVF_NONE) {
        ivf_record(v, r->next)->prev = block;
    } else {
        l->open_last = block;
    }
}

static void chain_remove(struct ivf *v, struct list_record *l, uint32_t block)
{
    struct block_record *r = ivf_record(v, block);

    if (r->prev != IVF_NONE) {
        ivf_record(v, r->prev)->next = r->next;
    } else {
        l->open_first = r->next;
    }
    if (r->next != IVF_NONE) {
        ivf_record(v, r->next)->prev = r->prev;
    } else {
        l->open_last = r->prev;
    }
}

/* ---- blocks -------------------------------------------------------------- */

/* A run with room for more: the blocks there are, without the holes. */
static enum err run_grow(struct ivf *v, uint32_t list)
{
    struct ivf_run *old = ivf_run_of(v, list);
    struct list_record *l = &v->lists[list];
    uint32_t n_old = old ? atomic_load(&old->n) : 0;
    uint32_t cap = n_old ? n_old + n_old / 2 + 1 : RUN_MIN;
    struct ivf_run *run = take_memory(v, run_bytes(cap));
    uint32_t n = 0;
    uint32_t i;

    if (!run) {
        return ERR_NOMEM;
    }
    run->region = v->region;
    run->cap = cap;
    ASSERT(l->hole == IVF_NONE); /* or it would have been filled */
    for (i = 0; i < n_old; i++) {
        atomic_init(&run->blocks[n++], ivf_entry(old, i));
    }
    atomic_init(&run->n, n);
    atomic_store_explicit(&v->dir->runs[list], run, memory_order_release);
    if (old) {
        v->bytes -= run_bytes(old->cap);
        epoch_retire(v->epoch, &old->retired, run_reclaim, NULL);
    }
    return ERR_OK;
}

static struct block_record *owned(const struct ivf *v, uint32_t block)
{
    struct block_record *r = ivf_record(v, block);

    ASSERT(r && r->list != IVF_NONE);
    return r;
}

enum err ivf_block_add(struct ivf *v, uint32_t list, uint32_t block)
{
    struct list_record *l = &v->lists[list];
    struct block_record *r;
    struct ivf_run *run;
    enum err err = records_reserve(v, block);

    if (err) {
        return err;
    }
    r = ivf_record(v, block);
    ASSERT(list < v->dir->n_lists && r->list == IVF_NONE);
    run = ivf_run_of(v, list);
    if (l->hole == IVF_NONE && (!run || atomic_load(&run->n) == run->cap)) {
        err = run_grow(v, list);
        if (err) {
            return err;
        }
        run = ivf_run_of(v, list);
    }
    r->list = list;
    if (l->hole != IVF_NONE) {
        uint32_t next = (uint32_t)(ivf_entry(run, l->hole) >> 32);

        r->at = l->hole;
        l->hole = next == IVF_NONE ? IVF_NONE : next & ~RUN_HOLE;
    } else {
        r->at = atomic_load(&run->n);
    }
    atomic_store_explicit(&run->blocks[r->at], (uint64_t)block << 32,
                          memory_order_release);
    if (r->at == atomic_load(&run->n)) {
        atomic_store_explicit(&run->n, r->at + 1,
                              memory_order_release); /* I7 */
    }
    chain_add(v, l, block, false);
    l->n_blocks++;
    v->n_blocks++;
    return ERR_OK;
}

void ivf_block_leave(struct ivf *v, uint32_t block)
{
    struct block_record *r = owned(v, block);
    uint32_t list = ivf_record_list(r);
    struct list_record *l = &v->lists[list];
    struct ivf_run *run = ivf_run_of(v, list);

    ASSERT((uint32_t)ivf_entry(run, r->at) == 0);
    if (!(r->list & LIST_CLOSED)) {
        chain_remove(v, l, block);
    }
    atomic_store_explicit(&run->blocks[r->at],
                          (uint64_t)(l->hole | RUN_HOLE) << 32,
                          memory_order_release);
    l->hole = r->at;
    l->n_blocks--;
    v->n_blocks--;
    r->list = IVF_NONE;
}

uint32_t ivf_block_lanes(const struct ivf *v, uint32_t block)
{
    const struct block_record *r = ivf_record(v, block);

    return r && r->list != IVF_NONE
               ? (uint32_t)ivf_entry(ivf_run_of(v, ivf_record_list(r)), r->at)
               : 0;
}

void ivf_block_close(struct ivf *v, uint32_t block)
{
    struct block_record *r = owned(v, block);

    if (!(r->list & LIST_CLOSED)) {
        if (ivf_block_lanes(v, block) != LANES_ALL) {
            chain_remove(v, &v->lists[r->list], block);
        }
        r->list |= LIST_CLOSED;
    }
}

void ivf_block_open(struct ivf *v, uint32_t block)
{
    struct block_record *r = owned(v, block);

    if (r->list & LIST_CLOSED) {
        r->list &= ~LIST_CLOSED;
        if (ivf_block_lanes(v, block) != LANES_ALL) {
            chain_add(v, &v->lists[r->list], block, false);
        }
    }
}

uint32_t ivf_next_block(const struct ivf *v, uint32_t list, uint32_t *at)
{
    const struct ivf_run *run = ivf_run_of(v, list);
    uint32_t n = ivf_run_length(run);

    while (*at < n) {
        uint64_t entry = ivf_entry(run, (*at)++);

        if (!ivf_entry_is_hole(entry)) {
            return (uint32_t)(entry >> 32);
        }
    }
    return IVF_NONE;
}

uint32_t ivf_sparsest_block(const struct ivf *v, uint32_t list)
{
    uint32_t block = v->lists[list].open_first;
    uint32_t best = IVF_NONE, fewest = UINT32_MAX;

    for (; block != IVF_NONE; block = ivf_record(v, block)->next) {
        uint32_t n = (uint32_t)__builtin_popcount(ivf_block_lanes(v, block));

        if (n < fewest) {
            fewest = n;
            best = block;
        }
    }
    return v->lists[list].n_blocks > 1 ? best : IVF_NONE;
}

/* ---- lanes --------------------------------------------------------------- */

/* Before the change. */
static void count_used(struct ivf *v, struct list_record *l, int change)
{
    if (change > 0) {
        v->squares += 2 * (uint64_t)l->n_used + 1;
        l->n_used++;
        v->n_used++;
    } else {
        ASSERT(l->n_used > 0);
        v->squares -= 2 * (uint64_t)l->n_used - 1;
        l->n_used--;
        v->n_used--;
    }
}

uint32_t ivf_lane_take(struct ivf *v, uint32_t list)
{
    struct list_record *l = &v->lists[list];
    uint32_t block = l->open_first;
    struct block_record *r;
    struct ivf_run *run;
    uint64_t entry;
    uint32_t lane;

    if (block == IVF_NONE) {
        return IVF_NONE;
    }
    r = ivf_record(v, block);
    run = ivf_run_of(v, list);
    entry = ivf_entry(run, r->at);
    lane = (uint32_t)__builtin_ctz(~(uint32_t)entry);
    entry |= (uint64_t)1 << lane;
    atomic_store_explicit(&run->blocks[r->at], entry, memory_order_release);
    if ((uint32_t)entry == LANES_ALL) {
        chain_remove(v, l, block);
    }
    count_used(v, l, 1);
    return block * IVF_BLOCK + lane;
}

void ivf_block_fill(struct ivf *v, uint32_t block, uint32_t lanes)
{
    struct block_record *r = owned(v, block);
    struct list_record *l = &v->lists[ivf_record_list(r)];
    struct ivf_run *run = ivf_run_of(v, ivf_record_list(r));
    uint64_t entry = ivf_entry(run, r->at);
    uint32_t left = lanes;

    ASSERT((uint32_t)entry == 0);
    atomic_store_explicit(&run->blocks[r->at], entry | lanes,
                          memory_order_release);
    if (lanes == LANES_ALL) {
        chain_remove(v, l, block);
    }
    for (; left; left &= left - 1) {
        count_used(v, l, 1);
    }
}

/* True when the block is empty now. */
static bool lane_free(struct ivf *v, uint32_t slot)
{
    uint32_t block = slot / IVF_BLOCK;
    struct block_record *r = owned(v, block);
    uint32_t list = ivf_record_list(r);
    struct ivf_run *run = ivf_run_of(v, list);
    uint64_t entry = ivf_entry(run, r->at);
    uint64_t lane = (uint64_t)1 << (slot % IVF_BLOCK);

    ASSERT(entry & lane);
    atomic_store_explicit(&run->blocks[r->at], entry & ~lane,
                          memory_order_release);
    if ((uint32_t)entry == LANES_ALL && !(r->list & LIST_CLOSED)) {
        chain_add(v, &v->lists[list], block, true);
    }
    return (uint32_t)(entry & ~lane) == 0;
}

void ivf_lane_put_back(struct ivf *v, uint32_t slot)
{
    count_used(v, &v->lists[ivf_list_of(v, slot)], -1);
    lane_free(v, slot);
}

void ivf_lane_died(struct ivf *v, uint32_t slot)
{
    struct list_record *l = &v->lists[ivf_list_of(v, slot)];

    count_used(v, l, -1);
    l->n_dead++;
    v->n_dead++;
}

bool ivf_lane_release(struct ivf *v, uint32_t slot)
{
    struct list_record *l = &v->lists[ivf_list_of(v, slot)];

    ASSERT(l->n_dead > 0);
    l->n_dead--;
    v->n_dead--;
    return lane_free(v, slot);
}

uint32_t ivf_list_of(const struct ivf *v, uint32_t slot)
{
    const struct block_record *r = ivf_record(v, slot / IVF_BLOCK);

    return r && r->list != IVF_NONE ? ivf_record_list(r) : IVF_NONE;
}

/* ---- statistics ---------------------------------------------------------- */

void ivf_list_stats(const struct ivf *v, uint32_t list,
                    struct ivf_list_stats *out)
{
    const struct list_record *l = &v->lists[list];

    *out = (struct ivf_list_stats){l->n_blocks, l->n_used, l->n_dead};
}

double ivf_imbalance(const struct ivf *v)
{
    double n = (double)v->n_used;

    return v->n_used ? (double)v->dir->n_lists * (double)v->squares / (n * n)
                     : 1.0;
}

uint64_t ivf_n_used(const struct ivf *v)
{
    return v->n_used;
}

void ivf_stats(const struct ivf *v, struct ivf_stats *out)
{
    uint32_t i;

    *out = (struct ivf_stats){.n_lists = v->dir->n_lists,
                              .n_blocks = v->n_blocks,
                              .n_used = v->n_used,
                              .n_dead = v->n_dead,
                              .min = v->lists[0].n_used,
                              .imbalance = ivf_imbalance(v)};
    for (i = 0; i < v->dir->n_lists; i++) {
        uint32_t n = v->lists[i].n_used;

        out->n_empty += n == 0;
        out->min = n < out->min ? n : out->min;
        out->max = n > out->max ? n : out->max;
    }
}

bool ivf_find_extremes(const struct ivf *v, struct ivf_extremes *x,
                       uint32_t budget)
{
    uint32_t n = v->dir->n_lists;

    if (x->at == 0) {
        x->largest = x->smallest = 0;
    }
    for (; x->at < n && budget > 0; x->at++, budget--) {
        uint32_t size = v->lists[x->at].n_used;

        if (size > v->lists[x->largest].n_used) {
            x->largest = x->at;
        }
        if (size < v->lists[x->smallest].n_used) {
            x->smallest = x->at;
        }
    }
    return x->at < n;
}

/* ---- other lists --------------------------------------------------------- */

/* The records of a list's blocks name it by its new number. */
static void rename_blocks(struct ivf *v, uint32_t from, uint32_t to)
{
    uint32_t at = 0;
    uint32_t block;

    while ((block = ivf_next_block(v, from, &at)) != IVF_NONE) {
        struct block_record *r = ivf_record(v, block);

        r->list = to | (r->list & LIST_CLOSED);
    }
}

enum err ivf_relist(struct ivf *v, struct ivf_centroids *centroids,
                    uint32_t n_lists, const uint32_t *new_of_old)
{
    struct ivf_dir *old = v->dir;
    struct list_record *old_lists = v->lists;
    struct list_record *lists;
    struct ivf_dir *dir;
    uint32_t i;

    ASSERT(n_lists > 0);
    lists = take_memory(v, n_lists * sizeof(*lists));
    dir = lists ? dir_create(v, n_lists, centroids) : NULL;
    if (!dir) {
        give_memory(v, lists, n_lists * sizeof(*lists));
        return ERR_NOMEM;
    }
    for (i = 0; i < n_lists; i++) {
        list_init(&lists[i]);
    }
    for (i = 0; i < old->n_lists; i++) {
        uint32_t to = new_of_old[i];
        struct ivf_run *run = ivf_run_of(v, i);

        if (to == IVF_NONE) {
            ASSERT(old_lists[i].n_blocks == 0);
            if (run) {
                v->bytes -= run_bytes(run->cap);
                epoch_retire(v->epoch, &run->retired, run_reclaim, NULL);
            }
            continue;
        }
        ASSERT(to < n_lists && !atomic_load(&dir->runs[to]) &&
               lists[to].n_blocks == 0);
        lists[to] = old_lists[i];
        atomic_store_explicit(&dir->runs[to], run, memory_order_relaxed);
        if (to != i) {
            rename_blocks(v, i, to);
        }
    }
    v->dir = dir;
    v->lists = lists;
    give_memory(v, old_lists, old->n_lists * sizeof(*old_lists));
    v->bytes -= dir_bytes(old->n_lists);
    epoch_retire(v->epoch, &old->retired, dir_reclaim, NULL);
    return ERR_OK;
}

void ivf_view_take(const struct ivf *v, uint32_t n_slots, struct ivf_view *out)
{
    *out = (struct ivf_view){v->dir, n_slots};
}
