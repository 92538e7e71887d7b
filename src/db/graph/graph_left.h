/* A graph that gives way to lists and goes on answering until they are filled.
 *
 * Rows move into lists one by one, and slots they leave are used again at once:
 * a set that is put in order does not take up room twice. So the graph leaves
 * the slots: it holds none any more, and compares what it has for itself, codes
 * beside its links or copies of the rows as they were. From then on it does not
 * change. What it finds is a slot, whose row is scored as it is: if the row has
 * gone, the slot holds nothing that is seen, or another row, which is as far
 * from the query as it is.
 *
 *  V1  A row in the tail is found through the graph, which leads to its slot,
 *      or lies in a block that is `unlinked`, which searches scan. A row that
 * is put into a used slot makes the slot's block unlinked.
 *
 * A search goes through the same nodes all the time, whether their rows have
 * moved or not: the nearest of those that have not are among them as they were
 * before, and those that have are found in the lists.
 *
 * thread loop, but for what is marked otherwise. */
#ifndef VECTRA_DB_GRAPH_LEFT_H
#define VECTRA_DB_GRAPH_LEFT_H

#include <stdatomic.h>

#include "db/graph/graph.h"
#include "vec/row_map.h"

/* Begins to prepare the graph that answers: from now on nothing is begun that
 * changes it. NULL when there is none, or none that is worth it: most rows are
 * not linked, or memory for copies of rows is short. */
struct graph *graph_left_begin(struct vset *v);

/* Nothing works on it any more: what is to be copied may be copied, in so many
 * units. */
bool graph_left_is_at_rest(const struct graph *g);
uint32_t graph_left_units(struct graph *g);
void graph_left_unit(struct graph *g, uint32_t unit); /* thread any */

/* It stays what it was. */
void graph_left_abandon(struct graph *g);

/* When all units are done: it is not the set's graph any more, but the
 * caller's. False when it has been given up meanwhile: abandon it. */
bool graph_left_leave(struct graph *g);

/* The end: nobody is told of it any more. It is freed when the searches under
 * way have ended; or at once, with its set, on any thread. */
void graph_left_dismiss(struct graph *g);
void graph_left_free(struct graph *g);

size_t graph_left_bytes(const struct graph *g);

const struct hnsw *graph_left_hnsw(const struct graph *g);

/* A row was put into a slot of the tail. */
void graph_left_note_put(struct graph *g, slot_id slot);

/* Counts the rows of the tail that are to be scanned, about. */
void graph_left_count(struct graph *g);

/* Bits of the blocks 64 * word and on that are unlinked. */
uint64_t graph_left_unlinked_of(const struct graph *g, uint32_t word);

/* What a search captures; valid while its ticket is open. */
struct graph_left_view {
    const struct hnsw *hnsw; /* NULL: none */
    uint64_t start;
    slot_id n_slots;     /* no links lead to others */
    struct row_map rows; /* of the nodes, where there are no codes */
    const _Atomic uint64_t *unlinked; /* by block; those behind are, too */
    uint32_t n_words;
    uint32_t n_unlinked; /* rows in such blocks, about */
};
void graph_left_view_take(const struct graph *g, struct graph_left_view *out);

/* The same of a view. thread any. */
static inline uint64_t graph_left_unlinked(const struct graph_left_view *v,
                                           uint32_t word)
{
    return word < v->n_words
               ? atomic_load_explicit(&v->unlinked[word], memory_order_relaxed)
               : UINT64_MAX;
}

#endif
