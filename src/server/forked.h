/* What every forked child begins with, and what it can tell of its memory.
 *
 * thread the only one of a child that was just forked. Nothing here allocates,
 *        locks or logs. */
#ifndef VECTRA_SERVER_FORKED_H
#define VECTRA_SERVER_FORKED_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Gives the process its name and default signals (Ctrl-C is for the parent),
 * has it end when the parent does, and closes all descriptors but the standard
 * three and those in keep, which are in rising order: sockets above all, which
 * the parent could not close for good while a copy is open here. */
void forked_settle(pid_t parent, const char *name, const int *keep, size_t n);

/* Bytes that this process has for itself alone because one of the two wrote
 * there; 0 when the kernel does not tell. */
uint64_t forked_private_bytes(void);

#endif
