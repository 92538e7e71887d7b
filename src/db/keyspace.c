/* Databases and entries: see keyspace.h. */
#include "db/keyspace.h"

#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "db/graph/graph.h"
#include "db/lists/lists.h"
#include "db/names/name_order.h"
#include "db/search/search.h"
#include "db/vset/vset.h"

enum { SHARED_LOADS_FROM = 1 << 20 };

static uint64_t hash_of_entry(uint64_t ref, void *arg)
{
    (void)arg;
    return ((const struct entry *)(uintptr_t)ref)->hash;
}

static void fetch_entry(uint64_t ref, int step, void *arg)
{
    (void)arg;
    if (step == 0) {
        __builtin_prefetch(&((const struct entry *)(uintptr_t)ref)->hash);
    }
}

static struct entry *entry_of(uint64_t ref)
{
    return (struct entry *)(uintptr_t)ref;
}

static uint64_t ref_of(const struct entry *e)
{
    return (uint64_t)(uintptr_t)e;
}

static struct database *database_create(struct keyspace *ks)
{
    struct database *d = mem_calloc(1, sizeof(*d));

    table_init(&d->entries, 8, NULL, hash_of_entry, NULL);
    table_init(&d->volatiles, 8, NULL, hash_of_entry, NULL);
    table_set_fetch(&d->entries, fetch_entry);
    table_set_fetch(&d->volatiles, fetch_entry);
    d->keyspace = ks;
    return d;
}

struct keyspace *keyspace_create(int n_dbs, struct pool *pool,
                                 struct reaper *reaper)
{
    struct keyspace *ks = mem_calloc(1, sizeof(*ks));
    uint64_t seed;
    int i;

    ks->dbs = mem_calloc((size_t)n_dbs, sizeof(*ks->dbs));
    ks->n_dbs = n_dbs;
    ks->epoch = epoch_create();
    ks->pool = pool;
    ks->reaper = reaper;
    ks->active_expire = true;
    ks->shared_loads_from = SHARED_LOADS_FROM;
    rng_system(&seed, sizeof(seed));
    rng_seed(&ks->rng, seed);
    for (i = 0; i < n_dbs; i++) {
        ks->dbs[i] = database_create(ks);
    }
    ks->searches = search_pool_create(pool);
    keyspace_set_time(ks, clock_wall_ms(), clock_mono_us());
    return ks;
}

void keyspace_set_builders(struct keyspace *ks, struct pool *builders)
{
    ks->builders = builders;
}

void keyspace_destroy(struct keyspace *ks)
{
    int i;

    name_order_end_builds(ks);
    graph_end_jobs(ks);
    lists_end_jobs(ks);
    keyspace_flush(ks, -1);
    epoch_destroy(ks->epoch);
    search_pool_destroy(ks->searches);
    for (i = 0; i < ks->n_dbs; i++) {
        table_deinit(&ks->dbs[i]->entries);
        table_deinit(&ks->dbs[i]->volatiles);
        mem_free(ks->dbs[i]);
    }
    buf_deinit(&ks->work);
    mem_free(ks->dbs);
    mem_free(ks);
}

void keyspace_set_time(struct keyspace *ks, time_ms wall, time_us mono)
{
    ks->now = wall;
    ks->clock_s = (uint32_t)(mono / 1000000);
}

/* ---- lookup ------------------------------------------------------------ */

ALWAYS_INLINE struct entry *lookup(const struct database *d, struct bytes key,
                                   uint64_t hash)
{
    struct table_probe probe;
    uint64_t ref;

    table_probe_start(&probe, &d->entries, hash);
    while (table_probe_next(&probe, &ref)) {
        struct entry *e = entry_of(ref);

        if (e->hash == hash && bytes_equal(entry_key(e), key)) {
            return e;
        }
    }
    return NULL;
}

bool keyspace_is_past(const struct keyspace *ks, time_ms at)
{
    return at <= ks->now && (!ks->keep_expired || at < 0);
}

