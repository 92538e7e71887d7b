/* Are the lists what ivf_impl.h says? */
#include "index/ivf/ivf_impl.h"

struct tally {
    uint32_t blocks, lanes, open, holes;
};

/* I1 and I2 of a list's run. */
static const char *check_run(const struct ivf *v, uint32_t list,
                             struct tally *t)
{
    const struct ivf_run *run = ivf_run_of(v, list);
    uint32_t n = ivf_run_length(run);
    uint32_t i;

    for (i = 0; i < n; i++) {
        uint64_t entry = ivf_entry(run, i);
        const struct block_record *r;
        uint32_t lanes = (uint32_t)entry;

        if (ivf_entry_is_hole(entry)) {
            t->holes++;
            if (lanes) {
                return "I2: a hole has lanes";
            }
            continue;
        }
        r = ivf_record(v, (uint32_t)(entry >> 32));
        if (!r || r->list == IVF_NONE || ivf_record_list(r) != list ||
            r->at != i) {
            return "I1: a block is not where its record says";
        }
        t->blocks++;
        t->lanes += (uint32_t)__builtin_popcount(lanes);
        t->open += lanes != LANES_ALL && !(r->list & LIST_CLOSED);
    }
    return NULL;
}

static const char *check_holes(const struct ivf *v, uint32_t list,
                               uint32_t n_holes)
{
    const struct ivf_run *run = ivf_run_of(v, list);
    uint32_t n = ivf_run_length(run);
    uint32_t hole = v->lists[list].hole;

    for (; hole != IVF_NONE && n_holes > 0; n_holes--) {
        uint64_t entry = hole < n ? ivf_entry(run, hole) : 0;

        if (!ivf_entry_is_hole(entry)) {
            return "I2: a chain of holes leads to a block";
        }
        hole = (uint32_t)(entry >> 32);
        hole = hole == IVF_NONE ? hole : hole & ~RUN_HOLE;
    }
    return hole != IVF_NONE || n_holes ? "I2: holes are not one chain" : NULL;
}

static const char *check_open(const struct ivf *v, uint32_t list,
                              uint32_t n_open)
{
    const struct list_record *l = &v->lists[list];
    uint32_t before = IVF_NONE;
    uint32_t block;

    for (block = l->open_first; block != IVF_NONE && n_open > 0; n_open--) {
        const struct block_record *r = ivf_record(v, block);

        if (!r || r->list != list || r->prev != before ||
            ivf_block_lanes(v, block) == LANES_ALL) {
            return "I3: the open chain holds what it should not";
        }
        before = block;
        block = r->next;
    }
    if (block != IVF_NONE || n_open || l->open_last != before) {
        return "I3: the open chain is not the open blocks";
    }
    return NULL;
}

static const char *check_list(const struct ivf *v, uint32_t list)
{
    const struct list_record *l = &v->lists[list];
    struct tally t = {0};
    const char *broken = check_run(v, list, &t);

    if (!broken) {
        broken = check_holes(v, list, t.holes);
    }
    if (!broken) {
        broken = check_open(v, list, t.open);
    }
    if (!broken && t.blocks != l->n_blocks) {
        broken = "I1: a list has not as many blocks as it says";
    }
    if (!broken && (uint64_t)l->n_used + l->n_dead != t.lanes) {
        broken = "I4: a list has not as many lanes in use as it says";
    }
    return broken;
}

static const char *check_sums(const struct ivf *v)
{
    uint64_t used = 0, dead = 0, squares = 0;
    uint32_t blocks = 0;
    uint32_t i;

    for (i = 0; i < v->dir->n_lists; i++) {
        const struct list_record *l = &v->lists[i];

        used += l->n_used;
        dead += l->n_dead;
        blocks += l->n_blocks;
        squares += (uint64_t)l->n_used * l->n_used;
    }
    return used == v->n_used && dead == v->n_dead && blocks == v->n_blocks &&
                   squares == v->squares
               ? NULL
               : "I5: the sums are not those of the lists";
}

const char *ivf_check(const struct ivf *v, uint32_t *list, uint32_t budget)
{
    const char *broken = *list == 0 ? check_sums(v) : NULL;

    for (; !broken && *list < v->dir->n_lists && budget > 0;
         ++*list, budget--) {
        broken = check_list(v, *list);
    }
    return broken;
}

/* I6 */
static const char *check_lanes(const struct ivf *v,
                               bool (*is_used)(const void *arg, uint32_t slot),
                               const void *arg)
{
    uint32_t list;

    for (list = 0; list < v->dir->n_lists; list++) {
        uint32_t at = 0;
        uint32_t block, lane;

        while ((block = ivf_next_block(v, list, &at)) != IVF_NONE) {
            uint32_t lanes = ivf_block_lanes(v, block);

            for (lane = 0; lane < IVF_BLOCK; lane++) {
                if (is_used(arg, block * IVF_BLOCK + lane) !=
                    (lanes >> lane & 1)) {
                    return "I6: a lane is not as its slot";
                }
            }
        }
    }
    return NULL;
}

void ivf_validate(const struct ivf *v,
                  bool (*is_used)(const void *arg, uint32_t slot),
                  const void *arg)
{
    uint32_t list = 0;
    const char *broken = ivf_check(v, &list, UINT32_MAX);

    if (!broken && is_used) {
        broken = check_lanes(v, is_used, arg);
    }
    if (broken) {
        assert_failed(broken, "ivf_validate", 0);
    }
}
