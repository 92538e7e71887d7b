#include "tools/bench/bench_server.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"

/* The value of "field:value" in INFO's text. */
static bool find_field(struct bytes info, const char *field, struct bytes *out)
{
    size_t n = strlen(field);
    const uint8_t *at = info.data, *end = info.data + info.len;

    while (at < end) {
        const uint8_t *nl = memchr(at, '\n', (size_t)(end - at));
        const uint8_t *stop = nl ? nl : end;

        if ((size_t)(stop - at) > n && at[n] == ':' &&
            memcmp(at, field, n) == 0) {
            at += n + 1;
            if (stop > at && stop[-1] == '\r') {
                stop--;
            }
            *out = bytes_of(at, (size_t)(stop - at));
            return true;
        }
        at = stop + 1;
    }
    return false;
}

double bench_server_info_field(struct bytes info, const char *field)
{
    struct bytes value;
    char text[64], *end;
    double v;

    if (!find_field(info, field, &value) || value.len == 0 ||
        value.len >= sizeof(text)) {
        return NAN;
    }
    memcpy(text, value.data, value.len);
    text[value.len] = '\0';
    v = strtod(text, &end);
    return end == text ? NAN : v;
}

/* The text of a reply that has one, else an empty one. */
static enum err ask_text(struct bench_client *c, const char *line,
                         struct bytes *out, struct err_ctx *ctx)
{
    const struct resp_reply *reply;
    enum err err = bench_client_ask(c, line, &reply, ctx);

    *out = BYTES_NONE;
    if (!err && (reply->type == RESP_REPLY_BULK ||
                 reply->type == RESP_REPLY_VERBATIM)) {
        *out = bench_client_text(c, reply);
    }
    return err;
}

static enum err ask_number(struct bench_client *c, const struct bytes *args,
                           size_t n, double *out, struct err_ctx *ctx)
{
    const struct resp_reply *reply;
    enum err err = bench_client_ask_args(c, args, n, &reply, ctx);

    *out = NAN;
    if (!err && reply->type == RESP_REPLY_INTEGER) {
        *out = (double)reply->integer;
    }
    return err;
}

enum err bench_server_facts_read(struct bench_client *c, const char *key,
                                 struct bench_server_facts *out,
                                 struct err_ctx *ctx)
{
    const struct bytes usage[] = {bytes_str("MEMORY"), bytes_str("USAGE"),
                                  bytes_str(key), bytes_str("SAMPLES"),
                                  bytes_str("0")};
    const struct bytes card[] = {bytes_str("VCARD"), bytes_str(key)};
    struct bytes info;
    enum err err = ask_text(c, "INFO memory", &info, ctx);

    if (err) {
        return err;
    }
    out->used_memory = bench_server_info_field(info, "used_memory");
    out->rss = bench_server_info_field(info, "used_memory_rss");
    err = ask_text(c, "INFO cpu", &info, ctx);
    if (err) {
        return err;
    }
    out->cpu_s = bench_server_info_field(info, "used_cpu_user") +
                 bench_server_info_field(info, "used_cpu_sys");
    err = ask_number(c, usage, ARRAY_LEN(usage), &out->key_bytes, ctx);
    return err ? err : ask_number(c, card, ARRAY_LEN(card), &out->card, ctx);
}

enum err bench_server_name(struct bench_client *c, char *out, size_t cap,
                           struct err_ctx *ctx)
{
    struct bytes info, version;
    enum err err = ask_text(c, "INFO server", &info, ctx);

    out[0] = '\0';
    if (!err && find_field(info, "vectra_version", &version)) {
        snprintf(out, cap, "Vectra %.*s", (int)version.len,
                 (const char *)version.data);
    } else if (!err && find_field(info, "redis_version", &version)) {
        snprintf(out, cap, "Redis %.*s", (int)version.len,
                 (const char *)version.data);
    }
    return err;
}

/* VINFO's pending-index, 0 when it has none. */
static int64_t pending_of(const struct bench_client *c,
                          const struct resp_reply *reply)
{
    const struct resp_reply *at = NULL;
    uint32_t i;

    if (reply->type != RESP_REPLY_MAP && reply->type != RESP_REPLY_ARRAY) {
        return 0;
    }
    for (i = 0; i < reply->n; i++) {
        at = i ? resp_reply_next(at) : resp_reply_first(reply);
        if (i % 2 == 0 && i + 1 < reply->n && at->text_len &&
            bytes_equal(bench_client_text(c, at), bytes_str("pending-index"))) {
            at = resp_reply_next(at);
            return at->type == RESP_REPLY_INTEGER ? at->integer : 0;
        }
    }
    return 0;
}

enum err bench_server_settle(struct bench_client *c, const char *key,
                             double *seconds, struct err_ctx *ctx)
{
    static const struct timespec pause = {.tv_nsec = 20000000};
    const struct bytes args[] = {bytes_str("VINFO"), bytes_str(key)};
    time_us start = clock_mono_us();

    for (;;) {
        const struct resp_reply *reply;
        enum err err =
            bench_client_ask_args(c, args, ARRAY_LEN(args), &reply, ctx);

        *seconds = (double)(clock_mono_us() - start) * 1e-6;
        if (err || pending_of(c, reply) == 0) {
            return err;
        }
        (void)nanosleep(&pause, NULL);
    }
}
