/* A set's lists: see lists.h. */
#include "db/lists.h"

#include <string.h>

#include "db/vset_impl.h"

enum { WORTHWHILE_ROWS = 20000 };

uint32_t lists_n_for(uint32_t rows)
{
    uint32_t n = 64;

    /* The power of two near 2 * sqrt(rows). */
    while (n < LISTS_NLIST_MAX && (uint64_t)n * n * 2 < (uint64_t)4 * rows) {
        n *= 2;
    }
    return n;
}

uint32_t lists_worthwhile_at(const struct vset *v)
{
    (void)v;
    return WORTHWHILE_ROWS;
}

enum err lists_train(struct vset *v, const struct lists_options *o,
                     uint64_t *build)
{
    (void)v;
    (void)o;
    (void)build;
    return ERR_UNSUPPORTED;
}

bool lists_is_built(const struct vset *v, uint64_t build)
{
    (void)v;
    (void)build;
    return false;
}

bool lists_is_given_up(const struct vset *v, uint64_t build)
{
    (void)v;
    (void)build;
    return true;
}

bool lists_is_training(const struct vset *v)
{
    (void)v;
    return false;
}

void lists_drop_all(struct vset *v)
{
    (void)v;
}

void lists_detach(struct vset *v)
{
    (void)v;
}

void lists_detach_all(struct keyspace *ks, const struct database *db)
{
    (void)ks;
    (void)db;
}

void lists_free(struct vset *v)
{
    (void)v;
}

bool lists_write_trained(const struct vset *v, struct buf *out)
{
    (void)v;
    (void)out;
    return false;
}

enum err lists_install_trained(struct vset *v, struct bytes trained,
                               uint64_t *build)
{
    (void)v;
    (void)trained;
    (void)build;
    return ERR_UNSUPPORTED;
}

enum err lists_prepare(struct vset *v, slot_id slot)
{
    (void)v;
    (void)slot;
    return ERR_OK;
}

void lists_note_put(struct vset *v, slot_id slot)
{
    (void)v;
    (void)slot;
}

void lists_note_gone(struct vset *v, slot_id slot)
{
    (void)v;
    (void)slot;
}

bool lists_holds(struct vset *v, slot_id slot)
{
    (void)v;
    (void)slot;
    return false;
}

void lists_pump(struct vset *v, bool any)
{
    (void)v;
    (void)any;
}

void lists_pump_all(struct keyspace *ks)
{
    (void)ks;
}

void lists_view_take(const struct vset *v, struct lists_view *out)
{
    (void)v;
    memset(out, 0, sizeof(*out));
}

const struct ivf *lists_of(const struct vset *v)
{
    (void)v;
    return NULL;
}

double lists_pace(const struct vset *v)
{
    (void)v;
    return 1;
}

void lists_note_pace(struct vset *v, int64_t estimated_ns, int64_t took_ns)
{
    (void)v;
    (void)estimated_ns;
    (void)took_ns;
}

const char *lists_phase_name(enum lists_phase phase)
{
    static const char *const names[] = {"idle",   "sampling", "training",
                                        "coding", "filling",  "tending"};

    return names[phase];
}

void lists_info_read(const struct vset *v, struct lists_info *out)
{
    memset(out, 0, sizeof(*out));
    out->tail = vset_count(v);
    out->remaining_s = -1;
}

size_t lists_bytes(const struct vset *v)
{
    (void)v;
    return 0;
}

void lists_count_all(const struct keyspace *ks, uint64_t *lists,
                     uint64_t *trainings, uint64_t *tail)
{
    (void)ks;
    *lists = *trainings = *tail = 0;
}

uint32_t lists_list_of(const struct vset *v, slot_id slot)
{
    (void)v;
    (void)slot;
    return LISTS_NONE;
}

const char *lists_check_slots(const struct vset *v, slot_id first, uint32_t n)
{
    (void)v;
    (void)first;
    (void)n;
    return NULL;
}

uint32_t lists_owner_of_block(const struct vset *v, uint32_t block)
{
    (void)v;
    (void)block;
    return LISTS_NONE;
}

enum err lists_image_begin(struct vset *v, struct bytes trained,
                           struct lists **out)
{
    (void)v;
    (void)trained;
    (void)out;
    return ERR_UNSUPPORTED;
}

enum err lists_image_block(struct lists *l, uint32_t list, uint32_t block)
{
    (void)l;
    (void)list;
    (void)block;
    return ERR_UNSUPPORTED;
}

enum err lists_image_install(struct lists *l)
{
    (void)l;
    return ERR_UNSUPPORTED;
}

void lists_image_abandon(struct lists *l)
{
    (void)l;
}

void lists_cancel_all(struct keyspace *ks)
{
    (void)ks;
}

void lists_end_jobs(struct keyspace *ks)
{
    (void)ks;
}
