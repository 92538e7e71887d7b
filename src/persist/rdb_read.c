/* Reading the RDB container: see rdb_read.h. */
#include "persist/rdb_read.h"

#include <errno.h>
#include <fcntl.h>
#include <liblzf/lzf.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/num.h"
#include "persist/crc64.h"

enum {
    BUFFER = 256 * 1024,
    SCRATCH_KEPT = 1 << 20, /* more is given back after use */
    SCRATCH_STEP = 16 << 20,
    /* Three bytes of LZF make 264 at most. */
    LZF_RATIO_MAX = 88,
};

static void PRINTF_LIKE(4, 0)
    keep_error(struct rdb_in *in, uint64_t offset, enum err err,
               const char *fmt, va_list ap)
{
    char words[sizeof(in->why.text)];

    vsnprintf(words, sizeof(words), fmt, ap);
    in->failed_at = offset;
    in->err = err_set(&in->why, err, "offset %llu: %s",
                      (unsigned long long)offset, words);
}

bool rdb_fail(struct rdb_in *in, enum err err, const char *fmt, ...)
{
    va_list ap;

    if (!in->err) {
        va_start(ap, fmt);
        keep_error(in, rdb_in_offset(in), err, fmt, ap);
        va_end(ap);
    }
    return false;
}

bool rdb_fail_at(struct rdb_in *in, uint64_t offset, enum err err,
                 const char *fmt, ...)
{
    va_list ap;

    if (!in->err || (in->err == ERR_CORRUPT && offset < in->failed_at)) {
        va_start(ap, fmt);
        keep_error(in, offset, err, fmt, ap);
        va_end(ap);
        in->truncated = false;
    }
    return false;
}

static bool fail_truncated(struct rdb_in *in)
{
    in->truncated = in->truncated || in->err == ERR_OK;
    return rdb_fail(in, ERR_CORRUPT, "the input ends in the middle");
}

/* ---- bytes ------------------------------------------------------------- */

void rdb_in_open(struct rdb_in *in, int fd, uint64_t offset, uint64_t left)
{
    struct stat st;

    memset(in, 0, sizeof(*in));
    in->checksum = true;
    in->fd = fd;
    in->base = offset;
    in->end = UINT64_MAX;
    if (left < UINT64_MAX - offset) {
        in->end = offset + left;
    } else if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode)) {
        off_t at = lseek(fd, 0, SEEK_CUR);

        in->end = at >= 0 && st.st_size > at
                      ? offset + (uint64_t)(st.st_size - at)
                      : offset;
    }
    posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL); /* where it is a file */
    in->buffer = mem_alloc(BUFFER);
    in->data = in->buffer;
}

void rdb_in_open_mem(struct rdb_in *in, struct bytes data)
{
    memset(in, 0, sizeof(*in));
    in->checksum = true;
    in->fd = -1;
    in->data = data.data;
    in->len = data.len;
    in->end = data.len;
}

void rdb_in_close(struct rdb_in *in)
{
    mem_free(in->buffer);
    mem_free(in->scratch);
    in->buffer = in->scratch = NULL;
    in->data = NULL;
    in->pos = in->len = in->scratch_cap = 0;
}

static void sum_up(struct rdb_in *in)
{
    if (in->checksum) {
        in->crc = crc64(in->crc, in->data + in->summed, in->pos - in->summed);
    }
    in->summed = in->pos;
}

uint64_t rdb_in_crc(struct rdb_in *in)
{
    sum_up(in);
    return in->crc;
}

/* Reads some, up to `most` bytes, from the descriptor; 0 after an error. */
static size_t read_some(struct rdb_in *in, uint8_t *to, size_t most)
{
    ssize_t got;

    do {
        got = read(in->fd, to, most);
    } while (got < 0 && errno == EINTR);
    if (got < 0) {
        rdb_fail(in, ERR_IO, "reading: %s", strerror(errno));
        return 0;
    }
    if (got == 0) {
        fail_truncated(in);
    }
    return (size_t)got;
}

