#include "persist/aof_read.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "persist/aof_write.h"
#include "persist/crc32c.h"

enum {
    READ_CHUNK = 1 << 20,
    COMMENT_MAX = 1024, /* bytes of a line that begins with # */
    NUMBER_MAX = 16,    /* digits of a length */
    ARG_MIN = 6,        /* bytes an argument takes: $0, two line ends */
};

/* ---- lines ------------------------------------------------------------- */

enum scan { SCAN_WHOLE, SCAN_MORE, SCAN_BAD };

/* A number behind `type` and before a line end; *at is moved past it. */
static enum scan scan_number(const uint8_t *p, size_t len, size_t *at,
                             char type, uint64_t *out)
{
    size_t i = *at;
    uint64_t n = 0;
    size_t digits = 0;

    if (i >= len) {
        return SCAN_MORE;
    }
    if (p[i++] != (uint8_t)type) {
        return SCAN_BAD;
    }
    while (i < len && p[i] >= '0' && p[i] <= '9') {
        n = n * 10 + (uint64_t)(p[i++] - '0');
        if (++digits > NUMBER_MAX) {
            return SCAN_BAD;
        }
    }
    if (digits == 0 && i < len) {
        return SCAN_BAD;
    }
    if (i < len && p[i] != '\r') {
        return SCAN_BAD;
    }
    if (i + 1 < len && p[i + 1] != '\n') {
        return SCAN_BAD;
    }
    if (i + 2 > len) {
        return SCAN_MORE;
    }
    *at = i + 2;
    *out = n;
    return SCAN_WHOLE;
}

/* Finds the end of a command at p. *need: how many bytes it has at least, while
 * it is not whole. */
static enum scan scan_command(const uint8_t *p, size_t len, size_t *used,
                              uint64_t *need)
{
    uint64_t argc, n;
    size_t at = 0;
    enum scan r = scan_number(p, len, &at, '*', &argc);

    *need = len + 1;
    if (r != SCAN_WHOLE) {
        return r;
    }
    if (argc == 0) {
        return SCAN_BAD;
    }
    while (argc > 0) {
        r = scan_number(p, len, &at, '$', &n);
        if (r == SCAN_BAD) {
            return r;
        }
        if (r == SCAN_MORE || n + 2 > len - at) {
            uint64_t more =
                r == SCAN_MORE ? ARG_MIN * argc : n + 2 + ARG_MIN * (argc - 1);

            *need = at + more > len ? at + more : len + 1;
            return SCAN_MORE;
        }
        if (p[at + n] != '\r' || p[at + n + 1] != '\n') {
            return SCAN_BAD;
        }
        at += n + 2;
        argc--;
    }
    *used = at;
    return SCAN_WHOLE;
}

/* A line that begins with #, its end included. */
static enum scan scan_comment(const uint8_t *p, size_t len, size_t *used)
{
    const uint8_t *end = memchr(p, '\n', len < COMMENT_MAX ? len : COMMENT_MAX);

    if (!end) {
        return len < COMMENT_MAX ? SCAN_MORE : SCAN_BAD;
    }
    *used = (size_t)(end - p) + 1;
    return SCAN_WHOLE;
}

/* ---- annotations ------------------------------------------------------- */

struct note {
    uint64_t start, end;
    uint64_t synced; /* or AOF_NOT_SYNCED */
    uint32_t crc;
    size_t crc_at; /* the sum covers this much of the line */
};

static bool note_word(const char **at, const char *end, const char *word)
{
    size_t n = strlen(word);

    if ((size_t)(end - *at) < n || memcmp(*at, word, n) != 0) {
        return false;
    }
    *at += n;
    return true;
}

static bool note_number(const char **at, const char *end, uint64_t *out)
{
    const char *p = *at;
    uint64_t n = 0;

    while (p < end && *p >= '0' && *p <= '9') {
        if (__builtin_mul_overflow(n, 10, &n) ||
            __builtin_add_overflow(n, (uint64_t)(*p - '0'), &n)) {
            return false;
        }
        p++;
    }
    if (p == *at) {
        return false;
    }
    *at = p;
    *out = n;
    return true;
}

static bool note_hex(const char **at, const char *end, uint32_t *out)
{
    uint32_t n = 0;
    int i;

    if (end - *at < 8) {
        return false;
    }
    for (i = 0; i < 8; i++) {
        char c = (*at)[i];

        if (c >= '0' && c <= '9') {
            n = n << 4 | (uint32_t)(c - '0');
        } else if (c >= 'a' && c <= 'f') {
            n = n << 4 | (uint32_t)(c - 'a' + 10);
        } else {
            return false;
        }
    }
    *at += 8;
    *out = n;
    return true;
}

