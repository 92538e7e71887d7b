/* Selecting the first names: see name_select.h. */
#include "db/names/name_select.h"

#include "base/mem.h"
#include "db/names/name_sort.h"
#include "db/vset/vset_impl.h"

enum {
    UNIT_SLOTS = 1024,
    UNIT_COMPARES = 16384,
    ROOM_MIN = 1024,  /* candidates: sorting fewer at a time does not pay */
    ROOM_FREE = 2048, /* 32 KiB, taken also when no memory is to be had */
};

struct name_select {
    struct name_view view;
    slot_id at;
    size_t want;
    bool is_sorting;
    bool is_cut; /* names past the last candidate were left out */
    uint32_t n, room;
    struct name_sort sort;
    struct name_record records[];
};

static struct name_select *alloc(uint32_t room)
{
    size_t bytes =
        sizeof(struct name_select) + room * sizeof(struct name_record);

    return room <= ROOM_FREE || mem_has_room(bytes) ? mem_try_alloc(bytes)
                                                    : NULL;
}

/* Room for all there are or for twice as many as wanted, so that each sorting
 * leaves half of it free. */
static uint32_t room_for(size_t want, uint32_t n_live)
{
    size_t room = want > ROOM_MIN / 2 ? want * 2 : ROOM_MIN;

    return room < n_live ? (uint32_t)room : n_live;
}

enum err name_select_create(const struct vset *v, size_t want,
                            struct name_select **out)
{
    uint32_t n_live = vset_count(v);
    struct name_select *s;

    if (want > n_live) {
        want = n_live;
    }
    while (!(s = alloc(room_for(want, n_live)))) {
        if (want <= ROOM_MIN / 2) {
            return ERR_NOMEM;
        }
        want /= 2;
    }
    name_view_take(&s->view, &v->elements);
    s->at = 0;
    s->want = want;
    s->is_sorting = s->is_cut = false;
    s->n = 0;
    s->room = room_for(want, n_live);
    *out = s;
    return ERR_OK;
}

void name_select_destroy(struct name_select *s)
{
    mem_free(s);
}

static void sort_begin(struct name_select *s)
{
    s->is_sorting = true;
    name_sort_begin(&s->sort, &s->view, s->records, s->n, s->view.slots.seq);
}

static void sort_end(struct name_select *s)
{
    s->is_sorting = false;
    if (s->n > s->want) {
        s->n = (uint32_t)s->want;
        s->is_cut = true;
    }
    if (s->n == s->room) {
        s->at = s->view.slots.n_slots; /* there were no more than these */
    }
}

/* Looks at some slots; the candidates are sorted when they are full, and at the
 * end. */
static void look(struct name_select *s, const struct name_range *range)
{
    struct name_range narrow = *range;
    slot_id end = s->view.slots.n_slots;

    if (s->is_cut) {
        narrow.to = name_select_name(s, s->want - 1);
        narrow.to_excluded = true;
        narrow.has_no_end = false;
    }
    if (end - s->at > UNIT_SLOTS) {
        end = s->at + UNIT_SLOTS;
    }
    for (; s->at < end && s->n < s->room; s->at++) {
        if (slots_view_sees(&s->view.slots, s->at) &&
            name_range_has(&narrow, name_view_get(&s->view, s->at))) {
            s->records[s->n++].slot = s->at;
        }
    }
    if (s->n == s->room || s->at == s->view.slots.n_slots) {
        sort_begin(s);
    }
}

bool name_select_step(struct name_select *s, const struct name_range *range)
{
    if (!s->is_sorting) {
        look(s, range);
        return true;
    }
    if (name_sort_step(&s->sort, UNIT_COMPARES)) {
        return true;
    }
    sort_end(s);
    return s->at < s->view.slots.n_slots;
}

size_t name_select_count(const struct name_select *s)
{
    return s->n;
}

struct bytes name_select_name(const struct name_select *s, size_t i)
{
    return name_view_get(&s->view, s->records[i].slot);
}

bool name_select_has_more(const struct name_select *s)
{
    return s->is_cut;
}
