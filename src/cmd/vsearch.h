/* Parsing and answering of searches, shared by VSIM, VSEARCH and VMSEARCH. */
#ifndef VECTRA_CMD_VSEARCH_H
#define VECTRA_CMD_VSEARCH_H

#include "cmd/cmd.h"
#include "cmd/vector_arg.h"
#include "db/search/search.h"

enum {
    VSEARCH_K_DEFAULT = 10,
    VSEARCH_EF_MAX = 1000000,
    VSEARCH_NPROBE_MAX = 65536,
};

/* How an answer is to be written; travels inside the request. */
struct vsearch_shape {
    uint8_t proto;
    bool scores;
    bool distances;
    bool attribs;
    bool stats;
    double epsilon; /* largest distance in the 0-1 score scale */
    double timeout_ms;
};

/* The defaults of a search that answers `ctx`. */
void vsearch_init(struct search_request *r, struct vsearch_shape *sh,
                  const struct cmd_ctx *ctx);

/* Puts the shape into the request and has hits written accordingly. */
void vsearch_shape_store(struct search_request *r,
                         const struct vsearch_shape *sh);

/* Projects a query for a projected set, unless it is so already. *projected
 * is then memory the caller frees, NULL otherwise.
 *
 * fails  false, with the error replied: the query does not fit the set. */
bool vsearch_fit_query(struct cmd_ctx *ctx, const struct vset *v,
                       struct vector_arg *q, float **projected);

/* Parses "ELE name" or a vector at argv[*at] into the request.
 *
 * fails  false, with the error replied. */
bool vsearch_parse_query(struct cmd_ctx *ctx, const struct vset *v, size_t *at,
                         struct search_request *r, float **projected);

/* Compiles the expression at argv[at]; one compiled before is freed. */
bool vsearch_parse_filter(struct cmd_ctx *ctx, size_t at,
                          struct search_request *r);

/* Parses VSEARCH's options from argv[at] on. A filter compiled is left in the
 * request also when it fails. *filter_at: where the last one stands, or 0. */
bool vsearch_parse_options(struct cmd_ctx *ctx, size_t at,
                           struct search_request *r, struct vsearch_shape *sh,
                           size_t *filter_at);

/* Makes the search, then runs it and replies, or defers the reply. */
void vsearch_start(struct cmd_ctx *ctx, struct vset *v,
                   struct search_request *r);

/* Writes an answer; for search_request.format. */
void vsearch_write(const struct search *s, const void *data, struct buf *out);

#endif
