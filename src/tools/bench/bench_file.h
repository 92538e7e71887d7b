/* Whole files: mapped for reading, replaced in one step, and lines of text. */
#ifndef VECTRA_TOOLS_BENCH_FILE_H
#define VECTRA_TOOLS_BENCH_FILE_H

#include <stdbool.h>

#include "base/bytes.h"
#include "base/err.h"

struct bench_file {
    const uint8_t *data;
    size_t len;
};

#define BENCH_FILE_NONE ((struct bench_file){NULL, 0})

/* Maps a regular file; an empty one gives len 0.
 *
 * owns   caller; bench_file_close().
 * fails  ERR_NOT_FOUND, ERR_IO; ctx names the file. */
enum err bench_file_open(const char *path, struct bench_file *out,
                         struct err_ctx *ctx) MUST_USE;
void bench_file_close(struct bench_file *f);

bool bench_file_exists(const char *path);

/* Writes a file beside `path` and renames it into place, so that a reader sees
 * the old or the new content. Missing folders of the path are made. */
enum err bench_file_replace(const char *path, const void *data, size_t len,
                            struct err_ctx *ctx) MUST_USE;

/* A text file taken apart at newlines; the last line need not have one. */
struct bench_lines {
    struct bench_file file;
    uint64_t *starts; /* n + 1 offsets; line i ends one byte before i + 1 */
    uint64_t n;
};

/* owns   caller; bench_lines_close(). */
enum err bench_lines_open(const char *path, struct bench_lines *out,
                          struct err_ctx *ctx) MUST_USE;
void bench_lines_close(struct bench_lines *l);

static inline struct bytes bench_lines_at(const struct bench_lines *l,
                                          uint64_t i)
{
    return bytes_of(l->file.data + l->starts[i],
                    (size_t)(l->starts[i + 1] - l->starts[i] - 1));
}

#endif