static bool has_expired(const struct keyspace *ks, const struct entry *e)
{
    return e->expires_at != NO_EXPIRY && keyspace_is_past(ks, e->expires_at);
}

bool keyspace_has(const struct keyspace *ks, int db, struct bytes key)
{
    const struct entry *e =
        lookup(ks->dbs[db], key, hash_bytes(key.data, key.len));

    return e && !has_expired(ks, e);
}

static void expire(struct keyspace *ks, int db, struct entry *e)
{
    ks->stats.expired++;
    if (ks->listener.expired) {
        ks->listener.expired(ks->listener.arg, db, entry_key(e));
    }
    keyspace_touched(ks, db, entry_key(e));
    keyspace_delete(ks, db, e);
}

/* K2 */
ALWAYS_INLINE struct entry *lookup_live(struct keyspace *ks, int db,
                                        struct bytes key, uint64_t hash)
{
    struct entry *e = lookup(ks->dbs[db], key, hash);

    if (e && UNLIKELY(has_expired(ks, e))) {
        expire(ks, db, e);
        return NULL;
    }
    return e;
}

struct entry *keyspace_find(struct keyspace *ks, int db, struct bytes key)
{
    return lookup_live(ks, db, key, hash_bytes(key.data, key.len));
}

struct entry *keyspace_peek(struct keyspace *ks, int db, struct bytes key)
{
    struct entry *e = lookup_live(ks, db, key, hash_bytes(key.data, key.len));

    if (e) {
        ks->stats.hits++;
    } else {
        ks->stats.misses++;
    }
    return e;
}

struct entry *keyspace_read(struct keyspace *ks, int db, struct bytes key)
{
    struct entry *e = keyspace_peek(ks, db, key);

    if (e) {
        e->accessed_s = ks->clock_s;
    }
    return e;
}

struct entry *keyspace_write(struct keyspace *ks, int db, struct bytes key)
{
    struct entry *e = keyspace_find(ks, db, key);

    if (e) {
        e->accessed_s = ks->clock_s;
    }
    return e;
}

const char *keyspace_type_name(enum value_type type)
{
    static const char *const names[VALUE_TYPE_COUNT] = {"string", "vectorset"};

    return names[type];
}

/* ---- adding and deleting ----------------------------------------------- */

size_t keyspace_add_cost(const struct keyspace *ks, int db, struct bytes key)
{
    return mem_good_size(sizeof(struct entry) + key.len) +
           table_insert_cost(&ks->dbs[db]->entries,
                             hash_bytes(key.data, key.len));
}

static struct entry *add(struct keyspace *ks, int db, struct bytes key,
                         uint64_t hash)
{
    struct entry *e = mem_try_alloc(sizeof(*e) + key.len);

    if (!e) {
        return NULL;
    }
    *e = (struct entry){.hash = hash,
                        .expires_at = NO_EXPIRY,
                        .key_len = (uint32_t)key.len,
                        .accessed_s = ks->clock_s,
                        .type = VALUE_STRING,
                        .encoding = ENC_INT};
    if (key.len) {
        memcpy(e->key, key.data, key.len);
    }
    if (table_insert(&ks->dbs[db]->entries, e->hash, ref_of(e)) != ERR_OK) {
        mem_free(e);
        return NULL;
    }
    return e;
}

struct entry *keyspace_add(struct keyspace *ks, int db, struct bytes key)
{
    return add(ks, db, key, hash_bytes(key.data, key.len));
}

struct entry *keyspace_write_or_add(struct keyspace *ks, int db,
                                    struct bytes key, bool *added)
{
    uint64_t hash = hash_bytes(key.data, key.len);
    struct entry *e = lookup_live(ks, db, key, hash);

    *added = !e;
    if (!e) {
        return add(ks, db, key, hash);
    }
    e->accessed_s = ks->clock_s;
    return e;
}

enum { BACKGROUND_BYTES = 256 * 1024 }; /* longer texts are freed there */

static void free_text(struct reaper_job *job)
{
    mem_free(job);
}

