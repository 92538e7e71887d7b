/* The request parser: any bytes, in any pieces, give the same requests as the
 * same bytes whole, and nothing is read outside of what was given.
 *
 * The first byte chooses how the rest is cut into pieces. */
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/macros.h"
#include "resp/resp_request.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct resp_limits limits = {.bulk_max = 1 << 20,
                                          .authenticated = true};

/* Writes what was understood: "argc len bytes len bytes ..." per request. */
static void note_request(struct buf *log, const struct resp_request *r)
{
    size_t i;

    buf_printf(log, "%zu:", r->argc);
    for (i = 0; i < r->argc; i++) {
        buf_printf(log, "%zu,", r->argv[i].len);
        buf_append_bytes(log, r->argv[i]);
    }
}

/* Parses like a connection that receives `step` bytes at a time into memory
 * that moves with every piece. */
static void run(const uint8_t *data, size_t size, size_t step, struct buf *log)
{
    struct resp_parser parser;
    struct resp_scratch scratch;
    size_t begin = 0, end = 0;
    bool open = true;

    resp_parser_init(&parser);
    resp_scratch_init(&scratch);
    while (open && end < size) {
        size_t n;
        uint8_t *piece;
        size_t at = 0;

        end = size - end > step ? end + step : size;
        n = end - begin;
        piece = malloc(n);
        memcpy(piece, data + begin, n);
        for (;;) {
            struct resp_request r = {NULL, 0, 0};
            char error[128];
            enum resp_result result =
                resp_parse(&parser, &scratch, &limits, piece + at, n - at, &r,
                           error, sizeof(error));

            if (result == RESP_INVALID) {
                buf_append_str(log, error);
                open = false;
                break;
            }
            if (result == RESP_MORE) {
                break;
            }
            ASSERT(r.consumed > 0 && r.consumed <= n - at);
            note_request(log, &r);
            at += r.consumed;
        }
        begin += at;
        if (begin < end) {
            /* An unfinished request goes on from memory of another place. */
            uint8_t *moved = malloc(n - at);

            memcpy(moved, piece + at, n - at);
            free(piece);
            piece = moved;
        }
        free(piece);
    }
    resp_parser_deinit(&parser, &scratch);
    resp_scratch_deinit(&scratch);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf whole = BUF_INIT, pieces = BUF_INIT;
    size_t step;

    if (size < 2) {
        return 0;
    }
    step = 1 + data[0] % 64;
    run(data + 1, size - 1, size - 1, &whole);
    run(data + 1, size - 1, step, &pieces);
    /* Inline lines are refused for length as soon as too much has come, so only
     * inputs short enough for that must agree. */
    if (size < RESP_INLINE_MAX) {
        ASSERT(whole.len == pieces.len);
        ASSERT(whole.len == 0 ||
               memcmp(whole.data, pieces.data, whole.len) == 0);
    }
    buf_deinit(&whole);
    buf_deinit(&pieces);
    return 0;
}
