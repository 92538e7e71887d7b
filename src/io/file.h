/* Small files, whole: read into memory with a bound, and written so that a
 * crash leaves either the old content or the new.
 *
 * Meant for configuration and the like, of kilobytes; what is large or grows
 * has its own reader. Nothing here is for the loop's hot path: every call may
 * wait for the disk.
 *
 * thread any. */
#ifndef VECTRA_IO_FILE_H
#define VECTRA_IO_FILE_H

#include <sys/types.h>
#include <sys/uio.h>

#include "base/buf.h"
#include "base/err.h"

/* open(), fsync(), fdatasync() and ftruncate() that begin anew when a signal
 * interrupted them, which says nothing about the disk. Any other failure of a
 * sync is final. */
int file_open(const char *path, int flags, mode_t mode);
int file_fsync(int fd);
int file_fdatasync(int fd);
int file_truncate(int fd, off_t size);

/* What is long is best written in parts of this size. One write of 200 KB costs
 * four times the processor time of as many of 32 KB: the kernel then takes
 * large pages for the file, cold ones (Linux 6.18, ext4). */
enum { FILE_PART = 32 * 1024 };

/* Takes what was written off the front of n pieces; returns how many are left,
 * from *v on. */
int file_pieces_left(struct iovec **v, int n, size_t done);

/* Appends the content of a file, or of what is left on a descriptor, to *out.
 * `name` is for the words of an error.
 *
 * fails  ERR_NOT_FOUND, ERR_IO; ERR_LIMIT when it is longer than max bytes.
 *        *out is then as it was. */
enum err file_read(const char *path, size_t max, struct buf *out,
                   struct err_ctx *ctx) MUST_USE;
enum err file_read_fd(int fd, const char *name, size_t max, struct buf *out,
                      struct err_ctx *ctx) MUST_USE;

/* Replaces the content of a file, or creates it: a temporary file beside it is
 * written, synced and renamed over it, and the directory synced. A symbolic
 * link stays one; what it points to is replaced. Mode bits are kept, or are
 * 0644 less the umask for a new file.
 *
 * fails  ERR_IO; the file is as it was and the temporary one is gone. */
enum err file_replace(const char *path, struct bytes content,
                      struct err_ctx *ctx) MUST_USE;

/* Makes what was created, renamed or removed in a directory last.
 *
 * fails  ERR_IO. */
enum err file_sync_dir(const char *path, struct err_ctx *ctx) MUST_USE;

/* Claims a directory for as long as *fd is open, here or in a child, or its
 * process lives. Where the file system knows no locks it is taken to be free.
 *
 * fails  ERR_BUSY when somebody else has it; ERR_IO. */
enum err file_lock_dir(const char *path, int *fd, struct err_ctx *ctx) MUST_USE;

#endif