static bool is_note(const uint8_t *line, size_t len)
{
    return len >= 5 && memcmp(line, "#LSN:", 5) == 0;
}

static bool parse_note(const uint8_t *line, size_t len, struct note *out)
{
    const char *at = (const char *)line;
    const char *end = at + len;

    out->synced = AOF_NOT_SYNCED;
    if (!note_word(&at, end, "#LSN:") || !note_number(&at, end, &out->start) ||
        !note_word(&at, end, "-") || !note_number(&at, end, &out->end) ||
        out->end < out->start ||
        (note_word(&at, end, ":SYNCED:") &&
         !note_number(&at, end, &out->synced)) ||
        !note_word(&at, end, ":CRC32C:")) {
        return false;
    }
    out->crc_at = (size_t)(at - (const char *)line);
    return note_hex(&at, end, &out->crc) && note_word(&at, end, "\r\n") &&
           at == end;
}

static ssize_t read_at(int fd, void *to, size_t len, uint64_t offset)
{
    ssize_t got;

    do {
        got = pread(fd, to, len, (off_t)offset);
    } while (got < 0 && errno == EINTR);
    return got;
}

/* ---- the buffer -------------------------------------------------------- */

enum err aof_reader_open(struct aof_reader *r, int fd, uint64_t offset,
                         struct err_ctx *ctx)
{
    struct stat st;

    *r = (struct aof_reader){.fd = fd, .base = offset, .good = offset};
    if (fstat(fd, &st) != 0) {
        return err_set(ctx, ERR_IO, "%s", strerror(errno));
    }
    r->file_size = (uint64_t)st.st_size;
    return ERR_OK;
}

void aof_reader_close(struct aof_reader *r)
{
    buf_deinit(&r->buf);
    mem_free(r->argv);
    r->argv = NULL;
}

static uint64_t offset_of(const struct aof_reader *r, size_t at)
{
    return r->base + at;
}

/* Only when there is more to read: to move what is left of a megabyte behind
 * each of a thousand small batches would take most of the time. */
static void drop_used(struct aof_reader *r)
{
    buf_consume(&r->buf, r->used);
    r->base += r->used;
    r->pos -= r->used;
    r->used = 0;
}

/* Reads on until `need` bytes follow r->pos, or the file ends, which is false.
 *
 * fails  *error is errno. */
static bool fill(struct aof_reader *r, uint64_t need, int *error)
{
    uint64_t have = r->buf.len - r->pos;
    uint64_t left = r->file_size - offset_of(r, r->buf.len);
    uint64_t want;

    *error = 0;
    if (left == 0) {
        return false;
    }
    /* What a file says is believed as far as the file goes. */
    want = need > have ? need - have : 1;
    want = want < READ_CHUNK ? READ_CHUNK : want;
    want = want < left ? want : left;
    drop_used(r);
    while (want > 0) {
        size_t step = want < READ_CHUNK ? want : READ_CHUNK;
        ssize_t got = read_at(r->fd, buf_room(&r->buf, step), step,
                              offset_of(r, r->buf.len));

        if (got <= 0) {
            *error = got < 0 ? errno : EIO; /* it has become shorter */
            return false;
        }
        r->buf.len += (size_t)got;
        want -= (uint64_t)got;
    }
    return true;
}

/* ---- tails and damage -------------------------------------------------- */

/* Continues a sum over a stretch of the file. */
static bool sum_range(int fd, uint64_t from, uint64_t to, uint32_t *crc)
{
    uint8_t chunk[16384];

    while (from < to) {
        size_t want =
            to - from < sizeof(chunk) ? (size_t)(to - from) : sizeof(chunk);
        ssize_t got = read_at(fd, chunk, want, from);

        if (got <= 0) {
            return false;
        }
        *crc = crc32c(*crc, chunk, (size_t)got);
        from += (uint64_t)got;
    }
    return true;
}

/* What looks like an annotation behind the damage: batches between two of them
 * are checked, from one of the last few, since a blob may hold such bytes. */
enum { CANDIDATES = 4 };

struct hunt {
    struct aof_reader *r;
    uint64_t ends[CANDIDATES]; /* offsets behind those seen last */
    size_t n;
};

/* True when a whole batch ends here and proves that what was found bad was once
 * on disk. */
