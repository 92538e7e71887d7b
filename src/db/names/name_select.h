/* The first elements of a set in the order of their names, found by looking at
 * all of them: for sets too small to keep an order (name_order.h), and where
 * there is no memory or no time for one.
 *
 * It reads a view of the set as it was when the selection was made, and keeps a
 * bounded number of candidates: when there is no room for another, they are
 * sorted and all but the first are forgotten, and from then on only smaller
 * names are taken up.
 *
 * thread loop. */
#ifndef VECTRA_DB_NAME_SELECT_H
#define VECTRA_DB_NAME_SELECT_H

#include "db/vset/vset.h"

/* A range of names. The empty name, included, is the lowest bound. */
struct name_range {
    struct bytes from, to;
    bool from_excluded, to_excluded;
    bool has_no_end; /* `to` does not count */
};

static inline bool name_range_is_past(const struct name_range *r,
                                      struct bytes name)
{
    int c = r->has_no_end ? -1 : bytes_compare(name, r->to);

    return c > 0 || (c == 0 && r->to_excluded);
}

static inline bool name_range_has(const struct name_range *r, struct bytes name)
{
    int c = bytes_compare(name, r->from);

    return (c > 0 || (c == 0 && !r->from_excluded)) &&
           !name_range_is_past(r, name);
}

struct name_select;

/* Begins selecting the first `want` names of a range, at least 1, or fewer when
 * memory is short. Unless it ends before anything changes, the caller holds an
 * epoch ticket.
 *
 * owns   caller.
 * fails  ERR_NOMEM. */
enum err name_select_create(const struct vset *v, size_t want,
                            struct name_select **out) MUST_USE;
void name_select_destroy(struct name_select *s);

/* Goes on for some 100 us; true when there is more to do. The range is the same
 * every time, its bytes may have moved. */
bool name_select_step(struct name_select *s, const struct name_range *range);

/* What was selected, in order. */
size_t name_select_count(const struct name_select *s);
struct bytes name_select_name(const struct name_select *s, size_t i);

/* The range has more names, behind the last of these. */
bool name_select_has_more(const struct name_select *s);

#endif
