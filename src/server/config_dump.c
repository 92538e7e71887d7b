/* vectra.conf, printed from config.def. */
#include <stdio.h>
#include <string.h>

#include "server/config_impl.h"

enum { WIDTH = 78 };

/* A comment line per line of text, wrapped at blanks; a line that begins with
 * one is printed as it is. */
static void print_comment_line(struct bytes line, struct buf *out)
{
    bool wrap = line.len > 0 && line.data[0] != ' ';

    do {
        size_t len = line.len;

        if (wrap && len > WIDTH) {
            for (len = WIDTH; len > 0 && line.data[len] != ' '; len--) {
            }
            len = len ? len : line.len;
        }
        buf_append_str(out, len ? "# " : "#");
        buf_append(out, line.data, len);
        buf_append_byte(out, '\n');
        len += len < line.len; /* the blank it was broken at */
        line = bytes_of(line.data + len, line.len - len);
    } while (line.len > 0);
}

static void print_comment(const char *text, struct buf *out)
{
    while (*text) {
        size_t len = strcspn(text, "\n");

        print_comment_line(bytes_of(text, len), out);
        text += len + (text[len] == '\n');
    }
}

static void print_group(const struct config_directive *g, struct buf *out)
{
    size_t len = strlen(g->name);
    size_t i;

    if (out->len) {
        buf_append_byte(out, '\n');
    }
    for (i = 0; i < WIDTH - len - 4; i++) {
        buf_append_byte(out, '#');
    }
    buf_printf(out, " %s ##\n", g->name);
    if (*g->doc) {
        buf_append_byte(out, '\n');
        print_comment(g->doc, out);
    }
}

/* The default, in the words of a file, one comment line each. */
static void print_default(const struct config *defaults,
                          const struct config_directive *d, struct buf *out)
{
    buf_append_str(out, "# Default: ");
    config_print_lines(defaults, d, out);
}

static void print_directive(const struct config *defaults,
                            const struct config_directive *d, struct buf *out)
{
    /* Those that a section's text speaks for stand together. */
    if (*d->doc || d[-1].type == CONFIG_GROUP) {
        buf_append_byte(out, '\n');
    }
    print_comment(d->doc, out);
    if (d->flags & CONF_AT_START) {
        buf_append_str(out, "# (at start)\n");
    }
    if (d->shipped) {
        print_default(defaults, d, out);
        buf_printf(out, "%s %s\n", d->name, d->shipped);
    } else if (d->example) {
        print_default(defaults, d, out);
        buf_printf(out, "# %s %s\n", d->name, d->example);
    } else {
        config_print_lines(defaults, d, out);
    }
}

void config_dump(struct buf *out)
{
    struct config defaults;
    size_t i;

    config_init(&defaults);
    for (i = 0; i < config_table_len; i++) {
        const struct config_directive *d = &config_table[i];

        if (d->type == CONFIG_GROUP) {
            print_group(d, out);
        } else {
            print_directive(&defaults, d, out);
        }
    }
    config_deinit(&defaults);
}
