/* A vector set: named elements with a vector and perhaps an attribute each, of
 * one format.
 *
 * It ties together the parts below: rows and names (store/elements.h), the
 * encoding of vectors (vec/vec.h), attributes (attribute.h), and searching
 * (search.h). Every byte it holds is counted in its region.
 *
 * A write is visible to every search dispatched after it and to none before:
 * each write takes a sequence number from the keyspace's epoch.
 *
 * thread loop only, but for vset_free() and what search.h runs on workers. */
#ifndef VECTRA_DB_VSET_H
#define VECTRA_DB_VSET_H

#include "base/bytes.h"
#include "db/keyspace.h"
#include "store/elements.h"
#include "vec/vec.h"

enum {
    VSET_M_DEFAULT = 16,
    VSET_M_MIN = 4,
    VSET_M_MAX = 4096,
    VSET_EF_MAX = 1000000,
    VSET_ATTRIBUTE_MAX = 512 << 20, /* bytes of one attribute */
};

/* What index a set was asked to have. AUTO: none while it is small, then a
 * graph. */
enum vset_index {
    VSET_INDEX_AUTO,
    VSET_INDEX_FLAT,
    VSET_INDEX_HNSW,
    VSET_INDEX_IVF,
    VSET_INDEX_COUNT,
};

struct vset_options {
    enum vec_type type;
    enum vec_metric metric;
    uint32_t dim;       /* of the stored vectors */
    uint32_t input_dim; /* of the vectors given, when projected; else 0 */
    uint32_t m;
    uint32_t ef; /* effort of linking; 0: the default */
    enum vset_index index;
    bool keep_empty; /* made by VCREATE: stays when the last element goes */
    /* The set has given up its vectors for codes of so many parts each
     * (vec/pq_rows.h); 0: it has not. `type` is then what it had. */
    uint16_t pq_m;
};

struct vset;

/* A new set that counts in a database.
 *
 * fails  NULL when memory is out. */
struct vset *vset_create(struct keyspace *ks, struct database *db,
                         const struct vset_options *o);

/* The same of one that has given up its vectors (options.pq_m). pq: the
 * codebooks, which are copied; NULL: points of 0, to be filled in. */
struct vset *vset_create_pq(struct keyspace *ks, struct database *db,
                            const struct vset_options *o,
                            const struct vec_pq *pq);

/* Bytes vset_create() takes. */
size_t vset_create_cost(void);

/* Unlinks a set whose entry goes: O(1), freed later on the background thread,
 * after the searches under way. */
void vset_drop(struct vset *v);

/* Frees it here and now. thread any, once nobody looks at it. */
void vset_free(struct vset *v);

/* The set becomes the value of an entry; and that entry, NULL before. */
void vset_set_entry(struct vset *v, struct entry *e);
const struct entry *vset_entry(const struct vset *v);

/* The database it counts in; NULL once dropped. */
const struct database *vset_database(const struct vset *v);

/* A set that nobody knows of yet becomes the value of another one's entry,
 * with its identity. The other one is dropped. */
void vset_take_place(struct vset *v, struct vset *of);

/* The set's entry moves to another database. */
void vset_moved(struct vset *v, struct database *to);

const struct vset_options *vset_options(const struct vset *v);
const struct vec_format *vset_format(const struct vset *v);
uint32_t vset_count(const struct vset *v);
uint64_t vset_uid(const struct vset *v);

/* ---- elements ---------------------------------------------------------- */

/* An element to add. `vector` is float32, dim or input_dim components of any
 * alignment; has_attribute with an empty text removes the attribute. */
struct vset_element {
    struct bytes name;
    uint64_t hash; /* vset_hash() of the name where it is known, else 0 */
    const void *vector;
    const uint8_t *row;  /* vector as vec_encode() stores it, or NULL */
    const uint8_t *fine; /* and the fine part of the row, where it has one */
    bool is_foreign;     /* the row comes from outside: it is looked at */
    struct bytes attribute;
    bool projected; /* vector has input_dim components, to be projected */
    bool has_attribute;
};

/* Adds an element or replaces its vector.
 *
 * out    *added: false when it was there.
 *        *slot: where it lies now; until the next turn of the loop at least.
 * fails  ERR_NOT_FINITE, ERR_RANGE (as vec_encode()), ERR_CORRUPT (a foreign
 *        row that is none), ERR_LIMIT (too many, or past maxmemory),
 *        ERR_NOMEM; nothing changed. */
enum err vset_put(struct vset *v, const struct vset_element *e, bool *added,
                  slot_id *slot) MUST_USE;

