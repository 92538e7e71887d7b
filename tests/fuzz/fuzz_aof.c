/* A log, whoever wrote it: a manifest, and a file that is read and run.
 *
 * The input: two bytes, the length of the manifest; the manifest; the file. A
 * manifest that is accepted says the same when it is written and read again.
 * Of the file, what is handed out must be whole commands within it, in order,
 * and what is good must end where a unit does; running it may fail, but leaves
 * a keyspace that is valid. Sums of batches are believed (SUMS_AGREE). */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cmd/replay.h"
#include "fuzz/keyspace.h"
#include "persist/aof_manifest.h"
#include "persist/aof_read.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* ---- a host without sockets -------------------------------------------- */

static struct buf *host_out(struct client *c)
{
    struct buf *out = &replay_of(c)->out;

    out->len = 0;
    return out;
}

static void host_give(struct client *c, struct buf *reply)
{
    struct buf *out = &replay_of(c)->out;

    out->len = 0;
    buf_append_bytes(out, buf_bytes(reply));
    reply->len = 0;
}

static const struct cmd_host host = HOST_WITHOUT_SOCKETS(host_out, host_give);

/* ---- the manifest ------------------------------------------------------ */

static void read_manifest(struct bytes text)
{
    struct aof_manifest m, again;
    struct buf out = BUF_INIT, second = BUF_INIT;
    struct err_ctx ctx;

    if (aof_manifest_parse(&m, text, &ctx) != ERR_OK) {
        return;
    }
    aof_manifest_format(&m, &out);
    ASSERT(aof_manifest_parse(&again, buf_bytes(&out), &ctx) == ERR_OK);
    aof_manifest_format(&again, &second);
    ASSERT(bytes_equal(buf_bytes(&out), buf_bytes(&second)));
    aof_manifest_deinit(&m);
    aof_manifest_deinit(&again);
    buf_deinit(&out);
    buf_deinit(&second);
}

/* ---- the file ---------------------------------------------------------- */

/* A command of some bytes that makes half a gigabyte, as it does in a log. */
static bool is_huge(const struct bytes *argv, size_t argc)
{
    return argc > 0 && argv[0].len == 8 &&
           strncasecmp((const char *)argv[0].data, "setrange", 8) == 0;
}

static bool run_unit(struct replay *replay, struct aof_reader *r,
                     struct aof_unit unit)
{
    struct bytes *argv;
    struct err_ctx ctx;
    size_t argc;
    uint64_t offset, last = 0;

    while (aof_next_command(r, &unit, &argv, &argc, &offset)) {
        ASSERT(argc > 0 && offset >= last && offset < r->good);
        last = offset;
        if (is_huge(argv, argc) ||
            replay_command(replay, argv, argc, &ctx) != ERR_OK) {
            return false;
        }
    }
    return true;
}

static void read_file(struct bytes bytes)
{
    int fd = memfd_create("aof", MFD_CLOEXEC);
    enum aof_read_result result;
    struct aof_reader r;
    struct aof_unit unit;
    struct replay replay;
    struct err_ctx ctx;
    uint64_t good = 0;
    bool ok = true;

    ASSERT(fd >= 0 && write(fd, bytes.data, bytes.len) == (ssize_t)bytes.len);
    ASSERT(aof_reader_open(&r, fd, 0, &ctx) == ERR_OK);
    replay_begin(&replay, &w.env);
    while ((result = aof_reader_next(&r, &unit, &ctx)) == AOF_READ_UNIT) {
        ASSERT(r.good > good && r.good <= bytes.len);
        ASSERT(unit.offset >= good && unit.offset + unit.text.len <= r.good);
        good = r.good;
        ok = ok && run_unit(&replay, &r, unit);
    }
    ASSERT(r.good <= bytes.len && r.good >= good);
    ASSERT(result != AOF_READ_END || r.good == bytes.len);
    if (replay_in_transaction(&replay)) {
        replay_abandon_transaction(&replay);
    }
    replay_end(&replay);
    aof_reader_close(&r);
    close(fd);
    keyspace_validate(w.ks);
    clear();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t manifest;

    if (!w.ks) {
        keyspace_begin(4, &host);
    }
    if (size < 2) {
        return 0;
    }
    manifest = data[0] | (size_t)data[1] << 8;
    manifest = manifest < size - 2 ? manifest : size - 2;
    read_manifest(bytes_of(data + 2, manifest));
    read_file(bytes_of(data + 2 + manifest, size - 2 - manifest));
    return 0;
}
