/* The words of the RDB container: docs/formats/rdb.md describes it byte by
 * byte. */
#ifndef VECTRA_PERSIST_RDB_H
#define VECTRA_PERSIST_RDB_H

#include <stdint.h>

/* What is read goes up to the version of Redis 8.0. What is written uses
 * nothing that came after version 10, and says so, so that Redis 7 and its
 * tools, which refuse newer files unread, take it as well. */
enum { RDB_VERSION = 12, RDB_VERSION_WRITTEN = 10, RDB_MAGIC_LEN = 9 };

/* What stands where a value's type may stand, and is no value. */
enum rdb_opcode {
    RDB_OP_SLOT_INFO = 244,
    RDB_OP_FUNCTION2 = 245,
    RDB_OP_FUNCTION_PRE_GA = 246,
    RDB_OP_MODULE_AUX = 247,
    RDB_OP_IDLE = 248,
    RDB_OP_FREQ = 249,
    RDB_OP_AUX = 250,
    RDB_OP_RESIZEDB = 251,
    RDB_OP_EXPIRE_MS = 252,
    RDB_OP_EXPIRE_S = 253,
    RDB_OP_SELECTDB = 254,
    RDB_OP_EOF = 255,
};

/* Types of values; Vectra has the first and the module's. */
enum rdb_type {
    RDB_STRING = 0,
    RDB_LIST = 1,
    RDB_SET = 2,
    RDB_ZSET = 3,
    RDB_HASH = 4,
    RDB_ZSET_2 = 5,
    RDB_MODULE_PRE_GA = 6,
    RDB_MODULE = 7, /* Redis calls it MODULE_2 */
    RDB_HASH_ZIPMAP = 9,
    RDB_LIST_ZIPLIST = 10,
    RDB_SET_INTSET = 11,
    RDB_ZSET_ZIPLIST = 12,
    RDB_HASH_ZIPLIST = 13,
    RDB_LIST_QUICKLIST = 14,
    RDB_STREAM_LISTPACKS = 15,
    RDB_HASH_LISTPACK = 16,
    RDB_ZSET_LISTPACK = 17,
    RDB_LIST_QUICKLIST_2 = 18,
    RDB_STREAM_LISTPACKS_2 = 19,
    RDB_SET_LISTPACK = 20,
    RDB_STREAM_LISTPACKS_3 = 21,
    RDB_HASH_METADATA_PRE_GA = 22,
    RDB_HASH_LISTPACK_EX_PRE_GA = 23,
    RDB_HASH_METADATA = 24,
    RDB_HASH_LISTPACK_EX = 25,
};

/* The two top bits of a length, or more; see rdb_put_len(). */
enum rdb_len {
    RDB_LEN_6 = 0,
    RDB_LEN_14 = 1,
    RDB_LEN_32 = 0x80,
    RDB_LEN_64 = 0x81,
    RDB_LEN_ENCODED = 3, /* the other six bits say how, see rdb_encoding */
};

/* Strings that are not stored as they are. */
enum rdb_encoding { RDB_ENC_I8, RDB_ENC_I16, RDB_ENC_I32, RDB_ENC_LZF };

/* Fields of a module's value. */
enum rdb_field {
    RDB_FIELD_END = 0,
    RDB_FIELD_SIGNED = 1,
    RDB_FIELD_UNSIGNED = 2,
    RDB_FIELD_FLOAT = 3,
    RDB_FIELD_DOUBLE = 4,
    RDB_FIELD_STRING = 5,
};

/* Nine characters of A-Z a-z 0-9 - _, six bits each, the first on top, and an
 * encoding version of ten bits. */
uint64_t rdb_module_id(const char name[9], uint32_t version);

/* The name in an id, with a NUL. */
void rdb_module_name(uint64_t id, char name[10]);

#endif