static bool look_at_note(struct hunt *h, const uint8_t *line, size_t len,
                         uint64_t offset)
{
    struct note note;
    bool proves = false;
    size_t i;

    if (!parse_note(line, len, &note)) {
        return false;
    }
    for (i = 0; i < h->n && i < CANDIDATES && !proves; i++) {
        uint32_t crc = 0;

        proves = sum_range(h->r->fd, h->ends[i], offset, &crc) &&
                 crc32c(crc, line, note.crc_at) == note.crc &&
                 note.synced > h->r->lsn;
    }
    h->ends[h->n++ % CANDIDATES] = offset + len;
    return proves;
}

/* Whether a whole batch behind r->good says that more than r->lsn was on disk.
 * from_good: the first of them may begin there. */
static bool later_proves(struct aof_reader *r, bool from_good)
{
    struct hunt h = {.r = r, .ends = {r->good}, .n = from_good};
    uint64_t at = r->good;
    uint8_t *chunk = mem_alloc(READ_CHUNK);
    bool proves = false;

    while (at < r->file_size && !proves) {
        ssize_t got = read_at(r->fd, chunk, READ_CHUNK, at);
        const uint8_t *p = chunk;
        const uint8_t *end = chunk + (got > 0 ? got : 0);
        bool last = got > 0 && at + (uint64_t)got >= r->file_size;

        if (got <= 0) {
            break;
        }
        while (p < end && !proves) {
            size_t len;

            p = memchr(p, '#', (size_t)(end - p));
            if (!p) {
                p = end;
                break;
            }
            if (end - p < AOF_ANNOTATION_MAX && !last && p > chunk) {
                break; /* looked at again with what follows */
            }
            if (is_note(p, (size_t)(end - p)) &&
                scan_comment(p, (size_t)(end - p), &len) == SCAN_WHOLE) {
                proves = look_at_note(&h, p, len, at + (uint64_t)(p - chunk));
            }
            p++;
        }
        at += (uint64_t)(p - chunk);
    }
    mem_free(chunk);
    return proves;
}

/* Bytes that the file system had promised and never got. */
static bool rest_is_zero(const struct aof_reader *r)
{
    uint8_t chunk[4096];
    uint64_t at = r->good;
    ssize_t got;

    while ((got = read_at(r->fd, chunk, sizeof(chunk), at)) > 0) {
        ssize_t i;

        for (i = 0; i < got; i++) {
            if (chunk[i]) {
                return false;
            }
        }
        at += (uint64_t)got;
    }
    return got == 0;
}

/* What was met at r->pos is no part of a good file. */
static enum aof_read_result bad(struct aof_reader *r, const char *what,
                                struct err_ctx *ctx)
{
    uint64_t at = offset_of(r, r->pos);

    err_set(ctx, ERR_CORRUPT, "offset %" PRIu64 ": %s", at, what);
    if (r->has_sums ? !later_proves(r, false) : rest_is_zero(r)) {
        return AOF_READ_TORN;
    }
    return AOF_READ_DAMAGED;
}

static enum aof_read_result ends_early(struct aof_reader *r, int error,
                                       struct err_ctx *ctx)
{
    if (error) {
        err_set(ctx, ERR_IO, "reading: %s", strerror(error));
        return AOF_READ_DAMAGED;
    }
    if (r->has_sums) {
        return bad(r, "the file ends inside a batch", ctx);
    }
    err_set(ctx, ERR_CORRUPT,
            "offset %" PRIu64 ": the file ends inside a "
            "command",
            offset_of(r, r->pos));
    return AOF_READ_TORN;
}

/* ---- units ------------------------------------------------------------- */

/* Finds the end of what begins at r->pos. */
static enum scan scan_item(struct aof_reader *r, size_t *used, uint64_t *need)
{
    const uint8_t *p = r->buf.data + r->pos;
    size_t len = r->buf.len - r->pos;

    *need = len + 1;
    if (len == 0) {
        return SCAN_MORE;
    }
    return p[0] == '#' ? scan_comment(p, len, used)
                       : scan_command(p, len, used, need);
}

static const char not_the_next[] =
    "the batch is not the one that follows the last";

/* A batch ends with the annotation of `len` bytes at r->pos; true when it is
 * what was written. */
static const char *check_batch(struct aof_reader *r, size_t len,
                               uint64_t stream_bytes)
{
    const uint8_t *line = r->buf.data + r->pos;
    struct note note;
    uint32_t crc;

    if (!parse_note(line, len, &note)) {
        return "an annotation that is none";
    }
    crc = crc32c(0, r->buf.data + r->used, r->pos - r->used + note.crc_at);
    if (!SUMS_AGREE(crc, note.crc)) {
        return "the batch has another CRC-32C than its annotation says";
    }
    if ((r->has_lsn && note.start != r->lsn) ||
        note.end - note.start != stream_bytes) {
        r->has_gap = r->good == strlen(AOF_MAGIC) && note.start > r->lsn;
        return not_the_next;
    }
    r->lsn = note.end;
    r->has_lsn = true;
    return NULL;
}

