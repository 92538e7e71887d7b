/* Stepping over values: see rdb_skip.h. The layouts are those of Redis's
 * rdb.c, release 8.0. */
#include "persist/rdb_skip.h"

enum { STREAM_ID = 16, MS_TIME = 8 };

const char *rdb_type_name(uint8_t type)
{
    static const char *const names[] = {
        [RDB_STRING] = "string",
        [RDB_LIST] = "list",
        [RDB_SET] = "set",
        [RDB_ZSET] = "sorted set",
        [RDB_HASH] = "hash",
        [RDB_ZSET_2] = "sorted set",
        [RDB_MODULE_PRE_GA] = "module value of a pre-release",
        [RDB_MODULE] = "module value",
        [RDB_HASH_ZIPMAP] = "hash (zipmap)",
        [RDB_LIST_ZIPLIST] = "list (ziplist)",
        [RDB_SET_INTSET] = "set (intset)",
        [RDB_ZSET_ZIPLIST] = "sorted set (ziplist)",
        [RDB_HASH_ZIPLIST] = "hash (ziplist)",
        [RDB_LIST_QUICKLIST] = "list (quicklist)",
        [RDB_STREAM_LISTPACKS] = "stream",
        [RDB_HASH_LISTPACK] = "hash (listpack)",
        [RDB_ZSET_LISTPACK] = "sorted set (listpack)",
        [RDB_LIST_QUICKLIST_2] = "list (quicklist)",
        [RDB_STREAM_LISTPACKS_2] = "stream",
        [RDB_SET_LISTPACK] = "set (listpack)",
        [RDB_STREAM_LISTPACKS_3] = "stream",
        [RDB_HASH_METADATA_PRE_GA] = "hash with field expiry, pre-release",
        [RDB_HASH_LISTPACK_EX_PRE_GA] = "hash with field expiry, pre-release",
        [RDB_HASH_METADATA] = "hash with field expiry",
        [RDB_HASH_LISTPACK_EX] = "hash with field expiry (listpack)",
    };

    return type < ARRAY_LEN(names) ? names[type] : NULL;
}

static bool skip_lens(struct rdb_in *in, int n)
{
    uint64_t len;

    for (; n > 0; n--) {
        if (!rdb_get_len(in, &len)) {
            return false;
        }
    }
    return true;
}

/* A score of the first form: a text with a one-byte length, or a byte that
 * stands for an infinity or no number. */
static bool skip_score(struct rdb_in *in)
{
    uint8_t len;

    return rdb_get_u8(in, &len) && rdb_skip(in, len < 253 ? len : 0);
}

/* What one item of a collection consists of. */
struct item {
    int lens;    /* before the strings */
    int strings; /* of any encoding */
    int bytes;   /* after them */
    bool score;
};

static bool skip_items(struct rdb_in *in, const struct item *item)
{
    uint64_t n;
    int i;

    if (!rdb_get_count(in, 1, &n)) {
        return false;
    }
    for (; n > 0; n--) {
        if (!skip_lens(in, item->lens)) {
            return false;
        }
        for (i = 0; i < item->strings; i++) {
            if (!rdb_skip_string(in)) {
                return false;
            }
        }
        if (item->score && !skip_score(in)) {
            return false;
        }
        if (!rdb_skip(in, (uint64_t)item->bytes)) {
            return false;
        }
    }
    return true;
}

/* ---- streams ----------------------------------------------------------- */

/* Entries that were delivered and not acknowledged. */
static bool skip_pending(struct rdb_in *in)
{
    uint64_t n;

    if (!rdb_get_count(in, STREAM_ID, &n)) {
        return false;
    }
    for (; n > 0; n--) {
        if (!rdb_skip(in, STREAM_ID + MS_TIME) || !skip_lens(in, 1)) {
            return false;
        }
    }
    return true;
}

static bool skip_consumers(struct rdb_in *in, uint8_t type)
{
    uint64_t times = type >= RDB_STREAM_LISTPACKS_3 ? 2 * MS_TIME : MS_TIME;
    uint64_t n, pending;

    if (!rdb_get_count(in, 1, &n)) {
        return false;
    }
    for (; n > 0; n--) {
        if (!rdb_skip_string(in) || !rdb_skip(in, times) ||
            !rdb_get_count(in, STREAM_ID, &pending) ||
            !rdb_skip(in, pending * STREAM_ID)) {
            return false;
        }
    }
    return true;
}

