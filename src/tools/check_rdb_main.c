/* vectra-check-rdb: walks an RDB file and says whether it is whole and what is
 * in it.
 *
 * exit  0 it is whole, 1 it is not (or cannot be read) */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tools/check/check_json.h"
#include "tools/check/check_rdb_walk.h"

static const char usage[] =
    "usage: vectra-check-rdb [--keys] [--json] FILE\n"
    "\n"
    "Walks an RDB file of Vectra or Redis, verifies its checksum and that of\n"
    "each block of a vector set, and sums up its keys.\n"
    "\n"
    "  --keys   a line per key: database, type, bytes, expiry, name\n"
    "  --json   a JSON array: aux fields, keys, and the summary as its last\n";

struct output {
    bool keys, json;
    uint64_t n;
};

static void aux_text(void *arg, struct bytes name, struct bytes value)
{
    (void)arg;
    printf("aux %.*s = %.*s\n", (int)name.len, (const char *)name.data,
           (int)value.len, (const char *)value.data);
}

static void key_text(void *arg, const struct check_key *k)
{
    const struct output *o = arg;

    if (!o->keys) {
        return;
    }
    printf("key %llu %s %llu %lld ", (unsigned long long)k->db, k->type,
           (unsigned long long)k->bytes, (long long)k->expires_ms);
    check_json_string(stdout, k->name);
    if (k->is_vset) {
        printf(" elements=%llu dim=%llu", (unsigned long long)k->elements,
               (unsigned long long)k->dim);
    }
    putchar('\n');
}

static void aux_json(void *arg, struct bytes name, struct bytes value)
{
    (void)arg;
    printf("{\"aux\": ");
    check_json_string(stdout, name);
    printf(", \"value\": ");
    check_json_string(stdout, value);
    printf("},\n  ");
}

static void key_json(void *arg, const struct check_key *k)
{
    struct output *o = arg;

    o->n++;
    printf("{\"db\": %llu, \"key\": ", (unsigned long long)k->db);
    check_json_string(stdout, k->name);
    printf(", \"type\": \"%s\", \"offset\": %llu, \"bytes\": %llu", k->type,
           (unsigned long long)k->offset, (unsigned long long)k->bytes);
    if (k->expires_ms >= 0) {
        printf(", \"expires_ms\": %lld", (long long)k->expires_ms);
    }
    if (k->is_vset) {
        printf(", \"elements\": %llu, \"dim\": %llu",
               (unsigned long long)k->elements, (unsigned long long)k->dim);
    }
    printf("},\n  ");
}

static void summary_text(const struct check_rdb *c)
{
    size_t i;

    for (i = 0; i < c->n_types; i++) {
        const struct check_type *t = &c->types[i];

        printf("%-24s %10llu keys %12llu bytes %8llu expire", t->name,
               (unsigned long long)t->keys, (unsigned long long)t->bytes,
               (unsigned long long)t->expiring);
        if (t->elements) {
            printf(" %12llu elements", (unsigned long long)t->elements);
        }
        putchar('\n');
    }
    printf("%llu keys in %llu databases, %llu expire; %llu blocks verified\n",
           (unsigned long long)c->keys, (unsigned long long)c->databases,
           (unsigned long long)c->expiring, (unsigned long long)c->blocks);
}

/* The list ends with an object of another kind, so that each key's line can
 * end with a comma. */
static void summary_json(const struct check_rdb *c, enum err err,
                         const char *words)
{
    size_t i;

    printf("{\"summary\": true, \"version\": %d, \"bytes\": %llu, \"keys\": "
           "%llu, \"expiring\": %llu, \"databases\": %llu, \"blocks\": %llu, "
           "\"checksum\": %s, \"types\": {",
           c->version, (unsigned long long)c->bytes,
           (unsigned long long)c->keys, (unsigned long long)c->expiring,
           (unsigned long long)c->databases, (unsigned long long)c->blocks,
           c->sum == CHECK_SUM_OK ? "true" : "false");
    for (i = 0; i < c->n_types; i++) {
        const struct check_type *t = &c->types[i];

        printf("%s\"%s\": {\"keys\": %llu, \"bytes\": %llu, \"expiring\": "
               "%llu, \"elements\": %llu}",
               i ? ", " : "", t->name, (unsigned long long)t->keys,
               (unsigned long long)t->bytes, (unsigned long long)t->expiring,
               (unsigned long long)t->elements);
    }
    printf("}, \"ok\": %s", err ? "false" : "true");
    if (err) {
        printf(", \"error\": ");
        check_json_string(stdout, bytes_of(words, strlen(words)));
    }
    printf("}\n");
}

static enum err walk(int fd, struct check_rdb *c, struct err_ctx *ctx)
{
    struct rdb_in in;
    enum err err;

    rdb_in_open(&in, fd, 0, UINT64_MAX);
    err = check_rdb_walk(&in, c, ctx);
    if (!err && rdb_in_left(&in) > 0) {
        err = err_set(ctx, ERR_CORRUPT,
                      "offset %llu: %llu bytes follow the end of the snapshot",
                      (unsigned long long)rdb_in_offset(&in),
                      (unsigned long long)rdb_in_left(&in));
    }
    rdb_in_close(&in);
    return err;
}

int main(int argc, char **argv)
{
    struct output o = {false, false, 0};
    struct check_rdb c = {.arg = &o};
    struct err_ctx ctx = {""};
    const char *path = NULL;
    enum err err;
    int i, fd;

    for (i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--json") == 0) {
            o.json = true;
        } else if (strcmp(argv[i], "--keys") == 0) {
            o.keys = true;
        } else if (strcmp(argv[i], "--help") == 0) {
            fputs(usage, stdout);
            return 0;
        } else if (argv[i][0] == '-' || path) {
            fputs(usage, stderr);
            return 1;
        } else {
            path = argv[i];
        }
    }
    if (!path) {
        fputs(usage, stderr);
        return 1;
    }
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        perror(path);
        return 1;
    }
    c.on_aux = o.json ? aux_json : aux_text;
    c.on_key = o.json ? key_json : key_text;
    if (o.json) {
        printf("[");
    }
    err = walk(fd, &c, &ctx);
    close(fd);
    if (o.json) {
        summary_json(&c, err, ctx.text);
        printf("]\n");
        return err != ERR_OK;
    }
    summary_text(&c);
    if (err) {
        printf("DAMAGED %s: %s\n", path, ctx.text);
    } else {
        printf("OK %s: RDB version %d, %llu bytes, %s\n", path, c.version,
               (unsigned long long)c.bytes,
               c.sum == CHECK_SUM_OK ? "checksum verified"
                                     : "written without a checksum");
    }
    return err != ERR_OK;
}
