/* Builds what a disk may hold after the power went, from a trace of io_shim.c.
 * usage: powerloss TRACE ROOT OUT SEED [FROM_NS]
 *
 * TRACE was taken of files under ROOT, which was empty when it began. A point
 * of the trace, not before FROM_NS, is chosen by SEED, and OUT is filled:
 *
 *  - bytes whose write had returned before an fsync of the file began, which
 *    had returned before the point, are there;
 *  - bytes written later are there or not, in pieces of 512 bytes. What is
 *    missing before what is there reads as zeros, and a file may be longer
 *    than what reached it;
 *  - names made, changed or removed before an fsync of their directory began
 *    are as they were made; later changes happened or not, one by one or (as a
 *    journal has it) up to some point. An fsync of a file does nothing for its
 *    name.
 *
 * It is harsher than most file systems, but each image is one that POSIX
 * allows. Prints "point P of N ack_ns=A sent_ns=S ...": replies that arrived
 * before A were promised by then; nothing sent after S can be on the disk. */
#include "io_trace.h"

#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PIECE = 512, MAX_OPEN_SYNCS = 64 };

struct change { /* of a file's content */
    const struct io_record *r;
    const uint8_t *data;
};

struct file {
    uint64_t ino;
    uint8_t *durable;
    size_t len;
    struct change *pending;
    size_t n_pending;
    bool directory;
};

struct entry_change { /* of a name */
    char *path;       /* gets `file`, or nothing when that is NULL */
    char *gone;       /* a rename's old name */
    struct file *file;
};

struct entry {
    char *path;
    struct file *file;
};

struct names {
    struct entry *e;
    size_t n;
};

struct sync { /* an fsync that has begun */
    uint32_t tid;
    uint64_t ino;
    size_t covers;
    bool directory;
};

static struct file **files;
static size_t n_files;
static struct names seen;    /* as the server sees them */
static struct names durable; /* as the disk has them for sure */
static struct entry_change *late;
static size_t n_late;
static struct sync syncs[MAX_OPEN_SYNCS];
static size_t n_syncs;
static uint64_t rng;

static void die(const char *what)
{
    perror(what);
    exit(2);
}

static void *grown(void *p, size_t n, size_t size)
{
    /* Doubled at powers of two. */
    if ((n & (n - 1)) == 0) {
        p = realloc(p, (n ? 2 * n : 1) * size);
        if (!p) {
            die("realloc");
        }
    }
    return p;
}

static uint64_t draw(uint64_t below)
{
    rng ^= rng << 13;
    rng ^= rng >> 7;
    rng ^= rng << 17;
    return below ? (rng >> 11) % below : 0;
}

/* ---- names ------------------------------------------------------------- */

static struct file *file_new(uint64_t ino, bool directory)
{
    struct file *f = calloc(1, sizeof(*f));

    f->ino = ino;
    f->directory = directory;
    files = grown(files, n_files, sizeof(*files));
    files[n_files++] = f;
    return f;
}

/* The latest file with this inode: numbers are used again. */
static struct file *file_of(uint64_t ino)
{
    size_t i;

    for (i = n_files; i-- > 0;) {
        if (files[i]->ino == ino) {
            return files[i];
        }
    }
    return NULL;
}

static struct file *names_get(const struct names *names, const char *path)
{
    size_t i;

    for (i = 0; i < names->n; i++) {
        if (strcmp(names->e[i].path, path) == 0) {
            return names->e[i].file;
        }
    }
    return NULL;
}

static void names_set(struct names *names, const char *path, struct file *file)
{
    size_t i;

    for (i = 0; i < names->n; i++) {
        if (strcmp(names->e[i].path, path) == 0) {
            names->e[i].file = file;
            return;
        }
    }
    names->e = grown(names->e, names->n, sizeof(*names->e));
    names->e[names->n++] = (struct entry){strdup(path), file};
}

static void names_apply(struct names *names, const struct entry_change *c)
{
    if (c->gone) {
        names_set(names, c->gone, NULL);
    }
    names_set(names, c->path, c->file);
}

