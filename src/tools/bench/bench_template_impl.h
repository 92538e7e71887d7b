/* Shared by bench_template.c, which compiles, and bench_template_render.c. */
#ifndef VECTRA_TOOLS_BENCH_TEMPLATE_IMPL_H
#define VECTRA_TOOLS_BENCH_TEMPLATE_IMPL_H

#include "tools/bench/bench_template.h"

enum bench_op_kind {
    OP_LITERAL, /* bytes of the pool */
    OP_ARGC,    /* "*n": argc plus what the rows of the request add */
    OP_N,
    OP_VEC,
    OP_VECS,
    OP_VALUES,
    OP_NAMES,
    OP_ATTRS,
    OP_WORD, /* a word of parts, from .. to */
};

enum bench_part_kind {
    PART_TEXT, /* bytes of the texts */
    PART_INDEX,
    PART_RAND,
    PART_NAME,
    PART_ATTR,
    PART_QUERY_NAME,
};

struct bench_op {
    enum bench_op_kind kind;
    size_t from, to;
};

struct bench_part {
    enum bench_part_kind kind;
    size_t from, to;
    uint64_t below; /* PART_RAND */
};

struct bench_template {
    const struct bench_template_env *env;
    struct buf pool;  /* of literals */
    struct buf texts; /* of parts */
    struct bench_op *ops;
    size_t n_ops;
    struct bench_part *parts;
    size_t n_parts;
    uint64_t argc;         /* arguments that every request has */
    uint64_t argc_per_row; /* {names} and {attrs} */
    unsigned extras;
    bool uses_vectors, uses_values, uses_rows;
};

#endif
