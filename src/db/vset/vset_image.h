/* Vector sets as values of RDB files and DUMP payloads: written in a form of
 * our own, read from that and from Redis 8's. docs/formats/vectorset.md
 * describes both byte by byte.
 *
 * Our form ("vectra-vs") keeps a set as it is: the rows as they are stored, in
 * the slots they lie in, and the graph's links, so that reading it computes
 * next to nothing. What is rebuilt is the table of names and what filters read.
 *
 * Redis's ("vectorset") has the same, the graph by the nodes' ids: what is
 * sound of it becomes the set's graph, see docs/COMPATIBILITY.md.
 *
 * thread writing: the loop, or a copy of the process, which allocates nothing;
 *        reading: the loop, or who takes turns with it. */
#ifndef VECTRA_DB_VSET_IMAGE_H
#define VECTRA_DB_VSET_IMAGE_H

#include "db/vset/vset.h"
#include "persist/rdb_read.h"
#include "persist/rdb_write.h"

/* What a value's module id says it is. */
enum vset_form { VSET_FORM_NONE, VSET_FORM_OURS, VSET_FORM_REDIS };
enum vset_form vset_form_of(uint64_t module_id);

/* Writes a set: module id, fields, end. Errors are out's. */
void vset_save(struct rdb_out *out, const struct vset *v);

/* Reads the fields that follow a module's id, but not the end: a set that
 * counts in a database and is nobody's value yet. rdb_yield() is called now and
 * then.
 *
 * fails  NULL; the words are in->why. */
struct vset *vset_load(struct rdb_in *in, enum vset_form form,
                       struct keyspace *ks, struct database *db) MUST_USE;

#endif