static void name_changes(const char *path, const char *gone, struct file *file)
{
    struct entry_change c = {strdup(path), gone ? strdup(gone) : NULL, file};

    names_apply(&seen, &c);
    late = grown(late, n_late, sizeof(*late));
    late[n_late++] = c;
}

static bool lies_in(const char *path, const char *dir)
{
    size_t n = strlen(dir);

    return strncmp(path, dir, n) == 0 && path[n] == '/' &&
           !strchr(path + n + 1, '/');
}

/* The first `covers` changes of names, as far as they are in `dir`, last. */
static void directory_synced(const char *dir, size_t covers)
{
    size_t i, kept = 0;

    for (i = 0; i < n_late; i++) {
        if (i < covers && lies_in(late[i].path, dir)) {
            names_apply(&durable, &late[i]);
        } else {
            late[kept++] = late[i];
        }
    }
    /* Others that wait for their directory's fsync count from the front. */
    for (i = 0; i < n_syncs; i++) {
        size_t less = n_late - kept;

        if (syncs[i].directory) {
            syncs[i].covers -= syncs[i].covers < less ? syncs[i].covers : less;
        }
    }
    n_late = kept;
}

/* ---- content ----------------------------------------------------------- */

static void resize(struct file *f, size_t len)
{
    if (len > f->len) {
        f->durable = realloc(f->durable, len);
        memset(f->durable + f->len, 0, len - f->len);
    }
    f->len = len;
}

static void put(struct file *f, uint64_t off, const uint8_t *data, size_t len)
{
    if (off + len > f->len) {
        resize(f, off + len);
    }
    memcpy(f->durable + off, data, len);
}

static bool is_write(const struct change *c)
{
    return c->r->op == IO_WRITE || c->r->op == IO_PWRITE;
}

static void change_apply(struct file *f, const struct change *c)
{
    if (is_write(c)) {
        put(f, c->r->off, c->data, c->r->data_len);
    } else if (c->r->op == IO_FALLOCATE) {
        resize(f, c->r->size > f->len ? c->r->size : f->len);
    } else { /* truncate, or open with O_TRUNC */
        resize(f, c->r->op == IO_OPEN ? 0 : c->r->size);
    }
}

static void content_synced(struct file *f, size_t covers)
{
    size_t i;

    if (covers > f->n_pending) {
        covers = f->n_pending;
    }
    for (i = 0; i < covers; i++) {
        change_apply(f, &f->pending[i]);
    }
    memmove(f->pending, f->pending + covers,
            (f->n_pending - covers) * sizeof(*f->pending));
    f->n_pending -= covers;
    for (i = 0; i < n_syncs; i++) {
        if (!syncs[i].directory && syncs[i].ino == f->ino) {
            syncs[i].covers -=
                syncs[i].covers < covers ? syncs[i].covers : covers;
        }
    }
}

static void content_changes(const struct io_record *r, const uint8_t *data)
{
    struct file *f = file_of(r->ino);

    if (!f) {
        return;
    }
    f->pending = realloc(f->pending, (f->n_pending + 1) * sizeof(*f->pending));
    f->pending[f->n_pending++] = (struct change){r, data};
}

/* ---- the trace --------------------------------------------------------- */

static void take_sync(const struct io_record *r, const char *path)
{
    struct file *f = file_of(r->ino);
    size_t i;

    if (r->flags & IO_BEGIN) {
        if (n_syncs == MAX_OPEN_SYNCS) {
            n_syncs = 0;
        }
        syncs[n_syncs++] = (struct sync){r->tid, r->ino,
                                         r->flags & IO_DIRECTORY ? n_late
                                         : f                     ? f->n_pending
                                                                 : 0,
                                         (r->flags & IO_DIRECTORY) != 0};
        return;
    }
    for (i = 0; i < n_syncs; i++) {
        if (syncs[i].tid == r->tid && syncs[i].ino == r->ino) {
            size_t covers = syncs[i].covers;

            syncs[i] = syncs[--n_syncs];
            if (r->flags & IO_DIRECTORY) {
                directory_synced(path, covers);
            } else if (f) {
                content_synced(f, covers);
            }
            return;
        }
    }
}