/* Has at least n bytes lie ready, n at most BUFFER. */
static bool refill(struct rdb_in *in, size_t n)
{
    if (in->err) {
        return false;
    }
    if (n > rdb_in_left(in) || in->fd < 0) {
        return fail_truncated(in);
    }
    rdb_yield(in);
    if (in->err) {
        return false;
    }
    sum_up(in);
    memmove(in->buffer, in->buffer + in->pos, in->len - in->pos);
    in->base += in->pos;
    in->len -= in->pos;
    in->pos = in->summed = 0;
    while (in->len < n) {
        uint64_t most = in->end - in->base - in->len;
        size_t got = read_some(in, in->buffer + in->len,
                               most < BUFFER - in->len ? (size_t)most
                                                       : BUFFER - in->len);

        if (got == 0) {
            return false;
        }
        in->len += got;
    }
    return true;
}

ALWAYS_INLINE bool ready(struct rdb_in *in, size_t n)
{
    return LIKELY(in->len - in->pos >= n && !in->err) || refill(in, n);
}

/* Bytes that are longer than the buffer go straight to where they belong. */
static bool get_long(struct rdb_in *in, uint8_t *to, size_t len)
{
    size_t have = in->len - in->pos;

    if (in->err || len > rdb_in_left(in) || in->fd < 0) {
        return in->err ? false : fail_truncated(in);
    }
    memcpy(to, in->data + in->pos, have);
    in->pos += have;
    sum_up(in);
    in->base += in->pos;
    in->pos = in->len = in->summed = 0;
    for (to += have, len -= have; len > 0;) {
        size_t got = read_some(in, to, len < BUFFER ? len : BUFFER);

        if (got == 0) {
            return false;
        }
        if (in->checksum) {
            in->crc = crc64(in->crc, to, got);
        }
        in->base += got;
        to += got;
        len -= got;
        rdb_yield(in);
        if (in->err) {
            return false;
        }
    }
    return true;
}

bool rdb_get_raw(struct rdb_in *in, void *to, size_t len)
{
    if (len > in->len - in->pos && len >= BUFFER) {
        return get_long(in, to, len);
    }
    if (!ready(in, len)) {
        return false;
    }
    if (len) {
        memcpy(to, in->data + in->pos, len);
    }
    in->pos += len;
    return true;
}

bool rdb_skip(struct rdb_in *in, uint64_t len)
{
    while (len > 0) {
        uint64_t have = in->len - in->pos;

        if (in->err) {
            return false;
        }
        if (have == 0) {
            if (len > rdb_in_left(in) || !refill(in, 1)) {
                return fail_truncated(in);
            }
            continue;
        }
        in->pos += (size_t)(len < have ? len : have);
        len -= len < have ? len : have;
    }
    return in->err == ERR_OK;
}

static bool get_le(struct rdb_in *in, int n, uint64_t *value)
{
    int i;

    if (!ready(in, (size_t)n)) {
        return false;
    }
    *value = 0;
    for (i = 0; i < n; i++) {
        *value |= (uint64_t)in->data[in->pos + (size_t)i] << 8 * i;
    }
    in->pos += (size_t)n;
    return true;
}

bool rdb_get_u8(struct rdb_in *in, uint8_t *value)
{
    if (!ready(in, 1)) {
        return false;
    }
    *value = in->data[in->pos++];
    return true;
}

bool rdb_get_u16(struct rdb_in *in, uint16_t *value)
{
    uint64_t wide;

    if (!get_le(in, 2, &wide)) {
        return false;
    }
    *value = (uint16_t)wide;
    return true;
}

bool rdb_get_u32(struct rdb_in *in, uint32_t *value)
{
    uint64_t wide;

    if (!get_le(in, 4, &wide)) {
        return false;
    }
    *value = (uint32_t)wide;
    return true;
}

