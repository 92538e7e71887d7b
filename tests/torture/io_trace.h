/* What the I/O shim and its readers agree on: the control block that a driver
 * and the watched processes share, and the records of a trace. */
#ifndef VECTRA_TESTS_TORTURE_IO_TRACE_H
#define VECTRA_TESTS_TORTURE_IO_TRACE_H

#include <stdint.h>

enum io_op {
    IO_OPEN, /* for writing, or of a directory */
    IO_WRITE,
    IO_PWRITE,
    IO_FSYNC,
    IO_FDATASYNC,
    IO_SYNC_RANGE,
    IO_RENAME,
    IO_UNLINK,
    IO_TRUNCATE,
    IO_FALLOCATE,
    IO_LINK,
    IO_MKDIR,
    IO_CLOSE,
    IO_N_OPS
};

enum io_action {
    IO_PASS,
    IO_FAIL,        /* answers `err`, does nothing */
    IO_SHORT,       /* half of the bytes */
    IO_DELAY,       /* delay_us before the call */
    IO_KILL_BEFORE, /* SIGKILL to the server and all its children */
    IO_KILL_AFTER,
    IO_KILL_TORN, /* half of the bytes, then SIGKILL */
};

enum io_role {
    IO_ANY,
    IO_SERVER, /* the process the shim was loaded into */
    IO_CHILD   /* what it forked; kills hit the child alone */
};

/* A file of this size is mapped by all processes. The driver (torture.tcl, by
 * these offsets) writes the plan and sets `armed` last. */
struct io_control {
    uint32_t armed;       /*  0 */
    uint32_t op_mask;     /*  4 bit per io_op */
    uint32_t action;      /*  8 */
    uint32_t err;         /* 12 */
    uint64_t first;       /* 16 calls that match, counted from 1: */
    uint64_t last;        /* 24 act on first to last */
    uint32_t delay_us;    /* 32 */
    uint32_t role;        /* 36 */
    char path[88];        /* 40 the path contains this */
    uint64_t matched;     /* 128 */
    uint64_t acted;       /* 136 */
    uint32_t acted_op;    /* 144 */
    uint32_t server_pid;  /* 148 */
    char acted_path[104]; /* 152 */
    uint64_t count[16];   /* 256 calls per io_op, armed or not */
};

enum { IO_MAGIC = 0x31435254 };

enum io_flags {
    IO_CREATED = 1,   /* open: the name was not there */
    IO_TRUNCATED = 2, /* open: O_TRUNC */
    IO_BEGIN = 4,     /* fsync: called; without it: returned */
    IO_DIRECTORY = 8
};

/* A record; path, path2 and data follow. It is written after the call returned
 * (and only if it succeeded), fsyncs before and after. */
struct io_record {
    uint32_t magic;
    uint16_t op;
    uint16_t flags;
    uint64_t t_ns; /* CLOCK_MONOTONIC */
    uint64_t ino;
    uint64_t off;
    uint64_t size; /* truncate, fallocate: the size; write: bytes */
    uint32_t tid;
    uint32_t path_len;
    uint32_t path2_len;
    uint32_t data_len;
};

#endif
