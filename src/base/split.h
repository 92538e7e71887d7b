/* Splitting a line into words as redis-cli and redis.conf write them: words are
 * separated by blanks; "double quotes" understand \n \r \t \b \a \\ \" and
 * \xHH, 'single quotes' only \'. */
#ifndef VECTRA_BASE_SPLIT_H
#define VECTRA_BASE_SPLIT_H

#include "base/bytes.h"
#include "base/err.h"

/* Splits len bytes at `line` in place: unquoting never makes a word longer, so
 * words are decoded where they stand and point into the line.
 *
 * out    words[0 .. *n) when there is room for cap of them; *n is the number
 *        of words.
 * fails  ERR_SYNTAX for a quote that is not closed or not followed by a blank;
 *        ERR_LIMIT when there are more than cap words. */
enum err split_words(char *line, size_t len, struct bytes *words, size_t cap,
                     size_t *n) MUST_USE;

/* The number of words at most: blanks-separated runs. For sizing `words`. */
size_t split_words_bound(const char *line, size_t len);

#endif
