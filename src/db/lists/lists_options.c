#include "db/lists/lists_options.h"

#include <stdio.h>
#include <string.h>

#include "vec/pq_rows.h"

const char *lists_options_wrong(const struct lists_options *o)
{
    bool pq = o->codes == LISTS_CODES_PQ;

    if (o->nlist > LISTS_NLIST_MAX) {
        return "invalid NLIST";
    }
    if (o->nprobe > LISTS_NLIST_MAX) {
        return "invalid NPROBE";
    }
    if (o->nlist && o->nprobe > o->nlist) {
        return "NPROBE is more than NLIST";
    }
    if (o->sample && o->sample < o->nlist) {
        return "SAMPLE is less than NLIST";
    }
    if (o->iterations > LISTS_ITERATIONS_MAX) {
        return "invalid ITERATIONS";
    }
    if (o->codes >= LISTS_CODES_COUNT || pq != (o->pq_m > 0) ||
        o->pq_m > LISTS_PQ_M_MAX) {
        return "invalid PQ";
    }
    if (o->discard && !pq) {
        return "DISCARD is for PQ";
    }
    if (o->discard && o->by_itself) {
        return "DISCARD is nobody's choice";
    }
    return NULL;
}

bool lists_options_fit(const struct lists_options *o,
                       const struct vset_options *set, uint32_t count,
                       char *why, size_t room)
{
    if (count == 0) {
        snprintf(why, room, "the set is empty, there is nothing to train on");
    } else if (o->nlist > count) {
        snprintf(why, room, "too few elements for NLIST %u: there are %u",
                 o->nlist, count);
    } else if (o->codes && set->type == VEC_BIT) {
        snprintf(why, room, "Q8 and PQ are not for sets of bits");
    } else if (o->codes == LISTS_CODES_PQ && set->metric == VEC_L1) {
        snprintf(why, room, "PQ is not for the metric L1");
    } else if (o->pq_m && set->dim % o->pq_m) {
        snprintf(why, room, "PQ %u does not divide the dimension, %u", o->pq_m,
                 set->dim);
    } else if (o->codes == LISTS_CODES_I8 && set->pq_m) {
        snprintf(why, room,
                 "Q8 is not for a set that has given up its vectors");
    } else if (o->codes == LISTS_CODES_PQ && set->pq_m &&
               o->pq_m != set->pq_m) {
        snprintf(why, room,
                 "the set has given up its vectors and has PQ %u for good",
                 set->pq_m);
    } else if (o->discard && !vec_pq_has_rows(set->metric, set->dim, o->pq_m)) {
        snprintf(why, room,
                 "DISCARD wants PQ of at least an eighth of the dimension, %u, "
                 "and at most %d, and dimensions of at most %d",
                 set->dim, VEC_PQ_ROW_M_MAX, VEC_PQ_ROW_DIM_MAX);
    } else {
        return true;
    }
    return false;
}

void lists_options_put(const struct lists_options *o,
                       uint64_t out[LISTS_OPTION_WORDS])
{
    memset(out, 0, LISTS_OPTION_WORDS * sizeof(*out));
    out[0] = o->nlist;
    out[1] = o->nprobe;
    out[2] = o->sample;
    out[3] = o->iterations;
    out[4] = o->seed;
    out[5] = (uint64_t)o->codes;
    out[6] = o->pq_m;
    out[7] = o->discard;
    out[8] = o->by_itself;
}

enum err lists_options_get(const uint64_t in[LISTS_OPTION_WORDS],
                           struct lists_options *out)
{
    int i;

    for (i = 0; i < LISTS_OPTION_WORDS; i++) {
        if (i != 4 && in[i] > UINT32_MAX) {
            return ERR_CORRUPT;
        }
    }
    if (in[5] >= LISTS_CODES_COUNT || in[7] > 1 || in[8] > 1 || in[9]) {
        return ERR_CORRUPT;
    }
    *out = (struct lists_options){
        .nlist = (uint32_t)in[0],
        .nprobe = (uint32_t)in[1],
        .sample = (uint32_t)in[2],
        .iterations = (uint32_t)in[3],
        .seed = in[4],
        .codes = (enum lists_codes)in[5],
        .pq_m = (uint32_t)in[6],
        .discard = in[7] != 0,
        .by_itself = in[8] != 0,
    };
    return lists_options_wrong(out) ? ERR_CORRUPT : ERR_OK;
}
