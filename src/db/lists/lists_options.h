/* What lists of a set were asked for: see lists.h, which makes them.
 *
 * 0 stands for what a set of that size and kind gets when nobody says. */
#ifndef VECTRA_DB_LISTS_OPTIONS_H
#define VECTRA_DB_LISTS_OPTIONS_H

#include "base/err.h"
#include "db/vset/vset.h"

enum {
    LISTS_NLIST_MAX = 65536,
    LISTS_ITERATIONS_MAX = 1000,
    LISTS_PQ_M_MAX = 4096,
    LISTS_OPTION_WORDS = 10, /* of a file or the log, for one */
};

/* What a search through lists reads first: the rows themselves, or smaller
 * copies of them, after which the best are scored once more by the rows. */
enum lists_codes {
    LISTS_CODES_DEFAULT,
    LISTS_CODES_I8,
    LISTS_CODES_PQ,
    LISTS_CODES_COUNT,
};

struct lists_options {
    uint32_t nlist;
    uint32_t nprobe;
    uint32_t sample;     /* rows to train on */
    uint32_t iterations; /* of each level, at most */
    uint64_t seed;
    enum lists_codes codes;
    uint32_t pq_m; /* sub-quantisers of 4 bits; with LISTS_CODES_PQ alone */
    /* With PQ: vectors are given up for their codes, see lists_discard.c. */
    bool discard;
    /* Nobody asked: the set chose them, and goes on choosing. */
    bool by_itself;
};

/* What is wrong with them whatever the set holds; NULL: nothing. As words of an
 * error: "invalid NLIST". */
const char *lists_options_wrong(const struct lists_options *o);

/* Whether a set of that kind with so many elements can have such lists.
 *
 * out    false: `why` says why not, in words of an error. */
bool lists_options_fit(const struct lists_options *o,
                       const struct vset_options *set, uint32_t count,
                       char *why, size_t room);

/* As numbers, for files and the log; and back.
 *
 * fails  ERR_CORRUPT: numbers that no options have. */
void lists_options_put(const struct lists_options *o,
                       uint64_t out[LISTS_OPTION_WORDS]);
enum err lists_options_get(const uint64_t in[LISTS_OPTION_WORDS],
                           struct lists_options *out) MUST_USE;

#endif
