/* Reading the files of a log: see check_aof_scan.h. */
#include "tools/check/check_aof_scan.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/num.h"

enum { GAP_MAX = 4096 /* bytes of comments that are looked through */ };

/* The time a line "#TS:1700000000" at the start of `text` tells, or 0. */
static int64_t ts_of_line(struct bytes text)
{
    int64_t n = 0;
    size_t i;

    if (text.len < 5 || memcmp(text.data, "#TS:", 4) != 0) {
        return 0;
    }
    for (i = 4;
         i < text.len && text.data[i] >= '0' && text.data[i] <= '9' && i < 20;
         i++) {
        n = n * 10 + (text.data[i] - '0');
    }
    return n;
}

/* The last time that is told in lines of comment before any command. */
static int64_t ts_of(struct bytes text)
{
    int64_t last = 0;

    while (text.len > 0 && text.data[0] == '#') {
        const uint8_t *end = memchr(text.data, '\n', text.len);
        int64_t ts = ts_of_line(text);
        size_t len = end ? (size_t)(end - text.data) + 1 : text.len;

        last = ts ? ts : last;
        text = bytes_of(text.data + len, text.len - len);
    }
    return last;
}

/* A file without sums hands out commands alone; what stands before one is read
 * again. */
static int64_t ts_before(int fd, uint64_t from, uint64_t to)
{
    uint8_t gap[GAP_MAX];
    uint64_t len = to - from;
    ssize_t got;

    if (len == 0 || len > sizeof(gap)) {
        return 0;
    }
    got = pread(fd, gap, (size_t)len, (off_t)from);
    return got > 0 ? ts_of(bytes_of(gap, (size_t)got)) : 0;
}

struct scan {
    struct check_aof_file *out;
    const struct check_limit *limit;
    struct aof_reader r;
    uint64_t before; /* offset behind the last unit */
    uint64_t before_lsn;
};

static void take_unit(struct scan *s, struct aof_unit *unit)
{
    struct check_aof_file *f = s->out;
    struct bytes *argv;
    size_t argc;
    uint64_t offset;
    int64_t ts = s->r.has_sums ? ts_of(unit->text)
                               : ts_before(s->r.fd, s->before, unit->offset);

    if (ts) {
        f->first_ts = f->first_ts ? f->first_ts : ts;
        f->last_ts = ts;
    }
    if (s->r.has_lsn) {
        if (f->first_lsn == CHECK_NO_LSN) {
            struct aof_unit copy = *unit;

            /* The reader tells where a batch ends; it is as long as its
             * commands. */
            s->before_lsn = s->r.lsn;
            while (aof_next_command(&s->r, &copy, &argv, &argc, &offset)) {
                s->before_lsn -= copy.offset - offset;
            }
            f->first_lsn = s->before_lsn;
        }
        f->last_lsn = s->r.lsn;
    }
    if (!f->has_cut && ((s->r.has_lsn && s->r.lsn > s->limit->lsn) ||
                        (ts != 0 && ts > s->limit->unix_s))) {
        f->has_cut = true;
        f->cut = s->before;
        f->cut_lsn = s->r.has_lsn ? s->before_lsn : CHECK_NO_LSN;
    }
    f->units++;
    while (aof_next_command(&s->r, unit, &argv, &argc, &offset)) {
        f->commands++;
    }
    s->before = s->r.good;
    s->before_lsn = s->r.lsn;
}

static enum err scan_commands(int fd, uint64_t offset,
                              const struct check_limit *limit,
                              struct check_aof_file *out, struct err_ctx *ctx)
{
    struct scan s = {.out = out, .limit = limit};
    struct err_ctx why = {""};
    enum aof_read_result result;
    struct aof_unit unit;
    enum err err = aof_reader_open(&s.r, fd, offset, ctx);

    if (err) {
        return err;
    }
    s.before = offset;
    while ((result = aof_reader_next(&s.r, &unit, &why)) == AOF_READ_UNIT) {
        take_unit(&s, &unit);
    }
    out->has_sums = s.r.has_sums;
    out->good = s.r.good;
    out->ends_torn = result == AOF_READ_TORN;
    out->damaged = result == AOF_READ_DAMAGED;
    snprintf(out->words, sizeof(out->words), "%s", why.text);
    aof_reader_close(&s.r);
    return ERR_OK;
}

static void note_aux(void *arg, struct bytes name, struct bytes value)
{
    struct check_aof_file *f = arg;
    int64_t n;

    if (!num_parse_i64(value, &n) || n < 0) {
        return;
    }
    if (bytes_equal(name, bytes_of("vectra-lsn", 10))) {
        f->base_lsn = n;
    } else if (bytes_equal(name, bytes_of("ctime", 5))) {
        f->base_unix_s = n;
    }
}

/* A snapshot, alone or as a preamble. *end: where it ends. */
static bool scan_snapshot(int fd, struct check_aof_file *out, uint64_t *end)
{
    struct check_rdb c = {.on_aux = note_aux, .arg = out};
    struct err_ctx why = {""};
    struct rdb_in in;
    bool ok;

    rdb_in_open(&in, fd, 0, out->size);
    ok = check_rdb_walk(&in, &c, &why) == ERR_OK;
    *end = rdb_in_offset(&in);
    rdb_in_close(&in);
    out->keys = c.keys;
    if (!ok) {
        out->damaged = true;
        out->good = 0;
        snprintf(out->words, sizeof(out->words), "%s", why.text);
    }
    return ok;
}

enum err check_aof_scan(const char *path, const struct check_limit *limit,
                        struct check_aof_file *out, struct err_ctx *ctx)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    enum err err = ERR_OK;
    struct stat st;
    char magic[5];
    uint64_t from = 0;

    memset(out, 0, sizeof(*out));
    out->first_lsn = out->last_lsn = CHECK_NO_LSN;
    out->base_lsn = out->base_unix_s = -1;
    if (fd < 0 || fstat(fd, &st) != 0) {
        err = err_set(ctx, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO, "%s: %s",
                      path, strerror(errno));
        goto out;
    }
    out->size = (uint64_t)st.st_size;
    out->is_rdb = pread(fd, magic, sizeof(magic), 0) == sizeof(magic) &&
                  memcmp(magic, "REDIS", sizeof(magic)) == 0;
    if (out->is_rdb && !scan_snapshot(fd, out, &from)) {
        goto out;
    }
    err = scan_commands(fd, from, limit, out, ctx);
    if (err) {
        err_wrap(ctx, err, "%s", path);
    }

out:
    if (fd >= 0) {
        close(fd);
    }
    return err;
}
