/* The name heap: see name_heap.h. */
#include "store/name_heap.h"

#include <string.h>

#define FREE_NONE UINT32_MAX

enum {
    DIR_MIN = 4,
    LONG_MARK = 0xff, /* length byte: three more bytes of length follow */
    LONG_MAX = NAME_UNIT * NAME_CLASSES, /* above: a block of its own */

};

/* What stands in the heap for a name with a block of its own. Its length byte
 * is LONG_MARK with length zero, which no other name has. */
struct long_name {
    uint8_t mark[4];
    uint8_t pointer[sizeof(uint8_t *)];
    uint8_t len[sizeof(size_t)];
};

void name_heap_init(struct name_heap *h, struct region *region,
                    struct epoch *epoch)
{
    *h = (struct name_heap){.region = region, .epoch = epoch};
}

/* A reader's directory may be an older one: it holds every chunk that a name
 * visible to that reader lies in. */
static struct name_chunks *dir_of(const struct name_heap *h)
{
    return atomic_load_explicit(&h->dir, memory_order_acquire);
}

/* ---- chunks ------------------------------------------------------------ */

/* Chunk 0 has NAME_FIRST_UNITS; chunk i as many as all before it, until chunks
 * are NAME_CHUNK_UNITS long. */
enum { GROWING = 13 /* chunks 0..12 end at NAME_CHUNK_UNITS units */ };

static uint32_t chunk_units(uint32_t chunk)
{
    if (chunk == 0) {
        return NAME_FIRST_UNITS;
    }
    return chunk < GROWING ? (uint32_t)NAME_FIRST_UNITS << (chunk - 1)
                           : (uint32_t)NAME_CHUNK_UNITS;
}

static uint32_t chunk_of(name_ref ref)
{
    if (ref < NAME_FIRST_UNITS) {
        return 0;
    }
    if (ref < NAME_CHUNK_UNITS) {
        return 31 - (uint32_t)__builtin_clz(ref) - 3;
    }
    return GROWING - 1 + ref / NAME_CHUNK_UNITS;
}

static uint32_t chunk_start(uint32_t chunk)
{
    if (chunk == 0) {
        return 0;
    }
    return chunk < GROWING ? (uint32_t)NAME_FIRST_UNITS << (chunk - 1)
                           : (chunk - GROWING + 1) * (uint32_t)NAME_CHUNK_UNITS;
}

static uint8_t *unit_at(const struct name_heap *h, name_ref ref)
{
    uint32_t chunk = chunk_of(ref);

    return dir_of(h)->chunks[chunk] +
           (size_t)(ref - chunk_start(chunk)) * NAME_UNIT;
}

static size_t dir_bytes(uint32_t cap)
{
    return sizeof(struct name_chunks) + cap * sizeof(uint8_t *);
}

static void dir_reclaim(struct retired *r, void *arg)
{
    struct name_chunks *dir = CONTAINER_OF(r, struct name_chunks, retired);

    (void)arg;
    region_free(dir->region, dir, dir_bytes(dir->cap), 1);
}

static enum err dir_grow(struct name_heap *h)
{
    struct name_chunks *old = dir_of(h);
    uint32_t cap = old ? old->cap * 2 : DIR_MIN;
    struct name_chunks *dir = region_alloc(h->region, dir_bytes(cap), 1);

    if (!dir) {
        return ERR_NOMEM;
    }
    dir->region = h->region;
    dir->cap = cap;
    if (old) {
        memcpy(dir->chunks, old->chunks, h->n_chunks * sizeof(uint8_t *));
    }
    atomic_store_explicit(&h->dir, dir, memory_order_release);
    if (old) {
        epoch_retire(h->epoch, &old->retired, dir_reclaim, NULL);
    }
    return ERR_OK;
}

static enum err add_chunk(struct name_heap *h)
{
    size_t bytes = (size_t)chunk_units(h->n_chunks) * NAME_UNIT;
    struct name_chunks *dir = dir_of(h);
    uint8_t *chunk;

