/* The canonical stream: every write that was executed, in RESP, such that
 * running it again on the data of before gives the data of after.
 *
 * cmd_call() appends a write command as it came when it changed something. A
 * handler whose command would not give the same again says what to append
 * instead: times become absolute, sums become values, numbers of VALUES become
 * a blob, a vector the row that is stored of it where that is shorter, and a
 * job appends what each of its slices did. Keys that expire are deleted by a
 * DEL at that moment. What VTRAIN has computed when it ends is appended then,
 * so that it need not be computed again. SELECT stands where the database
 * changes; what one EXEC did stands between MULTI and EXEC.
 *
 * An offset in the stream, in bytes, is an LSN. The log stores the stream and
 * replicas will follow it: both see the same bytes.
 *
 *  S1  The stream is whole commands at all times, and whole transactions but
 *      within cmd_exec().
 *  S2  With nobody to take it, nothing is appended and no LSN passes.
 *
 * thread loop only. */
#ifndef VECTRA_CMD_PROPAGATE_H
#define VECTRA_CMD_PROPAGATE_H

#include <stdbool.h>

#include "base/buf.h"

struct cmd_ctx;
struct cmd_env;

enum stream_transaction { STREAM_PLAIN, STREAM_IN_EXEC, STREAM_IN_MULTI };

struct cmd_stream {
    struct buf out; /* appended and not taken yet; ends at lsn */
    uint64_t lsn;
    uint64_t run; /* how often it has begun: see propagate_start() */
    int db;       /* selected at the end of it; -1: none */
    bool on;      /* somebody takes it */
    bool said;    /* the command that runs has had its say */
    enum stream_transaction transaction;
};

/* Makes the stream begin, or go on, for somebody who knows nothing of what was
 * in it: the next command selects its database. */
void propagate_start(struct cmd_env *env);

/* The same in front of the next command while the stream is on: a new file
 * begins. */
void propagate_forget_db(struct cmd_env *env);
void propagate_stop(struct cmd_env *env);

static inline bool propagate_is_on(const struct cmd_stream *s)
{
    return UNLIKELY(s->on);
}

/* Forgets what was taken: the first n bytes. Large memory is given back. */
void propagate_taken(struct cmd_stream *s, size_t n);

/* Appends a command. */
void propagate_append(struct cmd_env *env, int db, const struct bytes *argv,
                      size_t argc);

/* For handlers: appends this instead of the command that runs; may be called
 * several times. Does nothing while the stream is off. */
void cmd_propagate_as(struct cmd_ctx *ctx, int db, const struct bytes *argv,
                      size_t argc);

/* Appends nothing for the command that runs. */
void cmd_propagate_none(struct cmd_ctx *ctx);

/* DEL key, instead of the command that runs. */
void cmd_propagate_del(struct cmd_ctx *ctx, int db, struct bytes key);

/* For jobs: appends the first n_head arguments of a command and those from
 * `from` up to `to`, which one slice worked off. The handler has called
 * cmd_propagate_none(). Does nothing while the stream is off. */
void propagate_slice(struct cmd_env *env, int db, const struct bytes *argv,
                     size_t n_head, size_t from, size_t to);

/* For keys that expire: DEL key besides the command that runs. */
void propagate_expired(struct cmd_env *env, int db, struct bytes key);

/* For lists that a set has been given in the background: VTRAIN key IVF TRAINED
 * and all that is needed to have the same ones, or what of that did not come
 * before in parts, at `from`. */
void propagate_trained(struct cmd_env *env, int db, struct bytes key,
                       uint64_t from, struct bytes rest);
void propagate_trained_part(struct cmd_env *env, int db, struct bytes key,
                            uint64_t from, struct bytes part);

/* Around what one EXEC does. */
void propagate_exec_begin(struct cmd_env *env);
void propagate_exec_end(struct cmd_env *env);

#endif