static void take(const struct io_record *r)
{
    const char *at = (const char *)(r + 1);
    char path[PATH_MAX], path2[PATH_MAX];
    const uint8_t *data = (const uint8_t *)at + r->path_len + r->path2_len;

    snprintf(path, sizeof(path), "%.*s", (int)r->path_len, at);
    snprintf(path2, sizeof(path2), "%.*s", (int)r->path2_len, at + r->path_len);
    switch (r->op) {
    case IO_OPEN:
        if (r->flags & IO_CREATED) {
            name_changes(path, NULL, file_new(r->ino, false));
        } else if (r->flags & IO_TRUNCATED) {
            content_changes(r, data);
        }
        break;
    case IO_WRITE:
    case IO_PWRITE:
    case IO_TRUNCATE:
    case IO_FALLOCATE:
        content_changes(r, data);
        break;
    case IO_FSYNC:
    case IO_FDATASYNC:
        take_sync(r, path);
        break;
    case IO_RENAME:
        name_changes(path2, path, names_get(&seen, path));
        break;
    case IO_LINK:
        name_changes(path2, NULL, names_get(&seen, path));
        break;
    case IO_UNLINK:
        name_changes(path, NULL, NULL);
        break;
    case IO_MKDIR:
        name_changes(path, NULL, file_new(0, true));
        break;
    default:
        break;
    }
}

/* ---- the base ---------------------------------------------------------- */

static uint8_t *slurp(const char *path, size_t *len)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    uint8_t *p;

    if (fd < 0 || fstat(fd, &st) != 0) {
        die(path);
    }
    *len = (size_t)st.st_size;
    p = malloc(*len + 1);
    if (read(fd, p, *len) != (ssize_t)*len) {
        die(path);
    }
    close(fd);
    return p;
}

/* ---- the image --------------------------------------------------------- */

enum fate { KEEP_ALL, LOSE_ALL, KEEP_PREFIX, TEAR, N_FATES };

/* Writes the pieces of a change that reached the disk. */
static void tear(struct file *f, const struct change *c, bool whole_prefix)
{
    const struct io_record *r = c->r;
    uint64_t at = r->off, end = r->off + r->data_len;
    uint64_t stop = whole_prefix ? at + draw(r->data_len + 1) : end;

    while (at < stop) {
        uint64_t next = at - at % PIECE + PIECE;

        if (next > stop) {
            next = stop;
        }
        if (whole_prefix || draw(2)) {
            put(f, at, c->data + (at - r->off), next - at);
        }
        at = next;
    }
}

/* Decides what became of what was not synced. */
static void settle_content(struct file *f, size_t *n_lost)
{
    enum fate fate = (enum fate)draw(N_FATES);
    size_t i, stop = draw(f->n_pending + 1);
    uint64_t full = f->len;

    for (i = 0; i < f->n_pending; i++) {
        const struct change *c = &f->pending[i];

        if (is_write(c) && c->r->off + c->r->data_len > full) {
            full = c->r->off + c->r->data_len;
        }
        if (fate == KEEP_ALL || (fate == KEEP_PREFIX && i < stop)) {
            change_apply(f, c);
            continue;
        }
        ++*n_lost;
        if (fate == KEEP_PREFIX && i == stop && is_write(c)) {
            tear(f, c, true);
        } else if (fate == TEAR && is_write(c)) {
            tear(f, c, false);
        } else if (fate == TEAR && draw(2)) {
            change_apply(f, c);
        }
    }
    if (fate == TEAR && full > f->len && draw(4) == 0) {
        resize(f, full);
    }
    f->n_pending = 0;
}

static void settle_names(size_t *n_lost)
{
    bool journal = draw(2);
    size_t stop = draw(n_late + 1), i;

    for (i = 0; i < n_late; i++) {
        if (journal ? i < stop : draw(2) != 0) {
            names_apply(&durable, &late[i]);
        } else {
            ++*n_lost;
        }
    }
}