/* Giving back a text of many megabytes takes the allocator milliseconds, so it
 * happens in the background; the text itself has room for the job. */
static void drop_text(struct keyspace *ks, uint8_t *text, size_t len)
{
    struct reaper_job *job = (void *)text;

    if (len < BACKGROUND_BYTES) {
        mem_free(text);
        return;
    }
    job->run = free_text;
    reaper_submit(ks->reaper, job);
}

void keyspace_drop_value(struct keyspace *ks, struct entry *e)
{
    if (e->type == VALUE_VSET) {
        vset_drop(e->value.vset);
    } else if (e->encoding != ENC_INT) {
        drop_text(ks, e->value.text, e->text_len);
    }
    e->type = VALUE_STRING;
    e->encoding = ENC_INT;
    e->value.number = 0;
    e->text_len = 0;
}

static void unlink_entry(struct keyspace *ks, int db, struct entry *e)
{
    struct database *d = ks->dbs[db];

    if (e->expires_at != NO_EXPIRY) {
        ASSERT(table_remove(&d->volatiles, e->hash, ref_of(e)));
    }
    ASSERT(table_remove(&d->entries, e->hash, ref_of(e)));
}

void keyspace_delete(struct keyspace *ks, int db, struct entry *e)
{
    unlink_entry(ks, db, e);
    keyspace_drop_value(ks, e);
    mem_free(e);
}

enum err keyspace_move(struct keyspace *ks, int db, struct entry *e, int to_db,
                       struct bytes key)
{
    bool added;
    struct entry *to = keyspace_write_or_add(ks, to_db, key, &added);

    if (!to) {
        return ERR_NOMEM;
    }
    ASSERT(to != e);
    if (keyspace_set_expiry(ks, to_db, to, e->expires_at) != ERR_OK) {
        if (added) {
            keyspace_delete(ks, to_db, to);
        }
        return ERR_NOMEM;
    }
    keyspace_drop_value(ks, to);
    to->value = e->value;
    to->text_len = e->text_len;
    to->type = e->type;
    to->encoding = e->encoding;
    if (to->type == VALUE_VSET) {
        vset_set_entry(to->value.vset, to);
        if (db != to_db) {
            vset_moved(to->value.vset, ks->dbs[to_db]);
        }
    }
    unlink_entry(ks, db, e);
    mem_free(e);
    return ERR_OK;
}

enum err keyspace_set_expiry(struct keyspace *ks, int db, struct entry *e,
                             time_ms at)
{
    struct database *d = ks->dbs[db];

    if (at == NO_EXPIRY && e->expires_at != NO_EXPIRY) {
        ASSERT(table_remove(&d->volatiles, e->hash, ref_of(e)));
    } else if (at != NO_EXPIRY && e->expires_at == NO_EXPIRY) {
        enum err err = table_insert(&d->volatiles, e->hash, ref_of(e));

        if (err) {
            return err;
        }
    }
    e->expires_at = at;
    return ERR_OK;
}

void keyspace_touched(struct keyspace *ks, int db, struct bytes key)
{
    if (ks->listener.changed) {
        ks->listener.changed(ks->listener.arg, db, key);
    }
}

void keyspace_changed(struct keyspace *ks, int db, struct bytes key)
{
    ks->stats.changes++;
    keyspace_touched(ks, db, key);
}

/* The number of the database that has a set as a key's value; -1: none. */
static int number_of(const struct keyspace *ks, const struct vset *v)
{
    int i;

    for (i = 0; i < ks->n_dbs && vset_entry(v); i++) {
        if (ks->dbs[i] == vset_database(v)) {
            return i;
        }
    }
    return -1;
}

void keyspace_trained(struct keyspace *ks, const struct vset *v, uint64_t from,
                      struct bytes rest)
{
    int db = number_of(ks, v);

    ks->stats.changes++;
    if (db >= 0 && ks->listener.trained) {
        ks->listener.trained(ks->listener.arg, db, entry_key(vset_entry(v)),
                             from, rest);
    }
}

