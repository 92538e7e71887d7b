/* Lists of a set's image: what was trained, and whose the slots are. See
 * vset_load_impl.h. */
#include <string.h>

#include "db/vset/vset_load_impl.h"

static bool take_trained(struct reader *r, struct part *p, struct block *b)
{
    (void)p;
    if (b->body.len != b->n) {
        return vset_load_corrupt(
            r, "a part of what was trained has another length");
    }
    buf_append_bytes(&r->trained, b->body);
    return true;
}

bool vset_load_trained(struct reader *r)
{
    static const struct section section = {.kind = BLOCK_TRAINED,
                                           .take = take_trained};

    return vset_load_section(r, &section, r->trained_len);
}

static bool take_owners(struct reader *r, struct part *p, struct block *b)
{
    uint32_t i, list;

    (void)p;
    for (i = 0; i < b->n; i++) {
        if (!vset_load_varint(&b->body, &list)) {
            return vset_load_corrupt(r, "a block of owners is too short");
        }
        list--; /* 0: LISTS_NONE */
        buf_append(&r->owners, &list, sizeof(list));
    }
    return b->body.len == 0 ||
           vset_load_corrupt(r, "a block of owners is too long");
}

bool vset_load_owners(struct reader *r)
{
    static const struct section section = {.kind = BLOCK_OWNERS,
                                           .take = take_owners};

    return vset_load_section(r, &section, image_groups(r->n_slots));
}

static uint32_t owner_at(const struct reader *r, uint32_t group)
{
    uint32_t list;

    memcpy(&list, r->owners.data + (size_t)group * sizeof(list), sizeof(list));
    return list;
}

/* Rows lie in their lists as they did; those of no list are tail. In one go:
 * builders may look at them from then on. */
bool vset_load_make_lists(struct reader *r)
{
    uint32_t total = r->owners.len / sizeof(uint32_t);
    struct lists *l;
    uint32_t i;
    enum err err = lists_image_begin(r->set, buf_bytes(&r->trained), &l);

    if (err == ERR_CORRUPT) {
        return vset_load_corrupt(r, "what was trained cannot have been");
    }
    if (err) {
        return vset_load_fail(r, err);
    }
    for (i = 0; i < total && !err; i++) {
        if (owner_at(r, i) != LISTS_NONE) {
            err = lists_image_block(l, owner_at(r, i), i);
        }
    }
    if (!err) {
        err = lists_image_install(l);
    }
    if (err) {
        lists_image_abandon(l);
    }
    return err == ERR_CORRUPT
               ? vset_load_corrupt(r, "slots belong to no list there is")
               : vset_load_fail(r, err);
}
