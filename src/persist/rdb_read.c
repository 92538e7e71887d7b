/* What stands in an RDB container: lengths, strings, fields of modules, the
 * frame of a file. See rdb_read.h; rdb_in.c has the bytes. */
#include <liblzf/lzf.h>
#include <string.h>

#include "base/num.h"
#include "persist/rdb_in_impl.h"

/* Three bytes of LZF make 264 at most. */
enum { LZF_RATIO_MAX = 88 };

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
        if (!rdb_in_ready(in, 1)) {
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
    if (!rdb_in_ready(in, (size_t)n)) {
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

    if (!rdb_in_get_le(in, sizes[how], &raw)) {
        return false;
    }
    value = how == RDB_ENC_I8    ? (int8_t)raw
            : how == RDB_ENC_I16 ? (int16_t)raw
                                 : (int32_t)raw;
    rdb_in_drop_scratch(in);
    if (!rdb_in_grow_scratch(in, NUM_TEXT_MAX)) {
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
        return rdb_in_fail_truncated(in);
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
    if (packed <= RDB_IN_BUFFER || in->fd < 0) {
        if (!rdb_get_view(in, packed, &view) || !rdb_in_grow_scratch(in, len)) {
            return false;
        }
        from = view.data;
    } else {
        /* Both lie in the scratch memory, the packed bytes behind. */
        at = len;
        rdb_in_drop_scratch(in);
        if (!rdb_in_grow_scratch(in, len + packed) ||
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
        return rdb_in_fail_truncated(in);
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
