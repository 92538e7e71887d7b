/* Where the rows of a set lie: a mapping from row numbers to addresses.
 *
 * Rows are grouped into pages that never move: small ones at first (8 rows,
 * then half-octaves, so that a set of ten costs ten), and from `small_rows` on
 * pages of one size. A row's page is found with one multiplication.
 *
 * thread any; a geometry is constant, a map is a view of pages that only grow.
 */
#ifndef VECTRA_VEC_ROW_MAP_H
#define VECTRA_VEC_ROW_MAP_H

#include <stddef.h>
#include <stdint.h>

#include "base/macros.h"

enum { ROW_PAGE_FIRST = 8 /* rows of the first page */ };

/* How row numbers map to pages. */
struct row_geometry {
    uint32_t row_bytes;
    uint32_t side_bytes; /* of each row's, behind all rows of a page; 0: none */
    uint32_t overread;
    uint32_t small_rows; /* a power of two; rows below lie in small pages */
    uint32_t small_pages;
    uint32_t big_rows;
    uint64_t big_magic; /* 2^64 / big_rows, rounded up */
};

/* Pages of up to page_bytes, or more when that is not enough for unit_rows; the
 * large ones hold a multiple of that. `overread` bytes behind the last row of a
 * page are readable. side_bytes is 0. */
void row_geometry_init(struct row_geometry *g, uint32_t row_bytes,
                       uint32_t overread, uint64_t page_bytes,
                       uint32_t unit_rows);

struct row_place {
    uint32_t page;
    uint32_t row; /* within the page */
};

ALWAYS_INLINE struct row_place row_place(const struct row_geometry *g,
                                         uint32_t number)
{
    uint32_t e, half, past, page;

    if (LIKELY(number >= g->small_rows)) {
        past = number - g->small_rows;
        page = (uint32_t)(((uint128)past * g->big_magic) >> 64);
        return (struct row_place){g->small_pages + page,
                                  past - page * g->big_rows};
    }
    if (number < ROW_PAGE_FIRST) {
        return (struct row_place){0, number};
    }
    e = 31 - (uint32_t)__builtin_clz(number);
    half = number >> (e - 1) & 1;
    return (struct row_place){1 + 2 * (e - 3) + half,
                              number - ((1u << e) + (half << (e - 1)))};
}

/* The first row of a page and how many it has. */
uint32_t row_page_first(const struct row_geometry *g, uint32_t page);
uint32_t row_page_count(const struct row_geometry *g, uint32_t page);

/* Pages that hold the rows below n. */
static inline uint32_t row_pages_for(const struct row_geometry *g, uint32_t n)
{
    return n ? row_place(g, n - 1).page + 1 : 0;
}

/* The pages' rows as somebody saw them once. */
struct row_map {
    const struct row_geometry *geometry;
    const uint8_t *const *pages;
};

ALWAYS_INLINE const uint8_t *row_map_at(const struct row_map *m,
                                        uint32_t number)
{
    struct row_place at = row_place(m->geometry, number);

    return m->pages[at.page] + (size_t)at.row * m->geometry->row_bytes;
}

#endif