static void take(struct aof_reader *r, size_t end, struct aof_unit *unit)
{
    unit->text = bytes_of(r->buf.data + r->used, r->pos - r->used);
    unit->offset = offset_of(r, r->used);
    r->pos = r->used = end;
    r->good = offset_of(r, end);
}

static enum aof_read_result
next_unit(struct aof_reader *r, struct aof_unit *unit, struct err_ctx *ctx)
{
    uint64_t stream_bytes = 0;

    for (;;) {
        size_t used = 0;
        uint64_t need;
        enum scan s = scan_item(r, &used, &need);
        int error;

        if (s == SCAN_MORE) {
            bool at_end = r->pos == r->buf.len && r->pos == r->used;

            if (need <= r->file_size - offset_of(r, r->pos) &&
                fill(r, need, &error)) {
                continue;
            }
            if (need > r->file_size - offset_of(r, r->pos)) {
                error = 0;
            }
            return at_end && !error ? AOF_READ_END : ends_early(r, error, ctx);
        }
        if (s == SCAN_BAD) {
            return bad(r, "neither a command nor a comment", ctx);
        }
        if (r->buf.data[r->pos] == '*') {
            if (!r->has_sums) {
                r->pos += used;
                take(r, r->pos, unit);
                return AOF_READ_UNIT;
            }
            stream_bytes += used;
        } else if (is_note(r->buf.data + r->pos, used) && r->has_sums) {
            const char *wrong = check_batch(r, used, stream_bytes);

            if (wrong == not_the_next) {
                /* Its sum is right: it was written like this, and no power cut
                 * did that. */
                err_set(ctx, ERR_CORRUPT, "offset %" PRIu64 ": %s",
                        offset_of(r, r->pos), wrong);
                return AOF_READ_DAMAGED;
            }
            if (wrong) {
                return bad(r, wrong, ctx);
            }
            take(r, r->pos + used, unit);
            return AOF_READ_UNIT;
        }
        r->pos += used;
        if (!r->has_sums) {
            r->used = r->pos;
            r->good = offset_of(r, r->pos);
        }
    }
}

enum aof_read_result aof_reader_next(struct aof_reader *r,
                                     struct aof_unit *unit, struct err_ctx *ctx)
{
    if (!r->begun) {
        size_t n = strlen(AOF_MAGIC);
        int error = 0;

        r->begun = true;
        if (!fill(r, n, &error)) {
            return error ? ends_early(r, error, ctx) : AOF_READ_END;
        }
        r->has_sums = r->buf.len >= n && memcmp(r->buf.data, AOF_MAGIC, n) == 0;
        if (r->has_sums) {
            r->used = r->pos = n;
            r->good += n;
        }
    }
    return next_unit(r, unit, ctx);
}

bool aof_next_command(struct aof_reader *r, struct aof_unit *unit,
                      struct bytes **argv, size_t *argc, uint64_t *offset)
{
    const uint8_t *p = unit->text.data;
    size_t len = unit->text.len;
    size_t at = 0;
    uint64_t n = 0;
    size_t i;

    while (len > 0 && p[0] == '#') {
        size_t used = 0;

        ASSERT(scan_comment(p, len, &used) == SCAN_WHOLE);
        p += used;
        len -= used;
        unit->offset += used;
    }
    if (len == 0) {
        return false;
    }
    ASSERT(scan_number(p, len, &at, '*', &n) == SCAN_WHOLE);
    if (n > r->cap_argv) {
        r->cap_argv = n;
        r->argv = mem_realloc(r->argv, n * sizeof(*r->argv));
    }
    for (i = 0; i < n; i++) {
        uint64_t arg;

        ASSERT(scan_number(p, len, &at, '$', &arg) == SCAN_WHOLE);
        r->argv[i] = bytes_of(p + at, arg);
        at += arg + 2;
    }
    *argv = r->argv;
    *argc = n;
    *offset = unit->offset;
    unit->text = bytes_of(p + at, len - at);
    unit->offset += at;
    return true;
}

bool aof_proves_synced(int fd, uint64_t lsn)
{
    struct aof_reader r;

    if (aof_reader_open(&r, fd, strlen(AOF_MAGIC), NULL) != ERR_OK) {
        return false;
    }
    r.lsn = lsn;
    return later_proves(&r, true);
}
