/* The slow log: the last commands that took longer than a threshold. */
#ifndef VECTRA_CMD_SLOWLOG_H
#define VECTRA_CMD_SLOWLOG_H

#include "base/buf.h"
#include "base/clock.h"
#include "cmd/client.h"

enum {
    SLOWLOG_ARGS_MAX = 32,
    SLOWLOG_ARG_MAX = 128,
    SLOWLOG_PREVIEW_BYTES = 512,
};

/* Enough of a command to log it once its arguments are gone: the arguments, cut
 * as the log cuts them, as far as they fit. */
struct slowlog_preview {
    uint16_t len[SLOWLOG_ARGS_MAX];
    uint8_t n;
    char bytes[SLOWLOG_PREVIEW_BYTES];
    uint64_t client_id;
};

/* hidden: the arguments not to be shown, see slowlog_hidden_bit(). */
void slowlog_preview_make(struct slowlog_preview *p, const struct bytes *argv,
                          size_t argc, uint32_t hidden, uint64_t client_id);

/* The bit that stands for argv[i]; the last one for all that are further on. */
static inline uint32_t slowlog_hidden_bit(size_t i)
{
    return UINT32_C(1) << (i < 31 ? i : 31);
}

#define SLOWLOG_HIDDEN "(redacted)"

struct slowlog_entry {
    uint64_t id;
    int64_t at_s; /* wall clock */
    time_us took_us;
    struct bytes argv[SLOWLOG_ARGS_MAX]; /* into text */
    size_t argc;
    char *text;
    char addr[128];
    char *client_name;
};

struct slowlog {
    struct slowlog_entry *ring; /* newest at (first + len - 1) % cap */
    size_t first, len, cap;
    uint64_t next_id;
};

void slowlog_deinit(struct slowlog *s);

/* Logs a command that took long; keeps at most max_len entries. */
void slowlog_add(struct slowlog *s, const struct slowlog_preview *p,
                 const char *addr, const char *client_name, int64_t at_s,
                 time_us took_us, size_t max_len);
void slowlog_clear(struct slowlog *s);

/* The i-th entry, 0 the newest. */
const struct slowlog_entry *slowlog_get(const struct slowlog *s, size_t i);

#endif
