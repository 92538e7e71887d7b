/* The keyspace: sixteen databases of strings and vector sets, with expiry.
 *
 * An entry is one block of memory: its key, its expiry, its access time and its
 * value, which is an integer, a block of bytes or a vector set. Entries do not
 * move while they live; renaming makes a new one and moves the value.
 *
 * Nothing here takes time in proportion to what is thrown away: a value that is
 * large, and a whole database on FLUSHALL, is unlinked at once and freed on the
 * background thread, after the searches that may still look at it.
 *
 *  K1  An entry with an expiry is in `volatiles`, one without is not.
 *  K2  An expired entry is never returned: looking it up deletes it.
 *  K3  A vector set knows the entry whose value it is.
 *
 * thread loop only. */
#ifndef VECTRA_DB_KEYSPACE_H
#define VECTRA_DB_KEYSPACE_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/epoch.h"
#include "base/pool.h"
#include "base/reaper.h"
#include "base/rng.h"
#include "base/table.h"

struct graph;
struct graph_job;
struct graph_waiter;
struct lists_home;
struct lists_job;
struct name_build;
struct name_order;
struct recall;
struct search_pool;
struct vset;

enum value_type { VALUE_STRING, VALUE_VSET, VALUE_TYPE_COUNT };

enum value_encoding {
    ENC_INT,    /* value.number */
    ENC_SHORT,  /* value.text, "embstr" to clients */
    ENC_RAW,    /* value.text, grown by APPEND or longer than 44 bytes */
    ENC_VECTOR, /* value.vset */
};

enum { DB_COUNT_DEFAULT = 16, DB_COUNT_MAX = 1024 };

#define NO_EXPIRY INT64_C(-1)

struct entry {
    uint64_t hash;
    time_ms expires_at; /* NO_EXPIRY, or wall clock */
    union {
        int64_t number;
        uint8_t *text;
        struct vset *vset;
    } value;
    uint32_t text_len;
    uint32_t key_len;
    uint32_t accessed_s; /* seconds of the monotonic clock */
    uint8_t type;
    uint8_t encoding;
    uint8_t key[];
};

/* Never moves: FLUSHDB and SWAPDB exchange pointers, and a vector set knows the
 * database it counts in. */
struct database {
    struct table entries;
    struct table volatiles;
    uint64_t n_vsets;
    uint64_t n_vectors;     /* in all sets */
    struct vset *unsettled; /* sets with something to release, see vset.h */
    struct name_order *orders, *orders_last; /* see name_order.h */
    struct keyspace *keyspace;
    struct retired retired; /* on its way to the background thread */
    struct reaper_job job;
};

struct keyspace_stats {
    uint64_t hits;
    uint64_t misses;
    uint64_t expired;
    uint64_t changes; /* writes since the start: rdb_changes_since_last_save */
};

/* Told about every change of a key, for WATCH. flushed: a whole database is
 * about to be emptied, or exchanged with `other` (-1: none). expired: a key is
 * about to be deleted because its time has come.
 *
 * trained: a set has been given lists that were trained, in the background, and
 * what they were trained to be (lists.h) ends with `rest`. `from` bytes of it
 * came before, in parts: trained_part. log: who keeps it, see there. */
struct keyspace_log {
    uint64_t run;   /* 0: nobody; parts are known to those of one run alone */
    bool is_behind; /* better wait a little */
};

struct keyspace_listener {
    void (*changed)(void *arg, int db, struct bytes key);
    void (*expired)(void *arg, int db, struct bytes key);
    void (*flushed)(void *arg, int db, int other);
    void (*trained)(void *arg, int db, struct bytes key, uint64_t from,
                    struct bytes rest);
    void (*trained_part)(void *arg, int db, struct bytes key, uint64_t from,
                         struct bytes part);
    struct keyspace_log (*log)(void *arg);
    void *arg;
};

struct keyspace {
    struct database **dbs;
    int n_dbs;
    struct epoch *epoch;
    struct reaper *reaper;
    struct pool *pool;
    struct search_pool *searches; /* db/search/search.h */
    struct name_build *builds;    /* db/names/name_order.h */
    struct pool *builders;        /* NULL: no set gets a graph */
    struct graph *graphs;         /* db/graph/graph.h */
    struct graph_job *graph_jobs; /* under way, n_graph_jobs of them */
    struct graph *graphs_at;      /* while all are gone through */
    struct graph *graphs_apart;   /* being taken apart */
    struct graph_waiter *graph_waiters;
    struct lists_home *lists;     /* db/lists/lists.h */
    struct lists_home *lists_at;  /* while all are gone through */
    struct lists_job *lists_jobs; /* under way, n_lists_jobs of them */
    bool lists_want_help;         /* from the loop: lists_turn() */
    struct recall *recalls;       /* db/search/recall.h */
    uint32_t n_graph_jobs;
    uint32_t n_lists_jobs;
    struct rng rng;
    time_ms now;      /* wall clock, of this command */
    uint32_t clock_s; /* monotonic seconds, for accessed_s */
    uint64_t next_vset_uid;
    struct keyspace_stats stats;
    struct keyspace_listener listener;
    struct buf work;    /* scratch of the command that runs */
    bool active_expire; /* DEBUG SET-ACTIVE-EXPIRE */
    bool keep_expired;  /* K2 does not hold: a log is replayed, which says by
                         * itself what was deleted when */
    size_t shared_loads_from; /* bytes of rows; sets of fewer are read by the
                               * thread that reads, alone */
    int expire_db;            /* where keyspace_expire_some() goes on */
};