static inline enum err vset_add(struct vset *v, const struct vset_element *e,
                                bool *added)
{
    slot_id slot;

    return vset_put(v, e, added, &slot);
}

/* What a set stores of a vector, of one length in all of a set: the row and its
 * fine part. vset_stored() appends it; vset_element_stored() makes it the
 * vector of an element, foreign, and is false when the length is another. */
size_t vset_stored_bytes(const struct vset *v);
void vset_stored(const struct vset *v, slot_id slot, struct buf *out);
bool vset_element_stored(const struct vset *v, struct bytes stored,
                         struct vset_element *e);

/* fails  ERR_NOMEM, nothing changed. */
enum err vset_remove(struct vset *v, struct bytes name, bool *removed) MUST_USE;

/* Elements go to lie elsewhere, unchanged: from a live slot each into a free
 * lane of an owned block (store/slots_blocks.h). To everybody but the set's
 * indexes it is as if nothing had happened. The elements are different ones.
 *
 * out    the number moved; less than n when memory ran out.
 * cost   below a microsecond each, when there are many. */
struct vset_move {
    slot_id from, to;
};
size_t vset_move(struct vset *v, const struct vset_move *moves, size_t n);

/* The slot of an element, SLOT_NONE when it is not there. */
slot_id vset_find(const struct vset *v, struct bytes name);

uint64_t vset_hash(struct bytes name);

/* See elements_expect(). */
void vset_expect(const struct vset *v, uint64_t hash, int step);

/* See slots_expect(). */
void vset_expect_rows(const struct vset *v, uint32_t n);
struct bytes vset_name(const struct vset *v, slot_id slot);

/* The stored row: see vec_decode() and friends. */
const uint8_t *vset_row(const struct vset *v, slot_id slot);

/* Empty when there is none. */
struct bytes vset_attribute(const struct vset *v, slot_id slot);

/* Sets, replaces or, with an empty text, removes an attribute.
 *
 * fails  ERR_NOMEM, ERR_LIMIT; nothing changed. */
enum err vset_set_attribute(struct vset *v, slot_id slot,
                            struct bytes json) MUST_USE;

slot_id vset_random(struct vset *v);

/* Projects a vector of input_dim components, float32 of any alignment. */
void vset_project(const struct vset *v, const void *x, float *out);

/* ---- what is known ----------------------------------------------------- */

struct vset_info {
    uint64_t uid;
    uint64_t node_uid; /* the highest given so far */
    uint32_t count;
    uint32_t n_slots; /* live, dead and free */
    uint32_t n_attributes;
    size_t memory_bytes; /* all of it, the four parts and the rest */
    size_t code_bytes;
    size_t name_bytes;
    size_t attribute_bytes;
    size_t index_bytes;
};
void vset_info_read(const struct vset *v, struct vset_info *out);

size_t vset_memory(const struct vset *v);

/* Releases what searches under way no longer need, in all sets of a database
 * that have something to release. */
void vset_settle_all(struct database *db);

/* While a set is frozen nothing that works on it in the background begins. Each
 * freeze is ended by a thaw, which a set that was dropped does not need. */
void vset_freeze(struct vset *v);
void vset_thaw(struct vset *v);

/* Whether nothing of that kind is under way. Who waits for it: graph_wait(). */
bool vset_is_at_rest(const struct vset *v);

/* Whether it was dropped; what is left of it stays as long as a ticket that was
 * opened before. */
bool vset_is_dropped(const struct vset *v);

/* Asks for another index: its kind, and for a graph its M and EF.
 *
 * out    *build: see graph_build(); 0 when nothing is built.
 * fails  ERR_NOMEM, ERR_UNSUPPORTED: a graph for a set that has given up its
 *        vectors; nothing changed. */
enum err vset_set_index(struct vset *v, const struct vset_options *wanted,
                        uint64_t *build) MUST_USE;

/* A check of a set that goes on while it is written to: what is looked at in
 * one call is looked at in one instant. */
struct vset_check {
    const struct vset *of;
    slot_id next;
    uint64_t seq; /* when it began */
    uint32_t n_live, n_attributes;
    const char *broken; /* what was found; NULL: nothing */
};
void vset_check_begin(struct vset_check *c, const struct vset *v);

/* Looks at n slots; true when there is more. Begins anew when v is another set,
 * which has taken the place of the one there was. */
bool vset_check_step(struct vset_check *c, const struct vset *v, uint32_t n);

/* Checks every invariant below; aborts on a violation. */
void vset_validate(const struct vset *v);

#endif
