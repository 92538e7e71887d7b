#include "tools/bench/bench_report.h"

#include <math.h>

double bench_report_bytes_per_row(const struct bench_report *r)
{
    double grown = r->after->used_memory - r->before->used_memory;
    double rows =
        r->after->card - (isnan(r->before->card) ? 0 : r->before->card);

    /* Without a set, or when its elements were only replaced. */
    if (isnan(rows) || rows <= 0) {
        rows = (double)r->outcome->rows;
    }
    return r->writes && grown > 0 && rows > 0 ? grown / rows : NAN;
}

double bench_report_key_bytes_per_row(const struct bench_report *r)
{
    return r->after->card > 0 ? r->after->key_bytes / r->after->card : NAN;
}

double bench_report_server_us(const struct bench_report *r)
{
    double cpu = r->after->cpu_s - r->before->cpu_s;

    return r->outcome->requests ? cpu * 1e6 / (double)r->outcome->requests
                                : NAN;
}

static double client_us(const struct bench_report *r)
{
    return r->outcome->requests
               ? r->outcome->client_cpu_s * 1e6 / (double)r->outcome->requests
               : NAN;
}

static double rate(const struct bench_report *r)
{
    return r->outcome->seconds > 0
               ? (double)r->outcome->requests / r->outcome->seconds
               : 0;
}

static double row_rate(const struct bench_report *r)
{
    return r->outcome->seconds > 0
               ? (double)r->outcome->rows / r->outcome->seconds
               : 0;
}

/* ---- for people --------------------------------------------------------- */

/* A number in a field of its width: three significant digits below 100, whole
 * above; "-" when it is not known. */
static void put_number(FILE *out, int width, double v)
{
    if (isnan(v)) {
        fprintf(out, " %*s", width, "-");
    } else {
        fprintf(out, " %*.*f", width, v >= 100 ? 0 : v >= 10 ? 1 : 2, v);
    }
}

static void put_latency(FILE *out, const struct bench_hist *h)
{
    put_number(out, 9, bench_hist_quantile(h, 0.5) * 1e-3);
    put_number(out, 9, bench_hist_quantile(h, 0.99) * 1e-3);
    put_number(out, 9, bench_hist_quantile(h, 0.999) * 1e-3);
    put_number(out, 9, (double)h->max * 1e-3);
}

void bench_report_head(FILE *out, const struct bench_report *r)
{
    fprintf(out, "%s at %s", r->server[0] ? r->server : "server", r->address);
    if (r->base_n) {
        fprintf(out, ", %s %llu x %u", r->dataset,
                (unsigned long long)r->base_n, r->dim);
    }
    fprintf(out, ", %u connection%s x %u, %u thread%s\n", r->connections,
            r->connections == 1 ? "" : "s", r->pipeline, r->threads,
            r->threads == 1 ? "" : "s");
    fprintf(out, "%s\n", r->command);
    if (r->write_command) {
        fprintf(out, "%s\n", r->write_command);
    }
}

void bench_report_columns(FILE *out)
{
    fprintf(out, "%-7s %6s %10s %8s %10s %9s %9s %9s %9s %8s %8s %5s\n", "mode",
            "ef", "requests", "seconds", "req/s", "p50 us", "p99 us",
            "p99.9 us", "max us", "recall", "srv us", "cli %");
}

void bench_report_line(FILE *out, const struct bench_report *r)
{
    const struct bench_outcome *o = r->outcome;
    char ef[16] = "-";

    if (r->ef) {
        snprintf(ef, sizeof(ef), "%u", r->ef);
    }
    fprintf(out, "%-7s %6s %10llu", r->mode, ef,
            (unsigned long long)o->requests);
    put_number(out, 8, o->seconds);
    put_number(out, 10, rate(r));
    put_latency(out, &o->hist[BENCH_READS]);
    if (isnan(r->recall)) {
        fprintf(out, " %8s", "-");
    } else {
        fprintf(out, " %8.4f", r->recall);
    }
    put_number(out, 8, bench_report_server_us(r));
    fprintf(out, " %5.0f\n", o->client_busy * 100);
    if (o->hist[BENCH_WRITES].count) {
        fprintf(out, "%-7s %6s %10llu %8s %10s", " writes", "",
                (unsigned long long)o->hist[BENCH_WRITES].count, "", "");
        put_latency(out, &o->hist[BENCH_WRITES]);
        fputc('\n', out);
    }
}