static bool skip_stream(struct rdb_in *in, uint8_t type)
{
    static const struct item node = {.strings = 2};
    bool newer = type >= RDB_STREAM_LISTPACKS_2;
    uint64_t groups;

    /* Length and last id; then the first id, the greatest deleted one, and how
     * many entries there ever were. */
    if (!skip_items(in, &node) || !skip_lens(in, newer ? 8 : 3) ||
        !rdb_get_count(in, 1, &groups)) {
        return false;
    }
    for (; groups > 0; groups--) {
        if (!rdb_skip_string(in) || !skip_lens(in, newer ? 3 : 2) ||
            !skip_pending(in) || !skip_consumers(in, type)) {
            return false;
        }
    }
    return true;
}

/* ---- modules ----------------------------------------------------------- */

bool rdb_skip_module(struct rdb_in *in)
{
    uint64_t kind;

    for (;;) {
        if (!rdb_get_len(in, &kind)) {
            return false;
        }
        switch (kind) {
        case RDB_FIELD_END:
            return true;
        case RDB_FIELD_SIGNED:
        case RDB_FIELD_UNSIGNED:
            if (!skip_lens(in, 1)) {
                return false;
            }
            break;
        case RDB_FIELD_FLOAT:
        case RDB_FIELD_DOUBLE:
            if (!rdb_skip(in, kind == RDB_FIELD_FLOAT ? 4 : 8)) {
                return false;
            }
            break;
        case RDB_FIELD_STRING:
            if (!rdb_skip_string(in)) {
                return false;
            }
            break;
        default:
            return rdb_fail(in, ERR_CORRUPT,
                            "there is no kind %llu of module fields",
                            (unsigned long long)kind);
        }
    }
}

/* ---- all of them ------------------------------------------------------- */

bool rdb_skip_value(struct rdb_in *in, uint8_t type)
{
    static const struct item one = {.strings = 1};
    static const struct item two = {.strings = 2};
    static const struct item scored = {.strings = 1, .score = true};
    static const struct item scored_2 = {.strings = 1, .bytes = 8};
    static const struct item node = {.lens = 1, .strings = 1};
    static const struct item expiring = {.lens = 1, .strings = 2};

    switch (type) {
    case RDB_STRING:
    case RDB_HASH_ZIPMAP:
    case RDB_LIST_ZIPLIST:
    case RDB_SET_INTSET:
    case RDB_ZSET_ZIPLIST:
    case RDB_HASH_ZIPLIST:
    case RDB_HASH_LISTPACK:
    case RDB_ZSET_LISTPACK:
    case RDB_SET_LISTPACK:
    case RDB_HASH_LISTPACK_EX_PRE_GA:
        return rdb_skip_string(in);
    case RDB_LIST:
    case RDB_SET:
    case RDB_LIST_QUICKLIST:
        return skip_items(in, &one);
    case RDB_HASH:
        return skip_items(in, &two);
    case RDB_ZSET:
        return skip_items(in, &scored);
    case RDB_ZSET_2:
        return skip_items(in, &scored_2);
    case RDB_LIST_QUICKLIST_2:
        return skip_items(in, &node);
    case RDB_HASH_METADATA_PRE_GA:
        return skip_items(in, &expiring);
    case RDB_HASH_METADATA:
        return rdb_skip(in, MS_TIME) && skip_items(in, &expiring);
    case RDB_HASH_LISTPACK_EX:
        return rdb_skip(in, MS_TIME) && rdb_skip_string(in);
    case RDB_STREAM_LISTPACKS:
    case RDB_STREAM_LISTPACKS_2:
    case RDB_STREAM_LISTPACKS_3:
        return skip_stream(in, type);
    case RDB_MODULE:
        return rdb_skip_module(in);
    default:
        return rdb_fail(in, ERR_UNSUPPORTED, "a %s cannot be stepped over",
                        rdb_type_name(type) ? rdb_type_name(type)
                                            : "value of no known type");
    }
}

bool rdb_skip_opcode(struct rdb_in *in, uint8_t opcode)
{
    uint8_t byte;

    switch (opcode) {
    case RDB_OP_SLOT_INFO:
        return skip_lens(in, 3);
    case RDB_OP_FUNCTION2:
        return rdb_skip_string(in);
    case RDB_OP_MODULE_AUX: /* whose, and when it is to be read */
        return skip_lens(in, 3) && rdb_skip_module(in);
    case RDB_OP_IDLE:
        return skip_lens(in, 1);
    case RDB_OP_FREQ:
        return rdb_get_u8(in, &byte);
    default:
        return rdb_fail(in, ERR_UNSUPPORTED, "opcode %u cannot be stepped over",
                        opcode);
    }
}