    if (!dir || h->n_chunks == dir->cap) {
        enum err err = dir_grow(h);

        if (err) {
            return err;
        }
        dir = dir_of(h);
    }
    chunk = region_alloc(h->region, bytes, 1);
    if (!chunk) {
        return ERR_NOMEM;
    }
    dir->chunks[h->n_chunks++] = chunk;
    return ERR_OK;
}

void name_heap_deinit(struct name_heap *h)
{
    struct name_chunks *dir = dir_of(h);
    uint32_t i;

    for (i = 0; i < h->n_chunks; i++) {
        region_free(h->region, dir->chunks[i],
                    (size_t)chunk_units(i) * NAME_UNIT, 1);
    }
    if (dir) {
        region_free(h->region, dir, dir_bytes(dir->cap), 1);
    }
    region_free(h->region, h->free, NAME_CLASSES * sizeof(name_ref), 1);
    *h = (struct name_heap){.region = h->region, .epoch = h->epoch};
}

/* ---- names ------------------------------------------------------------- */

static uint32_t units_for(size_t len)
{
    size_t head = len < LONG_MARK ? 1 : 4;

    if (head + len > LONG_MAX) {
        return (sizeof(struct long_name) + NAME_UNIT - 1) / NAME_UNIT;
    }
    return (uint32_t)((head + len + NAME_UNIT - 1) / NAME_UNIT);
}

static bool is_long(size_t len)
{
    return (len < LONG_MARK ? 1 : 4) + len > LONG_MAX;
}

static bool take_units(struct name_heap *h, uint32_t n, name_ref *ref)
{
    name_ref next;

    if (h->free && h->free[n - 1] != FREE_NONE) {
        *ref = h->free[n - 1];
        memcpy(&next, unit_at(h, *ref), sizeof(next));
        h->free[n - 1] = next;
        return true;
    }
    return false;
}

/* Finds n units in a row at the end of the heap. */
static enum err extend(struct name_heap *h, uint32_t n, name_ref *ref)
{
    for (;;) {
        uint32_t end = h->n_chunks ? chunk_start(h->n_chunks - 1) +
                                         chunk_units(h->n_chunks - 1)
                                   : 0;
        enum err err;

        if (end - h->used_units >= n) {
            *ref = h->used_units;
            h->used_units += n;
            return ERR_OK;
        }
        if (end > UINT32_MAX - 2u * NAME_CHUNK_UNITS) {
            return ERR_LIMIT;
        }
        err = add_chunk(h);
        if (err) {
            return err;
        }
        h->used_units = end; /* names do not straddle chunks */
    }
}

static enum err store_long(struct name_heap *h, uint8_t *at, struct bytes name)
{
    struct long_name stub = {{LONG_MARK, 0, 0, 0}, {0}, {0}};
    uint8_t *block = region_alloc(h->region, name.len, 1);

    if (!block) {
        return ERR_NOMEM;
    }
    memcpy(block, name.data, name.len);
    memcpy(stub.pointer, &block, sizeof(block));
    memcpy(stub.len, &name.len, sizeof(name.len));
    memcpy(at, &stub, sizeof(stub));
    return ERR_OK;
}

static void put_on_free_list(struct name_heap *h, name_ref ref, uint32_t n)
{
    memcpy(unit_at(h, ref), &h->free[n - 1], sizeof(name_ref));
    h->free[n - 1] = ref;
}

enum err name_heap_add(struct name_heap *h, struct bytes name, name_ref *ref)
{
    uint32_t n = units_for(name.len);
    uint8_t *at;
    enum err err;