static void write_file(const char *path, const struct file *f)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    size_t at = 0;

    if (fd < 0) {
        die(path);
    }
    while (at < f->len) {
        ssize_t n = write(fd, f->durable + at, f->len - at);

        if (n <= 0) {
            die(path);
        }
        at += (size_t)n;
    }
    close(fd);
}

/* Shorter paths first, so that a folder comes before what is in it. */
static int by_length(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    size_t m = strlen(x->path), n = strlen(y->path);

    return m < n ? -1 : m > n;
}

static void write_image(const char *root, const char *out)
{
    char path[2 * PATH_MAX];
    size_t i;

    if (mkdir(out, 0755) != 0) {
        die(out);
    }
    qsort(durable.e, durable.n, sizeof(*durable.e), by_length);
    for (i = 0; i < durable.n; i++) {
        const struct entry *e = &durable.e[i];
        char *slash;

        if (!e->file || strncmp(e->path, root, strlen(root)) != 0) {
            continue;
        }
        snprintf(path, sizeof(path), "%.4000s%.4000s", out,
                 e->path + strlen(root));
        if (e->file->directory) {
            (void)mkdir(path, 0755);
            continue;
        }
        /* With its folder lost, a file is lost. */
        slash = strrchr(path, '/');
        *slash = '\0';
        if (access(path, F_OK) == 0) {
            *slash = '/';
            write_file(path, e->file);
        }
    }
}

/* ---- choosing ---------------------------------------------------------- */

/* Cuts right after changes of names and syncs are the interesting ones. */
static size_t choose(const struct io_record **records, size_t n)
{
    int try;
    size_t p = draw(n + 1);

    if (draw(2)) {
        return p;
    }
    for (try = 0; try < 200; try++) {
        p = draw(n);
        if (records[p]->op != IO_WRITE && records[p]->op != IO_FDATASYNC) {
            p += draw(3);
            return p > n ? n : p;
        }
    }
    return p;
}

int main(int argc, char **argv)
{
    const struct io_record **records = NULL;
    size_t n = 0, len, at = 0, point, i, lost_writes = 0, lost_names = 0;
    uint64_t ack = 0, sent = 0, from = 0;
    size_t first = 0;
    uint8_t *trace;

    if (argc < 5) {
        fprintf(stderr, "usage: powerloss TRACE ROOT OUT SEED [FROM_NS]\n");
        return 2;
    }
    rng = strtoull(argv[4], NULL, 10) * 0x9E3779B97F4A7C15U + 0x1234567;
    for (i = 0; i < 8; i++) {
        (void)draw(2);
    }
    trace = slurp(argv[1], &len);
    /* Records lie at any address in the file, so each is copied. */
    while (at + sizeof(struct io_record) <= len) {
        struct io_record head;
        void *copy;
        size_t whole;

        memcpy(&head, trace + at, sizeof(head));
        whole = sizeof(head) + head.path_len + head.path2_len + head.data_len;
        if (head.magic != IO_MAGIC || at + whole > len) {
            break; /* the process died while it wrote this one */
        }
        copy = malloc(whole);
        memcpy(copy, trace + at, whole);
        records = grown(records, n, sizeof(struct io_record *));
        records[n++] = copy;
        at += whole;
    }
    free(trace);
    if (argc > 5) {
        from = strtoull(argv[5], NULL, 10);
    }
    while (first < n && records[first]->t_ns < from) {
        first++;
    }
    point = first + choose(records + first, n - first);
    for (i = 0; i < point; i++) {
        take(records[i]);
        ack = records[i]->t_ns;
        sent = ack > sent ? ack : sent;
    }
    settle_names(&lost_names);
    for (i = 0; i < n_files; i++) {
        settle_content(files[i], &lost_writes);
    }
    write_image(argv[2], argv[3]);
    printf("point %zu of %zu ack_ns=%llu sent_ns=%llu lost_writes=%zu "
           "lost_names=%zu last_op=%d\n",
           point, n, (unsigned long long)ack, (unsigned long long)sent,
           lost_writes, lost_names, point ? records[point - 1]->op : -1);
    return 0;
}