/* The pool and the reaper outlive it. owns  caller. */
struct keyspace *keyspace_create(int n_dbs, struct pool *pool,
                                 struct reaper *reaper);

/* The threads that build graphs; they outlive it. */
void keyspace_set_builders(struct keyspace *ks, struct pool *builders);

/* No search may be under way, and the builders have ended. */
void keyspace_destroy(struct keyspace *ks);

/* Sets the time that expiry goes by; once per command or turn. */
void keyspace_set_time(struct keyspace *ks, time_ms wall, time_us mono);

/* ---- entries ----------------------------------------------------------- */

/* Looks a key up for reading: counts a hit or miss, notes the access, deletes
 * it first if it has expired. NULL when it is not there. */
struct entry *keyspace_read(struct keyspace *ks, int db, struct bytes key);

/* The same, but the access is not noted: for reads about the key rather than of
 * its value, such as TTL. */
struct entry *keyspace_peek(struct keyspace *ks, int db, struct bytes key);

/* The same, but nothing is counted: for writes. */
struct entry *keyspace_write(struct keyspace *ks, int db, struct bytes key);

/* Neither counts nor notes. */
struct entry *keyspace_find(struct keyspace *ks, int db, struct bytes key);

/* Whether it is there and has not expired; changes nothing. */
bool keyspace_has(const struct keyspace *ks, int db, struct bytes key);

/* "string", "vectorset": as TYPE answers. */
const char *keyspace_type_name(enum value_type type);

static inline struct bytes entry_key(const struct entry *e)
{
    return bytes_of(e->key, e->key_len);
}

/* Bytes that adding a key of that length takes. */
size_t keyspace_add_cost(const struct keyspace *ks, int db, struct bytes key);

/* Adds an entry for a key that is not there; its value is the integer 0 until
 * the caller sets it.
 *
 * fails  NULL when memory is out. */
struct entry *keyspace_add(struct keyspace *ks, int db, struct bytes key);

/* keyspace_write() and, where it finds nothing, keyspace_add(), with the key
 * hashed once. *added tells which.
 *
 * fails  NULL when memory is out. */
struct entry *keyspace_write_or_add(struct keyspace *ks, int db,
                                    struct bytes key, bool *added);

/* Deletes an entry and its value, in O(1). */
void keyspace_delete(struct keyspace *ks, int db, struct entry *e);

/* Frees the value of an entry that is to get another one. */
void keyspace_drop_value(struct keyspace *ks, struct entry *e);

/* Gives the value and expiry of `e` to `key` in `to_db`, another key than its
 * own, whose entry loses what it had or is added; deletes `e`.
 *
 * fails  ERR_NOMEM, nothing changed. */
enum err keyspace_move(struct keyspace *ks, int db, struct entry *e, int to_db,
                       struct bytes key) MUST_USE;

/* Sets or, with NO_EXPIRY, clears the expiry.
 *
 * fails  ERR_NOMEM, nothing changed. */
enum err keyspace_set_expiry(struct keyspace *ks, int db, struct entry *e,
                             time_ms at) MUST_USE;

/* Notes a change of a key: for WATCH and the count of changes. Handlers call it
 * once per key they changed. */
void keyspace_changed(struct keyspace *ks, int db, struct bytes key);

/* Tells watchers only: a write that found nothing to change. */
void keyspace_touched(struct keyspace *ks, int db, struct bytes key);

/* Tells the listener of lists that a set has been given, if it is a key's, and
 * before that of parts of what they were trained to be. */
void keyspace_trained(struct keyspace *ks, const struct vset *v, uint64_t from,
                      struct bytes rest);
void keyspace_trained_part(struct keyspace *ks, const struct vset *v,
                           uint64_t from, struct bytes part);
struct keyspace_log keyspace_log(const struct keyspace *ks);

/* ---- whole databases --------------------------------------------------- */

size_t keyspace_count(const struct keyspace *ks, int db);
size_t keyspace_volatile_count(const struct keyspace *ks, int db);

/* Mean time to live of volatile keys in ms, from a sample; 0 without any. */
int64_t keyspace_mean_ttl(struct keyspace *ks, int db);

/* Empties one database, or all with db < 0. O(1); memory comes back later. */
void keyspace_flush(struct keyspace *ks, int db);

void keyspace_swap(struct keyspace *ks, int a, int b);

/* table_scan() over a database; expired entries are left out. */
uint64_t keyspace_scan(struct keyspace *ks, int db, uint64_t cursor,
                       size_t want, void (*fn)(void *arg, struct entry *e),
                       void *arg);

/* A log is replayed: what was computed once is in it. */
static inline bool keyspace_is_replayed(const struct keyspace *ks)
{
    return ks->keep_expired;
}

/* Whether a key with that expiry is to be gone now. */
bool keyspace_is_past(const struct keyspace *ks, time_ms at);

/* A key at random that has not expired; NULL when there is none. */
struct entry *keyspace_random(struct keyspace *ks, int db);

/* Deletes expired entries for at most budget_us; true when many were found, so
 * that another round is worth while soon. */
bool keyspace_expire_some(struct keyspace *ks, time_us budget_us);

/* Lets sets release what searches no longer need and nobody asks for any more;
 * a bounded slice. */
void keyspace_settle(struct keyspace *ks);

/* Checks K1, K3 and the tables; aborts on a violation. */
void keyspace_validate(const struct keyspace *ks);

#endif