void bench_report_notes(FILE *out, const struct bench_report *r)
{
    const struct bench_outcome *o = r->outcome;
    double grown = r->after->used_memory - r->before->used_memory;
    double per_row = bench_report_bytes_per_row(r);
    double per_key_row = bench_report_key_bytes_per_row(r);

    if (o->interrupted) {
        fprintf(out, "interrupted: what was measured until then\n");
    }
    if (o->errors) {
        fprintf(out, "errors: %llu, the first: %s\n",
                (unsigned long long)o->errors, o->first_error);
    }
    if (r->batch > 1) {
        fprintf(out, "rows: %llu, %.0f /s\n", (unsigned long long)o->rows,
                row_rate(r));
    }
    if (r->writes && !isnan(per_row)) {
        fprintf(out,
                "memory: used +%.1f MiB, %.1f bytes per row; rss %+.1f MiB",
                grown / 1048576, per_row,
                (r->after->rss - r->before->rss) / 1048576);
        if (!isnan(per_key_row)) {
            fprintf(out, "; MEMORY USAGE %.1f bytes per element", per_key_row);
        }
        fputc('\n', out);
    }
    if (!isnan(r->settle_s)) {
        fprintf(out, "settled: index up to date %.3f s after the last reply\n",
                r->settle_s);
    }
}

/* ---- for programs ------------------------------------------------------- */

static void put_json_text(struct buf *out, const char *name, const char *text)
{
    const char *p;

    buf_printf(out, "\"%s\": \"", name);
    for (p = text; *p; p++) {
        uint8_t c = (uint8_t)*p;

        if (c == '"' || c == '\\') {
            buf_printf(out, "\\%c", c);
        } else if (c < 0x20 || c >= 0x7f) {
            /* Bytes, not characters: a server's message may hold any. */
            buf_printf(out, "\\u%04x", c);
        } else {
            buf_append_byte(out, c);
        }
    }
    buf_append_str(out, "\", ");
}

static void put_json_number(struct buf *out, const char *name, double v)
{
    if (isfinite(v)) {
        buf_printf(out, "\"%s\": %.10g, ", name, v);
    } else {
        buf_printf(out, "\"%s\": null, ", name);
    }
}

static void put_json_latency(struct buf *out, const char *name,
                             const struct bench_hist *h)
{
    buf_printf(out, "\"%s\": {", name);
    put_json_number(out, "count", (double)h->count);
    put_json_number(out, "mean", bench_hist_mean(h) * 1e-3);
    put_json_number(out, "min", (double)h->min * 1e-3);
    put_json_number(out, "p50", bench_hist_quantile(h, 0.5) * 1e-3);
    put_json_number(out, "p90", bench_hist_quantile(h, 0.9) * 1e-3);
    put_json_number(out, "p99", bench_hist_quantile(h, 0.99) * 1e-3);
    put_json_number(out, "p99.9", bench_hist_quantile(h, 0.999) * 1e-3);
    put_json_number(out, "max", (double)h->max * 1e-3);
    out->len -= 2; /* the last comma */
    buf_append_str(out, "}, ");
}

void bench_report_json(struct buf *out, const struct bench_report *r)
{
    const struct bench_outcome *o = r->outcome;

    buf_append_byte(out, '{');
    put_json_text(out, "mode", r->mode);
    put_json_text(out, "server", r->server);
    put_json_text(out, "address", r->address);
    put_json_text(out, "command", r->command);
    if (r->write_command) {
        put_json_text(out, "write_command", r->write_command);
    }
    if (r->base_n) {
        put_json_text(out, "dataset", r->dataset);
        put_json_number(out, "rows_available", (double)r->base_n);
        put_json_number(out, "dim", r->dim);
    }
    put_json_number(out, "connections", r->connections);
    put_json_number(out, "pipeline", r->pipeline);
    put_json_number(out, "threads", r->threads);
    put_json_number(out, "batch", r->batch);
    put_json_number(out, "k", r->k);
    put_json_number(out, "ef", r->ef ? r->ef : NAN);
    put_json_number(out, "requests", (double)o->requests);
    put_json_number(out, "rows", (double)o->rows);
    put_json_number(out, "errors", (double)o->errors);
    if (o->errors) {
        put_json_text(out, "first_error", o->first_error);
    }
    put_json_number(out, "interrupted", o->interrupted);
    put_json_number(out, "seconds", o->seconds);
    put_json_number(out, "requests_per_second", rate(r));
    put_json_number(out, "rows_per_second", row_rate(r));
    put_json_latency(out, "latency_us", &o->hist[BENCH_READS]);
    if (o->hist[BENCH_WRITES].count) {
        put_json_latency(out, "write_latency_us", &o->hist[BENCH_WRITES]);
    }
    put_json_number(out, "recall", r->recall);
    put_json_number(out, "recall_queries", (double)r->recall_queries);
    put_json_number(out, "server_cpu_us_per_request",
                    bench_report_server_us(r));
    put_json_number(out, "client_cpu_us_per_request", client_us(r));
    put_json_number(out, "client_busy", o->client_busy);
    put_json_number(out, "used_memory_before", r->before->used_memory);
    put_json_number(out, "used_memory", r->after->used_memory);
    put_json_number(out, "rss_before", r->before->rss);
    put_json_number(out, "rss", r->after->rss);
    put_json_number(out, "bytes_per_row", bench_report_bytes_per_row(r));
    put_json_number(out, "key_bytes_per_element",
                    bench_report_key_bytes_per_row(r));
    put_json_number(out, "card", r->after->card);
    put_json_number(out, "settle_seconds", r->settle_s);
    out->len -= 2;
    buf_append_str(out, "}\n");
}