bool rdb_get_u64(struct rdb_in *in, uint64_t *value)
{
    return get_le(in, 8, value);
}

/* ---- memory for strings ------------------------------------------------ */

static void drop_scratch(struct rdb_in *in)
{
    if (in->scratch_cap > SCRATCH_KEPT) {
        mem_free(in->scratch);
        in->scratch = NULL;
        in->scratch_cap = 0;
    }
}

static bool grow_scratch(struct rdb_in *in, uint64_t cap)
{
    uint8_t *p;

    if (cap <= in->scratch_cap) {
        return true;
    }
    p = mem_try_realloc(in->scratch, (size_t)cap);
    if (!p) {
        return rdb_fail(in, ERR_NOMEM, "no memory for a string of %llu bytes",
                        (unsigned long long)cap);
    }
    in->scratch = p;
    in->scratch_cap = (size_t)cap;
    return true;
}

bool rdb_get_view(struct rdb_in *in, uint64_t len, struct bytes *view)
{
    uint64_t have = 0;

    drop_scratch(in);
    if (len <= BUFFER || in->fd < 0) {
        if (len > rdb_in_left(in)) {
            return fail_truncated(in);
        }
        if (!ready(in, (size_t)len)) {
            return false;
        }
        *view = bytes_of(in->data + in->pos, (size_t)len);
        in->pos += (size_t)len;
        return true;
    }
    if (len > rdb_in_left(in)) {
        return fail_truncated(in);
    }
    /* Where nobody knows how much will come, only what came is believed. */
    while (have < len) {
        uint64_t step = in->end != UINT64_MAX || len - have < SCRATCH_STEP
                            ? len - have
                            : SCRATCH_STEP;

        if (!grow_scratch(in, have + step) ||
            !rdb_get_raw(in, in->scratch + have, (size_t)step)) {
            return false;
        }
        have += step;
    }
    *view = bytes_of(in->scratch, (size_t)len);
    return true;
}

/* ---- lengths and strings ----------------------------------------------- */

static uint64_t load_be(const uint8_t *p, int n)
{
    uint64_t value = 0;
    int i;

    for (i = 0; i < n; i++) {
        value = value << 8 | p[i];
    }
    return value;
}

/* A length, or how a string is encoded. */
static bool get_len(struct rdb_in *in, uint64_t *len, bool *is_encoded)
{
    uint8_t first;
    int n;

    *len = 0;
    *is_encoded = false;
    if (!rdb_get_u8(in, &first)) {
        return false;
    }
    switch (first >> 6) {
    case RDB_LEN_6:
        *len = first & 0x3f;
        return true;
    case RDB_LEN_14:
        if (!ready(in, 1)) {
            return false;
        }
        *len = (uint64_t)(first & 0x3f) << 8 | in->data[in->pos++];
        return true;
    case RDB_LEN_ENCODED:
        *len = first & 0x3f;
        *is_encoded = true;
        return true;
    default:
        break;
    }
    if (first != RDB_LEN_32 && first != RDB_LEN_64) {
        return rdb_fail(in, ERR_CORRUPT, "0x%02x begins no length", first);
    }
    n = first == RDB_LEN_32 ? 4 : 8;
    if (!ready(in, (size_t)n)) {
        return false;
    }
    *len = load_be(in->data + in->pos, n);
    in->pos += (size_t)n;
    return true;
}

bool rdb_get_len(struct rdb_in *in, uint64_t *len)
{
    bool is_encoded;

    if (!get_len(in, len, &is_encoded)) {
        return false;
    }
    return !is_encoded ||
           rdb_fail(in, ERR_CORRUPT,
                    "a string's encoding where a length belongs");
}

