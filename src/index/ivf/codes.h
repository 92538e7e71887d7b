/* Compact codes of the rows in lists: a column by block.
 *
 * A list is scanned block by block (ivf.h). Where rows are wide, what is
 * scanned is not the rows but codes of them, and only the best of a scan are
 * scored by their rows. Codes lie by block, as rows do: block b holds those of
 * slots 32b to 32b + 31.
 *
 *     NONE  no column: rows are scanned (I8, BIT and PQ rows are compact
 * already) I8    the row once more as an I8 row, for sets of floats PQ4   m
 * codes of 4 bits each (vec/pq.h)
 *
 * The keys a scan gives are of the set's metric, near to those of vec_scan() of
 * the rows, so that both may be compared: fit for choosing candidates, not for
 * answers.
 *
 *  C1  A held block's memory stays where it is; it is reused or freed only when
 *      no search under way may scan it.
 *  C2  A lane's code is written before its row is published and constant as
 *      long as the row is (page.h, P1). A scan may read a code while it is
 *      written: the lane's key is then of no meaning, and its row is not
 *      visible.
 *
 * thread the owner (the loop), except where marked otherwise. */
#ifndef VECTRA_INDEX_IVF_CODES_H
#define VECTRA_INDEX_IVF_CODES_H

#include "base/epoch.h"
#include "base/err.h"
#include "base/region.h"
#include "vec/vec.h"

enum ivf_codes_kind { IVF_CODES_NONE, IVF_CODES_I8, IVF_CODES_PQ4 };

enum {
    IVF_CODES_LANES = 32,    /* of a block */
    IVF_CODES_SCAN_MAX = 16, /* blocks of one ivf_codes_scan() */
};

struct ivf_codes;
struct vec_pq; /* vec/pq.h */

struct ivf_codes_options {
    enum ivf_codes_kind kind;        /* not NONE */
    const struct vec_format *stored; /* of the set's rows */
    const struct vec_pq *pq;         /* PQ4: trained for this format */
    struct region *region;           /* these four outlive the column */
    struct epoch *epoch;
};

/* The kind that scanning rows of a format profits from when nothing is asked
 * for. */
enum ivf_codes_kind ivf_codes_kind_for(const struct vec_format *stored);

/* Whether rows of a format can have codes of a kind. */
bool ivf_codes_suits(enum ivf_codes_kind kind, const struct vec_format *stored);

/* "none", "int8", "pq4". */
const char *ivf_codes_name(enum ivf_codes_kind kind);

/* fails  NULL when memory is out. */
struct ivf_codes *ivf_codes_create(const struct ivf_codes_options *o);

/* thread any, once nobody looks at it. */
void ivf_codes_destroy(struct ivf_codes *c);

enum ivf_codes_kind ivf_codes_kind_of(const struct ivf_codes *c);

/* Bytes it takes, and those that a block takes more or less. */
size_t ivf_codes_bytes(const struct ivf_codes *c);
size_t ivf_codes_block_bytes(const struct ivf_codes *c);

/* ---- blocks -------------------------------------------------------------- */

/* Makes room for the codes of a block, which is in a list from now on.
 *
 * fails  ERR_NOMEM, nothing changed. */
enum err ivf_codes_hold(struct ivf_codes *c, uint32_t block) MUST_USE;

/* A held block has left its list: no search under way sees a row in it. */
void ivf_codes_let_go(struct ivf_codes *c, uint32_t block);

bool ivf_codes_is_held(const struct ivf_codes *c, uint32_t block);

/* Checks the invariants of codes_impl.h; aborts on a violation. */
void ivf_codes_validate(const struct ivf_codes *c);

/* ---- codes --------------------------------------------------------------- */

/* Bytes of one code by itself, and of the memory that making one needs. */
size_t ivf_codes_code_bytes(const struct ivf_codes *c);
size_t ivf_codes_work_bytes(const struct ivf_codes *c);

/* Makes the code of a row. thread any.
 *
 * in     work: ivf_codes_work_bytes(), VEC_ALIGN-aligned.
 * out    code: ivf_codes_code_bytes(). The same on every machine. */
void ivf_codes_encode(const struct ivf_codes *c, const uint8_t *row, void *work,
                      uint8_t *code);

/* Writes a code into the lane of a slot; its block is held. */
void ivf_codes_put(struct ivf_codes *c, uint32_t slot, const uint8_t *code);

/* Reads it back. */
void ivf_codes_get(const struct ivf_codes *c, uint32_t slot, uint8_t *code);

/* ---- scanning. thread any, while a ticket is open ------------------------ */

struct ivf_codes_query;

/* A multiple of VEC_ALIGN. */
size_t ivf_codes_query_bytes(const struct ivf_codes *c);

/* Prepares a query in VEC_ALIGN-aligned memory that outlives it.
 *
 * in     x: dim little-endian float32, any alignment.
 * fails  ERR_NOT_FINITE as vec_encode(). */
enum err ivf_codes_query_init(const struct ivf_codes *c, const void *x,
                              void *memory,
                              struct ivf_codes_query **out) MUST_USE;

/* Of the lanes of up to IVF_CODES_SCAN_MAX held blocks, those with a key not
 * above a limit: bit l of below[i] is lane l of blocks[i], and its key is
 * keys[i * IVF_CODES_LANES + l]. Keys of other lanes are of no meaning, nor is
 * the bit of a lane without a code. */
void ivf_codes_scan(const struct ivf_codes_query *q, const uint32_t *blocks,
                    size_t n, float limit, uint32_t *below, float *keys);

#endif
