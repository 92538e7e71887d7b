/* What a run found, as a line of a table with notes below it, or as JSON. */
#ifndef VECTRA_TOOLS_BENCH_REPORT_H
#define VECTRA_TOOLS_BENCH_REPORT_H

#include <stdio.h>

#include "base/buf.h"
#include "tools/bench/bench_engine.h"
#include "tools/bench/bench_server.h"

/* One run. NaN stands for what is not known. */
struct bench_report {
    const char *mode, *server, *address, *dataset, *command, *write_command;
    uint64_t base_n; /* rows of the data used */
    uint32_t dim, k, ef, batch;
    unsigned connections, pipeline, threads;
    bool writes; /* it may have stored something: memory is of interest */
    const struct bench_outcome *outcome;
    const struct bench_server_facts *before, *after;
    double settle_s;
    double recall;
    uint64_t recall_queries;
};

/* Server memory that one row takes: growth of used_memory over growth of VCARD
 * or, where that is not known, over the rows sent. NaN when memory did not
 * grow, or nothing was stored. */
double bench_report_bytes_per_row(const struct bench_report *r);

/* MEMORY USAGE of the key over its VCARD. */
double bench_report_key_bytes_per_row(const struct bench_report *r);

/* Microseconds of server CPU per answered request. */
double bench_report_server_us(const struct bench_report *r);

/* What is run against what; once, before the table. */
void bench_report_head(FILE *out, const struct bench_report *r);

/* The table's heading and a line of it; `is_mixed` adds the writes. */
void bench_report_columns(FILE *out);
void bench_report_line(FILE *out, const struct bench_report *r);

/* Errors, memory, and what else does not fit a line. */
void bench_report_notes(FILE *out, const struct bench_report *r);

/* One JSON object and a newline; unknown numbers are null. */
void bench_report_json(struct buf *out, const struct bench_report *r);

#endif
