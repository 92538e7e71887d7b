/* JSON of bytes that need not be text. */
#ifndef VECTRA_TOOLS_CHECK_JSON_H
#define VECTRA_TOOLS_CHECK_JSON_H

#include <stdio.h>

#include "base/bytes.h"

/* Writes a JSON string. UTF-8 stays as it is; in bytes that are no UTF-8 each
 * one from 0x80 up becomes the character of that number. */
void check_json_string(FILE *out, struct bytes s);

#endif