    if (!take_units(h, n, ref)) {
        err = extend(h, n, ref);
        if (err) {
            return err;
        }
    }
    at = unit_at(h, *ref);
    if (is_long(name.len)) {
        err = store_long(h, at, name);
        if (err) {
            /* Only the tail can be given back when no list exists yet. */
            if (h->free) {
                put_on_free_list(h, *ref, n);
            } else {
                h->used_units = *ref;
            }
        }
        return err;
    }
    if (name.len < LONG_MARK) {
        *at++ = (uint8_t)name.len;
    } else {
        at[0] = LONG_MARK;
        at[1] = (uint8_t)name.len;
        at[2] = (uint8_t)(name.len >> 8);
        at[3] = 0;
        at += 4;
    }
    if (name.len) {
        memcpy(at, name.data, name.len);
    }
    return ERR_OK;
}

static void long_name_read(const uint8_t *at, uint8_t **block, size_t *len)
{
    struct long_name stub;

    memcpy(&stub, at, sizeof(stub));
    memcpy(block, stub.pointer, sizeof(*block));
    memcpy(len, stub.len, sizeof(*len));
}

struct bytes name_heap_get(const struct name_heap *h, name_ref ref)
{
    const uint8_t *at = unit_at(h, ref);
    uint8_t *block;
    size_t len;

    if (LIKELY(at[0] != LONG_MARK)) {
        return bytes_of(at + 1, at[0]);
    }
    len = (size_t)at[1] | (size_t)at[2] << 8;
    if (len) {
        return bytes_of(at + 4, len);
    }
    long_name_read(at, &block, &len);
    return bytes_of(block, len);
}

void name_heap_prefetch(const struct name_heap *h, name_ref ref)
{
    __builtin_prefetch(unit_at(h, ref));
}

bool name_heap_is_long(const struct name_heap *h, name_ref ref)
{
    const uint8_t *at = unit_at(h, ref);

    return at[0] == LONG_MARK && at[1] == 0 && at[2] == 0;
}

void name_heap_free(struct name_heap *h, name_ref ref)
{
    struct bytes name = name_heap_get(h, ref);
    uint32_t n = units_for(name.len);
    uint32_t i;

    if (name_heap_is_long(h, ref)) {
        region_free(h->region, (void *)(uintptr_t)name.data, name.len, 1);
    }
    if (!h->free) {
        h->free = region_alloc(h->region, NAME_CLASSES * sizeof(name_ref), 1);
        if (!h->free) {
            return; /* the units are lost until the set goes; nothing worse */
        }
        for (i = 0; i < NAME_CLASSES; i++) {
            h->free[i] = FREE_NONE;
        }
    }
    put_on_free_list(h, ref, n);
}

size_t name_heap_add_cost(const struct name_heap *h, size_t len)
{
    uint32_t n = units_for(len);
    size_t cost = is_long(len) ? region_cost(len, 1) : 0;
    uint32_t end;

    if (h->free && h->free[n - 1] != FREE_NONE) {
        return cost;
    }
    end = h->n_chunks
              ? chunk_start(h->n_chunks - 1) + chunk_units(h->n_chunks - 1)
              : 0;
    if (end - h->used_units < n) {
        cost += region_cost((size_t)chunk_units(h->n_chunks) * NAME_UNIT, 1);
        cost += region_cost(dir_bytes(DIR_MIN + 2 * h->n_chunks), 1);
    }
    return cost;
}

size_t name_heap_bytes_for(size_t n, size_t len)
{
    uint32_t units = units_for(len), chunk, cap = DIR_MIN;
    size_t bytes = is_long(len) ? n * region_cost(len, 1) : 0;
    size_t left = n;

    for (chunk = 0; left > 0; chunk++) {
        size_t fit = chunk_units(chunk) / units;

        left -= fit < left ? fit : left;
        bytes += region_cost((size_t)chunk_units(chunk) * NAME_UNIT, 1);
    }
    while (cap < chunk) {
        cap *= 2;
    }
    return n ? bytes + region_cost(dir_bytes(cap), 1) : 0;
}