bool rdb_get_count(struct rdb_in *in, uint64_t item_bytes, uint64_t *n)
{
    if (!rdb_get_len(in, n)) {
        return false;
    }
    if (*n > rdb_in_left(in) / item_bytes) {
        return rdb_fail(in, ERR_CORRUPT,
                        "%llu items, for which the input is too short",
                        (unsigned long long)*n);
    }
    return true;
}

static bool get_int_string(struct rdb_in *in, enum rdb_encoding how,
                           struct bytes *s)
{
    static const int sizes[] = {1, 2, 4};
    uint64_t raw;
    int64_t value;

    if (!get_le(in, sizes[how], &raw)) {
        return false;
    }
    value = how == RDB_ENC_I8    ? (int8_t)raw
            : how == RDB_ENC_I16 ? (int16_t)raw
                                 : (int32_t)raw;
    drop_scratch(in);
    if (!grow_scratch(in, NUM_TEXT_MAX)) {
        return false;
    }
    *s = bytes_of(in->scratch, num_format_i64(value, (char *)in->scratch));
    return true;
}

static bool get_lzf_lengths(struct rdb_in *in, uint64_t *packed, uint64_t *len)
{
    if (!rdb_get_len(in, packed) || !rdb_get_len(in, len)) {
        return false;
    }
    if (*packed > rdb_in_left(in)) {
        return fail_truncated(in);
    }
    if (*packed > INT32_MAX || *len > INT32_MAX ||
        *len / LZF_RATIO_MAX > *packed) {
        return rdb_fail(in, ERR_CORRUPT,
                        "a compressed string of impossible lengths %llu, %llu",
                        (unsigned long long)*packed, (unsigned long long)*len);
    }
    return true;
}

static bool get_lzf_string(struct rdb_in *in, struct bytes *s)
{
    uint64_t packed, len, at = 0;
    const uint8_t *from;
    struct bytes view;

    if (!get_lzf_lengths(in, &packed, &len)) {
        return false;
    }
    if (packed <= BUFFER || in->fd < 0) {
        if (!rdb_get_view(in, packed, &view) || !grow_scratch(in, len)) {
            return false;
        }
        from = view.data;
    } else {
        /* Both lie in the scratch memory, the packed bytes behind. */
        at = len;
        drop_scratch(in);
        if (!grow_scratch(in, len + packed) ||
            !rdb_get_raw(in, in->scratch + at, (size_t)packed)) {
            return false;
        }
        from = in->scratch + at;
    }
    if (len > 0 && lzf_decompress(from, (unsigned)packed, in->scratch,
                                  (unsigned)len) != len) {
        return rdb_fail(in, ERR_CORRUPT, "a compressed string is damaged");
    }
    *s = bytes_of(in->scratch, (size_t)len);
    return true;
}

static bool fail_encoding(struct rdb_in *in, uint64_t how)
{
    return rdb_fail(in, ERR_CORRUPT, "there is no string encoding %llu",
                    (unsigned long long)how);
}

static bool get_encoded(struct rdb_in *in, uint64_t how, struct bytes *s)
{
    switch (how) {
    case RDB_ENC_I8:
    case RDB_ENC_I16:
    case RDB_ENC_I32:
        return get_int_string(in, (enum rdb_encoding)how, s);
    case RDB_ENC_LZF:
        return get_lzf_string(in, s);
    default:
        return fail_encoding(in, how);
    }
}

bool rdb_get_string(struct rdb_in *in, struct bytes *s)
{
    uint64_t len;
    bool is_encoded;

    if (!get_len(in, &len, &is_encoded)) {
        return false;
    }
    return is_encoded ? get_encoded(in, len, s) : rdb_get_view(in, len, s);
}

bool rdb_skip_string(struct rdb_in *in)
{
    uint64_t len, packed;
    bool is_encoded;

    if (!get_len(in, &len, &is_encoded)) {
        return false;
    }
    if (!is_encoded) {
        return rdb_skip(in, len);
    }
    if (len <= RDB_ENC_I32) {
        return rdb_skip(in, UINT64_C(1) << len);
    }
    if (len != RDB_ENC_LZF) {
        return fail_encoding(in, len);
    }
    return get_lzf_lengths(in, &packed, &len) && rdb_skip(in, packed);
}

