/* What the files of filter/ share: values, the layout of a row, and the
 * program a compiled expression is.
 *
 * Row. A sequence of fields in the order of the text, each
 *
 *     0   u32  tag: hash of the key in the upper 24 bits, enum value_type below
 *     4   u32  offset of the key's first byte in the text
 *     8   8 bytes of payload
 *    16   what the payload says follows
 *
 * in the machine's byte order and at any alignment. Payloads:
 *
 *     VALUE_NUMBER   double
 *     VALUE_STRING   u32 offset, u32 length of the bytes in the text
 *     VALUE_DECODED  u32 zero, u32 length; the bytes follow
 *     VALUE_TUPLE    u32 zero, u32 length in bytes of the members that follow
 *     VALUE_NULL, VALUE_NONE   zero
 *
 * A member of a tuple is one type byte, a payload and what follows it; of a
 * tuple within a tuple only its presence is kept, since no operator looks
 * inside. The row is a function of the text alone. It is not stored on disk,
 * so it has no version and filter_match() trusts it.
 *
 *  R1  Every key in a row is not empty and made of selector characters, so it
 *      is followed by a quote in the text: no key length is needed. Other keys
 *      cannot be asked for and are left out.
 *  R2  The first of several equal keys decides, even one whose value cannot be
 *      used. That is why VALUE_NONE has a field.
 *  R3  Offsets and lengths fit 32 bits because only FILTER_TEXT_MAX bytes of a
 *      text are read: a field takes at most 17 bytes for 6 of text, a member 9
 *      for 2. */
#ifndef VECTRA_FILTER_FILTER_IMPL_H
#define VECTRA_FILTER_FILTER_IMPL_H

#include <string.h>

#include "filter/filter.h"

enum value_type {
    VALUE_NONE, /* an object or malformed: the same as no such key */
    VALUE_NULL,
    VALUE_NUMBER,
    VALUE_STRING,
    VALUE_DECODED, /* a string whose bytes follow; in rows and tuples only */
    VALUE_TUPLE,   /* types from VALUE_DECODED on have bytes behind them */
};

enum {
    ROW_FIELD_BYTES = 16,
    ROW_PAYLOAD_BYTES = 8,
    ROW_MEMBER_BYTES = 1 + ROW_PAYLOAD_BYTES,
    FILTER_TEXT_MAX = 512 << 20,
    FILTER_NUMBER_MAX = 255,  /* longest text that is read as a number */
    FILTER_DEPTH_MAX = 256,   /* operands waiting at one time */
    FILTER_EARLY_FIELDS = 16, /* selectors looked up before evaluation */
};

/* A value on the operand stack or a constant. */
struct value {
    const uint8_t *data; /* VALUE_STRING: bytes; VALUE_TUPLE: members */
    uint32_t len;        /* bytes at data */
    uint8_t type;        /* never VALUE_NONE or VALUE_DECODED */
    bool num_is_known;   /* a string whose number is already in num */
    double num;          /* VALUE_NUMBER */
};

/* Instructions: the first three push, the others replace their operands. */
enum opcode {
    OP_CONST,
    OP_FIELD,     /* arg < n_early: looked up before evaluation */
    OP_FAR_FIELD, /* looked up where it stands */
    OP_NOT,
    OP_POW,
    OP_MUL,
    OP_DIV,
    OP_MOD,
    OP_ADD,
    OP_SUB,
    OP_GT,
    OP_GE,
    OP_LT,
    OP_LE,
    OP_EQ,
    OP_NE,
    OP_IN,
    OP_AND,
    OP_OR,
    OP_OPEN, /* the compiler's own, never in a program */
    OP_CLOSE,
    OP_NULL,
};

struct instr {
    uint32_t op; /* enum opcode */
    uint32_t arg;
};

struct field {
    struct bytes name; /* in filter.strings */
    uint32_t hash;
};

/* F1  Running code from an empty stack never takes from an empty one, never
 *     holds more than FILTER_DEPTH_MAX values and ends with exactly one.
 * F2  consts and fields point into strings and tuples only. */
struct filter {
    struct instr *code;
    struct value *consts;
    struct field *fields;
    uint8_t *strings; /* decoded literals and selector names */
    uint8_t *tuples;  /* members of constant tuples, strings all DECODED */
    size_t n_code;
    uint32_t n_early; /* fields[0 .. n_early) are distinct */
};

/* FNV-1a: keys are short and the result only has to make a comparison of
 * bytes rare; whoever picks colliding keys gains nothing. */
#define FILTER_HASH_START 2166136261u

static inline uint32_t filter_hash_step(uint32_t hash, uint8_t c)
{
    return (hash ^ c) * 16777619u;
}

static inline bool filter_is_blank(uint8_t c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static inline bool filter_is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

static inline bool filter_is_letter(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static inline bool filter_is_name(uint8_t c)
{
    return filter_is_letter(c) || filter_is_digit(c) || c == '_' || c == '-';
}

static inline uint32_t filter_load_u32(const uint8_t *p)
{
    uint32_t v;

    memcpy(&v, p, sizeof(v));
    return v;
}

static inline void filter_store_u32(uint8_t *p, uint32_t v)
{
    memcpy(p, &v, sizeof(v));
}

static inline void filter_store_pair(uint8_t *p, uint32_t a, uint32_t b)
{
    filter_store_u32(p, a);
    filter_store_u32(p + 4, b);
}

/* The whole text is a number as strtod() reads one: leading blanks, "inf",
 * "nan" and hexadecimal included, at most FILTER_NUMBER_MAX bytes. What is too
 * large is infinite, what is too small is 0 or denormal. */
bool filter_parse_number(struct bytes text, double *out) MUST_USE;

/* Replaces escapes and returns the length. dst has room for text.len bytes;
 * \n, \r and \t become control characters, any other backslash is dropped and
 * the byte after it kept. */
size_t filter_unescape(struct bytes text, uint8_t *dst) MUST_USE;

#endif