void keyspace_trained_part(struct keyspace *ks, const struct vset *v,
                           uint64_t from, struct bytes part)
{
    int db = number_of(ks, v);

    if (db >= 0 && ks->listener.trained_part) {
        ks->listener.trained_part(ks->listener.arg, db,
                                  entry_key(vset_entry(v)), from, part);
    }
}

struct keyspace_log keyspace_log(const struct keyspace *ks)
{
    return ks->listener.log ? ks->listener.log(ks->listener.arg)
                            : (struct keyspace_log){0, false};
}

/* ---- whole databases --------------------------------------------------- */

size_t keyspace_count(const struct keyspace *ks, int db)
{
    return ks->dbs[db]->entries.count;
}

size_t keyspace_volatile_count(const struct keyspace *ks, int db)
{
    return ks->dbs[db]->volatiles.count;
}

int64_t keyspace_mean_ttl(struct keyspace *ks, int db)
{
    const struct database *d = ks->dbs[db];
    int64_t sum = 0;
    uint64_t ref;
    int i, n = 0;

    for (i = 0; i < 16 && table_random(&d->volatiles, &ks->rng, &ref); i++) {
        time_ms left = entry_of(ref)->expires_at - ks->now;

        if (left > 0) {
            sum += left;
            n++;
        }
    }
    return n ? sum / n : 0;
}

static void free_entry(uint64_t ref, void *arg)
{
    struct entry *e = entry_of(ref);

    (void)arg;
    if (e->type == VALUE_VSET) {
        vset_free(e->value.vset);
    } else if (e->encoding != ENC_INT) {
        mem_free(e->value.text);
    }
    mem_free(e);
}

static void database_free(struct reaper_job *job)
{
    struct database *d = CONTAINER_OF(job, struct database, job);

    table_each(&d->entries, free_entry, NULL);
    table_deinit(&d->entries);
    table_deinit(&d->volatiles);
    mem_free(d);
    region_purge_shared();
    mem_purge();
}

static void database_reap(struct retired *r, void *arg)
{
    struct database *d = CONTAINER_OF(r, struct database, retired);
    struct keyspace *ks = arg;

    d->job.run = database_free;
    reaper_submit(ks->reaper, &d->job);
}

static void flush_one(struct keyspace *ks, int db)
{
    struct database *d = ks->dbs[db];

    if (d->entries.count == 0) {
        return;
    }
    if (ks->listener.flushed) {
        ks->listener.flushed(ks->listener.arg, db, -1);
    }
    name_order_detach_builds(ks, d);
    graph_detach_all(ks, d);
    lists_detach_all(ks, d);
    ks->dbs[db] = database_create(ks);
    epoch_retire(ks->epoch, &d->retired, database_reap, ks);
}

void keyspace_flush(struct keyspace *ks, int db)
{
    int i;

    for (i = 0; i < ks->n_dbs; i++) {
        if (db < 0 || i == db) {
            flush_one(ks, i);
        }
    }
}

void keyspace_swap(struct keyspace *ks, int a, int b)
{
    struct database *d = ks->dbs[a];

    if (ks->listener.flushed && a != b) {
        ks->listener.flushed(ks->listener.arg, a, b);
        ks->listener.flushed(ks->listener.arg, b, a);
    }
    ks->dbs[a] = ks->dbs[b];
    ks->dbs[b] = d;
}

/* ---- scanning ---------------------------------------------------------- */

struct scan {
    struct keyspace *ks;
    void (*fn)(void *arg, struct entry *e);
    void *arg;
};

static void scan_entry(uint64_t ref, void *arg)
{
    const struct scan *s = arg;

    if (!has_expired(s->ks, entry_of(ref))) {
        s->fn(s->arg, entry_of(ref));
    }
}

uint64_t keyspace_scan(struct keyspace *ks, int db, uint64_t cursor,
                       size_t want, void (*fn)(void *arg, struct entry *e),
                       void *arg)
{
    struct scan s = {ks, fn, arg};

    return table_scan(&ks->dbs[db]->entries, cursor, want, scan_entry, &s);
}