/* ---- modules ----------------------------------------------------------- */

bool rdb_get_module(struct rdb_in *in, uint64_t *module_id)
{
    return rdb_get_len(in, module_id);
}

static bool get_field(struct rdb_in *in, enum rdb_field wanted)
{
    uint64_t kind;

    if (!rdb_get_len(in, &kind)) {
        return false;
    }
    return kind == wanted ||
           rdb_fail(in, ERR_CORRUPT, "a field of kind %llu where %d belongs",
                    (unsigned long long)kind, (int)wanted);
}

bool rdb_get_unsigned(struct rdb_in *in, uint64_t *value)
{
    return get_field(in, RDB_FIELD_UNSIGNED) && rdb_get_len(in, value);
}

bool rdb_get_blob(struct rdb_in *in, struct bytes *s)
{
    return get_field(in, RDB_FIELD_STRING) && rdb_get_string(in, s);
}

bool rdb_get_blob_to(struct rdb_in *in, size_t most, struct buf *to,
                     struct bytes *s, enum rdb_place *place)
{
    uint64_t len;
    bool is_encoded;

    if (!get_field(in, RDB_FIELD_STRING) || !get_len(in, &len, &is_encoded)) {
        return false;
    }
    *place = in->fd < 0 && !is_encoded ? RDB_STAYS : RDB_PASSING;
    if (is_encoded) {
        return get_encoded(in, len, s);
    }
    if (in->fd < 0 || len > most) {
        return rdb_get_view(in, len, s);
    }
    if (len > rdb_in_left(in)) {
        return fail_truncated(in);
    }
    *place = RDB_APPENDED;
    *s = bytes_of(buf_room(to, (size_t)len), (size_t)len);
    if (!rdb_get_raw(in, to->data + to->len, (size_t)len)) {
        return false;
    }
    to->len += (size_t)len;
    return true;
}

bool rdb_get_blob_begin(struct rdb_in *in, uint64_t *len)
{
    return get_field(in, RDB_FIELD_STRING) && rdb_get_count(in, 1, len);
}

bool rdb_get_module_end(struct rdb_in *in)
{
    return get_field(in, RDB_FIELD_END);
}

/* ---- files ------------------------------------------------------------- */

bool rdb_get_magic(struct rdb_in *in, int *version)
{
    char magic[RDB_MAGIC_LEN];
    int64_t n = 0;
    int i;

    if (!rdb_get_raw(in, magic, sizeof(magic))) {
        return false;
    }
    for (i = 5; i < RDB_MAGIC_LEN; i++) {
        n = magic[i] >= '0' && magic[i] <= '9' && n >= 0
                ? n * 10 + (magic[i] - '0')
                : -1;
    }
    if (memcmp(magic, "REDIS", 5) != 0) {
        return rdb_fail(in, ERR_CORRUPT, "this is no RDB file");
    }
    if (n < 1 || n > RDB_VERSION) {
        return rdb_fail(in, ERR_UNSUPPORTED,
                        "RDB version %.4s; 1 to %d can be read", magic + 5,
                        RDB_VERSION);
    }
    *version = (int)n;
    return true;
}

bool rdb_check_eof(struct rdb_in *in, int version)
{
    uint64_t expected, found;

    if (version < 5) {
        return true; /* there was none yet */
    }
    expected = rdb_in_crc(in);
    if (!rdb_get_u64(in, &found)) {
        return false;
    }
    if (in->checksum && found != 0 && !SUMS_AGREE(found, expected)) {
        return rdb_fail(
            in, ERR_CORRUPT, "the checksum is %016llx and should be %016llx",
            (unsigned long long)found, (unsigned long long)expected);
    }
    return true;
}
