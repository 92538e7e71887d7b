/* vectra-benchmark: loads, searches and measures a vector server. See
 * docs/benchmark-tool.md.
 *
 * exit  0 done, 1 not done (one line on stderr says why), 2 recall is below
 *       --check-recall */
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "tools/bench/bench_bandwidth.h"
#include "tools/bench/bench_options.h"
#include "tools/bench/bench_run.h"
#include "tools/bench/bench_sink.h"

#ifndef VECTRA_VERSION
#define VECTRA_VERSION "0.1.0"
#endif

static _Atomic bool stop;

/* The first one ends the run, whose results are printed; the second one ends
 * the program. */
static void on_signal(int number)
{
    atomic_store(&stop, true);
    (void)signal(number, SIG_DFL);
}

static int fail(const struct err_ctx *ctx)
{
    fflush(stdout);
    fprintf(stderr, "vectra-benchmark: %s\n", ctx->text);
    return 1;
}

static int read_bandwidth(const struct bench_options *o)
{
    struct bench_bandwidth b;
    struct err_ctx ctx;

    if (bench_bandwidth_measure(2, &b, &ctx) != ERR_OK) {
        return fail(&ctx);
    }
    if (o->json) {
        printf("{\"l3_bytes\": %zu, \"memory_bytes\": %zu, \"memory_gb_s\": "
               "%.3f, \"cache_bytes\": %zu, \"cache_gb_s\": %.3f}\n",
               b.l3_bytes, b.big_bytes, b.big_gb_s, b.cache_bytes,
               b.cache_gb_s);
    } else {
        printf("sequential reads of one thread (1 GB is 10^9 bytes)\n"
               "memory     %8.1f GB/s  over %zu MiB\n"
               "L3 cache   %8.1f GB/s  over %zu MiB of %zu MiB\n",
               b.big_gb_s, b.big_bytes >> 20, b.cache_gb_s, b.cache_bytes >> 20,
               b.l3_bytes >> 20);
    }
    return 0;
}

static int serve_sink(const struct bench_options *o)
{
    struct bench_sink *s;
    struct err_ctx ctx;

    if (bench_sink_open(o->socket_path, (int)o->port, &s, &ctx) != ERR_OK) {
        return fail(&ctx);
    }
    if (o->socket_path) {
        printf("answering at %s until interrupted\n", o->socket_path);
    } else {
        printf("answering at 127.0.0.1:%d until interrupted\n",
               bench_sink_port(s));
    }
    fflush(stdout);
    bench_sink_serve(s, &stop);
    printf("answered %llu requests\n",
           (unsigned long long)bench_sink_answered(s));
    bench_sink_close(s);
    return 0;
}

int main(int argc, char **argv)
{
    struct bench_options options;
    struct err_ctx ctx = {""};
    struct sigaction action = {.sa_handler = on_signal};
    bool below;

    if (bench_options_parse(argc, argv, &options, &ctx) != ERR_OK) {
        return fail(&ctx);
    }
    if (options.help) {
        bench_options_help(stdout);
        return 0;
    }
    if (options.version) {
        printf("vectra-benchmark %s\n", VECTRA_VERSION);
        return 0;
    }
    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
    if (vec_simd_select("auto") != ERR_OK) {
        fprintf(stderr, "vectra-benchmark: no kernels for this machine\n");
        return 1;
    }
    if (options.read_bandwidth) {
        return read_bandwidth(&options);
    }
    if (options.sink) {
        return serve_sink(&options);
    }
    if (bench_run(&options, &stop, &below, &ctx) != ERR_OK) {
        return fail(&ctx);
    }
    if (below) {
        fprintf(stderr, "vectra-benchmark: recall is below %g\n",
                options.check_recall);
        return 2;
    }
    return 0;
}