struct entry *keyspace_random(struct keyspace *ks, int db)
{
    struct database *d = ks->dbs[db];
    uint64_t ref;

    while (table_random(&d->entries, &ks->rng, &ref)) {
        struct entry *e = entry_of(ref);

        if (!has_expired(ks, e)) {
            return e;
        }
        expire(ks, db, e);
    }
    return NULL;
}

/* ---- expiry in the background ------------------------------------------ */

/* Redis's active cycle: sample twenty volatile keys, delete the expired, and go
 * on with the same database while more than one in ten was. It keeps the share
 * of keys that are expired and still there small, at a cost that follows how
 * many expire. */
enum { SAMPLE = 20, SAMPLE_WORTH = 2 };

/* True when the sample was worth another one. */
static bool expire_sample(struct keyspace *ks, int db)
{
    struct database *d = ks->dbs[db];
    int i, found = 0;
    uint64_t ref;

    for (i = 0; i < SAMPLE; i++) {
        if (!table_random(&d->volatiles, &ks->rng, &ref)) {
            return false;
        }
        if (has_expired(ks, entry_of(ref))) {
            expire(ks, db, entry_of(ref));
            found++;
        }
    }
    return found > SAMPLE_WORTH;
}

bool keyspace_expire_some(struct keyspace *ks, time_us budget_us)
{
    time_us end = clock_mono_us() + budget_us;
    int i;

    if (!ks->active_expire) {
        return false;
    }
    /* What one call has no time for is first in the next, so that a database
     * full of expired keys does not starve those behind it. */
    for (i = 0; i < ks->n_dbs; i++) {
        ks->expire_db = (ks->expire_db + 1) % ks->n_dbs;
        while (expire_sample(ks, ks->expire_db)) {
            if (clock_mono_us() >= end) {
                return true;
            }
        }
    }
    return false;
}

void keyspace_settle(struct keyspace *ks)
{
    int i;

    for (i = 0; i < ks->n_dbs; i++) {
        if (ks->dbs[i]->unsettled) {
            vset_settle_all(ks->dbs[i]);
        }
        if (ks->dbs[i]->orders) {
            name_order_settle(ks->dbs[i], ks->clock_s);
        }
    }
    epoch_settle(ks->epoch);
}

/* ---- checking ---------------------------------------------------------- */

static void validate_volatile(uint64_t ref, void *arg)
{
    const struct database *d = arg;
    const struct entry *e = entry_of(ref);
    struct table_probe probe;
    uint64_t found = 0;

    ASSERT(e->expires_at != NO_EXPIRY);
    table_probe_start(&probe, &d->entries, e->hash);
    while (found != ref && table_probe_next(&probe, &found)) {
    }
    ASSERT(found == ref);
}

struct tally {
    size_t n_volatile;
    size_t n_vsets;
};

static void tally_entry(uint64_t ref, void *arg)
{
    const struct entry *e = entry_of(ref);
    struct tally *t = arg;

    ASSERT(e->hash == hash_bytes(e->key, e->key_len));
    ASSERT((e->type == VALUE_VSET) == (e->encoding == ENC_VECTOR));
    t->n_volatile += e->expires_at != NO_EXPIRY;
    ASSERT(e->type != VALUE_VSET || vset_entry(e->value.vset) == e);
    t->n_vsets += e->type == VALUE_VSET;
}

void keyspace_validate(const struct keyspace *ks)
{
    int i;

    for (i = 0; i < ks->n_dbs; i++) {
        struct database *d = ks->dbs[i];
        struct tally t = {0, 0};

        table_validate(&d->entries);
        table_validate(&d->volatiles);
        table_each(&d->volatiles, validate_volatile, d);
        table_each(&d->entries, tally_entry, &t);
        ASSERT(t.n_volatile == d->volatiles.count);
        ASSERT(t.n_vsets == d->n_vsets);
    }
}
