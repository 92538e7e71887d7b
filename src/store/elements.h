/* The elements of a set: names, the slots their vectors lie in, and the order
 * of steps by which one comes, changes or goes.
 *
 * Adding or replacing an element:
 *
 *     elements_find        is it there already?
 *     elements_begin       a row to fill; all memory the rest needs is reserved
 *     (the caller encodes the vector into the row)
 *     elements_commit      the element is there, at a write sequence
 *  or elements_abort       nothing happened
 *
 * An element that is replaced moves to another slot; the old row stays for
 * searches under way, and the name goes over to the new slot.
 *
 *  L1  Every live slot's name is in the table exactly once, with that slot.
 *  L2  A name's hash is the one base/hash.h gives it.
 *
 * thread loop; readers through slots_view and elements_name(). */
#ifndef VECTRA_STORE_ELEMENTS_H
#define VECTRA_STORE_ELEMENTS_H

#include "base/bytes.h"
#include "base/table.h"
#include "store/name_heap.h"
#include "store/slots.h"

struct elements_ops {
    void (*free_attr)(void *arg, void *attr);
    /* Whether a slot that is dead for everybody is to be held back, see
     * slots_free(). May be NULL. */
    bool (*holds)(void *arg, slot_id slot);
    /* See slots_ops. May be NULL. */
    void (*expect)(void *arg, void *memory, size_t bytes);
    void *arg;
};

struct elements {
    struct slots slots;
    struct table table;
    struct name_heap names;
    struct elements_ops ops;
    /* between begin and commit */
    slot_id pending_old; /* SLOT_NONE: a new element */
    name_ref pending_name;
};

void elements_init(struct elements *e, const struct row_layout *layout,
                   struct region *region, struct epoch *epoch,
                   const struct elements_ops *ops);

/* Frees everything, attributes included through ops. thread any, when nobody
 * looks any more. */
void elements_deinit(struct elements *e);

static inline uint32_t elements_count(const struct elements *e)
{
    return e->slots.n_live;
}

/* The slot of a name, SLOT_NONE when there is none. hash = hash_bytes(name). */
slot_id elements_find(const struct elements *e, struct bytes name,
                      uint64_t hash);

/* Two steps that bring what elements_find() and elements_begin() will read for
 * a name towards the cache; the second when the first has had its time. */
void elements_expect(const struct elements *e, uint64_t hash, int step);

/* Valid as long as a ticket opened while the slot was live, or until the
 * element changes. */
struct bytes elements_name(const struct elements *e, slot_id slot);

/* Bytes that adding a new name of that hash and length may allocate. */
size_t elements_add_cost(const struct elements *e, uint64_t hash,
                         size_t name_len);

/* Begins adding `name`, or replacing the element in slot `old` when that is
 * not SLOT_NONE. All memory that ending it needs is reserved.
 *
 * out    *slot, whose row the caller fills.
 * fails  ERR_NOMEM, ERR_LIMIT; nothing changed. */
enum err elements_begin(struct elements *e, struct bytes name, uint64_t hash,
                        slot_id old, slot_id *slot) MUST_USE;

/* Ends what elements_begin() began: as if it had never been, or for good at a
 * write sequence. keep_attr: a replaced element's attribute goes over to the
 * new slot. An attribute set on an aborted slot stays the caller's. */
void elements_abort(struct elements *e, uint64_t hash, slot_id slot);
void elements_commit(struct elements *e, uint64_t hash, slot_id slot,
                     write_seq seq, bool keep_attr);

/* Removes the element in a slot.
 *
 * fails  ERR_NOMEM, nothing done. */
enum err elements_remove(struct elements *e, uint64_t hash, slot_id slot,
                         write_seq seq) MUST_USE;

/* Moves an element, whole and unchanged, from where it lies into a free lane of
 * an owned block (slots_blocks.h), at a write sequence; its old slot dies.
 * hash = that of its name.
 *
 * fails  ERR_NOMEM, nothing changed. */
enum err elements_move(struct elements *e, uint64_t hash, slot_id from,
                       slot_id to, write_seq seq) MUST_USE;

/* The hash of an element's name. */
uint64_t elements_hash(const struct elements *e, slot_id slot);

/* Two steps that bring what elements_hash() will read towards the cache, as
 * elements_expect(). */
void elements_expect_hash(const struct elements *e, slot_id slot, int step);

/* The attribute of a slot: an opaque pointer of the owner's, NULL for none.
 * Setting needs room, which elements_reserve_attr() makes once per page.
 *
 * fails  ERR_NOMEM. */
void *elements_attr(const struct elements *e, slot_id slot);
enum err elements_reserve_attr(struct elements *e, slot_id slot) MUST_USE;
void elements_set_attr(struct elements *e, slot_id slot, void *attr);

/* A live slot chosen uniformly; the set is not empty. */
slot_id elements_random(const struct elements *e, struct rng *rng);

/* See slots_settle(). */
bool elements_settle(struct elements *e);

/* Gives back memory that was for more to come, some at a time; see
 * table_fit(). */
void elements_fit(struct elements *e, uint64_t *cursor);

/* Checks L1, the table and the slots; aborts on a violation. */
void elements_validate(const struct elements *e);

#endif
