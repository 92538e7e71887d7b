/* docs/commands.md, written from the command table. */
#ifndef VECTRA_CMD_COMMAND_DOCS_H
#define VECTRA_CMD_COMMAND_DOCS_H

#include "base/buf.h"

/* Appends the document: vectra-server --dump commands. Needs no server. */
void command_docs_write(struct buf *out);

#endif
