/* The log: one line per event, to a file or to standard output.
 *
 *     4242:M 21 Nov 2026 10:00:00.123 * server: ready port=6379
 *
 * The shape of a line is Redis's, which log shippers know: pid, role, time,
 * level (. debug, - verbose, * notice, # warning), then subsystem, what
 * happened and what Vectra does about it, then key=value. Element names and
 * vectors are never logged above debug.
 *
 * thread any; a line is written with one write(). */
#ifndef VECTRA_BASE_LOG_H
#define VECTRA_BASE_LOG_H

#include <stdbool.h>

#include "base/err.h"

enum log_level { LOG_DEBUG, LOG_VERBOSE, LOG_NOTICE, LOG_WARNING, LOG_NOTHING };

enum log_subsystem {
#define LOGSYS(sym, name) LOG_##sym,
#include "base/log.def"
#undef LOGSYS
    LOG_SUBSYSTEM_COUNT
};

/* Opens the log file; NULL or "" means standard output.
 *
 * fails  ERR_IO when it cannot be opened; the old target stays. */
enum err log_open(const char *path, struct err_ctx *ctx) MUST_USE;

void log_set_level(enum log_level level);
enum log_level log_level_get(void);

/* Use the macros below. `words` says what happened; `fmt` gives key=value. */
void log_write(enum log_level level, enum log_subsystem sys, const char *words,
               const char *fmt, ...) PRINTF_LIKE(4, 5);

#define LOG_AT(level, sys, ...)                                                \
    do {                                                                       \
        if ((level) >= log_level_get()) {                                      \
            log_write((level), LOG_##sys, __VA_ARGS__);                        \
        }                                                                      \
    } while (0)

/* LOG_x(SYSTEM, "what happened", "key=%d", value) */
#define LOG_DBG(sys, ...)  LOG_AT(LOG_DEBUG, sys, __VA_ARGS__)
#define LOG_INFO(sys, ...) LOG_AT(LOG_VERBOSE, sys, __VA_ARGS__)
#define LOG_NOTE(sys, ...) LOG_AT(LOG_NOTICE, sys, __VA_ARGS__)
#define LOG_WARN(sys, ...) LOG_AT(LOG_WARNING, sys, __VA_ARGS__)

#endif
