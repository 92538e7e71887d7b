/* The links of a graph as bytes, for files, and back.
 *
 * A node's image is, for level 0 and then each level above that it has, a
 * 16-bit number of links and the links, 32 bits each, all little-endian; the
 * top bit of a link on level 0 marks the next one of a chain of equal rows.
 *
 *     writing                     reading
 *     hnsw_image_put() per node   hnsw_image_room()
 *                                 hnsw_image_get()    per node, in any order
 *                                 hnsw_image_add()
 *                                 hnsw_image_enter()
 *                                 hnsw_image_check()  in any order
 *                                 hnsw_image_check_chains()
 *
 * Writing may go on while the graph is built, on whatever thread: only nodes
 * that are in the graph are written, and of their links only those that lead to
 * such nodes. What is written is sound even where a row is being changed.
 *
 * thread writing: the owner, or a copy of the process. reading: the owner, and
 *        nobody else looks at the graph; hnsw_image_get() and then
 *        hnsw_image_check(): any, several at once for different nodes. */
#ifndef VECTRA_INDEX_HNSW_HNSW_IMAGE_H
#define VECTRA_INDEX_HNSW_HNSW_IMAGE_H

#include "base/bytes.h"
#include "index/hnsw/hnsw.h"

/* The most bytes a node takes. */
size_t hnsw_image_node_max(const struct hnsw *h);

/* Writes a node that is in the graph; returns how many bytes. */
size_t hnsw_image_put(const struct hnsw *h, uint32_t node, uint8_t *to);

/* Whether a node hangs in a chain only. */
bool hnsw_image_chained(const struct hnsw *h, uint32_t node);

/* Memory that room for a node takes. */
size_t hnsw_image_node_bytes(const struct hnsw *h);

/* Makes room for nodes below n. fails  ERR_NOMEM. */
enum err hnsw_image_room(struct hnsw *h, uint32_t n) MUST_USE;

/* A graph that was built elsewhere: rows may be wider than 2 M and M, and which
 * levels numbers have is not drawn. */
struct hnsw_shape {
    uint32_t row_links, upper_links; /* room in a row, on level 0 and above */
};
struct hnsw_shape hnsw_image_shape(const struct hnsw *h);

/* Makes room in that shape, in a graph that has none, for nodes below n of the
 * given levels; numbers keep them. fails  ERR_NOMEM.
 * And the memory that takes, about. */
enum err hnsw_image_room_as(struct hnsw *h, const struct hnsw_shape *s,
                            const uint8_t *levels, uint32_t n) MUST_USE;
size_t hnsw_image_shape_bytes(const struct hnsw *h, const struct hnsw_shape *s,
                              const uint8_t *levels, uint32_t n);

/* Reads a node below that, once, from the front of `in`, and notes it. fails
 * with words, NULL otherwise; the graph may then only be destroyed. */
struct hnsw_image_part {
    uint32_t n_nodes;
    bool has_chains;
};
const char *hnsw_image_get(struct hnsw *h, uint32_t node, bool chained,
                           struct bytes *in,
                           struct hnsw_image_part *part) MUST_USE;

/* The same of a node that comes otherwise; its rows are given one by one, no
 * longer than their room and checked by whoever gives them. */
void hnsw_image_take(struct hnsw *h, uint32_t node,
                     struct hnsw_image_part *part);
void hnsw_image_take_row(struct hnsw *h, uint32_t node, int level,
                         const uint32_t *ids, uint32_t n);

/* Counts what was noted. */
void hnsw_image_add(struct hnsw *h, const struct hnsw_image_part *part);

/* The node that searches start from; HNSW_NO_NODE: none. */
#define HNSW_NO_NODE UINT32_MAX
uint32_t hnsw_image_entry(const struct hnsw *h);

/* What the graph has learned of how its rows are spread; it steers searches. */
struct hnsw_spread {
    uint64_t sum;
    uint32_t n;
};
struct hnsw_spread hnsw_image_spread(const struct hnsw *h);
void hnsw_image_set_spread(struct hnsw *h, struct hnsw_spread s);

/* Learns it by searching for a node, which is in the graph. */
void hnsw_image_learn(struct hnsw *h, const struct row_map *rows, uint32_t node,
                      struct hnsw_scratch *scratch);

/* All nodes are there: sets the entry. fails  with words. */
const char *hnsw_image_enter(struct hnsw *h, uint32_t entry) MUST_USE;

/* Checks where the links of nodes lead, from *node to `end`, and computes codes
 * of the graph's own. fails  with words, *node the node. */
const char *hnsw_image_check(struct hnsw *h, const struct row_map *rows,
                             uint32_t *node, uint32_t end,
                             struct hnsw_scratch *scratch) MUST_USE;

/* All have been checked: checks that chains end, if there are any. */
const char *hnsw_image_check_chains(const struct hnsw *h,
                                    uint32_t *node) MUST_USE;

#endif
